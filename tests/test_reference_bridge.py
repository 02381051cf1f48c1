"""The reference gateway's bridge between stub channels: what it says to each side, and when. No sockets."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from aiohttp import ClientSession

from reference_impl.bridge import Bridge, Services, State, UpstreamRefused
from reference_impl.calls import Call
from reference_impl.channel import JsonChannel
from reference_impl.config import Config, load
from reference_impl.dialects import dialect_for
from reference_impl.log import Log
from reference_impl.twilio_rest import TwilioError, TwilioRest

ENVIRON = {
    "GATEWAY_PUBLIC_URL": "https://gw.example.test",
    "GATEWAY_TOKEN": "operator-token",
    "OPENAI_API_KEY": "sk-test-key",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}
STREAM = "MZ1"
Frame = dict[str, Any]


class StubChannel:
    """Hands over what the test puts in, keeps what the bridge sends; `None` is the end of the connection."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.sent: list[Frame] = []
        self.bad: list[str] = []
        self.up = True
        self.closed = False
        self.close_code = 1006
        self.reason = ""

    async def receive(self) -> Frame | None:
        frame = await self.inbox.get()
        self.up = self.up and frame is not None
        return frame

    async def send(self, text: str) -> bool:
        if self.up:
            self.sent.append(json.loads(text))
        return self.up

    def bad_frame(self, why: str) -> None:
        self.bad.append(why)

    async def close(self, reason: str = "", *, code: int = 1000) -> None:
        self.up, self.closed = False, True

    def kinds(self, key: str) -> list[str]:
        return [frame[key] for frame in self.sent]


class StubRest:
    """Twilio's REST API as the bridge sees it."""

    def __init__(self, on_end: Callable[[], None], error: TwilioError | None) -> None:
        self.ended: list[str] = []
        self.error = error
        self._on_end = on_end

    async def end_call(self, call_sid: str) -> None:
        self.ended.append(call_sid)
        if self.error is not None:
            raise self.error
        self._on_end()


class StubBridge(Bridge):
    """A bridge whose session opens when the test says so, and whose clock the test sets."""

    opened: "asyncio.Future[None]"
    upstream: StubChannel

    async def open_session(self) -> JsonChannel:
        await self.opened
        self.openai = cast(JsonChannel, self.upstream)
        return self.openai


class Scene:
    """A bridge, its two sides and what it did."""

    def __init__(self, config: Config, rest_error: TwilioError | None) -> None:
        self.time = 100.0
        self.twilio, self.openai = StubChannel(), StubChannel()
        self.rest = StubRest(lambda: self.from_twilio({"event": "stop"}), rest_error)
        services = Services(config, dialect_for(config), cast(ClientSession, None), cast(TwilioRest, self.rest))
        call = Call("CA1", "inbound", status="in-progress")
        self.log = io.StringIO()
        stream = cast(JsonChannel, self.twilio)
        self.bridge = StubBridge(services, call, STREAM, stream, Log(config.secrets(), stream=self.log))
        self.bridge.upstream = self.openai
        self.bridge.opened = asyncio.get_running_loop().create_future()
        self.bridge._now = lambda: self.time
        self.run = asyncio.create_task(self.bridge.run())

    async def settle(self) -> None:
        """Let everything happen that can happen now."""
        for _ in range(20):
            await asyncio.sleep(0)

    def from_twilio(self, *frames: Frame) -> None:
        for frame in frames:
            self.twilio.inbox.put_nowait({"streamSid": STREAM, **frame})

    async def says(self, *events: Frame) -> None:
        """OpenAI says something."""
        for event in events:
            self.openai.inbox.put_nowait(event)
        await self.settle()

    async def hears(self, *frames: Frame) -> None:
        """Twilio says something."""
        self.from_twilio(*frames)
        await self.settle()

    async def ready(self) -> None:
        self.bridge.opened.set_result(None)
        await self.settle()

    async def speaks(self, response: str, item: str, ms: int) -> None:
        """The model begins a response and sends so much audio of it."""
        await self.says({"type": "response.created", "response": {"id": response}}, audio(response, item, ms))

    async def done(self, response: str, status: str = "completed") -> None:
        await self.says({"type": "response.done", "response": {"id": response, "status": status}})

    async def echo_marks(self) -> None:
        """Twilio has played all it was sent."""
        marks = [frame for frame in self.twilio.sent if frame["event"] == "mark"]
        await self.hears(*({"event": "mark", "mark": frame["mark"]} for frame in marks))


def payload(ms: int, byte: bytes = b"\xff") -> str:
    return base64.b64encode(byte * 8 * ms).decode()


def media(audio_payload: str) -> Frame:
    return {"event": "media", "media": {"track": "inbound", "chunk": "1", "timestamp": "1", "payload": audio_payload}}


def audio(response: str, item: str, ms: int) -> Frame:
    fields = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    return {"type": "response.output_audio.delta", **fields, "delta": payload(ms)}


def tool_call(name: str, arguments: str = "{}", call_id: str = "call_1") -> Frame:
    item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, "status": "completed"}
    return {"type": "response.output_item.done", "item": item}


SPEECH = {"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 0}


@asynccontextmanager
async def scene(
    *, greeting: str = "", rest_error: TwilioError | None = None, max_call_seconds: int = 3300
) -> AsyncIterator[Scene]:
    """A call whose stream is up; afterwards nothing of it may be left."""
    before = asyncio.all_tasks()
    config = load([], {**ENVIRON, "GATEWAY_GREETING": greeting})
    made = Scene(replace(config, max_call_seconds=max_call_seconds), rest_error)
    await made.settle()
    yield made
    if not made.run.done():
        await made.hears({"event": "stop"})
    await made.run
    assert asyncio.all_tasks() == before
    assert made.bridge.state is State.OVER
    assert made.twilio.closed
    assert "internal error" not in made.log.getvalue()


async def test_early_audio_is_kept_in_order_and_the_greeting_comes_once_and_first() -> None:
    async with scene(greeting="Hello!") as s:
        await s.hears(*(media(payload(20, bytes([n]))) for n in range(3)))
        await s.hears({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "7"}})
        assert s.openai.sent == []
        await s.ready()
        await s.hears(media(payload(20, b"\x09")))
        greeting, *appends, item, create = s.openai.sent
        assert greeting["type"] == "response.create"
        assert greeting["response"]["instructions"].endswith("Hello!")
        assert "pressed 7" in item["item"]["content"][0]["text"]
        assert [frame["audio"] for frame in appends] == [payload(20, bytes([n])) for n in range(3)]
        assert create == {"type": "input_audio_buffer.append", "audio": payload(20, b"\x09")}


async def test_audio_is_passed_on_unchanged_with_marks() -> None:
    async with scene() as s:
        await s.ready()
        await s.speaks("r1", "i1", 100)
        assert s.twilio.sent == [{"event": "media", "streamSid": STREAM, "media": {"payload": payload(100)}}]
        await s.says(audio("r1", "i1", 100))
        assert s.twilio.kinds("event") == ["media", "media", "mark"]
        await s.says(audio("r1", "i1", 50), {"type": "response.output_audio.done", "response_id": "r1"})
        assert s.twilio.kinds("event")[3:] == ["media", "mark"]


async def test_barge_in_clears_and_truncates_at_what_was_played() -> None:
    async with scene() as s:
        await s.ready()
        await s.speaks("r1", "i1", 1000)
        s.time += 0.3
        await s.says(SPEECH)
        assert s.twilio.kinds("event")[-1] == "clear"
        assert s.openai.sent == [
            {"type": "conversation.item.truncate", "item_id": "i1", "content_index": 0, "audio_end_ms": 300}
        ]
        sent = len(s.twilio.sent)
        await s.says(audio("r1", "i1", 200))  # stale
        await s.echo_marks()  # let go by clear
        assert len(s.twilio.sent) == sent
        await s.done("r1", "cancelled")
        s.time += 1
        await s.speaks("r2", "i2", 500)
        assert s.twilio.kinds("event")[sent:] == ["media", "mark"]
        s.time += 0.1
        await s.says(SPEECH)
        assert s.openai.sent[-1]["audio_end_ms"] == 100


async def test_speech_when_all_was_heard_interrupts_nothing() -> None:
    async with scene() as s:
        await s.ready()
        await s.speaks("r1", "i1", 400)
        await s.done("r1")
        s.time += 0.5
        await s.echo_marks()
        await s.says(SPEECH)
        assert "clear" not in s.twilio.kinds("event")
        assert s.openai.sent == []


async def test_response_is_cancelled_only_when_the_server_does_not() -> None:
    async with scene() as s:
        await s.ready()
        s.bridge._auto_cancel = False
        await s.speaks("r1", "i1", 400)
        await s.says(SPEECH)
        assert s.openai.kinds("type") == ["response.cancel", "conversation.item.truncate"]
        assert s.openai.sent[0]["response_id"] == "r1"


async def test_tool_output_is_followed_by_one_response_when_the_first_is_done() -> None:
    async with scene() as s:
        await s.ready()
        await s.says({"type": "response.created", "response": {"id": "r1"}})
        await s.says(tool_call("get_weather", '{"city": "Oslo"}'), tool_call("get_weather", '{"city": "Oslo"}'))
        assert s.openai.kinds("type") == ["conversation.item.create"]
        assert s.openai.sent[0]["item"]["call_id"] == "call_1"
        assert json.loads(s.openai.sent[0]["item"]["output"])["city"] == "Oslo"
        await s.done("r1")
        assert s.openai.kinds("type") == ["conversation.item.create", "response.create"]


async def test_digits_while_the_model_speaks_are_told_at_once_and_answered_once() -> None:
    async with scene() as s:
        await s.ready()
        await s.speaks("r1", "i1", 100)
        await s.hears(*({"event": "dtmf", "dtmf": {"digit": digit}} for digit in "12"))
        assert s.openai.kinds("type") == ["conversation.item.create"] * 2
        await s.done("r1")
        assert s.openai.kinds("type")[2:] == ["response.create"]


async def test_response_that_lost_the_race_is_asked_for_again() -> None:
    async with scene() as s:
        await s.ready()
        await s.hears({"event": "dtmf", "dtmf": {"digit": "1"}})
        event_id = s.openai.sent[-1]["event_id"]
        error = {"code": "conversation_already_has_active_response", "message": "busy", "event_id": event_id}
        await s.says({"type": "response.created", "response": {"id": "auto"}}, {"type": "error", "error": error})
        assert s.openai.kinds("type").count("response.create") == 1
        await s.done("auto")
        assert s.openai.kinds("type").count("response.create") == 2


async def test_end_call_hangs_up_when_the_goodbye_was_heard() -> None:
    async with scene() as s:
        await s.ready()
        await s.says({"type": "response.created", "response": {"id": "r1"}}, tool_call("end_call"))
        await s.done("r1")
        await s.speaks("r2", "i2", 400)
        await s.done("r2")
        assert s.rest.ended == []
        await s.echo_marks()
        assert s.rest.ended == ["CA1"]
        await s.run
        assert s.openai.closed


async def test_goodbye_that_the_caller_interrupts_does_not_end_the_call() -> None:
    async with scene() as s:
        await s.ready()
        await s.says({"type": "response.created", "response": {"id": "r1"}}, tool_call("end_call"))
        await s.done("r1")
        await s.speaks("r2", "i2", 400)
        await s.done("r2")
        await s.says(SPEECH)
        await s.echo_marks()
        assert s.rest.ended == []


async def test_end_call_without_a_goodbye_ends_at_once() -> None:
    async with scene() as s:
        await s.ready()
        await s.says({"type": "response.created", "response": {"id": "r1"}}, tool_call("end_call"))
        await s.done("r1")
        await s.says({"type": "response.created", "response": {"id": "r2"}})
        await s.done("r2")
        assert s.rest.ended == ["CA1"]


async def test_stop_closes_the_session_and_hangs_nothing_up() -> None:
    async with scene() as s:
        await s.ready()
        await s.speaks("r1", "i1", 100)
        sent = len(s.twilio.sent)
        await s.hears({"event": "stop"})
        await s.says(audio("r1", "i1", 100))
        assert s.run.done()
        assert s.openai.closed
        assert len(s.twilio.sent) == sent
        assert s.rest.ended == []


async def test_stream_that_dies_without_stop_ends_the_session() -> None:
    async with scene() as s:
        await s.ready()
        s.twilio.inbox.put_nowait(None)
        await s.settle()
        assert s.run.done()
        assert s.openai.closed


async def test_caller_gone_before_the_session_is_there() -> None:
    async with scene() as s:
        await s.hears({"event": "stop"})
        assert s.run.done()
        assert s.bridge.opened.cancelled()


async def test_final_callback_ends_the_bridge_without_stop() -> None:
    async with scene() as s:
        await s.ready()
        s.bridge.on_call_over("completed")
        await s.settle()
        assert s.run.done()
        assert s.openai.closed


async def test_upstream_close_closes_the_stream_so_that_the_apology_runs() -> None:
    async with scene() as s:
        await s.ready()
        s.openai.inbox.put_nowait(None)
        await s.settle()
        assert await s.run == "upstream closed"
        assert s.twilio.closed
        assert s.rest.ended == []
        assert "close code 1006" in s.log.getvalue()


async def test_refused_session_closes_the_stream() -> None:
    async with scene() as s:
        s.bridge.opened.set_exception(UpstreamRefused("HTTP 401 on the upgrade"))
        await s.settle()
        assert await s.run == "upstream closed"
        assert "HTTP 401" in s.log.getvalue()


async def test_failed_response_is_tried_once_more() -> None:
    async with scene() as s:
        await s.ready()
        await s.done("r1", "failed")
        assert s.openai.kinds("type") == ["response.create"]
        await s.done("r2", "failed")
        assert await s.run == "upstream closed"


async def test_call_that_lasts_too_long_is_hung_up() -> None:
    async with scene(max_call_seconds=0) as s:
        assert await s.run == "stream stopped"
        assert s.rest.ended == ["CA1"]
        assert "maximum duration reached" in s.log.getvalue()


async def test_hang_up_that_fails_closes_the_stream() -> None:
    async with scene(rest_error=TwilioError(500, 20500, "oops")) as s:
        await s.ready()
        s.bridge.hang_up("operator")
        await s.settle()
        assert await s.run == "operator"
        assert "20500" in s.log.getvalue()


async def test_bad_frames_of_either_side_are_skipped() -> None:
    async with scene() as s:
        await s.ready()
        await s.hears(
            {"event": "media"},
            media('"}{'),
            media("not base64!"),
            {"event": ["media"]},
            {"event": "dtmf", "dtmf": {"digit": "x"}},
            {"event": "mark", "mark": {"name": []}},
            {**media(payload(20)), "streamSid": "MZ2"},
            {"event": "unheard-of"},
        )
        assert len(s.twilio.bad) == 7
        await s.says({}, {"type": "response.output_audio.delta"}, {**audio("r", "i", 20), "delta": "?"}, {"type": 1})
        assert len(s.openai.bad) == 3
        assert s.openai.sent == []
        assert s.twilio.sent == []
        await s.hears(media(payload(20)))
        assert s.openai.kinds("type") == ["input_audio_buffer.append"]
