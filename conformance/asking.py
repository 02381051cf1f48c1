"""From what somebody typed to a `RunRequest`: one place for pytest's options and the command line."""

from __future__ import annotations

import datetime as dt
import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from conformance.assembly import catalogue, make_knobs
from fakes.knobs import KnobError
from fakes.openai.catalogue import Model
from harness import run
from harness.profile import Profile, flatten
from harness.run import RunRequest, UsageProblem
from harness.suite import Column
from harness.trace import Trace

GATEWAYS = Path(__file__).parent / "gateways"
DEFAULT_GATEWAY = "reference"
DEFAULT_MODELS = ("gpt-realtime-2", "gpt-4o-realtime-preview")
BETA_DAY = dt.date(2026, 4, 15)
"""The day for models that only speak beta when nobody says otherwise: both dialects were alive."""


def ask(
    *,
    gateway: str | None = None,
    stage: str | None = None,
    models: Sequence[str] = (),
    as_of: str | None = None,
    seed: int | None = None,
    knobs: Sequence[str] = (),
    report: Path | None = None,
    trace: str | None = None,
    examples: int | None = None,
    cases: Sequence[str] = (),
) -> RunRequest:
    """Check all of it. A trace says what nobody else says. Raises `UsageProblem` with what to write instead."""
    read = run.read_trace(trace) if trace else None
    asked = gateway or (read.gateway if read else os.environ.get("CALLPROOF_GATEWAY", DEFAULT_GATEWAY))
    try:
        profile = run.find_gateway(asked, [GATEWAYS])
    except UsageProblem as error:
        if read is None or gateway:
            raise
        raise UsageProblem(f"the trace is of a gateway {asked!r}: {error}; --gateway says which one to take") from None
    stage = stage or (read.stage if read else "virtual")
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
    if stage == "live" and not _told_where_openai_is(profile):
        notes.append(
            "The profile does not map openai.base_url: a gateway that has OpenAI's address built in calls the real one."
        )
    if stage == "live":
        notes.append("On the live stage only what reaches the fakes is seen: calls to other hosts are not (SEC-013).")
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
    )


def _spoken(profile: Profile) -> tuple[str, ...]:
    """The models that are tried when nobody names any: of the dialects that the gateway claims, if it claims one."""
    claimed = [m for m in DEFAULT_MODELS if f"openai.{_dialect(catalogue().models[m])}" in profile.claims.features]
    return tuple(claimed) or DEFAULT_MODELS


def _told_where_openai_is(profile: Profile) -> bool:
    mapped = [name for name, _ in flatten(profile.settings)]
    written = " ".join([*profile.environment.values(), *profile.gateway.command])
    return any(name in mapped or f"{{{name}}}" in written for name in ("openai.base_url", "openai.ws_url"))


def _dialect(model: Model) -> str:
    """Models from before the GA API are spoken to in beta, all others in GA."""
    return "beta" if model.released < catalogue().ga_from else "ga"


def choose_columns(models: Sequence[str], as_of: str | None) -> list[Column]:
    """The models to try, each with its dialect and its day. `all` stands for every realtime model.

    Raises `UsageProblem` for a model that is none, or that could not be had on the day that was asked for.
    """
    return _choose(models, as_of)[0]


def _choose(
    models: Sequence[str], as_of: str | None, defaults: Sequence[str] = DEFAULT_MODELS
) -> tuple[list[Column], list[str]]:
    """The columns, and what a reader has to know about them."""
    day = run.parse_as_of(as_of)
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
        why = _not_to_be_had(model, dialect, day)
        if not why:
            columns.append(Column(name, dialect, day))
        elif as_of is None:
            columns.append(Column(name, dialect, BETA_DAY))
        elif models and not everyone:
            raise UsageProblem(f"{name} cannot be had on {day}: {why}; choose another day with --as-of")
        else:
            notes.append(f"{name} is left out: on {day} it could not be had, {why}.")
    if not columns:
        raise UsageProblem(f"no realtime model could be had on {day}; choose another day with --as-of")
    if as_of is None and any(column.as_of == BETA_DAY for column in columns):
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
