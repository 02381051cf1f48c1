"""Responses: their overrides, those beside the conversation, their limits, failures and costs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from openai_world import BETA_DAY, GA_DAY, Client, Event, World, audio_of, typed, types, user_text

from fakes.audio import Listener, phrase, speak
from fakes.openai.brain import Call, Output, Prompt, Say

DIALECTS = ("beta", "ga")


def opened(dialect: str, **session: Any) -> Client:
    return World(BETA_DAY if dialect == "beta" else GA_DAY).open(dialect, **session)


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
    assert client.error()["param"] == "response.input[0].id"


def test_the_length_of_a_response_is_limited() -> None:
    client = opened("ga")
    client.send("response.create", response={"max_output_tokens": 20})
    events = client.wait()
    done = next(event["response"] for event in events if event["type"] == "response.done")
    assert done["status"] == "incomplete"
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert done["output"][0]["status"] == "incomplete"
    assert len(audio_of(events)) == 20 * 50 * 8


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


# -- overrides


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "name": "get_weather", "description": "The weather in a city", "parameters": CITY}
BOOK = {"type": "function", "name": "book_table", "parameters": CITY}


def done(events: list[Event]) -> Event:
    """The one response that has come to its end."""
    (found,) = [event["response"] for event in events if event["type"] == "response.done"]
    assert isinstance(found, dict)
    return found


def thinking(knobs: dict[str, Any] | None = None, model: str = "gpt-realtime-2", **session: Any) -> Client:
    """A session with a model that reasons."""
    client = World(knobs=knobs).connect(model=model)
    client.wait(1)
    client.send("session.update", session={"type": "realtime", **session})
    assert types(client.events()) == ["session.updated"]
    return client


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_one_response_overrides_is_gone_with_it(dialect: str) -> None:
    client = opened(dialect)
    before = dict(client.session.wire)
    override: Event = {"output_audio_format": "g711_alaw", "voice": "sage", "temperature": 0.7}
    if dialect == "ga":
        override = {"audio": {"output": {"format": {"type": "audio/pcma"}, "voice": "sage"}}}
    client.send("response.create", response={**override, "instructions": f"Say: {phrase('farewell').text}"})
    events = client.wait()
    assert audio_of(events) == speak("farewell", "pcma")
    response = done(events)
    if dialect == "ga":
        assert response["audio"]["output"] == {"format": {"type": "audio/pcma"}, "voice": "sage"}
    else:
        shown = (response["output_audio_format"], response["voice"], response["temperature"])
        assert shown == ("g711_alaw", "sage", 0.7)
    assert client.session.wire == before
    client.send("response.create", response=override)
    assert client.error()["code"] == "cannot_update_voice"


@pytest.mark.parametrize(
    ("dialect", "response", "code", "param"),
    [
        ("ga", {"modalities": ["text"]}, "unknown_parameter", "response.modalities"),
        ("ga", {"output_modalities": ["text", "audio"]}, "invalid_value", "response.output_modalities"),
        ("ga", {"max_output_tokens": 0}, "integer_below_min_value", "response.max_output_tokens"),
        ("ga", {"max_output_tokens": 5000}, "integer_above_max_value", "response.max_output_tokens"),
        ("ga", {"conversation": "other"}, "invalid_value", "response.conversation"),
        ("ga", {"temperature": 0.8}, "unknown_parameter", "response.temperature"),
        ("ga", {"audio": {"output": {"voice": "bob"}}}, "invalid_value", "response.audio.output.voice"),
        ("ga", {"tool_choice": {"type": "function", "name": "f"}}, "invalid_value", "response.tool_choice"),
        ("ga", {"input": [{"type": "item_reference"}]}, "missing_required_parameter", "response.input[0].id"),
        ("ga", {"input": [{"type": "message", "role": "user"}]}, "missing_required_parameter", None),
        ("beta", {"output_modalities": ["text"]}, "unknown_parameter", "response.output_modalities"),
        ("beta", {"temperature": 2.0}, "decimal_above_max_value", "response.temperature"),
        ("beta", {"voice": "cedar"}, "invalid_value", "response.voice"),
        ("beta", {"tool_choice": "f"}, "invalid_value", "response.tool_choice"),
        ("beta", {"max_response_output_tokens": "many"}, "invalid_value", "response.max_response_output_tokens"),
    ],
)
def test_overrides_that_are_wrong(dialect: str, response: Event, code: str, param: str | None) -> None:
    client = opened(dialect)
    client.send("response.create", event_id="o", response=response)
    error = client.error()
    assert (error["code"], error["event_id"]) == (code, "o")
    assert param is None or error["param"] == param
    assert client.session.responses == []


def test_two_responses_beside_the_conversation_keep_apart() -> None:
    client = opened("ga")
    for name in ("its_noon", "farewell"):
        client.send(
            "response.create",
            response={
                "conversation": "none",
                "metadata": {"topic": name},
                "input": [user_text(phrase(name).text)],
            },
        )
    created = client.events()
    assert types(created) == ["response.created"] * 2
    topics = {event["response"]["id"]: event["response"]["metadata"]["topic"] for event in created}
    assert len(topics) == 2
    events = client.wait()
    order = [event["response_id"] for event in events if event["type"] == "response.output_audio.delta"]
    assert sum(one != next_one for one, next_one in itertools.pairwise(order)) > 2
    for response_id, topic in topics.items():
        of_it = [event for event in events if event.get("response_id") == response_id]
        assert {event["item_id"] for event in of_it if "item_id" in event} == {
            event["item"]["id"] for event in of_it if event["type"] == "response.output_item.added"
        }
        assert audio_of(of_it) == speak(topic)
        transcript = next(e["transcript"] for e in of_it if e["type"] == "response.output_audio_transcript.done")
        assert transcript == phrase(topic).text
        end = next(e["response"] for e in events if e["type"] == "response.done" and e["response"]["id"] == response_id)
        assert (end["metadata"], end["conversation_id"], end["status"]) == ({"topic": topic}, None, "completed")
    assert len(client.session.conversation) == 0
    assert "conversation.item.added" not in types(events)


def test_one_of_two_is_cancelled_by_its_id() -> None:
    client = opened("ga")
    for _ in range(2):
        client.send("response.create", response={"conversation": "none"})
    first, second = [event["response"]["id"] for event in client.events()]
    client.send("response.cancel", response_id=second)
    assert done(client.events())["id"] == second
    client.send("response.cancel")
    assert client.error()["code"] == "response_cancel_not_active"
    assert done(client.wait())["id"] == first


# -- tools


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("choice", "called"), [("none", None), ("required", "get_weather"), ("auto", None)])
def test_the_choice_of_a_tool(dialect: str, choice: str, called: str | None) -> None:
    client = opened(dialect, tools=[WEATHER, BOOK])
    client.send("response.create", response={"tool_choice": choice})
    output = done(client.wait())["output"]
    assert [item.get("name") for item in output] == [called]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_function_is_chosen(dialect: str) -> None:
    client = opened(dialect, tools=[WEATHER, BOOK])
    client.send("response.create", response={"tool_choice": {"type": "function", "name": "book_table"}})
    assert [item["name"] for item in done(client.wait())["output"]] == ["book_table"]
    client.send("response.create", response={"tool_choice": {"type": "function", "name": "other"}})
    param = client.error()["param"]
    assert param == "response.tool_choice"
    client.send("session.update", session={**typed(dialect), "tool_choice": {"type": "function", "name": "other"}})
    assert client.error()["param"] == "session.tool_choice"


def test_a_tool_that_there_is_not_may_be_ignored() -> None:
    client = World(knobs={"openai.unknown_tool_choice": "ignore"}).open(tools=[WEATHER])
    client.send("response.create", response={"tool_choice": {"type": "function", "name": "other"}})
    assert [item["type"] for item in done(client.wait())["output"]] == ["message"]


class Both:
    """A brain that calls two functions, whatever it is asked."""

    def reply(self, prompt: Prompt) -> Sequence[Output]:
        return [Say("hold_please"), Call("get_weather", {}), Call("book_table", {})]


def test_no_tool_is_called_where_none_may_be() -> None:
    client = World(brain=Both()).open(tools=[WEATHER, BOOK])
    client.send("response.create", response={"tool_choice": "none"})
    assert [item["type"] for item in done(client.wait())["output"]] == ["message"]
    client.send("response.create")
    assert [item["type"] for item in done(client.wait())["output"]] == ["message", "function_call", "function_call"]


def test_calls_one_at_a_time() -> None:
    world = World(brain=Both())
    client = world.connect(model="gpt-realtime-2")
    client.wait(1)
    client.send("response.create", response={"tools": [WEATHER, BOOK], "parallel_tool_calls": False})
    assert [item["type"] for item in done(client.wait())["output"]] == ["message", "function_call"]


# -- models that reason


def test_reasoning_belongs_to_models_that_reason() -> None:
    client = thinking(reasoning={"effort": "high"}, parallel_tool_calls=False)
    assert client.session.wire["reasoning"] == {"effort": "high"}
    client.send("session.update", session={"type": "realtime", "reasoning": {"effort": "boundless"}})
    assert client.error()["param"] == "session.reasoning.effort"
    client = opened("ga")
    client.send("session.update", session={"type": "realtime", "reasoning": {"effort": "low"}})
    error = client.error()
    assert (error["code"], error["param"]) == ("unsupported_parameter", "session.reasoning")
    client.send("response.create", response={"parallel_tool_calls": True})
    assert client.error()["param"] == "response.parallel_tool_calls"
    client = World(knobs={"openai.reasoning_unsupported": "ignore"}).open(reasoning={"effort": "low"})
    assert "reasoning" not in client.session.wire


def test_messages_of_a_model_that_reasons_tell_their_phase() -> None:
    client = thinking(output_modalities=["text"])
    client.send("response.create")
    assert [item["phase"] for item in done(client.wait())["output"]] == ["final_answer"]
    client = thinking({"openai.phase": "never"})
    client.send("response.create")
    assert "phase" not in done(client.wait())["output"][0]
    client = opened("ga")
    client.send("response.create")
    assert "phase" not in done(client.wait())["output"][0]


def test_a_preamble_before_a_call() -> None:
    client = thinking({"openai.phase": "preamble"}, tools=[WEATHER], tool_choice="required")
    client.send("response.create")
    message, call = done(client.wait())["output"]
    assert (message["type"], message["phase"], call["type"]) == ("message", "commentary", "function_call")
    assert message["content"][0]["transcript"] == phrase("hold_please").text
    assert all(message.invalid is None for message in client.recorder.messages)


# -- how long, and how fast


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("speed", "complete"), [(0.25, True), (0.5, True), (0.8, True), (1.0, True), (1.25, False), (1.5, False)]
)
def test_speed_changes_how_long_the_answer_plays(dialect: str, speed: float, complete: bool) -> None:
    client = opened(dialect)
    client.send("session.update", session={**typed(dialect), **spoken_at(dialect, speed)})
    assert types(client.events()) == ["session.updated"]
    client.say("long_story")
    audio = audio_of(client.wait())
    assert len(audio) / 8 == pytest.approx(phrase("long_answer").duration_ms / speed, abs=300)
    ear = Listener("pcmu", 8000)
    ear.feed(audio)
    ear.flush()
    assert [(heard.phrase, heard.complete) for heard in ear.heard] == [("long_answer", complete)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_speed_has_its_limits_and_its_time(dialect: str) -> None:
    client = opened(dialect)
    for speed, code in ((0.2, "decimal_below_min_value"), (1.6, "decimal_above_max_value")):
        client.send("session.update", session={**typed(dialect), **spoken_at(dialect, speed)})
        assert client.error()["code"] == code
    client.send("response.create")
    client.wait(0.5)
    client.send("session.update", session={**typed(dialect), **spoken_at(dialect, 1.2)})
    assert [event["error"]["code"] for event in client.events()] == ["cannot_update_speed"]


def spoken_at(dialect: str, speed: float) -> Event:
    return {"speed": speed} if dialect == "beta" else {"audio": {"output": {"speed": speed}}}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_length_of_a_written_response_is_limited(dialect: str) -> None:
    modalities = {"modalities" if dialect == "beta" else "output_modalities": ["text"]}
    limit = {"max_response_output_tokens" if dialect == "beta" else "max_output_tokens": 4}
    client = opened(dialect)
    client.send("response.create", response={**modalities, **limit})
    response = done(client.wait())
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["max_output_tokens"] == 4
    assert response["output"][0]["content"][0]["text"] == " ".join(phrase("greeting").text.split(" ")[:3])


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("modality", ["audio", "text"])
def test_the_content_filter(dialect: str, modality: str) -> None:
    client = opened(dialect)
    client.session.filter_response()
    text = {"modalities" if dialect == "beta" else "output_modalities": ["text"]}
    client.send("response.create", **({"response": text} if modality == "text" else {}))
    events = client.wait()
    response = done(events)
    assert response["status"] == response["output"][0]["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "content_filter"}
    if modality == "audio":
        assert len(audio_of(events)) == len(speak("greeting")) // 2
    client.send("response.create")
    assert done(client.wait())["status"] == "completed"


def test_what_is_cut_off_sooner_has_not_met_the_filter() -> None:
    client = opened("ga")
    client.session.filter_response()
    client.send("response.create", response={"max_output_tokens": 1})
    assert done(client.wait())["status_details"]["reason"] == "max_output_tokens"


# -- costs


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_response_costs_adds_up(dialect: str) -> None:
    client = opened(dialect, instructions="word " * 200)
    usages = []
    for _ in range(3):
        client.say("long_story")
        usages.append(done(client.wait())["usage"])
    assert usages[0]["input_token_details"]["cached_tokens"] == 0
    for usage, last in zip(usages[1:], usages, strict=False):
        details = usage["input_token_details"]
        assert 0 < details["cached_tokens"] <= last["input_tokens"] < usage["input_tokens"]
        assert details["cached_tokens"] == sum(details["cached_tokens_details"].values())
        assert details["cached_tokens_details"]["text_tokens"] % 64 == 0
    for usage in usages:
        details = usage["input_token_details"]
        kinds = ("text_tokens", "audio_tokens", "image_tokens")
        assert sum(details.get(kind, 0) for kind in kinds) == usage["input_tokens"]
        assert sum(usage["output_token_details"].values()) == usage["output_tokens"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert ("image_tokens" in details) is (dialect == "ga")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rate_limits_follow_every_response(dialect: str) -> None:
    client = opened(dialect)
    client.send("response.create")
    *_, last, limits = client.wait()
    assert (last["type"], limits["type"]) == ("response.done", "rate_limits.updated")
    names = [limit["name"] for limit in limits["rate_limits"]]
    assert names == (["tokens"] if dialect == "ga" else ["requests", "tokens"])
    assert all(0 < limit["remaining"] < limit["limit"] for limit in limits["rate_limits"])


def test_padding_only_where_it_was_seen() -> None:
    padded: dict[str, set[bool]] = {}
    for knob in ("observed", "all", "none"):
        client = World(knobs={"openai.obfuscation": knob}).open(tools=[WEATHER])
        client.send("response.create", response={"tool_choice": "required"})
        client.wait()
        client.send("response.create", response={"output_modalities": ["text"]})
        client.wait()
        client.send("response.create")
        client.wait()
        events = [
            json.loads(str(message.body)) for message in client.recorder.messages if message.kind.endswith(".delta")
        ]
        for event in events:
            padded.setdefault(f"{knob} {event['type'].split('.')[1]}", set()).add("obfuscation" in event)
    assert padded == {
        "observed function_call_arguments": {False},
        "observed output_text": {True},
        "observed output_audio_transcript": {False},
        "observed output_audio": {False},
        "all function_call_arguments": {True},
        "all output_text": {True},
        "all output_audio_transcript": {True},
        "all output_audio": {False},
        "none function_call_arguments": {False},
        "none output_text": {False},
        "none output_audio_transcript": {False},
        "none output_audio": {False},
    }


# -- failures


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("code", "error_type"),
    [
        ("server_error", "server_error"),
        ("rate_limit_exceeded", "rate_limit_error"),
        ("insufficient_quota", "insufficient_quota"),
        ("something_new", "server_error"),
    ],
)
def test_a_failure_says_why(dialect: str, code: str, error_type: str) -> None:
    client = opened(dialect)
    client.session.fail_response(code)
    client.send("response.create")
    details = done(client.wait())["status_details"]
    assert (details["type"], details["error"]["type"], details["error"]["code"]) == ("failed", error_type, code)
    assert ("message" in details["error"]) is (dialect == "ga")
    assert all(message.invalid is None for message in client.recorder.messages)


# -- what the model can take in


def test_a_conversation_that_is_too_long_loses_its_beginning() -> None:
    client = opened("ga")
    for index in range(6):
        client.send("conversation.item.create", item={"id": f"i{index}", **user_text("word " * 4500)})
    client.send("response.create")
    used = done(client.wait())["usage"]["input_tokens"]
    assert 6000 * 4 < used < 32000 - 4096
    client.send("session.update", session={"type": "realtime", "truncation": "disabled"})
    client.events()
    client.send("response.create", event_id="long")
    error = client.error()
    assert (error["code"], error["event_id"]) == ("context_length_exceeded", "long")
    ratio = {"type": "retention_ratio", "retention_ratio": 0.5, "token_limits": {"post_instructions": 20000}}
    client.send("session.update", session={"type": "realtime", "truncation": ratio})
    assert client.events()[0]["session"]["truncation"] == ratio
    client.send("response.create")
    assert 6000 < done(client.wait())["usage"]["input_tokens"] < 10100


def test_a_ratio_has_its_limits() -> None:
    client = opened("ga")
    for ratio, code in ((1.5, "decimal_above_max_value"), (-0.1, "decimal_below_min_value")):
        truncation = {"type": "retention_ratio", "retention_ratio": ratio}
        client.send("session.update", session={"type": "realtime", "truncation": truncation})
        assert client.error()["code"] == code
    client.send("session.update", session={"type": "realtime", "truncation": "sometimes"})
    assert client.error()["param"] == "session.truncation"
