"""One run of the suite: what was asked for, and what was found."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.profile import Profile, ProfileError, find_profile
from harness.report import model as report
from harness.report.ladder import ladder_lines, story
from harness.requirements import Registry
from harness.suite import HARNESS, CaseDefinition, Column, Outcome
from harness.trace import Trace, TraceError, load_trace

VERSION = "0.1.0"

FACTS_DATE = dt.date(2026, 11, 20)
"""The day up to which the vendors' behaviour is known: what `--as-of` is when nobody says otherwise."""

EXIT_FAILED, EXIT_USAGE, EXIT_NOT_STARTABLE, EXIT_HARNESS_ERROR = 1, 2, 3, 4


class UsageProblem(ValueError):
    """Something the user asked for cannot be had. The message says what to write instead."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the command line asked for, checked."""

    profile: Profile
    stage: str
    columns: Sequence[Column]
    seed: int
    knobs: Mapping[str, bool | int | str]
    source: str = "typical"
    report: Path | None = None
    trace: Trace | None = None
    examples: int | None = None


def parse_as_of(text: str | None) -> dt.date:
    """`today`, an ISO date, or nothing (the day up to which the vendors are known). Raises `UsageProblem`."""
    if not text:
        return FACTS_DATE
    if text == "today":
        return dt.datetime.now(dt.UTC).date()
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageProblem(f"--as-of wants a date such as 2026-04-15, or `today`, not {text!r}") from None


def parse_knobs(pairs: Sequence[str]) -> dict[str, bool | int | str]:
    """`name=value` pairs. Raises `UsageProblem`."""
    knobs: dict[str, bool | int | str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageProblem(f"--knob wants NAME=VALUE, not {pair!r}")
        knobs[name] = value
    return knobs


def find_gateway(name: str, roots: Sequence[Path]) -> Profile:
    """The profile of a gateway. Raises `UsageProblem`."""
    try:
        return find_profile(name, roots)
    except ProfileError as error:
        raise UsageProblem(str(error)) from None


def read_trace(path: str) -> Trace:
    """A trace file. Raises `UsageProblem`."""
    try:
        return load_trace(Path(path))
    except TraceError as error:
        raise UsageProblem(str(error)) from None


@dataclass(slots=True)
class Collected:
    """Gathers the worlds of a run and writes its report."""

    request: RunRequest
    registry: Registry
    command: str = "callproof"
    checks: list[report.Check] = field(default_factory=list)
    worlds: list[report.WorldResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    traces: list[Path] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def add(self, outcome: Outcome, case: str, *, keep_ladder: bool = True) -> report.WorldResult:
        """Take in one world; a failing one gets its trace, story and ladder."""
        index = len(self.worlds)
        world = outcome.result(case)
        found = outcome.report_checks(case, self.registry, index)
        offending = {f.seq: f.message for f in found if f.seq is not None and f.verdict in BAD}
        offending |= {f.seq: f.message for f in found if f.seq is not None and f.verdict is report.Verdict.WARN}
        if any(f.verdict in BAD for f in found) or outcome.error:
            path = self.save_trace(outcome, case)
            world.trace = os.path.relpath(path, self.request.report or Path.cwd())
            world.replay = f"callproof replay {os.path.relpath(path)}"
        if offending or world.trace:
            world.story = story(outcome.messages, offending)
            if keep_ladder:
                world.ladder = ladder_lines(outcome.messages, offending)
        self.worlds.append(world)
        self.checks += found
        return world

    def save_trace(self, outcome: Outcome, case: str) -> Path:
        """Write the trace of a world beside the report."""
        trace = outcome.trace(
            callproof=VERSION,
            case=case,
            gateway=self.request.profile.name,
            version=self.request.profile.gateway.version,
            knobs=self.request.knobs,
        )
        folder = (self.request.report or Path(".callproof")) / "traces"
        name = (case.rpartition("::")[2] or case).removeprefix("test_").rstrip("]").replace("[", "--")
        safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in f"{name}--{outcome.choices.seed}")
        path = trace.save(folder / f"{safe}.json")
        self.traces.append(path)
        return path

    def unsupported(self, definition: CaseDefinition, case: str, column: Column, why: str) -> None:
        """A case of a feature that the gateway does not claim."""
        self.checks.append(
            report.Check(
                requirement=definition.about,
                level=report.Level(self.registry[definition.about].level),
                case=case,
                verdict=report.Verdict.UNSUPPORTED,
                model=column.model,
                dialect=column.dialect,
                message=why,
            )
        )

    def results(self, created: dt.datetime) -> report.Results:
        """The whole run as the report has it."""
        from harness.profile import CLAIMS

        profile = self.request.profile
        return report.Results(
            callproof=VERSION,
            created=created.isoformat(timespec="seconds"),
            gateway=profile.name,
            gateway_version=profile.gateway.version,
            stage=self.request.stage,
            seed=self.request.seed,
            as_of=max((c.as_of for c in self.request.columns), default=FACTS_DATE).isoformat(),
            models=list(dict.fromkeys(c.model for c in self.request.columns)),
            duration_s=round(time.perf_counter() - self.began, 3),
            notes=self.notes,
            unsupported_claims=[claim for claim in CLAIMS if claim not in profile.claims.features],
            requirements=[*self._requirements(), *self._harness_requirement()],
            excluded=[
                report.Excluded(
                    id=r.id,
                    level=report.Level(r.level),
                    rule=r.rule,
                    area=r.area,
                    source=r.source,
                    reason=r.excluded,
                )
                for r in self.registry.values()
                if r.excluded is not None
            ],
            checks=self.checks,
            worlds=self.worlds,
        )

    def _requirements(self) -> list[report.Requirement]:
        seen = {check.requirement for check in self.checks}
        return [
            report.Requirement(
                id=r.id,
                level=report.Level(r.level),
                rule=r.rule,
                area=r.area,
                source=r.source,
                era=None if r.era == "always" else r.era,
                claim=r.claim or None,
                why=r.why,
            )
            for r in self.registry.values()
            if r.id in seen
        ]

    def _harness_requirement(self) -> list[report.Requirement]:
        if not any(check.requirement == HARNESS for check in self.checks):
            return []
        return [
            report.Requirement(
                id=HARNESS,
                level=report.Level.MUST,
                rule="callproof and its fakes do what they should.",
                area="harness",
                source="",
                why="A fault of ours; please report it with the trace.",
            )
        ]

    def exit_status(self) -> int:
        """0, 1 for failures, 4 for a harness error."""
        verdicts = {check.verdict for check in self.checks}
        if report.Verdict.HARNESS_ERROR in verdicts or any(world.error for world in self.worlds):
            return EXIT_HARNESS_ERROR
        return EXIT_FAILED if report.Verdict.FAIL in verdicts else 0


BAD = (report.Verdict.FAIL, report.Verdict.HARNESS_ERROR)


def summary_of(outcome: Outcome) -> dict[str, Any]:
    """What a replay compares: the verdict and the digest."""
    return {"failed": outcome.checks.failed(), "digest": outcome.digest, "order": outcome.order}
