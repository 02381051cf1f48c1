"""Models, voices and eras, from `catalogue.toml`: what the vendor offered on a given day."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `removed` is the first day on which connecting to it fails; `shutdown` is announced.

    `reasoning`: it thinks, and calls several tools at once. `context_tokens`: what it can take in and give out,
    together. For transcription: `turn_detection`, `prompt`, `logprobs`, `delay` and `keywords` say what it supports;
    `deltas` is `whole` (one with all the text) or `words`; `billed` by `tokens` or `duration`; `speakers`: it tells who
    speaks; `tells_language`: which languages it heard. `deployment`: the name that a customer has given it, if any;
    `shows_deployment`: sessions call it so.
    """

    name: str
    kind: str
    dialects: tuple[str, ...]
    released: date
    removed: date | None = None
    shutdown: date | None = None
    reasoning: bool = False
    context_tokens: int = 32000
    turn_detection: bool = True
    prompt: bool = True
    logprobs: bool = False
    delay: bool = False
    keywords: bool = False
    deltas: str = "words"
    billed: str = "tokens"
    speakers: bool = False
    tells_language: bool = False
    deployment: str = ""
    shows_deployment: bool = True

    @property
    def asked(self) -> str:
        """What clients ask for it by: the name that a customer has deployed it under, or its own."""
        return self.deployment or self.name

    @property
    def shown(self) -> str:
        """What a session calls it: what it is asked for by, or its own name."""
        return self.asked if self.shows_deployment else self.name

    def offered(self, day: date) -> bool:
        """Whether the model can be used on that day."""
        return self.released <= day and not self.is_removed(day)

    def is_removed(self, day: date) -> bool:
        """Whether the model has been taken away by that day."""
        return self.removed is not None and self.removed <= day


@dataclass(frozen=True, slots=True)
class Era:
    """What the vendor did on one day.

    `dialects`: those that a session can be opened in. `beta_disabled`: the beta is answered with its epitaph.
    `session_minutes`: the longest session, by dialect.
    """

    day: date
    dialects: tuple[str, ...]
    beta_disabled: bool
    session_minutes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models that there were, and the eras."""

    models: Mapping[str, Model]
    voices: Mapping[str, tuple[str, ...]]
    beta_from: date
    ga_from: date
    beta_disabled_from: date
    session_minutes: tuple[tuple[date, Mapping[str, int]], ...]

    def era(self, day: date) -> Era:
        """What held on `day`. Before the first day of the API there is no dialect at all."""
        beta_disabled = day >= self.beta_disabled_from
        dialects = []
        if self.beta_from <= day and not beta_disabled:
            dialects.append("beta")
        if day >= self.ga_from:
            dialects.append("ga")
        minutes = self.session_minutes[0][1]
        for since, values in self.session_minutes:
            if since <= day:
                minutes = values
        return Era(day, tuple(dialects), beta_disabled, minutes)

    def offered(self, day: date) -> list[Model]:
        """The models of that day, in the order of the catalogue."""
        return [model for model in self.models.values() if model.offered(day)]


@cache
def catalogue() -> Catalogue:
    """The catalogue, read once."""
    data: dict[str, Any] = tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8"))
    models = {
        name: Model(name=name, **{**table, "dialects": tuple(table["dialects"])})
        for name, table in data["models"].items()
    }
    eras = data["eras"]
    return Catalogue(
        models=models,
        voices={dialect: tuple(names) for dialect, names in data["voices"].items()},
        beta_from=eras["beta_from"],
        ga_from=eras["ga_from"],
        beta_disabled_from=eras["beta_disabled_from"],
        session_minutes=tuple(
            (entry["from"], {dialect: entry[dialect] for dialect in ("beta", "ga")})
            for entry in eras["session_minutes"]
        ),
    )
