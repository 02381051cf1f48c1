"""Turn detection as a session sets it: padding, threshold, answers and interruptions of its own accord, idle time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from openai_world import BETA_DAY, GA_DAY, Client, Event, World, merge, outline, typed, types

from fakes.audio import pcmu_decode, pcmu_encode, phrase, silence, speak

DIALECTS = ("beta", "ga")


def detection(dialect: str, **fields: Any) -> Event:
    """The part of a session that sets turn detection."""
    setting = {"turn_detection": {"type": "server_vad", **fields}}
    return setting if dialect == "beta" else {"audio": {"input": setting}}


def opened(dialect: str, **session: Any) -> Client:
    return World(BETA_DAY if dialect == "beta" else GA_DAY).open(dialect, **session)


def one(events: Sequence[Event], kind: str) -> Event:
    (found,) = [event for event in events if event["type"] == kind]
    return found


# -- what is set


@pytest.mark.parametrize("dialect", DIALECTS)
def test_padding_is_told_and_kept(dialect: str) -> None:
    client = opened(dialect, **detection(dialect, prefix_padding_ms=120, silence_duration_ms=500))
    client.append(silence(1000))
    client.say("hello", quiet_ms=500)
    started, stopped, committed = client.events()[:3]
    assert started["audio_start_ms"] == 1000 - 120
    assert stopped["audio_end_ms"] == 1000 + phrase("hello").duration_ms + 500
    item = client.session.conversation.find(committed["item_id"])
    assert item is not None
    assert item.parts[0].duration_ms == 120 + phrase("hello").duration_ms + 500


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_threshold_that_is_too_high_hears_nothing(dialect: str) -> None:
    quiet = pcmu_encode((pcmu_decode(speak("hello")) * 0.2).astype("<i2"))
    for threshold, hears in ((0.1, True), (0.9, False)):
        client = opened(dialect, **detection(dialect, threshold=threshold))
        client.append(quiet + silence(400))
        assert ("input_audio_buffer.speech_started" in types(client.events())) is hears


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("fields", "code", "name"),
    [
        ({"threshold": 1.1}, "decimal_above_max_value", "threshold"),
        ({"prefix_padding_ms": -1}, "integer_below_min_value", "prefix_padding_ms"),
        ({"silence_duration_ms": "500"}, "invalid_type", "silence_duration_ms"),
        ({"type": "push_to_talk"}, "invalid_value", "type"),
        ({"sensitivity": 1}, "unknown_parameter", "sensitivity"),
    ],
)
def test_a_setting_that_is_wrong(dialect: str, fields: Event, code: str, name: str) -> None:
    client = opened(dialect)
    before = dict(client.session.wire)
    client.send("session.update", session=merge(typed(dialect), detection(dialect, **fields)))
    error = client.error()
    where = "session.turn_detection" if dialect == "beta" else "session.audio.input.turn_detection"
    assert (error["code"], error["param"]) == (code, f"{where}.{name}")
    assert client.session.wire == before


def test_semantic_detection_has_no_idle_time_and_server_detection_no_eagerness() -> None:
    client = opened("ga")
    for fields, name in (
        ({"type": "semantic_vad", "idle_timeout_ms": 6000}, "idle_timeout_ms"),
        ({"eagerness": "low"}, "eagerness"),
    ):
        client.send("session.update", session=merge(typed("ga"), detection("ga", **fields)))
        error = client.error()
        assert (error["code"], error["param"]) == (
            "unknown_parameter",
            f"session.audio.input.turn_detection.{name}",
        )
    client.send("session.update", session=merge(typed("ga"), detection("ga", type="semantic_vad", eagerness="wild")))
    assert client.error()["param"] == "session.audio.input.turn_detection.eagerness"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("eagerness", "silence_ms"), [("low", 1200), ("medium", 600), ("auto", 600), ("high", 300)])
def test_semantic_detection_by_its_eagerness(dialect: str, eagerness: str, silence_ms: int) -> None:
    client = opened(dialect, **detection(dialect, type="semantic_vad", eagerness=eagerness))
    client.say("what_time", quiet_ms=silence_ms - 20)
    assert types(client.events()) == ["input_audio_buffer.speech_started"]
    client.append(silence(20))
    events = client.wait()
    assert types(events)[:2] == ["input_audio_buffer.speech_stopped", "input_audio_buffer.committed"]
    assert events[0]["audio_end_ms"] == phrase("what_time").duration_ms + silence_ms
    assert "response.done" in types(events)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_create_response_the_client_asks(dialect: str) -> None:
    client = opened(dialect, **detection(dialect, create_response=False))
    client.say("what_time")
    events = client.wait()
    assert "input_audio_buffer.committed" in types(events)
    assert "response.created" not in types(events)
    client.send("response.create")
    assert one(client.wait(), "response.done")["response"]["status"] == "completed"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_interrupt_response_the_answer_is_heard_to_its_end(dialect: str) -> None:
    client = opened(dialect, **detection(dialect, interrupt_response=False, create_response=False))
    client.say("long_story")
    client.send("response.create")
    client.wait(1)
    client.say("stop_please")
    assert one(client.wait(), "response.done")["response"]["status"] == "completed"


# -- idle time


def idle(ms: int = 6000, **fields: Any) -> Client:
    """A session that wakes up when the user says nothing, with one answer given."""
    client = opened("ga", **detection("ga", idle_timeout_ms=ms, **fields))
    client.say("hello")
    return client


def playback(name: str) -> float:
    """When the answer has been played, in seconds after the turn: it thinks for 250 ms first."""
    return 0.25 + phrase(name).duration_ms / 1000


def test_the_silence_of_the_user_is_ended() -> None:
    client = idle()
    first = client.wait(playback("greeting") + 5.99)
    assert "input_audio_buffer.timeout_triggered" not in types(first)
    item_id = first[0]["item_id"]
    events = client.wait(5)
    assert outline(events)[:6] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
    ]
    timeout, committed, added = events[:3]
    assert timeout["item_id"] == committed["item_id"] == added["item"]["id"] != item_id
    assert added["item"]["role"] == "user"
    assert one(events, "response.output_audio_transcript.done")["transcript"] == phrase("anything_else").text
    assert all(message.invalid is None for message in client.recorder.messages)


def test_the_times_of_an_idle_timeout_are_those_of_the_audio() -> None:
    client = idle()
    client.wait(playback("greeting"))
    for _ in range(320):
        client.append(silence(20))
        client.wait(0.02)
        if "input_audio_buffer.timeout_triggered" in client.session.sent:
            break
    timeout = next(
        message for message in client.recorder.messages if message.kind == "input_audio_buffer.timeout_triggered"
    )
    body = str(timeout.body)
    start = round(phrase("hello").duration_ms + 400)
    assert f'"audio_start_ms":{start},' in body
    assert f'"audio_end_ms":{start + 6000},' in body


def test_it_counts_from_every_answer_anew() -> None:
    client = idle()
    kinds = types(client.wait(40))
    assert kinds.count("input_audio_buffer.timeout_triggered") >= 3


def test_whoever_speaks_is_not_idle() -> None:
    client = idle()
    client.wait(playback("greeting") + 5)
    client.say("what_time", quiet_ms=0)
    assert "input_audio_buffer.timeout_triggered" not in types(client.wait(30))


def test_a_response_that_the_client_asks_for_ends_the_wait() -> None:
    client = idle()
    client.wait(playback("greeting") + 5)
    client.send("response.create", response={"output_modalities": ["text"]})
    assert "input_audio_buffer.timeout_triggered" not in types(client.wait(5))


def test_an_update_without_idle_time_ends_the_wait() -> None:
    client = idle()
    client.wait(playback("greeting") + 1)
    client.send("session.update", session=merge(typed("ga"), detection("ga", idle_timeout_ms=None)))
    assert types(client.wait(30)) == ["session.updated"]


def test_an_idle_session_that_does_not_answer_by_itself() -> None:
    client = opened("ga", **detection("ga", idle_timeout_ms=5000, create_response=False))
    client.send("response.create")
    events = client.wait(30)
    assert types(events).count("input_audio_buffer.timeout_triggered") == 1
    assert types(events).count("response.created") == 1


@pytest.mark.parametrize(("ms", "code"), [(4999, "integer_below_min_value"), (30001, "integer_above_max_value")])
def test_idle_time_has_its_limits(ms: int, code: str) -> None:
    client = opened("ga")
    client.send("session.update", session=merge(typed("ga"), detection("ga", idle_timeout_ms=ms)))
    error = client.error()
    assert (error["code"], error["param"]) == (code, "session.audio.input.turn_detection.idle_timeout_ms")


def test_the_beta_knows_no_idle_time() -> None:
    client = opened("beta")
    client.send("session.update", session=detection("beta", idle_timeout_ms=6000))
    assert client.error()["code"] == "unknown_parameter"
