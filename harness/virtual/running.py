"""Running a coroutine in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import copy_context
from typing import Any, TypeVar

from harness.virtual.loop import VirtualLoop
from harness.virtual.network import PARTY, Network
from harness.virtual.surroundings import surroundings

T = TypeVar("T")

DEFAULT_WALL = 1_795_176_000.0
"""Unix time at which a world begins when nobody says otherwise: 2026-11-20 12:00 UTC."""


def run_virtual(
    main: Callable[[VirtualLoop], Coroutine[Any, Any, T]],
    *,
    network: Network | None = None,
    wall: float = DEFAULT_WALL,
    seed: int = 0,
    environ: Mapping[str, str] | None = None,
) -> T:
    """Run `main(loop)` in a world of its own and return what it returns.

    Raises `Stalled` when nothing can happen any more and `Spinning` when no time passes. Tasks that are left are
    cancelled and waited for.
    """
    loop = VirtualLoop(network)
    with surroundings(loop, wall=wall, seed=seed, environ=environ):
        try:
            return loop.run_until_complete(main(loop))
        finally:
            try:
                _cancel_all(loop)
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def spawn(loop: asyncio.AbstractEventLoop, party: str, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a task that acts as `party`: its servers get the party's address, its connections come from it."""
    context = copy_context()
    context.run(PARTY.set, party)
    return loop.create_task(coro, name=name, context=context)
