"""Items: created, found, retrieved, truncated and deleted, and what is wrong with them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from openai_world import BETA_DAY, GA_DAY, Client, Event, World, audio_of, manual, types, user_text

from fakes.audio import phrase, speak

DIALECTS = ("beta", "ga")


def opened(dialect: str, **session: Any) -> Client:
    return World(BETA_DAY if dialect == "beta" else GA_DAY).open(dialect, **session)


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


def test_what_is_generated_after_a_truncation_is_not_remembered() -> None:
    client = opened("ga")
    client.send("response.create")
    item_id = next(e["item"]["id"] for e in client.wait(0.5) if e["type"] == "response.output_item.added")
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
    assert types(client.events()) == ["conversation.item.truncated"]
    assert "response.output_audio.delta" in types(client.wait())  # the response goes on: only its cancellation ends it
    client.send("conversation.item.retrieve", item_id=item_id)
    content = client.events()[0]["item"]["content"][0]
    assert (content["transcript"], len(base64.b64decode(content["audio"]))) == ("", 800)


def test_only_the_audio_of_the_assistant_can_be_truncated() -> None:
    client = opened("ga")
    client.send("conversation.item.create", item={"id": "a", **user_text("x")})
    client.events()
    client.send("conversation.item.truncate", item_id="a", content_index=0, audio_end_ms=0)
    assert client.error()["code"] == "invalid_value"


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


PIXEL = "data:image/png;base64,iVBORw0KGgo="


def image(url: str = PIXEL, **detail: str) -> Event:
    return {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": url, **detail}]}


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/cat.png",
        "data:image/gif;base64,AAAA",
        "data:image/png;base64,***",
        "data:image/png,AAAA",
        "",
    ],
)
def test_an_image_is_a_data_uri_of_a_png_or_a_jpeg(url: str) -> None:
    client = opened("ga")
    client.send("conversation.item.create", item=image(url))
    error = client.error()
    assert (error["code"], error["param"]) == ("invalid_value", "item.content[0].image_url")
    assert len(client.session.conversation) == 0


def test_an_image_has_its_tokens() -> None:
    used = []
    for detail in ({}, {"detail": "low"}, {"detail": "high"}):
        client = opened("ga")
        client.send("conversation.item.create", item=image(**detail))
        client.send("response.create")
        done = next(event for event in client.wait() if event["type"] == "response.done")
        used.append(done["response"]["usage"]["input_token_details"]["image_tokens"])
    assert used == [255, 85, 255]


def test_the_beta_takes_no_images() -> None:
    client = opened("beta")
    client.send("conversation.item.create", item=image())
    assert client.error()["param"] in ("item.content[0].image_url", "item.content[0].type")


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        ({"type": "message", "content": []}, "missing_required_parameter", "item.role"),
        ({"type": "message", "role": "boss", "content": []}, "invalid_value", "item.role"),
        ({"type": "nonsense"}, "invalid_value", "item.type"),
        ({"role": "user", "content": []}, "missing_required_parameter", "item.type"),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text"}]},
            "missing_required_parameter",
            "item.content[0].text",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_audio"}]},
            "missing_required_parameter",
            "item.content[0].audio",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "*"}]},
            "invalid_value",
            "item.content[0].audio",
        ),
        (
            {"type": "message", "role": "system", "content": [{"type": "input_text"}]},
            "missing_required_parameter",
            "item.content[0].text",
        ),
        ({"type": "function_call", "name": "f"}, "missing_required_parameter", "item.arguments"),
        ({"type": "function_call_output", "call_id": "c"}, "missing_required_parameter", "item.output"),
        ({"type": "item_reference", "id": "a"}, "invalid_value", "item.type"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_item_that_lacks_something(dialect: str, item: Event, code: str, param: str) -> None:
    client = opened(dialect)
    client.send("conversation.item.create", event_id="i", item=item)
    error = client.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "i")
    assert len(client.session.conversation) == 0


def test_mcp_items_of_an_earlier_conversation() -> None:
    client = opened("ga")
    call = {"server_label": "s", "name": "t", "arguments": "{}"}
    items: list[Event] = [
        {"id": "mcpl_1", "type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "t", "input_schema": {}}]},
        {"id": "mcp_1", "type": "mcp_call", **call, "output": "Blue.", "error": None, "approval_request_id": None},
        {"id": "mcpr_1", "type": "mcp_approval_request", **call},
    ]
    for item in items:
        client.send("conversation.item.create", item=item)
        added, done = client.events()
        assert added["item"] == done["item"] == item
    client.send("response.create")
    transcript = next(e["transcript"] for e in client.wait() if e["type"] == "response.output_audio_transcript.done")
    assert transcript == phrase("anything_else").text
    assert all(message.invalid is None for message in client.recorder.messages)


def test_an_approval_of_nothing() -> None:
    client = opened("ga")
    answer = {"id": "mcpr_1", "type": "mcp_approval_response", "approval_request_id": "mcpa_1", "approve": True}
    client.send("conversation.item.create", item=answer)
    error = client.error()
    assert (error["code"], error["param"]) == ("invalid_value", "item.approval_request_id")
    assert client.session.conversation.find("mcpr_1") is None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_the_assistant_said_is_retrieved_with_its_sound(dialect: str) -> None:
    client = opened(dialect)
    client.send("response.create")
    events = client.wait()
    item_id = next(event["item"]["id"] for event in events if event["type"] == "response.output_item.done")
    client.send("conversation.item.retrieve", item_id=item_id)
    (retrieved,) = client.events()
    (content,) = retrieved["item"]["content"]
    assert base64.b64decode(content["audio"]) == audio_of(events) == speak("greeting")
    assert content["transcript"] == phrase("greeting").text
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=500)
    client.send("conversation.item.retrieve", item_id=item_id)
    (content,) = client.events()[-1]["item"]["content"]
    assert base64.b64decode(content["audio"]) == speak("greeting")[: 500 * 8]
    assert all(message.invalid is None for message in client.recorder.messages)


def test_what_has_been_truncated_is_not_what_was_said() -> None:
    client = opened("ga")
    client.send("conversation.item.truncate", item_id="x", content_index=-1, audio_end_ms=0)
    assert client.error()["param"] == "content_index"
    client.send("conversation.item.truncate", item_id="x", content_index=0)
    assert client.error()["param"] == "audio_end_ms"
    client.send("response.create", response={"output_modalities": ["text"]})
    item_id = next(event["item"]["id"] for event in client.wait() if event["type"] == "response.output_item.done")
    client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0)
    assert client.error()["code"] == "invalid_value"


def test_the_old_name_of_an_added_item_when_the_knob_says_so() -> None:
    client = World(knobs={"openai.legacy_item_created": True}).open()
    client.send("conversation.item.create", item=user_text("Hello."))
    events = client.events()
    assert types(events) == ["conversation.item.created", "conversation.item.added", "conversation.item.done"]
    assert events[0]["item"] == events[1]["item"]
    assert all(message.invalid is None for message in client.recorder.messages)
    client = opened("ga")
    client.send("conversation.item.create", item=user_text("Hello."))
    assert "conversation.item.created" not in types(client.events())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_deleted_item_is_forgotten(dialect: str) -> None:
    client = opened(dialect, **manual(dialect))
    client.send("conversation.item.create", item={"id": "q", **user_text(phrase("what_time").text)})
    client.send("conversation.item.delete", item_id="q")
    client.send("conversation.item.create", item={"id": "q", **user_text("Hello again.")})
    assert types(client.events())[-1].startswith("conversation.item.")
    client.send("conversation.item.delete", item_id="q")
    client.send("response.create")
    text = [event["transcript"] for event in client.wait() if event["type"].endswith("transcript.done")]
    assert text == [phrase("greeting").text]
