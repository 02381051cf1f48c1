"""What a world changes in the libraries of the programs that run in it."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from harness.virtual.ordering import CONNECTIONS, number_births, numbered_births


class Libraries:
    """The changes of one world.

    A library is changed when it has been imported, which may be in the middle of a world: `look` is called before one
    could make its first connection or serve its first request.
    """

    def __init__(self) -> None:
        self._running = False
        self._modules = 0
        self._anyio: Any = None

    @contextmanager
    def changed(self) -> Iterator[None]:
        """While it lasts, in this thread."""
        with numbered_births():
            self._running = True
            try:
                self.look()
                yield
            finally:
                self._running = False
                if self._anyio is not None:
                    backend, threaded = self._anyio
                    backend.run_sync_in_worker_thread = threaded

    def look(self) -> None:
        """See which libraries were imported meanwhile."""
        if not self._running or len(sys.modules) == self._modules:
            return
        for module, name in CONNECTIONS:
            if module in sys.modules:
                number_births(module, name)
        if "anyio" in sys.modules and self._anyio is None:
            # anyio imports it at the first call, which would be too late.
            backend = importlib.import_module("anyio._backends._asyncio").AsyncIOBackend
            self._anyio = backend, vars(backend)["run_sync_in_worker_thread"]
            backend.run_sync_in_worker_thread = _inline(backend.run_sync_in_worker_thread)
        self._modules = len(sys.modules)


def _inline(threaded: Any) -> Any:
    """anyio's worker threads, without a thread: Starlette and FastAPI run every handler in one that is no coroutine."""
    here, get_ident = threading.get_ident(), threading.get_ident

    async def run(
        cls: Any, func: Callable[..., Any], args: tuple[Any, ...], abandon_on_cancel: bool = False, limiter: Any = None
    ) -> Any:
        if get_ident() != here:
            return await threaded(func, args, abandon_on_cancel=abandon_on_cancel, limiter=limiter)
        await cls.checkpoint()
        return copy_context().run(func, *args)

    return classmethod(run)
