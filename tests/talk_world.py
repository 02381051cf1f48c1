"""The reference gateway with Talk, the fake OpenAI or an odd one, and a browser's requests."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSServerHandshakeError, web
from aiohttp.test_utils import TestServer

from fakes.knobs import Knobs
from fakes.local import ListRecorder, LoopClock, OpenGates, TypicalChoices
from fakes.openai import KNOBS, KeyInfo, OpenAIServer, OpenAIService
from fakes.ports import Ports
from reference_impl.config import load
from reference_impl.gateway import Gateway

KEY = "sk-test-0123456789abcdefghij"
TOKEN = "talk-token-7f3a"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PUBLIC = "https://gw.example.test"
ENVIRON = {
    "GATEWAY_PUBLIC_URL": PUBLIC,
    "GATEWAY_TOKEN": "operator-token",
    "GATEWAY_TALK_TOKEN": TOKEN,
    "OPENAI_API_KEY": KEY,
    "OPENAI_VOICE": "marin",
    "OPENAI_INSTRUCTIONS": "Be brief.",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}
TODAY = date(2026, 11, 20)
LEGACY = "gpt-4o-realtime-preview"
Answer = tuple[int, Any]


class QuickChoices(TypicalChoices):
    """Nothing takes longer than it must."""

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        return low_ms / 1000


class World:
    """A gateway that is up, OpenAI, and a browser."""

    def __init__(self, gateway: Gateway, url: str, http: ClientSession, recorder: ListRecorder) -> None:
        self.gateway, self.url, self.http, self.recorder = gateway, url, http, recorder

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        data = body if isinstance(body, str) else json.dumps(body)
        async with self.http.post(self.url + path, data=data, headers={**BEARER, **headers}) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()

    async def session(self, transport: str = "webrtc", **headers: str) -> Answer:
        return await self.post("/talk/session", {"transport": transport}, **headers)

    async def relay_url(self) -> str:
        status, answer = await self.session("relay")
        assert status == 200, answer
        return self.url + str(answer["url"])

    async def refused(self, url: str, **headers: str) -> int:
        """The status with which an upgrade is refused."""
        with pytest.raises(WSServerHandshakeError) as caught:
            await self.http.ws_connect(url, headers=headers)
        return caught.value.status

    def sent(self, kind: str) -> list[Any]:
        """What crossed the wire to or from OpenAI, of one kind, as JSON."""
        bodies = [message.body for message in self.recorder.messages if message.kind == kind]
        return [json.loads(body) for body in bodies if body]


@asynccontextmanager
async def gateway_at(
    openai: str, recorder: ListRecorder, gateway_class: type[Gateway] = Gateway, **environ: str
) -> AsyncIterator[World]:
    config = load([], {**ENVIRON, "OPENAI_BASE_URL": f"{openai}/v1", **environ})
    gateway = gateway_class(config)
    await gateway.start()
    async with TestServer(gateway.app()) as server, ClientSession() as http:
        try:
            yield World(gateway, str(server.make_url("")).rstrip("/"), http, recorder)
        finally:
            await gateway.close()


@asynccontextmanager
async def world(
    gateway_class: type[Gateway] = Gateway,
    *,
    key: KeyInfo | None = None,
    day: date = TODAY,
    **environ: str,
) -> AsyncIterator[World]:
    """A gateway and the fake OpenAI."""
    recorder = ListRecorder()
    ports = Ports(LoopClock(), QuickChoices(), recorder, OpenGates())
    service = OpenAIService(ports, as_of=day, keys={KEY: key or KeyInfo()}, knobs=Knobs.load(KNOBS))
    server = OpenAIServer(service)
    async with TestServer(server.app) as vendor:
        async with gateway_at(str(vendor.make_url("")).rstrip("/"), recorder, gateway_class, **environ) as made:
            yield made
        await server.close()


@asynccontextmanager
async def odd_vendor(answer: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[World]:
    """A gateway and a vendor that answers everything the same."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    async with (
        TestServer(app) as vendor,
        gateway_at(str(vendor.make_url("")).rstrip("/"), ListRecorder()) as made,
    ):
        yield made


async def frames_until(ws: ClientWebSocketResponse, kind: str) -> list[Any]:
    """The frames up to one of that type."""
    told: list[Any] = []
    while not told or told[-1]["type"] != kind:
        told.append(await ws.receive_json(timeout=5))
    return told
