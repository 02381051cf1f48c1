"""The input audio buffer, and server VAD by the energy of the sound.

Time here is audio time: milliseconds of sound since the first byte of the session, however fast it came. A client that
stops sending in a silence therefore never ends a turn, as with the vendor.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Protocol

from fakes.audio import Heard, Listener, level
from fakes.openai.dialects import AudioFormat, TurnDetection

FRAME_MS = 20
LEVEL_AT_FULL_THRESHOLD = 2000
"""The mean amplitude of a frame that counts as speech at threshold 1.0; at 0.5 it is half of that."""


class Speech(Enum):
    """Whether somebody speaks."""

    SILENT = "silent"
    SPEAKING = "speaking"


class SpeechEvents(Protocol):
    """Who wants to know of the beginning and the end of speech."""

    def speech_started(self, audio_start_ms: int) -> None:
        """Speech has begun; `audio_start_ms` includes the prefix padding."""
        ...

    def speech_stopped(self, audio_end_ms: int) -> None:
        """Speech has ended; `audio_end_ms` includes the silence that ended it. The turn may now be taken."""
        ...


class InputAudio:
    """The input audio buffer of a session, with its ear and its turn detection.

    `semantic_silence_ms`, `speech_ms`: see the knobs `openai.semantic_vad_silence_ms` and `openai.vad_speech_ms`.
    """

    def __init__(
        self, events: SpeechEvents, audio_format: AudioFormat, speech_ms: int, semantic_silence_ms: int
    ) -> None:
        self._events = events
        self._speech_ms = speech_ms
        self._semantic_silence_ms = semantic_silence_ms
        self.format = audio_format
        self._heard: list[Heard] = []
        self._told = 0
        self._base_ms = 0.0
        self._total = 0
        self._buffer = bytearray()
        self._rest = b""
        self._listener = Listener(audio_format.encoding, audio_format.rate)
        self._collected = 0
        self._detection: TurnDetection | None = None
        self._speech = Speech.SILENT
        self._set_frame()

    def _set_frame(self) -> None:
        self._frame_bytes = FRAME_MS * self.format.bytes_per_ms
        self._encoding = self.format.encoding

    # -- settings

    def configure(self, audio_format: AudioFormat, detection: TurnDetection | None) -> None:
        """Take over the format and the turn detection of the session. A change of format empties the buffer."""
        if audio_format != self.format:
            self._hear_out()
            self._base_ms = self.position_ms
            self._total = 0
            self.format = audio_format
            self._listener = Listener(audio_format.encoding, audio_format.rate)
            self._collected = 0
            self._buffer.clear()
            self._rest = b""
            self._set_frame()
            self._reset_speech()
        if detection != self._detection:
            self._detection = detection
            self._reset_speech()
            if detection is None:
                # Without turn detection there are no frames: what waited to become one is just audio.
                self._listener.feed(self._rest)
                self._total += len(self._rest)
                self._buffer += self._rest
                self._rest = b""
                return
            self._threshold = detection.threshold * LEVEL_AT_FULL_THRESHOLD
            self._loud_wanted = max(1, -(-self._speech_ms // FRAME_MS))
            self._quiet_wanted = max(1, -(-self._silence_ms(detection) // FRAME_MS))
            self._prefix_bytes = detection.prefix_padding_ms * self.format.bytes_per_ms
            self._keep_bytes = self._prefix_bytes + self._loud_wanted * self._frame_bytes

    def _silence_ms(self, detection: TurnDetection) -> int:
        if detection.type == "server_vad":
            return detection.silence_duration_ms
        factor = {"low": 2.0, "high": 0.5}.get(detection.eagerness, 1.0)
        return int(self._semantic_silence_ms * factor)

    def _reset_speech(self) -> None:
        self._speech = Speech.SILENT
        self._loud = 0
        self._quiet = 0

    # -- audio in

    @property
    def position_ms(self) -> float:
        """How much audio the session has got."""
        return self._base_ms + self._total / self.format.bytes_per_ms

    @property
    def buffered_ms(self) -> float:
        """How much of it waits to be committed."""
        return (len(self._buffer) + len(self._rest)) / self.format.bytes_per_ms

    def append(self, data: bytes) -> None:
        """Take in audio of any length."""
        if self._detection is None:
            self._listener.feed(data)
            self._total += len(data)
            self._buffer += data
        elif not self._rest and len(data) == self._frame_bytes:
            self._frame(data)
        else:
            size = self._frame_bytes
            data = self._rest + data
            for start in range(0, len(data) - size + 1, size):
                self._rest = b""
                self._frame(data[start : start + size])
            self._rest = data[len(data) - len(data) % size :]

    def _frame(self, frame: bytes) -> None:
        self._listener.feed(frame)
        self._total += self._frame_bytes
        self._buffer += frame
        if level(frame, self._encoding) >= self._threshold:
            self._quiet = 0
            self._loud += 1
            if self._speech is Speech.SILENT and self._loud >= self._loud_wanted:
                self._start()
            return
        self._loud = 0
        if self._speech is Speech.SPEAKING:
            self._quiet += 1
            if self._quiet >= self._quiet_wanted:
                self._reset_speech()
                self._events.speech_stopped(round(self.position_ms))
        elif len(self._buffer) > 4 * self._keep_bytes:
            # Only the padding of the next turn is kept of a silence; cut now and then, not with every frame.
            del self._buffer[: -self._keep_bytes]

    def _start(self) -> None:
        self._speech = Speech.SPEAKING
        del self._buffer[: -self._keep_bytes]
        self._events.speech_started(round(self.position_ms - self.buffered_ms))

    # -- audio out

    @property
    def speaking(self) -> bool:
        """Whether turn detection hears speech."""
        return self._speech is Speech.SPEAKING

    @property
    def heard(self) -> list[Heard]:
        """The phrases heard so far, finished ones; times in ms of audio since the session's first byte."""
        self._collect()
        return self._heard

    def take(self) -> tuple[bytes, tuple[Heard, ...]]:
        """Empty the buffer; return what was in it, and what was heard since it was last emptied."""
        self._listener.feed(self._rest)
        self._hear_out()
        heard = tuple(self._heard[self._told :])
        audio = bytes(self._buffer) + self._rest
        self._told = len(self._heard)
        self._total += len(self._rest)
        self._rest = b""
        self._buffer.clear()
        self._reset_speech()
        return audio, heard

    def _hear_out(self) -> None:
        self._listener.flush()
        self._collect()

    def _collect(self) -> None:
        new = self._listener.heard[self._collected :]
        self._collected += len(new)
        shift = self._base_ms
        self._heard += [replace(heard, start_ms=heard.start_ms + shift, end_ms=heard.end_ms + shift) for heard in new]
