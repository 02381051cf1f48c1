"""`callproof protocol`: what it prints, for people and for programs, and what it says when it is asked wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fakes.openai.protocol.compare import is_known
from fakes.openai.protocol.validation import REVISIONS, event_types
from harness.cli import main
from harness.requirements import Registry

REGISTRY = Registry.load(Path(__file__).parent.parent / "conformance" / "requirements")


def call(*arguments: str, columns: int | None = None) -> Result:
    environment = {"COLUMNS": None if columns is None else str(columns)}
    return CliRunner().invoke(main, ["protocol", *arguments], env=environment)


def data(*arguments: str) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_every_revision_is_listed() -> None:
    result = call("list")
    assert result.exit_code == 0
    rows = {row["revision"]: row for row in data("list")}
    assert tuple(rows) == REVISIONS
    for name, row in rows.items():
        assert name in result.output
        assert row["endpoint"] in result.output
        assert row["client_events"] == len(event_types(name, "client"))
        assert row["server_events"] == len(event_types(name, "server"))
        assert row["source"].startswith("openai ")


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_is_shown_by_direction(revision: str) -> None:
    lines = call("show", revision).output.splitlines()
    middle = next(number for number, line in enumerate(lines) if line.startswith("server events"))
    for part, direction in ((lines[:middle], "client"), (lines[middle:], "server")):
        names = [line.split()[0] for line in part[1:] if line and not line.startswith((" ", "callproof"))]
        assert names == list(event_types(revision, direction))
    assert set(data("show", revision)["events"]) == {
        *event_types(revision, "client"),
        *event_types(revision, "server"),
    }


def test_the_fields_of_an_event_say_what_may_be_missing() -> None:
    (line,) = [line for line in call("show", "ga").output.splitlines() if line.startswith("input_audio_buffer.append ")]
    assert line.split(maxsplit=1)[1] == "audio, event_id?"


def test_one_event_is_shown_in_full() -> None:
    lines = call("show", "ga", "session.update").output.splitlines()
    assert lines[0] == "session.update  ga client event, to the vendor"
    at = lines.index("session.type  string, required")
    assert lines[at + 1] == "    realtime, transcription"
    at = lines.index("session.tools[].server_label  string, sometimes required")
    assert lines[at + 1] == "    required if type=mcp, unknown otherwise"
    at = lines.index("session.max_output_tokens  integer or string")
    assert lines[at + 1 : at + 4] == ["    inf", "    at most 4096, at least 1", "    only if type=realtime"]
    fields = data("show", "ga", "session.update")["fields"]
    assert fields["session.type"]["values"] == ["realtime", "transcription"]
    assert fields["event_id"]["maxLength"] == 512
    assert fields["session.tools[].server_label"]["required_if"] == ["type=mcp"]


def test_beta_and_ga_are_compared() -> None:
    found = data("diff", "beta", "ga")
    renamed = {(change["old"], change["type"]) for change in found["changes"] if change["kind"] == "renamed"}
    assert ("response.audio.delta", "response.output_audio.delta") in renamed
    (update,) = [
        change for change in found["changes"] if (change["kind"], change["type"]) == ("changed", "session.update")
    ]
    voice = next(field for field in update["fields"] if field["path"] == "session.audio.output.voice")
    assert (voice["kind"], voice["old"]) == ("renamed", "session.voice")
    assert "OAI-SE-002" in voice["requirements"]
    assert "OAI-SE-001" not in voice["requirements"]


def test_the_requirements_that_are_touched_are_told_with_what_touches_them() -> None:
    touched = data("diff", "beta", "ga")["requirements"]
    assert touched["OAI-AU-002"]["through"] == ["response.output_audio.delta"]
    assert touched["OAI-AU-002"]["level"] == "MUST"
    assert touched["OAI-SE-001"]["through"] == ["session.update:session.type"]
    assert touched["OAI-SE-004"]["through"] == ["every client event"]
    # The event that carries the caller's audio is the same in both, and so are marks and callbacks.
    assert not {"AUD-003", "OAI-TU-001", "TWI-ST-001"} & touched.keys()
    # In a translation session it is not.
    assert "input_audio_buffer.append" not in event_types("translation", "client")
    assert "AUD-003" in data("diff", "ga", "translation")["requirements"]


def test_for_people_every_change_and_every_requirement_is_there() -> None:
    found = data("diff", "beta", "ga")
    text = " ".join(call("diff", "beta", "ga").output.split())
    for change in found["changes"]:
        name = f"{change['old']} -> {change['type']}" if change["old"] else change["type"]
        assert f"{change['kind']} {name}" in text
        for field in change["fields"]:
            assert field["path"] in text
    for name in found["requirements"]:
        assert name in text
    assert "events: 11 renamed, 0 removed, 11 added, 13 changed, 25 the same" in text


def test_what_rests_on_a_whole_event_is_told_once() -> None:
    lines = call("diff", "beta", "ga").output.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("changed  session.update"))
    end = next(number for number, line in enumerate(lines) if line.startswith("requirement "))
    assert "OAI-HS-002" in lines[at]
    assert sum("OAI-HS-002" in line for line in lines[:end]) == 1


def test_markdown_has_tables_that_hold() -> None:
    lines = call("diff", "beta", "ga", "--markdown").output.splitlines()
    assert lines[0] == "# OpenAI Realtime: beta to ga"
    rows = [line for line in lines if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}
    assert "| renamed | `response.audio.delta` → `response.output_audio.delta` |  |" in "\n".join(rows)
    assert any(line.startswith("- **OAI-AU-002** (MUST)") for line in lines)


def test_nothing_is_different() -> None:
    output = call("diff", "ga", "ga").output
    assert "0 renamed, 0 removed, 0 added, 0 changed, 57 the same" in output
    assert "No requirement rests on what changed." in output


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", "ga"],
        ["show", "ga", "response.create"],
        ["diff", "beta", "ga"],
        ["diff", "ga", "translation"],
    ],
)
def test_eighty_columns_are_enough(arguments: list[str]) -> None:
    result = call(*arguments, columns=80)
    assert result.exit_code == 0
    for line in result.output.splitlines():
        assert len(line) <= 80
        assert line == line.rstrip()
        assert "…" not in line
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "beat"], "no revision is called 'beat'; did you mean beta?"),
        (["diff", "ga", "zzz"], "no revision is called 'zzz'; there are beta, ga, transcription, translation"),
        (["show", "ga", "sesion.update"], "ga has no event 'sesion.update'; did you mean session.update?"),
        (
            ["show", "ga", "response.audio.delta"],
            "ga has no event 'response.audio.delta'; it is one of beta, and here it is response.output_audio.delta",
        ),
        (
            ["show", "translation", "response.create"],
            "translation has no event 'response.create'; it is one of beta and ga",
        ),
        (["show", "ga", "#"], "ga has no event '#'; callproof protocol show ga lists them"),
        (["diff", "beta", "ga", "--json", "--markdown"], "give either --json or --markdown"),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_the_nearest_name(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr == f"callproof: {message}\n"
    assert result.stdout == ""


def test_requirements_touch_what_exists() -> None:
    for requirement in REGISTRY.values():
        for touch in requirement.touches:
            assert is_known(touch, REVISIONS), f"{requirement.id}: {touch} is no event or field of any revision"
    assert sum(bool(requirement.touches) for requirement in REGISTRY.values()) > 30
