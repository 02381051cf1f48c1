"""The reference gateway's relay between stub channels: what it says to each side, and when. No sockets."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import ClientSession

from reference_impl import relay as relay_module
from reference_impl.channel import JsonChannel
from reference_impl.config import load
from reference_impl.conversation import UpstreamRefused
from reference_impl.dialects import BROWSER, PHONE, WEBRTC, dialect_for
from reference_impl.log import Log
from reference_impl.problems import of_answer, of_close, of_event
from reference_impl.relay import EARLY_AUDIO, ITEMS, SILENT_TIMEOUT, Relay

ENVIRON = {
    "GATEWAY_PUBLIC_URL": "https://gw.example.test",
    "GATEWAY_TOKEN": "operator-token",
    "GATEWAY_TALK_TOKEN": "talk-token",
    "OPENAI_API_KEY": "sk-test-key",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}
Frame = dict[str, Any]


class StubChannel:
    """Hands over what the test puts in, keeps what the relay sends; `None` is the end of the connection."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.sent: list[Frame] = []
        self.bad: list[str] = []
        self.up = True
        self.closed = False
        self.close_code: int | None = 1006
        self.reason = ""
        self.stuck = False  # takes nothing, and does not refuse it either

    async def receive(self) -> Frame | None:
        return await self.inbox.get()

    async def send(self, text: str) -> bool:
        if self.stuck:
            await asyncio.get_running_loop().create_future()
        self.sent.append(json.loads(text))
        return True

    def bad_frame(self, why: str) -> None:
        self.bad.append(why)

    async def close(self, reason: str = "", *, code: int = 1000) -> None:
        self.closed = True

    def take(self) -> list[Frame]:
        """What was sent since the last look."""
        taken, self.sent = self.sent, []
        return taken


class StubRelay(Relay):
    """A relay whose session opens when the test says so, and whose clock the test sets."""

    opened: "asyncio.Future[None]"
    upstream: StubChannel

    async def open_session(self) -> JsonChannel:
        await self.opened
        self.openai = cast(JsonChannel, self.upstream)
        return self.openai


class Scene:
    """A relay, its two sides and what it did."""

    def __init__(self, **environ: str) -> None:
        config = load([], {**ENVIRON, **environ})
        self.time = 1000.0
        self.browser, self.openai = StubChannel(), StubChannel()
        self.log = io.StringIO()
        self.relay = StubRelay(
            config,
            dialect_for(config, BROWSER),
            cast(ClientSession, None),
            cast(JsonChannel, self.browser),
            Log(config.secrets(), stream=self.log),
            lambda problem: {"source": problem.source, "code": problem.code, "message": problem.message},
        )
        self.relay.upstream = self.openai
        self.relay.opened = asyncio.get_running_loop().create_future()
        self.relay._now = lambda: self.time
        self.relay._heard_at = self.time
        self.run = asyncio.create_task(self.relay.run())

    async def settle(self) -> None:
        """Let everything happen that can happen now."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def ready(self) -> None:
        self.relay.opened.set_result(None)
        await self.settle()

    async def says(self, *events: Frame) -> list[Frame]:
        """OpenAI says something; what the browser is told."""
        for event in events:
            self.openai.inbox.put_nowait(event)
        await self.settle()
        return self.browser.take()

    async def does(self, *frames: Frame) -> list[Frame]:
        """The browser says something; what OpenAI is told."""
        for frame in frames:
            self.browser.inbox.put_nowait(frame)
        await self.settle()
        return self.openai.take()

    async def speaks(self, response: str, item: str, ms: int) -> list[Frame]:
        """The model begins a response and sends so much audio of it."""
        return await self.says({"type": "response.created", "response": {"id": response}}, audio(response, item, ms))

    async def done(self, response: str, status: str = "completed", **details: Any) -> list[Frame]:
        return await self.says({"type": "response.done", "response": {"id": response, "status": status, **details}})

    async def over(self) -> str:
        """Why it ended."""
        return await asyncio.wait_for(self.run, 5)


@asynccontextmanager
async def scene(*, ready: bool = True, **environ: str) -> AsyncIterator[Scene]:
    made = Scene(**environ)
    await made.settle()
    if ready:
        await made.ready()
        made.browser.take()
    yield made
    made.relay.finish("end of the test")
    await made.run
    assert not made.relay._tasks


def pcm(ms: int, fill: bytes = b"\x01\x02") -> str:
    return base64.b64encode(fill * (24 * ms)).decode()


def audio(response: str, item: str, ms: int) -> Frame:
    return {
        "type": "response.output_audio.delta",
        "response_id": response,
        "item_id": item,
        "content_index": 0,
        "delta": pcm(ms),
    }


SPEECH = {"type": "input_audio_buffer.speech_started", "item_id": "item_user", "audio_start_ms": 0}


# The session


def test_the_session_is_pcm_in_both_directions_in_both_dialects() -> None:
    config = load([], ENVIRON)
    session = dialect_for(config, BROWSER).session([])
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    legacy = load([], {**ENVIRON, "OPENAI_MODEL": "gpt-4o-realtime-preview"})
    beta = dialect_for(legacy, BROWSER).session([])
    assert (beta["input_audio_format"], beta["output_audio_format"]) == ("pcm16", "pcm16")
    assert dialect_for(config, PHONE).session([])["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    webrtc = dialect_for(config, WEBRTC).session([])
    assert "format" not in webrtc["audio"]["input"]
    assert "format" not in webrtc["audio"]["output"]


async def test_ready_is_said_when_the_session_is_agreed_on_and_not_before() -> None:
    async with scene(ready=False) as s:
        assert s.browser.sent == []
        await s.ready()
        assert s.browser.take() == [{"type": "ready", "model": "gpt-realtime-2", "voice": "alloy"}]


async def test_what_came_early_is_sent_when_the_session_is_ready() -> None:
    async with scene(ready=False) as s:
        early = [{"type": "audio", "audio": pcm(30, bytes([n, 0]))} for n in range(3)]
        assert await s.does(*early, {"type": "text", "text": "Hello"}) == []
        await s.ready()
        sent = s.openai.take()
        assert [frame.get("audio") for frame in sent[:3]] == [frame["audio"] for frame in early]
        assert [frame["type"] for frame in sent[3:]] == ["conversation.item.create", "response.create"]


async def test_early_audio_is_bounded() -> None:
    async with scene(ready=False) as s:
        piece = pcm(1000)
        await s.does(*({"type": "audio", "audio": piece} for _ in range(100)))
        assert sum(map(len, s.relay._early)) <= EARLY_AUDIO
        assert len(s.relay._early) == EARLY_AUDIO // len(piece)


# Audio


async def test_audio_is_passed_on_as_it_is_in_both_directions() -> None:
    async with scene() as s:
        assert await s.does({"type": "audio", "audio": pcm(30)}) == [
            {"type": "input_audio_buffer.append", "audio": pcm(30)}
        ]
        assert await s.speaks("r1", "i1", 100) == [{"type": "audio", "item": "i1", "audio": pcm(100)}]


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "audio", "audio": 'AAAA","x":"'},
        {"type": "audio", "audio": "AA=A"},
        {"type": "audio", "audio": base64.b64encode(b"123").decode()},
        {"type": "audio", "audio": 7},
        {"type": "audio"},
        {"type": "text", "text": "  "},
        {"type": "text", "text": None},
        {"type": "interrupt", "item": "i1"},
        {"type": "interrupt", "item": "i1", "played_ms": "much"},
        {"type": "interrupt", "item": "i1", "played_ms": float("inf")},
        {"type": "interrupt", "item": "i1", "played_ms": True},
        {"audio": "AAAA"},
    ],
)
async def test_a_frame_that_is_wrong_is_skipped_and_the_conversation_goes_on(frame: Frame) -> None:
    async with scene() as s:
        assert await s.does(frame) == []
        assert len(s.browser.bad) == 1
        assert len(await s.does({"type": "audio", "audio": pcm(30)})) == 1


async def test_frames_of_an_unknown_type_are_passed_over() -> None:
    async with scene() as s:
        assert await s.does({"type": "dance"}) == []
        assert s.browser.bad == []


async def test_audio_of_the_model_that_is_no_base64_is_not_pasted_into_a_frame() -> None:
    async with scene() as s:
        delta = {**audio("r1", "i1", 20), "delta": '"}{'}
        assert await s.says({"type": "response.created", "response": {"id": "r1"}}, delta) == []
        assert len(s.openai.bad) == 1


async def test_a_browser_that_takes_nothing_holds_the_model_up_and_is_not_waited_for_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "CLOSE_TIMEOUT", 0.0)
    async with scene() as s:
        s.browser.stuck = True
        await s.says(*(audio("r1", "i1", 100) for _ in range(50)))
        assert s.openai.inbox.qsize() == 49  # one is being sent, and the rest stays where it is
        s.relay.finish("enough")
        assert await s.over() == "enough"
        assert s.openai.closed
        assert s.relay.stuck
        assert "relay.browser_stuck" in s.log.getvalue()


# Barge-in


async def test_barge_in_clears_and_truncates_at_what_was_heard() -> None:
    async with scene() as s:
        await s.speaks("r1", "i1", 2000)
        assert await s.says(SPEECH) == [{"type": "clear", "item": "i1"}]
        assert s.openai.take() == []  # the server cancels of its own accord
        assert await s.says(audio("r1", "i1", 100)) == []  # stale
        assert await s.does({"type": "interrupt", "item": "i1", "played_ms": 700}) == [
            {"type": "conversation.item.truncate", "item_id": "i1", "content_index": 0, "audio_end_ms": 700}
        ]
        assert await s.does({"type": "interrupt", "item": "i1", "played_ms": 800}) == []  # once is enough


async def test_barge_in_cancels_where_the_server_does_not() -> None:
    async with scene() as s:
        s.relay._auto_cancel = False
        await s.speaks("r1", "i1", 2000)
        await s.says(SPEECH)
        assert s.openai.take() == [{"type": "response.cancel", "response_id": "r1"}]


async def test_barge_in_after_the_last_word_was_made_still_clears_what_is_playing() -> None:
    async with scene() as s:
        await s.speaks("r1", "i1", 3000)
        await s.done("r1")
        s.time += 2
        assert await s.says(SPEECH) == [{"type": "clear", "item": "i1"}]


async def test_speech_after_all_was_played_clears_nothing() -> None:
    async with scene() as s:
        await s.speaks("r1", "i1", 1000)
        await s.done("r1")
        s.time += 3
        assert await s.says(SPEECH) == []


async def test_every_item_that_is_waiting_is_cleared() -> None:
    async with scene() as s:
        await s.speaks("r1", "i1", 1000)
        await s.done("r1")
        await s.speaks("r2", "i2", 1000)
        assert [frame["item"] for frame in await s.says(SPEECH)] == ["i1", "i2"]
        truncated = await s.does(
            {"type": "interrupt", "item": "i1", "played_ms": 400}, {"type": "interrupt", "item": "i2", "played_ms": 0}
        )
        assert [(frame["item_id"], frame["audio_end_ms"]) for frame in truncated] == [("i1", 400), ("i2", 0)]


async def test_what_was_made_and_not_passed_on_is_truncated_too() -> None:
    async with scene() as s:
        await s.speaks("r1", "i1", 1000)
        s.time += 4  # the model is slow, and the browser has played all there was
        assert await s.says(SPEECH, audio("r1", "i1", 500)) == [{"type": "clear", "item": "i1"}]
        (told,) = await s.does({"type": "interrupt", "item": "i1", "played_ms": 1200})
        assert (told["type"], told["audio_end_ms"]) == ("conversation.item.truncate", 1000)


async def test_empty_pieces_of_audio_are_dropped_on_both_sides() -> None:
    async with scene() as s:
        assert await s.does({"type": "audio", "audio": ""}) == []
        assert await s.says({**audio("r1", "i1", 0)}) == []


@pytest.mark.parametrize("played_ms", [1000, 5000, -1])
async def test_an_item_is_not_truncated_beyond_what_was_sent_of_it(played_ms: int) -> None:
    async with scene() as s:
        await s.speaks("r1", "i1", 1000)
        await s.done("r1")
        assert await s.does({"type": "interrupt", "item": "i1", "played_ms": played_ms}) == []


async def test_the_stop_button_cancels_and_truncates() -> None:
    async with scene() as s:
        await s.speaks("r1", "i1", 1000)
        told = await s.does({"type": "interrupt", "item": "i1", "played_ms": 250})
        assert [frame["type"] for frame in told] == ["response.cancel", "conversation.item.truncate"]
        assert await s.says(audio("r1", "i1", 100)) == []


async def test_the_stop_button_works_before_anything_is_heard() -> None:
    async with scene() as s:
        await s.says({"type": "response.created", "response": {"id": "r1"}})
        stop = {"type": "interrupt", "item": "", "played_ms": 0}
        assert await s.does(stop, stop) == [{"type": "response.cancel", "response_id": "r1"}]


async def test_a_late_report_does_not_cancel_the_next_response() -> None:
    async with scene() as s:
        await s.speaks("r1", "i1", 1000)
        await s.says(SPEECH)
        await s.done("r1", "cancelled")
        await s.says({"type": "response.created", "response": {"id": "r2"}})
        late = [
            {"type": "interrupt", "item": "i1", "played_ms": 300},
            {"type": "interrupt", "item": "x", "played_ms": 1},
        ]
        assert [frame["type"] for frame in await s.does(*late)] == ["conversation.item.truncate"]


async def test_items_are_forgotten_when_there_are_many() -> None:
    async with scene() as s:
        for n in range(ITEMS + 5):
            await s.says(audio("r1", f"i{n}", 10))
        assert len(s.relay.items) == ITEMS
        assert "i4" not in s.relay.items


# Text, transcripts, tools


async def test_a_typed_message_is_an_item_and_asks_for_a_response_one_at_a_time() -> None:
    async with scene() as s:
        item, create = await s.does({"type": "text", "text": 'Say "hi"'})
        assert item["item"]["content"] == [{"type": "input_text", "text": 'Say "hi"'}]
        assert create["type"] == "response.create"
        await s.says({"type": "response.created", "response": {"id": "r1"}})
        assert len(await s.does({"type": "text", "text": "Again"})) == 1
        await s.done("r1")
        assert [frame["type"] for frame in s.openai.take()] == ["response.create"]


async def test_transcripts_of_both_sides() -> None:
    async with scene() as s:
        heard = "conversation.item.input_audio_transcription"
        spoken = "response.output_audio_transcript"
        told = await s.says(
            {"type": f"{heard}.delta", "item_id": "i1", "delta": "Hel"},
            {"type": f"{heard}.completed", "item_id": "i1", "transcript": "Hello"},
            {"type": f"{spoken}.delta", "item_id": "i2", "delta": "Good "},
            {"type": f"{spoken}.done", "item_id": "i2", "transcript": "Good day"},
        )
        assert [(f["role"], f["item"], f["text"], f["final"]) for f in told] == [
            ("user", "i1", "Hel", False),
            ("user", "i1", "Hello", True),
            ("assistant", "i2", "Good ", False),
            ("assistant", "i2", "Good day", True),
        ]


async def test_beta_events_are_understood_with_a_legacy_model() -> None:
    async with scene(OPENAI_MODEL="gpt-4o-realtime-preview") as s:
        delta = {**audio("r1", "i1", 20), "type": "response.audio.delta"}
        transcript = {"type": "response.audio_transcript.delta", "item_id": "i1", "delta": "Hi"}
        assert [frame["type"] for frame in await s.says(delta, transcript)] == ["audio", "transcript"]
        assert await s.says(audio("r1", "i1", 20)) == []


async def test_a_tool_is_run_here_and_the_person_sees_it() -> None:
    async with scene() as s:
        call = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city":"Berlin"}'}
        told = await s.says({"type": "response.output_item.done", "item": call})
        assert told == [
            {"type": "tool", "name": "get_weather", "status": "called"},
            {"type": "tool", "name": "get_weather", "status": "done"},
        ]
        item, create = s.openai.take()
        assert item["item"]["call_id"] == "c1"
        assert "sunny" in item["item"]["output"]
        assert create["type"] == "response.create"
        assert await s.says({"type": "response.output_item.done", "item": call}) == []  # told twice, run once


async def test_end_call_is_not_among_the_tools_of_a_browser() -> None:
    async with scene() as s:
        call = {"type": "function_call", "call_id": "c1", "name": "end_call", "arguments": "{}"}
        await s.says({"type": "response.output_item.done", "item": call})
        assert "there is no tool 'end_call'" in s.openai.take()[0]["item"]["output"]


# Errors


async def test_a_refused_session_is_told_and_ends_it() -> None:
    async with scene(ready=False) as s:
        event = {"error": {"code": "model_not_found", "message": "no such model"}}
        s.relay.opened.set_exception(UpstreamRefused("model_not_found: no such model", of_event(event)))
        assert await s.over() == "refused"
        error, ended = s.browser.take()
        assert error["error"] == {"source": "openai", "code": "model_not_found", "message": "no such model"}
        assert ended == {"type": "ended", "reason": "refused"}
        assert s.browser.closed


async def test_a_session_that_is_lost_is_told_and_ends_it() -> None:
    async with scene() as s:
        s.openai.close_code, s.openai.reason = 1001, "Your session hit the maximum duration of 60 minutes."
        s.openai.inbox.put_nowait(None)
        assert await s.over() == "upstream closed"
        error, ended = s.browser.take()
        assert "1001 Your session hit the maximum duration" in error["error"]["message"]
        assert ended["reason"] == "upstream closed"


async def test_a_failed_response_is_told_and_the_conversation_goes_on() -> None:
    async with scene() as s:
        await s.says({"type": "response.created", "response": {"id": "r1"}})
        details = {"type": "failed", "error": {"type": "insufficient_quota", "code": "credit_balance_exhausted"}}
        (told,) = await s.done("r1", "failed", status_details=details)
        assert told["error"]["code"] == "credit_balance_exhausted"
        assert not s.run.done()
        assert [frame["type"] for frame in await s.does({"type": "text", "text": "Hm"})][-1] == "response.create"


async def test_an_error_is_told_unless_it_is_only_late() -> None:
    async with scene() as s:
        told = await s.says(
            {"type": "error", "error": {"code": "response_cancel_not_active", "message": "late"}},
            {"type": "error", "error": {"code": "unknown_parameter", "message": "what?", "param": "session.x"}},
        )
        assert [frame["error"]["code"] for frame in told] == ["unknown_parameter"]


def test_problems_keep_the_words_of_the_vendor() -> None:
    about = {"message": "m", "type": "t", "code": "c", "param": "p"}
    problem = of_answer(403, {"error": about}, "req_1")
    assert (problem.message, problem.type, problem.code, problem.param) == ("m", "t", "c", "p")
    assert (problem.status, problem.request_id, problem.source) == (403, "req_1", "openai")
    assert of_answer(502, None).message == "OpenAI answered 502"
    assert of_answer(401, {"error": "plain text"}).message == "plain text"
    closed = of_close(4004, "invalid_request_error.model_not_found")
    assert (closed.code, closed.type) == ("model_not_found", "invalid_request_error")
    assert of_close(1006, "").code is None
    assert of_close(1001, "It was. Long ago").code is None
    assert of_event({"type": "error"}).message == "OpenAI gave no reason"


# The end


async def test_end_closes_both_sides() -> None:
    async with scene() as s:
        await s.does({"type": "end"})
        assert await s.over() == "end"
        assert s.browser.sent[-1] == {"type": "ended", "reason": "end"}
        assert s.browser.closed
        assert s.openai.closed


async def test_the_session_is_closed_when_the_browser_goes() -> None:
    async with scene() as s:
        s.browser.inbox.put_nowait(None)
        assert await s.over() == "browser gone"
        assert s.openai.closed


async def test_the_handshake_is_given_up_when_the_browser_goes() -> None:
    async with scene(ready=False) as s:
        s.browser.inbox.put_nowait(None)
        assert await s.over() == "browser gone"
        assert s.relay.opened.cancelled()


async def test_a_silent_browser_is_ended_and_one_that_says_something_is_not() -> None:
    async with scene() as s:
        s.time += SILENT_TIMEOUT - 1
        await s.does({"type": "audio", "audio": pcm(30)})
        s.time += 2
        s.relay._watch()
        assert not s.relay._ended.done()
        s.time += SILENT_TIMEOUT
        s.relay._watch()
        assert await s.over() == "silent"


async def test_a_relay_that_is_cancelled_says_so_and_leaves_nothing() -> None:
    async with scene() as s:
        s.run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await s.run
        assert s.browser.sent[-1] == {"type": "ended", "reason": "shutdown"}
        assert s.browser.closed
        assert s.openai.closed
        s.run = asyncio.create_task(asyncio.sleep(0, "done"))


async def test_a_conversation_has_a_maximum_duration() -> None:
    async with scene(GATEWAY_MAX_CALL_SECONDS="1") as s:
        timers = [timer for timer in s.relay._timers if timer._args and "maximum" in str(timer._args[0])]
        assert [round(timer.when() - asyncio.get_running_loop().time()) for timer in timers] == [1]
