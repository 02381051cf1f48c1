"""What a world changes around itself: clocks, entropy, the environment, blocking calls."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from harness.virtual import (
    DEFAULT_WALL,
    BlockingCallError,
    VirtualLoop,
    run_virtual,
    surroundings,
)


def test_every_clock_follows_the_world() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        await asyncio.sleep(86_400)
        return [
            time.time(),
            time.time_ns() / 1e9,
            time.monotonic(),
            time.monotonic_ns() / 1e9,
            time.perf_counter(),
            time.perf_counter_ns() / 1e9,
            time.mktime(time.localtime()),
            float(time.gmtime().tm_mday),
            float(time.gmtime(0).tm_year),
        ]

    saved = {name: getattr(time, name) for name in ("time", "monotonic", "perf_counter", "sleep", "gmtime")}
    wall = DEFAULT_WALL + 86_400
    assert run_virtual(main) == [wall, wall, *[1000 + 86_400] * 4, wall, 21, 1970]
    assert {name: getattr(time, name) for name in saved} == saved


def test_the_wall_clock_begins_where_it_is_told_to() -> None:
    async def main(loop: VirtualLoop) -> float:
        await asyncio.sleep(1.5)
        return time.time()

    assert run_virtual(main, wall=1_000_000_000) == 1_000_000_001.5


async def _entropy(loop: VirtualLoop) -> list[Any]:
    return [
        str(uuid.uuid4()),
        secrets.token_hex(16),
        secrets.randbelow(10**12),
        random.random(),
        random.Random().random(),
        random.SystemRandom().random(),
        os.urandom(8),
    ]


def test_entropy_follows_from_the_seed() -> None:
    one, again, other = (run_virtual(_entropy, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert all(a != b for a, b in zip(one, other, strict=True))
    assert len(set(map(str, one))) == len(one)


def test_a_generator_with_a_seed_of_its_own_keeps_it() -> None:
    async def main(loop: VirtualLoop) -> float:
        return random.Random(7).random()

    assert run_virtual(main) == random.Random(7).random()


def test_entropy_is_real_again_afterwards() -> None:
    state = random.getstate()
    run_virtual(_entropy, seed=1)
    assert random.getstate() == state
    assert os.urandom(16) != os.urandom(16)
    first = run_virtual(_entropy, seed=1)
    assert uuid.uuid4() != uuid.UUID(first[0])
    assert "_in_this_thread" not in repr([os.urandom, time.time, random.Random.seed, socket.socket.connect])


def test_the_environment_is_put_back_also_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLPROOF_TEST_KEPT", "before")
    monkeypatch.setenv("CALLPROOF_TEST_LOST", "before")
    monkeypatch.delenv("CALLPROOF_TEST_NEW", raising=False)
    before = dict(os.environ)

    async def main(loop: VirtualLoop) -> None:
        assert os.environ["CALLPROOF_TEST_NEW"] == "given"
        os.environ["CALLPROOF_TEST_KEPT"] = "changed"
        os.environ["CALLPROOF_TEST_MORE"] = "added"
        del os.environ["CALLPROOF_TEST_LOST"]
        raise LookupError

    with pytest.raises(LookupError):
        run_virtual(main, environ={"CALLPROOF_TEST_NEW": "given"})
    assert dict(os.environ) == before

    async def quiet(loop: VirtualLoop) -> None:
        os.environ["CALLPROOF_TEST_MORE"] = "added"

    run_virtual(quiet)
    assert dict(os.environ) == before


def test_surroundings_that_cannot_be_made_leave_nothing_behind() -> None:
    loop = VirtualLoop()
    real = time.time, socket.socket.connect, os.urandom
    with pytest.raises(TypeError), surroundings(loop, wall=0, seed=0, environ={"A": 5}):  # type: ignore[dict-item]
        pass
    loop.close()
    assert (time.time, socket.socket.connect, os.urandom) == real


def test_other_threads_keep_real_time_and_real_entropy() -> None:
    async def main(loop: VirtualLoop) -> tuple[list[Any], float, float]:
        seen: list[Any] = []

        def helper() -> None:
            time.sleep(0.001)
            seen.extend([time.time(), time.monotonic(), os.urandom(8)])

        thread = threading.Thread(target=helper)
        thread.start()
        thread.join()
        return seen, loop.time(), random.SystemRandom().random()

    began = time.time(), time.monotonic()
    seen, now, number = run_virtual(main)
    assert now == 0, "a thread that sleeps does not move the time of the world"
    assert began[0] <= seen[0] <= time.time()
    assert began[1] <= seen[1] <= time.monotonic()

    async def alone(loop: VirtualLoop) -> float:
        return random.SystemRandom().random()

    assert number == run_virtual(alone), "a thread that asks for entropy does not use up that of the world"


@pytest.mark.parametrize(
    "block",
    [
        lambda: socket.getaddrinfo("api.openai.com", 443),
        lambda: socket.gethostbyname("api.openai.com"),
        lambda: socket.socket().connect(("127.0.0.1", 9)),
        lambda: socket.socket().connect_ex(("127.0.0.1", 9)),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"statsd", ("127.0.0.1", 9)),
    ],
    ids=["getaddrinfo", "gethostbyname", "connect", "connect_ex", "sendto"],
)
def test_no_blocking_call_leaves_a_world(block: Callable[[], Any]) -> None:
    async def main(loop: VirtualLoop) -> None:
        block()

    with pytest.raises(BlockingCallError, match="--stage live"):
        run_virtual(main)
