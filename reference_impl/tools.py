"""The functions that the model may call, and their table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

END_CALL = "end_call"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function: its name, what the model is told about it, its parameters (name to JSON Schema), what it does."""

    name: str
    description: str
    parameters: Mapping[str, Mapping[str, Any]]
    function: Callable[..., Mapping[str, Any]]

    def schema(self) -> dict[str, Any]:
        """The entry of `session.tools`, which is the same in both dialects."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": {
                "type": "object",
                "properties": dict(self.parameters),
                "required": list(self.parameters),
            },
        }


def _get_weather(city: str) -> Mapping[str, Any]:
    return {"city": city, "forecast": "sunny", "celsius": 21}


def _book_table(name: str, people: int, time: str) -> Mapping[str, Any]:
    if not 1 <= people <= 12:
        return {"booked": False, "reason": "we seat 1 to 12 people"}
    return {"booked": True, "name": name, "people": people, "time": time}


def _end_call() -> Mapping[str, Any]:
    return {"ending": True, "note": "say goodbye in one sentence; the call ends when it has been heard"}


_TEXT = {"type": "string"}
TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("get_weather", "The weather in a city.", {"city": _TEXT}, _get_weather),
        Tool(
            "book_table",
            "Book a table at the restaurant.",
            {"name": _TEXT, "people": {"type": "integer"}, "time": _TEXT},
            _book_table,
        ),
        Tool(END_CALL, "End the call, when the caller has nothing more to ask.", {}, _end_call),
    )
}
# A person in a browser ends a conversation with a button.
TALK_TOOLS: Mapping[str, Tool] = {name: tool for name, tool in TOOLS.items() if name != END_CALL}


def call_tool(name: str, arguments: str, tools: Mapping[str, Tool] = TOOLS) -> tuple[bool, str]:
    """Run one of `tools` with its arguments as the model wrote them (JSON): whether it ran, the JSON to answer with.

    What the model got wrong is answered with an `error`, which it can read and mend.
    """
    tool = tools.get(name)
    if tool is None:
        return False, json.dumps({"error": f"there is no tool {name!r}; the tools are {', '.join(tools)}"})
    try:
        return True, json.dumps(tool.function(**(json.loads(arguments or "{}"))))
    except (TypeError, ValueError, RecursionError) as error:
        expected = ", ".join(tool.parameters) or "none"
        return False, json.dumps({"error": f"wrong arguments ({error}); the parameters are: {expected}"})
