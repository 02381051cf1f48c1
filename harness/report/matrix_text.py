"""The matrix in words: Markdown for a pull request, JSON for other programs, a table for the terminal."""

from __future__ import annotations

from typing import Any

import msgspec
from rich import box
from rich.table import Table

from harness.report.markdown import SYMBOLS, code, text
from harness.report.matrix import Matrix, Row
from harness.report.matrix_html import headline
from harness.report.model import FAILING, Verdict
from harness.report.terminal import STYLES
from harness.report.verdicts import NOT_LOOKED_INTO, WORDS

_SHOWN = (
    Verdict.PASS,
    Verdict.FAIL,
    Verdict.UNSTABLE,
    Verdict.WARN,
    Verdict.UNSUPPORTED,
    Verdict.HARNESS_ERROR,
)
_BUDGET = 55_000
"""Characters to spend: code hosts refuse comments above 65,536."""


def _columns(matrix: Matrix) -> list[Verdict]:
    """The verdicts that there are; passed and failed in any case."""
    seen = {verdict for row in matrix.rows for verdict in row.counts()}
    return [verdict for verdict in _SHOWN if verdict in seen or verdict in (Verdict.PASS, Verdict.FAIL)]


def render_markdown(matrix: Matrix) -> str:
    """The matrix as GitHub-flavoured Markdown: a line for each version, then what fails and what people say to it."""
    shown = _columns(matrix)
    heads = [f"{SYMBOLS[verdict]} {str(verdict).replace('_', ' ')}" for verdict in shown]
    lines = ["## Compatibility", "", f"| gateway | version | {' | '.join(heads)} | set-ups |"]
    lines.append(f"|---|---|{'--:|' * len(heads)}---|")
    for row in matrix.rows:
        counts = row.counts()
        numbers = " | ".join(str(counts[verdict] or "") for verdict in shown)
        places = "; ".join(map(str, row.places[:4])) + (f" and {len(row.places) - 4} more" if row.places[4:] else "")
        lines.append(f"| {text(row.gateway)} | {text(row.version)} | {numbers} | {text(places)} |")
    parts = ["\n".join(lines) + "\n"]
    spent = len(parts[0])
    for row in matrix.rows:
        part = _failures(matrix, row)
        if part and spent + len(part) > _BUDGET:
            parts.append("The rest is too long for a comment; it is in the report.\n")
            break
        spent += len(part)
        parts += [part] if part else []
    return "\n".join(parts)


def _failures(matrix: Matrix, row: Row) -> str:
    failing = row.having(*FAILING)
    if not failing:
        return ""
    lines = [f"### {text(row.label)} {headline(row)}", "", "| requirement | rule | looked into |", "|---|---|---|"]
    for id in failing:
        verdict, note = row.verdict(id), row.note(id)
        if note is None:
            said = f"**{NOT_LOOKED_INTO}**"
        else:
            evidence = "".join(f" {_evidence(one)}" for one in note.evidence)
            said = f"**{WORDS[note.verdict]}**: {text(note.note)}{evidence}"
        symbol = SYMBOLS[verdict] if verdict else ""
        lines.append(f"| {symbol} {code(id)} | {text(matrix.requirements[id].rule)} | {said} |")
    return "\n".join(lines) + "\n"


def _evidence(evidence: str) -> str:
    return f"<{evidence}>" if evidence.startswith(("http://", "https://")) else f"({text(evidence)})"


def render_json(matrix: Matrix) -> bytes:
    """A compact summary: for each version its counts, and each requirement that is not met with the set-ups."""
    return msgspec.json.format(msgspec.json.encode({"rows": [_row(row) for row in matrix.rows]}), indent=1) + b"\n"


def _row(row: Row) -> dict[str, Any]:
    bad = row.having(Verdict.HARNESS_ERROR, *FAILING, Verdict.WARN)
    return {
        "gateway": row.gateway,
        "version": row.version,
        "created": row.created,
        "counts": {str(verdict): number for verdict, number in sorted(row.counts().items())},
        "set_ups": [place._asdict() for place in row.places],
        "not_met": [_not_met(row, id) for id in bad],
        "not_looked_into": row.not_looked_into(),
    }


def _not_met(row: Row, id: str) -> dict[str, Any]:
    note = row.note(id)
    cells = row.cells[id]
    return {
        "requirement": id,
        "verdict": row.verdict(id),
        "in": [str(place) for place, verdict in sorted(cells.items()) if verdict is row.verdict(id)],
        "looked_into": None if note is None else {"verdict": note.verdict, "note": note.note},
    }


def table(matrix: Matrix) -> Table:
    """A line for each version."""
    shown = _columns(matrix)
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("gateway")
    found.add_column("version")
    for verdict in shown:
        symbol, style = STYLES[verdict]
        found.add_column(f"{symbol} {str(verdict).replace('_', ' ')}", justify="right", style=style, header_style=style)
    found.add_column(NOT_LOOKED_INTO, justify="right")
    for row in matrix.rows:
        counts = row.counts()
        numbers = [str(counts[verdict]) if counts[verdict] else "·" for verdict in shown]
        found.add_row(row.gateway, row.version, *numbers, str(len(row.not_looked_into()) or "·"))
    return found
