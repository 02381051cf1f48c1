"""How a live gateway and the fakes find each other. Three ways; a profile or the command line says which.

- `settings`: the fakes listen on free loopback ports, and the gateway's settings name them.
- `namespace`: all runs in an enclosure, where the vendors' own names lead to the fakes (`harness.live.enclosure`).
- `proxy`: the vendors' own names, led to the fakes by a forward proxy (`harness.live.proxy`).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, get_args

from aiohttp import web

from harness.profile import Intercept
from harness.stage import Vendor

Mode = Intercept
MODES: tuple[Mode, ...] = get_args(Intercept)


@dataclass(slots=True)
class Contacts:
    """Whom a gateway turned to: names that it looked up, and what became of those that nobody answers for.

    `refused`: kind (`lookup.refused`, `connect.refused`) and the name, or the address with its port.
    """

    looked_up: set[str] = field(default_factory=set)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, kind: str, what: str) -> None:
        """Take note of something that led nowhere; once, for programs try again and again."""
        if (kind, what) not in self.refused:
            self.refused.append((kind, what))


class Network(Protocol):
    """Outlives the worlds of a run: a gateway that is kept finds the vendors where they were."""

    @property
    def mode(self) -> Mode: ...

    @property
    def sees(self) -> bool:
        """Whether it knows of everybody that a gateway turns to."""
        ...

    async def open(self, public_host: str, gateway_port: int) -> None:
        """Come up, or lead `public_host` to another port of the gateway's from now on. Raises OSError."""
        ...

    async def serve(self, vendor: Vendor) -> tuple[str, Callable[[], Awaitable[None]]]:
        """Bring a vendor up; returns the base URL at which the gateway finds it, and what takes it down again."""
        ...

    def environment(self) -> Mapping[str, str]:
        """What the gateway has to find in its environment."""
        ...

    def browser(self) -> Sequence[str]:
        """What a Chromium has to be told on its command line to be part of this."""
        ...

    def contacts(self) -> Contacts:
        """Whom the gateway turned to since this was asked the last time."""
        ...

    async def close(self) -> None:
        """Go down."""
        ...


class Ports:
    """Listening sockets that outlive one world: by name, made when first asked for."""

    def __init__(self) -> None:
        self._sockets: dict[str, socket.socket] = {}

    def listening(self, name: str, address: str, port: int) -> socket.socket:
        """A duplicate of the socket of this name; whoever takes it may close it. Raises OSError."""
        known = self._sockets.get(name)
        if known is None:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            known = self._sockets[name] = socket.create_server((address, port), family=family, backlog=128)
            known.setblocking(False)
        return known.dup()

    def close(self) -> None:
        """Let go of all of them."""
        for listening in self._sockets.values():
            listening.close()
        self._sockets.clear()


async def start(
    vendor: Vendor, sites: list[tuple[socket.socket, ssl.SSLContext | None]]
) -> Callable[[], Awaitable[None]]:
    """Serve a vendor's application at these sockets; returns what ends it."""
    runner = web.AppRunner(vendor.app, access_log=None, handle_signals=False)
    await runner.setup()
    for listening, context in sites:
        await web.SockSite(runner, listening, ssl_context=context).start()
    return runner.cleanup


class Loopback:
    """The fakes at free ports of this machine, for gateways that can be told where their vendors are."""

    mode: Mode = "settings"
    sees = False

    def __init__(self) -> None:
        self._ports = Ports()

    async def open(self, public_host: str, gateway_port: int) -> None:
        """See `Network.open`: nothing has to be there."""

    async def serve(self, vendor: Vendor) -> tuple[str, Callable[[], Awaitable[None]]]:
        """See `Network.serve`."""
        listening = self._ports.listening(vendor.name, "127.0.0.1", 0)
        port = listening.getsockname()[1]
        return f"http://127.0.0.1:{port}", await start(vendor, [(listening, None)])

    def environment(self) -> Mapping[str, str]:
        """See `Network.environment`: nothing."""
        return {}

    def browser(self) -> Sequence[str]:
        """See `Network.browser`: nothing."""
        return ()

    def contacts(self) -> Contacts:
        """See `Network.contacts`: only what reaches the fakes is known, and the wire has that."""
        return Contacts()

    async def close(self) -> None:
        """See `Network.close`."""
        self._ports.close()
