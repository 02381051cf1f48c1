"""The two dialects of the Realtime API: how sessions, items and responses look on the wire, and what events are called.

The session core speaks one language of its own (the GA names of events, `Settings`, `Item`); a `Dialect` translates.
Both dialects say the same things in other places, so that most of a dialect is a table of paths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from fakes.openai.items import Item, Part

Wire = dict[str, Any]
"""A JSON object as it crosses the wire."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An audio format: `encoding` and `rate` as in `fakes.audio`; `bytes_per_ms` and `sample_bytes` in bytes."""

    encoding: str
    rate: int
    bytes_per_ms: int
    sample_bytes: int


_PCM16 = AudioFormat("pcm16", 24000, 48, 2)
_PCMU = AudioFormat("pcmu", 8000, 8, 1)
_PCMA = AudioFormat("pcma", 8000, 8, 1)
FORMATS = {
    "audio/pcm": _PCM16,
    "audio/pcmu": _PCMU,
    "audio/pcma": _PCMA,
    "pcm16": _PCM16,
    "g711_ulaw": _PCMU,
    "g711_alaw": _PCMA,
}


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How the end of a turn is found. Durations in ms; `threshold` from 0 to 1.

    `idle_timeout_ms`: how long the user may be silent after an answer has been played; None is for ever.
    """

    type: str
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 200
    idle_timeout_ms: int | None = None
    eagerness: str = "auto"
    create_response: bool = True
    interrupt_response: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """What the session core needs to know of a session or of one response, whatever the dialect.

    `audio`: whether the model speaks (and does not only write). `max_output_tokens`: None is no limit. `speed`: of the
    model's speech, 1 is as usual. `include`: what is to be told beyond the usual. `truncation`: what happens to a
    conversation that has become too long for the model. `transcribes_only`: the session never answers.
    """

    audio: bool
    instructions: str
    voice: Any
    input_format: AudioFormat
    output_format: AudioFormat
    transcription: Wire | None
    turn_detection: TurnDetection | None
    tools: list[Wire]
    tool_choice: Any
    max_output_tokens: int | None
    speed: float
    include: list[str]
    truncation: Any
    parallel_tool_calls: bool
    transcribes_only: bool


# What is replaced as a whole by an update; every other object is merged field by field.
_WHOLE = frozenset({"tracing", "prompt", "truncation", "tool_choice"})


@dataclass(frozen=True)
class Dialect:
    """One dialect. `paths` says where each setting is in a session, and in the parameters of a response."""

    name: str
    paths: Mapping[str, tuple[str, ...]]
    events: Mapping[str, str]
    item_added: str
    item_done: str | None
    text_content: str
    audio_content: str
    always_object: bool
    modalities: tuple[tuple[str, ...], ...]

    def event(self, name: str) -> str:
        """The type of an event on the wire, from its GA name."""
        return self.events.get(name, name)

    # -- sessions

    def new_session(self, kind: str) -> Wire:
        """A session with the defaults of the vendor; `kind` is realtime or transcription."""
        session: Wire = msgspec.json.decode(_template(self.name, kind))
        return session

    def get(self, session: Mapping[str, Any], setting: str) -> Any:
        """A setting of a session, or of an update; None when it is not there."""
        value: Any = session
        for key in self.paths[setting]:
            if not isinstance(value, Mapping) or key not in value:
                return None
            value = value[key]
        return value

    def has(self, session: Mapping[str, Any], setting: str) -> bool:
        """Whether a session or an update speaks of a setting, be it to say null."""
        *way, last = self.paths[setting]
        value: Any = session
        for key in way:
            value = value.get(key)
            if not isinstance(value, Mapping):
                return False
        return last in value

    def param(self, setting: str, under: str = "session") -> str:
        """The name of a setting in an error, such as `session.audio.output.voice`."""
        return ".".join((under, *self.paths[setting]))

    def merged(self, session: Wire, update: Mapping[str, Any]) -> Wire:
        """A session after an update that has only the fields to change. Neither argument is changed."""
        result = _merge(session, update)
        if not self.has(update, "turn_detection"):
            return result
        way = self.paths["turn_detection"]
        holder = result
        for key in way[:-1]:
            holder = holder[key]
        detection = holder.get(way[-1])
        if detection is not None:
            kind = "transcription" if session.get("object") == "realtime.transcription_session" else "realtime"
            filled = self._detection_defaults(kind, detection.get("type", "server_vad"))
            holder[way[-1]] = {**filled, **detection}
        return result

    def _detection_defaults(self, kind: str, detection_type: str) -> Wire:
        """What the vendor fills in: all that this kind of session has by default, and the eagerness."""
        template: Wire = defaults()["turn_detection"][detection_type]
        known = self.get(self.new_session(kind), "turn_detection")
        return {key: value for key, value in template.items() if key in known or key == "eagerness"}

    def settings(self, session: Mapping[str, Any]) -> Settings:
        """What a session says, for the core."""
        detection = self.get(session, "turn_detection")
        modalities = self.get(session, "modalities") or ["audio"]
        limit = self.get(session, "max_output_tokens")
        return Settings(
            audio="audio" in modalities,
            instructions=self.get(session, "instructions") or "",
            voice=self.get(session, "voice"),
            input_format=_format(self.get(session, "input_format")),
            output_format=_format(self.get(session, "output_format")),
            transcription=self.get(session, "transcription"),
            turn_detection=None if detection is None else _turn_detection(detection),
            tools=self.get(session, "tools") or [],
            tool_choice=self.get(session, "tool_choice") or "auto",
            max_output_tokens=limit if isinstance(limit, int) else None,
            speed=float(self.get(session, "speed") or 1),
            include=session.get("include") or [],
            truncation=session.get("truncation") or "auto",
            parallel_tool_calls=session.get("parallel_tool_calls") is not False,
            transcribes_only=session.get("object") == "realtime.transcription_session",
        )

    # -- items and responses

    def item(self, item: Item, *, with_object: bool = True, with_audio: bool = False) -> Wire:
        """An item as the server sends it. `with_audio`: its sound too, as `conversation.item.retrieved` has it."""
        if item.raw is not None:
            return {"id": item.id, **item.raw}
        wire: Wire = {"id": item.id}
        if with_object or self.always_object:
            wire["object"] = "realtime.item"
        wire["type"] = item.type
        wire["status"] = item.status
        match item.type:
            case "message":
                if item.phase is not None:
                    wire["phase"] = item.phase
                wire["role"] = item.role
                wire["content"] = [self.part(part, item.role, with_audio=with_audio) for part in item.parts]
            case "function_call":
                wire |= {"name": item.name, "call_id": item.call_id, "arguments": item.arguments}
            case _:
                wire |= {"call_id": item.call_id, "output": item.output}
        return wire

    def part(self, part: Part, role: str | None, *, with_audio: bool = False) -> Wire:
        """One part of the content of a message."""
        if part.kind == "image":
            image = {"type": "input_image", "image_url": part.image_url}
            return {**image, "detail": part.detail} if part.detail else image
        if part.kind == "text":
            return {"type": self.text_content if role == "assistant" else "input_text", "text": part.text}
        wire: Wire = {"type": self.audio_content if role == "assistant" else "input_audio"}
        if role != "assistant" or part.transcript is not None:
            wire["transcript"] = part.transcript
        if with_audio:
            wire["audio"] = part.audio_base64()
        return wire

    def response(self, session: Mapping[str, Any], head: Wire, tail: Wire) -> Wire:
        """A response object. `head` and `tail` are what both dialects share; between them stand its settings."""
        limit = self.get(session, "max_output_tokens")
        if self.name == "ga":
            return {
                **head,
                "output_modalities": session["output_modalities"],
                "max_output_tokens": limit,
                "audio": {
                    "output": {"format": self.get(session, "output_format"), "voice": _voice_name(self, session)}
                },
                **tail,
            }
        return {
            **head,
            "modalities": session["modalities"],
            "voice": session["voice"],
            "output_audio_format": session["output_audio_format"],
            "temperature": session["temperature"],
            "max_output_tokens": limit,
            **tail,
        }


def _voice_name(dialect: Dialect, session: Mapping[str, Any]) -> str:
    voice = dialect.get(session, "voice")
    return str(voice["id"]) if isinstance(voice, Mapping) else str(voice)


def _format(value: Any) -> AudioFormat:
    if value is None:
        return _PCM16
    return FORMATS[value if isinstance(value, str) else value["type"]]


def _turn_detection(value: Mapping[str, Any]) -> TurnDetection:
    known = {name: value[name] for name in TurnDetection.__slots__ if value.get(name) is not None}
    return TurnDetection(**{"type": "server_vad", **known})


def _merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> Wire:
    result = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if not isinstance(value, Mapping):
            result[key] = value
        elif (
            key in _WHOLE
            or not isinstance(before, Mapping)
            or value.get("type", before.get("type")) != before.get("type")
        ):
            result[key] = _completed(key, dict(value))
        else:
            result[key] = _merge(before, value)
    return result


def _completed(key: str, value: Wire) -> Wire:
    """A new object with what the vendor adds when it shows it."""
    if key in ("transcription", "input_audio_transcription"):
        return {**defaults()["transcription"], **value}
    if key == "format" and value.get("type") == "audio/pcm":
        return {"rate": 24000, **value}
    return value


@cache
def _template(dialect: str, kind: str) -> bytes:
    session = dict(defaults()[dialect if kind == "realtime" else f"{dialect}_transcription"])
    if "instructions" in session:
        session["instructions"] = defaults()["instructions"]
    return msgspec.json.encode(session)


@cache
def defaults() -> dict[str, Any]:
    """The contents of `defaults.json`. Not to be changed."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("defaults.json").read_text(encoding="utf-8"))
    return loaded


GA = Dialect(
    name="ga",
    paths={
        "model": ("model",),
        "modalities": ("output_modalities",),
        "instructions": ("instructions",),
        "voice": ("audio", "output", "voice"),
        "speed": ("audio", "output", "speed"),
        "input_format": ("audio", "input", "format"),
        "output_format": ("audio", "output", "format"),
        "transcription": ("audio", "input", "transcription"),
        "turn_detection": ("audio", "input", "turn_detection"),
        "tools": ("tools",),
        "tool_choice": ("tool_choice",),
        "max_output_tokens": ("max_output_tokens",),
        "tracing": ("tracing",),
    },
    events={},
    item_added="conversation.item.added",
    item_done="conversation.item.done",
    text_content="output_text",
    audio_content="output_audio",
    always_object=False,
    modalities=(("text",), ("audio",)),
)

BETA = Dialect(
    name="beta",
    paths={
        "model": ("model",),
        "modalities": ("modalities",),
        "instructions": ("instructions",),
        "voice": ("voice",),
        "speed": ("speed",),
        "input_format": ("input_audio_format",),
        "output_format": ("output_audio_format",),
        "transcription": ("input_audio_transcription",),
        "turn_detection": ("turn_detection",),
        "tools": ("tools",),
        "tool_choice": ("tool_choice",),
        "max_output_tokens": ("max_response_output_tokens",),
        "tracing": ("tracing",),
    },
    events={
        "response.output_text.delta": "response.text.delta",
        "response.output_text.done": "response.text.done",
        "response.output_audio.delta": "response.audio.delta",
        "response.output_audio.done": "response.audio.done",
        "response.output_audio_transcript.delta": "response.audio_transcript.delta",
        "response.output_audio_transcript.done": "response.audio_transcript.done",
    },
    item_added="conversation.item.created",
    item_done=None,
    text_content="text",
    audio_content="audio",
    always_object=True,
    modalities=(("text",), ("audio", "text")),
)

DIALECTS: Mapping[str, Dialect] = {"beta": BETA, "ga": GA}
