"""The input buffer and its turn detection, and how the model's audio is cut for sending."""

from __future__ import annotations

import base64
import itertools

import pytest
from openai_world import Client, Event, World, audio_of, types

from fakes.audio import Listener, dtmf, frames, pcmu_decode, pcmu_encode, phrase, silence, speak
from fakes.openai.dialects import FORMATS, TurnDetection
from fakes.openai.responses import chunks
from fakes.openai.vad import InputAudio

MU_LAW = FORMATS["audio/pcmu"]


class Told:
    """Writes down what turn detection says."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def speech_started(self, audio_start_ms: int) -> None:
        self.events.append(("started", audio_start_ms))

    def speech_stopped(self, audio_end_ms: int) -> None:
        self.events.append(("stopped", audio_end_ms))


def buffer(told: Told, detection: TurnDetection | None) -> InputAudio:
    audio = InputAudio(told, MU_LAW, speech_ms=60, semantic_silence_ms=600)
    audio.configure(MU_LAW, detection)
    return audio


@pytest.mark.parametrize("size", [160, 1, 37, 1600, 100_000])
def test_the_size_of_the_chunks_makes_no_difference(size: int) -> None:
    told = Told()
    audio = buffer(told, TurnDetection("server_vad"))
    sound = silence(1000) + speak("hello") + silence(500)
    for start in range(0, len(sound), size):
        audio.append(sound[start : start + size])
    end = 1000 + phrase("hello").duration_ms
    assert told.events == [("started", 1000 - 300), ("stopped", end + 200)]
    assert audio.position_ms == pytest.approx(end + 500, abs=20)


def test_thresholds_and_durations_are_those_of_the_session() -> None:
    quiet = pcmu_encode((pcmu_decode(speak("hello")) * 0.2).astype("<i2"))
    for threshold, expected in ((0.01, 2), (1.0, 0)):
        told = Told()
        audio = buffer(told, TurnDetection("server_vad", threshold=threshold))
        audio.append(quiet + silence(400))
        assert len(told.events) == expected
    told = Told()
    audio = buffer(told, TurnDetection("server_vad", silence_duration_ms=800, prefix_padding_ms=100))
    audio.append(silence(500) + speak("hello") + silence(780))
    assert told.events == [("started", 400)]
    audio.append(silence(20))
    assert told.events[1] == ("stopped", 500 + phrase("hello").duration_ms + 800)


@pytest.mark.parametrize(("eagerness", "silence_ms"), [("low", 1200), ("medium", 600), ("auto", 600), ("high", 300)])
def test_semantic_vad_waits_longer(eagerness: str, silence_ms: int) -> None:
    told = Told()
    audio = buffer(told, TurnDetection("semantic_vad", eagerness=eagerness))
    audio.append(speak("hello") + silence(silence_ms - 20))
    assert len(told.events) == 1
    audio.append(silence(20))
    assert told.events[1] == ("stopped", phrase("hello").duration_ms + silence_ms)


def test_a_click_is_no_speech() -> None:
    told = Told()
    audio = buffer(told, TurnDetection("server_vad"))
    audio.append(silence(200) + speak("hello")[:320] + silence(400))
    assert told.events == []


def test_a_turn_holds_its_speech_its_padding_and_its_silence() -> None:
    told = Told()
    audio = buffer(told, TurnDetection("server_vad"))
    for _ in range(500):
        audio.append(silence(20))
    assert audio.buffered_ms < 2000
    audio.append(speak("hello"))
    audio.append(silence(200))
    sound, heard = audio.take()
    assert sound == silence(300) + speak("hello") + silence(200)
    assert [(found.phrase, found.start_ms) for found in heard] == [("hello", 10_000)]


def test_two_turns_in_one_chunk() -> None:
    client = World().open()
    client.append(silence(100) + speak("hello") + silence(500) + speak("yes") + silence(500))
    kinds = types(client.events())
    assert kinds.count("input_audio_buffer.committed") == 2
    assert [heard.phrase for heard in client.session.heard] == ["hello", "yes"]
    assert [part.heard for item in client.session.conversation for part in item.parts if part.heard] == [
        ("hello",),
        ("yes",),
    ]


def test_keys_are_no_phrase() -> None:
    client = World().open()
    client.append(dtmf("5", 300) + silence(400))
    assert [heard.phrase for heard in client.session.heard] in ([], ["?"])
    transcript = [e for e in client.wait() if e["type"] == "response.output_audio_transcript.done"]
    assert transcript[0]["transcript"] == phrase("pardon").text


def test_mu_law_sent_as_pcm_is_not_understood() -> None:
    client = World().open(g711=False)
    client.append(speak("what_time", "pcmu", 8000) * 6 + silence(400, "pcm16", 24000))
    assert "what_time" not in [heard.phrase for heard in client.session.heard]


@pytest.mark.parametrize(
    ("ga", "encoding", "rate"),
    [
        ({"type": "audio/pcm", "rate": 24000}, "pcm16", 24000),
        ({"type": "audio/pcmu"}, "pcmu", 8000),
        ({"type": "audio/pcma"}, "pcma", 8000),
    ],
)
def test_formats_both_ways(ga: Event, encoding: str, rate: int) -> None:
    client = World().open(audio={"input": {"format": ga}, "output": {"format": ga}})
    client.say("long_story", encoding=encoding, rate=rate)
    assert [heard.phrase for heard in client.session.heard] == ["long_story"]
    events = client.wait()
    sizes = [len(base64.b64decode(e["delta"])) for e in events if e["type"] == "response.output_audio.delta"]
    assert len(sizes) > 20
    if encoding == "pcm16":
        assert all(size % 2 == 0 for size in sizes)
    ear = Listener(encoding, rate)
    ear.feed(audio_of(events))
    ear.flush()
    assert [(heard.phrase, heard.complete) for heard in ear.heard] == [("long_answer", True)]


def test_a_change_of_format_within_a_session() -> None:
    client = World().open()
    client.say("hello")
    client.wait()
    client.send(
        "session.update",
        session={"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}},
    )
    client.say("yes", encoding="pcm16", rate=24000)
    first, second = client.session.heard
    assert (first.phrase, second.phrase) == ("hello", "yes")
    assert second.start_ms == phrase("hello").duration_ms + 400


def test_audio_comes_faster_than_it_plays_and_in_uneven_chunks() -> None:
    total = 12_000 * 8
    even = list(chunks(total, MU_LAW, 0))
    assert set(even[:-1]) == {(1600, 40)}
    for unevenness in range(41):
        cut = list(chunks(total, MU_LAW, unevenness))
        assert sum(size for size, _ in cut) == total
        assert all(size > 0 and gap >= 0 for size, gap in cut)
        assert sum(gap for _, gap in cut) < 12_000
        assert cut == list(chunks(total, MU_LAW, unevenness))
    wild = [size for size, _ in chunks(total, MU_LAW, 40)]
    assert max(wild) > 2 * min(wild[:-1])
    assert any(size % 160 for size in wild)


def test_the_choices_of_a_response_are_few_and_named_by_ordinals() -> None:
    world = World()
    asked = world.choices.asked
    client = world.open()
    client.say("long_story")
    client.wait()
    assert asked == [
        "openai/session1/handshake/delay",
        "openai/session1/created/delay",
        "openai/session1/response1/delay",
        "openai/session1/response1/unevenness",
    ]


def test_ids_are_the_same_in_every_run() -> None:
    def run() -> list[str]:
        client: Client = World().open()
        client.say("hello")
        client.wait()
        return [str(frame.body) for frame in client.sink.frames]

    first, second = run(), run()
    assert first == second
    assert len(set(itertools.chain(first))) == len(first)


def test_frames_of_a_call_are_heard_as_they_come() -> None:
    client = World().open()
    for frame in frames("long_story")[:100]:
        client.append(frame)
    assert client.session.heard == []
    client.append(silence(400))
    (heard,) = client.session.heard
    assert (heard.phrase, heard.complete) == ("long_story", False)
    assert heard.heard_ms == pytest.approx(2000, abs=40)
