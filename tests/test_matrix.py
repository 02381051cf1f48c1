"""Many results as one matrix: what counts where, what people say to it, and its pictures."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from test_report_formats import NASTY, _nasty, _Page
from test_report_samples import results

from harness.cli import main
from harness.report import Results, ResultsError, Verdict, write_json
from harness.report.badge import badge, draw, told
from harness.report.keep import keep
from harness.report.matrix import Matrix, build_matrix, find_results, version_key
from harness.report.matrix_html import render_matrix
from harness.report.matrix_text import render_json, render_markdown
from harness.report.verdicts import Note, VerdictsError, load_verdicts


def run_of(gateway: str, version: str, *failing: str, stage: str = "virtual", created: str = "2026-11-20") -> Results:
    run = results(failing=failing)
    run.gateway, run.gateway_version, run.stage, run.created = gateway, version, stage, f"{created}T10:00:00+00:00"
    return run


def matrix_of(*runs: Results, **notes: list[Note]) -> Matrix:
    return build_matrix([(run, Path(f"{run.gateway}-{number}.json")) for number, run in enumerate(runs)], notes)


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def details_of(page: str, row: int) -> Any:
    found = re.search(rf'<script type="application/octet-stream" id="row-{row}">(.*?)</script>', page)
    assert found is not None
    return json.loads(zlib.decompress(base64.b64decode(found[1])))


def test_rows_go_by_gateway_and_from_the_newest_version_down() -> None:
    matrix = matrix_of(*(run_of("b", version) for version in ("1.9.0", "1.14.0", "1.14.0rc1")), run_of("a", "2"))
    assert [row.label for row in matrix.rows] == ["a 2", "b 1.14.0", "b 1.14.0rc1", "b 1.9.0"]
    versions = ["2026.4.15", "2026.4.29", "2026.5.7", "2026.9.6", "2026.10.1"]
    assert sorted(versions, key=version_key) == versions


def test_stages_and_days_of_a_version_are_one_row_with_several_set_ups() -> None:
    live = run_of("a", "1", "TWI-CB-004", stage="live")
    matrix = matrix_of(run_of("a", "1"), live)
    (row,) = matrix.rows
    cells = row.cells["TWI-CB-004"]
    assert {place.stage: verdict for place, verdict in cells.items()} == {
        "virtual": Verdict.PASS,
        "live": Verdict.FAIL,
    }
    assert row.verdict("TWI-CB-004") is Verdict.FAIL
    assert {place.as_of for place in row.places} == {"2026-04-15"}


def test_a_newer_run_of_the_same_case_and_set_up_counts() -> None:
    old, new = run_of("a", "1", "TWI-CB-004"), run_of("a", "1", created="2026-11-21")
    for order in ((old, new), (new, old)):
        assert matrix_of(*order).rows[0].verdict("TWI-CB-004") is Verdict.PASS
    first = next(check for check in old.checks if check.verdict is Verdict.FAIL)
    new.checks = [check for check in new.checks if check.case != first.case]  # not run again: the old verdict stands
    assert matrix_of(old, new).rows[0].verdict("TWI-CB-004") is Verdict.FAIL


def test_a_failure_that_nobody_looked_into_is_listed() -> None:
    note = Note(["1.*"], ["TWI-CB-004"], "fault", "The answered callback ends the stream.", ["https://example.org/1"])
    matrix = matrix_of(run_of("a", "1.2", "TWI-CB-004", "LIFE-002"), run_of("a", "2.0", "TWI-CB-004"), a=[note])
    newer, older = matrix.rows
    assert older.not_looked_into() == ["LIFE-002"]
    assert newer.not_looked_into() == ["TWI-CB-004"]
    text = render_markdown(matrix)
    assert text.count("**not looked into**") == 2
    assert "**a fault of the gateway**: The answered callback ends the stream. <https://example.org/1>" in text
    summary = json.loads(render_json(matrix))
    assert [row["not_looked_into"] for row in summary["rows"]] == [["TWI-CB-004"], ["LIFE-002"]]


def test_who_has_looked_into_a_cause_has_looked_into_its_consequences() -> None:
    note = Note(["*"], ["TWI-CB-004"], "fault", "The answered callback ends the stream.")
    run = run_of("a", "1", "TWI-CB-004")
    run.requirements = [msgspec.structs.replace(r, decides=r.id == "TWI-CB-004") for r in run.requirements]
    cause = next(check for check in run.checks if check.verdict is Verdict.FAIL)
    run.checks.append(msgspec.structs.replace(cause, requirement="TWI-ST-001", message="no conversation"))
    (row,) = matrix_of(run, a=[note]).rows
    assert row.not_looked_into() == []
    told = row.note("TWI-ST-001")
    assert told is not None
    assert (told.verdict, told.note) == ("fault", "Only where TWI-CB-004 fails, and perhaps because of it.")
    # On the other stage it fails of its own accord.
    (row,) = matrix_of(run, run_of("a", "1", "TWI-ST-001", stage="live"), a=[note]).rows
    assert row.not_looked_into() == ["TWI-ST-001"]
    (row,) = matrix_of(run).rows
    assert set(row.not_looked_into()) == {"TWI-CB-004", "TWI-ST-001"}


def test_the_page_carries_each_verdict_once() -> None:
    matrix = matrix_of(run_of("a", "1", "TWI-CB-004"), run_of("b", "1"))
    data = data_of(render_matrix(matrix, title="t"))
    ids = [rule[0] for rule in data["rules"]]
    for row, drawn in zip(matrix.rows, data["rows"], strict=True):
        for place, cells in zip(drawn["places"], drawn["cells"], strict=True):
            assert len(cells) == len(ids)
            for id, character in zip(ids, cells, strict=True):
                known = {tuple(p): v for p, v in row.cells.get(id, {}).items()}.get(tuple(data["places"][place]))
                assert (None if character == "." else data["verdicts"][int(character)]) == known
    assert sum(length for _, length in data["areas"]) == len(ids)


def test_a_row_carries_cases_stories_and_ladders() -> None:
    page = render_matrix(matrix_of(run_of("a", "1", "TWI-CB-004"), run_of("b", "1")), title="t")
    details = details_of(page, 0)
    assert sum(count for *_, count in details["checks"]["TWI-CB-004"]) > 1
    seen = details["seen"]["TWI-CB-004"][0]
    assert seen["replay"].startswith("callproof replay")
    assert any(mine for *_, mine in seen["scene"]["story"])
    assert "TWI-CB-004 is broken here" in seen["scene"]["ladder"][1]
    assert details_of(page, 1)["seen"].keys() & {"TWI-CB-004"} == set()


def test_the_page_needs_nothing_from_elsewhere_and_is_well_formed() -> None:
    page = _Page(render_matrix(matrix_of(run_of("a", "1", "TWI-CB-004")), title="t"))
    assert page.open == []
    assert page.all("link") == page.all("img") == page.all("iframe") == []
    assert [e for _, e in page.elements if "src" in e] == []
    assert "url(" not in "".join(page.texts["style"])
    assert "fetch(" not in "".join(page.texts["script"])
    ids = [element["id"] for _, element in page.elements if "id" in element]
    assert len(ids) == len(set(ids))


def test_free_text_stays_text() -> None:
    run = _nasty()
    note = Note(["*"], ["TWI-CB-004"], "taste", NASTY, [NASTY])
    matrix = build_matrix([(run, Path("x.json"))], {run.gateway: [note]})
    text = render_matrix(matrix, title=NASTY)
    assert "<script>alert(1)" not in text
    assert _Page(text).open == []
    assert data_of(text)["rows"][0]["gateway"] == NASTY
    assert "<script>alert" not in render_markdown(matrix)


def test_filters_are_there_only_when_there_is_a_choice() -> None:
    one = _Page(render_matrix(matrix_of(run_of("a", "1")), title="t"))
    assert {e["data-filter"] for e in one.all("select")} == {"model", "dialect"}
    both = _Page(render_matrix(matrix_of(run_of("a", "1"), run_of("a", "1", stage="live")), title="t"))
    assert {e["data-filter"] for e in both.all("select")} == {"model", "dialect", "stage"}


def test_badges_say_how_many_are_met() -> None:
    good, bad = matrix_of(run_of("a", "1"), run_of("b", "1", "TWI-CB-004", "LIFE-002")).rows
    assert told(good)[1] == "good"
    text, colour = told(bad)
    met, judged = map(int, text.split("/"))
    assert (judged - met, colour) == (2, "bad")
    svg = ElementTree.fromstring(badge(bad, "callproof <b> & a"))
    assert svg.attrib["aria-label"] == f"callproof <b> & a: {text}"
    assert ElementTree.fromstring(draw("a", "b" * 40, "odd")).attrib["height"] == "20"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[verdict]\n", "is not TOML"),
        ("[[verdicts]]\n", "expected nothing but [[verdict]] tables, found `verdicts`"),
        (
            '[[verdict]]\nrequirement = "A"\nverdict = "falt"\nnote = "x"\n',
            "line 1: `verdict` wants one of fault, ours",
        ),
        ('\n[[verdict]]\nrequirment = "A"\n', "line 2: no key is called 'requirment'; did you mean requirement?"),
        ('[[verdict]]\nrequirement = "A"\nverdict = "ours"\n', "the entry has no `note`"),
        ('[[verdict]]\nverdict = "ours"\nnote = "x"\n', "the entry has no `requirement`"),
        ('[[verdict]]\nrequirement = [1]\nverdict = "ours"\nnote = "x"\n', "`requirement` wants a text or a list"),
    ],
)
def test_what_is_wrong_with_the_verdicts_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "VERDICTS.toml").write_text(text)
    with pytest.raises(VerdictsError) as caught:
        load_verdicts(tmp_path / "VERDICTS.toml")
    assert message in str(caught.value)


def test_the_index_is_made_of_kept_reports_and_their_verdicts(tmp_path: Path) -> None:
    keep([run_of("mine", "1.0", "TWI-CB-004", "LIFE-002")], tmp_path)
    keep([run_of("mine", "1.1")], tmp_path)
    (tmp_path / "latest").mkdir()
    write_json(run_of("other", "9"), tmp_path / "latest" / "results.json")
    (tmp_path / "mine" / "VERDICTS.toml").write_text(
        '[[verdict]]\nversion = ["1.0", "1.1"]\nrequirement = "TWI-CB-004"\n'
        'verdict = "fault"\nnote = "It ends the call."\n'
        '[[verdict]]\nversion = "7.*"\nrequirement = "LIFE-002"\nverdict = "taste"\nnote = "x"\n'
    )
    done = CliRunner().invoke(main, ["report", "--index", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "mine 1.0: not looked into: LIFE-002" in done.output
    assert "the verdict on LIFE-002 (line 6) fits nothing" in done.output
    page = (tmp_path / "index.html").read_text()
    assert [row["gateway"] for row in data_of(page)["rows"]] == ["mine", "mine"]
    assert "It ends the call." in page
    assert 'href="mine/1.0.json"' in page


def test_the_command_writes_a_report_of_folders_and_files(tmp_path: Path) -> None:
    for number, run in enumerate((run_of("a", "1", "TWI-CB-004"), run_of("a", "2"), run_of("b", "1"))):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        write_json(run, tmp_path / "in" / str(number) / "results.json")
        (tmp_path / "in" / str(number) / "traces").mkdir()
        (tmp_path / "in" / str(number) / "traces" / "x.json").write_text("{}")
    done = CliRunner().invoke(main, ["report", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["badges", "index.html", "report.md", "summary.json"]
    badges = sorted(path.name for path in (tmp_path / "out" / "badges").iterdir())
    assert badges == ["a.svg", "a@1.svg", "a@2.svg", "b.svg", "b@1.svg"]
    assert (tmp_path / "out" / "badges" / "a.svg").read_text() == (tmp_path / "out" / "badges" / "a@2.svg").read_text()


def test_nothing_to_report_is_a_matter_of_usage(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there are no results below it"):
        find_results([tmp_path])
    for arguments in ([], [str(tmp_path)], ["--index", str(tmp_path)], [str(tmp_path), "--index", str(tmp_path)]):
        done = CliRunner().invoke(main, ["report", *arguments])
        assert done.exit_code == 2, done.output


def test_old_files_get_the_day_of_their_worlds() -> None:
    run = results(failing=())
    for world in run.worlds:
        world.as_of = "2026-03-01"
    run.checks = [msgspec.structs.replace(check, as_of="") for check in run.checks]
    assert {place.as_of for place in matrix_of(run).places} == {"2026-03-01"}
