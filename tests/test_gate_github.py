"""What GitHub is told: escaping, the limits of its pages, and the step summary."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from test_report_samples import results

from harness.cli import main
from harness.gate.baseline import hold_against, parse_baseline, update_baseline
from harness.gate.compare import compare_runs
from harness.gate.github import (
    MOST_SUMMARY,
    Annotation,
    comparison_annotations,
    run_annotations,
    shown,
    wanted,
    write_summary,
)
from harness.report import write_json


def test_an_annotation_is_one_line_whatever_is_in_it() -> None:
    told = Annotation("error", "a: b, c\n100%", "x: y, z\r\n50%25")
    assert str(told) == "::error title=a%3A b%2C c%0A100%25::x: y, z%0D%0A50%2525"


def test_a_failure_is_an_error_and_an_expected_one_a_warning() -> None:
    run = results(failing=["TWI-CB-004", "LIFE-002", "OAI-HS-009"])
    found = {annotation.title: annotation for annotation in run_annotations(run)}
    assert found["TWI-CB-004 fail"].severity == "error"
    assert found["OAI-HS-009 warn"].severity == "warning"
    assert "Replay: callproof replay" in found["TWI-CB-004 fail"].message
    text = update_baseline(None, "", results(failing=["TWI-CB-004", "SEC-001"])).text
    held = hold_against(parse_baseline(text, Path("b.toml")), run)
    found = {annotation.title: annotation for annotation in run_annotations(held)}
    assert found["TWI-CB-004 fail, as expected"].severity == "warning"
    assert found["LIFE-002 fail"].severity == "error"
    assert found["SEC-001 stale in the baseline"].severity == "error"


def test_a_harness_error_is_an_error() -> None:
    found = run_annotations(results(failing=(), broken=["SEC-008"]))
    assert any(annotation.severity == "error" and "harness error" in annotation.title for annotation in found)


def test_a_regression_is_an_error() -> None:
    found = comparison_annotations(compare_runs([results(failing=())], [results(failing=["TWI-CB-004"])]))
    assert [(one.severity, one.title) for one in found] == [("error", "TWI-CB-004 regression")] * len(found)
    assert found
    assert comparison_annotations(compare_runs([results()], [results(failing=())])) == []


def test_no_more_than_github_shows_and_the_last_names_the_rest() -> None:
    many = [Annotation("error", f"R-{number}", "x") for number in range(25)]
    few = [Annotation("warning", "W", "x")]
    found = shown([*many, *few])
    assert [one.severity for one in found].count("error") == 10
    assert found[9].title == "callproof: 16 more"
    assert "R-9, R-10" in found[9].message
    assert found[-1] == few[0]


def test_annotations_are_wanted_in_a_workflow_or_when_asked_for() -> None:
    assert wanted(False, {"GITHUB_ACTIONS": "true"})
    assert wanted(True, {})
    assert not wanted(False, {})


def test_the_summary_is_appended_and_kept_below_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    assert write_summary("# a", {"GITHUB_STEP_SUMMARY": str(file)}) == file
    assert file.read_text() == "before\n# a\n\n"
    write_summary("ü" * MOST_SUMMARY, {"GITHUB_STEP_SUMMARY": str(file)})
    assert MOST_SUMMARY - 10 < file.stat().st_size <= MOST_SUMMARY
    assert file.read_text().endswith("may have no more)\n")
    assert write_summary("x", {}) is None


def test_compare_tells_github_beside_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, failing in (("old.json", ()), ("new.json", ("TWI-CB-004",))):
        write_json(results(failing=failing), tmp_path / name)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    arguments = ["compare", str(tmp_path / "old.json"), str(tmp_path / "new.json")]
    assert "::error" not in CliRunner().invoke(main, arguments).output
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert any(line.startswith("::error title=TWI-CB-004 regression::") for line in done.output.splitlines())
    assert "### ❌ Regressions" in (tmp_path / "summary.md").read_text()
