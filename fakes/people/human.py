"""What people have in common, on the phone or at a browser: they listen, and a case waits for what they hear.

All times that a case gives are seconds of world time; nothing here polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fakes import audio
from fakes.audio import Heard
from fakes.people.errors import NotHeard, NotSilent, PersonError
from fakes.ports import Clock, Ports, Timer
from fakes.recogniser import TOLERANCE_MS

T = TypeVar("T")
_SETTLING = 25
"""Frames of silence after which the ear has made up its mind about what came before."""

LOST_END_MS = 200
"""How much of the end of a phrase may be lost, and whoever listens understands it all the same."""


def nearly_whole(heard: Heard) -> bool:
    """Whether a phrase was heard from its beginning and without holes, but for its last 200 ms at most."""
    if heard.phrase == audio.UNKNOWN:
        return False
    lost = audio.phrase(heard.phrase).duration_ms - heard.to_ms
    # What the pieces add up to is less than how far the phrase got where there was a hole, more where some came twice.
    seamless = heard.complete or abs(heard.heard_ms - heard.to_ms) <= 2 * TOLERANCE_MS
    return heard.from_ms <= TOLERANCE_MS and lost <= LOST_END_MS and seamless


def in_vain(within: float, why: str) -> str:
    """How long somebody waited for what did not come; `why`, unless it is empty, they did so no longer."""
    return f"within {within:g} s, and nobody had to wait that long: {why}" if why else f"within {within:g} s"


class Human:
    """Somebody who listens.

    `heard`: every phrase heard so far, with times in ms of world time; `hearing`: the one being heard now. An
    expectation (`hears`, `starts_hearing`) looks at what was heard since the last phrase that `hears` was content with.
    What they hear is `encoding` at `rate` samples a second.
    """

    talks_in = "call"
    """What they are in, for messages."""

    def __init__(self, ports: Ports, *, encoding: str, rate: int) -> None:
        self.connected_at: float | None = None
        self.ended_at: float | None = None
        self._ports = ports
        self._listener = audio.Listener(encoding, rate)
        self._silence = audio.silence(20, encoding, rate)
        self._noticed: Heard | None = None
        self._recorded = 0
        self._settling = 0
        self._next = 0
        self._saying: str | None = None
        self._expectations: list[_Expectation] = []
        self._hurry: tuple[float, str] | None = None

    # ------------------------------------------------------------------ what can be asked

    @property
    def heard(self) -> list[Heard]:
        """Every phrase heard so far, whole or in part, in order."""
        return self._listener.heard

    @property
    def hearing(self) -> Heard | None:
        """What is being heard now: a phrase, `?` for another sound, None for silence."""
        return self._listener.current

    @property
    def saying(self) -> str | None:
        """The phrase being said now."""
        return self._saying

    @property
    def is_connected(self) -> bool:
        """True while the connection is up."""
        return self.connected_at is not None and self.ended_at is None

    @property
    def busy(self) -> bool:
        """True while speaking or hearing something."""
        return self._saying is not None or self._settling > 0

    # ------------------------------------------------------------------ listening

    async def hears(self, phrase: str, within: float = 10, *, complete: bool | None = True) -> Heard:
        """Wait until `phrase` has been heard to its end, and return when that was.

        `complete`: True for the whole phrase, False for a part of it, None for either. A phrase that lacks only its
        last moments, see `nearly_whole`, is a part and counts as the whole, too: what follows depends on its having
        been understood, and who wants every syllable asks for `Heard.complete`. Phrases before it are passed over, and
        not looked at again. Raises `NotHeard`.
        """
        audio.phrase(phrase)

        def look() -> Heard | None:
            for index in range(self._next, len(self.heard)):
                heard = self.heard[index]
                enough = complete in (None, heard.complete) or (complete and nearly_whole(heard))
                if heard.phrase == phrase and enough:
                    self._next = index + 1
                    return heard
            if self.ended_at is not None:
                raise self._not_heard(phrase, f"before the {self.talks_in} ended at {self.ended_at:.3f} s")
            return None

        return await self._listens(look, phrase, within)

    async def starts_hearing(self, phrase: str, within: float = 10) -> Heard:
        """Wait until the beginning of `phrase` has been recognised (about 0.2 s of it). Raises `NotHeard`."""
        audio.phrase(phrase)

        def look() -> Heard | None:
            for heard in self.heard[self._next :]:
                if heard.phrase == phrase:
                    return heard
            current = self.hearing
            if current is not None and current.phrase == phrase:
                return current
            if self.ended_at is not None:
                raise self._not_heard(phrase, f"before the {self.talks_in} ended at {self.ended_at:.3f} s")
            return None

        return await self._listens(look, phrase, within)

    def loses_patience(self, within: float, why: str) -> None:
        """Wait for a phrase no longer than `within` seconds from now on, also for one that is waited for already.

        `why` is told when it is not heard then.
        """
        self._hurry = within, why
        for expectation in self._expectations:
            expectation.hurry(within)

    async def _listens(self, look: Callable[[], Heard | None], phrase: str, within: float) -> Heard:
        """Wait for a phrase, as long as there is reason to."""

        def late() -> Exception:
            return self._not_heard(phrase, in_vain(within, self._hurry[1] if self._hurry is not None else ""))

        patience = within if self._hurry is None else min(within, self._hurry[0])
        return await self._expect(look, patience, late, hurries=True)

    async def stops_hearing(self, within: float = 10) -> None:
        """Wait until there is silence. Raises `NotSilent`."""

        def look() -> bool | None:
            return True if self._noticed is None or self.ended_at is not None else None

        def late() -> Exception:
            return NotSilent(f"{self} still hears {self._describe(self.hearing)} after {within:g} s")

        await self._expect(look, within, late)

    async def hears_nothing_for(self, seconds: float) -> None:
        """Wait `seconds`, or until the connection ends; raise `NotSilent` as soon as anything is heard."""
        count = len(self.heard)

        def look() -> bool | None:
            if self.hearing is not None:
                raise NotSilent(f"{self} hears {self._describe(self.hearing)}, expected silence for {seconds:g} s")
            if len(self.heard) > count:
                raise NotSilent(f"{self} heard {self._describe(self.heard[count])}, expected silence")
            return True if self.ended_at is not None else None

        await self._expect(look, seconds, None)

    def hear(self, frame: bytes | None, at_ms: float) -> None:
        """The next 20 ms that the person hears; `at_ms` is when they begin, in world time."""
        if not frame:
            if self._settling == 0:
                return
            if self._noticed is None:
                self._settling -= 1
            frame = self._silence
        else:
            self._settling = _SETTLING
        if self._listener.feed(frame, at_ms) or (self._noticed is not None) is not self._listener.sounds:
            self._notice()

    # ------------------------------------------------------------------ inside

    def _begin(self) -> None:
        """A new conversation: forget the last one."""
        self.connected_at = self.ended_at = None
        self._listener.heard.clear()
        self._recorded = self._next = self._settling = 0
        self._noticed = None

    def _end(self) -> None:
        """The conversation is over: what was being heard has been heard."""
        self.ended_at = self._ports.clock.now()
        if self._listener.flush() or self._noticed is not None:
            self._notice()

    def _notice(self) -> None:
        """What is heard has changed: write it down, and see who waits for it."""
        current = self._listener.current
        for heard in self.heard[self._recorded :]:
            self._record(
                "heard.end",
                heard.phrase,
                outgoing=False,
                start_ms=round(heard.start_ms),
                end_ms=round(heard.end_ms),
                heard_ms=round(heard.heard_ms),
                complete=heard.complete,
                from_ms=round(heard.from_ms),
                to_ms=round(heard.to_ms),
            )
            self._recorded += 1
        started = current is not None and (
            self._noticed is None
            or self._noticed.phrase != current.phrase
            or abs(self._noticed.start_ms - current.start_ms) > 100
        )
        self._noticed = current
        if started and current is not None:
            self._record("heard.start", current.phrase, outgoing=False, start_ms=round(current.start_ms))
        self._look()

    def _record(self, kind: str, body: str | None, *, outgoing: bool = True, **meta: object) -> None:
        """Write down what they say, hear or do."""
        raise NotImplementedError

    def _look(self) -> None:
        for expectation in self._expectations[:]:
            expectation.look()

    async def _expect(
        self,
        look: Callable[[], T | None],
        within: float | None,
        late: Callable[[], Exception] | None,
        *,
        hurries: bool = False,
    ) -> T:
        """Wait until `look` gives a value or raises. After `within` seconds raise `late()`, or return if it is None.

        `hurries`: it is not waited for any longer than there is patience for.
        """
        found = look()
        if found is not None:
            return found
        expectation = _Expectation(look, self._ports.clock, late, hurries=hurries)
        self._expectations.append(expectation)
        if within is not None:
            expectation.expires(within)
        try:
            result: T = await expectation.future  # type: ignore[assignment]
            return result
        finally:
            self._expectations.remove(expectation)
            expectation.over()

    def _not_heard(self, phrase: str, when: str) -> PersonError:
        heard = [self._describe(heard) for heard in self.heard[self._next :]]
        if self.hearing is not None:
            heard.append(f"{self._describe(self.hearing)}, still going on")
        instead = "; ".join(heard) if heard else "nothing"
        before = [heard.phrase for heard in self.heard[: self._next]]
        return NotHeard(
            f"{self} did not hear {phrase!r} {when}. Heard instead: {instead}"
            + (f". Before that: {', '.join(before)}" if before else "")
        )

    @staticmethod
    def _describe(heard: Heard | None) -> str:
        if heard is None:
            return "nothing"
        part = "" if heard.complete else f", {heard.heard_ms / 1000:.2f} s of it"
        return f"{heard.phrase!r} from {heard.start_ms / 1000:.3f} to {heard.end_ms / 1000:.3f} s{part}"


class _Expectation:
    """One thing that somebody waits for."""

    __slots__ = ("_clock", "_hurries", "_late", "_look", "_timer", "_until", "future")

    def __init__(
        self,
        look: Callable[[], object],
        clock: Clock,
        late: Callable[[], Exception] | None,
        *,
        hurries: bool,
    ) -> None:
        self._look = look
        self._clock = clock
        self._late = late
        self._hurries = hurries
        self._timer: Timer | None = None
        self._until = 0.0
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def expires(self, within: float) -> None:
        """It has so many seconds."""
        self._until = self._clock.now() + within
        self._timer = self._clock.call_at(self._until, self._expire)

    def hurry(self, within: float) -> None:
        """It has so many seconds from now on at most, if it is one that hurries."""
        if self._hurries and self._timer is not None and self._until > self._clock.now() + within:
            self._timer.cancel()
            self.expires(within)

    def over(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """See whether it is there."""
        if self.future.done():
            return
        try:
            found = self._look()
        except PersonError as error:
            self.future.set_exception(error)
            return
        if found is not None:
            self.future.set_result(found)

    def _expire(self) -> None:
        """The time is up."""
        if self.future.done():
            return
        if self._late is None:
            self.future.set_result(True)
        else:
            self.future.set_exception(self._late())
