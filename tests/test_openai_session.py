"""The session: what it is at first, how it is updated, and every error with its code, parameter, text and echo."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from openai_world import BETA_DAY, GA_DAY, START, Client, Event, World, audio_of, manual, merge, phone, types, user_text

from fakes.audio import phrase, speak
from fakes.openai.errors import VendorError

DIALECTS = ("beta", "ga")


def opened(dialect: str, **session: Any) -> Client:
    return World(BETA_DAY if dialect == "beta" else GA_DAY).open(dialect, **session)


# -- session.created


def test_a_ga_session_shows_its_defaults() -> None:
    world = World()
    client = world.connect("ga", model="gpt-realtime")
    assert client.events() == []
    (created,) = client.wait(1)
    session = created["session"]
    assert created["type"] == "session.created"
    assert session.pop("id") == client.session.id
    assert session.pop("instructions")
    assert session.pop("expires_at") == int(START) + 60 * 60
    assert session == {
        "type": "realtime",
        "object": "realtime.session",
        "model": "gpt-realtime",
        "output_modalities": ["audio"],
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 200,
                    "idle_timeout_ms": None,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        },
    }


def test_a_model_that_reasons_says_so() -> None:
    created = World().connect("ga", model="gpt-realtime-2").wait(1)[0]
    assert created["session"]["reasoning"] == {"effort": "low"}


def test_a_beta_session_is_flat_and_is_followed_by_its_conversation() -> None:
    created, conversation = World(BETA_DAY).connect("beta").wait(1)
    session = created["session"]
    assert conversation["type"] == "conversation.created"
    assert session["object"] == "realtime.session"
    assert session["modalities"] == ["audio", "text"]
    assert (session["voice"], session["input_audio_format"], session["temperature"]) == ("alloy", "pcm16", 0.8)
    assert session["expires_at"] == int(START) + 30 * 60
    assert "audio" not in session
    assert "type" not in session
    assert "idle_timeout_ms" not in session["turn_detection"]


def test_a_transcription_session() -> None:
    client = World().connect(query={"intent": "transcription"})
    (created,) = client.wait(1)
    assert created["session"]["object"] == "realtime.transcription_session"
    transcription = {"transcription": {"model": "gpt-4o-transcribe"}}
    client.send("session.update", session={"type": "transcription", "audio": {"input": transcription}})
    (updated,) = client.events()
    assert updated["session"]["audio"]["input"]["transcription"] == {
        "model": "gpt-4o-transcribe",
        "language": None,
        "prompt": None,
    }
    client.send("response.create")
    assert client.error()["param"] == "type"


def test_turn_detection_of_a_transcription_model_that_has_none() -> None:
    client = World().connect(query={"intent": "transcription"})
    client.wait(1)
    transcription = {"transcription": {"model": "gpt-realtime-whisper"}}
    client.send("session.update", session={"type": "transcription", "audio": {"input": transcription}})
    error = client.error()
    assert (error["code"], error["param"]) == ("invalid_value", "session.audio.input.turn_detection")
    assert error["message"] == "Turn detection is not supported for this transcription model."
    client.send(
        "session.update",
        session={"type": "transcription", "audio": {"input": {**transcription, "turn_detection": None}}},
    )
    assert types(client.events()) == ["session.updated"]


def test_what_comes_before_session_created_is_answered_after_it() -> None:
    client = World().connect("ga")
    client.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
    client.session.receive_text("{")
    assert client.events() == []
    assert types(client.wait(1)) == ["session.created", "session.updated", "error"]


# -- session.update


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    client = opened("ga")
    client.send(
        "session.update",
        session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}}},
    )
    (updated,) = client.events()
    assert updated["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    detection = updated["session"]["audio"]["input"]["turn_detection"]
    assert (detection["threshold"], detection["prefix_padding_ms"]) == (0.7, 300)
    client.send("session.update", session={"type": "realtime", "instructions": "", "tools": []})
    (updated,) = client.events()
    assert updated["session"]["instructions"] == ""
    assert updated["session"]["audio"]["input"]["turn_detection"] == detection


def test_another_kind_of_turn_detection_replaces_the_old_one() -> None:
    client = opened("ga")
    semantic = {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}}}
    client.send("session.update", session={"type": "realtime", **semantic})
    (updated,) = client.events()
    assert updated["session"]["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "high",
        "create_response": True,
        "interrupt_response": True,
    }
    client.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    assert client.events()[0]["session"]["audio"]["input"]["turn_detection"] is None


def test_pcm_gets_its_rate_and_mu_law_has_none() -> None:
    client = opened("ga")
    client.send("session.update", session={"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm"}}}})
    (updated,) = client.events()
    assert updated["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}


@pytest.mark.parametrize(
    ("dialect", "session", "code", "param", "message"),
    [
        (
            "ga",
            {"modalities": ["text"], "input_audio_format": "g711_ulaw"},
            "missing_required_parameter",
            "session.type",
            "Missing required parameter: 'session.type'.",
        ),
        (
            "ga",
            {"type": "realtime", "input_audio_format": "g711_ulaw"},
            "unknown_parameter",
            "session.input_audio_format",
            "Unknown parameter: 'session.input_audio_format'.",
        ),
        (
            "beta",
            {"type": "realtime", "audio": {}},
            "unknown_parameter",
            "session.type",
            "Unknown parameter: 'session.type'.",
        ),
        (
            "beta",
            {"output_modalities": ["audio"]},
            "unknown_parameter",
            "session.output_modalities",
            "Unknown parameter: 'session.output_modalities'.",
        ),
        (
            "ga",
            {"type": "transcription"},
            "invalid_value",
            None,
            "Passing a transcription session update event to a realtime session is not allowed.",
        ),
        (
            "ga",
            {"type": "realtime", "output_modalities": ["audio", "text"]},
            "invalid_value",
            "session.output_modalities",
            "Invalid modalities: ['audio', 'text']. Supported combinations are: ['text'] and ['audio'].",
        ),
        (
            "beta",
            {"modalities": ["audio"]},
            "invalid_value",
            "session.modalities",
            "Invalid modalities: ['audio']. Supported combinations are: ['text'] and ['audio', 'text'].",
        ),
        (
            "beta",
            {"voice": "marin"},
            "invalid_value",
            "session.voice",
            "Invalid value: 'marin'. Supported values are: 'alloy', 'ash', 'ballad', 'coral', 'echo', 'sage', "
            "'shimmer', and 'verse'.",
        ),
        (
            "ga",
            {"type": "realtime", "model": "gpt-realtime-2"},
            "invalid_value",
            "session.model",
            "The model of a session cannot be changed: it is 'gpt-realtime'.",
        ),
        (
            "ga",
            {"type": "realtime", "audio": {"output": {"speed": 2}}},
            "decimal_above_max_value",
            "session.audio.output.speed",
            "Invalid 'session.audio.output.speed': decimal above maximum value. Expected a value <= 1.5, but got 2 "
            "instead.",
        ),
    ],
)
def test_an_update_with_anything_wrong_is_refused_as_a_whole(
    dialect: str, session: dict[str, Any], code: str, param: str | None, message: str
) -> None:
    client = opened(dialect)
    before = dict(client.session.wire)
    extra = {} if session.get("type") == "transcription" else {"instructions": "New."}
    client.send("session.update", event_id="my_event", session={**session, **extra})
    assert client.error() == {
        "type": "invalid_request_error",
        "code": code,
        "message": message,
        "param": param,
        "event_id": "my_event",
    }
    assert client.session.wire == before


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_voice_is_locked_once_the_assistant_has_spoken(dialect: str) -> None:
    client = opened(dialect)
    voice = {"voice": "echo"} if dialect == "beta" else {"type": "realtime", "audio": {"output": {"voice": "echo"}}}
    client.send("session.update", session=voice)
    assert types(client.events()) == ["session.updated"]
    client.send("response.create")
    client.wait()
    other = {"voice": "sage"} if dialect == "beta" else {"type": "realtime", "audio": {"output": {"voice": "sage"}}}
    client.send("session.update", session=other)
    error = client.error()
    assert error["code"] == "cannot_update_voice"
    assert error["message"] == "Cannot update a conversation's voice if assistant audio is present."
    client.send("session.update", session=voice)
    assert types(client.events()) == ["session.updated"]


def test_tracing_cannot_be_changed_once_it_is_on() -> None:
    client = opened("ga", tracing="auto")
    client.send("session.update", session={"type": "realtime", "tracing": None})
    assert client.error()["param"] == "session.tracing"


def test_nulls_count_for_nothing_when_the_knob_says_so() -> None:
    world = World(knobs={"openai.null_for_absent": "accept"})
    client = world.open()
    client.send("session.update", session={"type": "realtime", "instructions": None, "audio": None, "tools": []})
    assert types(client.events()) == ["session.updated"]
    assert world.recorder.messages[-2].invalid is not None


# -- events that are none


def test_an_unknown_event_names_those_there_are() -> None:
    client = opened("ga")
    client.send("nope", event_id="e1")
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "type", "e1")
    assert error["message"] == (
        "Invalid value: 'nope'. Supported values are: 'session.update', 'session.close', "
        "'input_audio_buffer.append', 'session.input_audio_buffer.append', 'input_audio_buffer.commit', "
        "'input_audio_buffer.clear', 'conversation.item.create', 'conversation.item.truncate', "
        "'conversation.item.delete', 'conversation.item.retrieve', 'response.create', and 'response.cancel'."
    )


def test_what_belongs_to_webrtc_is_unknown_on_a_websocket() -> None:
    client = opened("ga")
    client.send("output_audio_buffer.clear")
    assert client.error()["code"] == "invalid_value"


def test_frames_that_are_no_events() -> None:
    client = opened("ga")
    client.session.receive_text("{nope")
    assert (lambda e: (e["code"], e["event_id"]))(client.error()) == ("invalid_json", None)
    client.session.receive_text("[]")
    assert client.error()["code"] == "invalid_event"
    client.session.receive_binary(b"\x00\x01")
    assert client.error()["code"] == "invalid_event"
    client.session.receive_text('{"event_id": "e9"}')
    assert client.error() == {
        "type": "invalid_request_error",
        "code": "invalid_event",
        "message": "The 'type' field is missing.",
        "param": None,
        "event_id": "e9",
    }
    assert client.session.closed is None


def test_malformed_frames_are_recorded_as_such() -> None:
    world = World()
    client = world.open()
    client.session.receive_text("{nope")
    client.session.receive_binary(b"\x00")
    kinds = [(m.kind, m.invalid is not None) for m in world.recorder.messages if m.source == "gateway"]
    assert kinds == [("session.update", False), ("malformed", True), ("binary", True)]


# -- the input buffer


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_commit_wants_100_ms(dialect: str) -> None:
    client = opened(dialect, **manual(dialect))
    client.append(b"\xff" * 799)
    client.send("input_audio_buffer.commit", event_id="c1")
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == ("input_audio_buffer_commit_empty", None, "c1")
    assert error["message"] == (
        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer only has "
        "99.88ms of audio."
    )
    client.append(b"\xff")
    client.send("input_audio_buffer.commit")
    assert types(client.events())[0] == "input_audio_buffer.committed"
    client.send("input_audio_buffer.commit")
    assert "only has 0.00ms" in client.error()["message"]


def test_clear_empties_the_buffer() -> None:
    client = opened("ga", **manual("ga"))
    client.append(b"\xff" * 8000)
    client.send("input_audio_buffer.clear")
    assert types(client.events()) == ["input_audio_buffer.cleared"]
    client.send("input_audio_buffer.commit")
    assert client.error()["code"] == "input_audio_buffer_commit_empty"


def test_audio_that_is_no_base64() -> None:
    client = opened("ga")
    client.send("input_audio_buffer.append", audio="***", event_id="a1")
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio", "a1")


# -- items


@pytest.mark.parametrize("dialect", DIALECTS)
def test_items_go_where_they_are_put(dialect: str) -> None:
    client = opened(dialect)
    added = "conversation.item.added" if dialect == "ga" else "conversation.item.created"
    for item_id, previous, expected in (
        ("a", None, None),
        ("b", None, "a"),
        ("c", "a", "a"),
        ("d", "root", None),
    ):
        place = {} if previous is None else {"previous_item_id": previous}
        client.send("conversation.item.create", item={"id": item_id, **user_text("x")}, **place)
        events = client.events()
        assert types(events) == [added, "conversation.item.done"][: 2 if dialect == "ga" else 1]
        assert events[0]["previous_item_id"] == expected
        assert events[0]["item"]["id"] == item_id
        assert events[0]["item"]["status"] == "completed"
    assert [item.id for item in client.session.conversation] == ["d", "a", "c", "b"]


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "conversation.item.delete", "item_id": "x"}, "item_delete_invalid_item_id", "item_id"),
        ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id", "item_id"),
        (
            {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 0},
            "item_truncate_invalid_item_id",
            "item_id",
        ),
        (
            {"type": "conversation.item.create", "previous_item_id": "x", "item": user_text("hi")},
            "invalid_previous_item_id",
            "previous_item_id",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "call_x", "output": "{}"},
            },
            "invalid_tool_call_id",
            "item.call_id",
        ),
    ],
)
def test_items_that_are_not_there(event: dict[str, Any], code: str, param: str) -> None:
    client = opened("ga")
    kind = event.pop("type")
    client.send(kind, event_id="e2", **event)
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "e2")


def test_one_code_for_all_items_that_are_not_there_when_the_knob_says_so() -> None:
    client = World(knobs={"openai.item_not_found_code": "item_not_found"}).open()
    client.send("conversation.item.delete", item_id="x")
    assert client.error()["code"] == "item_not_found"


def test_an_id_is_taken_once() -> None:
    client = opened("ga")
    client.send("conversation.item.create", item={"id": "a", **user_text("x")})
    client.events()
    client.send("conversation.item.create", item={"id": "a", **user_text("x")})
    assert client.error()["param"] == "item.id"


def test_an_assistant_message_wants_its_text() -> None:
    client = opened("ga")
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_audio"}]}
    client.send("conversation.item.create", item=item)
    error = client.error()
    assert (error["code"], error["param"]) == ("missing_required_parameter", "item.content[0].text")
    assert error["message"] == "Missing required parameter: 'item.content[0].text'."


def test_delete_and_retrieve() -> None:
    client = opened("ga", **manual("ga"))
    client.append(b"\xff" * 1600)
    client.send("input_audio_buffer.commit")
    item_id = client.events()[0]["item_id"]
    client.send("conversation.item.retrieve", item_id=item_id)
    (retrieved,) = client.events()
    assert base64.b64decode(retrieved["item"]["content"][0]["audio"]) == b"\xff" * 1600
    client.send("conversation.item.delete", item_id=item_id)
    (deleted,) = client.events()
    assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", item_id)
    client.send("conversation.item.retrieve", item_id=item_id)
    assert client.error()["code"] == "item_retrieve_invalid_item_id"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_truncate_within_the_audio_and_beyond_it(dialect: str) -> None:
    client = opened(dialect)
    client.send("response.create")
    events = client.wait()
    item_id = next(event["item"]["id"] for event in events if event["type"] == "response.output_item.done")
    length = len(audio_of(events)) // 8
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=length + 1)
    error = client.error()
    assert error["message"] == f"Audio content of {length}ms is already shorter than {length + 1}ms"
    assert error["code"] == "invalid_value"
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1000)
    (truncated,) = client.events()
    assert (truncated["type"], truncated["audio_end_ms"]) == ("conversation.item.truncated", 1000)
    client.send("conversation.item.retrieve", item_id=item_id)
    assert client.events()[0]["item"]["content"][0]["transcript"] == ""
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=2000)
    assert client.error()["message"] == "Audio content of 1000ms is already shorter than 2000ms"


def test_only_the_audio_of_the_assistant_can_be_truncated() -> None:
    client = opened("ga")
    client.send("conversation.item.create", item={"id": "a", **user_text("x")})
    client.events()
    client.send("conversation.item.truncate", item_id="a", content_index=0, audio_end_ms=0)
    assert client.error()["code"] == "invalid_value"


# -- responses


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_response_at_a_time(dialect: str) -> None:
    client = opened(dialect)
    client.send("response.create")
    client.send("response.create", event_id="second")
    created, failed = client.events()
    response_id = created["response"]["id"]
    assert failed["error"] == {
        "type": "invalid_request_error",
        "code": "conversation_already_has_active_response",
        "message": f"Conversation already has an active response in progress: {response_id}. Wait until the response "
        "is finished before creating a new one.",
        "param": None,
        "event_id": "second",
    }
    assert types(client.wait()).count("response.done") == 1
    client.send("response.create")
    assert types(client.events()) == ["response.created"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_cancelling_nothing(dialect: str) -> None:
    client = opened(dialect)
    client.send("response.cancel", event_id="late")
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == ("response_cancel_not_active", None, "late")
    assert error["message"] == "Cancellation failed: no active response found"
    client.send("response.create")
    client.send("response.cancel", response_id="resp_other")
    assert types(client.events()) == ["response.created", "error"]


def test_a_response_beside_the_conversation() -> None:
    client = opened("ga")
    client.send("response.create")
    client.send(
        "response.create",
        response={"conversation": "none", "metadata": {"topic": "x"}, "output_modalities": ["text"], "input": []},
    )
    events = client.wait()
    created = [event["response"] for event in events if event["type"] == "response.created"]
    assert created[1]["conversation_id"] is None
    assert created[1]["metadata"] == {"topic": "x"}
    aside = next(
        e["item"]["id"]
        for e in events
        if e["type"] == "response.output_item.added" and e["response_id"] == created[1]["id"]
    )
    assert client.session.conversation.find(aside) is None
    added = [event["item"]["id"] for event in events if event["type"] == "conversation.item.added"]
    assert aside not in added


def test_input_by_reference() -> None:
    client = opened("ga", output_modalities=["text"])
    client.send("conversation.item.create", item={"id": "q", **user_text("Can you tell me what time it is, please?")})
    client.send("conversation.item.create", item={"id": "r", **user_text("Thank you very much, goodbye.")})
    client.events()
    reference = {"type": "item_reference", "id": "q"}
    client.send("response.create", response={"conversation": "none", "input": [reference]})
    text = next(event["text"] for event in client.wait() if event["type"] == "response.output_text.done")
    assert text == "It is exactly twelve o'clock noon."
    client.send("response.create", response={"input": [{"type": "item_reference", "id": "nope"}]})
    assert client.error()["param"] == "item_id"


def test_the_length_of_a_response_is_limited() -> None:
    client = opened("ga")
    client.send("response.create", response={"max_output_tokens": 20})
    events = client.wait()
    done = next(event["response"] for event in events if event["type"] == "response.done")
    assert done["status"] == "incomplete"
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert done["output"][0]["status"] == "incomplete"
    assert len(audio_of(events)) == 20 * 50 * 8


# -- controls


def test_a_response_that_fails() -> None:
    client = opened("ga")
    client.session.fail_response("rate_limit_exceeded")
    client.send("response.create")
    events = client.wait()
    assert types(events) == ["response.created", "response.done", "rate_limits.updated"]
    response = events[1]["response"]
    assert (response["status"], response["output"]) == ("failed", [])
    assert response["status_details"]["error"]["code"] == "rate_limit_exceeded"
    client.send("response.create")
    assert "response.output_item.added" in types(client.wait())


def test_an_error_out_of_the_blue_and_raw_frames() -> None:
    world = World()
    client = world.open()
    client.session.error("server_error", "Something broke.")
    assert client.error()["code"] == "server_error"
    client.session.send_raw("{not json")
    client.session.send_raw(b"\x00")
    client.session.send_raw('{"type":"response.nope"}')
    client.session.send_raw('{"type":"input_audio_buffer.cleared","event_id":"event_x"}')
    sent = [message for message in world.recorder.messages if message.source == "openai"][-4:]
    assert [message.invalid is None for message in sent] == [False, False, False, True]


def test_a_session_expires() -> None:
    world = World()
    client = world.open()
    events = client.wait(3600)
    assert types(events) == ["error"]
    assert events[0]["error"]["code"] == "session_expired"
    close = client.sink.frames[-1]
    message = "Your session hit the maximum duration of 60 minutes."
    assert (close.kind, close.code, close.reason) == ("close", 1001, message)


def test_a_connection_that_is_gone_leaves_nothing_behind() -> None:
    world = World()
    client = world.open()
    client.send("response.create")
    client.wait(1)
    client.session.connection_lost(1006, "", "gateway")
    assert client.wait() == []
    assert world.clock.pending == 0
    assert client.session.closed is not None
    client.session.close()
    client.session.receive_text('{"type":"response.create"}')
    assert client.wait() == []


def test_every_error_text_can_be_filled_in() -> None:
    assert str(VendorError("commit_too_small", ms=3)).endswith("has 3.00ms of audio.")
    with pytest.raises(KeyError, match="did you mean 'missing_model'"):
        VendorError("mising_model")


def test_the_settings_of_a_phone_are_the_same_in_both_dialects() -> None:
    for dialect in DIALECTS:
        settings = opened(dialect).session.settings
        assert (settings.input_format.encoding, settings.output_format.rate) == ("pcmu", 8000)
    assert merge(phone("ga"), manual("ga"))["audio"]["input"] == {
        "format": {"type": "audio/pcmu"},
        "turn_detection": None,
    }


def test_items_of_every_kind() -> None:
    client = opened("ga")
    items: list[Event] = [
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be kind."}]},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]},
        {"type": "function_call", "name": "f", "call_id": "call_1", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "{}"},
        {"id": "mcpr_1", "type": "mcp_approval_response", "approval_request_id": "mcpa_1", "approve": True},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_audio", "audio": base64.b64encode(speak("what_time")).decode()}],
        },
    ]
    for item in items:
        client.send("conversation.item.create", item=item)
        added, done = client.events()
        assert added["item"] == done["item"]
        shown = {key: value for key, value in added["item"].items() if key in item}
        if item is not items[-1]:
            assert shown == item
    client.send("response.create")
    transcript = [e["transcript"] for e in client.wait() if e["type"] == "response.output_audio_transcript.done"]
    assert transcript == [phrase("its_noon").text]
    assert all(message.invalid is None for message in client.recorder.messages)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "expected a string, but got null instead"),
        (True, "expected a string, but got a boolean instead"),
        (1.5, "expected a string, but got a decimal instead"),
        ([], "expected a string, but got an array instead"),
        ({}, "expected a string, but got an object instead"),
    ],
)
def test_a_value_of_the_wrong_type(value: Any, text: str) -> None:
    client = opened("ga")
    client.send("session.update", session={"type": "realtime", "instructions": value})
    error = client.error()
    assert (error["code"], error["param"]) == ("invalid_type", "session.instructions")
    assert text in error["message"]


def test_a_voice_of_ones_own() -> None:
    client = opened("ga", audio={"output": {"voice": {"id": "voice_1"}}})
    client.send("response.create")
    assert client.events()[0]["response"]["audio"]["output"]["voice"] == "voice_1"
