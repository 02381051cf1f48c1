"""The order of events in each kind of turn, in both dialects (facts of the wire, cases A to G of the fact sheet)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from openai_world import BETA_DAY, GA_DAY, Client, Event, World, audio_of, manual, merge, outline, types, user_text

from fakes.audio import Listener, phrase
from fakes.openai.brain import Call, Output, Prompt, Say
from fakes.openai.protocol import validate

DIALECTS = ("beta", "ga")
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
}
END_CALL = {"type": "function", "name": "end_call", "parameters": {"type": "object", "properties": {}}}


def opened(dialect: str, knobs: dict[str, Any] | None = None, **session: Any) -> Client:
    return World(BETA_DAY if dialect == "beta" else GA_DAY, knobs).open(dialect, **session)


def expected(dialect: str, *names: str) -> list[str]:
    """The names of a dialect, from those of GA: the beta says `item.created` once, at `added`."""
    if dialect == "ga":
        return list(names)
    renamed = {
        "conversation.item.added": "conversation.item.created",
        "response.output_text.done": "response.text.done",
        "response.output_audio.done": "response.audio.done",
        "response.output_audio_transcript.done": "response.audio_transcript.done",
    }
    return [renamed.get(name, name) for name in names if name != "conversation.item.done"]


SPOKEN = (
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "deltas",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
)


def one(events: Sequence[Event], kind: str) -> Event:
    found = [event for event in events if event["type"] == kind]
    assert len(found) == 1, f"{len(found)} events {kind} in {types(events)}"
    return found[0]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_text_turn(dialect: str) -> None:
    text_only: Event = {"modalities": ["text"]} if dialect == "beta" else {"output_modalities": ["text"]}
    client = opened(dialect, **text_only)
    client.send("conversation.item.create", item=user_text("Can you tell me what time it is, please?"))
    assert types(client.events()) == expected(dialect, "conversation.item.added", "conversation.item.done")
    client.send("response.create")
    events = client.wait()
    assert outline(events) == expected(
        dialect,
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "deltas",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    )
    text = phrase("its_noon").text
    deltas = [event for event in events if event["type"].endswith(".delta")]
    assert "".join(event["delta"] for event in deltas) == text
    assert all(11 <= len(event["obfuscation"]) <= 14 for event in deltas)
    done = one(events, "response.done")["response"]
    assert (done["status"], done["status_details"]) == ("completed", None)
    assert done["output"][0]["content"] == [{"type": "text" if dialect == "beta" else "output_text", "text": text}]
    usage = done["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_token_details"]["audio_tokens"] == 0
    assert usage["output_tokens"] > 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_spoken_turn_with_server_vad(dialect: str) -> None:
    client = opened(dialect)
    client.say("what_time")
    started, stopped, committed, *rest = client.events()
    item_id = started["item_id"]
    assert types([started, stopped, committed]) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    assert stopped["item_id"] == committed["item_id"] == item_id
    assert committed["previous_item_id"] is None
    # Padding before the speech, and the silence that ended it, are part of the turn.
    assert started["audio_start_ms"] == 0
    assert stopped["audio_end_ms"] == phrase("what_time").duration_ms + 200
    head = expected(dialect, "conversation.item.added", "conversation.item.done", "response.created")
    assert types(rest) == head
    assert rest[0]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    events = client.wait()
    assert outline(events) == expected(dialect, *SPOKEN, "rate_limits.updated")
    ear = Listener("pcmu", 8000)
    ear.feed(audio_of(events))
    ear.flush()
    assert [(heard.phrase, heard.complete) for heard in ear.heard] == [("its_noon", True)]
    assert [heard.phrase for heard in client.session.heard] == ["what_time"]
    transcript = "".join(event["delta"] for event in events if event["type"].endswith("transcript.delta"))
    assert transcript == phrase("its_noon").text
    item = one(events, "response.output_item.done")["item"]
    assert item["content"] == [{"type": "audio" if dialect == "beta" else "output_audio", "transcript": transcript}]
    assert one(events, "response.content_part.done")["part"] == {"type": "audio", "transcript": transcript}
    created = next(e for e in events if e["type"] in ("conversation.item.added", "conversation.item.created"))
    assert created["previous_item_id"] == item_id


@pytest.mark.parametrize("dialect", DIALECTS)
def test_transcription_floats(dialect: str) -> None:
    setting = {"model": "gpt-4o-transcribe"}
    extra: Event = {"audio": {"input": {"transcription": setting}}}
    client = opened(dialect, **({"input_audio_transcription": setting} if dialect == "beta" else extra))
    client.say("hello")
    item_id = client.events()[0]["item_id"]
    events = client.wait()
    prefix = "conversation.item.input_audio_transcription"
    deltas = [event["delta"] for event in events if event["type"] == f"{prefix}.delta"]
    completed = one(events, f"{prefix}.completed")
    assert "".join(deltas) == completed["transcript"] == phrase("hello").text
    assert len(deltas) > 1
    assert (completed["item_id"], completed["usage"]["type"]) == (item_id, "tokens")
    client.send("conversation.item.retrieve", item_id=item_id)
    assert client.events()[0]["item"]["content"][0]["transcript"] == phrase("hello").text


def test_whisper_writes_in_one_piece() -> None:
    client = opened("ga", audio={"input": {"transcription": {"model": "whisper-1"}}})
    client.say("hello")
    prefix = "conversation.item.input_audio_transcription"
    events = [event for event in client.wait() if event["type"].startswith(prefix)]
    assert types(events) == [f"{prefix}.delta", f"{prefix}.completed"]
    assert events[1]["usage"] == {"type": "duration", "seconds": 1.4}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_function_call(dialect: str) -> None:
    client = opened(dialect, tools=[END_CALL, WEATHER])
    client.say("weather")
    events = client.wait()
    assert outline(events)[-9 if dialect == "ga" else -8 :] == expected(
        dialect,
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "deltas",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    )
    added = one(events, "response.output_item.added")["item"]
    assert (added["type"], added["name"], added["arguments"], added["status"]) == (
        "function_call",
        "get_weather",
        "",
        "in_progress",
    )
    arguments = '{"city":"Berlin","unit":"celsius"}'
    done = one(events, "response.function_call_arguments.done")
    assert done["arguments"] == arguments
    assert done.get("name") == ("get_weather" if dialect == "ga" else None)
    item = one(events, "response.output_item.done")["item"]
    assert (item["arguments"], item["call_id"]) == (arguments, done["call_id"])
    assert one(events, "response.done")["response"]["output"] == [item]
    client.send(
        "conversation.item.create",
        item={"type": "function_call_output", "call_id": done["call_id"], "output": '{"sky":"blue"}'},
    )
    assert types(client.wait()) == expected(dialect, "conversation.item.added", "conversation.item.done")
    client.send("response.create")
    events = client.wait()
    assert outline(events) == expected(dialect, "response.created", *SPOKEN, "rate_limits.updated")
    assert one(events, "response.content_part.done")["part"]["transcript"] == phrase("weather_sunny").text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_caller_interrupts(dialect: str) -> None:
    client = opened(dialect)
    client.say("long_story")
    client.wait(1)
    client.say("stop_please", quiet_ms=0)
    events = client.events()
    assert outline(events) == expected(
        dialect,
        "input_audio_buffer.speech_started",
        *[name for name in SPOKEN if name.endswith(".done")],
    )
    done = events[-1]["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    item = done["output"][0]
    assert item["status"] == "incomplete"
    said = item["content"][0]["transcript"]
    assert said
    assert phrase("long_answer").text.startswith(said)
    assert said != phrase("long_answer").text
    later = client.wait()
    assert "response.audio.delta" not in types(later)
    assert "response.output_audio.delta" not in types(later)


def test_the_caller_interrupts_before_the_model_has_said_a_word() -> None:
    client = opened("ga")
    client.say("long_story")
    client.events()
    client.say("stop_please", quiet_ms=0)
    assert types(client.events()) == ["input_audio_buffer.speech_started", "response.done"]
    assert client.session.responses[0].wire()["output"] == []


def test_interrupting_a_finished_response_says_no_more_than_that() -> None:
    client = opened("ga")
    client.say("long_story")
    client.wait(30)
    client.say("stop_please", quiet_ms=0)
    assert types(client.events()) == ["input_audio_buffer.speech_started"]
    client.say("stop_please")
    assert "response.created" in types(client.events())


def test_the_server_truncates_when_the_knob_says_so() -> None:
    client = opened("ga", {"openai.server_truncates": True})
    client.say("long_story")
    client.wait(0.8)
    client.say("stop_please", quiet_ms=0)
    truncated = client.events()[-1]
    assert truncated["type"] == "conversation.item.truncated"
    # It began 250 ms after the turn, at the soonest; more than has passed cannot have been heard.
    assert truncated["audio_end_ms"] == 550


def test_without_interrupt_response_the_answer_goes_on_and_the_next_one_fails() -> None:
    client = opened("ga", audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    client.say("long_story")
    client.wait(1)
    client.say("stop_please")
    events = client.events()
    assert types(events)[:3] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    assert events[-1]["error"]["code"] == "conversation_already_has_active_response"
    assert events[-1]["error"]["event_id"] is None
    assert one(client.wait(), "response.done")["response"]["status"] == "completed"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_client_cancels(dialect: str) -> None:
    client = opened(dialect)
    client.send("response.create")
    client.wait(0.6)
    client.send("response.cancel")
    events = client.events()
    assert types(events) == expected(dialect, *[name for name in SPOKEN if name.endswith(".done")])
    assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    client.send("response.cancel")
    assert client.error()["code"] == "response_cancel_not_active"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_manual_commit_waits_to_be_asked(dialect: str) -> None:
    client = opened(dialect, **manual(dialect))
    client.say("what_time")
    assert client.events() == []
    client.send("input_audio_buffer.commit")
    assert types(client.wait()) == expected(
        dialect, "input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"
    )
    client.send("response.create")
    events = client.wait()
    assert one(events, "response.content_part.done")["part"]["transcript"] == phrase("its_noon").text


def test_a_transcription_session_commits_and_writes() -> None:
    client = World().connect(query={"intent": "transcription"})
    client.wait(1)
    wanted = {"format": {"type": "audio/pcmu"}, "transcription": {"model": "gpt-4o-transcribe"}}
    client.send("session.update", session={"type": "transcription", "audio": {"input": wanted}})
    client.events()
    client.say("hello")
    events = client.wait()
    assert "response.created" not in types(events)
    completed = one(events, "conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == phrase("hello").text


def test_the_transcript_may_be_done_before_the_audio() -> None:
    client = opened("ga", {"openai.audio_done_first": False})
    client.send("response.create")
    kinds = types(client.wait())
    assert kinds.index("response.output_audio_transcript.done") + 1 == kinds.index("response.output_audio.done")


def test_metadata_is_echoed() -> None:
    client = opened("ga")
    client.send("response.create", response={"metadata": {"client_event_id": "abc"}})
    created = one(client.events(), "response.created")["response"]
    assert created["metadata"] == {"client_event_id": "abc"}
    assert created["audio"] == {"output": {"format": {"type": "audio/pcmu"}, "voice": "marin"}}
    assert one(client.wait(), "response.done")["response"]["metadata"] == {"client_event_id": "abc"}


class TwoThings:
    """A brain that speaks and calls in one response."""

    def reply(self, prompt: Prompt) -> Sequence[Output]:
        return [Say("hold_please"), Call("get_weather", {"city": "Berlin"})]


def test_a_brain_of_a_case() -> None:
    client = World(brain=TwoThings()).open()
    client.send("response.create")
    events = client.wait()
    done = one(events, "response.done")["response"]
    assert [item["type"] for item in done["output"]] == ["message", "function_call"]
    indexes = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    assert indexes == [0, 1]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_that_is_sent_is_valid_and_what_is_changed_is_not(dialect: str) -> None:
    world = World(BETA_DAY if dialect == "beta" else GA_DAY)
    transcription = {"model": "whisper-1"}
    setting: Event = {"input_audio_transcription": transcription}
    if dialect == "ga":
        setting = {"audio": {"input": {"transcription": transcription}}}
    client = world.open(dialect, **merge({"tools": [WEATHER]}, setting))
    client.say("weather")
    client.wait(1)
    client.say("long_story")
    client.wait(1)
    client.say("stop_please")
    client.wait()
    client.send("input_audio_buffer.clear")
    item_id = client.session.conversation.items[0].id
    client.send("conversation.item.retrieve", item_id=item_id)
    client.send("conversation.item.delete", item_id=item_id)
    client.send("conversation.item.delete", item_id=item_id)
    sent = [message for message in world.recorder.messages if message.source == "openai"]
    assert {message.invalid for message in sent} == {None}
    client.sink.frames.clear()
    kinds = {message.kind for message in sent}
    assert len(kinds) > 20
    for message in {message.kind: message for message in sent}.values():
        event = json.loads(str(message.body))
        for field in event:
            assert validate(dialect, "server", {key: event[key] for key in event if key != field}) is not None or (
                field == "obfuscation"
            ), f"{message.kind} without {field} is taken for valid"
        assert validate(dialect, "server", {**event, "surprise": 1}) is not None
