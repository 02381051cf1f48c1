"""The composition root of the suite: pytest options in, worlds of fakes and a gateway, results out."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from conformance.asking import ask
from conformance.assembly import registry
from conformance.azure import VENDORS
from conformance.live import configuration, make_station, move_in
from conformance.shards import (
    Done,
    Part,
    ShardFailed,
    Share,
    Sure,
    deal,
    finished,
    hand_over,
    known_seconds,
    mine,
    remember_seconds,
    run_in_parts,
    take_in,
    turns,
)
from conformance.worlds import run_world
from harness import run
from harness.choices import Drawn, Replayed, Seeded, Source, Typical
from harness.gate.baseline import BaselineError
from harness.gates import out_of_order
from harness.live import Station
from harness.live.enclosure import NoEnclosure
from harness.live.process import run_setup
from harness.profile import Profile, ProfileError
from harness.pytest_plugin import COLLECTED, report_folder, stop
from harness.report.model import FAILING, Verdict, case_name
from harness.report.progress import progress_bar
from harness.report.summary import many
from harness.requirements import RegistryError
from harness.run import Collected, RunRequest, UsageProblem
from harness.stage import GatewayNotStartable
from harness.suite import CaseDefinition, Column, Outcome

SUITE = Path(__file__).parent
OPTIONAL = ("call.max_seconds",)
"""Settings that a case has for the gateways that know them; others do without."""
STATION = pytest.StashKey[Station]()
SURE = pytest.StashKey[Sure]()
"""How many cases have failed a requirement twice."""
ENOUGH = 2
"""What so many cases have failed twice is no accident: further cases that fail it are not run again."""
LIVE_EXAMPLES = 3
"""The most worlds of a property in real time."""
ONCE = (
    "Where {} failed, no conversation can come about; after two cases had failed it twice, further ones that did were "
    "not run again."
)

STARTS = "The gateway was started {} times, for {}: what fails is tried again with one that has seen nothing."


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
            baseline=option("--baseline"),
            github=option("--github"),
            intercept=option("--intercept"),
            jobs=option("--jobs"),
        )
        config.stash[COLLECTED] = Collected(request, registry())
        if request.stage == "live" and (request.jobs == (1, 1) or mine() is not None):
            with terminal_as_it_is(config):
                move_in(request)
            config.stash[STATION] = make_station(request, mine())
        elif request.stage == "live":
            asyncio.run(run_setup(request.profile))
    except UsageProblem as error:
        stop(config, str(error), run.EXIT_USAGE)
    except (GatewayNotStartable, NoEnclosure, ProfileError) as error:
        stop(config, str(error), run.EXIT_NOT_STARTABLE)
    except RegistryError as error:
        stop(config, str(error), run.EXIT_HARNESS_ERROR)


@contextmanager
def terminal_as_it_is(config: pytest.Config) -> Iterator[None]:
    """Without pytest's capture: another program may take this one's place."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    capture.suspend_global_capture(in_=True)
    try:
        yield
    finally:
        capture.resume_global_capture()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the gateway that was kept for the next case."""
    station = session.config.stash.get(STATION, None)
    ended = station.close() if station is not None else None
    collected = session.config.stash.get(COLLECTED, None)
    if collected is None:
        return
    if station is not None:
        collected.started += station.started
    if ended is not None and not ended.clean:
        collected.notes.append(f"At the end of the run: {'; '.join(ended.left)}.")
    if (part := mine()) is not None and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        hand_over(part, collected)
    elif collected.started > 1:
        ran = {sharing(item) for item in session.items if is_case(item) and is_run(item, collected.request)}
        collected.notes.append(STARTS.format(collected.started, many(len(ran), "configuration")))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the cases in several processes, where that was asked for. Other tests of the session are not run then."""
    collected = session.config.stash[COLLECTED]
    request = collected.request
    if (part := mine()) is not None:
        return run_part(session, part)
    if request.jobs == (1, 1) or session.config.option.collectonly:
        return None
    cases = {case_id(item): item for item in session.items if is_case(item)}
    known = known_seconds(request.profile.name, request.profile.version)
    # What is not claimed is not run: nobody has to wait for it, and it is nobody's share of the work.
    awaited = {case: sharing(item) for case, item in cases.items() if is_run(item, request)}
    count = request.hands(len(awaited), len(set(awaited.values())))
    hands = deal(list(awaited.items()), known, count) or [[]]
    hands[0][:0] = [case for case in cases if case not in awaited]
    begin = len(collected.worlds)
    try:
        with terminal_as_it_is(session.config), progress_bar(len(awaited)) as advance:
            for told in run_in_parts(request, hands):
                if isinstance(told, Share):
                    take_in(collected, told)
                elif told.case in awaited:
                    advance(f"failed: {case_name(told.case)}" if told.failed else "")
    except ShardFailed as error:
        stop(session.config, str(error), error.status)
    if request.stage == "live":
        remember_seconds(request.profile.name, request.profile.version, collected.worlds[begin:])
    session.testsfailed = len({check.case for check in collected.checks if check.verdict in (*FAILING, *run.BAD)})
    return True


def run_part(session: pytest.Session, part: Part) -> bool:
    """Run what falls to this process. No case shares a fixture with another, so none has to know which comes next."""
    cases = {case_id(item): item for item in session.items if is_case(item)}
    for case in turns(part):
        session.config.hook.pytest_runtest_protocol(item=cases[case], nextitem=None)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and (part := mine()) is not None:
        finished(part, Done(report.nodeid, report.failed))


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
    metafunc.parametrize("column", columns, ids=column_ids(columns), indirect=True)


def column_ids(columns: Sequence[Column]) -> list[str]:
    """The names of columns in the ids of cases: the model, with the day where it is tried on several."""
    models = [column.model for column in columns]
    return [f"{c.model}@{c.as_of}" if models.count(c.model) > 1 else c.model for c in columns]


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
        if request.baseline is not None:
            request.baseline.check_names(registry(), [case_id(item) for item in items if is_case(item)])
    except (UsageProblem, BaselineError) as error:
        stop(config, str(error), run.EXIT_USAGE)
    kept = {cases[case] for case in chosen}
    items[:] = [item for item in items if item in kept or not is_case(item)]
    if request.stage == "live":
        together(items)
    config.stash[COLLECTED].partial = mine() is not None


def together(items: list[pytest.Item]) -> None:
    """Put cases next to each other that can share a gateway."""
    first: dict[object, int] = {}
    for place, item in enumerate(items):
        first.setdefault(sharing(item), place)
    items.sort(key=lambda item: first[sharing(item)])


def sharing(item: pytest.Item) -> object:
    """What cases have in common that can share a gateway."""
    if not is_case(item):
        return item.nodeid
    return configuration(item.function.definition, item.callspec.params["column"])  # type: ignore[attr-defined]


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


def is_bad(outcome: Outcome) -> bool:
    """Whether something failed in a world."""
    return outcome.error is not None or outcome.checks.bad


def lacking(definition: CaseDefinition, profile: Profile, column: Column) -> str:
    """Why a gateway cannot be tried by a case: what it does not claim, or cannot be told. Empty when it can."""
    family = "azure" if definition.vendor in VENDORS else "openai"
    for claim in (*definition.claims, f"{family}.{column.dialect}"):
        if claim not in profile.claims.features:
            return f"{profile.name} does not claim {claim}"
    page = profile.talk.browser
    if page is not None and not page.relay and {"talk.browser", "talk.relay"} <= set(definition.claims):
        return f"nothing on the page of {profile.name} starts the relay (talk.browser.relay)"
    told = [name for name, value in definition.settings.items() if value is not None and name not in OPTIONAL]
    if told and not any(map(profile.maps, told)):
        return f"{profile.name} cannot be told {' or '.join(told)}"
    return ""


def is_run(item: pytest.Item, request: RunRequest) -> bool:
    """Whether a case has a world in a run."""
    definition = item.function.definition  # type: ignore[attr-defined]
    column = item.callspec.params["column"]  # type: ignore[attr-defined]
    return not lacking(definition, request.profile, column) and runs_here(definition, request)


def runs_here(definition: CaseDefinition, request: RunRequest) -> bool:
    """Whether the stage of a run can have the case. A live stage in namespaces is `live`, and `enclosed` as well."""
    enclosed = request.stage == "live" and request.intercept == "namespace"
    return request.stage in definition.stages or (enclosed and "enclosed" in definition.stages)


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
        self.worlds = 0

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
        missing = lacking(definition, self.request.profile, self.column)
        if missing:
            self.collected.unsupported(definition, self.case, self.column, missing)
            pytest.skip(f"unsupported: {missing}")
        if not runs_here(definition, self.request):
            self.collected.elsewhere(definition)
            pytest.skip(f"runs on the {' and '.join(definition.stages)} stage only")
        if definition.examples and self.request.trace is None:
            (self._sample if self.request.stage == "live" else self._explore)(definition)
            return
        source = self._source(definition)
        outcome = self._world(definition, source, self.request.seed)
        if self.request.trace is not None:
            self.collected.add(outcome, self.case)
            unknown = source.missing if isinstance(source, Replayed) else []
            self.collected.notes.append(run.compare(outcome, self.request.trace, unknown))
            self._judge(outcome)
        else:
            self._take(definition, outcome)

    def _take(self, definition: CaseDefinition, outcome: Outcome) -> None:
        """Take in what came of a case. On the live stage a failure has to happen twice to be one."""
        station = self.config.stash.get(STATION, None)
        marked = station is not None and station.marked
        sure = self.config.stash.setdefault(SURE, Sure(mine()))
        again = None
        if self.request.stage == "live" and not self._settled(outcome, sure):
            again = self._again(definition, outcome, ordered=not marked)
            if again is not None and not marked and out_of_order(outcome.order, again.order):
                # What waited for its turn in vain was late by our doing: a failure of that run says nothing.
                again = self._again(definition, outcome, ordered=False)
        if again is not None and marked:
            # The gateway had failed before, and that may be why: what counts is what one does that has seen nothing.
            if not set(again.checks.failed()) <= set(outcome.checks.failed()):
                self._take(definition, again)
                return
            outcome = again
        if again is None or set(outcome.checks.failed()) <= set(again.checks.failed()):
            sure.add(outcome.checks.failed() if again is not None else ())
            self.collected.add(outcome, self.case)
            self._judge(outcome)
            return
        self.collected.add_unstable(outcome, again, self.case)
        came = set(again.checks.failed())
        if self.collected.expects(self.case):
            pytest.xfail("the baseline expects it")
        gone = [requirement for requirement in outcome.checks.failed() if requirement not in came]
        pytest.fail(f"unstable: {', '.join(gone)}: failed once, and not again with the same choices", pytrace=False)

    def _settled(self, outcome: Outcome, sure: Sure) -> bool:
        """Whether it is clear what a case failed: other cases have failed that twice, or something that decides."""
        failed = outcome.checks.failed()
        certain = [requirement for requirement in failed if sure[requirement] >= ENOUGH]
        if len(certain) == len(failed):
            return True
        for requirement in certain:
            if self.collected.registry[requirement].decides:
                if (note := ONCE.format(requirement)) not in self.collected.notes:
                    self.collected.notes.append(note)
                return True
        return False

    def _again(self, definition: CaseDefinition, outcome: Outcome, *, ordered: bool) -> Outcome | None:
        """The same world once more, on a gateway that has seen nothing else; None after a fault of ours.

        `ordered`: with its deliveries in the same order. A gateway that has seen other calls has its own.
        """
        if not is_bad(outcome) or outcome.error is not None or outcome.checks.worst() is Verdict.HARNESS_ERROR:
            return None
        trace = outcome.trace(
            callproof=run.VERSION,
            case=self.case,
            gateway=self.request.profile.name,
            version=self.request.profile.gateway.version,
            knobs=self.request.knobs,
        )
        if not ordered:
            trace.order = []
        request = replace(self.request, trace=trace)
        return self._world(definition, Replayed(trace.values()), self.request.seed, request)

    def _source(self, definition: CaseDefinition) -> Source:
        if self.request.trace is not None:
            # What the case fixes holds for points as well that the run of the trace never came to.
            return Replayed(self.request.trace.values())
        return Seeded(self.request.seed) if self.request.source == "seeded" else Typical()

    def _world(
        self, definition: CaseDefinition, source: Source, world_seed: int, request: RunRequest | None = None
    ) -> Outcome:
        self.worlds += 1
        station = self.config.stash.get(STATION, None)
        if station is not None:
            station.fresh = request is not None
        salt = f"{self.case}#{self.worlds}/" if station is not None else ""
        try:
            return run_world(
                definition, request or self.request, self.column, source, world_seed, station=station, salt=salt
            )
        except (GatewayNotStartable, ProfileError) as error:
            stop(self.config, str(error), run.EXIT_NOT_STARTABLE)

    def _sample(self, definition: CaseDefinition) -> None:
        """Run the usual world and a few by chance, until one fails: in real time there is none of Hypothesis's search,
        which wants a gateway that does the same every time."""
        few = min(self.request.examples or definition.examples, LIVE_EXAMPLES)
        for number in range(few):
            source: Source = Seeded(self.request.seed + number) if number else Typical()
            outcome = self._world(definition, source, self.request.seed)
            if is_bad(outcome):
                break
        self._take(definition, outcome)

    def _explore(self, definition: CaseDefinition) -> None:
        """Have Hypothesis look for a world that fails, and for the simplest one that does."""
        examples = self.request.examples or definition.examples
        last: list[Outcome] = []

        @seed(self.request.seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
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
            if is_bad(outcome):
                raise CheckFailed(", ".join(outcome.checks.failed()) or outcome.error)

        try:
            explore()
        except CheckFailed:
            pass
        except BaseException:
            for outcome in last:
                self.collected.add(outcome, self.case)
            raise
        self._take(definition, last[0])

    def _judge(self, outcome: Outcome) -> None:
        findings = outcome.checks.merged()
        bad = [f for f in findings if f.verdict in (Verdict.FAIL, Verdict.HARNESS_ERROR)]
        if bad and self.collected.expects(self.case):
            pytest.xfail("the baseline expects it")
        if bad:
            told = "\n".join(f"{f.verdict}: {f.requirement} {f.message}" for f in bad)
            world = self.collected.worlds[-1]
            pytest.fail(f"{told}\nreplay: {world.replay}", pytrace=False)


def pytest_unconfigure() -> None:
    """Nothing of a loop is left behind for a plugin that comes later."""
    asyncio.set_event_loop(None)
