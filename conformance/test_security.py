"""Who may do what: forged and missing signatures, proxies, stream tokens."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.intruder import Intruder
from fakes.twilio.stream import StreamState
from harness.suite import Checks, case

REPLAYED_AFTER = 30.0
"""Seconds from the end of a call to the replay of its request."""


@case(about="SEC-001", claims=["phone.inbound", "phone.signature"])
async def test_forged_and_unsigned_requests_are_refused(world: PhoneWorld, check: Checks) -> None:
    """While a call is up, somebody posts a TwiML request and a `completed` callback with a wrong signature, and a
    second later again with none. All are refused, and the call goes on."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    call = world.twilio.calls[0]
    async with Intruder(world) as intruder:
        for rule, signature in (("SEC-001", "wrong"), ("SEC-002", None)):
            for path, status in intruder.targets():
                answer = await intruder.post(path, {"CallSid": call.sid, "CallStatus": status}, signature)
                good = answer.status in (400, 401, 403, 404) and "<Stream" not in answer.text
                check(rule, good, f"{path} answered {answer.status}", at=answer.message)
            await world.passes(1)
            up = caller.is_connected and call.streams[0].state is StreamState.STARTED
            check(rule, up, "the forged callback ended the call")
    if not check.failed():
        with check.expects("SEC-002"):
            await caller.says("what_time")
            await caller.hears("its_noon", within=8)


@case(about="SEC-003", claims=["phone.inbound", "phone.signature"])
async def test_genuine_requests_pass_behind_a_proxy(world: PhoneWorld, check: Checks) -> None:
    """A proxy ends TLS: the request arrives as plain http with the proxy's headers, signed for the public https URL;
    names are empty, or have spaces at their ends."""
    call_sid = "CA" + world.choices.token("intruder/proxy", 32)
    form = {
        "CallSid": call_sid,
        "CallStatus": "ringing",
        "CallerName": "  Ann & Bob ",
        "CallerZip": "",
        "Direction": "inbound",
    }
    async with Intruder(world) as proxy:
        answer = await proxy.post(world.profile.webhooks.voice, form, "right", proxied=True)
    check("SEC-003", answer.status == 200, f"a genuine request was answered {answer.status}", at=answer.message)
    caller = await world.incoming()
    with check.expects("SEC-003"):
        await caller.hears("greeting", within=12)


@case(about="SEC-004", claims=["phone.inbound", "phone.signature", "phone.stream_token"])
async def test_a_stream_that_nobody_asked_for_gets_no_session(world: PhoneWorld, check: Checks) -> None:
    """An unsigned WebSocket says `start` with a made-up call and a made-up token."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    url = world.twilio.calls[0].streams[0].url
    caller.hang_up()
    await world.settled()
    before = len(world.openai.sessions)
    async with Intruder(world) as intruder:
        for token in (None, "made-up"):
            await intruder.stream(url, call_sid="CA" + "e" * 32, parameters={"token": token} if token else {})
    sessions = len(world.openai.sessions) - before
    check("SEC-004", sessions == 0, f"{sessions} realtime sessions for streams that nobody asked for")


@case(about="SEC-005", claims=["phone.inbound", "phone.signature", "phone.stream_token"])
async def test_what_admits_a_stream_admits_one(world: PhoneWorld, check: Checks) -> None:
    """Somebody who has seen the TwiML opens the same stream during the call, and again after it."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    call = world.twilio.calls[0]
    stream = call.streams[0]
    async with Intruder(world) as intruder:
        await intruder.stream(stream.url, call_sid=call.sid, parameters=dict(stream.parameters))
        check("SEC-005", len(world.openai.sessions) == 1, "a second realtime session during the call")
        check("SEC-005", caller.is_connected, "the second stream ended the call")
        with check.expects("SEC-005"):
            await caller.says("what_time")
            await caller.hears("its_noon", within=8)
        caller.hang_up()
        await world.settled()
        await intruder.stream(stream.url, call_sid=call.sid, parameters=dict(stream.parameters))
    check("SEC-005", len(world.openai.sessions) == 1, "a realtime session for a stream of a call that is over")


@case(about="SEC-006", claims=["phone.inbound", "phone.signature", "phone.stream_token"])
async def test_a_replayed_request_admits_nobody(world: PhoneWorld, check: Checks) -> None:
    """Soon after the call the genuine TwiML request is sent again, byte for byte, and a stream opened on the
    answer."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    fetch = world.wire.first("request", connection="call1/fetch#1")
    call = world.twilio.calls[0]
    caller.hang_up()
    await world.settled()
    await world.passes(REPLAYED_AFTER)
    assert fetch is not None
    async with Intruder(world) as intruder:
        answer = await intruder.repeat(fetch)
        for url, parameters in intruder.streams_in(answer.text):
            await intruder.stream(url, call_sid=call.sid, parameters=parameters)
    check("SEC-006", len(world.openai.sessions) == 1, "a realtime session on a replayed request", at=answer.message)
