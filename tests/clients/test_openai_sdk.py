"""The vendor's own SDK, async and sync, in both dialects, against the service over real sockets."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import openai
import pytest
from openai_stand import MODEL, WEATHER, ear, phrases, realtime, session, spoken, stand


@pytest.mark.parametrize("dialect", ["beta", "ga"])
@pytest.mark.parametrize("encoding", ["pcmu", "pcm16"])
async def test_a_greeting_and_a_spoken_turn(dialect: str, encoding: str) -> None:
    async with stand(dialect) as s, openai.AsyncOpenAI(**s.options()) as client:
        async with realtime(client, dialect).connect(model=MODEL) as connection:
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
        assert (s.invalid(), s.faults(dialect)) == ([], [])


@pytest.mark.parametrize("dialect", ["beta", "ga"])
async def test_a_tool_call(dialect: str) -> None:
    async with stand(dialect) as s, openai.AsyncOpenAI(**s.options()) as client:
        async with realtime(client, dialect).connect(model=MODEL) as connection:
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
        assert (s.invalid(), s.faults(dialect)) == ([], [])


@pytest.mark.parametrize("dialect", ["beta", "ga"])
async def test_an_interruption(dialect: str) -> None:
    async with stand(dialect) as s, openai.AsyncOpenAI(**s.options()) as client:
        async with realtime(client, dialect).connect(model=MODEL) as connection:
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
        assert (s.invalid(), s.faults(dialect)) == ([], [])


class SynchronousTalk:
    """A conversation by the synchronous client: each method says something, and returns when the model has answered."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.listener = ear("pcmu")

    def say(self, phrase: str, quiet_ms: int = 400) -> None:
        for audio in spoken(phrase, "pcmu", quiet_ms):
            self.connection.input_audio_buffer.append(audio=audio)

    def answer(self, interrupt: str = "") -> Any:
        """The next response, when it is done; it is spoken into as soon as it sounds, if that is wanted."""
        for event in self.connection:
            if event.type in ("response.audio.delta", "response.output_audio.delta"):
                if interrupt:
                    self.say(interrupt, quiet_ms=0)
                    interrupt = ""
                else:
                    self.listener.feed(base64.b64decode(event.delta))
            elif event.type == "response.done":
                return event.response
        raise AssertionError("the connection ended before the response was done")


@pytest.mark.parametrize("dialect", ["beta", "ga"])
async def test_the_synchronous_client(dialect: str) -> None:
    def call(options: dict[str, Any]) -> list[tuple[str, bool]]:
        with (
            openai.OpenAI(**options) as client,
            realtime(client, dialect).connect(model=MODEL) as connection,
        ):
            assert connection.recv().type == "session.created"
            connection.session.update(session=session(dialect, "pcmu", tools=[WEATHER]))
            talk = SynchronousTalk(connection)
            connection.response.create()
            assert talk.answer().status == "completed"
            talk.say("what_time")
            assert talk.answer().status == "completed"
            talk.say("weather")
            called = talk.answer().output[0]
            assert (called.name, called.arguments) == ("get_weather", '{"city":"Berlin"}')
            output: Any = {"type": "function_call_output", "call_id": called.call_id, "output": '{"sky":"blue"}'}
            connection.conversation.item.create(item=output)
            connection.response.create()
            assert talk.answer().status == "completed"
            heard = phrases(talk.listener)
            talk.say("long_story")
            cut = talk.answer(interrupt="stop_please")
            assert (cut.status, cut.status_details.reason) == ("cancelled", "turn_detected")
            return heard

    async with stand(dialect) as s:
        heard = await asyncio.to_thread(call, s.options())
        assert heard == [("greeting", True), ("its_noon", True), ("weather_sunny", True)]
        assert (s.invalid(), s.faults(dialect)) == ([], [])


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
        async with client.beta.realtime.connect(model=MODEL) as connection:
            error: Any = await connection.recv()
            assert error.error.code == "beta_api_shape_disabled"
            with pytest.raises(Exception, match="4000") as closed:
                await connection.recv()
        assert "invalid_request_error.beta_api_shape_disabled" in str(closed.value)


async def test_a_client_that_is_wrong_is_told_so() -> None:
    async with stand("ga") as s, openai.AsyncOpenAI(**s.options()) as client:
        async with client.realtime.connect(model=MODEL) as connection:
            beta_session: Any = {"modalities": ["text"]}
            await connection.session.update(session=beta_session, event_id="mine")
            await connection.recv()
            error: Any = await connection.recv()
        assert (error.error.code, error.error.param) == ("missing_required_parameter", "session.type")
        assert error.error.event_id == "mine"
        assert s.invalid() == [("session.update", "session.type is missing")]
