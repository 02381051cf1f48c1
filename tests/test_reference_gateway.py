"""The reference gateway over loopback: webhooks, streams, operator API, its handshake with OpenAI, start and stop."""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import (
    ClientResponse,
    ClientSession,
    ClientWebSocketResponse,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from aiohttp.test_utils import TestServer, unused_port

from reference_impl import signature
from reference_impl.app import main, serve
from reference_impl.config import ConfigError, load
from reference_impl.gateway import Gateway

SID = "CA" + "0" * 31 + "1"
OTHER = "CA" + "0" * 31 + "2"
ENVIRON = {
    "GATEWAY_PUBLIC_URL": "https://gw.example.test",
    "GATEWAY_TOKEN": "operator-token",
    "GATEWAY_GREETING": "",
    "OPENAI_API_KEY": "sk-test-key",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}
OPERATOR = {"Authorization": "Bearer operator-token"}
Frame = dict[str, Any]


class Vendors:
    """Just enough of both vendors, in one server. `greeting` is what OpenAI sends first; `refuse` a status instead."""

    def __init__(self) -> None:
        self.first: list[Frame] = [{"type": "session.created", "session": {}}]
        self.refuse = 0
        self.upgrades: list[web.Request] = []
        self.received: asyncio.Queue[Frame] = asyncio.Queue()
        self.session: web.WebSocketResponse | None = None
        self.closed = asyncio.Event()
        self.rest: list[tuple[str, list[tuple[str, str]], str]] = []
        self.answer: tuple[int, Frame] = (201, {"sid": SID, "status": "queued"})

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/realtime", self.realtime)
        app.router.add_post("/2010-04-01/{tail:.*}", self.on_rest)
        return app

    async def realtime(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append(request)
        if self.refuse:
            return web.Response(status=self.refuse)
        self.session = ws = web.WebSocketResponse()
        await ws.prepare(request)
        for event in self.first:
            await ws.send_json(event)
        async for message in ws:
            event = json.loads(message.data)
            self.received.put_nowait(event)
            if event["type"] == "session.update":
                await ws.send_json({"type": "session.updated", "session": event["session"]})
        self.closed.set()
        return ws

    async def on_rest(self, request: web.Request) -> web.Response:
        form = [(name, str(value)) for name, value in (await request.post()).items()]
        self.rest.append((request.path, form, request.headers["Authorization"]))
        status, body = self.answer
        return web.json_response(body, status=status)


class World:
    """A gateway that is up, its vendors, and a client that plays Twilio and the operator."""

    def __init__(self, vendors: Vendors, url: str, client: ClientSession) -> None:
        self.vendors, self.url, self.client = vendors, url, client

    async def webhook(self, path: str, **params: str) -> ClientResponse:
        form = {"CallSid": SID, "Direction": "inbound", "CallStatus": "ringing", "From": "+1", "To": "+2", **params}
        return await self.send(path, form, signature.sign("auth-token", "https://gw.example.test" + path, form.items()))

    async def send(self, path: str, form: dict[str, str], signed: str) -> ClientResponse:
        response = await self.client.post(self.url + path, data=form, headers={"X-Twilio-Signature": signed})
        await response.read()
        return response

    async def token(self, sid: str = SID) -> str:
        """Fetch the TwiML of a call and take the token out of it."""
        text = await (await self.webhook("/twilio/voice", CallSid=sid)).text()
        found = re.search(r'<Parameter name="token" value="([^"]+)"/>', text)
        assert found, text
        return found[1]

    async def stream(self) -> ClientWebSocketResponse:
        signed = signature.sign("auth-token", "wss://gw.example.test/twilio/stream/")
        return await self.client.ws_connect(self.url + "/twilio/stream", headers={"X-Twilio-Signature": signed})

    async def started(self, token: str, sid: str = SID, **changes: Any) -> ClientWebSocketResponse:
        ws = await self.stream()
        await ws.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "accountSid": ENVIRON["TWILIO_ACCOUNT_SID"],
            "callSid": sid,
            "streamSid": "MZ1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": token},
            **changes,
        }
        await ws.send_json({"event": "start", "sequenceNumber": "1", "start": start, "streamSid": "MZ1"})
        return ws

    async def get(self, path: str) -> Any:
        async with self.client.get(self.url + path, headers=OPERATOR) as response:
            return await response.json()


@asynccontextmanager
async def world(gateway_class: type[Gateway] = Gateway, **environ: str) -> AsyncIterator[World]:
    vendors, port = Vendors(), unused_port()
    async with TestServer(vendors.app()) as server, ClientSession() as client:
        base = str(server.make_url("")).rstrip("/")
        urls = {"OPENAI_BASE_URL": f"{base}/v1", "TWILIO_BASE_URL": base, "GATEWAY_PORT": str(port)}
        task = asyncio.create_task(serve(load([], {**ENVIRON, **urls, **environ}), ready_class(gateway_class)))
        await Ready.event.wait()
        try:
            yield World(vendors, f"http://127.0.0.1:{port}", client)
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


class Ready:
    event: asyncio.Event


def ready_class(gateway_class: type[Gateway]) -> type[Gateway]:
    """The same gateway, whose log tells the test when it listens."""
    Ready.event = asyncio.Event()

    class Log(gateway_class.log_class):  # type: ignore[name-defined,misc]
        __slots__ = ()

        def event(self, name: str, *, level: str = "info", **fields: Any) -> None:
            super().event(name, level=level, **fields)
            if name == "gateway.ready":
                Ready.event.set()

    return type("ReadyGateway", (gateway_class,), {"log_class": Log})


async def close_code(ws: ClientWebSocketResponse) -> int | None:
    """Read to the end."""
    while (await ws.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR):
        pass
    return ws.close_code


# Webhooks


async def test_twiml_connects_a_stream_and_apologises_after_it() -> None:
    async with world() as w:
        response = await w.webhook("/twilio/voice")
        text = await response.text()
        assert response.status == 200
        assert response.content_type == "text/xml"
        assert '<Connect><Stream url="wss://gw.example.test/twilio/stream"><Parameter name="token" value="' in text
        assert text.endswith("</Connect>" + text[text.index("<Say>") :])
        assert text.endswith("<Hangup/></Response>")


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/status"])
async def test_webhook_without_a_good_signature_is_forbidden(path: str) -> None:
    async with world() as w:
        form = {"CallSid": SID, "CallStatus": "ringing"}
        local = signature.sign("auth-token", w.url + path, form.items())
        for signed in ("", "x", local):
            assert (await w.send(path, form, signed)).status == 403
        assert (await w.get("/calls"))["calls"] == []


async def test_webhook_without_a_call_sid_is_a_bad_request() -> None:
    async with world() as w:
        assert (await w.webhook("/twilio/voice", CallSid="x")).status == 400


async def test_status_is_answered_with_nothing_and_does_nothing_to_the_call() -> None:
    async with world() as w:
        await w.token()
        response = await w.webhook("/twilio/status", CallStatus="in-progress", SequenceNumber="2")
        assert (response.status, await response.text()) == (204, "")
        await w.webhook("/twilio/status", CallStatus="completed", SequenceNumber="3")
        await w.webhook("/twilio/status", CallStatus="ringing", SequenceNumber="1")
        assert (await w.get("/calls"))["calls"][0]["status"] == "completed"
        assert (await w.get("/healthz"))["active_calls"] == 0
        assert w.vendors.rest == []


async def test_late_fetch_of_an_ended_call_gets_a_hangup() -> None:
    async with world() as w:
        await w.webhook("/twilio/status", CallStatus="completed", SequenceNumber="0")
        text = await (await w.webhook("/twilio/voice", CallStatus="ringing")).text()
        assert text.endswith("<Response><Hangup/></Response>")


# Streams


async def test_call_is_bridged_and_everything_is_closed_at_the_end() -> None:
    async with world() as w:
        ws = await w.started(await w.token())
        update = await w.vendors.received.get()
        assert update["session"]["type"] == "realtime"
        assert "OpenAI-Beta" not in w.vendors.upgrades[0].headers
        assert w.vendors.upgrades[0].headers["Authorization"] == "Bearer sk-test-key"
        assert await w.get("/healthz") == {"status": "ok", "active_calls": 1, "streams": 1, "upstream_sessions": 1}
        await ws.send_json({"event": "media", "streamSid": "MZ1", "media": {"payload": "//8="}})
        assert await w.vendors.received.get() == {"type": "input_audio_buffer.append", "audio": "//8="}
        await ws.send_json({"event": "stop", "streamSid": "MZ1", "stop": {}})
        await w.vendors.closed.wait()
        assert await close_code(ws) == 1000
        while (await w.get("/healthz"))["streams"]:  # the handler has a step or two to go
            pass
        assert (await w.get("/calls"))["calls"][0]["streaming"] is False


async def test_frames_that_are_no_json_objects_are_skipped() -> None:
    async with world() as w:
        ws = await w.started(await w.token())
        await w.vendors.received.get()
        assert w.vendors.session is not None
        for session in (ws, w.vendors.session):
            await session.send_bytes(b"\x00")
            await session.send_str("{")
            await session.send_str("[" * 50_000)
            await session.send_str("[1]")
        await ws.send_str(json.dumps({"event": "media", "pad": "x" * 2_000_000}))
        await ws.send_json({"event": "media", "streamSid": "MZ1", "media": {"payload": "//8="}})
        assert (await w.vendors.received.get())["audio"] == "//8="
        await ws.send_json({"event": "stop", "streamSid": "MZ1", "stop": {}})
        await close_code(ws)


async def test_token_is_good_once_and_for_its_call_only() -> None:
    async with world() as w:
        token = await w.token()
        await w.token(OTHER)
        assert await close_code(await w.started(token, OTHER)) == 1008
        first = await w.started(token)
        await w.vendors.received.get()
        assert await close_code(await w.started(token)) == 1008
        assert await close_code(await w.started(await w.token())) == 1008  # a second stream, with a token of its own
        assert len(w.vendors.upgrades) == 1
        await first.send_json({"event": "stop", "streamSid": "MZ1", "stop": {}})
        assert await close_code(first) == 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"customParameters": {}},
        {"customParameters": None},
        {"callSid": None},
        {"streamSid": 'MZ"'},
        {"mediaFormat": {"encoding": "audio/l16"}},
    ],
)
async def test_wrong_start_is_refused(changes: Frame) -> None:
    async with world() as w:
        assert await close_code(await w.started(await w.token(), **changes)) == 1008


async def test_stream_without_start_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_impl.gateway.START_TIMEOUT", 0.01)
    async with world() as w:
        assert await close_code(await w.stream()) == 1008


async def test_upgrade_without_a_good_signature_is_forbidden() -> None:
    async with world() as w:
        with pytest.raises(WSServerHandshakeError) as caught:
            await w.client.ws_connect(w.url + "/twilio/stream")
        assert caught.value.status == 403


@pytest.mark.parametrize(
    "change",
    [
        {"refuse": 401},
        {"refuse": 503},
        {"first": [{"type": "error", "error": {"type": "invalid_request_error", "code": "beta_api_shape_disabled"}}]},
    ],
)
async def test_refused_session_closes_the_stream(change: Frame, capfd: pytest.CaptureFixture[str]) -> None:
    async with world() as w:
        vars(w.vendors).update(change)
        assert await close_code(await w.started(await w.token())) == 1000
    logged = capfd.readouterr().err
    assert "HTTP 401" in logged or "HTTP 503" in logged or "beta_api_shape_disabled" in logged
    assert not re.search("sk-test-key|auth-token|operator-token", logged)


async def test_session_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_impl.conversation.SESSION_TIMEOUT", 0.01)
    async with world() as w:
        w.vendors.first = []
        assert await close_code(await w.started(await w.token())) == 1000


async def test_stream_that_is_closed_without_stop_ends_the_session() -> None:
    async with world() as w:
        ws = await w.started(await w.token())
        await w.vendors.received.get()
        await ws.close()
        await w.vendors.closed.wait()
        assert w.vendors.rest == []


async def test_session_that_is_closed_mid_call_closes_the_stream(capfd: pytest.CaptureFixture[str]) -> None:
    async with world() as w:
        ws = await w.started(await w.token())
        await w.vendors.received.get()
        assert w.vendors.session is not None
        reader = asyncio.create_task(close_code(ws))
        await w.vendors.session.close(code=1011, message=b"out of order")
        assert await reader == 1000
    assert "close code 1011 out of order" in capfd.readouterr().err


async def test_callback_that_overtakes_the_stop_ends_the_bridge() -> None:
    async with world() as w:
        ws = await w.started(await w.token())
        await w.vendors.received.get()
        await w.webhook("/twilio/status", CallStatus="completed", SequenceNumber="0")
        await w.vendors.closed.wait()
        assert await close_code(ws) == 1000


async def test_call_without_final_callback_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_impl.gateway.TOKEN_LIFETIME", 0.0)
    over = asyncio.Event()

    class Settling(Gateway):
        def on_call_over(self, call: Any) -> None:
            super().on_call_over(call)
            over.set()

    async with world(Settling) as w:
        await w.token()
        await over.wait()
        assert (await w.get("/calls"))["calls"][0]["status"] == "completed"


# The operator


async def test_operator_needs_the_token() -> None:
    async with world() as w:
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "operator-token"}):
            for method, path in (("GET", "/calls"), ("POST", "/calls"), ("DELETE", f"/calls/{SID}")):
                async with w.client.request(method, w.url + path, headers=headers) as response:
                    assert response.status == 401


async def test_outbound_call_is_placed_and_hung_up() -> None:
    async with world() as w:
        async with w.client.post(w.url + "/calls", json={"to": "+15005550010"}, headers=OPERATOR) as response:
            assert response.status == 201
            assert await response.json() == {"call_sid": SID, "status": "queued"}
        path, form, authorization = w.vendors.rest.pop()
        assert path == f"/2010-04-01/Accounts/{ENVIRON['TWILIO_ACCOUNT_SID']}/Calls.json"
        account = f"{ENVIRON['TWILIO_ACCOUNT_SID']}:auth-token".encode()
        assert authorization == f"Basic {base64.b64encode(account).decode()}"
        fields = dict(form)
        assert (fields["To"], fields["From"]) == ("+15005550010", "+15005550006")
        assert fields["Url"] == "https://gw.example.test/twilio/voice"
        assert fields["StatusCallback"] == "https://gw.example.test/twilio/status"
        events = [value for name, value in form if name == "StatusCallbackEvent"]
        assert events == ["initiated", "ringing", "answered", "completed"]
        w.vendors.answer = (404, {"code": 20404, "message": "not found", "status": 404})
        async with w.client.delete(f"{w.url}/calls/{SID}", headers=OPERATOR) as response:
            assert response.status == 202
        assert w.vendors.rest.pop()[1] == [("Status", "completed")]
        async with w.client.delete(f"{w.url}/calls/{OTHER}", headers=OPERATOR) as response:
            assert response.status == 404


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((400, {"code": 21217, "message": "not valid", "status": 400}), 400),
        ((401, {"code": 20003, "message": "Authenticate", "status": 401}), 502),
        ((429, {"code": 20429, "message": "Too Many Requests", "status": 429}), 429),
        ((201, {}), 502),
    ],
)
async def test_twilio_errors_reach_the_operator(answer: tuple[int, Frame], expected: int) -> None:
    async with world() as w:
        w.vendors.answer = answer
        async with w.client.post(w.url + "/calls", json={"to": "+15005550010"}, headers=OPERATOR) as response:
            assert response.status == expected
            assert (await response.json())["error"]["twilio_code"] == answer[1].get("code", 0)


async def test_twilio_that_cannot_be_reached_is_told_to_the_operator_and_does_not_hinder_the_stop() -> None:
    async with world(TWILIO_BASE_URL=f"http://127.0.0.1:{unused_port()}") as w:
        async with w.client.post(w.url + "/calls", json={"to": "+15005550010"}, headers=OPERATOR) as response:
            assert response.status == 502
            assert "no answer from Twilio" in (await response.json())["error"]["message"]
        await w.token()
        async with w.client.delete(f"{w.url}/calls/{SID}", headers=OPERATOR) as response:
            assert response.status == 502


@pytest.mark.parametrize("body", ["", "[]", '{"to": "5005550010"}', '{"to": 1}'])
async def test_malformed_operator_request(body: str) -> None:
    async with world() as w, w.client.post(w.url + "/calls", data=body, headers=OPERATOR) as response:
        assert response.status == 400


# Start and stop


async def test_stopping_hangs_up_and_closes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_impl.bridge.STOP_TIMEOUT", 0.01)
    async with world() as w:
        reader = asyncio.create_task(close_code(await w.started(await w.token())))
        await w.vendors.received.get()
        vendors = w.vendors
    assert [form for _, form, _ in vendors.rest] == [[("Status", "completed")]]
    assert vendors.closed.is_set()
    assert await reader == 1000


async def test_port_in_use_is_a_configuration_error() -> None:
    async with world() as w:
        port = w.url.rpartition(":")[2]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} is in use; set gateway.host or gateway.port"):
            await serve(load([], {**ENVIRON, "GATEWAY_PORT": port}))


async def test_main_reads_the_environment_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRON:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="GATEWAY_PUBLIC_URL"):
        await main()


def test_sigterm_ends_the_command_with_status_0() -> None:
    environ = {**os.environ, **ENVIRON, "GATEWAY_PORT": "0"}
    command = [sys.executable, "-m", "reference_impl"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["event"] == "gateway.ready"
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 0
    assert json.loads(rest)["event"] == "gateway.stopped"


def test_command_explains_a_wrong_configuration_with_status_2() -> None:
    command = [sys.executable, "-m", "reference_impl"]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "openai.api_key (environment: OPENAI_API_KEY): is missing" in done.stderr
    assert "Traceback" not in done.stderr
