"""Phrases are recognised again, whole or in part, and what is no phrase is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import audio
from fakes.audio import PHRASES, Heard, Listener
from fakes.ear import Ear
from fakes.g711 import Samples
from fakes.phrases import wave
from fakes.recogniser import Recogniser, State

NAMES = list(PHRASES)
EACH_PHRASE = pytest.mark.parametrize("name", NAMES)
FORMATS = [("pcmu", 8000), ("pcma", 8000), ("pcm16", 8000), ("pcm16", 16000), ("pcm16", 24000), ("pcm16", 48000)]


def through_a_law(pcm: Samples) -> Samples:
    """What a gateway does that transcodes: the bytes are no longer those of the phrase book."""
    return audio.pcma_decode(audio.pcma_encode(pcm))


def untouched(pcm: Samples) -> Samples:
    return pcm


def noisy(pcm: Samples, decibels: float = 20, seed: int = 1) -> Samples:
    """Add white noise that many dB below a phrase."""
    noise = np.random.default_rng(seed).normal(0, 7000 * 10 ** (-decibels / 20), len(pcm))
    return np.clip(pcm + noise, -32768, 32767).astype(np.int16)


def pause(ms: float, rate: int = 8000) -> Samples:
    return np.zeros(round(ms * rate / 1000), np.int16)


def part(name: str, start_ms: float = 0, end_ms: float | None = None, rate: int = 8000) -> Samples:
    end = PHRASES[name].duration_ms if end_ms is None else end_ms
    return wave(name, rate)[round(start_ms * rate / 1000) : round(end * rate / 1000)]


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def listen(data: bytes, encoding: str = "pcmu", rate: int = 8000, piece_ms: float = 20) -> list[Heard]:
    listener = Listener(encoding, rate)
    for piece in pieces(data, round(piece_ms * rate / 1000) * audio.bytes_per_sample(encoding)):
        listener.feed(piece)
    listener.flush()
    return listener.heard


def hear(*parts: Samples, change: Callable[[Samples], Samples] = untouched) -> list[Heard]:
    return listen(audio.pcmu_encode(change(np.concatenate(parts))))


def opus(pcm: Samples, bit_rate: int) -> Samples:
    """Through libopus and back: 48 kHz, mono, frames of 20 ms, as WebRTC does it."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 48000, "mono", "s16", bit_rate
    encoder.time_base = Fraction(1, 48000)
    encoder.options = {"application": "voip", "frame_duration": "20"}
    decoder = av.CodecContext.create("libopus", "r")
    packets = []
    for start in range(0, len(pcm) - 959, 960):
        frame = av.AudioFrame.from_ndarray(pcm[start : start + 960].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48000, start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    # libopus always decodes to two channels here; they are interleaved and alike.
    decoded = [
        frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0] for p in packets for frame in decoder.decode(p)
    ]
    return np.concatenate(decoded).astype(np.int16)


def whole(name: str, start: float) -> Heard:
    duration = float(PHRASES[name].duration_ms)
    return Heard(name, start, start + duration, duration, True, 0.0, duration)


# Whole phrases


@pytest.mark.parametrize(("encoding", "rate"), FORMATS)
def test_every_phrase_is_recognised_in_every_format(encoding: str, rate: int) -> None:
    lead = audio.silence(100, encoding, rate)
    for name in NAMES:
        assert listen(lead + audio.speak(name, encoding, rate), encoding, rate) == [whole(name, 100)]


@pytest.mark.parametrize("change", [through_a_law, noisy], ids=["transcoded", "noisy"])
@EACH_PHRASE
def test_every_phrase_is_recognised_by_its_sound(name: str, change: Callable[[Samples], Samples]) -> None:
    assert hear(pause(100), part(name), pause(400), change=change) == [whole(name, 100)]


@EACH_PHRASE
def test_every_phrase_survives_a_chain_of_gateways(name: str) -> None:
    pcm = np.concatenate([pause(100, 24000), part(name, rate=24000), pause(400, 24000)])
    chain = audio.resample(audio.resample(pcm, 24000, 48000), 48000, 8000)
    assert listen(audio.pcma_encode(audio.pcmu_decode(audio.pcmu_encode(chain))), "pcma") == [whole(name, 100)]


@pytest.mark.parametrize("bit_rate", [64000, 32000, 16000])
@pytest.mark.parametrize("name", ["what_time", "long_answer", "goodbye", "yes", "endless_2"])
def test_phrases_survive_opus(name: str, bit_rate: int) -> None:
    telephone = audio.pcmu_decode(audio.pcmu_encode(np.concatenate([pause(100), part(name), pause(400)])))
    [heard] = listen(audio.encode(opus(audio.resample(telephone, 8000, 48000), bit_rate), "pcm16"), "pcm16", 48000)
    assert (heard.phrase, heard.complete) == (name, True)
    # The codec looks ahead by 6.5 ms and delays the sound by that.
    assert heard.start_ms == pytest.approx(106.5, abs=5)
    assert heard.end_ms == pytest.approx(106.5 + PHRASES[name].duration_ms, abs=5)


@pytest.mark.parametrize("gain", [0.05, 0.3, 2.0, 4.0])
def test_loudness_does_not_matter(gain: float) -> None:
    def change(pcm: Samples) -> Samples:
        return np.clip(pcm * gain, -32768, 32767).astype(np.int16)

    for name in NAMES[:12]:
        assert hear(pause(100), part(name), pause(400), change=change) == [whole(name, 100)]


@pytest.mark.parametrize("piece_ms", [0.125, 3, 7.5, 20, 64, 100, 1000, 60000])
@pytest.mark.parametrize("change", [untouched, through_a_law], ids=["bytes", "sound"])
def test_the_size_of_the_pieces_does_not_matter(piece_ms: float, change: Callable[[Samples], Samples]) -> None:
    pcm = np.concatenate([pause(103.375), part("table_booked"), pause(500), part("yes"), pause(100)])
    second = 103.375 + PHRASES["table_booked"].duration_ms + 500
    heard = listen(audio.pcmu_encode(change(pcm)), piece_ms=piece_ms)
    assert heard == [whole("table_booked", 103.375), whole("yes", second)]


def test_odd_pieces_of_two_byte_samples() -> None:
    data = (
        audio.silence(100, "pcm16", 24000) + audio.speak("hello", "pcm16", 24000) + audio.silence(500, "pcm16", 24000)
    )
    listener = Listener("pcm16", 24000)
    for piece in pieces(data, 961):
        listener.feed(piece)
    assert [(heard.phrase, heard.complete) for heard in listener.heard] == [("hello", True)]


@pytest.mark.parametrize("change", [untouched, through_a_law], ids=["bytes", "sound"])
def test_phrases_back_to_back(change: Callable[[Samples], Samples]) -> None:
    order = random.Random(4).sample(NAMES, len(NAMES))
    heard = hear(*(part(name) for name in order), change=change)
    starts = np.cumsum([0] + [PHRASES[name].duration_ms for name in order])
    assert heard == [whole(name, float(start)) for name, start in zip(order, starts, strict=False)]


@EACH_PHRASE
def test_a_phrase_is_known_within_200_ms(name: str) -> None:
    for change in (untouched, through_a_law):
        listener = Listener()
        for number, frame in enumerate(pieces(audio.pcmu_encode(change(part(name))), 160), 1):
            changed = listener.feed(frame)
            if listener.current is not None:
                assert changed
                assert listener.current.phrase == name
                assert number * 20 <= 200
                break
        else:
            pytest.fail("never recognised")


# Parts of phrases


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.data())
def test_a_phrase_that_is_cut_short(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    cut = data.draw(st.integers(160, PHRASES[name].duration_ms - 15))
    change = data.draw(st.sampled_from([untouched, through_a_law, noisy]))
    [heard] = hear(pause(100), part(name, 0, cut), pause(400), change=change)
    assert (heard.phrase, heard.complete, heard.start_ms, heard.from_ms) == (name, False, 100, 0)
    assert heard.end_ms == pytest.approx(100 + cut, abs=3)
    assert heard.heard_ms == heard.to_ms == pytest.approx(cut, abs=3)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.data())
def test_a_phrase_that_is_joined_in_the_middle(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    joined = data.draw(st.integers(15, PHRASES[name].duration_ms - 200))
    change = data.draw(st.sampled_from([untouched, through_a_law, noisy]))
    [heard] = hear(pause(100), part(name, joined), pause(400), change=change)
    assert (heard.phrase, heard.complete, heard.to_ms) == (name, False, PHRASES[name].duration_ms)
    assert heard.start_ms == pytest.approx(100, abs=5)
    assert heard.from_ms == pytest.approx(joined, abs=5)
    assert heard.heard_ms == pytest.approx(PHRASES[name].duration_ms - joined, abs=5)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.data())
def test_a_phrase_that_another_one_interrupts(data: st.DataObject) -> None:
    first, second = data.draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True))
    # Where the last symbol of the one is by chance the first of the other, nobody can tell them apart.
    cut = data.draw(st.integers(160, PHRASES[first].duration_ms - 60))
    change = data.draw(st.sampled_from([untouched, through_a_law, noisy]))
    heard = hear(part(first, 0, cut), part(second), change=change)
    assert [(each.phrase, each.complete) for each in heard] == [(first, False), (second, True)]
    assert heard[0].end_ms == pytest.approx(cut, abs=15)
    assert heard[1].start_ms == pytest.approx(cut, abs=5)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.data())
def test_a_pause_inside_a_phrase_or_a_hole_in_it(data: st.DataObject) -> None:
    """An underrun delays the rest and loses nothing; a frame that is replaced by silence is lost."""
    name = data.draw(st.sampled_from(NAMES))
    duration = PHRASES[name].duration_ms
    at = data.draw(st.integers(1, duration // 20 - 4)) * 20
    gap = data.draw(st.sampled_from([20, 60, 120, 240]))
    lost = data.draw(st.sampled_from([0, 20]))
    change = data.draw(st.sampled_from([untouched, through_a_law, noisy]))
    [heard] = hear(pause(100), part(name, 0, at), pause(gap), part(name, at + lost), pause(400), change=change)
    assert (heard.phrase, heard.complete, heard.start_ms) == (name, lost == 0, 100)
    assert heard.heard_ms == pytest.approx(duration - lost, abs=8)
    assert heard.end_ms == pytest.approx(100 + duration + gap - lost, abs=8)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.data())
def test_a_frame_lost_or_doubled_is_noticed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in NAMES if PHRASES[name].duration_ms > 800]))
    at = data.draw(st.integers(7, PHRASES[name].duration_ms // 20 - 8)) * 20
    step = data.draw(st.sampled_from([-20, 20]))
    change = data.draw(st.sampled_from([untouched, through_a_law]))
    [heard] = hear(pause(100), part(name, 0, at), part(name, at + step), pause(400), change=change)
    assert (heard.phrase, heard.complete) == (name, False)
    assert heard.end_ms == pytest.approx(100 + PHRASES[name].duration_ms - step, abs=8)


def test_a_long_silence_ends_a_phrase_and_the_rest_is_another() -> None:
    heard = hear(part("long_story", 0, 2000), pause(600), part("long_story", 2000))
    assert [(each.from_ms, each.to_ms, each.complete) for each in heard] == [(0, 2000, False), (2000, 8400, False)]


def test_the_same_phrase_twice_is_two_phrases() -> None:
    assert hear(part("yes"), part("yes"), pause(100), part("yes")) == [whole("yes", at) for at in (0, 600, 1300)]
    heard = hear(part("hello", 0, 700), part("hello"))
    assert [each.phrase for each in heard] == ["hello", "hello"]
    assert [each.complete for each in heard] == [False, True]


# The clock and the course of events


def test_times_given_with_the_pieces_leave_silence_in_between() -> None:
    listener = Listener()
    for start, name in ((1000, "hello"), (5000, "yes")):
        for number, frame in enumerate(audio.frames(name)):
            listener.feed(frame, start + 20 * number)
    listener.flush()
    assert listener.heard == [whole("hello", 1000), whole("yes", 5000)]


def test_a_piece_that_comes_early_is_heard_after_the_one_before() -> None:
    listener = Listener()
    for number, frame in enumerate(audio.frames("hello")):
        listener.feed(frame, 500 + 5 * number)
    assert listener.heard == [whole("hello", 500)]


def test_feed_says_when_something_changes() -> None:
    listener = Listener()
    changes = []
    frames = [*audio.frames("yes"), *audio.frames("long_story")[:50], *[audio.silence(20)] * 30]
    for number, frame in enumerate(frames):
        if listener.feed(frame):
            current = listener.current
            changes.append((number, current.phrase if current else None, [each.phrase for each in listener.heard]))
    assert [change[1:] for change in changes] == [
        ("yes", []),
        (None, ["yes"]),
        ("long_story", ["yes"]),
        (None, ["yes", "long_story"]),
    ]
    # "yes" is over with its last frame, not when the next sound is understood.
    assert changes[1][0] == len(audio.frames("yes")) - 1


def test_current_grows_while_the_phrase_is_heard() -> None:
    listener = Listener()
    lengths = []
    for frame in audio.frames("long_answer")[:100]:
        listener.feed(frame)
        if listener.current:
            lengths.append(listener.current.heard_ms)
    assert lengths[-1] == 2000
    assert lengths == sorted(lengths)
    assert len(lengths) > 90


def test_flush_ends_what_is_going_on() -> None:
    listener = Listener()
    for frame in audio.frames("long_answer")[:31]:
        listener.feed(frame)
    assert listener.heard == []
    assert listener.flush()
    assert listener.heard == [Heard("long_answer", 0, 620, 620, False, 0, 620)]
    assert listener.current is None
    assert not listener.flush()


def test_the_news_that_time_has_passed_ends_a_phrase() -> None:
    listener = Listener()
    for number, frame in enumerate(audio.frames("long_answer")[:31]):
        listener.feed(frame, 20.0 * number)
    assert not listener.feed(b"", 800)
    assert listener.feed(b"", 1000)
    assert [each.to_ms for each in listener.heard] == [620]


# What is no phrase


@pytest.mark.parametrize("spoken", FORMATS, ids=lambda form: f"{form[0]}-{form[1]}")
@pytest.mark.parametrize("taken", FORMATS, ids=lambda form: f"as-{form[0]}-{form[1]}")
def test_the_wrong_format_is_never_understood(spoken: tuple[str, int], taken: tuple[str, int]) -> None:
    if spoken == taken:
        return
    for name in NAMES[::5]:
        heard = listen(audio.silence(100, *spoken) + audio.speak(name, *spoken), *taken)
        assert {each.phrase for each in heard} <= {"?"}


def test_the_wrong_format_is_heard_as_noise() -> None:
    [heard] = listen(audio.speak("long_story", "pcm16", 24000), "pcm16", 8000)
    assert heard.phrase == "?"
    assert heard.heard_ms == pytest.approx(3 * 8400, rel=0.05)


def test_bytes_in_disorder_are_noise() -> None:
    for name in NAMES:
        pcm16 = audio.speak(name, "pcm16", 24000)
        for data in (wave(name, 24000).astype(">i2").tobytes(), pcm16[1:]):
            assert {each.phrase for each in listen(data, "pcm16", 24000)} == {"?"}
        assert "?" in {each.phrase for each in listen(audio.speak(name)[::-1])}
        assert not any(each.complete for each in listen(audio.speak(name)[::-1]))


@pytest.mark.parametrize("speed", [0.5, 0.9, 1.1, 2.0])
def test_the_wrong_speed_is_noise(speed: float) -> None:
    for name in NAMES:
        pcm = wave(name, 8000)
        played = np.interp(np.arange(0, len(pcm) - 1, speed), np.arange(len(pcm)), pcm).astype(np.int16)
        assert {each.phrase for each in hear(played)} == {"?"}


@pytest.mark.parametrize("ms", [40, 60, 100, 250])
@pytest.mark.parametrize("gap", [0, 50])
def test_keys_are_no_phrase(ms: int, gap: int) -> None:
    data = b"".join(audio.dtmf(key, ms) + audio.silence(gap) for key in "1234567890*#ABCD" * 3)
    assert {each.phrase for each in listen(data)} <= {"?"}


@pytest.mark.parametrize("loudness", [10, 100, 700, 9000])
def test_noise_is_no_phrase(loudness: int) -> None:
    noise = np.clip(np.random.default_rng(7).normal(0, loudness, 8000 * 60), -32768, 32767).astype(np.int16)
    assert {each.phrase for each in hear(noise)} == ({"?"} if loudness > 700 else set())


def test_two_voices_at_once_are_not_understood() -> None:
    for first, second in pairwise(NAMES):
        length = min(PHRASES[first].duration_ms, PHRASES[second].duration_ms)
        heard = hear(part(first, 0, length) // 2 + part(second, 0, length) // 2)
        assert not any(each.complete for each in heard)
        assert sum(each.heard_ms for each in heard if each.phrase != "?") < 400


def test_silence_is_nothing() -> None:
    listener = Listener()
    assert not any(listener.feed(audio.silence(20)) for _ in range(1000))
    assert not listener.flush()
    assert listener.now_ms == 20000
    assert listener.heard == []


def test_a_click_is_nothing_and_a_noise_is_current_after_a_while() -> None:
    assert hear(pause(100), np.full(160, 20000, np.int16), pause(100)) == []
    listener = Listener()
    seen = [listener.current for frame in pieces(audio.dtmf("5", 400), 160) if listener.feed(frame)]
    assert [each.phrase for each in seen if each] == ["?"]


# The parts behind it


def test_silence_and_comparing_bytes_are_not_analysed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes listening cheap: of a phrase that comes through as it was, only the beginning is analysed."""
    analysed = []
    original = Ear.hear

    def counting(self: Ear, data: bytes) -> tuple[list[int], list[float], float]:
        analysed.append(len(data))
        return original(self, data)

    monkeypatch.setattr(Ear, "hear", counting)
    assert listen(audio.silence(5000) + audio.speak("long_answer") + audio.silence(5000)) == [
        whole("long_answer", 5000)
    ]
    assert sum(analysed) < 200 * 8


def test_a_transition_that_is_not_declared_is_refused() -> None:
    recogniser = Recogniser("pcmu", 8000)
    with pytest.raises(RuntimeError, match="no transition from SEEKING to PAUSED"):
        recogniser.enter(State.PAUSED)


def test_anything_at_all_in_any_pieces_is_endured() -> None:
    chance = random.Random(11)
    for _ in range(40):
        encoding, rate = chance.choice(FORMATS)
        listener = Listener(encoding, rate)
        per_ms = rate // 1000 * audio.bytes_per_sample(encoding)
        for _ in range(60):
            sound = audio.speak(chance.choice(NAMES), encoding, rate)
            start, length = chance.randrange(len(sound)), chance.randrange(400 * per_ms)
            piece = chance.choice(
                [
                    sound[start : start + length],
                    sound[start // per_ms * per_ms :][: length // per_ms * per_ms],
                    chance.randbytes(length),
                    audio.silence(chance.randrange(400), encoding, rate),
                    b"",
                ]
            )
            listener.feed(piece, chance.choice([None, listener.now_ms + chance.randrange(-100, 400)]))
            assert listener.current is None or listener.current.end_ms <= listener.now_ms + 20
        listener.flush()
        assert [each.end_ms for each in listener.heard] == sorted(each.end_ms for each in listener.heard)
        assert all(each.start_ms <= each.end_ms and each.heard_ms >= 0 for each in listener.heard)
