"""What every WebSocket, call and sideband of the service has in common: a life, timers, ids, and a record."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from fakes.openai.errors import VendorError
from fakes.openai.frames import Closed, Frame, Sink
from fakes.openai.responses import IllegalTransitionError
from fakes.ports import Ports, Timer


class State(Enum):
    """The states of a connection."""

    CONNECTED = "connected"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.CONNECTED: frozenset({State.OPEN, State.CLOSING, State.CLOSED}),
    State.OPEN: frozenset({State.CLOSING, State.CLOSED}),
    State.CLOSING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


class Connected:
    """One connection of the service, whatever carries it.

    `ordinal`: that of its opening. `name`: what its points begin with, such as `openai/session1`. `connection` and
    `channel`: what it is called on the wire. Subclasses say what is done with an event, and at the end.
    """

    def __init__(
        self,
        ports: Ports,
        sink: Sink,
        *,
        ordinal: int,
        name: str,
        connection: str,
        channel: str,
        client_party: str,
        party: str,
        on_change: Callable[[], None],
    ) -> None:
        self.ports = ports
        self.ordinal = ordinal
        self.name = name
        self.connection = connection
        self.channel = channel
        self.state = State.CONNECTED
        self.closed: Closed | None = None
        self._sink = sink
        self._client_party = client_party
        self._party = party
        self._on_change = on_change
        self._token = ports.choices.token(f"{name}/ids", 12)
        self._ids = itertools.count(1)
        self._timers: dict[int, Timer] = {}
        self._backlog: list[Callable[[], None]] = []

    # -- for subclasses

    def refuse(self, error: VendorError, event: dict[str, Any] | None) -> None:
        """Answer a client event with an error; the connection stays open."""
        raise NotImplementedError

    def ended(self) -> None:
        """The connection has just ended."""

    # -- life

    def move(self, state: State) -> None:
        """Change the state. Raises `IllegalTransitionError` when there is no such transition."""
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"{self.connection}: from {self.state.value} to {state.value}")
        self.state = state

    def release(self) -> None:
        """Take in the client events that have come too early."""
        backlog, self._backlog = self._backlog, []
        for waiting in backlog:
            waiting()

    def connection_lost(self, code: int, reason: str, initiator: str) -> None:
        """The connection has ended, by the party `initiator`. Everything that was to come is forgotten."""
        if self.state is State.CLOSED:
            return
        self.move(State.CLOSED)
        self.closed = Closed(code, reason, initiator)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.ended()
        self._on_change()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection from the vendor's side, after everything that has been sent."""
        if self.state in (State.CONNECTED, State.OPEN):
            self.move(State.CLOSING)
            self._sink.send(Frame("close", gate=f"{self.name}/close", code=code, reason=reason))

    def abort(self) -> None:
        """Reset the connection without a close frame."""
        if self.state is not State.CLOSED:
            self.record_close(1006, "reset", self._party)
            self._sink.abort()
            self.connection_lost(1006, "reset", self._party)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Do something after a while, unless the connection has ended by then, or is about to."""
        key = next(self._ids)

        def run() -> None:
            del self._timers[key]
            if self.state is not State.CLOSING:
                callback()

        clock = self.ports.clock
        self._timers[key] = clock.call_at(clock.now() + seconds, run)

    # -- in

    def receive_binary(self, data: bytes) -> None:
        """Take in one binary frame, which the vendor does not want."""
        self._refused(data, "binary", "a binary frame: the vendor wants text", VendorError("binary_frame"))

    def receive_oversized(self, size: int) -> None:
        """Take note of a message that is larger than the vendor allows; it ends the connection. `size` in bytes."""
        self._record(None, "oversized", f"a message of {size} bytes", {"bytes": size})
        self.close(1009, "message too large")

    def _refused(self, data: str | bytes, kind: str, invalid: str, error: VendorError) -> None:
        self._record(data, kind, invalid)
        self._when_open(lambda: self.refuse(error, None))

    def _when_open(self, action: Callable[[], None]) -> None:
        """Do something now, or as soon as the connection is open."""
        if self.state is State.OPEN:
            action()
        elif self.state is State.CONNECTED:
            self._backlog.append(action)

    # -- ids

    def new_id(self, prefix: str) -> str:
        """A new id, such as `item_1f2e3d4c5b6a00007`: 12 digits of the connection and a number."""
        return f"{prefix}_{self._token}{next(self._ids):05d}"

    # -- record

    def _record(
        self, data: str | bytes | None, kind: str, invalid: str | None, meta: dict[str, Any] | None = None
    ) -> None:
        self.ports.recorder.record(
            self._client_party,
            self._party,
            self.channel,
            kind,
            data,
            connection=self.connection,
            invalid=invalid,
            meta=meta,
        )

    def record_sent(self, frame: Frame) -> None:
        """Write a frame down at the moment when it leaves; called by the shell."""
        if frame.kind == "close":
            self.record_close(frame.code, frame.reason, self._party)
            return
        self.ports.recorder.record(
            self._party,
            self._client_party,
            self.channel,
            frame.kind,
            frame.body,
            connection=self.connection,
            invalid=frame.invalid,
        )

    def record_close(self, code: int, reason: str, initiator: str) -> None:
        """Write down that a party has ended the connection."""
        other = self._client_party if initiator == self._party else self._party
        meta = {"code": code, "reason": reason, "initiator": initiator}
        self.ports.recorder.record(initiator, other, self.channel, "close", connection=self.connection, meta=meta)
