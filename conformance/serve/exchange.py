"""The fake Twilio of the bench: it remembers what outbound calls are to do once answered, and can refuse requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fakes.twilio.boundary import RestAnswer, RestRequest
from fakes.twilio.call import Call, CallStatus
from fakes.twilio.core import Twilio
from harness.run import UsageProblem

_FIRST_REFUSED = 9001
"""Refused requests are counted by themselves: Twilio's own count does not know of them."""


@dataclass(frozen=True, slots=True)
class Instructions:
    """What becomes of an outbound call that is answered. `time_limit`: seconds."""

    url: str
    method: str
    twiml: str
    time_limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RestPlan:
    """What a request to the REST API is answered instead of the usual: nothing of it is done."""

    status: int
    code: int
    message: str
    delay_ms: int = 0


class Exchange(Twilio):
    """`refusal`: asked for each REST request; a plan refuses it, None lets it through."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.refusal: Callable[[], RestPlan | None] = lambda: None
        self._instructions: dict[str, Instructions] = {}
        self._refused = 0

    def create_call(self, *, url: str, method: str, twiml: str, time_limit: float, **named: Any) -> Call:
        """See `Twilio.create_call`."""
        call = super().create_call(url=url, method=method, twiml=twiml, time_limit=time_limit, **named)
        self._instructions[call.sid] = Instructions(url, method, twiml, time_limit)
        return call

    def pick_up(self, call: Call) -> None:
        """The callee answers a phone that rings. Raises `UsageProblem` when it does not."""
        wanted = self._ringing(call)
        call.answer()
        call.after(wanted.time_limit, call.hang_up)
        if wanted.url:
            call.fetch(wanted.url, wanted.method)
        else:
            call.run(wanted.twiml)

    def turn_down(self, call: Call, *, busy: bool) -> None:
        """The callee declines a call, or is busy. Raises `UsageProblem` when the phone does not ring."""
        self._ringing(call)
        if busy:
            call.end(CallStatus.BUSY)
        else:
            call.end(CallStatus.NO_ANSWER, sip="603")

    def rings(self, call: Call) -> bool:
        """Whether a callee's phone rings because of this call."""
        return call.sid in self._instructions and call.status is CallStatus.RINGING

    def _ringing(self, call: Call) -> Instructions:
        wanted = self._instructions.get(call.sid)
        if wanted is None or call.status is not CallStatus.RINGING:
            way = "an inbound call" if wanted is None else f"it is {call.status}"
            raise UsageProblem(
                f"{call.sid} cannot be answered or turned down: {way}; only a call to a phone that rings"
            )
        return wanted

    def rest(self, request: RestRequest) -> RestAnswer:
        """See `Twilio.rest`."""
        plan = self.refusal()
        if plan is None:
            return super().rest(request)
        number = _FIRST_REFUSED + self._refused
        self._refused += 1
        query = f"?{request.query}" if request.query else ""
        meta = {
            "method": request.method,
            "url": f"https://{request.headers.get('host', 'api.twilio.com')}{request.path}{query}",
            "headers": [list(pair) for pair in request.headers.items()],
            "params": parse_qsl(request.body, keep_blank_values=True),
        }
        self.ports.recorder.record(
            self.gateway_party,
            "twilio",
            "twilio.rest",
            "request",
            request.body or None,
            connection=f"rest#{number}",
            meta=meta,
        )
        body = {"code": plan.code, "message": plan.message, "status": plan.status}
        body["more_info"] = f"https://www.twilio.com/docs/errors/{plan.code}"
        headers = (("Content-Type", "application/json"), ("X-Twilio-Error-Code", str(plan.code)))
        return RestAnswer(plan.status, headers, json.dumps(body), plan.delay_ms / 1000, number)
