"""Properties: Hypothesis owns every delay, order, duplicate and loss, and looks for an interleaving that breaks a rule.

Beside what each property checks itself, the rules of `conformance.invariants` are checked over every wire. A failure
shrinks towards the typical run and is kept as a trace that `callproof replay` takes.
"""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.invariants import IN_FLIGHT
from fakes.openai.service import HandshakePlan
from fakes.twilio.stream import StreamState
from harness.choices import Domain
from harness.suite import Checks, prop

ROUGH = {"twilio.callback_duplicate_percent": 30, "twilio.callback_lose_percent": 15}


@prop("TWI-CB-002", claims=["phone.outbound"], knobs=ROUGH, audio=False, examples=40)
async def test_an_outbound_call_is_bridged_in_any_order(world: PhoneWorld, check: Checks) -> None:
    """However webhooks, callbacks and handshakes interleave, a callee who waits hears the greeting, once."""
    callee = world.callee()
    await world.order_call(callee.number)
    with check.expects("TWI-CB-002"):
        await callee.connected(within=30)
        await callee.hears("greeting", within=20)
    sessions = len(world.openai.sessions)
    check("TWI-CB-005", sessions == 1, f"{sessions} realtime sessions for one call")
    await world.passes(2)
    made = world.wire.all("response.created", source="openai")
    check("OAI-TU-003", len(made) == 1, f"{len(made)} responses before anybody spoke", at=made[-1] if made else None)
    callee.hang_up()
    left = await world.settled()
    check("LIFE-009", not left, "; ".join(left))


@prop("LIFE-006", claims=["phone.outbound"], knobs=ROUGH, audio=False, examples=40)
async def test_a_hang_up_at_any_moment_leaves_nothing(world: PhoneWorld, check: Checks) -> None:
    """The callee hangs up at any moment of the first seconds; whatever was under way is put away."""
    callee = world.callee()
    await world.order_call(callee.number)
    await world.sees("answer", channel="phone", within=30)
    await world.passes(world.choices.delay("callee/hangup/delay", 0, 1000, 4000))
    callee.hang_up()
    left = await world.settled()
    check("LIFE-009", not left, "; ".join(left))
    await world.passes(5)
    stop = world.wire.first(("stop", "close"), channel="twilio.stream")
    if stop is not None:
        late = world.wire.all("response.create", source="gateway", after=stop.at + IN_FLIGHT)
        check.none("LIFE-006", late, "a response is asked for when the call is over")


@prop("LIFE-009", claims=["phone.inbound"], audio=False, examples=40)
async def test_callers_who_come_and_go(world: PhoneWorld, check: Checks) -> None:
    """Two people call at moments of their choosing, stay as long as they like, and hang up; nothing of them is left,
    and a third is served."""
    people = [world.caller(), world.caller()]
    for index, person in enumerate(people):
        await world.passes(world.choices.delay(f"caller{index}/dial/delay", 0, 300, 1500))
        person.dial(world.twilio, world.number)
    for index, person in enumerate(people):
        await world.passes(world.choices.delay(f"caller{index}/stay/delay", 0, 800, 3000))
        person.hang_up()
    left = await world.settled()
    check("LIFE-009", not left, "; ".join(left))
    third = await world.incoming()
    with check.expects("LIFE-007"):
        await third.hears("greeting", within=15)


@prop("LIFE-003", claims=["phone.inbound"], audio=False, examples=40)
async def test_the_model_goes_away_at_any_moment(world: PhoneWorld, check: Checks) -> None:
    """The session is closed or reset at any moment, with any of the usual codes; nobody is left in silence."""
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    await caller.connected(within=10)
    session = await world.session(1)
    await world.passes(world.choices.delay("openai/session1/leave/delay", 0, 700, 4000))
    how = world.choices.one_of("openai/session1/leave/how", (1011, 1000, 1001, 1006))
    if how == 1006:
        session.abort()
    else:
        session.close(how, "going away")
    await world.passes(1)
    with check.expects("LIFE-003"):
        try:
            await world.ended_or_hears(caller, None, within=15)
        except AssertionError:
            # Where a new session has taken its place, it is the caller's turn, and this one does not say a word.
            if all(later.closed for later in world.openai.sessions[1:]):
                raise
    if caller.is_connected:
        caller.hang_up()
    left = await world.settled()
    check("LIFE-009", not left, "; ".join(left))


@prop("OAI-SE-005", claims=["phone.inbound"], audio=False, examples=40)
async def test_sessions_of_any_shape(world: PhoneWorld, check: Checks) -> None:
    """The vendor's session objects come in every shape that it is allowed: fields left out that may be, null where it
    may be, new fields, another order; in some worlds one rule of the gateway's session.update is held against it. A
    gateway reads the ones, and does not pass over the others."""
    broken = bool(world.choices.pick("openai/session1/shape/refuse", Domain(0, 0, 1)))
    world.openai.plan(
        HandshakePlan(
            shape=world.choices.integer("openai/session1/shape/seed", 0, 0, 255),
            refuse_updates="server_error" if broken else None,
        ),
        connection=1,
    )
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    await caller.connected(within=10)
    if broken:
        await world.passes(12)
        streams = [s for call in world.twilio.calls for s in call.streams if s.state is StreamState.STARTED]
        check("OAI-SE-005", not streams, "the call lives on in a session that was never configured")
    else:
        with check.expects("ROB-004"):
            await caller.hears("greeting", within=15)
