"""G.711 mu-law (PCMU) and A-law (PCMA) by table, to and from 16-bit linear PCM.

Source: ITU-T G.711, tables 1a to 2b. The tables of the recommendation are in 13 bits (A-law) and 14 bits (mu-law);
16-bit samples are those, scaled up, as every telephony stack has them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

MU_BIAS = 33
"""Added to a 14-bit magnitude so that every mu-law segment begins at a power of two."""

MU_MAX = 8158
"""The largest 14-bit magnitude that has a code of its own; louder ones get the same code."""


@cache
def pcmu_decode_table() -> Samples:
    """The 256 mu-law codes as 16-bit samples: 0x00 is -32124, 0x80 is 32124, 0xFF and 0x7F are 0."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((2 * (code & 0x0F) + MU_BIAS) << ((code >> 4) & 7)) - MU_BIAS
    return (np.where(code & 0x80, -magnitude, magnitude) << 2).astype(np.int16)


@cache
def pcma_decode_table() -> Samples:
    """The 256 A-law codes as 16-bit samples: 0xD5 is 8, 0x55 is -8, 0xAA is 32256, 0x2A is -32256."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment, step = (code >> 4) & 7, code & 0x0F
    magnitude = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) << 3).astype(np.int16)


def _segment_above(magnitude: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """How many of the seven thresholds 2**bits, 2**(bits+1), ... each magnitude reaches: its segment."""
    thresholds = 1 << np.arange(bits, bits + 7)
    return np.searchsorted(thresholds, magnitude, side="right").astype(np.int32)


@cache
def _pcmu_encode_table() -> NDArray[np.uint8]:
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    magnitude = np.minimum(np.abs(linear), MU_MAX) + MU_BIAS
    segment = _segment_above(magnitude, 6)
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0F)
    return np.asarray(code ^ np.where(linear < 0, 0x7F, 0xFF), np.uint8)


@cache
def _pcma_encode_table() -> NDArray[np.uint8]:
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(linear < 0, ~linear, linear)
    segment = _segment_above(magnitude, 5)
    code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 0x0F)
    return np.asarray(code ^ np.where(linear < 0, 0x55, 0xD5), np.uint8)


def _encode(pcm: Samples, table: NDArray[np.uint8]) -> bytes:
    if pcm.dtype != np.int16:
        raise TypeError(f"G.711 encodes int16 samples, not {pcm.dtype}; round, clip and convert with .astype(np.int16)")
    return table[np.ascontiguousarray(pcm).view(np.uint16)].tobytes()


def pcmu_encode(pcm: Samples) -> bytes:
    """Encode 16-bit samples as mu-law, one byte each. Raises `TypeError` for another sample type."""
    return _encode(pcm, _pcmu_encode_table())


def pcmu_decode(data: bytes) -> Samples:
    """Decode mu-law bytes to 16-bit samples."""
    return pcmu_decode_table()[np.frombuffer(data, np.uint8)]


def pcma_encode(pcm: Samples) -> bytes:
    """Encode 16-bit samples as A-law, one byte each. Raises `TypeError` for another sample type."""
    return _encode(pcm, _pcma_encode_table())


def pcma_decode(data: bytes) -> Samples:
    """Decode A-law bytes to 16-bit samples."""
    return pcma_decode_table()[np.frombuffer(data, np.uint8)]
