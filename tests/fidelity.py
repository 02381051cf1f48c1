"""Writes `fakes/FIDELITY.md` from the knobs and from the tests that turn them: `python tests/fidelity.py`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fakes.knobs import Knob, Knobs

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "fakes" / "FIDELITY.md"
_BOUND = re.compile(r"_(low|typical|high)_ms$")
VENDORS = {"openai": "OpenAI", "azure": "Azure OpenAI and Entra ID", "twilio": "Twilio"}
HEAD = """# Fidelity

What the fakes do where public evidence leaves it open. Each of these behaviours is a **knob**: a setting with a
default, so that a gateway can be tried under each reading (`callproof run --knob NAME=VALUE`, `callproof knobs`). What
is not listed here follows the vendors' documentation, specifications and SDKs.

Evidence: S specification or SDK source, D vendor documentation, O observed on the wire by others, I issue or report,
U uncertain.

This page is generated from `fakes/*/knobs.toml` and the tests (`python tests/fidelity.py`); a test fails when it is out
of date, or when nothing turns a knob.
"""


def knobs_of(vendor: str) -> list[Knob]:
    """The knobs of one vendor, in the order of its file."""
    knobs = Knobs.load(ROOT / "fakes" / vendor / "knobs.toml")
    return [knobs.knob(name) for name in knobs]


def values_of(knob: Knob) -> str:
    """What a knob may be, its default first and in bold."""
    shown = f"**{_shown(knob.default)}**"
    if knob.options:
        return ", ".join([shown, *(_shown(option) for option in knob.options if option != knob.default)])
    if isinstance(knob.default, bool):
        return f"{shown}, {_shown(not knob.default)}"
    return f"{shown}, {knob.low} to {knob.high}" if knob.low is not None else shown


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or "(empty)"


@cache
def turned() -> dict[str, list[str]]:
    """Name of a knob -> the tests that turn it: those whose code names it."""
    found: dict[str, list[str]] = {}
    for file in [*sorted((ROOT / "tests").rglob("test_*.py")), *sorted((ROOT / "conformance").glob("test_*.py"))]:
        for test, code in _tests(file):
            words = set(_words(code))
            vendor = next((vendor for vendor in VENDORS if vendor in file.name), "")
            # In the tests of one vendor the helpers put its name before that of the knob.
            words |= {f"{vendor}.{word}" for word in words}
            for name in _names():
                # The three bounds of a delay are turned together, by the name of the delay.
                if name in words or _BOUND.sub("", name) in words:
                    found.setdefault(name, []).append(f"{file.relative_to(ROOT).as_posix()}::{test}")
    return found


@cache
def _names() -> frozenset[str]:
    return frozenset(knob.name for vendor in VENDORS for knob in knobs_of(vendor))


def _words(code: ast.AST) -> Iterator[str]:
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.arg


def _tests(file: Path) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, node


def document() -> str:
    """The whole page."""
    parts = [HEAD]
    for vendor, title in VENDORS.items():
        parts.append(f"\n## {title}\n\n| knob | behaviour | values, default first | evidence | source | test |\n")
        parts.append("|---|---|---|---|---|---|\n")
        for knob in knobs_of(vendor):
            cells = [
                f"`{knob.name}`",
                knob.behaviour,
                values_of(knob),
                knob.evidence,
                knob.source,
                "<br>".join(f"`{test}`" for test in turned().get(knob.name, [])[:2]),
            ]
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
