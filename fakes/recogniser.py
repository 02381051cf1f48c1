"""The second half of hearing: which phrases the windows of `fakes.ear` make, and when.

A phrase is recognised by three symbols in a row, wherever in the phrase they are, and then followed window by window
for as long as the sound is what the phrase book says it should be. Where it broke off it may go on a little later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache

from fakes.ear import HOP_MS, QUARTER_MS, QUIET, WINDOW_MS, Ear
from fakes.pcm import FRAME_MS
from fakes.phrases import HIGH_TONES, LOW_TONES, PHRASES, SYMBOL_MS, UNKNOWN, Phrase, wave

PAUSE_MS = 300
"""A silence inside a phrase (a frame that came late) up to this long does not end it."""

TOLERANCE_MS = 8
"""How much of a phrase may be missing in one place, by the ear's own precision, before it is no longer complete."""

NOISE_MS = 80
"""Sound that is no phrase and shorter than this is not reported."""

LEAST_MS = 150
"""A part of a phrase shorter than this is not taken for one."""

_CURRENT_NOISE_MS = 250
_DROP = 0.1
_HOLE = 0.05
_SYMBOLS = len(LOW_TONES) * len(HIGH_TONES)
_SYMBOL_HOPS = SYMBOL_MS // HOP_MS
_TRIPLE_HOPS = 2 * _SYMBOL_HOPS
# How many windows must agree before a phrase goes on. After a silence those of two symbols: no other phrase begins so.
# Without one those of three, since two symbols may also come in another phrase that has begun already.
_PROOF = 5
_LONG_PROOF = 9
_ALIKE = 0.8
_TELL_MS = 200
_END_MS = 15


@dataclass(frozen=True, slots=True)
class Heard:
    """One phrase as it was heard, or unrecognised sound (`phrase` is "?").

    `start_ms`, `end_ms`: when the sound began and ended, on the listener's clock, to within a few milliseconds.
    `heard_ms`: how much sound of the phrase there was, without pauses in between.
    `complete`: the whole phrase was heard, in order, nothing lost or repeated; pauses inside are allowed.
    `from_ms`, `to_ms`: where in the phrase hearing began and where it stopped.
    """

    phrase: str
    start_ms: float
    end_ms: float
    heard_ms: float
    complete: bool
    from_ms: float = 0.0
    to_ms: float = 0.0


class State(Enum):
    """What the recogniser does with a phrase."""

    SEEKING = "no phrase is being heard"
    FOLLOWING = "a phrase is being heard, by its sound"
    COMPARING = "a phrase is being heard, by its bytes (see fakes.listener)"
    PAUSED = "a phrase broke off and may go on"


_TRANSITIONS = {
    State.SEEKING: {State.FOLLOWING},
    State.FOLLOWING: {State.COMPARING, State.PAUSED},
    State.COMPARING: {State.PAUSED},
    State.PAUSED: {State.FOLLOWING, State.SEEKING},
}


@dataclass(slots=True)
class Track:
    """A phrase that is being heard, times in ms on the listener's clock.

    `lag` is when its first sample was, or would have been, heard. `start`, `last`: its sound began, was last heard.
    `first` is where in the phrase hearing began. `heard` counts the sound before the present run, which began at
    `run_start`. `power`: mean square of its sound. `soft_end`: it broke off in another sound, so `last` is a guess.
    """

    phrase: Phrase
    lag: float
    start: float
    first: float
    run_start: float
    last: float
    power: float
    heard: float = 0.0
    seamless: bool = True
    soft_end: bool = False

    @property
    def position(self) -> float:
        """Where in the phrase hearing stopped."""
        return self.last - self.lag

    @property
    def end(self) -> float:
        """When the last sample of the phrase is due."""
        return self.lag + self.phrase.duration_ms

    def go_on(self, start: float, lag: float) -> None:
        """Count the run that is over, and begin another at `start`."""
        self.heard += self.last - self.run_start
        self.seamless &= abs(start - lag - self.position) <= TOLERANCE_MS
        self.run_start = self.last = start
        self.lag = lag
        self.soft_end = False

    def report(self) -> Heard:
        """The phrase as heard so far."""
        whole = self.first <= TOLERANCE_MS and self.last >= self.end - TOLERANCE_MS
        times = (self.start, self.last, self.heard + self.last - self.run_start, self.first, self.position)
        start, last, heard, first, position = (round(time, 3) for time in times)
        return Heard(self.phrase.name, start, last, heard, whole and self.seamless, first, position)


@dataclass(slots=True)
class _Resumption:
    """A guess at how a phrase that broke off goes on; how many windows in a row agree with it, and how many do not."""

    lag: float
    good: int = 0
    bad: int = 0


@dataclass(slots=True)
class _Piece:
    """An unbroken piece of sound. Window `n` begins at `origin + 10 * n`; `quarters`: mean square of every 2.5 ms."""

    origin: float = 0.0
    codes: list[int] = field(default_factory=list)
    quarters: list[float] = field(default_factory=list)

    def quarter(self, time: float) -> int:
        """The index of the 2.5 ms in which `time` lies."""
        return max(int((time - self.origin) / QUARTER_MS), 0)

    def edge(self, power: float, first: int, last: int, loud: bool) -> float | None:
        """When, from quarter `first` to before `last`, the sound becomes loud (or quiet) for 5 ms; None: never."""
        limit = _DROP * power
        for index in range(first, min(last, len(self.quarters) - 1)):
            if (self.quarters[index] >= limit) is loud and (self.quarters[index + 1] >= limit) is loud:
                return self.origin + index * QUARTER_MS
        return None

    def stretches(self, power: float) -> list[tuple[float, float]]:
        """When sound began and ended, for all the sound in the piece."""
        found = []
        count = len(self.quarters)
        begin = self.edge(power, 0, count, loud=True)
        while begin is not None:
            end = self.edge(power, self.quarter(begin + 0.1), count, loud=False)
            found.append((begin, self.origin + count * QUARTER_MS if end is None else end))
            begin = None if end is None else self.edge(power, self.quarter(end + 0.1), count, loud=True)
        return found


@cache
def _triples() -> dict[int, tuple[Phrase, int]]:
    """Three symbols in a row, as one number -> the phrase that has them, and the index of the first."""
    table = {}
    for phrase in PHRASES.values():
        symbols = phrase.symbols
        for index in range(len(symbols) - 2):
            table[_key(*symbols[index : index + 3])] = (phrase, index)
    return table


def _key(first: int, second: int, third: int) -> int:
    return (first * _SYMBOLS + second) * _SYMBOLS + third


def _agrees(phrase: Phrase, position: float, code: int) -> int:
    """1 when a window is what the phrase has at `position`, -1 when it is not, 0 when it lies between two symbols."""
    symbols = phrase.symbols
    first = int((position + 1) // SYMBOL_MS)
    second = int((position + WINDOW_MS - 1) // SYMBOL_MS)
    if code >= 0 and (
        (0 <= first < len(symbols) and code == symbols[first])
        or (0 <= second < len(symbols) and code == symbols[second])
    ):
        return 1
    return 0 if code < 0 and first != second else -1


class Recogniser:
    """Makes phrases of pieces of sound. Each piece is a `begin`, some `hear` and an `end`; in between, `wait`."""

    def __init__(self, encoding: str, rate: int) -> None:
        self.heard: list[Heard] = []
        self.track: Track | None = None
        self.state = State.SEEKING
        self.ear = Ear(encoding, rate)
        # The present piece of sound, and what each of its windows may be; pieces before it that nobody understood.
        self._piece = _Piece()
        self._guesses: list[tuple[Phrase, int] | None] = []
        self._past: list[_Piece] = []
        # Following: the last window that agreed, the first since that does not.
        self._last_good = 0
        self._first_bad = -1
        # Seeking: windows before this one are spoken for.
        self._seek_from = 0
        # Paused: when there is sound again, and how the phrase may go on from there.
        self._again: float | None = None
        self._resumptions: list[_Resumption] = []
        # Sound that is no phrase, or not known to be one yet.
        self._noise_start: float | None = None
        self._noise_end = 0.0
        self._noise_heard = 0.0
        self._free = 0.0

    @property
    def idle(self) -> bool:
        """Nothing is being heard, and nothing may go on."""
        return self.track is None and self._noise_start is None

    @property
    def puzzled(self) -> bool:
        """There has been sound for half a second, and no phrase in it."""
        return self.track is None and self._noise_start is not None and self._noise_heard > 500

    @property
    def current(self) -> Heard | None:
        """What is being heard now: a phrase; `?` for sound of a quarter of a second that is none; None for silence."""
        if self.track is not None:
            return self.track.report()
        if self._noise_start is not None and self.sounds:
            return self._noise(self._noise_start)
        return None

    @property
    def sounds(self) -> bool:
        """Whether anything is `current`; cheaper than telling what."""
        return self.track is not None or (self._noise_start is not None and self._noise_heard >= _CURRENT_NOISE_MS)

    @property
    def status(self) -> tuple[int, str | None]:
        """How many phrases were heard, and the name of the current one."""
        if self.track is not None:
            return len(self.heard), self.track.phrase.name
        return len(self.heard), UNKNOWN if self.sounds else None

    def begin(self, time: float) -> None:
        """An unbroken piece of sound begins."""
        if self._noise_start is not None:
            self._past.append(self._piece)
        self._piece = _Piece(time)
        self.ear.reset()
        self._guesses = []
        self._seek_from = 0
        self._again = None

    def hear(self, data: bytes) -> None:
        """Go on with the piece. Takes whole hops."""
        codes, quarters, hole = self.ear.hear(data)
        piece = self._piece
        window = len(piece.codes)
        piece.quarters += quarters
        piece.codes += codes
        self._guesses += [None] * len(codes)
        if self.track is not None and hole >= _HOLE * self.track.power:
            window = self._follow_on(self.track, window)
        for further in range(window, len(piece.codes)):
            self._window(further)

    def quiet(self) -> bool:
        """Whether the piece has been silence for 100 ms, and nothing is being heard."""
        return self.idle and all(code == QUIET for code in self._piece.codes[-100 // HOP_MS :])

    def end(self) -> None:
        """The piece ends; silence follows."""
        if self.state is State.FOLLOWING:
            self._lose(len(self._piece.codes))
        elif self._noise_start is not None:
            quarters = self._piece.quarters
            stretches = self._piece.stretches(sum(quarters) / len(quarters))
            self._noise_end = min(self._noise_end, stretches[-1][1]) if stretches else self._noise_end

    def wait(self, now: float) -> None:
        """Nothing was heard until `now`."""
        if self._noise_start is not None and now - self._noise_end > PAUSE_MS:
            self.end_noise()
        if self.track is not None:
            due = self.track.last + PAUSE_MS
            if self._again is not None and self._again <= due:
                # There is sound again in time; it takes a moment to tell what it is.
                due = max(due, self._again + _TELL_MS)
            if now > due:
                self.finish()

    def enter(self, state: State) -> None:
        """Change state. Raises `RuntimeError` for a transition that is not declared."""
        if state not in _TRANSITIONS[self.state]:
            raise RuntimeError(f"recogniser: no transition from {self.state.name} to {state.name}")
        self.state = state
        self._again = None
        self._first_bad = -1

    def pause(self, end: float) -> None:
        """The phrase breaks off at `end`; where that is its last sample, it is finished."""
        track = self.track
        assert track is not None
        self.enter(State.PAUSED)
        track.last = self._free = min(end, track.end)
        if track.last >= track.end - 0.5:
            self.finish()

    def compare(self, now: float, position: float) -> None:
        """The phrase is followed by its bytes from here; its first `position` ms are past."""
        assert self.track is not None
        self.enter(State.COMPARING)
        self._noise_start = None
        self.track.lag = now - position
        self.track.last = now

    def finish(self) -> None:
        """The phrase that broke off is over."""
        if self.track is not None:
            self.enter(State.SEEKING)
            heard = self.track.report()
            if not heard.complete and heard.heard_ms < LEAST_MS:
                # Three symbols may come by chance in what is no phrase, hardly ever more.
                heard = replace(heard, phrase=UNKNOWN, from_ms=0.0, to_ms=heard.heard_ms)
            self.heard.append(heard)
            self.track = None

    def end_noise(self) -> None:
        """The sound that is no phrase is over."""
        if self._noise_start is not None:
            if min(self._noise_heard, self._noise_end - self._noise_start) >= NOISE_MS:
                self.finish()
                self.heard.append(self._noise(self._noise_start))
            self._noise_start = None
        self._past = []

    def _noise(self, start: float) -> Heard:
        heard = min(self._noise_heard, self._noise_end - start)
        start, end, heard = round(start, 3), round(self._noise_end, 3), round(heard, 3)
        return Heard(UNKNOWN, start, end, heard, False, 0.0, heard)

    def _time(self, window: int) -> float:
        return self._piece.origin + HOP_MS * window

    def _fits(self, phrase: Phrase, lag: float, window: int) -> int:
        return _agrees(phrase, self._time(window) - lag, self._piece.codes[window])

    def _window(self, window: int) -> None:
        if self.state is State.FOLLOWING:
            self._follow(window)
        else:
            self._seek(window)

    # Following.

    def _follow_on(self, track: Track, window: int) -> int:
        """Follow the phrase as long as there is nothing to think about, which is fast. Returns the next window."""
        codes, symbols = self._piece.codes, track.phrase.symbols
        position = self._time(window) - track.lag
        if self.state is not State.FOLLOWING or self._first_bad >= 0 or position < 0:
            return window
        first, second = int(position + 1), int(position + WINDOW_MS - 1)
        stop = min(len(codes), window + int((track.phrase.duration_ms - WINDOW_MS - position) // HOP_MS))
        for further in range(window, stop):
            code = codes[further]
            if code != symbols[first // SYMBOL_MS] and code != symbols[second // SYMBOL_MS]:
                if code >= 0 or first // SYMBOL_MS == second // SYMBOL_MS:
                    break
            else:
                self._last_good = further
            first += HOP_MS
            second += HOP_MS
        else:
            further = max(stop, window)
        if self._last_good >= window:
            track.last = self._time(self._last_good) + WINDOW_MS
        return further

    def _follow(self, window: int) -> None:
        track = self.track
        assert track is not None
        time = self._time(window)
        if time >= track.end - _END_MS:
            end = track.end if self._first_bad < 0 else self._time(self._first_bad) + HOP_MS
            stopped = self._fall(track, end)
            self.pause(end if stopped is None or stopped > end - QUARTER_MS else stopped)
            self.finish()
            self._seek_from = window
            self._seek(window)
            return
        agrees = _agrees(track.phrase, time - track.lag, self._piece.codes[window])
        if max(self._piece.quarters[4 * window + 1 : 4 * window + 4]) < _HOLE * track.power:
            # A hole of a frame need not spoil any window so much that it disagrees.
            self._lose(window)
            self._again_from(window)
        elif agrees > 0:
            self._last_good, self._first_bad = window, -1
            track.last = time + WINDOW_MS
        elif agrees < 0 and self._first_bad < 0:
            self._first_bad = window
        elif agrees < 0:
            self._lose(window)
            self._again_from(window)

    def _again_from(self, window: int) -> None:
        """Hear the windows again that did not belong to the phrase, up to `window`."""
        for again in range(self._seek_from, window + 1):
            self._window(again)

    def _lose(self, window: int) -> None:
        """The sound ends at `window`, or has not been that of the phrase for some windows."""
        track = self.track
        assert track is not None
        bad = self._first_bad if self._first_bad >= 0 else window
        stopped = self._fall(track, self._time(bad) + WINDOW_MS)
        track.soft_end = stopped is None
        self._seek_from = bad
        self.pause(self._time(bad) + HOP_MS if stopped is None else stopped)

    def _fall(self, track: Track, high: float) -> float | None:
        """When the sound falls silent, between the last window that agreed and `high`; None when it does not."""
        piece = self._piece
        return piece.edge(track.power, piece.quarter(self._time(self._last_good)), piece.quarter(high), loud=False)

    # Seeking.

    def _seek(self, window: int) -> None:
        time, code = self._time(window), self._piece.codes[window]
        if code != QUIET and time >= self._free - HOP_MS / 2:
            if self._noise_start is None:
                self._noise_start, self._noise_heard = max(time, self._free), HOP_MS
            self._noise_end = time + WINDOW_MS
            self._noise_heard += HOP_MS
        self.wait(time)
        if self.track is not None and self._resume(self.track, window):
            return
        before = window - _TRIPLE_HOPS
        if before < self._seek_from:
            return
        first, second = self._piece.codes[before], self._piece.codes[window - _SYMBOL_HOPS]
        if first < 0 or second < 0 or code < 0:
            return
        guess = self._guesses[window] = _triples().get(_key(first, second, code))
        if guess is not None and self._confirmed(window, guess):
            phrase, index = guess
            # The window of the first symbol lies anywhere inside it, 10 ms after its beginning on average.
            begin = self._time(before) - HOP_MS - index * SYMBOL_MS
            self._lock(phrase, self._exact(phrase, begin, index * SYMBOL_MS + 15, 80, 16), window)

    def _exact(self, phrase: Phrase, lag: float, position: float, length: float, doubt: float) -> float:
        """Make the lag, in doubt by that many ms, exact to a sample by the sound of `length` ms from `position` on."""
        shift = self.ear.locate(phrase.name, position, length, lag + position - self._piece.origin, doubt)
        return lag if shift is None else lag + shift

    def _confirmed(self, window: int, guess: tuple[Phrase, int]) -> bool:
        """Another window says the same: the one before, or one that is a symbol earlier."""
        if self._guesses[window - 1] == guess:
            return True
        before = (guess[0], guess[1] - 1)
        return before in self._guesses[window - _SYMBOL_HOPS - 1 : window - _SYMBOL_HOPS + 2]

    def _guess_resumptions(self, track: Track, time: float) -> float | None:
        """From where it stopped, or as if it had not stopped; and either with a frame or two more or less."""
        if self._again is None:
            piece = self._piece
            again = max(track.last, piece.origin)
            if not track.soft_end:
                again = piece.edge(track.power, piece.quarter(again), len(piece.quarters), loud=True) or math.inf
            silence = again - track.last
            frames = (0, -1, 1) if silence > FRAME_MS / 2 else (0, -1, 1, -2, 2)
            lags = [track.lag + delay + frame * FRAME_MS for frame in frames for delay in (silence, 0)]
            self._resumptions = [_Resumption(lag) for lag in lags]
            self._again = None if again == math.inf else again
        return self._again

    def _resume(self, track: Track, window: int) -> bool:
        time = self._time(window)
        again = self._guess_resumptions(track, time)
        if again is None or time < again - HOP_MS / 2:
            return False
        for guess in self._resumptions:
            agrees = self._fits(track.phrase, guess.lag, window)
            guess.good = 0 if agrees < 0 else guess.good + agrees
            guess.bad += agrees < 0
        best = max(self._resumptions, key=lambda guess: (guess.good, -guess.bad))
        # At the end of the phrase there may be no time for the full proof, but then all of it should agree.
        at_end = time >= best.lag + track.phrase.duration_ms - _END_MS - HOP_MS and best.bad <= 1
        proof = _PROOF if again - track.last > FRAME_MS / 2 else _LONG_PROOF
        if best.good < (2 if at_end else proof):
            return False
        position = max(time - 2 * WINDOW_MS - best.lag, 0.0)
        lag = best.lag if at_end else self._exact(track.phrase, best.lag, position, 3 * WINDOW_MS, 5)
        self._lock(track.phrase, lag, window, None if track.soft_end else again)
        return True

    def _lock(self, phrase: Phrase, lag: float, window: int, start: float | None = None) -> None:
        """Follow `phrase` from here, and where `start` is not given, find out when its sound began."""
        if start is None:
            start = self._beginning(phrase, lag, window)
        track = self.track
        if track is not None and track.phrase is phrase and start - lag > track.position - SYMBOL_MS:
            track.go_on(max(start, track.last), lag)
        else:
            if track is not None and (track.last > start or (track.soft_end and start - track.last < 2 * HOP_MS)):
                track.last = max(start, track.run_start)
            self.finish()
            first = self._piece.quarter(start)
            loud = self._piece.quarters[first : first + 24]
            track = Track(phrase, lag, start, start - lag, start, start, sum(loud) / len(loud))
            if track.first <= TOLERANCE_MS or not self._claim(track):
                self._noise_end = min(self._noise_end, start)
                self.end_noise()
            self.track = track
        self.enter(State.FOLLOWING)
        self._noise_start = None
        self._past = []
        self._last_good = window
        track.last = self._time(window) + WINDOW_MS

    def _beginning(self, phrase: Phrase, lag: float, window: int) -> float:
        """When the sound of `phrase` begins that fills `window`."""
        good = touched = window
        for earlier in range(window - 1, self._seek_from - 1, -1):
            agrees = self._fits(phrase, lag, earlier)
            if agrees < 0:
                break
            touched = earlier
            if agrees > 0:
                good = earlier
        start = max(self._onset(good, touched), lag)
        if start - lag < TOLERANCE_MS or self._interrupts(phrase, lag, start):
            return lag
        return start

    def _interrupts(self, phrase: Phrase, lag: float, start: float) -> bool:
        """Whether `phrase` began while the one before it seemed to go on, since both have the same symbol there."""
        track, length = self.track, start - lag
        if track is None or track.phrase is phrase or lag < track.run_start - 1 or length > 3 * SYMBOL_MS:
            return False
        if lag >= self._piece.origin:
            return self.ear.likeness(phrase.name, length, lag - self._piece.origin) > _ALIKE
        # The sound before this piece was followed by its bytes, so it was that of the book, but for the last sample or
        # two: different samples may have the same byte.
        theirs = wave(track.phrase.name, 8000)[max(round((lag - track.lag) * 8), 0) : round(track.position * 8) - 8]
        return len(theirs) > 0 and bool((theirs == wave(phrase.name, 8000)[: len(theirs)]).all())

    def _claim(self, track: Track) -> bool:
        """Was the sound just before the beginning of the phrase, with pauses in it? Then it belongs to the track."""
        position, heard, seamless = 0.0, 0.0, True
        begin: float | None = None
        for piece in [*self._past, self._piece]:
            for start, end in piece.stretches(track.power):
                if end <= self._free or start >= track.start - HOP_MS:
                    continue
                # Where the sound goes right on into what is understood already, there is a jump, and little is clear.
                unclean = 2 * HOP_MS if end > track.start else 0
                end = min(end, track.start)
                for lag in (start - position, track.lag):
                    if self._belongs(piece, start, end - unclean, track.phrase, lag):
                        break
                else:
                    return False
                begin = start if begin is None else begin
                seamless &= abs(start - lag - position) <= TOLERANCE_MS
                position = end - lag
                heard += end - start
        if begin is None:
            return False
        track.seamless = seamless and abs(track.first - position) <= TOLERANCE_MS
        track.start, track.first, track.heard = begin, 0.0, heard
        return True

    def _belongs(self, piece: _Piece, start: float, end: float, phrase: Phrase, lag: float) -> bool:
        """Whether the sound from `start` to `end` is what `phrase` has there."""
        verdicts = []
        for window, code in enumerate(piece.codes):
            time = piece.origin + HOP_MS * window
            if start - HOP_MS / 2 <= time <= end - WINDOW_MS + HOP_MS / 2:
                verdicts.append(_agrees(phrase, time - lag, code))
        return bool(verdicts) and min(verdicts) >= 0

    def _onset(self, window: int, touched: int) -> float:
        """When the sound sets in that fills most of `window` and may reach back to the window `touched`.

        At a rise in loudness; where there is none, at the beginning of `window`.
        """
        quarters = self._piece.quarters
        middle = 4 * window + 4
        loud = quarters[middle : middle + 4]
        limit = _DROP * sum(loud) / max(len(loud), 1)
        for index in range(middle, max(4 * touched - 5, -1), -1):
            if quarters[index] < limit and (index == 0 or quarters[index - 1] < limit):
                return self._piece.origin + (index + 1) * QUARTER_MS
        return self._piece.origin if touched == 0 else self._time(window)
