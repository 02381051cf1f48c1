"""Calls without a network, in virtual time: the peer and the answerer of the virtual stage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from openai_world import BETA_DAY, World, manual
from rtc_world import CALLS, Browser, Vendor, greeting, hung_up, interruption, tool_call, turn

from fakes.audio import phrase
from fakes.openai.calls import CallState
from fakes.openai.http import HttpAnswer
from fakes.openai.local_rtc import LocalExchange
from fakes.people.peers import LocalPeer
from harness.virtual import VirtualLoop, run_virtual

T = TypeVar("T")
Story = Callable[[Browser], Awaitable[Any]]


def world(latency: float = 0.03, **knobs: Any) -> tuple[Vendor, LocalExchange]:
    vendor = Vendor(**knobs)
    exchange = LocalExchange(vendor.service, latency=latency)
    vendor.serve(exchange)
    return vendor, exchange


def browser_of(vendor: Vendor, exchange: LocalExchange, **sections: bool) -> Browser:
    return Browser(vendor, lambda events: LocalPeer(exchange, events, **sections), gaps=True)


def play(main: Callable[[Browser], Awaitable[T]], latency: float = 0.03, **knobs: Any) -> T:
    """Run a story of one call in virtual time."""

    async def run(loop: VirtualLoop) -> T:
        vendor, exchange = world(latency, **knobs)
        browser = browser_of(vendor, exchange)
        await browser.call(vendor.mint())
        try:
            return await main(browser)
        finally:
            await exchange.close()

    return run_virtual(run)


@pytest.mark.parametrize("story", [greeting, turn, tool_call, interruption, hung_up])
@pytest.mark.parametrize("latency", [0.0, 0.08])
def test_a_story(story: Story, latency: float) -> None:
    async def main(browser: Browser) -> None:
        await story(browser)
        assert [message for message in browser.vendor.recorder.messages if message.invalid] == []

    play(main, latency)


def test_a_whole_call_is_the_same_every_time() -> None:
    async def main(browser: Browser) -> list[tuple[Any, ...]]:
        for story in (greeting, turn, tool_call, interruption):
            await story(browser)
        await browser.peer.close()
        await browser.vendor.service.wait_for(lambda: browser.vendor.call.state is CallState.ENDED)
        return [(message.kind, message.source, message.body) for message in browser.vendor.recorder.messages]

    first = play(main)
    assert len(first) > 60
    assert first == play(main)


def test_both_directions_are_recorded() -> None:
    async def main(browser: Browser) -> None:
        await greeting(browser)
        await browser.peer.close()
        await browser.vendor.service.wait_for(lambda: browser.vendor.session.closed)
        wire = browser.vendor.wire()
        assert {(message.connection, message.channel) for message in wire} == {("call1", "openai.datachannel")}
        assert [message.kind for message in wire if message.source == "browser"] == ["response.create", "close"]
        sent = [message for message in wire if message.source == "openai"]
        assert [message.kind for message in sent] == browser.types()
        assert [json.loads(message.body or "") for message in sent] == browser.events
        closed = wire[-1]
        assert (closed.kind, closed.target) == ("close", "openai")
        assert closed.meta == {"code": 1000, "reason": "closed by the peer", "initiator": "browser"}

    play(main)


def test_the_session_is_that_of_the_secret() -> None:
    async def main(loop: VirtualLoop) -> None:
        vendor, exchange = world()
        browser = browser_of(vendor, exchange)
        await browser.call(vendor.mint(instructions="Be brief.", audio={"output": {"voice": "cedar"}}))
        session = browser.events[0]["session"]
        assert (session["instructions"], session["audio"]["output"]["voice"]) == ("Be brief.", "cedar")
        assert vendor.service.sessions == [vendor.session]
        assert await vendor.service.wait_session() is vendor.call.running
        await exchange.close()

    run_virtual(main)


def test_the_beta_speaks_its_own_names() -> None:
    async def main(loop: VirtualLoop) -> None:
        vendor = Vendor(day=BETA_DAY)
        exchange = LocalExchange(vendor.service)
        vendor.serve(exchange)
        browser = browser_of(vendor, exchange)
        body = json.dumps({"model": "gpt-realtime"})
        minted = vendor.request("/v1/realtime/sessions", body)
        await browser.call(minted.body["client_secret"]["value"], "/v1/realtime")
        browser.send("response.create")
        await browser.event("response.audio_transcript.done")
        await browser.event("output_audio_buffer.stopped")
        await browser.hears("greeting")
        assert "response.audio.delta" not in browser.types()
        await exchange.close()

    run_virtual(main)


# -- interruption


@pytest.mark.parametrize("quick", [True, False])
def test_what_was_not_heard_is_forgotten(quick: bool) -> None:
    """The response may be done long before its sound has been played."""

    async def main(browser: Browser) -> None:
        await greeting(browser) if not quick else None
        browser.send("response.create", response={"instructions": phrase("long_answer").text})
        await browser.event("output_audio_buffer.started")
        if not quick:
            await browser.event("response.done")
            await browser.until(lambda: browser.frames > 450)
        browser.say("stop_please")
        started = await browser.event("input_audio_buffer.speech_started")
        truncated = await browser.event("conversation.item.truncated")
        kinds = browser.types()
        begun = browser.events.index(started)
        after = [kind for kind in kinds[begun:] if not kind.endswith("delta")]
        assert after[1] == "output_audio_buffer.cleared"
        done = next(event for event in reversed(browser.events) if event["type"] == "response.done")
        assert done["response"]["status"] == ("cancelled" if quick else "completed")
        assert (browser.events.index(done) > begun) is quick
        played = truncated["audio_end_ms"]
        assert (60 <= played < 1000) if quick else (5500 <= played < 9000)
        item = browser.vendor.session.conversation.find(truncated["item_id"])
        assert item is not None
        assert (item.parts[0].duration_ms, item.parts[0].transcript) == (played, "")

    play(main)


def test_who_must_not_be_interrupted_is_not() -> None:
    async def main(browser: Browser) -> None:
        detection = {"type": "server_vad", "interrupt_response": False, "create_response": False}
        browser.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
        await browser.event("session.updated")
        browser.send("response.create", response={"instructions": phrase("long_answer").text})
        await browser.event("output_audio_buffer.started")
        browser.say("stop_please")
        await browser.event("input_audio_buffer.committed")
        await browser.event("output_audio_buffer.stopped")
        await browser.hears("long_answer")
        assert "output_audio_buffer.cleared" not in browser.types()

    play(main)


@pytest.mark.parametrize("truncates", [True, False])
def test_the_page_presses_stop(truncates: bool) -> None:
    async def main(browser: Browser) -> None:
        browser.send("response.create", response={"instructions": phrase("long_answer").text})
        await browser.event("output_audio_buffer.started")
        await browser.until(lambda: browser.frames == 20)
        browser.send("response.cancel")
        browser.send("output_audio_buffer.clear")
        done = await browser.event("response.done")
        cleared = await browser.event("output_audio_buffer.cleared")
        assert done["response"]["status_details"]["reason"] == "client_cancelled"
        assert cleared["response_id"] == done["response"]["id"]
        browser.send("session.update", session={"type": "realtime"})
        await browser.event("session.updated")
        assert browser.types().count("conversation.item.truncated") == truncates
        before = browser.frames
        browser.send("response.create")
        await browser.event("output_audio_buffer.stopped")
        assert browser.frames - before == 3000 // 20  # the greeting, and nothing of what was cleared

    play(main, client_clear_truncates=truncates)


def test_a_cleared_response_that_is_not_cancelled_goes_on_in_silence() -> None:
    async def main(browser: Browser) -> None:
        browser.send("response.create", response={"instructions": phrase("long_answer").text})
        await browser.event("output_audio_buffer.started")
        browser.send("output_audio_buffer.clear")
        await browser.event("output_audio_buffer.cleared")
        frames = browser.frames
        done = await browser.event("response.done")
        assert done["response"]["status"] == "completed"
        assert browser.frames == frames
        assert "conversation.item.truncated" not in browser.types()
        # With nothing to clear, nothing is told.
        browser.send("output_audio_buffer.clear")
        browser.send("session.update", session={"type": "realtime"})
        await browser.event("session.updated")
        assert browser.types().count("output_audio_buffer.cleared") == 1

    play(main, latency=0.0)


@pytest.mark.parametrize(("wanted", "code"), [("unknown_event", "invalid_value"), ("only_on_calls", "invalid_event")])
def test_a_websocket_session_has_no_output_buffer(wanted: str, code: str) -> None:
    client = World(knobs={"openai.output_buffer_clear_on_websocket": wanted}).open()
    client.send("output_audio_buffer.clear", event_id="mine")
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, "type", "mine")


# -- the microphone


def test_audio_time_goes_on_while_nobody_speaks() -> None:
    async def main(browser: Browser) -> None:
        opened = browser.vendor.clock.now()
        await asyncio.sleep(100)
        spoken = browser.vendor.clock.now() - opened
        await turn(browser)
        started = next(event for event in browser.events if event["type"] == "input_audio_buffer.speech_started")
        assert abs(started["audio_start_ms"] + 300 - spoken * 1000) < 200
        stopped = next(event for event in browser.events if event["type"] == "input_audio_buffer.speech_stopped")
        heard = browser.vendor.session.heard[0]
        assert abs(heard.start_ms - spoken * 1000) < 150
        assert 0 <= stopped["audio_end_ms"] - heard.end_ms - 200 < 60

    play(main)


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_the_session_may_have_another_input_format(kind: str) -> None:
    async def main(browser: Browser) -> None:
        browser.send("session.update", session={"type": "realtime", "audio": {"input": {"format": {"type": kind}}}})
        await browser.event("session.updated")
        await turn(browser)
        assert browser.vendor.session.heard[0].complete

    play(main)


def test_turns_by_hand_have_the_silence_in_them() -> None:
    async def main(browser: Browser) -> None:
        browser.send("session.update", session={"type": "realtime", **manual("ga")})
        await browser.event("session.updated")
        browser.send("input_audio_buffer.clear")
        await browser.event("input_audio_buffer.cleared")
        browser.say("yes")
        await asyncio.sleep(3)
        browser.send("input_audio_buffer.commit")
        committed = await browser.event("input_audio_buffer.committed")
        item = browser.vendor.session.conversation.find(committed["item_id"])
        assert item is not None
        assert item.parts[0].heard == ("yes",)
        assert abs(item.parts[0].duration_ms - 3000) < 100

    play(main)


def test_what_is_said_before_the_connection_is_up_is_not_lost() -> None:
    async def main(loop: VirtualLoop) -> None:
        vendor, exchange = world()
        browser = browser_of(vendor, exchange)
        browser.say("yes")
        await browser.call()
        await browser.event("input_audio_buffer.committed")
        assert vendor.session.heard[0].phrase == "yes"
        await exchange.close()

    run_virtual(main)


# -- offers, answers and ends


def test_offer_and_answer_look_like_those_of_a_browser() -> None:
    async def main(loop: VirtualLoop) -> None:
        vendor, exchange = world()
        browser = browser_of(vendor, exchange)
        offer = await browser.peer.offer()
        answer = (await vendor.offer(offer)).text
        for sdp, setup in ((offer, "actpass"), (answer, "active")):
            lines = sdp.split("\r\n")
            assert lines[0] == "v=0"
            assert all(line[1:2] == "=" for line in lines[:-1])
            assert [line.split()[0] for line in lines if line.startswith("m=")] == ["m=audio", "m=application"]
            assert lines.count(f"a=setup:{setup}") == 2
        assert offer != answer
        await exchange.close()

    run_virtual(main)


def test_offers_that_nobody_here_has_made() -> None:
    async def main(loop: VirtualLoop) -> None:
        vendor, exchange = world()
        offer = await browser_of(vendor, exchange).peer.offer()
        strange = offer.replace("a=ice-ufrag:", "a=ice-ufrag:x")
        without_audio = await browser_of(vendor, exchange, audio=False).peer.offer()
        assert (await vendor.offer(offer)).status == 201
        for sdp in (strange, without_audio, offer):
            answer = await vendor.offer(sdp)
            assert answer.body is not None
            assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_offer")
        assert [call.state for call in vendor.service.calls.all].count(CallState.ACTIVE) == 1
        await exchange.close()
        assert {call.state for call in vendor.service.calls.all} == {CallState.ENDED}

    run_virtual(main)


def test_a_peer_that_is_misused_says_so() -> None:
    async def main(loop: VirtualLoop) -> None:
        vendor, exchange = world()
        one, other = browser_of(vendor, exchange), browser_of(vendor, exchange)
        with pytest.raises(ValueError, match=r"call offer\(\) first"):
            await one.peer.accept("v=0\r\n")
        answer = await vendor.offer(await one.peer.offer())
        await other.peer.offer()
        for peer, text in ((other.peer, answer.text), (one.peer, "v=0\r\na=ice-ufrag:nobody\r\n")):
            with pytest.raises(ValueError, match="no answer to this offer"):
                await peer.accept(text)
        with pytest.raises(ValueError, match="no a=ice-ufrag"):
            await one.peer.accept("<html>")
        with pytest.raises(ConnectionError):
            one.send("response.create")
        await exchange.close()

    run_virtual(main)


def test_a_call_that_never_connects_ends_by_itself() -> None:
    async def main(loop: VirtualLoop) -> None:
        vendor, exchange = world()
        browser = browser_of(vendor, exchange)
        await vendor.offer(await browser.peer.offer())
        began = vendor.clock.now()
        await vendor.service.wait_for(lambda: vendor.call.state is CallState.ENDED)
        assert round(vendor.clock.now() - began) == 30
        assert vendor.wire()[-1].meta["reason"].startswith("no connection")

    run_virtual(main)


def test_a_call_without_a_data_channel_is_a_conversation() -> None:
    async def main(loop: VirtualLoop) -> None:
        vendor, exchange = world()
        browser = browser_of(vendor, exchange, channel=False)
        answer = await vendor.offer(await browser.peer.offer())
        assert "m=application" not in answer.text
        await browser.peer.accept(answer.text)
        await vendor.service.wait_for(lambda: "session.created" in vendor.session.sent)
        browser.say("what_time")
        await browser.hears("its_noon")
        assert browser.events == []
        assert vendor.wire() == []
        await exchange.close()

    run_virtual(main)


def test_a_session_expires() -> None:
    async def main(browser: Browser) -> None:
        moves = []
        browser.vendor.call.watchers.append(lambda call: moves.append(call.state))
        error = await browser.event("error", 3700)
        assert error["error"]["code"] == "session_expired"
        await browser.until(lambda: browser.closed_by)
        session = browser.vendor.session
        assert session.closed is not None
        assert (session.closed.code, session.closed.initiator) == (1001, "openai")
        assert moves == [CallState.ENDED]
        assert [message.kind for message in browser.vendor.wire()][-2:] == ["error", "close"]

    play(main)


@pytest.mark.parametrize("end", ["hang-up", "peer", "abort", "close", "service"])
def test_every_end_is_an_end(end: str) -> None:
    """Whoever ends the call, in the middle of sound both ways: everything stops, and each side is told once."""

    async def main(browser: Browser) -> None:
        vendor, moves = browser.vendor, []
        vendor.call.watchers.append(lambda call: moves.append(call.state))
        detection = {"turn_detection": {"type": "server_vad", "interrupt_response": False, "create_response": False}}
        browser.send("session.update", session={"type": "realtime", "audio": {"input": detection}})
        browser.send("response.create", response={"instructions": phrase("long_answer").text})
        await browser.event("output_audio_buffer.started")
        browser.say("long_story")
        await browser.event("input_audio_buffer.speech_started")
        match end:
            case "hang-up":
                assert vendor.hang_up(vendor.call) == 200
            case "peer":
                await browser.peer.close()
            case "abort":
                vendor.session.abort()
            case "close":
                vendor.session.close(1000, "done")
            case "service":
                vendor.service.calls.end()
        await vendor.service.wait_for(lambda: vendor.session.closed)
        await browser.until(lambda: browser.closed_by)
        frames, events = browser.frames, len(browser.events)
        await asyncio.sleep(30)
        assert (browser.frames, len(browser.events)) == (frames, events)
        assert moves == [CallState.ENDED]
        assert [message.kind for message in vendor.wire()].count("close") == 1
        with pytest.raises(ConnectionError):
            browser.send("response.create")
        browser.say("yes")
        await browser.peer.close()
        answer = vendor.request(f"{CALLS}/{vendor.call.id}/hangup")
        assert isinstance(answer, HttpAnswer)
        assert answer.status == 404

    play(main)
