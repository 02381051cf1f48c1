"""A Twilio without sockets for tests: a clock that is moved by hand, a shell that keeps everything in lists."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from manual_clock import ManualClock

from fakes.local import ListRecorder, OpenGates, TypicalChoices
from fakes.people import Person
from fakes.ports import Ports
from fakes.twilio import Call, PhoneNumber, Stream, Twilio, default_knobs
from fakes.twilio.boundary import (
    CloseHow,
    Failure,
    RestAnswer,
    RestRequest,
    StreamFailure,
    StreamOpening,
    WebhookAnswer,
    WebhookFailure,
    WebhookRequest,
)

T = TypeVar("T")
ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "0123456789abcdef0123456789abcdef"
NUMBER = "+15005550006"
CALLER = "+15550002000"
CALLEE = "+15550003000"
VOICE = "https://gw.example.test/voice"
STATUS = "https://gw.example.test/status"
STREAM = '<Response><Connect><Stream url="wss://gw.example.test/media"/></Connect></Response>'
BASE = f"/2010-04-01/Accounts/{ACCOUNT}"
START = 1_521_971_599.0
"""Sun, 25 Mar 2018 09:53:19 +0000, a time of which a capture is known."""


class FixedChoices(TypicalChoices):
    """Typical values, except at the points that a test names: ms for delays, True for flags."""

    def __init__(self, fixed: Mapping[str, Any]) -> None:
        self.fixed = dict(fixed)
        self.asked: list[str] = []

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        self.asked.append(point)
        return float(self.fixed.get(point, typical_ms)) / 1000

    def flag(self, point: str, chance: float) -> bool:
        self.asked.append(point)
        return bool(self.fixed.get(point, super().flag(point, chance)))


Reply = str | bytes | WebhookAnswer | WebhookFailure | None


@dataclass
class Sent:
    at: float
    request: WebhookRequest

    @property
    def params(self) -> dict[str, str]:
        query = urlsplit(self.request.url).query if self.request.method == "GET" else self.request.body
        return dict(parse_qsl(query, keep_blank_values=True))

    @property
    def path(self) -> str:
        return urlsplit(self.request.url).path

    def header(self, name: str) -> str:
        return dict(self.request.headers).get(name, "")


@dataclass
class ListIO:
    """Answers webhooks from `replies` (by path: one reply, or a list of them in turn) and accepts every stream."""

    clock: ManualClock
    replies: dict[str, Any] = field(default_factory=dict)
    latency: float = 0.01
    twilio: Twilio = field(init=False)
    requests: list[Sent] = field(default_factory=list)
    openings: list[tuple[float, StreamOpening]] = field(default_factory=list)
    refuse: StreamFailure | None = None
    frames: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    closed: list[tuple[float, str, CloseHow]] = field(default_factory=list)
    congested: bool = False
    points: list[str] = field(default_factory=list)

    def fetch(self, request: WebhookRequest) -> None:
        self.points.append(request.point)
        self.requests.append(Sent(self.clock.now(), request))
        reply = self.replies.get(urlsplit(request.url).path, "<Response/>")
        if isinstance(reply, list):
            reply = reply.pop(0)

        def answer() -> None:
            self.twilio.webhook_answered(request.id, as_answer(reply))

        self.twilio.webhook_sent(request.id)
        if reply is not None:
            self.clock.call_at(self.clock.now() + self.latency, answer)

    def open_stream(self, opening: StreamOpening) -> None:
        self.points.append(opening.point)
        self.openings.append((self.clock.now(), opening))

        def connect() -> None:
            if not self.twilio.stream_opening(opening.name):
                return
            if self.refuse is not None:
                self.twilio.stream_failed(opening.name, self.refuse)
            else:
                self.twilio.stream_opened(opening.name)

        self.clock.call_at(self.clock.now() + self.latency, connect)

    def send(self, stream: str, text: str) -> bool:
        if self.congested:
            return False
        self.frames.append((self.clock.now(), stream, json.loads(text)))
        return True

    def close_stream(self, stream: str, how: CloseHow) -> None:
        self.closed.append((self.clock.now(), stream, how))

    def deliver(self, point: str, effect: Callable[[], None]) -> None:
        self.points.append(point)
        self.clock.call_at(self.clock.now(), effect)


def as_answer(reply: Reply) -> WebhookAnswer | WebhookFailure:
    if isinstance(reply, (WebhookAnswer, WebhookFailure)):
        return reply
    body = reply.encode() if isinstance(reply, str) else reply or b""
    return WebhookAnswer(200, (("Content-Type", "text/xml"),), body)


def answer(status: int, body: str = "", kind: str = "text/xml", **headers: str) -> WebhookAnswer:
    return WebhookAnswer(status, (("Content-Type", kind), *headers.items()), body.encode())


REFUSED = WebhookFailure(Failure.REFUSED, "connection refused")


class World:
    """A Twilio with one number, a caller and a callee."""

    def __init__(
        self,
        *,
        replies: Mapping[str, Any] | None = None,
        knobs: Mapping[str, Any] | None = None,
        fixed: Mapping[str, Any] | None = None,
        number: Mapping[str, str] | None = None,
        audio: bool = True,
        choices: FixedChoices | None = None,
    ) -> None:
        self.clock = ManualClock(START)
        self.recorder = ListRecorder()
        self.choices = choices or FixedChoices(fixed or {})
        ports = Ports(self.clock, self.choices, self.recorder, OpenGates())
        self.knobs = default_knobs()
        for name, value in (knobs or {}).items():
            self.knobs.set(f"twilio.{name}", value)
        config = {"voice_url": VOICE, "status_callback": STATUS, **(number or {})}
        self.twilio = Twilio(
            ports,
            account_sid=ACCOUNT,
            auth_token=TOKEN,
            numbers=[PhoneNumber(NUMBER, **config)],
            knobs=self.knobs,
            audio=audio,
        )
        self.io = ListIO(self.clock, {"/voice": STREAM, **(replies or {})})
        self.io.twilio = self.twilio
        self.twilio.io = self.io
        self.caller = Person(ports, number=CALLER, party="caller")
        self.callee = Person(ports, number=CALLEE, party="callee")
        self.twilio.add_phone(self.callee)

    # -------------------------------------------------------------- REST

    def rest(
        self, path: str, method: str = "POST", auth: str | None = f"{ACCOUNT}:{TOKEN}", query: str = "", **form: Any
    ) -> RestAnswer:
        headers = {"host": "api.twilio.com"}
        if auth is not None:
            headers["authorization"] = "Basic " + b64encode(auth.encode()).decode()
        pairs = [(k, v) for k, value in form.items() for v in (value if isinstance(value, list) else [value])]
        from urllib.parse import urlencode

        return self.twilio.rest(RestRequest(method, path, headers, urlencode(pairs), query))

    def create(self, **form: Any) -> Call:
        defaults = {"To": CALLEE, "From": NUMBER, "Url": VOICE, "StatusCallback": STATUS}
        given = {**defaults, **form}
        result = self.rest(f"{BASE}/Calls.json", **{k: v for k, v in given.items() if v is not None})
        assert result.status == 201, result.body
        return self.twilio.calls[-1]

    def update(self, call: Call, **form: str) -> RestAnswer:
        return self.rest(f"{BASE}/Calls/{call.sid}.json", **form)

    # -------------------------------------------------------------- story

    def dial(self) -> Call:
        return self.caller.dial(self.twilio, NUMBER)

    def streaming(self) -> tuple[Call, Stream]:
        """An inbound call whose stream has just started."""
        call = self.dial()
        while not (call.streams and call.streams[0].started_at is not None):
            self.clock.advance(0.001)
            assert self.clock.now() < 5
        return call, call.streams[0]

    def run(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def sends(self, stream: Stream, **message: Any) -> None:
        """The gateway sends one message."""
        self.twilio.stream_received(stream.name, json.dumps({"streamSid": stream.sid, **message}))

    def plays(self, stream: Stream, data: bytes) -> None:
        """The gateway sends audio."""
        self.sends(stream, event="media", media={"payload": b64encode(data).decode()})

    def marks(self, stream: Stream, name: str) -> None:
        self.sends(stream, event="mark", mark={"name": name})

    def events(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        """The messages of one kind that Twilio has sent on streams, with their times."""
        return [(at, message) for at, _, message in self.io.frames if message["event"] == kind]

    def posted(self, path: str) -> list[Sent]:
        """The webhooks to one path, in the order in which they left."""
        return [sent for sent in self.io.requests if sent.path == path]

    def codes(self) -> list[int]:
        """The codes in the debugger."""
        return [entry.code for entry in self.twilio.debugger]

    def recorded(self, channel: str) -> Sequence[Any]:
        return [message for message in self.recorder.messages if message.channel == channel]
