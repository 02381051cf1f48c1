"""A human at the far end of a phone call, caller or callee.

One half is told what the line carries, 20 ms at a time (`speak`, `hear`, `on_ringing`, `on_answered`, `on_ended`). The
other half is what a case says in words: `await caller.says("what_time")`, `await caller.hears("its_noon")`. All times
that a case gives are seconds of world time; nothing here polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

from fakes import audio
from fakes.audio import Heard
from fakes.people.errors import NotConnected, NotEnded, NotHeard, NotSilent, PhoneError
from fakes.ports import Ports, Timer
from fakes.twilio.boundary import Reaction

if TYPE_CHECKING:
    from fakes.twilio.call import Call
    from fakes.twilio.core import Twilio

T = TypeVar("T")
Party = Literal["caller", "callee"]
_SILENCE = audio.silence(20)
_SETTLING = 25
"""Frames of silence after which the ear has made up its mind about what came before."""
_KEYS = "0123456789*#ABCD"


class Person:
    """One human with one phone.

    `number`: E.164. `party`: `caller` or `callee`, the name on the wire. `heard`: every phrase heard so far, with times
    in ms of world time; `hearing`: the one being heard now. `call`: the present or the last call. An expectation
    (`hears`, `starts_hearing`) looks at what was heard since the last phrase that `hears` was content with.
    """

    def __init__(self, ports: Ports, *, number: str, party: Party = "caller") -> None:
        self.number = number
        self.call: Call | None = None
        self.connected_at: float | None = None
        self.ended_at: float | None = None
        self._party = party
        self._ports = ports
        self._reaction = Reaction("answer")
        self._listener = audio.Listener("pcmu", 8000)
        self._noticed: Heard | None = None
        self._recorded = 0
        self._settling = 0
        self._next = 0
        self._frames: tuple[bytes, ...] = ()
        self._position = 0
        self._saying: str | None = None
        self._expectations: list[_Expectation] = []

    def __repr__(self) -> str:
        return f"<Person {self._party} {self.number}>"

    # ------------------------------------------------------------------ what can be asked

    @property
    def party(self) -> str:
        """`caller` or `callee`."""
        return self._party

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
        """True while the call is up."""
        return self.connected_at is not None and self.ended_at is None

    @property
    def busy(self) -> bool:
        """True while speaking or hearing something."""
        return self._saying is not None or self._settling > 0

    # ------------------------------------------------------------------ dialling, answering, hanging up

    def dial(self, twilio: Twilio, number: str) -> Call:
        """Dial `number`, one of Twilio's. Raises ValueError for a number that it does not have."""
        if self.call is not None and self.ended_at is None:
            raise NotConnected(f"{self} cannot dial {number}: {self.call.name} is not over yet")
        if number not in twilio.numbers:
            raise ValueError(f"{number!r} is no number of this Twilio account; there are: {', '.join(twilio.numbers)}")
        self._begin()
        self._ports.recorder.record(
            self._party, "twilio", "phone", "dial", number, connection=f"call{len(twilio.calls) + 1}", meta={}
        )
        self.call = twilio.dial(self, number)
        return self.call

    def answers_after(self, ms: int) -> None:
        """As a callee: pick up after `ms` of ringing. Without it, the time is a choice of the run."""
        self._reaction = Reaction("answer", ms)

    def rejects(self, after_ms: int | None = None) -> None:
        """As a callee: decline the call (SIP 603; the call ends as no-answer)."""
        self._reaction = Reaction("reject", after_ms)

    def is_busy(self, after_ms: int | None = None) -> None:
        """As a callee: the line is busy (SIP 486; the call ends as busy)."""
        self._reaction = Reaction("busy", after_ms)

    def does_not_answer(self) -> None:
        """As a callee: let it ring."""
        self._reaction = Reaction("ignore")

    def hang_up(self) -> None:
        """Put the phone down, be it in the middle of a word. Does nothing when the call is over."""
        if self.call is None:
            raise NotConnected(f"{self} cannot hang up: there was no call")
        if self.ended_at is None:
            self.call.person_hangs_up(self._put_down)

    async def connected(self, within: float = 10) -> Call:
        """Wait until the call is connected. Raises `NotConnected`."""

        def look() -> Call | None:
            if self.connected_at is not None and self.call is not None:
                return self.call
            if self.ended_at is not None and self.call is not None:
                raise NotConnected(f"{self}: {self.call.name} ended as {self.call.status} without being connected")
            return None

        def late() -> Exception:
            state = "there was no call" if self.call is None else f"{self.call.name} is {self.call.status}"
            return NotConnected(f"{self} was not connected within {within:g} s: {state}")

        return await self._expect(look, within, late)

    async def ended(self, within: float = 10) -> None:
        """Wait until the call is over. Raises `NotEnded`."""

        def look() -> bool | None:
            return True if self.ended_at is not None else None

        def late() -> Exception:
            return NotEnded(
                f"{self}: the call was not over within {within:g} s; "
                f"{self.call.name if self.call else 'no call'} is {self.call.status if self.call else 'there'}"
            )

        await self._expect(look, within, late)

    # ------------------------------------------------------------------ speaking

    def start_saying(self, phrase: str) -> None:
        """Begin to say a phrase of the phrase book, in the place of one being said. Raises for an unknown one."""
        frames = audio.frames(phrase, "pcmu", 8000)
        call = self._in_call(f"say {phrase!r}")
        self.stop_talking()
        self._frames = frames
        self._position = 0
        self._saying = phrase
        self._record("speech.start", phrase)
        call.line.wake()

    def stop_talking(self) -> None:
        """Fall silent, be it in the middle of a word."""
        if self._saying is not None:
            said, self._saying = self._saying, None
            self._record("speech.end", said, said_ms=self._position * 20)
            self._look()

    async def says(self, phrase: str) -> None:
        """Say a phrase to its end. Raises `NotConnected` when the call ends before that."""
        self.start_saying(phrase)
        frames = self._frames

        def look() -> bool | None:
            if self.ended_at is not None:
                raise NotConnected(f"{self}: the call ended at {self.ended_at:.3f} s, while saying {phrase!r}")
            return True if self._frames is not frames or self._saying is None else None

        await self._expect(look, None, None)

    def press(self, keys: str) -> None:
        """Press keys: `0`-`9`, `*`, `#`, `A`-`D`. Raises ValueError for any other."""
        for key in keys:
            if key not in _KEYS:
                raise ValueError(f"{key!r} is no key; there are {_KEYS}")
        call = self._in_call(f"press {keys!r}")
        for key in keys:
            self._record("dtmf", key)
            call.press(key)

    # ------------------------------------------------------------------ listening

    async def hears(self, phrase: str, within: float = 10, *, complete: bool | None = True) -> Heard:
        """Wait until `phrase` has been heard to its end, and return when that was.

        `complete`: True for the whole phrase, False for a part of it, None for either. Phrases before it are passed
        over, and not looked at again. Raises `NotHeard`.
        """
        audio.phrase(phrase)

        def look() -> Heard | None:
            for index in range(self._next, len(self.heard)):
                heard = self.heard[index]
                if heard.phrase == phrase and complete in (None, heard.complete):
                    self._next = index + 1
                    return heard
            if self.ended_at is not None:
                raise self._not_heard(phrase, f"before the call ended at {self.ended_at:.3f} s")
            return None

        return await self._expect(look, within, lambda: self._not_heard(phrase, f"within {within:g} s"))

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
                raise self._not_heard(phrase, f"before the call ended at {self.ended_at:.3f} s")
            return None

        return await self._expect(look, within, lambda: self._not_heard(phrase, f"within {within:g} s"))

    async def stops_hearing(self, within: float = 10) -> None:
        """Wait until there is silence. Raises `NotSilent`."""

        def look() -> bool | None:
            return True if self._noticed is None or self.ended_at is not None else None

        def late() -> Exception:
            return NotSilent(f"{self} still hears {self._describe(self.hearing)} after {within:g} s")

        await self._expect(look, within, late)

    async def hears_nothing_for(self, seconds: float) -> None:
        """Wait `seconds`, or until the call ends, and raise `NotSilent` at once when anything is heard meanwhile."""
        count = len(self.heard)

        def look() -> bool | None:
            if self.hearing is not None:
                raise NotSilent(f"{self} hears {self._describe(self.hearing)}, expected silence for {seconds:g} s")
            if len(self.heard) > count:
                raise NotSilent(f"{self} heard {self._describe(self.heard[count])}, expected silence")
            return True if self.ended_at is not None else None

        await self._expect(look, seconds, None)

    # ------------------------------------------------------------------ what the line tells

    def on_ringing(self, call: Call) -> Reaction:
        """The phone rings: an outbound call of Twilio's reaches its callee."""
        self._begin()
        self.call = call
        self._record("ring", call.from_, outgoing=False)
        return self._reaction

    def on_answered(self, call: Call) -> None:
        """The call is connected."""
        self.call = call
        self.connected_at = self._ports.clock.now()
        self._record("answer", None, outgoing=not call.inbound)
        self._look()

    def on_ended(self, call: Call) -> None:
        """The call is over."""
        if self.call is not call:
            return
        self.ended_at = self._ports.clock.now()
        self.stop_talking()
        if self._listener.flush() or self._noticed is not None:
            self._notice()
        reaction = self._reaction.kind
        if self.connected_at is None and not call.inbound and reaction in ("reject", "busy"):
            self._record(reaction, None)
        self._record("ended", str(call.status), outgoing=False)
        self._look()

    def speak(self) -> bytes | None:
        """The next 20 ms that the person says, 160 bytes of mu-law; None for silence."""
        if self._saying is None:
            return None
        if self._position >= len(self._frames):
            self.stop_talking()
            return None
        frame = self._frames[self._position]
        self._position += 1
        return frame

    def hear(self, frame: bytes | None, at_ms: float) -> None:
        """The next 20 ms that the person hears; `at_ms` is when they begin, in world time."""
        if not frame:
            if self._settling == 0:
                return
            if self._noticed is None:
                self._settling -= 1
            frame = _SILENCE
        else:
            self._settling = _SETTLING
        if self._listener.feed(frame, at_ms) or (self._noticed is None) is not (self._listener.current is None):
            self._notice()

    # ------------------------------------------------------------------ inside

    def _begin(self) -> None:
        """A new call: forget the last one."""
        self.call = None
        self.connected_at = self.ended_at = None
        self._listener.heard.clear()
        self._recorded = self._next = self._settling = 0
        self._noticed = None

    def _put_down(self) -> None:
        """The hang-up has its effect now."""
        if self.ended_at is None:
            self._record("hangup", self._saying)

    def _in_call(self, what: str) -> Call:
        if self.call is None or not self.is_connected:
            state = "there was no call" if self.call is None else f"{self.call.name} is {self.call.status}"
            raise NotConnected(f"{self} cannot {what}: {state}")
        return self.call

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
        source, target = (self._party, "twilio") if outgoing else ("twilio", self._party)
        connection = self.call.name if self.call is not None else ""
        self._ports.recorder.record(source, target, "phone", kind, body, connection=connection, meta=meta)

    def _look(self) -> None:
        for expectation in self._expectations[:]:
            expectation.look()

    async def _expect(
        self, look: Callable[[], T | None], within: float | None, late: Callable[[], Exception] | None
    ) -> T:
        """Wait until `look` gives a value or raises. After `within` seconds raise `late()`, or return if it is None."""
        found = look()
        if found is not None:
            return found
        expectation = _Expectation(look)
        self._expectations.append(expectation)
        clock = self._ports.clock
        timer: Timer | None = None
        if within is not None:
            timer = clock.call_at(clock.now() + within, lambda: expectation.expire(late))
        try:
            result: T = await expectation.future  # type: ignore[assignment]
            return result
        finally:
            self._expectations.remove(expectation)
            if timer is not None:
                timer.cancel()

    def _not_heard(self, phrase: str, when: str) -> PhoneError:
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

    __slots__ = ("_look", "future")

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def look(self) -> None:
        """See whether it is there."""
        if self.future.done():
            return
        try:
            found = self._look()
        except PhoneError as error:
            self.future.set_exception(error)
            return
        if found is not None:
            self.future.set_result(found)

    def expire(self, late: Callable[[], Exception] | None) -> None:
        """The time is up."""
        if self.future.done():
            return
        if late is None:
            self.future.set_result(True)
        else:
            self.future.set_exception(late())
