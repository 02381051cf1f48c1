"""What the caller has heard of the model's audio: a ledger kept from what was sent, marks echoed, and time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BYTES_PER_MS = 8  # G.711, 8000 Hz
BYTES_PER_SECOND = 8000
MARK_EVERY = 200 * BYTES_PER_MS


@dataclass(slots=True)
class Item:
    """The audio of one conversation item; `start` and `end` are positions in the stream, in bytes."""

    item_id: str
    content_index: int
    start: int
    end: int

    @property
    def length_ms(self) -> int:
        """How much audio of it was sent, in ms."""
        return (self.end - self.start) // BYTES_PER_MS


class Playback:
    """Twilio plays what it was sent in order and in real time, however early it was sent, and echoes each mark when it
    gets there (Twilio docs: Media Streams messages). A position counts the bytes of audio since the stream began.

    Times are in seconds on any one scale.
    """

    __slots__ = ("_heard", "_heard_at", "_marked", "_marks", "_names", "_sent", "items")

    def __init__(self) -> None:
        self.items: deque[Item] = deque()  # sent and not known to be wholly played
        self._marks: dict[str, int] = {}  # sent and not echoed: the position of each
        self._names = 0
        self._sent = 0
        self._marked = 0  # position of the last mark
        self._heard = 0  # a position that playback has certainly reached ...
        self._heard_at = 0.0  # ... and when

    @property
    def idle(self) -> bool:
        """Whether all that was sent is known to have been played."""
        return self._heard == self._sent

    @property
    def mark_due(self) -> bool:
        """Whether so much audio follows the last mark that the next one is due."""
        return self._sent - self._marked >= MARK_EVERY

    @property
    def unmarked(self) -> bool:
        """Whether any audio follows the last mark."""
        return self._sent > self._marked

    def add(self, item_id: str, content_index: int, size: int, now: float) -> None:
        """`size` bytes of this item are being sent."""
        if self.position(now) >= self._sent:
            # Nothing is left to play, so this plays at once.
            self._heard, self._heard_at = self._sent, now
        if not self.items or self.items[-1].item_id != item_id or self.items[-1].content_index != content_index:
            self.items.append(Item(item_id, content_index, self._sent, self._sent))
        self._sent += size
        self.items[-1].end = self._sent

    def next_mark(self) -> str:
        """The name of a mark that is to be sent now, behind all audio so far."""
        self._names += 1
        name = f"audio-{self._names}"
        self._marks[name] = self._marked = self._sent
        return name

    def echoed(self, name: str, now: float) -> bool:
        """A mark came back. False when it tells nothing: unknown, repeated, or let go by `clear`."""
        position = self._marks.get(name)
        if position is None:
            return False
        for earlier in tuple(self._marks):  # in the order of sending: an echo covers those before it
            del self._marks[earlier]
            if earlier == name:
                break
        self._heard, self._heard_at = position, now
        while self.items and self.items[0].end <= position:
            self.items.popleft()
        return True

    def cleared(self, now: float) -> None:
        """What was not played is thrown away: the marks that come back for it are not heard audio."""
        self.items.clear()
        self._marks.clear()
        self._heard, self._heard_at, self._marked = self._sent, now, self._sent

    def position(self, now: float) -> int:
        """How far playback has come: by the clock since the last certain point, and not past a mark not echoed."""
        reached = self._heard + round((now - self._heard_at) * BYTES_PER_SECOND)
        for at in self._marks.values():
            return min(reached, at)
        return min(reached, self._sent)

    def played_ms(self, item: Item, now: float) -> int:
        """How much of the item the caller has heard, in ms; never more than was sent of it."""
        played = (self.position(now) - item.start) // BYTES_PER_MS
        return min(max(played, 0), item.length_ms)

    def remaining(self, now: float) -> float:
        """Seconds of audio that are still to be played."""
        return (self._sent - self.position(now)) / BYTES_PER_SECOND
