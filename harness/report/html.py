"""The report as one HTML page that needs nothing else: no network, no framework, readable on paper and on a telephone.

What a reader sees first is in the page itself. The checks of each requirement, which can be many thousands, are added
up by case and model, travel as JSON, and become rows only when somebody opens the requirement.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from harness.report.exhibits import NOT_MET, Exhibit, broken_worlds, failures
from harness.report.ladder import focus
from harness.report.ladder_svg import STYLE, render_svg_parts
from harness.report.model import SEVERITY, Column, Requirement, Results, Verdict, WorldResult, rank
from harness.report.page import ORDER, SYMBOLS, breakable, created, script_json, story, template
from harness.report.summary import RequirementSummary, Summary, summarise

_HERE = Path(__file__).parent
_MOST_LADDERS = 100
"""Ladders drawn on the page; a run that breaks more has one cause, and the rest stay in results.json."""
_MOST_SEEN = 20
"""Failed checks listed one by one under a requirement."""


@dataclass(slots=True)
class _Ladder:
    """A drawn ladder: the row of parties, which stays in sight, and the rest."""

    head: Markup
    body: Markup


def write_html(results: Results, path: Path) -> None:
    """Write the page."""
    path.write_text(render_html(results), encoding="utf-8")


def render_html(results: Results) -> str:
    """The page as text."""
    summary = summarise(results)
    drawn = 0

    def ladder(exhibit: Exhibit, again: bool = False) -> _Ladder | None:
        nonlocal drawn
        world, seq = (exhibit.again, None) if again else (exhibit.world, exhibit.check.seq)
        if world is None or not world.ladder or drawn >= _MOST_LADDERS:
            return None
        drawn += 1
        reason = f"{exhibit.check.requirement} is broken here"
        head, body = render_svg_parts(focus(world.ladder, seq, reason))
        return _Ladder(Markup(head), Markup(body))

    return _template().render(
        results=results,
        summary=summary,
        failures=failures(results, summary),
        broken=broken_worlds(results)[:10],
        ladder=ladder,
        story=story,
        created=created(results.created),
        verdicts=[verdict for verdict in ORDER if summary.counts[verdict]],
        symbols=SYMBOLS,
        data=Markup(script_json(_data(results, summary))),
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8") + STYLE),
        script=Markup((_HERE / "report.js").read_text(encoding="utf-8")),
    )


@cache
def _template() -> Template:
    return template("report.html.j2", case=_case)


def _case(case: str) -> Markup:
    """A case by its own name; where it stands is its tooltip."""
    return Markup('<span class="case" title="{}">{}</span>').format(case, breakable(case.rpartition("::")[2]))


def _data(results: Results, summary: Summary) -> dict[str, Any]:
    """What the page turns into rows when asked. Names are numbers here, positions in `cases` and `columns`."""
    names = dict.fromkeys(check.case for check in results.checks)
    names |= dict.fromkeys(world.case for world in results.worlds)
    cases = {case: number for number, case in enumerate(names)}
    columns = {column: number for number, column in enumerate(summary.columns)}
    many_days = bool(summary.days[1:])
    return {
        "verdicts": SEVERITY,
        "cases": list(cases),
        "columns": [str(column) for column in columns],
        "requirements": {
            entry.requirement.id: {
                **_rule(entry.requirement),
                "rows": _rows(entry, cases, columns, many_days),
                "seen": _seen(results, entry, cases, summary),
            }
            for entry in summary.requirements
        },
        "worlds": [_world(world, cases, many_days) for world in results.worlds],
    }


def _rule(rule: Requirement) -> dict[str, str]:
    facts = {"why": rule.why, "source": rule.source, "era": rule.era, "claim": rule.claim}
    return {name: value for name, value in facts.items() if value}


def _rows(
    entry: RequirementSummary, cases: dict[str, int], columns: dict[Column, int], many_days: bool
) -> list[list[int]]:
    """One requirement by case: the case, then for each column the worst verdict (-1: none) and the number of checks."""
    rows: dict[str, list[int]] = {}
    for check in entry.checks:
        row = rows.get(check.case)
        if row is None:
            row = rows[check.case] = [cases[check.case], *([-1, 0] * len(columns))]
        cell = 1 + 2 * columns[Column(check.model, check.dialect, check.as_of if many_days else "")]
        row[cell] = max(row[cell], rank(check.verdict))
        row[cell + 1] += 1
    return list(rows.values())


def _seen(results: Results, entry: RequirementSummary, cases: dict[str, int], summary: Summary) -> list[Any]:
    """The checks that did not pass: verdict, case, column, what was seen, seed and replay command."""
    if entry.verdict not in NOT_MET:
        shown = [check for check in entry.checks if check.message and check.verdict is Verdict.UNSUPPORTED][:1]
    else:
        shown = sorted(entry.with_verdict(*NOT_MET), key=lambda check: -rank(check.verdict))[:_MOST_SEEN]
    rows = []
    for check in shown:
        world = results.world_of(check)
        seed, replay = (None, None) if world is None else (world.seed, world.replay)
        column = summary.columns.index(summary.column(check))
        rows.append([rank(check.verdict), cases[check.case], column, check.message, seed, replay])
    return rows


def _world(world: WorldResult, cases: dict[str, int], many_days: bool) -> list[Any]:
    day = world.as_of or "" if many_days else ""
    column = str(Column(world.model, world.dialect, day)) if world.model or world.dialect else ""
    return [
        cases[world.case],
        column,
        world.seed,
        world.wire_digest,
        round(world.seconds, 2),
        world.messages,
        world.trace,
        world.replay,
        world.error,
    ]
