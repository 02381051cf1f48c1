"""Kept reports: small, complete in their verdicts, and read like any other."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from click.testing import CliRunner
from test_report_samples import MODELS, results

from harness.cli import main
from harness.gate.compare import compare_runs
from harness.report import Results, ResultsError, Verdict, read_results, summarise, write_json
from harness.report.keep import join, keep, slim
from harness.report.store import SCHEMA, dated


def verdicts(run: Results) -> set[tuple[str, ...]]:
    return {(c.requirement, c.case, c.verdict, c.model, c.dialect, c.as_of) for c in run.checks}


def test_a_kept_report_has_every_verdict(tmp_path: Path) -> None:
    run = results(broken=["SEC-008"], rounds=3)
    path = keep([run], tmp_path)
    assert path == tmp_path / "reference" / "0.1.0.json"
    kept = read_results(path)
    assert verdicts(kept) == verdicts(run)
    before, after = summarise(run), summarise(kept)
    assert before.counts == after.counts
    assert before.exit_status == after.exit_status
    assert compare_runs([run], [kept]).groups == []


def test_a_kept_report_tells_causes_and_consequences(tmp_path: Path) -> None:
    """TWI-CB-004 decides, in two cases; the second of them has no world in the kept file."""
    run = results(failing=["TWI-CB-004"])
    run.requirements = [msgspec.structs.replace(r, decides=r.id == "TWI-CB-004") for r in run.requirements]
    cause = next(check for check in run.checks if check.verdict is Verdict.FAIL)
    assert cause.seq is not None
    other = next(check.case for check in run.checks if check.case != cause.case and check.model == cause.model)
    for case in (cause.case, other):
        for requirement in ("TWI-CB-004", "LIFE-007"):
            seq = cause.seq if requirement == "TWI-CB-004" else None
            run.checks.append(msgspec.structs.replace(cause, requirement=requirement, case=case, seq=seq))

    def told(run: Results) -> dict[str, list[str]]:
        return {entry.requirement.id: entry.because for entry in summarise(run).having(Verdict.FAIL)}

    assert told(run) == {"TWI-CB-004": [], "LIFE-007": ["TWI-CB-004"]}
    kept = read_results(keep([run], tmp_path))
    assert sum(check.requirement == "TWI-CB-004" and check.world is None for check in kept.checks) > 0
    assert told(kept) == told(run)


def test_a_kept_report_follows_the_schema(tmp_path: Path) -> None:
    path = keep([results(broken=["SEC-008"])], tmp_path)
    document = json.loads(path.read_text())
    jsonschema_rs.validate(json.loads(SCHEMA.read_text()), document)
    assert document["format"] == 2
    document["grouped"][0]["cases"] = [10_000]
    path.write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=r"grouped\[0\] is on requirement"):
        read_results(path)


def test_a_kept_report_is_small_and_has_a_ladder_for_each_failure(tmp_path: Path) -> None:
    run = results(rounds=40)
    write_json(run, tmp_path / "results.json")
    path = keep([run], tmp_path)
    assert path.stat().st_size < (tmp_path / "results.json").stat().st_size / 5
    assert path.stat().st_size < 1_000_000
    kept = read_results(path)
    for id in {check.requirement for check in kept.checks if check.verdict is Verdict.FAIL}:
        shown = [check for check in kept.checks if check.requirement == id and check.world is not None]
        assert shown, id
        assert all(kept.worlds[check.world].ladder for check in shown if check.world is not None)
    assert len(kept.worlds) <= 2 * 5


def test_a_kept_world_is_run_again_by_a_command_that_anybody_has(tmp_path: Path) -> None:
    kept = read_results(keep([results()], tmp_path, gateway="reference@0.1.0"))
    for world in kept.worlds:
        assert world.trace is None
        assert world.replay is not None
        assert world.replay.startswith("callproof run --gateway reference@0.1.0 --stage ")
        assert " --case " in world.replay


def test_both_worlds_of_an_unstable_check_are_kept() -> None:
    run = results(failing=["TWI-CB-004"])
    place = next(n for n, check in enumerate(run.checks) if check.verdict is Verdict.FAIL)
    run.checks[place] = msgspec.structs.replace(run.checks[place], verdict=Verdict.UNSTABLE)
    world = run.worlds[run.checks[place].world or 0]
    run.worlds.append(msgspec.structs.replace(world, wire_digest="second"))
    world.again = len(run.worlds) - 1
    kept = slim(run, "reference")
    shown = next(check for check in kept.checks if check.verdict is Verdict.UNSTABLE)
    first = kept.worlds[shown.world or 0]
    assert first.again is not None
    assert kept.worlds[first.again].wire_digest == "second"


def test_runs_of_several_models_become_one(tmp_path: Path) -> None:
    runs = [results(models=[model]) for model in MODELS]
    joined = join(runs)
    assert verdicts(joined) == verdicts(dated(results()))
    for check in joined.checks:
        world = joined.world_of(check)
        assert world is None or (world.case, world.model) == (check.case, check.model)
    assert verdicts(read_results(keep(runs, tmp_path))) == verdicts(joined)


def test_another_stage_of_the_same_version_is_another_file(tmp_path: Path) -> None:
    live = results()
    live.stage = "live"
    assert keep([results()], tmp_path).name == "0.1.0.json"
    assert keep([live], tmp_path).name == "0.1.0.live.json"
    assert keep([results()], tmp_path).name == "0.1.0.json"


def test_places_of_the_machine_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = results()
    for world in run.worlds:
        world.output = f"File {tmp_path}/bot.py"
    assert str(tmp_path) not in keep([run], tmp_path / "reports").read_text()


def test_the_command_keeps_what_it_is_given(tmp_path: Path) -> None:
    for name, version in (("a", "1.0"), ("b", "2.0")):
        run = results()
        run.gateway, run.gateway_version = "mine", version
        (tmp_path / name).mkdir()
        write_json(run, tmp_path / name / "results.json")
    done = CliRunner().invoke(main, ["keep", str(tmp_path / "a"), str(tmp_path / "b"), "--to", str(tmp_path / "kept")])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "kept" / "mine").iterdir()) == ["1.0.json", "2.0.json"]
