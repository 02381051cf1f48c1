"""A summary for a pull request: what came out, area by area, and each failure with the way to have it again."""

from __future__ import annotations

import re
from pathlib import Path

from harness.report.exhibits import Exhibit, Failure, broken_worlds, failures
from harness.report.model import OFFENCE, Outlook, Results, Verdict
from harness.report.summary import Summary, many, summarise, where_fails
from harness.report.words import vocabulary

SYMBOLS = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.WARN: "⚠️",
    Verdict.UNSTABLE: "🎲",
    Verdict.UNSUPPORTED: "➖",
    Verdict.HARNESS_ERROR: "💥",
}

_COLUMNS = (Verdict.PASS, Verdict.FAIL, Verdict.UNSTABLE, Verdict.WARN, Verdict.UNSUPPORTED, Verdict.HARNESS_ERROR)
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
            f"### 💥 The harness went wrong in {code(world.case)}\n\n{text(world.error or '')[:2000]}{replay}\n"
        )
    spent = sum(map(len, parts))
    left_out: list[Failure] = []
    for failure in failures(results, summary):
        part = _failure(failure)
        if spent + len(part) > _BUDGET:
            left_out.append(failure)
            continue
        parts.append(part)
        spent += len(part)
    if left_out:
        names = ", ".join(f"{SYMBOLS[f.verdict]} {f.entry.requirement.id}" for f in left_out[:200])
        parts.append(f"### Not shown here\n\n{len(left_out)} more, see `index.html`: {names}\n")
    if results.unsupported_claims:
        parts.append(f"Not claimed by the gateway: {', '.join(map(code, results.unsupported_claims))}.\n")
    return "\n".join(parts)


def _head(results: Results, summary: Summary) -> str:
    outcome = "✅" if summary.exit_status == 0 else "💥" if summary.exit_status == 4 else "❌"
    facts = [f"stage **{results.stage}**"]
    if results.models:
        facts.append(f"models {', '.join(map(code, results.models))}")
    if days := summary.days or [results.as_of or ""]:
        facts += [f"as of {', '.join(days)}"] if any(days) else []
    facts.append(f"seed {code(str(results.seed))}" if results.seed is not None else "typical choices")
    facts.append(f"{summary.checks.total():,} checks in {len(results.worlds):,} worlds, {results.duration_s:.1f} s")
    facts.append(f"callproof {results.callproof}")
    notes = "".join(f"\n> {text(note)}\n" for note in (*results.notes, *baseline_notes(results, summary)))
    title = f"## {outcome} {text(f'{results.gateway} {results.gateway_version}')} {summary.headline}"
    return f"{title}\n\n{' · '.join(facts)}\n{notes}"


def baseline_notes(results: Results, summary: Summary) -> list[str]:
    """What a reader has to know about the baseline that a run was held against; nothing where there is none."""
    if not results.baseline:
        return []
    expected = sum(entry.outcome is Outlook.FAILED for entry in results.expected)
    notes = [f"Held against the baseline `{results.baseline}`: {many(expected, 'failure')} as expected."]
    notes += [
        f"Stale in the baseline: `{entry.requirement}` in `{entry.case}` does not fail any more. Take it out, or run "
        "`callproof baseline update`."
        for entry in summary.stale
    ]
    return notes


def _areas(summary: Summary) -> str:
    shown = [verdict for verdict in _COLUMNS if summary.counts[verdict] or verdict in (Verdict.PASS, Verdict.FAIL)]
    heads = [f"{SYMBOLS[verdict]} {str(verdict).replace('_', ' ')}" for verdict in shown]
    unchecked = summary.counts[None]
    if unchecked:
        heads.append("not checked")
    rows = [f"| area | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
    for area in summary.areas:
        numbers = [area.counts[verdict] for verdict in (*shown, None)][: len(heads)]
        rows.append(f"| {text(vocabulary().area(area.name))} | {' | '.join(str(number or '') for number in numbers)} |")
    numbers = [summary.counts[verdict] for verdict in (*shown, None)][: len(heads)]
    rows.append(f"| **requirements** | {' | '.join(f'**{number}**' for number in numbers)} |")
    return "\n".join(rows) + "\n"


def _failure(failure: Failure) -> str:
    rule = failure.entry.requirement
    lines = [
        f"### {SYMBOLS[failure.verdict]} {rule.id} ({rule.level}, {vocabulary().area(rule.area)})\n",
        f"**{text(rule.rule)}**\n",
    ]
    if rule.why:
        lines.append(f"{text(rule.why)}\n")
    if rule.source:
        lines.append(f"Source: <{rule.source}>\n")
    if failure.entry.because:
        lines.append(f"Only {where_fails(failure.entry.because)}.\n")
    for exhibit in failure.exhibits:
        lines += _exhibit(exhibit)
    if failure.more:
        lines.append(f"and {failure.more} more, seen in other worlds.\n")
    return "\n".join(lines)


def _exhibit(exhibit: Exhibit) -> list[str]:
    cases = ", ".join(map(code, exhibit.cases[:4])) + (
        f" and {len(exhibit.cases) - 4} more" if exhibit.cases[4:] else ""
    )
    models = ", ".join(code(str(column)) for column in exhibit.columns if any(column))
    times = f", {exhibit.count} times" if exhibit.count > 1 else ""
    lines = [f"- **Seen**: {text(exhibit.check.message)}", f"  in {cases}{f' with {models}' if models else ''}{times}"]
    if exhibit.expected is not None:
        lines.append(f"  **Expected** by the baseline: {text(exhibit.expected or 'no reason given')}")
    if exhibit.again is not None:
        lines.append("  **Unstable**: it did not fail when it was run again.")
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


def text(words: str) -> str:
    """Free text that must not be read as Markdown; `code` in single backticks stays code."""
    parts = " ".join(words.split()).split("`")
    if len(parts) % 2 == 0:
        return _SPECIAL.sub(r"\\\1", "`".join(parts))
    return "".join(code(part) if place % 2 else _SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts))


def code(words: str) -> str:
    """Text as code; a bar would end a cell of a table."""
    fence = "``" if "`" in words else "`"
    pad = " " if "`" in words else ""
    return f"{fence}{pad}{words}{pad}{fence}".replace("|", "\\|")
