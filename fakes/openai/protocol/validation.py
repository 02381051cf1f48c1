"""Check events against the vendor's schemas, and say what is wrong in the vendor's own terms.

Dispatch is on `type`; the validator of an event is compiled when the first such event comes, once per process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

DIALECTS = ("beta", "ga")
# The dialects as wholes, then the two kinds of GA session that have an endpoint or an intent of their own.
REVISIONS = (*DIALECTS, "transcription", "translation")
DIRECTIONS = ("client", "server")

_APPEND = "input_audio_buffer.append"
_APPEND_KEYS = frozenset({"type", "audio"})
_TRANSLATION = "translation"
_NUMBERS = ("integer", "number")
_NAMES = {"object": "an object", "array": "an array", "integer": "an integer", "number": "a number"}
_LIMITS = {"Maximum": "above_max", "Minimum": "below_min"}


@dataclass(frozen=True, slots=True)
class Violation:
    """The first thing that is wrong with an event.

    `kind`: `missing_required_parameter`, `unknown_parameter`, `invalid_value`, `invalid_type`, `above_max`,
    `below_min`, `string_above_max_length` or `unknown_event`. `param`: where, as `session.audio.output.voice` or
    `item.content[0].text`. `got`: the value that came (for a string that is too long: its length).
    `expected`: the values allowed, the type wanted, or the limit.
    """

    kind: str
    param: str
    got: Any
    expected: tuple[Any, ...]

    def __str__(self) -> str:
        match self.kind:
            case "missing_required_parameter":
                return f"{self.param} is missing"
            case "unknown_parameter":
                return f"{self.param} is not a field of this event"
            case "unknown_event":
                return f"no event of this dialect and direction has the type {self.got!r}"
            case _:
                wanted = ", ".join(str(value) for value in self.expected)
                return f"{self.param} is {self.got!r} ({self.kind}: {wanted})"


def schema_file(revision: str, direction: str) -> Path:
    """The file with the schemas of one revision and direction."""
    return Path(__file__).parent / f"{revision}-{direction}.json"


def validate(revision: str, direction: str, event: Mapping[str, Any]) -> str | None:
    """None when `event` is valid, else one sentence that names the place.

    `revision` is one of `REVISIONS`; `direction` is `client` (to the vendor) or `server` (from the vendor).
    """
    # The hot one: an append without further fields. Cheaper than a look-up.
    if (
        event.get("type") == _APPEND
        and event.keys() == _APPEND_KEYS
        and type(event["audio"]) is str
        and revision != _TRANSLATION  # there the event has another name
    ):
        return None
    violation = check(revision, direction, event)
    return None if violation is None else str(violation)


def check(revision: str, direction: str, event: Mapping[str, Any]) -> Violation | None:
    """None when `event` is valid, else what the vendor would name first."""
    kind = event.get("type")
    validator = _validators(revision, direction).get(kind) if isinstance(kind, str) else None
    if validator is None:
        if kind is None:
            return Violation("missing_required_parameter", "type", None, ())
        return Violation("unknown_event", "type", kind, event_types(revision, direction))
    if validator.is_valid(event):
        return None
    violations = [violation for error in validator.iter_errors(event) for violation in _violations(error, event)]
    return min(violations, key=lambda violation: _rank(violation[0]))[1]


@cache
def event_types(revision: str, direction: str) -> tuple[str, ...]:
    """The types that have a schema, sorted."""
    return tuple(load(revision, direction)["events"])


@cache
def load(revision: str, direction: str) -> dict[str, Any]:
    """The contents of a file of schemas. Not to be changed: it is read once and shared."""
    loaded: dict[str, Any] = json.loads(schema_file(revision, direction).read_text(encoding="utf-8"))
    return loaded


class _Validators(dict[str, "jsonschema_rs.Draft202012Validator | None"]):
    """Validators by event type, compiled when first asked for. An unknown type has none."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        super().__init__()
        self._schemas = schemas

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            name = self._schemas["events"].get(key)
            if name is None:
                return default
            compiled = jsonschema_rs.Draft202012Validator(
                {"$ref": f"#/$defs/{name}", "$defs": self._schemas["$defs"]}, validate_formats=False
            )
            self[key] = compiled
            return compiled


@cache
def _validators(revision: str, direction: str) -> _Validators:
    return _Validators(load(revision, direction))


def _rank(key: tuple[str, tuple[int, ...]]) -> tuple[int, tuple[int, ...]]:
    # What is missing is named first, then what is unknown, then what is wrong; each in the order of the document.
    order = {"missing_required_parameter": 0, "unknown_parameter": 1}
    return order.get(key[0], 2), key[1]


def _violations(
    error: jsonschema_rs.ValidationError, event: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, tuple[int, ...]], Violation]]:
    """What one error of the validator means, each with its kind and its place in the document."""
    details = error.kind.as_dict()
    path = list(error.instance_path)
    got: Any = error.instance

    def found(kind: str, last: str | None, value: Any, *expected: Any) -> Any:
        full = path if last is None else [*path, last]
        return (kind, _position(event, full)), Violation(kind, _param(full), value, expected)

    match error.kind.name:
        case "required":
            yield found("missing_required_parameter", details["property"], None)
        case "additionalProperties":
            for key in details["unexpected"]:
                yield found("unknown_parameter", key, got[key])
        case "enum":
            yield found("invalid_value", None, got, *_known(got, details["options"]))
        case "const":
            yield found("invalid_value", None, got, details["expected_value"])
        case "type":
            yield found("invalid_type", None, got, *details["types"])
        case "maximum":
            yield found("above_max", None, got, details["limit"])
        case "minimum":
            yield found("below_min", None, got, details["limit"])
        case "maxLength":
            yield found("string_above_max_length", None, len(got), details["limit"])
        case other:
            yield found("invalid_value", None, got, other)


def _known(got: Any, options: Any) -> list[Any]:
    return list(options) if isinstance(options, list) else [options]


def _param(path: list[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _position(event: Any, path: list[str | int]) -> tuple[int, ...]:
    """Where `path` stands in the document: the position of each key in its object; a missing one comes first."""
    position = []
    for part in path:
        if isinstance(event, Mapping):
            keys = list(event)
            position.append(keys.index(part) if part in event else -1)
            event = event.get(part)
        elif isinstance(event, list) and isinstance(part, int):
            position.append(part)
            event = event[part]
    return tuple(position)
