"""Ladders and stories: who sent what to whom and when, condensed until a reader can follow it.

A call with audio has thousands of messages. Between two messages that matter, all media frames of one direction become
one line, so that half a minute of conversation fits on a page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from harness.report.ladder_svg import render_svg
from harness.report.ladder_text import render_text, styled_text
from harness.report.model import OFFENCE, LadderLine, Shape
from harness.report.words import excerpt, printable, vocabulary
from harness.wire import Message

__all__ = ["around", "focus", "ladder_lines", "render_svg", "render_text", "story", "styled_text"]

_SHAPES = {
    "request": Shape.REQUEST,
    "response": Shape.RESPONSE,
    "upgrade": Shape.UPGRADE,
    "upgrade.accepted": Shape.RESPONSE,
    "upgrade.refused": Shape.RESPONSE,
    "failure": Shape.RESPONSE,
    "close": Shape.CLOSE,
}


@dataclass(slots=True)
class _Span:
    """A message, or a run of like messages."""

    first: Message
    until: float
    count: int = 1


def ladder_lines(
    messages: Sequence[Message], offending: Collection[int] = (), *, keep: int = 160, detail: int = 600
) -> list[LadderLine]:
    """Condense a wire to at most about `keep` lines.

    `offending`: numbers of the messages to mark; as a mapping, its values are the reasons. These, and messages that
    break a schema, always have a line of their own. When there are more than `keep` lines, the ones far from any marked
    line, from the beginning and from the end give way to gaps. `detail`: how many characters of a body to keep.
    """
    words = vocabulary()
    lines = []
    for span in _condense(messages, offending):
        message, count = span.first, span.count
        label = words.label(message, words.rule(message))
        if count > 1:
            lasted = f" ({span.until - message.at:.1f} s)" if span.until - message.at >= 0.05 else ""
            label = f"{label} × {count:,}{lasted}"
        lines.append(
            LadderLine(
                at=round(message.at, 6),
                until=round(span.until, 6) if count > 1 else None,
                source=message.source,
                target=message.target,
                label=label,
                seq=message.seq,
                shape=_SHAPES.get(message.kind, Shape.MESSAGE),
                count=count,
                connection=message.connection,
                detail=excerpt(message, detail),
                mark=_reason(message, offending) if message.seq in offending else None,
                invalid=None if message.invalid is None else printable(message.invalid),
            )
        )
    return thin(lines, keep)


def story(messages: Sequence[Message], offending: Collection[int] = (), *, limit: int = 80) -> list[str]:
    """The interleaving in words, one sentence a line: `0.412 s  Twilio posts the status callback ...`.

    `offending` as for `ladder_lines`. Good answers and events that only repeat what others say are left out. Above
    `limit` sentences the middle is left out, but never a marked one.
    """
    words = vocabulary()
    told: list[tuple[bool, str]] = []
    for span in _condense(messages, offending):
        message = span.first
        marked = message.seq in offending or message.invalid is not None
        rule = words.rule(message)
        if not marked and (rule.quiet or _is_good_answer(message)):
            continue
        sentence = words.sentence(message, rule, span.count)
        if span.count > 1 and span.until > message.at:
            sentence += f", over {span.until - message.at:.1f} s"
        reason = f"{OFFENCE}{_reason(message, offending)}" if marked else ""
        told.append((marked, f"{message.at:.3f} s  {sentence}{reason}"))
    if len(told) <= limit:
        return [line for _, line in told]
    shown = {place for place, (marked, _) in enumerate(told) if marked}
    shown = _nearest(shown, len(told), limit)
    lines: list[str] = []
    for start, end in _runs(shown, len(told)):
        if start < end:
            lines.append(f"        … {end - start} more …")
        lines.extend(line for _, line in told[end : end + 1])
    return lines


def around(lines: Sequence[LadderLine], *, before: int = 6, after: int = 3) -> list[LadderLine]:
    """The part of a ladder that shows its marked lines with some context; its last lines when none is marked."""
    marked = [place for place, line in enumerate(lines) if line.mark is not None]
    if not marked:
        shown = set(range(max(0, len(lines) - before - after - 1), len(lines)))
    else:
        shown = {near for place in marked for near in range(max(0, place - before), min(len(lines), place + after + 1))}
    return _cut(lines, shown)


def focus(lines: Iterable[LadderLine], seq: int | None, reason: str) -> list[LadderLine]:
    """The same ladder with only message `seq` marked, for a reader who looks at one failure of several."""
    return [
        msgspec.structs.replace(line, mark=reason if line.seq == seq and line.shape is not Shape.GAP else None)
        for line in lines
    ]


def _condense(messages: Iterable[Message], offending: Collection[int]) -> list[_Span]:
    """Fold streams of like messages: between two others, all of one kind on one connection become one span."""
    folds = vocabulary().folding()
    spans: list[_Span] = []
    streams: dict[tuple[str, str, str, str], _Span] = {}
    for message in messages:
        if message.invalid is None and folds(message.channel, message.kind) and message.seq not in offending:
            key = (message.source, message.target, message.connection, message.kind)
            span = streams.get(key)
            if span is not None:
                span.count += 1
                span.until = message.at
                continue
            span = streams[key] = _Span(message, message.at)
        else:
            streams.clear()
            span = _Span(message, message.at)
        spans.append(span)
    return spans


def _reason(message: Message, offending: Collection[int]) -> str:
    given = offending.get(message.seq) if isinstance(offending, Mapping) else None
    return printable(given or message.invalid or "the offending message")


def _is_good_answer(message: Message) -> bool:
    return message.kind == "response" and (message.status or 0) < 400


def thin(lines: Sequence[LadderLine], keep: int) -> list[LadderLine]:
    """At most about `keep` lines of a ladder: those around its marked ones, and its beginning and end."""
    if len(lines) <= keep:
        return list(lines)
    marked = {place for place, line in enumerate(lines) if line.mark is not None or line.invalid is not None}
    return _cut(lines, _nearest(marked, len(lines), keep))


def _nearest(wanted: set[int], length: int, keep: int) -> set[int]:
    """`wanted` and the places nearest to them, to the beginning and to the end, `keep` in all (or all of `wanted`)."""
    anchors = sorted(wanted | {0, length - 1})
    shown = set(wanted)
    distance = 0
    while len(shown) < keep and distance < length:
        for anchor in anchors:
            # What led to a message tells more than what followed: look back twice as far.
            for place in (anchor - distance, anchor + distance // 2):
                if 0 <= place < length and len(shown) < keep:
                    shown.add(place)
        distance += 1
    return shown


def _runs(shown: set[int], length: int) -> list[tuple[int, int]]:
    """For each shown place, the range (start, place) that is hidden just before it; at last the hidden end."""
    runs = []
    start = 0
    for place in sorted(shown):
        runs.append((start, place))
        start = place + 1
    if start < length:
        runs.append((start, length))
    return runs


def _cut(lines: Sequence[LadderLine], shown: set[int]) -> list[LadderLine]:
    """Keep the shown places, with gaps where something is left out. One hidden line is kept: a gap is as long."""
    kept: list[LadderLine] = []
    for start, end in _runs(shown, len(lines)):
        if end - start == 1:
            kept.append(lines[start])
        elif start < end:
            hidden = lines[start:end]
            count = sum(line.count for line in hidden)
            kept.append(
                LadderLine(
                    at=hidden[0].at,
                    until=hidden[-1].until or hidden[-1].at,
                    source="",
                    target="",
                    label=f"{count:,} messages left out",
                    seq=hidden[0].seq,
                    shape=Shape.GAP,
                    count=count,
                )
            )
        kept.extend(lines[end : end + 1])
    return kept
