"""`fakes.twilio.call`: states, and what moves a call from one to the next."""

from __future__ import annotations

import pytest
from twilio_world import CALLEE, STATUS, VOICE, World, answer

from fakes.twilio.call import TRANSITIONS, CallStatus, IllegalTransition


def states(world: World, ordinal: int = 1) -> list[str]:
    return [str(status) for _, status in world.twilio.calls[ordinal - 1].history]


def test_outbound_call_from_queue_to_stream() -> None:
    world = World()
    call = world.create(StatusCallbackEvent=["initiated", "ringing", "answered", "completed"])
    world.run(3)
    assert states(world) == ["queued", "initiated", "ringing", "in-progress"]
    assert [round(at, 3) for at, _ in call.history] == [0, 0.02, 0.22, 0.72]
    fetch = world.posted("/voice")[0]
    assert fetch.params["CallStatus"] == "in-progress"
    assert fetch.params["Direction"] == "outbound-api"
    assert fetch.at == pytest.approx(0.75)
    assert world.caller.call is None
    assert world.callee.is_connected
    assert call.streams[0].state == "started"
    world.callee.hang_up()
    world.run(1)
    assert states(world)[-1] == "completed"
    assert world.twilio.calls[0].ended_at == pytest.approx(3)


@pytest.mark.parametrize(
    ("reaction", "final", "sip"),
    [("rejects", "no-answer", "603"), ("is_busy", "busy", "486"), ("does_not_answer", "no-answer", "487")],
)
def test_callee_who_does_not_take_the_call(reaction: str, final: str, sip: str) -> None:
    world = World()
    getattr(world.callee, reaction)()
    call = world.create(Timeout="20")
    world.run(25)
    assert call.status == final
    last = world.posted("/status")[-1].params
    assert (last["CallStatus"], last["SipResponseCode"]) == (final, sip)
    assert (last["CallDuration"], last["Duration"]) == ("0", "0")
    assert world.posted("/voice") == []
    if reaction == "does_not_answer":
        assert call.ended_at == pytest.approx(20.22)


def test_number_that_nobody_has() -> None:
    world = World()
    call = world.create(To="+15550004444")
    world.run(3)
    assert call.status == "failed"
    assert world.posted("/status")[0].params["SipResponseCode"] == "404"


def test_inbound_call() -> None:
    world = World()
    call = world.dial()
    world.run(1)
    fetch = world.posted("/voice")[0].params
    assert (fetch["CallStatus"], fetch["Direction"]) == ("ringing", "inbound")
    assert fetch["StirVerstat"] == "TN-Validation-Passed-A"
    assert states(world) == ["ringing", "in-progress"]
    world.caller.hang_up()
    world.run(2)
    assert call.status == "completed"
    assert [sent.params["CallStatus"] for sent in world.posted("/status")] == ["completed"]


@pytest.mark.parametrize("final", ["no-answer", "canceled", "completed"])
def test_caller_who_gives_up_before_the_document_came(final: str) -> None:
    world = World(knobs={"inbound_abandoned_status": final}, fixed={"twilio/call1/fetch#1/delay": 150})
    call = world.dial()
    world.run(0.1)
    world.caller.hang_up()
    world.run(3)
    assert call.status == final
    assert len(world.posted("/voice")) == 1
    assert call.streams == []
    assert [sent.params["CallStatus"] for sent in world.posted("/status")] == [final]


def test_number_without_a_voice_url() -> None:
    world = World(number={"voice_url": ""})
    call = world.dial()
    world.run(10)
    assert world.codes() == [11100]
    assert call.status == "completed"


def test_unknown_number_cannot_be_dialled() -> None:
    world = World()
    with pytest.raises(ValueError, match=r"no number of this Twilio account; there are: \+15005550006"):
        world.caller.dial(world.twilio, "+15550001234")
    with pytest.raises(ValueError, match="no number of this Twilio account"):
        world.twilio.dial(world.caller, "+15550001234")


def test_time_limit() -> None:
    world = World()
    call = world.create(TimeLimit="30")
    world.run(40)
    assert call.status == "completed"
    assert call.ended_at == pytest.approx(30.72)


def test_calls_leave_the_queue_one_a_second() -> None:
    world = World()
    for _ in range(3):
        world.create()
    world.run(5)
    assert [call.history[1][0] for call in world.twilio.calls] == pytest.approx([0.02, 1.02, 2.02])
    world = World(knobs={"calls_per_second": 0})
    for _ in range(3):
        world.create()
    world.run(5)
    assert [call.history[1][0] for call in world.twilio.calls] == pytest.approx([0.02, 0.02, 0.02])


def test_every_state_has_its_transitions_and_illegal_ones_raise() -> None:
    assert set(TRANSITIONS) == set(CallStatus)
    world = World()
    call = world.create()
    world.run(3)
    with pytest.raises(IllegalTransition, match="call1 cannot go from in-progress to ringing; possible: completed"):
        call.enter(CallStatus.RINGING)
    call.end(CallStatus.COMPLETED)
    with pytest.raises(IllegalTransition, match="nothing, it is over"):
        call.enter(CallStatus.IN_PROGRESS)


def test_redirect_replaces_the_document_after_the_answer() -> None:
    world = World()
    call = world.create()
    world.run(2)
    assert world.update(call, Twiml="<Response><Pause length='5'/></Response>").status == 200
    assert world.events("stop") == []
    world.run(0.029)
    assert world.events("stop") == []
    world.run(0.001)
    assert len(world.events("stop")) == 1
    assert world.io.closed[-1][1:] == ("call1/stream1", "1005")
    assert call.status == "in-progress"
    world.run(5)
    assert call.status == "completed"


def test_redirect_to_a_url() -> None:
    world = World(replies={"/other": "<Response><Say>One moment, let me look.</Say></Response>"})
    call = world.create()
    world.run(2)
    world.update(call, Url="https://gw.example.test/other", Method="GET")
    world.run(0.2)
    assert world.posted("/other")[0].request.method == "GET"
    assert world.posted("/other")[0].params["CallSid"] == call.sid
    world.run(5)
    assert [heard.phrase for heard in world.callee.heard] == ["one_moment"]


def test_redirect_overtakes_a_document_that_is_still_being_fetched() -> None:
    world = World(fixed={"twilio/call1/fetch#1/delay": 150})
    call = world.create()
    world.run(0.8)
    assert call.status == "in-progress"
    world.update(call, Twiml="<Response><Say>One moment, let me look.</Say></Response>")
    world.run(5)
    assert len(world.posted("/voice")) == 1
    assert call.streams == []
    assert [heard.phrase for heard in world.callee.heard] == ["one_moment"]


def test_gateway_that_closes_its_socket_right_after_a_redirect_ends_the_call() -> None:
    world = World()
    call = world.create()
    world.run(2)
    world.update(call, Twiml="<Response><Pause length='60'/></Response>")
    world.twilio.stream_closed("call1/stream1", 1000)
    world.run(1)
    assert call.status == "completed"


def test_hang_up_between_redirect_and_its_effect() -> None:
    world = World()
    call = world.create()
    world.run(2)
    world.update(call, Twiml="<Response><Pause length='60'/></Response>")
    world.callee.hang_up()
    world.run(1)
    assert call.status == "completed"
    assert len(world.events("stop")) == 1


@pytest.mark.parametrize(("knob", "requests"), [("no", 0), ("yes", 1)])
def test_action_of_connect_after_a_redirect(knob: str, requests: int) -> None:
    world = World(
        knobs={"connect_action_after_redirect": knob},
        replies={
            "/voice": '<Response><Connect action="/after"><Stream url="wss://gw.example.test/m"/></Connect></Response>'
        },
    )
    call = world.create()
    world.run(2)
    world.update(call, Twiml="<Response><Pause length='60'/></Response>")
    world.run(1)
    assert len(world.posted("/after")) == requests
    assert call.status == "in-progress"


def test_fallback_url() -> None:
    world = World(replies={"/voice": answer(500), "/fallback": "<Response><Pause length='9'/></Response>"})
    call = world.create(FallbackUrl="https://gw.example.test/fallback")
    world.run(2)
    params = world.posted("/fallback")[0].params
    assert (params["ErrorCode"], params["ErrorUrl"]) == ("11200", VOICE)
    assert call.status == "in-progress"
    assert world.codes() == [11200]


def test_without_a_fallback_twilio_apologises_and_hangs_up() -> None:
    world = World(replies={"/voice": answer(404)})
    call = world.create()
    world.run(15)
    assert call.status == "completed"
    assert len(world.callee.heard) == 1
    assert world.callee.heard[0].complete


def test_fallback_that_fails_too() -> None:
    world = World(replies={"/voice": answer(500), "/fallback": "<Response>"}, number={"fallback_url": VOICE + "x"})
    call = world.create(FallbackUrl="https://gw.example.test/fallback")
    world.run(15)
    assert world.codes() == [11200, 12100]
    assert len(world.posted("/fallback")) == 1
    assert call.status == "completed"


def test_close_leaves_no_timer() -> None:
    world = World()
    world.streaming()
    world.create(StatusCallback=STATUS)
    world.twilio.close()
    assert world.clock.pending == 0


def test_same_choices_same_ids() -> None:
    first, second = World(), World()
    assert first.create().sid == second.create().sid
    assert first.create().sid != first.twilio.calls[0].sid
    assert CALLEE in repr(first.twilio.calls[0])
