"""The schemas: made from the installed types, strict, and clear about what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.openai.errors import from_violation
from fakes.openai.protocol import check, event_types, validate
from fakes.openai.protocol.generate import main


def test_the_files_are_what_the_generator_writes() -> None:
    assert main(["--check"]) == 0


def test_every_event_has_a_schema_that_compiles() -> None:
    counts = {}
    for dialect in ("beta", "ga"):
        for direction in ("client", "server"):
            kinds = event_types(dialect, direction)
            counts[dialect, direction] = len(kinds)
            for kind in kinds:
                assert validate(dialect, direction, {"type": kind, "no_such_field": 1}) is not None
    assert counts == {("beta", "client"): 12, ("beta", "server"): 35, ("ga", "client"): 11, ("ga", "server"): 46}


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": session}


def test_optional_is_not_nullable_but_where_it_is() -> None:
    assert validate("ga", "client", update(type="realtime", tracing=None, prompt=None)) is None
    silent = update(type="realtime", audio={"input": {"turn_detection": None, "transcription": None}})
    assert validate("ga", "client", silent) is None
    assert "session.instructions is None" in str(validate("ga", "client", update(type="realtime", instructions=None)))


@pytest.mark.parametrize(
    ("dialect", "event", "code", "param"),
    [
        ("ga", update(modalities=["text"], voice="alloy"), "missing_required_parameter", "session.type"),
        ("ga", update(type="realtime", modalities=["text"]), "unknown_parameter", "session.modalities"),
        ("ga", update(type="realtime", temperature=0.8), "unknown_parameter", "session.temperature"),
        ("beta", update(type="realtime", audio={}), "unknown_parameter", "session.type"),
        ("beta", update(output_modalities=["text"]), "unknown_parameter", "session.output_modalities"),
        ("beta", update(client_secret={}), "unknown_parameter", "session.client_secret"),
        ("ga", update(type="translation"), "invalid_value", "session.type"),
        ("ga", update(type="realtime", max_output_tokens=4097), "integer_above_max_value", "session.max_output_tokens"),
        ("beta", update(temperature=0.1), "decimal_below_min_value", "session.temperature"),
        ("ga", update(type="realtime", instructions=7), "invalid_type", "session.instructions"),
        (
            "ga",
            update(type="realtime", audio={"input": {"turn_detection": {"type": "server_vad", "treshold": 1}}}),
            "unknown_parameter",
            "session.audio.input.turn_detection.treshold",
        ),
        ("ga", {"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ("ga", {"type": "response.cancel", "event_id": "x" * 513}, "string_above_max_length", "event_id"),
    ],
)
def test_what_is_wrong_in_the_words_of_the_vendor(dialect: str, event: dict[str, Any], code: str, param: str) -> None:
    violation = check(dialect, "client", event)
    assert violation is not None
    error = from_violation(violation, ())
    assert (error.code, error.param) == (code, param)
    assert param in error.message or code == "invalid_value"


def test_the_first_thing_in_the_document_is_named_first() -> None:
    violation = check("ga", "client", update(zzz=1, type="realtime", aaa=1))
    assert violation is not None
    assert violation.param == "session.zzz"


def test_known_extras_of_the_live_service_are_allowed() -> None:
    delta = {
        "type": "response.output_text.delta",
        "event_id": "event_1",
        "response_id": "resp_1",
        "item_id": "item_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "Hi",
    }
    assert validate("ga", "server", delta) is None
    assert validate("ga", "server", {**delta, "obfuscation": "abcdefghijk"}) is None
    assert validate("ga", "server", {**delta, "padding": "abcdefghijk"}) is not None


def test_beta_names_are_not_ga_names() -> None:
    assert "response.audio.delta" in event_types("beta", "server")
    assert "response.audio.delta" not in event_types("ga", "server")
    assert "response.output_audio.delta" not in event_types("beta", "server")
    assert validate("ga", "server", {"type": "response.audio.delta"}) is not None


def test_an_append_takes_the_fast_path_and_is_still_checked() -> None:
    assert validate("ga", "client", {"type": "input_audio_buffer.append", "audio": "AAAA"}) is None
    assert validate("ga", "client", {"type": "input_audio_buffer.append", "audio": 1}) is not None
    assert validate("ga", "client", {"type": "input_audio_buffer.append", "audio": "", "rate": 8000}) is not None
