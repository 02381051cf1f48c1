"""The calls that the gateway knows: their states, and the tokens that let Twilio open a stream for one of them."""

from __future__ import annotations

import hmac
import secrets
from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

FINAL: Final = frozenset({"completed", "busy", "no-answer", "canceled", "failed"})

# Twilio docs: Call resource, CallStatus. Callbacks are separate requests that may overtake each other, so a state can
# be skipped, and what belongs to an earlier one is late news, not a step back.
TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "queued": FINAL | {"initiated", "ringing", "in-progress"},
    "initiated": FINAL | {"ringing", "in-progress"},
    "ringing": FINAL | {"in-progress"},
    "in-progress": FINAL,
    **{status: frozenset() for status in FINAL},
}
KEPT = 1000  # ended calls that `GET /calls` still lists


class IllegalTransition(RuntimeError):
    """A call was asked to go from one state to another that does not follow it."""


@dataclass(slots=True, eq=False)
class Call:
    """One phone call. `streaming`: its media stream is up. `sequence`: the highest SequenceNumber seen."""

    sid: str
    direction: str
    to: str = ""
    from_: str = ""
    status: str = "queued"
    sequence: int = -1
    streaming: bool = False
    timer: TimerHandle | None = None
    seen: set[str] = field(default_factory=set)  # I-Twilio-Idempotency-Tokens of its callbacks
    fetched: tuple[str, str] = ("", "")  # the last TwiML fetch: its idempotency token and the answer

    @property
    def over(self) -> bool:
        """Whether the call has ended, for good."""
        return self.status in FINAL

    def advance(self, status: str) -> None:
        """Go to `status`. Raises IllegalTransition."""
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(f"call {self.sid} is {self.status}: it cannot become {status}")
        self.status = status

    def set_timer(self, timer: TimerHandle | None) -> None:
        """Put `timer` in the place of the one that watches over the call now."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = timer

    def summary(self) -> dict[str, Any]:
        """What the operator is shown."""
        return {
            "call_sid": self.sid,
            "status": self.status,
            "direction": self.direction,
            "to": self.to,
            "from": self.from_,
            "streaming": self.streaming,
        }


class Calls:
    """The calls by CallSid."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self.placing = 0  # create requests whose answer is outstanding

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def get(self, sid: str) -> Call | None:
        """The call, if it is known."""
        return self._calls.get(sid)

    def active(self) -> list[Call]:
        """The calls that have not ended."""
        return [call for call in self._calls.values() if not call.over]

    def open(self, sid: str, direction: str, to: str, from_: str) -> Call:
        """The call with this sid; made, in state `queued`, when it is new."""
        call = self._calls.get(sid)
        if call is None:
            call = self._calls[sid] = Call(sid, direction, to, from_)
            self._forget_oldest()
        return call

    def find_for_callback(self, sid: str, direction: str, status: str, to: str, from_: str) -> Call | None:
        """The call that a status callback speaks of, or None when it is none of ours.

        A callback can arrive before the answer of the request that created the call, so it opens a call while such an
        answer is outstanding. The end of a call that is not known yet is kept, for its TwiML fetch may still come.
        """
        if (self.placing and direction.startswith("outbound")) or status in FINAL:
            return self.open(sid, direction, to, from_)
        return self._calls.get(sid)

    def apply_status(self, call: Call, status: str, sequence: int | None = None) -> bool:
        """Take in news of a call; False when it is late, repeated or unknown and changes nothing.

        `sequence` is the SequenceNumber of the callback: an older one than the newest seen is late. An end is always
        news, and it is final.
        """
        late = sequence is not None and sequence <= call.sequence and status not in FINAL
        if late or status not in TRANSITIONS[call.status]:
            return False
        if sequence is not None:
            call.sequence = max(call.sequence, sequence)
        call.advance(status)
        return True

    def _forget_oldest(self) -> None:
        if len(self._calls) > KEPT:
            ended = next((sid for sid, call in self._calls.items() if call.over), None)
            if ended is not None:
                del self._calls[ended]


class StreamTokens:
    """Tokens that go into TwiML and come back in `start`: single use, bound to a CallSid, with an expiry."""

    def __init__(self, now: Callable[[], float], lifetime: float) -> None:
        """`now` and `lifetime` in seconds."""
        self._now = now
        self._lifetime = lifetime
        self._tokens: dict[str, tuple[str, float]] = {}

    def issue(self, call_sid: str) -> str:
        """The token for the next stream of this call: the outstanding one, so that a repeated fetch gets the same."""
        token, expiry = self._tokens.get(call_sid, ("", 0.0))
        if expiry <= self._now():
            token = secrets.token_urlsafe(24)
            self._tokens[call_sid] = token, self._now() + self._lifetime
        return token

    def redeem(self, token: str, call_sid: str) -> bool:
        """Whether the token is good for a stream of this call now; if so it is spent."""
        expected, expiry = self._tokens.get(call_sid, ("", 0.0))
        good = hmac.compare_digest(expected.encode(), token.encode(errors="replace")) and self._now() < expiry
        if good:
            del self._tokens[call_sid]
        return good

    def revoke(self, call_sid: str) -> None:
        """No stream is to come for this call any more."""
        self._tokens.pop(call_sid, None)
