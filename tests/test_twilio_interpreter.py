"""`fakes.twilio.interpreter` and `gather`: each verb, as the far end and the gateway see it."""

from __future__ import annotations

from typing import Any

import pytest
from twilio_world import STREAM, VOICE, World, answer

from fakes import audio


def called(document: Any, **setup: Any) -> World:
    """An inbound call that gets `document`."""
    world = World(replies={"/voice": document, **setup.pop("replies", {})}, **setup)
    world.dial()
    return world


def phrases(world: World) -> list[tuple[str, bool]]:
    return [(heard.phrase, heard.complete) for heard in world.caller.heard]


def test_empty_document_ends_the_call() -> None:
    world = called("<Response/>")
    world.run(1)
    assert world.twilio.calls[0].status == "completed"
    assert [status for _, status in world.twilio.calls[0].history] == ["ringing", "in-progress", "completed"]


def test_say_twice_then_hang_up() -> None:
    text = audio.phrase("one_moment").text
    world = called(f"<Response><Say loop='2'>{text}</Say></Response>")
    world.run(10)
    assert phrases(world) == [("one_moment", True)] * 2
    call = world.twilio.calls[0]
    length = 2 * audio.phrase("one_moment").duration_ms / 1000
    assert call.ended_at == pytest.approx(0.04 + length, abs=0.021)


def test_redirect_verb() -> None:
    world = called("<Response><Redirect method='GET'>/next</Redirect><Hangup/></Response>", replies={"/next": STREAM})
    world.run(2)
    assert world.posted("/next")[0].request.url.startswith("https://gw.example.test/next?")
    assert world.posted("/next")[0].params["CallStatus"] == "in-progress"
    assert world.twilio.calls[0].streams[0].state == "started"


def test_relative_redirect_of_inline_twiml() -> None:
    world = World()
    world.create(Url=None, Twiml="<Response><Redirect>/next</Redirect></Response>")
    world.run(12)
    assert world.codes() == [11100]
    assert world.twilio.calls[0].status == "completed"


@pytest.mark.parametrize(("reason", "final"), [("", "no-answer"), (" reason='busy'", "busy")])
def test_reject(reason: str, final: str) -> None:
    world = called(f"<Response><Reject{reason}/><Say>never</Say></Response>")
    world.run(3)
    assert world.twilio.calls[0].status == final
    assert not world.caller.is_connected
    assert world.caller.connected_at is None
    assert world.posted("/status")[0].params["CallStatus"] == final


def test_reject_of_an_answered_call_hangs_up() -> None:
    world = called("<Response><Pause/><Say>Hi.</Say><Reject/></Response>")
    world.run(10)
    assert world.twilio.calls[0].status == "completed"


def test_leading_pause_delays_the_answer() -> None:
    world = called("<Response><Pause length='2'/><Hangup/></Response>")
    world.run(2)
    assert world.twilio.calls[0].status == "ringing"
    world.run(0.1)
    assert world.twilio.calls[0].answered_at == pytest.approx(2.04)


def test_play_of_mulaw_and_of_other_audio() -> None:
    raw = audio.speak("its_noon")
    world = called(
        "<Response><Play>/noon.ulaw</Play><Play>/tune.mp3</Play><Play>/none</Play><Play>/text</Play></Response>",
        replies={
            "/noon.ulaw": answer(200, raw.decode("latin-1"), "audio/basic"),
            "/tune.mp3": answer(200, "ID3", "audio/mpeg"),
            "/none": answer(404),
            "/text": answer(200, "x", "text/plain"),
        },
    )
    from fakes.twilio.boundary import WebhookAnswer

    world.io.replies["/noon.ulaw"] = WebhookAnswer(200, (("Content-Type", "audio/basic"),), raw)
    world.run(20)
    heard = phrases(world)
    assert heard[0] == ("its_noon", True)
    assert heard[1] == (audio.phrase_for_text("https://gw.example.test/tune.mp3").name, True)
    assert len(heard) == 2
    assert world.codes() == [11200, 12300]
    assert world.posted("/noon.ulaw")[0].request.method == "GET"


def test_play_digits() -> None:
    world = called("<Response><Play digits='1w2'/></Response>")
    world.run(2)
    assert world.twilio.calls[0].ended_at == pytest.approx(0.04 + 0.9, abs=0.021)
    assert all(heard.phrase == "?" for heard in world.caller.heard)


def test_audio_as_the_answer_is_played() -> None:
    world = called([answer(200, "ID3", "audio/mpeg"), answer(200, "ID3", "audio/mpeg")])
    world.run(10)
    assert len(world.caller.heard) == 1
    assert world.twilio.calls[0].status == "completed"


@pytest.mark.parametrize(
    ("kind", "body", "codes", "spoken"),
    [
        ("application/xml", "<Response/>", [], 0),
        ("text/html; charset=utf-8", "<Response/>", [], 0),
        ("TEXT/XML", "<Response/>", [], 0),
        ("text/plain", "<Response/>", [], 0),
        ("text/plain", "hello there", [], 1),
        ("application/json", "{}", [12300], 1),
        ("", "<Response/>", [12300], 1),
        ("text/xml", "", [12100], 1),
        ("text/xml", "<Response>", [12100], 1),
        ("text/xml; charset=latin-1", "<Response/>", [], 0),
    ],
)
def test_content_types(kind: str, body: str, codes: list[int], spoken: int) -> None:
    world = called(answer(200, body, kind))
    world.run(12)
    assert world.codes() == codes
    assert len(world.caller.heard) == spoken
    assert world.twilio.calls[0].status == "completed"


def test_schema_warnings_do_not_stop_the_document() -> None:
    document = "<Response><Speak/><Say>Hello.</Say></Response>"
    world = called(document)
    world.run(10)
    assert world.codes() == [12200]
    assert len(world.caller.heard) == 1
    strict = called(document, knobs={"schema_warning": "end-call"})
    strict.run(10)
    assert strict.caller.heard == []


def test_what_the_fake_does_not_run_is_said() -> None:
    world = called("<Response><Dial>+1555</Dial></Response>")
    world.run(1)
    assert [(entry.code, entry.message) for entry in world.twilio.debugger] == [
        (0, "<Dial> is not run by this fake; it was skipped")
    ]


# ---------------------------------------------------------------------- Gather

MENU = "<Response><Gather numDigits='2' action='/keys'><Say>{text}</Say></Gather><Say>Goodbye</Say></Response>"


def menu() -> World:
    return called(MENU.format(text=audio.phrase("long_answer").text), replies={"/keys": "<Response/>"})


def test_gather_digits_interrupts_its_prompt() -> None:
    world = menu()
    world.run(2)
    world.caller.press("4")
    world.run(1)
    assert phrases(world) == [("long_answer", False)]
    assert world.posted("/keys") == []
    world.caller.press("2")
    world.run(1)
    params = world.posted("/keys")[0].params
    assert (params["Digits"], params["msg"]) == ("42", "Gather End")
    assert params["CallStatus"] == "in-progress"
    assert world.twilio.calls[0].status == "completed"


def test_gather_finish_key_is_not_part_of_the_digits() -> None:
    world = menu()
    world.run(2)
    world.caller.press("7#")
    world.run(1)
    assert world.posted("/keys")[0].params["Digits"] == "7"
    assert world.posted("/keys")[0].params["FinishedOnKey"] == "#"


def test_gather_without_input_goes_on() -> None:
    world = called(
        "<Response><Gather timeout='3' action='/keys'/><Say>Goodbye</Say></Response>", replies={"/keys": "<Response/>"}
    )
    world.run(20)
    assert world.posted("/keys") == []
    assert len(world.caller.heard) == 1
    assert world.caller.heard[0].start_ms == pytest.approx(3040, abs=25)


def test_gather_digits_and_then_nothing() -> None:
    world = called("<Response><Gather timeout='3' action='/keys'/></Response>", replies={"/keys": "<Response/>"})
    world.run(1)
    world.caller.press("12")
    world.run(2.9)
    assert world.posted("/keys") == []
    world.run(0.2)
    assert world.posted("/keys")[0].params["Digits"] == "12"


def test_gather_action_on_empty_result() -> None:
    world = called(
        "<Response><Gather timeout='1' actionOnEmptyResult='true' action='/keys'/></Response>",
        replies={"/keys": "<Response/>"},
    )
    world.run(3)
    assert world.posted("/keys")[0].params["Digits"] == ""


def test_gather_without_action_asks_its_own_url() -> None:
    world = called(["<Response><Gather numDigits='1'/></Response>", "<Response/>"])
    world.run(1)
    world.caller.press("1")
    world.run(1)
    first, second = world.posted("/voice")
    assert first.request.url == second.request.url == VOICE
    assert second.params["Digits"] == "1"


def test_gather_speech() -> None:
    world = called(
        "<Response><Gather input='speech' action='/said' speechTimeout='auto'/></Response>",
        replies={"/said": "<Response/>"},
    )
    world.run(1)
    world.caller.start_saying("yes")
    world.run(5)
    params = world.posted("/said")[0].params
    assert params["SpeechResult"] == audio.phrase("yes").text
    assert "Confidence" in params


def test_hang_up_during_gather_makes_no_request() -> None:
    world = menu()
    world.run(2)
    world.caller.press("4")
    world.caller.hang_up()
    world.run(20)
    assert world.posted("/keys") == []
    assert world.twilio.calls[0].status == "completed"


# ---------------------------------------------------------------------- Connect

BODY = "<Response><Connect{attrs}><Stream {stream}/></Connect><Say>Goodbye</Say></Response>"


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        ("url='ws://gw.example.test/m'", 31922),
        ("url='https://gw.example.test/m'", 31922),
        ("url='gw.example.test/m'", None),
        ("url=''", 31923),
        ("url='wss://'", 31923),
        ("url='wss://gw.example.test:port/m'", 31923),
        ("url='wss://gw.example.test/m' track='both_tracks'", 31941),
    ],
)
def test_stream_that_cannot_be_opened_goes_on_with_the_next_verb(stream: str, code: int | None) -> None:
    world = called(BODY.format(attrs="", stream=stream))
    world.run(10)
    if code is None:
        assert world.io.openings[0][1].url == "wss://gw.example.test/gw.example.test/m"
        return
    assert world.codes() == [code]
    assert world.io.openings == []
    assert len(world.caller.heard) == 1


def test_stream_that_cannot_be_opened_may_end_the_call() -> None:
    world = called(BODY.format(attrs="", stream="url='ws://a.test'"), knobs={"stream_failure": "hangup"})
    world.run(1)
    assert world.caller.heard == []
    assert world.twilio.calls[0].status == "completed"


@pytest.mark.parametrize(("knob", "url"), [("stripped", "wss://a.test/m"), ("kept", "wss://a.test/m?token=1")])
def test_query_of_a_stream_url(knob: str, url: str) -> None:
    world = called(BODY.format(attrs="", stream="url='wss://a.test/m?token=1'"), knobs={"stream_query": knob})
    world.run(1)
    assert world.io.openings[0][1].url == url


def test_local_stream_where_allowed() -> None:
    world = called(BODY.format(attrs="", stream="url='ws://127.0.0.1:9/m'"), knobs={"local_urls": "allowed"})
    world.run(1)
    assert world.io.openings[0][1].url == "ws://127.0.0.1:9/m"


def test_server_that_closes_lets_the_next_verb_run() -> None:
    world = called(BODY.format(attrs="", stream="url='wss://a.test/m'"))
    world.run(1)
    world.twilio.stream_closed("call1/stream1", 1000)
    world.run(10)
    assert len(world.caller.heard) == 1
    assert world.events("stop") == []
    assert world.codes() == []


def test_server_that_closes_lets_the_action_take_over() -> None:
    world = called(
        BODY.format(attrs=" action='/after' method='GET'", stream="url='wss://a.test/m'"),
        replies={"/after": "<Response/>"},
    )
    world.run(1)
    world.twilio.stream_closed("call1/stream1", 1000)
    world.run(1)
    assert world.posted("/after")[0].request.method == "GET"
    assert world.caller.heard == []
    assert world.twilio.calls[0].status == "completed"


@pytest.mark.parametrize(
    ("knob", "code", "logged"),
    [("abnormal", 1000, 0), ("abnormal", 1011, 1), ("always", 1000, 1), ("never", 1006, 0)],
)
def test_close_error_in_the_debugger(knob: str, code: int, logged: int) -> None:
    world = called(STREAM, knobs={"close_logs_31921": knob})
    world.run(1)
    world.twilio.stream_closed("call1/stream1", code)
    assert world.codes() == [31921] * logged
    world.run(0.1)
    assert world.twilio.calls[0].status == "completed"


def test_connect_without_a_stream() -> None:
    world = called("<Response><Connect><Room>a</Room></Connect></Response>")
    world.run(1)
    assert "<Connect> with <Room> is not run by this fake" in world.twilio.debugger[0].message
