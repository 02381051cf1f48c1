"""Plans for plain HTTP requests: what a test case wants of an answer, instead of or before the usual one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fakes.openai.bodies import JSON
from fakes.openai.errors import VendorError, error_text
from fakes.openai.http import HttpAnswer

PLANNED_FIELDS: Mapping[str, Any] = {
    "key": "sk-...0000",
    "limit": 1,
    "method": "GET",
    "minutes": 60,
    "model": "the model",
    "operation": "the operation",
    "parameter": "model",
    "principal": "00000000-0000-0000-0000-000000000000",
    "tenant": "00000000-0000-0000-0000-000000000000",
}
"""What the messages of planned errors are filled with; a plan's own `message` goes before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPlan:
    """What is to become of one HTTP request; what is not said goes its usual way.

    `refuse`: status and error (a name or a code in errors.toml) of the answer; `message`: its text in the place of the
    error's own. `answer`: status and body as they are, such as the page of a proxy; `headers` go with either of these.
    `delay_ms`: how long the answer takes. `reset`: the connection is reset instead of an answer. `silent`: there is
    never an answer.
    """

    refuse: tuple[int, str] | None = None
    message: str = ""
    answer: tuple[int, str] | None = None
    delay_ms: int = 0
    reset: bool = False
    silent: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A name that does not exist is told to the author of the case, not to the gateway.
        if self.refuse is not None:
            error_text(self.refuse[1])
        if self.refuse is not None and self.answer is not None:
            raise ValueError("a request is either refused or given an answer as it is: leave one of the two out")

    def answered(self, method: str, path: str) -> HttpAnswer | None:
        """The answer in the place of the usual one, None for that. Where there is to be none, nobody gets to see it."""
        if self.reset or self.silent:
            return HttpAnswer(499)
        if self.answer is not None:
            status, text = self.answer
            return HttpAnswer(status, None, self.headers, text, JSON if _is_json(text) else "text/html")
        if self.refuse is None:
            return None
        status, name = self.refuse
        error = VendorError(error_text(name).name, **{**PLANNED_FIELDS, "method": method, "path": path})
        body = error.body()
        if self.message:
            body["error"]["message"] = self.message
        return HttpAnswer(status, body, self.headers)


class HttpPlans:
    """The plans of one service. Requests are counted by path, from 1."""

    def __init__(self) -> None:
        self._always: dict[str, HttpPlan] = {}
        self._once: dict[tuple[str, int], HttpPlan] = {}
        self._seen: dict[str, int] = {}

    def put(self, path: str, plan: HttpPlan | None, request: int | None) -> None:
        """Plan the nth request to a path, or all of them from now on; a plan of None takes those back."""
        if request is not None and plan is not None:
            self._once[path, request] = plan
        elif request is not None:
            self._once.pop((path, request), None)
        elif plan is not None:
            self._always[path] = plan
        else:
            self._always.pop(path, None)

    def take(self, path: str) -> HttpPlan:
        """The plan for a request that has come."""
        if not self._always and not self._once:
            return NO_PLAN
        number = self._seen[path] = self._seen.get(path, 0) + 1
        return self._once.get((path, number)) or self._always.get(path) or NO_PLAN


NO_PLAN = HttpPlan()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
