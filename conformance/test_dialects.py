"""Dialects, revisions and models: what may differ between them makes no difference to a caller."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from fakes.openai.service import HandshakePlan
from fakes.people.person import Person
from harness.suite import Checks, case


async def greeted_and_answered(world: PhoneWorld, check: Checks, rule: str) -> Person:
    """Somebody calls, is greeted, asks something and is answered."""
    caller = await world.incoming()
    with check.expects(rule):
        await caller.hears("greeting", within=12)
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)
    return caller


@case(about="OAI-DI-001", claims=["phone.inbound"], knobs={"openai.conversation_created": "always"})
async def test_the_vendor_tells_of_the_conversation(world: PhoneWorld, check: Checks) -> None:
    """`conversation.created` follows `session.created`."""
    await greeted_and_answered(world, check, "OAI-DI-001")


@case(about="OAI-DI-001", claims=["phone.inbound"], knobs={"openai.conversation_created": "never"})
async def test_the_vendor_does_not_tell_of_the_conversation(world: PhoneWorld, check: Checks) -> None:
    """There is no `conversation.created`."""
    await greeted_and_answered(world, check, "OAI-DI-001")


@case(about="OAI-DI-002", claims=["phone.inbound", "tools"], dialect="ga", knobs={"openai.item_object": False})
async def test_items_without_their_object_field(world: PhoneWorld, check: Checks) -> None:
    """No item says `object: realtime.item`; a tool is called all the same."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("weather")
    with check.expects("OAI-DI-002"):
        await caller.hears("weather_sunny", within=12)


@case(about="OAI-DI-003", claims=["phone.inbound", "tools"], dialect="beta")
async def test_a_function_call_in_beta(world: PhoneWorld, check: Checks) -> None:
    """The event that ends the arguments does not name the function."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("weather")
    with check.expects("OAI-DI-003"):
        done = await world.sees("response.function_call_arguments.done", source="openai", within=8)
        await caller.hears("weather_sunny", within=12)
    if "name" in done.json:
        check.harness_error("the fake names the function in a beta event", at=done)


@case(about="OAI-DI-004", claims=["phone.inbound"], dialect="ga", settings={"openai.model": "gpt-realtime"})
async def test_a_model_that_does_not_reason(world: PhoneWorld, check: Checks) -> None:
    """The gateway is configured for a model without reasoning."""
    await greeted_and_answered(world, check, "OAI-DI-004")


@case(about="OAI-DI-007", claims=["phone.inbound"], dialect="ga", settings={"openai.model": "gpt-realtime-2025-08-28"})
async def test_a_model_by_the_name_of_its_snapshot(world: PhoneWorld, check: Checks) -> None:
    """The gateway is configured for a dated snapshot."""
    await greeted_and_answered(world, check, "OAI-DI-007")


@case(about="OAI-DI-006", claims=["phone.inbound"])
async def test_the_session_names_a_snapshot(world: PhoneWorld, check: Checks) -> None:
    """The vendor's session objects name a dated snapshot of the model that was asked for."""
    world.openai.plan(HandshakePlan(created_delay_ms=500), connection=1)
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    session = await world.session(1)
    session.wire["model"] = f"{session.wire['model']}-2026-05-07"
    with check.expects("OAI-DI-006"):
        await caller.connected(within=10)
        await caller.hears("greeting", within=12)
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)
