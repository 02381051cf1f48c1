"""The JSON Schema of profiles: it is the one that is published, and it says what the loader says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from harness.profile import CLAIMS, VOCABULARY
from harness.profiles.schema import FILE, schema, schema_text

ROOT = Path(__file__).parent.parent
PROFILES = [
    *sorted((ROOT / "conformance" / "gateways").glob("*/profile.toml")),
    ROOT / "tests" / "driven" / "profile.toml",
]
GOOD: dict[str, Any] = {"gateway": {"name": "mine", "command": ["x"]}}

VALIDATOR = jsonschema_rs.validator_for(schema())


def test_the_published_schema_is_the_one_that_is_made() -> None:
    written = "callproof schema profile > harness/profile.schema.json"
    assert FILE.read_text(encoding="utf-8") == schema_text(), f"write it again: {written}"


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.parent.name)
def test_every_profile_follows_it(file: Path) -> None:
    errors = [
        f"{error.instance_path}: {error.message}" for error in VALIDATOR.iter_errors(tomllib.loads(file.read_text()))
    ]
    assert errors == []


README = re.findall(r"^ *```toml\n(.*?)^ *```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.parametrize("text", [text for text in README if "[gateway]" in text])
def test_the_profiles_of_the_readme_follow_it(text: str) -> None:
    read = tomllib.loads("\n".join(line.strip() for line in text.splitlines()))
    assert [error.message for error in VALIDATOR.iter_errors(read)] == []


def test_it_has_every_word() -> None:
    made = schema()
    settings = made["properties"]["settings"]["properties"]
    named = {
        f"{table}.{key}" if "properties" in what else table
        for table, what in settings.items()
        for key in what.get("properties", [table])
    }
    assert named == set(VOCABULARY)
    assert made["$defs"]["Claims"]["properties"]["features"]["items"]["enum"] == list(CLAIMS)


def test_every_key_is_described() -> None:
    def undescribed(table: dict[str, Any], path: str) -> list[str]:
        found = []
        for name, value in table.get("properties", {}).items():
            if not {"description", "$ref"} & value.keys() and "properties" not in value:
                found.append(f"{path}.{name}")
            found += undescribed(value, f"{path}.{name}")
        return found

    made = schema()
    tables = {"": made, **{name: table for name, table in made["$defs"].items() if not name.startswith("Overlay")}}
    assert [key for name, table in tables.items() for key in undescribed(table, name)] == []


def without_null(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("type") != "null" and all(map(without_null, value.values()))
    return all(map(without_null, value)) if isinstance(value, list) else value is not None


def test_it_asks_for_no_null() -> None:
    assert without_null(schema())


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"settings": {"openai": {"api_key": "$X"}, "public_url": {"arg": "--url", "value": "{public_url}/x"}}},
        {"operations": {"call": {"driver": "driver.py:call", "timeout": 3}}},
        {"talk": {"relay": {"audio": "binary", "heard": "binary", "url": "/ws"}}},
        {"files": {"{home}/x": "x.j2"}},
        {
            "versions": {
                "1": {"operations": {"call": False}, "claims": {"with": ["tools"]}, "talk": {"relay": {"rate": 8000}}}
            }
        },
        {"versions": {"1": {"gateway": {"ready": {"timeout": 9}, "setup": False}, "files": {"{home}/x": False}}}},
    ],
)
def test_what_is_right(tables: dict[str, Any]) -> None:
    assert [error.message for error in VALIDATOR.iter_errors({**GOOD, **tables})] == []


@pytest.mark.parametrize(
    "tables",
    [
        {"gateway": {"command": ["x"]}},
        {"gateway": {"name": "x", "comand": ["x"]}},
        {"gateway": {"name": "x", "intercept": "hosts"}},
        {"settings": {"openai": {"api_kee": "$X"}}},
        {"settings": {"openai": {"api_key": "X"}}},
        {"settings": {"openai": {"api_key": {"env": "$X"}}}},
        {"operations": {"cal": {"request": "GET /"}}},
        {"operations": {"call": {"request": "GET"}}},
        {"operations": {"call": {"request": "GET /", "command": ["x"]}}},
        {"operations": {"call": {}}},
        {"operations": {"call": {"driver": "call"}}},
        {"talk": {"relay": {"audio": "binary", "heard": "binary", "rate": 44100}}},
        {"talk": {"webrtc": {"request": "GET /"}}},
        {"claims": {"features": ["phone.inbund"]}},
        {"claims": {"with": ["tools"]}},
        {"versions": {"1": {"claims": {"with": ["tolls"]}}}},
        {"versions": {"1": {"gateway": {"version": "1"}}}},
        {"versions": {"1": {"gateways": {}}}},
        {"webhoks": {}},
    ],
)
def test_what_is_wrong(tables: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({**GOOD, **tables})


def test_it_is_json_with_a_title_for_editors() -> None:
    read = json.loads(FILE.read_text(encoding="utf-8"))
    assert read["title"] == "callproof profile"
    assert read["properties"]["gateway"]["$ref"] == "#/$defs/GatewayTable"
