"""Server events judged by the types of the vendor's own Python SDK, more strictly than the SDK judges them itself.

The SDK builds its models without validation and keeps fields that it does not know. Here each event is validated by
the class of its `type`, without coercion, and a field that the class does not declare is a fault.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from functools import cache
from typing import Any, get_args

from openai.types import realtime
from openai.types.beta import realtime as beta
from pydantic import BaseModel, ValidationError

UNDECLARED: Mapping[str, Mapping[str, str]] = {
    "ga": {
        "session.id": "in the vendor's examples of session.created; declared by the session of a client secret only",
        "session.object": "as session.id",
        "session.expires_at": "as session.id",
        "obfuscation": "seen on the wire; declared for response.mcp_call_arguments.delta only",
        "item.phase": "seen on the wire with gpt-realtime-2",
        "response.output.phase": "as item.phase",
    },
    "beta": {
        "session.object": "in the vendor's examples of session.created",
        "session.expires_at": "as session.object",
        "session.prompt": "seen on the wire",
        "session.include": "seen on the wire",
        "obfuscation": "seen on the wire",
        "response.usage.input_token_details.cached_tokens_details": "in the vendor's example of response.done",
    },
}
"""Fields that the service sends with good reason and the types lack, by dialect, with the evidence."""


@cache
def classes(dialect: str) -> Mapping[str, type[BaseModel]]:
    """The class of each server event."""
    union: Any = (beta if dialect == "beta" else realtime).RealtimeServerEvent
    while not all(isinstance(member, type) for member in get_args(union)):
        union = get_args(union)[0]
    return {name: member for member in get_args(union) for name in get_args(member.model_fields["type"].annotation)}


def faults(dialect: str, event: Mapping[str, Any]) -> list[str]:
    """Every fault of an event as `type: place: what`, those aside that `UNDECLARED` explains."""
    name = str(event["type"])
    found = classes(dialect).get(name)
    if found is None:
        return [f"{name}: no such event"]
    return [f"{name}: {line}" for line in strictly(found, event, UNDECLARED[dialect])]


def strictly(found: type[BaseModel], value: Any, known: Container[str] = ()) -> list[str]:
    """Every fault of a value by one class, as `place: what`; fields in `known` are no fault."""
    try:
        model = found.model_validate(value, strict=True)
    except ValidationError as error:
        return [".".join(str(step) for step in line["loc"]) + ": " + line["msg"] for line in error.errors()]
    return [f"{place}: not declared" for place in _undeclared(model) if place not in known]


def _undeclared(value: Any, place: str = "") -> Iterator[str]:
    if isinstance(value, BaseModel):
        for extra in value.model_extra or {}:
            yield f"{place}{extra}"
        for name in type(value).model_fields:
            yield from _undeclared(getattr(value, name), f"{place}{name}.")
    elif isinstance(value, list):
        for member in value:
            yield from _undeclared(member, place)
