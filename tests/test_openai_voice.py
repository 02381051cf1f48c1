"""The model's speech at any speed: how long it takes, and what the ear makes of it."""

from __future__ import annotations

import pytest

from fakes.audio import PHRASES, Listener, bytes_per_sample, phrase, speak
from fakes.openai.voice import voiced

FORMATS = [("pcmu", 8000), ("pcma", 8000), ("pcm16", 24000)]


def heard(sound: bytes, encoding: str, rate: int) -> list[tuple[str, bool]]:
    """What is understood of a sound that is played in frames of 20 ms."""
    ear = Listener(encoding, rate)
    size = rate // 50 * bytes_per_sample(encoding)
    for start in range(0, len(sound), size):
        ear.feed(sound[start : start + size])
    ear.flush()
    return [(found.phrase, found.complete) for found in ear.heard]


def length_ms(sound: bytes, encoding: str, rate: int) -> float:
    return len(sound) / bytes_per_sample(encoding) * 1000 / rate


@pytest.mark.parametrize(("encoding", "rate"), FORMATS)
@pytest.mark.parametrize("speed", [0.25, 0.3, 0.5, 0.75, 0.97])
def test_slow_speech_is_the_whole_phrase(encoding: str, rate: int, speed: float) -> None:
    for name in list(PHRASES)[:12]:
        sound = voiced(name, encoding, rate, speed)
        assert length_ms(sound, encoding, rate) == pytest.approx(phrase(name).duration_ms / speed, abs=2)
        assert heard(sound, encoding, rate) == [(name, True)]


@pytest.mark.parametrize(("encoding", "rate"), FORMATS)
@pytest.mark.parametrize("speed", [1.1, 1.5])
def test_fast_speech_is_a_part_of_it(encoding: str, rate: int, speed: float) -> None:
    sound = voiced("long_answer", encoding, rate, speed)
    assert length_ms(sound, encoding, rate) == pytest.approx(phrase("long_answer").duration_ms / speed, abs=1)
    assert heard(sound, encoding, rate) == [("long_answer", False)]


def test_at_its_own_speed_it_is_the_phrase_book() -> None:
    assert voiced("hello", "pcm16", 24000, 1.0) is speak("hello", "pcm16", 24000)
