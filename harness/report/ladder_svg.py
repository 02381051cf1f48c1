"""The ladder as SVG: lifelines, arrows, times; the offending message highlighted; bodies as tooltips.

Colours come from CSS variables (`--ladder-ink`, `--ladder-http`, ...), so that the page that embeds a ladder themes it;
the fall-backs beside them make a stand-alone file readable.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape

from harness.report.ladder_text import needs, parties_of, titles
from harness.report.model import LadderLine, Shape
from harness.report.words import squeeze

ROW = 27
"""Height of one line, in pixels."""

HEAD = 34
"""Height of the row of parties, in pixels."""

_CHARACTER = 6.62
"""Width of one character of an 11 px monospaced label."""
_LEFT = 62
_SMALLEST, _WIDEST = 120, 330

STYLE = """
.ladder { --i: var(--ladder-ink, #1d2430); --s: var(--ladder-soft, #6b7685); --l: var(--ladder-line, #c5ccd6);
  --b: var(--ladder-paper, #fff); --h: var(--ladder-http, #6d4bc4); --w: var(--ladder-socket, #0f6cbd);
  --m: var(--ladder-mark, #c4243b); --t: var(--ladder-mark-tint, #fdecee); --p: var(--ladder-party, #eef1f5);
  font: 11px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; display: block; }
.ladder text { fill: var(--i); }
.ladder .label { text-anchor: middle; paint-order: stroke; stroke: var(--b); stroke-width: 4px;
  stroke-linejoin: round; }
.ladder .reason { paint-order: stroke; stroke: var(--t); stroke-width: 4px; }
.ladder .time { text-anchor: end; fill: var(--s); }
.ladder .life { stroke: var(--l); stroke-width: 1; }
.ladder .party rect { fill: var(--p); stroke: var(--l); }
.ladder .party text { text-anchor: middle; font-weight: 600; }
.ladder .shaft { fill: none; stroke: var(--w); stroke-width: 1.4; }
.ladder .tip { fill: var(--w); stroke: none; }
.ladder .http .shaft { stroke: var(--h); }
.ladder .http .tip { fill: var(--h); }
.ladder .answer .shaft { stroke-dasharray: 5 3; }
.ladder .many .shaft { stroke-width: 5; opacity: .35; }
.ladder .shut .shaft { stroke-dasharray: 2 3; }
.ladder .gap text { fill: var(--s); font-style: italic; }
.ladder .gap path { stroke: var(--l); stroke-dasharray: 1 4; fill: none; }
.ladder .band { fill: transparent; }
.ladder .row:hover .band { fill: var(--p); }
.ladder .row:hover .label { stroke: var(--p); }
.ladder .invalid .label { fill: var(--m); }
.ladder .mark .band, .ladder .mark:hover .band { fill: var(--t); }
.ladder .mark .label, .ladder .mark:hover .label { stroke: var(--t); font-weight: 700; fill: var(--m); }
.ladder .mark .shaft { stroke: var(--m); stroke-width: 2; }
.ladder .mark .tip, .ladder .mark .reason, .ladder .mark .time, .ladder .pointer { fill: var(--m); }
"""
"""CSS of a ladder; a page that embeds many of them with `head=None` includes it once."""


def render_svg(lines: Sequence[LadderLine]) -> str:
    """The ladder as one self-contained `<svg>` element, as wide as its labels ask for: let its container scroll."""
    head, body, width, height = _parts(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ladder" role="img" aria-label="Ladder diagram" '
        f'width="{width}" height="{HEAD + height}" viewBox="0 0 {width} {HEAD + height}"><style>{STYLE}</style>'
        f'{head}<g transform="translate(0 {HEAD})">{body}</g></svg>'
    )


def render_svg_parts(lines: Sequence[LadderLine]) -> tuple[str, str]:
    """The row of parties and the rest as two `<svg>` elements, without CSS: a page can keep the first in sight."""
    head, body, width, height = _parts(lines)
    return (
        f'<svg class="ladder" aria-hidden="true" width="{width}" height="{HEAD}" viewBox="0 0 {width} {HEAD}">'
        f"{head}</svg>",
        f'<svg class="ladder" role="img" aria-label="Ladder diagram" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{body}</svg>',
    )


def _parts(lines: Sequence[LadderLine]) -> tuple[str, str, int, int]:
    """Heading, body, width and height of the body in pixels."""
    parties = parties_of(lines)
    heads = titles(parties)
    spaces = [min(_WIDEST, max(_SMALLEST, round(need * _CHARACTER) + 34)) for need in needs(lines, parties)]
    half = max((len(head) for head in heads), default=8) * 4 + 12
    columns = [_LEFT + half]
    for space in spaces:
        columns.append(columns[-1] + space)
    width = columns[-1] + half + 8
    place = dict(zip(parties, columns, strict=False))
    head = "".join(
        f'<g class="party"><rect x="{x - half + 4}" y="5" width="{2 * half - 8}" height="23" rx="5"/>'
        f'<text x="{x}" y="20.5">{escape(name)}</text></g>'
        for x, name in zip(columns, heads, strict=False)
    )
    y = 4
    rows = []
    for line in lines:
        row, height = _row(line, place, y, width)
        rows.append(row)
        y += height
    return head, "".join(rows), width, y + 6


def _row(line: LadderLine, place: dict[str, int], y: int, width: int) -> tuple[str, int]:
    """One line as a group of its own, and its height."""
    if line.shape is Shape.GAP:
        centre = sum(place.values()) // len(place) if place else width // 2
        label = f'<text class="label" x="{centre}" y="{y + 17}">{escape(line.label)}</text>'
        return (
            f'<g class="gap">{_lifelines(place, y, ROW)}<path d="M{_LEFT + 8} {y + 13}H{width - 8}"/>{label}</g>',
            ROW,
        )
    start, end = place[line.source], place[line.target]
    reasons = textwrap.wrap(line.mark, max(30, int((width - _LEFT - 40) / _CHARACTER)))[:4] if line.mark else []
    height = ROW + (15 * len(reasons) + 4 if reasons else 0)
    base = y + 20
    low, high = min(start, end), max(start, end)
    parts = [
        f'<g class="{_classes(line)}"><title>{escape(_tooltip(line), quote=False)}</title>',
        f'<rect class="band" x="2" y="{y}" width="{width - 4}" height="{height}" rx="4"/>',
        _lifelines(place, y, height),
        f'<text class="time" x="{_LEFT - 8}" y="{base}">{line.at:.3f}</text>',
    ]
    if start == end:
        parts.append(f'<path class="shaft" d="M{start} {base - 8}h18v8h-12"/>')
        label, middle = line.label, start + 30 + len(line.label) * _CHARACTER / 2
    else:
        side = 1 if end > start else -1
        tip = end - side * 2
        parts.append(f'<path class="shaft" d="M{start} {base}H{tip - side * 6}"/>')
        parts.append(f'<path class="tip" d="M{tip} {base}l{-side * 8} -4v8z"/>')
        label = squeeze(line.label, max(4, int((high - low - 14) / _CHARACTER)))
        middle = (low + high) / 2
    parts.append(f'<text class="label" x="{middle:g}" y="{base - (8 if line.count > 1 else 6)}">{escape(label)}</text>')
    if reasons:
        parts.append(f'<path class="pointer" d="M10 {base - 9}l7 5l-7 5z"/>')
        parts += [
            f'<text class="reason" x="{_LEFT + 8}" y="{base + 17 + 15 * number}">{escape(text)}</text>'
            for number, text in enumerate(reasons)
        ]
    return "".join(parts) + "</g>", height


def _lifelines(place: dict[str, int], y: int, height: int) -> str:
    return f'<path class="life" d="{"".join(f"M{x} {y}v{height}" for x in place.values())}"/>'


def _classes(line: LadderLine) -> str:
    names = ["row"]
    if line.shape in (Shape.REQUEST, Shape.RESPONSE, Shape.UPGRADE):
        names.append("http")
    if line.shape is Shape.RESPONSE:
        names.append("answer")
    if line.shape is Shape.CLOSE:
        names.append("shut")
    if line.count > 1:
        names.append("many")
    if line.invalid:
        names.append("invalid")
    if line.mark is not None:
        names.append("mark")
    return " ".join(names)


def _tooltip(line: LadderLine) -> str:
    until = f" to {line.until:.3f}" if line.until is not None else ""
    first = f"#{line.seq}  {line.at:.3f}{until} s  {line.source} → {line.target}"
    texts = [f"{first}  [{line.connection}]" if line.connection else first, line.label, line.detail]
    if line.invalid:
        texts.append(f"Breaks the schema: {line.invalid}")
    return "\n".join(text for text in texts if text)
