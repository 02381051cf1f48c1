"""WebSocket connections as the shell sees them, and what those that are not a realtime session of their own share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from fakes.openai.errors import VendorError
from fakes.openai.frames import Closed, Frame, Sink
from fakes.openai.protocol import validate
from fakes.openai.responses import IllegalTransitionError
from fakes.openai.session import TRANSITIONS, State
from fakes.ports import Ports, Timer

Event = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class WebSocketSession(Protocol):
    """What the shell asks of whoever is served over a WebSocket. `RealtimeSession` is one; so is every `Link`."""

    closed: Closed | None

    def start(self, created_delay_ms: int | None = None) -> None:
        """Begin, now that frames can be sent."""
        ...

    def receive_text(self, text: str) -> None:
        """Take in one text frame."""
        ...

    def receive_binary(self, data: bytes) -> None:
        """Take in one binary frame."""
        ...

    def receive_oversized(self, size: int) -> None:
        """Take note of a message of `size` bytes that is larger than the vendor allows."""
        ...

    def record_sent(self, frame: Frame) -> None:
        """Write a frame down at the moment when it leaves."""
        ...

    def record_close(self, code: int, reason: str, initiator: str) -> None:
        """Write down that a party has ended the connection."""
        ...

    def connection_lost(self, code: int, reason: str, initiator: str) -> None:
        """The connection has ended, by the party `initiator`."""
        ...

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Do something after a while, unless the connection has ended by then."""
        ...

    def abort(self) -> None:
        """Reset the connection without a close frame."""
        ...


class Link:
    """One WebSocket connection of the service.

    `ordinal`: that of its opening. `name`: what its points begin with, such as `openai/sideband3`. `revision`: whose
    schemas its events are checked against. Subclasses say what happens at the start, with an event, and at the end.
    """

    revision = "ga"

    def __init__(
        self,
        ports: Ports,
        sink: Sink,
        *,
        ordinal: int,
        name: str,
        client_party: str = "gateway",
        party: str = "openai",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.ports = ports
        self.ordinal = ordinal
        self.name = name
        self.connection = f"{party}#{ordinal}"
        self.channel = f"{party}.realtime"
        self.state = State.CONNECTED
        self.closed: Closed | None = None
        self.received: list[Event] = []
        """The client events so far, in order."""
        self.sent: list[str] = []
        """The types of the server events so far, in order."""
        self._sink = sink
        self._client_party = client_party
        self._party = party
        self._on_change = on_change
        self._token = ports.choices.token(f"{name}/ids", 12)
        self._ids = itertools.count(1)
        self._timers: dict[int, Timer] = {}
        self._backlog: list[Callable[[], None]] = []

    # -- for subclasses

    def start(self, created_delay_ms: int | None = None) -> None:
        """Begin. `created_delay_ms`: how long `session.created` takes, where there is one."""
        raise NotImplementedError

    def handle(self, event: Event) -> None:
        """Take in a client event of an open connection; it has been recorded. `VendorError` is answered with it."""
        raise NotImplementedError

    def ended(self) -> None:
        """The connection has just ended."""

    # -- life

    def move(self, state: State) -> None:
        """Change the state. Raises `IllegalTransitionError` when there is no such transition."""
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"{self.connection}: from {self.state.value} to {state.value}")
        self.state = state

    def open(self) -> None:
        """From now on client events are taken in; first those that have come too early."""
        self.move(State.OPEN)

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

    def receive_text(self, text: str) -> None:
        """Take in one text frame."""
        try:
            event = _decode(text)
        except msgspec.DecodeError as error:
            self._refused(text, "malformed", f"not JSON: {error}", VendorError("invalid_json"))
            return
        if not isinstance(event, dict):
            self._refused(text, "malformed", "not a JSON object", VendorError("not_an_object"))
            return
        kind = event.get("type")
        invalid = validate(self.revision, "client", event)
        self._record(text, kind if isinstance(kind, str) else "malformed", invalid)
        self.received.append(event)
        self._when_open(lambda: self._handle(event))
        self._on_change()

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

    def _handle(self, event: Event) -> None:
        try:
            self.handle(event)
        except VendorError as error:
            self.refuse(error, event)

    def _when_open(self, action: Callable[[], None]) -> None:
        if self.state is State.OPEN:
            action()
        elif self.state is State.CONNECTED:
            self._backlog.append(action)

    # -- out

    def new_id(self, prefix: str) -> str:
        """A new id: 12 digits of the connection and a number."""
        return f"{prefix}_{self._token}{next(self._ids):05d}"

    def refuse(self, error: VendorError, event: Event | None) -> None:
        """Answer a client event with an error; the connection stays open."""
        echo = event.get("event_id") if event is not None else None
        self.emit("error", {"error": error.event(echo if isinstance(echo, str) else None)})

    def emit(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Send an event."""
        event = {"type": kind, "event_id": self.new_id("event"), **fields}
        self.forward(Frame(kind, _encode(event).decode(), validate(self.revision, "server", event)))
        self._on_change()

    def forward(self, frame: Frame) -> None:
        """Send a frame as it is, while the connection is open."""
        if self.state is State.OPEN:
            self.sent.append(frame.kind)
            self._sink.send(frame)

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
