"""The schemas of an event as a flat table of fields: what may be where, and when it must be there.

    response.create   response.tools[].name   string   required where type=function

A path names the keys from the event down, with `[]` for the elements of an array. What the schemas tell apart (the
kinds of items, sessions, tools) is laid over one another: one path, and the conditions under which it is required.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import Any

from fakes.openai.protocol.validation import DIRECTIONS, event_types, load

Schema = dict[str, Any]
Conditions = tuple[tuple[str, str], ...]
"""Pairs of a path and the value there, all of which hold. A value of `!x` is any other than x."""

_LIMITS = ("minimum", "maximum", "maxLength")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event.

    `types`: its JSON types, sorted; `any` for any. `values`: the strings or numbers it is limited to, sorted; empty if
    it is not. `limits`: such as `("maximum", 4096)`. `required`: whether it is always there. `when`: the conditions
    under each of which it is required. `only`: those under which it is known at all; empty for always. The last three
    are about an object that has the field's parent.
    """

    types: tuple[str, ...]
    values: tuple[Any, ...] = ()
    limits: tuple[tuple[str, Any], ...] = ()
    required: bool = False
    when: tuple[Conditions, ...] = ()
    only: tuple[Conditions, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its `type`, `client` (to the vendor) or `server` (from it), and its fields by path, parents first."""

    type: str
    direction: str
    fields: Mapping[str, Field]


@cache
def events(revision: str) -> Mapping[str, Event]:
    """The events of a revision by type, both directions, in the order of their names."""
    found = {}
    for direction in DIRECTIONS:
        definitions = load(revision, direction)["$defs"]
        for kind in event_types(revision, direction):
            name = load(revision, direction)["events"][kind]
            fields = _Reader(definitions).read(definitions[name])
            found[kind] = Event(kind, direction, {path: fields[path] for path in fields if path not in ("", "type")})
    return found


def where(path: str, conditions: Conditions) -> str:
    """Conditions that hold together, in words, such as `item.role=user and type=input_text`: a field beside the one at
    `path` by its bare name, any other by its path."""
    return " and ".join(f"{_beside(path, at)}{_value(value)}" for at, value in conditions)


def any_of(path: str, alternatives: Iterable[Conditions]) -> str:
    """Conditions of which one is enough, in words, such as `type=function_call, mcp_call`."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for conditions in sorted(alternatives, key=lambda each: (len(each), each)):
        if not conditions:
            return ""
        *first, (at, value) = conditions
        name = _beside(path, at)
        grouped.setdefault((where(path, tuple(first)), name), []).append(_value(value))
    words = []
    for (before, name), values in grouped.items():
        last = f"{name}{values[0]}{''.join(f', {value[1:]}' for value in values[1:])}"
        words.append(f"{before} and {last}" if before else last)
    return ", or ".join(words)


def _beside(path: str, at: str) -> str:
    holder, _, name = at.rpartition(".")
    return name if holder == path.rpartition(".")[0] else at


def _value(value: str) -> str:
    return f"≠{value[1:]}" if value.startswith("!") else f"={value}"


class _Reader:
    """Lays out schemas that share definitions. The paths are relative to the schema being read; its own is ``""``."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def read(self, schema: Schema) -> dict[str, Field]:
        match schema:
            case {"$ref": str(name)}:
                return self.read(self._definitions[name.removeprefix("#/$defs/")])
            case {"if": {"not": {"type": "null"}}, "then": then}:
                return _joined([self.read(then), {"": Field(("null",))}])
            case {"if": {"properties": properties}, "then": then, "else": other}:
                ((name, rule),) = properties.items()
                value = rule["const"]
                return _merged([(((name, value),), self.read(then)), (((name, f"!{value}"),), self.read(other))])
            case {"if": _, "then": then, "else": other}:
                return _joined([self.read(then), self.read(other)])
            case {"type": "object", "allOf": [{"then": {"$ref": _}}, *_] | [{"then": {"allOf": _}}, *_]}:
                return _merged(list(self._members(schema)))
            case {"type": "object", "properties": _}:
                return self._object(schema)
            case {"type": "array"}:
                elements = self.read(schema.get("items", {}))
                return {"": Field(("array",)), **_under("[]", elements)}
        return {"": self._plain(schema)}

    def _members(self, schema: Schema) -> Iterator[tuple[Conditions, dict[str, Field]]]:
        for member in schema["allOf"]:
            ((name, rule),) = member["if"]["properties"].items()
            yield ((name, rule["const"]),), self.read(member["then"])

    def _object(self, schema: Schema) -> dict[str, Field]:
        fields = {"": Field(("object",))}
        required = set(schema.get("required", ()))
        when: dict[str, list[Conditions]] = {}
        for rule in schema.get("allOf", ()):
            ((name, value),) = rule["if"]["properties"].items()
            for key in rule["then"]["required"]:
                when.setdefault(key, []).append(((name, value["const"]),))
        for key, value in schema["properties"].items():
            read = self.read(value)
            conditions = () if key in required else tuple(when.get(key, ()))
            read[""] = replace(read[""], required=key in required, when=conditions)
            fields |= _under(key, read)
        return fields

    def _plain(self, schema: Schema) -> Field:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        types = schema.get("type", "string" if values else "any")
        limits = tuple((limit, schema[limit]) for limit in _LIMITS if limit in schema)
        return Field(tuple(sorted([types] if isinstance(types, str) else types)), _sorted(values), limits)


def _sorted(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(values), key=lambda value: (isinstance(value, str), value)))


def _under(key: str, fields: dict[str, Field]) -> dict[str, Field]:
    """The same fields seen from the parent, where they are under `key`."""

    def moved(path: str) -> str:
        return f"{key}{path}" if not path or path.startswith("[]") else f"{key}.{path}"

    def told(conditions: tuple[Conditions, ...]) -> tuple[Conditions, ...]:
        return tuple(tuple((moved(at), value) for at, value in each) for each in conditions)

    own = fields[""]
    result = {key: own}
    for path, field in fields.items():
        if path:
            result[moved(path)] = replace(field, when=told(field.when), only=told(field.only))
    return result


def _either(one: Field, other: Field) -> Field:
    """What satisfies one of two: the types of both, and the values of both where both are limited."""
    types = tuple(sorted({*one.types, *other.types}))
    # A limit to values speaks of strings: it is void when the other takes any string.
    free = any("string" in each.types and not each.values for each in (one, other))
    values = () if free else _sorted([*one.values, *other.values])
    limits = tuple(sorted({*one.limits, *other.limits}))
    return replace(one, types=types, values=values, limits=limits)


def _joined(alternatives: list[dict[str, Field]]) -> dict[str, Field]:
    """Alternatives told apart by their JSON type: at most one of them has fields."""
    fields = {path: field for alternative in alternatives for path, field in alternative.items() if path}
    return {"": reduce(_either, (alternative[""] for alternative in alternatives)), **fields}


def _merged(members: list[tuple[Conditions, dict[str, Field]]]) -> dict[str, Field]:
    """Members told apart by the value of one of their fields, laid over one another."""
    result: dict[str, Field] = {}
    for path in dict.fromkeys(path for _, member in members for path in member):
        parent = _parent(path)
        # What a field is to its parent: the members without the parent have no say.
        asked = [(condition, member) for condition, member in members if parent is None or parent in member]
        here = [(condition, member[path]) for condition, member in asked if path in member]
        fields = [field for _, field in here]
        whole = len(here) == len(asked)
        required = whole and all(field.required for field in fields)
        when: tuple[Conditions, ...] = ()
        only: tuple[Conditions, ...] = ()
        if not required:
            same = whole and not any(field.required for field in fields) and len({field.when for field in fields}) == 1
            when = fields[0].when if same else tuple(each for pair in here for each in _conditions(*pair))
        if not whole or any(field.only for field in fields):
            same = whole and len({field.only for field in fields}) == 1
            only = fields[0].only if same else tuple(each for pair in here for each in _onlys(*pair))
        result[path] = replace(reduce(_either, fields), required=required, when=when, only=only)
    return result


def _parent(path: str) -> str | None:
    if not path:
        return None
    return path.removesuffix("[]") if path.endswith("[]") else path.rpartition(".")[0]


def _conditions(condition: Conditions, field: Field) -> list[Conditions]:
    return [condition] if field.required else [_both(condition, each) for each in field.when]


def _onlys(condition: Conditions, field: Field) -> list[Conditions]:
    return [_both(condition, each) for each in field.only] if field.only else [condition]


def _both(outer: Conditions, inner: Conditions) -> Conditions:
    """Two conditions that hold together; one value is never another, which need not be said."""
    told = {at for at, _ in inner}
    return (*(pair for pair in outer if pair[0] not in told or not pair[1].startswith("!")), *inner)
