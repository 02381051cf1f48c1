"""Sessions that end before their call does: refused for a while, lost again and again, at their limit, or for good."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from fakes.openai.service import HandshakePlan
from harness.suite import Checks, case
from harness.wire import Message

ATTEMPTS = 5
WHILE = 30.0
"""Seconds in which there may be that many attempts."""


def upgrades_after(world: PhoneWorld, message: Message) -> list[Message]:
    """The upgrades after a message."""
    return world.wire.all("upgrade", channel="openai.realtime", after=message)


@case(about="OAI-SS-003", claims=["phone.inbound"])
async def test_every_session_is_lost_at_once(world: PhoneWorld, check: Checks) -> None:
    """The session is closed in mid-call, and so is each one that takes its place, as soon as it is open."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    session.close(1011, "keepalive ping timeout")
    lost = await world.sees("close", channel="openai.realtime", within=2)
    until = world.clock.now() + WHILE
    for ordinal in range(2, 40):
        if (left := until - world.clock.now()) <= 0 or not caller.is_connected:
            break
        try:
            again = await world.session(ordinal, within=min(left, 5))
        except AssertionError:
            continue  # not opened yet: perhaps later
        again.close(1011, "keepalive ping timeout")
    more = [m for m in upgrades_after(world, lost) if m.at < lost.at + WHILE]
    tried = f"{len(more)} attempts in {WHILE:g} s to replace sessions that are lost at once"
    check("OAI-SS-003", len(more) <= ATTEMPTS, tried, at=more[-1] if more else lost)


@case(about="OAI-SS-004", claims=["phone.inbound"])
async def test_a_refusal_that_says_when_to_try_again(world: PhoneWorld, check: Checks) -> None:
    """HTTP 503 with `Retry-After: 20` on every upgrade."""
    plan = HandshakePlan(refuse_http=(503, "server_error"), headers={"Retry-After": "20"})
    for connection in range(1, 40):
        world.openai.plan(plan, connection=connection)
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    refused = await world.sees("upgrade.refused", channel="openai.realtime", within=15)
    await world.passes(8)
    early = [m for m in upgrades_after(world, refused) if m.at < refused.at + 19.5]
    check.none("OAI-SS-004", early, "another upgrade before the time of Retry-After")
    check("OAI-ER-011", "503" in world.gateway.output(), "the gateway does not print the status 503", at=refused)


@case(about="OAI-SS-005", claims=["phone.inbound", "phone.greeting"])
async def test_a_call_that_is_carried_on_in_a_new_session(world: PhoneWorld, check: Checks) -> None:
    """The connection to the model is lost; whoever opens a new session for the call does not begin from the start."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    session.abort()
    await world.passes(8)
    greetings = [h for h in caller.heard if h.phrase == "greeting"]
    check("OAI-SS-005", len(greetings) == 1, f"the caller was greeted {len(greetings)} times")


@case(about="OAI-HS-006", claims=["phone.inbound"])
async def test_a_session_at_its_limit(world: PhoneWorld, check: Checks) -> None:
    """The session has lasted as long as it may: an error says so, and a close. The call is carried on, or the caller is
    told before it ends."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    limit = "Your session hit the maximum duration of 60 minutes."
    session.error("session_expired", limit, error_type="invalid_request_error")
    session.close(1001, limit)
    over = await world.sees("close", channel="openai.realtime", within=2)
    await world.passes(3)
    if caller.is_connected:
        caller.start_saying("what_time")
    with check.expects("OAI-HS-006"):
        await world.ended_or_hears(caller, "its_noon", within=15)
    told = world.wire.first("heard.start", channel="phone", after=over)
    check("OAI-HS-006", told, "the call ended without a word to the caller", at=over)


@case(about="OAI-SS-007", claims=["phone.inbound"])
async def test_a_session_that_is_closed_for_good(world: PhoneWorld, check: Checks) -> None:
    """The vendor closes the session with 4004: the model was taken away from the account."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    session.close(4004, "invalid_request_error.model_not_found")
    lost = await world.sees("close", channel="openai.realtime", within=2)
    await world.passes(10)
    check.none("OAI-SS-007", upgrades_after(world, lost), "a new session is asked for after a close that is final")
    if caller.is_connected:
        caller.start_saying("what_time")
    with check.expects("LIFE-003"):
        await world.ended_or_hears(caller, "its_noon", within=10)


@case(about="LIFE-004", claims=["phone.inbound"])
async def test_the_account_has_no_credit(world: PhoneWorld, check: Checks) -> None:
    """The upgrade is accepted; then an error event and a close say that the quota is used up."""
    for connection in range(1, 40):
        world.openai.plan(HandshakePlan(refuse_in_band="insufficient_quota"), connection=connection)
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    error = await world.sees("error", source="openai", within=15)
    with check.expects("LIFE-004"):
        await world.ended_or_hears(caller, None, within=30)
    await world.passes(5)
    upgrades = world.wire.all("upgrade", channel="openai.realtime")
    seen = f"{len(upgrades)} attempts for a refusal that a retry cannot cure"
    check("OAI-HS-005", len(upgrades) <= ATTEMPTS, seen, at=upgrades[-1])
    code = str(error.get("error.code"))
    check("OAI-ER-007", code in world.gateway.output(), f"the gateway does not print the code {code}", at=error)
