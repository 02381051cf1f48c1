"""The session: what it is at first, how it is updated, and every error with its code, parameter, text and echo."""

from __future__ import annotations

from typing import Any

import pytest
from openai_world import BETA_DAY, GA_DAY, START, Client, Event, World, manual, merge, phone, typed, types

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
def test_to_repeat_the_model_is_no_change(dialect: str) -> None:
    client = opened(dialect)
    asked = client.session.wire["model"]
    snapshot = client.session.wire["model"] = f"{asked}-2026-05-07"
    kind = {} if dialect == "beta" else {"type": "realtime"}
    for name in (asked, snapshot):
        client.send("session.update", session={**kind, "model": name, "instructions": f"Be {name}."})
        (updated,) = client.events()
        assert updated["type"] == "session.updated"
        assert updated["session"]["model"] == snapshot
        assert updated["session"]["instructions"] == f"Be {name}."
    for name in ("gpt-realtime-1.5", f"{asked}-2026", ""):
        client.send("session.update", session={**kind, "model": name, "instructions": "Be another."})
        assert client.error()["message"] == f"The model of a session cannot be changed: it is '{snapshot}'."
    assert client.session.wire["instructions"] == f"Be {snapshot}."


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


# -- controls


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


def test_a_session_that_is_closed_before_it_has_begun_never_does() -> None:
    client = World().connect("ga")
    client.session.close(1009, "message too large")
    assert client.wait(5) == []
    client.session.connection_lost(1009, "message too large", "openai")
    assert client.session.closed is not None


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


# -- limits


@pytest.mark.parametrize(("dialect", "minutes"), [("ga", 60), ("beta", 30)])
def test_a_session_lasts_so_long(dialect: str, minutes: int) -> None:
    client = World(BETA_DAY if dialect == "beta" else GA_DAY).connect(dialect)
    assert client.wait(60 * minutes - 1)[-1]["type"] in ("session.created", "conversation.created")
    (expired,) = client.wait(2)
    message = f"Your session hit the maximum duration of {minutes} minutes."
    assert (expired["error"]["code"], expired["error"]["message"]) == ("session_expired", message)
    close = client.sink.frames[-1]
    assert (close.kind, close.code, close.reason) == ("close", 1001, message)
    client.send("session.update", session={})
    assert client.events() == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_append_may_have_15_mib(dialect: str) -> None:
    client = opened(dialect, **manual(dialect))
    client.send("input_audio_buffer.append", audio="A" * (15 * 1024 * 1024))
    assert client.events() == []
    client.send("input_audio_buffer.append", event_id="big", audio="A" * (15 * 1024 * 1024 + 4))
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio", "big")
    assert client.session.closed is None
    client.send("input_audio_buffer.commit")
    assert types(client.events())[0] == "input_audio_buffer.committed"


def test_an_append_that_is_too_large_may_end_the_connection() -> None:
    client = World(knobs={"openai.append_too_large": "close"}).open()
    client.send("input_audio_buffer.append", audio="A" * (15 * 1024 * 1024 + 4))
    close = client.sink.frames[-1]
    assert (close.kind, close.code) == ("close", 1009)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", ["response.cancel", "input_audio_buffer.clear", "input_audio_buffer.append"])
def test_an_event_id_may_have_512_characters(dialect: str, kind: str) -> None:
    client = opened(dialect)
    fields = {"audio": ""} if kind.endswith("append") else {}
    client.send(kind, event_id="x" * 513, **fields)
    error = client.error()
    assert (error["code"], error["param"]) == ("string_above_max_length", "event_id")
    client.send(kind, event_id="x" * 512, **fields)
    assert "string_above_max_length" not in [event.get("error", {}).get("code") for event in client.events()]


# -- fields of a session


@pytest.mark.parametrize(
    ("dialect", "session"),
    [
        ("ga", {"type": "realtime", "prompt": {"id": "pmpt_1", "version": "2", "variables": {"city": "Berlin"}}}),
        ("ga", {"type": "realtime", "tracing": {"workflow_name": "calls", "group_id": "g", "metadata": {"a": "b"}}}),
        ("ga", {"type": "realtime", "truncation": "disabled"}),
        ("ga", {"type": "realtime", "max_output_tokens": 4096}),
        ("ga", {"type": "realtime", "model": "gpt-realtime"}),
        ("ga", {"type": "realtime", "include": ["item.input_audio_transcription.logprobs"]}),
        ("ga", {"type": "realtime", "audio": {"input": {"noise_reduction": {"type": "near_field"}}}}),
        ("ga", {"type": "realtime", "audio": {"output": {"voice": "cedar", "speed": 0.25}}}),
        ("beta", {"temperature": 1.2, "max_response_output_tokens": 1, "speed": 1.5}),
        ("beta", {"input_audio_noise_reduction": {"type": "far_field"}, "tracing": "auto"}),
    ],
)
def test_what_is_set_is_shown(dialect: str, session: Event) -> None:
    client = opened(dialect)
    before = client.session.wire
    client.send("session.update", session=session)
    (updated,) = client.events()
    assert updated["session"] == merge(before, session)
    assert client.recorder.messages[-1].invalid is None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_empty_or_null_clears(dialect: str) -> None:
    tool = {"type": "function", "name": "f"}
    client = opened(
        dialect, instructions="Be brief.", tools=[tool], include=["item.input_audio_transcription.logprobs"]
    )
    client.send("session.update", session={**typed(dialect), "instructions": "", "tools": [], "include": None})
    (updated,) = client.events()
    assert [updated["session"][field] for field in ("instructions", "tools", "include")] == ["", [], None]
    client.send("session.update", session=merge(typed(dialect), manual(dialect)))
    assert client.session.settings.turn_detection is None
    client.send("session.update", session=typed(dialect))
    assert types(client.events()) == ["session.updated"] * 2
    assert client.session.settings.turn_detection is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("field", ["id", "object", "expires_at", "client_secret"])
def test_what_only_the_server_says(dialect: str, field: str) -> None:
    client = opened(dialect)
    client.send("session.update", session={**typed(dialect), field: "x"})
    error = client.error()
    assert (error["code"], error["param"]) == ("unknown_parameter", f"session.{field}")


@pytest.mark.parametrize(
    ("dialect", "session", "code", "param"),
    [
        ("ga", {"max_output_tokens": 0}, "integer_below_min_value", "session.max_output_tokens"),
        ("ga", {"max_output_tokens": "lots"}, "invalid_value", "session.max_output_tokens"),
        ("ga", {"tracing": "always"}, "invalid_value", "session.tracing"),
        ("ga", {"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
        ("ga", {"tools": [{"type": "robot", "name": "f"}]}, "invalid_value", "session.tools[0].type"),
        ("ga", {"tool_choice": "maybe"}, "invalid_value", "session.tool_choice"),
        (
            "ga",
            {"audio": {"input": {"format": {"type": "audio/mp3"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            "ga",
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.output.format.rate",
        ),
        ("ga", {"prompt": {"version": "1"}}, "missing_required_parameter", "session.prompt.id"),
        ("beta", {"input_audio_format": "pcm8"}, "invalid_value", "session.input_audio_format"),
        ("beta", {"temperature": 1.3}, "decimal_above_max_value", "session.temperature"),
        ("beta", {"tool_choice": "f"}, "invalid_value", "session.tool_choice"),
    ],
)
def test_what_cannot_be_set(dialect: str, session: Event, code: str, param: str) -> None:
    client = opened(dialect)
    before = dict(client.session.wire)
    client.send("session.update", session={**typed(dialect), **session})
    error = client.error()
    assert (error["code"], error["param"]) == (code, param)
    assert client.session.wire == before
