"""TLS on the virtual network: taken as said, or spoken in earnest with the private CA."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from virtual_peers import PORT, Peer, served, world

from harness.virtual import VirtualLoop
from harness.virtual import tls as virtual_tls


async def tls_port(loop: VirtualLoop, port: int = 443) -> list[Peer]:
    """The vendor's plain server behind a port where TLS is expected."""
    loop.network.expect_tls(loop.network.add_host("openai"), port)
    _, peers = await served(loop, port=port)
    return peers


@world
async def test_tls_is_taken_as_said(loop: VirtualLoop) -> None:
    peers = await tls_port(loop)
    context = ssl.create_default_context()
    near = Peer()
    await loop.create_connection(lambda: near, "openai.test", 443, ssl=context)
    near.transport.write(b"in plain")
    await asyncio.sleep(1)
    assert peers[0].data == b"in plain"
    assert near.transport.get_extra_info("sslcontext") is context
    for end in (near, peers[0]):
        assert end.transport.get_extra_info("tls") is True
        assert end.transport.get_extra_info("sni") == "openai.test"
    await loop.create_connection(Peer, "openai.test", 443, ssl=True, server_hostname="other.test")
    assert peers[1].transport.get_extra_info("sni") == "other.test"


@world
async def test_tls_to_a_port_that_does_not_speak_it_fails_as_openssl_would(loop: VirtualLoop) -> None:
    _, peers = await served(loop)
    with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
        await loop.create_connection(Peer, "openai.test", PORT, ssl=True)
    assert peers == []
    assert loop.network.open_transports() == []


@world
async def test_plain_bytes_at_a_tls_port_are_reset(loop: VirtualLoop) -> None:
    peers = await tls_port(loop)
    near = Peer()
    await loop.create_connection(lambda: near, "openai.test", 443)
    near.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.sleep(1)
    assert isinstance(near.error, ConnectionResetError)
    assert peers == []
    silent = Peer()
    await loop.create_connection(lambda: silent, "openai.test", 443)
    silent.transport.close()
    await asyncio.sleep(1)
    assert loop.network.open_transports() == []


@world
async def test_an_upgrade_to_tls_is_taken_as_said(loop: VirtualLoop) -> None:
    peers = await tls_port(loop)
    near, context = Peer(), ssl.create_default_context()
    await loop.create_connection(lambda: near, "openai.test", 443)
    after = Peer()
    transport = await loop.start_tls(near.transport, after, context, server_hostname="openai.test")
    transport.write(b"in plain")
    await asyncio.sleep(1)
    assert peers[0].data == b"in plain"
    assert peers[0].parties == {"openai"}
    assert peers[0].transport.get_extra_info("sni") == "openai.test"
    peers[0].transport.write(b"back")
    await asyncio.sleep(1)
    assert (bytes(near.data), bytes(after.data)) == (b"", b"back")


class TlsClient(asyncio.Protocol):
    """Does TLS itself over the byte stream, like anyio."""

    def __init__(self, server_name: str, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self.ready = asyncio.get_running_loop().create_future()
        self.got = bytearray()
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._advance()

    def data_received(self, data: bytes) -> None:
        self.incoming.write(data)
        self._advance()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True

    def _advance(self) -> None:
        try:
            if not self.ready.done():
                self.tls.do_handshake()
                self.ready.set_result(self.tls.getpeercert())
            while True:
                self.got += self.tls.read(65536)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not self.ready.done():
                self.ready.set_exception(error)
        self.transport.write(self.outgoing.read())

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.transport.write(self.outgoing.read())


@world
async def test_a_real_client_hello_is_answered_by_the_private_ca_for_the_name_asked_for(loop: VirtualLoop) -> None:
    peers = await tls_port(loop)
    loop.network.add_host("openai", ["api.openai.com"])
    context = ssl.create_default_context(cafile=virtual_tls.bundle())
    for count, name in enumerate(("openai.test", "api.openai.com"), 1):
        client = TlsClient(name, context)
        await loop.create_connection(lambda client=client: client, name, 443)  # type: ignore[misc]
        certificate = await client.ready
        assert certificate["subjectAltName"] == (("DNS", name),)
        client.send(b"x" * 100_000)
        await asyncio.sleep(1)
        assert len(peers) == count
        assert peers[-1].data == b"x" * 100_000
        assert peers[-1].parties == {"openai"}
        assert peers[-1].transport.get_extra_info("tls") is True
        peers[-1].transport.write(b"y" * 100_000)
        await asyncio.sleep(1)
        assert client.got == b"y" * 100_000


@world
async def test_a_client_that_does_not_trust_the_private_ca_ends_the_connection(loop: VirtualLoop) -> None:
    await tls_port(loop)
    client = TlsClient("openai.test", ssl.create_default_context())
    await loop.create_connection(lambda: client, "openai.test", 443)
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.ready
    await asyncio.sleep(120)
    assert loop.network.open_transports() == []


@world
async def test_a_server_can_abort_a_connection_with_real_tls(loop: VirtualLoop) -> None:
    inner: list[asyncio.Transport] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            inner.append(transport)

    loop.network.expect_tls(loop.network.add_host("openai"), 443)
    await served(loop, port=443, factory=Server)
    client = TlsClient("openai.test", ssl.create_default_context(cafile=virtual_tls.bundle()))
    await loop.create_connection(lambda: client, "openai.test", 443)
    await client.ready
    await asyncio.sleep(1)
    inner[0].abort()
    await asyncio.sleep(120)
    assert client.lost
    assert loop.network.open_transports() == []


@world
async def test_a_front_serves_https_by_a_plain_port_behind(loop: VirtualLoop) -> None:
    loop.network.add_front("gw.example.test", "gateway", 8080)
    with pytest.raises(ConnectionRefusedError, match="gateway:443"):
        await loop.create_connection(Peer, "gw.example.test", 443, ssl=True)
    _, peers = await served(loop, "gateway", 8080)
    link = loop.network.link("harness", "gateway")
    link.latency = 0.5
    near = Peer()
    began = loop.time()
    await loop.create_connection(lambda: near, "gw.example.test", 443, ssl=True)
    near.transport.write(b"webhook")
    await asyncio.sleep(0.5)
    assert loop.time() == began + 1.5, "the front is part of the gateway: its link is the gateway's"
    assert peers[0].data == b"webhook"
    link.reset()
    await asyncio.sleep(1)
    assert isinstance(near.error, ConnectionResetError)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Peer, "gw.example.test", 8080)
