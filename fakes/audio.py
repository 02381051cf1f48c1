"""The speech surrogate: everything about sound that the fakes and the people of a scenario need, under one name.

`fakes.g711` has the codecs, `fakes.pcm` encodings and loudness, `fakes.phrases` what can be said and how it sounds, and
`fakes.listener` the ear that recognises it again.
"""

from __future__ import annotations

from fakes.g711 import pcma_decode, pcma_encode, pcmu_decode, pcmu_encode
from fakes.listener import Heard, Listener
from fakes.pcm import (
    ENCODINGS,
    FRAME_MS,
    RATES,
    bytes_per_sample,
    decode,
    dtmf,
    encode,
    level,
    resample,
    silence,
    silent_sample,
)
from fakes.phrases import (
    PHRASES,
    REPLIES,
    UNKNOWN,
    Phrase,
    PhraseError,
    frames,
    phrase,
    phrase_for_text,
    reply_to,
    speak,
)

__all__ = [
    "ENCODINGS",
    "FRAME_MS",
    "PHRASES",
    "RATES",
    "REPLIES",
    "UNKNOWN",
    "Heard",
    "Listener",
    "Phrase",
    "PhraseError",
    "bytes_per_sample",
    "decode",
    "dtmf",
    "encode",
    "frames",
    "level",
    "pcma_decode",
    "pcma_encode",
    "pcmu_decode",
    "pcmu_encode",
    "phrase",
    "phrase_for_text",
    "reply_to",
    "resample",
    "silence",
    "silent_sample",
    "speak",
]
