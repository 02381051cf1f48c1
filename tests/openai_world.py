"""An OpenAI without sockets for tests: a clock that is moved by hand, clients whose frames are kept in lists."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from manual_clock import ManualClock

from fakes.audio import frames, silence
from fakes.knobs import Knobs
from fakes.local import ListRecorder, OpenGates, TypicalChoices
from fakes.openai import KNOBS, Brain, KeyInfo, OpenAIService, RealtimeSession
from fakes.openai.frames import Frame
from fakes.openai.handshake import Accept, HandshakeRequest
from fakes.ports import Ports

KEY = "sk-test-0123456789abcd"
GA_DAY = date(2026, 11, 20)
BETA_DAY = date(2026, 1, 15)
"""A day on which the beta and the GA dialect were both served."""
START = 1_795_132_800.0

Event = dict[str, Any]


class NotedChoices(TypicalChoices):
    """Typical values; writes down what was asked for, tokens aside."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        self.asked.append(point)
        return super().delay(point, low_ms, typical_ms, high_ms)

    def integer(self, point: str, low: int, typical: int, high: int) -> int:
        self.asked.append(point)
        return super().integer(point, low, typical, high)


@dataclass(slots=True)
class ListSink:
    """Keeps the frames, and records them as the shell does when they leave."""

    frames: list[Frame] = field(default_factory=list)
    aborted: bool = False
    session: RealtimeSession | None = None

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)
        assert self.session is not None
        self.session.record_sent(frame)

    def abort(self) -> None:
        self.aborted = True


class Client:
    """One session and what it has sent."""

    def __init__(self, clock: ManualClock, recorder: ListRecorder, session: RealtimeSession, sink: ListSink) -> None:
        self.clock = clock
        self.recorder = recorder
        self.session = session
        self.sink = sink
        self._seen = 0

    def send(self, kind: str, **fields: Any) -> None:
        self.session.receive_text(json.dumps({"type": kind, **fields}))

    def append(self, audio: bytes) -> None:
        self.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    def say(self, phrase: str, *, quiet_ms: int = 400, encoding: str = "pcmu", rate: int = 8000) -> None:
        """Speak, then be silent; in frames of 20 ms, as fast as possible."""
        for frame in frames(phrase, encoding, rate):
            self.append(frame)
        for _ in range(quiet_ms // 20):
            self.append(silence(20, encoding, rate))

    def wait(self, seconds: float = 60.0) -> list[Event]:
        """Let time pass; return the events that have come since last time."""
        self.clock.advance(seconds)
        return self.events()

    def events(self) -> list[Event]:
        """The events that have come since last time."""
        new = self.sink.frames[self._seen :]
        self._seen += len(new)
        return [json.loads(frame.body) for frame in new if frame.kind != "close"]

    def error(self) -> Event:
        """The one event that has come is an error: what is in it."""
        events = self.events()
        assert [event["type"] for event in events] == ["error"], types(events)
        error: Event = events[0]["error"]
        return error


class World:
    """A service, its clock and its record."""

    def __init__(
        self, as_of: date = GA_DAY, knobs: Mapping[str, Any] | None = None, brain: Brain | None = None
    ) -> None:
        self.clock = ManualClock(START)
        self.recorder = ListRecorder()
        self.knobs = Knobs.load(KNOBS)
        for name, value in (knobs or {}).items():
            self.knobs.set(name, value)
        self.choices = NotedChoices()
        ports = Ports(self.clock, self.choices, self.recorder, OpenGates())
        self.service = OpenAIService(ports, as_of=as_of, keys={KEY: KeyInfo()}, knobs=self.knobs, brain=brain)

    def connect(
        self, dialect: str = "ga", *, model: str = "gpt-realtime", query: dict[str, str] | None = None
    ) -> Client:
        """Open a session; `session.created` is still to come."""
        headers = {"authorization": f"Bearer {KEY}"}
        if dialect == "beta":
            headers["openai-beta"] = "realtime=v1"
        opening = self.service.open(HandshakeRequest("/v1/realtime", query or {"model": model}, headers))
        assert isinstance(opening.decision, Accept), opening.decision
        sink = ListSink()
        session = self.service.accept(opening, opening.decision, sink)
        sink.session = session
        session.start()
        return Client(self.clock, self.recorder, session, sink)

    def open(self, dialect: str = "ga", *, g711: bool = True, **session: Any) -> Client:
        """Open a session, wait for it and configure it; nothing of that is left in `events`."""
        client = self.connect(dialect)
        client.wait(5)
        client.send("session.update", session=merge(phone(dialect) if g711 else typed(dialect), session))
        assert types(client.events()) == ["session.updated"]
        return client


def typed(dialect: str) -> Event:
    return {"type": "realtime"} if dialect == "ga" else {}


def phone(dialect: str) -> Event:
    """The session of a telephone gateway."""
    if dialect == "beta":
        return {"input_audio_format": "g711_ulaw", "output_audio_format": "g711_ulaw"}
    mu_law = {"format": {"type": "audio/pcmu"}}
    return {"type": "realtime", "audio": {"input": dict(mu_law), "output": dict(mu_law)}}


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> Event:
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        result[key] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def manual(dialect: str) -> Event:
    """The part of a session that turns turn detection off."""
    return {"turn_detection": None} if dialect == "beta" else {"audio": {"input": {"turn_detection": None}}}


def types(events: Sequence[Event]) -> list[str]:
    return [str(event["type"]) for event in events]


def outline(events: Sequence[Event]) -> list[str]:
    """The types in order, each row of deltas as one `*.delta`, interleaved ones together."""
    result: list[str] = []
    for kind in types(events):
        name = "deltas" if kind.endswith(".delta") else kind
        if not (name == "deltas" and result and result[-1] == "deltas"):
            result.append(name)
    return result


def audio_of(events: Sequence[Event]) -> bytes:
    """The sound in the audio deltas."""
    return b"".join(
        base64.b64decode(event["delta"])
        for event in events
        if event["type"] in ("response.audio.delta", "response.output_audio.delta")
    )


def user_text(text: str) -> Event:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
