"""WebSocket connections as the shell sees them, and what those that are not a realtime session of their own share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from fakes.openai.connected import Connected, State
from fakes.openai.errors import VendorError
from fakes.openai.frames import Closed, Frame, Sink
from fakes.openai.protocol import validate
from fakes.ports import Ports

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


class Link(Connected):
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
        super().__init__(
            ports,
            sink,
            ordinal=ordinal,
            name=name,
            connection=f"{party}#{ordinal}",
            channel=f"{party}.realtime",
            client_party=client_party,
            party=party,
            on_change=on_change,
        )
        self.received: list[Event] = []
        """The client events so far, in order."""
        self.sent: list[str] = []
        """The types of the server events so far, in order."""

    # -- for subclasses

    def start(self, created_delay_ms: int | None = None) -> None:
        """Begin. `created_delay_ms`: how long `session.created` takes, where there is one."""
        raise NotImplementedError

    def handle(self, event: Event) -> None:
        """Take in a client event of an open connection; it has been recorded. `VendorError` is answered with it."""
        raise NotImplementedError

    # -- life

    def open(self) -> None:
        """From now on client events are taken in; first those that have come too early."""
        self.move(State.OPEN)

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

    def _handle(self, event: Event) -> None:
        try:
            self.handle(event)
        except VendorError as error:
            self.refuse(error, event)

    # -- out

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
