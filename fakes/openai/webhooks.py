"""Webhooks of the vendor: signed as Standard Webhooks, tried again until somebody takes them. Sans I/O.

Sources: OpenAI docs, Webhooks and Realtime API with SIP (headers, body, signature); the `openai` package verifies them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Protocol

from fakes.knobs import Knobs
from fakes.openai.secrets import Place
from fakes.ports import Ports, Timer

SECRET_PREFIX = "whsec_"
GIVE_UP_SECONDS = 72 * 3600
"""How long a delivery is tried again (OpenAI docs: Webhooks, handling webhook requests)."""
USER_AGENT = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"

Headers = tuple[tuple[str, str], ...]

_PLACE = Place("org-callproof", "proj_callproof")  # that of a `KeyInfo` that says nothing else


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where the events of a project go. `secret` is that of the signature: `whsec_` and base64."""

    url: str
    secret: str
    place: Place = _PLACE

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"the URL of a webhook endpoint begins with https://, not {self.url!r}")
        try:
            base64.b64decode(self.secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("the secret of a webhook endpoint is whsec_ and base64") from None
        if not self.secret.startswith(SECRET_PREFIX):
            raise ValueError("the secret of a webhook endpoint is whsec_ and base64")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver one event.

    `point`: the gate that it passes. `connection`: its name on the wire. `attempt` counts from 1. `timeout` in seconds.
    """

    point: str
    connection: str
    url: str
    headers: Headers
    body: str
    attempt: int
    timeout: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery: an answer with a `status`, or None and why there was none."""

    status: int | None
    headers: Headers = ()
    body: bytes = b""
    failure: str = ""

    @property
    def taken(self) -> bool:
        """Whether the receiver has it; a redirect is a failure."""
        return self.status is not None and 200 <= self.status < 300


class Poster(Protocol):
    """Who makes the requests: the shell."""

    def post(self, delivery: Delivery) -> None:
        """Make one request. `Webhooks.sent` is told when it leaves, `Webhooks.answered` what came of it."""
        ...


@dataclass(slots=True)
class _Event:
    """An event on its way. `name` is the beginning of its points."""

    name: str
    connection: str
    endpoint: WebhookEndpoint
    webhook_id: str
    body: str
    attempts: int = 0
    first_at: float = 0.0


def signature(secret: str, webhook_id: str, timestamp: int, body: str) -> str:
    """The value of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """All webhooks of one service. `poster` is set by the shell; without one they are only kept in `deliveries`."""

    def __init__(self, ports: Ports, knobs: Knobs, receiver: str, party: str) -> None:
        self.poster: Poster | None = None
        self.deliveries: list[Delivery] = []
        """Every attempt so far."""
        self.outcomes: list[Outcome] = []
        """What became of them, in the order of their ends."""
        self._ports = ports
        self._knobs = knobs
        self._parties = (party, receiver)
        self._channel = f"{party}.webhook"
        self._waiting: dict[str, _Event] = {}
        self._timers: dict[str, Timer] = {}

    def send(self, name: str, connection: str, endpoint: WebhookEndpoint, kind: str, data: dict[str, Any]) -> None:
        """Tell an endpoint of an event of the type `kind`. `name`: the beginning of its points."""
        choices = self._ports.choices
        wall = self._ports.clock.wall()
        event = {
            "object": "event",
            "id": f"evt_{choices.token(f'{name}/event', 32)}",
            "type": kind,
            "created_at": int(wall),
            "data": data,
        }
        webhook_id = f"wh_{choices.token(f'{name}/id', 32)}"
        waiting = _Event(name, connection, endpoint, webhook_id, json.dumps(event))
        self._later(waiting, choices.delay(f"{name}/delay", 10, 100, 3000))

    def close(self) -> None:
        """Forget what is still to be sent."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()

    def _later(self, event: _Event, seconds: float) -> None:
        clock = self._ports.clock
        self._timers[event.name] = clock.call_at(clock.now() + seconds, lambda: self._post(event))

    def _post(self, event: _Event) -> None:
        del self._timers[event.name]
        event.attempts += 1
        if event.attempts == 1:
            event.first_at = self._ports.clock.now()
        timestamp = int(self._ports.clock.wall())
        headers = (
            ("user-agent", USER_AGENT),
            ("content-type", "application/json"),
            ("webhook-id", event.webhook_id),
            ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", signature(event.endpoint.secret, event.webhook_id, timestamp, event.body)),
        )
        point = event.name if event.attempts == 1 else f"{event.name}/retry{event.attempts - 1}"
        delivery = Delivery(
            point,
            event.connection,
            event.endpoint.url,
            headers,
            event.body,
            event.attempts,
            float(self._knobs["openai.webhook_timeout_seconds"]),
        )
        self.deliveries.append(delivery)
        self._waiting[point] = event
        if self.poster is not None:
            self.poster.post(delivery)

    def sent(self, delivery: Delivery) -> None:
        """A delivery leaves now."""
        meta = {
            "method": "POST",
            "url": delivery.url,
            "headers": [list(pair) for pair in delivery.headers],
            "attempt": delivery.attempt,
        }
        self._ports.recorder.record(
            *self._parties, self._channel, "request", delivery.body, connection=delivery.connection, meta=meta
        )

    def answered(self, delivery: Delivery, outcome: Outcome) -> None:
        """What became of a delivery: when nobody took it, it is tried again, each time after twice as long."""
        event = self._waiting.pop(delivery.point, None)
        self.outcomes.append(outcome)
        sender, receiver = self._parties
        meta: dict[str, Any] = {"error": outcome.failure}
        if outcome.status is not None:
            meta = {"status": outcome.status, "headers": [list(pair) for pair in outcome.headers]}
        kind, body = ("failure", None) if outcome.status is None else ("response", outcome.body)
        self._ports.recorder.record(
            receiver, sender, self._channel, kind, body, connection=delivery.connection, meta=meta
        )
        if event is None or outcome.taken:
            return
        wait = int(self._knobs["openai.webhook_first_retry_seconds"]) * 2 ** (event.attempts - 1)
        if self._ports.clock.now() + wait - event.first_at <= GIVE_UP_SECONDS:
            self._later(event, wait)
