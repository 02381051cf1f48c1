"""The matrix as one HTML page that needs nothing else: no network, no framework, opened from a file.

What the page shows first is small: a character for each requirement and set-up of a row. The cases behind a cell, with
stories and ladders, are deflated, one block a row, and inflated by the browser when somebody opens a cell: a hundred
thousand checks cost a reader nothing before that.
"""

from __future__ import annotations

import base64
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Template
from markupsafe import Markup

from harness.report.exhibits import NOT_MET, Exhibit, Failure, broken_worlds, failures
from harness.report.ladder import focus
from harness.report.ladder_svg import STYLE, render_svg_parts
from harness.report.matrix import Matrix, Place, Row, place_of
from harness.report.model import FAILING, SEVERITY, Results, Verdict, WorldResult, case_name, rank
from harness.report.page import ORDER, SYMBOLS, created, script_json, story, template
from harness.report.summary import many, summarise
from harness.report.verdicts import WORDS, Note
from harness.report.words import vocabulary

_HERE = Path(__file__).parent
_MOST_LADDERS = 80
"""Ladders drawn for one row."""


def write_matrix(matrix: Matrix, path: Path, *, title: str = "Compatibility of realtime-voice gateways") -> None:
    """Write the page. Links to the results of a row are relative to it."""
    path.write_text(render_matrix(matrix, title=title, folder=path.parent), encoding="utf-8")


def render_matrix(matrix: Matrix, *, title: str, folder: Path | None = None) -> str:
    """The page as text. `folder`: where it will be, for links to results below it."""
    verdicts = {verdict for row in matrix.rows for cell in row.cells.values() for verdict in cell.values()}
    return _template().render(
        title=title,
        matrix=matrix,
        rows=matrix.rows,
        verdicts=[verdict for verdict in ORDER if verdict in verdicts],
        symbols=SYMBOLS,
        failing=FAILING,
        words=WORDS,
        headline=headline,
        files={row.label: _files(row, folder) for row in matrix.rows},
        filters=_filters(matrix),
        data=Markup(script_json(_data(matrix))),
        blocks=[Markup(_deflate(_details(matrix, row))) for row in matrix.rows],
        style=Markup(
            (_HERE / "report.css").read_text(encoding="utf-8")
            + (_HERE / "matrix.css").read_text(encoding="utf-8")
            + STYLE
        ),
        script=Markup((_HERE / "matrix.js").read_text(encoding="utf-8")),
    )


def headline(row: Row) -> str:
    """How a row does, as the second half of a sentence."""
    counts = row.counts()
    judged = sum(counts[verdict] for verdict in (Verdict.PASS, Verdict.WARN, *FAILING))
    told = []
    if counts[Verdict.FAIL]:
        told.append(f"fails {counts[Verdict.FAIL]}")
    if counts[Verdict.UNSTABLE]:
        told.append(f"is unstable on {counts[Verdict.UNSTABLE]}")
    text = f"{' and '.join(told)} of {many(judged, 'requirement')}" if told else f"meets {many(judged, 'requirement')}"
    text += f", with {many(counts[Verdict.WARN], 'warning')}" if counts[Verdict.WARN] else ""
    if counts[Verdict.HARNESS_ERROR]:
        text += f"; {counts[Verdict.HARNESS_ERROR]} could not be judged"
    return text


@cache
def _template() -> Template:
    return template("matrix.html.j2", created=created, many=many)


def _files(row: Row, folder: Path | None) -> list[str]:
    """The results of a row as links, where they are below the page."""
    if folder is None:
        return []
    root = folder.resolve()
    return [file.resolve().relative_to(root).as_posix() for file in row.files if file.resolve().is_relative_to(root)]


def _filters(matrix: Matrix) -> list[tuple[str, str, list[str]]]:
    """The filters that leave a choice: their id, what stands for all, and the values."""
    found = []
    for name, everything in (
        ("stage", "Both stages"),
        ("model", "All models"),
        ("dialect", "Both dialects"),
        ("as_of", "All days"),
    ):
        values = sorted({getattr(place, name) for place in matrix.places if getattr(place, name)})
        if values[1:]:
            found.append((name, everything, values))
    return found


def _data(matrix: Matrix) -> dict[str, Any]:
    """What the page draws its cells from. `cells`: for each set-up of a row one character a requirement: the rank of
    the verdict, or a point where nothing was checked."""
    order = [id for ids in matrix.areas.values() for id in ids]
    places = {place: number for number, place in enumerate(matrix.places)}
    rules = [matrix.requirements[id] for id in order]
    return {
        "verdicts": SEVERITY,
        "words": WORDS,
        "places": [list(place) for place in matrix.places],
        "areas": [[vocabulary().area(name), len(ids)] for name, ids in matrix.areas.items()],
        "rules": [[rule.id, rule.level, rule.rule, rule.why, rule.source, rule.era, rule.claim] for rule in rules],
        "rows": [
            {
                "gateway": row.gateway,
                "version": row.version,
                "places": [places[place] for place in row.places],
                "cells": [_cells(row, place, order) for place in row.places],
                "notes": {
                    number: _note(note)
                    for number, id in enumerate(order)
                    if row.verdict(id) in NOT_MET and (note := row.note(id)) is not None
                },
            }
            for row in matrix.rows
        ],
    }


def _cells(row: Row, place: Place, order: list[str]) -> str:
    cells = []
    for id in order:
        verdict = row.cells.get(id, {}).get(place)
        cells.append("." if verdict is None else str(rank(verdict)))
    return "".join(cells)


def _note(note: Note) -> list[Any]:
    return [note.verdict, note.note, list(note.evidence)]


def _deflate(value: Any) -> str:
    """JSON in the zlib format, in base64: what `DecompressionStream("deflate")` of a browser reads."""
    return base64.b64encode(zlib.compress(msgspec.json.encode(value), 9)).decode()


def _details(matrix: Matrix, row: Row) -> dict[str, Any]:
    """What a cell opens: for each requirement its checks by case and set-up, and what was seen."""
    places = {place: number for number, place in enumerate(matrix.places)}
    cases: dict[str, int] = {}
    checks: dict[str, dict[tuple[int, int], list[int]]] = {}
    for run in row.runs:
        for check in run.checks:
            case = cases.setdefault(check.case, len(cases))
            key = (case, places[place_of(run, check)])
            cell = checks.setdefault(check.requirement, {}).setdefault(key, [rank(check.verdict), 0])
            cell[0] = max(cell[0], rank(check.verdict))
            cell[1] += 1
    seen: dict[str, list[Any]] = {}
    drawn = 0
    for run in row.runs:
        for failure in failures(run, summarise(run)):
            for exhibit in failure.exhibits:
                picture = drawn < _MOST_LADDERS
                drawn += picture and exhibit.world is not None and bool(exhibit.world.ladder)
                shown = _exhibit(run, failure, exhibit, places, picture)
                seen.setdefault(failure.entry.requirement.id, []).append(shown)
    return {
        "cases": [case_name(case) for case in cases],
        "checks": {id: [[case, place, *cell] for (case, place), cell in found.items()] for id, found in checks.items()},
        "seen": seen,
        "broken": [[case_name(w.case), w.error] for run in row.runs for w in broken_worlds(run)],
    }


def _exhibit(
    run: Results, failure: Failure, exhibit: Exhibit, places: dict[Place, int], picture: bool
) -> dict[str, Any]:
    same = [
        check
        for check in failure.entry.checks
        if (check.verdict, check.message) == (exhibit.check.verdict, exhibit.check.message)
    ]
    world = exhibit.world
    told: dict[str, Any] = {
        "rank": rank(exhibit.check.verdict),
        "message": exhibit.check.message,
        "places": sorted({places[place_of(run, check)] for check in same}),
        "cases": list(dict.fromkeys(case_name(case) for case in exhibit.cases)),
        "count": exhibit.count,
        "more": failure.more,
    }
    if exhibit.offending is not None and exhibit.offending.detail:
        told["detail"] = exhibit.offending.detail
    if world is not None:
        told |= {"replay": world.replay, "output": world.output, "scene": _scene(exhibit, world, picture)}
    if exhibit.again is not None:
        told["again"] = _scene(exhibit, exhibit.again, picture, again=True)
    return {key: value for key, value in told.items() if value not in (None, "", [])}


def _scene(exhibit: Exhibit, world: WorldResult, picture: bool, *, again: bool = False) -> dict[str, Any]:
    """The story, each sentence as its time, words, the reason why it is marked, and whether this is about that mark;
    and the ladder."""
    scene: dict[str, Any] = {"story": story(exhibit, again)}
    if picture and world.ladder:
        reason = f"{exhibit.check.requirement} is broken here"
        lines = focus(world.ladder, None if again else exhibit.check.seq, reason)
        scene["ladder"] = render_svg_parts(lines)
    return scene
