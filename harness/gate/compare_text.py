"""A comparison in words: for the terminal, for a pull request, and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.gate.compare import Change, Comparison, Group
from harness.report.markdown import code, text
from harness.report.model import Verdict
from harness.report.summary import many
from harness.report.words import printable, shorten

SHOWN = 25
"""Groups of one kind that are told in full; the JSON has all of them."""

_TITLES = {
    Change.REGRESSION: ("✗", "Regressions", "bold red", "❌"),
    Change.UNJUDGED: ("?", "Could not be judged any more", "bold magenta", "💥"),
    Change.UNSTABLE: ("≈", "Unstable now", "yellow", "🎲"),
    Change.NEW_FAILURE: ("✗", "Failing in cases that are new", "red", "🆕"),
    Change.FIX: ("✓", "Fixed", "green", "✅"),
    Change.CHANGED: ("~", "Changed", "yellow", "↔️"),
    Change.NEW: ("+", "New", "dim", "➕"),
    Change.GONE: ("-", "Gone", "dim", "➖"),
}
_BRIEF = (Change.NEW, Change.GONE)
"""What is only counted: it says more about the two runs than about the gateway."""


def render_terminal(comparison: Comparison) -> list[RenderableType]:
    """What to print."""
    parts: list[RenderableType] = []
    for told in comparison.setup:
        parts.append(Text(f"{printable(told)}", "yellow"))
    for change, (symbol, title, style, _) in _TITLES.items():
        groups = comparison.having(change)
        if not groups or change in _BRIEF:
            continue
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, title=f"{symbol} {title}", title_style=style, title_justify="left"
        )
        for head in ("requirement", "before → now", "seen", "in"):
            table.add_column(head, overflow="fold")
        for group in groups[:SHOWN]:
            table.add_row(
                group.requirement.id,
                f"{_word(group.before)} → {_word(group.after)}",
                Text(printable(shorten(group.message or group.requirement.rule, 200))),
                Text(printable(_cases(group))),
            )
        parts.append(table)
        if groups[SHOWN:]:
            parts.append(Text(f"and {len(groups) - SHOWN} more"))
    parts.append(Text(_counts(comparison), "dim"))
    parts.append(Text(printable(comparison.headline), "bold red" if comparison.exit_status else "bold green"))
    return parts


def render_markdown(comparison: Comparison) -> str:
    """GitHub-flavoured Markdown, short enough for a comment."""
    symbol = "❌" if comparison.exit_status else "✅"
    lines = [f"## {symbol} {text(comparison.headline)}", ""]
    lines += [f"> {text(told)}\n" for told in comparison.setup]
    for change, (_, title, _, sign) in _TITLES.items():
        groups = comparison.having(change)
        if not groups or change in _BRIEF:
            continue
        lines += [f"### {sign} {title}", "", "| requirement | before | now | seen | in |", "|---|---|---|---|---|"]
        for group in groups[:SHOWN]:
            seen = text(shorten(group.message or group.requirement.rule, 300))
            states = f"{_word(group.before)} | {_word(group.after)}"
            lines.append(f"| {code(group.requirement.id)} | {states} | {seen} | {text(_cases(group))} |")
        lines += ["", f"and {len(groups) - SHOWN} more" if groups[SHOWN:] else ""]
    return "\n".join([*lines, _counts(comparison), ""])


def render_json(comparison: Comparison) -> str:
    """All of it, for other programs."""
    found: dict[str, Any] = {
        "old": comparison.old,
        "new": comparison.new,
        "regression": bool(comparison.exit_status),
        "setup": comparison.setup,
        "counts": {"same": comparison.same} | {str(change): comparison.count(change) for change in Change},
        "changes": [
            {
                "change": group.change,
                "requirement": group.requirement.id,
                "before": group.before,
                "after": group.after,
                "message": group.message,
                "cases": list(dict.fromkeys(group.cases)),
                "columns": [column._asdict() for column in group.columns],
            }
            for group in comparison.groups
        ],
    }
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def _word(verdict: Verdict | None) -> str:
    return "not checked" if verdict is None else str(verdict).replace("_", " ")


def _cases(group: Group) -> str:
    cases = list(dict.fromkeys(group.cases))
    told = ", ".join(cases[:3]) + (f" and {len(cases) - 3} more" if cases[3:] else "")
    models = ", ".join(str(column) for column in group.columns[:2] if any(column))
    more = f" and {len(group.columns) - 2} more" if group.columns[2:] else ""
    return f"{told} with {models}{more}" if models else told


def _counts(comparison: Comparison) -> str:
    told = [f"{many(comparison.same, 'verdict')} as before"]
    told += [f"{comparison.count(change):,} {change}" for change in _BRIEF if comparison.count(change)]
    return ", ".join(told)
