from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from test_report_samples import results, wire

from harness.report import (
    Check,
    ExitStatus,
    Level,
    Results,
    ResultsError,
    Verdict,
    WorldResult,
    read_results,
    summarise,
    worst,
    write_json,
    write_report,
)
from harness.report.store import SCHEMA


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "results.json"
    write_json(results(broken=["SEC-008"]), path)
    return path


def _rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_results_survive_writing_and_reading(written: Path) -> None:
    assert read_results(written) == results(broken=["SEC-008"])
    assert read_results(written.parent) == results(broken=["SEC-008"])


def test_written_results_follow_the_schema(written: Path) -> None:
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    written_results = json.loads(written.read_text())
    assert [error.message for error in validator.iter_errors(written_results)] == []
    written_results["checks"][0]["verdict"] = "maybe"
    written_results["worlds"][0]["colour"] = "blue"
    assert len(list(validator.iter_errors(written_results))) == 2


def test_schema_describes_every_property() -> None:
    schema = json.loads(SCHEMA.read_text())
    silent = []
    for name, shape in {"results": schema, **schema["$defs"]}.items():
        for key, value in shape.get("properties", {}).items():
            described = value if "$ref" not in value else schema["$defs"][value["$ref"].rpartition("/")[2]]
            if len(described.get("description", "")) < 5:
                silent.append(f"{name}.{key}")
    assert silent == []


def test_empty_results_follow_the_schema_too(tmp_path: Path) -> None:
    empty = Results(
        callproof="0.1.0", created="2026-11-20T14:03:11+00:00", gateway="g", gateway_version="", stage="live"
    )
    write_json(empty, tmp_path / "results.json")
    jsonschema_rs.validate(json.loads(SCHEMA.read_text()), json.loads((tmp_path / "results.json").read_text()))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is not JSON"),
        ('{"format": 1, "callproof": "0.1.0", "che', "cut short"),
        (
            "[1, 2]",
            "is not a callproof results file; expected an object with `format` and `callproof`, found a JSON list",
        ),
        ('{"tests": 3, "passed": 3}', "found one with `passed`, `tests`"),
        (
            '{"format": 9, "callproof": "7.0"}',
            "has results format 9, written by callproof 7.0; this callproof reads formats 1 and 2",
        ),
        ('{"format": 1, "callproof": "0.1.0"}', "does not follow results.schema.json: Object missing required field"),
        (b"\xff\xfe", "is not JSON"),
    ],
)
def test_foreign_and_broken_files_are_named(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ResultsError) as caught:
        read_results(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"none\.json: cannot be read"):
        read_results(tmp_path / "none.json")


def test_wrong_value_is_named_with_its_place(written: Path) -> None:
    checks = json.loads(written.read_text())["checks"]
    checks[3]["verdict"] = "maybe"
    _rewrite(written, checks=checks)
    with pytest.raises(ResultsError, match=r"'maybe' - at `\$\.checks\[3\]\.verdict`"):
        read_results(written)


def test_checks_that_point_nowhere_are_refused(written: Path) -> None:
    whole = read_results(written)
    whole.worlds.pop()
    with pytest.raises(ResultsError, match=r"points to worlds\[49\]; there are 49 worlds"):
        write_json(whole, written)
    del whole.requirements[:2]
    with pytest.raises(ResultsError, match=r"is on requirement OAI-HS-00\d, which is not among the 70 listed"):
        write_json(whole, written)
    whole.requirements.append(whole.requirements[5])
    with pytest.raises(ResultsError, match="is listed twice"):
        write_json(whole, written)


def test_report_is_four_files(tmp_path: Path) -> None:
    paths = write_report(results(), tmp_path / "new" / "report")
    assert [path.name for path in paths] == ["results.json", "junit.xml", "report.md", "index.html"]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_worst_verdict_counts() -> None:
    mildest_first = [Verdict.UNSUPPORTED, Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.HARNESS_ERROR]
    for number in range(1, len(mildest_first) + 1):
        assert worst(mildest_first[:number]) is mildest_first[number - 1]
    assert worst([]) is None


def test_summary_adds_up() -> None:
    run = results(failing=["TWI-CB-004", "SEC-003"])
    summary = summarise(run)
    verdicts = {entry.requirement.id: entry.verdict for entry in summary.requirements}
    assert verdicts["TWI-CB-004"] is Verdict.FAIL
    assert verdicts["SEC-003"] is Verdict.WARN
    assert verdicts["LIFE-009"] is None
    assert summary.counts.total() == len(run.requirements) == sum(a.counts.total() for a in summary.areas)
    assert summary.checks.total() == len(run.checks)
    assert [entry.requirement.id for entry in summary.having(Verdict.WARN, Verdict.FAIL)] == ["TWI-CB-004", "SEC-003"]
    assert [str(column) for column in summary.columns] == [
        "gpt-4o-realtime-preview-2025-06-03 (beta)",
        "gpt-realtime (ga)",
    ]
    assert summary.headline == "fails 1 of 65 requirements"


def _run(*verdicts: Verdict, error: str | None = None) -> Results:
    run = results(failing=())
    name = run.requirements[0].id
    run.checks = [Check(requirement=name, level=Level.MUST, case="c", verdict=verdict) for verdict in verdicts]
    run.worlds = [WorldResult(case="c", seed=None, wire_digest="", stage="virtual", error=error)]
    return run


@pytest.mark.parametrize(
    ("run", "status", "headline"),
    [
        (_run(Verdict.PASS), ExitStatus.OK, "meets all 1 requirement"),
        (_run(Verdict.PASS, Verdict.WARN), ExitStatus.OK, "meets every MUST of 1 requirement, with 1 warning"),
        (_run(Verdict.UNSUPPORTED), ExitStatus.OK, "meets all 0 requirements"),
        (_run(Verdict.PASS, Verdict.FAIL), ExitStatus.FAILURES, "fails 1 of 1 requirement"),
        (
            _run(Verdict.FAIL, Verdict.HARNESS_ERROR),
            ExitStatus.HARNESS_ERROR,
            "could not be judged on 1 requirement: the harness went wrong",
        ),
        (
            _run(Verdict.FAIL, error="boom"),
            ExitStatus.HARNESS_ERROR,
            "could not be judged in 1 world: the harness went wrong; it fails 1 of 1",
        ),
        (_run(), ExitStatus.HARNESS_ERROR, "was not checked at all"),
    ],
)
def test_outcome_and_exit_status(run: Results, status: ExitStatus, headline: str) -> None:
    summary = summarise(run)
    assert summary.exit_status == status
    assert summary.headline == headline


def test_sample_wire_has_the_defect() -> None:
    assert any("Twiml=" in message.text for message in wire())
    assert not any("Twiml=" in message.text for message in wire(defect=False))
