"""The live stage: vendors on free loopback ports, the gateway a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from aiohttp import web

from harness.live.process import GatewayProcess, free_port, run_setup
from harness.live.steady import without_pauses
from harness.profile import Profile
from harness.stage import PUBLIC_HOST, GatewayNotStartable, RunningGateway, Vendor

T = TypeVar("T")


class LiveStage:
    """One world in real time."""

    name = "live"

    def __init__(self) -> None:
        self._runners: list[web.AppRunner] = []
        self._port = 0

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with without_pauses(), asyncio.Runner() as runner:
            return runner.run(main())

    async def serve(self, vendor: Vendor) -> str:
        runner = web.AppRunner(vendor.app, access_log=None, handle_signals=False)
        self._runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    def routes(self) -> Mapping[str, str]:
        return {PUBLIC_HOST: f"http://127.0.0.1:{self._port}"}

    async def prepare_gateway(self) -> Mapping[str, str]:
        self._port = free_port()
        return {
            "listen.host": "127.0.0.1",
            "listen.port": str(self._port),
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
        launch = profile.launch(values)
        gateway = GatewayProcess(profile, self._port)
        await gateway.start([*launch.command, *launch.arguments], launch.environment)
        return gateway

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
