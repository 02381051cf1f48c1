"""The person at the phone: somebody whom a tape records, who can be told to answer, and who may have a microphone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from conformance.serve.tape import Tape
from fakes.audio import PHRASES, Heard
from fakes.people.person import Party, Person
from fakes.ports import Ports
from fakes.twilio.boundary import Reaction

if TYPE_CHECKING:
    from fakes.twilio.call import Call

_FRAME = 160
_KEPT_FRAMES = 50
"""How much of a microphone is kept waiting, at most: a browser that was held up does not talk a second late."""

Behaviour = Literal["answer", "manual", "busy", "reject", "ignore"]
BEHAVIOURS: tuple[Behaviour, ...] = ("answer", "manual", "busy", "reject", "ignore")


@dataclass(slots=True)
class Said:
    """A phrase that the person said, in ms of world time; `until` is None while they are saying it."""

    phrase: str
    at: float
    until: float | None = None
    complete: bool = False


class Conversation:
    """One call as its person had it: the tape, what they said, and what they heard."""

    def __init__(self, person: Participant, began: float) -> None:
        self.person = person
        self.tape = Tape(began)
        self.said: list[Said] = []
        self._heard: list[Heard] | None = None

    @property
    def heard(self) -> list[Heard]:
        """Every phrase heard so far, or in all."""
        return self.person.heard if self._heard is None else self._heard

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._heard is not None

    def end(self, now: float) -> None:
        """The call is over."""
        self._heard = list(self.person.heard)
        self.tape.ended = now


class Participant(Person):
    """A person on whose call everything is kept. `joined` is told of each call that they are part of."""

    def __init__(
        self, ports: Ports, *, number: str, party: Party = "caller", joined: Callable[[Call, Conversation], None]
    ) -> None:
        super().__init__(ports, number=number, party=party)
        self.conversation: Conversation | None = None
        self.behaviour: Behaviour = "answer"
        self.joined = joined
        self._talking = False
        self._microphone: deque[bytes] | None = None
        self._rest = b""

    def behaves(self, behaviour: Behaviour, after_ms: int) -> None:
        """What to do when the phone rings: `manual` rings until somebody says what to do."""
        self.behaviour = behaviour
        {
            "answer": lambda: self.answers_after(after_ms),
            "busy": lambda: self.is_busy(after_ms),
            "reject": lambda: self.rejects(after_ms),
        }.get(behaviour, self.does_not_answer)()

    # -- what the line tells

    def on_ringing(self, call: Call) -> Reaction:
        """See `Person.on_ringing`."""
        reaction = super().on_ringing(call)
        self._join(call)
        return reaction

    def on_answered(self, call: Call) -> None:
        """See `Person.on_answered`."""
        super().on_answered(call)
        if self.conversation is None or self.conversation.over:
            self._join(call)

    def on_ended(self, call: Call) -> None:
        """See `Person.on_ended`."""
        mine = self.call is call
        super().on_ended(call)
        if mine and self.conversation is not None and not self.conversation.over:
            self.conversation.end(self._ports.clock.now())

    def _join(self, call: Call) -> None:
        self.conversation = Conversation(self, self._ports.clock.now())
        self.joined(call, self.conversation)

    # -- speaking and hearing

    def start_saying(self, phrase: str) -> None:
        """See `Person.start_saying`."""
        super().start_saying(phrase)
        if self.conversation is not None:
            self.conversation.said.append(Said(phrase, self._ports.clock.now() * 1000))

    def stop_talking(self) -> None:
        """See `Person.stop_talking`."""
        said = self.saying
        super().stop_talking()
        if said is not None and self.conversation is not None:
            now = self._ports.clock.now() * 1000
            last = self.conversation.said[-1]
            last.until, last.complete = now, now - last.at > PHRASES[said].duration_ms - 60

    @property
    def busy(self) -> bool:
        """See `FarEnd.busy`."""
        return self._microphone is not None or super().busy

    def speak(self) -> bytes | None:
        """See `Person.speak`: a microphone that is on goes before phrases."""
        frame = super().speak()
        if frame is None and self._microphone:
            frame = self._microphone.popleft()
        if frame is not None and self.conversation is not None:
            tape = self.conversation.tape
            tape.person.add((self._ports.clock.now() - tape.began) * 1000, frame, follows=self._talking)
        self._talking = frame is not None
        return frame

    def hear(self, frame: bytes | None, at_ms: float) -> None:
        """See `Human.hear`."""
        super().hear(frame, at_ms)
        if frame and self.conversation is not None:
            tape = self.conversation.tape
            tape.gateway.add(at_ms - tape.began * 1000, frame)

    # -- a microphone

    def switch_microphone(self, on: bool) -> None:
        """Speak with a microphone from now on, or no longer. Raises `NotConnected` where there is no call."""
        if on:
            self._in_call("speak into a microphone").line.wake()
        self._microphone, self._rest = (deque(maxlen=_KEPT_FRAMES), b"") if on else (None, b"")

    def into_microphone(self, sound: bytes) -> None:
        """Sound from the microphone, mu-law of 8 kHz in pieces of any size."""
        if self._microphone is None:
            return
        self._rest += sound
        while len(self._rest) >= _FRAME:
            self._microphone.append(self._rest[:_FRAME])
            self._rest = self._rest[_FRAME:]
