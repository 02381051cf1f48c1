"""The pytest side of callproof: options, the end of the run, and what the terminal says.

The cases themselves run through the fixture `run_case` of `conformance/conftest.py`, the place where harness and fakes
meet.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from harness.report.model import Results
from harness.run import EXIT_HARNESS_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, Collected

COLLECTED = pytest.StashKey[Collected]()
STOPPED = pytest.StashKey[str]()
SILENCED = pytest.StashKey[object]()

PLAIN_WIDTH = 120
"""Columns of what is printed where there is no terminal: a log has no reason to break lines at 80."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("callproof", "conformance of realtime-voice gateways")
    group.addoption("--gateway", default=None, help="a profile's name, or a path to one (default: reference)")
    group.addoption("--stage", default=None, choices=("virtual", "live"), help="where worlds run (default: as fits)")
    group.addoption("--model", action="append", default=[], help="a model to try; may be repeated; `all` for every one")
    told = "the day that the vendors live in: a date, or `today`; may be repeated"
    group.addoption("--as-of", action="append", default=[], metavar="DATE", help=told)
    group.addoption("--seed", type=int, default=None, help="seed: vary timing and order; without it typical values")
    group.addoption("--knob", action="append", default=[], metavar="NAME=VALUE", help="turn a vendor's knob")
    group.addoption("--intercept", default=None, help="live stage: namespace, settings or proxy (default: as fits)")
    group.addoption("--jobs", type=int, default=None, help="processes that share the cases (default: as fits)")
    group.addoption("--report", default="reports/latest", metavar="DIR", help="where the report goes; '' for nowhere")
    group.addoption("--case", action="append", default=[], metavar="TEXT", help="only cases with this in their name")
    group.addoption("--replay-trace", default=None, metavar="FILE", help="replay this trace")
    group.addoption("--examples", type=int, default=None, help="worlds for each property test")
    group.addoption("--baseline", default=None, metavar="FILE", help="failures that are expected; others fail the run")
    group.addoption("--github", action="store_true", help="write annotations for GitHub; on in its workflows anyway")


def stop(config: pytest.Config, message: str, status: int) -> NoReturn:
    """End the session with one message and this exit status, and without a summary: nothing came of the run.

    For the time from the collection on; before it, pytest tells of an exit in its own way.
    """
    config.stash[STOPPED] = message
    config.stash[SILENCED] = config.pluginmanager.unregister(name="terminalreporter")
    pytest.exit(message, returncode=status)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    collected = session.config.stash.get(COLLECTED, None)
    if (message := session.config.stash.get(STOPPED, None)) is not None:
        reporter = session.config.stash[SILENCED]
        if isinstance(reporter, pytest.TerminalReporter) and reporter.currentfspath:
            reporter.ensure_newline()
        elif collected is not None and collected.checks:
            sys.stdout.write("\n")  # after the dots
        _say(message)
        return
    if collected is None:
        return
    if session.exitstatus == pytest.ExitCode.INTERRUPTED:
        # By a key, or by pytest itself because a module of the suite cannot be imported.
        session.exitstatus = EXIT_HARNESS_ERROR if session.testsfailed and not collected.checks else EXIT_INTERRUPTED
    elif session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
        session.exitstatus = EXIT_HARNESS_ERROR
    if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    if collected.partial:
        return
    if not collected.checks:
        if left := collected.left_out():
            sys.stdout.write("\n")
            _say(f"nothing was run: {' '.join(left)}")
            session.exitstatus = EXIT_USAGE
        return
    if all(check.world is None for check in collected.checks) and not collected.exit_status():
        # What is unsupported throughout was not tested: that is neither a success nor a report.
        why = list(dict.fromkeys(check.message for check in collected.checks))
        sys.stdout.write("\n")
        _say(f"nothing was run: {'; '.join(why[:4])}{'; ...' if why[4:] else ''}")
        session.exitstatus = EXIT_USAGE
        return
    if collected.request.report is not None:
        from harness.report import write_report

        try:
            write_report(collected.results(dt.datetime.now(dt.UTC)), collected.request.report)
        except OSError as error:
            sys.stdout.write("\n")
            _say(f"the report cannot be written: {error.filename}: {error.strerror}; choose another --report")
            session.exitstatus = EXIT_USAGE
            return
    collected.complete = True
    session.exitstatus = collected.exit_status() or session.exitstatus


def _say(message: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"callproof: {message}\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    collected = config.stash.get(COLLECTED, None)
    if collected is None or not collected.complete:
        return
    from rich.console import Console

    from harness.gate import github
    from harness.report.terminal import print_summary

    if config.getoption("tbstyle") == "no":
        for traceback in collected.tracebacks:
            terminalreporter.write_line(traceback)
    results = collected.results(dt.datetime.now(dt.UTC))
    if github.wanted(collected.request.github):
        _tell_github(results, terminalreporter)
    report = collected.request.report
    where = os.path.relpath(report / "index.html") if report is not None else None
    console = Console(
        file=terminalreporter._tw._file,
        force_terminal=terminalreporter.hasmarkup or None,
        width=None if terminalreporter.isatty or "COLUMNS" in os.environ else PLAIN_WIDTH,
    )
    print_summary(results, console, report=where)


def _tell_github(results: Results, terminal: pytest.TerminalReporter) -> None:
    from harness.gate import github
    from harness.report.markdown import render_markdown

    terminal.ensure_newline()
    for annotation in github.shown(github.run_annotations(results)):
        terminal.write_line(str(annotation))
    try:
        github.write_summary(render_markdown(results))
    except OSError as error:
        _say(f"the step summary cannot be written: {error.filename}: {error.strerror}")


def report_folder(config: pytest.Config) -> Path | None:
    """Where the report goes, None for nowhere (`--report ''`)."""
    text = str(config.getoption("--report"))
    return Path(text) if text else None
