"""Rules about sessions of OpenAI that hold in every world, as those in `conformance.invariants`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from conformance.evidence import AUDIO_DELTAS, IN_FLIGHT, Evidence, Invariant
from fakes.openai.catalogue import catalogue
from harness.suite import Checks
from harness.wire import Message

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
REASONING = frozenset({"reasoning", "parallel_tool_calls"})
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
VOICES = ("session.audio.output.voice", "session.voice")
TURN_DETECTION = ("session.audio.input.turn_detection", "session.turn_detection")
TRANSCRIPTION_MODELS = ("session.audio.input.transcription.model", "session.input_audio_transcription.model")
"""Where a setting is: in GA, and in beta."""


def _sent(messages: Sequence[Message], *kinds: str) -> list[Message]:
    return [m for m in messages if m.source == "gateway" and m.kind in kinds]


def _came(messages: Sequence[Message], *kinds: str) -> list[Message]:
    return [m for m in messages if m.source == "openai" and m.kind in kinds]


def _either(message: Message, paths: Sequence[str]) -> Any:
    return next((found for path in paths if (found := message.get(path)) is not None), None)


def _model(messages: Sequence[Message]) -> str:
    """The model that the upgrade of a connection asked for."""
    upgrade = next((m for m in messages if m.kind == "upgrade"), None)
    query = urlsplit(str(upgrade.meta.get("url", ""))).query if upgrade is not None else ""
    return str(parse_qs(query).get("model", [""])[0])


def sessions_fit_their_model(evidence: Evidence, check: Checks) -> None:
    """OAI-DI-004, OAI-DI-005."""
    for messages in evidence.events.values():
        name = _model(messages)
        model = catalogue().models.get(name)
        asked = _sent(messages, "session.update", "response.create")
        if asked and evidence.column.dialect == "ga" and model is not None and not model.reasoning:
            bad = [m for m in asked if REASONING & _keys(m)]
            check.none("OAI-DI-004", bad, f"a parameter of models that reason is sent to {name}")
        updates = _sent(messages, "session.update")
        if updates:
            other = [m for m in updates if m.get("session.model") not in (None, name)]
            check.none("OAI-DI-005", other, f"session.update names another model than {name}")


def _keys(message: Message) -> frozenset[str]:
    """The parameters of the session or response that a client event holds."""
    body = message.get("session") or message.get("response")
    return frozenset(body) if isinstance(body, Mapping) else frozenset()


def the_voice_stays(evidence: Evidence, check: Checks) -> None:
    """OAI-SS-001."""
    for messages in evidence.events.values():
        voice: Any = None
        spoke = False
        offending = []
        for message in messages:
            if message.source == "openai" and message.kind in ("session.created", "session.updated"):
                voice = _either(message, VOICES)
            elif message.source == "openai" and message.kind in AUDIO_DELTAS:
                spoke = True
            elif message.source == "gateway" and message.kind == "session.update":
                wanted = _either(message, VOICES)
                if spoke and wanted not in (None, voice):
                    offending.append(message)
        if spoke:
            check.none("OAI-SS-001", offending, f"the voice is to change after the assistant has spoken as {voice}")


def updates_are_not_repeated(evidence: Evidence, check: Checks) -> None:
    """OAI-SS-002."""
    for messages in evidence.events.values():
        updates = _sent(messages, "session.update")
        if updates:
            bodies = [json.dumps(m.get("session"), sort_keys=True) for m in updates]
            same = [m for m, body, before in zip(updates[1:], bodies[1:], bodies, strict=False) if body == before]
            check.none("OAI-SS-002", same, "the same session.update is sent again")


def sessions_are_closed_properly(evidence: Evidence, check: Checks) -> None:
    """OAI-SS-006: only sessions that were created; what is given up in its handshake has no close frame."""
    for messages in evidence.events.values():
        if not _came(messages, "session.created"):
            continue
        for close in messages:
            if close.kind == "close" and close.meta.get("initiator") == "gateway":
                dropped = close.meta.get("code") == 1006
                check("OAI-SS-006", not dropped, "the gateway drops the connection of a session", at=close)


def responses_are_cancelled_while_they_run(evidence: Evidence, check: Checks) -> None:
    """OAI-TU-009."""
    for messages in evidence.events.values():
        running = 0
        ended = 0.0
        offending = []
        for message in messages:
            if message.source == "openai" and message.kind == "response.created":
                running += 1
            elif message.source == "openai" and message.kind == "response.done":
                running, ended = max(0, running - 1), message.at
            elif message.kind == "response.cancel" and not running and message.at > ended + IN_FLIGHT:
                offending.append(message)
        if _came(messages, "input_audio_buffer.speech_started"):
            check.none("OAI-TU-009", offending, "response.cancel while no response is in progress")


def the_server_commits(evidence: Evidence, check: Checks) -> None:
    """OAI-TU-010."""
    for messages in evidence.events.values():
        detection = False
        offending = []
        for message in messages:
            if message.source == "openai" and message.kind in ("session.created", "session.updated"):
                detection = _either(message, TURN_DETECTION) is not None
            elif message.source == "gateway" and message.kind == "input_audio_buffer.commit" and detection:
                offending.append(message)
        if _came(messages, "input_audio_buffer.speech_stopped") and detection:
            check.none("OAI-TU-010", offending, "a commit of the gateway's own under server turn detection")


def _functions(messages: Sequence[Message]) -> Iterator[tuple[Message, list[Mapping[str, Any]]]]:
    """The functions that each client event declares."""
    for message in _sent(messages, "session.update", "response.create"):
        body = message.get("session") or message.get("response")
        tools = body.get("tools") if isinstance(body, Mapping) else None
        if isinstance(tools, list) and tools:
            yield message, [t for t in tools if isinstance(t, Mapping) and t.get("type") == "function"]


def functions_are_declared_well(evidence: Evidence, check: Checks) -> None:
    """OAI-FC-001, OAI-FC-002."""
    for messages in evidence.events.values():
        for message, functions in _functions(messages):
            names = [str(f.get("name")) for f in functions]
            bad = [n for n in names if not TOOL_NAME.fullmatch(n) or names.count(n) > 1]
            check("OAI-FC-001", not bad, f"not a name, or not one of its own: {bad[:3]}", at=message)
            wrong = [f"{f.get('name')}: {why}" for f in functions if (why := _no_schema(f.get("parameters")))]
            check("OAI-FC-002", not wrong, "; ".join(wrong), at=message)


def _no_schema(parameters: object) -> str:
    """Why this is no schema of arguments; empty when it is one. A function may leave its parameters out."""
    if parameters is None:
        return ""
    if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
        return "the parameters are no schema of type object"
    properties = parameters.get("properties", {})
    if not isinstance(properties, Mapping) or not all(isinstance(p, (Mapping, bool)) for p in properties.values()):
        return "the properties are no schemas"
    required = parameters.get("required", [])
    unknown = [r for r in required if r not in properties] if isinstance(required, list) else ["?"]
    return f"required and not declared: {', '.join(map(str, unknown))}" if unknown else ""


def outputs_say_something(evidence: Evidence, check: Checks) -> None:
    """OAI-FC-010."""
    for messages in evidence.events.values():
        outputs = [
            m
            for m in _sent(messages, "conversation.item.create")
            if m.get("item.type") == "function_call_output" and not m.invalid
        ]
        if outputs:
            empty = [m for m in outputs if not str(m.get("item.output")).strip()]
            check.none("OAI-FC-010", empty, "the output of a function call is empty")


def transcripts_are_not_given_back(evidence: Evidence, check: Checks) -> None:
    """OAI-TR-003."""
    for messages in evidence.events.values():
        known: set[str] = set()
        offending = []
        for message in messages:
            if message.source == "openai" and message.kind == TRANSCRIBED:
                known.add(_folded(message.get("transcript")))
            elif message.source == "gateway" and message.kind == "conversation.item.create":
                content = message.get("item.content")
                parts = content if isinstance(content, list) else []
                if any(isinstance(p, Mapping) and _folded(p.get("text")) in known - {""} for p in parts):
                    offending.append(message)
        if known - {""}:
            check.none("OAI-TR-003", offending, "what the caller said is given to the model once more, as text")


def _folded(text: object) -> str:
    return str(text or "").strip().casefold()


def transcription_models_transcribe(evidence: Evidence, check: Checks) -> None:
    """OAI-TR-004."""
    for messages in evidence.events.values():
        for update in _sent(messages, "session.update"):
            name = _either(update, TRANSCRIPTION_MODELS)
            if name is None:
                continue
            model = catalogue().models.get(str(name))
            good = model is not None and model.kind == "transcription" and model.offered(evidence.column.as_of)
            check("OAI-TR-004", good, f"{name!r} is no model that transcribes", at=update)


def event_ids_are_unique(evidence: Evidence, check: Checks) -> None:
    """OAI-ER-010."""
    for messages in evidence.events.values():
        seen: set[str] = set()
        again = []
        for message in messages:
            given = message.get("event_id") if message.source == "gateway" else None
            if isinstance(given, str):
                if given in seen:
                    again.append(message)
                seen.add(given)
        if seen:
            check.none("OAI-ER-010", again, f"the event id {again[0].get('event_id') if again else ''!r} is repeated")


OPENAI_INVARIANTS: tuple[Invariant, ...] = (
    sessions_fit_their_model,
    the_voice_stays,
    updates_are_not_repeated,
    sessions_are_closed_properly,
    responses_are_cancelled_while_they_run,
    the_server_commits,
    functions_are_declared_well,
    outputs_say_something,
    transcripts_are_not_given_back,
    transcription_models_transcribe,
    event_ids_are_unique,
)
"""All of them, in the order in which they are checked."""
