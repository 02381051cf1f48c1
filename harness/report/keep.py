"""Kept reports: results small enough to be committed, with a ladder for each failure and one line for what passes.

`reports/GATEWAY/VERSION.json` is such a file. It is read like any other results file.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.report.exhibits import NOT_MET
from harness.report.ladder import thin
from harness.report.model import (
    KEPT_FORMAT,
    Check,
    CheckGroup,
    LadderLine,
    Results,
    WorldResult,
    case_name,
)
from harness.report.store import dated, read_results, write_json
from harness.report.words import shorten

BUDGET = 1_000_000
"""Bytes that a kept file should not exceed."""

_SIZES = (
    (160, 600, 4000, True),
    (160, 300, 2000, True),
    (100, 300, 1000, False),
    (60, 160, 600, False),
    (30, 100, 300, False),
)
"""Ladder lines, characters of a body, characters of the output, and whether each model has a ladder of its own: the
first that fits the budget is taken."""


def keep(runs: Sequence[Results], folder: Path, *, gateway: str = "") -> Path:
    """Write runs of one gateway, version and stage as one kept report; returns its path.

    `gateway`: how a command line names that gateway and version, for the commands that run a case again. The file is
    `GATEWAY/VERSION.json` in `folder`, or `GATEWAY/VERSION.STAGE.json` when the former holds another stage.
    """
    joined = join(runs)
    path = folder / _safe(joined.gateway) / f"{_safe(joined.gateway_version or 'unversioned')}.json"
    if path.exists() and read_results(path).stage != joined.stage:
        path = path.with_name(f"{path.stem}.{joined.stage}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    for lines, detail, output, by_column in _SIZES:
        write_json(
            slim(joined, gateway or joined.gateway, lines=lines, detail=detail, output=output, by_column=by_column),
            path,
        )
        _hide_places(path)
        if path.stat().st_size <= BUDGET:
            break
    return path


def join(runs: Sequence[Results]) -> Results:
    """One run of what was tried in several, of one gateway, version and stage: other models, other days."""
    newest = max(runs, key=lambda run: run.created)
    whole = msgspec.structs.replace(newest, checks=[], worlds=[], duration_s=0.0, baseline="", expected=[])
    rules = {rule.id: rule for run in runs for rule in run.requirements}
    whole.requirements = list(rules.values())
    whole.models = list(dict.fromkeys(model for run in runs for model in run.models))
    whole.notes = list(dict.fromkeys(note for run in runs for note in run.notes))
    for run in runs:
        offset = len(whole.worlds)
        whole.duration_s = round(whole.duration_s + run.duration_s, 3)
        whole.checks += [
            check if check.world is None else msgspec.structs.replace(check, world=check.world + offset)
            for check in dated(run).checks
        ]
        whole.worlds += [
            msgspec.structs.replace(world, again=None if world.again is None else world.again + offset)
            for world in run.worlds
        ]
    return whole


def slim(
    results: Results, gateway: str, *, lines: int = 160, detail: int = 600, output: int = 4000, by_column: bool = True
) -> Results:
    """The same verdicts in less room: a world for each requirement that is not met, and none for what passes.

    `lines`, `detail`, `output`: how much of a ladder, of a body and of the gateway's output to keep. `by_column`: keep
    a world for each model and day in which a requirement is not met, not only for one.
    """
    dated(results)
    shown = _shown(results, by_column)
    places: dict[int, int] = {}
    for number in dict.fromkeys(check.world for check in shown if check.world is not None):
        places[number] = len(places)
        again = results.worlds[number].again
        if again is not None:
            places.setdefault(again, len(places))
    worlds = [_world(results.worlds[number], gateway, lines, detail, output) for number in places]
    for world in worlds:
        world.again = places.get(world.again) if world.again is not None else None
    told = set(map(id, shown))
    cases: dict[str, int] = {}
    groups: dict[tuple[str, ...], CheckGroup] = {}
    for check in _worst(results.checks, told):
        key = (check.requirement, check.verdict, *check.column, check.message, str(check.seq is None))
        group = groups.setdefault(
            key,
            CheckGroup(
                requirement=check.requirement,
                verdict=check.verdict,
                cases=[],
                model=check.model,
                dialect=check.dialect,
                as_of=check.as_of,
                message=check.message,
                seq=check.seq,
            ),
        )
        group.cases.append(cases.setdefault(check.case, len(cases)))
    return msgspec.structs.replace(
        results,
        format=KEPT_FORMAT,
        checks=[
            check if check.world is None else msgspec.structs.replace(check, world=places[check.world])
            for check in shown
        ],
        worlds=worlds,
        cases=list(cases),
        grouped=list(groups.values()),
        baseline="",
        expected=[],
    )


def _shown(results: Results, by_column: bool) -> list[Check]:
    """One check to show for each requirement that is not met: in as few worlds as possible, and the short ones."""
    wrong = [check for check in results.checks if check.verdict in NOT_MET]
    breaks = Counter(check.world for check in wrong)

    def effort(check: Check) -> tuple[bool, int, int]:
        world = results.world_of(check)
        return (world is None or not world.ladder), -breaks[check.world], len(world.ladder) if world else 0

    best: dict[tuple[str, ...], Check] = {}
    for check in sorted(wrong, key=effort):
        best.setdefault((check.requirement, check.verdict, *(check.column if by_column else ())), check)
    chosen = set(map(id, best.values()))
    return [check for check in wrong if id(check) in chosen]


def _worst(checks: Sequence[Check], told: set[int]) -> list[Check]:
    """The checks that are not told by themselves, many of one verdict on one requirement in one case as one."""
    found: dict[tuple[str, ...], Check] = {}
    for check in checks:
        if id(check) not in told:
            key = (check.requirement, check.case, check.verdict, *check.column)
            found.setdefault(key, check)
    return list(found.values())


def _world(world: WorldResult, gateway: str, lines: int, detail: int, output: int) -> WorldResult:
    """A world as it is kept: without its trace, but with the command that runs its case."""
    command = ["callproof", "run", "--gateway", gateway, "--stage", world.stage, "--model", world.model]
    command += ["--as-of", world.as_of] if world.as_of else []
    return msgspec.structs.replace(
        world,
        trace=None,
        replay=shlex.join([*command, "--case", case_name(world.case)]),
        ladder=[_line(line, detail) for line in thin(world.ladder, lines)],
        output=world.output[-output:],
    )


def _line(line: LadderLine, detail: int) -> LadderLine:
    """The bodies of messages that nothing is wrong with may be short."""
    if line.mark is not None or line.invalid is not None:
        return line
    return msgspec.structs.replace(line, detail=shorten(line.detail, detail))


def _hide_places(path: Path) -> None:
    """Where things lay on the machine of the run is nobody's concern."""
    text = path.read_text(encoding="utf-8")
    for place, name in ((Path.cwd(), "."), (Path.home(), "~")):
        if len(place.parts) > 1:
            text = text.replace(f"{place}/", f"{name}/")
    path.write_text(text, encoding="utf-8")


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_.+" else "-" for c in name)


def is_kept(path: Path) -> bool:
    """Whether a path looks like a kept report, `GATEWAY/VERSION.json`, and not like a run's own results."""
    return path.suffix == ".json" and path.name != "results.json" and path.parent.name != "traces"
