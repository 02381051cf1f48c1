"""The JSON Schema of `profile.toml`, for editors: made from the tables and the words, kept in `profile.schema.json`."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness import talk
from harness.profiles.tables import ProfileFile
from harness.profiles.vocabulary import CLAIMS, OPERATIONS, PLACES, VOCABULARY
from harness.profiles.ways import DRIVER, KINDS, REQUEST

FILE = Path(__file__).parent.parent / "profile.schema.json"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
OVERLAY = "Overlay"

WAYS = ("Operation", "MintTable", "RelayTable", "ToolTable", "ExplainTable")


def schema() -> dict[str, Any]:
    """The schema. Descriptions come from the tables; what only `load_profile` can check is not in it."""
    made = msgspec.json.schema(ProfileFile)
    definitions: dict[str, Any] = {name: _plain(table) for name, table in made["$defs"].items()}
    root = definitions["ProfileFile"]
    _words(definitions)
    for name in WAYS:
        definitions[name] |= _one_way(optional=name == "RelayTable")
    overlays = {f"{OVERLAY}{name}": _overlay(table) for name, table in definitions.items() if name != "ProfileFile"}
    overlays[f"{OVERLAY}Claims"]["properties"] |= {
        "with": _features("Features that this version has besides those of the profile."),
        "without": _features("Features of the profile that this version does not have."),
    }
    del overlays[f"{OVERLAY}GatewayTable"]["properties"]["version"]
    version = _overlay(root) | {"description": "What is different in one version: tables merge, the rest is replaced."}
    root["properties"]["versions"] = {
        "type": "object",
        "description": "Other versions of the gateway, by their names: --gateway NAME@VERSION.",
        "additionalProperties": version,
    }
    del definitions["ProfileFile"]
    head = {"$schema": DRAFT, "title": "callproof profile"}
    return {**head, **{k: v for k, v in root.items() if k != "title"}, "$defs": definitions | overlays}


def schema_text() -> str:
    """The schema as `profile.schema.json` has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """Without `null`, which TOML does not have, and without what editors make nothing of."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    plain = {k: _plain(v) for k, v in value.items() if not (k == "default" and v in (None, {}, [])) and k != "title"}
    if "properties" in value:
        plain["properties"] = {name: _plain(each) for name, each in value["properties"].items()}
    if "description" in plain:
        plain["description"] = " ".join(str(plain["description"]).replace("`", "").split())
    if plain.get("required") == []:
        del plain["required"]
    options = [option for option in plain.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        del plain["anyOf"]
        plain = {**options[0], **plain}
    elif options:
        plain["anyOf"] = options
    if plain.get("enum") and None in plain["enum"]:
        plain["enum"] = [option for option in plain["enum"] if option is not None]
    return plain


def _words(definitions: dict[str, Any]) -> None:
    """Put in what may stand in tables whose keys msgspec does not know."""
    root = definitions["ProfileFile"]["properties"]
    definitions["Target"] = {
        "anyOf": [
            {"type": "string", "pattern": r"^(\$\w+|-\S+)$"},
            _target("env", r"^\w+$"),
            _target("arg", "^-"),
        ]
    }
    root["settings"] = {**_settings(), "description": root["settings"]["description"]}
    root["operations"] = {
        "type": "object",
        "description": root["operations"]["description"],
        "properties": {
            name: {"$ref": "#/$defs/Operation", "description": f"An operation that {does}."}
            for name, does in OPERATIONS.items()
        },
        "additionalProperties": False,
    }
    definitions["Claims"]["properties"]["features"] = _features("The features that it has.")
    definitions["RelayTable"]["properties"]["rate"]["enum"] = list(talk.RATES)
    for name in WAYS:
        definitions[name]["properties"]["request"]["pattern"] = f"^{REQUEST}$"
        definitions[name]["properties"]["driver"]["pattern"] = f"^{DRIVER}$"
    definitions["BrowserTable"]["properties"]["start"]["pattern"] = f"^{DRIVER}$"
    places = "; ".join(f"{{{name}}}: {what}" for name, what in PLACES.items())
    for name in ("command", "setup"):
        definitions["GatewayTable"]["properties"][name]["description"] += f" Placeholders: {places}."


def _settings() -> dict[str, Any]:
    """The vocabulary as nested tables."""
    top: dict[str, Any] = {}
    for name, what in VOCABULARY.items():
        table, _, key = name.rpartition(".")
        described = {"$ref": "#/$defs/Target", "description": f"Where the gateway reads {what}."}
        if not table:
            top[name] = described
            continue
        nested = top.setdefault(table, {"type": "object", "properties": {}, "additionalProperties": False})
        nested["properties"][key] = described
    return {"type": "object", "properties": top, "additionalProperties": False}


def _target(kind: str, pattern: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {kind: {"type": "string", "pattern": pattern}, "value": {"type": "string"}},
        "required": [kind],
        "additionalProperties": False,
    }


def _features(description: str) -> dict[str, Any]:
    claims = {"enum": list(CLAIMS), "x-taplo": {"docs": {"enumValues": list(CLAIMS.values())}}}
    return {"type": "array", "description": description, "items": claims}


def _one_way(*, optional: bool) -> dict[str, Any]:
    one: list[dict[str, Any]] = [{"required": [kind]} for kind in KINDS]
    if optional:
        one.append({"not": {"anyOf": [{"required": [kind]} for kind in KINDS]}})
    return {"oneOf": one}


def _overlay(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of which everything may be left out, and `false` takes away what the profile has."""
    overlay = copy.deepcopy({k: v for k, v in table.items() if k not in ("required", "oneOf")})
    _redirect(overlay)
    for name, value in overlay.get("properties", {}).items():
        if value.get("type") != "boolean":
            described = {"description": value["description"]} if "description" in value else {}
            inside = _overlay(value) if value.get("type") == "object" else value
            overlay["properties"][name] = {**described, "anyOf": [inside, {"const": False}]}
    rest = overlay.get("additionalProperties")
    if isinstance(rest, dict):
        overlay["additionalProperties"] = {"anyOf": [rest, {"const": False}]}
    return overlay


def _redirect(value: Any) -> None:
    """Let references lead to the overlays of their tables."""
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str) and not reference.startswith(f"#/$defs/{OVERLAY}"):
            value["$ref"] = reference.replace("#/$defs/", f"#/$defs/{OVERLAY}")
        for each in value.values():
            _redirect(each)
    elif isinstance(value, list):
        for each in value:
            _redirect(each)
