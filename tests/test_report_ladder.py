from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from test_report_samples import wire

from harness.report.ladder import around, focus, ladder_lines, render_svg, render_text, story, styled_text
from harness.report.model import Shape
from harness.report.words import excerpt, load, short_path, squeeze, vocabulary
from harness.wire import Message

UPDATE = next(message.seq for message in wire() if "Twiml=" in message.text)
SVG = "{http://www.w3.org/2000/svg}"


def _message(seq: int, kind: str = "media", at: float | None = None, **more: object) -> Message:
    values: dict[str, object] = {"source": "twilio", "target": "gateway", "channel": "twilio.stream"}
    return Message(seq, seq / 50 if at is None else at, kind=kind, **values | more)  # type: ignore[arg-type]


def test_runs_of_media_are_one_line_for_each_direction() -> None:
    lines = ladder_lines(wire(defect=False))
    runs = [line for line in lines if line.count > 1]
    assert [(line.source, line.target, line.label) for line in runs] == [
        ("twilio", "gateway", "media × 250 (5.0 s)"),
        ("gateway", "openai", "input_audio_buffer.append × 250 (5.0 s)"),
    ]
    assert sum(line.count for line in lines) == len(wire(defect=False))
    assert all(line.mark is None for line in lines)


def test_a_run_ends_at_any_other_message() -> None:
    messages = [_message(0), _message(1), _message(2, "clear"), _message(3), _message(4)]
    assert [line.label for line in ladder_lines(messages)] == ["media × 2", "clear", "media × 2"]


def test_marks_between_media_do_not_end_its_run() -> None:
    messages = [_message(seq, "mark" if seq % 2 else "media") for seq in range(6)]
    assert sorted(line.count for line in ladder_lines(messages)) == [3, 3]


def test_a_run_that_crosses_at_one_instant_says_no_duration() -> None:
    assert ladder_lines([_message(number, at=1.0) for number in range(9)])[0].label == "media × 9"


def test_the_offending_message_leaves_its_run() -> None:
    messages = [_message(number) for number in range(9)]
    lines = ladder_lines(messages, {4: "three frames late"})
    assert [(line.seq, line.count, line.mark) for line in lines] == [
        (0, 4, None),
        (4, 1, "three frames late"),
        (5, 4, None),
    ]
    assert ladder_lines(messages, [4])[1].mark == "the offending message"


def test_a_message_that_breaks_the_schema_leaves_its_run_and_says_why() -> None:
    messages = [_message(0), _message(1, invalid="/media is required"), _message(2)]
    assert [line.invalid for line in ladder_lines(messages)] == [None, "/media is required", None]
    assert ladder_lines(messages, [1])[1].mark == "/media is required"
    assert "breaks the schema: /media is required" in render_text(ladder_lines(messages))


def test_http_and_sockets_look_like_such() -> None:
    lines = ladder_lines(wire())
    shapes = {line.label: line.shape for line in lines}
    assert shapes["POST /twilio/status (in-progress)"] is Shape.REQUEST
    assert shapes["204 No Content"] is Shape.RESPONSE
    assert shapes["WebSocket /v1/realtime"] is Shape.UPGRADE
    assert shapes["101 Switching Protocols"] is Shape.RESPONSE
    assert shapes["close 1000 call over"] is Shape.CLOSE
    assert shapes["session.created"] is Shape.MESSAGE


def test_a_long_ladder_keeps_what_surrounds_the_mark() -> None:
    messages = [_message(number, f"event.{number}") for number in range(1000)]
    lines = ladder_lines(messages, {700: "wrong"}, keep=50)
    shown = {line.seq for line in lines if line.shape is not Shape.GAP}
    assert {0, 999, 690, 700, 703} <= shown
    assert len(shown) <= 52
    assert sum(line.count for line in lines) == 1000
    gaps = [line for line in lines if line.shape is Shape.GAP]
    assert gaps
    assert all(gap.label == f"{gap.count:,} messages left out" for gap in gaps)


def test_excerpt_of_a_ladder() -> None:
    lines = ladder_lines(wire(), {UPDATE: "wrong"})
    excerpted = around(lines, before=2, after=1)
    assert [line.shape is Shape.GAP for line in excerpted] == [True, False, False, False, False, True]
    assert excerpted[3].mark == "wrong"
    assert around(ladder_lines(wire()), before=2, after=1)[-1].label == "close 1000 call over"
    assert around([]) == []


def test_focus_marks_one_message_alone() -> None:
    lines = ladder_lines(wire(), {UPDATE: "one", 0: "other"})
    marked = [(line.seq, line.mark) for line in focus(lines, 0, "mine") if line.mark]
    assert marked == [(0, "mine")]
    assert not [line for line in focus(lines, None, "mine") if line.mark]


def test_text_ladder() -> None:
    messages = wire(defect=False)[-6:]
    drawn = render_text(ladder_lines(messages, {messages[-2].seq: "too soon"}), 76)
    assert drawn.splitlines() == [
        "      s    Callee        Twilio            Gateway                   OpenAI",
        "   8.761      │             │                 │─ input_au…r.append × 2 ▶│",
        "   8.780      │             │───── media ────▶│                         │",
        "   8.800      │─── hangup ─▶│                 │                         │",
        "✗  8.840      │             │────── stop ────▶│                         │",
        "          ╰─ too soon",
        "   8.850      │             │─── close 1000 ─▶│                         │",
    ]


@pytest.mark.parametrize("width", [60, 72, 100, 140])
def test_text_ladder_keeps_to_its_width(width: int) -> None:
    lines = ladder_lines(wire(), {UPDATE: "a reason that is longer than one line of the page has room for, " * 3})
    drawn = render_text(lines, width).splitlines()
    # Five parties need 68 columns to be told apart; below that the ladder keeps its narrowest form.
    assert max(map(len, drawn)) <= max(width, 76)
    assert sum("▶" in line or "◀" in line for line in drawn) == len(lines)


def test_text_ladder_in_colour_says_the_same() -> None:
    lines = ladder_lines(wire(), {UPDATE: "wrong"})
    styled = styled_text(lines, 100)
    assert styled.plain == render_text(lines, 100)
    assert any("red" in str(span.style) for span in styled.spans)


def test_empty_ladder() -> None:
    assert render_text([]) == "(nothing crossed the wire)"
    assert ElementTree.fromstring(render_svg([])).tag == f"{SVG}svg"


def test_svg_ladder() -> None:
    lines = ladder_lines(wire(), {UPDATE: "it says <Twiml> & more"})
    svg = ElementTree.fromstring(render_svg(lines))
    rows = [group for group in svg.iter(f"{SVG}g") if "row" in (group.get("class") or "").split()]
    assert len(rows) == len(lines)
    marked = [row for row in rows if "mark" in row.get("class", "").split()]
    assert len(marked) == 1
    title = marked[0].find(f"{SVG}title")
    assert title is not None
    assert "Twiml=%3CResponse%3E" in (title.text or "")
    assert [text.text for text in marked[0] if text.get("class") == "reason"] == ["it says <Twiml> & more"]
    parties = [group.find(f"{SVG}text") for group in svg.iter(f"{SVG}g") if group.get("class") == "party"]
    assert [party.text for party in parties if party is not None] == [
        "Callee",
        "Twilio",
        "Gateway",
        "OpenAI",
        "Operator",
    ]


def test_arrows_point_from_source_to_target() -> None:
    lines = ladder_lines([_message(0, "mark"), _message(1, "clear", source="gateway", target="twilio")])
    drawn = render_text(lines, 80).splitlines()
    assert "mark ─" in drawn[1]
    assert drawn[1].rstrip().endswith("▶│")
    assert "│◀─" in drawn[2]
    tips = [path.get("d", "") for path in ElementTree.fromstring(render_svg(lines)).iter(f"{SVG}path")]
    assert len([d for d in tips if "l-8 -4v8z" in d]) == 1
    assert len([d for d in tips if "l8 -4v8z" in d]) == 1


def test_story_tells_the_interleaving() -> None:
    told = story(wire(), {UPDATE: "replaces the TwiML"})
    assert "3.412 s  Twilio posts the status callback `in-progress` to the gateway" in told
    assert "3.430 s  The gateway replaces the TwiML of the live call at Twilio  ◀ replaces the TwiML" in told
    assert "3.240 s  Twilio asks the gateway for TwiML at `/twilio/voice` (call in-progress)" in told
    assert not any("204" in line for line in told)
    assert "3.800 s  Twilio streams 250 frames of audio to the gateway, over 5.0 s" in story(wire(defect=False))


def test_story_tells_a_quiet_message_when_it_offends() -> None:
    messages = [_message(0, "connected"), _message(1, "response", channel="twilio.rest", meta={"status": 200})]
    assert story(messages) == []
    assert len(story(messages, [0, 1])) == 2


def test_a_long_story_leaves_out_its_middle_but_no_mark() -> None:
    messages = [_message(number, f"event.{number}") for number in range(500)]
    told = story(messages, {250: "wrong"}, limit=40)
    assert len(told) <= 44
    assert told[0].endswith("`event.0`")
    assert any(line.endswith("`event.250`  ◀ wrong") for line in told)
    assert any("more …" in line for line in told)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            _message(0, "close", meta={"code": 1011, "reason": "oops"}),
            "Twilio closes the WebSocket to the gateway with 1011 (oops)",
        ),
        (_message(0, "close"), "Twilio closes the WebSocket to the gateway"),
        (_message(0, "mark", body=json.dumps({"mark": {"name": "m1"}})), "Twilio sends the gateway the mark `m1`"),
        (_message(0, "upgrade.refused", meta={"status": 401}), "Twilio refuses the WebSocket with 401"),
        (
            _message(0, "dial", channel="phone", source="caller", target="twilio", body="+1500"),
            "The caller dials +1500",
        ),
        (_message(0, "answer", channel="phone", target="caller"), "The call of the caller is answered"),
        (
            _message(
                0, "failure", channel="twilio.webhook", source="gateway", target="twilio", meta={"message": "refused"}
            ),
            "The gateway gives Twilio no answer: refused",
        ),
        (
            _message(
                0,
                "request",
                channel="twilio.webhook",
                meta={
                    "method": "GET",
                    "url": "https://g/s?x=1",
                    "params": [["CallStatus", "busy"], ["CallbackSource", "c"]],
                },
            ),
            "Twilio posts the status callback `busy` to the gateway",
        ),
        (_message(0, "something.new", source="martian"), "Martian sends the gateway `something.new`"),
    ],
)
def test_sentences(message: Message, sentence: str) -> None:
    assert story([message]) == [f"0.000 s  {sentence}"]


def test_bodies_are_cut_where_they_say_nothing() -> None:
    payload = json.dumps({"event": "media", "media": {"payload": "f/9/" * 54}})
    assert excerpt(_message(0, body=payload)) == (
        '{"event": "media", "media": {"payload": "f/9/f/9/f/9/f/9/f/9/f/9/…(216 characters)"}}'
    )
    assert excerpt(_message(0, "binary", body=b"\x00\xff")) == "2 bytes: 00 ff"
    assert len(excerpt(_message(0, "note", body="word " * 1000), 200)) == 200


def test_paths_and_labels_are_shortened() -> None:
    assert short_path(f"https://api.example/2010-04-01/Accounts/AC{'1' * 32}/Calls.json?x=1") == "…/AC1111…/Calls.json"
    assert short_path("wss://api.example/v1/realtime?model=m") == "/v1/realtime"
    assert short_path("") == "/"
    assert squeeze("input_audio_buffer.append", 15) == "input_…r.append"
    assert [len(squeeze("abcdefghij", length)) for length in range(1, 13)] == [*range(1, 11), 10, 10]


def test_vocabulary_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    path = tmp_path / "v.toml"
    head = 'parties = []\nfold = []\n[names]\n[[message]]\nlabel = "l"\nstory = "s"\nmany = "m"\n'
    path.write_text(f'{head}kind = "*"\n')
    assert load(path).rules
    path.write_text(f'{head}kind = "x"\n')
    with pytest.raises(ValueError, match="last message rule must fit everything"):
        load(path)
    path.write_text(f'{head}kind = "*"\ncolour = "red"\n')
    with pytest.raises(ValueError, match=r"message rule 1 has unknown keys \['colour'\]"):
        load(path)


def test_parties_have_their_place() -> None:
    parties = {"zebra", "openai", "gateway", "operator", "caller", "twilio"}
    assert vocabulary().order(parties) == ["caller", "twilio", "gateway", "openai", "operator", "zebra"]
    assert vocabulary().area("openai-session") == "OpenAI session"


def test_gaps_self_messages_and_invalid_ones_are_drawn() -> None:
    messages = [_message(number, f"event.{number}") for number in range(30)]
    messages.append(_message(30, "timer", source="gateway", target="gateway"))
    messages.append(_message(31, "bad", invalid="/x is required"))
    lines = around(ladder_lines(messages, {30: "late"}), before=1, after=1)
    text = render_text(lines, 80)
    assert "⋮  29 messages left out  ⋮" in text
    assert "⟲ timer" in text
    svg = ElementTree.fromstring(render_svg(lines))
    classes = [group.get("class") for group in svg.iter(f"{SVG}g")]
    assert classes[-4:] == ["gap", "row", "row mark", "row invalid"]
    assert "Breaks the schema: /x is required" in "".join(svg.itertext())
