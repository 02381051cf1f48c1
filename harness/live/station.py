"""What outlives one world on the live stage: an event loop, the network, and a gateway that is kept for the next case.

To start a gateway may take ten seconds, and a case two: a gateway is started once for each configuration, and takes the
calls of one case after the other, as it would in production. What it fails after an
earlier failure says nothing yet: that is tried again with one that has seen nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.live.network import Loopback, Network
from harness.live.process import GatewayProcess, free_port
from harness.live.steady import without_pauses
from harness.live.turnstile import Turnstile
from harness.profile import Profile
from harness.stage import PUBLIC_HOST, Ended

T = TypeVar("T")


@dataclass(slots=True)
class Kept:
    """A gateway that runs, and the configuration that it was started with."""

    key: tuple[object, ...]
    process: GatewayProcess
    port: int
    second_port: int
    marked: bool = False
    """Whether it was part of a failure."""


class Station:
    """The place of the live worlds of one run. `keep`: whether gateways are kept from one world to the next. `port`:
    where the gateway listens, if it cannot be told. `turnstile`: what its gateways pass when they start."""

    def __init__(
        self,
        network: Network | None = None,
        *,
        keep: bool = False,
        port: int | None = None,
        turnstile: Turnstile | None = None,
    ) -> None:
        self.network: Network = network if network is not None else Loopback()
        self.keep = keep
        self.fresh = False
        """Whether the next world wants a gateway that has seen nothing."""
        self.marked = False
        """Whether the last world had a gateway that was part of a failure before."""
        self.started = 0
        """Gateways that were started so far."""
        self._runner: asyncio.Runner | None = None
        self._kept: Kept | None = None
        self._ports = (0, 0)
        self._port = port
        self._turnstile = turnstile

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run one world's main coroutine on the station's loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        with without_pauses():
            return self._runner.run(main())

    async def ports(self) -> tuple[int, int]:
        """Two ports for the gateway: those of the one that is kept while it lives."""
        if self._kept is not None and self._kept.process.died() is not None:
            await self.discard()
        self._ports = (self._kept.port, self._kept.second_port) if self._kept is not None else _two_ports(self._port)
        await self.network.open(PUBLIC_HOST, self._ports[0])
        return self._ports

    async def gateway(self, profile: Profile, values: Mapping[str, str]) -> GatewayProcess:
        """A gateway with these settings: the kept one if it has them, else a new one. Raises `GatewayNotStartable`."""
        key = (profile.name, profile.gateway.version, profile.folder, tuple(sorted(values.items())))
        fresh, self.fresh, self.marked = self.fresh, False, False
        if self._kept is not None and self._kept.key == key and not fresh:
            self.marked = self._kept.marked
            self._kept.process.begin()
            return self._kept.process
        await self.discard()
        process = GatewayProcess(profile, self._ports[0])
        self.started += 1
        async with self._turnstile.passing() if self._turnstile is not None else nullcontext():
            await process.launch(values, self.network.environment())
        self._kept = Kept(key, process, *self._ports)
        return process

    async def part(self, gateway: GatewayProcess) -> Ended:
        """A world has no more use for its gateway: keep it for the next one, or end it."""
        if self.keep and self._kept is not None and self._kept.process is gateway and gateway.died() is None:
            return Ended(clean=True, left=[])
        return await self.discard() or await gateway.stop()

    def mark(self) -> None:
        """The gateway that is kept was part of a failure."""
        if self._kept is not None:
            self._kept.marked = True

    async def discard(self) -> Ended | None:
        """End the gateway that is kept; None when there is none."""
        kept, self._kept = self._kept, None
        return await kept.process.stop() if kept is not None else None

    def close(self) -> Ended | None:
        """End everything. Returns how the gateway ended that was kept, None when there was none."""
        if self._runner is None:
            return None

        async def end() -> Ended | None:
            ended = await self.discard()
            await self.network.close()
            return ended

        try:
            return self._runner.run(end())
        finally:
            self._runner.close()
            self._runner = None


def _two_ports(fixed: int | None) -> tuple[int, int]:
    first = fixed or free_port()
    second = free_port()
    while second == first:
        second = free_port()
    return first, second
