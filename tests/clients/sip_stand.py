"""What a SIP call needs besides the service: a gateway that is told of it, and a caller at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import openai
from aiohttp import web
from openai_stand import KEY, Stand, ear, phrases, sound

from fakes.openai.sip import SipLeg
from fakes.openai.webhooks import WebhookEndpoint

SECRET = "whsec_Y2FsbHByb29mLWNhbGxwcm9vZi1jYWxscHJvb2Y="


@dataclass(slots=True)
class Gateway:
    """A server that is told of calls. `told` are the webhooks that its SDK found to be the vendor's."""

    told: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    async def webhook(self, request: web.Request) -> web.Response:
        client = openai.OpenAI(api_key=KEY, webhook_secret=SECRET)
        try:
            self.told.put_nowait(client.webhooks.unwrap(await request.text(), dict(request.headers)))
        except openai.InvalidWebhookSignatureError:
            return web.Response(status=400)
        return web.Response()


@asynccontextmanager
async def gateway(s: Stand) -> AsyncIterator[Gateway]:
    """A gateway that the service's webhooks reach."""
    made = Gateway()
    app = web.Application()
    app.router.add_post("/webhook", made.webhook)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    s.service.webhook = WebhookEndpoint(f"http://127.0.0.1:{runner.addresses[0][1]}/webhook", SECRET)
    try:
        yield made
    finally:
        await runner.cleanup()


class Caller:
    """The person at the other end of the trunk."""

    def __init__(self, leg: SipLeg) -> None:
        self.leg = leg
        self._heard_ms = 0
        self._wanted: list[tuple[int, asyncio.Future[None]]] = []
        leg.on_audio = self._hear

    def _hear(self, pcm: bytes) -> None:
        self._heard_ms += len(pcm) // 48
        for ms, waiter in self._wanted:
            if self._heard_ms >= ms and not waiter.done():
                waiter.set_result(None)

    async def hears(self, ms: int) -> None:
        """Wait until so much has been heard in all."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted.append((ms, waiter))
        await waiter

    def says(self, phrase: str) -> None:
        for frame in sound(phrase, "pcm16", 600):
            self.leg.audio(frame)

    def phrases(self) -> list[tuple[str, bool]]:
        listener = ear("pcm16")
        listener.feed(bytes(self.leg.played))
        return phrases(listener)
