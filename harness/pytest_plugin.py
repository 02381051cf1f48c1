"""The pytest side of callproof: options, the end of the run, and what the terminal says.

The cases themselves run through the fixture `run_case` of `conformance/conftest.py`, the place where harness and fakes
meet.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from harness.run import Collected

COLLECTED = pytest.StashKey[Collected]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("callproof", "conformance of realtime-voice gateways")
    group.addoption(
        "--gateway",
        default=os.environ.get("CALLPROOF_GATEWAY", "reference"),
        help="name of a profile in conformance/gateways, or a path to one (default: reference)",
    )
    group.addoption("--stage", default="virtual", choices=("virtual", "live"), help="where worlds run")
    group.addoption("--model", action="append", default=[], help="a model to try; may be repeated; `all` for every one")
    group.addoption("--as-of", default=None, help="the day that the vendors live in: a date, or `today`")
    group.addoption("--seed", type=int, default=None, help="seed: vary timing and order; without it typical values")
    group.addoption("--knob", action="append", default=[], metavar="NAME=VALUE", help="turn a vendor's knob")
    group.addoption("--report", default="reports/latest", metavar="DIR", help="where the report goes")
    group.addoption("--replay-trace", default=None, metavar="FILE", help="replay this trace")
    group.addoption("--examples", type=int, default=None, help="worlds for each property test")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    collected = session.config.stash.get(COLLECTED, None)
    if collected is None or not (collected.checks or collected.worlds):
        return
    if collected.request.report is not None:
        from harness.report import write_report

        write_report(collected.results(dt.datetime.now(dt.UTC)), collected.request.report)
    status = collected.exit_status()
    if status and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        session.exitstatus = status


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    collected = config.stash.get(COLLECTED, None)
    if collected is None or not (collected.checks or collected.worlds):
        return
    from rich.console import Console

    from harness.report.terminal import print_summary

    report = collected.request.report
    where = os.path.relpath(report / "index.html") if report is not None else None
    console = Console(file=terminalreporter._tw._file, force_terminal=terminalreporter.hasmarkup or None)
    print_summary(collected.results(dt.datetime.now(dt.UTC)), console, report=where)


def report_folder(config: pytest.Config) -> Path | None:
    """Where the report goes, None for nowhere (`--report ''`)."""
    text = str(config.getoption("--report"))
    return Path(text) if text else None
