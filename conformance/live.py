"""The live stage of a run: how the gateway is led to the fakes, and the place where its worlds happen."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from conformance.asking import processors
from conformance.shards import Part
from harness.live import Station
from harness.live.enclosure import Enclosure, NoEnclosure, enter, inside
from harness.live.network import Loopback, Network
from harness.live.process import run_setup
from harness.live.proxy import Proxy
from harness.live.turnstile import Turnstile
from harness.run import RunRequest
from harness.suite import CaseDefinition, Column


def move_in(request: RunRequest) -> None:
    """Go on in an enclosure where the run takes one: the whole command begins again in there. Returns when it is there,
    or needs none. Raises `NoEnclosure`, `GatewayNotStartable`.

    What needs the network of this machine, to install the gateway, is done before.
    """
    if request.stage != "live" or request.intercept != "namespace" or inside():
        return
    asyncio.run(run_setup(request.profile))
    enter(sys.orig_argv)


def make_station(request: RunRequest, part: Part | None = None) -> Station:
    """The place of the live worlds of a run, or of a part of one. Raises `NoEnclosure` where the kernel refuses
    something after all."""
    network: Network = Loopback()
    if request.intercept == "proxy":
        network = Proxy()
    elif request.intercept == "namespace":
        try:
            network = Enclosure()
        except OSError as error:
            raise NoEnclosure(f"the enclosure cannot be furnished: {error}") from None
    turnstile = Turnstile(Path(part.shared, "starts"), processors()) if part is not None else None
    return Station(network, keep=request.trace is None, port=request.profile.gateway.port, turnstile=turnstile)


def configuration(definition: CaseDefinition, column: Column) -> tuple[object, ...]:
    """What the settings of a gateway follow from: cases that agree in it can share one."""
    return str(column), column.as_of, definition.vendor, tuple(sorted(definition.settings.items(), key=str))
