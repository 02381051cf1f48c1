"""The clock of a world, on either stage: the time of its loop, beginning at 0."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from contextvars import Context


class WorldClock:
    """What fakes are handed as `fakes.ports.Clock`. `wall` is the Unix time at which the world begins."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: float) -> None:
        self._loop = loop
        self._began = loop.time()
        self._wall = wall
        self._context: Context | None = None

    def within(self, context: Context) -> WorldClock:
        """The same clock, but that its callbacks run in `context` and not in that of whoever asks for them."""
        clock = copy.copy(self)
        clock._context = context
        return clock

    def now(self) -> float:
        """Seconds since the world began."""
        return self._loop.time() - self._began

    def wall(self) -> float:
        """Unix time in seconds, as the vendors see it."""
        return self._wall + self.now()

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Run `callback` at `when`, in seconds since the world began."""
        return self._loop.call_at(self._began + when, callback, context=self._context)
