"""The gate in a run: models on several days, expected failures, and what GitHub is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.asking import ask, choose_columns
from conformance.conftest import column_ids
from harness.run import UsageProblem

ROOT = Path(__file__).parent.parent
CLAIMS = ("phone.inbound", "phone.outbound", "phone.greeting", "phone.status_callbacks", "phone.signature", "openai.ga")
CASE = "a_late_answered_callback_leaves_the_stream_alone"
Run = Callable[..., subprocess.CompletedProcess[str]]


def columns(models: list[str], *days: str) -> list[tuple[str, str]]:
    return [(column.model, str(column.as_of)) for column in choose_columns(models, days)]


def test_columns_are_models_by_days() -> None:
    assert columns(["gpt-realtime-2", "gpt-realtime"], "2026-09-01", "2026-11-20") == [
        ("gpt-realtime-2", "2026-09-01"),
        ("gpt-realtime-2", "2026-11-20"),
        ("gpt-realtime", "2026-09-01"),
        ("gpt-realtime", "2026-11-20"),
    ]
    assert columns(["gpt-realtime"], "2026-09-01", "2026-09-01") == [("gpt-realtime", "2026-09-01")]


def test_a_model_is_left_out_on_the_days_when_it_could_not_be_had() -> None:
    request = ask(models=["gpt-4o-realtime-preview", "gpt-realtime-2"], as_of=["2026-04-15", "2026-11-20"])
    assert [(column.model, str(column.as_of)) for column in request.columns] == [
        ("gpt-4o-realtime-preview", "2026-04-15"),
        ("gpt-realtime-2", "2026-11-20"),
    ]
    told = "\n".join(request.notes)
    assert "gpt-4o-realtime-preview is left out: on 2026-11-20" in told
    assert "gpt-realtime-2 is left out: on 2026-04-15" in told


def test_a_model_that_could_be_had_on_none_of_the_days_is_refused() -> None:
    with pytest.raises(UsageProblem, match=r"gpt-realtime-2 cannot be had on 2026-01-01: .*on 2026-02-01: .*choose"):
        choose_columns(["gpt-realtime-2"], ["2026-01-01", "2026-02-01"])


def test_ids_of_cases_name_the_day_only_where_there_are_several() -> None:
    both = choose_columns(["gpt-realtime-2"], ["2026-09-01", "2026-11-20"])
    assert column_ids(both) == ["gpt-realtime-2@2026-09-01", "gpt-realtime-2@2026-11-20"]
    assert column_ids(both[:1]) == ["gpt-realtime-2"]


def test_a_baseline_that_cannot_be_used_is_told_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text('[[expected]]\ncase = "x"\n')
    with pytest.raises(UsageProblem, match=r"b\.toml, line 1: the entry has no `requirement`"):
        ask(baseline=str(tmp_path / "b.toml"))


@pytest.fixture
def callproof(tmp_path: Path) -> Run:
    """Runs the command in a folder with the profile of a gateway that says a sentence when the call is answered."""
    (tmp_path / "mine").mkdir()
    text = (ROOT / "conformance" / "gateways" / "reference" / "profile.toml").read_text(encoding="utf-8")
    text = text.replace('python = "reference_impl.app:main"', 'python = "broken.callbacks:says_on_answered"')
    (tmp_path / "mine" / "profile.toml").write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from harness.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**plain, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_baseline_is_written_holds_and_goes_stale(callproof: Run, tmp_path: Path) -> None:
    suite = ("run", "--gateway", "mine", "--model", "gpt-realtime-2", "--case", CASE, "--report")
    first = callproof(*suite, "first")
    assert first.returncode == 1, first.stdout + first.stderr
    done = callproof("baseline", "update", "baseline.toml", "first")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "without a reason" in done.stdout

    expected = callproof(*suite, "second", "--baseline", "baseline.toml")
    assert expected.returncode == 0, expected.stdout + expected.stderr
    assert "as the baseline expects" in expected.stdout
    results = json.loads((tmp_path / "second" / "results.json").read_text())
    assert {entry["outcome"] for entry in results["expected"]} == {"failed"}

    text = (tmp_path / "baseline.toml").read_text()
    (tmp_path / "empty.toml").write_text("# nothing is expected\n")
    assert callproof(*suite, "third", "--baseline", "empty.toml").returncode == 1

    healthy = callproof(
        *("run", "--model", "gpt-realtime-2", "--case", CASE, "--report", "fourth", "--baseline", "baseline.toml")
    )
    assert healthy.returncode == 1, healthy.stdout + healthy.stderr
    assert "Stale in the baseline" in healthy.stdout
    compared = callproof("compare", "fourth", "second")
    assert compared.returncode == 1
    assert "TWI-CB-004" in compared.stdout
    assert callproof("compare", "second", "fourth").returncode == 0

    (tmp_path / "baseline.toml").write_text(text.replace(CASE, CASE.replace("late", "lat")))
    wrong = callproof(*suite, "fifth", "--baseline", "baseline.toml")
    assert wrong.returncode == 2
    assert f"did you mean {CASE}" in wrong.stderr


def test_a_run_in_a_workflow_tells_github(callproof: Run, tmp_path: Path) -> None:
    (tmp_path / "summary.md").touch()
    arguments = ("run", "--gateway", "mine", "--model", "gpt-realtime-2", "--case", CASE, "--report", "r")
    days = ("--as-of", "2026-09-01", "--as-of", "2026-11-20")
    done = callproof(*arguments, *days, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("::error title=TWI-CB-004 fail::")]
    assert "%0AReplay: callproof replay" in line
    assert "TWI-CB-004" in (tmp_path / "summary.md").read_text()
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert {check["as_of"] for check in results["checks"]} == {"2026-09-01", "2026-11-20"}
    assert len(list((tmp_path / "r" / "traces").iterdir())) == 2
    assert "as of 2026-09-01, 2026-11-20" in (tmp_path / "r" / "report.md").read_text()
    assert "<small>2026-09-01</small>" in (tmp_path / "r" / "index.html").read_text()
    tests = (tmp_path / "r" / "junit.xml").read_text()
    assert "TWI-CB-004 [gpt-realtime-2 (ga) as of 2026-09-01]" in tests


def test_a_run_elsewhere_does_not_tell_github(callproof: Run) -> None:
    arguments = ("run", "--gateway", "mine", "--model", "gpt-realtime-2", "--case", CASE, "--report", "")
    assert "::error" not in callproof(*arguments).stdout
    assert "::error title=TWI-CB-004 fail::" in callproof(*arguments, "--github").stdout
