"""Faults that show when something comes that should not, or is new."""

from __future__ import annotations

import re
from typing import Any, Final

from broken import bridge, entry
from reference_impl.bridge import Bridge, Handlers
from reference_impl.calls import Call
from reference_impl.channel import JsonChannel
from reference_impl.gateway import Gateway

_MODEL_EVENTS: Final = re.compile(
    r"error|rate_limits\.updated|(session|conversation|input_audio_buffer)\..*|response\.(created|done)"
    r"|response\.(output_item|content_part|(output_)?audio|(output_)?audio_transcript|(output_)?text"
    r"|function_call_arguments)\.\w+"
)
_STREAM_EVENTS: Final = re.compile("connected|start|media|mark|dtmf|stop")


class UnknownEvent(RuntimeError):
    """There is no handler for an event."""


class _Strict(dict[str, Any]):
    """Handlers of known events; any other event raises."""

    def __init__(self, handlers: Handlers, known: re.Pattern[str]) -> None:
        super().__init__(handlers)
        self._known = known

    def get(self, event: Any, default: Any = None) -> Any:
        if not self._known.fullmatch(event):
            raise UnknownEvent(event)
        return super().get(event, default)


class Brittle(JsonChannel):
    """A frame that cannot be read raises, and the exception ends the call.

    `json.loads` without a guard, as in most samples. One broken frame cuts the caller off.
    """

    __slots__ = ("broken",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.broken = False

    def bad_frame(self, why: str) -> None:
        self.broken = True
        raise ValueError(why)


class SharesItsFate(Gateway):
    """An exception in one call ends all of them.

    What a task group makes of calls that are its children, and what a crash of the process is for any gateway. One
    broken frame cuts everybody off.
    """

    async def carry(self, call: Call, stream_sid: str, channel: JsonChannel) -> None:
        await super().carry(call, stream_sid, channel)
        if isinstance(channel, Brittle) and channel.broken:
            for other in self.bridges.values():
                other.finish("internal error")


class DeadReader(Bridge):
    """An exception in the task that reads from OpenAI goes unnoticed: the call stays up, and nobody reads any more.

    The usual fate of a task that nobody awaits. Callers talk to a wall from then on.
    """

    async def open_session(self) -> JsonChannel:
        channel = await super().open_session()
        self.openai = Brittle(channel._ws, channel.name, channel.log, max_frame=channel._max_frame)
        return self.openai

    def _task_done(self, task: Any) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("bridge.error", error=str(error))


class TripsOverStreamEvents(Bridge):
    """An event on the stream that the gateway does not know ends the call.

    A strict table of handlers. The day Twilio adds an event, every call ends with the first of them.
    """

    async def _read(self, channel: JsonChannel, key: str, handlers: Handlers, stream_sid: str | None) -> None:
        strict = _Strict(handlers, _STREAM_EVENTS) if key == "event" else handlers
        await super()._read(channel, key, strict, stream_sid)


class TripsOverModelEvents(Bridge):
    """An event of OpenAI that the gateway does not know ends the call.

    A strict table of handlers, or a strict type. OpenAI adds events all the time, and every call ends with the first of
    them.
    """

    async def _read(self, channel: JsonChannel, key: str, handlers: Handlers, stream_sid: str | None) -> None:
        strict = _Strict(handlers, _MODEL_EVENTS) if key == "type" else handlers
        await super()._read(channel, key, strict, stream_sid)


class LimitsModelEvents(Bridge):
    """Events of OpenAI of more than 1 MiB end the session.

    The default limit of a WebSocket library. A long piece of audio in one event is rare, and then the call is lost.
    """

    async def open_session(self) -> JsonChannel:
        channel = await super().open_session()
        self.openai = Brittle(channel._ws, channel.name, channel.log, max_frame=1024 * 1024)
        return self.openai


brittle = entry(Brittle, channel=Brittle)
shares_its_fate = entry(SharesItsFate, gateway=SharesItsFate, channel=Brittle)
dead_reader = bridge(DeadReader)
trips_over_stream_events = bridge(TripsOverStreamEvents)
trips_over_model_events = bridge(TripsOverModelEvents)
limits_model_events = bridge(LimitsModelEvents)
