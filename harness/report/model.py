"""The result model: what a run of the suite leaves behind, as plain records.

These records are the format of `results.json`; `results.schema.json` beside this file documents the same shapes for
readers in other languages. Change one, change both, and raise `FORMAT` when an old reader would be misled.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

FORMAT = 1
"""Version of the `results.json` format that this callproof writes and reads."""


OFFENCE = "  ◀ "
"""What stands between a sentence of a story and the reason why its message is the offending one."""


class Verdict(StrEnum):
    """What a check found. Ordered by `SEVERITY`, not by name."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    UNSUPPORTED = "unsupported"
    HARNESS_ERROR = "harness_error"


SEVERITY: tuple[Verdict, ...] = (
    Verdict.UNSUPPORTED,
    Verdict.PASS,
    Verdict.WARN,
    Verdict.FAIL,
    Verdict.HARNESS_ERROR,
)
"""Verdicts from the mildest to the worst: the worst of several is the one that counts."""

_RANK = {verdict: rank for rank, verdict in enumerate(SEVERITY)}


def rank(verdict: Verdict) -> int:
    """How bad a verdict is: 0 for unsupported, 4 for a harness error."""
    return _RANK[verdict]


class Level(StrEnum):
    """The keyword of a requirement's source (RFC 2119)."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Column(NamedTuple):
    """One column of the matrix: what the gateway was told to talk to."""

    model: str
    dialect: str

    def __str__(self) -> str:
        if not self.model:
            return self.dialect or "any model"
        return f"{self.model} ({self.dialect})" if self.dialect else self.model


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the registry, as far as a report shows it.

    `source`: URL of the text that the rule rests on. `era`: when the rule holds, in words, None for always.
    `claim`: the feature that it belongs to, None for a rule that binds every gateway. `why`: what goes wrong on a real
    call when it is broken.
    """

    id: str
    level: Level
    rule: str
    area: str
    source: str
    era: str | None = None
    claim: str | None = None
    why: str = ""


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

    `model`, `dialect`: what the gateway was told to talk to; empty where it does not matter. `message`: what was seen;
    may be empty for a pass. `world`: position in `Results.worlds`, None when no world was run. `seq`: number of the
    offending message on that world's wire, None when it is a message that never came.
    """

    requirement: str
    level: Level
    case: str
    verdict: Verdict
    model: str = ""
    dialect: str = ""
    message: str = ""
    world: int | None = None
    seq: int | None = None

    @property
    def column(self) -> Column:
        """The column of the matrix that this check belongs to."""
        return Column(self.model, self.dialect)


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
    `output`: the end of what the gateway printed; kept only for a world with a failure.
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


class Results(msgspec.Struct, kw_only=True):
    """Everything that one run of the suite found out about one gateway.

    `created`: ISO 8601 with an offset. `as_of`: the day that the vendors lived in. `models`: in the order of the
    matrix. `unsupported_claims`: features that the gateway does not claim. `notes`: what a reader must know about how
    the run was made. `duration_s`: real seconds that it took.
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

    def world_of(self, check: Check) -> WorldResult | None:
        """The world that a check was made in, None when it needed none."""
        return None if check.world is None else self.worlds[check.world]
