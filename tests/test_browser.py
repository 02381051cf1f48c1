"""People at a browser (`fakes.people.browser`), and their network (`conformance.browsing`)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from manual_clock import ManualClock

from conformance.assembly import PhoneWorld
from conformance.browsing import Answer, Refused, Web
from fakes import audio
from fakes.local import ListRecorder, OpenGates, TypicalChoices
from fakes.people.browser import Browser
from fakes.people.errors import NotConnected, NotEnded, NotHeard
from fakes.ports import Ports
from harness.profile import Profile, load_profile
from harness.talk import Meaning, RelayCodec, RelayFrame, RelayTable
from harness.wire import Wire

TABLE = RelayTable(
    url="url",
    audio={"type": "audio", "audio": "{audio}"},
    heard=Meaning(where={"type": "audio"}, audio="audio", item="item"),
    text={"type": "text", "text": "{text}"},
    interrupted={"type": "interrupt", "item": "{item}", "played_ms": "{played_ms}"},
    end={"type": "end"},
    cleared=Meaning(where={"type": "clear"}),
    ready=Meaning(where={"type": "ready"}),
)
PIECE = 40 * 48
"""Bytes of 40 ms at 24 kHz."""


class Socket:
    """A relay's WebSocket that keeps what is sent."""

    connection = "browser/relay#1"

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.state = "open"

    def send(self, frame: str | bytes, kind: str) -> None:
        self.sent.append((kind, json.loads(frame)))

    def close(self) -> None:
        self.state = "closed"

    def stall(self) -> None:
        self.state = "stalled"

    def lose(self) -> None:
        self.state = "lost"

    def microphone(self) -> bytes:
        """All that the microphone has heard."""
        return b"".join(base64.b64decode(frame["audio"]) for kind, frame in self.sent if kind == "audio")


class Peer:
    """A peer connection that keeps what is sent over it."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.spoken = b""
        self.closed = False

    async def offer(self) -> str:
        raise NotImplementedError

    async def accept(self, answer: str) -> None:
        raise NotImplementedError

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def speak(self, pcm: bytes) -> None:
        self.spoken += pcm

    async def close(self) -> None:
        self.closed = True


class Desk:
    """A browser, its clock, and what it is connected to."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.recorder = ListRecorder()
        self.browser = Browser(Ports(self.clock, TypicalChoices(), self.recorder, OpenGates()), **options)
        self.socket = Socket()
        self.peer = Peer()

    def on_relay(self) -> Desk:
        self.browser.join_relay(self.socket, RelayCodec(TABLE))
        return self

    def over_webrtc(self) -> Desk:
        self.browser.join_peer(self.peer)
        return self

    def plays(self, phrase: str, item: str = "item1", seconds: float = 60) -> None:
        """The relay sends a phrase, or its beginning, all at once."""
        pcm = audio.speak(phrase, "pcm16", 24000)[: int(seconds * 48000)]
        for start in range(0, len(pcm), PIECE):
            self.browser.frame(RelayFrame("heard", pcm[start : start + PIECE], {"item": item}))

    async def passes(self, story: Awaitable[Any], seconds: float = 30) -> Any:
        """Let time pass until `story` ends."""
        task = asyncio.ensure_future(story)
        for _ in range(round(seconds * 100)):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if task.done():
                return task.result()
            self.clock.advance(0.01)
        raise AssertionError("the story did not end")


async def test_the_microphone_is_on_from_the_beginning_and_says_what_is_said() -> None:
    desk = Desk().on_relay()
    desk.clock.advance(0.4)
    before = desk.socket.microphone()
    assert before == bytes(len(before))
    assert len(before) == 11 * PIECE
    await desk.passes(desk.browser.says("what_time"))
    desk.clock.advance(0.1)
    listener = audio.Listener("pcm16", 24000)
    listener.feed(desk.socket.microphone())
    listener.flush()
    assert [(heard.phrase, heard.complete) for heard in listener.heard] == [("what_time", True)]
    assert desk.browser.saying is None


async def test_what_comes_at_once_is_played_in_its_own_time() -> None:
    desk = Desk().on_relay()
    desk.plays("its_noon")
    heard = await desk.passes(desk.browser.hears("its_noon"))
    length = audio.phrase("its_noon").duration_ms
    assert heard.complete
    assert heard.end_ms - heard.start_ms == pytest.approx(length, abs=60)
    with pytest.raises(NotHeard, match="did not hear 'thanks' within 1 s"):
        await desk.passes(desk.browser.hears("thanks", within=1))


async def test_a_page_that_is_told_to_stop_falls_silent_and_tells_how_much_was_heard() -> None:
    desk = Desk().on_relay()
    desk.plays("long_answer")
    await desk.passes(desk.browser.starts_hearing("long_answer"))
    desk.clock.advance(2)
    played = desk.clock.now() * 1000
    desk.browser.frame(RelayFrame("cleared"))
    [(_, told)] = [frame for frame in desk.socket.sent if frame[0] == "interrupted"]
    assert told == {"type": "interrupt", "item": "item1", "played_ms": pytest.approx(played, abs=40)}
    await desk.passes(desk.browser.stops_hearing())
    assert [heard.complete for heard in desk.browser.heard] == [False]
    desk.browser.frame(RelayFrame("cleared"))
    assert len([kind for kind, _ in desk.socket.sent if kind == "interrupted"]) == 1, "nothing was playing any more"


async def test_a_relay_takes_typed_messages_and_frames_of_any_kind() -> None:
    desk = Desk().on_relay()
    desk.browser.types("Hello?")
    desk.browser.sends_frame("[]", "nonsense")
    assert desk.socket.sent[-2:] == [("text", {"type": "text", "text": "Hello?"}), ("nonsense", [])]
    with pytest.raises(NotConnected, match="has no data channel: it talks over the relay"):
        desk.browser.sends({"type": "response.create"})


async def test_what_is_told_is_kept_and_can_be_waited_for() -> None:
    desk = Desk().on_relay()
    desk.browser.frame(RelayFrame("ready"))
    assert (await desk.browser.is_told("ready")).at == 0
    with pytest.raises(NotConnected, match="was not told error within 2 s, but ready"):
        await desk.passes(desk.browser.is_told("error", within=2))
    desk.browser.over("refused")
    with pytest.raises(NotConnected, match=r"was not told error before the session ended \(refused\)"):
        await desk.browser.is_told("error")


async def test_leaving_closes_the_socket_and_turns_everything_off() -> None:
    desk = Desk().on_relay()
    desk.plays("long_answer")
    desk.browser.start_saying("long_story")
    desk.clock.advance(1)
    with pytest.raises(NotEnded, match="was still in its session after 1 s"):
        await desk.passes(desk.browser.ended(within=1))
    await desk.browser.leave()
    await desk.browser.leave()
    assert desk.socket.state == "closed"
    assert await desk.browser.ended() == "left"
    assert desk.clock.pending == 0
    sent = len(desk.socket.sent)
    desk.browser.frame(RelayFrame("heard", bytes(PIECE)))
    desk.clock.advance(1)
    assert len(desk.socket.sent) == sent
    with pytest.raises(NotConnected, match=r"cannot say 'yes': the session is over \(left\)"):
        desk.browser.start_saying("yes")


@pytest.mark.parametrize(
    ("what", "state", "connected", "sends"),
    [("vanishes", "lost", False, False), ("stalls", "stalled", True, True), ("freezes", "stalled", True, False)],
)
async def test_ways_to_be_a_bad_browser(what: str, state: str, connected: bool, sends: bool) -> None:
    desk = Desk().on_relay()
    desk.browser.start_saying("long_story")
    desk.clock.advance(1)
    sent = len(desk.socket.sent)
    getattr(desk.browser, what)()
    desk.clock.advance(1)
    assert desk.socket.state == state
    assert desk.browser.is_connected is connected
    assert (len(desk.socket.sent) > sent) is sends
    assert desk.browser.ended_by == ("" if connected else "lost")


async def test_only_a_relay_can_be_stalled() -> None:
    desk = Desk().over_webrtc()
    with pytest.raises(NotConnected, match="has no relay: it talks over WebRTC"):
        desk.browser.stalls()
    with pytest.raises(NotConnected, match="cannot vanish: there was no session"):
        Desk().browser.vanishes()


async def test_over_webrtc_speech_goes_to_the_track_and_words_over_the_data_channel() -> None:
    desk = Desk().over_webrtc()
    await desk.passes(desk.browser.says("yes"))
    assert desk.peer.spoken == audio.speak("yes", "pcm16", 24000)
    assert desk.clock.now() == pytest.approx(audio.phrase("yes").duration_ms / 1000, abs=0.05)
    desk.browser.types("Hello?")
    assert [event["type"] for event in desk.peer.sent] == ["conversation.item.create", "response.create"]
    desk.browser.event('{"type":"session.created","session":{"model":"m"}}')
    assert (await desk.browser.is_told("session.created")).values["session"] == {"model": "m"}
    await desk.browser.leave()
    assert desk.peer.closed


async def test_what_is_left_out_over_webrtc_is_silence() -> None:
    desk = Desk().over_webrtc()
    sound = audio.speak("long_answer", "pcm16", 24000)[: 2 * 48000]
    for start in range(0, len(sound), 960):
        desk.browser.sound(sound[start : start + 960])
        desk.clock.advance(0.09 if start == 24000 else 0.02)
    assert desk.browser.hearing is not None
    await desk.passes(desk.browser.stops_hearing(within=1))
    assert [(heard.phrase, heard.complete) for heard in desk.browser.heard] == [("long_answer", False)]
    assert desk.browser.heard[0].end_ms == pytest.approx(2070, abs=60)
    desk.clock.advance(1)
    assert desk.clock.pending == 0


async def test_a_page_has_its_tools_run_and_hands_over_the_output() -> None:
    asked = []

    async def tool(name: str, arguments: str) -> str:
        asked.append((name, arguments))
        return "sunny"

    desk = Desk(tool=tool).over_webrtc()
    call = {"type": "response.function_call_arguments.done", "name": "get_weather", "arguments": "{}", "call_id": "c1"}
    desk.browser.event(json.dumps(call))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asked == [("get_weather", "{}")]
    output = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
    assert desk.peer.sent == [{"type": "conversation.item.create", "item": output}, {"type": "response.create"}]


# -- the network


class Gateway:
    """A small gateway: gives out what a test wants, and says back what a browser says."""

    def __init__(self) -> None:
        self.answer: Any = {"transport": "relay", "url": "/talk/relay?ticket=good"}
        self.status = 200
        self.sockets: list[web.WebSocketResponse] = []
        self.origins: list[str | None] = []
        self.ended = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/talk/session", self.session)
        app.router.add_get("/talk/relay", self.relay)
        app.router.add_get("/talk", self.page)
        return app

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text=f"<p>{request.query_string}</p>", content_type="text/html")

    async def session(self, request: web.Request) -> web.Response:
        self.origins.append(request.headers.get("Origin"))
        if request.headers.get("Authorization") != "Bearer talk-secret":
            return web.json_response({"error": {"code": "talk_token_wrong"}}, status=401)
        return web.json_response(self.answer, status=self.status)

    async def relay(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("ticket") != "good":
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        await socket.send_json({"type": "ready"})
        try:
            async for message in socket:
                await self.answers(socket, message.json())
        except ConnectionError:
            pass  # it was lost while something was on its way to it
        finally:
            self.ended.set()
        return socket

    async def answers(self, socket: web.WebSocketResponse, told: dict[str, Any]) -> None:
        if told["type"] == "audio":
            await socket.send_json({**told, "item": "echo"})
        elif told["type"] == "end":
            await socket.send_json({"type": "ended", "reason": "end"})
            await socket.close()


class Site:
    """A gateway, and the browsers that come to it."""

    def __init__(self, gateway: Gateway, web: Web, wire: Wire) -> None:
        self.gateway = gateway
        self.web = web
        self.wire = wire

    def kinds(self, channel: str) -> list[str]:
        """The kinds of messages that crossed, but for audio."""
        return [message.kind for message in self.wire if message.channel == channel and message.kind != "audio"]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    gateway = Gateway()
    server = TestServer(gateway.app())
    await server.start_server()
    loop = asyncio.get_running_loop()
    began = loop.time()
    wire = Wire(lambda: loop.time() - began)
    values = {
        "public_url": str(server.make_url("")).rstrip("/"),
        "openai.base_url": "https://api.openai.com/v1",
        "talk.token": "talk-secret",
    }

    class Clock:
        def now(self) -> float:
            return loop.time() - began

        def wall(self) -> float:
            return self.now()

        def call_at(self, when: float, callback: Any) -> asyncio.TimerHandle:
            return loop.call_at(began + when, callback)

    ports = Ports(Clock(), TypicalChoices(), wire, OpenGates())
    world = SimpleNamespace(
        profile=reference(),
        wire=wire,
        values=lambda: values,
        stage=SimpleNamespace(routes=dict),
        openai=SimpleNamespace(ports=ports),
    )
    browsers = Web(cast(PhoneWorld, world), lambda events: Peer())
    yield Site(gateway, browsers, wire)
    await browsers.close()
    await server.close()


def reference() -> Profile:
    """The profile of the reference gateway."""
    return load_profile(Path(__file__).parents[1] / "conformance" / "gateways" / "reference")


async def test_a_browser_joins_a_relay_and_is_heard(site: Site) -> None:
    browser = await site.web.talks("relay")
    assert browser.connection == "browser/relay#2"
    assert site.gateway.origins == [site.web.origin]
    await browser.says("yes")
    heard = await browser.hears("yes", within=5)
    assert heard.complete
    browser.sends_frame(json.dumps({"type": "end"}), "end")
    assert await browser.ended(within=5) == "end"
    assert site.kinds("talk.relay") == ["upgrade", "upgrade.accepted", "ready", "end", "ended", "close"]
    assert site.kinds("gateway.http") == ["request", "response"]


async def test_leaving_and_vanishing_reach_the_gateway(site: Site) -> None:
    first = await site.web.talks("relay")
    await first.leave()
    await site.gateway.ended.wait()
    assert site.gateway.sockets[0].close_code == 1001
    site.gateway.ended.clear()
    second = await site.web.talks("relay")
    second.vanishes()
    await site.gateway.ended.wait()
    assert site.gateway.sockets[1].close_code in (None, 1006), "there was no close frame"


async def test_a_stalled_page_hears_nothing_more(site: Site) -> None:
    browser = await site.web.talks("relay")
    browser.stalls()
    told = len(browser.told)
    for _ in range(3):
        await site.gateway.sockets[0].send_json({"type": "clear"})
    await browser.leave()
    await site.gateway.ended.wait()
    assert len(browser.told) == told


async def test_refusals_are_told_with_the_answer(site: Site) -> None:
    site.gateway.status = 502
    site.gateway.answer = {"error": {"code": "model_not_found"}}
    with pytest.raises(Refused, match="the gateway refused a relay session: 502") as refused:
        await site.web.talks("relay")
    assert refused.value.answer.json["error"]["code"] == "model_not_found"
    site.gateway.status, site.gateway.answer = 200, {"url": "/talk/relay?ticket=bad"}
    with pytest.raises(Refused, match="the gateway refused the relay: 401"):
        await site.web.talks("relay")
    assert site.kinds("talk.relay") == ["upgrade", "upgrade.refused"]
    site.gateway.answer = {"address": "/talk/relay"}
    with pytest.raises(AssertionError, match=r"no text at 'url' \(talk.relay.url\); it has address"):
        await site.web.talks("relay")


async def test_a_strange_origin_or_none_is_sent_as_said(site: Site) -> None:
    assert (await site.web.asks("relay", origin="https://evil.example")).ok
    assert (await site.web.asks("relay", origin=None)).ok
    assert site.gateway.origins == ["https://evil.example", None]
    socket = await site.web.opens(f"ws{site.web.origin.removeprefix('http')}/talk/relay?ticket=good", origin=None)
    assert isinstance(socket, aiohttp.ClientWebSocketResponse)
    await socket.close()


async def test_the_page_is_asked_for_without_its_fragment(site: Site) -> None:
    page = await site.web.page()
    assert (page.status, page.text) == (200, "<p></p>")
    assert site.web.page_path() == "/talk"


async def test_what_a_browser_is_given_for_webrtc(site: Site) -> None:
    answer = Answer(200, {}, "", {"client_secret": "ek_1", "calls_url": "https://x.example/calls", "model": "m"})
    grant = site.web.read("webrtc", answer)
    assert (grant.secret, grant.offer_url, grant.model) == ("ek_1", "https://x.example/calls", "m")
    assert "ek_1" not in repr(grant)
    with pytest.raises(
        AssertionError, match=r"no text at 'client_secret' \(talk.webrtc.secret\); it has model, calls_url"
    ):
        site.web.read("webrtc", Answer(200, {}, "", {"model": "m", "calls_url": "https://x.example/calls"}))
