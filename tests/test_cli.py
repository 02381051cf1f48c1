"""The command line as a user meets it: what it says, what it ends with, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema_rs
import pytest
from click.testing import CliRunner

from conformance.asking import ask, choose_columns
from harness import run
from harness.cli import main
from harness.report.store import SCHEMA
from harness.run import FACTS_DATE, UsageProblem, find_case, select_cases

ROOT = Path(__file__).parent.parent
CALLPROOF = [sys.executable, "-c", "from harness.cli import main; main()"]
PYTEST = [sys.executable, "-m", "pytest", str(ROOT / "conformance")]


@dataclass(slots=True)
class Done:
    """A command that has ended. `said`: what it told on stderr."""

    status: int
    out: str
    said: str

    @property
    def said_line(self) -> str:
        """The only line on stderr, without its prefix; fails when there is more, or anything like a traceback."""
        assert "Traceback" not in self.said + self.out
        (line,) = self.said.splitlines()
        assert line.startswith("callproof: "), line
        return line.removeprefix("callproof: ")


Shell = Callable[..., Done]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a command in an empty folder whose modules can be imported."""

    def run_it(*arguments: str, command: list[str] = CALLPROOF, **environment: str) -> Done:
        path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), str(ROOT)])
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run_it


def write_profile(folder: Path, gateway: str, claims: str = '"phone.inbound", "phone.greeting", "openai.ga"') -> Path:
    """A profile with these lines in its table `gateway`."""
    folder.mkdir(exist_ok=True)
    (folder / "profile.toml").write_text(f'[gateway]\nname = "mine"\n{gateway}\n[claims]\nfeatures = [{claims}]\n')
    return folder


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".py" and path.name != "mine")


# -- what was asked for


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gateway": "refrence"}, "no gateway is called 'refrence'; did you mean 'reference'? (or give a path to a"),
        ({"gateway": "zzz"}, "no gateway is called 'zzz'; there are: openclaw, pipecat, reference"),
        (
            {"gateway": "no/such"},
            "no/such/profile.toml does not exist: a profile is a folder with a profile.toml in it",
        ),
        ({"models": ["gpt-realtim-2"]}, "no realtime model is called 'gpt-realtim-2'; did you mean gpt-realtime-2 or"),
        ({"models": ["zzz"]}, "no realtime model is called 'zzz'; there are: gpt-4o-realtime-preview, "),
        ({"models": ["whisper-1"]}, "no realtime model is called 'whisper-1'"),
        ({"models": ["all", "zzz"], "as_of": "1999-01-01"}, "no realtime model could be had on 1999-01-01"),
        (
            {"models": ["gpt-realtime-2"], "as_of": "2026-01-01"},
            "gpt-realtime-2 cannot be had on 2026-01-01: it was released on 2026-05-07; choose another day",
        ),
        (
            {"models": ["gpt-4o-realtime-preview"], "as_of": "2026-11-20"},
            "gpt-4o-realtime-preview cannot be had on 2026-11-20: OpenAI removed it on 2026-05-07",
        ),
        ({"as_of": "yesterday"}, "--as-of wants a date such as 2026-04-15, or `today`, not 'yesterday'"),
        ({"knobs": ["twilio.local_urls"]}, "--knob wants NAME=VALUE, not 'twilio.local_urls'"),
        ({"knobs": ["twilio.loacl_urls=x"]}, "no knob is called 'twilio.loacl_urls'; did you mean twilio.local_urls?"),
        ({"knobs": ["twilio.local_urls=x"]}, "knob twilio.local_urls is one of refused, allowed, not 'x'"),
        ({"examples": 0}, "--examples wants a number from 1 on, not 0"),
        ({"report": Path(__file__)}, "--report wants a folder: "),
        (
            {"gateway": "pipecat", "stage": "virtual"},
            "gateway pipecat has no `python` entry point: it needs --stage live",
        ),
    ],
)
def test_what_cannot_be_had_is_said_and_what_to_write_instead(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        ask(**asked)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[gateway", "is not valid TOML"),
        ('[gateway]\nname = "x"', "gateway: say how to start it: `command` (live stage), `python` (virtual stage)"),
        ('[gateway]\nname = "x"\ncomand = ["x"]', "gateway.comand: no such key; did you mean 'command'?"),
        ('[gateway]\nname = 3\ncommand = ["x"]', "gateway.name: expected a text, got a whole number"),
        ('[gateway]\nname = "x"\ncommand = ["x"]\n[claims]\nfeatures = ["tool"]', "did you mean 'tools'?"),
        ('[gateway]\nname = "x"\ncommand = ["x"]\n[settings]\nopenai.key = "$K"', "did you mean 'openai.api_key'?"),
        ('[gateway]\nname = "x"\npython = "x.main"', "gateway.python: write \"module:callable\", not 'x.main'"),
        ('[gateway]\nname = "x"\npython = "x:main"', "gateway x has no `command`: it needs --stage virtual"),
    ],
    ids=["toml", "no way to start", "key", "type", "claim", "setting", "python", "stage"],
)
def test_a_bad_profile_is_told_with_its_file_and_key(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "profile.toml").write_text(content)
    with pytest.raises(UsageProblem) as caught:
        ask(gateway=str(tmp_path), stage="live")
    assert message in str(caught.value)


def test_models_and_their_days() -> None:
    def chosen(*models: str, as_of: str | None = None) -> list[tuple[str, str, str]]:
        return [(c.model, c.dialect, str(c.as_of)) for c in choose_columns(models, as_of)]

    beta = ("gpt-4o-realtime-preview", "beta", "2026-04-15")
    assert chosen() == [("gpt-realtime-2", "ga", str(FACTS_DATE)), beta]
    assert chosen("gpt-realtime", "gpt-realtime") == [("gpt-realtime", "ga", str(FACTS_DATE))]
    assert chosen(as_of="2026-03-01") == [("gpt-4o-realtime-preview", "beta", "2026-03-01")]
    everyone = chosen("all")
    assert len(everyone) == len({model for model, _, _ in everyone}) > 10
    assert beta in everyone
    assert all(day == "2026-06-01" and dialect == "ga" for _, dialect, day in chosen("all", as_of="2026-06-01"))


def test_a_model_that_is_left_out_is_told() -> None:
    assert ask(as_of="2026-03-01").notes == [
        "gpt-realtime-2 is left out: on 2026-03-01 it could not be had, it was released on 2026-05-07."
    ]
    assert ask(models=["gpt-realtime-2"]).notes == []


def test_what_the_live_stage_does_not_see_is_told() -> None:
    (note,) = ask(models=["gpt-realtime-2"], stage="live").notes
    assert note == "On the live stage only what reaches the fakes is seen: calls to other hosts are not (SEC-013)."


def test_the_gateway_comes_from_the_environment_when_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask().profile.name == "reference"
    monkeypatch.setenv("CALLPROOF_GATEWAY", "pipecat")
    assert ask(stage="live").profile.name == "pipecat"
    assert ask(gateway="reference").profile.name == "reference"


CASES = [
    "conformance/test_outbound.py::test_a_late_callback_changes_nothing[gpt-realtime-2]",
    "conformance/test_outbound.py::test_a_late_callback_changes_nothing[gpt-4o-realtime-preview]",
    "conformance/test_inbound.py::test_a_hang_up_before_the_bridge_is_up[gpt-realtime-2]",
]


def test_cases_are_chosen_by_what_their_ids_contain() -> None:
    assert select_cases(["late"], CASES) == CASES[:2]
    assert select_cases(["before_the", "late_callback"], CASES) == CASES
    assert select_cases([CASES[1]], CASES) == [CASES[1]]
    with pytest.raises(UsageProblem, match="no case has 'late call' in its name; the nearest are a_late_callback_ch"):
        select_cases(["hang_up", "late call"], CASES)


def test_the_case_of_a_trace_is_found_by_its_name() -> None:
    """It may have moved to another file since, or its model may be written in another way."""
    assert find_case("conformance/test_moved.py::test_a_late_callback_changes_nothing[x]", CASES) == CASES[0]
    with pytest.raises(
        UsageProblem, match="case a_late_call, which is not in this suite; the nearest are a_late_callb"
    ):
        find_case("conformance/test_outbound.py::test_a_late_call[gpt-realtime-2]", CASES)


# -- usage errors, of the command and of plain pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--gateway", "refrence"), "no gateway is called 'refrence'; did you mean 'reference'?"),
        (("run", "--model", "gpt-realtim-2"), "did you mean gpt-realtime-2"),
        (("run", "--case", "nothing like it ("), "no case has 'nothing like it (' in its name; the nearest are "),
        (("replay", "gone.json"), "there is no trace file gone.json"),
    ],
    ids=["gateway", "model", "case", "trace"],
)
def test_a_usage_error_is_one_line_and_status_2(
    shell: Shell, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = shell(*arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.said_line
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--stage", "moon"),
        ("run", "--seed", "x"),
        ("run", "--nonsense"),
        ("run", "extra"),
        ("replay",),
        ("fly",),
    ],
)
def test_what_click_refuses_is_status_2_too(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_plain_pytest_says_the_same(shell: Shell, tmp_path: Path) -> None:
    done = shell("--gateway", "refrence", command=PYTEST)
    assert done.status == 2
    assert done.said_line.startswith("no gateway is called 'refrence'; did you mean 'reference'?")
    assert left_in(tmp_path) == []


def test_nothing_to_run_is_no_success(shell: Shell, tmp_path: Path) -> None:
    write_profile(tmp_path / "mine", 'python = "mine:main"', claims='"phone.outbound"')
    (tmp_path / "mine" / "profile.toml").write_text('[gateway]\nname = "mine"\npython = "mine:main"\n')
    done = shell("run", "--gateway", "./mine", "--case", "greeted")
    assert done.status == 2
    assert done.said_line == "nothing was run: mine does not claim phone.inbound"
    assert left_in(tmp_path) == []


def test_a_report_that_cannot_be_written_is_known_before_the_run(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = shell("run", "--report", "file/report")
    assert (done.status, done.out) == (2, "")
    assert done.said_line == f"--report wants a folder: {tmp_path / 'file'} is a file"


# -- a gateway that does not start

DIES = "import sys; print('no config'); sys.exit(7)"
SLEEPS = "import time; print('waiting for the database', flush=True); time.sleep(100)"
MINE = """
import asyncio

async def dies():
    print("no config")
    raise RuntimeError("no key")

async def sleeps():
    print("waiting for the database")
    await asyncio.sleep(100)

async def returns():
    pass
"""


@pytest.mark.parametrize(
    ("stage", "gateway", "message"),
    [
        ("live", f'command = ["{{python}}", "-c", "{DIES}"]', "gateway mine died at its start with exit status 7\n"),
        ("live", f'command = ["{{python}}", "-c", "{SLEEPS}"]', "gateway mine was not ready within 0.5 s (waited for"),
        ("live", 'command = ["/no/such/program"]', "gateway mine cannot be started: /no/such/program: No such file"),
        (
            "live",
            'command = ["x"]\nsetup = [["{python}", "-c", "raise SystemExit(\'disk full\')"]]',
            "disk full",
        ),
        ("virtual", 'python = "mine_gateway:dies"', "gateway mine died at its start: RuntimeError: no key\n"),
        ("virtual", 'python = "mine_gateway:sleeps"', "gateway mine did not listen at port 8080 within 0.5 s"),
        ("virtual", 'python = "mine_gateway:returns"', "gateway mine died at its start: its entry point returned"),
        ("virtual", 'python = "mine_gateway:gone"', "gateway.python = 'mine_gateway:gone' cannot be imported: "),
    ],
    ids=["dies", "sleeps", "no program", "setup", "dies v", "sleeps v", "returns v", "no entry v"],
)
def test_a_gateway_that_does_not_start_is_status_3_and_no_report(
    shell: Shell, tmp_path: Path, stage: str, gateway: str, message: str
) -> None:
    write_profile(tmp_path / "mine", f"{gateway}\nready = {{ port = true, timeout = 0.5 }}")
    (tmp_path / "mine_gateway.py").write_text(MINE)
    done = shell(
        "run", "--gateway", "mine", "--stage", stage, "--case", "greeted", CALLPROOF_CACHE=str(tmp_path / "mine")
    )
    assert (done.status, done.out) == (3, "")
    assert done.said.startswith("callproof: ")
    assert message in done.said
    assert "Traceback" not in done.said
    if "dies" in gateway or DIES in gateway:
        assert done.said.endswith("its last output:\n  no config\n")
    if "sleeps" in gateway or SLEEPS in gateway:
        assert done.said.endswith("its last output:\n  waiting for the database\n")
    assert left_in(tmp_path) == []


def test_a_gateway_that_does_not_start_under_plain_pytest(shell: Shell, tmp_path: Path) -> None:
    write_profile(tmp_path / "mine", 'python = "mine_gateway:dies"')
    (tmp_path / "mine_gateway.py").write_text(MINE)
    done = shell("--gateway", "mine", "-k", "greeted", command=PYTEST)
    assert done.status == 3
    assert (
        done.said == "callproof: gateway mine died at its start: RuntimeError: no key\nits last output:\n  no config\n"
    )
    assert " passed" not in done.out
    assert left_in(tmp_path) == []


# -- what a run finds

GREETED = ("--case", "a_caller_is_greeted", "--model", "gpt-realtime-2")
FAULT = "broken.callbacks:says_on_answered"


def failing_profile(folder: Path) -> Path:
    """The reference gateway with a fault of the field."""
    text = (ROOT / "conformance" / "gateways" / "reference" / "profile.toml").read_text()
    folder.mkdir()
    (folder / "profile.toml").write_text(
        text.replace('"reference_impl.app:main"', f'"{FAULT}"').replace('name = "reference"', 'name = "mine"')
    )
    return folder


def test_failures_are_status_1_and_told_with_how_to_have_them_again(shell: Shell, tmp_path: Path) -> None:
    failing_profile(tmp_path / "mine")
    done = shell("run", "--gateway", "mine", "--case", "comes_before_the_twiml", "--model", "gpt-realtime-2")
    assert (done.status, done.said) == (1, "")
    assert "✗ TWI-CB-004" in done.out
    assert "mine 0.1.0 fails " in done.out
    assert "Report: reports/latest/index.html" in done.out
    assert "callproof replay" in done.out
    for noise in ("short test summary", "FAILURES", "warning", "Traceback", str(ROOT), " failed in "):
        assert noise not in done.out
    (trace,) = (tmp_path / "reports" / "latest" / "traces").iterdir()
    assert trace.name == "the_answered_callback_comes_before_the_twiml_request--gpt-realtime-2.json"


BROKEN_FAKE = """
import fakes.twilio.core

def dial(*arguments):
    raise RuntimeError("the fake is broken")

fakes.twilio.core.Twilio.dial = dial
"""
BROKEN_WORLD = """
import conformance.assembly

async def open(world):
    raise RuntimeError("the world is broken")

conformance.assembly.PhoneWorld.open = open
"""


@pytest.mark.parametrize(
    ("fault", "message"),
    [(BROKEN_FAKE, "RuntimeError: the fake is broken"), (BROKEN_WORLD, "RuntimeError: the world is broken")],
    ids=["fake", "world"],
)
def test_a_fault_of_ours_is_status_4_and_not_held_against_the_gateway(
    shell: Shell, tmp_path: Path, fault: str, message: str
) -> None:
    (tmp_path / "fault.py").write_text(fault)
    done = shell("-p", "fault", *GREETED, "--case", "goes_away_at_any_moment", command=PYTEST)
    assert done.status == 4
    assert "the harness went wrong" in done.out
    assert message in done.out
    results = json.loads((tmp_path / "reports" / "latest" / "results.json").read_text())
    assert {check["verdict"] for check in results["checks"]} <= {"pass", "harness_error"}
    errors = [check for check in results["checks"] if check["verdict"] == "harness_error"]
    assert len(errors) == len({error["case"] for error in errors}) == 2, "one for the case, one for the property"
    assert all(message in error["message"] for error in errors)


def test_the_results_of_a_run(shell: Shell, tmp_path: Path) -> None:
    """Two models and a seed: results that follow their schema, JUnit, HTML; the same seed gives the same digests."""
    models = ("gpt-realtime-2", "gpt-realtime")
    arguments = ("run", "--case", "greeted", *(part for model in models for part in ("--model", model)))
    digests = {}
    for name, seed in (("one", "5"), ("again", "5"), ("other", "6")):
        done = shell(*arguments, "--seed", seed, "--report", name)
        assert (done.status, done.said) == (0, "")
        assert f"Report: {name}/index.html" in done.out
        assert f"seed {seed}" in done.out
        results = json.loads((tmp_path / name / "results.json").read_text())
        jsonschema_rs.validate(json.loads(SCHEMA.read_text()), results)
        assert (results["seed"], results["stage"], results["gateway"]) == (int(seed), "virtual", "reference")
        assert results["models"] == list(models)
        worlds = results["worlds"]
        assert [(world["case"], world["seed"]) for world in worlds] == [
            (f"conformance/test_inbound.py::test_a_caller_is_greeted_and_answered[{model}]", int(seed))
            for model in models
        ]
        digests[name] = [world["wire_digest"] for world in worlds]
        for check in results["checks"]:
            assert {"requirement", "level", "case", "verdict", "model", "dialect"} <= check.keys()
            assert (check["model"] in models, check["dialect"], check["verdict"]) == (True, "ga", "pass")
        assert {check["requirement"] for check in results["checks"]} >= {"AUD-001", "AUD-004", "TWI-WH-003"}
        junit = ElementTree.parse(tmp_path / name / "junit.xml").getroot()
        cases = {case.get("name") for case in junit.iter("testcase")}
        assert len(cases) >= 2
        assert not list(junit.iter("failure"))
        assert "<html" in (tmp_path / name / "index.html").read_text()
        assert not (tmp_path / name / "traces").exists()
    assert digests["one"] == digests["again"]
    assert not set(digests["one"]) & set(digests["other"])
    assert left_in(tmp_path) == ["again", "one", "other"]


def test_without_a_seed_the_results_have_none(shell: Shell, tmp_path: Path) -> None:
    done = shell("run", *GREETED)
    assert done.status == 0
    assert "typical choices" in done.out
    assert json.loads((tmp_path / "reports" / "latest" / "results.json").read_text())["seed"] is None


def test_no_report_is_no_report(shell: Shell, tmp_path: Path) -> None:
    """Nor do settings and plugins of the project that one stands in, or of the environment, have a say."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\nfilterwarnings = error\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('this is not about you')\n")
    done = shell("run", *GREETED, "--report", "", PYTEST_ADDOPTS="--nonsense", PYTEST_PLUGINS="no_such")
    assert (done.status, done.said) == (0, "")
    assert "reference 0.1.0 meets all " in done.out
    assert "Report:" not in done.out
    assert re.sub(r"\s", "", done.out).startswith(".[100%]")
    assert left_in(tmp_path) == ["pytest.ini"]


def test_cases_of_another_stage_are_told_and_not_judged(shell: Shell) -> None:
    done = shell("run", "--case", "page", "--model", "gpt-realtime-2", "--report", "")
    assert done.status == 0, done.out
    assert "6 cases need --stage live: a_page_" in " ".join(done.out.split())
    assert "unsupported" not in done.out
    nothing = shell("run", "--case", "a_page_talks", "--report", "")
    assert nothing.status == run.EXIT_USAGE
    assert "nothing was run: 2 cases need --stage live" in nothing.said


def test_every_model_can_be_asked_for_at_once(shell: Shell) -> None:
    done = shell("run", "--case", "greeted", "--model", "all", "--report", "r", "--as-of", "2026-09-01")
    assert done.status == 0, done.out
    assert "gpt-4o-realtime-preview is left out: on 2026-09-01" in " ".join(done.out.split())


def as_from_a_terminal() -> None:
    """Take Ctrl-C: a program that a shell has started in the background ignores it, and so would this test's."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_run_is_no_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*CALLPROOF, "run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=0,
        preexec_fn=as_from_a_terminal,
    )
    assert process.stdout is not None
    assert process.stdout.read(1) == "."
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == run.EXIT_INTERRUPTED
    assert "meets" not in out
    assert left_in(tmp_path) == []
