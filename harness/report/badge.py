"""A badge: how a gateway does in two words, as an SVG of its own drawing."""

from __future__ import annotations

from html import escape

from harness.report.matrix import Row
from harness.report.model import FAILING, Verdict

_WIDE = frozenset("mwMWGOQ@%")
_NARROW = frozenset("ijlftrI.,:;|'!()[] 1-")
_COLOURS = {"good": "#1a7f4b", "fair": "#8a5a00", "bad": "#c2263f", "odd": "#7a2fb0"}
"""Grounds on which white text has a contrast above 4.5."""


def badge(row: Row, label: str = "callproof") -> str:
    """The badge of one version of a gateway."""
    return draw(label, *told(row))


def told(row: Row) -> tuple[str, str]:
    """What the badge says, and the colour that it says it in."""
    counts = row.counts()
    judged = sum(counts[verdict] for verdict in (Verdict.PASS, Verdict.WARN, *FAILING))
    failing = sum(counts[verdict] for verdict in FAILING)
    if not judged:
        return "not judged", "odd"
    text = f"{judged - failing}/{judged}"
    if counts[Verdict.HARNESS_ERROR]:
        return f"{text} · harness error", "odd"
    return text, "bad" if failing else "fair" if counts[Verdict.WARN] else "good"


def draw(label: str, value: str, colour: str) -> str:
    """Two fields side by side, flat, 20 px high. `colour`: good, fair, bad or odd."""
    left, right = _width(label) + 16, _width(value) + 16
    name = escape(f"{label}: {value}")
    fields = (
        f'<path fill="#39424e" d="M{left} 0H4a4 4 0 0 0-4 4v12a4 4 0 0 0 4 4h{left - 4}z"/>'
        f'<path fill="{_COLOURS[colour]}" d="M{left} 0h{right - 4}a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H{left}z"/>'
    )
    texts = "".join(
        f'<text x="{x:g}" y="14" textLength="{width - 16}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        for x, width, text in ((left / 2, left, label), (left + right / 2, right, value))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{name}">'
        f"<title>{name}</title>{fields}"
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">'
        f"{texts}</g></svg>\n"
    )


def _width(text: str) -> int:
    """About how wide a text is in Verdana at 11 px; `textLength` makes it exactly that."""
    return round(sum(9.6 if c in _WIDE else 4.6 if c in _NARROW else 7.0 for c in text))
