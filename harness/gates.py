"""Gates: the order of deliveries, written down on the one hand and enforced on the other, without a sleep.

A delivery is something a fake sends of its own accord: a webhook, the opening of a stream, the answer to a handshake, a
hang-up. Every run writes down when each one started and ended. A replay on the live stage holds each delivery back
until everything that came before it in the trace has come to pass here as well.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

Step = tuple[str, str]
"""`("start" | "end", point)`."""


class Gates:
    """Lets every delivery through at once, and writes down the order.

    The second delivery of one point is written down as `point~2`: a hang-up is told to a stream and to a person.
    """

    def __init__(self) -> None:
        self.order: list[Step] = []
        self._asked: Counter[str] = Counter()

    def delivery(self, point: str) -> AbstractAsyncContextManager[None]:
        self._asked[point] += 1
        count = self._asked[point]
        return self._pass(point if count == 1 else f"{point}~{count}")

    @asynccontextmanager
    async def _pass(self, point: str) -> AsyncIterator[None]:
        self._note("start", point)
        try:
            yield
        finally:
            self._note("end", point)

    def _note(self, what: str, point: str) -> None:
        self.order.append((what, point))


class OrderedGates(Gates):
    """Enforces the order of a trace. `patience` is how long, in seconds, a delivery waits for those before it.

    What was waited for in vain is listed in `unreached`, and nobody waits for it again.
    """

    def __init__(self, wanted: Sequence[Step], patience: float = 10.0) -> None:
        super().__init__()
        self._wanted: list[Step] = [(what, point) for what, point in wanted]
        self._patience = patience
        self._happened: set[Step] = set()
        self._given_up: set[Step] = set()
        self._changed = asyncio.Event()
        self.unreached: list[str] = []

    @asynccontextmanager
    async def _pass(self, point: str) -> AsyncIterator[None]:
        await self._wait_for_turn(point)
        async with super()._pass(point):
            yield

    def _note(self, what: str, point: str) -> None:
        super()._note(what, point)
        self._happened.add((what, point))
        self._changed.set()

    async def _wait_for_turn(self, point: str) -> None:
        step = ("start", point)
        if step not in self._wanted:
            return
        before = set(self._wanted[: self._wanted.index(step)])
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while missing := before - self._happened - self._given_up:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                names = ", ".join(sorted(f"{what} of {name}" for what, name in missing))
                self.unreached.append(f"{point} went ahead after {self._patience:g} s without {names}")
                self._given_up |= missing
                self._changed.set()
                return


def out_of_order(wanted: Sequence[Step], happened: Sequence[Step]) -> list[str]:
    """Where `happened` breaks the order of `wanted`, in words.

    A delivery has to begin after everything that `wanted` has before it; when it ended is the gateway's affair.
    Deliveries that only one of the two has break nothing by themselves.
    """
    place = {step: index for index, step in reversed(list(enumerate(happened)))}
    broken = []
    for index, (what, point) in enumerate(wanted):
        here = place.get((what, point))
        if what != "start" or here is None:
            continue
        for earlier, other in wanted[:index]:
            there = place.get((earlier, other))
            if there is None:
                broken.append(f"{point} began, but the {earlier} of {other} before it never came")
            elif there > here:
                broken.append(f"{point} began before the {earlier} of {other}")
    return broken
