"""The vendor's Agents SDK for Python, its realtime half over WebSocket, against the service over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import agents
import agents.realtime as sdk
import pytest
from openai_stand import KEY, MODEL, Stand, ear, phrases, sound, stand
from websockets.exceptions import ConnectionClosedError

from fakes.audio import Listener

agents.set_tracing_disabled(True)


@agents.function_tool  # type: ignore[untyped-decorator]
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"blue sky over {city}"


@asynccontextmanager
async def conversation(s: Stand, encoding: str = "g711_ulaw", **settings: Any) -> AsyncIterator[Any]:
    """A session of an agent that has one tool, over WebSocket."""
    agent = sdk.RealtimeAgent(name="Receptionist", instructions="Be brief.", tools=[get_weather])
    audio = {"input_audio_format": encoding, "output_audio_format": encoding, "voice": "marin", "model_name": MODEL}
    turns = {"turn_detection": {"type": "server_vad", "interrupt_response": True, "create_response": True}}
    runner = sdk.RealtimeRunner(agent, config={"model_settings": {**audio, **turns, **settings}})
    where = {"api_key": KEY, "url": f"{s.ws}/realtime?model={MODEL}"}
    async with await runner.run(model_config=where) as running:
        yield running


async def hear(running: Any, listener: Listener) -> None:
    """Listen to the model until it has said what it has to say."""
    async for event in running:
        assert event.type != "error", event
        if event.type == "audio":
            listener.feed(event.audio.data)
        elif event.type == "audio_end":
            return


async def speak(running: Any, phrase: str, encoding: str = "pcmu", quiet_ms: int = 400) -> None:
    for frame in sound(phrase, encoding, quiet_ms):
        await running.send_audio(frame)


async def test_a_greeting() -> None:
    async with stand() as s, conversation(s) as running:
        await running.send_message("Please greet the caller.")
        listener = ear("pcmu")
        await hear(running, listener)
        assert phrases(listener) == [("greeting", True)]
        shown = next(event for event in s.sent() if event["type"] == "session.updated")["session"]
        assert (shown["instructions"], shown["audio"]["output"]["voice"]) == ("Be brief.", "marin")
        assert "openai-beta" not in s.headers()
        assert (s.invalid(), s.faults("ga")) == ([], [])


@pytest.mark.parametrize(("encoding", "name"), [("pcmu", "g711_ulaw"), ("pcm16", "pcm16")])
async def test_a_spoken_turn(encoding: str, name: str) -> None:
    async with stand() as s, conversation(s, name) as running:
        await speak(running, "what_time", encoding)
        listener = ear(encoding)
        await hear(running, listener)
        assert phrases(listener) == [("its_noon", True)]
        assert s.heard() == ["what_time"]
        assert (s.invalid(), s.faults("ga")) == ([], [])


async def test_semantic_turn_detection_which_is_the_default_of_the_sdk() -> None:
    turns = {"type": "semantic_vad", "interrupt_response": True}
    async with stand() as s, conversation(s, turn_detection=turns) as running:
        await speak(running, "hello", quiet_ms=9000)
        listener = ear("pcmu")
        await hear(running, listener)
        assert phrases(listener) == [("greeting", True)]
        assert (s.invalid(), s.faults("ga")) == ([], [])


async def test_a_tool_call() -> None:
    async with stand() as s, conversation(s) as running:
        await speak(running, "weather")
        listener = ear("pcmu")
        told = []
        async for event in running:
            assert event.type != "error", event
            if event.type in ("tool_start", "tool_end"):
                told.append((event.type, event.tool.name, getattr(event, "output", None)))
            elif event.type == "audio":
                listener.feed(event.audio.data)
            elif event.type == "audio_end":
                break
        assert told == [("tool_start", "get_weather", None), ("tool_end", "get_weather", "blue sky over Berlin")]
        assert phrases(listener) == [("weather_sunny", True)]
        assert (s.invalid(), s.faults("ga")) == ([], [])


async def test_an_interruption() -> None:
    async with stand() as s, conversation(s) as running:
        await speak(running, "long_story")
        item = ""
        async for event in running:
            assert event.type != "error", event
            if event.type == "audio" and not item:
                item = event.item_id
                await speak(running, "stop_please", quiet_ms=0)
            elif event.type == "audio_interrupted":
                assert event.item_id == item
                break
        await s.service.wait_for(lambda: "conversation.item.truncated" in s.kinds())
        done = next(event for event in s.sent() if event["type"] == "response.done")
        assert (done["response"]["status"], done["response"]["status_details"]["reason"]) == (
            "cancelled",
            "turn_detected",
        )
        assert (s.invalid(), s.faults("ga")) == ([], [])


async def test_a_refused_key_is_told() -> None:
    runner = sdk.RealtimeRunner(sdk.RealtimeAgent(name="Receptionist", instructions="Be brief."))
    told = ""
    async with stand() as s:
        where = {"api_key": "sk-wrong-0123456789", "url": f"{s.ws}/realtime?model={MODEL}"}
        # The service has closed before or after the SDK sends its first update: the close is raised, or the error told.
        try:
            async with await runner.run(model_config=where) as running:
                async for event in running:
                    if event.type == "error":
                        told = event.error.code
                        break
        except ConnectionClosedError as closed:
            told = closed.rcvd.reason if closed.rcvd else ""
    assert told.removeprefix("invalid_request_error.") == "invalid_api_key"
