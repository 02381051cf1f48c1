"""The forward proxy that leads vendors' names to the fakes where there are no namespaces."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import websockets
from aiohttp import web

from harness.live.proxy import Proxy
from tests.enclosed.inside import Hello


class Echo(Hello):
    """A vendor with a WebSocket that sends everything back."""

    def __init__(self) -> None:
        super().__init__("openai", "api.openai.com", plain_ports=(80,))
        self.app = web.Application()
        self.app.router.add_get("/echo", self._echo)
        self.app.router.add_get("/{path:.*}", self._hello)

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"you said {message.data}")
        return socket


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    await proxy.open("gw.example.test", 9)
    url, end = await proxy.serve(Echo())
    assert url == "https://api.openai.com"
    yield proxy
    await end()
    await proxy.close()


def trust(proxy: Proxy) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=proxy.environment()["SSL_CERT_FILE"])


def address(proxy: Proxy) -> str:
    environment = proxy.environment()
    assert environment["HTTPS_PROXY"] == environment["https_proxy"] == environment["HTTP_PROXY"]
    return environment["HTTPS_PROXY"]


async def test_https_and_http_lead_to_the_vendor(proxy: Proxy) -> None:
    async with aiohttp.ClientSession() as session:
        for scheme in ("https", "http"):
            url = f"{scheme}://api.openai.com/v1/models?x=1"
            async with session.get(url, proxy=address(proxy), ssl=trust(proxy)) as answer:
                assert await answer.text() == f"openai: {scheme}://api.openai.com/v1/models"
    contacts = proxy.contacts()
    assert (contacts.looked_up, contacts.refused) == ({"api.openai.com"}, [])


async def test_a_websocket_goes_through(proxy: Proxy) -> None:
    async with websockets.connect("wss://api.openai.com/echo", proxy=address(proxy), ssl=trust(proxy)) as socket:
        for number in range(3):
            await socket.send(f"hello {number}")
            assert await socket.recv() == f"you said hello {number}"


async def test_strangers_are_refused_and_known(proxy: Proxy) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientHttpProxyError) as caught:
            await session.get("https://telemetry.example.com/", proxy=address(proxy))
        assert caught.value.status == 403
        async with session.get("http://updates.example.org:8080/", proxy=address(proxy)) as answer:
            assert answer.status == 403
    contacts = proxy.contacts()
    assert contacts.refused == [
        ("connect.refused", "telemetry.example.com:443"),
        ("connect.refused", "updates.example.org:8080"),
    ]
    assert proxy.contacts().refused == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"CONNECT api.openai.com HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\xff \xff \xff\r\n\r\n",
    ],
)
async def test_what_is_no_request_to_a_proxy_is_told_so(proxy: Proxy, head: bytes) -> None:
    port = int(address(proxy).rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    writer.close()


async def test_its_files_go_with_it() -> None:
    proxy = Proxy()
    await proxy.open("gw.example.test", 9)
    folder = Path(proxy.environment()["SSL_CERT_FILE"]).parent
    assert folder.is_dir()
    await proxy.close()
    assert not folder.exists()
