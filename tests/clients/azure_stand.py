"""The fake Azure OpenAI on loopback for real clients, with the checks of `openai_stand`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from aiohttp import web
from openai_stand import SECONDS, QuickChoices, Stand
from yarl import URL

from fakes.azure.resources import Deployment, Resource
from fakes.azure.server import AzureServer
from fakes.azure.service import AzureService
from fakes.azure.tokens import TokenVerifier
from fakes.local import ListRecorder, LoopClock, OpenGates
from fakes.ports import Ports

KEY = "0123456789abcdef0123456789abcdef"
DEPLOYMENT = "voice-agent"
API_VERSION = "2025-04-01-preview"
DAY = date(2026, 11, 20)


@dataclass(slots=True)
class AzureStand(Stand):
    """A resource on loopback. `http` and `ws` are its base addresses, both ending in `/openai/v1`."""

    endpoint: str = ""
    """What Azure calls the endpoint of a resource."""

    def azure(self, **extra: Any) -> dict[str, Any]:
        """What `AsyncAzureOpenAI` is made with."""
        return {
            "azure_endpoint": self.endpoint,
            "api_key": KEY,
            "api_version": API_VERSION,
            # Without it the SDK takes wss, which has no meaning on loopback.
            "websocket_base_url": self.ws.removesuffix("/v1"),
            "max_retries": 0,
            **extra,
        }

    def v1(self, **extra: Any) -> dict[str, Any]:
        """What `AsyncOpenAI` is made with."""
        return self.options(KEY, **extra)

    def upgrade(self) -> URL:
        """The address of the last upgrade."""
        return URL(
            next(message for message in reversed(self.recorder.messages) if message.kind == "upgrade").meta["url"]
        )


@asynccontextmanager
async def azure_stand(
    model: str = "gpt-realtime", *, tokens: TokenVerifier | None = None, tls: ssl.SSLContext | None = None, **extra: Any
) -> AsyncIterator[AzureStand]:
    """Serve a resource with one deployment; `extra` are further fields of it.

    Raises `TimeoutError` when it is used for longer than a test may take.
    """
    recorder = ListRecorder()
    ports = Ports(LoopClock(), QuickChoices(), recorder, OpenGates())
    resource = Resource("contoso-voice", keys=(KEY,), deployments=(Deployment(DEPLOYMENT, model),), **extra)
    service = AzureService(ports, as_of=DAY, resources=[resource], tokens=tokens)
    server = AzureServer(service)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    where = f"{'localhost' if tls else '127.0.0.1'}:{runner.addresses[0][1]}"
    secure = "s" if tls else ""
    http, ws = f"http{secure}://{where}/openai/v1", f"ws{secure}://{where}/openai/v1"
    try:
        async with asyncio.timeout(SECONDS):
            yield AzureStand(service, recorder, http, ws, f"http{secure}://{where}")
    finally:
        await server.close()
        await runner.cleanup()
