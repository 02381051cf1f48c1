"""What crosses the edge of the Twilio core: requests and answers as plain values, effects, and the far end of a line.

The core is a state machine. It is told what came in (`Twilio.rest`, `Twilio.webhook_answered`,
`Twilio.stream_received`, ...) and has its effects carried out by a `TwilioIO`: the aiohttp shell in
`fakes.twilio.server`, or a list in a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from fakes.twilio.call import Call

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number that the account owns, with its voice configuration. `number` is E.164, the URLs are absolute."""

    number: str
    voice_url: str = ""
    voice_method: str = "POST"
    fallback_url: str = ""
    fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"


@dataclass(frozen=True, slots=True)
class RestRequest:
    """One HTTP request to api.twilio.com. Header names are lower-case; `path` is without the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """The answer, to be sent `delay` seconds after the request came. `number` counts the requests, from 1."""

    status: int
    headers: Headers
    body: str
    delay: float
    number: int


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One HTTP request that Twilio makes. Times are in seconds.

    `point`: the gate to go through. `connection`: the name under which it is recorded. `url`: as sent, with the
    parameters of a GET and without the fragment. `body`: the form of a POST, else empty.
    """

    id: int
    point: str
    connection: str
    method: str
    url: str
    headers: Headers
    body: str
    connect_timeout: float
    read_timeout: float
    total_timeout: float


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What the gateway answered."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """The first header of that name without regard to case; empty when absent."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), "")


class Failure(StrEnum):
    """How a connection failed. The debugger codes that follow from it are in `errors.toml`."""

    DNS = "dns"
    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect-timeout"
    TIMEOUT = "timeout"
    TLS = "tls"
    PROTOCOL = "protocol"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class WebhookFailure:
    """No answer came: why, and what the operating system or the library said."""

    kind: Failure
    message: str


@dataclass(frozen=True, slots=True)
class StreamOpening:
    """One WebSocket that Twilio opens. `name`: the stream's connection name, such as `call1/stream1`."""

    name: str
    point: str
    url: str
    headers: Headers
    timeout: float


@dataclass(frozen=True, slots=True)
class StreamFailure:
    """The WebSocket did not open. `status`, `headers`, `body`: of the HTTP answer when one came."""

    kind: Failure
    message: str
    status: int | None = None
    headers: Headers = ()
    body: str = ""


CloseHow = Literal["1000", "1005", "abrupt"]
"""How Twilio closes: a close frame with code 1000, one without a code, or no close frame at all."""


class TwilioIO(Protocol):
    """Carries out what the core decides. No method may block or call back into the core before it returns."""

    def fetch(self, request: WebhookRequest) -> None:
        """Make the request through its gate: `webhook_sent` when it leaves, then `webhook_answered`."""
        ...

    def open_stream(self, opening: StreamOpening) -> None:
        """Open the WebSocket through its gate: `stream_opening`, then `stream_opened` or `stream_failed`.

        Afterwards `stream_received` for each message and `stream_closed` once.
        """
        ...

    def send(self, stream: str, data: str | bytes) -> bool:
        """Send one frame now, text or binary. False: not sent, since the peer does not read or the socket is gone."""
        ...

    def close_stream(self, stream: str, how: CloseHow) -> None:
        """Close the WebSocket after everything sent so far, or give up opening it."""
        ...

    def deliver(self, point: str, effect: Callable[[], None]) -> None:
        """Run `effect` when the gate at `point` lets it."""
        ...


Answering = Literal["answer", "reject", "busy", "ignore"]


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a callee does about a ringing phone. `after_ms`: None leaves the time to a choice point."""

    kind: Answering
    after_ms: int | None = None


class FarEnd(Protocol):
    """The human at the far end of a call, as Twilio sees them. Audio is mu-law, 8 kHz, 160 bytes = 20 ms."""

    number: str

    @property
    def party(self) -> str:
        """`caller` or `callee`."""
        ...

    @property
    def busy(self) -> bool:
        """True while the person is speaking or hearing something: the line has to keep its 20 ms clock going."""
        ...

    def on_ringing(self, call: Call) -> Reaction:
        """The phone rings."""
        ...

    def on_answered(self, call: Call) -> None:
        """The call is connected."""
        ...

    def on_ended(self, call: Call) -> None:
        """The call is over, whoever ended it."""
        ...

    def speak(self) -> bytes | None:
        """The next 20 ms that the person says; None for silence."""
        ...

    def hear(self, frame: bytes | None, at_ms: float) -> None:
        """The next 20 ms that the person hears, beginning at `at_ms` of world time; None for silence."""
        ...


@dataclass(slots=True)
class Subscription:
    """Where status callbacks of one call go, and which."""

    url: str = ""
    method: str = "POST"
    events: tuple[str, ...] = field(default=("completed",))
