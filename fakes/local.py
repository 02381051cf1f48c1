"""Ports for a fake that runs by itself, on an ordinary asyncio loop: real time, typical values, no record."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fakes.ports import Ports, Timer

T = TypeVar("T")


class LoopClock:
    """The time of the running asyncio loop, beginning at 0."""

    def __init__(self, wall: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._wall = time.time() if wall is None else wall

    def now(self) -> float:
        return self._loop.time() - self._began

    def wall(self) -> float:
        return self._wall + self.now()

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        return self._loop.call_at(self._began + when, callback)


class TypicalChoices:
    """The typical value at every point."""

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        return typical_ms / 1000

    def integer(self, point: str, low: int, typical: int, high: int) -> int:
        return typical

    def one_of(self, point: str, options: Sequence[T]) -> T:
        return options[0]

    def flag(self, point: str, chance: float) -> bool:
        return chance >= 1

    def token(self, point: str, length: int) -> str:
        return hashlib.shake_128(point.encode()).hexdigest((length + 1) // 2)[:length]


@dataclass(slots=True)
class Recorded:
    """One message as `ListRecorder` keeps it; the fields are those of `Recorder.record`."""

    source: str
    target: str
    channel: str
    kind: str
    body: str | bytes | None
    connection: str
    invalid: str | None
    meta: dict[str, Any]


@dataclass(slots=True)
class ListRecorder:
    """Keeps every message in a list."""

    messages: list[Recorded] = field(default_factory=list)

    def record(
        self,
        source: str,
        target: str,
        channel: str,
        kind: str,
        body: str | bytes | None = None,
        *,
        connection: str = "",
        invalid: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> int:
        self.messages.append(Recorded(source, target, channel, kind, body, connection, invalid, meta or {}))
        return len(self.messages) - 1


class OpenGates:
    """Gates that never hold anything."""

    def delivery(self, point: str) -> AbstractAsyncContextManager[None]:
        return _open()


@asynccontextmanager
async def _open() -> AsyncIterator[None]:
    yield


def local_ports() -> Ports:
    """Ports for the running loop. Must be called inside one."""
    return Ports(LoopClock(), TypicalChoices(), ListRecorder(), OpenGates())
