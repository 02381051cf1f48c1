"""A case that failed once and was run again: what becomes of its verdicts, and of both worlds."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console
from test_report_samples import wire

from conformance.asking import ask
from conformance.assembly import registry
from conformance.conftest import STATION, CaseRunner
from harness.choices import Choices, Typical
from harness.gate.baseline import parse_baseline
from harness.live import Station
from harness.report import Verdict, summarise
from harness.report.html import render_html
from harness.report.markdown import render_markdown
from harness.report.terminal import print_summary
from harness.run import Collected, RunRequest
from harness.suite import CaseDefinition, Checks, Column, Outcome

CASE = "conformance/test_outbound.py::test_a_race[gpt-realtime-2]"
COLUMN = Column("gpt-realtime-2", "ga", dt.date(2026, 11, 20))


@pytest.fixture
def collected(tmp_path: Path) -> Collected:
    return Collected(ask(models=["gpt-realtime-2"], report=tmp_path / "report"), registry())


def outcome(failing: tuple[str, ...], passing: tuple[str, ...] = (), *, broken: bool = False) -> Outcome:
    async def story(world: object, check: object) -> None: ...

    messages = wire()
    check = Checks(registry())
    for requirement in failing:
        check(requirement, False, f"{requirement} was seen broken", at=messages[10])
    for requirement in passing:
        check(requirement, True)
    if broken:
        check.harness_error("the fake went wrong")
    return Outcome(
        definition=CaseDefinition("a_race", "", story, "TWI-CB-004"),
        column=COLUMN,
        checks=check,
        choices=Choices(Typical()),
        messages=messages,
        order=[],
        seconds=12.0,
        stage="live",
    )


def verdicts(collected: Collected) -> dict[str, Verdict]:
    found = {check.requirement: check.verdict for check in collected.checks}
    assert len(found) == len(collected.checks), "one check for each requirement"
    return found


class Rehearsal:
    """Runs of one case: what each comes to is given, what each was asked for is kept."""

    def __init__(self, collected: Collected, monkeypatch: pytest.MonkeyPatch, *, marked: bool, runs: list[Outcome]):
        collected.request = dataclasses.replace(collected.request, stage="live")
        self.orders: list[list[tuple[str, str]]] = []
        self._runs = runs
        station = Station()
        station.marked = marked
        config = cast("pytest.Config", SimpleNamespace(stash=pytest.Stash()))
        config.stash[STATION] = station
        self.runner = CaseRunner(config, collected, CASE, COLUMN)
        monkeypatch.setattr(self.runner, "_world", self._world)

    def _world(self, definition: CaseDefinition, source: object, seed: int, request: RunRequest) -> Outcome:
        assert request.trace is not None
        self.orders.append(request.trace.order)
        return self._runs.pop(0)

    def take(self, first: Outcome) -> str:
        with pytest.raises(pytest.fail.Exception) as failed:
            self.runner._take(first.definition, first)
        return str(failed.value)


ONE, TWO = ("start", "openai/session1/handshake"), ("start", "openai/session2/handshake")


def test_a_gateway_that_had_failed_before_does_not_say_in_which_order_a_new_one_works(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = outcome(("TWI-CB-004",)), outcome(("TWI-CB-004",))
    first.order, second.order = [TWO, ONE], [ONE]
    rehearsal = Rehearsal(collected, monkeypatch, marked=True, runs=[second])
    assert rehearsal.take(first).startswith("fail: TWI-CB-004")
    assert rehearsal.orders == [[]]


def test_a_run_that_was_held_up_in_vain_says_nothing(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    first, held_up, free = outcome(("TWI-CB-004",)), outcome(("TWI-CB-004",)), outcome((), ("TWI-CB-004",))
    first.order, held_up.order, free.order = [TWO, ONE], [ONE], [ONE]
    rehearsal = Rehearsal(collected, monkeypatch, marked=False, runs=[held_up, free])
    assert rehearsal.take(first).startswith("unstable: TWI-CB-004")
    assert rehearsal.orders == [[TWO, ONE], []]


def test_what_follows_from_what_decides_is_not_run_again(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cases have failed the header of the beta twice: the third has no session either, whatever else it fails."""
    rehearsal = Rehearsal(collected, monkeypatch, marked=False, runs=[outcome(("OAI-HS-001",)) for _ in range(2)])
    for _ in range(2):
        rehearsal.take(outcome(("OAI-HS-001",)))
    for _ in range(2):
        assert "OAI-HS-001" in rehearsal.take(outcome(("OAI-HS-001", "LIFE-007")))
    assert len(rehearsal.orders) == 2
    assert [note.startswith("Where OAI-HS-001 failed, ") for note in collected.notes] == [True]


def test_what_fails_once_is_unstable_and_what_fails_twice_fails(collected: Collected) -> None:
    first = outcome(("TWI-CB-004", "LIFE-002"), ("AUD-001",))
    second = outcome(("LIFE-002",), ("TWI-CB-004", "AUD-001"))
    collected.add_unstable(first, second, CASE)
    assert verdicts(collected) == {
        "TWI-CB-004": Verdict.UNSTABLE,
        "LIFE-002": Verdict.FAIL,
        "AUD-001": Verdict.PASS,
    }
    assert collected.exit_status() == 1


def test_what_fails_only_the_second_time_is_unstable_too(collected: Collected) -> None:
    collected.add_unstable(outcome(("TWI-CB-004",)), outcome(("LIFE-002",)), CASE)
    assert set(verdicts(collected).values()) == {Verdict.UNSTABLE}
    assert {check.requirement: check.world for check in collected.checks} == {"TWI-CB-004": 0, "LIFE-002": 1}


def test_a_fault_of_ours_stays_one(collected: Collected) -> None:
    collected.add_unstable(outcome(("TWI-CB-004",)), outcome((), broken=True), CASE)
    assert collected.exit_status() == 4


def test_both_worlds_are_kept_with_their_ladders(collected: Collected, tmp_path: Path) -> None:
    collected.add_unstable(outcome(("TWI-CB-004",)), outcome((), ("TWI-CB-004",)), CASE)
    first, second = collected.worlds
    assert first.again == 1
    assert second.again is None
    assert first.ladder
    assert second.ladder
    assert first.story
    assert second.story
    assert first.trace
    assert [line.seq for line in first.ladder if line.mark] == [10]
    assert not [line for line in second.ladder if line.mark]
    assert (tmp_path / "report" / first.trace).exists()


def test_the_traces_of_both_worlds_are_two_files(collected: Collected) -> None:
    collected.add_unstable(outcome(("TWI-CB-004",)), outcome(("LIFE-002",)), CASE)
    assert len({world.trace for world in collected.worlds}) == 2
    assert all(path.exists() for path in collected.traces)


def test_every_report_tells_of_it(collected: Collected) -> None:
    collected.add_unstable(outcome(("TWI-CB-004",)), outcome((), ("TWI-CB-004",)), CASE)
    results = collected.results(dt.datetime.now(dt.UTC))
    assert summarise(results).headline == "is unstable on 1 of 1 requirement"
    page = render_html(results)
    assert "Run again, it did not show" in page
    assert page.count('class="ladder-box"') == 2
    assert "**Unstable**: it did not fail when it was run again" in render_markdown(results)
    console = Console(width=120, record=True, file=io.StringIO())
    print_summary(results, console)
    told = console.export_text()
    assert "unstable: it did not fail when it was run again" in told
    assert "is unstable on 1 of 1 requirement." in told


def test_a_baseline_may_list_it(tmp_path: Path) -> None:
    text = '[[expected]]\nrequirement = "TWI-CB-004"\ncase = "a_race"\nverdict = "unstable"\nreason = "a race"\n'
    (tmp_path / "b.toml").write_text(text)
    request = ask(models=["gpt-realtime-2"], report=tmp_path, baseline=str(tmp_path / "b.toml"))
    collected = Collected(request, registry())
    collected.add_unstable(outcome(("TWI-CB-004",)), outcome((), ("TWI-CB-004",)), CASE)
    assert collected.exit_status() == 0
    assert collected.expects(CASE)
    again = Collected(request, registry())
    again.add(outcome(("TWI-CB-004",)), CASE)
    assert not again.expects(CASE)
    assert again.exit_status() == 1
    assert parse_baseline(text, tmp_path / "b.toml").entries == request.baseline.entries  # type: ignore[union-attr]
