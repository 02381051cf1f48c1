"""The listener: an ear and a recogniser on a clock, cheap enough to hear every frame of every call.

Silence costs one comparison. Where the bytes of a phrase are those of the phrase book (as with mu-law that a gateway
passes straight through), following it is a comparison as well. Only the rest is analysed, a block at a time.
"""

from __future__ import annotations

from fakes.pcm import FRAME_MS, bytes_per_sample, check_rate, level, silent_sample
from fakes.phrases import speak
from fakes.recogniser import NOISE_MS, PAUSE_MS, TOLERANCE_MS, Heard, Recogniser, State

__all__ = ["NOISE_MS", "PAUSE_MS", "TOLERANCE_MS", "Heard", "Listener"]

_SEEK_MS = 60
_FOLLOW_MS = 200
_BREAK_MS = 10
_QUIET_LEVEL = 100


class Listener:
    """Recognises the phrases in a stream of sound.

    `heard` are the finished phrases in order, `current` is the one being heard now. A phrase is current within 200 ms
    of its start. It is finished when its last sample was heard, or another sound took its place, or `PAUSE_MS` of
    silence followed; `flush()` finishes it at once.
    """

    def __init__(self, encoding: str = "pcmu", rate: int = 8000) -> None:
        self._encoding, self._rate = encoding, check_rate(rate)
        self._sample = bytes_per_sample(encoding)
        self._silent_sample = silent_sample(encoding)
        self._per_ms = rate * self._sample / 1000
        self._silences: dict[int, bytes] = {}
        self._recogniser = Recogniser(encoding, rate)
        self.heard: list[Heard] = self._recogniser.heard
        # The clock: `_anchor` ms, plus `_bytes` since.
        self._anchor = 0.0
        self._bytes = 0
        self._idle = True
        # While comparing: the bytes of the phrase, and how far we are in them.
        self._reference: bytes | None = None
        self._at = 0
        # Half a sample, when a piece of two-byte samples ends inside one.
        self._half = b""
        # Sound goes through zero: only a silence of this size is one.
        self._break_size = int(_BREAK_MS * self._per_ms)
        # An unbroken piece of sound: what was not analysed yet, and how much of it is worth a look.
        self._open = False
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._wanted = 0

    @property
    def now_ms(self) -> float:
        """The end of the sound fed so far, on the listener's clock."""
        return self._anchor + self._bytes / self._per_ms

    @property
    def current(self) -> Heard | None:
        """What is being heard now: a phrase; `?` for sound of a quarter of a second that is none; None for silence."""
        track = self._recogniser.track
        if self._reference is not None and track is not None:
            track.last = self.now_ms
        return self._recogniser.current

    @property
    def sounds(self) -> bool:
        """Whether anything is `current`; cheaper than telling what."""
        return self._recogniser.sounds

    def feed(self, data: bytes, at_ms: float | None = None) -> bool:
        """Hear a piece of any size. Returns True when something joined `heard`, or `current` became another phrase.

        `at_ms` is when this piece begins; None is right after the last one. A time later than that means that there was
        silence in between; an earlier one is taken as right after, since nobody hears two pieces at once. An empty
        piece with a time is just the news that it is that late.
        """
        if self._sample == 2 and (self._half or len(data) & 1):
            data = self._half + data
            self._half = data[len(data) & ~1 :]
            data = data[: len(data) & ~1]
        size = len(data)
        changed = False
        if at_ms is not None and at_ms - self._anchor - self._bytes / self._per_ms > 1:
            changed = self._skip(at_ms)
        reference = self._reference
        if reference is not None:
            if reference.startswith(data, self._at):
                self._at += size
                self._bytes += size
                if self._at < len(reference):
                    return changed
                self._stop_comparing()
                return True
            return self._diverge(data, reference) or changed
        silence = self._silences.get(size)
        if silence is None:
            silence = self._silences[size] = self._silent_sample * (size // self._sample)
        if data == silence and (size >= self._break_size or not self._open):
            self._bytes += size
            return changed if self._idle else self._silent() or changed
        return self._sound(data) or changed

    def flush(self) -> bool:
        """Finish whatever is being heard, as if a long silence followed. Returns True when `heard` grew."""
        before = len(self.heard)
        self._break()
        self._half = b""
        self._recogniser.end_noise()
        self._recogniser.finish()
        self._idle = True
        return len(self.heard) != before

    # Silence and its end.

    def _skip(self, at_ms: float) -> bool:
        before = self._recogniser.status
        self._break()
        self._anchor, self._bytes = at_ms, 0
        self._wait()
        return self._recogniser.status != before

    def _silent(self) -> bool:
        before = self._recogniser.status
        self._break()
        self._wait()
        return self._recogniser.status != before

    def _break(self) -> None:
        """The sound stops here, for now."""
        if self._reference is not None:
            self._stop_comparing()
        if self._open:
            self._analyse_last()

    def _wait(self) -> None:
        self._recogniser.wait(self.now_ms)
        self._idle = self._recogniser.idle

    # Sound.

    def _sound(self, data: bytes) -> bool:
        if not self._open:
            if len(data) <= 2 * FRAME_MS * self._per_ms and level(bytes(data), self._encoding) < _QUIET_LEVEL:
                self._bytes += len(data)
                return False if self._idle else self._silent()
            self._recogniser.begin(self.now_ms)
            self._open, self._idle = True, False
            self._wanted = int(_SEEK_MS * self._per_ms)
        self._pending.append(data)
        self._pending_size += len(data)
        self._bytes += len(data)
        if self._pending_size < self._wanted:
            return False
        before = self._recogniser.status
        self._analyse()
        track = self._recogniser.track
        if self._recogniser.state is State.FOLLOWING and track is not None and self.now_ms > track.end - 0.5:
            # The phrase is over: no need to wait for what comes next.
            self._analyse_last()
        return self._recogniser.status != before

    def _analyse(self) -> None:
        """Hear what is pending, up to the last whole hop."""
        data = b"".join(self._pending)
        end = len(data) // self._recogniser.ear.hop_bytes * self._recogniser.ear.hop_bytes
        if end:
            self._recogniser.hear(data[:end])
        self._pending, self._pending_size = [data[end:]], len(data) - end
        wait: float = 2 * _SEEK_MS if self._recogniser.puzzled else _SEEK_MS
        track = self._recogniser.track
        if self._recogniser.state is State.FOLLOWING and track is not None:
            if self._start_comparing(data):
                return
            wait = min(_FOLLOW_MS, track.end - self.now_ms + self._pending_size / self._per_ms)
        elif self._recogniser.quiet():
            self._close()
            self._idle = True
        self._wanted = max(int(wait * self._per_ms), 1)

    def _analyse_last(self) -> None:
        """Hear what is pending; the sound ends there."""
        data = b"".join(self._pending)
        # Silence up to the next hop and one hop more, so that every sample lies in a full window.
        hop = self._recogniser.ear.hop_bytes
        self._recogniser.hear(data + self._silent_sample * ((-len(data) % hop + hop) // self._sample))
        self._recogniser.end()
        self._close()

    def _close(self) -> None:
        self._open = False
        self._pending, self._pending_size = [], 0

    # Comparing bytes.

    def _start_comparing(self, data: bytes) -> bool:
        """While a phrase is followed by its sound: see whether the bytes heard last are just those of the phrase."""
        track = self._recogniser.track
        assert track is not None
        reference = speak(track.phrase.name, self._encoding, self._rate)
        tail = data[-int(FRAME_MS * self._per_ms) :]
        at = round((self.now_ms - track.lag) * self._per_ms)
        slack = self._rate // 2000 * self._sample
        if at <= len(tail) or at >= len(reference) - slack or len(tail) < FRAME_MS / 2 * self._per_ms:
            return False
        found = reference.find(tail, max(at - len(tail) - slack, 0), at + slack)
        if found < 0 or found % self._sample:
            return False
        self._compare(reference, found + len(tail))
        return True

    def _compare(self, reference: bytes, at: int) -> None:
        self._reference, self._at = reference, at
        self._recogniser.compare(self.now_ms, at / self._per_ms)
        self._close()

    def _stop_comparing(self) -> None:
        self._reference = None
        self._recogniser.pause(self.now_ms)
        self._wait()

    def _diverge(self, data: bytes, reference: bytes) -> bool:
        """The bytes are no longer those of the phrase: find where they cease to be, and hear the rest afresh."""
        same, other = 0, len(data)
        while other - same > 1:
            middle = (same + other) // 2
            if reference.startswith(data[:middle], self._at):
                same = middle
            else:
                other = middle
        same -= same % self._sample
        silence = self._silent_sample
        if data[same:] == silence * ((len(data) - same) // self._sample):
            # A phrase goes through zero now and then: that was silence already.
            while data[:same].endswith(silence):
                same -= self._sample
        before = len(self.heard)
        self._at += same
        self._bytes += same
        self._stop_comparing()
        return self.feed(data[same:]) or len(self.heard) != before
