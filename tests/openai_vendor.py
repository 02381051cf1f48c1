"""An OpenAI without sockets for tests of its plain HTTP endpoints, and one on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import aiohttp
from aiohttp import web
from manual_clock import ManualClock
from openai_world import GA_DAY, KEY, START, ListSink, NotedChoices

from fakes.knobs import Knobs
from fakes.local import ListRecorder, LoopClock, OpenGates, TypicalChoices
from fakes.openai import KNOBS, KeyInfo, OpenAIServer, OpenAIService, RealtimeSession
from fakes.openai.calls import Call, CallState
from fakes.openai.errors import VendorError
from fakes.openai.frames import Frame
from fakes.openai.handshake import Accept, HandshakeRequest, RefuseInBand
from fakes.openai.http import HttpAnswer, HttpRequest, Offered
from fakes.openai.links import Link
from fakes.openai.service import Opening
from fakes.ports import Ports

OTHER = "sk-other-0123456789abcd"
OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
ANSWER = "v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
NO_AUDIO = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
MINT = "/v1/realtime/client_secrets"
CALLS = "/v1/realtime/calls"
REALTIME = {"type": "realtime", "model": "gpt-realtime"}
TRANSCRIPTION = {
    "type": "transcription",
    "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}, "format": {"type": "audio/pcmu"}}},
}
PUBLISHED = {
    "error": {
        "message": "The model `gpt-realtime` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "code": "model_not_found",
        "param": "",
    }
}


@dataclass
class Answering:
    """An answerer that says the same to everybody."""

    refuse: str | None = None
    calls: list[Call] = field(default_factory=list)
    moves: list[CallState] = field(default_factory=list)

    async def answer(self, call: Call, offer: str) -> str:
        self.calls.append(call)
        call.on_move = lambda moved: self.moves.append(moved.state)
        if self.refuse is not None:
            raise VendorError(self.refuse)
        return ANSWER


class Socket:
    """The client's end of a sideband or a translation session: keeps the frames, and records them as the shell does."""

    link: Link

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.aborted = False
        self._seen = 0

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.link.record_sent(frame)

    def abort(self) -> None:
        self.aborted = True

    def say(self, kind: str, **fields: Any) -> None:
        self.link.receive_text(json.dumps({"type": kind, **fields}))

    def events(self) -> list[dict[str, Any]]:
        """The events that have come since last time."""
        new = self.frames[self._seen :]
        self._seen += len(new)
        return [json.loads(frame.body) for frame in new if frame.kind != "close"]

    def error(self) -> dict[str, Any]:
        """The one event that has come is an error: what is in it."""
        events = self.events()
        assert [event["type"] for event in events] == ["error"], events
        error: dict[str, Any] = events[0]["error"]
        return error

    @property
    def close(self) -> tuple[int, str] | None:
        """Code and reason of the close frame, if one has come."""
        return next(((frame.code, frame.reason) for frame in self.frames if frame.kind == "close"), None)


class Vendor:
    """A service without sockets. `keys` may be changed at any time."""

    def __init__(
        self, day: date = GA_DAY, *, answerer: Answering | None = None, key: KeyInfo | None = None, **knobs: Any
    ) -> None:
        settings = Knobs.load(KNOBS)
        for name, value in knobs.items():
            settings.set(f"openai.{name}", value)
        self.recorder = ListRecorder()
        self.clock = ManualClock(START)
        ports = Ports(self.clock, NotedChoices(), self.recorder, OpenGates())
        self.keys = {KEY: key or KeyInfo()}
        self.service = OpenAIService(ports, as_of=day, keys=self.keys, knobs=settings, answerer=answerer)

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        key: str | None = KEY,
        method: str = "POST",
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> HttpAnswer | Offered:
        sent = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        raw = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        return self.service.http(HttpRequest(method, path, sent, query or {}, raw))

    def get(self, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """The body of a request that is granted."""
        answer = self.ask(path, body, **options)
        assert isinstance(answer, HttpAnswer)
        assert (answer.status, answer.invalid) == (200, None), answer.body
        return answer.body or {}

    def mint(self, session: Any = REALTIME, **options: Any) -> str:
        value = self.get(MINT, {"session": session}, **options)["value"]
        assert isinstance(value, str)
        return value

    def refusal(self, path: str, body: Any = None, **options: Any) -> tuple[int, str | None, str | None, str]:
        """Status, code, parameter and message of a request that is refused."""
        answer = self.ask(path, body, **options)
        assert isinstance(answer, HttpAnswer), answer
        assert answer.body is not None, answer
        error = answer.body["error"]
        return answer.status, error["code"], error["param"], error["message"]

    def offer(self, key: str, offer: str = OFFER, **options: Any) -> HttpAnswer | Offered:
        return self.ask(CALLS, offer, key=key, content_type="application/sdp", **options)

    def refused_call(self, key: str, offer: str = OFFER, **options: Any) -> tuple[int, dict[str, Any]]:
        answer = self.offer(key, offer, **options)
        assert isinstance(answer, HttpAnswer), answer
        assert answer.body is not None
        return answer.status, answer.body

    def call(self, key: str, **options: Any) -> Call:
        offered = self.offer(key, **options)
        assert isinstance(offered, Offered), offered
        return offered.call

    def handshake(
        self,
        key: str,
        query: Mapping[str, str] | None = None,
        *,
        subprotocols: tuple[str, ...] | None = None,
        path: str = "/v1/realtime",
        **headers: str,
    ) -> Opening:
        if subprotocols is None:
            headers["authorization"] = f"Bearer {key}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.service.open(HandshakeRequest(path, query or {}, sent, subprotocols or ()))

    def connect(self, key: str, query: Mapping[str, str] | None = None, **options: Any) -> RealtimeSession:
        """Open a session and wait for `session.created`."""
        opening = self.handshake(key, query, **options)
        assert isinstance(opening.decision, Accept), opening.decision
        sink = ListSink()
        session = self.service.accept(opening, opening.decision, sink)
        sink.session = session
        session.start()
        self.clock.advance(5)
        created = json.loads(sink.frames[0].body)
        assert created["session"] == session.wire
        assert sink.frames[0].invalid is None
        return session

    def join(self, key: str, query: Mapping[str, str] | None = None, *, start: bool = True, **options: Any) -> Socket:
        """Open a sideband or a translation session, and let it start, unless whoever asks does that."""
        opening = self.handshake(key, query, **options)
        assert isinstance(opening.decision, Accept), opening.decision
        sink = Socket()
        link = self.service.serve(opening, opening.decision, sink)
        assert isinstance(link, Link)
        sink.link = link
        if start:
            link.start()
            self.clock.advance(5)
        return sink

    def rejected(self, key: str, query: Mapping[str, str] | None = None, **options: Any) -> tuple[str | None, int]:
        decision = self.handshake(key, query, **options).decision
        assert isinstance(decision, RefuseInBand), decision
        return decision.error.code, decision.code


def multipart(**parts: str) -> tuple[str, str]:
    """A body and its content type."""
    lines = [f'--b0\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in parts.items()]
    return "".join(lines) + "--b0--\r\n", "multipart/form-data; boundary=b0"


@asynccontextmanager
async def listening(
    *,
    routes: Mapping[str, str] | None = None,
    knobs: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[OpenAIService, ListRecorder, aiohttp.ClientSession]]:
    settings = Knobs.load(KNOBS)
    for name, value in (knobs or {}).items():
        settings.set(f"openai.{name}", value)
    recorder = ListRecorder()
    ports = Ports(LoopClock(), TypicalChoices(), recorder, OpenGates())
    service = OpenAIService(ports, as_of=GA_DAY, keys={KEY: KeyInfo()}, knobs=settings, **options)
    server = OpenAIServer(service, routes=routes)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as http:
        yield service, recorder, http
    await server.close()
    await runner.cleanup()
