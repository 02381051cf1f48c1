"""How many gateways start at the same time, over all processes of a run.

A start is work for the processor, and the conversation of a started gateway is not: when ten start at once, each takes
ten times as long, and those that talk already are cut into pieces. One after the other, the first is ready at once.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import IO

HOLD_SECONDS = 20.0
"""Who is not ready by then waits for something that does not come, and keeps nobody from starting."""
LOOK_SECONDS = 0.05


class Turnstile:
    """Lets so many start at once, in whatever process: there is a file in `folder` for each of the `places`, and who
    starts holds one of them locked. A process that ends, however it ends, has let go of it."""

    def __init__(self, folder: Path, places: int) -> None:
        folder.mkdir(exist_ok=True)
        self._places = [folder / str(number) for number in range(places)]

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait for a place and hold it, for the length of the block, but not longer than `HOLD_SECONDS`."""
        held = await self._enter()
        release = asyncio.get_running_loop().call_later(HOLD_SECONDS, held.close)
        try:
            yield
        finally:
            release.cancel()
            held.close()

    async def _enter(self) -> IO[bytes]:
        files = [path.open("wb") for path in self._places]
        try:
            for file in cycle(files):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if file is files[-1]:
                        # The lock of a file tells nobody that it is free, so it is asked for again.
                        await asyncio.sleep(LOOK_SECONDS)
                    continue
                files.remove(file)
                return file
        finally:
            for file in files:
                file.close()
        raise AssertionError("a turnstile without places")
