"""How far a run is that nobody sees the cases of: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINES = 10
"""How many lines a log gets."""


@contextmanager
def progress_bar(total: int, what: str = "cases") -> Iterator[Callable[[str], None]]:
    """Yields what is to be called when one of `total` is done, with what is to be said about it, if anything."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=total)

            def on(told: str) -> None:
                if told:
                    progress.console.print(told, markup=False, highlight=False)
                progress.advance(task)

            yield on
        return
    done = 0

    def advance(told: str) -> None:
        nonlocal done
        done += 1
        if told:
            sys.stderr.write(f"{told}\n")
        if done * LINES // total > (done - 1) * LINES // total:
            sys.stderr.write(f"{done} of {total} {what}\n")
            sys.stderr.flush()

    yield advance
