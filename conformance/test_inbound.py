"""Inbound calls: somebody dials, is greeted, is answered, and hangs up."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.listening import answers_within, latencies, responses_before_speech, spoken_and_appended
from harness.suite import Checks, case


@case(about="AUD-001", claims=["phone.inbound", "phone.greeting"])
async def test_a_caller_is_greeted_and_answered(world: PhoneWorld, check: Checks) -> None:
    """Somebody calls, hears the greeting, asks for the time, hears the answer, and hangs up."""
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    with check.expects("AUD-001"):
        await caller.connected(within=10)
        greeting = await caller.hears("greeting", within=12)
    check("AUD-001", greeting.complete, f"only {greeting.to_ms / 1000:.2f} s of the greeting were heard")
    session = await world.session(1)
    check("OAI-TU-003", *responses_before_speech(world))
    await caller.says("what_time")
    await world.passes(0.5)
    check("OAI-AU-001", *spoken_and_appended(world, session, "what_time"))
    with check.expects("AUD-003"):
        await world.model_hears(session, "what_time", within=5)
    with check.expects("AUD-004"):
        await caller.hears("its_noon", within=8)
    check("OAI-TU-004", *answers_within(world, turns=1))
    uplink, downlink = latencies(world)
    check("AUD-005", uplink < 0.15 and downlink < 0.15, f"{uplink * 1000:.0f} ms up, {downlink * 1000:.0f} ms down")
    caller.hang_up()
    with check.expects("LIFE-001"):
        await world.session_ends(session, within=5)


@case(about="AUD-004", claims=["phone.inbound"], fixed={"openai/session1/response*/unevenness": 40})
async def test_audio_in_odd_pieces_is_played_whole(world: PhoneWorld, check: Checks) -> None:
    """The model sends its audio in pieces of very different sizes, with stalls; the caller hears whole sentences."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("long_story")
    with check.expects("AUD-004"):
        await caller.hears("long_answer", within=25)
    check("AUD-004", all(h.complete for h in caller.heard), f"heard in pieces: {[h.phrase for h in caller.heard]}")


@case(about="AUD-003", claims=["phone.inbound"])
async def test_a_conversation_of_three_turns(world: PhoneWorld, check: Checks) -> None:
    """Three questions, three answers, in order; nobody is talked over."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    for question, answer in (("what_time", "its_noon"), ("no", None), ("what_time", "its_noon")):
        await caller.says(question)
        with check.expects("AUD-003"):
            await world.model_hears(session, question, within=5)
        with check.expects("AUD-004"):
            if answer is None:
                await world.ended_or_hears(caller, None, within=8)
                await caller.stops_hearing(within=20)
            else:
                await caller.hears(answer, within=8)
    heard = [h.phrase for h in session.heard]
    check("AUD-003", heard == ["what_time", "no", "what_time"], f"the model heard {heard}")
    check("OAI-TU-004", *answers_within(world, turns=3))


@case(about="AUD-009", claims=["phone.inbound"])
async def test_two_calls_at_the_same_time_do_not_mix(world: PhoneWorld, check: Checks) -> None:
    """Two people call and ask different things at the same time; each gets the answer to what they asked."""
    first = await world.incoming()
    second = await world.incoming()
    await first.hears("greeting", within=12)
    await second.hears("greeting", within=12)
    first.start_saying("what_time")
    await second.says("thanks")
    with check.expects("AUD-009"):
        await first.hears("its_noon", within=10)
        await second.hears("anything_else", within=10)
    own = {"what_time": {"greeting", "its_noon"}, "thanks": {"greeting", "anything_else"}}
    for person, said in ((first, "what_time"), (second, "thanks")):
        heard = {h.phrase for h in person.heard}
        check("AUD-009", heard <= own[said], f"who said {said} heard {sorted(heard)}")
    for session in world.openai.sessions:
        got = [h.phrase for h in session.heard]
        check("AUD-009", len(set(got)) <= 1, f"one session heard {got}")


@case(about="LIFE-010", claims=["phone.inbound", "health"])
async def test_health_is_answered_at_rest_and_during_a_call(world: PhoneWorld, check: Checks) -> None:
    """The health request works before, during and after a call."""
    status, _ = await world.operate("health")
    check("LIFE-010", status == 200, f"at rest: {status}")
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    status, _ = await world.operate("health")
    check("LIFE-010", status == 200, f"during a call: {status}")
    caller.hang_up()
    left = await world.settled()
    check("LIFE-009", not left, "; ".join(left))
    status, _ = await world.operate("health")
    check("LIFE-010", status == 200, f"after a call: {status}")


@case(about="TWI-CB-007", claims=["phone.inbound"], fixed={"twilio/*/callback/*/lose": 1})
async def test_calls_work_without_any_status_callback(world: PhoneWorld, check: Checks) -> None:
    """Every callback is lost; two calls, one after the other, are carried all the same."""
    for turn in (1, 2):
        caller = await world.incoming()
        with check.expects("TWI-CB-007"):
            await caller.hears("greeting", within=12)
        caller.hang_up()
        session = await world.session(turn)
        with check.expects("TWI-CB-007"):
            await world.session_ends(session, within=5)


@case(about="TWI-WH-009", claims=["phone.inbound"])
async def test_a_webhook_delivered_twice_leaves_one_stream(world: PhoneWorld, check: Checks) -> None:
    """Twilio asks for the TwiML, gets no answer in time for its liking, and asks again with the same token."""
    caller = world.caller()
    call = caller.dial(world.twilio, world.number)
    world.twilio.repeat_fetch(call)
    with check.expects("TWI-WH-009"):
        await caller.connected(within=10)
        await caller.hears("greeting", within=12)
    await caller.says("what_time")
    with check.expects("TWI-WH-009"):
        await caller.hears("its_noon", within=8)
    answers = [m.status for m in world.wire.all("response", channel="twilio.webhook") if "/fetch" in m.connection]
    check("TWI-WH-009", answers and all(s == 200 for s in answers), f"the two requests were answered {answers}")


@case(about="TWI-ST-009", claims=["phone.inbound", "phone.dtmf"])
async def test_pressed_keys_reach_the_model_in_order(world: PhoneWorld, check: Checks) -> None:
    """The caller types a number; the model gets each digit once, in order, and thanks for it."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    for key in "4711":
        caller.press(key)
        await world.passes(0.3)
    await world.passes(4)
    told = world.wire.all("conversation.item.create", source="gateway", where=lambda m: m.get("item.role") != "system")
    text = " ".join(part.get("text", "") for m in told for part in m.get("item.content", []))
    digits = "".join(c for c in text if c in "0123456789*#")
    check("TWI-ST-009", digits == "4711", f"the model was told {digits or 'nothing'}", at=told[-1] if told else None)
