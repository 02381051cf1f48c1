"""A world from its beginning to its end: who acts in it, and when it is over."""

from __future__ import annotations

import pytest

from conformance.asking import ask
from conformance.assembly import PhoneWorld
from conformance.worlds import run_world
from harness.choices import Typical
from harness.suite import CaseDefinition, Checks, Outcome

LATENCY_MS = 40


async def hangs_up(world: PhoneWorld, check: Checks) -> None:
    """Somebody calls, is greeted and hangs up."""
    caller = await world.incoming()
    await caller.hears("greeting", within=10)
    caller.hang_up()


async def is_hung_up_on(world: PhoneWorld, check: Checks) -> None:
    """The gateway calls somebody, who is greeted and hangs up."""
    callee = world.callee()
    await world.order_call(callee.number)
    await callee.hears("greeting", within=15)
    callee.hang_up()


@pytest.fixture(params=[hangs_up, is_hung_up_on], ids=["inbound", "outbound"])
def outcome(request: pytest.FixtureRequest) -> Outcome:
    asked = ask(gateway="reference", models=["gpt-realtime-2"])
    definition = CaseDefinition("story", "", request.param, "LIFE-009", fixed={"link/twilio/latency": LATENCY_MS})
    outcome = run_world(definition, asked, asked.columns[0], Typical(), 0)
    assert (outcome.error, outcome.checks.failed()) == (None, [])
    return outcome


def test_whatever_twilio_does_takes_its_way(outcome: Outcome) -> None:
    """Its requests are its own, also those that follow from what a person or the story does."""
    asked = {m.connection: m.at for m in outcome.messages if m.channel == "twilio.webhook" and m.kind == "request"}
    answered = {m.connection: m.at for m in outcome.messages if m.channel == "twilio.webhook" and m.kind == "response"}
    assert len(asked) >= 2
    assert asked.keys() == answered.keys()
    there_and_back = 2 * LATENCY_MS / 1000
    assert all(answered[name] - asked[name] >= there_and_back - 1e-9 for name in asked)
    (upgrade,) = [m for m in outcome.messages if (m.channel, m.kind) == ("twilio.stream", "upgrade")]
    (accepted,) = [m for m in outcome.messages if (m.channel, m.kind) == ("twilio.stream", "upgrade.accepted")]
    assert accepted.at - upgrade.at >= there_and_back - 1e-9


def test_a_world_is_over_when_the_gateway_has_been_told_so(outcome: Outcome) -> None:
    last = [m for m in outcome.messages if m.channel == "twilio.webhook"][-2:]
    assert [m.kind for m in last] == ["request", "response"]
    assert last[0].form["CallStatus"] == "completed"
