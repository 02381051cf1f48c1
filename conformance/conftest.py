"""The composition root of the suite: pytest options in, worlds of fakes and a gateway, results out."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from conformance.asking import ask
from conformance.assembly import registry, run_world
from conformance.azure import VENDORS
from harness import run
from harness.choices import Drawn, Replayed, Seeded, Source, Typical
from harness.profile import ProfileError
from harness.pytest_plugin import COLLECTED, report_folder, stop
from harness.report.model import Verdict
from harness.requirements import RegistryError
from harness.run import Collected, UsageProblem
from harness.stage import GatewayNotStartable
from harness.suite import CaseDefinition, Column, Outcome

SUITE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Check what was asked for. Not earlier, for what goes wrong here is told in one line."""
    config = session.config
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
            cases=option("--case"),
        )
        config.stash[COLLECTED] = Collected(request, registry())
    except UsageProblem as error:
        stop(config, str(error), run.EXIT_USAGE)
    except RegistryError as error:
        stop(config, str(error), run.EXIT_HARNESS_ERROR)


def pytest_collection_finish() -> None:
    """What was imported need not be looked through by the garbage collector again and again."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    definition = getattr(metafunc.function, "definition", None)
    if definition is None:
        return
    collected = metafunc.config.stash[COLLECTED]
    columns = [c for c in collected.request.columns if definition.dialect in (None, c.dialect)]
    metafunc.parametrize("column", columns, ids=str, indirect=True)


def case_id(item: pytest.Item) -> str:
    """The id of a case, the same wherever pytest is started."""
    return f"{SUITE.name}/{item.path.relative_to(SUITE).as_posix()}::{item.name}"


def is_case(item: pytest.Item) -> bool:
    """Whether this is a case of the suite; a test of somebody else may be in the same session."""
    return getattr(getattr(item, "function", None), "definition", None) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the cases: those of `--case`, or the one of a trace; never those of a dialect that no column has."""
    cases = {case_id(item): item for item in items if is_case(item) and has_column(item)}
    request = config.stash[COLLECTED].request
    try:
        if request.trace is not None:
            chosen = [run.find_case(request.trace.case, list(cases))]
        else:
            chosen = run.select_cases(request.cases, list(cases)) if request.cases else list(cases)
    except UsageProblem as error:
        stop(config, str(error), run.EXIT_USAGE)
    kept = {cases[case] for case in chosen}
    items[:] = [item for item in items if item in kept or not is_case(item)]


def has_column(item: pytest.Item) -> bool:
    """Whether there is a model to run the case with; pytest keeps a placeholder of a case that has none."""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and isinstance(callspec.params.get("column"), Column)


@pytest.fixture
def column(request: pytest.FixtureRequest) -> Column:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def run_case(request: pytest.FixtureRequest, column: Column) -> Callable[[CaseDefinition], None]:
    """Runs one case in the column at hand and turns its verdicts into a pytest outcome."""
    collected = request.config.stash[COLLECTED]
    return CaseRunner(request.config, collected, case_id(request.node), column)


class CheckFailed(AssertionError):
    """One or more requirements failed; Hypothesis shrinks each set of them for itself."""


class CaseRunner:
    """One pytest test: one world, or as many as Hypothesis wants."""

    def __init__(self, config: pytest.Config, collected: Collected, case: str, column: Column) -> None:
        self.config = config
        self.collected = collected
        self.request = collected.request
        self.case = case
        self.column = column

    def __call__(self, definition: CaseDefinition) -> None:
        try:
            self._run(definition)
            return
        except pytest.exit.Exception:
            raise
        except Exception as error:  # our own fault: told as a harness error, never held against the gateway
            told = self.collected.crashed(self.case, self.column, error)
        pytest.fail(f"harness_error: {told}", pytrace=False)

    def _run(self, definition: CaseDefinition) -> None:
        missing = self._missing(definition)
        if missing:
            self.collected.unsupported(definition, self.case, self.column, missing)
            pytest.skip(f"unsupported: {missing}")
        if self.request.stage not in definition.stages:
            self.collected.elsewhere(definition)
            pytest.skip(f"runs on the {' and '.join(definition.stages)} stage only")
        if definition.examples and self.request.trace is None:
            self._explore(definition)
            return
        source = self._source(definition)
        outcome = self._world(definition, source, self.request.seed)
        self.collected.add(outcome, self.case)
        if self.request.trace is not None:
            unknown = source.missing if isinstance(source, Replayed) else []
            self.collected.notes.append(run.compare(outcome, self.request.trace, unknown))
        self._judge(outcome)

    def _missing(self, definition: CaseDefinition) -> str:
        profile = self.request.profile
        family = "azure" if definition.vendor in VENDORS else "openai"
        claims = [*definition.claims, f"{family}.{self.column.dialect}"]
        for claim in claims:
            if claim not in profile.claims.features:
                return f"{profile.name} does not claim {claim}"
        return ""

    def _source(self, definition: CaseDefinition) -> Source:
        if self.request.trace is not None:
            # What the case fixes holds for points as well that the run of the trace never came to.
            return Replayed(self.request.trace.values())
        return Seeded(self.request.seed) if self.request.source == "seeded" else Typical()

    def _world(self, definition: CaseDefinition, source: Source, world_seed: int) -> Outcome:
        try:
            return run_world(definition, self.request, self.column, source, world_seed)
        except (GatewayNotStartable, ProfileError) as error:
            stop(self.config, str(error), run.EXIT_NOT_STARTABLE)

    def _explore(self, definition: CaseDefinition) -> None:
        examples = self.request.examples or definition.examples
        phases = [Phase.generate, Phase.shrink]
        if self.request.stage == "live":
            # In real time a failure is worth telling at once; to shrink it would take minutes.
            examples, phases = min(examples, 3), [Phase.generate]
        last: list[Outcome] = []

        @seed(self.request.seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=phases,
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
