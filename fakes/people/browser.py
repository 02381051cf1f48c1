"""A person at a browser who talks with the model, over WebRTC or over a gateway's relay.

The page, so to speak, is here: it plays what it is sent, sends what the microphone hears, and stops playing when it is
told to. Whoever owns the network hands it a peer connection or a socket that is up (`join_peer`, `join_relay`); the
rest is what a case says in words: `await browser.says("what_time")`, `await browser.hears("its_noon")`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fakes import audio
from fakes.people.errors import NotConnected, NotEnded
from fakes.people.human import Human
from fakes.people.peers import PeerConnection
from fakes.ports import Ports, Timer

RATE = 24000
FRAME_MS = 20
MICROPHONE_MS = 40
"""How much sound a page puts into one message to a relay."""

PATIENCE = 0.1
"""Seconds for which sound over WebRTC may be late before its absence is silence."""

Tool = Callable[[str, str], Awaitable[str]]


class RelayFrame(Protocol):
    """A frame from a relay: `kind` is heard, ready, cleared, transcript, error or ended."""

    @property
    def kind(self) -> str: ...

    @property
    def audio(self) -> bytes: ...

    @property
    def values(self) -> Mapping[str, Any]: ...


class RelayCodec(Protocol):
    """How a gateway's relay writes what crosses it."""

    def audio(self, pcm: bytes) -> str | bytes: ...

    def text(self, text: str) -> str: ...

    def interrupted(self, item: str, played_ms: int) -> str | None: ...

    def end(self) -> str | None: ...


class RelaySocket(Protocol):
    """A WebSocket to a gateway that is up. `connection` is its name on the wire."""

    @property
    def connection(self) -> str: ...

    def send(self, frame: str | bytes, kind: str) -> None:
        """Send a frame; `kind` is what it is called on the wire."""
        ...

    def close(self) -> None:
        """Close it, as a page does that is left."""
        ...

    def stall(self) -> None:
        """Read nothing any more: what comes piles up on the way."""
        ...

    def lose(self) -> None:
        """Reset the connection below it, without a close frame."""
        ...


@dataclass(slots=True)
class Saying:
    """Sound on its way into a microphone, or out of a loudspeaker."""

    item: str
    pcm: bytes
    position: int = 0


@dataclass(slots=True)
class Told:
    """What a page has been told beside sound. `values` as the profile finds them, or the fields of an event."""

    kind: str
    at: float
    values: Mapping[str, Any] = field(default_factory=dict)


class Browser(Human):
    """One person at one browser.

    `told`: everything that is no sound: events of the data channel, or what the relay's frames mean. `transport` is
    webrtc or relay. `tool` runs a function tool for the page. `rate`: samples a second of what is spoken and heard,
    24,000 over WebRTC, over a relay what the relay takes.
    """

    talks_in = "session"

    def __init__(self, ports: Ports, *, ordinal: int = 1, tool: Tool | None = None, rate: int = RATE) -> None:
        super().__init__(ports, encoding="pcm16", rate=rate)
        self.rate = rate
        self.name = f"browser{ordinal}"
        self.transport = ""
        self.told: list[Told] = []
        self.ended_by = ""
        """Why the conversation is over: `left`, `lost`, or what the other side said."""
        self.connection = ""
        """Over the relay: the name of its WebSocket on the wire."""
        self._tool = tool
        self._peer: PeerConnection | None = None
        self._socket: RelaySocket | None = None
        self._codec: RelayCodec | None = None
        self._voice: Saying | None = None
        self._playing: deque[Saying] = deque()
        self._played: dict[str, int] = {}
        self._playing_timer: Timer | None = None
        self._microphone: Timer | None = None
        self._speech_over: Timer | None = None
        self._quiet: Timer | None = None
        self._silent_from = 0.0
        self._tools: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Browser {self.name} {self.transport}>".replace(" >", ">")

    # ------------------------------------------------------------------ joining and leaving

    def join_peer(self, peer: PeerConnection) -> None:
        """The peer connection's data channel is open: the conversation begins."""
        self._start("webrtc")
        self._peer = peer

    def join_relay(self, socket: RelaySocket, codec: RelayCodec) -> None:
        """The WebSocket is up: the microphone is on from now on."""
        self._start("relay")
        self._socket, self._codec = socket, codec
        self.connection = socket.connection
        self._listen_in(self._ports.clock.now())

    def _start(self, transport: str) -> None:
        self._begin()
        self.told.clear()
        self._played.clear()
        self.ended_by = ""
        self.transport = transport
        self.connected_at = self._ports.clock.now()
        self._record("join", transport)
        self._look()

    async def leave(self) -> None:
        """Close the page. Does nothing when the conversation is over."""
        if not self.is_connected:
            return
        self._record("leave", self._saying)
        peer, socket = self._peer, self._socket
        self.over("left")
        if peer is not None:
            await peer.close()
        if socket is not None:
            socket.close()

    def vanishes(self) -> None:
        """Over the relay: the connection is lost, as when a lid is shut; nobody says goodbye."""
        socket = self._relay("vanish")
        self._record("vanish", self._saying)
        self.over("lost")
        socket.lose()

    def stalls(self) -> None:
        """Over the relay: the page reads nothing any more, as on a bad line; the microphone stays on."""
        self._relay("stall").stall()
        self._record("stall", self._saying)

    def freezes(self) -> None:
        """Over the relay: the page neither reads nor sends any more, and its connection stays up."""
        self.stalls()
        self.stop_talking()
        if self._microphone is not None:
            self._microphone.cancel()
            self._microphone = None

    def over(self, why: str) -> None:
        """The conversation is over. Called by whoever owns the network; the first reason counts."""
        if not self.is_connected:
            return
        self.stop_talking()
        self.ended_by = why
        for timer in (self._playing_timer, self._microphone, self._speech_over, self._quiet):
            if timer is not None:
                timer.cancel()
        self._playing_timer = self._microphone = self._speech_over = self._quiet = None
        self._playing.clear()
        for task in self._tools:
            task.cancel()
        self._peer = self._socket = None
        self._end()
        self._record("ended", why, outgoing=False)
        self._look()

    async def ended(self, within: float = 10) -> str:
        """Wait until the conversation is over; returns why. Raises `NotEnded`."""

        def look() -> str | None:
            return self.ended_by if self.ended_at is not None else None

        return await self._expect(look, within, lambda: NotEnded(f"{self} was still in its session after {within:g} s"))

    # ------------------------------------------------------------------ speaking and writing

    def start_saying(self, phrase: str) -> None:
        """Begin to say a phrase of the phrase book, in the place of one being said. Raises for an unknown one."""
        pcm = audio.speak(phrase, "pcm16", self.rate)
        self._joined(f"say {phrase!r}")
        self.stop_talking()
        self._saying = phrase
        self._record("speech.start", phrase)
        if self._peer is not None:
            self._peer.speak(pcm)
            seconds = len(pcm) / 2 / self.rate
            clock = self._ports.clock
            self._speech_over = clock.call_at(clock.now() + seconds, self.stop_talking)
        else:
            self._voice = Saying(phrase, pcm)

    def stop_talking(self) -> None:
        """Fall silent. Over WebRTC what was begun is said to its end."""
        if self._speech_over is not None:
            self._speech_over.cancel()
            self._speech_over = None
        voice, self._voice = self._voice, None
        if self._saying is not None:
            said, self._saying = self._saying, None
            samples = min(voice.position, len(voice.pcm)) / 2 if voice is not None else 0
            spoken: dict[str, Any] = {"said_ms": round(samples / self.rate * 1000)} if samples else {}
            self._record("speech.end", said, **spoken)
            self._look()

    async def says(self, phrase: str) -> None:
        """Say a phrase to its end. Raises `NotConnected` when the session ends before that."""
        self.start_saying(phrase)

        def look() -> bool | None:
            if self.ended_at is not None:
                raise NotConnected(f"{self}: the session ended at {self.ended_at:.3f} s, while saying {phrase!r}")
            return True if self._saying is None else None

        await self._expect(look, None, None)

    def types(self, text: str) -> None:
        """Send a typed message, and let the model answer."""
        self._joined("type")
        if self._socket is not None and self._codec is not None:
            self._socket.send(self._codec.text(text), "text")
            return
        content = [{"type": "input_text", "text": text}]
        self.sends(
            {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
        )
        self.sends({"type": "response.create"})

    def sends(self, event: Mapping[str, Any]) -> None:
        """Over WebRTC: send an event on the data channel."""
        self._joined(f"send {event.get('type')}")
        if self._peer is None:
            raise NotConnected(f"{self} has no data channel: it talks over the relay")
        self._peer.send(json.dumps(event))

    def sends_frame(self, frame: str | bytes, kind: str) -> None:
        """Over the relay: send a frame as it is, right or wrong."""
        self._relay("send a frame").send(frame, kind)

    # ------------------------------------------------------------------ what was told

    async def is_told(self, kind: str, within: float = 10, where: Callable[[Told], bool] | None = None) -> Told:
        """Wait for an event or a meaning of that kind, also one that is there already. Raises `NotConnected`."""

        def look() -> Told | None:
            for told in self.told:
                if told.kind == kind and (where is None or where(told)):
                    return told
            if self.ended_at is not None:
                raise NotConnected(f"{self} was not told {kind} before the session ended ({self.ended_by})")
            return None

        def late() -> Exception:
            kinds = ", ".join(dict.fromkeys(told.kind for told in self.told)) or "nothing"
            return NotConnected(f"{self} was not told {kind} within {within:g} s, but {kinds}")

        return await self._expect(look, within, late)

    # ------------------------------------------------------------------ what the network tells

    def event(self, text: str) -> None:
        """Over WebRTC: an event came on the data channel."""
        event = json.loads(text)
        self.told.append(Told(event["type"], self._ports.clock.now(), event))
        if event["type"] == "response.function_call_arguments.done" and self._tool is not None:
            self._run_tool(event, self._tool)
        self._look()

    def sound(self, pcm: bytes) -> None:
        """Over WebRTC: the next piece of sound, as it is played. What is left out is silence."""
        now = self._ports.clock.now()
        self.hear(pcm, now * 1000)
        self._silent_from = now + len(pcm) / 2 / self.rate
        if self._quiet is None:
            self._quiet = self._ports.clock.call_at(self._silent_from + PATIENCE, self._fall_quiet)

    def frame(self, frame: RelayFrame) -> None:
        """Over the relay: a frame came."""
        if not self.is_connected:
            return
        if frame.kind == "heard":
            self._play(Saying(str(frame.values.get("item") or ""), frame.audio))
            return
        self.told.append(Told(frame.kind, self._ports.clock.now(), frame.values))
        if frame.kind == "cleared":
            self._cut()
        self._look()

    # ------------------------------------------------------------------ inside

    def _joined(self, what: str) -> None:
        if not self.is_connected:
            state = "there was no session" if self.connected_at is None else f"the session is over ({self.ended_by})"
            raise NotConnected(f"{self} cannot {what}: {state}")

    def _relay(self, what: str) -> RelaySocket:
        self._joined(what)
        if self._socket is None:
            raise NotConnected(f"{self} has no relay: it talks over WebRTC")
        return self._socket

    def _run_tool(self, event: Mapping[str, Any], tool: Tool) -> None:
        async def run() -> None:
            output = await tool(str(event.get("name", "")), str(event["arguments"]))
            if not self.is_connected:
                return
            item = {"type": "function_call_output", "call_id": event["call_id"], "output": output}
            self.sends({"type": "conversation.item.create", "item": item})
            self.sends({"type": "response.create"})

        task = asyncio.get_running_loop().create_task(run())
        self._tools.add(task)
        task.add_done_callback(self._tools.discard)

    def _listen_in(self, now: float) -> None:
        """Send what the microphone has heard, and come back when there is more: it goes on while others are late."""
        assert self._socket is not None
        assert self._codec is not None
        size = self.rate * 2 * MICROPHONE_MS // 1000
        voice, piece = self._voice, b""
        if voice is not None:
            piece = voice.pcm[voice.position : voice.position + size]
            voice.position += size
        self._socket.send(self._codec.audio(piece.ljust(size, b"\0")), "audio")
        if voice is not None and voice.position >= len(voice.pcm):
            self.stop_talking()
        again = now + MICROPHONE_MS / 1000
        self._microphone = self._ports.clock.call_at(again, lambda: self._listen_in(again))

    def _play(self, saying: Saying) -> None:
        """Queue sound; it is played without a gap, in its own time."""
        self._playing.append(saying)
        if self._playing_timer is None:
            self._tick(self._ports.clock.now())

    def _tick(self, now: float) -> None:
        """Play 20 ms, and come back when they are over."""
        size = self.rate * 2 * FRAME_MS // 1000
        frame = b""
        while self._playing and len(frame) < size:
            first = self._playing[0]
            piece = first.pcm[first.position : first.position + size - len(frame)]
            frame += piece
            first.position += len(piece)
            self._played[first.item] = self._played.get(first.item, 0) + len(piece)
            if first.position >= len(first.pcm):
                self._playing.popleft()
        self.hear(frame.ljust(size, b"\0") if frame else None, now * 1000)
        if frame or self._settling:
            again = now + FRAME_MS / 1000
            self._playing_timer = self._ports.clock.call_at(again, lambda: self._tick(again))
        else:
            self._playing_timer = None

    def _cut(self) -> None:
        """Stop playing at once, and tell the gateway how much was heard, where it wants to know."""
        if not self._playing or self._socket is None or self._codec is None:
            return
        item = self._playing[0].item
        played = self._heard_of(item)
        self._playing.clear()
        told = self._codec.interrupted(item, played)
        if told is not None:
            self._socket.send(told, "interrupted")

    def _fall_quiet(self) -> None:
        """Over WebRTC: if nothing has come for a while, hear the silence that was left out, and go on with it."""
        clock = self._ports.clock
        now = clock.now()
        if now > self._silent_from + PATIENCE - FRAME_MS / 1000:
            while self._silent_from <= now:
                self.hear(None, self._silent_from * 1000)
                self._silent_from += FRAME_MS / 1000
            if not self._settling:
                self._quiet = None
                return
        self._quiet = clock.call_at(self._silent_from + PATIENCE, self._fall_quiet)

    def _heard_of(self, item: str) -> int:
        """How much of an item was played, in ms."""
        return round(self._played.get(item, 0) / 2 / self.rate * 1000)

    def _record(self, kind: str, body: str | None, *, outgoing: bool = True, **meta: object) -> None:
        other = "openai" if self.transport == "webrtc" else "gateway"
        source, target = ("browser", other) if outgoing else (other, "browser")
        self._ports.recorder.record(source, target, "talk", kind, body, connection=self.name, meta=meta)
