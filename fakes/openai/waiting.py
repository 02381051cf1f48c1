"""Waiting for something to be true of a service, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Waiting:
    """Coroutines that wait for a condition. Whoever changes the state calls `changed`."""

    def __init__(self) -> None:
        self._waiters: list[tuple[Callable[[], object], asyncio.Future[None]]] = []

    def changed(self) -> None:
        """Wake those whose condition has become true. Costs next to nothing when nobody waits."""
        if not self._waiters:
            return
        for waiter in list(self._waiters):
            condition, future = waiter
            try:
                if future.done() or not condition():
                    continue
            except Exception as error:
                # The condition is the waiter's own code: its failure belongs there, not to whoever changed something.
                future.set_exception(error)
            else:
                future.set_result(None)
            self._waiters.remove(waiter)

    async def until(self, condition: Callable[[], T | None]) -> T:
        """Wait until `condition` returns something true, and return that."""
        while not (value := condition()):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiter = (condition, future)
            self._waiters.append(waiter)
            try:
                await future
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return value
