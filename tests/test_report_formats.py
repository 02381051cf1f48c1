from __future__ import annotations

import io
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console
from test_report_samples import REPLACED, results

from harness.report import Results, Verdict
from harness.report.html import render_html
from harness.report.junit import write_junit
from harness.report.markdown import render_markdown
from harness.report.summary import summarise
from harness.report.terminal import print_summary

NASTY = "</script><script>alert(1)</script> & `<b>` \x00\x1b[31m | ]]>"


class _Page(HTMLParser):
    """Elements of a page, and whether every one of them is closed."""

    VOID = frozenset({"meta", "input", "wbr", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.elements
            if name == tag
            and all(value in (found.get(key.rstrip("_")) or "").split() for key, value in attributes.items())
        ]


def _data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def _nasty() -> Results:
    """Results in which every free text tries to break out of its format."""
    run = results(failing=["TWI-CB-004"])
    run.gateway = run.gateway_version = NASTY
    run.notes = [NASTY]
    run.unsupported_claims = [NASTY]
    run.requirements = [
        msgspec.structs.replace(r, rule=NASTY, why=NASTY, source="javascript:alert(1)") for r in run.requirements
    ]
    run.checks = [msgspec.structs.replace(check, case=NASTY, message=NASTY) for check in run.checks]
    for world in run.worlds:
        world.case, world.replay, world.error = NASTY, NASTY, NASTY
        world.story = [NASTY]
        world.ladder = [msgspec.structs.replace(line, label=NASTY, detail=NASTY) for line in world.ladder]
    return run


# --- HTML


def test_page_has_every_requirement_and_failure() -> None:
    page = _Page(render_html(results(broken=["SEC-008"])))
    assert page.open == []
    rows = page.all("tr", class_="req")
    assert len(rows) == 72
    assert {row["data-verdict"] for row in rows} == {"pass", "fail", "warn", "unsupported", "harness_error", "none"}
    failures = page.all("article", class_="failure")
    assert [card["data-id"] for card in failures][:2] == ["SEC-008", "OAI-SS-001"]
    assert len(failures) == 6
    assert "callproof replay reports/latest/traces/test_conversation-7.json" in page.texts["code"]
    assert page.all("svg", class_="ladder")
    assert page.all("a", href="https://www.twilio.com/docs/voice/api/call-resource#statuscallbackevent")


def test_page_of_a_sound_gateway_shows_no_failure() -> None:
    text = render_html(results(failing=()))
    page = _Page(text)
    assert page.all("article", class_="failure") == []
    assert not page.all("svg")
    assert "meets all 65 requirements" in text


def test_page_needs_nothing_from_elsewhere() -> None:
    page = _Page(render_html(results()))
    sources = [element.get("src") for _, element in page.elements if "src" in element]
    assert sources == []
    assert page.all("link") == page.all("img") == page.all("iframe") == []
    styles = "".join(page.texts["style"])
    assert "url(" not in styles
    assert "@import" not in styles
    assert "fetch(" not in "".join(page.texts["script"])


def test_page_has_unique_ids() -> None:
    page = _Page(render_html(results()))
    ids = [element["id"] for _, element in page.elements if "id" in element]
    assert len(ids) == len(set(ids))


def test_page_carries_the_checks_by_case() -> None:
    run = results()
    data = _data(render_html(run))
    rule = data["requirements"]["TWI-CB-004"]
    assert sum(count for _, *cells in rule["rows"] for count in cells[1::2]) == len(
        [check for check in run.checks if check.requirement == "TWI-CB-004"]
    )
    worst = [data["verdicts"][max(cells[0::2])] for _, *cells in rule["rows"]]
    assert "fail" in worst
    assert [row[3] for row in rule["seen"]] == [REPLACED] * len(rule["seen"])
    assert len(data["worlds"]) == len(run.worlds)


def test_one_world_shows_each_failure_its_own_mark() -> None:
    run = results(failing=["TWI-CB-004", "LIFE-002"])
    text = render_html(run)
    cards = text.split("<article")[1:3]
    named = {re.search(r'data-id="([^"]+)"', card)[1]: card for card in cards}  # type: ignore[index]
    assert "TWI-CB-004 is broken here" in named["TWI-CB-004"]
    assert '<li class="mark">' in named["TWI-CB-004"]
    assert "is broken here" not in named["LIFE-002"]
    assert '<li class="mark">' not in named["LIFE-002"]


def test_page_keeps_free_text_from_breaking_out() -> None:
    text = render_html(_nasty())
    page = _Page(text)
    assert len(page.all("script")) == 2
    assert not [a for a in page.all("a") if (a["href"] or "").startswith("javascript")]
    assert _data(text)["cases"] == [NASTY]


def test_page_of_many_checks_is_quick_and_small() -> None:
    run = results(failing=["TWI-CB-004"], rounds=4)
    # The same worlds again and again: what counts here is the number of checks.
    run.checks = run.checks * 60
    assert len(run.checks) > 100_000
    began = time.process_time()
    page = render_html(run)
    assert time.process_time() - began < 5
    assert len(page) < 1_000_000


def test_page_draws_a_limited_number_of_ladders() -> None:
    run = results(failing=[rule.id for rule in results().requirements])
    # Every check sees something else, so that none can be told together with another.
    run.checks = [msgspec.structs.replace(c, message=f"{c.message} {n}") for n, c in enumerate(run.checks)]
    page = _Page(render_html(run))
    assert len(page.all("svg", role="img")) == 100


# --- Markdown


def test_markdown_says_what_a_reviewer_needs() -> None:
    text = render_markdown(results())
    assert text.startswith("## ❌ reference 0.1.0 fails 3 of 65 requirements\n")
    assert "| Twilio callback | 8 | 1 |" in text
    assert "### ❌ TWI-CB-004 (MUST, Twilio callback)" in text
    assert "Source: <https://www.twilio.com/docs/voice/api/call-resource#statuscallbackevent>" in text
    assert "callproof replay reports/latest/traces/test_conversation-7.json" in text
    assert "The gateway replaces the TwiML of the live call" in text
    assert "Not claimed by the gateway: `tools`" in text


def test_markdown_of_a_sound_gateway_is_short() -> None:
    text = render_markdown(results(failing=()))
    assert text.startswith("## ✅ reference 0.1.0 meets all 65 requirements\n")
    assert "###" not in text
    assert len(text) < 2000


def test_markdown_fits_a_comment_however_much_fails() -> None:
    run = results(failing=[rule.id for rule in results().requirements])
    text = render_markdown(run)
    assert len(text) < 60_000
    assert "### Not shown here" in text
    missing = [rule.id for rule in run.requirements if rule.id not in text and rule.claim is None]
    assert set(missing) <= {"TWI-RS-009", "LIFE-009"}


def test_markdown_escapes_free_text() -> None:
    text = render_markdown(_nasty())
    outside = re.sub(r"```.*?```|``.*?``|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert "<script>" not in outside.replace("\\<", "")
    assert len({line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("| ")}) == 1


# --- JUnit


def _junit(run: Results, path: Path) -> ElementTree.Element:
    write_junit(run, path)
    return ElementTree.parse(path).getroot()


def test_junit_counts_what_it_lists(tmp_path: Path) -> None:
    root = _junit(results(broken=["SEC-008"]), tmp_path / "junit.xml")
    for element in (root, *root.iter("testsuite")):
        assert int(element.get("tests", "")) == len(list(element.iter("testcase")))
        assert int(element.get("failures", "")) == len(list(element.iter("failure")))
        assert int(element.get("errors", "")) == len(list(element.iter("error")))
        assert int(element.get("skipped", "")) == len(list(element.iter("skipped")))
    assert int(root.get("failures", "")) > 0
    assert int(root.get("errors", "")) > 0
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(names) == len(set(names))


def test_junit_failure_tells_rule_source_and_replay(tmp_path: Path) -> None:
    root = _junit(results(failing=["TWI-CB-004"]), tmp_path / "junit.xml")
    failure = next(root.iter("failure"))
    assert failure.get("message") == REPLACED
    text = failure.text or ""
    assert "MUST The `answered` callback does not update a live call" in text
    assert "Source: https://www.twilio.com/" in text
    assert "Replay: callproof replay " in text


def test_junit_takes_the_worst_of_equal_checks(tmp_path: Path) -> None:
    run = results(failing=["TWI-CB-004"])
    failing = next(check for check in run.checks if check.verdict is Verdict.FAIL)
    run.checks = [
        msgspec.structs.replace(failing, verdict=verdict) for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.WARN)
    ]
    root = _junit(run, tmp_path / "junit.xml")
    assert (root.get("tests"), root.get("failures")) == ("1", "1")


def test_junit_survives_control_characters(tmp_path: Path) -> None:
    root = _junit(_nasty(), tmp_path / "junit.xml")
    assert next(root.iter("failure")).get("message") == NASTY.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")


# --- Terminal


def _printed(run: Results, *, width: int = 100, terminal: bool = False, **options: Any) -> str:
    stream = io.StringIO()
    print_summary(run, Console(file=stream, width=width, force_terminal=terminal), **options)
    return stream.getvalue()


def test_terminal_tells_a_failure_with_its_ladder() -> None:
    text = _printed(results(failing=["TWI-CB-004"]), report="reports/latest/index.html")
    for part in (
        "✗ TWI-CB-004  MUST  The `answered` callback",
        "source  https://www.twilio.com/docs/voice/api/call-resource#statuscallbackevent",
        "✗  3.430",
        "TWI-CB-004 is broken here",
        "replay  callproof replay reports/latest/traces/test_conversation-7.json",
        "reference 0.1.0 fails 1 of 65 requirements.",
        "Report: reports/latest/index.html",
    ):
        assert part in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_terminal_keeps_to_its_width(width: int) -> None:
    """But for the commands that are there to be copied: each is in one line, whole."""
    run = results(broken=["SEC-008"])
    lines = [line.rstrip() for line in _printed(run, width=width).splitlines()]
    commands = [line for line in lines if line.startswith("  replay  ")]
    assert max(len(line) for line in lines if line not in commands) <= min(width, 120)
    assert len(commands) >= 2, "of a failure, and of a harness error"
    assert {line.removeprefix("  replay  ") for line in commands} <= {world.replay for world in run.worlds}


def test_terminal_has_colour_only_on_a_terminal() -> None:
    assert "\x1b[" in _printed(results(), terminal=True)
    assert "\x1b[" not in _printed(results())


def test_terminal_without_unicode_stays_readable() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_summary(results(failing=["TWI-CB-004"]), Console(file=stream, width=100))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "x TWI-CB-004  MUST" in text
    assert "WebSocket /stream" in text
    assert "=>|" in text


def test_terminal_names_the_failures_it_does_not_tell() -> None:
    run = results(failing=[rule.id for rule in results().requirements])
    text = _printed(run, most=2)
    assert text.count("replay  ") == 2
    rest = text.partition("and more: ")[2]
    fails, _, warns = rest.partition("warns of ")
    # What is a failure and what a warning is told apart.
    assert fails.startswith("fails ")
    assert "OAI-HS-004" in fails
    assert warns


def test_terminal_tells_what_went_wrong_in_the_harness() -> None:
    run = results(failing=())
    run.worlds[3].error = "the fake Twilio raised KeyError: 'name'"
    text = _printed(run)
    assert "? harness error" in text
    assert "the fake Twilio raised KeyError: 'name'" in text
    assert "could not be judged in 1 world: the harness went wrong." in text


def test_terminal_is_not_given_control_characters() -> None:
    assert not re.search("[\x00\x1b]", _printed(_nasty()))


def test_terminal_takes_brackets_in_free_text_literally() -> None:
    run = results(failing=["TWI-CB-004"])
    run.checks = [msgspec.structs.replace(check, message="[bold]seen[/] [/red]") for check in run.checks]
    assert "[bold]seen[/] [/red]" in _printed(run)


# --- causes and consequences


def _with_consequence() -> Results:
    """TWI-CB-004 decides. TWI-ST-001 fails only where it does, LIFE-007 somewhere else as well."""
    run = results(failing=["TWI-CB-004"])
    run.requirements = [msgspec.structs.replace(r, decides=r.id == "TWI-CB-004") for r in run.requirements]
    cause = next(check for check in run.checks if check.verdict is Verdict.FAIL)
    sound = next(check for check in run.checks if (check.case, check.model) != (cause.case, cause.model))
    for requirement, place in (("TWI-ST-001", cause), ("LIFE-007", cause), ("LIFE-007", sound)):
        mine = msgspec.structs.replace(place, requirement=requirement, verdict=Verdict.FAIL, message="no conversation")
        run.checks.append(mine)
    return run


def test_what_fails_only_where_something_decides_is_told_as_its_consequence() -> None:
    run = _with_consequence()
    because = {entry.requirement.id: entry.because for entry in summarise(run).having(Verdict.FAIL)}
    assert because == {"TWI-CB-004": [], "TWI-ST-001": ["TWI-CB-004"], "LIFE-007": []}
    text = _printed(run)
    assert "only where TWI-CB-004 fails, and perhaps because of it: fails TWI-ST-001" in text
    assert "✗ LIFE-007" in text
    assert "✗ TWI-ST-001" not in text
    told = "Only where TWI-CB-004 fails, and perhaps because of it."
    assert render_markdown(run).count(told) == 1
    page = render_html(run)
    assert page.count('<p class="because">') == 1
    articles = [found["data-id"] for found in _Page(page).all("article", class_="failure")]
    assert articles.index("TWI-ST-001") > articles.index("LIFE-007")


def test_what_decides_and_was_not_seen_to_fail_is_a_consequence_itself() -> None:
    """The story that was to show TWI-ST-001 broke off, for there was no conversation: that decides nothing."""
    run = _with_consequence()
    run.requirements = [
        msgspec.structs.replace(r, decides=r.id in ("TWI-CB-004", "TWI-ST-001")) for r in run.requirements
    ]
    for seq, because in ((None, ["TWI-CB-004"]), (3, [])):
        run.checks = [
            msgspec.structs.replace(check, seq=seq if check.message == "no conversation" else 1) for check in run.checks
        ]
        told = {entry.requirement.id: entry.because for entry in summarise(run).having(Verdict.FAIL)}
        assert told == {"TWI-CB-004": [], "TWI-ST-001": because, "LIFE-007": []}


def test_another_model_that_fails_it_is_no_cause() -> None:
    run = _with_consequence()
    run.checks = [
        msgspec.structs.replace(check, model="another") if check.requirement == "TWI-ST-001" else check
        for check in run.checks
    ]
    assert {tuple(entry.because) for entry in summarise(run).having(Verdict.FAIL)} == {()}
