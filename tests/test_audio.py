"""G.711, resampling, keypad tones, and the phrase book. The listener has tests of its own in test_listener.py."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from fakes import audio
from fakes.audio import PHRASES, REPLIES
from fakes.g711 import Samples
from fakes.phrases import HIGH_TONES, LOW_TONES, SYMBOL_MS

EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)


def power_at(pcm: Samples, frequency: float, rate: int) -> float:
    """The mean square of one frequency in a piece of sound."""
    turn = np.exp(-2j * np.pi * frequency * np.arange(len(pcm)) / rate)
    return float(2 * abs(np.dot(pcm.astype(np.float64), turn) / len(pcm)) ** 2)


# G.711


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0x00, -32124), (0x80, 32124), (0xFF, 0), (0x7F, 0), (0x0F, -16764), (0x8F, 16764), (0xFE, 8), (0x7E, -8)],
)
def test_mu_law_decodes_known_points(code: int, sample: int) -> None:
    assert audio.pcmu_decode(bytes([code])).tolist() == [sample]


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0xD4, 24), (0x54, -24), (0x80, 5504), (0x00, -5504)],
)
def test_a_law_decodes_known_points(code: int, sample: int) -> None:
    assert audio.pcma_decode(bytes([code])).tolist() == [sample]


def test_mu_law_table_is_that_of_the_recommendation() -> None:
    """Table 2a: eight segments of 16 steps, the step twice as wide from one to the next; 14 bits, scaled to 16."""
    expected = []
    for code in range(256):
        inverted = code ^ 0xFF
        segment, step = inverted >> 4 & 7, inverted & 15
        first, width = 33 * 2**segment - 33, 2 * 2**segment
        expected.append((first + step * width) * 4 * (-1 if inverted & 0x80 else 1))
    assert audio.pcmu_decode(EVERY_CODE).tolist() == expected


def test_a_law_table_is_that_of_the_recommendation() -> None:
    """Table 1a: seven segments, the first of 32 steps, the others of 16; even bits inverted; 13 bits, scaled to 16."""
    expected = []
    for code in range(256):
        plain = code ^ 0x55
        segment, step = plain >> 4 & 7, plain & 15
        first, width = (0, 2) if segment == 0 else (16 * 2**segment, 2**segment)
        expected.append(round(first + (step + 0.5) * width) * 8 * (1 if plain & 0x80 else -1))
    assert audio.pcma_decode(EVERY_CODE).tolist() == expected


def test_every_code_survives_decoding_and_encoding() -> None:
    # Mu-law has two zeros; the encoder uses the positive one.
    assert audio.pcmu_encode(audio.pcmu_decode(EVERY_CODE)) == EVERY_CODE.replace(b"\x7f", b"\xff")
    assert audio.pcma_encode(audio.pcma_decode(EVERY_CODE)) == EVERY_CODE


@pytest.mark.parametrize(("name", "clip", "lost"), [("pcmu", 32635, 3), ("pcma", 32767, 7)])
def test_encoding_picks_the_interval_of_the_sample(name: str, clip: int, lost: int) -> None:
    """No sample is further from its code than half a step of that segment, but for the bits that G.711 has not."""
    codes = np.frombuffer(audio.encode(EVERY_SAMPLE, name), np.uint8)
    if name == "pcmu":
        half_step = 4 << ((codes ^ 0xFF) >> 4 & 7).astype(int)
    else:
        half_step = 8 << np.maximum(((codes ^ 0x55) >> 4 & 7).astype(int) - 1, 0)
    error = audio.decode(codes.tobytes(), name).astype(int) - np.clip(EVERY_SAMPLE.astype(int), -clip, clip)
    assert (abs(error) <= half_step + lost).all()


def test_encoding_equals_audioop() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop", reason="Python 3.13 no longer has audioop")
    linear = EVERY_SAMPLE.astype("<i2").tobytes()
    assert audio.pcmu_encode(EVERY_SAMPLE) == audioop.lin2ulaw(linear, 2)
    assert audio.pcma_encode(EVERY_SAMPLE) == audioop.lin2alaw(linear, 2)
    assert audio.pcmu_decode(EVERY_CODE).tobytes() == audioop.ulaw2lin(EVERY_CODE, 2)
    assert audio.pcma_decode(EVERY_CODE).tobytes() == audioop.alaw2lin(EVERY_CODE, 2)


def test_encoding_refuses_other_sample_types() -> None:
    with pytest.raises(TypeError, match="int16 samples, not float64"):
        audio.pcmu_encode(np.zeros(3))  # type: ignore[arg-type]


def test_encoding_takes_any_memory_layout() -> None:
    assert audio.pcmu_encode(EVERY_SAMPLE[::-7]) == audio.pcmu_encode(EVERY_SAMPLE)[::-7]


# Silence, level, resampling, keypad tones


@pytest.mark.parametrize(
    ("encoding", "rate", "size", "byte"),
    [("pcmu", 8000, 160, 0xFF), ("pcma", 8000, 160, 0xD5), ("pcm16", 24000, 960, 0), ("pcm16", 48000, 1920, 0)],
)
def test_silence(encoding: str, rate: int, size: int, byte: int) -> None:
    assert audio.silence(20, encoding, rate) == bytes([byte]) * size
    assert audio.level(audio.silence(20, encoding, rate), encoding) == 0


@pytest.mark.parametrize("encoding", audio.ENCODINGS)
def test_level_is_the_mean_absolute_amplitude(encoding: str) -> None:
    half = np.array([4000, -4000, 0, 0] * 40, np.int16)
    assert audio.level(audio.encode(half, encoding), encoding) == pytest.approx(2000, rel=0.03)
    assert audio.level(audio.encode(np.full(160, -32768, np.int16), encoding), encoding) in range(32000, 32768)
    assert audio.level(b"", encoding) == 0
    assert audio.level(audio.frames("hello", encoding)[5], encoding) > 4000


@pytest.mark.parametrize("bad", [lambda: audio.silence(20, "opus"), lambda: audio.encode(EVERY_SAMPLE, "mulaw")])
def test_unknown_encodings_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="encoding is one of pcmu, pcma, pcm16"):
        bad()  # type: ignore[operator]


def test_unknown_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="rate is one of 8000, 16000, 24000, 48000"):
        audio.speak("hello", "pcm16", 44100)


@pytest.mark.parametrize(("low", "high"), [(8000, 24000), (8000, 48000), (24000, 48000), (16000, 24000)])
def test_resampling_there_and_back_changes_little(low: int, high: int) -> None:
    time = np.arange(low // 2) / low
    pcm = np.rint(9000 * np.sin(2 * np.pi * 440 * time) + 9000 * np.sin(2 * np.pi * 2750 * time)).astype(np.int16)
    up = audio.resample(pcm, low, high)
    assert len(up) == len(pcm) * high // low
    back = audio.resample(up, high, low)
    middle = slice(low // 20, -low // 20)
    assert abs(back[middle].astype(int) - pcm[middle].astype(int)).max() <= 6


def test_resampling_keeps_what_fits_and_removes_what_does_not() -> None:
    time = np.arange(24000) / 24000
    wanted, unwanted = np.sin(2 * np.pi * 3000 * time), np.sin(2 * np.pi * 5000 * time)
    down = audio.resample(np.rint(9000 * (wanted + unwanted)).astype(np.int16), 24000, 8000)
    assert power_at(down, 3000, 8000) == pytest.approx(9000**2 / 2, rel=0.01)
    assert power_at(down, 8000 - 5000, 8000) > 0  # the alias of 5000 is 3000: it would have changed the line above
    assert down.astype(float).var() == pytest.approx(9000**2 / 2, rel=0.01)


def test_resampling_odd_sizes() -> None:
    for count in (0, 1, 2, 159, 160, 161):
        pcm = np.full(count, 1000, np.int16)
        assert len(audio.resample(pcm, 24000, 8000)) == -(-count // 3)
        assert len(audio.resample(pcm, 8000, 48000)) == 6 * count
        assert audio.resample(pcm, 8000, 8000).tolist() == pcm.tolist()


@pytest.mark.parametrize(
    ("digit", "row", "column"), [("1", 697, 1209), ("6", 770, 1477), ("0", 941, 1336), ("#", 941, 1477)]
)
def test_keypad_tones(digit: str, row: int, column: int) -> None:
    pcm = audio.decode(audio.dtmf(digit, 100), "pcmu")
    assert len(pcm) == 800
    total = float((pcm.astype(float) ** 2).mean())
    assert power_at(pcm, row, 8000) + power_at(pcm, column, 8000) == pytest.approx(total, rel=0.05)


@pytest.mark.parametrize("digit", ["", "E", "12", "+"])
def test_only_keys_have_tones(digit: str) -> None:
    with pytest.raises(ValueError, match="a key is one of"):
        audio.dtmf(digit)


# The phrase book

CALLER = ["hello", "what_time", "weather", "book_table", "long_story", "stop_please", "yes", "no", "goodbye"]
MODEL = [
    *("greeting", "its_noon", "weather_sunny", "table_booked", "long_answer", "pardon", "farewell", "digit_received"),
    *("sorry_trouble", "hold_please", "anything_else"),
]


def test_the_book_has_the_phrases_that_scenarios_are_made_of() -> None:
    assert [name for name, phrase in PHRASES.items() if phrase.speaker == "caller"] == CALLER
    assert [name for name, phrase in PHRASES.items() if phrase.speaker == "model"] == MODEL
    assert sum(phrase.speaker == "general" for phrase in PHRASES.values()) >= 12
    assert sum(phrase.speaker == "generic" for phrase in PHRASES.values()) == 16


def test_phrases_last_as_long_as_their_words() -> None:
    for phrase in PHRASES.values():
        words = len(phrase.text.split())
        assert words * 300 <= phrase.duration_ms < words * 300 + SYMBOL_MS or phrase.duration_ms == 200
        assert phrase.duration_ms == len(phrase.symbols) * SYMBOL_MS
    assert 7500 < PHRASES["long_story"].duration_ms < 8500
    assert 11500 < PHRASES["long_answer"].duration_ms < 13500


def test_no_three_symbols_come_twice() -> None:
    triples = [phrase.symbols[at : at + 3] for phrase in PHRASES.values() for at in range(len(phrase.symbols) - 2)]
    assert len(triples) == len(set(triples))


def test_how_a_phrase_begins_comes_nowhere_else() -> None:
    pairs = Counter(pair for phrase in PHRASES.values() for pair in pairwise(phrase.symbols))
    assert {pairs[phrase.symbols[:2]] for phrase in PHRASES.values()} == {1}


def test_both_tones_change_and_stay_in_the_telephone_band() -> None:
    assert min(LOW_TONES) >= 300
    assert max(HIGH_TONES) <= 3300
    for phrase in PHRASES.values():
        pairs = [divmod(symbol, len(HIGH_TONES)) for symbol in phrase.symbols]
        assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(pairs))


def test_replies() -> None:
    assert audio.reply_to("what_time").name == "its_noon"
    assert audio.reply_to("long_story").name == "long_answer"
    assert audio.reply_to("goodbye").name == "farewell"
    assert audio.reply_to("?").name == "pardon"
    assert set(REPLIES.values()) <= set(PHRASES)
    assert set(CALLER) <= set(REPLIES)


def test_a_wrong_name_gets_the_nearest_one() -> None:
    with pytest.raises(audio.PhraseError, match="no phrase is called 'its_nonn'; did you mean its_noon"):
        audio.phrase("its_nonn")
    with pytest.raises(audio.PhraseError, match="no phrase is called 'xyzzy'; there are: hello, what_time"):
        audio.speak("xyzzy")


def test_a_known_sentence_is_its_phrase() -> None:
    for phrase in PHRASES.values():
        assert audio.phrase_for_text(phrase.text) is phrase
    assert audio.phrase_for_text("  it is EXACTLY twelve o’clock, noon").name == "its_noon"


@pytest.mark.parametrize(
    ("words", "prefix"), [(0, "short"), (2, "short"), (9, "medium"), (22, "long"), (60, "endless")]
)
def test_another_sentence_is_a_generic_phrase_of_its_length(words: int, prefix: str) -> None:
    names = {audio.phrase_for_text(" ".join([f"number{start}"] + ["word"] * (words - 1))).name for start in range(40)}
    assert {name.rpartition("_")[0] for name in names} == {prefix}
    if words:
        assert len(names) == 4


def test_a_sentence_is_the_same_phrase_in_every_process() -> None:
    sentences = [f"I have {number} apples in my basket" for number in range(20)]
    program = f"from fakes.audio import *\nprint([phrase_for_text(text).name for text in {sentences}])"
    for seed in ("0", "1"):
        run = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == str([audio.phrase_for_text(text).name for text in sentences])


@pytest.mark.parametrize(
    ("encoding", "rate", "size"), [("pcmu", 8000, 160), ("pcma", 8000, 160), ("pcm16", 24000, 960)]
)
def test_frames_are_20_ms_of_the_phrase(encoding: str, rate: int, size: int) -> None:
    for name, phrase in PHRASES.items():
        frames = audio.frames(name, encoding, rate)
        assert {len(frame) for frame in frames} == {size}
        assert len(frames) == phrase.duration_ms // 20
        assert b"".join(frames) == audio.speak(name, encoding, rate)


def test_a_phrase_sounds_alike_in_every_encoding() -> None:
    reference = audio.decode(audio.speak("hello", "pcm16", 8000), "pcm16").astype(float)
    for encoding in ("pcmu", "pcma"):
        error = audio.decode(audio.speak("hello", encoding), encoding) - reference
        assert (error**2).mean() < (reference**2).mean() / 1000
    fine = audio.resample(audio.decode(audio.speak("hello", "pcm16", 48000), "pcm16"), 48000, 8000)
    assert ((fine - reference) ** 2).mean() < (reference**2).mean() / 1000
