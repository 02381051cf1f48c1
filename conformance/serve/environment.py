"""What a gateway has to be told to use the fakes: variables for its environment, as `environment.toml` lists them."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ENVIRONMENT = Path(__file__).with_name("environment.toml")
VENDORS = ("openai", "azure")
GATEWAYS = ("any", "reference")
DEFAULT_URL = "http://127.0.0.1:8080"
"""Where a gateway is supposed to listen until somebody says where."""


@cache
def _table() -> list[dict[str, str]]:
    variables: list[dict[str, str]] = tomllib.loads(ENVIRONMENT.read_text(encoding="utf-8"))["variable"]
    return variables


def variables(ready: Mapping[str, str], webhook: str, vendor: str, gateway: str) -> dict[str, str]:
    """The variables for a gateway whose voice webhook is `webhook` (or empty) and whose model is the vendor's."""
    parts = urlsplit(webhook or DEFAULT_URL)
    values: dict[str, Any] = {**ready, "public_url": f"{parts.scheme}://{parts.netloc}", "host": parts.hostname}
    values["port"] = parts.port or (443 if parts.scheme == "https" else 80)
    return {
        variable["name"]: re.sub(r"\{([\w.]+)\}", lambda match: str(values[match[1]]), variable["value"])
        for variable in _table()
        if variable.get("vendor", vendor) == vendor and variable.get("gateway", gateway) == gateway
    }


def exports(told: Mapping[str, str]) -> str:
    """Lines for a shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.items())
