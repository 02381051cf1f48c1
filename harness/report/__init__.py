"""Results and reports: the result model, and its pictures as JSON, JUnit XML, Markdown, HTML and terminal text.

`write_report` writes all files of a report. `terminal.print_summary` is the one screen after a run; `ladder` draws who
sent what to whom and tells it in words. Reporters are loaded when they are used: a test session that writes none pays
for none.
"""

from __future__ import annotations

from pathlib import Path

from harness.report.model import (
    Check,
    Column,
    Excluded,
    LadderLine,
    Level,
    Requirement,
    Results,
    Shape,
    Verdict,
    WorldResult,
)
from harness.report.store import ResultsError, read_results, write_json
from harness.report.summary import ExitStatus, Summary, summarise, worst

__all__ = [
    "Check",
    "Column",
    "Excluded",
    "ExitStatus",
    "LadderLine",
    "Level",
    "Requirement",
    "Results",
    "ResultsError",
    "Shape",
    "Summary",
    "Verdict",
    "WorldResult",
    "read_results",
    "summarise",
    "worst",
    "write_json",
    "write_report",
]


def write_report(results: Results, directory: Path) -> list[Path]:
    """Write results.json, junit.xml, report.md and index.html into `directory`, made when missing; returns their paths.

    Raises `ResultsError` when the results contradict themselves, before anything is written, and `OSError` when the
    directory cannot be written to.
    """
    from harness.report.html import write_html
    from harness.report.junit import write_junit
    from harness.report.markdown import write_markdown

    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / name for name in ("results.json", "junit.xml", "report.md", "index.html")]
    for write, path in zip((write_json, write_junit, write_markdown, write_html), paths, strict=True):
        write(results, path)
    return paths
