"""One conversation with the model, whoever is at the other end of it: the half that faces OpenAI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, ClientWSTimeout, WSServerHandshakeError

from reference_impl.channel import HARD_LIMIT, JsonChannel
from reference_impl.config import Config
from reference_impl.credentials import CredentialError
from reference_impl.dialects import Dialect
from reference_impl.log import Log
from reference_impl.problems import Problem, ours
from reference_impl.tools import TOOLS, Tool, call_tool

SESSION_TIMEOUT = 10.0  # seconds from the start of the handshake to session.updated
HEARTBEAT = 20.0  # seconds between pings: a connection that died silently is found out
MAX_EVENT = 16 * 1024 * 1024  # characters of one OpenAI event
GREETING: Final = "greeting"  # event_id of the response.create that lets the model speak first
APPEND: Final = '{"type":"input_audio_buffer.append","audio":"'

Frame = dict[str, Any]
Handlers = dict[str, Callable[[Frame], Awaitable[None]]]


class UpstreamRefused(Exception):
    """No session came about; the text says why, and `problem` says it for the person."""

    def __init__(self, why: str, problem: Problem | None = None) -> None:
        super().__init__(why)
        self.problem = problem or ours("openai_unreachable", why)


class Conversation:
    """Opens a session, asks for responses one at a time, runs tools. Subclasses add the other end.

    Tasks read, one for each side; whatever ends the conversation goes through `finish`.
    """

    tools: Mapping[str, Tool] = TOOLS

    def __init__(self, config: Config, dialect: Dialect, http: ClientSession, log: Log) -> None:
        self.config = config
        self.dialect = dialect
        self.vendor = dialect.upstream
        self.http = http
        self.log = log
        self.openai: JsonChannel | None = None
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._now = loop.time
        self._ended: asyncio.Future[str] = loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._auto_cancel = True  # the server cancels the response when the person speaks
        self._active = ""  # id of the response in progress
        self._creates = 0
        self._create_id = ""  # event_id of our last response.create ...
        self._creating = False  # ... and whether its answer is outstanding
        self._wanted = False  # a response is to be created when the one in progress is done
        self._cut: set[str] = set()  # responses that the person interrupted
        self._answered: set[str] = set()  # call_ids of the tool calls that were answered

    # Life

    def finish(self, reason: str) -> None:
        """The conversation is over; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(reason)

    def on_over(self) -> None:
        """The conversation is over, and both sides are about to be closed."""

    async def close_upstream(self) -> None:
        """Close the session."""
        if self.openai is not None:
            await self.openai.close()

    async def _until_over(
        self, readers: list[asyncio.Task[None]], *closing: Callable[[], Coroutine[Any, Any, None]]
    ) -> str:
        """Wait for the end, then stop the readers and close both sides; why it ended."""
        try:
            return await self._ended
        finally:
            self.on_over()
            for timer in self._timers:
                timer.cancel()
            for task in readers:
                task.cancel()
            await asyncio.wait(readers)
            # Both sides at once: neither waits for the other's closing handshake. A request that is still out is not
            # cut off.
            await asyncio.gather(*(close() for close in closing), *self._tasks, return_exceptions=True)

    def _later(self, seconds: float, callback: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        timer = self._loop.call_later(seconds, callback, *args)
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
        and logged: what a peer sends must not end the conversation."""
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

    # The session

    async def open_session(self) -> JsonChannel:
        """Connect, and agree on the session. Raises UpstreamRefused, and logs why."""
        try:
            return await self._open_session()
        except UpstreamRefused as refused:
            self.log_refused(refused.problem)
            raise

    async def _open_session(self) -> JsonChannel:
        try:
            async with asyncio.timeout(SESSION_TIMEOUT):
                ws = await self.upgrade()
                self.openai = JsonChannel(ws, "openai", self.log, max_frame=MAX_EVENT)
                await self._await_event(self.openai, "session.created")
                await self.to_openai(self.dialect.session_update([tool.schema() for tool in self.tools.values()]))
                updated = await self._await_event(self.openai, "session.updated")
        except WSServerHandshakeError as error:
            raise UpstreamRefused(f"HTTP {error.status} on the upgrade", self.vendor.of_refusal(error)) from error
        except CredentialError as error:
            raise UpstreamRefused(str(error), self.vendor.explain(error.problem)) from error
        except TimeoutError as error:
            why = f"no session within {SESSION_TIMEOUT:g} s"
            raise UpstreamRefused(why, self.vendor.of_failure(error, why)) from error
        except (ClientError, OSError) as error:
            why = f"cannot connect: {type(error).__name__}"
            raise UpstreamRefused(why, self.vendor.of_failure(error, why)) from error
        session = updated.get("session")
        detection = self.dialect.turn_detection(session) if isinstance(session, dict) else {}
        self._auto_cancel = detection.get("interrupt_response", True)
        return self.openai

    async def upgrade(self) -> ClientWebSocketResponse:
        """The WebSocket of a session. If the credential is refused and there is a newer one, that is tried, once."""
        await self.vendor.prepare()
        sent = self.dialect.headers()
        try:
            return await self.connect(sent)
        except WSServerHandshakeError as error:
            if not await self.vendor.renew(self.vendor.of_refusal(error), sent):
                raise
        self.log.warning("upstream.credential_renewed")
        return await self.connect(self.dialect.headers())

    async def connect(self, headers: Mapping[str, str]) -> ClientWebSocketResponse:
        """One attempt."""
        return await self.http.ws_connect(
            self.dialect.url(),
            headers=headers,
            heartbeat=HEARTBEAT,
            max_msg_size=HARD_LIMIT,
            timeout=ClientWSTimeout(ws_close=2.0),
        )

    def log_refused(self, problem: Problem) -> None:
        """Log why there is no session, and what to do."""
        about = {"source": problem.source, "status": problem.status, "code": problem.code, "cause": problem.cause}
        hint = problem.hint(self.config.model)
        request_id = problem.request_id
        self.log.error("upstream.refused", **about, message=problem.message, hint=hint, request_id=request_id)

    async def _await_event(self, channel: JsonChannel, kind: str) -> Frame:
        while (event := await channel.receive()) is not None:
            if event.get("type") == kind:
                return event
            if event.get("type") == "error":
                raise UpstreamRefused(self.log_error(event), self.vendor.of_event(event))
        why = f"close code {channel.close_code} {channel.reason}".rstrip()
        problem = self.vendor.of_close(channel.close_code, channel.reason)
        raise UpstreamRefused(f"closed before {kind}: {why}", problem)

    async def to_openai(self, event: str) -> None:
        """Send an event, unless the session is closed."""
        if self.openai is not None:
            await self.openai.send(event)

    async def create_item(self, item: dict[str, Any]) -> None:
        """Add an item to the conversation."""
        await self.to_openai(json.dumps({"type": "conversation.item.create", "item": item}))

    async def say(self, text: str) -> None:
        """Tell the model something in the person's name, and ask it to answer."""
        content = [{"type": "input_text", "text": text}]
        await self.create_item({"type": "message", "role": "user", "content": content})
        await self.request_response()

    async def cancel_response(self, response_id: str) -> None:
        """Stop the model in the middle of a response."""
        await self.to_openai(json.dumps({"type": "response.cancel", "response_id": response_id}))

    async def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Take what the person has not heard of an item out of the conversation."""
        heard = {"item_id": item_id, "content_index": content_index, "audio_end_ms": audio_end_ms}
        await self.to_openai(json.dumps({"type": "conversation.item.truncate", **heard}))

    # Responses and tools

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
        """A response has begun: ours, or one that the server began when the person fell silent."""
        self._active = event["response"]["id"]
        self._creating = False

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
        ran, output = call_tool(name, arguments, self.tools)
        self.log.event("tool.called", tool=name, ran=ran)
        self.on_tool_run(name, ran)
        await self.create_item({"type": "function_call_output", "call_id": call_id, "output": output})
        await self.request_response()

    def on_tool_run(self, name: str, ran: bool) -> None:
        """A tool was run; its output is not sent yet."""

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
