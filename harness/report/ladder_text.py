"""The ladder as text: one column a party, time on the left, the offending message pointed at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rich.text import Text

from harness.report.model import LadderLine, Shape
from harness.report.words import squeeze, vocabulary

_TIME = 10
_NARROWEST = 14
_DASHES = {Shape.RESPONSE: "╌", Shape.UPGRADE: "═"}


@dataclass(slots=True)
class _Row:
    """A line of text, and which part of it has which style."""

    text: str
    styles: list[tuple[str, int, int]] = field(default_factory=list)


def render_text(lines: Sequence[LadderLine], width: int = 100) -> str:
    """The ladder as plain text of at most `width` columns (fewer than 60 are of little use), no newline at the end."""
    return "\n".join(row.text.rstrip() for row in _rows(lines, width))


def styled_text(lines: Sequence[LadderLine], width: int = 100) -> Text:
    """The same for a terminal: lifelines dim, the offending message red."""
    whole = Text(no_wrap=True)
    for row in _rows(lines, width):
        part = Text(row.text.rstrip() + "\n")
        for style, start, end in row.styles:
            part.stylize(style, start, end)
        whole.append_text(part)
    whole.right_crop(1)
    return whole


def titles(parties: Sequence[str]) -> list[str]:
    """Parties as headings of columns: `Twilio`, `Gateway`."""
    names = [vocabulary().name(party).removeprefix("the ") for party in parties]
    return [name[:1].upper() + name[1:] for name in names]


def parties_of(lines: Sequence[LadderLine]) -> list[str]:
    """The parties that have a part in these lines, from left to right."""
    return vocabulary().order({party for line in lines for party in (line.source, line.target) if party})


def needs(lines: Sequence[LadderLine], parties: Sequence[str]) -> list[int]:
    """For each space between two neighbours, the length of the longest label that has to fit."""
    place = {party: index for index, party in enumerate(parties)}
    longest = [0] * max(0, len(parties) - 1)
    for line in lines:
        if line.shape is Shape.GAP:
            continue
        left, right = sorted((place[line.source], place[line.target]))
        for space in range(left, right):
            longest[space] = max(longest[space], len(line.label) // (right - left))
    return longest


def _rows(lines: Sequence[LadderLine], width: int) -> list[_Row]:
    parties = parties_of(lines)
    if not parties:
        return [_Row("(nothing crossed the wire)")]
    heads = titles(parties)
    columns = _columns(lines, parties, heads, width)
    place = dict(zip(parties, columns, strict=True))
    blank = [" "] * (columns[-1] + len(heads[-1]) // 2 + 2)
    for column in columns:
        blank[column] = "│"
    rows = [_heading(heads, columns)]
    for line in lines:
        if line.shape is Shape.GAP:
            text = "".join(blank)
            note = f"⋮  {line.label}  ⋮"
            start = columns[0] + 3
            text = f"{text[:start]}{note}{text[start + len(note) :]}"
            rows.append(_Row(text, [("dim", 0, len(text))]))
            continue
        rows.append(_arrow(line, blank, place))
        reason = line.mark or (f"breaks the schema: {line.invalid}" if line.invalid else None)
        if reason:
            style = "bold red" if line.mark else "yellow"
            indent = " " * _TIME
            notes = textwrap.wrap(reason, max(20, width - _TIME - 5)) or [""]
            for number, note in enumerate(notes):
                text = f"{indent}{'╰─ ' if number == 0 else '   '}{note}"
                rows.append(_Row(text, [(style, _TIME, len(text))]))
    return rows


def _columns(lines: Sequence[LadderLine], parties: list[str], heads: list[str], width: int) -> list[int]:
    """Where the lifelines stand. Spaces are as wide as their labels ask for, and shrink when the page is narrower."""
    spaces = [max(_NARROWEST, need + 8) for need in needs(lines, parties)]
    # Two heads side by side need room too: half of each and a blank.
    least = [max(_NARROWEST, (len(a) + len(b)) // 2 + 3) for a, b in pairwise(heads)]
    room = width - _TIME - len(heads[0]) // 2 - len(heads[-1]) // 2 - 2
    while sum(spaces) > room:
        widest = max(range(len(spaces)), key=lambda index: spaces[index] - least[index])
        if spaces[widest] <= least[widest]:
            break
        spaces[widest] -= 1
    columns = [_TIME + 1 + len(heads[0]) // 2]
    for space in spaces:
        columns.append(columns[-1] + space)
    return columns


def _heading(heads: list[str], columns: list[int]) -> _Row:
    text = " " * (_TIME - 4) + "s"
    for head, column in zip(heads, columns, strict=True):
        text = text.ljust(column - len(head) // 2) + head
    return _Row(text, [("bold", 0, len(text))])


def _arrow(line: LadderLine, blank: list[str], place: dict[str, int]) -> _Row:
    cells = blank.copy()
    time = f"{'✗' if line.mark else ' '}{line.at:{_TIME - 3}.3f}  "
    cells[: len(time)] = time
    start, end = place[line.source], place[line.target]
    if start == end:
        text = f"⟲ {line.label}"
        cells[start + 2 :] = text
        low, high = start + 2, start + 2 + len(text)
    else:
        low, high = min(start, end) + 1, max(start, end)
        room = high - low
        dash = _DASHES.get(line.shape, "─")
        label = squeeze(line.label, max(1, room - 4))
        shaft = f" {label} ".center(room, dash)
        shaft = f"{dash}{shaft[1:-1]}▶" if end > start else f"◀{shaft[1:-1]}{dash}"
        cells[low:high] = shaft
    text = "".join(cells)
    styles = [("dim", 0, len(text)), ("not dim", low, high), ("not dim cyan", 0, _TIME)]
    if line.mark:
        styles += [("not dim bold red", low, high), ("not dim bold red", 0, _TIME)]
    return _Row(text, styles)
