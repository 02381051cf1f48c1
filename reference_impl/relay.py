"""Talk over the relay: a browser's WebSocket on one side, an OpenAI Realtime session on the other.

Audio is 16-bit PCM, 24 kHz, mono, base64, in both directions; `talk/relay.js` is the other end.
Nothing piles up here: each side is read only as fast as the other one takes.
"""

from __future__ import annotations

import asyncio
import json
from binascii import a2b_base64
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession

from reference_impl.channel import JsonChannel
from reference_impl.config import Config
from reference_impl.conversation import APPEND, Conversation, Frame, Handlers, UpstreamRefused
from reference_impl.dialects import Dialect
from reference_impl.log import Log
from reference_impl.problems import Problem
from reference_impl.tools import TALK_TOOLS

SILENT_TIMEOUT = 60.0  # seconds without a frame after which a browser is taken for gone
LONGEST_MS = 86_400_000  # of an item that is said to have been played
CLOSE_TIMEOUT = 3.0  # seconds that a browser has to take the last frames
EARLY_AUDIO = 30 * 24000 * 2 * 4 // 3  # characters of audio that are kept until the session is ready: 30 s
BYTES_PER_MS = 48
BYTES_PER_SECOND = 48000
EARLY_TEXTS = 16  # typed messages that are kept until then
ITEMS = 32  # items of the model whose length is remembered: more cannot be waiting to be played
PLAYING_LATE = 1.0  # seconds that the page's playback may be behind
# Late by a moment, and of no interest to the person.
BENIGN = frozenset({"response_cancel_not_active", "conversation_already_has_active_response"})

Describe = Callable[[Problem], dict[str, Any]]


@dataclass(slots=True)
class Spoken:
    """Audio of one item that was passed on to the browser. `head`: the beginning of the frames that carry it."""

    response_id: str
    content_index: int
    head: str
    size: int = 0
    ends_at: float = 0.0  # when it will have been played, if the page plays it at once and to its end

    @property
    def length_ms(self) -> int:
        """How much audio of it was sent, in ms."""
        return self.size // BYTES_PER_MS


class Relay(Conversation):
    """Carries one conversation from the upgrade of the browser's WebSocket until it is over."""

    tools = TALK_TOOLS

    def __init__(
        self, config: Config, dialect: Dialect, http: ClientSession, browser: JsonChannel, log: Log, describe: Describe
    ) -> None:
        """`describe` makes of a problem what the browser is shown."""
        super().__init__(config, dialect, http, log)
        self.browser = browser
        self.describe = describe
        self.ready = False
        self.stuck = False  # the browser does not take what it is sent, not even at the end
        self.items: dict[str, Spoken] = {}  # what may be playing, by item id
        self._plays_until = 0.0
        self._early: deque[str] = deque()
        self._early_texts: deque[str] = deque(maxlen=EARLY_TEXTS)
        self._early_size = 0
        self._heard_at = self._now()  # when the browser last said anything

    # Life

    async def run(self) -> str:
        """Carry the conversation; returns why it ended, with nothing of it left behind."""
        self._later(self.config.max_call_seconds, self.finish, "maximum duration reached")
        self._watch()
        readers = [self._spawn(self._from_openai()), self._spawn(self._from_browser())]
        return await self._until_over(readers, self.close_upstream, self.close_browser)

    def _watch(self) -> None:
        """End the conversation when the browser has been silent for too long; look again when that can be next."""
        left = self._heard_at + SILENT_TIMEOUT - self._now()
        if left <= 0:
            self.finish("silent")
        else:
            self._later(left, self._watch)

    async def close_browser(self) -> None:
        """Say why it is over, and close. A browser that takes nothing is not waited for."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                reason = "shutdown" if self._ended.cancelled() else self._ended.result()
                await self.to_browser({"type": "ended", "reason": reason})
                await self.browser.close()
        except TimeoutError:
            self.stuck = True
            self.log.warning("relay.browser_stuck")

    async def to_browser(self, frame: Frame) -> None:
        """Send a frame, unless the browser has gone."""
        await self.browser.send(json.dumps(frame))

    async def tell(self, problem: Problem) -> None:
        """Tell the person what is wrong."""
        await self.to_browser({"type": "error", "error": self.describe(problem)})

    # The browser's side

    async def _from_browser(self) -> None:
        handlers: Handlers = {
            "audio": self.on_audio,
            "text": self.on_text,
            "interrupt": self.on_interrupt,
            "end": self.on_end,
        }
        await self._read(self.browser, "type", handlers, None)
        self.finish("browser gone")

    async def on_audio(self, frame: Frame) -> None:
        """A piece of the microphone: passed on as it is."""
        self._heard_at = self._now()
        audio: str = frame["audio"]
        # Raises ValueError: only clean base64 is pasted into JSON below, and half a sample would shift all that follow.
        size = len(a2b_base64(audio, strict_mode=True))
        if size == 0 or size % 2:
            raise ValueError(f"{size} bytes are no samples")
        if self.ready:
            await self.to_openai(f'{APPEND}{audio}"}}')
        else:
            self.keep_early(audio)

    def keep_early(self, audio: str) -> None:
        """Audio from before the session is ready: kept (the last 30 s of it) and sent when it is."""
        self._early.append(audio)
        self._early_size += len(audio)
        while self._early_size > EARLY_AUDIO:
            self._early_size -= len(self._early.popleft())

    async def on_text(self, frame: Frame) -> None:
        """A typed message."""
        self._heard_at = self._now()
        text: str = frame["text"]
        if not isinstance(text, str) or not text.strip():
            raise ValueError("no text")
        if self.ready:
            await self.say(text)
        else:
            self._early_texts.append(text)

    async def on_interrupt(self, frame: Frame) -> None:
        """The browser stopped playing an item, of its own or because of `clear`, after so many ms of it."""
        self._heard_at = self._now()
        item_id: str = frame.get("item") or ""
        played_ms = frame["played_ms"]
        if type(played_ms) not in (int, float) or not 0 <= played_ms < LONGEST_MS:
            raise ValueError("no duration")
        spoken = self.items.pop(item_id, None)
        if not item_id or (spoken and spoken.response_id == self._active):
            await self.stop_speaking()
        # Of a response that was cut there may be audio that was not passed on: nobody has heard that.
        if spoken and (played_ms < spoken.length_ms or spoken.response_id in self._cut):
            await self.truncate(item_id, spoken.content_index, int(min(played_ms, spoken.length_ms)))

    async def stop_speaking(self) -> None:
        """The person pressed stop: the response in progress is cancelled, unless it is none or has been."""
        if self._active and self._active not in self._cut:
            self._cut.add(self._active)
            await self.cancel_response(self._active)

    async def on_end(self, frame: Frame) -> None:
        """The person has had enough."""
        self.finish("end")

    # OpenAI's side

    async def _from_openai(self) -> None:
        try:
            channel = await self.open_session()
        except UpstreamRefused as refused:
            await self.on_refused(refused)
            return
        await self.on_ready()
        handlers: Handlers = {
            self.dialect.audio_delta: self.on_audio_delta,
            self.dialect.transcript_delta: self.on_transcript_delta,
            self.dialect.transcript_done: self.on_transcript_done,
            "conversation.item.input_audio_transcription.delta": self.on_heard_delta,
            "conversation.item.input_audio_transcription.completed": self.on_heard,
            "input_audio_buffer.speech_started": self.on_speech_started,
            "response.created": self.on_response_created,
            "response.output_item.done": self.on_item_done,
            "response.done": self.on_response_done,
            "error": self.on_error,
        }
        await self._read(channel, "type", handlers, None)
        await self.on_upstream_closed(channel.close_code, channel.reason)

    async def on_refused(self, refused: UpstreamRefused) -> None:
        """There is no session: the person is told why, in the vendor's words."""
        self.log.error("upstream.closed", reason=str(refused))
        await self.tell(refused.problem)
        self.finish("refused")

    async def on_upstream_closed(self, code: int | None, reason: str) -> None:
        """The session is lost in the middle of the conversation."""
        problem = self.vendor.of_close(code, reason)
        self.log.error("upstream.closed", reason=problem.message)
        await self.tell(problem)
        self.finish("upstream closed")

    async def on_ready(self) -> None:
        """The session is as we asked for: say so, then pass on what was said in the meantime."""
        self.log.event("session.ready", dialect=self.dialect.name, early_frames=len(self._early))
        await self.to_browser({"type": "ready", "model": self.config.model, "voice": self.config.openai_voice})
        while self._early:
            # Audio that arrives meanwhile queues up behind: `ready` is not set yet.
            await self.to_openai(f'{APPEND}{self._early.popleft()}"}}')
        self.ready = True
        for text in self._early_texts:
            await self.say(text)

    async def on_audio_delta(self, event: Frame) -> None:
        """Audio of the model: passed on as it is, as fast as it comes; the page paces it."""
        delta: str = event["delta"]
        if event["response_id"] in self._cut or not delta:
            return
        size = len(a2b_base64(delta, strict_mode=True))
        spoken = self.items.get(event["item_id"]) or self._new_item(event)
        spoken.size += size
        self._plays_until = max(self._plays_until, self._now()) + size / BYTES_PER_SECOND
        spoken.ends_at = self._plays_until
        await self.browser.send(f'{spoken.head}{delta}"}}')

    def _new_item(self, event: Frame) -> Spoken:
        item_id = event["item_id"]
        if len(self.items) >= ITEMS:
            del self.items[next(iter(self.items))]
        head = f'{{"type":"audio","item":{json.dumps(item_id)},"audio":"'
        spoken = self.items[item_id] = Spoken(event["response_id"], event["content_index"], head)
        return spoken

    async def on_speech_started(self, event: Frame) -> None:
        """Barge-in: the person speaks. The page drops what it has not played, and answers with how much it has."""
        active = self._active
        if active and active not in self._cut:
            self._cut.add(active)  # what still comes of it is stale
            if not self._auto_cancel:
                await self.cancel_response(active)
        now = self._now()
        self._plays_until = now
        for item_id, spoken in tuple(self.items.items()):
            if spoken.response_id == active or spoken.ends_at > now - PLAYING_LATE:
                await self.clear(item_id)

    async def clear(self, item_id: str) -> None:
        """Make the page forget what it has not played of an item."""
        await self.to_browser({"type": "clear", "item": item_id})

    async def on_transcript_delta(self, event: Frame) -> None:
        """A piece of what the model says."""
        await self.transcript("assistant", event["item_id"], event["delta"], final=False)

    async def on_transcript_done(self, event: Frame) -> None:
        """All that the model says in an item."""
        await self.transcript("assistant", event["item_id"], event["transcript"], final=True)

    async def on_heard_delta(self, event: Frame) -> None:
        """A piece of what the model's ear makes of the person."""
        await self.transcript("user", event["item_id"], event["delta"], final=False)

    async def on_heard(self, event: Frame) -> None:
        """All that the model's ear made of a turn of the person."""
        await self.transcript("user", event["item_id"], event["transcript"], final=True)

    async def transcript(self, role: str, item_id: str, text: str, *, final: bool) -> None:
        """Show the person what was said: a piece, or the whole when `final`."""
        await self.to_browser({"type": "transcript", "role": role, "item": item_id, "text": text, "final": final})

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        """See Conversation; the person sees that a tool is at work."""
        await self.to_browser({"type": "tool", "name": name, "status": "called"})
        await super().run_tool(call_id, name, arguments)
        await self.to_browser({"type": "tool", "name": name, "status": "done"})

    async def on_response_done(self, event: Frame) -> None:
        """A response is over. The person is told of one that failed, and may try again by speaking."""
        response = event["response"]
        if response["id"] == self._active:
            self._active = ""
        if response.get("status") == "failed":
            self.log.error("response.failed", details=json.dumps(response.get("status_details")))
            await self.tell(self.vendor.of_event(event))
        if self._wanted and not self._active:
            self._wanted = False
            await self.request_response()

    async def on_error(self, event: Frame) -> None:
        """See Conversation; the person is told, unless it is of no interest."""
        await super().on_error(event)
        if event["error"].get("code") not in BENIGN:
            await self.tell(self.vendor.of_event(event))
