"""What people found out about the failures of a gateway: `VERDICTS.toml`, beside its kept reports.

One table for each finding; the first that fits a version and a requirement counts::

    [[verdict]]
    version = "1.14.*"              # a version or a glob, or a list of them; left out: every version
    requirement = "LIFE-003"        # an id, or a list of ids that have one cause
    verdict = "fault"               # "fault" (the gateway's), "ours" (callproof's), "taste"
    note = "A session that is lost in mid-call leaves the caller in silence."
    evidence = "https://example.org/issues/3170"    # an address or a text, or a list of them; may be left out
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

FILE = "VERDICTS.toml"

WORDS = {"fault": "a fault of the gateway", "ours": "a fault of callproof", "taste": "a matter of taste"}
"""The verdicts that people give, and what they mean."""

NOT_LOOKED_INTO = "not looked into"

_KEYS = ("version", "requirement", "verdict", "note", "evidence")


class VerdictsError(ValueError):
    """A file of verdicts that cannot be used. The message names the file, the line, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Note:
    """One finding of a person. `line`: where it begins in its file."""

    versions: Sequence[str]
    requirements: Sequence[str]
    verdict: str
    note: str
    evidence: Sequence[str] = ()
    line: int = 0

    def fits(self, version: str, requirement: str) -> bool:
        """Whether it is about that requirement in that version."""
        return requirement in self.requirements and any(fnmatchcase(version, one) for one in self.versions)


def find_note(notes: Sequence[Note], version: str, requirement: str) -> Note | None:
    """The first note that fits."""
    return next((note for note in notes if note.fits(version, requirement)), None)


def load_verdicts(path: Path) -> list[Note]:
    """Read a file of verdicts; one that is not there has none. Raises `VerdictsError`."""
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise VerdictsError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise VerdictsError(f"{path}: is not TOML: {error}") from error
    tables = data.get("verdict", [])
    if set(data) - {"verdict"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        found = ", ".join(f"`{key}`" for key in data)
        raise VerdictsError(f"{path}: expected nothing but [[verdict]] tables, found {found}")
    starts = [n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*verdict\s*\]\]", line)]
    if len(starts) != len(tables):
        starts = [1] * len(tables)
    return [_note(path, line, table) for line, table in zip(starts, tables, strict=True)]


def _note(path: Path, line: int, table: dict[str, Any]) -> Note:
    def wrong(told: str) -> VerdictsError:
        return VerdictsError(f"{path}, line {line}: {told}")

    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            raise wrong(f"no key is called {key!r}; {f'did you mean {near[0]}?' if near else f'there are {_KEYS}'}")
    texts: dict[str, list[str]] = {}
    for key in ("version", "requirement", "evidence"):
        value = table.get(key, "*" if key == "version" else [])
        texts[key] = [value] if isinstance(value, str) else value
        if not isinstance(texts[key], list) or not all(isinstance(one, str) for one in texts[key]):
            raise wrong(f"`{key}` wants a text or a list of texts, not {value!r}")
    if not texts["requirement"]:
        raise wrong("the entry has no `requirement`")
    if table.get("verdict") not in WORDS:
        raise wrong(f"`verdict` wants one of {', '.join(WORDS)}, not {table.get('verdict')!r}")
    if not isinstance(table.get("note"), str) or not table["note"].strip():
        raise wrong("the entry has no `note`: say in a sentence or two what was found out")
    return Note(texts["version"], texts["requirement"], table["verdict"], table["note"], texts["evidence"], line)
