"""A clock for tests of what needs no loop: it is moved by hand."""

from __future__ import annotations

import heapq
from collections.abc import Callable

DAY = 1_795_132_800.0
"""The beginning of 20 November 2026, UTC."""


class _Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Time stands still until `advance`. It begins at Unix time `start`."""

    def __init__(self, start: float = DAY) -> None:
        self._start = start
        self._now = 0.0
        self._count = 0
        self._timers: list[tuple[float, int, _Timer]] = []

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._start + self._now

    def call_at(self, when: float, callback: Callable[[], object]) -> _Timer:
        timer = _Timer(callback)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due within a billionth of a second of the end happens too."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end + 1e-9:
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            if timer.callback is not None:
                timer.callback()
        self._now = end

    @property
    def pending(self) -> int:
        """How many timers have not run and were not cancelled."""
        return sum(timer.callback is not None for _, _, timer in self._timers)
