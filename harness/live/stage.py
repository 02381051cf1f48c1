"""The live stage: the vendors on sockets of this machine, the gateway a process of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from harness.live.network import Contacts
from harness.live.process import GatewayProcess, run_setup
from harness.live.station import Station
from harness.profile import Profile
from harness.stage import PUBLIC_HOST, Ended, GatewayNotStartable, RunningGateway, Vendor

T = TypeVar("T")


class LiveStage:
    """One world in real time. `station`: the one that it shares with other worlds; its own when there is none."""

    name = "live"

    def __init__(self, station: Station | None = None) -> None:
        self._own = station is None
        self._station = station if station is not None else Station()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._port = 0
        self.contacts = Contacts()
        """Whom the gateway turned to; complete when the stage is closed."""

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return self._station.run(main)
        finally:
            if self._own:
                self._station.close()

    async def serve(self, vendor: Vendor) -> str:
        url, close = await self._station.network.serve(vendor)
        self._closers.append(close)
        return url

    def routes(self) -> Mapping[str, str]:
        return {PUBLIC_HOST: f"http://127.0.0.1:{self._port}"}

    def looked_up(self) -> frozenset[str] | None:
        self._look()
        return frozenset(self.contacts.looked_up) if self._station.network.sees else None

    def _look(self) -> None:
        more = self._station.network.contacts()
        self.contacts.looked_up |= more.looked_up
        for kind, what in more.refused:
            self.contacts.refuse(kind, what)

    async def prepare_gateway(self) -> Mapping[str, str]:
        self._port, second = await self._station.ports()
        return {
            "listen.host": "127.0.0.1",
            "listen.port": str(self._port),
            "listen.second_port": str(second),
            "public_url": f"https://{PUBLIC_HOST}",
            "public_host": PUBLIC_HOST,
        }

    async def start_gateway(self, profile: Profile, values: Mapping[str, str]) -> RunningGateway:
        if not profile.gateway.command:
            raise GatewayNotStartable(
                f"the profile of {profile.name} has no `command`, so it cannot run on the live stage: "
                f"use --stage virtual"
            )
        await run_setup(profile)
        return await self._station.gateway(profile, values)

    def browser(self) -> Sequence[str]:
        """What a Chromium has to be told on its command line to be part of this world."""
        return self._station.network.browser()

    async def part(self, gateway: RunningGateway) -> Ended:
        if not isinstance(gateway, GatewayProcess):
            return await gateway.stop()
        return await self._station.part(gateway)

    async def close(self) -> None:
        for close in self._closers:
            await close()
        self._look()
        if self._own:
            await self._station.network.close()
