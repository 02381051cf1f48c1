"""The loop of the virtual stage, and how a world is run on it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import harness.virtual.loop as loop_module
from harness.virtual import (
    Spinning,
    Stalled,
    VirtualLoop,
    run_virtual,
    spawn,
)
from harness.virtual.network import PARTY

# -- time


def test_time_begins_at_0_and_jumps_to_the_next_timer() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        seen = [loop.time()]
        for seconds in (3600, 0.001, 86_400 * 365):
            await asyncio.sleep(seconds)
            seen.append(loop.time())
        return seen

    began = time.monotonic()
    assert run_virtual(main) == [0, 3600, 3600.001, 3600.001 + 86_400 * 365]
    assert time.monotonic() - began < 5


def test_no_time_passes_while_callbacks_run() -> None:
    async def main(loop: VirtualLoop) -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time()

    assert run_virtual(main) == 0


def test_timers_of_one_instant_run_in_the_order_in_which_they_were_set() -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        seen: list[int] = []
        loop.call_later(2, seen.append, 99)
        for number in range(50):
            (loop.call_at if number % 2 else loop.call_later)(1.0, seen.append, number)
        loop.call_soon(seen.append, -1)
        await asyncio.sleep(3)
        return seen

    assert run_virtual(main) == [-1, *range(50), 99]


def test_a_cancelled_timer_neither_runs_nor_moves_time() -> None:
    async def main(loop: VirtualLoop) -> tuple[list[str], float]:
        seen: list[str] = []
        loop.call_later(5, seen.append, "cancelled").cancel()
        loop.call_later(7, seen.append, "kept")
        await asyncio.sleep(7)
        return seen, loop.time()

    assert run_virtual(main) == (["kept"], 7)


def test_a_callback_may_cancel_a_timer_of_the_same_instant() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        seen: list[str] = []
        loop.set_exception_handler(lambda loop, context: seen.append(context["message"]))
        handles: list[asyncio.TimerHandle] = []
        loop.call_at(1, lambda: handles[0].cancel())
        handles.append(loop.call_at(1, seen.append, "late"))
        await asyncio.sleep(2)
        return seen

    assert run_virtual(main) == []


def test_a_timer_in_the_past_runs_at_once() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        await asyncio.sleep(10)
        seen: list[float] = []
        loop.call_at(3, lambda: seen.append(loop.time()))
        loop.call_later(-5, lambda: seen.append(loop.time()))
        await asyncio.sleep(0.001)
        return seen

    assert run_virtual(main) == [10, 10]


def test_wait_for_and_timeout_expire_on_the_dot() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        seen = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 2.5)
        seen.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await asyncio.sleep(1.5001)
        seen.append(loop.time())
        async with asyncio.timeout(1) as limit:
            limit.reschedule(loop.time() + 10)
            await asyncio.sleep(9)
        seen.append(loop.time())
        assert await asyncio.wait_for(asyncio.sleep(1, "in time"), 2) == "in time"
        seen.append(loop.time())
        return seen

    assert run_virtual(main) == [2.5, 4, 13, 14]


def test_what_finishes_at_the_deadline_itself_is_in_time_when_it_was_set_first() -> None:
    async def main(loop: VirtualLoop) -> bool:
        sleeping = asyncio.create_task(asyncio.sleep(1))
        await asyncio.sleep(0)
        done, _ = await asyncio.wait({sleeping}, timeout=1)
        return sleeping in done

    assert run_virtual(main)


def test_time_sleep_moves_time_without_letting_anybody_run() -> None:
    async def main(loop: VirtualLoop) -> tuple[list[str], list[str]]:
        seen: list[str] = []
        loop.call_later(3, seen.append, "a")
        loop.call_later(1, seen.append, "b")
        time.sleep(10)  # noqa: ASYNC251
        before = list(seen)
        await asyncio.sleep(0)
        assert loop.time() == 10
        return before, seen

    assert run_virtual(main) == ([], ["b", "a"])


# -- worlds that do not go on


def test_stalled_names_who_waits_and_where() -> None:
    async def wait_for_godot() -> None:
        await asyncio.get_running_loop().create_future()

    async def main(loop: VirtualLoop) -> None:
        await asyncio.sleep(4)
        spawn(loop, "gateway", wait_for_godot(), "call CA1")
        await wait_for_godot()

    with pytest.raises(Stalled) as caught:
        run_virtual(main)
    text = str(caught.value)
    assert "stands still at 4.000 s" in text
    assert "call CA1 at " in text
    assert text.count(f"{__file__}:") == 2


def test_a_world_with_only_cancelled_timers_is_stalled() -> None:
    async def main(loop: VirtualLoop) -> None:
        loop.call_later(60, print).cancel()
        await loop.create_future()

    with pytest.raises(Stalled, match=r"0\.000 s"):
        run_virtual(main)


async def _yield_for_ever() -> None:
    while True:
        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0))})


async def _timers_of_no_delay() -> None:
    loop = asyncio.get_running_loop()

    def again() -> None:
        loop.call_later(0, again)

    again()
    await loop.create_future()


@pytest.mark.parametrize("spin", [_yield_for_ever, _timers_of_no_delay])
def test_spinning_is_noticed(spin: Callable[[], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "MAX_TURNS_AT_ONE_INSTANT", 1000)
    ended = False

    async def main(loop: VirtualLoop) -> None:
        nonlocal ended
        await asyncio.sleep(1)
        try:
            await spin()
        finally:
            ended = True

    with pytest.raises(Spinning, match=r"1001 rounds of callbacks ran at 1\.000 s .*next is <"):
        run_virtual(main)
    assert ended, "the tasks of a spinning world are cancelled like any others"


def test_rounds_between_which_time_passes_are_no_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "MAX_TURNS_AT_ONE_INSTANT", 100)

    async def main(loop: VirtualLoop) -> float:
        for _ in range(150):
            await asyncio.sleep(0.001)
        for _ in range(150):  # a program that polls, with a blocking pause between
            time.sleep(0.001)  # noqa: ASYNC251
            await asyncio.sleep(0)
        return loop.time()

    assert run_virtual(main) == pytest.approx(0.3)


# -- threads, executors, and what a world does not have


def test_an_executor_runs_in_this_thread_and_at_once() -> None:
    async def main(loop: VirtualLoop) -> tuple[int, int, float]:
        first = await loop.run_in_executor(None, threading.get_ident)
        with ThreadPoolExecutor(1) as pool:
            second = await loop.run_in_executor(pool, threading.get_ident)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        await asyncio.to_thread(time.sleep, 5)
        return first, second, loop.time()

    here = threading.get_ident()
    assert run_virtual(main) == (here, here, 5)


def test_a_thread_that_calls_in_is_refused() -> None:
    async def main(loop: VirtualLoop) -> BaseException | None:
        failed: list[BaseException] = []

        def call_in() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except RuntimeError as error:
                failed.append(error)

        thread = threading.Thread(target=call_in)
        thread.start()
        thread.join()
        loop.call_soon_threadsafe(failed.append, RuntimeError("from the world's own thread"))
        await asyncio.sleep(0)
        assert str(failed[1]) == "from the world's own thread"
        return failed[0]

    assert "--stage live" in str(run_virtual(main))


async def _udp(loop: VirtualLoop) -> Any:
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("10.0.0.1", 53))


async def _subprocess(loop: VirtualLoop) -> Any:
    await asyncio.create_subprocess_exec("true")


async def _shell(loop: VirtualLoop) -> Any:
    await asyncio.create_subprocess_shell("true")


async def _unix_client(loop: VirtualLoop) -> Any:
    await asyncio.open_unix_connection("/tmp/socket")


async def _unix_server(loop: VirtualLoop) -> Any:
    await asyncio.start_unix_server(lambda reader, writer: None, "/tmp/socket")


async def _add_reader(loop: VirtualLoop) -> Any:
    loop.add_reader(0, print)


async def _sock_recv(loop: VirtualLoop) -> Any:
    with socket.socket() as sock:
        await loop.sock_recv(sock, 10)


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (_udp, "UDP"),
        (_subprocess, "child process"),
        (_shell, "child process"),
        (_unix_client, "Unix socket"),
        (_unix_server, "Unix socket"),
        (_add_reader, "file descriptor"),
        (_sock_recv, "raw socket"),
    ],
)
def test_what_a_world_does_not_have_says_where_it_can_be_had(use: Callable[[VirtualLoop], Any], what: str) -> None:
    with pytest.raises(NotImplementedError, match=f"{what}.*cannot run on the virtual stage.*--stage live"):
        run_virtual(use)


def test_signal_handlers_are_taken_and_can_be_run() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        seen: list[str] = []
        loop.add_signal_handler(signal.SIGTERM, seen.append, "TERM")
        assert loop.send_signal(signal.SIGTERM)
        assert not loop.send_signal(signal.SIGINT)
        await asyncio.sleep(0)
        assert loop.remove_signal_handler(signal.SIGTERM)
        assert not loop.remove_signal_handler(signal.SIGTERM)
        assert not loop.send_signal(signal.SIGTERM)
        return seen

    assert run_virtual(main) == ["TERM"]


# -- exceptions and cleaning up


def test_an_exception_in_a_callback_goes_to_the_handler_and_the_world_goes_on() -> None:
    async def main(loop: VirtualLoop) -> tuple[list[str], list[str]]:
        heard: list[str] = []
        seen: list[str] = []
        loop.set_exception_handler(lambda loop, context: heard.append(repr(context["exception"])))
        loop.call_later(1, lambda: 1 // 0)
        loop.call_later(1, seen.append, "next")
        await asyncio.sleep(2)
        return heard, seen

    heard, seen = run_virtual(main)
    assert seen == ["next"]
    assert len(heard) == 1
    assert heard[0].startswith("ZeroDivisionError")


def test_the_loop_can_be_used_again_after_an_exception() -> None:
    loop = VirtualLoop()
    try:

        async def fail() -> None:
            await asyncio.sleep(1)
            raise LookupError("once")

        with pytest.raises(LookupError, match="once"):
            loop.run_until_complete(fail())
        with pytest.raises(Stalled):
            loop.run_until_complete(loop.create_future())
        assert loop.run_until_complete(asyncio.sleep(2, "again")) == "again"
        assert loop.time() == 3
    finally:
        loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)


def test_what_is_left_is_cancelled_in_the_order_in_which_it_began() -> None:
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(name)

    async def main(loop: VirtualLoop) -> str:
        for name in ("c", "a", "b", *map(str, range(600))):
            spawn(loop, "gateway", wait(name), "the same for all")
        await asyncio.sleep(1)
        return "done"

    assert run_virtual(main) == "done"
    assert ended == ["c", "a", "b", *map(str, range(600))]


def test_what_is_left_may_take_time_to_end_and_async_generators_are_closed() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(5)
            ended.append("slow")

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            ended.append("generator")

    kept = numbers()

    async def main(loop: VirtualLoop) -> None:
        spawn(loop, "gateway", slow(), "slow")
        await anext(kept)

    run_virtual(main)
    assert ended == ["slow", "generator"]


def test_cleaning_up_happens_after_a_failure_too_and_the_failure_is_what_comes_out() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("wait")

    async def main(loop: VirtualLoop) -> None:
        spawn(loop, "gateway", wait(), "wait")
        await asyncio.sleep(0)
        raise LookupError("the reason")

    with pytest.raises(LookupError, match="the reason"):
        run_virtual(main)
    assert ended == ["wait"]


def test_a_task_that_ignores_its_cancellation_cannot_keep_a_world_from_ending() -> None:
    heard: list[str] = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue

    async def deaf() -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                continue

    async def main(loop: VirtualLoop) -> str:
        loop.set_exception_handler(lambda loop, context: heard.append(context["message"]))
        spawn(loop, "gateway", stubborn(), "stubborn")
        spawn(loop, "gateway", deaf(), "deaf")
        await asyncio.sleep(1)
        return "done"

    assert run_virtual(main) == "done"
    assert heard == ["stubborn ignores its cancellation", "deaf ignores its cancellation"]


def test_a_failure_while_being_cancelled_is_heard_of(caplog: pytest.LogCaptureFixture) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise LookupError("in the clean-up")

    async def main(loop: VirtualLoop) -> None:
        spawn(loop, "gateway", clumsy(), "clumsy")
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR, "asyncio"):
        run_virtual(main)
    assert "clumsy failed while it was cancelled" in caplog.text


def test_a_spawned_task_and_what_it_starts_act_as_their_party() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        seen: list[str] = []

        async def inner() -> None:
            await asyncio.sleep(1)
            seen.append(PARTY.get())

        async def outer() -> None:
            loop.call_later(0.5, lambda: seen.append(PARTY.get()))
            await asyncio.create_task(inner())

        await asyncio.gather(spawn(loop, "twilio", outer(), "t"), spawn(loop, "gateway", outer(), "g"))
        return [*seen, PARTY.get()]

    assert run_virtual(main) == ["twilio", "gateway", "twilio", "gateway", "harness"]
