"""Runs the cases of the suite in this process: on the virtual stage, world by world, without pytest in between."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import importlib
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

import conformance
from conformance.worlds import run_world
from harness.choices import Seeded, Typical
from harness.profile import Profile, load_profile
from harness.report.model import Verdict
from harness.run import FACTS_DATE, RunRequest
from harness.suite import HARNESS, CaseDefinition, Column, Outcome

CONFORMANCE = Path(conformance.__file__).parent
COLUMNS = {
    "ga": Column("gpt-realtime-2", "ga", FACTS_DATE),
    "beta": Column("gpt-4o-realtime-preview", "beta", dt.date(2026, 4, 15)),
}
"""The columns of the report: a GA model today, and a preview model on a day when the beta was alive."""


@functools.cache
def cases() -> dict[str, CaseDefinition]:
    """Every case of the suite by name that runs on the virtual stage; not the property tests."""
    found: dict[str, CaseDefinition] = {}
    for path in sorted(CONFORMANCE.glob("test_*.py")):
        module = importlib.import_module(f"conformance.{path.stem}")
        for function in vars(module).values():
            definition = getattr(function, "definition", None)
            mine = definition is not None and function.__module__ == module.__name__
            if mine and not definition.examples and "virtual" in definition.stages:
                found[definition.name] = definition
    return found


@functools.cache
def profile(entry: str) -> Profile:
    """The profile of the reference gateway with another entry point, such as `broken.callbacks:says_on_answered`."""
    reference = load_profile(CONFORMANCE / "gateways" / "reference")
    name = entry.partition(":")[2]
    return replace(reference, gateway=msgspec.structs.replace(reference.gateway, name=name, python=entry))


@dataclass(frozen=True, slots=True)
class World:
    """One world to run. `column`: a key of `COLUMNS`. `seed`: None for typical timing."""

    entry: str
    case: str
    column: str = "ga"
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One finding that is no pass. `where`: the message that it points at, if it does."""

    case: str
    seed: int | None
    requirement: str
    verdict: Verdict
    message: str
    where: str = ""

    def __str__(self) -> str:
        seed = "" if self.seed is None else f" seed {self.seed}"
        at = f" at {self.where}" if self.where else ""
        return f"{self.verdict} {self.requirement} in {self.case}{seed}: {self.message}{at}"


def play(world: World) -> list[Found]:
    """Run one world; what did not pass in it."""
    definition = cases()[world.case]
    column = COLUMNS[world.column]
    seed = world.seed or 0
    request = RunRequest(profile=profile(world.entry), stage="virtual", columns=[column], seed=seed, knobs={})
    source = Typical() if world.seed is None else Seeded(seed)
    try:
        outcome = run_world(definition, request, column, source, seed)
    finally:
        asyncio.set_event_loop(None)
    return _bad(outcome, world)


def _bad(outcome: Outcome, world: World) -> list[Found]:
    return [
        Found(
            world.case,
            world.seed,
            finding.requirement,
            finding.verdict,
            finding.message,
            str(outcome.messages[finding.seq]) if finding.seq is not None else "",
        )
        for finding in outcome.checks.merged()
        if finding.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED)
    ]


def play_all(worlds: Sequence[World], workers: int | None = None) -> list[list[Found]]:
    """Run worlds in processes of their own, by default one for each core; the findings of each, in order."""
    workers = workers or max(2, os.cpu_count() or 2)
    # Spawned, not forked: a child would inherit a coverage tracer, and be three times as slow. Virtual time can wait,
    # and tests of the live stage may run beside these.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=os.nice, initargs=(15,)) as pool:
        return list(pool.map(play, worlds, chunksize=max(1, min(16, len(worlds) // (4 * workers)))))


def applicable(column: str) -> list[str]:
    """The names of the cases that make sense in a column."""
    dialect = COLUMNS[column].dialect
    return [name for name, case in cases().items() if case.dialect in (None, dialect) and "virtual" in case.stages]


def failed(findings: Sequence[Found], verdict: Verdict) -> frozenset[str]:
    """The requirements with this verdict."""
    return frozenset(found.requirement for found in findings if found.verdict is verdict)


__all__ = ["COLUMNS", "HARNESS", "Found", "World", "applicable", "cases", "failed", "play", "play_all", "profile"]
