"""Traces: the choices of one run as a JSON file. Replaying one gives the same run again."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import msgspec

FORMAT = 1
"""Raised whenever an old trace would no longer mean the same run."""


class TraceError(ValueError):
    """A file that is no trace, or a trace that this version cannot replay. The message says what to do."""


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    """One choice: the point, the value, and its domain as [low, typical, high]."""

    point: str
    value: int
    domain: tuple[int, int, int]


class Trace(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """All that is needed to run one world again, and what came of it."""

    format: int = FORMAT
    callproof: str
    case: str
    gateway: str
    gateway_version: str = ""
    stage: str
    model: str
    dialect: str = ""
    as_of: str
    seed: int
    knobs: dict[str, bool | int | str] = {}
    choices: list[Choice] = []
    order: list[tuple[str, str]] = []
    wire_digest: str = ""
    failed: list[str] = []
    story: list[str] = []

    def values(self) -> dict[str, int]:
        """Point to value."""
        return {choice.point: choice.value for choice in self.choices}

    def save(self, path: Path) -> Path:
        """Write the trace as readable JSON; makes the folder when there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        return path


def load_trace(path: Path) -> Trace:
    """Read a trace. Raises `TraceError` for a missing, foreign, broken or outdated file."""
    try:
        data: Any = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.json")], 1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise TraceError(f"there is no trace file {path}{hint}") from None
    except msgspec.DecodeError as error:
        raise TraceError(f"{path} is not a trace: it is no JSON file ({error})") from None
    except OSError as error:
        raise TraceError(f"{path} cannot be read as a trace: {error.strerror}") from None
    if not isinstance(data, dict) or "format" not in data or "choices" not in data:
        raise TraceError(f"{path} is not a trace: a trace is an object with `format` and `choices`")
    if data["format"] != FORMAT:
        raise TraceError(
            f"{path} is a trace of format {data['format']!r} (callproof {data.get('callproof', '?')}); this callproof "
            f"replays format {FORMAT}: run the case again with --seed {data.get('seed', 0)} to get a new trace"
        )
    try:
        return msgspec.convert(data, Trace)
    except msgspec.ValidationError as error:
        raise TraceError(f"{path} is not a valid trace: {error}") from None
