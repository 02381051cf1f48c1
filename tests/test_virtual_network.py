"""The network in memory: names, ports and servers."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest
from virtual_peers import PORT, Peer, served, world

from harness.virtual import Network, VirtualLoop, run_virtual, spawn

# -- names and ports


def _reporting() -> tuple[Network, list[tuple[str, str, str]]]:
    reports: list[tuple[str, str, str]] = []
    return Network(report=lambda *report: reports.append(report)), reports


def test_an_unknown_name_is_refused_and_reported_with_who_asked() -> None:
    network, reports = _reporting()

    async def ask(loop: VirtualLoop) -> None:
        with pytest.raises(socket.gaierror, match="no host of this world") as caught:
            await loop.create_connection(Peer, "telemetry.example.com", 443)
        assert caught.value.errno == socket.EAI_NONAME
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("Sentry.Example.com.", 443)

    async def main(loop: VirtualLoop) -> None:
        await spawn(loop, "gateway", ask(loop), "ask")

    run_virtual(main, network=network)
    assert reports == [
        ("lookup.refused", "gateway", "telemetry.example.com"),
        ("lookup.refused", "gateway", "Sentry.Example.com."),
    ]


def test_a_port_where_nobody_listens_is_refused_and_reported_once() -> None:
    network, reports = _reporting()

    async def ask(loop: VirtualLoop, host: str, port: int) -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            await loop.create_connection(Peer, host, port)
        assert caught.value.errno == errno.ECONNREFUSED

    async def main(loop: VirtualLoop) -> None:
        await served(loop)
        await spawn(loop, "gateway", ask(loop, "openai.test", 81), "ask")
        await spawn(loop, "twilio", ask(loop, "localhost", PORT), "ask")
        await spawn(loop, "gateway", ask(loop, "203.0.113.7", 443), "ask")

    run_virtual(main, network=network)
    assert reports == [
        ("connect.refused", "gateway", "openai:81"),
        ("connect.refused", "twilio", f"twilio:{PORT}"),
        ("connect.refused", "gateway", "203.0.113.7:443"),
    ]


@world
async def test_names_resolve_without_regard_to_case_and_localhost_is_oneself(loop: VirtualLoop) -> None:
    network = loop.network
    openai, gateway = network.add_host("openai", ["Api.OpenAI.com"]), network.add_host("gateway")
    assert openai != gateway
    assert network.add_host("openai", ["second.name"]) == openai
    assert network.resolve("API.openai.COM.", "gateway") == openai
    assert network.resolve("second.name", "gateway") == openai
    assert network.looked_up_by("gateway") == {"api.openai.com", "second.name"}
    assert network.looked_up_by("twilio") == frozenset()
    assert network.resolve(openai, "gateway") == openai
    for name in ("localhost", "127.0.0.1", "127.0.1.1", "::1", ""):
        assert network.resolve(name, "gateway") == gateway
    assert await loop.getaddrinfo("api.openai.com", "https") == [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (openai, 443))
    ]
    assert await loop.getaddrinfo(b"api.openai.com", None) == [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (openai, 0))
    ]


@world
async def test_a_port_can_be_had_once(loop: VirtualLoop) -> None:
    server, _ = await served(loop)
    with pytest.raises(OSError) as caught:
        await served(loop)
    assert caught.value.errno == errno.EADDRINUSE
    server.close()
    await served(loop)
    with pytest.raises(OSError) as caught:
        await served(loop, "twilio", host="openai.test")
    assert caught.value.errno == errno.EADDRNOTAVAIL


@world
async def test_two_parties_may_listen_at_the_same_port_number(loop: VirtualLoop) -> None:
    _, openai = await served(loop, "openai")
    _, twilio = await served(loop, "twilio")
    to_twilio = Peer()
    await loop.create_connection(lambda: to_twilio, "twilio.test", PORT)
    to_twilio.transport.write(b"hello")
    await asyncio.sleep(1)
    assert (len(openai), twilio[0].data) == (0, b"hello")


@world
async def test_port_0_is_a_free_port(loop: VirtualLoop) -> None:
    one, _ = await served(loop, port=0)
    two, _ = await served(loop, port=0)
    ports = [server.sockets[0].getsockname()[1] for server in (one, two)]
    assert len(set(ports)) == 2
    await loop.create_connection(Peer, "openai.test", ports[1])


@world
async def test_listening_waits_for_the_port_of_the_right_party(loop: VirtualLoop) -> None:
    waiting = [asyncio.create_task(loop.network.listening("gateway", PORT)) for _ in range(2)]
    await served(loop, "openai")
    await asyncio.sleep(1)
    assert not any(task.done() for task in waiting)
    await served(loop, "gateway")
    await asyncio.gather(*waiting)
    await loop.network.listening("gateway", PORT)
    assert loop.time() == 1


# -- servers


@world
async def test_a_closed_server_takes_no_connection_and_waits_for_those_it_has(loop: VirtualLoop) -> None:
    server, peers = await served(loop)
    near = Peer()
    await loop.create_connection(lambda: near, "openai.test", PORT)
    assert server.is_serving()
    server.close()
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Peer, "openai.test", PORT)
    waiting = asyncio.create_task(server.wait_closed())
    near.transport.write(b"still here")
    await asyncio.sleep(1)
    assert peers[0].data == b"still here"
    assert not waiting.done()
    near.transport.close()
    await waiting
    await server.wait_closed()


@world
async def test_waiting_for_the_end_of_a_server_that_serves_waits(loop: VirtualLoop) -> None:
    server, _ = await served(loop)
    waiting = asyncio.create_task(server.wait_closed())
    await asyncio.sleep(1)
    assert not waiting.done()
    server.close()
    await waiting


@world
async def test_serving_for_ever_ends_with_the_server_or_with_the_task(loop: VirtualLoop) -> None:
    server, _ = await served(loop)
    serving = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(1)
    server.close()
    await asyncio.wait({serving})
    assert serving.cancelled()
    server, _ = await served(loop)
    serving = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(1)
    serving.cancel()
    await asyncio.wait({serving})
    assert not server.is_serving()


@world
async def test_the_clients_of_a_server_can_be_closed_or_aborted_oldest_first(loop: VirtualLoop) -> None:
    for verb in ("close_clients", "abort_clients"):
        server, _ = await served(loop)
        ended: list[int] = []
        for number in range(20):
            near = Peer()
            near.connection_lost = lambda exc, number=number, ended=ended: ended.append(number)  # type: ignore[method-assign,misc]
            await loop.create_connection(lambda near=near: near, "openai.test", PORT)  # type: ignore[misc]
        getattr(server, verb)()
        await asyncio.sleep(1)
        assert ended == list(range(20))
        server.close()
        await server.wait_closed()


def test_a_server_that_cannot_make_its_protocol_resets_the_client() -> None:
    heard: list[str] = []

    def fail() -> asyncio.Protocol:
        raise LookupError("no protocol")

    async def main(loop: VirtualLoop) -> None:
        loop.set_exception_handler(lambda loop, context: heard.append(str(context["exception"])))
        await served(loop, factory=fail)
        near = Peer()
        await loop.create_connection(lambda: near, "openai.test", PORT)
        await asyncio.sleep(1)
        assert isinstance(near.error, ConnectionResetError)

    run_virtual(main)
    assert heard == ["no protocol"]
