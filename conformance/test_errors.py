"""Errors in the middle of a call: events that change nothing, and responses that keep failing."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from fakes.openai.service import HandshakePlan
from harness.suite import Checks, case
from harness.wire import Message

NEW_CODE = "conversation_item_gone_astray"
LIMIT = "rate_limit_exceeded"
ATTEMPTS = 5


@case(about="OAI-ER-001", claims=["phone.inbound"])
async def test_errors_that_nobody_has_seen_before(world: PhoneWorld, check: Checks) -> None:
    """An error with a new code, one that says nothing but its message, one of the server's own: the call goes on."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    for rule, kind, code in (
        ("OAI-ER-001", "invalid_request_error", NEW_CODE),
        ("OAI-ER-002", "invalid_request_error", None),
        ("OAI-ER-003", "server_error", "server_error"),
    ):
        error = {"type": kind, "code": code, "message": "Something went wrong.", "param": None, "event_id": None}
        session.emit("error", {"error": error})
        await world.passes(0.5)
        with check.expects(rule):
            await caller.says("what_time")
            await caller.hears("its_noon", within=8)
    first = world.wire.first("error", source="openai")
    printed = NEW_CODE in world.gateway.output()
    check("OAI-ER-008", printed, f"the gateway does not print the code {NEW_CODE}", at=first)


@case(about="OAI-ER-006", claims=["phone.inbound"])
async def test_responses_that_keep_failing(world: PhoneWorld, check: Checks) -> None:
    """From some moment on every response fails for the account's limit. The caller asks twice, and is told or let go;
    the gateway does not try for ever."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)

    def again(message: Message) -> None:
        if message.kind == "response.created" and message.source == "openai":
            session.fail_response(LIMIT)

    end = world.wire.watch(again)
    session.fail_response(LIMIT)
    asked = world.wire[len(world.wire) - 1]
    try:
        await caller.says("what_time")
        failed = await world.sees("response.done", source="openai", after=asked, within=10)
        await world.passes(3)
        if caller.is_connected:
            caller.start_saying("what_time")
        told = world.wire.first(("heard.start", "ended"), channel="phone", target=caller.party, after=failed)
        if told is None:
            with check.expects("OAI-ER-006"):
                await world.ended_or_hears(caller, None, within=27)
        else:
            check("OAI-ER-006", True)
    finally:
        end()
        tries = [m for m in world.wire.all("response.create", source="gateway", after=asked) if m.at < asked.at + 30]
        many = f"{len(tries)} responses asked for while every one fails"
        check("OAI-ER-005", len(tries) <= ATTEMPTS, many, at=tries[-1] if tries else None)
        printed = LIMIT in world.gateway.output()
        check("OAI-ER-009", printed, f"the gateway does not print the code {LIMIT}")


@case(about="OAI-ER-007", claims=["phone.inbound"])
async def test_the_code_of_a_refusal_is_printed(world: PhoneWorld, check: Checks) -> None:
    """The upgrade is accepted; then an error event and a close say that the account may not use the model."""
    for connection in range(1, 40):
        world.openai.plan(HandshakePlan(refuse_in_band="model_not_found"), connection=connection)
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    error = await world.sees("error", source="openai", within=15)
    await world.passes(3)
    code = str(error.get("error.code"))
    check("OAI-ER-007", code in world.gateway.output(), f"the gateway does not print the code {code}", at=error)
