"""The corpus of broken gateways: the reference gateway, each with one known fault of the field put back.

A fault is a class that overrides as little as it can, with a paragraph on what the fault is, where it was seen and what
it does to callers; `entry` makes of it what a profile can name (`python = "broken.callbacks:says_on_answered"`).
`corpus` lists them all, with the requirements that the suite must find broken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any

from reference_impl.app import serve
from reference_impl.config import load
from reference_impl.gateway import Gateway
from reference_impl.minting import Minter
from reference_impl.talk import Talk

Entry = Callable[[], Coroutine[Any, Any, None]]


def entry(fault: type[Any], *, gateway: type[Gateway] = Gateway, **pieces: type[Any]) -> Entry:
    """An entry point that serves `gateway` with some of its pieces replaced, configured as the reference gateway is.

    `pieces`: what to put in the place of the class attributes of `Gateway`, without their `_class`: `bridge=Deaf`.
    `fault` is the class that tells about the fault.
    """
    broken = type(fault.__name__, (gateway,), {f"{piece}_class": replaced for piece, replaced in pieces.items()})

    async def main() -> None:
        await serve(load((), os.environ), broken)

    main.__doc__ = fault.__doc__
    return main


def bridge(fault: type[Any]) -> Entry:
    """The entry point of a fault in the bridge."""
    return entry(fault, bridge=fault)


def gateway(fault: type[Gateway]) -> Entry:
    """The entry point of a fault in the gateway's HTTP side."""
    return entry(fault, gateway=fault)


def talk(fault: type[Talk]) -> Entry:
    """The entry point of a fault in Talk's HTTP side."""
    return entry(fault, talk=fault)


def minter(fault: type[Minter]) -> Entry:
    """The entry point of a fault in the minting of client secrets."""
    return entry(fault, talk=type(fault.__name__, (Talk,), {"minter_class": fault}))
