"""Transcription: sessions that only transcribe, in both dialects, and the events of every kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from openai_world import BETA_DAY, GA_DAY, Client, Event, World, merge, types, user_text

from fakes.audio import PHRASES, phrase, silence
from fakes.openai.catalogue import catalogue

DIALECTS = ("beta", "ga")
PREFIX = "conversation.item.input_audio_transcription"
MODELS = [
    (dialect, name)
    for name, model in catalogue().models.items()
    if model.kind == "transcription"
    for dialect in model.dialects
]
LOGPROBS = ["item.input_audio_transcription.logprobs"]


def transcribing(dialect: str, transcription: Event | None, **session: Any) -> Client:
    """A session that answers, and transcribes what it hears."""
    setting: Event = {"input_audio_transcription": transcription}
    if dialect == "ga":
        setting = {"audio": {"input": {"transcription": transcription}}}
    return World(BETA_DAY if dialect == "beta" else GA_DAY).open(dialect, **merge(setting, session))


def connected(dialect: str) -> Client:
    """A transcription session that has begun."""
    client = World(BETA_DAY if dialect == "beta" else GA_DAY).connect(dialect, query={"intent": "transcription"})
    created = client.wait(1)
    assert types(created) == [f"{'transcription_' if dialect == 'beta' else ''}session.created"]
    return client


def update(client: Client, dialect: str, transcription: Event, **more: Any) -> None:
    """Configure a transcription session for a telephone."""
    if dialect == "beta":
        session = {"input_audio_format": "g711_ulaw", "input_audio_transcription": transcription, **more}
        client.send("transcription_session.update", session=session)
    else:
        audio = {"input": {"format": {"type": "audio/pcmu"}, "transcription": transcription}}
        client.send("session.update", session=merge({"type": "transcription", "audio": audio}, more))


def of_transcription(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event["type"].startswith(PREFIX)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", [[], {}, 1, True])
def test_a_type_that_is_no_text(dialect: str, kind: Any) -> None:
    client = connected(dialect)
    client.send(kind)
    assert (error := client.error())["param"] == "type"
    assert error["code"] == "invalid_value"


# -- how models write


@pytest.mark.parametrize(("dialect", "name"), MODELS)
def test_every_model_writes_what_was_said(dialect: str, name: str) -> None:
    model = catalogue().models[name]
    client = transcribing(dialect, {"model": name}) if model.turn_detection else connected(dialect)
    if model.turn_detection:
        client.say("hello")
    else:
        update(client, dialect, {"model": name}, audio={"input": {"turn_detection": None}})
        client.say("hello")
        client.send("input_audio_buffer.commit")
    events = of_transcription(client.wait())
    *deltas, completed = [event for event in events if not event["type"].endswith(".segment")]
    assert completed["type"] == f"{PREFIX}.completed"
    assert {event["type"] for event in deltas} == {f"{PREFIX}.delta"}
    assert "".join(event["delta"] for event in deltas) == completed["transcript"] == phrase("hello").text
    assert (len(deltas) == 1) is (model.deltas == "whole")
    assert all(11 <= len(event["obfuscation"]) <= 14 for event in deltas)
    usage = completed["usage"]
    assert usage["type"] == model.billed
    if model.billed == "tokens":
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens"] == sum(usage["input_token_details"].values())
    assert ("languages" in completed) is model.tells_language
    assert "logprobs" not in completed
    assert all(message.invalid is None for message in client.recorder.messages)


def test_who_speaks_and_when() -> None:
    client = transcribing("ga", {"model": "gpt-4o-transcribe-diarize"})
    client.say("hello", quiet_ms=160)
    client.say("yes")
    (segment_a, segment_b) = [event for event in client.wait() if event["type"] == f"{PREFIX}.segment"]
    assert [segment_a["text"], segment_b["text"]] == [phrase("hello").text, phrase("yes").text]
    assert (segment_a["speaker"], segment_a["start"]) == ("A", 0)
    assert segment_a["end"] == pytest.approx(phrase("hello").duration_ms / 1000, abs=0.02)
    assert segment_b["start"] == pytest.approx(segment_a["end"] + 0.16, abs=0.02)
    assert segment_a["id"] != segment_b["id"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_logprobs_when_they_are_asked_for(dialect: str) -> None:
    client = transcribing(dialect, {"model": "gpt-4o-transcribe"}, include=LOGPROBS)
    client.say("hello")
    *deltas, completed = of_transcription(client.wait())
    tokens = [token for event in deltas for token in event["logprobs"]]
    assert completed["logprobs"] == tokens
    assert bytes(byte for token in tokens for byte in token["bytes"]).decode() == phrase("hello").text
    whisper = transcribing(dialect, {"model": "whisper-1"}, include=LOGPROBS)
    whisper.say("hello")
    assert "logprobs" not in of_transcription(whisper.wait())[-1]


def test_what_can_be_included_is_known() -> None:
    client = World().open()
    client.send("session.update", session={"type": "realtime", "include": ["item.everything"]})
    error = client.error()
    assert (error["code"], error["param"]) == ("invalid_value", "session.include[0]")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_that_fails(dialect: str) -> None:
    client = transcribing(dialect, {"model": "whisper-1"})
    client.session.fail_transcription()
    client.say("hello")
    (failed,) = of_transcription(client.wait())
    assert failed["type"] == f"{PREFIX}.failed"
    assert failed["error"] == {
        "type": "transcription_error",
        "code": "audio_unintelligible",
        "message": "The audio could not be transcribed.",
        "param": None,
    }
    client.send("conversation.item.retrieve", item_id=failed["item_id"])
    assert client.events()[0]["item"]["content"][0]["transcript"] is None
    client.say("hello")
    assert of_transcription(client.wait())[-1]["transcript"] == phrase("hello").text


def test_transcription_comes_into_the_middle_of_the_answer() -> None:
    client = transcribing("ga", {"model": "gpt-4o-transcribe"})
    client.say("hello")
    kinds = types(client.wait())
    first, last = kinds.index(f"{PREFIX}.delta"), kinds.index(f"{PREFIX}.completed")
    assert kinds.index("response.created") < first
    assert "response.output_audio.delta" in kinds[first:last]


def test_without_transcription_nothing_is_written() -> None:
    client = transcribing("ga", None)
    client.say("hello")
    assert of_transcription(client.wait()) == []


def test_sound_that_says_nothing() -> None:
    client = transcribing("ga", {"model": "whisper-1"}, audio={"input": {"turn_detection": None}})
    client.append(silence(500))
    client.send("input_audio_buffer.commit")
    (completed,) = of_transcription(client.wait())
    assert completed["transcript"] == ""


# -- settings


@pytest.mark.parametrize(
    ("dialect", "transcription", "param"),
    [
        ("ga", {"model": "whisper-9"}, "session.audio.input.transcription.model"),
        ("ga", {"model": "gpt-realtime"}, "session.audio.input.transcription.model"),
        ("beta", {"model": "gpt-realtime-whisper"}, "session.input_audio_transcription.model"),
        ("ga", {"model": "gpt-4o-transcribe-diarize", "prompt": "x"}, "session.audio.input.transcription.prompt"),
        ("ga", {"model": "gpt-4o-transcribe", "delay": "low"}, "session.audio.input.transcription.delay"),
        ("ga", {"model": "whisper-1", "keywords": ["x"]}, "session.audio.input.transcription.keywords"),
        ("ga", {"model": "whisper-1", "languages": ["en"]}, "session.audio.input.transcription.languages"),
    ],
)
def test_what_a_model_does_not_support(dialect: str, transcription: Event, param: str) -> None:
    client = World(BETA_DAY if dialect == "beta" else GA_DAY).open(dialect)
    before = dict(client.session.wire)
    if dialect == "beta":
        client.send("session.update", session={"input_audio_transcription": transcription})
    else:
        audio = {"input": {"transcription": transcription}}
        client.send("session.update", session={"type": "realtime", "audio": audio})
    error = client.error()
    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert client.session.wire == before


def test_a_deep_merge_keeps_the_model() -> None:
    client = transcribing("ga", {"model": "gpt-4o-transcribe", "language": "de"})
    audio = {"input": {"transcription": {"prompt": "Names of cities."}}}
    client.send("session.update", session={"type": "realtime", "audio": audio})
    assert client.events()[0]["session"]["audio"]["input"]["transcription"] == {
        "model": "gpt-4o-transcribe",
        "language": "de",
        "prompt": "Names of cities.",
    }


# -- transcription sessions


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_transcription_session_commits_and_writes_and_never_answers(dialect: str) -> None:
    client = connected(dialect)
    update(client, dialect, {"model": "gpt-4o-transcribe"})
    (updated,) = client.events()
    assert updated["type"] == f"{'transcription_' if dialect == 'beta' else ''}session.updated"
    assert updated["session"]["object"] == "realtime.transcription_session"
    client.say("hello")
    events = client.wait()
    assert [kind for kind in types(events) if not kind.startswith(PREFIX)] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        *(["conversation.item.added", "conversation.item.done"] if dialect == "ga" else ["conversation.item.created"]),
    ]
    assert of_transcription(events)[-1]["transcript"] == phrase("hello").text
    assert all(message.invalid is None for message in client.recorder.messages)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.create"},
        {"type": "response.cancel"},
        {"type": "conversation.item.create", "item": user_text("Hello.")},
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 0},
        {"type": "conversation.item.delete", "item_id": "x"},
    ],
)
def test_what_a_transcription_session_does_not_take(dialect: str, event: Event) -> None:
    client = connected(dialect)
    fields = {key: event[key] for key in event if key != "type"}
    client.send(event["type"], event_id="t", **fields)
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "type", "t")
    assert error["message"] == f"The event '{event['type']}' is not supported in a transcription session."


def test_updates_of_the_other_kind_are_refused_both_ways() -> None:
    realtime = "Passing a realtime session update event to a transcription session is not allowed."
    transcription = "Passing a transcription session update event to a realtime session is not allowed."
    client = connected("ga")
    client.send("session.update", session={"type": "realtime", "instructions": "x"})
    assert client.error()["message"] == realtime
    client = connected("beta")
    client.send("session.update", session={"instructions": "x"})
    assert client.error()["message"] == realtime
    client = World(BETA_DAY).open("beta")
    client.send("transcription_session.update", session={"input_audio_format": "pcm16"})
    assert client.error()["message"] == transcription


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"audio": {}}, "missing_required_parameter", "session.type"),
        ({"type": "transcription", "instructions": "x"}, "unknown_parameter", "session.instructions"),
        ({"type": "transcription", "audio": {"output": {}}}, "unknown_parameter", "session.audio.output"),
        ({"type": "transcription", "tools": []}, "unknown_parameter", "session.tools"),
        (
            {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-4o"}}}},
            "invalid_value",
            "session.audio.input.transcription.model",
        ),
    ],
)
def test_a_transcription_session_has_its_own_fields(session: Event, code: str, param: str) -> None:
    client = connected("ga")
    before = dict(client.session.wire)
    client.send("session.update", session=session)
    error = client.error()
    assert (error["code"], error["param"]) == (code, param)
    assert client.session.wire == before


def test_an_event_that_belongs_to_answers_is_invalid_on_the_wire() -> None:
    client = connected("ga")
    client.send("response.create")
    assert client.recorder.messages[-2].invalid is not None
    client.session.send_raw('{"type":"rate_limits.updated","event_id":"event_1","rate_limits":[]}')
    assert client.recorder.messages[-1].invalid is not None


def test_every_phrase_of_a_caller_can_be_written() -> None:
    client = connected("ga")
    update(client, "ga", {"model": "whisper-1"})
    said = [name for name, known in PHRASES.items() if known.speaker == "caller"][:12]
    for name in said:
        client.say(name, quiet_ms=500)
    written = [event["transcript"] for event in of_transcription(client.wait()) if "transcript" in event]
    assert written == [phrase(name).text for name in said]


def whisper(**detection: Any) -> Event:
    """An update with a model that has no turn detection."""
    audio = {"input": {"transcription": {"model": "gpt-realtime-whisper"}, **detection}}
    return {"type": "transcription", "audio": audio}


def test_turn_detection_of_a_model_that_has_none() -> None:
    client = connected("ga")
    client.send("session.update", session=whisper(turn_detection={"type": "server_vad"}))
    error = client.error()
    assert (error["code"], error["param"]) == ("invalid_value", "session.audio.input.turn_detection")
    assert error["message"] == "Turn detection is not supported for this transcription model."
    for session in (whisper(turn_detection=None), whisper()):
        client = connected("ga")
        client.send("session.update", session=session)
        (updated,) = client.events()
        assert updated["session"]["audio"]["input"]["turn_detection"] is None
    client.say("hello", encoding="pcm16", rate=24000)
    assert client.events() == []


def test_turn_detection_that_is_not_turned_off_may_be_refused() -> None:
    client = World(knobs={"openai.turn_detection_omitted": "refuse"}).connect(query={"intent": "transcription"})
    client.wait(1)
    client.send("session.update", session=whisper())
    assert client.error()["param"] == "session.audio.input.turn_detection"
