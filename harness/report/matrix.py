"""Many runs as one matrix: gateways and versions down, requirements across, a verdict for every set-up of a run.

The pictures of it are in `matrix_html` and `matrix_text`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.report.model import FAILING, Check, Requirement, Results, Verdict, rank
from harness.report.store import ResultsError, dated, read_results
from harness.report.summary import summarise, where_fails
from harness.report.verdicts import Note, find_note


class Place(NamedTuple):
    """One set-up: where a gateway was tried, with which model, and when that was for the vendors."""

    stage: str
    model: str
    dialect: str
    as_of: str

    def __str__(self) -> str:
        model = f"{self.model} ({self.dialect})" if self.dialect else self.model
        return " · ".join(part for part in (model or "any model", self.as_of, self.stage) if part)


@dataclass(slots=True)
class Row:
    """One version of a gateway. `runs`: what is known of it, without what a newer run has found out anew.

    `cells`: the worst verdict on a requirement in a set-up. `files`: where the results came from. `causes`: of a
    requirement that fails only where others do that decide, those others.
    """

    gateway: str
    version: str
    runs: list[Results] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    cells: dict[str, dict[Place, Verdict]] = field(default_factory=dict)
    notes: Sequence[Note] = ()
    causes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.gateway} {self.version}".strip()

    @property
    def created(self) -> str:
        """When the newest of its runs ended."""
        return max(run.created for run in self.runs)

    @property
    def places(self) -> list[Place]:
        """The set-ups that it was tried in."""
        return sorted({place for cell in self.cells.values() for place in cell})

    def verdict(self, requirement: str) -> Verdict | None:
        """The worst verdict on a requirement, None when nothing checked it."""
        return max(self.cells.get(requirement, {}).values(), key=rank, default=None)

    def note(self, requirement: str) -> Note | None:
        """What people found out about it, or about what may be its cause."""
        found = find_note(self.notes, self.version, requirement)
        causes = self.causes.get(requirement, [])
        if found is None and causes and (cause := find_note(self.notes, self.version, causes[0])) is not None:
            found = Note((self.version,), (requirement,), cause.verdict, f"Only {where_fails(causes)}.")
        return found

    def counts(self) -> Counter[Verdict]:
        """Requirements by their worst verdict."""
        return Counter(verdict for id in self.cells if (verdict := self.verdict(id)) is not None)

    def having(self, *verdicts: Verdict) -> list[str]:
        """Ids of the requirements whose worst verdict is one of these."""
        return [id for id in self.cells if self.verdict(id) in verdicts]

    def not_looked_into(self) -> list[str]:
        """Ids of the requirements that fail and that nobody has said anything about."""
        return [id for id in self.having(*FAILING) if self.note(id) is None]


@dataclass(slots=True)
class Matrix:
    """All rows, and the requirements by area in the order of the registry."""

    rows: list[Row]
    requirements: dict[str, Requirement]
    areas: dict[str, list[str]]
    places: list[Place]
    checks: int


def build_matrix(runs: Iterable[tuple[Results, Path]], notes: Mapping[str, Sequence[Note]] | None = None) -> Matrix:
    """Put runs together. Where two ran the same case in the same set-up, the newer one counts.

    `notes`: what people found out, by gateway.
    """
    ordered = sorted(runs, key=lambda one: one[0].created)
    if not ordered:
        raise ResultsError("there are no results to make a report of")
    newest: dict[tuple[str, str, str, Place], int] = {}
    for number, (run, _) in enumerate(ordered):
        for check in dated(run).checks:
            newest[run.gateway, run.gateway_version, check.case, place_of(run, check)] = number
    rows: dict[tuple[str, str], Row] = {}
    checks = 0
    for number, (run, path) in enumerate(ordered):
        key = (run.gateway, run.gateway_version)
        counted = [check for check in run.checks if newest[(*key, check.case, place_of(run, check))] == number]
        if not counted:
            continue
        row = rows.setdefault(key, Row(*key, notes=(notes or {}).get(run.gateway, ())))
        row.runs.append(msgspec.structs.replace(run, checks=counted))
        row.files.append(path)
        checks += len(counted)
        for check in counted:
            cell = row.cells.setdefault(check.requirement, {})
            place = place_of(run, check)
            if place not in cell or rank(check.verdict) > rank(cell[place]):
                cell[place] = check.verdict
    requirements: dict[str, Requirement] = {}
    for run, _ in reversed(ordered):
        for rule in run.requirements:
            requirements.setdefault(rule.id, rule)
    checked = {id for row in rows.values() for id in row.cells}
    areas: dict[str, list[str]] = {}
    for rule in requirements.values():
        if rule.id in checked:
            areas.setdefault(rule.area, []).append(rule.id)
    for row in rows.values():
        row.cells = {id: row.cells[id] for id in requirements if id in row.cells}
        row.causes = _causes(row.runs)
    # Versions go down from the newest, gateways by name.
    found = sorted(rows.values(), key=lambda row: version_key(row.version), reverse=True)
    found.sort(key=lambda row: row.gateway)
    places = sorted({place for row in found for place in row.places})
    return Matrix(found, requirements, areas, places, checks)


def _causes(runs: Sequence[Results]) -> dict[str, list[str]]:
    """Of the requirements that fail only where others do that decide, those others, over all runs."""
    found: dict[str, set[str]] = {}
    alone: set[str] = set()
    for run in runs:
        for entry in summarise(run).having(*FAILING, Verdict.WARN):
            found.setdefault(entry.requirement.id, set()).update(entry.because)
            if not entry.because:
                alone.add(entry.requirement.id)
    return {id: sorted(causes) for id, causes in found.items() if id not in alone}


def place_of(run: Results, check: Check) -> Place:
    """The set-up of a check."""
    return Place(run.stage, check.model, check.dialect, check.as_of)


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Versions in their order: numbers as numbers, and a pre-release before its release."""
    parts = re.findall(r"\d+|[A-Za-z]+", version)
    return [(1, int(part), "") if part.isdigit() else (-1, 0, part) for part in parts] + [(0, 0, "")]


def find_results(paths: Sequence[Path]) -> list[tuple[Results, Path]]:
    """Read results files, and those in folders: a report's own, else all that are below.

    Raises `ResultsError` for a file that cannot be used, and for a folder without any.
    """
    found: dict[Path, Results] = {}
    for path in paths:
        if not path.is_dir() or (path / "results.json").exists():
            file = path / "results.json" if path.is_dir() else path
            found.setdefault(file, read_results(file))
            continue
        inside = [file for file in sorted(path.rglob("*.json")) if is_results(file)]
        if not inside:
            raise ResultsError(f"{path}: there are no results below it; give a results.json or a folder that has some")
        for file in inside:
            found.setdefault(file, read_results(file))
    return [(run, file) for file, run in found.items()]


def kept_reports(folder: Path) -> list[tuple[Results, Path]]:
    """The kept reports in a folder: `GATEWAY/VERSION.json`. Raises `ResultsError` when there is none."""
    files = [file for file in sorted(folder.glob("*/*.json")) if file.name != "results.json" and is_results(file)]
    if not files:
        raise ResultsError(f"{folder}: there is no GATEWAY/VERSION.json in it; `callproof keep RESULTS` writes one")
    return [(read_results(file), file) for file in files]


def is_results(path: Path) -> bool:
    """Whether a file is one of results, and not a trace or somebody else's: a look at its content, not at all of it."""
    if path.parent.name == "traces":
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return b'"callproof"' in head and b'"gateway_version"' in head and b'"choices"' not in head
