"""The result model: what a run of the suite leaves behind, as plain records.

These records are the format of `results.json`; `results.schema.json` beside this file documents the same shapes for
readers in other languages. Change one, change both, and raise `FORMAT` when an old reader would be misled.
"""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

FORMAT = 1
"""Version of the `results.json` format that this callproof writes for a run."""

KEPT_FORMAT = 2
"""The same with `grouped` checks, as `callproof keep` writes it. A reader of format 1 alone would miss these checks."""


OFFENCE = "  ◀ "
"""What stands between a sentence of a story and the reason why its message is the offending one."""


class Verdict(StrEnum):
    """What a check found. Ordered by `SEVERITY`, not by name."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    UNSTABLE = "unstable"
    UNSUPPORTED = "unsupported"
    HARNESS_ERROR = "harness_error"


SEVERITY: tuple[Verdict, ...] = (
    Verdict.UNSUPPORTED,
    Verdict.PASS,
    Verdict.WARN,
    Verdict.UNSTABLE,
    Verdict.FAIL,
    Verdict.HARNESS_ERROR,
)
"""Verdicts from the mildest to the worst: the worst of several is the one that counts."""

FAILING: tuple[Verdict, ...] = (Verdict.FAIL, Verdict.UNSTABLE)
"""The verdicts that are held against a gateway and end a run with status 1."""

_RANK = {verdict: rank for rank, verdict in enumerate(SEVERITY)}


def rank(verdict: Verdict) -> int:
    """How bad a verdict is: 0 for unsupported, 5 for a harness error."""
    return _RANK[verdict]


class Level(StrEnum):
    """The keyword of a requirement's source (RFC 2119)."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Column(NamedTuple):
    """One column of the matrix: what the gateway was told to talk to, and the day, "" where it does not matter."""

    model: str
    dialect: str
    as_of: str = ""

    def __str__(self) -> str:
        if not self.model:
            name = self.dialect or "any model"
        else:
            name = f"{self.model} ({self.dialect})" if self.dialect else self.model
        return f"{name} as of {self.as_of}" if self.as_of else name


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the registry, as far as a report shows it.

    `source`: URL of the text that the rule rests on. `era`: when the rule holds, in words, None for always.
    `claim`: the feature that it belongs to, None for a rule that binds every gateway. `why`: what goes wrong on a real
    call when it is broken. `decides`: where it fails, no conversation comes about, and other rules fail with it.
    """

    id: str
    level: Level
    rule: str
    area: str
    source: str
    era: str | None = None
    claim: str | None = None
    why: str = ""
    decides: bool = False


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the registry that no case tests, and the reason why."""

    id: str
    level: Level
    rule: str
    area: str
    source: str
    reason: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one requirement in one case.

    `model`, `dialect`: what the gateway was told to talk to; empty where it does not matter. `as_of`: the day that the
    vendors lived in. `message`: what was seen; may be empty for a pass. `world`: position in `Results.worlds`, None
    when no world was run, or it was not kept. `seq`: number of the offending message on that world's wire, None when it
    is a message that never came.
    """

    requirement: str
    level: Level
    case: str
    verdict: Verdict
    model: str = ""
    dialect: str = ""
    as_of: str = ""
    message: str = ""
    world: int | None = None
    seq: int | None = None

    @property
    def column(self) -> Column:
        """The column of the matrix that this check belongs to."""
        return Column(self.model, self.dialect, self.as_of)


class Shape(StrEnum):
    """How a line of a ladder is drawn."""

    MESSAGE = "message"
    REQUEST = "request"
    RESPONSE = "response"
    UPGRADE = "upgrade"
    CLOSE = "close"
    GAP = "gap"


class LadderLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of a ladder: a message, a run of like messages folded into one, or a gap.

    `at`, `until`: seconds since the world began, of the first and the last message. `count`: how many messages the line
    stands for. `seq`: number of the first one on the wire. `detail`: an excerpt of the body. `mark`: why this is the
    offending message, None when it is not. `invalid`: why it breaks the vendor's schema.
    """

    at: float
    source: str
    target: str
    label: str
    seq: int
    shape: Shape = Shape.MESSAGE
    until: float | None = None
    count: int = 1
    connection: str = ""
    detail: str = ""
    mark: str | None = None
    invalid: str | None = None


class WorldResult(msgspec.Struct, kw_only=True):
    """One run of a scenario: how to have it again, and what happened in it.

    `seconds`: world time. `messages`: how many crossed the wire. `trace`: path of the trace file, relative to the
    report. `replay`: the command that runs it again. `story`: the interleaving in words, one message a line. `ladder`:
    kept only for a world with a failure. `error`: what went wrong in the harness or in a fake (never in the gateway).
    `output`: the end of what the gateway printed; kept only for a world with a failure. `again`: position of the world
    in which the case was run again because it failed here, None when it was not.
    """

    case: str
    seed: int | None
    wire_digest: str
    stage: str
    model: str = ""
    dialect: str = ""
    as_of: str | None = None
    seconds: float = 0.0
    messages: int = 0
    trace: str | None = None
    replay: str | None = None
    story: list[str] = []
    ladder: list[LadderLine] = []
    error: str | None = None
    output: str = ""
    again: int | None = None


class Outlook(StrEnum):
    """What became of a failure that a baseline lists."""

    FAILED = "failed"
    PASSED = "passed"
    NOT_RUN = "not_run"


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that the baseline of a run lists, and what became of it.

    `case`: name of the case, or a glob. `model`: empty for all of them. `verdict`: `fail`, or `unstable` for a failure
    that comes and goes. `outcome`: `passed` makes the entry stale, unless it is one that comes and goes.
    """

    requirement: str
    case: str
    model: str = ""
    verdict: Verdict = Verdict.FAIL
    reason: str = ""
    outcome: Outlook = Outlook.NOT_RUN

    @property
    def stale(self) -> bool:
        """Whether the run has shown that this failure is no more."""
        return self.outcome is Outlook.PASSED and self.verdict is not Verdict.UNSTABLE

    def covers(self, check: Check) -> bool:
        """Whether this is the failure that the check has found. What is listed as unstable may not fail for good."""
        return (
            check.requirement == self.requirement
            and check.verdict in FAILING
            and (check.verdict is Verdict.UNSTABLE or self.verdict is Verdict.FAIL)
            and self.about(check)
        )

    def about(self, check: Check) -> bool:
        """Whether the check, whatever its verdict, is on the listed requirement, case and model."""
        return (
            check.requirement == self.requirement
            and self.model in ("", check.model)
            and fnmatchcase(case_name(check.case), self.case)
        )


def case_name(case: str) -> str:
    """`conformance/test_inbound.py::test_a_call[gpt-realtime-2]` as `a_call`."""
    return (case.rpartition("::")[2] or case).partition("[")[0].removeprefix("test_")


class CheckGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Many checks in a line: the same verdict on one requirement, in several cases. `cases`: positions in `cases`.
    `seq`: that of the first of them; None where it was seen on no message in any."""

    requirement: str
    verdict: Verdict
    cases: list[int]
    model: str = ""
    dialect: str = ""
    as_of: str = ""
    message: str = ""
    seq: int | None = None


class Results(msgspec.Struct, kw_only=True):
    """Everything that one run of the suite found out about one gateway.

    `created`: ISO 8601 with an offset. `as_of`: the day that the vendors lived in. `models`: in the order of the
    matrix. `unsupported_claims`: features that the gateway does not claim. `notes`: what a reader must know about how
    the run was made. `duration_s`: real seconds that it took. `baseline`: the file of expected failures that the run
    was held against, empty for none; `expected`: what became of each. `cases`, `grouped`: checks in the short form of a
    kept file; reading one turns them into `checks`.
    """

    callproof: str
    created: str
    gateway: str
    gateway_version: str
    stage: str
    seed: int | None = None
    as_of: str | None = None
    models: list[str] = []
    duration_s: float = 0.0
    format: int = FORMAT
    notes: list[str] = []
    unsupported_claims: list[str] = []
    requirements: list[Requirement] = []
    excluded: list[Excluded] = []
    checks: list[Check] = []
    worlds: list[WorldResult] = []
    baseline: str = ""
    expected: list[Expected] = []
    cases: list[str] = []
    grouped: list[CheckGroup] = []

    def world_of(self, check: Check) -> WorldResult | None:
        """The world that a check was made in, None when it needed none."""
        return None if check.world is None else self.worlds[check.world]
