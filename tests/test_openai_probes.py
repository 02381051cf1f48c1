"""Ten probes, each of which a popular mock of OpenAI Realtime answers wrongly, over a WebSocket in virtual time."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from openai_world import GA_DAY, KEY, user_text

from fakes.audio import phrase, silence, speak
from fakes.openai import KeyInfo, OpenAIServer, OpenAIService
from fakes.ports import Ports
from harness.choices import Choices, Typical
from harness.clock import WorldClock
from harness.gates import Gates
from harness.virtual.network import PARTY
from harness.virtual.stage import VirtualStage
from harness.wire import Wire

Event = dict[str, Any]
URL = "wss://api.openai.com/v1/realtime?model=gpt-realtime-2"
START = 1_795_132_800.0


class Socket:
    """A client's end of one session."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    async def send(self, kind: str, **fields: Any) -> None:
        await self._ws.send_str(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str) -> list[Event]:
        """The events up to and with the first of that kind. AssertionError when there is none within a minute."""
        events: list[Event] = []
        try:
            async with asyncio.timeout(60):
                while not events or events[-1]["type"] != kind:
                    message = await self._ws.receive()
                    assert message.type is aiohttp.WSMsgType.TEXT, f"closed with {self._ws.close_code} before {kind}"
                    events.append(json.loads(message.data))
        except TimeoutError:
            raise AssertionError(f"no {kind}, but {[event['type'] for event in events]}") from None
        return events

    async def error(self) -> Event:
        """The next event, which is an error: what is in it."""
        events = await self.until("error")
        assert len(events) == 1, [event["type"] for event in events]
        error: Event = events[0]["error"]
        return error

    async def quiet(self, seconds: float) -> list[Event]:
        """Everything that comes within some seconds."""
        events: list[Event] = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    events.append(json.loads((await self._ws.receive()).data))
        except TimeoutError:
            return events


def probe(
    story: Callable[[Socket], Awaitable[None]], headers: dict[str, str] | None = None, *, fresh: bool = True
) -> None:
    """Run a story with one session of today's OpenAI."""
    stage = VirtualStage(seed=1, wall=START, report=lambda *what: None)

    async def main() -> None:
        clock = WorldClock(asyncio.get_running_loop(), START)
        wire = Wire(clock.now)
        service = OpenAIService(Ports(clock, Choices(Typical()), wire, Gates()), as_of=GA_DAY, keys={KEY: KeyInfo()})
        server = OpenAIServer(service)
        await stage.serve(server)
        PARTY.set("gateway")
        sent = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        async with aiohttp.ClientSession(trust_env=False) as http:
            async with http.ws_connect(URL, headers=sent) as ws:
                socket = Socket(ws)
                if fresh:
                    await socket.until("session.created")
                await story(socket)
            await server.close()
            await stage.close()
        assert [message.invalid for message in wire.messages if message.source == "openai" and message.invalid] == []

    stage.run(main)


async def says(socket: Socket, name: str) -> None:
    """Say a phrase, and be silent for a second."""
    pcm = speak(name, "pcm16", 24000) + silence(1000, "pcm16", 24000)
    for start in range(0, len(pcm), 4800):
        await socket.send("input_audio_buffer.append", audio=base64.b64encode(pcm[start : start + 4800]).decode())


def kinds(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def test_speech_under_server_vad_makes_a_turn_and_an_answer() -> None:
    async def story(socket: Socket) -> None:
        await says(socket, "what_time")
        events = await socket.until("response.done")
        order = [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
        assert kinds(events)[: len(order)] == order
        started, stopped, committed, added, done, _ = events[: len(order)]
        item = started["item_id"]
        assert (stopped["item_id"], committed["item_id"], added["item"]["id"], done["item"]["id"]) == (item,) * 4
        assert stopped["audio_end_ms"] > started["audio_start_ms"]
        assert events[-1]["response"]["output"][0]["content"][0]["transcript"] == phrase("its_noon").text

    probe(story)


@pytest.mark.parametrize("audio", ["no base64!", "AAA", "A===", "äöü"])
def test_what_is_no_base64_is_an_error(audio: str) -> None:
    async def story(socket: Socket) -> None:
        await socket.send("input_audio_buffer.append", audio=audio, event_id="mine")
        error = await socket.error()
        assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio", "mine")

    probe(story)


def test_an_unknown_event_is_an_invalid_value_of_type() -> None:
    async def story(socket: Socket) -> None:
        await socket.send("session.upgrade")
        error = await socket.error()
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_value", "type")
        assert error["message"].startswith("Invalid value: 'session.upgrade'. Supported values are: 'session.update', ")

    probe(story)


def test_nothing_can_be_cancelled_when_nothing_is_active() -> None:
    async def story(socket: Socket) -> None:
        await socket.send("response.cancel")
        error = await socket.error()
        assert (error["code"], error["param"]) == ("response_cancel_not_active", None)
        assert error["message"] == "Cancellation failed: no active response found"

    probe(story)


@pytest.mark.parametrize(
    ("event", "more"),
    [
        ("conversation.item.truncate", {"content_index": 0, "audio_end_ms": 0}),
        ("conversation.item.delete", {}),
        ("conversation.item.retrieve", {}),
    ],
)
def test_an_item_that_is_not_there_is_an_error(event: str, more: dict[str, int]) -> None:
    async def story(socket: Socket) -> None:
        await socket.send(event, item_id="item_nowhere", **more)
        error = await socket.error()
        assert error["param"] == "item_id"
        assert "item_nowhere" in error["message"]

    probe(story)


def test_there_is_one_response_at_a_time() -> None:
    async def story(socket: Socket) -> None:
        await socket.send("response.create")
        created = (await socket.until("response.created"))[-1]
        await socket.send("response.create", event_id="second")
        error = (await socket.until("error"))[-1]["error"]
        assert error["code"] == "conversation_already_has_active_response"
        assert created["response"]["id"] in error["message"]
        assert error["event_id"] == "second"
        done = [e for e in await socket.quiet(30) if e["type"] == "response.done"]
        assert [e["response"]["id"] for e in done] == [created["response"]["id"]]

    probe(story)


def test_a_cancel_stops_the_deltas() -> None:
    async def story(socket: Socket) -> None:
        await socket.send("response.create", response={"instructions": f"Say this: {phrase('long_answer').text}"})
        await socket.until("response.output_audio.delta")
        await asyncio.sleep(0.2)
        await socket.send("response.cancel")
        events = await socket.until("response.done")
        response = events[-1]["response"]
        assert (response["status"], response["status_details"]["reason"]) == ("cancelled", "client_cancelled")
        assert response["output"][0]["status"] == "incomplete"
        after = await socket.quiet(30)
        assert [kind for kind in kinds(after) if kind != "rate_limits.updated"] == []

    probe(story)


def test_an_unknown_field_of_a_session_changes_nothing() -> None:
    async def story(socket: Socket) -> None:
        update = {"type": "realtime", "instructions": "Speak like a pirate.", "colour": "blue"}
        await socket.send("session.update", session=update)
        error = await socket.error()
        assert (error["code"], error["param"]) == ("unknown_parameter", "session.colour")
        assert error["message"] == "Unknown parameter: 'session.colour'."
        await socket.send("session.update", session={"type": "realtime"})
        session = (await socket.until("session.updated"))[-1]["session"]
        assert "pirate" not in session["instructions"]

    probe(story)


def test_the_beta_is_refused_today() -> None:
    async def story(socket: Socket) -> None:
        error = await socket.error()
        assert error["code"] == "beta_api_shape_disabled"
        ended = await socket._ws.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 4000)
        assert ended.extra == "invalid_request_error.beta_api_shape_disabled"

    probe(story, {"OpenAI-Beta": "realtime=v1"}, fresh=False)


def test_responses_out_of_band_are_kept_apart() -> None:
    async def story(socket: Socket) -> None:
        for name in ("its_noon", "long_answer"):
            await socket.send(
                "response.create",
                response={
                    "conversation": "none",
                    "metadata": {"name": name},
                    "output_modalities": ["text"],
                    "instructions": f"Say this: {phrase(name).text}",
                    "input": [user_text("Speak.")],
                },
            )
        events = [e for e in await socket.quiet(60) if e["type"].startswith("response.")]
        done = [e["response"] for e in events if e["type"] == "response.done"]
        assert len({response["id"] for response in done}) == 2
        order = [e["response_id"] for e in events if e["type"] == "response.output_text.delta"]
        switches = sum(one != other for one, other in itertools.pairwise(order))
        assert switches > 3, "they did not run at the same time"
        for response in done:
            text = "".join(
                e["delta"]
                for e in events
                if e["type"] == "response.output_text.delta" and e["response_id"] == response["id"]
            )
            assert text == phrase(response["metadata"]["name"]).text == response["output"][0]["content"][0]["text"]
            assert response["conversation_id"] is None
            items = {e["item_id"] for e in events if e.get("response_id") == response["id"] and "item_id" in e}
            assert items == {response["output"][0]["id"]}

    probe(story)
