"""Faults as switches: what `faults.toml` lists, armed for the next occasion or until further notice."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from conformance.serve.exchange import Exchange, RestPlan
from fakes.openai.plans import HttpPlan
from fakes.openai.service import HandshakePlan, OpenAIService
from fakes.openai.session import RealtimeSession
from fakes.twilio.call import Call
from harness.run import UsageProblem
from harness.wire import Message

FAULTS = Path(__file__).with_name("faults.toml")

Armed = Literal["off", "next", "always"]
ARMED: tuple[Armed, ...] = ("off", "next", "always")


@dataclass(slots=True)
class Fault:
    """One fault. `happened`: how often it has come to pass since it was armed."""

    name: str
    vendor: str
    at: str
    behaviour: str
    path: str = ""
    act: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    armed: Armed = "off"
    happened: int = 0

    def told(self) -> dict[str, Any]:
        """The fault as the API gives it."""
        about = {"name": self.name, "vendor": self.vendor, "at": self.at, "behaviour": self.behaviour}
        return {**about, "armed": self.armed, "happened": self.happened}

    @property
    def fields(self) -> dict[str, Any]:
        """Those of its plan."""
        return {key: tuple(value) if isinstance(value, list) else value for key, value in self.plan.items()}

    def happens(self) -> None:
        """It comes to pass now."""
        self.happened += 1
        if self.armed == "next":
            self.armed = "off"


class Faults:
    """All faults of `services` (by party) and `exchange`. One fault of a vendor is armed for one place at a time."""

    def __init__(self, services: Mapping[str, OpenAIService], exchange: Exchange) -> None:
        self._services = services
        self._exchange = exchange
        self._faults = {
            name: Fault(name, **table) for name, table in tomllib.loads(FAULTS.read_text(encoding="utf-8")).items()
        }
        exchange.refusal = self._refuse_rest

    def all(self) -> list[Fault]:
        """Every fault, in the order of the file."""
        return list(self._faults.values())

    def arm(self, name: str, armed: Armed) -> Fault:
        """Switch a fault. Another one of the same vendor for the same place is switched off: only one can happen.

        Raises `UsageProblem` with the nearest name for one that there is not.
        """
        fault = self._faults.get(name)
        if fault is None:
            near = difflib.get_close_matches(name, self._faults, 1)
            raise UsageProblem(
                f"no fault is called {name!r}; " + (f"did you mean {near[0]}?" if near else "GET /faults lists them")
            )
        if armed != "off":
            for other in self._faults.values():
                place = (other.vendor, other.at, other.path)
                if other is not fault and other.armed != "off" and place == (fault.vendor, fault.at, fault.path):
                    self._set(other, "off")
            fault.happened = 0
        self._set(fault, armed)
        return fault

    def disarm(self) -> None:
        """Switch all of them off."""
        for fault in self._faults.values():
            if fault.armed != "off":
                self._set(fault, "off")

    def _set(self, fault: Fault, armed: Armed) -> None:
        fault.armed = armed
        if fault.at == "handshake":
            self._services[fault.vendor].plan(HandshakePlan(**fault.fields) if armed != "off" else HandshakePlan())
        elif fault.at == "http":
            plan = HttpPlan(**fault.fields) if armed != "off" else None
            self._services[fault.vendor].plan_http(fault.path, plan)

    # -- when they happen

    def _at(self, vendor: str, at: str, path: str = "") -> Fault | None:
        for fault in self._faults.values():
            if fault.armed != "off" and (fault.vendor, fault.at, fault.path) == (vendor, at, path):
                return fault
        return None

    def look(self, message: Message) -> None:
        """A message has crossed the wire: it may be what a fault has waited for."""
        if message.target not in self._services or message.kind not in ("upgrade", "request"):
            return
        if message.kind == "upgrade":
            fault = self._at(message.target, "handshake")
            if fault is not None:
                fault.happens()
                if fault.armed == "always":
                    self._services[message.target].plan(HandshakePlan(**fault.fields))
            return
        path = str(message.meta.get("url", "")).partition("?")[0].partition("://")[2].partition("/")[2]
        fault = self._at(message.target, "http", f"/{path}")
        if fault is not None:
            fault.happens()
            if fault.armed == "off":
                self._services[message.target].plan_http(fault.path, None)

    def opened(self, vendor: str, session: RealtimeSession) -> None:
        """A realtime session has opened."""
        fault = self._at(vendor, "session")
        if fault is not None:
            getattr(session, fault.act)()
            fault.happens()

    def placed(self, call: Call) -> None:
        """Somebody has dialled."""
        fault = self._at("twilio", "fetch")
        if fault is not None:
            self._exchange.repeat_fetch(call)
            fault.happens()

    def _refuse_rest(self) -> RestPlan | None:
        fault = self._at("twilio", "rest")
        if fault is None:
            return None
        fault.happens()
        return RestPlan(**fault.fields)
