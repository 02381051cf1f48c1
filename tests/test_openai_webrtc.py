"""Calls with aiortc on the loopback interface: Opus, DTLS and a data channel between two ends of one process."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rtc_world import CALLS, Browser, Vendor, greeting, hung_up, interruption, tool_call, turn

from conformance.webrtc import UdpWebRtc
from fakes.audio import Listener, speak
from fakes.openai.calls import CallState
from fakes.openai.http import HttpAnswer, Offered
from fakes.openai.webrtc import AiortcAnswerer, LoopbackConnection, SpeakingTrack, listen, reachable, report_fault
from fakes.people.aiortc_peer import AiortcPeer
from fakes.people.peers import PeerEvents

Connect = Callable[[PeerEvents], AiortcPeer]


@asynccontextmanager
async def calling(
    event_filter: Callable[[str], bool] | None = None, connect: Connect = AiortcPeer
) -> AsyncIterator[Browser]:
    """A browser that has not called yet, and its vendor."""
    vendor = Vendor()
    vendor.serve(AiortcAnswerer(vendor.service, event_filter=event_filter))
    browser = Browser(vendor, connect, gaps=False)
    try:
        yield browser
    finally:
        await browser.peer.close()
        await vendor.answerer.close()


async def conversation(browser: Browser) -> None:
    """A whole call."""
    await greeting(browser)
    await turn(browser)
    await hung_up(browser)


async def test_the_stories_of_calls() -> None:
    """All at once, since each takes as long as what is said in it."""

    async def tell(story: Callable[[Browser], Awaitable[Any]]) -> None:
        async with calling() as browser:
            await browser.call()
            await story(browser)
            assert [message for message in browser.vendor.recorder.messages if message.invalid] == []

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for story in (conversation, tool_call, interruption):
            tasks.create_task(tell(story), name=story.__name__)


async def test_the_answer_is_that_of_the_vendor() -> None:
    async with calling(connect=lambda events: AiortcPeer(events, label="realtime-channel")) as browser:
        offer = await browser.peer.offer()
        assert [line for line in offer.splitlines() if line.startswith("a=candidate") and "127.0.0.1" not in line] == []
        answer = await browser.vendor.offer(offer)
        assert (answer.status, answer.content_type) == (201, "application/sdp")
        call = browser.vendor.call
        assert answer.headers["Location"] == f"{CALLS}/{call.id}"
        lines = answer.text.splitlines()
        assert [line.split()[0] for line in lines if line.startswith("m=")] == ["m=audio", "m=application"]
        assert {line for line in lines if line.startswith("a=setup")} == {"a=setup:active"}
        codecs = {line.split()[1] for line in lines if line.startswith("a=rtpmap")}
        assert codecs == {"opus/48000/2", "PCMU/8000", "PCMA/8000"}
        addresses = {line.split()[4] for line in lines if line.startswith("a=candidate")}
        assert addresses == {"127.0.0.1"}
        await browser.peer.accept(answer.text)
        created = await browser.event("session.created")  # the label of the channel does not matter
        assert created["session"]["model"] == "gpt-realtime"
        assert call.state is CallState.ACTIVE


async def test_a_browser_that_hides_its_addresses_is_found() -> None:
    async with calling() as browser:
        offer = await browser.peer.offer()
        hidden = offer.replace("127.0.0.1", "4f2a6a52-7a4f-4c43-9e0b-0c8f4d1ad0de.local")
        hidden = hidden.replace("IN IP4 4f2a6a52-7a4f-4c43-9e0b-0c8f4d1ad0de.local", "IN IP4 0.0.0.0")
        assert ".local" in hidden
        answer = await browser.vendor.offer(hidden)
        await browser.peer.accept(answer.text)
        await browser.event("session.created")


async def test_a_call_over_g711() -> None:
    async with calling() as browser:
        lines = (await browser.peer.offer()).splitlines()
        old = [line for line in lines if not line.startswith(("a=rtpmap", "a=fmtp")) or line.endswith("PCMU/8000")]
        old = [" ".join([*line.split()[:3], "0"]) if line.startswith("m=audio") else line for line in old]
        answer = await browser.vendor.offer("".join(f"{line}\r\n" for line in old))
        assert "PCMU/8000" in answer.text
        assert "opus" not in answer.text
        await browser.peer.accept(answer.text)
        await browser.event("session.created")
        browser.say("yes")
        await browser.event("input_audio_buffer.committed")
        await browser.hears("hold_please")
        assert [heard.phrase for heard in browser.vendor.session.heard] == ["yes"]


async def test_the_peer_goes_away() -> None:
    async with calling() as browser:
        await browser.call()
        call, session = browser.vendor.call, browser.vendor.session
        await browser.peer.close()
        await browser.vendor.service.wait_for(lambda: session.closed is not None)
        assert session.closed is not None
        assert (session.closed.code, session.closed.initiator) == (1000, "browser")
        assert call.state is CallState.ENDED
        assert browser.closed_by == "closed"


async def test_the_service_is_closed() -> None:
    async with calling() as browser:
        await browser.call()
        browser.vendor.session.abort()
        await browser.until(lambda: browser.closed_by)
        assert browser.vendor.call.state is CallState.ENDED
        await browser.vendor.answerer.close()  # nothing is left to wait for


async def test_only_some_events_cross_the_channel() -> None:
    async with calling(lambda kind: kind.startswith("output_audio_buffer.")) as browser:
        answer = await browser.vendor.offer(await browser.peer.offer())
        await browser.peer.accept(answer.text)
        await browser.until(lambda: browser.is_open)
        browser.send("response.create")
        await browser.event("output_audio_buffer.stopped")
        assert browser.types() == ["output_audio_buffer.started", "output_audio_buffer.stopped"]
        assert [message.kind for message in browser.vendor.wire(source="openai")] == browser.types()


async def test_offers_that_cannot_be_answered() -> None:
    async with calling() as browser:
        good = await browser.peer.offer()
        without_audio = good[good.index("v=0") : good.index("m=audio")] + good[good.index("m=application") :]
        cases = {
            "no audio": without_audio,
            "no transport": "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
            "no codec": good.replace("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVPF 119", 1).replace("opus", "speex")
            .replace("PCMU", "GSM").replace("PCMA", "LPC").replace("G722", "G728"),
            "garbled": good.replace("a=fingerprint:", "a=fingerprint "),
        }  # fmt: skip
        for name, offer in cases.items():
            answer = await browser.vendor.offer(offer)
            assert answer.body is not None, name
            assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_offer"), name
        assert {call.state for call in browser.vendor.service.calls.all} <= {CallState.ENDED}
        assert browser.vendor.service.sessions == []


async def test_a_phrase_survives_a_microphone_that_stutters() -> None:
    """Frames that come in bursts are the same sound."""
    one, other = LoopbackConnection(), LoopbackConnection()
    heard = Listener("pcm16", 24000)
    track, silent = SpeakingTrack(), SpeakingTrack()
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def hear(frame: bytes) -> None:
        heard.feed(frame)
        if heard.heard and not done.done():
            done.set_result(None)

    tasks: list[asyncio.Task[None]] = []
    other.on("track", lambda track: tasks.append(loop.create_task(listen(track, hear))))
    one.addTrack(track)
    await one.accept(await other.make_answer(await one.make_offer(), silent))
    sound = speak("goodbye", "pcm16", 24000)
    for start in range(0, len(sound), 960):
        track.put(sound[start : start + 960].ljust(960, b"\0"))
    async with asyncio.timeout(20):
        await done
    assert heard.heard[0].phrase == "goodbye"
    assert heard.heard[0].complete
    await one.close()
    await other.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_only_loopback_candidates_are_kept() -> None:
    sdp = "\n".join(
        [
            "v=0",
            "a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host",
            "a=candidate:2 1 udp 2130706431 ::1 5001 typ host",
            "a=candidate:3 1 udp 2130706431 10.0.0.7 5002 typ host",
            "a=candidate:4 1 udp 2130706431 0b7d.local 5003 typ host",
            "a=candidate:5",
            "a=end-of-candidates",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        ]
    )
    assert [line.partition(" ")[0] for line in reachable(sdp).split("\r\n")] == [
        "v=0",
        "a=candidate:1",
        "a=candidate:2",
        "m=audio",
        "",
    ]


async def test_the_data_channel_takes_text_only() -> None:
    async with calling() as browser:
        await browser.call()
        browser.peer._channel.send(b"\0\1")  # type: ignore[attr-defined]
        error = await browser.event("error")
        assert error["error"]["code"] == "invalid_event"
        browser.peer.send("{")
        error = await browser.event("error")
        assert error["error"]["code"] == "invalid_json"
        assert [message.kind for message in browser.vendor.wire(source="browser")] == ["binary", "malformed"]


async def test_a_call_without_webrtc_is_refused() -> None:
    vendor = Vendor()
    sdp = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
    answer = vendor.request(CALLS, sdp, key=vendor.mint(), content_type="application/sdp")
    assert isinstance(answer, HttpAnswer)
    assert answer.status == 501
    assert json.dumps(answer.body).count("webrtc_not_served") == 1


@pytest.mark.parametrize("missing", ["aiortc", "av"])
def test_without_the_extra_it_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "fakes.openai.webrtc")
    with pytest.raises(ImportError, match=r"pip install callproof\[webrtc\]"):
        importlib.import_module("fakes.openai.webrtc")


async def test_without_the_extra_an_offer_is_refused_and_its_call_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    monkeypatch.delitem(sys.modules, "fakes.openai.webrtc")
    vendor = Vendor()
    UdpWebRtc(vendor.service)
    sdp = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
    offered = vendor.request(CALLS, sdp, key=vendor.mint(), content_type="application/sdp")
    assert isinstance(offered, Offered)
    answer = await vendor.service.answer(offered)
    assert (answer.status, offered.call.state) == (501, CallState.ENDED)


async def test_a_fault_of_whoever_listens_is_told() -> None:
    told: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    fault = RuntimeError("a fault of the fake")

    async def work() -> None:
        raise fault

    task = loop.create_task(work())
    task.add_done_callback(report_fault)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert told == [fault]
