"""The fake Entra for real clients: on loopback with TLS, and as the only vendor of a world on the virtual stage."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import trustme
from aiohttp import web
from openai_stand import QuickChoices

from fakes.azure.directory import Application, FederatedCredential, ManagedIdentity, Tenant
from fakes.azure.entra import Entra
from fakes.azure.entra_server import EntraServer
from fakes.azure.keys import signing_key
from fakes.local import ListRecorder, LoopClock, OpenGates
from fakes.ports import Clock, Ports, Recorder
from harness.virtual import DEFAULT_WALL, VirtualLoop, run_virtual, spawn
from harness.wire import Wire

TENANT = "3f1c6d2e-7b54-4a8e-9c0d-5e2f8a1b4c6d"
CLIENT = "9a7b5c3d-1e2f-4a6b-8c9d-0e1f2a3b4c5d"
SECRET = "abc8Q~Gateway-secret.0123456789_xyz"
SYSTEM = "11111111-2222-4333-8444-555555555555"
"""The client id of the machine's own identity."""
ASSIGNED = "66666666-7777-4888-9999-aaaaaaaaaaaa"
"""That of an identity which is assigned to it."""
HEADER = "5d1c9a7e-identity-header"
SECONDS = 60
"""How long a test may take."""


def entra(clock: Clock, recorder: Recorder) -> Entra:
    """A tenant with an application that has every kind of credential, and the identities of one machine."""
    application = Application(
        CLIENT,
        secrets=[SECRET],
        certificates=[signing_key("certificate").certificate_pem()],
        federated=[FederatedCredential()],
    )
    identities = [ManagedIdentity(SYSTEM, system=True), ManagedIdentity(ASSIGNED)]
    tenant = Tenant(TENANT, applications=[application], identities=identities)
    return Entra(Ports(clock, QuickChoices(), recorder, OpenGates()), [tenant], identity_header=HEADER)


@dataclass(slots=True)
class Stand:
    """The service on loopback: with TLS at `port`, without at `plain_port`."""

    entra: Entra
    recorder: ListRecorder
    port: int
    plain_port: int

    @property
    def authority(self) -> str:
        return f"https://localhost:{self.port}"

    def paths(self) -> list[str]:
        return [m.meta["url"].partition("?")[0].split("/", 3)[3] for m in self.recorder.messages if m.kind == "request"]


@contextlib.asynccontextmanager
async def served(authority: trustme.CA) -> AsyncIterator[Stand]:
    """Serve the fake: the authority over TLS, the identity endpoints without."""
    recorder = ListRecorder()
    service = entra(LoopClock(), recorder)
    server = EntraServer(service)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", *server.hosts[:2]).configure_cert(context)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with asyncio.timeout(SECONDS):
            yield Stand(service, recorder, runner.addresses[0][1], runner.addresses[1][1])
    finally:
        await server.close()
        await runner.cleanup()


def principal(service: Entra, token: str) -> str:
    """Whose token it is, as a resource of Azure sees it now."""
    return service.verify(token, service.ports.clock.wall()).oid


def on_the_virtual_stage(main: Callable[[Entra], Coroutine[Any, Any, None]], **environ: str) -> Wire:
    """Run a client as the gateway of a world whose only vendor is Entra."""

    async def world(loop: VirtualLoop) -> Wire:
        wire = Wire(loop.time)
        service = entra(LoopClock(DEFAULT_WALL), wire)
        server = EntraServer(service)
        address = loop.network.add_host(server.name, server.hosts)
        loop.network.expect_tls(address, 443)

        async def start() -> None:
            runner = web.AppRunner(server.app, access_log=None, handle_signals=False)
            await runner.setup()
            for port in (443, *server.plain_ports):
                await web.TCPSite(runner, address, port).start()

        await spawn(loop, server.name, start(), "entra starts")
        await spawn(loop, "gateway", main(service), "gateway")
        return wire

    return run_virtual(world, environ=environ)
