"""One run of the suite: what was asked for, and what was found."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
import shlex
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import msgspec

from harness.gate.baseline import Baseline, hold_against
from harness.gates import out_of_order
from harness.live.network import Mode
from harness.profile import Profile, ProfileError, find_profile
from harness.report import model as report
from harness.report.ladder import ladder_lines, story
from harness.report.model import case_name
from harness.requirements import Registry
from harness.suite import HARNESS, CaseDefinition, Column, Outcome
from harness.trace import Trace, TraceError, load_trace

VERSION = "0.1.0"

FACTS_DATE = dt.date(2026, 11, 20)
"""The day up to which the vendors' behaviour is known: what `--as-of` is when nobody says otherwise."""

EXIT_FAILED, EXIT_USAGE, EXIT_NOT_STARTABLE, EXIT_HARNESS_ERROR = 1, 2, 3, 4
EXIT_INTERRUPTED = 130


class UsageProblem(ValueError):
    """Something the user asked for cannot be had. The message says what to write instead."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the command line asked for, checked.

    `gateway`: as it was asked for, by name or by path. `trace_file`: where the trace is that is replayed. `cases`: what
    the ids of the wanted cases contain; empty for all. `notes`: what a reader of the report has to know. `baseline`:
    the failures that are expected. `github`: whether to write annotations for GitHub. `intercept`: how a live gateway
    is led to the fakes. `jobs`: the least and the most processes that share the cases, see `hands`.
    """

    profile: Profile
    stage: str
    columns: Sequence[Column]
    seed: int
    knobs: Mapping[str, bool | int | str]
    source: str = "typical"
    report: Path | None = None
    trace: Trace | None = None
    trace_file: Path | None = None
    examples: int | None = None
    gateway: str = ""
    cases: Sequence[str] = ()
    notes: Sequence[str] = ()
    baseline: Baseline | None = None
    github: bool = False
    intercept: Mode = "settings"
    jobs: tuple[int, int] = (1, 1)

    def hands(self, cases: int, configurations: int) -> int:
        """How many processes share so many cases: one for each configuration of the gateway, within `jobs`."""
        least, most = self.jobs
        return max(1, min(max(least, min(most, configurations)), cases))


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


def cache_folder() -> Path:
    """Where callproof keeps what it can make again: `$CALLPROOF_CACHE`, or a folder of the user's cache."""
    return Path(os.environ.get("CALLPROOF_CACHE", Path.home() / ".cache" / "callproof"))


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


def select_cases(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """The ids in `known` that contain one of `wanted` in what follows the file's name. Raises `UsageProblem` for one
    that matches nothing."""
    found: dict[str, None] = {}
    for text in wanted:
        matching = [case for case in known if text in case]
        if not matching:
            raise UsageProblem(f"no case has {text!r} in its name{_nearest_case(text, known)}")
        found.update(dict.fromkeys(matching))
    return [case for case in known if case in found]


def find_case(wanted: str, known: Sequence[str]) -> str:
    """The case of a trace, by its name: a case may have moved to another file since. Raises `UsageProblem`."""
    for case in known:
        if case_name(case) == case_name(wanted):
            return case
    raise UsageProblem(
        f"the trace is of case {case_name(wanted)}, which is not in this suite{_nearest_case(wanted, known)}"
    )


def _nearest_case(text: str, known: Sequence[str]) -> str:
    """The names that are most like `text`: those that share words with it, then those that are spelt alike."""
    names = list(dict.fromkeys(case_name(case) for case in known))
    text = case_name(text).lower().replace("-", "_").replace(" ", "_")
    words = {word for word in text.split("_") if len(word) > 2}
    sharing = [name for name in names if words & set(name.split("_"))]
    sharing.sort(key=lambda name: -len(words & set(name.split("_"))))
    alike = difflib.get_close_matches(text, names, 3, cutoff=0)
    near = list(dict.fromkeys([*sharing[:2], *alike]))[:3]
    return f"; the nearest are {', '.join(near)}" if near else ""


@dataclass(slots=True)
class Collected:
    """Gathers the worlds of a run. `complete` is set when it came to its end: only then there is a report.

    `partial`: this is one of several processes that share the cases; another one makes the report. `started`: how
    often the gateway was, on the live stage.
    """

    request: RunRequest
    registry: Registry
    checks: list[report.Check] = field(default_factory=list)
    worlds: list[report.WorldResult] = field(default_factory=list)
    complete: bool = False
    partial: bool = False
    started: int = 0
    notes: list[str] = field(default_factory=list)
    not_here: dict[str, set[str]] = field(default_factory=dict)
    traces: list[Path] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def add(self, outcome: Outcome, case: str, *, keep_ladder: bool = True) -> report.WorldResult:
        """Take in one world; a failing one gets its trace, story and ladder."""
        index = len(self.worlds)
        world = outcome.result(case)
        found = outcome.report_checks(case, self.registry, index)
        offending = {f.seq: f.message for f in found if f.seq is not None and f.verdict in BAD}
        offending |= {f.seq: f.message for f in found if f.seq is not None and f.verdict is report.Verdict.WARN}
        if any(f.verdict in BAD for f in found) or outcome.error:
            # The trace of a replay is there already.
            path = self.request.trace_file or self.save_trace(outcome, case)
            world.trace = os.path.relpath(path, self.request.report or Path.cwd())
            world.replay = shlex.join(["callproof", "replay", os.path.relpath(path)])
        if world.trace:
            world.output = tail(outcome.output)
        if offending or world.trace:
            world.story = story(outcome.messages, offending)
            if keep_ladder:
                world.ladder = ladder_lines(outcome.messages, offending)
        self.worlds.append(world)
        self.checks += found
        return world

    def add_unstable(self, first: Outcome, second: Outcome, case: str) -> report.WorldResult:
        """Take in a case that failed and was run again with the same trace; returns the first world.

        What failed both times fails. What failed one time only is unstable. Both worlds keep story and ladder.
        """
        index = len(self.worlds)
        worlds = [outcome.result(case) for outcome in (first, second)]
        worlds[0].again = index + 1
        twice = set(first.checks.failed()) & set(second.checks.failed())
        found: dict[str, report.Check] = {}
        for place, outcome in enumerate((first, second)):
            offending: dict[int, str] = {}
            bad = outcome.error is not None
            for check in outcome.report_checks(case, self.registry, index + place):
                if check.verdict is report.Verdict.FAIL and check.requirement not in twice:
                    check = msgspec.structs.replace(check, verdict=report.Verdict.UNSTABLE)
                known = found.get(check.requirement)
                if known is None or report.rank(check.verdict) > report.rank(known.verdict):
                    found[check.requirement] = check
                bad = bad or check.verdict in (*BAD, report.Verdict.UNSTABLE)
                if check.seq is not None and check.verdict is not report.Verdict.PASS:
                    offending[check.seq] = check.message
            world = worlds[place]
            if bad:
                path = self.save_trace(outcome, case, again=bool(place))
                world.trace = os.path.relpath(path, self.request.report or Path.cwd())
                world.replay = shlex.join(["callproof", "replay", os.path.relpath(path)])
            world.output = tail(outcome.output)
            world.story = story(outcome.messages, offending)
            world.ladder = ladder_lines(outcome.messages, offending)
        self.worlds += worlds
        self.checks += found.values()
        return worlds[0]

    def expects(self, case: str) -> bool:
        """Whether the baseline lists all that has failed in a case."""
        bad = [check for check in self.checks if check.case == case and check.verdict in (*report.FAILING, *BAD)]
        return self.request.baseline is not None and all(map(self.request.baseline.expects, bad))

    def save_trace(self, outcome: Outcome, case: str, *, again: bool = False) -> Path:
        """Write the trace of a world beside the report. `again`: of the second run of a case that failed."""
        trace = outcome.trace(
            callproof=VERSION,
            case=case,
            gateway=self.request.gateway or self.request.profile.name,
            version=self.request.profile.gateway.version,
            knobs=self.request.knobs,
        )
        trace.story = story(outcome.messages, limit=STORY_LINES)
        folder = (self.request.report or Path(".callproof")) / "traces"
        name = f"{case_name(case)}--{outcome.column.model}"
        if sum(column.model == outcome.column.model for column in self.request.columns) > 1:
            name += f"--{outcome.column.as_of}"
        if self.request.source != "typical":
            name += f"--{outcome.choices.seed}"
        if again:
            name += "--again"
        path = trace.save(folder / f"{''.join(c if c.isalnum() or c in '-_.' else '-' for c in name)}.json")
        self.traces.append(path)
        return path

    def crashed(self, case: str, column: Column, error: Exception) -> str:
        """A world that broke off by a fault of ours: a harness error without a world. Returns it in one line."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} (at {Path(where.filename).name}:{where.lineno})"
        self.checks.append(
            report.Check(
                requirement=HARNESS,
                level=report.Level.MUST,
                case=case,
                verdict=report.Verdict.HARNESS_ERROR,
                model=column.model,
                dialect=column.dialect,
                as_of=column.as_of.isoformat(),
                message=told,
            )
        )
        self.tracebacks.append(f"{case}\n{''.join(traceback.format_exception(error))}")
        return told

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
                as_of=column.as_of.isoformat(),
                message=why,
            )
        )

    def elsewhere(self, definition: CaseDefinition) -> None:
        """A case that only another stage can run: a note says so, for nothing was found out."""
        self.not_here.setdefault(" ".join(definition.stages), set()).add(definition.name)

    def left_out(self) -> list[str]:
        """What was not run because it needs another stage, in sentences."""
        ways = {"virtual": "--stage virtual", "live": "--stage live", "enclosed": "--stage live --intercept namespace"}
        if self.request.stage == "live":
            ways["enclosed"] = "--intercept namespace"
        return [
            f"{len(names)} {'case needs' if len(names) == 1 else 'cases need'} "
            f"{', or '.join(ways[stage] for stage in stages.split())}: "
            f"{', '.join(sorted(names)[:3])}{' and others' if len(names) > 3 else ''}."
            for stages, names in sorted(self.not_here.items())
        ]

    def results(self, created: dt.datetime) -> report.Results:
        """The whole run as the report has it."""
        from harness.profile import CLAIMS

        profile = self.request.profile
        found = report.Results(
            callproof=VERSION,
            created=created.isoformat(timespec="seconds"),
            gateway=profile.name,
            gateway_version=profile.gateway.version,
            stage=self.request.stage,
            seed=None if self.request.source == "typical" else self.request.seed,
            as_of=max((c.as_of for c in self.request.columns), default=FACTS_DATE).isoformat(),
            models=list(dict.fromkeys(c.model for c in self.request.columns)),
            duration_s=round(time.perf_counter() - self.began, 3),
            notes=[*self.request.notes, *self.notes, *self.left_out()],
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
        return hold_against(self.request.baseline, found) if self.request.baseline else found

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
                decides=r.decides,
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
        """0, 1 for failures that the baseline does not list and for entries of it that are stale, 4 for a harness
        error."""
        verdicts = {check.verdict for check in self.checks}
        if report.Verdict.HARNESS_ERROR in verdicts or any(world.error for world in self.worlds):
            return EXIT_HARNESS_ERROR
        if self.request.baseline is None:
            return EXIT_FAILED if verdicts & set(report.FAILING) else 0
        stale = any(entry.stale for entry in self.results(dt.datetime.now(dt.UTC)).expected)
        new = any(c.verdict in report.FAILING and not self.request.baseline.expects(c) for c in self.checks)
        return EXIT_FAILED if stale or new else 0


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""Terminal control sequences (ECMA-48): colours, mostly."""

OUTPUT_KEPT = 4000
"""Characters of a gateway's output that a report keeps of a failing world."""


def tail(output: str) -> str:
    """The end of what a gateway printed, in whole lines and without colours."""
    output = ESCAPES.sub("", output)
    if len(output) <= OUTPUT_KEPT:
        return output
    return "…\n" + output[-OUTPUT_KEPT:].partition("\n")[2]


BAD = (report.Verdict.FAIL, report.Verdict.HARNESS_ERROR)


STORY_LINES = 1000
"""A trace keeps this many lines of its world's story: enough for a call of minutes."""


def compare(outcome: Outcome, trace: Trace, missing: Sequence[str] = ()) -> str:
    """Whether a replay was the same run again, and if not, what is different, in one plain sentence or two.

    `missing`: points that the run asked for and the trace has no value for.
    """
    failed = outcome.checks.failed()
    if set(failed) == set(trace.failed):
        words = [f"same verdict ({_verdict(failed)})"]
    else:
        words = [f"another verdict (the trace {_verdict(trace.failed)}, this run {_verdict(failed)})"]
    if outcome.stage == trace.stage == "virtual":
        words.append("same wire" if outcome.digest == trace.wire_digest else "another wire")
    broken = out_of_order(trace.order, outcome.order)
    if outcome.stage == "live":
        words.append("same order of deliveries" if not broken else "another order of deliveries")
    told = f"Replay: {', '.join(words)}."
    if "another wire" in words:
        told += f" {_first_difference(trace.story, story(outcome.messages, limit=STORY_LINES))}"
    if outcome.stage == "live" and broken:
        told += f" The order of the trace could not be kept: {broken[0]}."
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        told += f" The trace has no value for {missing[0]}{more}: the typical one was taken."
    return told


def _verdict(failed: Sequence[str]) -> str:
    return f"fails {', '.join(failed)}" if failed else "fails nothing"


def _first_difference(then: Sequence[str], now: Sequence[str]) -> str:
    for before, after in zip_longest(then, now, fillvalue="the end"):
        if before != after:
            return f"The first difference: then {_quote(before)}; now {_quote(after)}."
    return "The same events at the same times, but what some of them carry is different."


def _quote(line: str) -> str:
    return " ".join(line.split())
