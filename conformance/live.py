"""The live stage of a run: how the gateway is led to the fakes, and the place where its worlds happen."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from harness.live import Station
from harness.live.enclosure import Enclosure, NoEnclosure, enter, inside
from harness.live.network import Loopback, Network
from harness.live.process import run_setup
from harness.live.proxy import Proxy
from harness.profile import Profile
from harness.run import RunRequest
from harness.suite import CaseDefinition, Column

TOLD: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # What a gateway that does one of these has to be told, in one of these settings, to find a fake at a free port.
    "OpenAI": (("openai.ga", "openai.beta"), ("openai.base_url", "openai.ws_url")),
    "Twilio": (("phone.outbound", "operator.hangup", "tools.end_call"), ("twilio.base_url",)),
    "Azure OpenAI": (("azure.ga", "azure.beta", "azure.relay"), ("azure.endpoint",)),
}
"""Vendor -> claims that need it, and the settings that say where it is."""


def untold(profile: Profile) -> list[str]:
    """The vendors that the gateway needs, and that nothing in its profile tells it where to find."""
    return [
        vendor
        for vendor, (claims, settings) in TOLD.items()
        if any(claim in profile.claims.features for claim in claims) and not any(map(profile.maps, settings))
    ]


def move_in(request: RunRequest) -> None:
    """Go on in an enclosure where the run takes one: the whole command begins again in there. Returns when it is there,
    or needs none. Raises `NoEnclosure`, `GatewayNotStartable`.

    What needs the network of this machine, to install the gateway, is done before.
    """
    if request.stage != "live" or request.intercept != "namespace" or inside():
        return
    asyncio.run(run_setup(request.profile))
    enter(sys.orig_argv)


def make_station(request: RunRequest) -> Station:
    """The place of the live worlds of a run. Raises `NoEnclosure` where the kernel refuses something after all."""
    network: Network = Loopback()
    if request.intercept == "proxy":
        network = Proxy()
    elif request.intercept == "namespace":
        try:
            network = Enclosure()
        except OSError as error:
            raise NoEnclosure(f"the enclosure cannot be furnished: {error}") from None
    return Station(network, keep=request.trace is None, port=request.profile.gateway.port)


def configuration(definition: CaseDefinition, column: Column) -> tuple[object, ...]:
    """What the settings of a gateway follow from: cases that agree in it can share one."""
    return str(column), column.as_of, definition.vendor, tuple(sorted(definition.settings.items(), key=str))
