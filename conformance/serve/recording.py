"""The wire of the bench, and the ladder that is kept of it while it grows: rows, in which media are folded in runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from harness.report.words import vocabulary
from harness.wire import AUDIO, Message, Wire


class Row(msgspec.Struct, omit_defaults=True):
    """One line of the ladder: a message, or a run of like messages.

    `number`: its place; `seq`: that of its first message; `at`, `until`: seconds of its first and last message.
    `bytes`: the size of all bodies. The other fields are those of `Message`.
    """

    number: int
    seq: int
    at: float
    source: str
    target: str
    channel: str
    kind: str
    label: str
    connection: str = ""
    count: int = 1
    until: float = 0.0
    bytes: int = 0
    invalid: str | None = None
    status: int | None = None


class Rows:
    """The ladder of a wire. `fold`: whether media messages are folded; otherwise each message has its row.

    Between two other messages, all of one kind on one connection are one row.
    """

    def __init__(self, fold: bool) -> None:
        self.rows: list[Row] = []
        self._fold = fold
        self._streams: dict[tuple[str, str, str, str], Row] = {}
        self._seqs: dict[int, list[int]] = {}
        self._words = vocabulary()
        self._folds = self._words.folding()

    def take(self, message: Message) -> int:
        """Take in the next message; returns the number of the row that it went to."""
        size = len(message.body or ())
        key = (message.source, message.target, message.connection, message.kind)
        if not self._fold:
            folds = False
        elif folds := message.invalid is None and self._folds(message.channel, message.kind):
            row = self._streams.get(key)
            if row is not None:
                row.count += 1
                row.until = round(message.at, 6)
                row.bytes += size
                self._seqs.setdefault(row.number, [row.seq]).append(message.seq)
                return row.number
        else:
            self._streams.clear()
        row = Row(
            number=len(self.rows),
            seq=message.seq,
            at=round(message.at, 6),
            source=message.source,
            target=message.target,
            channel=message.channel,
            kind=message.kind,
            label=self._words.label(message, self._words.rule(message)),
            connection=message.connection,
            bytes=size,
            invalid=message.invalid,
            status=message.status,
        )
        self.rows.append(row)
        if folds:
            self._streams[key] = row
        return row.number

    def seqs(self, number: int) -> list[int]:
        """The numbers of the messages in a row. Raises `IndexError` when there is no such row."""
        return self._seqs.get(number) or [self.rows[number].seq]

    def clear(self) -> None:
        """Forget everything."""
        self.rows.clear()
        self._streams.clear()
        self._seqs.clear()


class Feed:
    """What somebody who follows the ladder has not been told yet. `changed` is set while there is something.

    `rows`: numbers of the rows that are new, or have grown. `reset`: everything before was cleared.
    """

    def __init__(self, rows: Rows) -> None:
        self.source = rows
        self.rows: set[int] = set(range(len(rows.rows)))
        self.reset = False
        self.changed = asyncio.Event()
        self.changed.set()

    def take(self) -> list[Row]:
        """What there is to be told, in order."""
        numbers, self.rows = sorted(self.rows), set()
        return [self.source.rows[number] for number in numbers]


class Recording(Wire):
    """A wire that can be cleared, with its ladders and those who follow them."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.folded = Rows(fold=True)
        self._each: Rows | None = None
        self._feeds: set[Feed] = set()
        self.watch(self._take)

    def _take(self, message: Message) -> None:
        folded = self.folded.take(message)
        each = self._each.take(message) if self._each is not None else -1
        for feed in self._feeds:
            feed.rows.add(folded if feed.source is self.folded else each)
            feed.changed.set()

    def ladder(self, fold: bool) -> Rows:
        """The ladder, with media folded or not. The second is only kept from when somebody first asks."""
        if fold:
            return self.folded
        if self._each is None:
            self._each = Rows(fold=False)
            for message in self.messages:
                self._each.take(message)
        return self._each

    def follow(self, fold: bool) -> Feed:
        """Have a feed of the ladder; to be given to `leave` in the end."""
        feed = Feed(self.ladder(fold))
        self._feeds.add(feed)
        return feed

    def leave(self, feed: Feed) -> None:
        """Follow no longer."""
        self._feeds.discard(feed)

    def poke(self) -> None:
        """Something else than the wire has changed: whoever follows looks at it."""
        for feed in self._feeds:
            feed.changed.set()

    def clear(self) -> None:
        """Forget every message; numbers begin at 0 again."""
        self.messages.clear()
        self.folded.clear()
        if self._each is not None:
            self._each.clear()
        for feed in self._feeds:
            feed.rows.clear()
            feed.reset = True
            feed.changed.set()

    def find(self, text: str, fold: bool, since: int = 0) -> Iterator[int]:
        """The numbers of the rows, from `since` on, of which a message has `text` in it, whatever the case."""
        wanted = text.casefold()
        ladder = self.ladder(fold)
        for number in range(max(0, since), len(ladder.rows)):
            row = ladder.rows[number]
            found = wanted in f"{row.label} {row.kind} {row.connection} {row.invalid or ''}".casefold()
            if not found and row.kind not in AUDIO:
                found = any(wanted in _searched(self.messages[seq]) for seq in ladder.seqs(number))
            if found:
                yield number


def _searched(message: Message) -> str:
    about = json.dumps(message.meta, default=str) if message.meta else ""
    return f"{message.text} {about}".casefold()


def as_json(message: Message) -> dict[str, Any]:
    """A message as the API gives it."""
    return {
        "seq": message.seq,
        "at": round(message.at, 6),
        "source": message.source,
        "target": message.target,
        "channel": message.channel,
        "kind": message.kind,
        "connection": message.connection,
        "body": message.text,
        "invalid": message.invalid,
        "meta": message.meta,
    }
