"""One call: a Twilio media stream on one side, an OpenAI Realtime session on the other, and the state between them."""

from __future__ import annotations

import asyncio
import json
from binascii import a2b_base64
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aiohttp import ClientSession

from reference_impl.calls import Call, IllegalTransition
from reference_impl.channel import JsonChannel
from reference_impl.config import Config
from reference_impl.conversation import APPEND, Conversation, Frame, Handlers, UpstreamRefused
from reference_impl.dialects import Dialect
from reference_impl.log import Log
from reference_impl.playback import Item, Playback
from reference_impl.tools import END_CALL
from reference_impl.twilio_rest import TwilioError, TwilioRest

__all__ = ["Bridge", "Farewell", "Frame", "Handlers", "Services", "State", "UpstreamRefused"]

STOP_TIMEOUT = 3.0  # seconds that Twilio has for its `stop` after we ended the call
HEARD_GRACE = 3.0  # seconds that the last mark may be late before the call is ended without it
EARLY_FRAMES = 1500  # media frames (20 ms each) that are kept until the session is ready
DTMF: Final = frozenset("0123456789*#ABCD")


class State(Enum):
    """Where a bridge is."""

    CONNECTING = "connecting"  # the caller is there, the session is not
    READY = "ready"
    ENDING = "ending"  # we have hung up and wait for Twilio's `stop`
    OVER = "over"


TRANSITIONS: Final = {
    State.CONNECTING: {State.READY, State.ENDING, State.OVER},
    State.READY: {State.ENDING, State.OVER},
    State.ENDING: {State.OVER},
    State.OVER: {State.OVER},
}


class Farewell(Enum):
    """How far the model's `end_call` has come."""

    NONE = "none"
    ASKED = "asked"  # the tool was answered, the goodbye is to come
    SPEAKING = "speaking"
    SPOKEN = "spoken"  # all of it was sent, not all of it was heard


@dataclass(frozen=True, slots=True)
class Services:
    """What all bridges of a gateway share."""

    config: Config
    dialect: Dialect
    http: ClientSession
    twilio: TwilioRest


class Bridge(Conversation):
    """Carries one call from the `start` of its stream until it is over.

    Two tasks read, one for each side; whatever ends the call goes through `finish`, and `run` cleans up.
    """

    def __init__(self, services: Services, call: Call, stream_sid: str, stream: JsonChannel, log: Log) -> None:
        super().__init__(services.config, services.dialect, services.http, log)
        self.services = services
        self.call = call
        self.stream_sid = stream_sid
        self.stream = stream
        self.state = State.CONNECTING
        self.playback = Playback()
        self._upstream_task: asyncio.Task[None] | None = None
        self._early_audio: deque[str] = deque(maxlen=EARLY_FRAMES)
        self._early_digits: list[str] = []
        self._media = f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"'
        self._failures = 0  # failed responses in a row
        self._farewell = Farewell.NONE
        self._farewell_timer: asyncio.TimerHandle | None = None

    # Life

    async def run(self) -> str:
        """Carry the call; returns why it ended, with nothing of it left behind."""
        self._upstream_task = self._spawn(self._from_openai())
        readers = [self._upstream_task, self._spawn(self._from_twilio())]
        self._later(self.config.max_call_seconds, self.hang_up, "maximum duration reached")
        return await self._until_over(readers, self.close_upstream, self.close_stream)

    def on_over(self) -> None:
        """See Conversation."""
        self._go(State.OVER)

    def hang_up(self, reason: str) -> None:
        """End the call over REST, then wait for Twilio to stop the stream.

        Closing the stream instead would let Twilio go on with the document: it would speak the apology.
        """
        if self.state in (State.ENDING, State.OVER):
            return
        self._go(State.ENDING)
        if self._upstream_task is not None:
            self._upstream_task.cancel()
        self._spawn(self._hang_up(reason))

    async def _hang_up(self, reason: str) -> None:
        self.log.event("call.hanging_up", reason=reason)
        try:
            await self.services.twilio.end_call(self.call.sid)
        except TwilioError as error:
            self.log.error("call.hang_up_failed", error=str(error))
            self.finish(reason)
        else:
            self._later(STOP_TIMEOUT, self.finish, f"{reason}; Twilio sent no stop")

    def on_call_over(self, status: str) -> None:
        """Twilio says, by a status callback, that the call is over."""
        self.finish(f"call {status}")

    def on_stream_closed(self) -> None:
        """The stream's WebSocket is closed, with or without a `stop` before."""
        self.finish("stream closed")

    def on_upstream_closed(self, why: str) -> None:
        """There is no session (any more). The stream is closed, and the document goes on with its apology."""
        self.log.error("upstream.closed", reason=why)
        self.finish("upstream closed")

    async def close_stream(self) -> None:
        """Close the stream."""
        await self.stream.close()

    def _go(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"bridge of {self.call.sid} is {self.state.value}: it cannot become {state.value}")
        self.state = state

    # Twilio's side

    async def _from_twilio(self) -> None:
        handlers: Handlers = {
            "media": self.on_media,
            "mark": self.on_mark,
            "dtmf": self.on_dtmf,
            "stop": self.on_twilio_stop,
        }
        await self._read(self.stream, "event", handlers, self.stream_sid)
        self.on_stream_closed()

    async def on_media(self, frame: Frame) -> None:
        """20 ms of the caller: passed on as they are."""
        payload: str = frame["media"]["payload"]
        a2b_base64(payload, strict_mode=True)  # raises ValueError: only clean base64 is pasted into JSON below
        if self.state is State.READY:
            await self.to_openai(f'{APPEND}{payload}"}}')
        elif self.state is State.CONNECTING:
            self.keep_early(payload)

    def keep_early(self, payload: str) -> None:
        """Audio from before the session is ready: kept (the last 30 s of it) and sent when it is."""
        self._early_audio.append(payload)

    async def on_mark(self, frame: Frame) -> None:
        """Playback has come to a mark, or `clear` let it go."""
        heard = self.playback.echoed(frame["mark"]["name"], self._now())
        if heard and self.playback.idle and self._farewell is Farewell.SPOKEN:
            self.hang_up("end_call")

    async def on_dtmf(self, frame: Frame) -> None:
        """A key was pressed: the model is told, and asked to answer."""
        digit: str = frame["dtmf"]["digit"]
        if digit not in DTMF:
            raise ValueError("not a DTMF digit")
        if self.state is State.READY:
            await self.send_digit(digit)
        elif self.state is State.CONNECTING:
            self._early_digits.append(digit)

    async def send_digit(self, digit: str) -> None:
        """Tell the model which key was pressed."""
        await self.say(f"The caller pressed {digit} on the keypad.")

    async def on_twilio_stop(self, frame: Frame) -> None:
        """The stream has ended: the call is over, or was given other TwiML; so it is not hung up from here."""
        self.stream.up = False  # nothing may be sent any more, though the WebSocket is still open
        self.finish("stream stopped")

    # OpenAI's side

    async def _from_openai(self) -> None:
        try:
            channel = await self.open_session()
        except UpstreamRefused as refused:
            self.on_upstream_closed(str(refused))
            return
        await self.on_ready()
        handlers: Handlers = {
            self.dialect.audio_delta: self.on_audio_delta,
            self.dialect.audio_done: self.on_audio_done,
            "input_audio_buffer.speech_started": self.on_speech_started,
            "response.created": self.on_response_created,
            "response.output_item.done": self.on_item_done,
            "response.done": self.on_response_done,
            "error": self.on_error,
        }
        await self._read(channel, "type", handlers, None)
        self.on_upstream_closed(f"close code {channel.close_code} {channel.reason}".rstrip())

    async def on_ready(self) -> None:
        """The session is as we asked for: greet, then pass on what came from the caller in the meantime."""
        self.log.event("session.ready", dialect=self.dialect.name, early_frames=len(self._early_audio))
        await self.greet()
        while self._early_audio:
            # Audio that arrives meanwhile queues up behind: the state is not READY yet.
            await self.to_openai(f'{APPEND}{self._early_audio.popleft()}"}}')
        self._go(State.READY)
        for digit in self._early_digits:
            await self.send_digit(digit)

    async def greet(self) -> None:
        """Let the model speak first, if there is a greeting."""
        if greeting := self.config.greeting:
            await self.request_response({"instructions": f"Say to the caller, in these words: {greeting}"})

    async def on_response_created(self, event: Frame) -> None:
        """See Conversation."""
        await super().on_response_created(event)
        if self._farewell is Farewell.ASKED:
            self._farewell = Farewell.SPEAKING

    async def on_audio_delta(self, event: Frame) -> None:
        """Audio of the model: passed on as it is, as fast as it comes; Twilio buffers and paces it."""
        delta: str = event["delta"]
        if event["response_id"] in self._cut or not delta:
            return
        size = len(a2b_base64(delta, strict_mode=True))
        self.playback.add(event["item_id"], event["content_index"], size, self._now())
        await self.stream.send(f'{self._media}{delta}"}}}}')
        if self.playback.mark_due:
            await self.send_mark()

    async def on_audio_done(self, event: Frame) -> None:
        """All audio of an item was sent: a mark tells when it has been heard."""
        if self.playback.unmarked:
            await self.send_mark()

    async def send_mark(self) -> None:
        """Send a mark behind the audio so far."""
        name = self.playback.next_mark()
        await self.stream.send(f'{{"event":"mark","streamSid":"{self.stream_sid}","mark":{{"name":"{name}"}}}}')

    async def on_speech_started(self, event: Frame) -> None:
        """Barge-in: the caller speaks. What is not played yet is thrown away, at Twilio and in the conversation."""
        active, playing = self._active, not self.playback.idle
        if active:
            self._cut.add(active)  # what still comes of it is stale
        if active or playing:
            self._call_goes_on()
        cuts = [(item, self.played_ms(item)) for item in self.playback.items]
        if playing:
            await self.clear_playback()
        if active and not self._auto_cancel:
            await self.cancel_response(active)
        for item, audio_end_ms in cuts:
            await self.truncate(item.item_id, item.content_index, audio_end_ms)

    def played_ms(self, item: Item) -> int:
        """How much of an item the caller has heard."""
        return self.playback.played_ms(item, self._now())

    async def clear_playback(self) -> None:
        """Make Twilio forget the audio that it has not played."""
        self.playback.cleared(self._now())
        await self.stream.send(f'{{"event":"clear","streamSid":"{self.stream_sid}"}}')

    def on_tool_run(self, name: str, ran: bool) -> None:
        """See Conversation."""
        if ran and name == END_CALL:
            self._farewell = Farewell.ASKED

    async def on_response_done(self, event: Frame) -> None:
        """A response is over. One that failed is tried once more; after a second failure the call ends."""
        response = event["response"]
        if response["id"] == self._active:
            self._active = ""
        if self.playback.unmarked:
            await self.send_mark()
        failed = response.get("status") == "failed"
        if failed:
            self.log.error("response.failed", details=json.dumps(response.get("status_details")))
        self._failures = self._failures + 1 if failed else 0
        if self._farewell is Farewell.SPEAKING:
            self._farewell = Farewell.SPOKEN
            if self.playback.idle:
                self.hang_up("end_call")
            else:
                wait = self.playback.remaining(self._now()) + HEARD_GRACE
                self._farewell_timer = self._later(wait, self.hang_up, "end_call")
        elif self._failures > 1:
            self.on_upstream_closed("two responses in a row failed")
        elif (self._wanted or failed) and not self._active:
            self._wanted = False
            await self.request_response()

    def _call_goes_on(self) -> None:
        """The caller spoke into the goodbye: the model decides anew whether the call is to end."""
        self._farewell = Farewell.NONE
        if self._farewell_timer is not None:
            self._farewell_timer.cancel()
