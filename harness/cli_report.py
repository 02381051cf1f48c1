"""`callproof report`, `keep`, `compare` and `baseline`: what is done with results after a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from harness.run import EXIT_USAGE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.report.matrix import Matrix
    from harness.report.verdicts import Note

_PIPE_WIDTH = 120


def _stop(error: object) -> NoReturn:
    click.echo(f"callproof: {error}", err=True)
    sys.exit(EXIT_USAGE)


def _print(*what: RenderableType) -> None:
    from rich.console import Console

    terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if terminal else _PIPE_WIDTH, highlight=False)
    for one in what:
        console.print(one)


@click.command()
@click.argument("results", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports/latest/matrix"),
    show_default=True,
    metavar="DIR",
    help="Where the report goes.",
)
@click.option(
    "--index",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    metavar="DIR",
    help="Write DIR/index.html from the kept reports, DIR/GATEWAY/VERSION.json.",
)
def report(results: tuple[Path, ...], out: Path, index: Path | None) -> None:
    """Put results together. One matrix of gateways, versions, models and days.

    RESULTS are results.json files, folders that have one, or folders with some below them. Writes index.html,
    report.md, summary.json and badges.
    """
    from harness.report import ResultsError
    from harness.report.matrix import build_matrix, find_results, kept_reports
    from harness.report.verdicts import VerdictsError

    if bool(results) == (index is not None):
        _stop("report wants results files or folders, or --index with a folder of kept reports")
    try:
        runs = kept_reports(index) if index is not None else find_results(results)
        notes = _notes([file.parent for _, file in runs])
        matrix = build_matrix(runs, notes)
        _write(matrix, index if index is not None else out, kept=index is not None)
    except (ResultsError, VerdictsError) as error:
        _stop(error)
    except OSError as error:
        _stop(f"the report cannot be written: {error.filename}: {error.strerror}")
    _tell(matrix, notes, index if index is not None else out)


def _notes(folders: Sequence[Path]) -> dict[str, Sequence[Note]]:
    """What people found out, by gateway: from the file beside the kept reports, in a folder of the gateway's name."""
    from harness.report.verdicts import FILE, load_verdicts

    found: dict[str, Sequence[Note]] = {}
    for folder in dict.fromkeys(folders):
        if (folder / FILE).exists():
            found[folder.name] = load_verdicts(folder / FILE)
    return found


def _write(matrix: Matrix, folder: Path, *, kept: bool) -> None:
    from harness.report.badge import badge
    from harness.report.matrix_html import write_matrix
    from harness.report.matrix_text import render_json, render_markdown

    folder.mkdir(parents=True, exist_ok=True)
    title = "Kept compatibility reports" if kept else "Compatibility of realtime-voice gateways"
    write_matrix(matrix, folder / "index.html", title=title)
    if kept:
        return
    (folder / "report.md").write_text(render_markdown(matrix), encoding="utf-8")
    (folder / "summary.json").write_bytes(render_json(matrix))
    badges = folder / "badges"
    badges.mkdir(exist_ok=True)
    newest: set[str] = set()
    for row in matrix.rows:
        name = "".join(c if c.isalnum() or c in "-_.@" else "-" for c in f"{row.gateway}@{row.version}".rstrip("@"))
        (badges / f"{name}.svg").write_text(badge(row), encoding="utf-8")
        if row.gateway not in newest:
            newest.add(row.gateway)
            (badges / f"{name.partition('@')[0]}.svg").write_text(badge(row), encoding="utf-8")


def _tell(matrix: Matrix, notes: dict[str, Sequence[Note]], folder: Path) -> None:
    from harness.report.matrix_text import table

    _print(table(matrix))
    for row in matrix.rows:
        if open_ones := row.not_looked_into():
            click.echo(f"{row.label}: not looked into: {', '.join(open_ones)}")
    for gateway, some in notes.items():
        rows = [row for row in matrix.rows if row.gateway == gateway]
        for note in some:
            if not any(note.fits(row.version, id) for row in rows for id in row.cells):
                click.echo(f"{gateway}: the verdict on {', '.join(note.requirements)} (line {note.line}) fits nothing")
    click.echo(f"Report: {os.path.relpath(folder / 'index.html')}")


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("reports"), metavar="DIR"
)
def keep(results: tuple[Path, ...], folder: Path) -> None:
    """Keep results. Slim files, reports/GATEWAY/VERSION.json, to be committed and shown by `report --index`.

    Results of one gateway, version and stage become one file.
    """
    from conformance.asking import gateway_folders
    from harness.profile import ProfileError, find_profile
    from harness.report import Results, ResultsError
    from harness.report.keep import keep as write_kept
    from harness.report.matrix import find_results

    groups: dict[tuple[str, str, str], list[Results]] = {}
    try:
        for run, _ in find_results(results):
            groups.setdefault((run.gateway, run.gateway_version, run.stage), []).append(run)
        for (gateway, version, _), runs in groups.items():
            name = f"{gateway}@{version}"
            try:
                find_profile(name, gateway_folders())
            except ProfileError:
                name = gateway
            path = write_kept(runs, folder, gateway=name)
            click.echo(f"{os.path.relpath(path)}: {path.stat().st_size / 1000:,.0f} kB")
    except ResultsError as error:
        _stop(error)
    except OSError as error:
        _stop(f"cannot be kept: {error.filename}: {error.strerror}")


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown, for a pull request.")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--github", "github", is_flag=True, help="Write annotations for GitHub; on in its workflows anyway.")
def compare(old: Path, new: Path, form: str | None, github: bool) -> None:
    """Compare two runs. What became worse, what became better, what is new, what is gone.

    OLD and NEW are results.json files or folders. Exit status: 0 no regression, 1 a regression, 2 usage.
    """
    from harness.gate.compare import compare_runs
    from harness.gate.compare_text import render_json, render_markdown, render_terminal
    from harness.gate.github import comparison_annotations, shown, wanted, write_summary
    from harness.report import ResultsError
    from harness.report.matrix import find_results

    try:
        sides = [[run for run, _ in find_results([path])] for path in (old, new)]
        comparison = compare_runs(*sides)
    except ResultsError as error:
        _stop(error)
    if form == "json":
        click.echo(render_json(comparison))
    elif form == "markdown":
        click.echo(render_markdown(comparison))
    else:
        _print(*render_terminal(comparison))
    if wanted(github):
        for annotation in shown(comparison_annotations(comparison)):
            # What is printed may be read by a program: the annotations go where the workflow reads them all the same.
            click.echo(annotation, err=form is not None)
        try:
            write_summary(render_markdown(comparison))
        except OSError as error:
            _stop(f"the step summary cannot be written: {error.filename}: {error.strerror}")
    sys.exit(comparison.exit_status)


@click.group()
def baseline() -> None:
    """Keep the list of expected failures, for `callproof run --baseline`."""


@baseline.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("results", type=click.Path(path_type=Path))
def update(file: Path, results: Path) -> None:
    """Write or update a baseline. What fails in RESULTS is listed, what does not fail any more is taken out.

    Entries that stay keep their reasons and comments.
    """
    from harness.gate.baseline import BaselineError, load_baseline, update_baseline
    from harness.report import ResultsError, read_results

    try:
        old = load_baseline(file) if file.exists() else None
        done = update_baseline(old, file.read_text(encoding="utf-8") if old else "", read_results(results))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(done.text, encoding="utf-8")
    except (BaselineError, ResultsError) as error:
        _stop(error)
    except OSError as error:
        _stop(f"{error.filename}: {error.strerror}")
    for word, entries in (("new", done.added), ("removed", done.removed), ("not run, kept", done.not_run)):
        for entry in entries:
            click.echo(f"{word}: {entry.requirement} in {entry.case}{f' with {entry.model}' if entry.model else ''}")
    total = len(done.kept) + len(done.added) + len(done.not_run)
    click.echo(f"{file}: {total} expected failure{'' if total == 1 else 's'}")
    if missing := sum(not entry.reason for entry in (*done.kept, *done.added, *done.not_run)):
        click.echo(f'{missing} of them without a reason: write why each is expected into its `reason = ""`')


COMMANDS: tuple[click.Command, ...] = (report, keep, compare, baseline)
