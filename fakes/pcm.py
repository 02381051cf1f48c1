"""Sound as bytes: encodings, silence, loudness, resampling, keypad tones.

An *encoding* is `pcmu` or `pcma` (G.711, one byte a sample) or `pcm16` (signed, little endian, two bytes a sample).
A *rate* is in samples per second and mono throughout.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from fakes.g711 import Samples, pcma_decode, pcma_decode_table, pcma_encode, pcmu_decode, pcmu_decode_table, pcmu_encode

ENCODINGS = ("pcmu", "pcma", "pcm16")
RATES = (8000, 16000, 24000, 48000)
FRAME_MS = 20

DTMF_ROWS = (697, 770, 852, 941)
DTMF_COLUMNS = (1209, 1336, 1477, 1633)
DTMF_KEYS = "123A456B789C*0#D"
DTMF_AMPLITUDE = 7000

_SILENT_SAMPLE = {"pcmu": b"\xff", "pcma": b"\xd5", "pcm16": b"\x00\x00"}
_SINC_ZEROS = 24


def bytes_per_sample(encoding: str) -> int:
    """1 for G.711, 2 for pcm16. Raises `ValueError` for an encoding that is none of `ENCODINGS`."""
    return len(silent_sample(encoding))


def silent_sample(encoding: str) -> bytes:
    """One sample of silence: 0xFF in mu-law, 0xD5 in A-law, two zero bytes in pcm16."""
    try:
        return _SILENT_SAMPLE[encoding]
    except KeyError:
        raise ValueError(f"encoding is one of {', '.join(ENCODINGS)}, not {encoding!r}") from None


def check_rate(rate: int) -> int:
    """Return `rate`, or raise `ValueError` when it is none of `RATES`."""
    if rate not in RATES:
        raise ValueError(f"rate is one of {', '.join(map(str, RATES))} samples per second, not {rate!r}")
    return rate


def encode(pcm: Samples, encoding: str) -> bytes:
    """Encode int16 samples."""
    if encoding == "pcmu":
        return pcmu_encode(pcm)
    if encoding == "pcma":
        return pcma_encode(pcm)
    silent_sample(encoding)
    return pcm.astype("<i2").tobytes()


def decode(data: bytes, encoding: str) -> Samples:
    """Decode to int16 samples. A single byte left over at the end of pcm16 is not a sample and is left out."""
    if encoding == "pcmu":
        return pcmu_decode(data)
    if encoding == "pcma":
        return pcma_decode(data)
    silent_sample(encoding)
    return np.frombuffer(data, "<i2", len(data) // 2).astype(np.int16)


@lru_cache(maxsize=256)
def silence(ms: float, encoding: str = "pcmu", rate: int = 8000) -> bytes:
    """`ms` of silence."""
    return silent_sample(encoding) * round(ms * check_rate(rate) / 1000)


def level(payload: bytes, encoding: str = "pcmu") -> int:
    """The mean absolute amplitude of a payload, 0 to 32767; 0 for an empty one. Made for 20 ms frames, and cached."""
    if encoding == "pcmu":
        return _level_pcmu(payload)
    return _level(payload, encoding)


@lru_cache(maxsize=16384)
def _level_pcmu(payload: bytes) -> int:
    count = len(payload)
    if payload.count(b"\xff") == count:
        return 0
    return int(_magnitudes("pcmu")[np.frombuffer(payload, np.uint8)].sum()) // count


@lru_cache(maxsize=4096)
def _level(payload: bytes, encoding: str) -> int:
    if encoding == "pcma":
        if payload.count(b"\xd5") == len(payload):
            return 0
        return int(_magnitudes("pcma")[np.frombuffer(payload, np.uint8)].sum()) // len(payload)
    samples = decode(payload, encoding)
    return min(int(np.abs(samples.astype(np.int32)).sum()) // len(samples), 32767) if len(samples) else 0


@cache
def _magnitudes(encoding: str) -> NDArray[np.int32]:
    table = pcmu_decode_table() if encoding == "pcmu" else pcma_decode_table()
    return np.abs(table.astype(np.int32))


def resample(pcm: Samples, from_rate: int, to_rate: int) -> Samples:
    """Change the rate by a windowed-sinc polyphase filter; no delay, `ceil(len * to_rate / from_rate)` samples out.

    The pass band reaches 90 % of the lower of the two Nyquist frequencies. The same input always gives the same output.
    """
    if from_rate <= 0 or to_rate <= 0:
        raise ValueError(f"rates are positive, not {from_rate} and {to_rate}")
    if from_rate == to_rate or not len(pcm):
        return pcm.copy()
    common = math.gcd(from_rate, to_rate)
    up, down = to_rate // common, from_rate // common
    phases = _polyphase(up, down)
    taps = phases.shape[1]
    half = taps // 2
    count = -(-len(pcm) * up // down)
    padded = np.concatenate([np.zeros(half), pcm.astype(np.float64), np.zeros(taps)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps)
    out = np.empty(count)
    for first in range(min(up, count)):
        # Outputs first, first + up, ... share one phase of the filter and step `down` input samples.
        begin, phase = divmod(first * down, up)
        out[first::up] = windows[begin : begin + down * -(-(count - first) // up) : down] @ phases[phase]
    return np.clip(np.rint(out), -32768, 32767).astype(np.int16)


@cache
def _polyphase(up: int, down: int) -> NDArray[np.float64]:
    """Row p is the filter for outputs that lie p/up of a sample after an input sample."""
    cutoff = 0.95 * min(1.0, up / down)
    half = math.ceil(_SINC_ZEROS / cutoff)
    offsets = np.arange(-half, half + 1)[np.newaxis, :] - np.arange(up)[:, np.newaxis] / up
    window = np.i0(9.0 * np.sqrt(np.clip(1 - (offsets / (half + 1)) ** 2, 0, None))) / np.i0(9.0)
    kernel = cutoff * np.sinc(cutoff * offsets) * window
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True))


@lru_cache(maxsize=256)
def dtmf(digit: str, ms: float = 100, encoding: str = "pcmu", rate: int = 8000) -> bytes:
    """`ms` of the tone pair of one key (ITU-T Q.23). Raises `ValueError` for what is not on a keypad."""
    key = DTMF_KEYS.find(digit.upper()) if len(digit) == 1 else -1
    if key < 0:
        raise ValueError(f"a key is one of {DTMF_KEYS}, not {digit!r}")
    time = np.arange(round(ms * check_rate(rate) / 1000)) / rate
    wave = np.sin(2 * np.pi * DTMF_ROWS[key // 4] * time) + np.sin(2 * np.pi * DTMF_COLUMNS[key % 4] * time)
    return encode(np.rint(DTMF_AMPLITUDE * wave).astype(np.int16), encoding)
