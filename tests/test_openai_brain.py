"""What the model says and does."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.audio import PHRASES, phrase
from fakes.openai.brain import Call, Output, PhraseBookBrain, Prompt, Say, ToolResult, example

WEATHER = {"type": "function", "name": "lookup", "description": "Look up the weather forecast"}
BOOK = {"type": "function", "name": "reserve_table", "parameters": {"type": "object", "properties": {}}}
END = {"type": "function", "name": "hang_up"}


def reply(**prompt: Any) -> Output:
    (output,) = PhraseBookBrain().reply(Prompt(first=False, **prompt))
    return output


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({"heard": ("hello",)}, "greeting"),
        ({"heard": ("?", "what_time")}, "its_noon"),
        ({"heard": ("what_time", "?")}, "its_noon"),
        ({"heard": ("?",)}, "pardon"),
        ({"heard": ("goodbye",)}, "farewell"),
        ({"heard": ("goodbye",), "tools": [WEATHER]}, "farewell"),
        ({"heard": ("weather",)}, "weather_sunny"),
        ({"heard": ("weather",), "tools": [END]}, "weather_sunny"),
        ({"heard": ("weather",), "tools": [WEATHER], "tool_choice": "none"}, "weather_sunny"),
        ({"text": "Can you tell me what time it is, please?"}, "its_noon"),
        ({"text": "The caller pressed 5."}, "digit_received"),
        ({"text": "DTMF: 1#"}, "digit_received"),
        ({"text": "Greet the caller."}, "greeting"),
        ({"text": f"Say: {phrase('hold_please').text}"}, "hold_please"),
        ({"text": "My order is number seven."}, "i_understand"),
        ({"instructions": f"Say exactly '{phrase('farewell').text}'"}, "farewell"),
        ({}, "anything_else"),
        ({"result": ToolResult("lookup", "{}"), "asked": "weather"}, "weather_sunny"),
        ({"result": ToolResult("reserve_table", "{}"), "asked": "book_table"}, "table_booked"),
        ({"result": ToolResult("get_weather", "{}")}, "weather_sunny"),
        ({"result": ToolResult("hang_up", "{}"), "asked": "goodbye"}, "farewell"),
        ({"result": ToolResult("lookup", '{"error":"down"}'), "asked": "weather"}, "sorry_trouble"),
    ],
)
def test_what_is_said(prompt: dict[str, Any], said: str) -> None:
    assert reply(**prompt) == Say(said)


def test_the_first_word_is_a_greeting() -> None:
    assert PhraseBookBrain().reply(Prompt()) == [Say("greeting")]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ({"heard": ("weather",), "tools": [END, BOOK, WEATHER]}, "lookup"),
        ({"heard": ("book_table",), "tools": [WEATHER, BOOK, END]}, "reserve_table"),
        ({"heard": ("book_table",), "tools": [{"type": "function", "name": "other"}]}, "other"),
        ({"heard": ("goodbye",), "tools": [WEATHER, END]}, "hang_up"),
        ({"heard": ("hello",), "tools": [WEATHER], "tool_choice": "required"}, "lookup"),
        ({"heard": ("hello",), "tools": [WEATHER, BOOK], "tool_choice": {"name": "reserve_table"}}, "reserve_table"),
    ],
)
def test_what_is_called(prompt: dict[str, Any], name: str) -> None:
    output = reply(**prompt)
    assert isinstance(output, Call)
    assert output.name == name


def test_every_phrase_has_an_answer() -> None:
    for name in PHRASES:
        assert isinstance(reply(heard=(name,)), Say)


def test_arguments_fit_their_schema() -> None:
    schema = {
        "type": "object",
        "$defs": {"Side": {"enum": ["left", "right"]}},
        "properties": {
            "city": {"type": "string"},
            "guests": {"type": "integer", "minimum": 4},
            "price": {"type": "number"},
            "side": {"$ref": "#/$defs/Side"},
            "vegan": {"type": "boolean"},
            "dishes": {"type": "array", "items": {"type": "string"}},
            "until": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "fixed": {"const": 7},
            "many": {"type": ["string", "null"]},
            "extra": {"type": "object", "properties": {"note": {"type": "string"}, "more": {}}, "required": ["note"]},
            "left_out": {"type": "string"},
        },
        "required": [
            *("city", "guests", "price", "side", "vegan", "dishes", "until", "fixed", "many", "extra"),
        ],
    }
    assert example(schema, schema) == {
        "city": "Berlin",
        "guests": 4,
        "price": 2.0,
        "side": "left",
        "vegan": True,
        "dishes": ["dishes"],
        "until": None,
        "fixed": 7,
        "many": "many",
        "extra": {"note": "note"},
    }
    assert example({}, {}) == {}
