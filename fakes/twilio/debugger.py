"""The Twilio debugger: errors and warnings that Twilio shows to the owner of an account, not to the gateway."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS: dict[str, Any] = tomllib.loads((Path(__file__).parent / "errors.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class DebuggerEntry:
    """One entry. `level`: `error`, `warning`, or `fake` for what this fake does not do though Twilio would (code 0).

    `at`: seconds of world time. `call`: the call's name, such as `call1`; empty for none.
    """

    at: float
    code: int
    level: str
    message: str
    call: str = ""

    def __str__(self) -> str:
        return f"{self.at:.3f}s {self.call} {self.level} {self.code}: {self.message}"


def entry(at: float, code: int, detail: str = "", call: str = "") -> DebuggerEntry:
    """An entry with the published text of `code`. Raises KeyError for a code that errors.toml does not have."""
    text = TEXTS["debugger"][str(code)]
    message = f"{text['message']}: {detail}" if detail else str(text["message"])
    return DebuggerEntry(at, code, str(text["level"]), message, call)
