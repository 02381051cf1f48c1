"""From what somebody typed to a `RunRequest`: one place for pytest's options and the command line."""

from __future__ import annotations

import datetime as dt
import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from conformance.assembly import catalogue, make_knobs
from conformance.probing import overlooked
from fakes.knobs import KnobError
from fakes.openai.catalogue import Model
from harness import run
from harness.gate.baseline import Baseline, BaselineError, load_baseline
from harness.live.network import MODES, Mode
from harness.profile import Profile
from harness.run import RunRequest, UsageProblem
from harness.suite import Column
from harness.trace import Trace

GATEWAYS = Path(__file__).parent / "gateways"
OWN_GATEWAYS = "callproof"
"""The folder of a project in which `new-gateway` puts profiles."""
DEFAULT_GATEWAY = "reference"
DEFAULT_MODELS = ("gpt-realtime-2", "gpt-4o-realtime-preview")
BETA_DAY = dt.date(2026, 4, 15)
"""The day for models that only speak beta when nobody says otherwise: both dialects were alive."""


def gateway_folders() -> list[Path]:
    """Where profiles are found by their names: those of the project at hand, and those that come with callproof."""
    return [GATEWAYS, Path.cwd() / OWN_GATEWAYS]


def ask(
    *,
    gateway: str | None = None,
    stage: str | None = None,
    models: Sequence[str] = (),
    as_of: str | Sequence[str] | None = None,
    seed: int | None = None,
    knobs: Sequence[str] = (),
    report: Path | None = None,
    trace: str | None = None,
    examples: int | None = None,
    cases: Sequence[str] = (),
    intercept: str | None = None,
    jobs: int | None = None,
    baseline: str | None = None,
    github: bool = False,
) -> RunRequest:
    """Check all of it. A trace says what nobody else says. Raises `UsageProblem` with what to write instead."""
    read = run.read_trace(trace) if trace else None
    asked = gateway or (read.gateway if read else os.environ.get("CALLPROOF_GATEWAY", DEFAULT_GATEWAY))
    try:
        profile = run.find_gateway(asked, gateway_folders())
    except UsageProblem as error:
        if read is None or gateway:
            raise
        raise UsageProblem(f"the trace is of a gateway {asked!r}: {error}; --gateway says which one to take") from None
    if stage is None:
        stage = read.stage if read else "virtual" if profile.gateway.python is not None else "live"
    if stage == "virtual" and profile.gateway.python is None:
        raise UsageProblem(f"gateway {profile.name} has no `python` entry point: it needs --stage live")
    if stage == "live" and not profile.gateway.command:
        raise UsageProblem(f"gateway {profile.name} has no `command`: it needs --stage virtual")
    if examples is not None and examples < 1:
        raise UsageProblem(f"--examples wants a number from 1 on, not {examples}")
    if report is not None:
        _check_folder(report)
    if read is not None:
        columns, notes = [_column_of(read)], _other_version(read, profile.gateway.version)
        turned = dict(read.knobs)
    else:
        columns, notes = _choose(models, as_of, _spoken(profile))
        turned = run.parse_knobs(knobs)
    mode: Mode = "settings"
    if stage == "live":
        mode = _mode(intercept) or profile.intercept
        notes += _seen(profile, mode)
    elif intercept is not None:
        raise UsageProblem("--intercept is for --stage live: on the virtual stage every name leads to the fakes anyway")
    notes += [f"It {said}." for said, _ in overlooked(profile)]
    try:
        make_knobs(turned)
    except KnobError as error:
        raise UsageProblem(str(error)) from None
    return RunRequest(
        profile=profile,
        stage=stage,
        columns=columns,
        seed=read.seed if read is not None else seed or 0,
        source="replayed" if read is not None else "typical" if seed is None else "seeded",
        knobs=turned,
        report=report,
        trace=read,
        trace_file=Path(trace) if trace else None,
        examples=examples,
        gateway=asked,
        cases=cases,
        notes=notes,
        intercept=mode,
        jobs=_jobs(jobs, mode) if read is None else (1, 1),
        baseline=_read_baseline(baseline),
        github=github,
    )


def _read_baseline(file: str | None) -> Baseline | None:
    """The expected failures, on requirements that there are. Their cases are checked when these are known."""
    if not file:
        return None
    try:
        return load_baseline(Path(file))
    except BaselineError as error:
        raise UsageProblem(str(error)) from None


def _spoken(profile: Profile) -> tuple[str, ...]:
    """The models that are tried when nobody names any: of the dialects that the gateway claims, if it claims one."""
    claimed = [m for m in DEFAULT_MODELS if f"openai.{_dialect(catalogue().models[m])}" in profile.claims.features]
    return tuple(claimed) or DEFAULT_MODELS


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _jobs(asked: int | None, mode: Mode) -> tuple[int, int]:
    """As asked. By default one; in namespaces, where a gateway has all ports to itself, three for each processor.

    Live cases mostly wait. Up to five where there are as many configurations: no gateway has to be started for them
    that would not be started anyhow.
    """
    if asked is not None and asked < 1:
        raise UsageProblem(f"--jobs wants a number from 1 on, not {asked}")
    if asked is not None or mode != "namespace":
        return (asked or 1, asked or 1)
    return (3 * processors(), 5 * processors())


def _mode(text: str | None) -> Mode | None:
    for mode in MODES:
        if text == mode:
            return mode
    if text is None:
        return None
    raise UsageProblem(f"--intercept: one of {', '.join(MODES)}, not {text!r}")


def _seen(profile: Profile, mode: Mode) -> list[str]:
    """What a reader has to know of how the gateway was led to the fakes."""
    if mode == "namespace":
        return ["The gateway ran in a namespace of its own, where the vendors' names lead to the fakes."]
    if mode == "proxy":
        return ["The gateway was led to the fakes by a proxy: what does not go through it is not seen (SEC-013)."]
    notes = ["On the live stage only what reaches the fakes is seen: calls to other hosts are not (SEC-013)."]
    if missing := profile.untold():
        notes.insert(
            0,
            f"The profile does not map where {' and '.join(missing)} can be found: a gateway that has the address "
            f"built in calls the real one. --intercept namespace leads it to the fakes.",
        )
    return notes


def _dialect(model: Model) -> str:
    """Models from before the GA API are spoken to in beta, all others in GA."""
    return "beta" if model.released < catalogue().ga_from else "ga"


def choose_columns(models: Sequence[str], as_of: str | Sequence[str] | None) -> list[Column]:
    """The models to try, each with its dialect, on each of the days. `all` stands for every realtime model.

    Raises `UsageProblem` for a model that is none, or that could be had on none of the days that were asked for.
    """
    return _choose(models, as_of)[0]


def _choose(
    models: Sequence[str], as_of: str | Sequence[str] | None, defaults: Sequence[str] = DEFAULT_MODELS
) -> tuple[list[Column], list[str]]:
    """The columns, and what a reader has to know about them."""
    asked = [as_of] if isinstance(as_of, str) else list(as_of or ())
    days = list(dict.fromkeys(map(run.parse_as_of, asked))) or [run.parse_as_of(None)]
    realtime = {model.name: model for model in catalogue().models.values() if model.kind == "realtime"}
    everyone = "all" in models
    columns: list[Column] = []
    notes: list[str] = []
    for name in dict.fromkeys(realtime if everyone else models or defaults):
        if name not in realtime:
            near = difflib.get_close_matches(name, realtime, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(realtime)}"
            raise UsageProblem(f"no realtime model is called {name!r}; {hint}")
        model = realtime[name]
        dialect = _dialect(model)
        reasons = {day: why for day in days if (why := _not_to_be_had(model, dialect, day))}
        columns += [Column(name, dialect, day) for day in days if day not in reasons]
        if not asked:
            columns += [Column(name, dialect, BETA_DAY) for _ in reasons]
        elif len(reasons) == len(days) and models and not everyone:
            told = "; ".join(f"cannot be had on {day}: {why}" for day, why in reasons.items())
            raise UsageProblem(f"{name} {told}; choose another day with --as-of")
        else:
            notes += [f"{name} is left out: on {day} it could not be had, {why}." for day, why in reasons.items()]
    if not columns:
        told = " or ".join(str(day) for day in days)
        raise UsageProblem(f"no realtime model could be had on {told}; choose another day with --as-of")
    if not asked and any(column.as_of == BETA_DAY for column in columns):
        notes.append(f"Models that spoke only the beta dialect are tried as of {BETA_DAY}, before OpenAI removed them.")
    return columns, notes


def _not_to_be_had(model: Model, dialect: str, day: dt.date) -> str:
    """Why nobody could open a session on that day; empty when one could."""
    if model.released > day:
        return f"it was released on {model.released}"
    if model.is_removed(day):
        return f"OpenAI removed it on {model.removed}"
    if dialect not in catalogue().era(day).dialects:
        return f"the {dialect} dialect was not spoken then"
    return ""


def _column_of(trace: Trace) -> Column:
    try:
        day = dt.date.fromisoformat(trace.as_of)
    except ValueError:
        raise UsageProblem(f"the trace is not valid: as_of is no date: {trace.as_of!r}") from None
    if trace.model not in catalogue().models:
        raise UsageProblem(f"the trace is of model {trace.model!r}, which this callproof does not know")
    if trace.stage not in ("virtual", "live"):
        raise UsageProblem(f"the trace is not valid: no stage is called {trace.stage!r}")
    return Column(trace.model, trace.dialect, day)


def _other_version(trace: Trace, version: str) -> list[str]:
    if trace.gateway_version == version:
        return []
    return [f"The trace is of version {trace.gateway_version or 'unknown'} of the gateway; this is {version}."]


def _check_folder(folder: Path) -> None:
    """A report that cannot be written is better known before the run than after it."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UsageProblem(f"--report wants a folder: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageProblem(f"--report: {existing} cannot be written to")
