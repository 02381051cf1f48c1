"""Filling in: `{name}` in a profile's strings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.profiles.errors import ProfileError
from harness.profiles.lines import Lines
from harness.profiles.vocabulary import VOCABULARY

_PLACEHOLDER = re.compile(r"(\{\{)|(\}\})|\{([A-Za-z_][\w.]*)\}")


class Missing(ProfileError):
    """A placeholder for a setting that there is, but that this world does not have."""


def located(file: Path, key: str | Sequence[str | int], version: str | None = None) -> str:
    """`profile.toml:12: settings.openai.model`: where a key is written, and its name. In an overlay if it is there."""
    path = key.split(".") if isinstance(key, str) else list(key)
    said = ".".join(str(part) for part in path)
    try:
        lines = Lines(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{file}: {said}"
    overlay = ["versions", version, *path] if version is not None else path
    line = lines.exact(overlay) or lines.line(path)
    return f"{file}:{line}: {said}"


def render(template: str, values: Mapping[str, str], key: str, folder: Path) -> str:
    """Replace `{name}` by its value; `{{` and `}}` stand for braces. Raises `ProfileError`; `Missing` for a setting
    that this world does not have."""

    def one(match: re.Match[str]) -> str:
        if match.group(1) or match.group(2):
            return match.group()[0]
        name = match.group(3)
        if name not in values:
            where = located(folder / "profile.toml", key, values.get("version"))
            if name in VOCABULARY and any(known in values for known in VOCABULARY):
                raise Missing(f"{where}: this world has no {{{name}}} ({VOCABULARY[name]})")
            near = difflib.get_close_matches(name, values, 1)
            hint = f"; did you mean {{{near[0]}}}?" if near else f"; there are: {', '.join(sorted(values))}"
            raise ProfileError(f"{where}: nothing is called {{{name}}}{hint}")
        return values[name]

    return _PLACEHOLDER.sub(one, template)


def placeholders(value: Any) -> list[str]:
    """The names in all strings of a template, in order."""
    found: list[str] = []

    def one(text: str) -> str:
        found.extend(match.group(3) for match in _PLACEHOLDER.finditer(text) if match.group(3))
        return text

    render_all(value, one)
    return found


def render_all(value: Any, one: Callable[[str], str]) -> Any:
    """A template of tables, lists and strings with `one` done to every string in it."""
    if isinstance(value, str):
        return one(value)
    if isinstance(value, Mapping):
        return {key: render_all(item, one) for key, item in value.items()}
    if isinstance(value, list):
        return [render_all(item, one) for item in value]
    return value


def flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """`{"openai": {"api_key": "$X"}}` as `[("openai.api_key", "$X")]`."""
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and not {"env", "arg"} & value.keys():
            found += flatten(value, f"{name}.")
        else:
            found.append((name, value))
    return found


def nested(values: Mapping[str, str]) -> dict[str, Any]:
    """`{"openai.api_key": "X"}` as `{"openai": {"api_key": "X"}}`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *tables, key = name.split(".")
        table = found
        for part in tables:
            table = table.setdefault(part, {})
        table[key] = value
    return found


def is_among(name: str, known: Collection[str]) -> bool:
    """Whether a name of a template stands for one of `known`, or for the table that some of them are in."""
    return name in known or any(each.startswith(f"{name}.") for each in known)
