"""`fakes.twilio.callbacks` and `webhooks`: what status callbacks say, and how they are delivered."""

from __future__ import annotations

from typing import Any

import pytest
from twilio.request_validator import RequestValidator
from twilio_world import ACCOUNT, CALLEE, CALLER, NUMBER, REFUSED, STATUS, TOKEN, VOICE, Sent, World, answer

from fakes.twilio.boundary import Failure, WebhookFailure

ALL = ["initiated", "ringing", "answered", "completed"]


def finished(events: list[str], **setup: Any) -> World:
    """An outbound call that was answered and hung up by the callee after 49 s."""
    world = World(**setup)
    world.create(StatusCallbackEvent=events)
    world.run(0.72 + 49)
    world.callee.hang_up()
    world.run(10)
    return world


def told(world: World) -> list[tuple[str, str]]:
    return [(sent.params["CallStatus"], sent.params["SequenceNumber"]) for sent in world.posted("/status")]


def test_four_events() -> None:
    world = finished(ALL)
    assert told(world) == [("initiated", "0"), ("ringing", "1"), ("in-progress", "2"), ("completed", "3")]
    call = world.twilio.calls[0]
    last = world.posted("/status")[-1].params
    expected = {
        "CallSid": call.sid,
        "AccountSid": ACCOUNT,
        "From": NUMBER,
        "To": CALLEE,
        "Caller": NUMBER,
        "Called": CALLEE,
        "CallStatus": "completed",
        "ApiVersion": "2010-04-01",
        "Direction": "outbound-api",
        "Timestamp": "Sun, 25 Mar 2018 09:54:08 +0000",
        "CallbackSource": "call-progress-events",
        "SequenceNumber": "3",
        "CallDuration": "49",
        "Duration": "1",
        "SipResponseCode": "200",
        "FromCity": "",
        "CalledZip": "",
        "ToCountry": "US",
    }
    assert {name: last.get(name) for name in expected} == expected
    first = world.posted("/status")[0].params
    assert "CallDuration" not in first
    assert "SipResponseCode" not in first


def test_busy_after_initiated_and_ringing() -> None:
    world = World()
    world.callee.is_busy()
    world.create(StatusCallbackEvent=ALL)
    world.run(5)
    assert told(world) == [("initiated", "0"), ("ringing", "1"), ("busy", "2")]
    last = world.posted("/status")[-1].params
    assert (last["SipResponseCode"], last["Duration"], last["CallDuration"]) == ("486", "0", "0")


def test_default_is_the_last_event_alone() -> None:
    world = World()
    world.callee.does_not_answer()
    world.create()
    world.run(70)
    assert told(world) == [("no-answer", "0")]
    assert world.posted("/status")[0].params["SipResponseCode"] == "487"


def test_inbound_number() -> None:
    world = World()
    world.dial()
    world.run(2)
    world.caller.hang_up()
    world.run(2)
    assert told(world) == [("completed", "0")]
    params = world.posted("/status")[0].params
    assert (params["Direction"], params["From"]) == ("inbound", CALLER)
    assert "SipResponseCode" not in params


@pytest.mark.parametrize(("knob", "sequence"), [("subscribed", "1"), ("all", "3")])
def test_what_the_sequence_counts(knob: str, sequence: str) -> None:
    world = finished(["answered", "completed"], knobs={"sequence_counts": knob})
    assert told(world)[-1] == ("completed", sequence)


def test_minutes_are_rounded_up() -> None:
    world = World()
    world.create()
    world.run(0.72 + 61)
    world.callee.hang_up()
    world.run(2)
    params = world.posted("/status")[0].params
    assert (params["CallDuration"], params["Duration"]) == ("61", "2")


def test_delay_counts_from_the_event_so_callbacks_overtake_each_other() -> None:
    world = finished(
        ALL,
        fixed={
            "twilio/call1/callback/initiated#1/delay": 900,
            "twilio/call1/callback/ringing#1/delay": 60_000,
            "twilio/call1/callback/answered#1/delay": 0,
        },
    )
    world.run(20)
    assert told(world) == [("in-progress", "2"), ("initiated", "0"), ("completed", "3"), ("ringing", "1")]
    late = world.posted("/status")[-1]
    assert late.at == pytest.approx(0.22 + 60)
    assert late.params["Timestamp"] == "Sun, 25 Mar 2018 09:53:19 +0000"


@pytest.mark.parametrize(("skew", "order"), [(0, ["/status", "/voice"]), (150, ["/voice", "/status"])])
def test_answered_and_document_in_either_order(skew: int, order: list[str]) -> None:
    world = World(
        fixed={"twilio/call1/callback/answered#1/delay": skew, "twilio/call1/fetch#1/delay": 150 - skew},
    )
    world.create(StatusCallbackEvent="answered")
    world.run(1)
    assert [sent.path for sent in world.io.requests] == order


def test_duplicate() -> None:
    world = finished(["answered"], fixed={"twilio/call1/callback/answered#1/duplicate": True})
    first, second = world.posted("/status")
    assert first.request.body == second.request.body
    assert first.header("I-Twilio-Idempotency-Token") == second.header("I-Twilio-Idempotency-Token")
    assert (first.request.point, second.request.point) == (
        "twilio/call1/callback/answered#1",
        "twilio/call1/callback/answered#2",
    )
    assert second.at - first.at == pytest.approx(0.5)


def test_all_twice() -> None:
    world = finished(ALL, knobs={"callback_duplicate_percent": 100})
    assert len(world.posted("/status")) == 8


def test_lost() -> None:
    world = finished(ALL, fixed={"twilio/call1/callback/completed#1/lose": True})
    assert [status for status, _ in told(world)] == ["initiated", "ringing", "in-progress"]
    assert world.codes() == [15002]
    assert finished(ALL, knobs={"callback_lose_percent": 100}).posted("/status") == []


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_error_answer_is_a_warning_and_not_retried(status: int) -> None:
    world = finished(["answered"], replies={"/status": answer(status)})
    assert len(world.posted("/status")) == 1
    assert [(entry.code, entry.level) for entry in world.twilio.debugger] == [(15003, "warning")]


def test_document_in_the_answer_to_a_callback_is_not_run() -> None:
    world = finished(ALL, replies={"/status": "<Response><Hangup/></Response>"})
    assert world.twilio.calls[0].duration == 49


def test_refused_connection_is_retried_once() -> None:
    world = finished(["answered"], replies={"/status": [REFUSED, answer(204)]})
    first, second = world.posted("/status")
    assert second.at - first.at == pytest.approx(0.1 + 0.01)
    assert first.header("I-Twilio-Idempotency-Token") == second.header("I-Twilio-Idempotency-Token")
    assert second.request.point == "twilio/call1/callback/answered#1/retry1"
    assert world.codes() == []
    world = finished(["answered"], replies={"/status": REFUSED})
    assert len(world.posted("/status")) == 2
    assert world.codes() == [15003]


def test_slow_answer_is_not_retried_by_default() -> None:
    timeout = WebhookFailure(Failure.TIMEOUT, "no answer within 15 s")
    assert len(finished(["answered"], replies={"/status": timeout}).posted("/status")) == 1


@pytest.mark.parametrize(
    ("fragment", "reply", "requests"),
    [
        ("rc=3", REFUSED, 4),
        ("rc=0", REFUSED, 1),
        ("rc=9", REFUSED, 2),
        ("rc=2&rp=5xx", answer(503), 3),
        ("rc=2&rp=4xx", answer(503), 1),
        ("rc=2&rp=all", WebhookFailure(Failure.TIMEOUT, ""), 3),
        ("rc=2&rp=rt", REFUSED, 1),
    ],
)
def test_connection_overrides(fragment: str, reply: Any, requests: int) -> None:
    world = World(replies={"/status": reply})
    world.create(StatusCallback=f"{STATUS}#{fragment}", StatusCallbackEvent="answered")
    world.run(5)
    assert len(world.posted("/status")) == requests
    assert all(sent.request.url == STATUS for sent in world.posted("/status"))


def test_time_overrides() -> None:
    world = World()
    world.create(Url=f"{VOICE}#ct=100&rt=2000&tt=3000")
    world.run(2)
    request = world.posted("/voice")[0].request
    assert (request.connect_timeout, request.read_timeout, request.total_timeout) == (0.1, 2.0, 3.0)
    world = World()
    world.create()
    world.run(2)
    request = world.posted("/voice")[0].request
    assert (request.connect_timeout, request.read_timeout, request.total_timeout) == (5.0, 15.0, 15.0)


def check_signature(sent: Sent) -> bool:
    params = sent.params if sent.request.method == "POST" else {}
    return bool(RequestValidator(TOKEN).validate(sent.request.url, params, sent.header("X-Twilio-Signature")))


def test_every_request_is_signed() -> None:
    world = finished(ALL)
    world.dial()
    world.run(1)
    assert len(world.io.requests) == 6
    assert all(check_signature(sent) for sent in world.io.requests)
    headers = dict(world.io.requests[0].request.headers)
    assert headers["User-Agent"] == "TwilioProxy/1.1"
    assert headers["Accept"] == "*/*"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded; charset=UTF-8"
    assert len(headers["I-Twilio-Idempotency-Token"]) == 36


def test_get_carries_its_parameters_in_the_url() -> None:
    world = World(number={"voice_url": VOICE + "?a=1", "voice_method": "GET"})
    world.dial()
    world.run(1)
    sent = world.posted("/voice")[0]
    assert sent.request.body == ""
    assert sent.params["a"] == "1"
    assert sent.params["CallStatus"] == "ringing"
    assert check_signature(sent)


@pytest.mark.parametrize(("knob", "present", "signed"), [("signed", 1, 1), ("unsigned", 1, 0), ("absent", 0, 1)])
def test_call_token(knob: str, present: bool, signed: bool) -> None:
    world = World(knobs={"call_token": knob})
    world.dial()
    world.run(0.1)
    sent = world.posted("/voice")[0]
    assert ("CallToken" in sent.params) == present
    assert check_signature(sent) == signed


def test_redirects() -> None:
    moved = answer(302, Location="/there")
    world = World(replies={"/voice": moved})
    world.create()
    world.run(2)
    there = world.posted("/there")[0]
    assert there.request.method == "GET"
    assert check_signature(there)
    assert world.twilio.calls[0].status == "completed"
    kept = World(replies={"/voice": answer(307, Location="https://gw.example.test/there")})
    kept.create()
    kept.run(2)
    assert kept.posted("/there")[0].request.method == "POST"


@pytest.mark.parametrize(
    ("setup", "status"),
    [
        ({}, STATUS),
        ({"knobs": {"callback_duplicate_percent": 100}}, STATUS),
        ({"fixed": {"twilio/call1/callback/completed#1/lose": True}}, STATUS),
        ({"replies": {"/status": [REFUSED, *[answer(204)] * 4]}}, STATUS),
        ({"replies": {"/status": answer(307, Location="/status")}}, STATUS),
        ({"replies": {"/status": WebhookFailure(Failure.TIMEOUT, "")}}, f"{STATUS}#rc=3&rp=all"),
        ({"replies": {"/status": answer(307, Location="ftp://gw.example.test/status")}}, STATUS),
    ],
)
def test_nothing_is_outstanding_once_everything_is_told(setup: dict[str, Any], status: str) -> None:
    world = World(**setup)
    world.twilio.repeat_fetch(world.create(StatusCallbackEvent=ALL, StatusCallback=status))
    world.run(0.72 + 49)
    assert world.twilio.webhooks.outstanding == 0
    world.callee.hang_up()
    world.run(0.01)
    # The end of a call is told after it.
    is_told = "completed" not in str(setup.get("fixed"))
    assert (world.twilio.calls[0].status.over, world.twilio.webhooks.outstanding > 0) == (True, is_told)
    world.run(20)
    assert world.twilio.webhooks.outstanding == 0


def test_redirects_without_end() -> None:
    world = World(replies={"/voice": answer(307, Location="/voice")})
    world.create()
    world.run(2)
    assert len(world.posted("/voice")) == 11
    assert world.codes() == [11215]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Failure.DNS, 11210),
        (Failure.REFUSED, 11205),
        (Failure.TIMEOUT, 11205),
        (Failure.TLS, 11220),
        (Failure.PROTOCOL, 11206),
    ],
)
def test_codes_of_failures(kind: Failure, code: int) -> None:
    world = World(replies={"/voice": WebhookFailure(kind, "as it is")})
    world.create()
    world.run(5)
    assert world.codes() == [code]


def test_requests_and_answers_are_recorded() -> None:
    world = World(replies={"/voice": "<Response><say/></Response>", "/status": [REFUSED, answer(204)]})
    world.create()
    world.run(5)
    webhooks = world.recorded("twilio.webhook")
    assert [(m.connection, m.kind) for m in webhooks] == [
        ("call1/fetch#1", "request"),
        ("call1/fetch#1", "response"),
        ("call1/callback/completed#1", "request"),
        ("call1/callback/completed#1", "failure"),
        ("call1/callback/completed#1", "request"),
        ("call1/callback/completed#1", "response"),
    ]
    assert webhooks[0].meta["method"] == "POST"
    assert webhooks[0].meta["url"] == VOICE
    assert webhooks[1].meta["status"] == 200
    assert webhooks[1].invalid == "12200: line 1: <say> is no verb (names are case-sensitive: <Say>)"
    assert [m.meta.get("attempt") for m in webhooks[2::2]] == [1, 2]
