"""A human at the far end of a phone call, caller or callee.

One half is told what the line carries, 20 ms at a time (`speak`, `hear`, `on_ringing`, `on_answered`, `on_ended`). The
other half is what a case says in words: `await caller.says("what_time")`, `await caller.hears("its_noon")`. All times
that a case gives are seconds of world time; nothing here polls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fakes import audio
from fakes.people.errors import NotConnected, NotEnded
from fakes.people.human import Human
from fakes.ports import Ports
from fakes.twilio.boundary import Reaction

if TYPE_CHECKING:
    from fakes.twilio.call import Call
    from fakes.twilio.core import Twilio

Party = Literal["caller", "callee"]
_KEYS = "0123456789*#ABCD"


class Person(Human):
    """One human with one phone.

    `number`: E.164. `party`: `caller` or `callee`, the name on the wire. `call`: the present or the last call.
    """

    def __init__(self, ports: Ports, *, number: str, party: Party = "caller") -> None:
        self.number = number
        super().__init__(ports, encoding="pcmu", rate=8000)
        self.call: Call | None = None
        self._party = party
        self._reaction = Reaction("answer")
        self._frames: tuple[bytes, ...] = ()
        self._position = 0

    def __repr__(self) -> str:
        return f"<Person {self._party} {self.number}>"

    # ------------------------------------------------------------------ what can be asked

    @property
    def party(self) -> str:
        """`caller` or `callee`."""
        return self._party

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
        self._end()
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

    # ------------------------------------------------------------------ inside

    def _begin(self) -> None:
        """A new call: forget the last one."""
        super()._begin()
        self.call = None

    def _put_down(self) -> None:
        """The hang-up has its effect now."""
        if self.ended_at is None:
            self._record("hangup", self._saying)

    def _in_call(self, what: str) -> Call:
        if self.call is None or not self.is_connected:
            state = "there was no call" if self.call is None else f"{self.call.name} is {self.call.status}"
            raise NotConnected(f"{self} cannot {what}: {state}")
        return self.call

    def _record(self, kind: str, body: str | None, *, outgoing: bool = True, **meta: object) -> None:
        source, target = (self._party, "twilio") if outgoing else ("twilio", self._party)
        connection = self.call.name if self.call is not None else ""
        self._ports.recorder.record(source, target, "phone", kind, body, connection=connection, meta=meta)
