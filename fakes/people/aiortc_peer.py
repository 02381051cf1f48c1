"""A peer connection over UDP on this host, with aiortc: what a browser would be, for the live stage."""

from __future__ import annotations

import asyncio
from typing import Any

from fakes.openai.playout import FRAME_BYTES, SILENCE
from fakes.openai.webrtc import LoopbackConnection, SpeakingTrack, listen, report_fault
from fakes.people.peers import PeerEvents


class AiortcPeer:
    """A `PeerConnection` that goes over the network. `label`: the name of its data channel."""

    def __init__(self, events: PeerEvents, *, label: str = "oai-events") -> None:
        self._events = events
        self._pc = LoopbackConnection()
        self._microphone = SpeakingTrack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected = False
        self._closed = False
        self._pc.addTrack(self._microphone)
        self._channel = self._pc.createDataChannel(label)
        self._pc.on("track", self._track)
        self._pc.on("connectionstatechange", self._state)
        self._channel.on("open", self._opened)
        self._channel.on("message", self._message)

    @property
    def speaking(self) -> bool:
        """Whether the microphone still has something to say."""
        return self._microphone.waiting > 0

    async def offer(self) -> str:
        """See `PeerConnection.offer`."""
        return await self._pc.make_offer()

    async def accept(self, answer: str) -> None:
        """See `PeerConnection.accept`."""
        if not answer.startswith("v=0"):
            raise ValueError(f"an SDP answer begins with v=0, not {answer[:40]!r}")
        await self._pc.accept(answer)

    def send(self, text: str) -> None:
        """See `PeerConnection.send`."""
        if self._channel.readyState != "open":
            raise ConnectionError(f"the data channel is not open: {self._channel.readyState}")
        self._channel.send(text)

    def speak(self, pcm: bytes) -> None:
        """See `PeerConnection.speak`."""
        for start in range(0, len(pcm), FRAME_BYTES):
            frame = pcm[start : start + FRAME_BYTES]
            self._microphone.put(frame + SILENCE[len(frame) :])

    async def close(self) -> None:
        """See `PeerConnection.close`."""
        self._end("closed")
        await self._pc.close()
        self._microphone.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._events.closed(reason)

    # -- what aiortc tells

    def _track(self, track: Any) -> None:
        task = asyncio.get_running_loop().create_task(listen(track, self._hear))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(report_fault)

    def _hear(self, pcm: bytes) -> None:
        if not self._closed:
            self._events.audio(pcm)

    def _opened(self) -> None:
        if not self._closed:
            self._events.opened()

    def _message(self, data: str | bytes) -> None:
        if not self._closed and isinstance(data, str):
            self._events.message(data)

    def _state(self) -> None:
        state = self._pc.connectionState
        if state in ("failed", "closed"):
            self._end(f"peer connection {state}")
