"""Two runs compared: what became worse, what became better, what is new and what is gone.

The unit is one requirement in one case, with one model on one day. Runs of different versions, stages and days can be
compared; what is different about them is said first, for it may be the reason for all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.report.model import FAILING, Check, Column, Requirement, Results, Verdict, case_name, rank
from harness.report.store import ResultsError, dated
from harness.report.summary import many

GOOD = (Verdict.PASS, Verdict.WARN)


class Change(StrEnum):
    """What happened to a verdict, in the order in which it is told."""

    REGRESSION = "regression"
    UNJUDGED = "unjudged"
    UNSTABLE = "unstable"
    NEW_FAILURE = "new failure"
    FIX = "fix"
    CHANGED = "changed"
    NEW = "new"
    GONE = "gone"


BAD_CHANGES = (Change.REGRESSION, Change.UNJUDGED)
"""The changes that a gate does not let through. What could not be judged any more may hide a regression."""


@dataclass(slots=True)
class Group:
    """The same change of one requirement, in one or several cases. `message`: what was seen, now or before."""

    change: Change
    requirement: Requirement
    before: Verdict | None
    after: Verdict | None
    message: str = ""
    cases: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)


@dataclass(slots=True)
class Comparison:
    """What is different between two runs. `setup`: what is different in how they were made, in sentences."""

    old: str
    new: str
    setup: list[str]
    groups: list[Group]
    same: int
    """How many verdicts are as they were."""

    def having(self, *changes: Change) -> list[Group]:
        """The groups of these kinds."""
        return [group for group in self.groups if group.change in changes]

    def count(self, change: Change) -> int:
        """How many verdicts changed in this way."""
        return sum(len(group.cases) for group in self.groups if group.change is change)

    @property
    def exit_status(self) -> int:
        """0 without a regression, 1 with one."""
        return 1 if self.having(*BAD_CHANGES) else 0

    @property
    def headline(self) -> str:
        """The outcome in one sentence."""
        regressed = len({group.requirement.id for group in self.having(Change.REGRESSION)})
        lost = len({group.requirement.id for group in self.having(Change.UNJUDGED)})
        told = [f"{many(regressed, 'requirement')} regressed" if regressed else "no regression"]
        told += [f"{many(lost, 'requirement')} could not be judged any more"] if lost else []
        fixed = len({group.requirement.id for group in self.having(Change.FIX)})
        told += [f"{many(fixed, 'requirement')} fixed"] if fixed else []
        return f"{self.new} against {self.old}: {', '.join(told)}"


@dataclass(frozen=True, slots=True)
class _Key:
    gateway: str
    requirement: str
    case: str
    column: Column


def compare_runs(old: Sequence[Results], new: Sequence[Results]) -> Comparison:
    """Compare two runs, or two sets of runs of the same gateways.

    One gateway may be compared with another when there is one on each side. Raises `ResultsError` when there is nothing
    to compare.
    """
    old, new = [dated(run) for run in old], [dated(run) for run in new]
    names = _names(old), _names(new)
    if not set(names[0]) & set(names[1]):
        if len(names[0]) != 1 or len(names[1]) != 1:
            raise ResultsError(
                f"no gateway is on both sides: the old results are of {', '.join(names[0])}, the new ones of "
                f"{', '.join(names[1])}"
            )
        aliases = {names[1][0]: names[0][0]}
    else:
        aliases = {}
    setup = _setup(old, new)
    days = _same_days(old, new)
    before = _verdicts(old, {}, days[0])
    after = _verdicts(new, aliases, days[1])
    ran = _cases(before), _cases(after)
    columns = {(key.gateway, key.column) for key in before} & {(key.gateway, key.column) for key in after}
    rules = {rule.id: rule for run in (*old, *new) for rule in run.requirements}
    groups: dict[tuple[object, ...], Group] = {}
    same = 0
    for key in dict.fromkeys((*before, *after)):
        if (key.gateway, key.column) not in columns:
            continue  # the set-up says so: that column was not tried on one side
        then, now = before.get(key), after.get(key)
        change = _change(then, now, key, ran)
        if change is None:
            same += 1
            continue
        seen = now if now is not None and now.verdict not in GOOD else then
        message = seen.message if seen is not None else ""
        states = (then.verdict if then else None, now.verdict if now else None)
        group = groups.setdefault(
            (change, key.requirement, *states, message), Group(change, rules[key.requirement], *states, message)
        )
        group.cases.append(key.case)
        if key.column not in group.columns:
            group.columns.append(key.column)
    place = {change: number for number, change in enumerate(Change)}
    ordered = sorted(groups.values(), key=lambda group: place[group.change])
    return Comparison(_label(old), _label(new), setup, ordered, same)


def _change(
    then: Check | None, now: Check | None, key: _Key, ran: tuple[set[tuple[str, str, Column]], ...]
) -> Change | None:
    """What happened to one verdict; None when it is as it was."""
    here = (key.gateway, key.case, key.column)
    if now is None:
        assert then is not None
        return Change.GONE
    if then is None:
        if now.verdict is Verdict.HARNESS_ERROR:
            return Change.UNJUDGED
        if now.verdict not in FAILING:
            return Change.NEW
        # In a case that was run before, nothing had gone wrong with this requirement then.
        return Change.REGRESSION if here in ran[0] else Change.NEW_FAILURE
    if then.verdict is now.verdict:
        return None
    if now.verdict is Verdict.HARNESS_ERROR:
        return Change.UNJUDGED
    if now.verdict is Verdict.FAIL and then.verdict is not Verdict.HARNESS_ERROR:
        return Change.REGRESSION
    if now.verdict is Verdict.UNSTABLE and then.verdict is not Verdict.FAIL:
        return Change.REGRESSION if then.verdict in (*GOOD, Verdict.UNSUPPORTED) else Change.UNSTABLE
    if now.verdict is Verdict.UNSTABLE:
        return Change.UNSTABLE
    if now.verdict in GOOD and then.verdict in FAILING:
        return Change.FIX
    if now.verdict in FAILING:
        return Change.NEW_FAILURE  # it could not be judged before
    return Change.CHANGED


def _verdicts(runs: Iterable[Results], aliases: dict[str, str], days: dict[Column, str]) -> dict[_Key, Check]:
    """The worst check under each key."""
    found: dict[_Key, Check] = {}
    for run in runs:
        gateway = aliases.get(run.gateway, run.gateway)
        for check in run.checks:
            column = check.column
            column = column._replace(as_of=days.get(column, column.as_of))
            key = _Key(gateway, check.requirement, case_name(check.case), column)
            known = found.get(key)
            if known is None or rank(check.verdict) > rank(known.verdict):
                found[key] = check
    return found


def _cases(verdicts: Iterable[_Key]) -> set[tuple[str, str, Column]]:
    return {(key.gateway, key.case, key.column) for key in verdicts}


def _columns(runs: Iterable[Results]) -> list[Column]:
    return list(dict.fromkeys(check.column for run in runs for check in run.checks))


def _same_days(old: Sequence[Results], new: Sequence[Results]) -> tuple[dict[Column, str], dict[Column, str]]:
    """Where a model was tried on one day on each side, and these are two days: let them count as one.

    Otherwise a run of today could not be compared with one of yesterday.
    """
    renamed: tuple[dict[Column, str], dict[Column, str]] = {}, {}
    sides = [_columns(old), _columns(new)]
    for model in dict.fromkeys(column[:2] for column in (*sides[0], *sides[1])):
        days = [[column for column in side if column[:2] == model] for side in sides]
        if len(days[0]) == len(days[1]) == 1:
            for names, (column,) in zip(renamed, days, strict=True):
                names[column] = ""
    return renamed


def _names(runs: Iterable[Results]) -> list[str]:
    return list(dict.fromkeys(run.gateway for run in runs))


def _label(runs: Sequence[Results]) -> str:
    labels = list(dict.fromkeys(f"{run.gateway} {run.gateway_version}".strip() for run in runs))
    return ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if labels[3:] else "")


def _setup(old: Sequence[Results], new: Sequence[Results]) -> list[str]:
    """What is different in how the runs were made."""

    def said(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, ""))) or "none"

    facts: list[tuple[str, Callable[[Sequence[Results]], Sequence[object]]]] = [
        ("gateway", lambda side: [run.gateway for run in side]),
        ("version", lambda side: [run.gateway_version for run in side]),
        ("stage", lambda side: [run.stage for run in side]),
        ("model", lambda side: [column.model for column in _columns(side)]),
        ("day", lambda side: sorted({column.as_of for column in _columns(side)})),
        ("seed", lambda side: ["typical" if run.seed is None else run.seed for run in side]),
        ("callproof", lambda side: [run.callproof for run in side]),
    ]
    told = []
    for name, values in facts:
        then, now = values(old), values(new)
        if set(then) != set(now):
            told.append(f"{name}: {said(then)} before, {said(now)} now")
    return told
