"""Two ends of a connection of the virtual network, and a world to have them in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from harness.virtual import VirtualLoop, run_virtual, spawn
from harness.virtual.network import PARTY, Link, VirtualServer
from harness.virtual.transport import VirtualTransport

PORT = 9000


class Peer(asyncio.Protocol):
    """Writes down what happens to it, and when."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.events: list[Any] = []
        self.data = bytearray()
        self.pieces: list[tuple[float, bytes]] = []
        self.error: BaseException | None = None
        self.lost_at: float | None = None
        self.eof_at: float | None = None
        self.parties: set[str] = set()
        self.keep_open = keep_open
        self.transport: VirtualTransport

    def _now(self) -> float:
        self.parties.add(PARTY.get())
        return asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(VirtualTransport, transport)
        self._now()

    def data_received(self, data: bytes) -> None:
        self.pieces.append((self._now(), data))
        self.data += data
        self.events.append("data")

    def eof_received(self) -> bool:
        self.eof_at = self._now()
        self.events.append("eof")
        return self.keep_open

    def connection_lost(self, exc: BaseException | None) -> None:
        self.error, self.lost_at = exc, self._now()
        self.events.append("lost")

    def pause_writing(self) -> None:
        self._now()
        self.events.append("pause")

    def resume_writing(self) -> None:
        self._now()
        self.events.append("resume")


async def served(
    loop: VirtualLoop,
    party: str = "openai",
    port: int = PORT,
    *,
    host: str = "0.0.0.0",
    factory: Callable[[], asyncio.BaseProtocol] | None = None,
    **options: Any,
) -> tuple[VirtualServer, list[Peer]]:
    """A server of `party`; its connections are in the list, oldest first."""
    peers: list[Peer] = []

    def make() -> asyncio.BaseProtocol:
        peers.append(Peer(keep_open=options.get("keep_open", False)))
        return peers[-1]

    loop.network.add_host(party, [f"{party}.test"])
    start = loop.create_server(factory or make, host, port)
    return await spawn(loop, party, start, f"{party} listens"), peers


async def connected(
    loop: VirtualLoop, *, latency: float = 0.0, keep_open: bool = False, party: str = "gateway"
) -> tuple[Peer, Peer, Link]:
    """Two ends of one connection: the gateway's, the vendor's, and the link between them."""
    link = loop.network.link(party, "openai")
    link.latency = latency
    _, peers = await served(loop, keep_open=keep_open)
    near = Peer(keep_open=keep_open)
    await spawn(loop, party, loop.create_connection(lambda: near, "openai.test", PORT), "connect")
    return near, peers[0], link


def world(main: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Callable[[], None]:
    """Run an async test in a world of its own, in which nothing may go unhandled."""

    def test() -> None:
        unhandled: list[Any] = []

        async def inside(loop: VirtualLoop) -> None:
            loop.set_exception_handler(lambda loop, context: unhandled.append(context))
            await main(loop)

        run_virtual(inside)
        assert not unhandled

    test.__name__ = main.__name__
    test.__doc__ = main.__doc__
    return test
