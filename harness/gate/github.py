"""What GitHub Actions shows of a run: annotations (workflow commands on standard output) and the step summary.

GitHub docs: workflow commands for GitHub Actions, "Setting an error message" and "Adding a job summary".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.gate.compare import BAD_CHANGES, Change, Comparison
from harness.report.exhibits import broken_worlds, failures
from harness.report.model import FAILING, Results, Verdict
from harness.report.summary import summarise

MOST_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings of a step, and drops the rest without a word."""

MOST_SUMMARY = 1_000_000
"""Bytes of a step summary; GitHub refuses one above 1 MiB."""

Severity = Literal["error", "warning", "notice"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One message that GitHub shows on the page of a run."""

    severity: Severity
    title: str
    message: str

    def __str__(self) -> str:
        return f"::{self.severity} title={escape_property(self.title)}::{escape_data(self.message)}"


def escape_data(text: str) -> str:
    """The message of a workflow command: it ends at the end of the line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """A property of a workflow command: it ends at a comma or a colon as well."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def wanted(asked: bool, environment: Mapping[str, str] | None = None) -> bool:
    """Whether to write for GitHub: somebody said so, or this is one of its workflows."""
    environment = os.environ if environment is None else environment
    return asked or environment.get("GITHUB_ACTIONS") == "true"


def run_annotations(results: Results) -> list[Annotation]:
    """The failures of a run, the worst first: an error for each that fails the run, a warning for what does not."""
    summary = summarise(results)
    found = [
        Annotation("error", "callproof: harness error", f"{world.case}: {world.error}")
        for world in broken_worlds(results)
    ]
    for failure in failures(results, summary, most=1):
        exhibit, rule = failure.exhibits[0], failure.entry.requirement
        bad = failure.verdict in (*FAILING, Verdict.HARNESS_ERROR)
        new = bad and any(check.requirement == rule.id for check in summary.unexpected)
        severity: Severity = "error" if new or failure.verdict is Verdict.HARNESS_ERROR else "warning"
        word = str(failure.verdict).replace("_", " ")
        title = f"{rule.id} {word}" if severity == "error" or not bad else f"{rule.id} {word}, as expected"
        told = [rule.rule, f"Seen: {exhibit.check.message}", f"In: {exhibit.check.case}"]
        if exhibit.world is not None and exhibit.world.replay:
            told.append(f"Replay: {exhibit.world.replay}")
        found.append(Annotation(severity, title, "\n".join(told)))
    found += [
        Annotation(
            "error",
            f"{entry.requirement} stale in the baseline",
            f"{entry.requirement} in {entry.case} does not fail any more: take it out of {results.baseline}.",
        )
        for entry in summary.stale
    ]
    return found


def comparison_annotations(comparison: Comparison) -> list[Annotation]:
    """What became worse: an error for each regression, a warning for what a reader should know."""
    found = []
    for group in comparison.having(*BAD_CHANGES, Change.NEW_FAILURE, Change.UNSTABLE):
        severity: Severity = "error" if group.change in BAD_CHANGES else "warning"
        states = f"{group.before or 'not checked'} before, {group.after or 'not checked'} now"
        told = [
            group.requirement.rule,
            states.replace("_", " "),
            *([f"Seen: {group.message}"] if group.message else []),
        ]
        told.append(f"In: {', '.join(dict.fromkeys(group.cases))}")
        found.append(Annotation(severity, f"{group.requirement.id} {group.change}", "\n".join(told)))
    return found


def shown(annotations: Sequence[Annotation], most: int = MOST_ANNOTATIONS) -> list[Annotation]:
    """As many of each severity as GitHub shows; the last one says how many there are beyond."""
    kept: list[Annotation] = []
    for severity in ("error", "warning", "notice"):
        some = [annotation for annotation in annotations if annotation.severity == severity]
        if len(some) > most:
            rest = some[most - 1 :]
            titles = ", ".join(annotation.title for annotation in rest)
            some = [*some[: most - 1], Annotation(severity, f"callproof: {len(rest)} more", titles)]
        kept += some
    return kept


def write_summary(markdown: str, environment: Mapping[str, str] | None = None) -> Path | None:
    """Append to the summary of the step; returns its file, None where there is none. Raises `OSError`."""
    environment = os.environ if environment is None else environment
    name = environment.get("GITHUB_STEP_SUMMARY")
    if not name:
        return None
    path = Path(name)
    room = MOST_SUMMARY - (path.stat().st_size if path.exists() else 0)
    content = (markdown.rstrip("\n") + "\n\n").encode()
    if len(content) > room:
        note = b"\n\n(cut here: a step summary may have no more)\n"
        content = content[: max(0, room - len(note))].decode(errors="ignore").encode() + note if room > 200 else b""
    with path.open("ab") as file:
        file.write(content)
    return path
