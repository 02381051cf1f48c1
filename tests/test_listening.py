"""What is read off a wire about audio and turns, and about what the caller was played of an item."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hand import ULAW, Hand

from conformance.assembly import PhoneWorld
from conformance.listening import answers_within, latencies, responses_before_speech, spoken_and_appended
from conformance.playback import heard_of_item, phrase_of_item, played_ms, truncations
from fakes.audio import PHRASES, frames

APPEND = {"type": "input_audio_buffer.append", "audio": ULAW}


# -- what is read off a wire about audio and turns


def world_of(hand: Hand, **more: Any) -> PhoneWorld:
    """What the readers need of a world."""
    sessions = more.pop("sessions", [])
    return cast("PhoneWorld", SimpleNamespace(wire=hand.wire, openai=SimpleNamespace(sessions=sessions), **more))


SESSION = SimpleNamespace(connection="openai#1", settings=SimpleNamespace(input_format=SimpleNamespace(bytes_per_ms=8)))


def _speech(hand: Hand, what: str, phrase: str = "what_time", **meta: int) -> None:
    hand.put("caller", "twilio", "phone", f"speech.{what}", phrase).meta.update(meta)


@pytest.mark.parametrize(("before", "good"), [(0, False), (1, True), (2, False)])
def test_responses_before_speech(before: int, good: bool) -> None:
    hand = Hand()
    for _ in range(before):
        hand.from_model("response.created", {})
    _speech(hand, "start")
    hand.from_model("response.created", {})
    ok, seen = responses_before_speech(world_of(hand))
    assert ok is good
    assert f"{before} responses" in seen


@pytest.mark.parametrize(
    ("events", "good"),
    [
        (["done"], True),
        ([], False),
        (["done", "done"], False),
        (["cancelled", "done"], True),
        (["tool", "done"], True),
        (["done", "refused"], False),
    ],
)
def test_answers_within(events: Sequence[str], good: bool) -> None:
    hand = Hand()
    hand.from_model("response.done", {"response": {"status": "completed"}})  # the greeting
    hand.at = 1
    _speech(hand, "start")
    for event in events:
        hand.at += 1
        if event == "refused":
            hand.from_model("error", {"error": {"code": "conversation_already_has_active_response"}})
        else:
            output = [{"type": "function_call" if event == "tool" else "message"}]
            status = "cancelled" if event == "cancelled" else "completed"
            hand.from_model("response.done", {"response": {"status": status, "output": output}})
    ok, seen = answers_within(world_of(hand), turns=1)
    assert ok is good, seen


@pytest.mark.parametrize("frames_per_append", [1, 3])
@pytest.mark.parametrize("late", [0.0, 0.2])
def test_latencies(frames_per_append: int, late: float) -> None:
    """Two seconds of frames, appended one by one or three at a time, at once or late; audio down after 30 ms."""
    hand = Hand()
    appends: list[tuple[float, int]] = []
    for index in range(99):
        hand.at = index * 0.02
        hand.from_stream("media", {})
        if index % frames_per_append == frames_per_append - 1:
            appends.append((hand.at + (late if hand.at > 0.6 else 0), frames_per_append))
    media = list(hand.wire)
    merged = Hand()
    todo = sorted([(m.at, 0, 0) for m in media] + [(at, 1, size) for at, size in appends])
    for at, what, size in todo:
        merged.at = at
        if what:
            audio = base64.b64encode(b"\xff" * 160 * size).decode()
            merged.to_model("input_audio_buffer.append", {"audio": audio})
        else:
            merged.from_stream("media", {})
    merged.at = 5
    merged.from_model("response.output_audio.delta", {"response_id": "r1"})
    merged.at = 5.03
    merged.to_stream("media", {})
    up, down = latencies(world_of(merged, sessions=[SESSION]))
    assert down == pytest.approx(0.03)
    waiting = 0.02 * (frames_per_append - 1)
    assert up == pytest.approx(waiting + late, abs=0.001)


def test_latencies_of_a_gateway_that_appends_nothing() -> None:
    hand = Hand()
    hand.from_stream("media", {})
    up, _ = latencies(world_of(hand, sessions=[SESSION]))
    assert up == float("inf")


@pytest.mark.parametrize(("appended_ms", "good"), [(1000, True), (920, True), (860, False), (1200, False), (0, False)])
def test_spoken_and_appended(appended_ms: int, good: bool) -> None:
    """A phrase of one second, appended in frames: 100 ms and one frame more or less are within the tolerance."""
    hand = Hand(at=1)
    _speech(hand, "start")
    hand.at = 1.5
    for _ in range(appended_ms // 20):
        hand.to_model("input_audio_buffer.append", APPEND)
    hand.at = 3
    _speech(hand, "end", said_ms=1000)
    ok, seen = spoken_and_appended(world_of(hand), cast("Any", SESSION), "what_time")
    assert ok is good, seen
    assert seen == f"1.00 s on the phone, {appended_ms / 1000:.2f} s appended"


def test_a_phrase_that_was_not_said_was_not_appended() -> None:
    ok, seen = spoken_and_appended(world_of(Hand()), cast("Any", SESSION), "what_time")
    assert (ok, seen) == (False, "what_time was not said")


# -- what the caller was played of an item


def _item(hand: Hand, item: str, phrase: str, whole: bool = True) -> None:
    text = PHRASES[phrase].text
    for piece in (text[: len(text) // 2], text[len(text) // 2 :])[: 2 if whole else 1]:
        hand.from_model("response.output_audio_transcript.delta", {"item_id": item, "delta": piece})
    hand.from_model("response.output_audio.delta", {"item_id": item, "response_id": item, "delta": ULAW})


def _hearing(hand: Hand, phrase: str, start_ms: int, end_ms: int) -> None:
    hand.put("twilio", "caller", "phone", "heard.end", phrase, start_ms=start_ms, end_ms=end_ms)


def test_played_is_what_the_caller_heard_of_the_item() -> None:
    hand = Hand(at=1)
    _item(hand, "i1", "greeting")
    _item(hand, "i2", "long_answer", whole=False)
    _item(hand, "i3", "greeting")
    _hearing(hand, "greeting", 1200, 2400)
    _hearing(hand, "long_answer", 3000, 5000)
    world = world_of(hand)
    assert [phrase_of_item(world, item) for item in ("i1", "i2", "i3", "i4")] == [
        "greeting",
        "long_answer",
        "greeting",
        None,
    ]
    for at, item, expected in ((9, "i1", 1200), (4, "i2", 1000), (9, "i2", 2000), (2, "i2", 0), (9, "i3", 0)):
        hand.at = at
        truncate = hand.to_model("conversation.item.truncate", {"item_id": item})
        assert played_ms(world, truncate) == expected, (at, item)
    assert played_ms(world, hand.to_model("conversation.item.truncate", {"item_id": "i9"})) is None
    assert [m.get("item_id") for m in truncations(world)] == ["i1", "i2", "i2", "i2", "i3", "i9"]


def test_heard_of_item_counts_what_was_sent_afterwards() -> None:
    hand = Hand()
    sound = [base64.b64encode(frame).decode() for frame in frames("its_noon", "pcmu", 8000)]
    half = len(sound) // 2
    for frame in sound[:half]:
        hand.to_stream("media", {"media": {"payload": frame}})
    mark = hand.to_stream("clear", {})
    for frame in sound[half:]:
        hand.to_stream("media", {"media": {"payload": frame}})
    rest = heard_of_item(world_of(hand), "its_noon", after=mark)
    assert rest == pytest.approx((len(sound) - half) * 0.02, abs=0.15)
    assert heard_of_item(world_of(hand), "greeting", after=mark) == 0
    assert heard_of_item(world_of(hand), "its_noon", after=hand.to_stream("clear", {})) == 0
