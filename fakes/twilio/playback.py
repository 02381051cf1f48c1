"""What Twilio has been given to play and has not played yet: audio and marks, in order, on a 20 ms clock."""

from __future__ import annotations

from collections import deque

FRAME = 160
"""Bytes in 20 ms of mu-law at 8 kHz."""
FRAME_SECONDS = 0.02
SILENCE = b"\xff" * FRAME
CAPACITY = 10 * 60 * 8000
"""Bytes that Twilio buffers: about ten minutes (Twilio error 31931)."""


class Playback:
    """The playback buffer of one bidirectional stream.

    `next` takes the frame that plays for the coming 20 ms; when the next one is asked for, it has been played. A mark
    stands behind the audio that came before it, and is reached when that has been played. Positions are bytes since
    the stream began.
    """

    __slots__ = ("_chunks", "_marks", "_offset", "received", "taken")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._offset = 0
        self._marks: deque[tuple[int, str]] = deque()
        self.received = 0
        self.taken = 0

    @property
    def buffered(self) -> int:
        """Bytes that are not playing yet."""
        return self.received - self.taken

    @property
    def pending(self) -> tuple[str, ...]:
        """Names of the marks that are not reached yet."""
        return tuple(name for _, name in self._marks)

    def add(self, payload: bytes) -> bool:
        """Append audio of any length. False when the buffer is full: nothing was appended."""
        if self.received - self.taken + len(payload) > CAPACITY:
            return False
        if payload:
            self._chunks.append(payload)
            self.received += len(payload)
        return True

    def mark(self, name: str) -> None:
        """Put a mark behind the audio received so far."""
        self._marks.append((self.received, name))

    def reached(self) -> list[str]:
        """The marks that playback has reached, when everything taken so far has been played. Each comes once."""
        marks = self._marks
        if not marks or marks[0][0] > self.taken:
            return []
        names = []
        while marks and marks[0][0] <= self.taken:
            names.append(marks.popleft()[1])
        return names

    def next(self) -> bytes | None:
        """The coming 20 ms, filled up with silence at the end of the audio; None when there is none."""
        chunks = self._chunks
        if not chunks:
            return None
        chunk = chunks[0]
        offset = self._offset
        end = offset + FRAME
        size = len(chunk)
        if end < size:
            self._offset = end
            self.taken += FRAME
            return chunk[offset:end]
        if end == size:
            chunks.popleft()
            self._offset = 0
            self.taken += FRAME
            return chunk[offset:] if offset else chunk
        return self._gather()

    def _gather(self) -> bytes:
        """A frame out of several chunks, or the last part of the audio."""
        frame = b""
        while self._chunks and len(frame) < FRAME:
            chunk = self._chunks[0]
            part = chunk[self._offset : self._offset + FRAME - len(frame)]
            frame += part
            self._offset += len(part)
            if self._offset == len(chunk):
                self._chunks.popleft()
                self._offset = 0
        self.taken += len(frame)
        return frame + SILENCE[len(frame) :]

    def clear(self) -> list[str]:
        """Forget the audio, and return the names of all pending marks in order."""
        self._chunks.clear()
        self._offset = 0
        self.taken = self.received
        return self.reached()
