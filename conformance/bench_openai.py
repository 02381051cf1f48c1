"""What the fake OpenAI carries: events through one session, sessions held at once, SDP offers answered."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import aiohttp

from fakes import audio
from fakes.openai.handshake import KeyInfo
from fakes.openai.http import HttpRequest, Offered
from fakes.openai.server import OpenAIServer
from fakes.openai.service import OpenAIService
from fakes.ports import Ports
from harness.choices import Choices, Seeded
from harness.clock import WorldClock
from harness.gates import Gates
from harness.virtual.network import PARTY
from harness.virtual.stage import VirtualStage
from harness.wire import Wire

T = TypeVar("T")
KEY = "sk-bench-0123456789"
DAY = date(2026, 11, 20)
HELD = 40
HELD_SECONDS = 12.0
URL = "wss://api.openai.com/v1/realtime?model=gpt-realtime-2"
CREATE = '{"type":"response.create"}'


@dataclass(slots=True)
class Desk:
    """A fake OpenAI on the virtual stage and a client's HTTP session."""

    http: aiohttp.ClientSession
    wire: Wire
    now: Callable[[], float]

    def session(self) -> Any:
        """A realtime session that has just been asked for."""
        return self.http.ws_connect(URL, headers={"Authorization": f"Bearer {KEY}"}, max_msg_size=0)


def _on_virtual_stage(story: Callable[[Desk], Awaitable[T]]) -> tuple[T, float]:
    """Run a story with a fake OpenAI; what it returns, and the CPU seconds of all of it."""
    stage = VirtualStage(seed=1, wall=time.time(), report=lambda *what: None)

    async def main() -> T:
        loop = asyncio.get_running_loop()
        clock = WorldClock(loop, time.time())
        wire = Wire(clock.now)
        ports = Ports(clock, Choices(Seeded(1)), wire, Gates())
        server = OpenAIServer(OpenAIService(ports, as_of=DAY, keys={KEY: KeyInfo()}))
        await stage.serve(server)
        PARTY.set("gateway")
        async with aiohttp.ClientSession(trust_env=False) as http:
            try:
                return await story(Desk(http, wire, clock.now))
            finally:
                await server.close()
                await stage.close()

    began = time.process_time()
    result = stage.run(main)
    return result, time.process_time() - began


def _append(pcm: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()})


async def _until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> int:
    """Read events up to one of that kind; how many there were."""
    wanted = f'"type":"{kind}"'
    count = 0
    async for message in socket:
        count += 1
        if wanted in message.data[:120]:
            return count
    raise RuntimeError(f"the fake closed the session before {kind}: {socket.close_code}")


def events_per_second(seconds: float) -> float:
    """Events through one session over a WebSocket, both directions together, per CPU second of client and fake."""

    async def story(desk: Desk) -> int:
        frame = _append(audio.silence(20, "pcm16", 24000))
        began = time.process_time()
        async with desk.session() as socket:
            count = await _until(socket, "session.created")
            while time.process_time() - began < seconds:
                for _ in range(500):
                    await socket.send_str(frame)
                await socket.send_str(CREATE)
                count += 501 + await _until(socket, "rate_limits.updated")
        return count

    count, spent = _on_virtual_stage(story)
    return count / spent


def sessions_held() -> float:
    """How many sessions one core holds in real time: each hears speech in 20 ms appends, and answers it."""

    async def story(desk: Desk) -> float:
        said = audio.speak("what_time", "pcm16", 24000) + audio.silence(1500, "pcm16", 24000)
        size = 24000 * 2 // 50
        frames = [_append(said[start : start + size]) for start in range(0, len(said), size)]

        async def one() -> None:
            async with desk.session() as socket:
                await _until(socket, "session.created")
                reader = asyncio.ensure_future(_drain(socket))
                began = desk.now()
                for index in range(int(HELD_SECONDS * 50)):
                    await asyncio.sleep(max(0.0, began + index * 0.02 - desk.now()))
                    await socket.send_str(frames[index % len(frames)])
                await socket.close()
                await reader

        await asyncio.gather(*(one() for _ in range(HELD)))
        answered = len(desk.wire.all("response.done", source="openai"))
        if answered < HELD:
            raise RuntimeError(f"{HELD} sessions gave {answered} responses: the bench measures nothing")
        return desk.now()

    passed, spent = _on_virtual_stage(story)
    return HELD * passed / spent


async def _drain(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


async def handshakes_per_second(seconds: float) -> tuple[float, float]:
    """WebRTC calls set up per CPU second: offers answered, and whole handshakes up to the open data channel.

    Real peer connections over UDP on this host. The first counts the service alone, the second both ends.
    """
    from fakes.openai.webrtc import AiortcAnswerer
    from fakes.people.aiortc_peer import AiortcPeer

    loop = asyncio.get_running_loop()
    clock = WorldClock(loop, time.time())
    ports = Ports(clock, Choices(Seeded(1)), Wire(clock.now), Gates())
    service = OpenAIService(ports, as_of=DAY, keys={KEY: KeyInfo()})
    answerer = AiortcAnswerer(service)
    service.answerer = answerer
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/sdp"}
    count, answering, began = 0, 0.0, time.process_time()
    while time.process_time() - began < seconds:
        opened = _Opened()
        peer = AiortcPeer(opened)
        offer = await peer.offer()
        start = time.process_time()
        request = HttpRequest("POST", "/v1/realtime/calls", headers, {"model": "gpt-realtime-2"}, offer.encode())
        offered = service.http(request)
        if not isinstance(offered, Offered):
            raise RuntimeError(f"the fake refused the bench's offer: {offered.status} {offered.body}")
        answer = await service.answer(offered)
        answering += time.process_time() - start
        await peer.accept(answer.text)
        async with asyncio.timeout(10):
            await opened.future
        await peer.close()
        count += 1
    spent = time.process_time() - began
    service.calls.end()
    await answerer.close()
    return count / answering, count / spent


class _Opened:
    """Waits for a data channel."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self) -> None:
        """The data channel is open."""
        if not self.future.done():
            self.future.set_result(None)

    def message(self, text: str) -> None:
        """An event: of no interest here."""

    def audio(self, pcm: bytes) -> None:
        """Sound: of no interest here."""

    def closed(self, reason: str) -> None:
        """The connection is over."""
        if not self.future.done():
            self.future.set_exception(RuntimeError(f"the bench's peer connection did not come up: {reason}"))
