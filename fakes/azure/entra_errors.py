"""What Entra and the metadata service refuse with; the texts are in `entra.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any


@cache
def entra_data() -> dict[str, Any]:
    """The tables of `entra.toml`."""
    return tomllib.loads(Path(__file__).with_name("entra.toml").read_text(encoding="utf-8"))


class EntraError(Exception):
    """A refusal. `name` is a table of `entra.toml` inside `section`: errors, imds or app_service.

    `malformed` says that the request itself breaks the rules, rather than that it asks for what it may not have.
    """

    def __init__(self, name: str, *, section: str = "errors", **fields: Any) -> None:
        table: dict[str, Any] = entra_data()[section][name]
        self.name = name
        self.section = section
        self.status = int(table["status"])
        self.error = str(table.get("error", ""))
        self.code: int | None = table.get("code")
        self.malformed = bool(table.get("malformed"))
        text = str(table["message"]).format(**fields)
        self.message = f"AADSTS{self.code}: {text}" if self.code is not None else text
        super().__init__(self.message)

    @classmethod
    def planned(cls, name: str) -> EntraError:
        """A refusal of the token endpoint that nothing has caused."""
        places = (field for _, field, _, _ in Formatter().parse(entra_data()["errors"][name]["message"]) if field)
        return cls(name, **dict.fromkeys(places, "planned"))
