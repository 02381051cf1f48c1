"""What went wrong, for the person who talks: the vendor's code and words, and one sentence on what to do about it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_FILE: Final = tomllib.loads(Path(__file__).with_name("hints.toml").read_text("utf-8"))
# By cause, with Azure; see `azure` for what is filled in.
AZURE_HINTS: Final[Mapping[str, str]] = _FILE.pop("azure")
# By the vendor's error code, and by HTTP status where the code says nothing; {model} is filled in.
HINTS: Final[Mapping[str, str]] = _FILE
VENDORS: Final = {"openai": "OpenAI", "azure": "Azure", "entra": "Microsoft Entra"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that stands between a person and the model. `source` is whose words these are: openai, azure, entra or
    gateway.

    `status` is that of the HTTP answer, None where there was none (an event, or a connection that was closed). `cause`
    is what we take it for (`causes.toml`), None where the code says it all; `advice` is a hint made for the occasion.
    """

    source: str
    message: str
    code: str | None = None
    status: int | None = None
    type: str | None = None
    param: str | None = None
    request_id: str | None = None
    cause: str | None = None
    advice: str | None = None

    def __str__(self) -> str:
        return f"{self.code or self.type}: {self.message}"

    def hint(self, model: str) -> str:
        """What the person, or whoever runs the gateway, can do."""
        if self.advice is not None:
            return self.advice
        family = f"{self.status // 100}xx" if self.status else ""
        for key in (self.code, self.type, str(self.status), family):
            if key and key in HINTS:
                return HINTS[key].format(model=model)
        return HINTS["other"]


class Refused(Exception):
    """A request of the person's cannot be granted; `status` is that of our answer."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(str(problem))
        self.status = status
        self.problem = problem


def ours(code: str, message: str, *, status: int | None = None) -> Problem:
    """A problem of the gateway's own."""
    return Problem(source="gateway", code=code, message=message, status=status)


def of_cause(cause: str, message: str) -> Problem:
    """A problem of the gateway's own with Azure: there was no answer from it."""
    return Problem(source="gateway", code=cause, cause=cause, message=message)


def of_answer(status: int | None, body: Any, request_id: str | None = None, *, source: str = "openai") -> Problem:
    """The problem that the vendor tells of in the JSON body of an HTTP answer."""
    about = _error_of(body)
    message = about.pop("message") or f"{VENDORS[source]} {f'answered {status}' if status else 'gave no reason'}"
    return Problem(source=source, status=status, message=message, request_id=request_id, **about)


def of_event(event: Mapping[str, Any], *, source: str = "openai") -> Problem:
    """The problem that an `error` event tells of, or a `response.done` that failed."""
    response = event.get("response")
    body = response.get("status_details") if isinstance(response, dict) else event
    return of_answer(None, body, source=source)


def of_close(code: int | None, reason: str, *, source: str = "openai") -> Problem:
    """The problem that a close frame tells of: its reason is the error's type and code with a dot between them."""
    kind, _, name = reason.partition(".")
    known = name if name.replace("_", "").isalnum() else None
    message = f"{VENDORS[source]} closed the connection: {code or 1006} {reason}".rstrip()
    return Problem(source=source, code=known, type=kind if known else None, message=message)


def _error_of(body: Any) -> dict[str, Any]:
    error = body.get("error") if isinstance(body, dict) else None
    given = error if isinstance(error, dict) else {"message": error}
    return {key: str(given[key]) if given.get(key) else None for key in ("message", "code", "type", "param")}
