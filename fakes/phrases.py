"""The phrase book (`phrases.toml`), and how a phrase sounds.

A phrase is a row of symbols of 40 ms. A symbol is a pair of tones, one of twelve low ones and one of twelve high ones,
all of them multiples of 50 Hz between 450 and 2800 Hz, so that symbols begin and end at a zero crossing, any 20 ms
inside one hold whole periods, and telephone codecs leave them alone. Both tones change from each symbol to the next,
and no three symbols in a row come twice in the whole book: 120 ms of a phrase tell which phrase it is, and where in
it. The two symbols that a phrase begins with come nowhere else: it is not taken for a part of one that it interrupts.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from types import MappingProxyType

import numpy as np

from fakes.g711 import Samples
from fakes.pcm import FRAME_MS, bytes_per_sample, check_rate, encode, silent_sample

SYMBOL_MS = 40
LOW_TONES = tuple(range(450, 1650, 100))
HIGH_TONES = tuple(range(1700, 2900, 100))
TONES = LOW_TONES + HIGH_TONES
TONE_AMPLITUDE = 7000
"""Of each of the two tones, in units of a 16-bit sample: about 13 dB below full scale, as loud as a clear voice."""

UNKNOWN = "?"
"""The name of sound that is no phrase."""

_SPEAKERS = ("caller", "model", "general", "generic")


class PhraseError(KeyError):
    """A name that is not in the phrase book. The message names the nearest one."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Phrase:
    """One sentence of the phrase book.

    `speaker` is `caller`, `model`, `general` (either) or `generic` (stands for any sentence of about its length).
    `duration_ms` is a multiple of 40. `symbols` is its sound: low tone * 12 + high tone for each 40 ms.
    """

    name: str
    text: str
    duration_ms: int
    speaker: str
    symbols: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Book:
    phrases: Mapping[str, Phrase]
    replies: Mapping[str, str]
    by_text: Mapping[str, Phrase]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.replace("'", "").replace("’", "").casefold())


def _random_symbols(name: str) -> Iterator[int]:
    """An endless row of symbols that depends on the name alone."""
    count = len(LOW_TONES) * len(HIGH_TONES)
    block = 0
    while True:
        for byte in hashlib.blake2b(f"{name}/{block}".encode()).digest():
            if byte < count:
                yield byte
        block += 1


@dataclass(slots=True)
class _Taken:
    """What may not come again: three symbols in a row, and the two that a phrase begins with."""

    triples: set[tuple[int, ...]] = field(default_factory=set)
    pairs: set[tuple[int, ...]] = field(default_factory=set)
    openings: set[tuple[int, ...]] = field(default_factory=set)

    def allows(self, row: list[int], symbol: int) -> bool:
        """Whether `row` may go on with `symbol`."""
        if not row:
            return True
        low, high = divmod(symbol, len(HIGH_TONES))
        if low == row[-1] // len(HIGH_TONES) or high == row[-1] % len(HIGH_TONES):
            return False
        if len(row) == 1:
            return (row[0], symbol) not in self.pairs
        return (row[-1], symbol) not in self.openings and (row[-2], row[-1], symbol) not in self.triples

    def take(self, row: list[int]) -> None:
        """Note the end of `row`."""
        if len(row) == 2:
            self.openings.add(tuple(row))
        self.pairs.add(tuple(row[-2:]))
        self.triples.add(tuple(row[-3:]))


def _symbols(name: str, count: int, taken: _Taken) -> tuple[int, ...]:
    row: list[int] = []
    for symbol in _random_symbols(name):
        if len(row) == count:
            break
        if taken.allows(row, symbol):
            row.append(symbol)
            taken.take(row)
    return tuple(row)


def _load() -> _Book:
    data = tomllib.loads(resources.files("fakes").joinpath("phrases.toml").read_text(encoding="utf-8"))
    phrases: dict[str, Phrase] = {}
    by_text: dict[str, Phrase] = {}
    taken = _Taken()
    for speaker in _SPEAKERS:
        for name, text in data[speaker].items():
            words = _words(text)
            duration = max(-(-len(words) * data["ms_per_word"] // SYMBOL_MS), 5) * SYMBOL_MS
            if name in phrases or " ".join(words) in by_text:
                raise ValueError(f"phrases.toml has {name!r} or its sentence twice")
            phrases[name] = Phrase(name, text, duration, speaker, _symbols(name, duration // SYMBOL_MS, taken))
            by_text[" ".join(words)] = phrases[name]
    for heard, said in data["replies"].items():
        for name in (heard, said):
            if name not in phrases and name != "unknown":
                raise ValueError(f"phrases.toml, replies: no phrase is called {name!r}")
    return _Book(MappingProxyType(phrases), MappingProxyType(data["replies"]), MappingProxyType(by_text))


_BOOK = _load()

PHRASES: Mapping[str, Phrase] = _BOOK.phrases
"""The phrase book by name, in its order."""

REPLIES: Mapping[str, str] = _BOOK.replies
"""What a model answers: name of the phrase heard -> name of the phrase said. See `reply_to`."""


def phrase(name: str) -> Phrase:
    """The phrase of that name, or `PhraseError` with the nearest name."""
    try:
        return PHRASES[name]
    except KeyError:
        near = difflib.get_close_matches(name, PHRASES, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(PHRASES)}"
        raise PhraseError(f"no phrase is called {name!r}{hint}") from None


def reply_to(name: str) -> Phrase:
    """What a model answers to the phrase `name`: `pardon` to anything that has no entry in `[replies]`."""
    return phrase(REPLIES.get(name, REPLIES["unknown"]))


@lru_cache(maxsize=1024)
def phrase_for_text(text: str) -> Phrase:
    """The phrase that says `text`; case and punctuation do not count.

    A text that is not in the book is said as one of the 16 generic phrases: the four whose number of words is nearest
    come into question, and a hash of the text chooses among them, the same one in every run.
    """
    words = _words(text)
    known = _BOOK.by_text.get(" ".join(words))
    if known:
        return known
    generic = [candidate for candidate in PHRASES.values() if candidate.speaker == "generic"]
    generic.sort(key=lambda candidate: (abs(len(_words(candidate.text)) - len(words)), candidate.name))
    return generic[hashlib.blake2b(" ".join(words).encode()).digest()[0] % 4]


@cache
def wave(name: str, rate: int) -> Samples:
    """The sound of a phrase as int16 samples; shared, so read only."""
    time = np.arange(SYMBOL_MS * check_rate(rate) // 1000) / rate
    tones = np.sin(2 * np.pi * np.array(TONES)[:, np.newaxis] * time)
    symbols = np.array(phrase(name).symbols)
    low, high = symbols // len(HIGH_TONES), symbols % len(HIGH_TONES) + len(LOW_TONES)
    samples: Samples = np.rint(TONE_AMPLITUDE * (tones[low] + tones[high])).astype(np.int16).reshape(-1)
    samples.flags.writeable = False
    return samples


@cache
def speak(name: str, encoding: str = "pcmu", rate: int = 8000) -> bytes:
    """The sound of a phrase, encoded. Raises `PhraseError` for an unknown phrase."""
    return encode(wave(name, rate), encoding)


@cache
def frames(name: str, encoding: str = "pcmu", rate: int = 8000) -> tuple[bytes, ...]:
    """The sound of a phrase in frames of 20 ms; the last one is filled up with silence."""
    data = speak(name, encoding, rate)
    size = FRAME_MS * rate // 1000 * bytes_per_sample(encoding)
    data += silent_sample(encoding) * (-len(data) % size // bytes_per_sample(encoding))
    return tuple(data[start : start + size] for start in range(0, len(data), size))
