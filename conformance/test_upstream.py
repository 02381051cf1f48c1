"""The model's side fails: refused handshakes, sessions that end, errors in between. Callers are not left in silence."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from fakes.openai.service import HandshakePlan
from fakes.twilio.stream import StreamState
from harness.suite import Checks, case


async def told_or_ended(world: PhoneWorld, check: Checks, plan: HandshakePlan) -> None:
    """No session can be had; within 30 s the line is dead, or something other than silence is heard."""
    for connection in range(1, 40):
        world.openai.plan(plan, connection=connection)
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    try:
        with check.expects("LIFE-004"):
            await world.ended_or_hears(caller, None, within=30)
        await world.passes(5)
    finally:
        # Also when the caller was left in silence: that is when a gateway is busy trying again.
        _retries(world, check, plan)
    if caller.is_connected:
        caller.hang_up()
    await world.settled()
    for connection in range(1, 40):
        world.openai.plan(HandshakePlan(), connection=connection)
    again = await world.incoming()
    with check.expects("LIFE-007"):
        await again.hears("greeting", within=15)


def _retries(world: PhoneWorld, check: Checks, plan: HandshakePlan) -> None:
    """What a retry cannot cure is not tried for ever; what passes by (429, 5xx, no answer) may be."""
    curable = plan.refuse_http is not None and plan.refuse_http[0] >= 429
    upgrades = world.wire.all("upgrade", channel="openai.realtime")
    if upgrades and not curable:
        seen = f"{len(upgrades)} attempts for a refusal that a retry cannot cure"
        check("OAI-HS-005", len(upgrades) <= 5, seen, at=upgrades[-1])


@case(about="LIFE-004", claims=["phone.inbound"])
async def test_the_key_is_refused(world: PhoneWorld, check: Checks) -> None:
    """HTTP 401 on the upgrade."""
    await told_or_ended(world, check, HandshakePlan(refuse_http=(401, "invalid_api_key")))


@case(about="LIFE-004", claims=["phone.inbound"])
async def test_too_many_requests(world: PhoneWorld, check: Checks) -> None:
    """HTTP 429 on the upgrade."""
    await told_or_ended(world, check, HandshakePlan(refuse_http=(429, "rate_limit_exceeded")))


@case(about="LIFE-004", claims=["phone.inbound"])
async def test_the_vendor_is_down(world: PhoneWorld, check: Checks) -> None:
    """HTTP 500 on the upgrade."""
    await told_or_ended(world, check, HandshakePlan(refuse_http=(500, "server_error")))


@case(about="LIFE-004", claims=["phone.inbound"])
async def test_a_refusal_in_band(world: PhoneWorld, check: Checks) -> None:
    """The upgrade is accepted; then an error event and a close say that the model does not exist."""
    await told_or_ended(world, check, HandshakePlan(refuse_in_band="model_not_found"))


@case(about="LIFE-004", claims=["phone.inbound"])
async def test_the_model_never_answers(world: PhoneWorld, check: Checks) -> None:
    """The upgrade request is never answered; TwiML comes in time nevertheless."""
    await told_or_ended(world, check, HandshakePlan(delay_ms=600_000))


@case(about="LIFE-005", claims=["phone.inbound"], fixed={"openai/session1/handshake/delay": 2000})
async def test_a_slow_handshake_does_not_cost_the_call(world: PhoneWorld, check: Checks) -> None:
    """The model takes two seconds to open. What the caller says meanwhile is kept; the call goes on normally."""
    caller = await world.incoming()
    await world.sees("start", channel="twilio.stream", within=5)
    caller.start_saying("yes")
    with check.expects("LIFE-005"):
        await world.ended_or_hears(caller, None, within=15)
        await caller.stops_hearing(within=20)
    session = await world.session(1)
    await world.passes(2)
    await caller.says("what_time")
    with check.expects("LIFE-005"):
        await caller.hears("its_noon", within=15)
    check("AUD-006", "yes" in [h.phrase for h in session.heard], f"the model heard {[h.phrase for h in session.heard]}")


@case(about="LIFE-006", claims=["phone.inbound"], fixed={"openai/session1/handshake/delay": 2400})
async def test_a_hang_up_before_the_bridge_is_up(world: PhoneWorld, check: Checks) -> None:
    """The caller hangs up while the model is still opening: the session that opens is closed and asked for nothing."""
    caller = await world.incoming()
    await world.sees("start", channel="twilio.stream", within=5)
    await world.passes(0.5)
    caller.hang_up()
    stop = await world.sees("stop", channel="twilio.stream", within=5)
    await world.passes(8)
    open_ = [s for s in world.openai.sessions if s.closed is None]
    check("LIFE-006", not open_, "the session that opened after the hang-up is still open")
    asked = world.wire.all("response.create", source="gateway", after=stop)
    check.none("LIFE-006", asked, "a response is asked for after the hang-up")


async def carried_on_or_ended(world: PhoneWorld, check: Checks, how: str) -> None:
    """The session is lost in mid-call; the call is carried on or ended, and the next call works."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    if how == "abort":
        session.abort()
    else:
        session.close(int(how), "going away")
    await world.passes(3)
    if caller.is_connected:
        caller.start_saying("what_time")
    with check.expects("LIFE-003"):
        await world.ended_or_hears(caller, "its_noon", within=15)
    if caller.is_connected:
        caller.hang_up()
    await world.settled()
    again = await world.incoming()
    with check.expects("LIFE-007"):
        await again.hears("greeting", within=15)


@case(about="LIFE-003", claims=["phone.inbound"])
async def test_the_session_is_closed_as_going_away(world: PhoneWorld, check: Checks) -> None:
    """Close 1001 in mid-call."""
    await carried_on_or_ended(world, check, "1001")


@case(about="LIFE-003", claims=["phone.inbound"])
async def test_the_session_ends_with_an_internal_error(world: PhoneWorld, check: Checks) -> None:
    """Close 1011 in mid-call."""
    await carried_on_or_ended(world, check, "1011")


@case(about="LIFE-003", claims=["phone.inbound"])
async def test_the_session_is_lost_without_a_close(world: PhoneWorld, check: Checks) -> None:
    """The connection is reset in mid-call."""
    await carried_on_or_ended(world, check, "abort")


@case(about="OAI-TU-002", claims=["phone.inbound"])
async def test_errors_that_leave_the_session_open(world: PhoneWorld, check: Checks) -> None:
    """Two benign errors arrive in mid-call; the call goes on."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    session.error(
        "conversation_already_has_active_response", "Conversation already has an active response in progress."
    )
    session.error("response_cancel_not_active", "Cancellation failed: no active response found")
    await world.passes(1)
    with check.expects("OAI-TU-002"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)


@case(about="OAI-TU-007", claims=["phone.inbound"])
async def test_a_response_that_fails(world: PhoneWorld, check: Checks) -> None:
    """One response ends `failed` with nothing in it; the next question is answered."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    session.fail_response("server_error")
    await caller.says("what_time")
    failed = lambda m: m.get("response.status") == "failed"  # noqa: E731
    await world.sees("response.done", source="openai", where=failed, within=8)
    await world.passes(2)
    with check.expects("OAI-TU-007"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)


@case(about="OAI-SE-005", claims=["phone.inbound"])
async def test_a_refused_session_update_is_not_passed_over(world: PhoneWorld, check: Checks) -> None:
    """The vendor refuses every session.update of the call; the gateway must not carry on as if it had not."""
    world.openai.plan(HandshakePlan(refuse_updates="server_error"), connection=1)
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    update = await world.sees("session.update", source="gateway", within=15)
    await world.passes(10)
    accepted = world.wire.first("session.updated", source="openai", after=update)
    streams = [s for call in world.twilio.calls for s in call.streams if s.state is StreamState.STARTED]
    check("OAI-SE-005", accepted or not streams, "the call lives on in a session that was never configured", at=update)
