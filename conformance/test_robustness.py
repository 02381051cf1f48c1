"""Frames that should never come: malformed, binary, unknown, oversized; from either side."""

from __future__ import annotations

import base64
import json

from conformance.assembly import PhoneWorld
from conformance.invariants import AUDIO_DELTAS
from fakes.audio import silence
from fakes.people.person import Person
from harness.suite import Checks, case

BIG = 8 * 1024 * 1024
LARGE = 1536 * 1024


def _event(sid: str, kind: str, **fields: str) -> str:
    return json.dumps({"event": kind, "sequenceNumber": "9", "streamSid": sid, kind: fields})


async def still_answers(caller: Person, check: Checks, rule: str) -> None:
    """The caller's next question is answered."""
    with check.expects(rule):
        await caller.says("what_time")
        await caller.hears("its_noon", within=10)


@case(about="ROB-001", claims=["phone.inbound"])
async def test_malformed_and_binary_frames_on_the_stream(world: PhoneWorld, check: Checks) -> None:
    """Cut-off JSON, an array, broken base64 and a binary frame arrive in mid-call."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    stream = world.twilio.calls[0].streams[0]
    for raw in ('{"event":"media","media":{"pay', "[1, 2, 3]", "null", b"\x00\x01\x02"):
        world.sends_raw(stream, raw)
    world.sends_raw(
        stream,
        _event(stream.sid, "media", track="inbound", chunk="9", timestamp="9", payload="***"),
    )
    await world.passes(0.5)
    await still_answers(caller, check, "ROB-001")


@case(about="ROB-002", claims=["phone.inbound"])
async def test_unknown_events_and_fields_on_the_stream(world: PhoneWorld, check: Checks) -> None:
    """An event that nobody has heard of, and a known one with fields that are new."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    stream = world.twilio.calls[0].streams[0]
    world.sends_raw(stream, _event(stream.sid, "weather", sky="blue"))
    world.sends_raw(stream, _event(stream.sid, "mark", name="never-sent", colour="red"))
    await world.passes(0.5)
    await still_answers(caller, check, "ROB-002")


@case(about="ROB-003", claims=["phone.inbound"])
async def test_an_oversized_frame_harms_no_other_call(world: PhoneWorld, check: Checks) -> None:
    """A frame of 8 MiB arrives on one stream; another call and the next one are served as usual."""
    first = await world.incoming()
    second = await world.incoming()
    await second.hears("greeting", within=12)
    stream = first.call.streams[0] if first.call is not None else None
    assert stream is not None
    world.sends_raw(stream, _event(stream.sid, "media", payload="/" * BIG))
    await world.passes(1)
    await still_answers(second, check, "ROB-003")
    third = await world.incoming()
    with check.expects("ROB-003"):
        await third.hears("greeting", within=12)


@case(about="ROB-004", claims=["phone.inbound"])
async def test_unknown_events_from_the_model(world: PhoneWorld, check: Checks) -> None:
    """An event type that is new, and rate limits in the middle of everything."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    world.sends_raw(session, '{"type":"response.emotion.delta","event_id":"event_x1","emotion":"joy"}')
    world.sends_raw(session, '{"type":"rate_limits.updated","event_id":"event_x2","rate_limits":[]}')
    world.sends_raw(
        session,
        '{"type":"conversation.item.input_audio_transcription.completed","event_id":"event_x3","item_id":"item_x",'
        '"content_index":0,"transcript":"hello","usage":{"type":"duration","seconds":1},"brand_new":true}',
    )
    await world.passes(0.5)
    await still_answers(caller, check, "ROB-004")


@case(about="ROB-005", claims=["phone.inbound"])
async def test_malformed_and_binary_frames_from_the_model(world: PhoneWorld, check: Checks) -> None:
    """Cut-off JSON, an event without a type, an array and a binary frame; the gateway survives, and so does service."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    for raw in ('{"type":"response.out', '{"event_id":"event_x"}', "[]", b"\xff\xfe"):
        world.sends_raw(session, raw)
    await world.passes(0.5)
    if caller.is_connected:
        caller.start_saying("what_time")
    with check.expects("ROB-005"):
        await world.ended_or_hears(caller, "its_noon", within=15)
    if caller.is_connected:
        caller.hang_up()
    await world.settled()
    again = await world.incoming()
    with check.expects("ROB-005"):
        await again.hears("greeting", within=12)


@case(about="ROB-006", claims=["phone.inbound"])
async def test_a_large_event_from_the_model(world: PhoneWorld, check: Checks) -> None:
    """In the middle of an answer comes a piece of audio whose event has 1.5 MiB, most of it padding that the vendor
    allows; the answer is heard whole, and so is the next one."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("long_story")
    await caller.starts_hearing("long_answer", within=10)
    delta = world.wire.last(AUDIO_DELTAS, source="openai")
    assert delta is not None
    still = base64.b64encode(silence(20, session.settings.output_format.encoding, session.settings.output_format.rate))
    world.sends_raw(session, json.dumps({**delta.json, "delta": still.decode(), "obfuscation": "x" * LARGE}))
    await world.passes(1)
    check("ROB-006", session.closed is None, "the session was closed")
    if caller.is_connected and session.closed is None:
        with check.expects("ROB-006"):
            await caller.hears("long_answer", within=20, complete=None)
            await caller.says("what_time")
            await caller.hears("its_noon", within=10)


@case(
    about="LIFE-008",
    claims=["phone.inbound"],
    knobs={"twilio.stream_replacement": False},
    fixed={"twilio/call1/callback/*/lose": 1},
)
async def test_a_stream_that_is_lost_without_a_stop(world: PhoneWorld, check: Checks) -> None:
    """The stream's connection is reset, and no callback tells of the end of the call; the session ends like after a
    hang-up, and the next call works."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    world.twilio.calls[0].streams[0].lose()
    with check.expects("LIFE-008"):
        await world.session_ends(session, within=10)
    if caller.is_connected:
        caller.hang_up()
    again = await world.incoming()
    with check.expects("LIFE-007"):
        await again.hears("greeting", within=12)


@case(about="TWI-ST-010", claims=["phone.inbound"])
async def test_a_call_that_is_moved_to_other_twiml(world: PhoneWorld, check: Checks) -> None:
    """Somebody moves the call to a document that speaks; `stop` comes, and the gateway must not hang up the call."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    call = world.twilio.calls[0]
    world.twilio.redirect(call, "<Response><Say>There is a small fee, but no other cost.</Say></Response>")
    with check.expects("TWI-ST-010"):
        await caller.hears("medium_3", within=8)
    with check.expects("LIFE-001"):
        await world.session_ends(session, within=6)
    updates = world.wire.all("request", channel="twilio.rest", source="gateway")
    check.none("TWI-ST-010", updates, "the gateway touches a call that was moved elsewhere")


@case(about="LIFE-001", claims=["phone.inbound"])
async def test_a_hang_up_in_the_middle_of_an_answer(world: PhoneWorld, check: Checks) -> None:
    """The caller hangs up while the model is sending a long answer: nothing is sent to the stream any more."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("long_story")
    await caller.starts_hearing("long_answer", within=10)
    caller.hang_up()
    with check.expects("LIFE-001"):
        await world.session_ends(session, within=5)
    await world.passes(3)
