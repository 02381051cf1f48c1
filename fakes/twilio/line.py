"""The voice path of one call: a 20 ms clock between the far end on one side and a stream or a prompt on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fakes.ports import Clock, Timer
from fakes.twilio.boundary import FarEnd
from fakes.twilio.playback import FRAME_SECONDS


class Attached(Protocol):
    """What is at Twilio's end of the line, such as a stream."""

    @property
    def wants_ticks(self) -> bool:
        """Whether it needs the clock though nobody speaks."""
        ...

    def tick(self, spoken: bytes | None) -> bytes | None:
        """Take 20 ms of what the far end says (None for silence), give the next 20 ms for it to hear."""
        ...


class Line:
    """Runs while there is something to carry; one timer, on a fixed grid so that it does not drift."""

    __slots__ = (
        "_airing",
        "_airing_since",
        "_attached",
        "_audio",
        "_audio_until",
        "_base",
        "_clock",
        "_count",
        "_person",
        "_stopped",
        "_tap",
        "_timer",
        "_trailing",
    )

    def __init__(self, clock: Clock, person: FarEnd | None, *, audio: bool, trailing: float = 0.0) -> None:
        """`audio`: whether silence is carried; where it is not, `trailing` seconds of it follow what was said."""
        self._clock = clock
        self._person = person
        self._audio = audio
        self._audio_until = 0.0
        self._trailing = trailing
        self._attached: Attached | None = None
        self._tap: Callable[[bytes | None, float], None] | None = None
        self._timer: Timer | None = None
        self._base = 0.0
        self._count = 0
        self._stopped = False
        # What the far end is hearing: told to it when the 20 ms are over, since only then has it been heard.
        self._airing: bytes | None = None
        self._airing_since = 0.0

    @property
    def audio(self) -> bool:
        """Whether silence is carried now, as Twilio does."""
        return self._audio or self._clock.now() < self._audio_until

    def attach(self, attached: Attached | None, *, at: float | None = None) -> None:
        """Put something at Twilio's end, in the place of what is there. `at`: when its first 20 ms begin."""
        self._attached = attached
        if attached is not None:
            if at is not None and self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self.wake(at)

    def tap(self, listener: Callable[[bytes | None, float], None] | None) -> None:
        """Let `listener` have what the far end says, with the time in ms; None ends it."""
        self._tap = listener
        if listener is not None:
            self.wake()

    def wake(self, at: float | None = None) -> None:
        """See that the clock runs: there is something to carry."""
        if self._timer is None and not self._stopped:
            self._base = self._clock.now() if at is None else at
            self._count = 0
            self._timer = self._clock.call_at(self._base, self._tick)

    def stop(self) -> None:
        """The call is over, be it in the middle of a frame."""
        self._stopped = True
        if self._airing is not None and self._person is not None:
            heard = round((self._clock.now() - self._airing_since) * 8000)
            self._person.hear(self._airing[:heard], self._airing_since * 1000)
            self._airing = None
        self._attached = None
        self._tap = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        due = self._base + self._count * FRAME_SECONDS
        self._count += 1
        self._timer = self._clock.call_at(self._base + self._count * FRAME_SECONDS, self._tick)
        person = self._person
        spoken = None
        if person is not None:
            person.hear(self._airing, self._airing_since * 1000)
            spoken = person.speak()
            if spoken is not None and not self._audio:
                self._audio_until = due + self._trailing
        if self._tap is not None:
            self._tap(spoken, due * 1000)
        attached = self._attached
        self._airing = attached.tick(spoken) if attached is not None else None
        self._airing_since = due
        if self._stopped:
            self._airing = None
        elif not (self._airing or self._tap or (person is not None and person.busy)):
            self._rest()

    def _rest(self) -> None:
        """Stop the clock when nothing needs it."""
        if self._timer is not None and (self._attached is None or not self._attached.wants_ticks):
            self._timer.cancel()
            self._timer = None
