"""Our own faults: an exception inside a fake is told in the log, and must become a harness error, not a puzzle."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from harness.virtual.network import PARTY

LOGGERS = ("aiohttp.server", "asyncio", "callproof")


class _Faults(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # What a gateway of the virtual stage does wrong is the gateway's; asyncio also logs what nobody retrieved,
        # at a time and in a context that tell nothing of whose it was, so of its lines only the fakes' own count.
        if PARTY.get() == "gateway" or (record.name == "asyncio" and not record.getMessage().startswith("the fake")):
            return
        error = record.exc_info[1] if record.exc_info else None
        self.seen.append(f"{record.getMessage()}: {type(error).__name__}: {error}" if error else record.getMessage())


@contextmanager
def watched_for_faults() -> Iterator[list[str]]:
    """Collect the exceptions that fakes raise while the block runs."""
    handler = _Faults()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield handler.seen
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
