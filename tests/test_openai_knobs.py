"""What knobs of the fake OpenAI change that no other test tries."""

from __future__ import annotations

import pytest
from openai_world import BETA_DAY, World, manual, types, user_text

from fakes.audio import frames, silence


@pytest.mark.parametrize(
    ("reading", "dialect", "announced"),
    [
        ("beta", "beta", True),
        ("beta", "ga", False),
        ("always", "ga", True),
        ("never", "beta", False),
    ],
)
def test_a_conversation_may_be_announced(reading: str, dialect: str, announced: bool) -> None:
    client = World(BETA_DAY, knobs={"openai.conversation_created": reading}).connect(dialect)
    events = types(client.wait(5))
    assert events == (["session.created", "conversation.created"] if announced else ["session.created"])


@pytest.mark.parametrize("shown", [True, False])
def test_items_may_carry_their_object(shown: bool) -> None:
    client = World(knobs={"openai.item_object": shown}).open()
    client.send("conversation.item.create", item=user_text("hello"))
    added, done = client.events()
    assert ("object" in added["item"], "object" in done["item"]) == (shown, shown)


@pytest.mark.parametrize("told", [True, False])
def test_items_of_a_response_out_of_band_may_be_told(told: bool) -> None:
    client = World(knobs={"openai.out_of_band_item_events": told}).open()
    client.send("response.create", response={"conversation": "none", "output_modalities": ["text"]})
    events = types(client.wait())
    assert "response.output_item.added" in events
    assert ("conversation.item.added" in events, "conversation.item.done" in events) == (told, told)


@pytest.mark.parametrize("voice", ["marin", "alloy"])
def test_the_voice_of_a_session_that_asked_for_none(voice: str) -> None:
    client = World(knobs={"openai.default_voice_ga": voice}).connect()
    assert client.wait(5)[0]["session"]["audio"]["output"]["voice"] == voice


def started_after(knobs: dict[str, int]) -> int:
    """How many frames of speech, of 20 ms, are heard before `speech_started`."""
    client = World(knobs=knobs).open()

    for count, frame in enumerate(frames("long_story", "pcmu", 8000), 1):
        client.append(frame)
        if "input_audio_buffer.speech_started" in types(client.events()):
            return count
    raise AssertionError("no speech was heard")


def test_how_much_speech_begins_a_turn() -> None:
    quick, slow = started_after({"openai.vad_speech_ms": 20}), started_after({"openai.vad_speech_ms": 300})
    assert slow - quick == 14


@pytest.mark.parametrize("ms", [200, 900])
def test_how_much_silence_ends_a_turn_by_its_meaning(ms: int) -> None:
    detection = {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}
    client = World(knobs={"openai.semantic_vad_silence_ms": ms}).open(**detection)
    client.say("what_time", quiet_ms=ms - 40)
    assert "input_audio_buffer.speech_stopped" not in types(client.events())
    for _ in range(4):
        client.append(silence(20))
    assert "input_audio_buffer.speech_stopped" in types(client.events())


def test_manual_turns_know_no_speech() -> None:
    client = World(knobs={"openai.vad_speech_ms": 20}).open(**manual("ga"))
    client.say("what_time")
    assert types(client.events()) == []
