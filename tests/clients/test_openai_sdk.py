"""The vendor's own SDK, async and sync, in both dialects, against the service over real sockets."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import openai
import pytest
from aiohttp import web

from fakes.audio import Heard, Listener, frames, silence
from fakes.local import ListRecorder, LoopClock, OpenGates, TypicalChoices
from fakes.openai import KeyInfo, OpenAIServer, OpenAIService
from fakes.ports import Ports

KEY = "sk-test-0123456789abcd"
DAYS = {"beta": date(2026, 1, 15), "ga": date(2026, 11, 20)}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


class QuickChoices(TypicalChoices):
    """Nothing takes longer than it must."""

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        return low_ms / 1000


@dataclass(slots=True)
class Stand:
    """A service on loopback. `http` and `ws` are its base addresses."""

    service: OpenAIService
    recorder: ListRecorder
    http: str
    ws: str

    def options(self) -> dict[str, Any]:
        # The beta half of the SDK always takes wss, unless it is told the address of the WebSocket.
        return {"api_key": KEY, "base_url": self.http, "websocket_base_url": self.ws, "max_retries": 0}

    def invalid(self) -> list[tuple[str, str]]:
        return [(message.kind, message.invalid) for message in self.recorder.messages if message.invalid is not None]


@asynccontextmanager
async def stand(dialect: str) -> AsyncIterator[Stand]:
    recorder = ListRecorder()
    ports = Ports(LoopClock(), QuickChoices(), recorder, OpenGates())
    service = OpenAIService(ports, as_of=DAYS[dialect], keys={KEY: KeyInfo()})
    server = OpenAIServer(service)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield Stand(service, recorder, f"http://{host}:{port}/v1", f"ws://{host}:{port}/v1")
    await server.close()
    await runner.cleanup()


def session(dialect: str, encoding: str, **extra: Any) -> Any:
    if dialect == "beta":
        audio = {"pcmu": "g711_ulaw", "pcm16": "pcm16"}[encoding]
        return {"input_audio_format": audio, "output_audio_format": audio, **extra}
    wanted = {"pcmu": {"type": "audio/pcmu"}, "pcm16": {"type": "audio/pcm", "rate": 24000}}[encoding]
    return {"type": "realtime", "audio": {"input": {"format": wanted}, "output": {"format": wanted}}, **extra}


def spoken(phrase: str, encoding: str, quiet_ms: int = 400) -> list[str]:
    rate = 8000 if encoding == "pcmu" else 24000
    sound = [*frames(phrase, encoding, rate), *[silence(20, encoding, rate)] * (quiet_ms // 20)]
    return [base64.b64encode(frame).decode() for frame in sound]


def ear(encoding: str) -> Listener:
    return Listener(encoding, 8000 if encoding == "pcmu" else 24000)


def phrases(listener: Listener) -> list[tuple[str, bool]]:
    listener.flush()
    heard: list[Heard] = listener.heard
    return [(found.phrase, found.complete) for found in heard]


def realtime(client: Any, dialect: str) -> Any:
    return client.beta.realtime if dialect == "beta" else client.realtime


@pytest.mark.parametrize("dialect", ["beta", "ga"])
@pytest.mark.parametrize("encoding", ["pcmu", "pcm16"])
async def test_a_greeting_and_a_spoken_turn(dialect: str, encoding: str) -> None:
    async with stand(dialect) as s, openai.AsyncOpenAI(**s.options()) as client:
        async with realtime(client, dialect).connect(model="gpt-realtime") as connection:
            assert (await connection.recv()).type == "session.created"
            await connection.session.update(session=session(dialect, encoding))
            await connection.response.create()
            listener = ear(encoding)
            turns = 0
            async for event in connection:
                if event.type in ("response.audio.delta", "response.output_audio.delta"):
                    listener.feed(base64.b64decode(event.delta))
                elif event.type == "response.done":
                    assert event.response.status == "completed"
                    turns += 1
                    if turns == 2:
                        break
                    for audio in spoken("what_time", encoding):
                        await connection.input_audio_buffer.append(audio=audio)
        assert phrases(listener) == [("greeting", True), ("its_noon", True)]
        assert [heard.phrase for heard in s.service.sessions[0].heard] == ["what_time"]
        assert s.invalid() == []


@pytest.mark.parametrize("dialect", ["beta", "ga"])
async def test_a_tool_call(dialect: str) -> None:
    async with stand(dialect) as s, openai.AsyncOpenAI(**s.options()) as client:
        async with realtime(client, dialect).connect(model="gpt-realtime") as connection:
            await connection.session.update(session=session(dialect, "pcmu", tools=[WEATHER]))
            for audio in spoken("weather", "pcmu"):
                await connection.input_audio_buffer.append(audio=audio)
            transcript = ""
            async for event in connection:
                if event.type == "response.function_call_arguments.done":
                    assert event.arguments == '{"city":"Berlin"}'
                    output = {"type": "function_call_output", "call_id": event.call_id, "output": '{"sky":"blue"}'}
                elif event.type == "response.done":
                    if event.response.output[0].type == "message":
                        break
                    assert event.response.output[0].name == "get_weather"
                    await connection.conversation.item.create(item=output)
                    await connection.response.create()
                elif event.type.endswith("audio_transcript.done"):
                    transcript = event.transcript
        assert transcript.startswith("It is sunny today")
        assert s.invalid() == []


@pytest.mark.parametrize("dialect", ["beta", "ga"])
async def test_an_interruption(dialect: str) -> None:
    async with stand(dialect) as s, openai.AsyncOpenAI(**s.options()) as client:
        async with realtime(client, dialect).connect(model="gpt-realtime") as connection:
            await connection.session.update(session=session(dialect, "pcmu"))
            for audio in spoken("long_story", "pcmu"):
                await connection.input_audio_buffer.append(audio=audio)
            first, item_id = True, ""
            async for event in connection:
                if event.type in ("response.audio.delta", "response.output_audio.delta") and first:
                    first, item_id = False, event.item_id
                    for audio in spoken("stop_please", "pcmu", quiet_ms=0):
                        await connection.input_audio_buffer.append(audio=audio)
                elif event.type == "response.done":
                    assert event.response.status == "cancelled"
                    assert event.response.status_details.reason == "turn_detected"
                    await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=0)
                elif event.type == "conversation.item.truncated":
                    assert (event.item_id, event.audio_end_ms) == (item_id, 0)
                    break
        assert s.invalid() == []


@pytest.mark.parametrize("dialect", ["beta", "ga"])
async def test_the_synchronous_client(dialect: str) -> None:
    def call(options: dict[str, Any]) -> list[tuple[str, bool]]:
        listener = ear("pcmu")
        with (
            openai.OpenAI(**options) as client,
            realtime(client, dialect).connect(model="gpt-realtime") as connection,
        ):
            assert connection.recv().type == "session.created"
            connection.session.update(session=session(dialect, "pcmu"))
            for audio in spoken("hello", "pcmu"):
                connection.input_audio_buffer.append(audio=audio)
            for event in connection:
                if event.type in ("response.audio.delta", "response.output_audio.delta"):
                    listener.feed(base64.b64decode(event.delta))
                elif event.type == "response.done":
                    break
        return phrases(listener)

    async with stand(dialect) as s:
        assert await asyncio.to_thread(call, s.options()) == [("greeting", True)]
        assert s.invalid() == []


async def test_models() -> None:
    async with stand("ga") as s, openai.AsyncOpenAI(**s.options()) as client:
        assert "gpt-realtime" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("gpt-realtime-2")).owned_by == "system"
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("no-such-model")
        assert missing.value.code == "model_not_found"
    async with stand("ga") as s, openai.AsyncOpenAI(**{**s.options(), "api_key": "sk-wrong-0123456789"}) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
        assert refused.value.code == "invalid_api_key"


async def test_the_beta_client_today() -> None:
    async with stand("ga") as s, openai.AsyncOpenAI(**s.options()) as client:
        async with client.beta.realtime.connect(model="gpt-realtime") as connection:
            error: Any = await connection.recv()
            assert error.error.code == "beta_api_shape_disabled"
            with pytest.raises(Exception, match="4000") as closed:
                await connection.recv()
        assert "invalid_request_error.beta_api_shape_disabled" in str(closed.value)


async def test_a_client_that_is_wrong_is_told_so() -> None:
    async with stand("ga") as s, openai.AsyncOpenAI(**s.options()) as client:
        async with client.realtime.connect(model="gpt-realtime") as connection:
            beta_session: Any = {"modalities": ["text"]}
            await connection.session.update(session=beta_session, event_id="mine")
            await connection.recv()
            error: Any = await connection.recv()
        assert (error.error.code, error.error.param) == ("missing_required_parameter", "session.type")
        assert error.error.event_id == "mine"
        assert s.invalid() == [("session.update", "session.type is missing")]
