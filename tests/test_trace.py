"""Traces as files: written, read, and refused with a message that helps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.choices import Choices, Replayed, Seeded
from harness.trace import FORMAT, Choice, Trace, TraceError, load_trace


def a_trace(**changes: Any) -> Trace:
    values: dict[str, Any] = {
        "callproof": "0.1.0",
        "case": "conformance/test_callbacks.py::test_late_answer",
        "gateway": "reference",
        "gateway_version": "1.2",
        "stage": "virtual",
        "model": "gpt-realtime-2",
        "dialect": "ga",
        "as_of": "2026-11-20",
        "seed": 7,
        "knobs": {"yes": True, "count": 3, "word": "é"},
        "choices": [Choice(point="twilio/call1/ring/delay", value=30, domain=(0, 10, 500))],
        "order": [("start", "twilio/call1/ring"), ("end", "twilio/call1/ring")],
        "wire_digest": "ab" * 32,
        "failed": ["TWI-CB-004"],
        "story": ["the caller dials"],
    }
    return Trace(**{**values, **changes})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    trace = a_trace()
    path = trace.save(tmp_path / "new" / "folder" / "t.json")
    again = load_trace(path)
    assert again == trace
    assert again.knobs["yes"] is True
    assert again.order[0] == ("start", "twilio/call1/ring")
    assert again.values() == {"twilio/call1/ring/delay": 30}
    assert path.read_text(encoding="utf-8").count("\n") > 20, "one value a line, to be read and compared by people"
    assert path.read_bytes().endswith(b"}\n")
    assert trace.save(tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_a_trace_of_nothing_but_the_necessary(tmp_path: Path) -> None:
    trace = Trace(callproof="0.1.0", case="c", gateway="g", stage="live", model="m", as_of="2026-11-20", seed=0)
    assert load_trace(trace.save(tmp_path / "t.json")) == trace
    other = Trace(callproof="0.1.0", case="c", gateway="g", stage="live", model="m", as_of="2026-11-20", seed=0)
    other.choices.append(Choice("a", 1, (0, 0, 1)))
    assert trace.choices == [], "traces share no lists"


def test_the_choices_of_a_run_come_back_through_a_file(tmp_path: Path) -> None:
    first = Choices(Seeded(9), seed=9)
    for number in range(20):
        first.delay(f"d{number}", -5, 0, 10**6)
        first.flag(f"f{number}", 0.5)
    made = [Choice(p, m.value, (m.domain.low, m.domain.typical, m.domain.high)) for p, m in first.made.items()]
    source = Replayed(load_trace(a_trace(choices=made).save(tmp_path / "t.json")).values())
    second = Choices(source, seed=9)
    for number in range(20):
        second.delay(f"d{number}", -5, 0, 10**6)
        second.flag(f"f{number}", 0.5)
    assert (second.values(), source.missing) == (first.values(), [])


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    a_trace().save(tmp_path / "late-answer-7.json")
    with pytest.raises(TraceError, match=r"no trace file .*late-anwser-7\.json; did you mean .*late-answer-7\.json\?"):
        load_trace(tmp_path / "late-anwser-7.json")
    with pytest.raises(TraceError, match=r"there is no trace file .*nowhere/x\.json$"):
        load_trace(tmp_path / "nowhere" / "x.json")


@pytest.mark.parametrize("content", [b"", b"{", b"not json", b"\xff\xfe\x00", b'{"format": 1,}'])
def test_a_file_that_is_no_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(TraceError, match=r"t\.json is not a trace: it is no JSON file"):
        load_trace(tmp_path / "t.json")


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "{}", '{"format": 1}', '{"choices": []}'])
def test_a_json_file_of_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(TraceError, match="is not a trace: a trace is an object with `format` and `choices`"):
        load_trace(tmp_path / "t.json")


def test_a_folder_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read as a trace: Is a directory"):
        load_trace(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(TraceError, match="cannot be read as a trace: Not a directory"):
        load_trace(tmp_path / "file" / "t.json")


def changed(tmp_path: Path, **changes: Any) -> Path:
    """A trace file with these keys changed."""
    data = json.loads(msgspec.json.encode(a_trace()))
    path = tmp_path / "t.json"
    path.write_text(json.dumps({**data, **changes}))
    return path


@pytest.mark.parametrize("version", [FORMAT - 1, FORMAT + 1, "1", None])
def test_a_trace_of_another_format_says_how_to_get_a_new_one(tmp_path: Path, version: Any) -> None:
    path = changed(tmp_path, format=version, callproof="0.0.9", seed=77)
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    assert f"trace of format {version!r} (callproof 0.0.9)" in str(caught.value)
    assert f"replays format {FORMAT}: run the case again with --seed 77" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seed": "seven"}, r"\$\.seed"),
        ({"choices": [{"point": "a", "value": 1.5, "domain": [0, 0, 1]}]}, r"\$\.choices\[0\]\.value"),
        ({"choices": [{"point": "a", "value": 1, "domain": [0, 0]}]}, r"\$\.choices\[0\]\.domain"),
        ({"order": [["start"]]}, r"\$\.order\[0\]"),
        ({"surprise": 1}, "unknown field `surprise`"),
    ],
)
def test_a_broken_trace_says_where(tmp_path: Path, changes: dict[str, Any], where: str) -> None:
    with pytest.raises(TraceError, match=rf"t\.json is not a valid trace: .*{where}"):
        load_trace(changed(tmp_path, **changes))
