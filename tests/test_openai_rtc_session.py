"""The session of a call without its transport: late and absent microphones, filters, timers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai_world import KEY, World, types

from fakes.audio import frames
from fakes.openai.calls import CallState
from fakes.openai.catalogue import catalogue
from fakes.openai.frames import Frame
from fakes.openai.outbox import Outbox
from fakes.openai.rtc_session import RtcSession
from fakes.openai.secrets import Place


class Line:
    """A leg that keeps everything."""

    def __init__(self, patience: float = 0.0, keep: Callable[[str], bool] | None = None) -> None:
        self.world = World()
        self.clock = self.world.clock
        self.sent: list[Frame] = []
        self.played = 0
        self.released = 0
        place = Place("org", "proj")
        model = catalogue().models["gpt-realtime"]
        self.call = self.world.service.calls.open("webrtc", place, model=model, session={"instructions": "Hum."})
        self.rtc = RtcSession(self.world.service, self.call, self, patience=patience, filter=keep)

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)
        self.rtc.left(frame)

    def play(self, pcm: bytes) -> None:
        self.played += 1

    def release(self) -> None:
        self.released += 1

    def open(self) -> Line:
        self.rtc.open()
        self.clock.advance(1)
        return self

    def speak(self, phrase: str, *, start: int = 0, end: int | None = None, every: float = 0.02) -> None:
        for frame in frames(phrase, "pcm16", 24000)[start:end]:
            self.clock.advance(every)
            self.rtc.hear(frame)

    def types(self) -> list[str]:
        return types([json.loads(frame.body) for frame in self.sent if frame.kind != "close"])

    def tell(self, kind: str, **fields: Any) -> None:
        self.rtc.receive_text(json.dumps({"type": kind, **fields}))


def test_the_session_begins_when_the_connection_is_up() -> None:
    line = Line()
    line.clock.advance(5)
    assert line.sent == []
    line.open()
    line.rtc.open()
    line.clock.advance(5)
    assert line.types() == ["session.created"]
    created = json.loads(line.sent[0].body)
    assert created["session"]["instructions"] == "Hum."
    assert line.call.running is line.rtc.session
    assert KEY not in line.sent[0].body  # type: ignore[operator]


def test_an_idle_call_costs_no_timers() -> None:
    line = Line().open()
    expiry = line.clock.pending
    assert expiry == 1
    line.speak("yes")
    line.clock.advance(60)
    assert line.types()[-1] == "output_audio_buffer.stopped"
    assert line.clock.pending == expiry


def test_a_turn_ends_in_the_silence_that_nobody_sends() -> None:
    line = Line().open()
    line.speak("what_time")
    line.clock.advance(0.19)
    assert line.types()[1:] == ["input_audio_buffer.speech_started"]
    line.clock.advance(0.06)
    assert "input_audio_buffer.speech_stopped" in line.types()
    [heard] = line.rtc.session.heard
    assert (heard.phrase, heard.complete) == ("what_time", True)


@pytest.mark.parametrize("stall", [0.3, 0.9])
def test_a_microphone_that_stutters_is_one_voice(stall: float) -> None:
    line = Line(patience=1.0).open()
    line.speak("what_time", end=50)
    line.clock.advance(stall)
    line.speak("what_time", start=50, end=50 + int(stall * 50), every=0)  # what has queued up comes at once
    line.speak("what_time", start=50 + int(stall * 50))
    line.clock.advance(5)
    assert line.types().count("input_audio_buffer.speech_started") == 1
    assert [(heard.phrase, heard.complete) for heard in line.rtc.session.heard] == [("what_time", True)]


def test_a_microphone_that_is_gone_ends_the_turn() -> None:
    line = Line(patience=1.0).open()
    line.speak("what_time", end=60)
    line.clock.advance(0.99)
    assert "input_audio_buffer.speech_stopped" not in line.types()
    line.clock.advance(0.5)
    assert line.types().count("input_audio_buffer.speech_stopped") == 1


def test_sound_before_the_session_and_after_the_call_is_nothing() -> None:
    line = Line()
    line.speak("yes")
    line.open()
    line.speak("no")
    line.call.move(CallState.ENDED)
    sent = len(line.sent)
    line.speak("hello")
    line.rtc.receive_text('{"type": "response.create"}')
    line.rtc.receive_binary(b"1")
    line.rtc.lost("again")
    line.rtc.open()
    line.clock.advance(60)
    assert (len(line.sent), line.released, line.clock.pending) == (sent, 1, 0)


def test_a_filter_decides_what_crosses_the_channel() -> None:
    line = Line(keep=lambda kind: kind == "response.done").open()
    line.tell("response.create")
    line.clock.advance(30)
    assert line.types() == ["response.done"]
    assert line.played == 150
    assert "output_audio_buffer.stopped" in line.rtc.session.sent
    line.rtc.session.close(1000, "done")
    assert line.sent[-1].kind == "close"
    assert (line.call.state, line.released) == (CallState.ENDED, 1)


def test_a_call_that_does_not_connect() -> None:
    line = Line()
    line.clock.advance(29)
    assert line.call.state is CallState.OFFERED
    line.clock.advance(2)
    assert (line.call.state, line.released, line.clock.pending) == (CallState.ENDED, 1, 0)


class Held:
    """Gates that hold one point until they are told to open."""

    def __init__(self, point: str) -> None:
        self.point = point
        self.opened = asyncio.Event()

    @asynccontextmanager
    async def delivery(self, point: str) -> AsyncIterator[None]:
        if point == self.point:
            await self.opened.wait()
        yield


async def test_what_a_gate_holds_holds_what_comes_after_it() -> None:
    gates = Held("second")
    left: list[str] = []
    gone = asyncio.Event()

    def leave(frame: Frame) -> None:
        left.append(frame.kind)
        if frame.kind == "fourth":
            gone.set()

    outbox = Outbox(gates, leave)
    outbox.send(Frame("first"))
    assert left == ["first"]  # at once
    outbox.send(Frame("second", gate="second"))
    outbox.send(Frame("third"))
    outbox.send(Frame("fourth", gate="another"))
    assert left == ["first"]
    gates.opened.set()
    async with asyncio.timeout(5):
        await gone.wait()
    assert left == ["first", "second", "third", "fourth"]


async def test_an_outbox_that_is_closed_forgets() -> None:
    gates = Held("first")
    left: list[Frame] = []
    outbox = Outbox(gates, left.append)
    outbox.send(Frame("first", gate="first"))
    outbox.send(Frame("second"))
    outbox.close()
    gates.opened.set()
    _, waiting = await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=5)  # type: ignore[arg-type]
    assert (left, waiting) == ([], set())
