"""Whatever valid or nearly valid events a client sends: the session answers, and all its answers are valid."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_world import BETA_DAY, GA_DAY, World

from fakes.openai import McpServer, McpTool
from fakes.openai.protocol.validation import schema_file

TEXTS = ("a", "b", "", "alloy", "whisper-1", "gpt-realtime", base64.b64encode(b"\xff" * 8000).decode())


class Writer:
    """Writes events by their schemas; `random` is Hypothesis's."""

    def __init__(self, dialect: str, random: Random) -> None:
        self._schemas = json.loads(schema_file(dialect, "client").read_text(encoding="utf-8"))
        self._random = random
        self.kinds = sorted(self._schemas["events"])

    def event(self, kind: str) -> Any:
        return self._value({"$ref": f"#/$defs/{self._schemas['events'][kind]}"}, 0)

    def _value(self, schema: Any, depth: int) -> Any:
        random = self._random
        if not isinstance(schema, dict) or not schema:
            return random.choice([1, "x", None, {}])
        if "$ref" in schema:
            return self._value(self._schemas["$defs"][schema["$ref"].rpartition("/")[2]], depth + 1)
        if "if" in schema:
            if "not" in schema["if"]:
                return None if random.random() < 0.3 else self._value(schema["then"], depth)
            return self._value(schema["then" if random.random() < 0.5 else "else"], depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return random.choice(schema["enum"])
        if "allOf" in schema and "additionalProperties" not in schema:
            return self._value(random.choice(schema["allOf"])["then"], depth)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        random = self._random
        kind = schema.get("type", "object")
        match random.choice(kind) if isinstance(kind, list) else kind:
            case "string":
                return random.choice(TEXTS)
            case "boolean":
                return random.random() < 0.5
            case "integer":
                return random.choice([schema.get("minimum", 0), schema.get("maximum", 100), 5])
            case "number":
                return random.choice([schema.get("minimum", 0.0), schema.get("maximum", 1.0)])
            case "array":
                return [self._value(schema["items"], depth + 1) for _ in range(random.choice([0, 1, 2]))]
            case "object":
                return self._object(schema, depth)
            case _:
                return None

    def _object(self, schema: dict[str, Any], depth: int) -> Any:
        chance = 0.5 if depth < 4 else 0.2
        built = {
            key: self._value(value, depth + 1)
            for key, value in schema.get("properties", {}).items()
            if key in schema.get("required", ()) or self._random.random() < chance
        }
        if self._random.random() < 0.02:
            built["surprise"] = 1
        return built


@pytest.mark.parametrize("dialect", ["beta", "ga"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(random=st.randoms(use_true_random=False))
def test_every_answer_is_valid(dialect: str, random: Random) -> None:
    world = World(BETA_DAY if dialect == "beta" else GA_DAY)
    model = "gpt-realtime-2" if dialect == "ga" and random.random() < 0.5 else "gpt-realtime"
    query = {"intent": "transcription"} if random.random() < 0.1 else {"model": model}
    for address in TEXTS:
        world.service.mcp_servers[address] = McpServer((McpTool("a", "The weather"),), errors={"a": "b"})
    client = world.connect(dialect, query=query)
    client.wait(2)
    writer = Writer(dialect, random)
    for _ in range(20):
        event = writer.event(random.choice(writer.kinds))
        items = client.session.conversation.items
        if items and "item_id" in event and random.random() < 0.5:
            event["item_id"] = random.choice(items).id
        asked = [item.id for item in items if item.type == "mcp_approval_request"]
        if asked and "approval_request_id" in event.get("item", {}):
            event["item"]["approval_request_id"] = random.choice(asked)
        client.session.receive_text(json.dumps(event))
        if random.random() < 0.3:
            client.wait(random.choice([0.1, 1, 5]))
    client.wait(30)
    assert client.session.active_response is None
    for message in world.recorder.messages:
        if message.source == "openai":
            assert message.invalid is None, f"{message.kind}: {message.invalid}"
