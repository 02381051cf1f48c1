"""Cases: what a test of the suite is, how it checks requirements, and what comes of one run of it.

A case is an async function with the story of a call in it::

    @case(about="AUD-001", claims=["phone.inbound"])
    async def test_the_caller_hears_the_greeting(world, check):
        caller = world.caller()
        caller.dial(world.number)
        with check.expects("AUD-001"):
            await caller.hears("greeting", within=8)
        check("TWI-ST-003", not world.wire.all("media", ...), "media after stop", at=...)
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.choices import Choices
from harness.report.model import Check, Level, Verdict, WorldResult, rank
from harness.requirements import Registry
from harness.trace import Trace
from harness.wire import Message, digest

HARNESS = "HARNESS"
"""The requirement id under which our own faults are listed."""

CaseFunction = Callable[[Any, "Checks"], Awaitable[None]]


class CaseOver(Exception):
    """A prerequisite failed; the rest of the case has nothing to stand on. The failure is recorded already."""


@dataclass(frozen=True, slots=True)
class Column:
    """What the gateway is told to talk to: a model, the dialect that the model speaks, and the day it is."""

    model: str
    dialect: str
    as_of: dt.date

    def __str__(self) -> str:
        return self.model


@dataclass(frozen=True, slots=True)
class CaseDefinition:
    """One case.

    `about`: the requirement that fails when the story breaks off. `claims`: features without which the case makes no
    sense. `dialect`: the only dialect that it is about. `fixed`: choices by point or glob. `knobs`: vendor behaviours.
    `settings`: overrides of what the gateway is told; None for what it is not told. `vendor`: whose models it is
    configured for, a name that the composition root knows. `examples`: 0 for a plain case, else how many worlds a
    property test tries. `audio`: False leaves out the media messages of silence, for stories without speech.
    `stages`: where it can be told: virtual, live, or enclosed, which is live in namespaces, under vendors' own names.
    `hosts`: names by which a vendor can be reached besides its own, by vendor. `may_refuse`: the gateway may refuse its
    settings and not start; the story is told all the same. `seconds`: the longest that the story may take.
    """

    name: str
    story: str
    run: CaseFunction
    about: str
    claims: tuple[str, ...] = ()
    dialect: str | None = None
    fixed: Mapping[str, int] = field(default_factory=dict)
    knobs: Mapping[str, bool | int | str] = field(default_factory=dict)
    settings: Mapping[str, str | None] = field(default_factory=dict)
    stages: tuple[str, ...] = ("virtual", "live")
    audio: bool = True
    examples: int = 0
    vendor: str = "openai"
    hosts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    may_refuse: bool = False
    seconds: float = 900.0


def case(
    about: str,
    *,
    claims: Sequence[str] = (),
    dialect: str | None = None,
    fixed: Mapping[str, int] | None = None,
    knobs: Mapping[str, bool | int | str] | None = None,
    settings: Mapping[str, str | None] | None = None,
    stages: Sequence[str] = ("virtual", "live"),
    audio: bool = True,
    examples: int = 0,
    vendor: str = "openai",
    hosts: Mapping[str, Sequence[str]] | None = None,
    may_refuse: bool = False,
    seconds: float = 900.0,
) -> Callable[[CaseFunction], Callable[..., None]]:
    """Make a pytest test of a case function; see `CaseDefinition` for the arguments."""

    def decorate(function: CaseFunction) -> Callable[..., None]:
        name = getattr(function, "__name__", "case").removeprefix("test_")
        definition = CaseDefinition(
            name=name,
            story=(function.__doc__ or "").strip(),
            run=function,
            about=about,
            claims=tuple(claims),
            dialect=dialect,
            fixed=dict(fixed or {}),
            knobs=dict(knobs or {}),
            settings=dict(settings or {}),
            stages=tuple(stages),
            audio=audio,
            examples=examples,
            vendor=vendor,
            hosts=dict(hosts or {}),
            may_refuse=may_refuse,
            seconds=seconds,
        )

        def test(run_case: Callable[[CaseDefinition], None]) -> None:
            run_case(definition)

        test.__name__ = getattr(function, "__name__", "test_case")
        test.__doc__ = function.__doc__
        test.__module__ = function.__module__
        test.definition = definition  # type: ignore[attr-defined]
        return test

    return decorate


def prop(about: str, *, examples: int = 100, **options: Any) -> Callable[[CaseFunction], Callable[..., None]]:
    """A property test: the same as a case, but Hypothesis owns the choices and tries `examples` worlds."""
    return case(about, examples=examples, **options)


@dataclass(slots=True)
class Finding:
    """One verdict inside one world."""

    requirement: str
    verdict: Verdict
    message: str
    seq: int | None = None


class Checks:
    """Collects the verdicts of one world. Calling it checks one requirement."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.findings: list[Finding] = []

    def __call__(self, requirement: str, ok: object, seen: str = "", *, at: Message | None = None) -> bool:
        """Check `requirement`: `ok` or not, and if not, what was `seen` and which message offends. Returns `ok`."""
        if ok:
            self._add(requirement, Verdict.PASS, "", None)
        else:
            level = self._registry[requirement].level
            verdict = Verdict.FAIL if level == "MUST" else Verdict.WARN
            self._add(requirement, verdict, seen, at.seq if at is not None else None)
        return bool(ok)

    def none(self, requirement: str, offending: Sequence[Message], seen: str) -> bool:
        """Check that no message offends; the first one is marked."""
        more = f" ({len(offending)} times)" if len(offending) > 1 else ""
        return self(requirement, not offending, seen + more, at=offending[0] if offending else None)

    @contextmanager
    def expects(self, requirement: str) -> Iterator[None]:
        """The story cannot go on unless this holds: a failure inside (or a time-out) fails it and ends the case."""
        try:
            yield
        except (AssertionError, TimeoutError) as error:
            self(requirement, False, str(error) or "it did not happen in time")
            raise CaseOver from error
        self(requirement, True)

    def harness_error(self, message: str, at: Message | None = None) -> None:
        """Something of ours went wrong; never counted against a gateway."""
        self.findings.append(Finding(HARNESS, Verdict.HARNESS_ERROR, message, at.seq if at is not None else None))

    def _add(self, requirement: str, verdict: Verdict, message: str, seq: int | None) -> None:
        self._registry[requirement]
        self.findings.append(Finding(requirement, verdict, message, seq))

    def failed(self) -> list[str]:
        """The requirements that failed, each once, in order."""
        return list(dict.fromkeys(f.requirement for f in self.findings if f.verdict is Verdict.FAIL))

    def worst(self) -> Verdict | None:
        """The worst verdict so far."""
        for verdict in (Verdict.HARNESS_ERROR, Verdict.FAIL, Verdict.WARN, Verdict.PASS):
            if any(f.verdict is verdict for f in self.findings):
                return verdict
        return None

    @property
    def bad(self) -> bool:
        """Whether something failed, or went wrong on our side."""
        return self.worst() in (Verdict.FAIL, Verdict.HARNESS_ERROR)

    def merged(self) -> list[Finding]:
        """One finding for each requirement: its worst; of equals the first one that points at a message."""
        worst: dict[str, Finding] = {}
        for finding in self.findings:
            known = worst.get(finding.requirement)
            if known is None or _weight(finding) > _weight(known):
                worst[finding.requirement] = finding
        return list(worst.values())


def _weight(finding: Finding) -> tuple[int, bool]:
    return rank(finding.verdict), finding.seq is not None


@dataclass
class Outcome:
    """What came of one world: verdicts, the wire, and all that is needed to have it again."""

    definition: CaseDefinition
    column: Column
    checks: Checks
    choices: Choices
    messages: list[Message]
    order: list[tuple[str, str]]
    seconds: float
    stage: str
    error: str | None = None
    output: str = ""

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the wire; it takes a while for a call with audio, so only those who ask pay for it."""
        return digest(self.messages)

    def trace(self, *, callproof: str, case: str, gateway: str, version: str, knobs: Mapping[str, Any]) -> Trace:
        """The trace of this world."""
        from harness.trace import Choice

        return Trace(
            callproof=callproof,
            case=case,
            gateway=gateway,
            gateway_version=version,
            stage=self.stage,
            model=self.column.model,
            dialect=self.column.dialect,
            as_of=self.column.as_of.isoformat(),
            seed=self.choices.seed,
            knobs=dict(knobs),
            choices=[
                Choice(point=point, value=made.value, domain=(made.domain.low, made.domain.typical, made.domain.high))
                for point, made in self.choices.made.items()
            ],
            order=list(self.order),
            wire_digest=self.digest,
            failed=self.checks.failed(),
        )

    def result(self, case: str) -> WorldResult:
        """The world as `results.json` lists it, without ladder and story."""
        return WorldResult(
            case=case,
            seed=self.choices.seed,
            wire_digest=self.digest,
            stage=self.stage,
            model=self.column.model,
            dialect=self.column.dialect,
            as_of=self.column.as_of.isoformat(),
            seconds=round(self.seconds, 6),
            messages=len(self.messages),
            error=self.error,
        )

    def report_checks(self, case: str, registry: Registry, world: int) -> list[Check]:
        """The verdicts as `results.json` lists them."""
        return [
            Check(
                requirement=finding.requirement,
                level=Level(registry[finding.requirement].level) if finding.requirement != HARNESS else Level.MUST,
                case=case,
                verdict=finding.verdict,
                model=self.column.model,
                dialect=self.column.dialect,
                as_of=self.column.as_of.isoformat(),
                message=finding.message,
                world=world,
                seq=finding.seq,
            )
            for finding in self.checks.merged()
        ]
