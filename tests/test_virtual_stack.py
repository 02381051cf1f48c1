"""Other people's libraries, unmodified, on the virtual stage: one test for each."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import urllib3
import uvicorn
import websockets
from aiohttp import web
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from harness.virtual import BlockingCallError, Network, VirtualLoop, run_virtual, spawn
from harness.virtual import tls as virtual_tls

Main = Callable[[VirtualLoop], Awaitable[Any]]


async def serve_app(loop: VirtualLoop, party: str, names: list[str], port: int, routes: list[web.RouteDef]) -> None:
    """Put an aiohttp application on the network as `party`."""
    app = web.Application()
    app.add_routes(routes)
    address = loop.network.add_host(party, names)
    loop.network.expect_tls(address, 443)

    async def start() -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", port).start()

    await spawn(loop, party, start(), f"start {party}")


async def hello(request: web.Request) -> web.Response:
    return web.json_response({"host": request.host, "body": await request.text()})


async def echo_socket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data)
    return ws


def test_aiohttp_server_and_client_over_tls_taken_as_said() -> None:
    async def main(loop: VirtualLoop) -> dict[str, Any]:
        await serve_app(loop, "openai", ["api.openai.com"], 443, [web.post("/x", hello)])
        async with aiohttp.ClientSession() as session, session.post("https://api.openai.com/x", data="hi") as answer:
            return dict(await answer.json())

    assert run_virtual(main) == {"host": "api.openai.com", "body": "hi"}


def test_aiohttp_websocket() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        await serve_app(loop, "openai", ["api.openai.com"], 443, [web.get("/ws", echo_socket)])
        async with aiohttp.ClientSession() as session, session.ws_connect("wss://api.openai.com/ws") as ws:
            got = []
            for index in range(100):
                await ws.send_str(f"{index}" * 100)
                got.append(await ws.receive_str())
            return got

    assert run_virtual(main) == [f"{index}" * 100 for index in range(100)]


def test_websockets_server_and_client() -> None:
    async def main(loop: VirtualLoop) -> str:
        async def handler(connection: websockets.ServerConnection) -> None:
            async for message in connection:
                await connection.send(message)

        loop.network.add_host("gateway", ["gw.example.test"])

        async def start() -> None:
            await websockets.serve(handler, "0.0.0.0", 8080)

        await spawn(loop, "gateway", start(), "start")
        async with websockets.connect("ws://gw.example.test:8080/media") as connection:
            await connection.send("over there")
            return str(await connection.recv())

    assert run_virtual(main) == "over there"


def test_websockets_client_over_wss() -> None:
    async def main(loop: VirtualLoop) -> str:
        await serve_app(loop, "openai", ["api.openai.com"], 443, [web.get("/ws", echo_socket)])
        async with websockets.connect("wss://api.openai.com/ws") as connection:
            await connection.send("over there")
            return str(await connection.recv())

    assert run_virtual(main) == "over there"


def test_httpx_does_its_own_tls() -> None:
    async def main(loop: VirtualLoop) -> dict[str, Any]:
        await serve_app(loop, "openai", ["api.openai.com"], 443, [web.post("/x", hello)])
        async with httpx.AsyncClient() as client:
            first = await client.post("https://api.openai.com/x", content="one")
            second = await client.post("https://api.openai.com/x", content="two")
            return {**first.json(), "second": second.json()["body"]}

    got = run_virtual(main, environ={"SSL_CERT_FILE": virtual_tls.bundle()})
    assert got == {"host": "api.openai.com", "body": "one", "second": "two"}


def test_uvicorn_serves_an_asgi_app() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
            await send({"type": "http.response.body", "body": b"asgi"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            message = await receive()
            await send({"type": "websocket.send", "text": message["text"] + "!"})
            await send({"type": "websocket.close", "code": 1000})

    async def main(loop: VirtualLoop) -> tuple[str, str, str]:
        loop.network.add_host("gateway", ["gw.example.test"])
        server = uvicorn.Server(uvicorn.Config(app, host="0.0.0.0", port=8080, lifespan="off", log_level="warning"))
        task = spawn(loop, "gateway", server.serve(), "uvicorn")
        await loop.network.listening("gateway", 8080)
        async with aiohttp.ClientSession() as session:
            async with session.get("http://gw.example.test:8080/there") as answer:
                got = answer.headers["x-path"], await answer.text()
            async with session.ws_connect("http://gw.example.test:8080/ws") as ws:
                await ws.send_str("hi")
                shout = await ws.receive_str()
        server.should_exit = True
        await task
        return (*got, shout)

    assert run_virtual(main) == ("/there", "asgi", "hi!")


def test_uvicorn_ends_by_a_signal_as_it_does_in_a_process_of_its_own() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody calls it")

    async def main(loop: VirtualLoop) -> bool:
        server = uvicorn.Server(uvicorn.Config(app, host="0.0.0.0", port=8080, lifespan="off", log_level="warning"))
        task = spawn(loop, "gateway", server.serve(), "uvicorn")
        await loop.network.listening("gateway", 8080)
        assert loop.send_signal(signal.SIGTERM)
        await asyncio.wait_for(task, 5)
        return server.should_exit

    assert run_virtual(main)
    assert signal.getsignal(signal.SIGTERM) is before


def test_openai_sdk_rest_and_realtime_at_the_vendors_own_addresses() -> None:
    async def models(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer sk-test"
        return web.json_response({"id": "gpt-realtime-2", "object": "model", "created": 1, "owned_by": "openai"})

    async def realtime(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_str(json.dumps({"type": "session.created", "event_id": "event_1", "session": {"id": "sess_1"}}))
        async for message in ws:
            await ws.send_str(
                json.dumps({"type": "input_audio_buffer.cleared", "event_id": json.loads(message.data)["type"]})
            )
        return ws

    async def main(loop: VirtualLoop) -> tuple[str, str, str]:
        routes = [web.get("/v1/models/{id}", models), web.get("/v1/realtime", realtime)]
        await serve_app(loop, "openai", ["api.openai.com"], 443, routes)
        async with openai.AsyncOpenAI(api_key="sk-test") as client:
            model = await client.models.retrieve("gpt-realtime-2")
            async with client.realtime.connect(model="gpt-realtime-2") as connection:
                first = await connection.recv()
                await connection.input_audio_buffer.clear()
                second = await connection.recv()
        return model.id, first.type, second.event_id

    got = run_virtual(main, environ={"SSL_CERT_FILE": virtual_tls.bundle()})
    assert got == ("gpt-realtime-2", "session.created", "input_audio_buffer.clear")


def test_twilio_sdk_asynchronous_client() -> None:
    async def create(request: web.Request) -> web.Response:
        form = await request.post()
        return web.json_response({"sid": "CA" + "1" * 32, "to": form["To"], "status": "queued"}, status=201)

    async def main(loop: VirtualLoop) -> tuple[str | None, str | None]:
        path = "/2010-04-01/Accounts/{sid}/Calls.json"
        await serve_app(loop, "twilio", ["api.twilio.com"], 443, [web.post(path, create)])
        http = AsyncTwilioHttpClient()
        client = Client("AC" + "0" * 32, "token", http_client=http)
        call = await client.calls.create_async(to="+15550002", from_="+15550001", url="https://gw.example.test/twiml")
        await http.session.close()
        return call.sid, call.to

    assert run_virtual(main) == ("CA" + "1" * 32, "+15550002")


@pytest.mark.parametrize(
    "block",
    [
        lambda: socket.create_connection(("10.0.0.1", 443)),
        lambda: urllib3.PoolManager(retries=False).request("GET", "https://api.twilio.com/"),
        lambda: Client("AC" + "0" * 32, "token").calls.create(to="+1", from_="+2", url="https://gw.example.test"),
    ],
    ids=["socket", "urllib3", "twilio"],
)
def test_a_blocking_socket_is_refused_with_an_error_that_says_so(block: Callable[[], Any]) -> None:
    async def main(loop: VirtualLoop) -> None:
        loop.network.add_host("twilio", ["api.twilio.com"])
        block()

    with pytest.raises(BlockingCallError, match="live stage with --stage live"):
        run_virtual(main)
    with socket.socket() as real:  # outside a world sockets are as they were
        real.bind(("127.0.0.1", 0))
        with socket.create_connection(("127.0.0.1", _listen(real))):
            pass


def _listen(server: socket.socket) -> int:
    server.listen()
    return int(server.getsockname()[1])


def test_the_wall_clock_follows() -> None:
    async def main(loop: VirtualLoop) -> tuple[float, float, float]:
        wall, mono = time.time(), time.monotonic()
        await asyncio.sleep(3600)
        time.sleep(60)  # noqa: ASYNC251
        return time.time() - wall, time.monotonic() - mono, loop.time()

    began = time.monotonic()
    assert run_virtual(main) == pytest.approx((3660, 3660, 3660))
    assert time.monotonic() - began < 60
    assert abs(time.time() - 1_795_176_000) > 0


def test_a_name_that_nobody_serves_is_refused_and_reported() -> None:
    seen: list[tuple[str, str, str]] = []

    async def main(loop: VirtualLoop) -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("https://telemetry.example.com/")
            loop.network.add_host("openai", ["api.openai.com"])
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("https://api.openai.com/")

    network = Network(report=lambda kind, party, what: seen.append((kind, party, what)))
    run_virtual(main, network=network)
    assert seen == [
        ("lookup.refused", "harness", "telemetry.example.com"),
        ("connect.refused", "harness", "openai:443"),
    ]
