"""One call: a Twilio media stream on one side, an OpenAI Realtime session on the other, and the state between them."""

from __future__ import annotations

import asyncio
import json
from binascii import a2b_base64
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientWSTimeout, WSServerHandshakeError

from reference_impl.calls import Call, IllegalTransition
from reference_impl.channel import HARD_LIMIT, JsonChannel
from reference_impl.config import Config
from reference_impl.dialects import Dialect
from reference_impl.log import Log
from reference_impl.playback import Item, Playback
from reference_impl.tools import END_CALL, TOOLS, call_tool
from reference_impl.twilio_rest import TwilioError, TwilioRest

SESSION_TIMEOUT = 10.0  # seconds from the start of the handshake to session.updated
STOP_TIMEOUT = 3.0  # seconds that Twilio has for its `stop` after we ended the call
HEARD_GRACE = 3.0  # seconds that the last mark may be late before the call is ended without it
HEARTBEAT = 20.0  # seconds between pings to OpenAI: a connection that died silently is found out
EARLY_FRAMES = 1500  # media frames (20 ms each) that are kept until the session is ready
MAX_EVENT = 16 * 1024 * 1024  # characters of one OpenAI event
DTMF: Final = frozenset("0123456789*#ABCD")
GREETING: Final = "greeting"  # event_id of the response.create that lets the model speak first
_APPEND: Final = '{"type":"input_audio_buffer.append","audio":"'

Frame = dict[str, Any]
Handlers = dict[str, Callable[[Frame], Awaitable[None]]]


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


class UpstreamRefused(Exception):
    """No session came about; the text says why."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all bridges of a gateway share."""

    config: Config
    dialect: Dialect
    http: ClientSession
    twilio: TwilioRest


class Bridge:
    """Carries one call from the `start` of its stream until it is over.

    Two tasks read, one for each side; whatever ends the call goes through `finish`, and `run` cleans up.
    """

    def __init__(self, services: Services, call: Call, stream_sid: str, stream: JsonChannel, log: Log) -> None:
        self.services = services
        self.dialect = services.dialect
        self.call = call
        self.stream_sid = stream_sid
        self.stream = stream
        self.openai: JsonChannel | None = None
        self.log = log
        self.state = State.CONNECTING
        self.playback = Playback()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._now = loop.time
        self._ended: asyncio.Future[str] = loop.create_future()
        self._upstream_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._early_audio: deque[str] = deque(maxlen=EARLY_FRAMES)
        self._early_digits: list[str] = []
        self._media = f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"'
        self._auto_cancel = True  # the server cancels the response when the caller speaks
        self._active = ""  # id of the response in progress
        self._creates = 0
        self._create_id = ""  # event_id of our last response.create ...
        self._creating = False  # ... and whether its answer is outstanding
        self._wanted = False  # a response is to be created when the one in progress is done
        self._failures = 0  # failed responses in a row
        self._cut: set[str] = set()  # responses that the caller interrupted
        self._answered: set[str] = set()  # call_ids of the tool calls that were answered
        self._farewell = Farewell.NONE
        self._farewell_timer: asyncio.TimerHandle | None = None

    # Life

    async def run(self) -> str:
        """Carry the call; returns why it ended, with nothing of it left behind."""
        self._upstream_task = self._spawn(self._from_openai())
        readers = [self._upstream_task, self._spawn(self._from_twilio())]
        self._later(self.services.config.max_call_seconds, self.hang_up, "maximum duration reached")
        try:
            return await self._ended
        finally:
            self._go(State.OVER)
            for timer in self._timers:
                timer.cancel()
            for task in readers:
                task.cancel()
            await asyncio.wait(readers)
            # Both sides at once: neither waits for the other's closing handshake. A hang-up request that is still
            # out is not cut off.
            await asyncio.gather(self.close_upstream(), self.close_stream(), *self._tasks, return_exceptions=True)

    def finish(self, reason: str) -> None:
        """The call is over, or is to end by the closing of its stream; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(reason)

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

    async def close_upstream(self) -> None:
        """Close the session."""
        if self.openai is not None:
            await self.openai.close()

    async def close_stream(self) -> None:
        """Close the stream."""
        await self.stream.close()

    def _go(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"bridge of {self.call.sid} is {self.state.value}: it cannot become {state.value}")
        self.state = state

    def _later(self, seconds: float, callback: Callable[[str], None], reason: str) -> asyncio.TimerHandle:
        timer = self._loop.call_later(seconds, callback, reason)
        self._timers.append(timer)
        return timer

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("bridge.error", error=f"{type(error).__name__}: {error}")
            self.finish("internal error")

    async def _read(self, channel: JsonChannel, key: str, handlers: Handlers, stream_sid: str | None) -> None:
        """Hand each object of a channel to its handler by `key`. An object that lacks what the handler needs is skipped
        and logged: what a peer sends must not end the call."""
        receive = channel.receive
        while (frame := await receive()) is not None:
            try:
                handler = handlers.get(frame[key])
                if stream_sid is not None and frame["streamSid"] != stream_sid:
                    channel.bad_frame("of another stream")
                elif handler is not None:
                    await handler(frame)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                channel.bad_frame(f"{str(frame.get(key))[:60]}: {type(error).__name__}: {str(error)[:60]}")

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
            await self.to_openai(f'{_APPEND}{payload}"}}')
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
        content = [{"type": "input_text", "text": f"The caller pressed {digit} on the keypad."}]
        await self.create_item({"type": "message", "role": "user", "content": content})
        await self.request_response()

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

    async def open_session(self) -> JsonChannel:
        """Connect, and agree on the session. Raises UpstreamRefused."""
        try:
            async with asyncio.timeout(SESSION_TIMEOUT):
                ws = await self.services.http.ws_connect(
                    self.dialect.url(),
                    headers=self.dialect.headers(),
                    heartbeat=HEARTBEAT,
                    max_msg_size=HARD_LIMIT,
                    timeout=ClientWSTimeout(ws_close=2.0),
                )
                self.openai = JsonChannel(ws, "openai", self.log, max_frame=MAX_EVENT)
                await self._await_event(self.openai, "session.created")
                await self.to_openai(self.dialect.session_update([tool.schema() for tool in TOOLS.values()]))
                updated = await self._await_event(self.openai, "session.updated")
        except WSServerHandshakeError as error:
            raise UpstreamRefused(f"HTTP {error.status} on the upgrade") from error
        except TimeoutError as error:
            raise UpstreamRefused(f"no session within {SESSION_TIMEOUT:g} s") from error
        except (ClientError, OSError) as error:
            raise UpstreamRefused(f"cannot connect: {type(error).__name__}") from error
        session = updated.get("session")
        detection = self.dialect.turn_detection(session) if isinstance(session, dict) else {}
        self._auto_cancel = detection.get("interrupt_response", True)
        return self.openai

    async def _await_event(self, channel: JsonChannel, kind: str) -> Frame:
        while (event := await channel.receive()) is not None:
            if event.get("type") == kind:
                return event
            if event.get("type") == "error":
                raise UpstreamRefused(self.log_error(event))
        raise UpstreamRefused(f"closed before {kind}: close code {channel.close_code} {channel.reason}".rstrip())

    async def on_ready(self) -> None:
        """The session is as we asked for: greet, then pass on what came from the caller in the meantime."""
        self.log.event("session.ready", dialect=self.dialect.name, early_frames=len(self._early_audio))
        await self.greet()
        while self._early_audio:
            # Audio that arrives meanwhile queues up behind: the state is not READY yet.
            await self.to_openai(f'{_APPEND}{self._early_audio.popleft()}"}}')
        self._go(State.READY)
        for digit in self._early_digits:
            await self.send_digit(digit)

    async def greet(self) -> None:
        """Let the model speak first, if there is a greeting."""
        if greeting := self.services.config.greeting:
            await self.request_response({"instructions": f"Say to the caller, in these words: {greeting}"})

    async def to_openai(self, event: str) -> None:
        """Send an event, unless the session is closed."""
        if self.openai is not None:
            await self.openai.send(event)

    async def create_item(self, item: dict[str, Any]) -> None:
        """Add an item to the conversation."""
        await self.to_openai(json.dumps({"type": "conversation.item.create", "item": item}))

    async def request_response(self, response: dict[str, Any] | None = None) -> None:
        """Ask the model to answer: now, or when the response in progress is done, for there can be only one."""
        if self._active or self._creating:
            self._wanted = True
            return
        self._creates += 1
        self._creating = True
        self._create_id = f"response-{self._creates}" if response is None else GREETING
        event: dict[str, Any] = {"type": "response.create", "event_id": self._create_id}
        if response is not None:
            event["response"] = response
        await self.to_openai(json.dumps(event))

    async def on_response_created(self, event: Frame) -> None:
        """A response has begun: ours, or one that the server began when the caller fell silent."""
        self._active = event["response"]["id"]
        self._creating = False
        if self._farewell is Farewell.ASKED:
            self._farewell = Farewell.SPEAKING

    async def on_audio_delta(self, event: Frame) -> None:
        """Audio of the model: passed on as it is, as fast as it comes; Twilio buffers and paces it."""
        if event["response_id"] in self._cut:
            return
        delta: str = event["delta"]
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
            await self.to_openai(json.dumps({"type": "response.cancel", "response_id": active}))
        for item, audio_end_ms in cuts:
            truncate = {"item_id": item.item_id, "content_index": item.content_index, "audio_end_ms": audio_end_ms}
            await self.to_openai(json.dumps({"type": "conversation.item.truncate", **truncate}))

    def played_ms(self, item: Item) -> int:
        """How much of an item the caller has heard."""
        return self.playback.played_ms(item, self._now())

    async def clear_playback(self) -> None:
        """Make Twilio forget the audio that it has not played."""
        self.playback.cleared(self._now())
        await self.stream.send(f'{{"event":"clear","streamSid":"{self.stream_sid}"}}')

    async def on_item_done(self, event: Frame) -> None:
        """An item of a response is complete: if it is a function call, the tool is run, once."""
        item = event["item"]
        if item["type"] != "function_call" or item.get("status", "completed") != "completed":
            return
        if item["call_id"] not in self._answered:
            self._answered.add(item["call_id"])
            await self.run_tool(item["call_id"], item["name"], item["arguments"])

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        """Run a tool, hand its output to the model, and ask the model to go on."""
        ran, output = call_tool(name, arguments)
        self.log.event("tool.called", tool=name, ran=ran)
        if ran and name == END_CALL:
            self._farewell = Farewell.ASKED
        await self.create_item({"type": "function_call_output", "call_id": call_id, "output": output})
        await self.request_response()

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

    async def on_error(self, event: Frame) -> None:
        """An error that leaves the session open. A response that lost the race against another is asked for again."""
        self.log_error(event)
        error = event["error"]
        busy = error.get("code") == "conversation_already_has_active_response"
        if busy or error.get("event_id") == self._create_id:
            self._creating = False
            # The greeting is not repeated: if another response came first, the conversation is under way.
            self._wanted = self._wanted or (busy and self._create_id != GREETING)

    def log_error(self, event: Frame) -> str:
        """Log an `error` event; what it says in one line."""
        error = event.get("error")
        about = error if isinstance(error, dict) else {}
        self.log.error("upstream.error", code=about.get("code"), message=about.get("message"), param=about.get("param"))
        return f"{about.get('code') or about.get('type')}: {about.get('message')}"
