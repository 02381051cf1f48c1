"""Expected failures: what a baseline lets pass, what it does not, and how it is kept up to date."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from test_report_samples import CASES, MODELS, results

from harness.cli import main
from harness.gate.baseline import BaselineError, hold_against, load_baseline, parse_baseline, update_baseline
from harness.report import Results, Verdict, summarise, write_json
from harness.report.junit import write_junit
from harness.report.markdown import render_markdown
from harness.report.model import FAILING, Outlook, case_name

FILE = Path("baseline.toml")


def failing_run(*requirements: str) -> Results:
    return results(failing=requirements)


def baseline_of(run: Results) -> str:
    return update_baseline(None, "", run).text


def held(text: str, run: Results) -> Results:
    return hold_against(parse_baseline(text, FILE), run)


def test_a_listed_failure_does_not_fail_the_run() -> None:
    run = failing_run("TWI-CB-004", "LIFE-002")
    assert summarise(run).exit_status == 1
    summary = summarise(held(baseline_of(run), run))
    assert (summary.exit_status, summary.unexpected, summary.stale) == (0, [], [])
    assert summary.headline.endswith("as the baseline expects")


def test_a_failure_that_is_not_listed_fails_the_run() -> None:
    text = baseline_of(failing_run("TWI-CB-004"))
    summary = summarise(held(text, failing_run("TWI-CB-004", "LIFE-002")))
    assert summary.exit_status == 1
    assert {check.requirement for check in summary.unexpected} == {"LIFE-002"}
    assert "not in the baseline" in summary.headline


def test_the_same_requirement_in_another_case_is_not_listed() -> None:
    run = failing_run("TWI-CB-004")
    first = next(check for check in run.checks if check.verdict is Verdict.FAIL)
    text = f'[[expected]]\nrequirement = "TWI-CB-004"\ncase = "{case_name(first.case)}"\nreason = "known"\n'
    others = {check.case for check in run.checks if check.verdict is Verdict.FAIL} - {first.case}
    assert others
    assert {check.case for check in summarise(held(text, run)).unexpected} == others


def test_a_listed_failure_that_is_no_more_is_stale_and_fails_the_run() -> None:
    text = baseline_of(failing_run("TWI-CB-004", "LIFE-002"))
    run = held(text, failing_run("TWI-CB-004"))
    summary = summarise(run)
    assert summary.exit_status == 1
    assert {entry.requirement for entry in summary.stale} == {"LIFE-002"}
    assert summary.unexpected == []
    assert "Stale in the baseline: `LIFE-002`" in render_markdown(run)


def test_a_listed_failure_is_not_stale_when_its_case_was_not_run() -> None:
    text = baseline_of(failing_run("TWI-CB-004", "LIFE-002"))
    run = failing_run("TWI-CB-004")
    run.checks = [check for check in run.checks if check.requirement != "LIFE-002"]
    run = held(text, run)
    assert summarise(run).exit_status == 0
    assert {e.outcome for e in run.expected if e.requirement == "LIFE-002"} == {Outlook.NOT_RUN}


def test_a_failure_of_one_model_may_be_listed_for_it_alone() -> None:
    run = failing_run("TWI-CB-004")
    run.checks = [
        msgspec.structs.replace(check, verdict=Verdict.PASS) if check.model == MODELS[1] else check
        for check in run.checks
    ]
    text = baseline_of(run)
    entries = parse_baseline(text, FILE).entries
    assert {entry.model for entry in entries} <= {"", MODELS[0]}
    assert any(entry.model == MODELS[0] for entry in entries)
    assert summarise(held(text, run)).exit_status == 0


def test_what_comes_and_goes_may_pass_and_may_not_fail_for_good() -> None:
    text = '[[expected]]\nrequirement = "TWI-CB-004"\ncase = "*"\nverdict = "unstable"\nreason = "a race"\n'
    run = failing_run("TWI-CB-004")
    assert summarise(held(text, run)).exit_status == 1
    unstable = failing_run("TWI-CB-004")
    unstable.checks = [
        msgspec.structs.replace(check, verdict=Verdict.UNSTABLE) if check.verdict is Verdict.FAIL else check
        for check in unstable.checks
    ]
    assert summarise(unstable).exit_status == 1
    assert summarise(held(text, unstable)).exit_status == 0
    assert summarise(held(text, results(failing=()))).exit_status == 0


def test_a_harness_error_is_never_expected() -> None:
    run = results(failing=["TWI-CB-004"], broken=["SEC-008"])
    assert summarise(held(baseline_of(run), run)).exit_status == 4


def test_an_update_keeps_reasons_comments_and_order() -> None:
    run = failing_run("TWI-CB-004")
    text = baseline_of(run).replace('reason = ""', 'reason = "issue 12"', 1)
    first = text.index("[[expected]]")
    text = text[:first] + "# somebody looked at this\n" + text[first:]
    again = update_baseline(parse_baseline(text, FILE), text, failing_run("TWI-CB-004", "LIFE-002"))
    assert again.text.startswith(text.rstrip("\n"))
    assert {entry.requirement for entry in again.added} == {"LIFE-002"}
    assert again.removed == []
    gone = update_baseline(parse_baseline(again.text, FILE), again.text, failing_run("TWI-CB-004"))
    assert "somebody looked at this" in gone.text
    assert 'reason = "issue 12"' in gone.text
    assert "LIFE-002" not in gone.text
    none = update_baseline(parse_baseline(gone.text, FILE), gone.text, results(failing=()))
    assert "[[expected]]" not in none.text
    assert "somebody looked at this" not in none.text
    assert none.text.startswith("# Failures that are known")


def test_an_update_of_entries_that_cannot_be_cut_out_keeps_the_reasons() -> None:
    run = failing_run("TWI-CB-004")
    name = next(case_name(check.case) for check in run.checks if check.verdict is Verdict.FAIL)
    text = f'expected = [{{ requirement = "TWI-CB-004", case = "{name}", reason = "inline" }}]\n'
    done = update_baseline(parse_baseline(text, FILE), text, run)
    assert 'reason = "inline"' in done.text
    assert summarise(held(done.text, run)).exit_status == 0


def test_a_failure_that_came_and_went_and_stays_now_keeps_its_reason() -> None:
    run = failing_run("TWI-CB-004")
    text = baseline_of(run).replace('reason = ""', 'verdict = "unstable"\nreason = "a race"')
    done = update_baseline(parse_baseline(text, FILE), text, run)
    assert 'verdict = "unstable"' not in done.text
    assert done.text.count('reason = "a race"') == len(parse_baseline(text, FILE).entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[expected]\n", "baseline.toml: is not TOML"),
        ("\n[[expectd]]\nx = 1\n", "baseline.toml, line 2: no key is called 'expectd'; write [[expected]]"),
        ("[expected]\ncase = 'x'\n", "baseline.toml, line 1: `expected` is a table; write [[expected]]"),
        ('[[expected]]\nrequirement = "A"\ncas = "x"\n', "line 3: no key is called 'cas'; did you mean case"),
        ('[[expected]]\ncase = "x"\n', "line 1: the entry has no `requirement`; it needs requirement and case"),
        ('[[expected]]\nrequirement = "A"\ncase = 3\n', "line 3: `case` wants a text in quotes, not 3"),
        (
            '[[expected]]\nrequirement = "A"\ncase = "x"\n[[expected]]\nrequirement = "A"\n'
            'case = "y"\nverdict = "fial"\n',
            "line 7: no verdict is called 'fial'; did you mean fail?",
        ),
        (
            '[[expected]]\nrequirement = "A"\ncase = "x"\n[[expected]]\nrequirement = "A"\ncase = "x"\n',
            "line 4: A in x is listed already, in line 1",
        ),
    ],
)
def test_what_is_wrong_with_a_baseline_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BaselineError) as caught:
        parse_baseline(text, FILE)
    assert message in str(caught.value)


def test_a_requirement_and_a_case_that_there_are_not_are_told_with_the_nearest() -> None:
    text = '# head\n\n[[expected]]\nrequirement = "TWI-CB-04"\ncase = "conversation"\n'
    ids = [rule.id for rule in results().requirements]
    with pytest.raises(BaselineError, match=r"line 3: no requirement is called 'TWI-CB-04'; did you mean TWI-CB-004"):
        parse_baseline(text, FILE).check_names(ids, CASES)
    text = text.replace("TWI-CB-04", "TWI-CB-004").replace("conversation", "convarsation")
    with pytest.raises(BaselineError, match=r"line 3: no case is called 'convarsation'; did you mean conversation"):
        parse_baseline(text, FILE).check_names(ids, CASES)
    parse_baseline(text.replace("convarsation", "conv*"), FILE).check_names(ids, CASES)


def test_a_baseline_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="cannot be read"):
        load_baseline(tmp_path / "none.toml")


def test_junit_skips_what_is_expected(tmp_path: Path) -> None:
    run = failing_run("TWI-CB-004")
    write_junit(run, tmp_path / "before.xml")
    assert "<failure" in (tmp_path / "before.xml").read_text()
    write_junit(held(baseline_of(run), run), tmp_path / "after.xml")
    text = (tmp_path / "after.xml").read_text()
    assert "<failure" not in text
    assert 'message="expected: ' in text


def test_the_command_writes_and_updates(tmp_path: Path) -> None:
    run = failing_run("TWI-CB-004")
    write_json(run, tmp_path / "results.json")
    file = tmp_path / "ci" / "baseline.toml"
    done = CliRunner().invoke(main, ["baseline", "update", str(file), str(tmp_path)])
    assert done.exit_code == 0, done.output
    listed = len({case_name(c.case) for c in run.checks if c.verdict in FAILING})
    assert f"{listed} expected failures" in done.output
    assert f"{listed} of them without a reason" in done.output
    assert len(load_baseline(file).entries) == listed
    file.write_text(file.read_text().replace("requirement", "requirment", 1))
    done = CliRunner().invoke(main, ["baseline", "update", str(file), str(tmp_path)])
    assert done.exit_code == 2
    assert "did you mean requirement" in done.output
