"""Running a coroutine in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from harness.virtual.loop import VirtualLoop
from harness.virtual.network import Network, acting_as
from harness.virtual.surroundings import surroundings

T = TypeVar("T")

DEFAULT_WALL = 1_795_176_000.0
"""Unix time at which a world begins when nobody says otherwise: 2026-11-20 12:00 UTC."""


CLEANUP_SECONDS = 60.0
"""Virtual time that tasks get for ending once they are cancelled."""


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
    cancelled, oldest first, and waited for; one that does not want to end within `CLEANUP_SECONDS` is dropped, and
    the loop's exception handler hears of it.
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
    left = loop.unfinished_tasks()
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=CLEANUP_SECONDS))
    for task in left:
        if not task.done():
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # said here, and better
            loop.call_exception_handler({"message": f"{task.get_name()} ignores its cancellation", "task": task})
        elif not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {"message": f"{task.get_name()} failed while it was cancelled", "exception": error, "task": task}
            )


def spawn(loop: asyncio.AbstractEventLoop, party: str, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a task that acts as `party`: its servers get the party's address, its connections come from it."""
    return loop.create_task(coro, name=name, context=acting_as(party))
