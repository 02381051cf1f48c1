"""The corpus of broken gateways: the reference gateway, each with one known fault of the field put back.

A fault is a class that overrides as little as it can, with a paragraph on what the fault is, where it was seen and what
it does to callers; `entry` makes of it what a profile can name (`python = "broken.callbacks:says_on_answered"`).
`corpus` lists them all, with the requirements that the suite must find broken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from reference_impl.app import serve
from reference_impl.azure import Azure
from reference_impl.config import load
from reference_impl.credentials import Entra
from reference_impl.doctor import Doctor
from reference_impl.gateway import Gateway
from reference_impl.minting import Minter
from reference_impl.talk import Talk
from reference_impl.upstream import Upstream

Entry = Callable[[], Coroutine[Any, Any, None]]


Environ = Callable[[Mapping[str, str]], Mapping[str, str]]


def entry(fault: type[Any], *, gateway: type[Gateway] = Gateway, environ: Environ = dict, **pieces: type[Any]) -> Entry:
    """An entry point that serves `gateway` with some of its pieces replaced, configured as the reference gateway is.

    `pieces`: what to put in the place of the class attributes of `Gateway`, without their `_class`: `bridge=Deaf`.
    `fault` is the class that tells about the fault. `environ` makes of the environment what the configuration is read
    from: for gateways that let settings pass which the reference gateway refuses.
    """
    broken = type(fault.__name__, (gateway,), {f"{piece}_class": replaced for piece, replaced in pieces.items()})

    async def main() -> None:
        await serve(load((), environ(os.environ)), broken)

    main.__doc__ = fault.__doc__
    return main


def bridge(fault: type[Any]) -> Entry:
    """The entry point of a fault in the bridge."""
    return entry(fault, bridge=fault)


def azure(fault: type[Azure], *, about: type[Any] | None = None, environ: Environ = dict) -> Entry:
    """The entry point of a fault in how sessions are opened at Azure. `about`: the class that tells about the fault, if
    it is another; `environ`: see `entry`."""

    def upstream_for(self: Gateway) -> Upstream:
        if self.config.azure:
            return fault(self.config, self.log, self.busy)
        return Gateway.upstream_for(self)

    broken = type(fault.__name__, (Gateway,), {"upstream_for": upstream_for})
    return entry(about or fault, gateway=broken, environ=environ)


def entra(fault: type[Entra]) -> Entry:
    """The entry point of a fault in how tokens are got and used."""
    return azure(type(fault.__name__, (Azure,), {"entra_class": fault}), about=fault)


def doctor(fault: type[Doctor]) -> Entry:
    """The entry point of a fault in the doctor."""
    return entry(fault, doctor=fault)


def gateway(fault: type[Gateway]) -> Entry:
    """The entry point of a fault in the gateway's HTTP side."""
    return entry(fault, gateway=fault)


def talk(fault: type[Talk]) -> Entry:
    """The entry point of a fault in Talk's HTTP side."""
    return entry(fault, talk=fault)


def minter(fault: type[Minter]) -> Entry:
    """The entry point of a fault in the minting of client secrets."""
    return entry(fault, talk=type(fault.__name__, (Talk,), {"minter_class": fault}))
