"""What a data channel sends: in order, each message when its gate lets it through."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from fakes.openai.frames import Frame
from fakes.ports import Gates


class Outbox:
    """Hands frames to `leave`, at once where no gate holds them or one before them."""

    def __init__(self, gates: Gates, leave: Callable[[Frame], None]) -> None:
        self._gates = gates
        self._leave = leave
        self._waiting: deque[Frame] = deque()
        self._task: asyncio.Task[None] | None = None

    def send(self, frame: Frame) -> None:
        """Send a frame after all those before it."""
        if self._task is None and frame.gate is None:
            self._leave(frame)
            return
        self._waiting.append(frame)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                frame = self._waiting.popleft()
                if frame.gate is None:
                    self._leave(frame)
                else:
                    async with self._gates.delivery(frame.gate):
                        self._leave(frame)
        finally:
            self._task = None
