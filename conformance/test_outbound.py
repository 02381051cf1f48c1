"""Outbound calls: webhooks and status callbacks in every order, twice, late, or never."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.listening import responses_before_speech
from harness.suite import Checks, case

FETCH = "twilio/call1/fetch#1/delay"
ANSWERED = "twilio/call1/callback/answered#1/delay"
SLOW_MODEL = {"openai/session1/handshake/delay": 1200}
"""A model that takes its time to open, so that the stream is up before the bridge is."""
CALLED_BACK = ["phone.outbound", "phone.status_callbacks"]
"""What a story about status callbacks needs: a gateway without them would pass it for nothing."""


async def bridged(world: PhoneWorld, check: Checks, rule: str) -> None:
    """The gateway is told to call somebody, who answers, hears the greeting, asks, and is answered."""
    callee = world.callee()
    await world.order_call(callee.number)
    with check.expects(rule):
        await callee.connected(within=15)
        greeting = await callee.hears("greeting", within=12)
    check("AUD-002", greeting.complete, f"only {greeting.to_ms / 1000:.2f} s of the greeting were heard")
    await callee.says("what_time")
    with check.expects(rule):
        await callee.hears("its_noon", within=8)
    check("OAI-TU-003", *responses_before_speech(world))
    sessions = len(world.openai.sessions)
    check("OAI-HS-004", sessions == 1, f"{sessions} realtime sessions for one call")
    callee.hang_up()
    left = await world.settled()
    check("LIFE-009", not left, "; ".join(left))


@case(about="AUD-002", claims=["phone.outbound", "phone.greeting"])
async def test_an_outbound_call_is_bridged(world: PhoneWorld, check: Checks) -> None:
    """An everyday outbound call; the TwiML of a call placed by REST leads to the model like an inbound one does."""
    await bridged(world, check, "AUD-002")
    check("TWI-WH-008", len(world.twilio.calls[0].streams) == 1, "the TwiML of the outbound call has no stream")


@case(about="TWI-CB-002", claims=CALLED_BACK, fixed={FETCH: 150, ANSWERED: 0, **SLOW_MODEL})
async def test_the_answered_callback_comes_before_the_twiml_request(world: PhoneWorld, check: Checks) -> None:
    """Twilio tells that the call is answered 150 ms before it asks what to do with it."""
    await bridged(world, check, "TWI-CB-002")
    fetch = world.wire.first("response", connection="call1/fetch#1")
    check("TWI-CB-003", fetch is not None and "<Stream" in fetch.text, "the TwiML request got no stream", at=fetch)


@case(about="TWI-CB-002", claims=CALLED_BACK, fixed={FETCH: 0, ANSWERED: 150, **SLOW_MODEL})
async def test_the_answered_callback_comes_after_the_twiml_request(world: PhoneWorld, check: Checks) -> None:
    """Twilio asks for TwiML first; the callback arrives while the stream is being set up."""
    await bridged(world, check, "TWI-CB-002")


@case(about="TWI-CB-002", claims=CALLED_BACK, fixed={FETCH: 50, ANSWERED: 50, **SLOW_MODEL})
async def test_the_answered_callback_and_the_twiml_request_come_at_once(world: PhoneWorld, check: Checks) -> None:
    """Both requests arrive at the same moment."""
    await bridged(world, check, "TWI-CB-002")


@case(about="TWI-CB-004", claims=CALLED_BACK, fixed={FETCH: 0, ANSWERED: 900, **SLOW_MODEL})
async def test_a_late_answered_callback_leaves_the_stream_alone(world: PhoneWorld, check: Checks) -> None:
    """The `answered` callback arrives when the stream is up and the model's handshake is not."""
    await bridged(world, check, "TWI-CB-004")


@case(about="TWI-CB-003", claims=CALLED_BACK, fixed={FETCH: 400, "twilio/call1/callback/*/delay": 0})
async def test_all_callbacks_come_before_the_twiml_request(world: PhoneWorld, check: Checks) -> None:
    """Initiated, ringing and answered are all delivered before the TwiML request; it still gets its document."""
    await bridged(world, check, "TWI-CB-003")


@case(
    about="TWI-CB-005",
    claims=CALLED_BACK,
    fixed={"twilio/*/callback/*/duplicate": 1, "twilio/*/callback/*#2/delay": 100, **SLOW_MODEL},
    knobs={"twilio.callback_duplicate_percent": 100},
)
async def test_callbacks_delivered_twice_count_once(world: PhoneWorld, check: Checks) -> None:
    """Every callback comes twice; there is one session, one greeting, and no request to Twilio is made twice."""
    await bridged(world, check, "TWI-CB-005")
    twice = world.wire.all("request", channel="twilio.webhook", where=lambda m: "#2" in m.connection)
    assert twice, "no callback was delivered twice: the case does not do what it says"
    check("TWI-CB-005", *responses_before_speech(world))
    # A hang-up after the end is a gateway's own affair, but it has one reason, and so it comes once.
    seen: set[tuple[str, str]] = set()
    repeated = []
    for request in world.wire.all("request", channel="twilio.rest", source="gateway"):
        what = (request.meta.get("url", ""), request.text)
        repeated += [request] if what in seen else []
        seen.add(what)
    check.none("TWI-CB-005", repeated, "the same request to Twilio a second time")


@case(
    about="TWI-CB-006",
    claims=CALLED_BACK,
    fixed={
        "twilio/call1/callback/initiated#1/delay": 9000,
        "twilio/call1/callback/ringing#1/delay": 9500,
        "twilio/call1/callback/answered#1/delay": 9800,
        "twilio/call1/callback/completed#1/delay": 100,
        "twilio/call1/ring/delay": 50,
        # The greeting has to be over before the late callbacks come: neither side takes long to get ready.
        "twilio/call1/create/delay": 15,
        "openai/session1/handshake/delay": 150,
        "openai/session1/created/delay": 20,
        "openai/session1/response1/delay": 250,
    },
)
async def test_callbacks_that_come_after_the_end_change_nothing(world: PhoneWorld, check: Checks) -> None:
    """The callee hangs up; `initiated`, `ringing` and `answered` arrive after `completed`. The next call works."""
    callee = world.callee()
    callee.answers_after(100)
    await world.order_call(callee.number)
    await callee.connected(within=10)
    await callee.hears("greeting", within=15)
    callee.hang_up()
    over = world.clock.now()
    await world.passes(12)
    late = world.wire.all("request", channel="twilio.webhook", after=over + 0.5)
    assert len(late) >= 2, f"{len(late)} late callbacks: the case does not do what it says"
    requests = world.wire.all("request", channel="twilio.rest", source="gateway", after=late[0])
    check.none("TWI-CB-006", requests, "a request to Twilio about a call that is over")
    sessions = len(world.openai.sessions)
    check("TWI-CB-006", sessions == 1, f"{sessions} realtime sessions after the late callbacks")
    again = world.callee()
    await world.order_call(again.number)
    with check.expects("TWI-CB-006"):
        await again.connected(within=15)
        await again.hears("greeting", within=12)


@case(about="TWI-CB-008", claims=["phone.outbound"])
async def test_a_call_that_nobody_takes_frees_its_place(world: PhoneWorld, check: Checks) -> None:
    """The first callee is busy, the second declines; the third answers and is greeted."""
    busy, unwilling = world.callee(), world.callee()
    busy.is_busy(200)
    unwilling.rejects(200)
    for callee in (busy, unwilling):
        await world.order_call(callee.number)
        await callee.ended(within=20)
    await world.passes(2)
    sessions = [s for s in world.openai.sessions if s.closed is None]
    check("TWI-CB-008", not sessions, f"{len(sessions)} realtime sessions for calls that nobody took")
    callee = world.callee()
    await world.order_call(callee.number)
    with check.expects("TWI-CB-008"):
        await callee.connected(within=15)
        await callee.hears("greeting", within=12)


@case(
    about="TWI-CB-009",
    claims=CALLED_BACK,
    fixed={"twilio/call1/callback/completed#1/delay": 0, "twilio/call1/hangup/stop/delay": 3000},
)
async def test_completed_comes_before_stop(world: PhoneWorld, check: Checks) -> None:
    """The callee hangs up; the callback says so three seconds before the stream does."""
    await _ends_once(world, check)


@case(
    about="TWI-CB-009",
    claims=CALLED_BACK,
    fixed={"twilio/call1/callback/completed#1/delay": 3000, "twilio/call1/hangup/stop/delay": 0},
)
async def test_stop_comes_before_completed(world: PhoneWorld, check: Checks) -> None:
    """The callee hangs up; the stream says so three seconds before the callback does."""
    await _ends_once(world, check)


async def _ends_once(world: PhoneWorld, check: Checks) -> None:
    callee = world.callee()
    await world.order_call(callee.number)
    await callee.connected(within=15)
    await callee.hears("greeting", within=12)
    session = await world.session(1)
    callee.hang_up()
    with check.expects("TWI-CB-009"):
        await world.session_ends(session, within=8)
    await world.passes(5)
    check("TWI-CB-009", len(world.openai.sessions) == 1, "a new realtime session after the end of the call")
    updates = world.wire.all("request", channel="twilio.rest", where=lambda m: "/Calls/" in m.meta.get("url", ""))
    check("TWI-CB-009", len(updates) <= 1, f"{len(updates)} updates of a call that is over")


@case(
    about="TWI-CB-010",
    claims=["phone.outbound"],
    fixed={"twilio/call1/create/delay": 1500, "twilio/call1/ring/delay": 50},
)
async def test_webhooks_overtake_the_answer_to_the_create_request(world: PhoneWorld, check: Checks) -> None:
    """The callee has picked up, and Twilio has asked for TwiML, before the gateway's create request is answered."""
    callee = world.callee()
    callee.answers_after(100)
    await world.order_call(callee.number)
    # The gateway may be ending calls of an earlier world meanwhile, and be told that there are none.
    created = world.wire.first("response", channel="twilio.rest", where=lambda m: m.status == 201)
    assert created is not None, "the create request was not answered"
    # The fetch of TwiML; or, of a gateway that has sent its TwiML along, a status callback or the stream itself.
    first = world.wire.first(("request", "upgrade"), source="twilio", target="gateway")
    assert first is not None, "Twilio asked for nothing"
    assert first.seq < created.seq, "nothing did overtake the answer: the case does not do what it says"
    with check.expects("TWI-CB-010"):
        await callee.connected(within=10)
        await callee.hears("greeting", within=12)
    check("TWI-CB-010", len(world.openai.sessions) == 1, f"{len(world.openai.sessions)} realtime sessions")


@case(about="TWI-REST-003", claims=["phone.outbound"], fixed={"twilio/call1/create/delay": 8000})
async def test_a_slow_create_answer_dials_once(world: PhoneWorld, check: Checks) -> None:
    """Twilio takes eight seconds to answer the create request; the gateway waits and does not dial again."""
    callee = world.callee()
    callee.answers_after(2000)
    await world.order_call(callee.number)
    is_create = lambda m: m.meta.get("url", "").endswith("/Calls.json")  # noqa: E731
    creates = world.wire.all("request", channel="twilio.rest", source="gateway", where=is_create)
    check("TWI-REST-003", len(creates) == 1, f"{len(creates)} create requests for one order", at=creates[-1])


@case(about="TWI-REST-004", claims=["phone.outbound"])
async def test_a_refused_create_is_reported(world: PhoneWorld, check: Checks) -> None:
    """Twilio refuses to call a number; whoever ordered the call is told, and the next order works."""
    status, body = await world.operate("call", to="+15005550004")
    check("TWI-REST-004", status >= 400, f"the order was answered {status} {str(body)[:120]}")
    check("TWI-REST-004", not world.openai.sessions, "a realtime session for a call that does not exist")
    callee = world.callee()
    await world.order_call(callee.number)
    with check.expects("TWI-REST-004"):
        await callee.connected(within=15)
        await callee.hears("greeting", within=12)


@case(about="TWI-REST-005", claims=["phone.outbound", "operator.hangup"])
async def test_a_hang_up_while_it_rings_stops_the_ringing(world: PhoneWorld, check: Checks) -> None:
    """The operator changes their mind while the phone rings."""
    callee = world.callee()
    callee.does_not_answer()
    call = await world.order_call(callee.number)
    await world.sees("ring", channel="phone", within=10)
    await world.operate("hangup", call_sid=call.sid)
    with check.expects("TWI-REST-005"):
        await callee.ended(within=5)


@case(about="LIFE-002", claims=["phone.outbound", "operator.hangup"])
async def test_the_operator_ends_a_call(world: PhoneWorld, check: Checks) -> None:
    """The operator ends a call that is up: phone, stream and session end. A second order does no harm."""
    callee = world.callee()
    call = await world.order_call(callee.number)
    await callee.connected(within=15)
    await callee.hears("greeting", within=12)
    session = await world.session(1)
    await world.operate("hangup", call_sid=call.sid)
    with check.expects("LIFE-002"):
        await callee.ended(within=5)
        await world.session_ends(session, within=5)
    status, body = await world.operate("hangup", call_sid=call.sid)
    check("TWI-REST-006", status < 500, f"a second hang-up was answered {status} {str(body)[:120]}")
    again = world.callee()
    await world.order_call(again.number)
    with check.expects("TWI-REST-006"):
        await again.connected(within=15)
        await again.hears("greeting", within=12)


@case(
    about="TWI-REST-006", claims=["phone.outbound", "operator.hangup"], fixed={"twilio/call1/hangup/stop/delay": 1500}
)
async def test_a_hang_up_of_a_call_that_is_over_is_taken_calmly(world: PhoneWorld, check: Checks) -> None:
    """The callee has hung up, the gateway does not know yet, and the operator orders a hang-up: Twilio answers 404."""
    callee = world.callee()
    call = await world.order_call(callee.number)
    await callee.connected(within=15)
    await callee.hears("greeting", within=12)
    callee.hang_up()
    await world.passes(0.3)
    status, body = await world.operate("hangup", call_sid=call.sid)
    check("TWI-REST-006", status < 500, f"the order was answered {status} {str(body)[:120]}")
    await world.passes(3)
    updates = world.wire.all("request", channel="twilio.rest", where=lambda m: "/Calls/" in m.meta.get("url", ""))
    check("TWI-REST-006", len(updates) <= 2, f"{len(updates)} updates of a call that is over")
