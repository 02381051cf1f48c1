"""The requirement registry: the rules of the suite, as data, with their level, source, era and claim."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from harness.profile import CLAIMS

Level = Literal["MUST", "SHOULD", "MAY"]


class RegistryError(ValueError):
    """A requirement file that is wrong, or a check on a requirement that does not exist."""


class UnknownRequirement(RegistryError, KeyError):
    """A requirement id that is not in the registry."""

    def __str__(self) -> str:
        return str(self.args[0])


class Requirement(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One rule. `check` says how it is seen on the wire; `excluded` says why it is not tested: one of the two.

    `since`, `until`: ISO dates between which the rule holds. `dialect`: the only dialect that it is about. `touches`:
    the events of the OpenAI protocol that it rests on, by their newest names; with a field behind a colon where it is
    the field that matters; `client` or `server` for every event of a direction. `decides`: where it is failed no
    conversation comes about, so that what else fails in the same case may be nothing but a consequence.
    """

    id: str
    area: str
    level: Level
    rule: str
    why: str
    source: str
    evidence: str
    era: str = "always"
    since: str | None = None
    until: str | None = None
    dialect: str | None = None
    claim: str = ""
    touches: tuple[str, ...] = ()
    decides: bool = False
    check: str | None = None
    excluded: str | None = None


class Registry(Mapping[str, Requirement]):
    """All requirements by id."""

    def __init__(self, requirements: Mapping[str, Requirement]) -> None:
        self._requirements = dict(requirements)

    @classmethod
    def load(cls, folder: Path) -> Registry:
        """Read every `*.toml` of `folder`; the file's name is the area. Raises `RegistryError`."""
        found: dict[str, Requirement] = {}
        for file in sorted(folder.glob("*.toml")):
            try:
                tables = tomllib.loads(file.read_text(encoding="utf-8"))
            except tomllib.TOMLDecodeError as error:
                raise RegistryError(f"{file} is not valid TOML: {error}") from None
            for name, table in tables.items():
                if not isinstance(table, dict):
                    raise RegistryError(f"{file}: {name} stands outside of a requirement's table")
                try:
                    requirement = msgspec.convert({"id": name, "area": file.stem, **table}, Requirement)
                except msgspec.ValidationError as error:
                    raise RegistryError(f"{file}: [{name}]: {error}") from None
                if (requirement.check is None) == (requirement.excluded is None):
                    raise RegistryError(f"{file}: [{name}]: give either `check` or `excluded`")
                if requirement.claim and requirement.claim not in CLAIMS:
                    near = difflib.get_close_matches(requirement.claim, CLAIMS, 1)
                    raise RegistryError(
                        f"{file}: [{name}]: no claim is called {requirement.claim!r}"
                        + (f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(CLAIMS)}")
                    )
                if name in found:
                    raise RegistryError(f"{file}: [{name}] is in {found[name].area}.toml already")
                found[name] = requirement
        return cls(found)

    def __getitem__(self, name: str) -> Requirement:
        try:
            return self._requirements[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._requirements, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UnknownRequirement(f"no requirement is called {name!r}{hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._requirements)

    def __len__(self) -> int:
        return len(self._requirements)
