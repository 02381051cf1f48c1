"""Keeping time: a garbage collector that stops the process for 30 ms makes audio frames late."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_pauses() -> Iterator[None]:
    """Collect garbage before and after the block, and not in it. For blocks that end: cycles gather meanwhile."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
