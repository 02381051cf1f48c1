"""The errors of the vendor, whose texts are in `errors.toml`."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fakes.openai.protocol import Violation


@dataclass(frozen=True, slots=True)
class ErrorText:
    """One entry of `errors.toml`. `body`: the fields of its error object in the body of an HTTP answer, in order."""

    name: str
    message: str
    evidence: str
    code: str | None = None
    type: str = "invalid_request_error"
    param: str | None = None
    close: int = 4000
    status: int = 400
    body: tuple[str, ...] = ("message", "type", "param", "code")


class VendorError(Exception):
    """Something that the vendor answers with an error: an event, a refusal of the handshake or an HTTP status.

    `name` is a table of `errors.toml`; `fields` fill its message; `param` replaces the parameter of the table.
    """

    def __init__(self, name: str, *, param: str | None = None, **fields: Any) -> None:
        self.text = error_text(name)
        self.name = name
        self.param = self.text.param if param is None else param
        self.code = self.text.code
        self.fields = fields
        self.message = self.text.message.format(param=self.param, **fields)
        super().__init__(self.message)

    @property
    def reason(self) -> str:
        """The reason of the close frame that follows a refusal in band: `type.code`."""
        return f"{self.text.type}.{self.code}" if self.code else self.text.type

    def event(self, client_event_id: str | None) -> dict[str, Any]:
        """The `error` object of an error event, in the order that the vendor sends its fields."""
        return {
            "type": self.text.type,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": client_event_id,
        }

    def body(self) -> dict[str, Any]:
        """The body of an HTTP answer."""
        values = {"message": self.message, "type": self.text.type, "param": self.param, "code": self.code}
        return {"error": {name: values[name] for name in self.text.body}}


@cache
def _texts() -> dict[str, ErrorText]:
    tables = tomllib.loads(Path(__file__).with_name("errors.toml").read_text(encoding="utf-8"))
    return {name: ErrorText(name=name, **table) for name, table in tables.items()}


def add_texts(file: Path, body: tuple[str, ...]) -> None:
    """Let the errors of another file be known too, for a vendor who sells this service under errors of its own.

    `body`: the fields of their error objects. Raises `ValueError` when a name is taken.
    """
    texts = _texts()
    for name, table in tomllib.loads(file.read_text(encoding="utf-8")).items():
        added = ErrorText(name=name, **{"body": body, **table})
        if texts.setdefault(name, added) != added:
            raise ValueError(f"{file}: an error {name!r} is there already; give it another name")


def error_text(name: str) -> ErrorText:
    """The entry of that name, or the first one with that `code`. Raises `KeyError` with the nearest name."""
    texts = _texts()
    if name in texts:
        return texts[name]
    for text in texts.values():
        if text.code == name:
            return text
    near = difflib.get_close_matches(name, texts, 1)
    raise KeyError(f"errors.toml has no {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def failure_of(code: str, *, with_message: bool) -> dict[str, Any]:
    """The `error` in the status details of a response that failed with this code, which may be any."""
    try:
        text = error_text(code)
    except KeyError:
        text = error_text("server_error")
    error = {"type": text.type, "code": code}
    return {**error, "message": text.message.format(model="this model")} if with_message else error


def listed(values: Iterable[str], quote: str = "'") -> str:
    """Values as the vendor lists them: `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`."""
    quoted = [f"{quote}{value}{quote}" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return ", ".join(quoted[:-1]) + ", and " + quoted[-1]


_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a decimal",
    "object": "an object",
    "array": "an array",
    "boolean": "a boolean",
    "null": "null",
}


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case list():
            return "an array"
        case _:
            return "an object"


def from_violation(violation: Violation, event_types: Iterable[str]) -> VendorError:
    """What the vendor answers to a client event that breaks its schema. `event_types`: those that it lists."""
    kind, param, got, expected = violation.kind, violation.param, violation.got, violation.expected
    if kind == "unknown_event":
        return VendorError("unknown_event", got=got, options=listed(event_types))
    if kind == "missing_required_parameter" and param == "type":
        return VendorError("missing_type")
    if kind == "invalid_value":
        return VendorError("invalid_value", param=param, got=got, options=listed(map(str, expected)))
    if kind == "invalid_type":
        wanted = " or ".join(_TYPES[name] for name in expected if name != "null")
        return VendorError("invalid_type", param=param, expected=wanted, got=_type_of(got))
    if kind in ("above_max", "below_min"):
        number = "decimal" if isinstance(got, float) or isinstance(expected[0], float) else "integer"
        return VendorError(f"{number}_{kind}", param=param, limit=expected[0], got=got)
    if kind == "string_above_max_length":
        return VendorError(kind, param=param, limit=expected[0], got=got)
    return VendorError(kind, param=param)
