"""Checks: from what a case sees to verdicts; and the case decorator."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from harness.choices import Choices, Seeded
from harness.report.model import Level, Verdict
from harness.requirements import Registry, RegistryError, Requirement
from harness.suite import HARNESS, CaseDefinition, CaseOver, Checks, Column, Finding, Outcome, case, prop
from harness.wire import Wire

LEVELS = {"M-1": "MUST", "M-2": "MUST", "S-1": "SHOULD", "O-1": "MAY"}


@pytest.fixture
def registry() -> Registry:
    return Registry(
        {
            name: Requirement(
                id=name, area="area", level=level, rule="r.", why="w", source="s", evidence="e", check="c"
            )
            for name, level in LEVELS.items()
        }
    )


@pytest.fixture
def check(registry: Registry) -> Checks:
    return Checks(registry)


@pytest.fixture
def wire() -> Wire:
    wire = Wire(lambda: 0.0)
    for kind in ("start", "media", "media", "stop"):
        wire.record("twilio", "gateway", "twilio.stream", kind)
    return wire


def verdicts(check: Checks) -> list[tuple[str, Verdict]]:
    return [(finding.requirement, finding.verdict) for finding in check.findings]


@pytest.mark.parametrize(
    ("requirement", "missed"),
    [("M-1", Verdict.FAIL), ("S-1", Verdict.WARN), ("O-1", Verdict.WARN)],
)
def test_the_level_decides_what_a_miss_is(check: Checks, wire: Wire, requirement: str, missed: Verdict) -> None:
    assert check(requirement, [1], "never shown") is True
    assert check(requirement, None, "it said 404", at=wire[2]) is False
    assert check.findings == [
        Finding(requirement, Verdict.PASS, "", None),
        Finding(requirement, missed, "it said 404", 2),
    ]


@pytest.mark.parametrize("ok", [True, False])
def test_a_check_on_nothing_is_our_fault(check: Checks, ok: bool) -> None:
    with pytest.raises(RegistryError, match="did you mean M-1"):
        check("M-11", ok)
    assert check.findings == []


def test_none_marks_the_first_offender_and_counts_them(check: Checks, wire: Wire) -> None:
    assert check.none("M-1", wire.all("media"), "media after stop") is False
    assert check.none("M-2", wire.all("stop"), "a stop") is False
    assert check.none("M-1", wire.all("mark"), "a mark") is True
    assert check.findings == [
        Finding("M-1", Verdict.FAIL, "media after stop (2 times)", 1),
        Finding("M-2", Verdict.FAIL, "a stop", 3),
        Finding("M-1", Verdict.PASS, "", None),
    ]


def test_expects_passes_when_the_story_goes_on(check: Checks) -> None:
    with check.expects("M-1"):
        pass
    assert verdicts(check) == [("M-1", Verdict.PASS)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (AssertionError("heard silence"), "heard silence"),
        (TimeoutError(), "it did not happen in time"),
        (TimeoutError("nothing within 8 s"), "nothing within 8 s"),
    ],
)
def test_expects_fails_and_ends_the_case_when_the_story_breaks_off(
    check: Checks, error: Exception, message: str
) -> None:
    with pytest.raises(CaseOver) as caught, check.expects("M-1"):
        raise error
    assert caught.value.__cause__ is error
    assert check.findings == [Finding("M-1", Verdict.FAIL, message, None)]


def test_expects_on_a_should_warns_and_still_ends_the_case(check: Checks) -> None:
    with pytest.raises(CaseOver), check.expects("S-1"):
        raise TimeoutError
    assert verdicts(check) == [("S-1", Verdict.WARN)]


def test_the_innermost_expectation_is_the_one_that_fails(check: Checks) -> None:
    with pytest.raises(CaseOver), check.expects("M-1"), check.expects("M-2"):
        raise AssertionError("no")
    assert verdicts(check) == [("M-2", Verdict.FAIL)]


def test_what_is_no_failure_of_the_gateway_passes_through(check: Checks) -> None:
    with pytest.raises(LookupError), check.expects("M-1"):
        raise LookupError("a mistake in the case")
    assert check.findings == []


def test_the_worst_verdict_of_a_requirement_counts_and_the_first_of_equals(check: Checks) -> None:
    check("M-1", True)
    check("M-1", False, "first")
    check("M-1", False, "second")
    check("M-1", True)
    check("S-1", False, "missed")
    check("S-1", True)
    check("M-2", True)
    assert [(f.requirement, f.verdict, f.message) for f in check.merged()] == [
        ("M-1", Verdict.FAIL, "first"),
        ("S-1", Verdict.WARN, "missed"),
        ("M-2", Verdict.PASS, ""),
    ]
    assert len(check.findings) == 7


def test_failed_lists_each_failed_requirement_once_in_order(check: Checks) -> None:
    for requirement, ok in (("M-2", False), ("S-1", False), ("M-1", False), ("M-2", False), ("M-1", True)):
        check(requirement, ok, "seen")
    check.harness_error("ours")
    assert check.failed() == ["M-2", "M-1"]


def test_worst(check: Checks, wire: Wire) -> None:
    assert check.worst() is None
    check("M-1", True)
    assert check.worst() is Verdict.PASS
    check("O-1", False)
    assert check.worst() is Verdict.WARN
    check("M-1", False)
    assert check.worst() is Verdict.FAIL
    check.harness_error("a fake sent rubbish", at=wire[1])
    assert check.worst() is Verdict.HARNESS_ERROR
    assert check.findings[-1] == Finding(HARNESS, Verdict.HARNESS_ERROR, "a fake sent rubbish", 1)


# -- outcomes


def _definition() -> CaseDefinition:
    async def story(world: Any, check: Checks) -> None: ...

    return CaseDefinition(name="n", story="s", run=story, about="M-1")


def an_outcome(check: Checks, wire: Wire) -> Outcome:
    choices = Choices(Seeded(5), seed=5)
    choices.delay("ring/delay", 0, 100, 900)
    choices.flag("twice", 0.5)
    return Outcome(
        definition=_definition(),
        column=Column("gpt-realtime-2", "ga", dt.date(2026, 11, 20)),
        checks=check,
        choices=choices,
        messages=wire.messages,
        order=[("start", "ring"), ("end", "ring")],
        seconds=1.23456789,
        stage="virtual",
    )


def test_an_outcome_makes_a_trace_that_has_all_of_the_run(check: Checks, wire: Wire) -> None:
    check("M-1", False, "seen")
    outcome = an_outcome(check, wire)
    trace = outcome.trace(callproof="0.1.0", case="c", gateway="g", version="1", knobs={"k": True})
    assert (trace.seed, trace.model, trace.dialect, trace.as_of) == (5, "gpt-realtime-2", "ga", "2026-11-20")
    assert trace.values() == outcome.choices.values()
    assert [choice.domain for choice in trace.choices] == [(0, 100, 900), (0, 0, 1)]
    assert (trace.order, trace.wire_digest) == ([("start", "ring"), ("end", "ring")], wire.digest())
    assert (trace.failed, trace.knobs, trace.stage) == (["M-1"], {"k": True}, "virtual")


def test_an_outcome_as_the_report_lists_it(check: Checks, wire: Wire, registry: Registry) -> None:
    check("S-1", False, "missed", at=wire[1])
    check("M-1", True)
    check.harness_error("ours")
    outcome = an_outcome(check, wire)
    rows = outcome.report_checks("case", registry, 4)
    assert [(r.requirement, r.level, r.verdict, r.seq, r.world) for r in rows] == [
        ("S-1", Level.SHOULD, Verdict.WARN, 1, 4),
        ("M-1", Level.MUST, Verdict.PASS, None, 4),
        (HARNESS, Level.MUST, Verdict.HARNESS_ERROR, None, 4),
    ]
    world = outcome.result("case")
    assert (world.seconds, world.messages, world.wire_digest, world.seed) == (1.234568, 4, wire.digest(), 5)


# -- the decorator


def test_a_case_is_a_pytest_test_that_carries_its_definition() -> None:
    @case(about="M-1", claims=["phone.inbound"], fixed={"a": 1}, knobs={"k": 2}, dialect="ga", stages=["live"])
    async def test_the_caller_hears_the_greeting(world: Any, check: Checks) -> None:
        """The caller dials and listens."""

    ran: list[CaseDefinition] = []
    test_the_caller_hears_the_greeting(ran.append)
    (definition,) = ran
    assert (definition.name, definition.story) == ("the_caller_hears_the_greeting", "The caller dials and listens.")
    assert (definition.about, definition.claims, definition.dialect) == ("M-1", ("phone.inbound",), "ga")
    assert (definition.fixed, definition.knobs, definition.stages) == ({"a": 1}, {"k": 2}, ("live",))
    assert definition.examples == 0
    assert test_the_caller_hears_the_greeting.__name__ == "test_the_caller_hears_the_greeting"
    assert test_the_caller_hears_the_greeting.__module__ == __name__


def test_a_property_is_a_case_with_many_worlds() -> None:
    @prop(about="M-1", examples=7, claims=["tools"])
    async def test_no_call_is_lost(world: Any, check: Checks) -> None: ...

    ran: list[CaseDefinition] = []
    test_no_call_is_lost(ran.append)
    assert (ran[0].examples, ran[0].claims, ran[0].story) == (7, ("tools",), "")
