"""The rules of `session.update` and of the overrides of a response that no schema knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakes.openai.catalogue import Catalogue
from fakes.openai.dialects import Dialect, Settings
from fakes.openai.errors import VendorError, listed


def check_update(
    dialect: Dialect, catalogue: Catalogue, session: Mapping[str, Any], update: Mapping[str, Any], *, spoke: bool
) -> None:
    """Raise `VendorError` when a realtime session may not be updated so. `spoke`: there is audio of the assistant."""
    model = dialect.get(update, "model")
    if model is not None and model != dialect.get(session, "model"):
        raise VendorError("cannot_update_model", param=dialect.param("model"), model=dialect.get(session, "model"))
    check_output(dialect, catalogue, update, "session")
    voice = dialect.get(update, "voice")
    if voice is not None and voice != dialect.get(session, "voice") and spoke:
        raise VendorError("cannot_update_voice")
    tracing = dialect.get(session, "tracing")
    if tracing is not None and dialect.has(update, "tracing") and dialect.get(update, "tracing") != tracing:
        raise VendorError("cannot_update_tracing", param=dialect.param("tracing"))


def check_transcription(dialect: Dialect, catalogue: Catalogue, settings: Settings) -> None:
    """Raise `VendorError` when a transcription session asks for turn detection of a model that has none."""
    name = (settings.transcription or {}).get("model")
    model = catalogue.models.get(name) if isinstance(name, str) else None
    if settings.turn_detection is not None and model is not None and not model.turn_detection:
        raise VendorError("turn_detection_not_supported", param=dialect.param("turn_detection"))


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
