"""A vendor with calls and a browser that makes them, for tests on either stage: the same stories, another transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import date
from typing import Any, Protocol

from openai_world import GA_DAY, KEY, START

from fakes.audio import Listener, phrase, speak
from fakes.knobs import Knobs
from fakes.local import ListRecorder, LoopClock, OpenGates, Recorded, TypicalChoices
from fakes.openai import KNOBS, Brain, KeyInfo, OpenAIService, RealtimeSession
from fakes.openai.calls import Answerer, Call
from fakes.openai.http import HttpAnswer, HttpRequest, Offered
from fakes.people.peers import PeerConnection, PeerEvents
from fakes.ports import Ports

Event = dict[str, Any]
CALLS = "/v1/realtime/calls"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class ClosingAnswerer(Answerer, Protocol):
    async def close(self) -> None: ...


class Vendor:
    """The service on the running loop, its keys and its record."""

    def __init__(self, *, day: date = GA_DAY, brain: Brain | None = None, **knobs: Any) -> None:
        settings = Knobs.load(KNOBS)
        for name, value in knobs.items():
            settings.set(f"openai.{name}", value)
        self.clock = LoopClock(wall=START)
        self.recorder = ListRecorder()
        ports = Ports(self.clock, TypicalChoices(), self.recorder, OpenGates())
        self.service = OpenAIService(ports, as_of=day, keys={KEY: KeyInfo()}, knobs=settings, brain=brain)
        self.answerer: ClosingAnswerer

    def serve(self, answerer: ClosingAnswerer) -> None:
        self.service.answerer = answerer
        self.answerer = answerer

    def request(self, path: str, body: str = "", *, key: str = KEY, content_type: str = "application/json") -> Any:
        headers = {"authorization": f"Bearer {key}", "content-type": content_type, "origin": "https://talk.example"}
        return self.service.http(HttpRequest("POST", path, headers, {}, body.encode()))

    def mint(self, **session: Any) -> str:
        body = {"session": {"type": "realtime", "model": "gpt-realtime", **session}}
        answer = self.request("/v1/realtime/client_secrets", json.dumps(body))
        assert isinstance(answer, HttpAnswer)
        assert answer.body is not None
        assert answer.status == 200, answer.body
        return str(answer.body["value"])

    async def offer(self, sdp: str, key: str | None = None, path: str = CALLS) -> HttpAnswer:
        offered = self.request(path, sdp, key=key or self.mint(), content_type="application/sdp")
        return await self.service.answer(offered) if isinstance(offered, Offered) else offered

    def hang_up(self, call: Call) -> int:
        answer = self.request(f"{CALLS}/{call.id}/hangup")
        assert isinstance(answer, HttpAnswer)
        return answer.status

    @property
    def call(self) -> Call:
        """The last call."""
        return self.service.calls.all[-1]

    @property
    def session(self) -> RealtimeSession:
        assert self.call.running is not None
        return self.call.running

    def wire(self, *, source: str | None = None) -> list[Recorded]:
        """What has crossed data channels."""
        messages = [message for message in self.recorder.messages if message.channel == "openai.datachannel"]
        return [message for message in messages if source is None or message.source == source]


class Browser:
    """A page with a peer connection: what has come over it, and ways to wait for more."""

    def __init__(self, vendor: Vendor, connect: Callable[[PeerEvents], PeerConnection], *, gaps: bool) -> None:
        self.vendor = vendor
        self.events: list[Event] = []
        self.ear = Listener("pcm16", 24000)
        self.closed_by: str | None = None
        self.is_open = False
        self.frames = 0
        self._gaps = gaps
        self._seen = 0
        self._heard = 0
        self._waiters: list[asyncio.Future[None]] = []
        self.peer = connect(self)

    # -- PeerEvents

    def opened(self) -> None:
        assert not self.is_open
        self.is_open = True
        self._changed()

    def message(self, text: str) -> None:
        self.events.append(json.loads(text))
        self._changed()

    def audio(self, pcm: bytes) -> None:
        assert len(pcm) == 960
        self.frames += 1
        self.ear.feed(pcm, self.vendor.clock.now() * 1000 if self._gaps else None)
        self._changed()

    def closed(self, reason: str) -> None:
        assert self.closed_by is None
        self.closed_by = reason
        self._changed()

    def _changed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- what the person and the page do

    async def until(self, condition: Callable[[], Any], within: float = 20) -> Any:
        try:
            async with asyncio.timeout(within):
                while not (value := condition()):
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            kinds = [event["type"] for event in self.events]
            raise AssertionError(f"not within {within} s; came: {kinds}; heard: {self.ear.heard}") from None
        return value

    async def call(self, key: str | None = None, path: str = CALLS) -> None:
        """Make the call, and wait for its session."""
        answer = await self.vendor.offer(await self.peer.offer(), key, path)
        assert answer.status == 201, answer.body
        await self.peer.accept(answer.text)
        await self.event("session.created")

    def send(self, kind: str, **fields: Any) -> None:
        self.peer.send(json.dumps({"type": kind, **fields}))

    def say(self, phrase: str) -> None:
        self.peer.speak(speak(phrase, "pcm16", 24000))

    async def event(self, kind: str, within: float = 20) -> Event:
        """The next event of a type, after the last one that was asked for."""

        def find() -> Event | None:
            for index in range(self._seen, len(self.events)):
                if self.events[index]["type"] == kind:
                    self._seen = index + 1
                    return self.events[index]
            return None

        found: Event = await self.until(find, within)
        return found

    async def hears(self, phrase: str) -> None:
        """The next phrase that is heard to its end."""
        await self.until(lambda: len(self.ear.heard) > self._heard)
        assert self.ear.heard[self._heard].phrase == phrase, self.ear.heard
        assert self.ear.heard[self._heard].complete, self.ear.heard
        self._heard += 1

    def types(self) -> list[str]:
        return [str(event["type"]) for event in self.events]


# -- stories


async def greeting(browser: Browser) -> None:
    """The model speaks first."""
    browser.send("response.create")
    done = await browser.event("response.done")
    await browser.event("output_audio_buffer.stopped")
    await browser.hears("greeting")
    assert done["response"]["status"] == "completed"
    kinds = browser.types()
    assert kinds[:2] == ["session.created", "response.created"]
    assert "response.output_audio.delta" not in kinds
    for kind in ("response.output_audio_transcript.delta", "response.output_audio.done", "response.content_part.done"):
        assert kind in kinds
    started = kinds.index("output_audio_buffer.started")
    assert kinds.index("response.content_part.added") < started < kinds.index("response.done")
    buffer = [event for event in browser.events if event["type"].startswith("output_audio_buffer")]
    assert [event["response_id"] for event in buffer] == [done["response"]["id"]] * 2


async def turn(browser: Browser) -> None:
    """The person asks, the model answers."""
    browser.say("what_time")
    started = await browser.event("input_audio_buffer.speech_started")
    await browser.event("input_audio_buffer.speech_stopped")
    committed = await browser.event("input_audio_buffer.committed")
    assert committed["item_id"] == started["item_id"]
    await browser.event("response.done")
    await browser.event("output_audio_buffer.stopped")
    await browser.hears("its_noon")
    assert [heard.phrase for heard in browser.vendor.session.heard][-1] == "what_time"


async def tool_call(browser: Browser) -> None:
    """The model calls a function of the page over the data channel."""
    browser.send("session.update", session={"type": "realtime", "tools": [WEATHER]})
    await browser.event("session.updated")
    browser.say("weather")
    call = await browser.event("response.function_call_arguments.done")
    assert json.loads(call["arguments"]) == {"city": "Berlin"}
    done = await browser.event("response.done")
    assert [item["type"] for item in done["response"]["output"]] == ["function_call"]
    item = {"type": "function_call_output", "call_id": call["call_id"], "output": '{"sky": "clear"}'}
    browser.send("conversation.item.create", item=item)
    browser.send("response.create")
    await browser.event("output_audio_buffer.stopped")
    await browser.hears("weather_sunny")


async def interruption(browser: Browser) -> None:
    """The person speaks into a long answer: the vendor stops, and knows what was heard."""
    browser.send("response.create", response={"instructions": f"Say this: {phrase('long_answer').text}"})
    await browser.event("output_audio_buffer.started")
    await browser.until(lambda: browser.ear.current is not None and browser.ear.current.phrase == "long_answer")
    browser.say("stop_please")
    await browser.event("input_audio_buffer.speech_started")
    cleared = await browser.event("output_audio_buffer.cleared")
    truncated = await browser.event("conversation.item.truncated")
    # Whether the response was done already, or is cancelled now: it is told before the truncation.
    done = next(event for event in reversed(browser.events) if event["type"] == "response.done")
    assert cleared["response_id"] == done["response"]["id"]
    assert truncated["item_id"] == done["response"]["output"][0]["id"]
    heard = await browser.until(lambda: len(browser.ear.heard) > browser._heard and browser.ear.heard[browser._heard])
    browser._heard += 1
    assert heard.phrase == "long_answer"
    assert not heard.complete
    assert abs(truncated["audio_end_ms"] - (heard.end_ms - heard.start_ms)) < 150
    await browser.event("output_audio_buffer.stopped")
    await browser.hears("anything_else")


async def hung_up(browser: Browser) -> None:
    """Somebody's server hangs up over HTTP."""
    call = browser.vendor.call
    assert browser.vendor.hang_up(call) == 200
    assert await browser.until(lambda: browser.closed_by)
    assert call.state.value == "ended"
    assert browser.vendor.session.closed is not None
    assert browser.vendor.hang_up(call) == 404
