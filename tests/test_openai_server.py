"""The service over real sockets on loopback: handshakes, refusals, closes, resets, HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from openai_world import KEY, phone, types

from fakes.audio import frames, silence
from fakes.knobs import Knobs
from fakes.local import ListRecorder, LoopClock, OpenGates, Recorded, TypicalChoices
from fakes.openai import KNOBS, HandshakePlan, KeyInfo, OpenAIServer, OpenAIService
from fakes.ports import Ports

URL = "/v1/realtime?model=gpt-realtime"
BEARER = {"Authorization": f"Bearer {KEY}"}


class QuickChoices(TypicalChoices):
    """Nothing takes longer than it must."""

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        return low_ms / 1000

    def integer(self, point: str, low: int, typical: int, high: int) -> int:
        return low


class CountingGates(OpenGates):
    """Writes down the deliveries."""

    def __init__(self) -> None:
        self.points: list[str] = []

    def delivery(self, point: str) -> AbstractAsyncContextManager[None]:
        self.points.append(point)
        return super().delivery(point)


class Rig:
    """A service on loopback and an HTTP client."""

    def __init__(self, service: OpenAIService, recorder: ListRecorder, gates: CountingGates, http: Any) -> None:
        self.service = service
        self.recorder = recorder
        self.gates = gates
        self.http: aiohttp.ClientSession = http

    def kinds(self) -> list[str]:
        return [message.kind for message in self.recorder.messages]

    def last(self, kind: str) -> Recorded:
        return [message for message in self.recorder.messages if message.kind == kind][-1]

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Connect and swallow `session.created`."""
        async with self.http.ws_connect(URL, **{"headers": BEARER, **options}) as ws:
            assert (await ws.receive_json())["type"] == "session.created"
            yield ws


@asynccontextmanager
async def rig(as_of: date = date(2026, 11, 20), **knobs: Any) -> AsyncIterator[Rig]:
    settings = Knobs.load(KNOBS)
    for name, value in knobs.items():
        settings.set(f"openai.{name}", value)
    recorder, gates = ListRecorder(), CountingGates()
    ports = Ports(LoopClock(), QuickChoices(), recorder, gates)
    service = OpenAIService(ports, as_of=as_of, keys={KEY: KeyInfo()}, knobs=settings)
    server = OpenAIServer(service)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as http:
        yield Rig(service, recorder, gates, http)
    await server.close()
    await runner.cleanup()


async def test_a_session_and_its_record() -> None:
    async with rig() as r:
        async with r.connect() as ws:
            await ws.send_json({"type": "session.update", "session": phone("ga")})
            assert (await ws.receive_json())["type"] == "session.updated"
            for frame in (*frames("yes"), *[silence(20)] * 20):
                audio = base64.b64encode(frame).decode()
                await ws.send_json({"type": "input_audio_buffer.append", "audio": audio})
            seen = []
            while "response.done" not in seen:
                seen.append((await ws.receive_json())["type"])
            await ws.close(code=1000, message=b"bye")
        session = await r.service.wait_session(1)
        closed = await r.service.wait_for(lambda: session.closed)
        assert (closed.code, closed.reason, closed.initiator) == (1000, "bye", "gateway")
        assert r.kinds()[:4] == ["upgrade", "upgrade.accepted", "session.created", "session.update"]
        assert {message.connection for message in r.recorder.messages} == {"openai#1"}
        assert {message.invalid for message in r.recorder.messages} == {None}
        assert [message.source for message in r.recorder.messages[:4]] == ["gateway", "openai", "openai", "gateway"]
        assert r.kinds().count("input_audio_buffer.append") == len(frames("yes")) + 20
        assert r.last("close").meta == {"code": 1000, "reason": "bye", "initiator": "gateway"}
        assert types(session.received) == ["session.update"]
        assert r.gates.points == ["openai/session1/handshake"]


async def test_refusals_come_in_band() -> None:
    async with rig() as r:
        for headers, query, code, reason in (
            ({"Authorization": "Bearer sk-wrong-0123456789"}, "?model=gpt-realtime", 3000, "invalid_api_key"),
            ({**BEARER, "OpenAI-Beta": "realtime=v1"}, "?model=gpt-realtime", 4000, "beta_api_shape_disabled"),
            (BEARER, "", 4000, "missing_model"),
            (BEARER, "?model=gpt-4o-realtime-preview", 4004, "model_not_found"),
        ):
            async with r.http.ws_connect(f"/v1/realtime{query}", headers=headers) as ws:
                error = await ws.receive_json()
                assert error["error"]["code"] == reason
                message = await ws.receive()
                assert message.type is WSMsgType.CLOSE
                assert (message.data, message.extra) == (code, f"invalid_request_error.{reason}")
            assert r.last("close").meta["initiator"] == "openai"
            assert r.last("error").invalid is None
        assert r.service.sessions == []
        assert len(r.service.openings) == 4


async def test_a_bad_key_over_http_and_a_day_without_the_api() -> None:
    async with rig(bad_key_answer="http") as r:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await r.http.ws_connect(URL, headers={"Authorization": "Bearer nope"})
        assert refused.value.status == 401
        assert r.kinds() == ["upgrade", "upgrade.refused"]
        assert r.last("upgrade.refused").meta["status"] == 401
    async with rig(date(2024, 9, 1)) as r:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await r.http.ws_connect(URL, headers=BEARER)
        assert refused.value.status == 404


async def test_the_subprotocol_realtime_is_selected() -> None:
    async with rig() as r, r.connect(headers={}, protocols=("realtime", f"openai-insecure-api-key.{KEY}")) as ws:
        assert ws.protocol == "realtime"


@pytest.mark.parametrize("deflate", [False, True])
async def test_compression_is_a_knob(deflate: bool) -> None:
    async with rig(permessage_deflate=deflate) as r, r.connect(compress=15) as ws:
        assert bool(ws.compress) is deflate


async def test_plans_of_handshakes() -> None:
    async with rig() as r:
        r.service.plan(HandshakePlan(refuse_http=(429, "rate_limit_exceeded"), headers={"Retry-After": "3"}))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await r.http.ws_connect(URL, headers=BEARER)
        assert refused.value.status == 429
        assert refused.value.headers is not None
        assert refused.value.headers["Retry-After"] == "3"
        r.service.plan(HandshakePlan(refuse_in_band="server_error"), connection=2)
        async with r.http.ws_connect(URL, headers=BEARER) as ws:
            assert (await ws.receive_json())["error"]["type"] == "server_error"
            assert (await ws.receive()).data == 1011
        for connection in (3, 4):  # aiohttp tries a GET that was reset a second time
            r.service.plan(HandshakePlan(reset=True), connection=connection)
        with pytest.raises(aiohttp.ClientError):
            await r.http.ws_connect(URL, headers=BEARER)
        r.service.plan(HandshakePlan(delay_ms=0, created_delay_ms=0))
        async with r.connect():
            pass
        with pytest.raises(KeyError, match=r"errors\.toml"):
            HandshakePlan(refuse_in_band="no_such_error")


async def test_a_client_that_does_not_wait_for_its_answer() -> None:
    async with rig() as r:
        r.service.plan(HandshakePlan(delay_ms=30))
        connecting = asyncio.ensure_future(r.http.ws_connect(URL, headers=BEARER))
        await r.service.wait_for(lambda: r.service.openings)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await r.service.wait_for(lambda: "close" in r.kinds())
        assert r.last("close").meta["code"] == 1006
        assert r.service.sessions == []


async def test_a_handshake_that_is_never_answered_ends_with_the_server() -> None:
    async with rig() as r:
        r.service.plan(HandshakePlan(silent=True))
        connecting = asyncio.ensure_future(r.http.ws_connect(URL, headers=BEARER))
        await r.service.wait_for(lambda: r.service.openings)
    assert isinstance((await asyncio.gather(connecting, return_exceptions=True))[0], BaseException)


async def test_the_server_closes() -> None:
    async with rig() as r, r.connect() as ws:
        session = r.service.sessions[0]
        session.error("server_error", "One moment.")
        session.close(1012, "restart")
        assert (await ws.receive_json())["type"] == "error"
        message = await ws.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 1012, "restart")
        assert session.closed is not None
        assert session.closed.initiator == "openai"
        assert r.last("close").meta == {"code": 1012, "reason": "restart", "initiator": "openai"}
        assert r.gates.points[-1] == "openai/session1/close"


async def test_the_server_resets() -> None:
    async with rig() as r, r.connect() as ws:
        r.service.sessions[0].abort()
        message = await ws.receive()
        assert message.type in (WSMsgType.ERROR, WSMsgType.CLOSED)
        assert ws.close_code == 1006
        assert r.last("close").meta["code"] == 1006


async def test_the_client_resets() -> None:
    async with rig() as r, r.connect() as ws:
        transport = ws.get_extra_info("socket")
        assert transport is not None
        assert ws._writer is not None  # the only way to the transport of an aiohttp client
        ws._writer.transport.abort()
        session = r.service.sessions[0]
        closed = await r.service.wait_for(lambda: session.closed)
        assert (closed.code, closed.initiator) == (1006, "gateway")


async def test_a_message_that_is_too_large() -> None:
    async with rig() as r, r.connect() as ws:
        await ws.send_str(" " * (16 * 1024 * 1024 + 1))
        message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1009)
        session = r.service.sessions[0]
        closed = await r.service.wait_for(lambda: session.closed)
        assert (closed.code, closed.initiator) == (1009, "openai")
        assert r.last("oversized").meta == {"bytes": 16 * 1024 * 1024 + 1}


async def test_binary_frames_are_recorded_and_refused() -> None:
    async with rig() as r, r.connect() as ws:
        await ws.send_bytes(b"\x00\x01")
        assert (await ws.receive_json())["error"]["code"] == "invalid_event"
        assert r.last("binary").body == b"\x00\x01"
        assert r.last("binary").invalid is not None


async def test_the_server_pings() -> None:
    async with rig(ping_seconds=1) as r, r.http.ws_connect(URL, headers=BEARER, autoping=False) as ws:
        assert (await ws.receive()).type is WSMsgType.TEXT
        assert (await ws.receive(timeout=10)).type is WSMsgType.PING  # by default it would take 20 s


async def test_interruptions_pass_their_gate() -> None:
    async with rig() as r, r.connect() as ws:
        await ws.send_json({"type": "session.update", "session": phone("ga")})
        await ws.send_json({"type": "response.create"})
        while (await ws.receive_json())["type"] != "response.content_part.added":
            pass
        for frame in frames("stop_please"):
            audio = base64.b64encode(frame).decode()
            await ws.send_json({"type": "input_audio_buffer.append", "audio": audio})
        while (await ws.receive_json())["type"] != "input_audio_buffer.speech_started":
            pass
        assert r.gates.points == ["openai/session1/handshake", "openai/session1/interruption1"]


async def test_a_condition_that_fails_fails_its_waiter() -> None:
    async with rig() as r:

        def broken() -> bool:
            if r.service.openings:
                raise LookupError("broken condition")
            return False

        waiting = asyncio.ensure_future(r.service.wait_for(broken))
        await asyncio.sleep(0)
        async with r.connect():
            with pytest.raises(LookupError, match="broken condition"):
                await waiting


async def test_models_and_unknown_urls() -> None:
    async with rig() as r:
        async with r.http.get("/v1/models", headers=BEARER) as answer:
            listing = await answer.json()
        names = [model["id"] for model in listing["data"]]
        assert listing["object"] == "list"
        assert "gpt-realtime-2.1" in names
        assert "gpt-4o-realtime-preview" not in names
        async with r.http.get("/v1/models/gpt-realtime", headers=BEARER) as answer:
            assert await answer.json() == {
                "id": "gpt-realtime",
                "object": "model",
                "created": 1756339200,
                "owned_by": "system",
            }
        for method, path, status, code, text in (
            ("GET", "/v1/models/gpt-4o-realtime-preview", 404, "model_not_found", "does not exist"),
            ("POST", "/v1/nope", 404, None, "Invalid URL (POST /v1/nope)"),
            ("GET", "/", 404, None, "Invalid URL (GET /)"),
            ("GET", "/v1/realtime", 426, None, "WebSocket"),
        ):
            async with r.http.request(method, path, headers=BEARER, data=b"{}" if method == "POST" else None) as answer:
                error = (await answer.json())["error"]
                assert (answer.status, error["code"]) == (status, code)
                assert text in error["message"]
                assert set(error) == {"message", "type", "param", "code"}
        async with r.http.get("/v1/models", headers={"Authorization": "Bearer sk-wrong-0123456789"}) as answer:
            assert answer.status == 401
        assert r.kinds() == ["request", "response"] * 7
        assert r.recorder.messages[0].connection == "openai/http#1"
        assert r.recorder.messages[0].meta["method"] == "GET"


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({"authorization": "Bearer sk-x", "upgrade": "websocket"}, "gateway"),
        # `websocket-client` of Python sends one by default; no page can send the other.
        ({"authorization": "Bearer sk-x", "upgrade": "WebSocket", "origin": "https://api.openai.com"}, "gateway"),
        ({"origin": "https://gw.example.test", "upgrade": "websocket"}, "browser"),
        ({"origin": "https://gw.example.test", "authorization": "Bearer ek_x"}, "browser"),
    ],
)
async def test_who_a_client_is(headers: dict[str, str], who: str) -> None:
    ports = Ports(LoopClock(), TypicalChoices(), ListRecorder(), OpenGates())
    service = OpenAIService(ports, as_of=date(2026, 11, 20), keys={KEY: KeyInfo()}, browser_party="browser")
    assert service.client(headers) == who
