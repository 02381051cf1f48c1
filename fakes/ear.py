"""The first half of hearing: from encoded sound to one number for each 10 ms.

A window is 20 ms long and begins every 10 ms (a hop). Each window becomes a code: the symbol that fills it, `UNCLEAR`
when there is sound but no single symbol, or `QUIET`. `fakes.recogniser` makes phrases of the codes.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fakes.pcm import bytes_per_sample, check_rate, decode
from fakes.phrases import HIGH_TONES, LOW_TONES, TONES, wave

HOP_MS = 10
WINDOW_MS = 20
QUARTER_MS = HOP_MS / 4

UNCLEAR = -1
QUIET = -2

PURITY = 0.6
"""The least part of a window's energy that its two tones hold together. Halfway between two symbols it is half."""

BALANCE = 0.06
"""The least part that each of the two tones holds."""

FAINT = 150.0**2
"""Mean square of the faintest phrase that is still heard: 33 dB below the level at which phrases are spoken."""

LOUD = 1000.0**2
"""Mean square from which sound that is no phrase counts as sound: background noise at 20 dB below a voice does not."""

_WAVE_RATE = 8000
_PER_MS = _WAVE_RATE // 1000
_WAVE_KEPT = 240 * _PER_MS

Floats = NDArray[np.float32]


@cache
def _matrix(rate: int) -> Floats:
    """Projects one hop of samples on the cosine and the sine of every tone; shape (hop, 2 * tones)."""
    time = np.arange(rate * HOP_MS // 1000) / rate
    phase = 2 * np.pi * np.outer(time, TONES)
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1).astype(np.float32)


@cache
def _decode_table(encoding: str) -> Floats:
    return decode(bytes(range(256)), encoding).astype(np.float32)


# A hop holds a whole number of half periods, so the second half of a window joins the first with this sign.
_SIGN = np.tile(np.where(np.array(TONES) * HOP_MS // 500 % 2, -1, 1), 2).astype(np.float32)


class Ear:
    """Hears one unbroken piece of sound. After a silence, `reset()` and begin again."""

    def __init__(self, encoding: str, rate: int) -> None:
        self.hop_bytes = check_rate(rate) * HOP_MS // 1000 * bytes_per_sample(encoding)
        self._encoding = encoding
        self._hop = rate * HOP_MS // 1000
        self._step = rate // _WAVE_RATE
        self._matrix = _matrix(rate)
        self._table = _decode_table(encoding) if encoding != "pcm16" else None
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._tail_projection: Floats = np.zeros((0, 2 * len(TONES)), np.float32)
        self._tail_energy: Floats = np.zeros(0, np.float32)
        self._tail_hole = math.inf
        self._wave: Floats = np.zeros(0, np.float32)
        self._wave_end = 0

    def hear(self, data: bytes) -> tuple[list[int], list[float], float]:
        """Take whole hops. Returns the codes of the windows that are now full, the mean square of every 2.5 ms, and the
        depth of the deepest hole: the lowest mean square that is not exceeded for 7.5 ms inside one hop.

        Window `n` begins with hop `n`; the first call gives one window less than it was given hops.
        """
        if self._table is not None:
            samples = self._table[np.frombuffer(data, np.uint8)]
        else:
            samples = np.frombuffer(data, "<i2").astype(np.float32)
        kept = samples[:: self._step]
        self._wave = np.concatenate([self._wave[-_WAVE_KEPT:], kept])
        self._wave_end += len(kept)

        quarters = samples.reshape(-1, self._hop // 4)
        energies = np.einsum("ij,ij->i", quarters, quarters) * np.float32(4 / self._hop)
        hops = energies.reshape(-1, 4)
        energy = np.concatenate([self._tail_energy, np.add.reduce(hops, 1)])
        projection = np.concatenate([self._tail_projection, samples.reshape(-1, self._hop) @ self._matrix])
        self._tail_energy, self._tail_projection = energy[-1:], projection[-1:]
        holes = np.maximum.reduce(hops[:, 1:], 1)
        hole = min(self._tail_hole, float(np.minimum.reduce(holes)))
        self._tail_hole = float(holes[-1])

        window = projection[1:] * _SIGN
        window += projection[:-1]
        window *= window
        # In units of the mean square of the window: a pure tone is half the square of its amplitude.
        power = (window[:, : len(TONES)] + window[:, len(TONES) :]).reshape(-1, 2, len(LOW_TONES))
        best, loudest = power.argmax(axis=2), np.maximum.reduce(power, 2) * np.float32(0.5 / self._hop**2)
        mean = (energy[1:] + energy[:-1]) * np.float32(0.125)
        low, high = loudest[:, 0], loudest[:, 1]
        pure = (low + high >= PURITY * mean) & (np.minimum(low, high) >= BALANCE * mean) & (mean >= FAINT)
        codes = np.where(pure, best[:, 0] * len(HIGH_TONES) + best[:, 1], np.where(mean >= LOUD, UNCLEAR, QUIET))
        return codes.tolist(), energies.tolist(), hole

    def locate(self, name: str, position_ms: float, length_ms: float, near_ms: float, doubt_ms: float) -> float | None:
        """Find where exactly a phrase lies in what was heard lately.

        `near_ms` is where, in ms since the last reset, the part of the phrase from `position_ms` on, `length_ms` long,
        is thought to begin, give or take `doubt_ms`. Returns how much later it does begin, to a sample or so, or None
        when the sound does not agree with the phrase well enough to tell (the shape of the wave was lost on the way).
        """
        first, length = round(position_ms * _PER_MS), round(length_ms * _PER_MS)
        pattern = wave(name, _WAVE_RATE)[first : first + length].astype(np.float32)
        begin = self._wave_end - len(self._wave)
        low = max(round((near_ms - doubt_ms) * _PER_MS), begin)
        sound = self._wave[low - begin : round((near_ms + doubt_ms) * _PER_MS) + len(pattern) - begin]
        if len(pattern) < length or len(sound) < length:
            return None
        best = int(np.abs(np.correlate(sound, pattern, "valid")).argmax())
        if _likeness(sound[best : best + length], pattern) < 0.5:
            return None
        return (low + best) / _PER_MS - near_ms

    def likeness(self, name: str, length_ms: float, at_ms: float) -> float:
        """How much what was heard at `at_ms` since the last reset is the beginning of a phrase: 0 to 1."""
        pattern = wave(name, _WAVE_RATE)[: round(length_ms * _PER_MS)].astype(np.float32)
        first = round(at_ms * _PER_MS) - self._wave_end + len(self._wave)
        sound = self._wave[max(first, 0) : max(first, 0) + len(pattern)]
        return _likeness(sound, pattern) if first >= 0 and len(sound) == len(pattern) else 0.0


def _likeness(sound: Floats, pattern: Floats) -> float:
    """The normalised correlation of two pieces of sound, whichever way round the wave is."""
    scale = float(np.linalg.norm(sound) * np.linalg.norm(pattern))
    return abs(float(sound @ pattern)) / scale if scale else 0.0
