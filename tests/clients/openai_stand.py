"""The fake OpenAI on loopback for real clients, and a check of all that it sent by the types of the vendor's SDK."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import openai
from aiohttp import web
from sdk_types import faults

from fakes.audio import Listener, frames, silence
from fakes.local import ListRecorder, LoopClock, OpenGates, TypicalChoices
from fakes.openai import KeyInfo, OpenAIServer, OpenAIService
from fakes.openai.calls import Answerer
from fakes.openai.webrtc import AiortcAnswerer
from fakes.ports import Ports

KEY = "sk-test-0123456789abcd"
MODEL = "gpt-realtime"
DAYS = {"beta": date(2026, 4, 15), "ga": date(2026, 11, 20)}
"""A day for each dialect: the beta was served until May 2026."""
SECONDS = 40
"""How long a test may take."""
EVENTS = ("openai.realtime", "openai.datachannel")
"""The channels that carry realtime events."""
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class QuickChoices(TypicalChoices):
    """Nothing takes longer than it must."""

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        return low_ms / 1000


@dataclass(slots=True)
class Stand:
    """A service on loopback. `http` and `ws` are its base addresses, both ending in `/v1`."""

    service: OpenAIService
    recorder: ListRecorder
    http: str
    ws: str

    def options(self, key: str = KEY, **extra: Any) -> dict[str, Any]:
        """What the Python SDK's clients are made with."""
        # The beta half of the SDK always takes wss, unless it is told the address of the WebSocket.
        return {"api_key": key, "base_url": self.http, "websocket_base_url": self.ws, "max_retries": 0, **extra}

    def client(self, key: str = KEY, **extra: Any) -> openai.AsyncOpenAI:
        """An asynchronous client of the vendor's SDK."""
        return openai.AsyncOpenAI(**self.options(key, **extra))

    def sent(self, source: str = "") -> list[dict[str, Any]]:
        """Every realtime event that `source` sent, by default the service, in order."""
        party = self.service.party
        return [
            json.loads(message.body)
            for message in self.recorder.messages
            if message.source == (source or party)
            and message.body
            and message.kind != "upgrade.refused"
            and message.channel in (f"{party}.realtime", f"{party}.datachannel")
        ]

    def kinds(self, source: str = "") -> list[str]:
        """The types of every realtime event that `source` sent, by default the service, in order."""
        return [event["type"] for event in self.sent(source)]

    def headers(self, kind: str = "upgrade") -> dict[str, str]:
        """The headers of the last request of this kind, names in lower case."""
        found = next(message for message in reversed(self.recorder.messages) if message.kind == kind)
        return {name.lower(): value for name, value in found.meta["headers"]}

    def invalid(self) -> list[tuple[str, str]]:
        """What was recorded as breaking the vendor's schemas, in either direction."""
        return [(message.kind, message.invalid) for message in self.recorder.messages if message.invalid is not None]

    def faults(self, dialect: str) -> list[str]:
        """What the SDK's own types, read strictly, have against the events that the service sent."""
        return sorted({fault for event in self.sent() for fault in faults(dialect, event)})

    def heard(self) -> list[str]:
        """The phrases that the model of the last session has heard."""
        return [heard.phrase for heard in self.service.sessions[-1].heard]


@asynccontextmanager
async def stand(
    day: date | str = "ga",
    *,
    key: KeyInfo | None = None,
    answerer: Answerer | None = None,
    webrtc: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Stand]:
    """Serve OpenAI as it was on `day`: a date, or the name of a dialect that it served.

    `answerer` answers SDP offers; `webrtc` has them answered by peer connections on loopback. Raises `TimeoutError`
    when it is used for longer than a test may take.
    """
    recorder = ListRecorder()
    ports = Ports(LoopClock(), QuickChoices(), recorder, OpenGates())
    as_of = DAYS[day] if isinstance(day, str) else day
    service = OpenAIService(ports, as_of=as_of, keys={KEY: key or KeyInfo()})
    peers = AiortcAnswerer(service) if webrtc else None
    service.answerer = peers or answerer
    server = OpenAIServer(service)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    host, port = ("localhost" if tls else "127.0.0.1"), runner.addresses[0][1]
    secure = "s" if tls else ""
    try:
        async with asyncio.timeout(SECONDS):
            yield Stand(service, recorder, f"http{secure}://{host}:{port}/v1", f"ws{secure}://{host}:{port}/v1")
    finally:
        await server.close()
        if peers is not None:
            await peers.close()
        await runner.cleanup()


def session(dialect: str, encoding: str, **extra: Any) -> Any:
    """A session update that sets both audio formats: `pcmu` or `pcm16`."""
    if dialect == "beta":
        audio = {"pcmu": "g711_ulaw", "pcm16": "pcm16"}[encoding]
        return {"input_audio_format": audio, "output_audio_format": audio, **extra}
    wanted = {"pcmu": {"type": "audio/pcmu"}, "pcm16": {"type": "audio/pcm", "rate": 24000}}[encoding]
    return {"type": "realtime", "audio": {"input": {"format": wanted}, "output": {"format": wanted}}, **extra}


def rate_of(encoding: str) -> int:
    """Samples a second."""
    return 8000 if encoding == "pcmu" else 24000


def sound(phrase: str, encoding: str, quiet_ms: int = 400) -> list[bytes]:
    """A phrase and the silence after it, in frames of 20 ms."""
    rate = rate_of(encoding)
    return [*frames(phrase, encoding, rate), *[silence(20, encoding, rate)] * (quiet_ms // 20)]


def spoken(phrase: str, encoding: str, quiet_ms: int = 400) -> list[str]:
    """The same in base64."""
    return [base64.b64encode(frame).decode() for frame in sound(phrase, encoding, quiet_ms)]


def ear(encoding: str) -> Listener:
    """Something that recognises phrases."""
    return Listener(encoding, rate_of(encoding))


def phrases(listener: Listener) -> list[tuple[str, bool]]:
    """What has been heard: phrases, and whether they were whole."""
    listener.flush()
    return [(found.phrase, found.complete) for found in listener.heard]


def realtime(client: Any, dialect: str) -> Any:
    """The half of a client that speaks the dialect."""
    return client.beta.realtime if dialect == "beta" else client.realtime
