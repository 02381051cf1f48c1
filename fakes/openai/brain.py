"""What the model says: a brain that hears phrases and answers by the phrase book, the same way every time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fakes.audio import PHRASES, UNKNOWN, phrase, reply_to


@dataclass(frozen=True, slots=True)
class Say:
    """The model says a phrase of the phrase book, or writes its text."""

    phrase: str

    @property
    def text(self) -> str:
        """What is said, in words."""
        return phrase(self.phrase).text


@dataclass(frozen=True, slots=True)
class Call:
    """The model calls a function. `arguments` is a JSON object; `raw` is written instead of it, JSON or not."""

    name: str
    arguments: Mapping[str, Any]
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class McpCall:
    """The model calls a tool of an MCP server. `arguments` is a JSON object."""

    server_label: str
    name: str
    arguments: Mapping[str, Any]


Output = Say | Call | McpCall


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The output of a function that the model has called. `name` is empty when the call is not known."""

    name: str
    output: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model has to go by.

    `heard`: the phrases in the last message of the user, in order, when it was spoken. `text`: its text, when it was
    written. `result`: the output of a function, when that is what came last. All three are empty when the user has
    said nothing since the model last spoke. `asked`: the last phrase of the user that was understood, ever; `first`:
    whether the user has not said anything yet, ever. `instructions`: those of this response alone, if any. `idle`: the
    user has been silent for too long, and that is why the model is asked. `tools`: functions, and the listed tools of
    MCP servers, which look like functions but for their type `mcp` and their `server_label`.
    """

    heard: tuple[str, ...] = ()
    text: str | None = None
    result: ToolResult | None = None
    asked: str | None = None
    first: bool = True
    instructions: str = ""
    idle: bool = False
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: Any = "auto"


class Brain(Protocol):
    """Decides what the model says and does."""

    def reply(self, prompt: Prompt) -> Sequence[Output]:
        """One response: what is said and which functions are called, in order. May be empty.

        May raise `VendorError`: the response is refused with it, or fails when it has begun by then.
        """
        ...


# Which functions a phrase is about, by words in their names and descriptions.
_TOPICS: Mapping[str, tuple[str, ...]] = {
    "weather": ("weather", "forecast", "temperature"),
    "book_table": ("book", "reserve", "reservation", "table"),
}
_RESULTS = {"weather": "weather_sunny", "book_table": "table_booked", "goodbye": "farewell"}
_HANG_UP = re.compile(r"(end|hang|finish|close|terminate).*(call|up|conversation)|goodbye|hangup", re.IGNORECASE)
_DIGITS = re.compile(r"\b(dtmf|digits?|keypad|pressed|press(es)? (the )?key|touch.?tone)\b", re.IGNORECASE)
_GREET = re.compile(r"\b(greet|welcome|introduce|say hello|say hi|answer(ed)? the (call|phone))", re.IGNORECASE)
_FAILED = re.compile(r"\b(error|failed|failure|exception)\b", re.IGNORECASE)
_EXAMPLES = {
    "city": "Berlin",
    "location": "Berlin",
    "place": "Berlin",
    "name": "Alex Miller",
    "date": "2026-11-21",
    "day": "tomorrow",
    "time": "19:00",
    "reason": "The caller said goodbye.",
}


class PhraseBookBrain:
    """Answers by the phrase book, and calls a function where a phrase is about one."""

    def reply(self, prompt: Prompt) -> Sequence[Output]:
        """See `Brain.reply`."""
        if prompt.result is not None:
            return [Say(self._after(prompt, prompt.result))]
        asked = self._asked(prompt)
        tool = self._tool(prompt, asked)
        if tool is not None:
            name, schema = str(tool["name"]), tool.get("parameters") or {}
            if tool["type"] == "mcp":
                return [McpCall(str(tool["server_label"]), name, example(schema, schema))]
            return [Call(name, example(schema, schema))]
        return [Say(self._say(prompt, asked))]

    def _asked(self, prompt: Prompt) -> str | None:
        """The phrase to answer: None when the user has said nothing, `?` when it was not understood."""
        known = [name for name in prompt.heard if name != UNKNOWN]
        if known:
            return known[-1]
        if prompt.idle:
            return None
        if prompt.text is not None:
            return _phrase_of(prompt.text) or UNKNOWN
        return UNKNOWN if prompt.heard else None

    def _say(self, prompt: Prompt, asked: str | None) -> str:
        for text in (prompt.text or "", prompt.instructions):
            # "Say exactly: ...": a sentence of the model's that somebody puts into its mouth.
            for candidate in PHRASES.values():
                if candidate.speaker == "model" and candidate.text.casefold() in text.casefold():
                    return candidate.name
        if prompt.text is not None and asked == UNKNOWN:
            if _DIGITS.search(prompt.text):
                return "digit_received"
            return "greeting" if _GREET.search(prompt.text) else "i_understand"
        if asked is None:
            return "greeting" if prompt.first else "anything_else"
        return reply_to(asked).name

    def _tool(self, prompt: Prompt, asked: str | None) -> Mapping[str, Any] | None:
        functions = [tool for tool in prompt.tools if "name" in tool]
        choice = prompt.tool_choice
        if not functions or choice == "none":
            return None
        if isinstance(choice, Mapping):
            wanted = {key: choice[key] for key in ("name", "server_label") if choice.get(key) is not None}
            return next((tool for tool in functions if wanted.items() <= tool.items()), None)
        hang_up = [tool for tool in functions if _HANG_UP.search(str(tool["name"]))]
        others = [tool for tool in functions if tool not in hang_up]
        if asked == "goodbye" and hang_up:
            return hang_up[0]
        words = _TOPICS.get(asked or "")
        if words is not None and others:
            return max(others, key=lambda tool: _fit(tool, words))
        return functions[0] if choice == "required" else None

    def _after(self, prompt: Prompt, result: ToolResult) -> str:
        if _FAILED.search(result.output):
            return "sorry_trouble"
        if prompt.asked in _RESULTS:
            return _RESULTS[prompt.asked]
        if _HANG_UP.search(result.name):
            return "farewell"
        for topic, words in _TOPICS.items():
            if _fit({"name": result.name}, words):
                return _RESULTS[topic]
        return "anything_else"


def _phrase_of(text: str) -> str | None:
    """The name of the phrase whose sentence this is, if it is one."""
    folded = text.strip().casefold()
    return next((candidate.name for candidate in PHRASES.values() if candidate.text.casefold() == folded), None)


def _fit(tool: Mapping[str, Any], words: Sequence[str]) -> int:
    name = str(tool.get("name", "")).casefold()
    about = str(tool.get("description", "")).casefold()
    return sum(2 * (word in name) + (word in about) for word in words)


def example(schema: Mapping[str, Any], root: Mapping[str, Any], name: str = "") -> Any:
    """A value that fits a JSON Schema of the kind that tools have: objects, arrays, enumerations, plain values."""
    if "$ref" in schema:
        target: Any = root
        for key in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[key]
        return example(target, root, name)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return example(schema[key][0], root, name)
    kind = schema.get("type", "object" if "properties" in schema or not name else "string")
    if isinstance(kind, list):
        kind = kind[0]
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            wanted = schema.get("required") or list(properties)
            return {key: example(properties.get(key, {"type": "string"}), root, key) for key in wanted}
        case "array":
            return [example(schema.get("items") or {"type": "string"}, root, name)]
        case "integer":
            return int(schema.get("minimum", 2))
        case "number":
            return float(schema.get("minimum", 2))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _EXAMPLES.get(name.casefold(), name or "text")


def arguments_text(call: Call | McpCall) -> str:
    """The arguments of a call as the model writes them."""
    if isinstance(call, Call) and call.raw is not None:
        return call.raw
    return json.dumps(call.arguments, separators=(",", ":"), ensure_ascii=False)
