"""A wire made by hand, and what a rule of the suite finds on it."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from conformance.assembly import registry
from conformance.invariants import Evidence, Invariant
from harness.report.model import Verdict
from harness.suite import Checks, Column
from harness.wire import Message, Wire

KEY = "sk-proj-QmZk3vT9xWpL7rNc2HdY"
TOKEN = "5f3a9c1e7b2d4860a1c3e5f70918273b"
ACCOUNT = "AC" + "fedcba9876543210" * 2
MODEL = "gpt-realtime-2"
ULAW = base64.b64encode(b"\xff" * 160).decode()


@dataclass
class Hand:
    """A wire made by hand. `at`: the time of what comes next, in seconds."""

    at: float = 0.0
    dialect: str = "ga"
    output: str = ""
    ended: float = 100.0
    deliberate: set[str | bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.wire = Wire(lambda: self.at)

    def put(
        self,
        source: str,
        target: str,
        channel: str,
        kind: str,
        body: Any = None,
        connection: str = "",
        invalid: str | None = None,
        **meta: Any,
    ) -> Message:
        text = json.dumps(body) if isinstance(body, dict) else body
        if "headers" in meta:
            meta["headers"] = list(meta["headers"].items())
        return self.wire[
            self.wire.record(source, target, channel, kind, text, connection=connection, invalid=invalid, meta=meta)
        ]

    def to_model(self, kind: str, body: Any = None, *, on: int = 1, **more: Any) -> Message:
        """The gateway to the model."""
        return self.put("gateway", "openai", "openai.realtime", kind, body, f"openai#{on}", **more)

    def from_model(self, kind: str, body: Any = None, *, on: int = 1, **more: Any) -> Message:
        """The model to the gateway."""
        return self.put("openai", "gateway", "openai.realtime", kind, body, f"openai#{on}", **more)

    def to_stream(self, kind: str, body: Any = None, *, on: int = 1, **more: Any) -> Message:
        """The gateway to Twilio's stream."""
        return self.put("gateway", "twilio", "twilio.stream", kind, body, f"call{on}/stream1", **more)

    def from_stream(self, kind: str, body: Any = None, *, on: int = 1, **more: Any) -> Message:
        """Twilio's stream to the gateway."""
        return self.put("twilio", "gateway", "twilio.stream", kind, body, f"call{on}/stream1", **more)

    def webhook(
        self, point: str, answer: str | None = "", *, status: int = 200, after: float = 0.1, **more: Any
    ) -> Message | None:
        """A request of Twilio and its answer; None for no answer."""
        form = more.pop("form", {"Direction": "inbound"})
        content = more.pop("content", "text/xml")
        self.put("twilio", "gateway", "twilio.webhook", "request", urlencode(form), point, url="https://x/v", **more)
        if answer is None:
            return None
        self.at += after
        headers = {"Content-Type": content}
        return self.put(
            "gateway", "twilio", "twilio.webhook", "response", answer, point, status=status, headers=headers
        )

    def rest(self, path: str, form: Any, *, status: int = 201, method: str = "POST") -> Message:
        """A REST request of the gateway and its answer."""
        name = f"rest#{len(self.wire)}"
        url = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}{path}"
        body = urlencode(form, doseq=True)
        request = self.put("gateway", "twilio", "twilio.rest", "request", body, name, method=method, url=url)
        self.put("twilio", "gateway", "twilio.rest", "response", "{}", name, status=status)
        return request

    def evidence(self) -> Evidence:
        return Evidence(
            wire=self.wire,
            column=Column(MODEL, self.dialect, dt.date(2026, 11, 20)),
            planted={"openai.api_key": KEY, "twilio.auth_token": TOKEN, "twilio.account_sid": ACCOUNT},
            output=self.output,
            configured_model=MODEL,
            ended=self.ended,
            deliberate=self.deliberate,
        )


def verdicts(invariant: Invariant, hand: Hand) -> dict[str, Verdict]:
    """What one rule finds."""
    check = Checks(registry())
    invariant(hand.evidence(), check)
    return {finding.requirement: finding.verdict for finding in check.merged()}


Story = Callable[[Hand], object]


@dataclass(frozen=True)
class Rule:
    """A rule, a wire that keeps it, and wires that break it in one requirement each.

    `passes`: the requirements that the good wire shows to be met. `bad`: name of the fault -> requirement, wire.
    """

    invariant: Invariant
    good: Story
    passes: frozenset[str]
    bad: dict[str, tuple[str, Story]]
    dialect: str = "ga"
