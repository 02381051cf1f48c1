"""Sidebands: who may join a call, what they see and may do, and how they end."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from openai_vendor import OTHER, REALTIME, Answering, Socket, Vendor, listening
from openai_world import KEY

from fakes.openai import KeyInfo
from fakes.openai.calls import Call, CallState
from fakes.openai.connected import State
from fakes.openai.frames import Frame
from fakes.openai.handshake import RefuseHttp
from fakes.openai.protocol import validate
from fakes.openai.rtc_session import RtcSession


class Channel:
    """The leg of a WebRTC call whose peer keeps what comes over its data channel."""

    def __init__(self) -> None:
        self.rtc: RtcSession | None = None
        self.frames: list[Frame] = []

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)
        assert self.rtc is not None
        self.rtc.left(frame)

    def play(self, pcm: bytes) -> None:
        pass

    def release(self) -> None:
        pass

    def kinds(self) -> list[str]:
        return [frame.kind for frame in self.frames]


class Calling:
    """A WebRTC call that is up, with its data channel."""

    def __init__(self, *, started: bool = True, **knobs: Any) -> None:
        self.vendor = Vendor(answerer=Answering(), **knobs)
        self.call: Call = self.vendor.call(KEY, query={"model": "gpt-realtime"})
        self.call.move(CallState.ACTIVE)
        self.channel = Channel()
        self.rtc = self.channel.rtc = RtcSession(self.vendor.service, self.call, self.channel)
        if started:
            self.rtc.open()
            self.vendor.clock.advance(5)
            assert self.channel.kinds() == ["session.created"]

    def join(self, key: str = KEY, **query: str) -> Socket:
        return self.vendor.join(key, {"call_id": self.call.id, **query})


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_a_sideband_sees_what_happens_and_controls_the_session() -> None:
    calling = Calling()
    sideband = calling.join()
    assert sideband.events() == []  # no session.created of its own
    sideband.say("session.update", session={"type": "realtime", "instructions": "Speak like a pirate."})
    assert kinds(sideband.events()) == ["session.updated"]
    assert calling.channel.kinds() == ["session.created", "session.updated"]
    assert calling.rtc.session.settings.instructions == "Speak like a pirate."
    calling.rtc.receive_text('{"type": "response.create"}')
    calling.vendor.clock.advance(30)
    seen = kinds(sideband.events())
    assert seen[0] == "response.created"
    assert "response.done" in seen
    assert "response.output_audio.delta" not in seen
    assert calling.channel.kinds()[2:] == seen
    assert [event["type"] for event in calling.rtc.session.received] == ["session.update", "response.create"]


def test_what_crosses_a_sideband_is_on_the_wire() -> None:
    calling = Calling()
    calling.join().say("session.update", session={"type": "realtime"})
    said = [
        (m.source, m.target, m.channel, m.kind, m.invalid)
        for m in calling.vendor.recorder.messages
        if m.connection == "openai#1"
    ]
    assert said == [
        ("gateway", "openai", "openai.realtime", "session.update", None),
        ("openai", "gateway", "openai.realtime", "session.updated", None),
    ]


def test_an_error_goes_to_the_one_who_asked_for_it() -> None:
    calling = Calling()
    first, second = calling.join(), calling.join()
    first.say("response.cancel", event_id="mine")
    assert (first.error()["code"], second.events()) == ("response_cancel_not_active", [])
    assert "error" not in calling.channel.kinds()
    calling.rtc.receive_text('{"type": "nope"}')
    assert calling.channel.kinds()[-1] == "error"
    assert (first.events(), second.events()) == ([], [])
    for bad, code in (("{", "invalid_json"), ("[]", "invalid_event")):
        first.link.receive_text(bad)
        assert first.error()["code"] == code
    first.link.receive_binary(b"\0")
    assert first.error()["code"] == "invalid_event"
    assert second.events() == []
    assert calling.rtc.session.state is State.OPEN


def test_an_error_goes_to_everybody_when_the_knob_says_so() -> None:
    calling = Calling(sideband_errors="all")
    first, second = calling.join(), calling.join()
    first.say("response.cancel", event_id="mine")
    assert first.error()["event_id"] == second.error()["event_id"] == "mine"
    assert calling.channel.kinds()[-1] == "error"


def test_errors_that_nobody_asked_for_go_to_everybody() -> None:
    calling = Calling()
    sideband = calling.join()
    calling.rtc.session.error("server_error", "The server had an error.")
    assert sideband.error()["code"] == "server_error"
    calling.vendor.clock.advance(3600)
    assert sideband.error()["code"] == "session_expired"
    assert sideband.close == (1000, "")
    assert calling.call.state is CallState.ENDED


def test_a_sideband_that_leaves_leaves_the_call_alone() -> None:
    calling = Calling()
    sideband, other = calling.join(), calling.join()
    sideband.link.connection_lost(1000, "", "gateway")
    assert calling.call.state is CallState.ACTIVE
    other.say("session.update", session={"type": "realtime"})
    assert (kinds(other.events()), sideband.events()) == (["session.updated"], [])
    calling.call.move(CallState.ENDED)
    assert (other.close, sideband.close) == ((1000, ""), None)


@pytest.mark.parametrize(("code", "close"), [(1000, (1000, "")), (1001, (1001, "")), (0, None)])
def test_a_sideband_ends_with_its_call(code: int, close: tuple[int, str] | None) -> None:
    calling = Calling(sideband_close_code=code)
    sideband = calling.join()
    calling.vendor.get(f"/v1/realtime/calls/{calling.call.id}/hangup")
    assert sideband.close == close
    if close is None:
        sideband.say("response.create")
        assert sideband.events() == []
        sideband.link.abort()
        assert sideband.aborted


def test_a_sideband_that_joins_before_the_session_begins_gets_all_of_it() -> None:
    calling = Calling(started=False)
    sideband = calling.join()
    sideband.say("session.update", event_id="a", session={"type": "realtime"})
    sideband.say("response.cancel", event_id="b")
    assert sideband.events() == []
    calling.rtc.open()
    calling.vendor.clock.advance(5)
    events = sideband.events()
    assert kinds(events) == ["session.created", "session.updated", "error"]
    assert events[2]["error"]["event_id"] == "b"
    assert calling.channel.kinds() == ["session.created", "session.updated"]


def test_a_session_created_of_its_own_is_a_knob() -> None:
    calling = Calling(sideband_created=True)
    sideband = calling.join()
    (created,) = sideband.events()
    assert (created["type"], created["session"]) == ("session.created", calling.rtc.session.wire)
    assert validate("ga", "server", created) is None
    assert calling.channel.kinds() == ["session.created"]


def test_a_call_may_end_before_the_session_created_of_a_sideband() -> None:
    calling = Calling(sideband_created=True)
    sideband = calling.vendor.join(KEY, {"call_id": calling.call.id}, start=False)
    sideband.link.start(created_delay_ms=100)
    calling.call.move(CallState.ENDED)
    calling.vendor.clock.advance(1)
    assert (sideband.events(), sideband.close) == ([], (1000, ""))


def test_a_call_may_be_over_by_the_time_of_the_upgrade() -> None:
    calling = Calling()
    opening = calling.vendor.handshake(KEY, {"call_id": calling.call.id})
    calling.call.move(CallState.ENDED)
    sink = Socket()
    link = calling.vendor.service.serve(opening, opening.decision, sink)  # type: ignore[arg-type]
    sink.link = link  # type: ignore[assignment]
    link.start()
    assert sink.close == (1000, "")


# -- who may join


def test_calls_that_nobody_can_join() -> None:
    calling = Calling()
    vendor = calling.vendor
    vendor.keys[OTHER] = KeyInfo(project="proj_theirs")
    decision = vendor.handshake(OTHER, {"call_id": calling.call.id}).decision
    assert isinstance(decision, RefuseHttp)
    assert (decision.status, decision.error.code) == (404, "call_id_not_found")
    assert isinstance(vendor.handshake(KEY, {"call_id": "rtc_nobody"}).decision, RefuseHttp)
    ringing = vendor.service.calls.open("sip", calling.call.place)
    assert isinstance(vendor.handshake(KEY, {"call_id": ringing.id}).decision, RefuseHttp)
    calling.call.move(CallState.ENDED)
    assert isinstance(vendor.handshake(KEY, {"call_id": calling.call.id}).decision, RefuseHttp)
    in_band = Vendor(sideband_unknown_call="in_band")
    assert in_band.rejected(KEY, {"call_id": "rtc_nobody"}) == ("call_id_not_found", 4004)


def test_a_sideband_wants_a_standard_key() -> None:
    calling = Calling()
    query = {"call_id": calling.call.id}
    assert calling.vendor.rejected(calling.vendor.mint(REALTIME), query) == ("insufficient_permissions", 4000)
    assert calling.vendor.rejected("sk-wrong-0123456789", query) == ("invalid_api_key", 3000)
    beta = calling.vendor.rejected(KEY, query, openai_beta="realtime=v1")
    assert beta == ("beta_api_shape_disabled", 4000)
    lax = Calling(sideband_with_secret="accept")
    assert lax.join(lax.vendor.mint(REALTIME)).close is None


def test_a_sideband_needs_no_model_unless_the_knob_says_so() -> None:
    assert Calling().join(model="gpt-realtime-2").close is None
    strict = Calling(sideband_model="required")
    assert strict.vendor.rejected(KEY, {"call_id": strict.call.id}) == ("missing_model", 4000)
    assert strict.join(model="gpt-realtime").close is None


# -- over sockets


async def test_an_unknown_call_is_told_over_http() -> None:
    async with listening() as (service, recorder, http):
        headers = {"Authorization": f"Bearer {KEY}"}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect("/v1/realtime?call_id=rtc_nobody", headers=headers)
        assert refused.value.status == 404
        assert [m.kind for m in recorder.messages] == ["upgrade", "upgrade.refused"]
        assert "No session found for the provided call_id" in str(recorder.messages[1].body)
        assert service.links == []
