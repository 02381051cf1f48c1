"""Adding up: from checks to one verdict for each requirement, each area and the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from harness.report.model import FAILING, SEVERITY, Check, Column, Expected, Requirement, Results, Verdict, rank


class ExitStatus(IntEnum):
    """What `callproof run` ends with, as far as verdicts decide it."""

    OK = 0
    FAILURES = 1
    HARNESS_ERROR = 4


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The verdict that counts among several, None of none."""
    return max(verdicts, key=rank, default=None)


@dataclass(slots=True)
class RequirementSummary:
    """One requirement over all its checks. `verdict` is None when nothing checked it."""

    requirement: Requirement
    verdict: Verdict | None = None
    counts: Counter[Verdict] = field(default_factory=Counter)
    columns: dict[Column, Verdict] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    because: list[str] = field(default_factory=list)
    """Where it is not met, always one of these is not met in the same case and column, and they decide."""

    def add(self, check: Check, column: Column) -> None:
        """Count one more check, in this column."""
        verdict = check.verdict
        self.checks.append(check)
        self.counts[verdict] += 1
        if self.verdict is None or rank(verdict) > rank(self.verdict):
            self.verdict = verdict
        before = self.columns.get(column)
        if before is None or rank(verdict) > rank(before):
            self.columns[column] = verdict

    def with_verdict(self, *verdicts: Verdict) -> list[Check]:
        """The checks that ended in one of `verdicts`, in the order in which they were made."""
        return [check for check in self.checks if check.verdict in verdicts]


def _find_consequences(entries: Mapping[str, RequirementSummary]) -> None:
    """Tell of each requirement whether it fails only where one fails that decides.

    What decides is seen on a message. Where it fails without one, a story broke off that was to show it.
    """
    decided: dict[tuple[str, str, str | None], list[str]] = {}
    for entry in entries.values():
        if entry.requirement.decides:
            for check in entry.with_verdict(Verdict.FAIL):
                if check.seq is not None:
                    decided.setdefault((check.case, check.model, check.as_of), []).append(entry.requirement.id)
    for entry in entries.values():
        failed = entry.with_verdict(*FAILING, Verdict.WARN)
        causes = [decided.get((check.case, check.model, check.as_of), []) for check in failed]
        seen = entry.requirement.decides and any(check.seq is not None for check in failed)
        if causes and all(causes) and not seen:
            entry.because = sorted(set().union(*causes))


@dataclass(slots=True)
class AreaSummary:
    """One area: its requirements, and how many of them ended in which verdict (None: not checked)."""

    name: str
    requirements: list[RequirementSummary] = field(default_factory=list)
    counts: Counter[Verdict | None] = field(default_factory=Counter)


@dataclass(slots=True)
class Summary:
    """A run added up. `counts` counts requirements by their worst verdict, `checks` counts single checks."""

    requirements: list[RequirementSummary]
    areas: list[AreaSummary]
    columns: list[Column]
    counts: Counter[Verdict | None]
    checks: Counter[Verdict]
    errors: int
    """Worlds in which the harness or a fake went wrong."""
    days: list[str] = field(default_factory=list)
    """The days that the vendors lived in, in order."""
    unexpected: list[Check] = field(default_factory=list)
    """Checks that failed and that the baseline, if there is one, does not list."""
    stale: list[Expected] = field(default_factory=list)
    """Failures that the baseline lists and that are no more."""
    baseline: bool = False
    """Whether the run was held against one."""

    def column(self, check: Check) -> Column:
        """The column of a check; its day is a part of it only where there is more than one."""
        return check.column if self.days[1:] else Column(check.model, check.dialect)

    @property
    def judged(self) -> int:
        """How many requirements got a verdict on the gateway: pass, warn, unstable or fail."""
        return sum(self.counts[verdict] for verdict in (Verdict.PASS, Verdict.WARN, *FAILING))

    @property
    def exit_status(self) -> ExitStatus:
        """The exit status that these results ask for.

        A harness error comes before failures (it may hide some); so does a run that checked nothing. With a baseline
        only what it does not list counts, and what it lists in vain.
        """
        if self.checks[Verdict.HARNESS_ERROR] or self.errors or not self.checks.total():
            return ExitStatus.HARNESS_ERROR
        return ExitStatus.FAILURES if self.unexpected or self.stale else ExitStatus.OK

    @property
    def _expectation(self) -> str:
        """What the baseline says to the failures; nothing where there is none."""
        if not self.baseline:
            return ""
        new = len({(check.requirement, check.case) for check in self.unexpected})
        said = f"{many(new, 'failure')} not in the baseline" if new else "as the baseline expects"
        return f", {said}" + (f"; {self._staleness}" if self.stale else "")

    @property
    def _staleness(self) -> str:
        verb = "is" if len(self.stale) == 1 else "are"
        return f"the baseline lists {many(len(self.stale), 'failure')} that {verb} no more"

    def having(self, *verdicts: Verdict) -> list[RequirementSummary]:
        """The requirements whose worst verdict is one of `verdicts`: worst first, then in the order of the registry."""
        found = [entry for entry in self.requirements if entry.verdict in verdicts]
        return sorted(found, key=lambda entry: -rank(entry.verdict) if entry.verdict else 0)

    @property
    def headline(self) -> str:
        """The outcome as the second half of a sentence that begins with the gateway's name."""
        harness, failed = self.counts[Verdict.HARNESS_ERROR], self.counts[Verdict.FAIL]
        if not self.checks.total():
            return "was not checked at all"
        if harness or self.errors:
            places = [f"on {many(harness, 'requirement')}"] if harness else []
            places += [f"in {many(self.errors, 'world')}"] if self.errors else []
            tail = f"; it fails {failed} of {self.judged}" if failed else ""
            tail += f"; it is unstable on {self.counts[Verdict.UNSTABLE]}" if self.counts[Verdict.UNSTABLE] else ""
            return f"could not be judged {' and '.join(places)}: the harness went wrong{tail}"
        unstable = self.counts[Verdict.UNSTABLE]
        if failed or unstable:
            found = [("fails", failed), ("is unstable on", unstable)]
            parts = [f"{verb} {number}" for verb, number in found if number]
            return f"{' and '.join(parts)} of {many(self.judged, 'requirement')}{self._expectation}"
        if self.stale:
            return f"meets every MUST; {self._staleness}"
        if self.counts[Verdict.WARN]:
            warnings = many(self.counts[Verdict.WARN], "warning")
            return f"meets every MUST of {many(self.judged, 'requirement')}, with {warnings}"
        return f"meets all {many(self.judged, 'requirement')}"


def many(number: int, noun: str) -> str:
    """`1 check`, `1,200 checks`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def where_fails(causes: Iterable[str]) -> str:
    """How a consequence is told: "only ..."; `causes` as in `RequirementSummary.because`."""
    return f"where {' or '.join(causes)} fails, and perhaps because of it"


def summarise(results: Results) -> Summary:
    """Add up a run, in one pass over its checks.

    Requirements and areas keep the order of the registry, models the order of `Results.models`.
    """
    entries = {requirement.id: RequirementSummary(requirement) for requirement in results.requirements}
    days = sorted({check.as_of for check in results.checks if check.as_of})
    unexpected = []
    for check in results.checks:
        column = check.column if days[1:] else Column(check.model, check.dialect)
        entries[check.requirement].add(check, column)
        if check.verdict in FAILING and not any(entry.covers(check) for entry in results.expected):
            unexpected.append(check)
    _find_consequences(entries)
    order = {model: place for place, model in enumerate(results.models)}
    seen = dict.fromkeys(column for entry in entries.values() for column in entry.columns)
    columns = sorted(seen, key=lambda column: (order.get(column.model, len(order)), column))
    areas: dict[str, AreaSummary] = {}
    for entry in entries.values():
        area = areas.setdefault(entry.requirement.area, AreaSummary(entry.requirement.area))
        area.requirements.append(entry)
        area.counts[entry.verdict] += 1
    counts: Counter[Verdict | None] = Counter()
    checks: Counter[Verdict] = Counter(dict.fromkeys(SEVERITY, 0))
    for entry in entries.values():
        counts[entry.verdict] += 1
        checks.update(entry.counts)
    errors = sum(world.error is not None for world in results.worlds)
    return Summary(
        requirements=list(entries.values()),
        areas=list(areas.values()),
        columns=columns,
        counts=counts,
        checks=checks,
        errors=errors,
        days=days,
        unexpected=unexpected,
        stale=[entry for entry in results.expected if entry.stale],
        baseline=bool(results.baseline),
    )
