"""Make the schemas in this directory from the types of the installed `openai` package and from `overlay.toml`.

    python -m fakes.openai.protocol.generate            write the files, two for each revision
    python -m fakes.openai.protocol.generate --check    exit 1 when a file is not what would be written

What is done to the types, and why:

- unknown fields are refused (the types allow any), but for the extras that `overlay.toml` lists;
- an optional field is not a nullable one, but where `overlay.toml` says so;
- every union is told apart by the JSON type of the value, then by `type`, then by `role`, with `if`/`then`: a wrong
  value then has exactly one error, at its own place, where `anyOf` would report dozens;
- a string or an enumeration of strings is a string: the vendor adds names without a new release of the types.

`openai` is needed here and nowhere else in the fakes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.openai.protocol.validation import DIRECTIONS, REVISIONS, schema_file

HERE = Path(__file__).parent

Schema = dict[str, Any]


class OverlayError(ValueError):
    """`overlay.toml` speaks of something that the types do not have (any more)."""


@dataclass(slots=True)
class Builder:
    """Turns the definitions of one revision and direction into strict ones."""

    source: dict[str, Schema]
    overlay: dict[str, Schema]
    where: str
    result: dict[str, Schema] = field(default_factory=dict)
    unions: dict[tuple[str, ...], str] = field(default_factory=dict)

    def build(self) -> None:
        """Fill `result`. Raises `OverlayError` for an overlay of something that does not exist."""
        for name in self.overlay:
            if name not in self.source:
                raise OverlayError(f"overlay.toml: {self.where} has no definition {name}")
        for name in sorted(self.source):
            self.result[name] = self._object(name, self.source[name], self.overlay.get(name, {}))

    def _object(self, name: str, schema: Schema, overlay: Schema) -> Schema:
        replaced: dict[str, Schema] = overlay.get("properties", {})
        nullable = set(overlay.get("nullable", ()))
        dropped = set(overlay.get("drop", ()))
        known = schema.get("properties", {})
        unknown = (nullable | dropped | set(overlay.get("required", ()))) - set(known) - set(replaced)
        if unknown:
            raise OverlayError(f"overlay.toml: {self.where} {name} has no {', '.join(sorted(unknown))}")
        properties: dict[str, Schema] = {}
        for key, value in known.items():
            if key not in dropped and key not in replaced:
                properties[key] = self._value(f"{name}.{key}", value, key in nullable)
        for key, value in replaced.items():
            properties[key] = self._nullable(value) if key in nullable else value
        optional = dropped | set(overlay.get("optional", ()))
        required = sorted((set(schema.get("required", ())) | set(overlay.get("required", ()))) - optional)
        built: Schema = {"type": "object", "properties": dict(sorted(properties.items()))}
        if required:
            built["required"] = required
        built["additionalProperties"] = False
        conditions = [
            _when(condition["property"], condition["is"], {"required": sorted(condition["required"])})
            for condition in overlay.get("when", ())
        ]
        if conditions:
            built["allOf"] = conditions
        return built

    def _value(self, path: str, schema: Schema, nullable: bool) -> Schema:
        """The strict form of one property."""
        members = [member for member in schema.get("anyOf", [schema]) if member.get("type") != "null"]
        if any(member == {"type": "string"} for member in members):
            members = [member for member in members if member.get("type") != "string"] + [{"type": "string"}]
        objects = [member for member in members if "$ref" in member]
        others = [self._plain(path, member) for member in members if "$ref" not in member]
        alternatives: list[tuple[str, Schema]] = []
        if objects:
            alternatives.append(("object", self._union(path, [_referred(member) for member in objects])))
        enumerations = [other for other in others if "enum" in other or "const" in other]
        if len(enumerations) > 1:
            options = [option for other in enumerations for option in other.get("enum", [other.get("const")])]
            others = [other for other in others if other not in enumerations]
            others.append({"type": "string", "enum": sorted(set(options))})
        alternatives += [(other.get("type", ""), other) for other in others]
        built = alternatives[-1][1]
        for kind, alternative in reversed(alternatives[:-1]):
            built = {"if": {"type": kind}, "then": alternative, "else": built}
        return self._nullable(built) if nullable else built

    def _plain(self, path: str, schema: Schema) -> Schema:
        """The strict form of anything that is neither a union nor an object of its own."""
        if schema.get("type") == "array":
            return {"type": "array", "items": self._value(f"{path}.each", schema.get("items", {}), False)}
        if schema.get("type") == "object":
            return {"type": "object", "additionalProperties": schema.get("additionalProperties", True)}
        return {key: schema[key] for key in ("type", "enum", "const") if key in schema}

    def _nullable(self, schema: Schema) -> Schema:
        if set(schema) == {"type"} and isinstance(schema["type"], str):
            return {"type": [schema["type"], "null"]}
        return {"if": {"not": {"type": "null"}}, "then": schema}

    def _union(self, path: str, names: list[str]) -> Schema:
        """A reference to the one definition, or to a definition that tells the several ones apart."""
        if len(names) == 1:
            return {"$ref": f"#/$defs/{names[0]}"}
        key = tuple(sorted(names))
        if key not in self.unions:
            self.unions[key] = path
            self.result[path] = self._told_apart(names, ("type", "role"))
        return {"$ref": f"#/$defs/{self.unions[key]}"}

    def _told_apart(self, names: list[str], by: tuple[str, ...]) -> Schema:
        if not by:
            raise OverlayError(f"{self.where}: cannot tell {', '.join(names)} apart")
        groups: dict[str, list[str]] = {}
        for name in names:
            tag = self.source[name]["properties"][by[0]]
            tag = next((member for member in tag.get("anyOf", [tag]) if "const" in member), None)
            if tag is None:
                raise OverlayError(f"{self.where}: {name} has no constant {by[0]}")
            groups.setdefault(tag["const"], []).append(name)
        return {
            "type": "object",
            "required": [by[0]],
            "properties": {by[0]: {"type": "string", "enum": sorted(groups)}},
            "allOf": [
                _when(
                    by[0], tag, {"$ref": f"#/$defs/{group[0]}"} if len(group) == 1 else self._told_apart(group, by[1:])
                )
                for tag, group in sorted(groups.items())
            ],
        }


def _when(name: str, value: str, then: Schema) -> Schema:
    return {"if": {"properties": {name: {"const": value}}, "required": [name]}, "then": then}


def _referred(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _short(name: str) -> str:
    """pydantic names two classes of one name by their modules: keep the last two parts."""
    return ".".join(name.split("__")[-2:])


def _renamed(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: f"#/$defs/{_short(_referred(schema))}" if key == "$ref" else _renamed(value)
            for key, value in schema.items()
        }
    return [_renamed(part) for part in schema] if isinstance(schema, list) else schema


def _reachable(roots: list[str], defs: dict[str, Schema]) -> dict[str, Schema]:
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [part.partition('"')[0] for part in json.dumps(defs[name]).split('"#/$defs/')[1:]]
    return {name: defs[name] for name in sorted(seen)}


def _rules(layers: list[dict[str, Any]], direction: str, source: dict[str, Schema]) -> dict[str, Schema]:
    """The overlay of each definition: what is said for both directions, then for this one; a later layer adds to it."""
    rules: dict[str, Schema] = {}
    for layer in layers:
        for part in ("both", direction):
            for name, rule in layer.get(part, {}).items():
                if part == "both" and name not in source:
                    continue
                before = rules.get(name, {})
                properties = {**before.get("properties", {}), **rule.get("properties", {})}
                rules[name] = {**before, **rule, **({"properties": properties} if properties else {})}
    return rules


def generate(revision: str, direction: str, overlay: dict[str, Any]) -> Schema:
    """The contents of one file."""
    from pydantic import TypeAdapter

    about = overlay["revisions"][revision]
    base = overlay["revisions"][about["narrows"]] if "narrows" in about else about
    layers = [overlay.get(name, {}) for name in (about.get("narrows"), revision) if name is not None]
    union = getattr(importlib.import_module(base["module"]), base[direction])
    schema = TypeAdapter(union).json_schema()
    source = {_short(name): _renamed(definition) for name, definition in schema["$defs"].items()}
    events = {}
    for member in schema["anyOf"]:
        name = _short(_referred(member))
        events[source[name]["properties"]["type"]["const"]] = name
    rules = _rules(layers, direction, source)
    for layer in layers:
        for event, definition in layer.get(f"{direction}_events", {}).items():
            source[event] = {"properties": {"type": {"type": "string", "const": event}}, "required": ["type"]}
            rules[event] = definition
            events[event] = event
    if "narrows" in about:
        unknown = set(about[f"{direction}_events"]) - set(events)
        if unknown:
            raise OverlayError(f"overlay.toml: {revision} lists what is no event: {', '.join(sorted(unknown))}")
        events = {event: name for event, name in events.items() if event in about[f"{direction}_events"]}
    for event, name in events.items():
        common = overlay["events"][direction]
        rule = {**rules.get(name, {})}
        rule["properties"] = {**common.get("properties", {}), **rule.get("properties", {})}
        if event.endswith(".delta"):
            rule["properties"] = {**overlay["events"]["delta"]["properties"], **rule["properties"]}
        rules[name] = rule
    builder = Builder(source, rules, f"{revision}.{direction}")
    builder.build()
    for layer in layers:
        builder.result.update(layer.get(f"{direction}_definitions", {}))
    openai = importlib.import_module("openai")
    return {
        "$comment": "Made by fakes/openai/protocol/generate.py. Change overlay.toml instead.",
        "source": f"openai {openai.__version__}",
        "revision": revision,
        "direction": direction,
        "about": about["about"],
        "endpoint": about["endpoint"],
        "events": dict(sorted(events.items())),
        "$defs": _reachable(list(events.values()), builder.result),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or compare them with what would be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    only_check = parser.parse_args(arguments).check
    overlay = tomllib.loads((HERE / "overlay.toml").read_text(encoding="utf-8"))
    stale = []
    for revision in REVISIONS:
        for direction in DIRECTIONS:
            file = schema_file(revision, direction)
            text = json.dumps(generate(revision, direction, overlay), indent=1) + "\n"
            if only_check:
                if not file.exists() or file.read_text(encoding="utf-8") != text:
                    stale.append(file.name)
            else:
                file.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run python -m fakes.openai.protocol.generate\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
