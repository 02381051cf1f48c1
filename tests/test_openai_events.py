"""Every event of OpenAI Realtime, in both dialects and both directions: right in one story, wrong in another."""

from __future__ import annotations

import json
from functools import cache

import pytest
from openai_events import (
    DIALECTS,
    DOCUMENT,
    ITEM,
    STORIES,
    Story,
    Wanted,
    client_table,
    document,
    server_table,
)

from fakes.openai.protocol import event_types, validate

CLIENT = [(dialect, event) for dialect in DIALECTS for event in event_types(dialect, "client")]
SERVER = [(dialect, event) for dialect in DIALECTS for event in event_types(dialect, "server")]


@cache
def told(story: str, dialect: str) -> Story:
    return STORIES[story](dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_tables_have_every_event_and_no_other(dialect: str) -> None:
    assert sorted(server_table(dialect)) == sorted(event_types(dialect, "server"))
    assert sorted(client_table(dialect)) == sorted(event_types(dialect, "client"))


def test_the_page_is_what_the_tables_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python tests/openai_events.py"


# -- what the server sends


@pytest.mark.parametrize(("dialect", "event"), SERVER)
def test_the_server_sends_it(dialect: str, event: str) -> None:
    story = told(server_table(dialect)[event][0], dialect)
    sent = [each for each in story.events if each["type"] == event]
    assert sent, f"only {sorted({each['type'] for each in story.events})}"
    assert [validate(dialect, "server", each) for each in sent] == [None] * len(sent)


@pytest.mark.parametrize(("dialect", "event"), SERVER)
def test_the_server_does_not_send_it_when_nothing_asks_for_it(dialect: str, event: str) -> None:
    story = told(server_table(dialect)[event][1], dialect)
    assert event not in [each["type"] for each in story.events]


@pytest.mark.parametrize(("dialect", "event"), SERVER)
def test_it_is_invalid_without_a_field_that_it_must_have(dialect: str, event: str) -> None:
    story = told(server_table(dialect)[event][0], dialect)
    sent = next(each for each in story.events if each["type"] == event)
    lacking = [name for name in sent if validate(dialect, "server", {k: v for k, v in sent.items() if k != name})]
    assert set(lacking) - {"type"}, f"nothing of {sorted(sent)} is required"
    assert validate(dialect, "server", {**sent, "colour": "blue"}) is not None


# -- what the client sends


def send(story: Story, event: str, fields: dict[str, object]) -> list[dict[str, object]]:
    given = {name: story.item_id() if value == ITEM else value for name, value in fields.items()}
    return story.send(event, **given)


def wanted(dialect: str, event: str) -> tuple[Story, Wanted]:
    entry = client_table(dialect)[event]
    return STORIES[entry.story](dialect), entry


@pytest.mark.parametrize(("dialect", "event"), CLIENT)
def test_the_client_is_answered(dialect: str, event: str) -> None:
    story, entry = wanted(dialect, event)
    answers = [str(each["type"]) for each in send(story, event, entry.fields)]
    assert [kind for kind in answers if kind in entry.answers] == list(entry.answers)
    assert "error" not in answers


@pytest.mark.parametrize(("dialect", "event"), CLIENT)
def test_the_client_is_told_what_is_wrong(dialect: str, event: str) -> None:
    story, entry = wanted(dialect, event)
    before = json.dumps(story.client.session.wire)
    fields = {"event_id": "mine_1", **entry.fields, **entry.wrong}
    errors = [each["error"] for each in send(story, event, fields) if each["type"] == "error"]
    assert len(errors) == 1
    error = errors[0]
    assert isinstance(error, dict)
    assert (error["code"], error["param"]) == (entry.code, entry.param)
    assert error["event_id"] == ("mine_1" if fields["event_id"] == "mine_1" else None)
    assert json.dumps(story.client.session.wire) == before
