"""What goes out of a session, as values: the shell sends them, in order, when the gates let them through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class Frame:
    """One message to the client, or the end of the connection.

    `kind`: the type of the event, `close`, `binary` or `raw`. `body`: the text or the bytes (for `close`: nothing).
    `invalid`: why it breaks the vendor's schema. `gate`: the point at which it may be held.
    `code`, `reason`: of a close frame.
    """

    kind: str
    body: str | bytes = ""
    invalid: str | None = None
    gate: str | None = None
    code: int = 1000
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended. `initiator` is a party. A connection that broke has the code 1006."""

    code: int
    reason: str
    initiator: str


class Sink(Protocol):
    """Where frames go."""

    def send(self, frame: Frame) -> None:
        """Send a frame after all those before it; never waits. Nothing is sent after a `close`."""
        ...

    def abort(self) -> None:
        """Reset the connection at once, whatever is still to be sent."""
        ...
