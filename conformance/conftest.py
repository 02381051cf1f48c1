"""The composition root of the suite: pytest options in, worlds of fakes and a gateway, results out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from conformance.asking import BETA_DAY, ask
from conformance.assembly import registry, run_world
from harness import run
from harness.choices import Drawn, Replayed, Seeded, Source, Typical
from harness.profile import ProfileError
from harness.pytest_plugin import COLLECTED, report_folder
from harness.report.model import Verdict
from harness.requirements import RegistryError
from harness.run import Collected, UsageProblem
from harness.stage import GatewayNotStartable
from harness.suite import CaseDefinition, Column, Outcome


def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption
    try:
        request = ask(
            gateway=option("--gateway"),
            stage=option("--stage"),
            models=option("--model"),
            as_of=option("--as-of"),
            seed=option("--seed"),
            knobs=option("--knob"),
            report=report_folder(config),
            trace=option("--replay-trace"),
            examples=option("--examples"),
        )
        collected = Collected(request, registry())
    except (UsageProblem, RegistryError) as error:
        pytest.exit(f"callproof: {error}", returncode=run.EXIT_USAGE)
    if any(column.as_of == BETA_DAY for column in request.columns) and not option("--as-of"):
        collected.notes.append(
            f"Models that spoke only the beta dialect are tried as of {BETA_DAY}, before OpenAI removed them."
        )
    config.stash[COLLECTED] = collected


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    definition = getattr(metafunc.function, "definition", None)
    if definition is None:
        return
    collected = metafunc.config.stash[COLLECTED]
    columns = [c for c in collected.request.columns if definition.dialect in (None, c.dialect)]
    metafunc.parametrize("column", columns, ids=str, indirect=True)


@pytest.fixture
def column(request: pytest.FixtureRequest) -> Column:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def run_case(request: pytest.FixtureRequest, column: Column) -> Callable[[CaseDefinition], None]:
    """Runs one case in the column at hand and turns its verdicts into a pytest outcome."""
    collected = request.config.stash[COLLECTED]
    return CaseRunner(collected, request.node.nodeid, column)


class CheckFailed(AssertionError):
    """One or more requirements failed; Hypothesis shrinks each set of them for itself."""


class CaseRunner:
    """One pytest test: one world, or as many as Hypothesis wants."""

    def __init__(self, collected: Collected, case: str, column: Column) -> None:
        self.collected = collected
        self.request = collected.request
        self.case = case
        self.column = column

    def __call__(self, definition: CaseDefinition) -> None:
        missing = self._missing(definition)
        if missing:
            self.collected.unsupported(definition, self.case, self.column, missing)
            pytest.skip(f"unsupported: {missing}")
        if definition.examples and self.request.trace is None:
            self._explore(definition)
            return
        outcome = self._world(definition, self._source(), self.request.seed)
        self.collected.add(outcome, self.case)
        self._compare(outcome)
        self._judge(outcome)

    def _missing(self, definition: CaseDefinition) -> str:
        profile = self.request.profile
        claims = [*definition.claims, f"openai.{self.column.dialect}"]
        for claim in claims:
            if claim not in profile.claims.features:
                return f"{profile.name} does not claim {claim}"
        if self.request.stage not in definition.stages:
            return f"runs on the {' and '.join(definition.stages)} stage only"
        return ""

    def _source(self) -> Source:
        if self.request.trace is not None:
            return Replayed(self.request.trace.values())
        return Seeded(self.request.seed) if self.request.source == "seeded" else Typical()

    def _world(self, definition: CaseDefinition, source: Source, world_seed: int) -> Outcome:
        try:
            return run_world(definition, self.request, self.column, source, world_seed)
        except (GatewayNotStartable, ProfileError) as error:
            pytest.exit(f"callproof: {error}", returncode=run.EXIT_NOT_STARTABLE)

    def _explore(self, definition: CaseDefinition) -> None:
        examples = self.request.examples or definition.examples
        if self.request.stage == "live":
            examples = min(examples, 3)
        last: list[Outcome] = []

        @seed(self.request.seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            report_multiple_bugs=False,
        )
        @given(st.data())
        def explore(data: st.DataObject) -> None:
            stopped: list[BaseException] = []

            def draw(low: int, high: int) -> int:
                if stopped:
                    return 0
                try:
                    return data.draw(st.integers(low, high))
                except BaseException as error:  # Hypothesis ends an example by an exception; the loop would eat it
                    stopped.append(error)
                    return 0

            outcome = self._world(definition, Drawn(draw), self.request.seed)
            if stopped:
                raise stopped[0]
            last[:] = [outcome]
            if outcome.error is not None or outcome.checks.worst() is Verdict.FAIL:
                raise CheckFailed(", ".join(outcome.checks.failed()) or outcome.error)

        try:
            explore()
        except CheckFailed:
            pass
        finally:
            for outcome in last:
                self.collected.add(outcome, self.case)
        self._judge(last[0])

    def _compare(self, outcome: Outcome) -> None:
        """A replay says whether it was the same run again."""
        trace = self.request.trace
        if trace is None:
            return
        same = outcome.checks.failed() == trace.failed
        words = [f"verdict: {'the same' if same else 'another'} (then {trace.failed}, now {outcome.checks.failed()})"]
        if outcome.stage == "virtual" and trace.stage == "virtual":
            words.append(f"wire: {'the same' if outcome.digest == trace.wire_digest else 'another'} digest")
        elif outcome.stage == "live":
            kept = [step for step in outcome.order if step in [tuple(s) for s in trace.order]]
            wanted = [tuple(step) for step in trace.order if tuple(step) in kept]
            words.append(f"order of deliveries: {'the same' if kept == wanted else 'another'}")
        self.collected.notes.append(f"Replay of {trace.case}: {'; '.join(words)}")
        print("replay: " + "; ".join(words))  # noqa: T201

    def _judge(self, outcome: Outcome) -> None:
        findings = outcome.checks.merged()
        bad = [f for f in findings if f.verdict in (Verdict.FAIL, Verdict.HARNESS_ERROR)]
        if bad:
            told = "\n".join(f"{f.verdict}: {f.requirement} {f.message}" for f in bad)
            world = self.collected.worlds[-1]
            pytest.fail(f"{told}\nreplay: {world.replay}", pytrace=False)


def pytest_unconfigure() -> None:
    """Nothing of a loop is left behind for a plugin that comes later."""
    asyncio.set_event_loop(None)
