"""`fakes.twilio.server`: the shell over real sockets, against a small gateway in the test."""

from __future__ import annotations

import asyncio
import json
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator
from twilio_world import ACCOUNT, CALLEE, CALLER, NUMBER, STATUS, STREAM, TOKEN, VOICE

from fakes import audio
from fakes.local import ListRecorder, Recorded, local_ports
from fakes.people import Person
from fakes.ports import Ports
from fakes.twilio import Call, PhoneNumber, Twilio, default_knobs
from fakes.twilio.debugger import DebuggerEntry
from fakes.twilio.server import TwilioServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Talk = Callable[[web.WebSocketResponse, str], Awaitable[None]]


T = TypeVar("T")


class Watched(list[T]):
    """A list of which one can wait until something is in it."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[Callable[[T], bool], asyncio.Future[T]]] = []

    def append(self, item: T) -> None:
        super().append(item)
        for wanted, future in self._waiting:
            if not future.done() and wanted(item):
                future.set_result(item)

    async def first(self, wanted: Callable[[T], bool] = lambda _: True, within: float = 10) -> T:
        """The first item that is wanted, present or to come."""
        for item in self:
            if wanted(item):
                return item
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        async with asyncio.timeout(within):
            return await future


@dataclass
class Gateway:
    """Answers with `document`; on the stream, runs `talk(ws, stream_sid)` after `start` and then just reads."""

    document: str = STREAM
    talk: Talk | None = None
    voice: Handler | None = None
    media: Handler | None = None
    base: str = ""
    requests: list[tuple[web.Request, dict[str, str]]] = field(default_factory=list)
    upgrades: Watched[web.Request] = field(default_factory=Watched)
    messages: Watched[dict[str, Any]] = field(default_factory=Watched)
    close_codes: list[int | None] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    posted: asyncio.Queue[dict[str, str]] = field(default_factory=asyncio.Queue)

    async def on_voice(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request, dict((await request.post()).items())))  # type: ignore[arg-type]
        if self.voice is not None:
            return await self.voice(request)
        return web.Response(text=self.document, content_type="text/xml")

    async def on_status(self, request: web.Request) -> web.StreamResponse:
        form = dict((await request.post()).items())
        self.requests.append((request, form))  # type: ignore[arg-type]
        self.posted.put_nowait(form)  # type: ignore[arg-type]
        return web.Response(status=204)

    async def on_media(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append(request)
        if self.media is not None:
            return await self.media(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            event = json.loads(message.data)
            self.messages.append(event)
            if event["event"] == "start" and self.talk is not None:
                await self.talk(ws, event["streamSid"])
        self.close_codes.append(ws.close_code)
        self.over.set()
        return ws

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/voice", self.on_voice)
        app.router.add_post("/status", self.on_status)
        app.router.add_get("/media", self.on_media)
        async with served(app) as self.base:
            yield


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await runner.cleanup()


@dataclass
class Live:
    twilio: Twilio
    server: TwilioServer
    caller: Person
    callee: Person
    recorder: ListRecorder
    ports: Ports

    def dial(self) -> Call:
        return self.caller.dial(self.twilio, NUMBER)

    async def entry(self) -> int:
        """The code of the first entry in the debugger."""
        assert isinstance(self.twilio.debugger, Watched)
        entry: DebuggerEntry = await self.twilio.debugger.first()
        return entry.code

    async def message(self, kind: str) -> Recorded:
        """The first message of a kind on the wire."""
        assert isinstance(self.recorder.messages, Watched)
        message: Recorded = await self.recorder.messages.first(lambda message: message.kind == kind)
        return message

    def kinds(self, channel: str) -> list[str]:
        return [m.kind for m in self.recorder.messages if m.channel == channel]


@asynccontextmanager
async def fake(gateway: Gateway, *, host: str = "gw.example.test", **options: Any) -> AsyncIterator[Live]:
    ports = local_ports()
    assert isinstance(ports.recorder, ListRecorder)
    ports.recorder.messages = Watched()
    knobs = default_knobs()
    for name, value in options.pop("knobs", {}).items():
        knobs.set(f"twilio.{name}", value)
    for kind in ("completed_callback_delay", "answer_delay", "ring_delay"):
        for which in ("low", "typical"):
            knobs.set(f"twilio.{kind}_{which}_ms", 5)
    twilio = Twilio(
        ports,
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        numbers=[PhoneNumber(NUMBER, options.pop("voice_url", VOICE), status_callback=STATUS)],
        knobs=knobs,
    )
    options.setdefault("routes", {host: gateway.base})
    twilio.debugger = Watched()
    server = TwilioServer(twilio, **options)
    await server.start()
    callee = Person(ports, number=CALLEE, party="callee")
    twilio.add_phone(callee)
    before = asyncio.all_tasks()
    try:
        yield Live(twilio, server, Person(ports, number=CALLER), callee, ports.recorder, ports)
    finally:
        await server.close()
        left = [task for task in asyncio.all_tasks() - before if "fakes/twilio" in repr(task.get_coro())]
        assert left == []


async def test_a_call_over_real_sockets() -> None:
    async def greet(ws: web.WebSocketResponse, sid: str) -> None:
        payload = b64encode(audio.speak("its_noon")).decode()
        await ws.send_json({"event": "media", "streamSid": sid, "media": {"payload": payload}})
        await ws.send_json({"event": "mark", "streamSid": sid, "mark": {"name": "end"}})

    gateway = Gateway(talk=greet)
    async with gateway.serving(), fake(gateway) as live:
        call = live.dial()
        await live.caller.connected()
        await live.caller.starts_hearing("its_noon")
        live.caller.press("5")
        heard = await live.caller.hears("its_noon")
        assert heard.complete
        live.caller.hang_up()
        await live.caller.ended()
        assert (await gateway.posted.get())["CallStatus"] == "completed"
        await gateway.over.wait()

        voice, params = gateway.requests[0]
        assert voice.headers["Host"] == "gw.example.test"
        assert voice.headers["User-Agent"] == "TwilioProxy/1.1"
        assert voice.headers["Content-Type"] == "application/x-www-form-urlencoded; charset=UTF-8"
        assert "Accept-Encoding" not in voice.headers
        validator = RequestValidator(TOKEN)
        assert validator.validate(VOICE, params, voice.headers["X-Twilio-Signature"])
        upgrade = gateway.upgrades[0]
        expected = {
            "Host",
            "User-Agent",
            "X-Twilio-Signature",
            "Connection",
            "Upgrade",
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Key",
        }
        assert set(upgrade.headers) == expected
        assert upgrade.headers["User-Agent"] == "Twilio.TmeWs/1.0"
        signature = upgrade.headers["X-Twilio-Signature"]
        assert validator.validate("wss://gw.example.test/media", {}, signature)

        events = [message["event"] for message in gateway.messages]
        assert events[:2] == ["connected", "start"]
        assert events[-1] == "stop"
        assert events.count("mark") == 1
        assert events.count("dtmf") == 1
        assert events.count("media") > 80
        assert gateway.close_codes == [0]  # aiohttp's word for a close frame without a code
        assert call.streams[0].close_code == 1005
        assert live.twilio.debugger == []
        assert all(message.invalid is None for message in live.recorder.messages)
        assert live.kinds("twilio.webhook") == ["request", "response"] * 2


async def test_rest_over_http() -> None:
    gateway = Gateway()
    async with gateway.serving(), fake(gateway) as live, served(live.server.app) as base:
        assert live.server.hosts == ("api.twilio.com",)
        url = f"{base}/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
        form = {"To": CALLEE, "From": NUMBER, "Url": VOICE, "StatusCallback": STATUS}
        auth = {"Authorization": "Basic " + b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()}
        async with aiohttp.ClientSession() as session:
            async with session.post(url, data=form) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == 'Basic realm="Twilio API"'
                assert response.headers["X-Twilio-Error-Code"] == "20003"
            async with session.post(url, data=form, headers=auth) as response:
                assert response.status == 201
                assert response.content_type == "application/json"
                created = await response.json()
            await live.callee.connected()
            one = url.replace(".json", f"/{created['sid']}.json")
            async with session.get(one, headers=auth) as response:
                assert (await response.json())["status"] == "in-progress"
            async with session.post(one, data={"Status": "completed"}, headers=auth) as response:
                assert response.status == 200
            await live.callee.ended()
            async with session.post(one, data={"Status": "completed"}, headers=auth) as response:
                assert response.status == 404
        assert live.kinds("twilio.rest") == ["request", "response"] * 5


async def test_redirect_closes_the_stream_and_the_call_goes_on() -> None:
    gateway = Gateway()
    async with gateway.serving(), fake(gateway) as live:
        call = live.dial()
        await live.caller.connected()
        await gateway.messages.first()
        call.interrupt()
        call.run("<Response><Say>It is exactly twelve o'clock noon.</Say></Response>")
        await gateway.over.wait()
        assert gateway.messages[-1]["event"] == "stop"
        assert call.status == "in-progress"
        await live.caller.hears("its_noon")
        await live.caller.ended()


async def refused(request: web.Request) -> web.StreamResponse:
    return web.Response(status=403)


async def close_at_once(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.close(code=1008, message=b"no")
    return ws


async def cut_off(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    assert request.transport is not None
    request.transport.abort()
    return ws


@pytest.mark.parametrize(
    ("media", "code", "kind", "meta"),
    [
        (refused, 31920, "upgrade.refused", {"status": 403}),
        (close_at_once, 31921, "close", {"code": 1008, "reason": "no", "initiator": "gateway"}),
        (cut_off, 31921, "close", {"code": 1006, "initiator": "gateway"}),
    ],
)
async def test_streams_that_end_before_they_begin(media: Handler, code: int, kind: str, meta: dict[str, Any]) -> None:
    gateway = Gateway(media=media)
    async with gateway.serving(), fake(gateway) as live:
        live.dial()
        await live.caller.ended()
        assert [entry.code for entry in live.twilio.debugger] == [code]
        message = next(m for m in live.recorder.messages if m.kind == kind)
        assert {name: message.meta[name] for name in meta} == meta


async def test_server_that_does_not_answer_the_upgrade() -> None:
    async def wait(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    gateway = Gateway(media=wait)
    async with gateway.serving(), fake(gateway) as live:
        call = live.dial()
        await gateway.upgrades.first()
        live.caller.hang_up()
        await live.caller.ended()
        assert call.streams[0].state == "over"
        assert live.kinds("twilio.stream") == ["upgrade", "close"]


@pytest.mark.parametrize(("how", "code"), [("1005", 0), ("1000", 1000), ("abrupt", 1006)])
async def test_how_twilio_closes(how: str, code: int) -> None:
    gateway = Gateway()
    async with gateway.serving(), fake(gateway, knobs={"stream_close": how}) as live:
        live.dial()
        await live.caller.connected()
        await gateway.messages.first(lambda message: message["event"] == "media")
        live.caller.hang_up()
        await gateway.over.wait()
        assert gateway.close_codes == [code]


async def test_refused_connection_is_retried_once_then_fails() -> None:
    gateway = Gateway()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with fake(gateway, routes={"gw.example.test": f"http://127.0.0.1:{port}"}) as live:
        call = live.dial()
        assert await live.entry() == 11205
        assert live.kinds("twilio.webhook") == ["request", "failure"] * 2
        assert call.status == "in-progress"


async def test_unknown_host() -> None:
    gateway = Gateway()
    async with fake(gateway, routes={}) as live:
        live.dial()
        assert await live.entry() in (11210, 11205)


async def test_answer_that_takes_too_long() -> None:
    async def wait(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    gateway = Gateway(voice=wait)
    async with gateway.serving(), fake(gateway, voice_url=VOICE + "#tt=100") as live:
        live.dial()
        assert await live.entry() == 11205


async def test_answer_that_is_no_http() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"hello\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, fake(Gateway(), routes={"gw.example.test": f"http://127.0.0.1:{port}"}) as live:
        live.dial()
        assert await live.entry() == 11206


async def test_headers_of_a_tunnel() -> None:
    gateway = Gateway(document="<Response><Reject/></Response>")
    async with gateway.serving(), fake(gateway, forwarded=True, voice_url="https://u:p@gw.example.test/voice") as live:
        live.dial()
        await live.caller.ended()
        headers = gateway.requests[0][0].headers
        assert headers["X-Forwarded-Proto"] == "https"
        assert headers["X-Forwarded-Host"] == "gw.example.test"
        assert headers["Authorization"] == "Basic dTpw"
        assert RequestValidator(TOKEN).validate(VOICE, gateway.requests[0][1], headers["X-Twilio-Signature"])


async def test_route_of_a_host_with_a_port() -> None:
    gateway = Gateway(document="<Response><Reject/></Response>")
    async with gateway.serving():
        routes = {"gw.example.test:8443": gateway.base}
        async with fake(gateway, routes=routes, voice_url="https://gw.example.test:8443/voice?a=%2F") as live:
            live.dial()
            await live.caller.ended()
            request = gateway.requests[0][0]
            assert request.headers["Host"] == "gw.example.test:8443"
            assert request.raw_path == "/voice?a=%2F"


async def test_peer_that_does_not_read() -> None:
    """A server that stops reading: media is dropped, the call goes on, marks and stop are kept for it."""
    stuck, go_on = asyncio.Event(), asyncio.Event()

    async def stop_reading(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        assert request.transport is not None
        request.transport.pause_reading()
        stuck.set()
        await go_on.wait()
        request.transport.resume_reading()
        async for message in ws:
            gateway.messages.append(json.loads(message.data))
        gateway.over.set()
        return ws

    gateway = Gateway(media=stop_reading)
    async with gateway.serving(), fake(gateway) as live:
        call = live.dial()
        await stuck.wait()
        await live.message("start")
        stream = call.streams[0]
        while not live.twilio.debugger:
            for _ in range(1000):
                stream.tick(None)
            await asyncio.sleep(0)
        assert [entry.code for entry in live.twilio.debugger] == [31930]
        live.caller.press("9")
        live.caller.hang_up()
        await live.caller.ended()
        await live.message("close")
        go_on.set()
        await gateway.over.wait()
        assert [message["event"] for message in gateway.messages[-2:]] == ["dtmf", "stop"]
        numbers = [int(message["sequenceNumber"]) for message in gateway.messages[1:]]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_close_cuts_off_what_is_open() -> None:
    gateway = Gateway()
    async with gateway.serving():
        async with fake(gateway) as live:
            live.dial()
            await live.caller.connected()
            await gateway.messages.first(lambda message: message["event"] == "media")
        await gateway.over.wait()
        assert gateway.close_codes == [1006]


async def test_without_a_shell() -> None:
    ports = local_ports()
    twilio = Twilio(
        ports, account_sid=ACCOUNT, auth_token=TOKEN, numbers=[PhoneNumber(NUMBER, VOICE)], knobs=default_knobs()
    )
    with pytest.raises(RuntimeError, match="no shell"):
        _ = twilio.io
