"""The output audio buffer of a WebRTC or SIP call: the sound of responses, played at real time.

The model makes its sound faster than it can be heard. On a WebSocket the client has to cope with that; on a call the
vendor does: the sound waits here, leaves in frames of 20 ms, and the vendor knows at any time how much of it has been
heard (OpenAI docs: Realtime conversations, client and server events for audio in WebRTC).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fakes.ports import Clock, Timer

RATE = 24_000
"""Samples per second of the sound in the buffer, which is s16le and mono."""
BYTES_PER_MS = RATE * 2 // 1000
FRAME_MS = 20
FRAME_BYTES = FRAME_MS * BYTES_PER_MS
FRAME_SECONDS = FRAME_MS / 1000
SILENCE = bytes(FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Heard:
    """How much of an item's sound was played before the buffer was cleared, in ms."""

    item_id: str
    content_index: int
    played_ms: int


class PlayoutEvents(Protocol):
    """Who hears what is played, and is told of it."""

    def play(self, frame: bytes) -> None:
        """The sound of the coming 20 ms: 960 bytes."""
        ...

    def buffer_event(self, what: str, response_id: str) -> None:
        """`started`, `stopped` or `cleared`: the event `output_audio_buffer.*` of a response."""
        ...


@dataclass(slots=True)
class _Piece:
    """The sound of one content part. Positions in bytes."""

    item_id: str
    content_index: int
    size: int = 0
    played: int = 0


@dataclass(slots=True)
class _Segment:
    """The sound of one response: what waits, and where it came from."""

    response_id: str
    pieces: list[_Piece] = field(default_factory=list)
    waiting: bytearray = field(default_factory=bytearray)
    offset: int = 0
    started: bool = False
    finished: bool = False

    @property
    def left(self) -> int:
        """Bytes that have not been played."""
        return len(self.waiting) - self.offset

    def take(self) -> bytes:
        """The next frame; the last one of all is filled up with silence."""
        begin = self.offset
        frame = bytes(self.waiting[begin : begin + FRAME_BYTES])
        size = len(frame)
        self.offset = begin + size
        if self.offset == len(self.waiting):
            self.waiting.clear()
            self.offset = 0
        for piece in self.pieces:
            room = piece.size - piece.played
            if room:
                piece.played += min(room, size)
                size -= min(room, size)
                if not size:
                    break
        return frame if len(frame) == FRAME_BYTES else frame + SILENCE[len(frame) :]


class Playout:
    """The buffer of one call. There is one timer while something plays, and none otherwise.

    The sound of one response follows that of another, in the order in which they began. A response whose sound comes
    too slowly is waited for: nothing plays in between.
    """

    def __init__(self, clock: Clock, events: PlayoutEvents) -> None:
        self._clock = clock
        self._events = events
        self._segments: deque[_Segment] = deque()
        self._by_response: dict[str, _Segment] = {}
        self._muted: set[str] = set()
        self._timer: Timer | None = None
        self._began = 0.0
        self._frames = 0
        self._due = 0.0
        self._stopped = False

    @property
    def playing(self) -> bool:
        """Whether sound is being played, or will be without anybody's doing."""
        return self._timer is not None

    @property
    def busy(self) -> bool:
        """Whether a response is being played, or waits for more of its sound."""
        return bool(self._segments)

    @property
    def buffered_ms(self) -> float:
        """How much sound waits."""
        return sum(segment.left for segment in self._segments) / BYTES_PER_MS

    def add(self, response_id: str, item_id: str, content_index: int, pcm: bytes) -> None:
        """Queue sound of any length (24 kHz, s16le, mono) of a content part; parts come one after another."""
        if self._stopped or response_id in self._muted or not pcm:
            return
        segment = self._by_response.get(response_id)
        if segment is None:
            segment = self._by_response[response_id] = _Segment(response_id)
            self._segments.append(segment)
        pieces = segment.pieces
        if not pieces or pieces[-1].item_id != item_id or pieces[-1].content_index != content_index:
            pieces.append(_Piece(item_id, content_index))
        pieces[-1].size += len(pcm)
        segment.waiting += pcm
        if self._timer is None and segment is self._segments[0] and segment.left >= FRAME_BYTES:
            self._wake()

    def finish(self, response_id: str) -> None:
        """There is no more sound of a response to come (`response.done` has been sent)."""
        self._muted.discard(response_id)
        segment = self._by_response.get(response_id)
        if segment is None:
            return
        segment.finished = True
        if self._timer is None and segment is self._segments[0]:
            self._wake()

    def clear(self) -> Sequence[Heard]:
        """Throw away everything that has not been played, also what is still to come of these responses.

        Tells `cleared` of the response that was playing. Returns the parts that were not played to their end.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        segments, self._segments = self._segments, deque()
        self._by_response.clear()
        cut: list[Heard] = []
        for segment in segments:
            if not segment.finished:
                self._muted.add(segment.response_id)
            if segment.started:
                self._events.buffer_event("cleared", segment.response_id)
            cut += [
                Heard(piece.item_id, piece.content_index, piece.played // BYTES_PER_MS)
                for piece in segment.pieces
                if piece.played < piece.size or (not segment.finished and piece is segment.pieces[-1])
            ]
        return cut

    def stop(self) -> None:
        """The call is over: play nothing more, and tell nobody."""
        self._stopped = True
        self._segments.clear()
        self._by_response.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- playing

    def _wake(self) -> None:
        # Not at once: what has been said to come first (a content part, response.done) comes first on the wire too.
        self._began = self._due = max(self._due, self._clock.now())
        self._frames = 0
        self._timer = self._clock.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.now()
        while self._segments:
            segment = self._segments[0]
            if segment.left >= FRAME_BYTES or (segment.finished and segment.left):
                # A late timer plays what is due, so that the sound does not fall behind the clock.
                if self._due > now:
                    break
                self._play(segment)
            elif not segment.finished:
                return  # more is to come: `add` or `finish` goes on
            elif self._due > now:
                break
            else:
                self._segments.popleft()
                del self._by_response[segment.response_id]
                if segment.started:
                    self._events.buffer_event("stopped", segment.response_id)
            if self._stopped:
                return
        else:
            return
        self._timer = self._clock.call_at(self._due, self._tick)

    def _play(self, segment: _Segment) -> None:
        if not segment.started:
            segment.started = True
            self._events.buffer_event("started", segment.response_id)
        self._frames += 1
        self._due = self._began + self._frames * FRAME_SECONDS  # without the drift of a sum
        self._events.play(segment.take())
