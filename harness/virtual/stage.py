"""The virtual stage: fakes, gateway and people in one process, in virtual time."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from aiohttp import web

from harness.profile import Launch, Profile
from harness.stage import PUBLIC_HOST, VENDOR_SETTING, Ended, GatewayNotStartable, RunningGateway, Vendor
from harness.virtual import tls
from harness.virtual.loop import VirtualLoop
from harness.virtual.network import PARTY, Network
from harness.virtual.ordering import OrderedTask
from harness.virtual.output import captured_output
from harness.virtual.program import Program
from harness.virtual.running import DEFAULT_WALL, run_virtual, spawn
from harness.virtual.transport import VirtualTransport

T = TypeVar("T")

GATEWAY_PORT = 8080

PROXY = re.compile(r"(https?|wss?|all|no)_proxy", re.IGNORECASE)
"""Environment variables that would lead a program past this world's names. A profile may set its own."""


class VirtualStage:
    """One world in virtual time. `report` hears of names and addresses that nobody serves. `port`: where the gateway
    listens, if it cannot be told."""

    name = "virtual"

    def __init__(
        self,
        *,
        seed: int = 0,
        wall: float = DEFAULT_WALL,
        report: Callable[[str, str, str], None] | None = None,
        latency: float = 0.0005,
        port: int | None = None,
    ) -> None:
        self.network = Network(report)
        self.port = port or GATEWAY_PORT
        self.seed = seed
        self.wall = wall
        self.latency = latency
        self.loop: VirtualLoop
        self._runners: list[web.AppRunner] = []
        self._gateway_tasks: list[asyncio.Task[Any]] = []
        self._borrowed = ExitStack()

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def inside(loop: VirtualLoop) -> T:
            self.loop = loop
            loop.set_task_factory(self._make_task)
            return await main()

        with captured_output() as self._output, self._borrowed:
            return run_virtual(inside, network=self.network, wall=self.wall, seed=self.seed, environ=_environment())

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = OrderedTask(coro, loop=loop, **kwargs)
        context = kwargs.get("context")
        party = context.get(PARTY) if context is not None else PARTY.get()
        if party == "gateway":
            self._gateway_tasks.append(task)
        return task

    def gateway_tasks(self) -> list[asyncio.Task[Any]]:
        """The gateway's tasks that are not done, oldest first."""
        self._gateway_tasks = [task for task in self._gateway_tasks if not task.done()]
        return self._gateway_tasks

    async def serve(self, vendor: Vendor) -> str:
        address = self.network.add_host(vendor.name, vendor.hosts)
        self.network.expect_tls(address, 443)
        self.network.link("gateway", vendor.name).latency = self.latency
        runner = web.AppRunner(vendor.app, access_log=None, handle_signals=False)
        self._runners.append(runner)

        async def start() -> None:
            await runner.setup()
            for port in (443, *vendor.plain_ports):
                await web.TCPSite(runner, address, port).start()

        await spawn(self.loop, vendor.name, start(), f"{vendor.name} starts")
        return f"https://{vendor.hosts[0]}"

    def routes(self) -> Mapping[str, str]:
        return {}

    def looked_up(self) -> frozenset[str] | None:
        return self.network.looked_up_by("gateway")

    async def prepare_gateway(self) -> Mapping[str, str]:
        self.network.add_host("gateway", ["gateway.test"])
        self.network.add_front(PUBLIC_HOST, "gateway", self.port)
        return {
            "listen.host": "0.0.0.0",
            "listen.port": str(self.port),
            "listen.second_port": str(self.port + 1),
            "public_url": f"https://{PUBLIC_HOST}",
            "public_host": PUBLIC_HOST,
        }

    async def start_gateway(self, profile: Profile, values: Mapping[str, str]) -> RunningGateway:
        if profile.gateway.python is None:
            raise GatewayNotStartable(
                f"the profile of {profile.name} has no `python` entry point, so it cannot run on the virtual stage: "
                f"use --stage live"
            )
        if profile.commands:
            raise GatewayNotStartable(
                f"the profile of {profile.name} has commands ({', '.join(profile.commands)}), which take processes of "
                f"their own, so it cannot run on the virtual stage: use --stage live"
            )
        home = None
        if profile.needs_home:
            home = Path(self._borrowed.enter_context(TemporaryDirectory(prefix="callproof-home-")))
        launch = profile.launch(values, home)
        launch.write_files()
        # Before the import: programs like to read their configuration at the top of a module.
        for name in [name for name in os.environ if VENDOR_SETTING.match(name) or PROXY.fullmatch(name)]:
            del os.environ[name]
        os.environ.update(launch.environment)
        sys.argv = [profile.gateway.python, *launch.arguments]
        program = Program(profile.gateway.python, profile.folder, reimport=profile.gateway.reimport)
        self._borrowed.enter_context(program.modules())
        run = program.main(values["listen.host"], int(values["listen.port"]))
        self.loop.libraries.look()
        gateway = VirtualGateway(self, profile, launch, spawn(self.loop, "gateway", run(), "gateway"))
        await gateway.ready(profile.gateway.ready.timeout)
        return gateway

    async def part(self, gateway: RunningGateway) -> Ended:
        return await gateway.stop()

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()


class VirtualGateway:
    """A gateway that runs as tasks of this process."""

    def __init__(self, stage: VirtualStage, profile: Profile, launch: Launch, task: asyncio.Task[Any]) -> None:
        self.url = f"http://gateway.test:{stage.port}"
        self.home = launch.home
        self.environment: Mapping[str, str] = launch.environment
        self.state: dict[str, Any] = {}
        self._stage = stage
        self._profile = profile
        self._task = task

    async def ready(self, timeout: float) -> None:
        """Wait until it listens. Raises `GatewayNotStartable` when it ends or never does."""
        listening = asyncio.ensure_future(self._stage.network.listening("gateway", self._stage.port))
        done, _ = await asyncio.wait({listening, self._task}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if listening in done:
            return
        listening.cancel()
        if self._task in done:
            if not self._task.cancelled() and isinstance(self._task.exception(), GatewayNotStartable):
                await self._task
            raise GatewayNotStartable(f"gateway {self._profile.name} died at its start: {self.died()}{self._tail()}")
        self._task.cancel()
        raise GatewayNotStartable(
            f"gateway {self._profile.name} did not listen at port {self._stage.port} within {timeout:g} s: does its "
            f"profile map listen.port?{self._tail()}"
        )

    def _tail(self) -> str:
        lines = self.output().strip().splitlines()[-8:]
        return "\nits last output:\n  " + "\n  ".join(lines) if lines else ""

    def output(self) -> str:
        return self._stage._output.getvalue()

    def died(self) -> str | None:
        if not self._task.done():
            return None
        if self._task.cancelled():
            return "it was cancelled"
        error = self._task.exception()
        return f"{type(error).__name__}: {error}" if error is not None else "its entry point returned"

    def connections(self) -> list[VirtualTransport]:
        """The gateway's open connections to others."""
        return [
            transport
            for transport in self._stage.network.open_transports()
            if transport.get_extra_info("party") == "gateway"
        ]

    def left(self) -> list[str]:
        return sorted(task.get_name() for task in self._stage.gateway_tasks())

    async def stop(self) -> Ended:
        """SIGTERM where the gateway handles it on its loop; cancellation where it does not, or does not end by it."""
        timeout = self._profile.gateway.stop_timeout
        done: set[asyncio.Task[Any]] = set()
        refused: list[str] = []
        if not self._task.done() and self._stage.loop.send_signal(signal.SIGTERM):
            done, _ = await asyncio.wait({self._task}, timeout=timeout)
            if not done:
                refused.append(f"its main task did not end within {timeout:g} s of SIGTERM")
        if not done:
            self._task.cancel()
            done, _ = await asyncio.wait({self._task}, timeout=timeout)
        left = [*refused, *(f"task {t.get_name()}" for t in self._stage.gateway_tasks() if t is not self._task)]
        if not done:
            left.insert(0, f"its main task did not end within {timeout:g} s of being cancelled")
        elif not self._task.cancelled() and (error := self._task.exception()) is not None:
            left.insert(0, f"it ended with {type(error).__name__}: {error}")
        return Ended(clean=not left, left=left)


def _environment() -> dict[str, str]:
    return {"SSL_CERT_FILE": tls.bundle()}
