"""Live worlds in a row: a gateway that is kept, one that is not, and a failure that does not happen again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.asking import ask
from conformance.assembly import PhoneWorld
from conformance.worlds import run_world
from harness.choices import Typical
from harness.live import Station
from harness.report.model import Verdict
from harness.report.store import read_results
from harness.suite import CaseDefinition, CaseFunction, Checks, Outcome

REFERENCE = Path(__file__).parent.parent / "conformance" / "gateways" / "reference" / "profile.toml"
CALLPROOF = str(Path(sys.executable).with_name("callproof"))


@pytest.fixture
def station() -> Iterator[Station]:
    station = Station(keep=True)
    yield station
    station.close()


def play(station: Station, story: CaseFunction, salt: str, **settings: str) -> Outcome:
    """One world of the reference gateway."""
    request = ask(stage="live", models=["gpt-realtime-2"])
    definition = CaseDefinition("story", "", story, "LIFE-007", settings=settings)
    return run_world(definition, request, request.columns[0], Typical(), 0, station=station, salt=salt)


def test_a_gateway_is_kept_for_worlds_with_the_same_settings(station: Station) -> None:
    seen: list[tuple[str, str, str]] = []

    async def story(world: PhoneWorld, check: Checks) -> None:
        status, _ = await world.operate("health")
        assert status == 200
        caller = world.caller()
        call = caller.dial(world.twilio, world.number)
        await caller.connected(within=10)
        seen.append((world.gateway.url, world.planted["twilio.auth_token"], call.sid))

    first, second = play(station, story, "one/"), play(station, story, "two/")
    assert [o.error for o in (first, second)] == [None, None]
    assert station.started == 1
    # It is told that the call has ended, or it would go into the next world with a call of this one.
    told = [m.form["CallStatus"] for m in first.messages if (m.channel, m.kind) == ("twilio.webhook", "request")]
    assert told == ["ringing", "completed"]
    (url, token, sid), (other_url, other_token, other_sid) = seen
    assert (url, token) == (other_url, other_token)
    # A gateway remembers calls; two of one name would be one to it.
    assert sid != other_sid
    # What was printed at its start is of the first world.
    assert "gateway.ready" in first.output
    assert "gateway.ready" not in second.output
    play(station, story, "three/", **{"openai.model": "gpt-realtime"})
    assert station.started == 2


def test_what_failed_is_judged_by_a_gateway_that_has_seen_nothing(station: Station) -> None:
    async def fine(world: PhoneWorld, check: Checks) -> None:
        check("LIFE-007", True)

    async def fails(world: PhoneWorld, check: Checks) -> None:
        check("LIFE-007", False, "it was looked at in the wrong way")

    play(station, fine, "one/")
    assert not station.marked
    assert play(station, fails, "two/").checks.worst() is Verdict.FAIL
    assert not station.marked
    play(station, fine, "three/")
    assert station.marked
    assert station.started == 1
    station.fresh = True
    play(station, fine, "four/")
    assert not station.marked
    assert station.started == 2
    play(station, fine, "five/")
    assert (station.marked, station.started) == (False, 2)


def test_what_a_gateway_has_left_open_does_not_come_to_life_in_the_next_world(station: Station) -> None:
    async def leaves_something(world: PhoneWorld, check: Checks) -> None:
        check("LIFE-009", False, "realtime session 1 is open")

    async def fine(world: PhoneWorld, check: Checks) -> None:
        check("LIFE-007", True)

    play(station, leaves_something, "one/")
    play(station, fine, "two/")
    assert (station.marked, station.started) == (False, 2)
    play(station, fine, "three/")
    assert station.started == 2


def test_a_world_may_end_its_gateway_itself(station: Station) -> None:
    async def stops(world: PhoneWorld, check: Checks) -> None:
        ended = await world.gateway_stops()
        check("LIFE-009", ended.clean, str(ended))

    for salt in ("one/", "two/"):
        assert play(station, stops, salt).checks.worst() is Verdict.PASS
    assert station.started == 2


@pytest.mark.parametrize("api", ["beta", "ga"])
def test_nobody_waits_for_a_conversation_that_cannot_come(station: Station, tmp_path: Path, api: str) -> None:
    """The GA model turns the beta header away: what is waited for then has seconds, and not the minute of the case."""
    text = REFERENCE.read_text(encoding="utf-8").replace(
        "[settings]", f'[environment]\nOPENAI_API = "{api}"\n[settings]'
    )
    (tmp_path / "profile.toml").write_text(text, encoding="utf-8")
    request = ask(stage="live", gateway=str(tmp_path), models=["gpt-realtime-2"])
    waited: list[float] = []
    within = 60 if api == "beta" else 5

    async def story(world: PhoneWorld, check: Checks) -> None:
        await world.incoming()
        began = world.clock.now()
        try:
            await world.session(2, within=within)
        finally:
            waited.append(world.clock.now() - began)

    definition = CaseDefinition("story", "", story, "LIFE-007")
    outcome = run_world(definition, request, request.columns[0], Typical(), 0, station=station)
    (told,) = [found.message for found in outcome.checks.merged() if found.requirement == "LIFE-007"]
    if api == "beta":
        why = "OAI-HS-001, OAI-HS-002 failed, and the vendor has turned the gateway away"
        waiting = f"the gateway did not open realtime session 2 within 60 s, and nobody had to wait that long: {why}"
        assert told.startswith(waiting)
        assert waited[0] < 30
    else:
        # This one has a conversation, and every reason to wait.
        assert told.startswith("the gateway did not open realtime session 2 within 5 s; 1 were opened")
        assert waited[0] >= 5


FLAKY = """
import os, pathlib, runpy, sys
mark = pathlib.Path(sys.argv.pop())
if not mark.exists():
    mark.touch()
    os.environ["TWILIO_AUTH_TOKEN"] = "0" * 32
runpy.run_module("reference_impl", run_name="__main__")
"""


def test_a_failure_that_does_not_happen_again_is_unstable(tmp_path: Path) -> None:
    """A gateway that has the wrong token when it is started for the first time, and never again."""
    profile = tmp_path / "flaky"
    profile.mkdir()
    (profile / "flaky.py").write_text(FLAKY)
    text = REFERENCE.read_text(encoding="utf-8").replace('name = "reference"', 'name = "flaky"')
    text = text.replace(
        'command = ["{python}", "-m", "reference_impl"]', f'command = ["{{python}}", "flaky.py", "{tmp_path / "mark"}"]'
    )
    (profile / "profile.toml").write_text(text, encoding="utf-8")
    command = [CALLPROOF, "run", "--gateway", str(profile), "--stage", "live", "--model", "gpt-realtime-2"]
    command += ["--case", "health_is_answered", "--report", str(tmp_path / "report")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    results = read_results(tmp_path / "report")
    unstable = [check for check in results.checks if check.verdict is Verdict.UNSTABLE]
    assert unstable, done.stdout
    assert not any(check.verdict in (Verdict.FAIL, Verdict.HARNESS_ERROR) for check in results.checks)
    assert done.returncode == 1
    told = [note for note in results.notes if note.startswith("The gateway was started 2 times, for 1 configuration:")]
    assert len(told) == 1, results.notes
    first = results.worlds[0]
    assert first.again == 1
    assert first.ladder
    assert first.trace
    assert results.worlds[1].ladder
    assert "unstable" in done.stdout
    again = subprocess.run([*command[:-1], str(tmp_path / "again")], capture_output=True, timeout=300, check=False)
    assert again.returncode == 0
