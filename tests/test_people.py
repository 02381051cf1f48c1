"""`fakes.people`: what a case can say about the human on the phone, on a clock moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from twilio_world import CALLEE, NUMBER, World

from fakes import audio
from fakes.people import NotConnected, NotEnded, NotHeard, NotSilent, nearly_whole
from fakes.twilio import Stream


async def passes(world: World, story: Awaitable[Any], seconds: float = 20) -> tuple[Any, float]:
    """Let time pass until `story` ends; its result and when that was."""
    task = asyncio.ensure_future(story)
    for _ in range(round(seconds * 200)):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if task.done():
            break
        world.clock.advance(0.005)
    assert task.done(), "the story did not end"
    return task.result(), world.clock.now()


def playing(phrase: str, **setup: Any) -> tuple[World, Stream]:
    world = World(**setup)
    _, stream = world.streaming()
    world.plays(stream, audio.speak(phrase))
    return world, stream


async def test_dial_and_connect() -> None:
    world = World()
    call = world.caller.dial(world.twilio, NUMBER)
    connected, at = await passes(world, world.caller.connected())
    assert connected is call is world.caller.call
    assert at == pytest.approx(0.04)
    with pytest.raises(NotConnected, match="call1 is not over yet"):
        world.caller.dial(world.twilio, NUMBER)


async def test_not_connected() -> None:
    world = World(replies={"/voice": None})
    with pytest.raises(NotConnected, match="was not connected within 2 s: there was no call"):
        await passes(world, world.caller.connected(within=2))
    world.dial()
    with pytest.raises(NotConnected, match="was not connected within 2 s: call1 is ringing"):
        await passes(world, world.caller.connected(within=2))
    rejected = World(replies={"/voice": "<Response><Reject/></Response>"})
    rejected.dial()
    with pytest.raises(NotConnected, match="call1 ended as no-answer without being connected"):
        await passes(rejected, rejected.caller.connected())


async def test_callee_picks_up_when_told() -> None:
    world = World()
    world.callee.answers_after(2000)
    call = world.create()
    _, at = await passes(world, world.callee.connected())
    assert at == pytest.approx(2.22)
    assert world.callee.call is call


async def test_saying_takes_as_long_as_the_phrase() -> None:
    world = World()
    world.streaming()
    world.run(0.5)
    begin = world.clock.now()
    _, at = await passes(world, world.caller.says("what_time"))
    assert at - begin == pytest.approx(audio.phrase("what_time").duration_ms / 1000, abs=0.03)
    assert world.caller.saying is None


async def test_call_that_ends_in_the_middle_of_a_word() -> None:
    world = World()
    call, _ = world.streaming()
    story = asyncio.ensure_future(world.caller.says("long_story"))
    await passes(world, world.caller.hears_nothing_for(1))
    world.update(call, Status="completed")
    with pytest.raises(NotConnected, match="while saying 'long_story'"):
        await passes(world, story)


async def test_stop_talking_and_start_again() -> None:
    world = World()
    world.streaming()
    story = asyncio.ensure_future(world.caller.says("long_story"))
    await passes(world, world.caller.hears_nothing_for(0.5))
    world.caller.stop_talking()
    await passes(world, story)
    world.caller.start_saying("yes")
    world.caller.start_saying("no")
    assert world.caller.saying == "no"
    spoken = [(m.kind, m.body) for m in world.recorded("phone") if m.kind.startswith("speech")]
    assert spoken == [
        ("speech.start", "long_story"),
        ("speech.end", "long_story"),
        ("speech.start", "yes"),
        ("speech.end", "yes"),
        ("speech.start", "no"),
    ]


async def test_only_in_a_call_and_only_what_exists() -> None:
    world = World()
    with pytest.raises(NotConnected, match="cannot say 'yes': there was no call"):
        world.caller.start_saying("yes")
    with pytest.raises(NotConnected, match="cannot press '1'"):
        world.caller.press("1")
    with pytest.raises(NotConnected, match="cannot hang up"):
        world.caller.hang_up()
    world.streaming()
    with pytest.raises(audio.PhraseError, match="greeting"):
        world.caller.start_saying("greetin")
    with pytest.raises(audio.PhraseError, match="greeting"):
        await world.caller.hears("greetin")
    with pytest.raises(ValueError, match="'x' is no key"):
        world.caller.press("1x")
    assert world.events("dtmf") == []


async def test_hearing() -> None:
    world, _ = playing("greeting")
    begin = world.clock.now()
    started, at = await passes(world, world.caller.starts_hearing("greeting"))
    assert at - begin < 0.3
    assert started.phrase == "greeting"
    assert world.caller.hearing is not None
    heard, at = await passes(world, world.caller.hears("greeting"))
    assert heard.complete
    assert heard.start_ms == pytest.approx(begin * 1000, abs=25)
    assert at - begin == pytest.approx(audio.phrase("greeting").duration_ms / 1000, abs=0.03)
    assert world.caller.heard == [heard]
    assert world.caller.hearing is None


async def test_who_loses_patience_waits_no_longer_for_what_is_said() -> None:
    world, stream = playing("greeting")
    await passes(world, world.caller.hears("greeting"))
    waits = asyncio.ensure_future(world.caller.hears("its_noon", within=10))
    begin = world.clock.now()

    async def in_vain() -> None:
        world.caller.loses_patience(2, "nobody is there")
        await waits

    with pytest.raises(NotHeard, match="'its_noon' within 10 s, and nobody had to wait that long: nobody is there"):
        await passes(world, in_vain())
    assert world.clock.now() - begin == pytest.approx(2, abs=0.02)
    with pytest.raises(NotHeard, match="nobody is there"):
        await passes(world, world.caller.starts_hearing("its_noon", within=10))
    assert world.clock.now() - begin == pytest.approx(4, abs=0.04)
    # What is said in time is heard, and the end of a call is not hurried on.
    world.plays(stream, audio.speak("yes"))
    await passes(world, world.caller.hears("yes", within=10))
    begin = world.clock.now()
    with pytest.raises(NotEnded, match="within 5 s"):
        await passes(world, world.caller.ended(within=5))
    assert world.clock.now() - begin == pytest.approx(5, abs=0.02)


async def test_a_phrase_is_heard_only_once() -> None:
    world, stream = playing("greeting")
    await passes(world, world.caller.hears("greeting"))
    with pytest.raises(NotHeard, match=r"did not hear 'greeting' within 1 s\. Heard instead: nothing\. Before"):
        await passes(world, world.caller.hears("greeting", within=1))
    with pytest.raises(NotHeard):
        await passes(world, world.caller.starts_hearing("greeting", within=1))
    world.plays(stream, audio.speak("greeting"))
    await passes(world, world.caller.hears("greeting"))


async def test_what_was_heard_instead() -> None:
    world, stream = playing("its_noon")
    world.plays(stream, audio.speak("long_answer"))
    with pytest.raises(
        NotHeard,
        match=r"did not hear 'greeting' within 4 s\. Heard instead: 'its_noon' from 0\.\d+ to 2\.\d+ s; "
        r"'long_answer' from .* s of it, still going on",
    ):
        await passes(world, world.caller.hears("greeting", within=4))


async def test_part_of_a_phrase() -> None:
    world, stream = playing("long_answer")
    await passes(world, world.caller.starts_hearing("long_answer"))
    world.run(1)
    world.sends(stream, event="clear")
    with pytest.raises(NotHeard, match=r"Heard instead: 'long_answer' from .* s of it"):
        await passes(world, world.caller.hears("long_answer", within=2))
    heard, _ = await passes(world, world.caller.hears("long_answer", complete=False))
    assert not heard.complete
    assert heard.heard_ms == pytest.approx(1120, abs=40)


def spoken(phrase: str, begin: int = 0, hole: int = 0, lost: int = 0) -> bytes:
    """A phrase in mu-law, without its first `begin` ms, `hole` ms after 600 ms, and its last `lost` ms."""
    sound = audio.speak(phrase)
    return sound[begin * 8 : 4800] + sound[4800 + hole * 8 : len(sound) - lost * 8]


@pytest.mark.parametrize("lost", [10, 20, 100, 140, 200])
@pytest.mark.parametrize("phrase", ["greeting", "its_noon", "weather_sunny"])
async def test_a_phrase_without_the_end_of_its_end_is_understood(phrase: str, lost: int) -> None:
    world = World()
    _, stream = world.streaming()
    duration = audio.phrase(phrase).duration_ms
    world.plays(stream, spoken(phrase, lost=lost))
    heard, _ = await passes(world, world.caller.hears(phrase))
    assert (heard.complete, heard.from_ms, heard.to_ms) == (False, 0, duration - lost)
    end = [message.meta for message in world.recorded("phone") if message.kind == "heard.end"][-1]
    assert (end["complete"], end["from_ms"], end["to_ms"]) == (False, 0, duration - lost)


@pytest.mark.parametrize(
    "missing",
    [
        {"lost": 220},
        {"hole": 20},
        {"hole": 20, "lost": 100},
        {"begin": 20},
        {"begin": 100, "lost": 100},
        {"begin": 120},
    ],
    ids=str,
)
async def test_more_than_the_end_is_missing(missing: dict[str, int]) -> None:
    world = World()
    _, stream = world.streaming()
    world.plays(stream, spoken("its_noon", **missing))
    with pytest.raises(NotHeard, match=r"Heard instead: 'its_noon' from .* s of it"):
        await passes(world, world.caller.hears("its_noon", within=4))
    heard, _ = await passes(world, world.caller.hears("its_noon", within=1, complete=False))
    assert not heard.complete


async def test_what_came_twice_is_no_whole_phrase() -> None:
    world = World()
    _, stream = world.streaming()
    sound = audio.speak("its_noon")
    world.plays(stream, sound[:4800] + sound[4480:-800])
    with pytest.raises(NotHeard):
        await passes(world, world.caller.hears("its_noon", within=4))


def test_a_sound_that_nobody_knows_is_not_nearly_whole() -> None:
    assert not nearly_whole(audio.Heard(audio.UNKNOWN, 0, 500, 500, False, 0, 500))


async def test_end_of_the_call_ends_the_waiting() -> None:
    world, _ = playing("long_answer")
    story = asyncio.ensure_future(world.caller.hears("long_answer", within=60))
    await passes(world, world.caller.starts_hearing("long_answer"))
    world.run(1)
    world.caller.hang_up()
    with pytest.raises(NotHeard, match=r"before the call ended at 1\.\d+ s\. Heard instead: 'long_answer'"):
        await passes(world, story, 1)


async def test_silence() -> None:
    world, stream = playing("its_noon")
    with pytest.raises(NotSilent, match="hears 'its_noon'"):
        await passes(world, world.caller.hears_nothing_for(5))
    with pytest.raises(NotSilent, match="still hears 'its_noon'"):
        await passes(world, world.caller.stops_hearing(within=0.5))
    _, quiet = await passes(world, world.caller.stops_hearing())
    assert quiet == pytest.approx(world.caller.heard[0].end_ms / 1000, abs=0.4)
    begin = world.clock.now()
    _, at = await passes(world, world.caller.hears_nothing_for(3))
    assert at - begin == pytest.approx(3, abs=0.01)
    story = asyncio.ensure_future(world.caller.hears_nothing_for(3))
    await passes(world, world.caller.hears_nothing_for(1))
    world.plays(stream, audio.dtmf("5", 1000))
    with pytest.raises(NotSilent, match=r"'\?'"):
        await passes(world, story)


async def test_ended() -> None:
    world = World()
    world.streaming()
    with pytest.raises(NotEnded, match="the call was not over within 1 s; call1 is in-progress"):
        await passes(world, world.caller.ended(within=1))
    world.caller.hang_up()
    await passes(world, world.caller.ended())
    world.caller.hang_up()
    assert world.io.points.count("twilio/call1/hangup") == 1
    world.dial()
    await passes(world, world.caller.connected())
    assert [call.name for call in world.twilio.calls] == ["call1", "call2"]


async def test_what_is_recorded_of_the_phone() -> None:
    world, _ = playing("its_noon")
    await passes(world, world.caller.hears("its_noon"))
    world.caller.press("7")
    world.caller.start_saying("long_story")
    world.run(1)
    world.caller.hang_up()
    world.run(1)
    phone = [(m.source, m.target, m.kind, m.body) for m in world.recorded("phone")]
    assert phone == [
        ("caller", "twilio", "dial", NUMBER),
        ("twilio", "caller", "answer", None),
        ("twilio", "caller", "heard.start", "its_noon"),
        ("twilio", "caller", "heard.end", "its_noon"),
        ("caller", "twilio", "dtmf", "7"),
        ("caller", "twilio", "speech.start", "long_story"),
        ("caller", "twilio", "hangup", "long_story"),
        ("caller", "twilio", "speech.end", "long_story"),
        ("twilio", "caller", "ended", "completed"),
    ]
    assert {m.connection for m in world.recorded("phone")} == {"call1"}
    end = world.recorded("phone")[3].meta
    assert end["complete"] is True
    assert end["heard_ms"] == audio.phrase("its_noon").duration_ms


@pytest.mark.parametrize(("how", "kind"), [("rejects", "reject"), ("is_busy", "busy")])
async def test_what_is_recorded_of_a_callee_who_declines(how: str, kind: str) -> None:
    world = World()
    getattr(world.callee, how)(after_ms=1000)
    world.create()
    await passes(world, world.callee.ended())
    assert [(m.source, m.kind) for m in world.recorded("phone")] == [
        ("twilio", "ring"),
        ("callee", kind),
        ("twilio", "ended"),
    ]
    assert world.callee.ended_at == pytest.approx(1.22)
    assert CALLEE in repr(world.callee)


async def test_callee_hangs_up_while_it_rings() -> None:
    world = World()
    world.callee.does_not_answer()
    call = world.create()
    world.run(1)
    world.callee.hang_up()
    await passes(world, world.callee.ended())
    assert call.status == "no-answer"
