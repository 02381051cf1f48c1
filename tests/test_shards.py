"""One run in several processes: dealing the cases out, and putting together what came of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from conformance.asking import ask
from conformance.assembly import registry
from conformance.shards import Part, Share, Sure, deal, known_seconds, remember_seconds, take_in, turns
from harness.report.model import Check, Level, Verdict, WorldResult
from harness.report.store import read_results
from harness.run import Collected
from harness.suite import CaseDefinition

CASES = [(f"conformance/test_x.py::test_{name}[m]", group) for name, group in zip("abcdefgh", "11112223", strict=True)]


def test_every_case_is_dealt_once() -> None:
    for hands in range(1, 9):
        dealt = deal(CASES, {}, hands)
        assert sorted(case for hand in dealt for case in hand) == sorted(case for case, _ in CASES)
        assert 1 <= len(dealt) <= hands


def test_cases_of_one_configuration_stay_together_as_far_as_that_is_fair() -> None:
    ids = [case for case, _ in CASES]
    assert deal(CASES, {}, 1) == [ids]
    two = deal(CASES, {}, 2)
    assert sorted(map(sorted, two)) == [ids[:4], ids[4:]]
    long = {"a": 500.0}
    assert [hand for hand in deal(CASES, long, 3) if ids[0] in hand] == [[ids[0]]]


def test_who_is_done_takes_cases_out_of_the_fullest_hand(tmp_path: Path) -> None:
    hands = [["a"], ["b", "c", "d", "e"], ["f", "g"]]
    done, slow, other = (turns(Part(number, hands, str(tmp_path), "", "")) for number in range(3))
    assert [next(slow), next(other), next(done)] == ["b", "f", "a"]
    assert [next(done), next(done), next(slow)] == ["e", "d", "c"]
    assert [*done, *slow, *other] == ["g"]


def test_what_one_process_is_sure_of_all_are(tmp_path: Path) -> None:
    one, two = (Sure(Part(number, [], str(tmp_path), "", "")) for number in range(2))
    one.add(["OAI-HS-001", "OAI-HS-002"])
    two.add(["OAI-HS-001"])
    one.add(["OAI-HS-001"])
    assert [both["OAI-HS-001"] for both in (one, two)] == [3, 3]
    assert [both["OAI-HS-002"] for both in (one, two)] == [1, 1]
    alone = Sure(None)
    alone.add(["OAI-HS-001"])
    assert (alone["OAI-HS-001"], alone["OAI-HS-002"]) == (1, 0)


def test_what_came_of_parts_is_put_together() -> None:
    collected = Collected(ask(), registry())

    def share(name: str, again: bool) -> Share:
        worlds = [
            WorldResult(case=name, seed=0, wire_digest="", stage="live", again=1 if again else None),
            WorldResult(case=name, seed=0, wire_digest="", stage="live"),
        ]
        checks = [
            Check(requirement="TWI-ST-001", level=Level.MUST, case=name, verdict=Verdict.PASS, world=number)
            for number in (0, 1)
        ]
        checks.append(Check(requirement="TWI-ST-001", level=Level.MUST, case=name, verdict=Verdict.UNSUPPORTED))
        return Share(checks, worlds, ["a note", name], [], {"virtual": [name]}, started=3)

    take_in(collected, share("one", True))
    take_in(collected, share("two", True))
    assert [world.case for world in collected.worlds] == ["one", "one", "two", "two"]
    assert [world.again for world in collected.worlds] == [1, None, 3, None]
    assert [check.world for check in collected.checks] == [0, 1, None, 2, 3, None]
    assert all(check.world is None or collected.worlds[check.world].case == check.case for check in collected.checks)
    assert collected.notes == ["a note", "one", "two"]
    assert collected.started == 6
    assert collected.left_out() == ["2 cases need --stage virtual: one, two."]


def test_what_another_stage_could_run_is_told() -> None:
    here = replace(ask(), stage="live")
    definition = CaseDefinition("one", "", AsyncMock(), "TWI-ST-001", stages=("virtual", "enclosed"))
    for request, told in ((here, "--intercept namespace"), (ask(), "--stage live --intercept namespace")):
        collected = Collected(request, registry())
        collected.elsewhere(definition)
        assert collected.left_out() == [f"1 case needs --stage virtual, or {told}: one."]


@pytest.mark.parametrize(
    ("jobs", "cases", "configurations", "hands"),
    [
        ((6, 10), 200, 2, 6),
        ((6, 10), 200, 8, 8),
        ((6, 10), 200, 29, 10),
        ((6, 10), 4, 4, 4),
        ((6, 10), 0, 0, 1),
        ((3, 3), 200, 29, 3),
        ((1, 1), 200, 29, 1),
    ],
)
def test_as_many_hands_as_configurations_within_limits(
    jobs: tuple[int, int], cases: int, configurations: int, hands: int
) -> None:
    assert replace(ask(), jobs=jobs).hands(cases, configurations) == hands


def test_how_long_cases_took_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path / "cache"))
    assert known_seconds("mine", "1") == {}
    world = WorldResult(case="x::test_a_call[m]", seed=0, wire_digest="", stage="live", seconds=2.5)
    remember_seconds("mine", "1", [world, world])
    remember_seconds("other", "1", [world])
    assert known_seconds("mine", "1") == {"a_call": 5.0}
    remember_seconds("mine", "2", [world])
    assert known_seconds("mine", "1") == {"a_call": 5.0}
    assert known_seconds("mine", "2") == known_seconds("mine", "3") == {"a_call": 2.5}
    (tmp_path / "cache" / "seconds.json").write_text("no JSON")
    assert known_seconds("mine", "1") == {}
    monkeypatch.setenv("CALLPROOF_CACHE", "/dev/null/cache")
    remember_seconds("mine", "1", [world])
    assert known_seconds("mine", "1") == {}


def run(report: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("callproof")), "run", "--report", str(report), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    wanted = ("--case", "an_outbound_call_is_bridged[", "--case", "health_is_answered")
    one = run(tmp_path / "one", *wanted)
    two = run(tmp_path / "two", *wanted, "--jobs", "2")
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    alone, shared = read_results(tmp_path / "one"), read_results(tmp_path / "two")

    def found(results: object) -> list[tuple[object, ...]]:
        return sorted((c.requirement, c.case, c.verdict.value, c.message) for c in results.checks)  # type: ignore[attr-defined]

    assert found(alone) == found(shared)
    assert sorted(w.wire_digest for w in alone.worlds) == sorted(w.wire_digest for w in shared.worlds)
    assert "meets all" in two.stdout


def test_a_part_that_breaks_off_is_told(tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "profile.toml").write_text(
        '[gateway]\nname = "dead"\ncommand = ["false"]\n[claims]\nfeatures = ["phone.inbound", "openai.ga"]\n'
        '[settings]\nopenai.base_url = "$X"\n'
    )
    arguments = ("--gateway", str(profile), "--stage", "live", "--jobs", "2", "--case", "inbound")
    done = run(tmp_path / "report", *arguments)
    assert done.returncode == 3
    assert "callproof: gateway dead died at its start with exit status 1" in done.stderr
