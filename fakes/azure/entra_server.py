"""The aiohttp shell of Entra and of the identity endpoints of a machine."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from fakes.azure.entra import Entra
from fakes.azure.entra_http import EntraAnswer, EntraEndpoints, EntraRequest

CHANNEL = "entra.http"
CLIENT = "gateway"
BODY_LIMIT = 256 * 1024
"""Bytes of a request that are read."""


class EntraServer:
    """Entra as an aiohttp application: `app` is to be run by whoever owns the loop.

    The authority is served over TLS (port 443); `plain_ports` are those at which the same application has to be served
    without: the metadata service (80) and the App Service identity endpoint (8081).
    """

    name = "entra"
    hosts = ("login.microsoftonline.com", "sts.windows.net", "169.254.169.254")
    plain_ports = (80, 8081)

    def __init__(self, entra: Entra) -> None:
        self.entra = entra
        self.endpoints = EntraEndpoints(entra)
        self.app = web.Application(client_max_size=BODY_LIMIT)
        self.app.router.add_route("*", "/{path:.*}", self._handle)
        self._requests = 0
        self._waiting: set[asyncio.Future[None]] = set()

    async def close(self) -> None:
        """Let go of every request that still waits for its answer."""
        for waiter in list(self._waiting):
            if not waiter.done():
                waiter.set_result(None)

    async def _handle(self, request: web.Request) -> web.Response:
        entra, recorder = self.entra, self.entra.ports.recorder
        self._requests += 1
        connection = f"entra#{self._requests}"
        body, answer = await self._answer(request)
        meta = {"method": request.method, "url": str(request.url), "headers": list(request.headers.items())}
        recorder.record(
            CLIENT, entra.party, CHANNEL, "request", body, connection=connection, invalid=answer.invalid, meta=meta
        )
        if answer.delay:
            await self._wait(answer.delay)
        async with entra.ports.gates.delivery(f"entra/request{self._requests}/answer"):
            text = json.dumps(answer.body, separators=(",", ":"))
            response = web.Response(status=answer.status, text=text, headers=answer.headers)
            answered: dict[str, Any] = {"status": answer.status, "headers": list(response.headers.items())}
            recorder.record(entra.party, CLIENT, CHANNEL, "response", text, connection=connection, meta=answered)
        return response

    async def _answer(self, request: web.Request) -> tuple[str, EntraAnswer]:
        """What came in the body, and what goes back."""
        try:
            body = (await request.read()).decode("utf-8", "replace")
        except web.HTTPRequestEntityTooLarge:
            return "", EntraAnswer(413, {}, {}, invalid=f"a body of more than {BODY_LIMIT} bytes")
        headers = {name.lower(): value for name, value in request.headers.items()}
        form = dict(parse_qsl(body, keep_blank_values=True))
        asked = EntraRequest(request.method, request.path, request.query, headers, form, request.host)
        return body, self.endpoints.handle(asked)

    async def _wait(self, seconds: float) -> None:
        """Wait by the clock of the world."""
        clock = self.entra.ports.clock
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)

        def go() -> None:
            if not waiter.done():
                waiter.set_result(None)

        timer = clock.call_at(clock.now() + seconds, go)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            timer.cancel()
