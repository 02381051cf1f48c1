"""The network of a world: names, addresses, listeners, and links that can be slow, held, cut or reset.

Each party has one address. A name that nobody serves does not resolve and an address where nobody listens refuses;
both are reported, so that the wire can prove that nothing else was contacted.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import itertools
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.virtual.loop import VirtualLoop
    from harness.virtual.transport import VirtualTransport

PARTY: ContextVar[str] = ContextVar("callproof_party", default="harness")
"""Whose code is running: it decides which address a server gets and from whom a connection comes."""


def acting_as(party: str) -> Context:
    """The context of code that acts as `party`."""
    context = copy_context()
    context.run(PARTY.set, party)
    return context


HERE = frozenset({"", "0.0.0.0", "::", "127.0.0.1", "::1", "localhost"})
"""What a server binds to, and a client connects to, when it means its own machine."""


@dataclass(slots=True)
class Listener:
    """A server that waits for connections. `tls`: clients are expected to speak TLS to this port."""

    party: str
    address: tuple[str, int]
    factory: Callable[[], asyncio.BaseProtocol]
    tls: bool
    server: VirtualServer | None = None


@dataclass(slots=True)
class Link:
    """The way between two parties, both directions alike. Latency is one way, in seconds."""

    network: Network
    latency: float = 0.0
    held: bool = False
    transports: set[VirtualTransport] = field(default_factory=set)
    _waiting: deque[tuple[Context, Callable[..., object], tuple[Any, ...]]] = field(default_factory=deque)

    def hold(self) -> None:
        """From now on nothing arrives: bytes and new connections wait, in order, for `release`."""
        self.held = True

    def release(self) -> None:
        """Let all that was held arrive now, in order, and go on as usual."""
        self.held = False
        for _ in self._waiting:
            self._let_one_through()

    def reset(self) -> None:
        """Reset every connection over this link, as a router that lost its state does: both ends see ECONNRESET."""
        for transport in sorted(self.transports, key=lambda t: t.number):
            transport.lose()

    # TCP keeps what it could not deliver and sends it again, so a cut that heals looks like a hold.
    partition = hold
    repair = release

    def blocked(self) -> bool:
        """Whether an arrival has to wait, because the link is held or because others wait before it."""
        return self.held or bool(self._waiting)

    def wait(self, context: Context, arrive: Callable[..., object], *args: Any) -> None:
        """Call `arrive` in `context` (that of the end where it arrives) after the release and in its turn."""
        self._waiting.append((context, arrive, args))
        if not self.held:
            self._let_one_through()

    def _let_one_through(self) -> None:
        assert self.network.loop is not None
        self.network.loop.call_soon(self._arrive)

    def _arrive(self) -> None:
        if self._waiting and not self.held:
            context, arrive, args = self._waiting.popleft()
            context.run(arrive, *args)

    async def opened(self) -> None:
        """Wait until a new connection may pass."""
        assert self.network.loop is not None
        blocked = self.blocked()
        while blocked:
            gate = self.network.loop.create_future()
            self.wait(copy_context(), _set, gate)
            await gate
            blocked = self.held


def _set(gate: asyncio.Future[None]) -> None:
    if not gate.done():
        gate.set_result(None)


class Network:
    """Hosts, listeners and links of one world."""

    def __init__(self, report: Callable[[str, str, str], None] | None = None) -> None:
        self.loop: VirtualLoop | None = None
        self._report = report or (lambda kind, party, what: None)
        self._address: dict[str, str] = {}
        self._party: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._fronts: dict[tuple[str, int], tuple[str, int]] = {}
        self._tls_ports: set[tuple[str, int]] = set()
        self._links: dict[tuple[str, str], Link] = {}
        self._ports = itertools.count(40000)
        self._awaited: dict[tuple[str, int], asyncio.Future[None]] = {}
        self._looked_up: dict[str, set[str]] = {}
        self.numbers = itertools.count()

    # -- names and addresses

    def add_host(self, party: str, names: Iterable[str] = ()) -> str:
        """Give `party` an address (once) and these names; returns the address."""
        address = self._address.get(party)
        if address is None:
            address = self._address[party] = f"10.0.0.{len(self._address) + 1}"
            self._party[address] = party
        for name in names:
            self._names[name.lower().rstrip(".")] = address
        return address

    def add_front(self, name: str, party: str, port: int, *, front_port: int = 443) -> None:
        """Serve `https://name` (and wss) by the party's plain `port`, like a tunnel or a reverse proxy does."""
        own = f"front:{name}"
        address = self.add_host(own, [name])
        self._fronts[(address, front_port)] = (self.add_host(party), port)
        self._tls_ports.add((address, front_port))
        self._party[address] = party

    def expect_tls(self, address: str, port: int) -> None:
        """Whoever connects to this port has to speak TLS, though the server behind it does not."""
        self._tls_ports.add((address, port))

    def resolve(self, name: str, party: str) -> str:
        """The address behind a name, as seen by `party`. Raises `socket.gaierror` for a name that nobody has.

        A numeric address is its own answer, as everywhere; connecting to one that nobody has is refused.
        """
        key = (name or "").lower().rstrip(".")
        if key in HERE or key.startswith("127."):
            return self.add_host(party)
        if key in self._party:
            return key
        address = self._names.get(key)
        if address is None:
            if _is_address(key):
                return key
            self._report("lookup.refused", party, name)
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {name!r} is no host of this world")
        self._looked_up.setdefault(party, set()).add(key)
        return address

    def looked_up_by(self, party: str) -> frozenset[str]:
        """The names that a party has looked up and that somebody has. Those that nobody has are reported at once."""
        return frozenset(self._looked_up.get(party, ()))

    def party_at(self, address: str) -> str:
        """The party behind an address."""
        return self._party.get(address, address)

    # -- links

    def link(self, one: str, other: str) -> Link:
        """The link between two parties; the same object for both orders."""
        key = (one, other) if one <= other else (other, one)
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = Link(self)
        return link

    def open_transports(self) -> list[VirtualTransport]:
        """Every end of every open connection, oldest first."""
        ends = {transport for link in self._links.values() for transport in link.transports}
        return sorted(ends, key=lambda transport: transport.number)

    # -- servers

    def listen(
        self, party: str, factory: Callable[[], asyncio.BaseProtocol], host: str | None, port: int, *, tls: bool
    ) -> VirtualServer:
        """Open a port. Raises `OSError` (EADDRINUSE, EADDRNOTAVAIL) as the operating system would."""
        assert self.loop is not None
        address = self.resolve(host or "", party)
        if address != self.add_host(party):
            raise OSError(errno.EADDRNOTAVAIL, f"{host!r} is not an address of {party}")
        where = (address, port or next(self._ports))
        if where in self._listeners:
            raise OSError(errno.EADDRINUSE, f"port {where[1]} of {party} is in use already")
        listener = Listener(party, where, factory, tls or where in self._tls_ports)
        listener.server = VirtualServer(self, listener)
        self._listeners[where] = listener
        awaited = self._awaited.pop(where, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(None)
        return listener.server

    async def listening(self, party: str, port: int) -> None:
        """Wait until `party` listens at `port`."""
        assert self.loop is not None
        where = (self.add_host(party), port)
        if where not in self._listeners:
            await self._awaited.setdefault(where, self.loop.create_future())

    def unlisten(self, listener: Listener) -> None:
        """Close a port; connections stay."""
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]

    def listener(self, party: str, target: tuple[str, int]) -> Listener:
        """Who answers at `target`. Raises `ConnectionRefusedError`, and reports it, when nobody does."""
        behind = self._fronts.get(target, target)
        listener = self._listeners.get(behind)
        if listener is None:
            where = f"{self.party_at(target[0])}:{target[1]}"
            self._report("connect.refused", party, where)
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens at {where} ({target[0]})")
        if behind != target:
            return Listener(listener.party, listener.address, listener.factory, True, listener.server)
        return listener

    async def handshake(self, party: str, target: tuple[str, int]) -> None:
        """The SYN and its answer: takes one round trip, waits for a held link, refuses where nobody listens."""
        link = self.link(party, self.party_at(target[0]))
        await link.opened()
        if link.latency:
            await asyncio.sleep(2 * link.latency)
            await link.opened()
        self.listener(party, target)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class VirtualServer(asyncio.AbstractServer):
    """What `loop.create_server` gives back."""

    def __init__(self, network: Network, listener: Listener) -> None:
        self._network = network
        self._listener = listener
        self._closed = False
        self._serving_for_ever: asyncio.Future[None] | None = None
        self.transports: set[VirtualTransport] = set()
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def sockets(self) -> tuple[VirtualSocket, ...]:
        return () if self._closed else (VirtualSocket(self._listener.address, None),)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        assert self._network.loop is not None
        return self._network.loop

    def is_serving(self) -> bool:
        return not self._closed

    async def start_serving(self) -> None:
        """Nothing to do: a virtual server serves from the start."""

    async def serve_forever(self) -> None:
        self._serving_for_ever = self.get_loop().create_future()
        try:
            await self._serving_for_ever
        finally:
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._network.unlisten(self._listener)
        if self._serving_for_ever is not None and not self._serving_for_ever.done():
            self._serving_for_ever.cancel()
        self.detached(None)

    def _oldest_first(self) -> list[VirtualTransport]:
        return sorted(self.transports, key=lambda transport: transport.number)

    def close_clients(self) -> None:
        for transport in self._oldest_first():
            transport.close()

    def abort_clients(self) -> None:
        for transport in self._oldest_first():
            transport.abort()

    def detached(self, transport: VirtualTransport | None) -> None:
        """A connection of this server has ended."""
        if transport is not None:
            self.transports.discard(transport)
        if self._closed and not self.transports:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection has ended, as Python 3.12 and later do."""
        if not self._closed or self.transports:
            waiter = self.get_loop().create_future()
            self._waiters.append(waiter)
            await waiter


class VirtualSocket:
    """Stands where libraries look for a socket: it has names and takes options, and carries nothing."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, name: Any, peer: Any, fileno: Callable[[], int] = lambda: -1) -> None:
        self._name = name
        self._peer = peer
        self._fileno = fileno

    def getsockname(self) -> Any:
        return self._name

    def getpeername(self) -> Any:
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return self._peer

    def fileno(self) -> int:
        return self._fileno()

    def setsockopt(self, *args: Any) -> None:
        """Options of a real socket mean nothing here."""

    def getsockopt(self, *args: Any) -> int:
        return 0

    def close(self) -> None:
        """The transport owns the connection."""
