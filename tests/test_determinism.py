"""Same choices, same wire: a 30 s call of three parties, over and over, under different hash seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SCRIPT = """
import datetime as dt, json, sys
from pathlib import Path
from conformance.worlds import run_world
from harness.choices import Seeded
from harness.run import RunRequest, find_gateway
from harness.suite import CaseDefinition, Column

async def call(world, check):
    caller = await world.incoming()
    await caller.hears("greeting", within=15)
    await caller.says("long_story")
    await caller.starts_hearing("long_answer", within=15)
    await world.passes(2)
    await caller.says("weather")
    await caller.hears("weather_sunny", within=25)
    caller.press("7")
    await world.passes(max(0, 31 - world.clock.now()))
    caller.hang_up()

profile = find_gateway("reference", [Path("conformance/gateways")])
request = RunRequest(profile=profile, stage="virtual", columns=[], seed=0, knobs={})
column = Column("gpt-realtime-2", "ga", dt.date(2026, 11, 20))
case = CaseDefinition(name="call", story="", run=call, about="AUD-001")
worlds = []
for seed in map(int, sys.argv[1:]):
    outcome = run_world(case, request, column, Seeded(seed), seed)
    assert outcome.error is None, outcome.error
    parties = sorted({m.source for m in outcome.messages})
    worlds.append([seed, outcome.digest, outcome.seconds, len(outcome.messages), outcome.checks.failed(), parties])
print(json.dumps(worlds))
"""


def _worlds(hash_seed: str, seeds: list[int]) -> list[list[object]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, seeds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_the_wire_of_a_call_is_the_same_every_time() -> None:
    """Twenty runs in three processes with different hash seeds give one digest; another seed gives another."""
    processes = [("0", 7), ("1", 7), ("4711", 6)]
    worlds = [world for hash_seed, runs in processes for world in _worlds(hash_seed, [3] * runs)]
    assert len(worlds) == 20
    digests = {str(world[1]) for world in worlds}
    assert len(digests) == 1
    _, _, seconds, messages, failed, parties = worlds[0]
    assert float(str(seconds)) > 30
    assert int(str(messages)) > 2500, "that was no call with full audio"
    assert failed == []
    assert parties == ["caller", "gateway", "openai", "twilio"]
    others = {str(world[1]) for world in _worlds("0", [4, 5, 6])}
    assert len(others) == 3
    assert not others & digests


@pytest.mark.parametrize("hash_seed", ["0", "99"])
def test_a_seed_is_all_that_a_run_needs(hash_seed: str) -> None:
    """The same seeds in another order give the same digests."""
    one = {world[0]: world[1] for world in _worlds(hash_seed, [1, 2])}
    other = {world[0]: world[1] for world in _worlds(hash_seed, [2, 1])}
    assert one == other
