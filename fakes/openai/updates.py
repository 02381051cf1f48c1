"""The rules of `session.update` and of the overrides of a response that no schema knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakes.knobs import Knobs
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.dialects import Dialect, Settings
from fakes.openai.errors import VendorError, listed


def check_update(
    dialect: Dialect,
    catalogue: Catalogue,
    session: Mapping[str, Any],
    update: Mapping[str, Any],
    *,
    asked: str | None,
    spoke: bool,
    answering: bool,
) -> dict[str, Any]:
    """The update of a realtime session without its model, which never changes. Raises `VendorError` if it may not be.

    `asked`: the model as the client asked for it, which the session may show as a snapshot or a deployment: to name
    either is no change. `spoke`: there is audio of the assistant. `answering`: a response is being made.
    """
    model = dialect.get(update, "model")
    if model not in (None, asked, dialect.get(session, "model")):
        raise VendorError("cannot_update_model", param=dialect.param("model"), model=dialect.get(session, "model"))
    check_output(dialect, catalogue, update, "session")
    voice = dialect.get(update, "voice")
    if voice is not None and voice != dialect.get(session, "voice") and spoke:
        raise VendorError("cannot_update_voice")
    speed = dialect.get(update, "speed")
    if speed is not None and speed != dialect.get(session, "speed") and answering:
        raise VendorError("cannot_update_speed", param=dialect.param("speed"))
    tracing = dialect.get(session, "tracing")
    if tracing is not None and dialect.has(update, "tracing") and dialect.get(update, "tracing") != tracing:
        raise VendorError("cannot_update_tracing", param=dialect.param("tracing"))
    return {key: value for key, value in update.items() if key != "model"}


def check_transcription(
    dialect: Dialect,
    catalogue: Catalogue,
    settings: Settings,
    update: Mapping[str, Any],
    under: str = "session",
    knobs: Knobs | None = None,
) -> None:
    """Raise `VendorError` when a transcription is asked for that the model has not: by `update`, or what there was."""
    transcription = settings.transcription or {}
    name = transcription.get("model")
    model = catalogue.models.get(name) if isinstance(name, str) else None
    asked = dialect.get(update, "transcription") or {}
    param = dialect.param("transcription", under)
    if model is None or model.kind != "transcription" or dialect.name not in model.dialects:
        if asked.get("model") is not None:
            options = [known.name for known in catalogue.models.values() if known.kind == "transcription"]
            options = [option for option in options if dialect.name in catalogue.models[option].dialects]
            raise VendorError("invalid_value", param=f"{param}.model", got=name, options=listed(options))
        return
    if settings.transcribes_only and not model.turn_detection and settings.turn_detection is not None:
        omitted = not dialect.has(update, "turn_detection")
        if not omitted or (knobs is not None and knobs["openai.turn_detection_omitted"] == "refuse"):
            raise VendorError("turn_detection_not_supported", param=dialect.param("turn_detection", under))
    for field, supported in (
        ("prompt", model.prompt),
        ("delay", model.delay),
        ("keywords", model.keywords),
        ("languages", model.keywords),
    ):
        if asked.get(field) and not supported:
            raise VendorError("transcription_field_not_supported", param=f"{param}.{field}")


def fitting(dialect: Dialect, catalogue: Catalogue, session: dict[str, Any]) -> dict[str, Any]:
    """A session, without the turn detection that its transcription model does not have."""
    settings = dialect.settings(session)
    model = catalogue.models.get((settings.transcription or {}).get("model") or "")
    if model is None or model.turn_detection or not settings.transcribes_only:
        return session
    off = {"turn_detection": None}
    return dialect.merged(session, off if dialect.name == "beta" else {"audio": {"input": off}})


def check_reasoning(model: Model | None, update: Mapping[str, Any], under: str, knobs: Knobs) -> dict[str, Any]:
    """The update, without what only models that reason have, or `VendorError`; which of them is a knob."""
    allowed = dict(update)
    if model is None or model.reasoning:
        return allowed
    for field in ("reasoning", "parallel_tool_calls"):
        if field in allowed and knobs["openai.reasoning_unsupported"] == "refuse":
            raise VendorError("unsupported_parameter", param=f"{under}.{field}")
        allowed.pop(field, None)
    return allowed


def check_tools(dialect: Dialect, settings: Settings, update: Mapping[str, Any], under: str, knobs: Knobs) -> None:
    """Raise `VendorError` for a tool choice that there is no tool for, or an MCP tool without a server."""
    for index, tool in enumerate(dialect.get(update, "tools") or ()):
        servers = (tool.get("server_url"), tool.get("connector_id"), tool.get("tunnel_id"))
        if tool.get("type") == "mcp" and not any(servers):
            raise VendorError("mcp_without_server", param=f"{dialect.param('tools', under)}[{index}].server_url")
    choice = dialect.get(update, "tool_choice")
    if not isinstance(choice, Mapping) or knobs["openai.unknown_tool_choice"] == "ignore":
        return
    key = "server_label" if choice.get("type") == "mcp" else "name"
    if choice.get(key) not in [tool.get(key) for tool in settings.tools]:
        raise VendorError("tool_choice_not_found", param=dialect.param("tool_choice", under), choice=choice.get(key))


def check_output(dialect: Dialect, catalogue: Catalogue, update: Mapping[str, Any], under: str) -> None:
    """Raise `VendorError` for modalities or a voice that there are not; `under` is `session` or `response`."""
    modalities = dialect.get(update, "modalities")
    if modalities is not None and tuple(sorted(modalities)) not in dialect.modalities:
        options = " and ".join(f"[{', '.join(map(repr, allowed))}]" for allowed in dialect.modalities)
        param = dialect.param("modalities", under)
        raise VendorError("invalid_modalities", param=param, got=modalities, options=options)
    voice = dialect.get(update, "voice")
    voices = catalogue.voices[dialect.name]
    if isinstance(voice, str) and voice not in voices:
        param = dialect.param("voice", under)
        raise VendorError("invalid_value", param=param, got=voice, options=listed(voices))
