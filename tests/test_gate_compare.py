"""Two runs compared: every way in which a verdict can change, and what the gate makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from test_report_samples import MODELS, results

from harness.cli import main
from harness.gate.compare import Change, Comparison, compare_runs
from harness.gate.compare_text import render_json, render_markdown
from harness.report import Check, Results, ResultsError, Verdict, write_json


def one(change: Callable[[Check], Check | None]) -> Results:
    """A sound run with its first check changed, or taken out."""
    run = results(failing=())
    changed = change(run.checks[0])
    run.checks = [*([] if changed is None else [changed]), *run.checks[1:]]
    return run


def with_verdict(verdict: Verdict) -> Results:
    return one(lambda check: msgspec.structs.replace(check, verdict=verdict, message="seen"))


def changes(comparison: Comparison) -> list[Change]:
    return [group.change for group in comparison.groups]


@pytest.mark.parametrize(
    ("before", "after", "change", "status"),
    [
        (Verdict.PASS, Verdict.FAIL, Change.REGRESSION, 1),
        (Verdict.PASS, Verdict.UNSTABLE, Change.REGRESSION, 1),
        (Verdict.WARN, Verdict.FAIL, Change.REGRESSION, 1),
        (Verdict.UNSTABLE, Verdict.FAIL, Change.REGRESSION, 1),
        (Verdict.UNSUPPORTED, Verdict.FAIL, Change.REGRESSION, 1),
        (Verdict.PASS, Verdict.HARNESS_ERROR, Change.UNJUDGED, 1),
        (Verdict.FAIL, Verdict.UNSTABLE, Change.UNSTABLE, 0),
        (Verdict.HARNESS_ERROR, Verdict.FAIL, Change.NEW_FAILURE, 0),
        (Verdict.FAIL, Verdict.PASS, Change.FIX, 0),
        (Verdict.UNSTABLE, Verdict.WARN, Change.FIX, 0),
        (Verdict.PASS, Verdict.WARN, Change.CHANGED, 0),
        (Verdict.PASS, Verdict.UNSUPPORTED, Change.CHANGED, 0),
        (Verdict.FAIL, Verdict.UNSUPPORTED, Change.CHANGED, 0),
    ],
)
def test_a_change_of_verdict(before: Verdict, after: Verdict, change: Change, status: int) -> None:
    comparison = compare_runs([with_verdict(before)], [with_verdict(after)])
    assert changes(comparison) == [change]
    assert comparison.exit_status == status
    assert comparison.groups[0].before is before
    assert comparison.groups[0].after is after


def test_equal_runs_have_no_change() -> None:
    comparison = compare_runs([results()], [results()])
    assert comparison.groups == []
    assert comparison.setup == []
    assert comparison.same > 100
    assert comparison.exit_status == 0


def test_a_requirement_that_fails_in_a_case_that_did_not_check_it_is_a_regression() -> None:
    run = with_verdict(Verdict.FAIL)
    assert changes(compare_runs([one(lambda check: None)], [run])) == [Change.REGRESSION]


def test_a_case_that_is_new_and_fails_is_told_but_is_no_regression() -> None:
    new = with_verdict(Verdict.FAIL)
    case = new.checks[0].case
    old = results(failing=())
    old.checks = [check for check in old.checks if check.case != case]
    comparison = compare_runs([old], [new])
    assert comparison.having(Change.NEW_FAILURE)
    assert comparison.exit_status == 0


def test_a_case_that_is_gone_is_told() -> None:
    new = results(failing=())
    case = new.checks[0].case
    kept = [check for check in new.checks if check.case != case]
    lost = len({(c.requirement, c.case, c.model) for c in new.checks if c.case == case})
    new.checks = kept
    comparison = compare_runs([results(failing=())], [new])
    assert changes(comparison) == [Change.GONE] * len(comparison.groups)
    assert comparison.count(Change.GONE) == lost


def test_what_is_different_about_the_runs_is_said() -> None:
    new = results(models=[MODELS[1]])
    new.gateway_version, new.stage, new.seed = "0.2.0", "live", None
    comparison = compare_runs([results()], [new])
    said = "\n".join(comparison.setup)
    for told in ("version: 0.1.0 before, 0.2.0 now", "stage: virtual before, live now", "seed: 7 before, typical now"):
        assert told in said
    assert f"model: {MODELS[0]}, {MODELS[1]} before, {MODELS[1]} now" in said
    assert comparison.groups == []  # the model that was not tried again is neither gone nor fixed


def test_the_same_model_on_another_day_is_compared() -> None:
    old, new = results(failing=()), results(failing=["TWI-CB-004"])
    new.checks = [msgspec.structs.replace(check, as_of="2026-11-20") for check in new.checks]
    comparison = compare_runs([old], [new])
    assert any(told.startswith("day: 2026-04-15 before, 2026-11-20 now") for told in comparison.setup)
    assert {group.requirement.id for group in comparison.having(Change.REGRESSION)} == {"TWI-CB-004"}


def test_two_days_of_a_model_are_two_columns() -> None:
    days = ["2026-04-15", "2026-11-20"]

    def both(failing: tuple[str, ...]) -> Results:
        run = results(failing=())
        bad = results(failing=failing)
        run.checks = [
            msgspec.structs.replace(check, as_of=day, world=None)
            for day, source in zip(days, (run, bad), strict=True)
            for check in source.checks
        ]
        return run

    comparison = compare_runs([both(())], [both(("TWI-CB-004",))])
    (group,) = comparison.having(Change.REGRESSION)
    assert {column.as_of for column in group.columns} == {days[1]}


def test_gateways_are_paired_by_name() -> None:
    other = results(failing=["TWI-CB-004"])
    other.gateway = "other"
    comparison = compare_runs([results(failing=()), other], [other, results(failing=["LIFE-002"])])
    assert {group.requirement.id for group in comparison.having(Change.REGRESSION)} == {"LIFE-002"}
    assert compare_runs([results(failing=())], [other]).exit_status == 1  # one on each side: by position
    third = results()
    third.gateway = "third"
    with pytest.raises(ResultsError, match="no gateway is on both sides"):
        compare_runs([results()], [other, third])


def test_the_command_ends_with_the_status_of_the_gate(tmp_path: Path) -> None:
    for name, failing in (("old", ()), ("new", ("TWI-CB-004",))):
        (tmp_path / name).mkdir()
        write_json(results(failing=failing), tmp_path / name / "results.json")
    old, new = str(tmp_path / "old"), str(tmp_path / "new" / "results.json")
    worse = CliRunner().invoke(main, ["compare", old, new])
    assert worse.exit_code == 1
    assert "TWI-CB-004" in worse.output
    assert "1 requirement regressed" in worse.output
    better = CliRunner().invoke(main, ["compare", new, old])
    assert better.exit_code == 0
    assert "no regression, 1 requirement fixed" in better.output
    lost = CliRunner().invoke(main, ["compare", old, str(tmp_path / "nowhere")])
    assert lost.exit_code == 2
    assert "cannot be read" in lost.output
    found = json.loads(CliRunner().invoke(main, ["compare", old, new, "--json"]).output)
    assert found["regression"] is True
    assert {change["requirement"] for change in found["changes"]} == {"TWI-CB-004"}
    assert "### ❌ Regressions" in CliRunner().invoke(main, ["compare", old, new, "--markdown"]).output


def test_markdown_and_json_take_free_text_as_text() -> None:
    new = one(lambda check: msgspec.structs.replace(check, verdict=Verdict.FAIL, message="a | b\n<script> `x`"))
    comparison = compare_runs([results(failing=())], [new])
    (line,) = [line for line in render_markdown(comparison).splitlines() if line.startswith("| `")]
    assert r"a \| b \<script\> `x`" in line
    assert json.loads(render_json(comparison))["changes"][0]["message"] == "a | b\n<script> `x`"
