"""What a gateway on the virtual stage prints and logs, kept apart from what everybody else in the process does."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.virtual.network import PARTY

WARMING_UP = "import"
"""The party that imports a program for the first time in a process; what it prints is dropped, it will do so again."""

_kept: list[io.StringIO] = []


class PartyStream(io.TextIOBase):
    """Stands in for stderr or stdout: what the gateway writes is kept, what anybody else writes goes through.

    There is one for each stream in a process, and it always writes to the world of the moment: a logging handler that a
    gateway made in its first world, when its module was imported, must not go on talking to that one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.through: Any = getattr(sys, name)

    def write(self, text: str) -> int:
        party = PARTY.get() if _kept else ""
        if party == "gateway":
            return _kept[-1].write(text)
        if party == WARMING_UP:
            return len(text)
        return int(self.through.write(text))

    def flush(self) -> None:
        self.through.flush()

    def close(self) -> None:
        """It belongs to the process: a handler that is closed, or the end of the interpreter, leaves it as it is."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"


_streams: dict[str, PartyStream] = {}


@contextmanager
def captured_output() -> Iterator[io.StringIO]:
    """Keep what the gateway prints and logs while the block runs; its arguments (`sys.argv`) are put back as well.

    The root logger is lent to the gateway without the handlers of the test runner, so that its `logging.basicConfig`
    does what it does in a process of its own, and its INFO lines are kept too.
    """
    kept = io.StringIO()
    root = logging.getLogger()
    saved = sys.stdout, sys.stderr, sys.argv, root.handlers[:], root.level
    for name in ("stdout", "stderr"):
        stream = _streams.setdefault(name, PartyStream(name))
        if getattr(sys, name) is not stream:
            stream.through = getattr(sys, name)
        setattr(sys, name, stream)
    root.handlers[:] = []
    _kept.append(kept)
    try:
        yield kept
    finally:
        _kept.pop()
        sys.stdout, sys.stderr, sys.argv, root.handlers[:], level = saved
        root.setLevel(level)


@contextmanager
def lent_loggers() -> Iterator[None]:
    """Put the handlers of all named loggers back after the block: a program that is imported anew adds its own anew."""
    known = logging.root.manager.loggerDict
    before = {name: (logger.handlers[:], logger.level, logger.propagate) for name, logger in _loggers(known)}
    try:
        yield
    finally:
        for name, logger in _loggers(known):
            logger.handlers[:], logger.level, logger.propagate = before.get(name, ([], logging.NOTSET, True))


def _loggers(known: Mapping[str, Any]) -> list[tuple[str, logging.Logger]]:
    return [(name, logger) for name, logger in known.items() if isinstance(logger, logging.Logger)]
