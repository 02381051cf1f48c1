"""What was heard in one call, in both directions: as sound, as levels to draw, and as a WAV file."""

from __future__ import annotations

import io
import math
import wave
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fakes.audio import level, pcmu_decode

RATE = 8000
FRAME_MS = 20
_PER_MS = RATE // 1000
_FRAME = FRAME_MS * _PER_MS
_SLACK = 10 * _PER_MS
_LOUDEST = 9000
"""The mean amplitude that is drawn at full height: a phrase has about 5,600."""

Which = Literal["both", "mixed", "person", "gateway"]
WHICH: tuple[Which, ...] = ("both", "mixed", "person", "gateway")


@dataclass(slots=True)
class Track:
    """One direction: mu-law of 8 kHz at its place in time.

    `levels`: how loud each 20 ms since the beginning was, 0 to 100. `end`: samples up to the end of the last piece.
    """

    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    end: int = 0

    def add(self, at_ms: float, sound: bytes, *, follows: bool = False) -> None:
        """Put `sound` at a time; pieces never overlap. `follows`: it goes on without a gap, whatever the time says."""
        place = round(at_ms * _PER_MS)
        if follows or place < self.end + _SLACK:
            place = self.end if self.pieces else max(0, place)
        self.pieces.append((place, sound))
        self.end = place + len(sound)
        cell = (place + len(sound) // 2) // _FRAME
        loud = min(100, round(100 * math.sqrt(level(sound) / _LOUDEST)))
        if cell < len(self.levels):
            self.levels[cell] = max(self.levels[cell], loud)
        else:
            self.levels.extend([0] * (cell - len(self.levels)))
            self.levels.append(loud)

    def samples(self, length: int) -> NDArray[np.int16]:
        """The first `length` samples, as 16-bit PCM."""
        sound = np.zeros(length, np.int16)
        for place, piece in self.pieces:
            if place < length:
                decoded = pcmu_decode(piece)[: length - place]
                sound[place : place + len(decoded)] = decoded
        return sound


class Tape:
    """Both directions of one call, as the person at the phone has them: `person` is what they say, `gateway` what they
    hear, when they hear it. `began`: seconds of world time at which the tape begins."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.ended: float | None = None
        self.person = Track()
        self.gateway = Track()

    def duration_ms(self, now: float) -> float:
        """How long the tape is, at the time `now`."""
        until = now if self.ended is None else self.ended
        return max((until - self.began) * 1000, self.person.end / _PER_MS, self.gateway.end / _PER_MS)

    def wav(self, which: Which, now: float) -> bytes:
        """The call as a WAV file of 16 bits at 8 kHz.

        `both` is stereo with the person on the left; `mixed` is both on one channel; the others are one direction.
        """
        length = round(self.duration_ms(now) * _PER_MS)
        person, gateway = self.person.samples(length), self.gateway.samples(length)
        if which == "both":
            sound = np.stack([person, gateway], axis=1)
        elif which == "mixed":
            sound = np.clip(person.astype(np.int32) + gateway, -32768, 32767)
        else:
            sound = person if which == "person" else gateway
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((2 if which == "both" else 1, 2, RATE, 0, "NONE", ""))
            out.writeframes(sound.astype("<i2").tobytes())
        return file.getvalue()
