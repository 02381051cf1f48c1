"""Pieces that the pages of a report are made of: words, links, symbols, stories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from harness.report.exhibits import Exhibit
from harness.report.model import OFFENCE, Verdict
from harness.report.words import vocabulary

_HERE = Path(__file__).parent

ORDER = (Verdict.HARNESS_ERROR, Verdict.FAIL, Verdict.UNSTABLE, Verdict.WARN, Verdict.PASS, Verdict.UNSUPPORTED)
SYMBOLS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✕",
    Verdict.WARN: "!",
    Verdict.UNSTABLE: "≈",
    Verdict.UNSUPPORTED: "–",
    Verdict.HARNESS_ERROR: "?",
}


def template(name: str, **filters: Callable[..., object]) -> Template:
    """A page's template, with the filters that all of them have, and its own."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared = {"prose": prose, "link": link, "breakable": breakable, "words": words, "area": vocabulary().area}
    environment.filters |= {**shared, **filters}
    return environment.get_template(name)


def words(verdict: Verdict | None) -> str:
    return "not checked" if verdict is None else str(verdict).replace("_", " ")


def prose(text: str) -> Markup:
    """Free text with `code` in backticks."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def breakable(text: str) -> Markup:
    """A long name that may be broken after its punctuation."""
    safe = str(escape(text))
    for mark in ("-", "_", "/", "."):
        safe = safe.replace(mark, f"{mark}<wbr>")
    return Markup(safe)


def link(url: str) -> Markup:
    """A source: a link when it is one, shown without what every link begins with."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return breakable(url)
    shown = (parts.netloc.removeprefix("www.") + parts.path).rstrip("/") + (
        f"#{parts.fragment}" if parts.fragment else ""
    )
    return Markup('<a href="{}" rel="noreferrer">{}</a>').format(url, breakable(shown))


def created(moment: str) -> str:
    try:
        return f"{datetime.fromisoformat(moment):%d %B %Y, %H:%M}".lstrip("0")
    except ValueError:
        return moment


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return msgspec.json.encode(value).decode().replace("<", "\\u003c")


def story(exhibit: Exhibit, again: bool = False) -> list[tuple[str, str, str | None, bool]]:
    """Each sentence as its time, its words, the reason when it is marked, and whether this exhibit is about that mark.

    One world may break several requirements; each is shown with its own message in the foreground. `again`: the story
    of the world in which the case was run again.
    """
    told = []
    world = exhibit.again if again else exhibit.world
    here = f"{exhibit.offending.at:.3f}" if exhibit.offending and not again else None
    for line in world.story if world else ():
        time, seconds, sentence = line.partition(" s  ")
        if not seconds:
            time, sentence = "", line.strip()
        words, offence, reason = sentence.partition(OFFENCE)
        mine = bool(offence) and (reason == exhibit.check.message or time.strip() == here)
        told.append((time.strip(), words, reason if offence else None, mine))
    return told
