"""Traces that `callproof replay` takes: the same run again on the virtual stage, the same order on the live one."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conformance import assembly
from conformance.assembly import PhoneWorld
from conformance.worlds import run_world
from harness.choices import Replayed, Typical
from harness.gates import Gates, OrderedGates, Step, out_of_order
from harness.profile import Profile, load_profile
from harness.report.ladder import story
from harness.run import RunRequest, compare
from harness.suite import CaseDefinition, Checks, Column, Outcome
from harness.trace import Trace, load_trace

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "conformance" / "gateways" / "reference"
FAULT = "broken.callbacks:says_on_answered"
RACE = "the_answered_callback_comes_before_the_twiml_request"


# -- the command


@dataclass(slots=True)
class Done:
    status: int
    out: str
    said: str

    @property
    def words(self) -> str:
        """What it said, without line breaks."""
        return " ".join(self.out.split())


def callproof(folder: Path, *arguments: str) -> Done:
    """Run callproof in a folder."""
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def pasted(folder: Path, command: str) -> Done:
    """Run a command that callproof has printed."""
    program, *arguments = shlex.split(command)
    assert program == "callproof"
    return callproof(folder, *arguments)


@dataclass(slots=True)
class Found:
    """A run with failures: where, and its results."""

    folder: Path
    results: dict[str, Any]

    def world(self, name: str) -> dict[str, Any]:
        (world,) = [world for world in self.results["worlds"] if name in world["case"]]
        return dict(world)

    def trace(self, name: str) -> Path:
        """Relative to the folder, as somebody who stands there has it."""
        path = self.folder / "my reports" / str(self.world(name)["trace"])
        return path.resolve().relative_to(self.folder.resolve())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A run of a broken gateway by a profile given by path, with a case and a property test; a space in the path."""
    folder = tmp_path_factory.mktemp("replay")
    text = (REFERENCE / "profile.toml").read_text()
    command = f"import asyncio; from {FAULT.replace(':', ' import ')} as m; asyncio.run(m())"
    text = text.replace('"reference_impl.app:main"', f'"{FAULT}"').replace('name = "reference"', 'name = "mine"')
    text = text.replace('"-m", "reference_impl"', f'"-c", "{command}"')
    (folder / "mine").mkdir()
    (folder / "mine" / "profile.toml").write_text(text)
    cases = ("--case", RACE, "--case", "bridged_in_any_order", "--model", "gpt-realtime-2", "--examples", "5")
    done = callproof(folder, "run", "--gateway", "mine", *cases, "--report", "my reports")
    assert (done.status, done.said) == (1, ""), done.out
    return Found(folder, json.loads((folder / "my reports" / "results.json").read_text()))


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("name", [RACE, "bridged_in_any_order"])
def test_the_command_that_is_printed_gives_the_same_run_again(found: Found, name: str) -> None:
    """A case, and a world that Hypothesis has shrunk: same verdict, same wire, nothing new on the disk."""
    before = files(found.folder)
    world = found.world(name)
    assert world["replay"] == shlex.join(["callproof", "replay", str(found.trace(name))])
    done = pasted(found.folder, world["replay"])
    assert (done.status, done.said) == (1, "")
    assert "Replay: same verdict (fails TWI-CB-002, TWI-CB-004), same wire." in done.words
    assert world["replay"] in done.words
    assert files(found.folder) == before


def test_a_replay_of_a_property_test_is_one_world(found: Found, tmp_path: Path) -> None:
    trace = found.trace("bridged_in_any_order")
    done = callproof(found.folder, "replay", str(trace), "--report", str(tmp_path))
    assert done.status == 1
    results = json.loads((tmp_path / "results.json").read_text())
    (world,) = results["worlds"]
    assert world["wire_digest"] == found.world("bridged_in_any_order")["wire_digest"]
    assert world["case"] == found.world("bridged_in_any_order")["case"]
    assert (tmp_path / world["trace"]).resolve() == (found.folder / trace).resolve()
    assert any(note.startswith("Replay: same verdict") for note in results["notes"])


def test_a_mended_gateway_passes_and_the_difference_is_told(found: Found) -> None:
    done = callproof(found.folder, "replay", str(found.trace(RACE)), "--gateway", "reference")
    assert done.status == 0
    assert "Replay: another verdict (the trace fails TWI-CB-002, TWI-CB-004, this run fails nothing)" in done.words
    assert (
        "another wire. The first difference: then 0.727 s The gateway replaces the TwiML of the live call" in done.words
    )


def test_a_trace_of_a_gateway_that_is_not_here(found: Found, tmp_path: Path) -> None:
    done = callproof(tmp_path, "replay", str(found.folder / found.trace(RACE)))
    assert (done.status, done.out) == (2, "")
    assert done.said.startswith("callproof: the trace is of a gateway 'mine': no gateway is called 'mine'")
    assert "--gateway says which one to take" in done.said
    assert len(done.said.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 99},
            "is a trace of format 99 (callproof 0.1.0); this callproof replays format 1: run the case again",
        ),
        ({"case": "conformance/test_x.py::test_no_such"}, "the trace is of case no_such, which is not in this suite"),
        ({"model": "gpt-9"}, "the trace is of model 'gpt-9', which this callproof does not know"),
        ({"as_of": "once"}, "the trace is not valid: as_of is no date: 'once'"),
        ({"knobs": {"twilio.none": 1}}, "no knob is called 'twilio.none'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_trace_that_cannot_be_replayed(found: Found, change: dict[str, Any], message: str) -> None:
    data = json.loads((found.folder / found.trace(RACE)).read_text())
    path = found.folder / "changed.json"
    path.write_text(json.dumps({**data, **change}))
    done = callproof(found.folder, "replay", "changed.json")
    path.unlink()
    assert (done.status, done.out) == (2, "")
    assert message in done.said
    assert len(done.said.splitlines()) == 1


def test_a_replay_on_the_live_stage_keeps_the_order(tmp_path: Path) -> None:
    """The command, with a trace of the virtual stage and the reference gateway as a process."""
    trace = a_trace(ringing_only, "test_a_hang_up_while_it_rings_stops_the_ringing")
    path = trace.save(tmp_path / "t.json")
    done = callproof(tmp_path, "replay", path.name, "--stage", "live")
    assert (done.status, done.said) == (0, ""), done.out
    assert "Replay: same verdict (fails nothing), same order of deliveries." in done.words
    assert "on the live stage" in done.words


# -- the race of the answered callback and the TwiML request, on the live stage

FETCH = ("start", "twilio/call1/fetch#1")
FETCHED = ("end", "twilio/call1/fetch#1")
ANSWERED = ("start", "twilio/call1/callback/answered#1")
TOLD = ("end", "twilio/call1/callback/answered#1")
COLUMN = Column("gpt-realtime-2", "ga", dt.date(2026, 11, 20))


async def greeting_outbound(world: PhoneWorld, check: Checks) -> None:
    """An outbound call, until the callee has heard the greeting or three seconds have gone."""
    callee = world.callee()
    await world.order_call(callee.number)
    with check.expects("TWI-CB-002"):
        await callee.connected(within=10)
        await callee.starts_hearing("greeting", within=3)
    callee.hang_up()


async def ringing_only(world: PhoneWorld, check: Checks) -> None:
    """An outbound call that is cancelled while it rings."""
    callee = world.callee()
    callee.does_not_answer()
    call = await world.order_call(callee.number)
    await world.sees("ring", channel="phone", within=10)
    await world.operate("hangup", call_sid=call.sid)
    await callee.ended(within=5)


def definition(story: Any, fixed: dict[str, int] | None = None) -> CaseDefinition:
    return CaseDefinition(name="race", story="", run=story, about="TWI-CB-002", fixed=fixed or {}, audio=False)


def profile(entry: str = "reference_impl.app:main") -> Profile:
    reference = load_profile(REFERENCE)
    module, _, name = entry.partition(":")
    code = f"import asyncio; from {module} import {name} as m; asyncio.run(m())"
    table = msgspec.structs.replace(reference.gateway, python=entry, command=[sys.executable, "-c", code])
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return replace(reference, gateway=table, environment={"PYTHONPATH": path})


def virtual(story: Any, fixed: dict[str, int] | None = None, entry: str = "reference_impl.app:main") -> Outcome:
    request = RunRequest(profile=profile(entry), stage="virtual", columns=[COLUMN], seed=0, knobs={})
    return run_world(definition(story, fixed), request, COLUMN, Typical(), 0)


def a_trace(
    story: Any, case: str, fixed: dict[str, int] | None = None, entry: str = "reference_impl.app:main"
) -> Trace:
    outcome = virtual(story, fixed, entry)
    assert outcome.error is None
    return outcome.trace(
        callproof="0.1.0", case=f"conformance/test_outbound.py::{case}", gateway="reference", version="0.1.0", knobs={}
    )


def live(story: Any, trace: Trace, entry: str = "reference_impl.app:main") -> Outcome:
    request = RunRequest(profile=profile(entry), stage="live", columns=[COLUMN], seed=0, knobs={}, trace=trace)
    return run_world(definition(story), request, COLUMN, Replayed(trace.values()), 0)


@pytest.mark.parametrize("first", ["answered", "fetch"])
def test_gates_keep_the_order_even_against_the_delays(first: str) -> None:
    """The choices would have the other one come first; the order of the trace is what counts, to the end of each."""
    delays = {FETCH[1] + "/delay": 60, ANSWERED[1] + "/delay": 60}
    later = FETCH if first == "answered" else ANSWERED
    trace = a_trace(greeting_outbound, "race", {**delays, later[1] + "/delay": 200})
    order = [step for step in trace.order if step in (FETCH, FETCHED, ANSWERED, TOLD)]
    assert order == ([ANSWERED, TOLD, FETCH, FETCHED] if first == "answered" else [FETCH, FETCHED, ANSWERED, TOLD])
    for choice in trace.choices:
        if choice.point in (FETCH[1] + "/delay", ANSWERED[1] + "/delay"):
            choice.value = 0 if choice.value == 200 else 200
    outcome = live(greeting_outbound, trace)
    assert [step for step in outcome.order if step in order] == order
    assert out_of_order(trace.order, outcome.order) == []
    assert outcome.checks.failed() == []
    assert "same order of deliveries" in compare(outcome, trace)


def test_a_broken_gateway_fails_live_as_it_did_in_virtual_time() -> None:
    trace = a_trace(greeting_outbound, "race", {FETCH[1] + "/delay": 150, ANSWERED[1] + "/delay": 0}, FAULT)
    assert trace.failed == ["TWI-CB-002", "TWI-CB-004"]
    outcome = live(greeting_outbound, trace, FAULT)
    assert compare(outcome, trace) == ("Replay: same verdict (fails TWI-CB-002, TWI-CB-004), same order of deliveries.")


class HastyGates(OrderedGates):
    """Gates that do not wait long for what never comes."""

    def __init__(self, wanted: Sequence[Step]) -> None:
        super().__init__(wanted, 0.3)


def test_an_order_that_cannot_be_kept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace has a delivery that this gateway never gives cause to."""
    monkeypatch.setattr(assembly, "OrderedGates", HastyGates)
    trace = a_trace(greeting_outbound, "race")
    place = trace.order.index(FETCH)
    trace.order.insert(place, ("end", "twilio/call1/fetch#7"))
    outcome = live(greeting_outbound, trace)
    told = compare(outcome, trace)
    assert "another order of deliveries." in told
    assert "The order of the trace could not be kept: " in told
    assert "began, but the end of twilio/call1/fetch#7 before it never came" in told


# -- comparing


def a_case_of(outcome: Outcome, **changes: Any) -> Trace:
    trace = outcome.trace(callproof="0.1.0", case="c", gateway="g", version="1", knobs={})
    return msgspec.structs.replace(trace, **changes)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return virtual(greeting_outbound)


def test_the_same_run_is_called_the_same(outcome: Outcome) -> None:
    assert compare(outcome, a_case_of(outcome)) == "Replay: same verdict (fails nothing), same wire."
    again = virtual(greeting_outbound)
    assert compare(again, a_case_of(outcome)) == "Replay: same verdict (fails nothing), same wire."


def test_another_verdict_is_told_with_both(outcome: Outcome) -> None:
    told = compare(outcome, a_case_of(outcome, failed=["TWI-CB-004"]))
    assert told == "Replay: another verdict (the trace fails TWI-CB-004, this run fails nothing), same wire."


def test_the_order_of_the_failures_makes_no_difference(outcome: Outcome) -> None:
    outcome.checks("TWI-CB-004", False, "x")
    outcome.checks("TWI-CB-005", False, "x")
    told = compare(outcome, a_case_of(outcome, failed=["TWI-CB-005", "TWI-CB-004"]))
    del outcome.checks.findings[-2:]
    assert told.startswith("Replay: same verdict (fails TWI-CB-004, TWI-CB-005)")


def test_another_wire_is_told_with_its_first_difference(outcome: Outcome) -> None:
    lines = story(outcome.messages, limit=1000)
    told = compare(
        outcome, a_case_of(outcome, wire_digest="x", story=[*lines[:3], "0.500 s  Something else.", *lines[4:]])
    )
    assert told.startswith(
        "Replay: same verdict (fails nothing), another wire. The first difference: then 0.500 s Someth"
    )
    assert told.endswith(f"; now {' '.join(lines[3].split())}.")
    told = compare(outcome, a_case_of(outcome, wire_digest="x", story=lines[:5]))
    assert "then the end; now " in told
    told = compare(outcome, a_case_of(outcome, wire_digest="x", story=lines))
    assert told.endswith("The same events at the same times, but what some of them carry is different.")


def test_choices_that_the_trace_does_not_know_are_told(outcome: Outcome) -> None:
    told = compare(outcome, a_case_of(outcome), ["twilio/call1/create/delay", "b", "c"])
    assert told.endswith("The trace has no value for twilio/call1/create/delay and 2 more: the typical one was taken.")


# -- order


def steps(text: str) -> list[Step]:
    """`a+ a- b+` as steps: + for the start, - for the end."""
    return [("start" if part[1] == "+" else "end", part[0]) for part in text.split()]


@pytest.mark.parametrize(
    ("wanted", "happened", "broken"),
    [
        ("a+ a- b+ b-", "a+ a- b+ b-", []),
        ("a+ a- b+ b-", "b+ b- a+ a-", ["b began before the start of a", "b began before the end of a"]),
        ("a+ a- b+ b-", "a+ b+ a- b-", ["b began before the end of a"]),
        ("a+ b+ a- b-", "a+ b+ b- a-", []),  # when a delivery ends is the gateway's affair
        ("a+ b+ b-", "a+ a- c+ c- b+ b-", []),
        ("a+ a- b+", "b+", ["b began, but the start of a before it never came", "b began, but the end of a before it"]),
        ("a+ a- b+", "a+ a-", []),
        ("", "a+", []),
    ],
)
def test_out_of_order(wanted: str, happened: str, broken: list[str]) -> None:
    found = out_of_order(steps(wanted), steps(happened))
    assert len(found) == len(broken)
    for told, expected in zip(found, broken, strict=True):
        assert told.startswith(expected)


async def test_deliveries_of_one_point_are_told_apart() -> None:
    gates = Gates()
    for _ in range(2):
        async with gates.delivery("a"):
            pass
    assert gates.order == [("start", "a"), ("end", "a"), ("start", "a~2"), ("end", "a~2")]


def test_a_saved_trace_has_its_story(found: Found) -> None:
    trace = load_trace(found.folder / found.trace(RACE))
    assert any("replaces the TwiML" in line for line in trace.story)
    assert trace.gateway == "mine"
