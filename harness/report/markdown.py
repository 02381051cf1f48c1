"""A summary for a pull request: what came out, area by area, and each failure with the way to have it again."""

from __future__ import annotations

import re
from pathlib import Path

from harness.report.exhibits import Exhibit, Failure, broken_worlds, failures
from harness.report.model import OFFENCE, Results, Verdict
from harness.report.summary import Summary, summarise
from harness.report.words import vocabulary

SYMBOLS = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.WARN: "⚠️",
    Verdict.UNSUPPORTED: "➖",
    Verdict.HARNESS_ERROR: "💥",
}

_COLUMNS = (Verdict.PASS, Verdict.FAIL, Verdict.WARN, Verdict.UNSUPPORTED, Verdict.HARNESS_ERROR)
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_BUDGET = 55_000
"""Characters to spend on failures in full: code hosts refuse comments above 65,536."""
_STORY = 40


def write_markdown(results: Results, path: Path) -> None:
    """Write the summary; short enough for a comment on a pull request."""
    path.write_text(render_markdown(results), encoding="utf-8")


def render_markdown(results: Results) -> str:
    """The summary as GitHub-flavoured Markdown, below 60,000 characters for any number of failures in full."""
    summary = summarise(results)
    parts = [_head(results, summary), _areas(summary)]
    for world in broken_worlds(results)[:5]:
        replay = f"\n\n```sh\n{world.replay}\n```" if world.replay else ""
        parts.append(
            f"### 💥 The harness went wrong in {_code(world.case)}\n\n{_text(world.error or '')[:2000]}{replay}\n"
        )
    spent = sum(map(len, parts))
    left_out: list[Failure] = []
    for failure in failures(results, summary):
        text = _failure(failure)
        if spent + len(text) > _BUDGET:
            left_out.append(failure)
            continue
        parts.append(text)
        spent += len(text)
    if left_out:
        names = ", ".join(f"{SYMBOLS[f.verdict]} {f.entry.requirement.id}" for f in left_out[:200])
        parts.append(f"### Not shown here\n\n{len(left_out)} more, see `index.html`: {names}\n")
    if results.unsupported_claims:
        parts.append(f"Not claimed by the gateway: {', '.join(map(_code, results.unsupported_claims))}.\n")
    return "\n".join(parts)


def _head(results: Results, summary: Summary) -> str:
    outcome = "✅" if summary.exit_status == 0 else "💥" if summary.exit_status == 4 else "❌"
    facts = [f"stage **{results.stage}**"]
    if results.models:
        facts.append(f"models {', '.join(map(_code, results.models))}")
    if results.as_of:
        facts.append(f"as of {results.as_of}")
    facts.append(f"seed {_code(str(results.seed))}" if results.seed is not None else "typical choices")
    facts.append(f"{summary.checks.total():,} checks in {len(results.worlds):,} worlds, {results.duration_s:.1f} s")
    facts.append(f"callproof {results.callproof}")
    notes = "".join(f"\n> {_text(note)}\n" for note in results.notes)
    title = f"## {outcome} {_text(f'{results.gateway} {results.gateway_version}')} {summary.headline}"
    return f"{title}\n\n{' · '.join(facts)}\n{notes}"


def _areas(summary: Summary) -> str:
    shown = [verdict for verdict in _COLUMNS if summary.counts[verdict] or verdict in (Verdict.PASS, Verdict.FAIL)]
    heads = [f"{SYMBOLS[verdict]} {str(verdict).replace('_', ' ')}" for verdict in shown]
    unchecked = summary.counts[None]
    if unchecked:
        heads.append("not checked")
    rows = [f"| area | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
    for area in summary.areas:
        numbers = [area.counts[verdict] for verdict in (*shown, None)][: len(heads)]
        rows.append(
            f"| {_text(vocabulary().area(area.name))} | {' | '.join(str(number or '') for number in numbers)} |"
        )
    numbers = [summary.counts[verdict] for verdict in (*shown, None)][: len(heads)]
    rows.append(f"| **requirements** | {' | '.join(f'**{number}**' for number in numbers)} |")
    return "\n".join(rows) + "\n"


def _failure(failure: Failure) -> str:
    rule = failure.entry.requirement
    lines = [
        f"### {SYMBOLS[failure.verdict]} {rule.id} ({rule.level}, {vocabulary().area(rule.area)})\n",
        f"**{_text(rule.rule)}**\n",
    ]
    if rule.why:
        lines.append(f"{_text(rule.why)}\n")
    if rule.source:
        lines.append(f"Source: <{rule.source}>\n")
    for exhibit in failure.exhibits:
        lines += _exhibit(exhibit)
    if failure.more:
        lines.append(f"and {failure.more} more, seen in other worlds.\n")
    return "\n".join(lines)


def _exhibit(exhibit: Exhibit) -> list[str]:
    cases = ", ".join(map(_code, exhibit.cases[:4])) + (
        f" and {len(exhibit.cases) - 4} more" if exhibit.cases[4:] else ""
    )
    models = ", ".join(_code(str(column)) for column in exhibit.columns if any(column))
    times = f", {exhibit.count} times" if exhibit.count > 1 else ""
    lines = [f"- **Seen**: {_text(exhibit.check.message)}", f"  in {cases}{f' with {models}' if models else ''}{times}"]
    world = exhibit.world
    if world is None:
        return [*lines, ""]
    if world.replay:
        lines += ["", f"  ```sh\n  {world.replay}\n  ```"]
    if world.story:
        story = world.story if len(world.story) <= _STORY else _around(world.story)
        body = "\n".join(f"  {line.replace('```', '` ` `')}" for line in story)
        lines += [
            "",
            "  <details><summary>What happened</summary>",
            "",
            f"  ```text\n{body}\n  ```",
            "",
            "  </details>",
        ]
    return [*lines, ""]


def _around(story: list[str]) -> list[str]:
    """The part of a long story that ends soon after its last marked line."""
    marked = [place for place, line in enumerate(story) if OFFENCE in line]
    end = min(len(story), (marked[-1] if marked else len(story)) + 6)
    start = max(0, end - _STORY)
    return [*(["…"] if start else []), *story[start:end], *(["…"] if end < len(story) else [])]


def _text(text: str) -> str:
    """Free text that must not be read as Markdown; `code` in single backticks stays code."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:
        return _SPECIAL.sub(r"\\\1", "`".join(parts))
    return "".join(_code(part) if place % 2 else _SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts))


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")
