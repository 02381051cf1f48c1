"""From what somebody typed to a `RunRequest`: one place for pytest's options and the command line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from conformance.assembly import catalogue, make_knobs
from fakes.knobs import KnobError
from harness import run
from harness.run import RunRequest, UsageProblem
from harness.suite import Column

GATEWAYS = Path(__file__).parent / "gateways"
DEFAULT_MODELS = ("gpt-realtime-2", "gpt-4o-realtime-preview")
BETA_DAY = dt.date(2026, 4, 15)
"""The day for models that only speak beta when nobody says otherwise: both dialects were alive."""


def ask(
    *,
    gateway: str,
    stage: str = "virtual",
    models: Sequence[str] = (),
    as_of: str | None = None,
    seed: int | None = None,
    knobs: Sequence[str] = (),
    report: Path | None = None,
    trace: str | None = None,
    examples: int | None = None,
) -> RunRequest:
    """Check all of it. Raises `UsageProblem` with what to write instead."""
    read = run.read_trace(trace) if trace else None
    profile = run.find_gateway(gateway, [GATEWAYS])
    if stage == "virtual" and profile.gateway.python is None:
        raise UsageProblem(f"gateway {profile.name} has no `python` entry point: it needs --stage live")
    if stage == "live" and not profile.gateway.command:
        raise UsageProblem(f"gateway {profile.name} has no `command`: it needs --stage virtual")
    if read is not None:
        columns = [Column(read.model, read.dialect, dt.date.fromisoformat(read.as_of))]
        turned = dict(read.knobs)
    else:
        columns = choose_columns(models, as_of)
        turned = run.parse_knobs(knobs)
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
        examples=examples,
    )


def choose_columns(models: Sequence[str], as_of: str | None) -> list[Column]:
    """The models to try, each with its dialect and its day. `all` stands for every realtime model."""
    day = run.parse_as_of(as_of)
    known = catalogue()
    realtime = [model for model in known.models.values() if model.kind == "realtime"]
    names = [model.name for model in realtime] if "all" in models else list(models) or list(DEFAULT_MODELS)
    columns = []
    for name in dict.fromkeys(names):
        model = next((model for model in realtime if model.name == name), None)
        if model is None:
            raise UsageProblem(
                f"no realtime model is called {name!r}; there are: {', '.join(m.name for m in realtime)}"
            )
        # Models from before the GA API are spoken to in beta, all others in GA.
        dialect = "beta" if model.released < known.ga_from else "ga"
        gone = as_of is None and (not model.offered(day) or dialect not in known.era(day).dialects)
        columns.append(Column(name, dialect, BETA_DAY if gone else day))
    return columns
