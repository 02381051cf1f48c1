"""Every event that a WebSocket session can bring, drawn out by the vendor's SDK and judged strictly by its types."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai_stand import MODEL, WEATHER, realtime, session, spoken, stand
from sdk_types import classes, faults

# What is not to be had in one WebSocket session of a model: legacy, other transports, other models, tools of others.
ELSEWHERE = {
    "ga": {
        "conversation.created",
        "conversation.item.created",
        "conversation.item.input_audio_transcription.failed",
        "conversation.item.input_audio_transcription.segment",
        "input_audio_buffer.dtmf_event_received",
        "input_audio_buffer.timeout_triggered",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "output_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
    },
    "beta": {
        "conversation.item.input_audio_transcription.failed",
        "output_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "transcription_session.updated",
    },
}


class Talker:
    """A connection of the SDK, read until what is waited for has come."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def until(self, kind: str) -> Any:
        async for event in self.connection:
            if event.type == kind:
                return event
        raise AssertionError(f"the connection ended before {kind}")

    async def say(self, phrase: str) -> None:
        for audio in spoken(phrase, "pcmu"):
            await self.connection.input_audio_buffer.append(audio=audio)


def text(words: str, role: str = "user") -> Any:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": words}]}


def listening(dialect: str, **more: Any) -> Any:
    """A session whose input is transcribed; the model answers when it is told to."""
    told = session(dialect, "pcmu", tools=[WEATHER], **more)
    wanted: dict[str, Any] = {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": None}
    if dialect == "beta":
        told |= {f"input_audio_{key}" if key == "transcription" else key: value for key, value in wanted.items()}
    else:
        told["audio"]["input"] |= wanted
    return told


@pytest.mark.parametrize("dialect", ["beta", "ga"])
async def test_every_event_of_a_session_is_of_the_types_of_the_sdk(dialect: str) -> None:
    added = "conversation.item.created" if dialect == "beta" else "conversation.item.done"
    modalities = "modalities" if dialect == "beta" else "output_modalities"
    written = "response.text.done" if dialect == "beta" else "response.output_text.done"
    async with stand(dialect) as s, s.client() as client:
        async with realtime(client, dialect).connect(model=MODEL) as connection:
            talker = Talker(connection)
            await talker.until("session.created")
            await connection.session.update(session=listening(dialect))
            await talker.until("session.updated")

            await connection.conversation.item.create(item=text("Be polite.", "system"))
            system = await talker.until(added)
            await connection.conversation.item.create(item=text("What time is it?"), previous_item_id=system.item.id)
            item = await talker.until(added)
            assert item.previous_item_id == system.item.id
            await connection.conversation.item.retrieve(item_id=item.item.id)
            assert (await talker.until("conversation.item.retrieved")).item.content[0].text == "What time is it?"
            await connection.response.create(response={modalities: ["text"]})
            assert (await talker.until(written)).text
            await talker.until("response.done")
            await connection.conversation.item.delete(item_id=item.item.id)
            assert (await talker.until("conversation.item.deleted")).item_id == item.item.id

            await talker.say("hello")
            await connection.input_audio_buffer.clear()
            await talker.until("input_audio_buffer.cleared")
            await talker.say("what_time")
            await connection.input_audio_buffer.commit()
            heard = await talker.until("conversation.item.input_audio_transcription.completed")
            assert heard.transcript == "Can you tell me what time it is, please?"
            await connection.response.create()
            done = await talker.until("response.done")
            spoken_item = done.response.output[0].id
            await connection.conversation.item.truncate(item_id=spoken_item, content_index=0, audio_end_ms=100)
            await talker.until("conversation.item.truncated")

            detection = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200}
            again = listening(dialect)
            (again if dialect == "beta" else again["audio"]["input"])["turn_detection"] = detection
            await connection.session.update(session=again)
            await talker.say("weather")
            called = (await talker.until("response.done")).response.output[0]
            output = {"type": "function_call_output", "call_id": called.call_id, "output": '{"sky":"blue"}'}
            await connection.conversation.item.create(item=output)
            await connection.response.create(response={"metadata": {"topic": "weather"}})
            assert (await talker.until("response.done")).response.metadata == {"topic": "weather"}

            await connection.response.create(event_id="mine")
            await talker.until("response.created")
            await connection.response.cancel()
            assert (await talker.until("response.done")).response.status == "cancelled"
            await connection.response.cancel(event_id="late")
            late = await talker.until("error")
            assert (late.error.code, late.error.event_id) == ("response_cancel_not_active", "late")
            await connection.conversation.item.retrieve(item_id="item_nobody")
            assert (await talker.until("error")).error.event_id is None
        assert (s.invalid(), s.faults(dialect)) == ([], [])
        assert set(classes(dialect)) - set(s.kinds()) == ELSEWHERE[dialect]


async def test_a_transcription_session() -> None:
    transcription: Any = {
        "type": "transcription",
        "audio": {"input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "gpt-4o-mini-transcribe"}}},
    }
    async with stand() as s, s.client() as client:
        async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
            talker = Talker(connection)
            created = await talker.until("session.created")
            assert created.session.type == "transcription"
            await connection.session.update(session=transcription)
            await talker.until("session.updated")
            await talker.say("my_name")
            completed = await talker.until("conversation.item.input_audio_transcription.completed")
            assert completed.transcript == "My name is Alex Miller."
        assert "response.created" not in s.kinds()
        assert (s.invalid(), s.faults("ga")) == ([], [])


async def test_a_transcription_session_of_the_beta() -> None:
    async with stand("beta") as s, s.client() as client:
        model: Any = openai.omit  # the SDK's beta half asks for a model, which this intent forbids
        query = {"intent": "transcription"}
        async with client.beta.realtime.connect(model=model, extra_query=query) as connection:
            talker = Talker(connection)
            await connection.transcription_session.update(
                session={"input_audio_format": "g711_ulaw", "input_audio_transcription": {"model": "whisper-1"}}
            )
            await talker.until("transcription_session.updated")
            await talker.say("my_name")
            completed = await talker.until("conversation.item.input_audio_transcription.completed")
            assert completed.transcript == "My name is Alex Miller."
        assert s.invalid() == []
        # The one is in the vendor's OpenAPI file only; the other field is there over HTTP only, as its type says.
        assert s.faults("beta") == [
            "transcription_session.created: no such event",
            "transcription_session.updated: session.client_secret: Field required",
        ]


def test_the_check_finds_faults() -> None:
    event = {"type": "input_audio_buffer.committed", "event_id": "event_1", "item_id": "item_1"}
    assert faults("ga", event) == []
    assert faults("ga", {**event, "item_id": 1}) == [
        "input_audio_buffer.committed: item_id: Input should be a valid string"
    ]
    assert faults("ga", {**event, "item": "item_1"}) == ["input_audio_buffer.committed: item: not declared"]
    assert faults("ga", {"type": "nope"}) == ["nope: no such event"]
    assert faults("beta", {"type": "conversation.item.added"}) == ["conversation.item.added: no such event"]
    usage = {"type": "response.done", "event_id": "event_1", "response": {"usage": {"total_tokens": 1, "words": 2}}}
    assert faults("ga", usage) == ["response.done: response.usage.words: not declared"]
