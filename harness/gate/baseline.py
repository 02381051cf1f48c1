"""A baseline: the failures of a gateway that are known and accepted, so that only what is new fails a run.

A TOML file with one `[[expected]]` table for each::

    [[expected]]
    requirement = "LIFE-003"
    case = "the_model_goes_away"        # the name of a case, or a glob
    model = "gpt-realtime-2"            # left out: every model
    verdict = "fail"                    # or "unstable", for a failure that comes and goes; left out: fail
    reason = "Nothing reconnects; upstream issue 3170."

A listed failure that is no more is stale and fails the run too, or the file would hide its return.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from harness.report.model import FAILING, Check, Expected, Outlook, Results, Verdict, case_name, rank

HEADER = """\
# Failures that are known and accepted: `callproof run --baseline` passes with these and fails with any other.
# An entry that does not fail any more fails the run as well; `callproof baseline update` takes it out.
"""

_KEYS = ("requirement", "case", "model", "verdict", "reason")
_NEEDED = ("requirement", "case")
_VERDICTS = ("fail", "unstable")
_TABLE = re.compile(r"\s*\[\[\s*expected\s*\]\]\s*(#.*)?$")


class BaselineError(ValueError):
    """A baseline that cannot be used. The message names the file, the line, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The entries of a baseline file. `lines`: where each begins."""

    path: Path
    entries: Sequence[Expected]
    lines: Sequence[int] = ()

    def check_names(self, requirements: Collection[str], cases: Collection[str]) -> None:
        """Refuse entries on a requirement or a case that there is not. `cases`: their ids.

        Raises `BaselineError` naming the nearest that there is.
        """
        names = sorted({case_name(case) for case in cases})
        for line, entry in zip(self.lines, self.entries, strict=True):
            if entry.requirement not in requirements:
                raise _error(self.path, line, _unknown("requirement", entry.requirement, sorted(requirements)))
            if not any(fnmatchcase(name, entry.case) for name in names):
                raise _error(self.path, line, _unknown("case", entry.case, names))

    def expects(self, check: Check) -> bool:
        """Whether the check is a failure that is listed."""
        return any(entry.covers(check) for entry in self.entries)


def load_baseline(path: Path) -> Baseline:
    """Read a baseline. Raises `BaselineError` for a file that is missing or that says anything unknown."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BaselineError(
            f"{path}: cannot be read ({error.strerror}); `callproof baseline update {path} RESULTS` writes one"
        ) from error
    except UnicodeDecodeError as error:
        raise BaselineError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
    return parse_baseline(text, path)


def parse_baseline(text: str, path: Path) -> Baseline:
    """The same from text that came from `path`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BaselineError(f"{path}: is not TOML: {error}") from error
    source = text.splitlines()
    for key in data:
        if key != "expected":
            raise _error(path, _line_of(source, key), _unknown("key", key, ["expected"], "write [[expected]]"))
    tables = data.get("expected", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise _error(path, _line_of(source, "expected"), "`expected` is a table; write [[expected]] above each entry")
    starts = [number for number, line in enumerate(source, 1) if _TABLE.match(line)]
    if len(starts) != len(tables):  # written inline, or with the header inside a text of several lines
        starts = [1] * len(tables)
    entries: list[Expected] = []
    seen: dict[tuple[str, str, str], int] = {}
    for start, table in zip(starts, tables, strict=True):
        entry = _entry(path, source, start, table)
        if _key(entry) in seen:
            told = f"{entry.requirement} in {entry.case} is listed already, in line {seen[_key(entry)]}"
            raise _error(path, start, told)
        seen[_key(entry)] = start
        entries.append(entry)
    return Baseline(path, entries, starts)


def _entry(path: Path, source: Sequence[str], start: int, table: dict[str, Any]) -> Expected:
    for key, value in table.items():
        line = _line_of(source, key, start)
        if key not in _KEYS:
            raise _error(path, line, _unknown("key", key, _KEYS))
        if not isinstance(value, str):
            raise _error(path, line, f"`{key}` wants a text in quotes, not {value!r}")
        if key == "verdict" and value not in _VERDICTS:
            raise _error(path, line, _unknown("verdict", value, _VERDICTS))
    for key in _NEEDED:
        if not table.get(key):
            raise _error(path, start, f"the entry has no `{key}`; it needs {' and '.join(_NEEDED)}")
    return Expected(
        requirement=table["requirement"],
        case=table["case"],
        model=table.get("model", ""),
        verdict=Verdict(table.get("verdict", "fail")),
        reason=table.get("reason", ""),
    )


def _error(path: Path, line: int, told: str) -> BaselineError:
    return BaselineError(f"{path}, line {line}: {told}")


def _unknown(what: str, name: str, known: Sequence[str], hint: str = "") -> str:
    near = difflib.get_close_matches(name, known, 3, cutoff=0.5)
    if not hint:
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known[:8])}"
        hint += ", ..." if not near and known[8:] else ""
    return f"no {what} is called {name!r}; {hint}"


def _line_of(source: Sequence[str], key: str, start: int = 1) -> int:
    """The line at or after `start` that begins with a key; `start` where there is none."""
    pattern = re.compile(rf"\s*(\[\[?\s*)?[\"']?{re.escape(key)}[\"']?\s*[\]=.]")
    found = (number for number, line in enumerate(source[start - 1 :], start) if pattern.match(line))
    return next(found, start)


def hold_against(baseline: Baseline, results: Results) -> Results:
    """Write into `results` what became of each entry, in place; returns them."""
    results.baseline = str(baseline.path)
    results.expected = [
        msgspec.structs.replace(entry, outcome=_outcome(entry, results.checks)) for entry in baseline.entries
    ]
    return results


def _outcome(entry: Expected, checks: Sequence[Check]) -> Outlook:
    """Passed only when the requirement was judged in that case: a case that broke off earlier says nothing."""
    judged = [check for check in checks if entry.about(check)]
    if any(check.verdict in FAILING for check in judged):
        return Outlook.FAILED
    if any(check.verdict in (Verdict.PASS, Verdict.WARN) for check in judged):
        return Outlook.PASSED
    return Outlook.NOT_RUN


@dataclass(slots=True)
class Update:
    """What an update of a baseline did."""

    kept: list[Expected] = field(default_factory=list)
    added: list[Expected] = field(default_factory=list)
    removed: list[Expected] = field(default_factory=list)
    not_run: list[Expected] = field(default_factory=list)
    text: str = ""


def update_baseline(baseline: Baseline | None, text: str, results: Results) -> Update:
    """Bring a baseline up to date: entries that are stale go, failures that are not listed come, the rest stays.

    `text`: of the old file, empty for a new one. What stays keeps its reason, its place and its comments; entries that
    the run did not come to stay as well. New entries have an empty reason, for somebody to fill in.
    """
    update = Update()
    entries = list(baseline.entries) if baseline else []
    keep: list[bool] = []
    for entry in entries:
        outcome = _outcome(entry, results.checks)
        stale = msgspec.structs.replace(entry, outcome=outcome).stale
        keep.append(not stale)
        (update.removed if stale else update.not_run if outcome is Outlook.NOT_RUN else update.kept).append(entry)
    stays = [entry for entry, kept in zip(entries, keep, strict=True) if kept]
    update.added = _new_entries([check for check in results.checks if not any(e.covers(check) for e in stays)])
    # What was listed as coming and going and has come to stay: the new entry takes the old one's place and reason.
    reasons = {_key(entry): entry.reason for entry in entries}
    update.added = [msgspec.structs.replace(entry, reason=reasons.get(_key(entry), "")) for entry in update.added]
    replaced = {_key(entry) for entry in update.added}
    keep = [kept and _key(entry) not in replaced for entry, kept in zip(entries, keep, strict=True)]
    stays = [entry for entry, kept in zip(entries, keep, strict=True) if kept]
    update.kept = [entry for entry in update.kept if _key(entry) not in replaced]
    wanted = {_key(entry) for entry in (*stays, *update.added)}
    blocks = _blocks(text, len(entries))
    if blocks is not None:
        body = [blocks[0] or HEADER, *(block for block, kept in zip(blocks[1:], keep, strict=True) if kept)]
        update.text = _joined([*body, *map(_written, update.added)])
        if {_key(entry) for entry in parse_baseline(update.text, Path("the new text")).entries} == wanted:
            return update
    # The tables are written in a way that nothing can be cut out of: write all of it anew.
    update.text = _joined([HEADER, *map(_written, (*stays, *update.added))])
    return update


def _key(entry: Expected) -> tuple[str, str, str]:
    return entry.requirement, entry.case, entry.model


def _joined(parts: Sequence[str]) -> str:
    return "\n".join(part.strip("\n") + "\n" for part in parts if part.strip())


def _new_entries(checks: Sequence[Check]) -> list[Expected]:
    """One entry for each requirement and case; the model is named only where another one does not fail there."""
    found: dict[tuple[str, str], dict[str, Verdict]] = {}
    sound: set[tuple[str, str]] = set()
    for check in checks:
        key = (check.requirement, case_name(check.case))
        if check.verdict in FAILING:
            models = found.setdefault(key, {})
            models[check.model] = max(check.verdict, models.get(check.model, check.verdict), key=rank)
        elif check.verdict in (Verdict.PASS, Verdict.WARN):
            sound.add(key)
    entries = []
    for (requirement, case), models in found.items():
        verdicts = set(models.values())
        if len(verdicts) == 1 and (requirement, case) not in sound:
            models = {"": verdicts.pop()}
        entries += [
            Expected(requirement=requirement, case=case, model=model, verdict=verdict)
            for model, verdict in models.items()
        ]
    return sorted(entries, key=lambda entry: (entry.requirement, entry.case, entry.model))


def _blocks(text: str, entries: int) -> list[str] | None:
    """A file cut into what stands before the first entry, and the entries, each with the comment right above it.

    None when the tables that can be seen in the text are not the entries.
    """
    lines = text.splitlines()
    cuts: list[int] = []
    for number, line in enumerate(lines):
        if _TABLE.match(line):
            while number > (cuts[-1] + 1 if cuts else 0) and lines[number - 1].lstrip().startswith("#"):
                number -= 1
            cuts.append(number)
    if len(cuts) != entries:
        return None
    edges = [0, *cuts, len(lines)]
    return ["\n".join(lines[start:end]) for start, end in pairwise(edges)]


def _written(entry: Expected) -> str:
    rows = {"requirement": entry.requirement, "case": entry.case, "model": entry.model}
    lines = [f"{key} = {_toml(value)}" for key, value in rows.items() if value]
    if entry.verdict is not Verdict.FAIL:
        lines.append(f"verdict = {_toml(entry.verdict)}")
    return "\n".join(["[[expected]]", *lines, f"reason = {_toml(entry.reason)}"])


def _toml(text: str) -> str:
    """A basic string of TOML: the escapes of JSON are among its own, but for the delete character."""
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")
