"""What a world changes around the code that runs in it: clocks, entropy, blocking sockets, the environment, libraries.

All of it is put back when the world ends. Only code that runs in the world's thread is affected: a helper thread of
the test runner that sleeps neither moves the time of a world nor uses up its entropy.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from harness.virtual.network import PARTY

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
    """Random bytes that follow from a seed: a party's n-th call in two runs with one seed gives the same bytes.

    Each party has a stream of its own, so that what one of them does only once in a process (importing a module) does
    not change what the others get.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._calls: dict[str, int] = {}

    def __call__(self, size: int) -> bytes:
        party = PARTY.get()
        count = self._calls[party] = self._calls.get(party, 0) + 1
        return hashlib.shake_128(f"{self._seed}/{party}/{count}".encode()).digest(size)


@contextmanager
def surroundings(
    loop: VirtualLoop, *, wall: float, seed: int, environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Make the clocks follow `loop` from Unix time `wall` on, seed all entropy, refuse blocking sockets.

    `environ` is added to the environment. Whatever else the world changes there is undone as well.
    """
    entropy = Entropy(seed)
    random_state = random.getstate()
    saved_environ = dict(os.environ)
    gmtime, localtime, seed_generator = time.gmtime, time.localtime, random.Random.seed

    def now() -> float:
        return wall + loop._now

    def monotonic() -> float:
        return MONOTONIC_START + loop._now

    def seed_inside(self: random.Random, a: Any = None, version: int = 2) -> None:
        seed_generator(self, int.from_bytes(entropy(32)) if a is None else a, version)

    patches: list[tuple[Any, str, Callable[..., Any]]] = [
        (time, "time", now),
        (time, "time_ns", lambda: int(now() * 1e9)),
        (time, "monotonic", monotonic),
        (time, "monotonic_ns", lambda: int(monotonic() * 1e9)),
        (time, "perf_counter", monotonic),
        (time, "perf_counter_ns", lambda: int(monotonic() * 1e9)),
        (time, "gmtime", lambda seconds=None: gmtime(now() if seconds is None else seconds)),
        (time, "localtime", lambda seconds=None: localtime(now() if seconds is None else seconds)),
        (time, "sleep", loop.pass_time),
        (os, "urandom", entropy),
        (random, "_urandom", entropy),
        (random.Random, "seed", seed_inside),
        (signal, "signal", loop.take_signal),
        (signal, "getsignal", loop.taken_signal),
        (signal, "raise_signal", loop.send_signal),
        (socket, "getaddrinfo", _refuse),
        (socket, "gethostbyname", _refuse),
        (socket.socket, "connect", _refuse),
        (socket.socket, "connect_ex", _refuse),
        (socket.socket, "sendto", _refuse),
    ]
    saved = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in patches]
    try:
        for owner, name, inside in patches:
            setattr(owner, name, _in_this_thread(inside, getattr(owner, name)))
        random.seed(seed)
        os.environ.update(environ or {})
        with loop.libraries.changed():
            yield
    finally:
        for owner, name, original in saved:
            if original is None:
                if name in owner.__dict__:
                    delattr(owner, name)
            else:
                setattr(owner, name, original)
        random.setstate(random_state)
        _restore_environ(saved_environ)


def _in_this_thread(inside: Callable[..., Any], outside: Callable[..., Any]) -> Callable[..., Any]:
    """`inside` for callers of this thread, `outside` for those of any other."""
    here = threading.get_ident()
    get_ident = threading.get_ident

    def call(*args: Any, **kwargs: Any) -> Any:
        return (inside if get_ident() == here else outside)(*args, **kwargs)

    return call


def _restore_environ(saved: Mapping[str, str]) -> None:
    for name in os.environ.keys() - saved.keys():
        del os.environ[name]
    for name, value in saved.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
