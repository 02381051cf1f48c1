"""`fakes.twilio.rest`: errors, their order, the resource, updates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twilio_world import ACCOUNT, BASE, CALLEE, NUMBER, STATUS, STREAM, TOKEN, VOICE, World

CALLS = f"{BASE}/Calls.json"
GOOD = {"To": CALLEE, "From": NUMBER, "Url": VOICE}


def error(world: World, path: str = CALLS, **form: Any) -> tuple[int, int, str]:
    answer = world.rest(path, **form)
    body = json.loads(answer.body)
    assert body["status"] == answer.status
    assert body["more_info"] == f"https://www.twilio.com/docs/errors/{body['code']}"
    assert dict(answer.headers)["X-Twilio-Error-Code"] == str(body["code"])
    return answer.status, body["code"], body["message"]


def test_create() -> None:
    world = World()
    answer = world.rest(CALLS, **GOOD)
    call = json.loads(answer.body)
    assert answer.status == 201
    assert call["sid"] == world.twilio.calls[0].sid
    assert len(call["sid"]) == 34
    assert call["status"] == "queued"
    assert call["direction"] == "outbound-api"
    assert call["from_formatted"] == "(500) 555-0006"
    assert (call["price_unit"], call["queue_time"], call["trunk_sid"]) == ("USD", "0", "")
    empty = ("duration", "start_time", "end_time", "price", "answered_by", "annotation", "date_created", "date_updated")
    assert all(call[name] is None for name in empty)
    assert call["subresource_uris"]["user_defined_messages"].endswith("/UserDefinedMessages.json")
    headers = dict(answer.headers)
    assert headers["Twilio-Request-Id"].startswith("RQ")
    assert headers["Content-Type"] == "application/json"
    assert [m.kind for m in world.recorded("twilio.rest")] == ["request"]
    world.twilio.rest_answered(answer)
    assert [m.kind for m in world.recorded("twilio.rest")] == ["request", "response"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({}, (400, 21201, "No 'To' number is specified")),
        ({"From": NUMBER}, (400, 21201, "No 'To' number is specified")),
        ({"To": CALLEE}, (400, 21205, "Url parameter is required.")),
        ({"To": CALLEE, "Url": "http://localhost/x"}, (400, 21205, "Url is not a valid URL: http://localhost/x")),
        ({"To": CALLEE, "Url": VOICE}, (400, 21213, "No 'From' number is specified")),
        ({**GOOD, "Url": "ftp://gw.example.test/"}, (400, 21205, "Url is not a valid URL: ftp://gw.example.test/")),
        ({**GOOD, "From": "me"}, (400, 21212, "The source phone number provided, me, is not valid.")),
        (
            {**GOOD, "From": "+15550009999"},
            (
                400,
                21210,
                "The source phone number provided, +15550009999, is not yet verified for your account. You may only "
                "make calls from phone numbers that you've verified or purchased from Twilio.",
            ),
        ),
        (
            {**GOOD, "To": "you"},
            (400, 21211, "The phone number you are attempting to call, you, is not valid."),
        ),
        (
            {**GOOD, "To": "+15005550001"},
            (400, 21217, "The phone number you are attempting to call, +15005550001, is not valid."),
        ),
        (
            {**GOOD, "StatusCallback": "https://gw_1.example.test/"},
            (400, 21609, "The 'StatusCallback' URL https://gw_1.example.test/ is not a valid URL."),
        ),
        ({**GOOD, "Timeout": "601"}, (400, 21200, "Timeout is a whole number from 1 to 600, not '601'")),
        (
            {"To": CALLEE, "From": NUMBER, "Twiml": "x" * 4001},
            (400, 21200, "Twiml has 4001 characters, at most 4000 fit"),
        ),
    ],
)
def test_create_errors_in_their_order(form: dict[str, str], expected: tuple[int, int, str]) -> None:
    world = World()
    assert error(world, **form) == expected
    assert world.twilio.calls == []
    assert world.recorded("twilio.rest")[0].invalid == f"{expected[1]}: {expected[2]}"


@pytest.mark.parametrize(("to", "code"), [("2", 21214), ("3", 21215), ("4", 21216)])
def test_magic_numbers(to: str, code: int) -> None:
    assert error(World(), **{**GOOD, "To": f"+1500555000{to}"})[1] == code


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (None, "Authentication Error - No credentials provided"),
        (f"{ACCOUNT}:wrong", "Authenticate"),
        ("AC" + "9" * 32 + f":{TOKEN}", "Authenticate"),
    ],
)
def test_authentication(auth: str | None, message: str) -> None:
    world = World()
    answer = world.rest(CALLS, auth=auth, **GOOD)
    assert answer.status == 401
    assert json.loads(answer.body) == {
        "code": 20003,
        "message": message,
        "more_info": "https://www.twilio.com/docs/errors/20003",
        "status": 401,
    }
    assert dict(answer.headers)["WWW-Authenticate"] == 'Basic realm="Twilio API"'


def test_length_of_the_captured_error_body() -> None:
    assert len(World().rest(CALLS, auth=None).body) == 141


def test_api_key() -> None:
    world = World()
    world.twilio.api_keys["SK" + "1" * 32] = "secret"
    assert world.rest(CALLS, auth="SK" + "1" * 32 + ":secret", **GOOD).status == 201
    assert world.rest(CALLS, auth="SK" + "2" * 32 + ":secret", **GOOD).status == 401


def test_unknown_paths() -> None:
    world = World()
    path = f"{BASE}/Calls/CA{'0' * 32}.json"
    assert error(world, path) == (404, 20404, f"The requested resource {path} was not found")
    assert error(world, "/2010-04-01/Accounts/AC" + "9" * 32 + "/Calls.json")[1] == 20404
    assert error(world, CALLS, method="DELETE")[:2] == (405, 20004)


def test_fetch_and_list() -> None:
    world = World(knobs={"calls_per_second": 0})
    first, second = world.create(), world.create()
    body = json.loads(world.rest(f"{BASE}/Calls/{first.sid}.json", method="GET").body)
    assert body["date_created"] == "Sun, 25 Mar 2018 09:53:19 +0000"
    page = json.loads(world.rest(CALLS, method="GET", query="PageSize=1").body)
    assert [call["sid"] for call in page["calls"]] == [second.sid]
    assert page["next_page_uri"] == f"{CALLS}?PageSize=1&Page=1"
    page = json.loads(world.rest(CALLS, method="GET", query="PageSize=1&Page=1").body)
    assert [call["sid"] for call in page["calls"]] == [first.sid]
    assert page["next_page_uri"] is None
    page = json.loads(world.rest(CALLS, method="GET", query="Status=completed").body)
    assert page["calls"] == []


def test_initiated_is_not_a_state_of_the_resource() -> None:
    world = World(fixed={"twilio/call1/ring/delay": 1000})
    call = world.create()
    world.run(0.5)
    assert call.status == "initiated"
    assert json.loads(world.rest(f"{BASE}/Calls/{call.sid}.json", method="GET").body)["status"] == "queued"


def test_a_request_is_on_record_before_what_it_brings_about() -> None:
    world = World()
    call = world.dial()
    world.run(2)
    world.update(call, Status="completed")
    recorded = [(m.channel, m.kind) for m in world.recorder.messages]
    assert recorded.index(("twilio.rest", "request")) < recorded.index(("phone", "ended"))


def test_resource_of_a_finished_call() -> None:
    world = World()
    call = world.create()
    world.run(2)
    assert call.status == "in-progress"
    world.run(48)
    world.update(call, Status="completed")
    body = json.loads(world.rest(f"{BASE}/Calls/{call.sid}.json", method="GET").body)
    assert body["status"] == "completed"
    assert body["duration"] == str(call.duration)
    assert int(body["duration"]) in (49, 50)
    assert body["end_time"] == "Sun, 25 Mar 2018 09:54:09 +0000"


def test_update_of_a_call_that_is_not_in_progress() -> None:
    world = World()
    call = world.create()
    expected = (400, 21220, "Call is not in-progress. Cannot redirect.")
    path = f"{BASE}/Calls/{call.sid}.json"
    assert error(world, path, Twiml="<Response/>") == expected
    world.run(0.4)
    assert call.status == "ringing"
    assert error(world, path, Url=VOICE) == expected
    assert world.recorded("twilio.rest")[-1].invalid is None


@pytest.mark.parametrize(("knob", "status", "code"), [("404", 404, 20404), ("400", 400, 21220), ("200", 200, None)])
def test_completing_an_ended_call(knob: str, status: int, code: int | None) -> None:
    world = World(knobs={"ended_call_completed": knob})
    call, _ = world.streaming()
    world.caller.hang_up()
    world.run(0.01)
    answer = world.update(call, Status="completed")
    assert answer.status == status
    assert json.loads(answer.body).get("code") == code


@pytest.mark.parametrize(("knob", "code"), [("400", 21220), ("404", 20404)])
def test_redirecting_an_ended_call(knob: str, code: int) -> None:
    world = World(knobs={"ended_call_redirect": knob})
    call, _ = world.streaming()
    world.caller.hang_up()
    world.run(0.01)
    assert json.loads(world.update(call, Twiml=STREAM).body)["code"] == code


def test_update_refuses_contradictions() -> None:
    world = World()
    call, _ = world.streaming()
    path = f"{BASE}/Calls/{call.sid}.json"
    assert error(world, path, Url=VOICE, Twiml=STREAM)[1] == 21200
    assert error(world, path, Status="ended")[1] == 21200
    assert error(world, path, StatusCallback=STATUS)[1] == 21200
    assert error(world, path, Url="http://localhost/")[1] == 21205


def test_cancel() -> None:
    world = World()
    queued = world.create()
    world.update(queued, Status="canceled")
    world.run(3)
    assert queued.status == "canceled"
    assert world.io.requests == []
    ringing = world.create()
    world.run(0.3)
    assert ringing.status == "ringing"
    world.update(ringing, Status="canceled")
    world.run(3)
    assert [sent.params["CallStatus"] for sent in world.io.requests] == ["canceled"]


def test_cancel_does_nothing_to_a_call_in_progress() -> None:
    world = World()
    call, _ = world.streaming()
    assert world.update(call, Status="canceled").status == 200
    world.run(1)
    assert call.status == "in-progress"


@pytest.mark.parametrize("status", ["canceled", "completed"])
def test_completing_a_call_that_rings(status: str) -> None:
    world = World(knobs={"completed_before_answer": status})
    call = world.create()
    world.run(0.3)
    world.update(call, Status="completed")
    assert call.status == status


def test_status_callback_events_are_repeated_keys() -> None:
    world = World()
    call = world.create(StatusCallbackEvent=["completed", "answered"])
    assert call.subscription.events == ("answered", "completed")
    assert world.codes() == []


def test_status_callback_events_joined_by_spaces() -> None:
    world = World()
    call = world.create(StatusCallbackEvent="initiated ringing")
    assert call.subscription.events == ("completed",)
    assert world.codes() == [21626]
    world = World(knobs={"bad_status_callback_event": "400"})
    assert error(world, **GOOD, StatusCallbackEvent="initiated ringing")[1] == 21626


@pytest.mark.parametrize(("knob", "callbacks"), [("honoured", 1), ("ignored", 0)])
def test_status_callback_with_inline_twiml(knob: str, callbacks: int) -> None:
    world = World(knobs={"status_callback_with_twiml": knob})
    world.create(Url=None, Twiml="<Response><Pause/></Response>")
    world.run(5)
    assert len(world.posted("/status")) == callbacks
    assert world.posted("/voice") == []


def test_url_wins_over_twiml_on_create() -> None:
    world = World()
    world.create(Twiml="<Response/>")
    world.run(2)
    assert len(world.posted("/voice")) == 1


def test_what_the_fake_leaves_out_is_said() -> None:
    world = World()
    world.create(Record="true", MachineDetection="Enable")
    assert [(entry.code, entry.level) for entry in world.twilio.debugger] == [(0, "fake"), (0, "fake")]


def test_local_urls_where_they_are_allowed() -> None:
    world = World(knobs={"local_urls": "allowed"})
    assert world.rest(CALLS, **{**GOOD, "Url": "http://127.0.0.1:8000/voice"}).status == 201
