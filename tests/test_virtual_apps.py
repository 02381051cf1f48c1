"""Gateways as teams write them, unmodified in virtual time: their vendors' addresses are in their code.

`tests/apps/` has three, each with a profile: FastAPI with websockets, aiohttp with the Twilio SDK, Starlette with httpx
and the OpenAI SDK.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from broken.suite import COLUMNS, cases

from conformance.worlds import run_world
from harness.choices import Seeded, Typical
from harness.profile import Profile, load_profile
from harness.report.model import Verdict
from harness.run import RunRequest
from harness.suite import Outcome

ROOT = Path(__file__).parent.parent
APPS = Path(__file__).parent / "apps"

CALLS = ["a_caller_is_greeted_and_answered", "a_conversation_of_three_turns", "two_calls_at_the_same_time_do_not_mix"]
INTERRUPTIONS = ["interruption_while_only_twilio_is_playing", "interruption_while_the_model_is_still_sending"]
OUTBOUND = ["an_outbound_call_is_bridged", "a_refused_create_is_reported", "a_call_that_nobody_takes_frees_its_place"]
HEALTHY = {
    "fastapi_bridge": [*CALLS, *INTERRUPTIONS, "health_is_answered_at_rest_and_during_a_call"],
    "aiohttp_bridge": [*CALLS, *INTERRUPTIONS, *OUTBOUND],
    "starlette_bridge": [*CALLS, *OUTBOUND, "a_browser_is_given_a_secret_of_its_own"],
}


@pytest.fixture(autouse=True)
def _no_loop_is_left() -> Iterator[None]:
    yield
    asyncio.set_event_loop(None)


def play(profile: Profile, case: str, seed: int | None = None) -> Outcome:
    """Run one world of a case of the suite. Without a seed its timing is typical."""
    column = COLUMNS["ga"]
    request = RunRequest(profile=profile, stage="virtual", columns=[column], seed=seed or 0, knobs={})
    return run_world(cases()[case], request, column, Typical() if seed is None else Seeded(seed), seed or 0)


def app(name: str) -> Profile:
    return load_profile(APPS / name)


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, all_of_it in HEALTHY.items() for case in all_of_it])
def test_what_works_passes(name: str, case: str) -> None:
    profile = app(name)
    assert set(cases()[case].claims) <= set(profile.claims.features), "the profile does not claim what is tested"
    outcome = play(profile, case)
    assert outcome.error is None
    bad = [str(f) for f in outcome.checks.merged() if f.verdict in (Verdict.FAIL, Verdict.HARNESS_ERROR)]
    assert bad == []
    verdicts = {finding.requirement: finding.verdict for finding in outcome.checks.merged()}
    assert verdicts[cases()[case].about] is Verdict.PASS
    assert outcome.messages


@pytest.mark.parametrize("name", HEALTHY)
def test_the_vendors_are_called_by_their_own_names(name: str) -> None:
    outcome = play(app(name), "a_caller_is_greeted_and_answered")
    upgrades = [(m.channel, m.meta["url"].partition("://")[2]) for m in outcome.messages if m.kind == "upgrade"]
    assert ("openai.realtime", "api.openai.com/v1/realtime?model=gpt-realtime-2") in upgrades
    streams = [url for channel, url in upgrades if channel == "twilio.stream"]
    assert len(streams) == 1
    assert streams[0].startswith("gw.example.test/")


@pytest.mark.parametrize("name", HEALTHY)
def test_the_beta_header_for_a_ga_model_is_found(name: str) -> None:
    profile = replace(app(name), environment={"BETA_HEADER": "1"})
    outcome = play(profile, "a_caller_is_greeted_and_answered")
    assert {"OAI-HS-001", "OAI-HS-002"} <= set(outcome.checks.failed())


SCRIPT = """
import json, sys
sys.path.insert(0, "tests")
from test_virtual_apps import app, play
print(json.dumps([play(app(sys.argv[1]), sys.argv[2], int(seed)).digest for seed in sys.argv[3:]]))
"""


@pytest.mark.parametrize(("name", "case"), [(name, all_of_it[2]) for name, all_of_it in HEALTHY.items()])
def test_a_seed_gives_the_same_wire_each_time_in_every_process(name: str, case: str) -> None:
    """Two calls at once; also in the first world of a process, which imports the libraries."""
    here = [play(app(name), case, seed).digest for seed in (3, 4, 3)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, case, "3", "4"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout.splitlines()[-1])
    assert here == [*there, there[0]]
    assert here[0] != here[1], "the seed changes nothing"
