"""The sound of the model's speech, at the speed of the session."""

from __future__ import annotations

from functools import lru_cache

from fakes.audio import FRAME_MS, bytes_per_sample, silent_sample, speak

_SYMBOL_MS = 40
_LONGEST_PAUSE_MS = 240
"""The ear takes a longer one for the end of the phrase, see `fakes.recogniser`."""
_HEAD = 5
"""Symbols in a row that the ear needs before it knows the phrase and follows it across pauses."""


@lru_cache(maxsize=512)
def voiced(phrase: str, encoding: str, rate: int, speed: float) -> bytes:
    """The sound of a phrase; `speed` from 0.25 to 1.5 changes how long it takes to play.

    The speech surrogate cannot be drawn out or squeezed and still be heard as itself. Slow speech is therefore speech
    with pauses, which the ear takes for the whole phrase (at half the speed and below only when it is played in frames
    of 20 ms); fast speech lacks its end, and is heard as a part of it.
    """
    sound = speak(phrase, encoding, rate)
    if speed == 1:
        return sound
    sample = bytes_per_sample(encoding)
    symbol = _SYMBOL_MS * rate // 1000 * sample
    if speed > 1:
        return sound[: round(len(sound) / speed / sample) * sample]
    stretch = 1 / speed - 1
    longest, frame = _LONGEST_PAUSE_MS * rate // 1000, FRAME_MS * rate // 1000
    group = symbol * max(int(_LONGEST_PAUSE_MS // (_SYMBOL_MS * stretch)), 1)
    head = max(group, symbol * _HEAD)
    head += (len(sound) - head) % group  # nothing short is left at the end, which would not be known
    pieces = [sound[:head]]
    owed = len(pieces[0]) / sample * stretch
    for start in range(head, len(sound), group):
        # Whole frames, so that symbols stay where frames begin.
        pause = min(int(owed), longest) // frame * frame
        pieces += [silent_sample(encoding) * pause, sound[start : start + group]]
        owed += len(pieces[-1]) / sample * stretch - pause
    return b"".join((*pieces, silent_sample(encoding) * round(owed)))
