"""Failures as a reader wants them: one entry a requirement, with the few different things that were seen."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.model import FAILING, Check, Column, LadderLine, Results, Verdict, WorldResult, rank
from harness.report.summary import RequirementSummary, Summary

NOT_MET = (Verdict.HARNESS_ERROR, Verdict.FAIL, Verdict.UNSTABLE, Verdict.WARN)
"""The verdicts that a report tells about one by one."""


@dataclass(slots=True)
class Exhibit:
    """One thing that was seen: the check to show, its world, and how many other checks saw the same.

    `again`: the world in which the case was run again, and went otherwise. `expected`: the reason that the baseline
    gives, when it lists all of these checks; None when it does not.
    """

    check: Check
    world: WorldResult | None
    cases: list[str]
    columns: list[Column]
    count: int
    again: WorldResult | None = None
    expected: str | None = None

    @property
    def offending(self) -> LadderLine | None:
        """The line of the offending message in the world's ladder."""
        if self.world is None or self.check.seq is None:
            return None
        return next((line for line in self.world.ladder if line.seq == self.check.seq and line.source), None)


@dataclass(slots=True)
class Failure:
    """A requirement that is not met, and what was seen: different messages apart, the worst and most frequent first."""

    entry: RequirementSummary
    verdict: Verdict
    exhibits: list[Exhibit]
    more: int
    """How many further different messages there are."""


def failures(results: Results, summary: Summary, *, most: int = 3) -> list[Failure]:
    """The requirements that are not met, with at most `most` exhibits each: worst first, and causes before what may be
    their consequence."""
    found = []
    for entry in summary.having(*NOT_MET):
        groups: dict[tuple[Verdict, str], list[Check]] = {}
        for check in entry.with_verdict(*NOT_MET):
            groups.setdefault((check.verdict, check.message), []).append(check)
        ordered = sorted(groups.values(), key=lambda checks: (rank(checks[0].verdict), len(checks)), reverse=True)
        exhibits = [_exhibit(results, summary, checks) for checks in ordered[:most]]
        found.append(Failure(entry, exhibits[0].check.verdict, exhibits, len(ordered) - len(exhibits)))
    return sorted(found, key=lambda failure: (-rank(failure.verdict), bool(failure.entry.because)))


def broken_worlds(results: Results) -> list[WorldResult]:
    """The worlds in which the harness or a fake went wrong: one for each different error."""
    return list({world.error: world for world in results.worlds if world.error is not None}.values())


def _exhibit(results: Results, summary: Summary, checks: list[Check]) -> Exhibit:
    """Show the check whose world tells its story shortest: that is the one to understand first."""

    def effort(check: Check) -> tuple[bool, bool, int]:
        world = results.world_of(check)
        if world is None:
            return True, True, 0
        return not world.ladder, world.replay is None, len(world.ladder)

    check = min(checks, key=effort)
    cases = list(dict.fromkeys(each.case for each in checks))
    columns = list(dict.fromkeys(summary.column(each) for each in checks))
    world = results.world_of(check)
    again = results.worlds[world.again] if world is not None and world.again is not None else None
    if check.verdict is not Verdict.UNSTABLE:
        again = None
    return Exhibit(check, world, cases, columns, len(checks), again, _expected(results, checks))


def _expected(results: Results, checks: list[Check]) -> str | None:
    """The reason why the baseline expects all of these; empty when it gives none."""
    reasons = []
    for check in checks:
        if check.verdict not in FAILING:
            return None
        entry = next((entry for entry in results.expected if entry.covers(check)), None)
        if entry is None:
            return None
        reasons.append(entry.reason)
    return "; ".join(dict.fromkeys(filter(None, reasons)))
