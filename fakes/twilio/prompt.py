"""Something that Twilio itself plays to the far end: Say, Play, the digits of Play."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Prompt:
    """Frames of 20 ms, played `loop` times (0: without end), then `done`."""

    __slots__ = ("_done", "_frames", "_index", "_loops")

    def __init__(self, frames: Sequence[bytes], loop: int, done: Callable[[], None]) -> None:
        self._frames = frames
        self._loops = loop
        self._index = 0
        self._done = done

    @property
    def wants_ticks(self) -> bool:
        """Always: it plays until it is done."""
        return True

    def tick(self, spoken: bytes | None) -> bytes | None:
        """The next 20 ms. What the far end says is not heard by a prompt."""
        frames = self._frames
        if self._index >= len(frames):
            if not frames or self._loops == 1:
                self._done()
                return None
            self._loops -= 1
            self._index = 0
        frame = frames[self._index]
        self._index += 1
        return frame
