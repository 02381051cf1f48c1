"""Knobs: vendor behaviours that public evidence leaves open, made settings.

Each vendor has a `knobs.toml` beside its code, one table per knob::

    ["twilio.ended_call_completed"]
    default = "404"
    options = ["404", "400", "200"]          # or: low = 0, high = 5000  (whole numbers); or neither for true/false
    behaviour = "What POST Status=completed answers for a call that has already ended."
    evidence = "I"                           # the tag of the fact sheet
    source = "pipecat#2145"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Value = bool | int | str


class KnobError(ValueError):
    """A knob that does not exist, or a value that it cannot take. The message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One uncertain behaviour: what it is, what it may be, what it is by default, and where that comes from."""

    name: str
    default: Value
    behaviour: str
    evidence: str
    source: str
    options: tuple[Value, ...] = ()
    low: int | None = None
    high: int | None = None

    def check(self, value: Value) -> Value:
        """Return `value` in the knob's own type, or raise `KnobError`. Accepts the text form of any value."""
        if self.options:
            for option in self.options:
                if value == option or str(value) == str(option):
                    return option
            raise KnobError(f"knob {self.name} is one of {', '.join(map(str, self.options))}, not {value!r}")
        if isinstance(self.default, bool):
            if isinstance(value, bool):
                return value
            if str(value).lower() in ("true", "false"):
                return str(value).lower() == "true"
            raise KnobError(f"knob {self.name} is true or false, not {value!r}")
        if isinstance(self.default, int):
            try:
                number = int(value)
            except ValueError:
                raise KnobError(f"knob {self.name} is a whole number, not {value!r}") from None
            if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
                raise KnobError(f"knob {self.name} goes from {self.low} to {self.high}, not {number}")
            return number
        return str(value)


class Knobs(Mapping[str, Value]):
    """The knobs of one or more vendors with their present values. Reading an unknown one raises `KnobError`."""

    def __init__(self, knobs: Mapping[str, Knob], values: Mapping[str, Value] | None = None) -> None:
        self._knobs = dict(knobs)
        self._values: dict[str, Value] = {}
        for name, value in (values or {}).items():
            self.set(name, value)

    @classmethod
    def load(cls, *files: Path) -> Knobs:
        """Read the knobs of `files`."""
        knobs: dict[str, Knob] = {}
        for file in files:
            for name, table in tomllib.loads(file.read_text(encoding="utf-8")).items():
                knobs[name] = Knob(name=name, **{**table, "options": tuple(table.get("options", ()))})
        return cls(knobs)

    def set(self, name: str, value: Value) -> None:
        """Turn one knob. Raises `KnobError` with the nearest valid name or the valid values."""
        self._values[name] = self.knob(name).check(value)

    def knob(self, name: str) -> Knob:
        """The description of one knob."""
        try:
            return self._knobs[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._knobs, 1)
            hint = f"; did you mean {near[0]}?" if near else "; `callproof knobs` lists them"
            raise KnobError(f"no knob is called {name!r}{hint}") from None

    def changed(self) -> dict[str, Value]:
        """The knobs that do not stand at their default, by name."""
        return {name: value for name, value in sorted(self._values.items()) if value != self._knobs[name].default}

    def __getitem__(self, name: str) -> Value:
        knob = self.knob(name)
        return self._values.get(name, knob.default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._knobs)

    def __len__(self) -> int:
        return len(self._knobs)
