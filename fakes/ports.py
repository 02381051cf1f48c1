"""What a fake asks of the place it runs in: a clock, choices, a place to record, and gates.

These are Protocols, so that a fake can be taken alone (`fakes.local` has plain implementations) or be put on a stage of
the harness, which has implementations of its own. Nothing here knows about the harness.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Timer(Protocol):
    """A callback that waits for its time."""

    def cancel(self) -> None:
        """Forget the callback; does nothing when it has already run."""
        ...


class Clock(Protocol):
    """Time as the world has it. On the virtual stage it jumps; on the live stage it is real."""

    def now(self) -> float:
        """Seconds since the world began. Never goes back."""
        ...

    def wall(self) -> float:
        """Unix time in seconds, as the vendors of this world see it (it follows `--as-of`)."""
        ...

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` at `when`, in seconds on the scale of `now()`."""
        ...


class Choices(Protocol):
    """The single source of everything that a run may vary.

    `point` is a stable name of what is being decided, such as `twilio/call1/callback/answered#1/delay`: built from
    ordinals and meanings, never from ids or times, and asked for once in a run.
    """

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        """A duration in **seconds**, chosen as a whole number of milliseconds from `low_ms` to `high_ms` inclusive."""
        ...

    def integer(self, point: str, low: int, typical: int, high: int) -> int:
        """A whole number from `low` to `high` inclusive."""
        ...

    def one_of(self, point: str, options: Sequence[T]) -> T:
        """One of `options`; the first one is the typical one."""
        ...

    def flag(self, point: str, chance: float) -> bool:
        """True with probability `chance` where runs are random; the typical answer is False. 0 is never, 1 always."""
        ...

    def token(self, point: str, length: int) -> str:
        """`length` lower-case hex digits for an id. The same point gives the same token in the same run."""
        ...


class Recorder(Protocol):
    """Where a fake writes down every message that it sends or receives, at the moment it does so."""

    def record(
        self,
        source: str,
        target: str,
        channel: str,
        kind: str,
        body: str | bytes | None = None,
        *,
        connection: str = "",
        invalid: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> int:
        """Write one message down and return its number, counting from 0.

        `source`, `target`: parties (`openai`, `twilio`, `gateway`, `caller`, `callee`, `browser`, `operator`).
        `channel`: what it crossed (`openai.realtime`, `openai.datachannel`, `openai.http`, `openai.webhook`,
        `openai.sip`, `twilio.rest`, `twilio.webhook`, `twilio.stream`, `phone`, `talk`, `talk.relay`).
        `kind`: for an event its `type` or `event`; for HTTP `request` and `response`; for a WebSocket also `upgrade`,
        `upgrade.accepted`, `upgrade.refused` and `close`.
        `body`: the text or the bytes as they crossed. `connection`: which connection, by ordinal (`openai#1`,
        `call1/stream1`). `invalid`: why the message breaks the vendor's schema, None when it does not.
        `meta`: method, url, headers (a list of pairs), status, code, reason, and so on.
        """
        ...


class Gates(Protocol):
    """Keeps deliveries in the order that a trace asks for, without a single sleep."""

    def delivery(self, point: str) -> AbstractAsyncContextManager[None]:
        """Hold one delivery: entered before it leaves, left when its answer (or its effect) has been seen.

        Everything that a fake sends of its own accord and whose order against other deliveries matters goes through
        here: webhooks, the opening of a stream, the answer to a handshake, a hang-up.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All that a fake is handed."""

    clock: Clock
    choices: Choices
    recorder: Recorder
    gates: Gates
