"""One run in several processes: the cases are dealt out, and what came of them is put together again.

On the live stage a case is mostly waiting: several gateways, each in an enclosure of its own, wait at the same time.
Nobody knows beforehand how long a case of a gateway takes that fails, so who is done takes cases out of others' hands.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from harness.live.enclosure import command
from harness.report import model as report
from harness.report.model import case_name
from harness.run import Collected, RunRequest, cache_folder

SHARD = "CALLPROOF_SHARD"
"""In the environment of a process that runs a part: the file that says which, as a `Part`."""

USUAL_SECONDS = 10.0
"""What a case takes that nobody has timed yet; a gateway's start is reckoned with the same."""

LONG_SECONDS = 80.0
"""What takes as long as that waits for something that never comes."""

LOOK_SECONDS = 0.2
SAID = 2000
"""Characters that are told of what a process said that broke off without a reason."""


class Part(msgspec.Struct):
    """What one process is given to do: the ids of the cases in all hands, and files for what came of it.

    `number` is its own hand. `shared` is a folder for what all processes have to know of each other: in `taken` there
    is a file for each case that somebody has begun, in `sure` one for each requirement of a case that failed twice.
    """

    number: int
    hands: list[list[str]]
    shared: str
    results: str
    progress: str


class Done(msgspec.Struct):
    """A case that has come to its end, by its id."""

    case: str
    failed: bool


class Share(msgspec.Struct):
    """What came of a part."""

    checks: list[report.Check]
    worlds: list[report.WorldResult]
    notes: list[str]
    tracebacks: list[str]
    elsewhere: dict[str, list[str]]
    started: int


class ShardFailed(RuntimeError):
    """A process did not come to its end: `status` is how it ended, the message what it said."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


def mine() -> Part | None:
    """The part that this process is to run, None when it is to run everything."""
    path = os.environ.get(SHARD)
    return msgspec.json.decode(Path(path).read_bytes(), type=Part) if path else None


def turns(part: Part) -> Iterator[str]:
    """The cases that this process runs: those of its own hand, then what others have not come to.

    It takes from the end of the hand that has most left, so that whoever holds that one is disturbed last.
    """
    folder = Path(part.shared, "taken")
    folder.mkdir(exist_ok=True)
    while (case := _next(part, folder)) is not None:
        yield case


def _next(part: Part, folder: Path) -> str | None:
    taken = {path.name for path in folder.iterdir()}
    left = [
        [(case, name) for place, case in enumerate(hand) if (name := f"{number}-{place}") not in taken]
        for number, hand in enumerate(part.hands)
    ]
    others = sorted(left[: part.number] + left[part.number + 1 :], key=len, reverse=True)
    for case, name in chain(left[part.number], *map(reversed, others)):
        try:
            (folder / name).touch(exist_ok=False)
        except FileExistsError:  # somebody was faster
            continue
        return case
    return None


class Sure:
    """Which requirements were failed twice by how many cases of a run, whichever process ran them."""

    def __init__(self, part: Part | None) -> None:
        self._folder = Path(part.shared, "sure") if part is not None else None
        self._here: Counter[str] = Counter()
        self._name = "" if part is None else str(part.number)
        if self._folder is not None:
            self._folder.mkdir(exist_ok=True)

    def add(self, requirements: Collection[str]) -> None:
        """A case has failed these twice."""
        self._here.update(requirements)
        if self._folder is not None:
            for requirement in requirements:
                (self._folder / f"{requirement}~{self._name}-{self._here[requirement]}").touch()

    def __getitem__(self, requirement: str) -> int:
        """How many cases have."""
        if self._folder is None:
            return self._here[requirement]
        return sum(1 for _ in self._folder.glob(f"{requirement}~*"))


def finished(part: Part, done: Done) -> None:
    """Tell that a case is done."""
    with Path(part.progress).open("ab") as file:
        file.write(msgspec.json.encode(done) + b"\n")


def hand_over(part: Part, collected: Collected) -> None:
    """Leave what came of this process's part for the one that asked for it."""
    share = Share(
        collected.checks,
        collected.worlds,
        collected.notes,
        collected.tracebacks,
        {stage: sorted(names) for stage, names in collected.not_here.items()},
        collected.started,
    )
    Path(part.results).write_bytes(msgspec.json.encode(share))


def take_in(collected: Collected, share: Share) -> None:
    """Add what came of a part to the whole."""
    begin = len(collected.worlds)
    for world in share.worlds:
        if world.again is not None:
            world.again += begin
    collected.worlds += share.worlds
    collected.checks += [
        check if check.world is None else msgspec.structs.replace(check, world=check.world + begin)
        for check in share.checks
    ]
    collected.notes += [note for note in share.notes if note not in collected.notes]
    collected.tracebacks += share.tracebacks
    collected.started += share.started
    for stage, names in share.elsewhere.items():
        collected.not_here.setdefault(stage, set()).update(names)


def deal(
    cases: Sequence[tuple[str, object]], seconds: Mapping[str, float], hands: int, start: float = USUAL_SECONDS
) -> list[list[str]]:
    """Deal cases (id, what its gateway's configuration is) out to at most `hands`, evenly by `seconds` of case names.

    Cases of one configuration stay together as far as that is fair: every hand that has some of them starts a gateway.
    """
    groups: dict[object, list[str]] = {}
    for case, configuration in cases:
        groups.setdefault(configuration, []).append(case)

    def cost(case: str) -> float:
        return seconds.get(case_name(case), USUAL_SECONDS)

    fair = (sum(cost(case) for case, _ in cases) + start * len(groups)) / hands
    chunks: list[tuple[float, list[str]]] = []
    for group in groups.values():
        total, chunk = start, list[str]()
        # Very long ones first, for nobody should have to wait for what begins last. The others not: the longest of them
        # are conversations, and while all gateways start at once is no time for those.
        for case in sorted(group, key=lambda case: cost(case) < LONG_SECONDS):
            if chunk and total + cost(case) > fair:
                chunks.append((total, chunk))
                total, chunk = start, []
            total += cost(case)
            chunk.append(case)
        chunks.append((total, chunk))
    loads = [0.0] * hands
    dealt: list[list[str]] = [[] for _ in range(hands)]
    for total, chunk in sorted(chunks, key=lambda each: -each[0]):
        least = loads.index(min(loads))
        loads[least] += total
        dealt[least] += chunk
    return [hand for hand in dealt if hand]


def _times() -> Path:
    return cache_folder() / "seconds.json"


def known_seconds(gateway: str, version: str) -> dict[str, float]:
    """How long the cases took when they were last run against this version of a gateway, else any version, by name."""
    try:
        read = json.loads(_times().read_text(encoding="utf-8"))
        both = {**read.get(gateway, {}), **read.get(f"{gateway}@{version}", {})}
        return {str(name): float(value) for name, value in both.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def remember_seconds(gateway: str, version: str, worlds: Sequence[report.WorldResult]) -> None:
    """Keep how long cases took, for `known_seconds`. A cache that cannot be written is done without."""
    took: dict[str, float] = {}
    for world in worlds:
        took[case_name(world.case)] = took.get(case_name(world.case), 0.0) + world.seconds
    try:
        everybody = json.loads(_times().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        everybody = {}
    for name in (gateway, f"{gateway}@{version}"):
        everybody[name] = {**everybody.get(name, {}), **took}
    try:
        _times().parent.mkdir(parents=True, exist_ok=True)
        _times().write_text(json.dumps(everybody), encoding="utf-8")
    except OSError:
        return


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    part: Part
    output: Path


def run_in_parts(request: RunRequest, hands: Sequence[Sequence[str]]) -> Iterator[Done | Share]:
    """Run the hands, each in a process of its own; yields the cases as they are done, and then what came of each part.

    Raises `ShardFailed` when one of them breaks off; the others are ended then.
    """
    with TemporaryDirectory(prefix="callproof-parts-") as folder:
        workers: list[_Worker] = []
        try:
            everything = [list(hand) for hand in hands]
            for number in range(len(hands)):
                here = Path(folder, str(number))
                part = Part(number, everything, folder, f"{here}.results", f"{here}.progress")
                Path(part.progress).touch()
                Path(f"{here}.part").write_bytes(msgspec.json.encode(part))
                workers.append(_start(request, part, Path(f"{here}.part"), Path(f"{here}.output")))
            seen = dict.fromkeys(range(len(workers)), 0)
            running = True
            while running:
                running = any(worker.process.poll() is None for worker in workers)
                for number, worker in enumerate(workers):
                    # The last line may be half written.
                    *done, _ = Path(worker.part.progress).read_bytes().split(b"\n")
                    yield from (msgspec.json.decode(line, type=Done) for line in done[seen[number] :])
                    seen[number] = len(done)
                    _check(worker)
                if running:
                    time.sleep(LOOK_SECONDS)
            for worker in workers:
                yield msgspec.json.decode(Path(worker.part.results).read_bytes(), type=Share)
        finally:
            for worker in workers:
                if worker.process.poll() is None:
                    worker.process.terminate()
            for worker in workers:
                worker.process.wait()


def _start(request: RunRequest, part: Part, path: Path, output: Path) -> _Worker:
    whole = list(sys.orig_argv)
    environment = {**os.environ, SHARD: str(path)}
    if request.stage == "live" and request.intercept == "namespace":
        from harness.live.enclosure import MARK

        whole, environment = command(whole), {**environment, MARK: "1"}
    with output.open("wb") as sink:
        process = subprocess.Popen(
            whole, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )
    return _Worker(process, part, output)


def _check(worker: _Worker) -> None:
    status = worker.process.poll()
    if status is None or Path(worker.part.results).exists():
        return
    said = worker.output.read_text(encoding="utf-8", errors="replace").strip()
    _, found, message = said.rpartition("callproof: ")
    told = message if found else said[-SAID:]
    raise ShardFailed(status, told or f"a part of the run ended with status {status} and said nothing")
