"""What a world changes around the code that runs in it: the clocks, the entropy, blocking sockets, the environment.

All of it is put back when the world ends. Only code that runs inside the world's thread is affected.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from harness.virtual.loop import VirtualLoop

MONOTONIC_START = 1000.0
"""What `time.monotonic` says when a world begins; programs tend to take 0 for "never"."""


class BlockingCallError(RuntimeError):
    """A program on the virtual stage used a blocking socket."""


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise BlockingCallError(
        "a blocking socket was used inside a world of the virtual stage (requests, urllib, the synchronous Twilio or "
        "OpenAI client?): it would stop time for everybody. Use the library's asyncio client, or run this gateway on "
        "the live stage with --stage live"
    )


class Entropy:
    """Random bytes that follow from a seed: the n-th call in two runs with one seed gives the same bytes."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._calls = 0

    def __call__(self, size: int) -> bytes:
        self._calls += 1
        return hashlib.shake_128(f"{self._seed}/{self._calls}".encode()).digest(size)


@contextmanager
def surroundings(
    loop: VirtualLoop, *, wall: float, seed: int, environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Make the clocks follow `loop` from Unix time `wall` on, seed all entropy, refuse blocking sockets."""
    entropy = Entropy(seed)
    random_state = random.getstate()
    saved_environ = dict(os.environ)

    def sleep(seconds: float) -> None:
        loop.pass_time(seconds)

    patches: list[tuple[Any, str, Callable[..., Any]]] = [
        (time, "time", lambda: wall + loop._now),
        (time, "time_ns", lambda: int((wall + loop._now) * 1e9)),
        (time, "monotonic", lambda: MONOTONIC_START + loop._now),
        (time, "monotonic_ns", lambda: int((MONOTONIC_START + loop._now) * 1e9)),
        (time, "perf_counter", lambda: MONOTONIC_START + loop._now),
        (time, "perf_counter_ns", lambda: int((MONOTONIC_START + loop._now) * 1e9)),
        (time, "sleep", sleep),
        (os, "urandom", entropy),
        (random, "_urandom", entropy),
        (socket, "getaddrinfo", _refuse),
        (socket.socket, "connect", _refuse),
    ]
    saved = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    random.seed(seed)
    if environ is not None:
        os.environ.update(environ)
    try:
        yield
    finally:
        for owner, name, original in saved:
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        random.setstate(random_state)
        if environ is not None:
            os.environ.clear()
            os.environ.update(saved_environ)
