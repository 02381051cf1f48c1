"""Stages: where a world runs. What both have in common, and what a stage sees of a vendor."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aiohttp import web

from harness.profile import Profile

T = TypeVar("T")

PUBLIC_HOST = "gw.example.test"
"""The gateway's own public name: what Twilio is told to call."""


VENDOR_SETTING = re.compile(r"(OPENAI|AZURE|TWILIO|IDENTITY|MSI)_", re.ASCII)
"""Environment variables of a developer's own that must not reach a gateway under test."""


class GatewayNotStartable(RuntimeError):
    """The gateway could not be brought up: it died, never got ready, or cannot run on this stage."""


class Vendor(Protocol):
    """What a stage has to know of a fake: its party name, the hosts it answers for, its aiohttp application."""

    @property
    def name(self) -> str: ...

    @property
    def hosts(self) -> Sequence[str]: ...

    @property
    def app(self) -> web.Application: ...

    @property
    def plain_ports(self) -> Sequence[int]:
        """Ports at which it is served without TLS as well, where it can have addresses of its own."""
        ...


@dataclass(slots=True)
class Ended:
    """How a gateway ended. `clean` is False when it had to be killed or left something behind."""

    clean: bool
    left: list[str]
    status: int | None = None


class RunningGateway(Protocol):
    """A gateway that is up.

    `environment`: the variables that it was started with. `state`: what drivers keep of it; empty at its start.
    """

    url: str
    environment: Mapping[str, str]
    state: dict[str, Any]

    @property
    def home(self) -> Path | None:
        """The folder of its own that `{home}` stands for, where it has one."""
        ...

    def output(self) -> str:
        """Everything that it has printed and logged so far."""
        ...

    def died(self) -> str | None:
        """Why it is not running any more, None while it runs."""
        ...

    def left(self) -> list[str]:
        """Tasks and connections that it holds at this moment, as far as the stage can see them."""
        ...

    async def stop(self) -> Ended:
        """End it: politely first, then by force."""
        ...


class RefusedGateway:
    """A gateway that did not start, and said why: that is all there is of it."""

    url = "http://127.0.0.1:9"
    home: Path | None = None

    def __init__(self, why: str) -> None:
        self._why = why
        self.environment: Mapping[str, str] = {}
        self.state: dict[str, Any] = {}

    def output(self) -> str:
        """See `RunningGateway.output`."""
        return self._why

    def died(self) -> str | None:
        """See `RunningGateway.died`. It never lived."""
        return None

    def left(self) -> list[str]:
        """See `RunningGateway.left`."""
        return []

    async def stop(self) -> Ended:
        """See `RunningGateway.stop`."""
        return Ended(clean=True, left=[])


class Stage(Protocol):
    """A place for one world."""

    name: str

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the world's main coroutine to its end and return what it returns."""
        ...

    async def serve(self, vendor: Vendor) -> str:
        """Bring a vendor up; returns the base URL at which the gateway finds it."""
        ...

    def routes(self) -> Mapping[str, str]:
        """Public host to real base URL, for vendors that call the gateway."""
        ...

    def looked_up(self) -> frozenset[str] | None:
        """The names that the gateway has looked up so far; None on a stage that does not see it."""
        ...

    async def prepare_gateway(self) -> Mapping[str, str]:
        """Choose the gateway's address; returns the settings `listen.host`, `listen.port`, `public_url`."""
        ...

    async def start_gateway(self, profile: Profile, values: Mapping[str, str]) -> RunningGateway:
        """Start the gateway and wait until it is ready. Raises `GatewayNotStartable`."""
        ...

    async def part(self, gateway: RunningGateway) -> Ended:
        """The world is over: end the gateway, or keep it for the next one."""
        ...

    async def close(self) -> None:
        """Take the vendors down."""
        ...
