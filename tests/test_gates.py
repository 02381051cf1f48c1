"""Gates: the order of deliveries, written down and enforced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from harness.gates import Gates, OrderedGates, Step
from harness.virtual import VirtualLoop, run_virtual


async def test_every_delivery_passes_and_is_written_down() -> None:
    gates = Gates()
    answered = asyncio.Event()

    async def deliver(point: str, wait: bool) -> None:
        async with gates.delivery(point):
            if wait:
                await answered.wait()

    slow = asyncio.create_task(deliver("ringing", True))
    await asyncio.sleep(0)
    await deliver("answered", False)
    answered.set()
    await slow
    assert gates.order == [
        ("start", "ringing"),
        ("start", "answered"),
        ("end", "answered"),
        ("end", "ringing"),
    ]


async def test_a_delivery_that_fails_has_ended() -> None:
    gates = Gates()
    with pytest.raises(ConnectionError):
        async with gates.delivery("webhook"):
            raise ConnectionError
    assert gates.order == [("start", "webhook"), ("end", "webhook")]


def steps(text: str) -> list[Step]:
    """`+a -a` as start and end of a."""
    return [("start" if word[0] == "+" else "end", word[1:]) for word in text.split()]


def shown(order: list[Step]) -> str:
    return " ".join(("+" if what == "start" else "-") + point for what, point in order)


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ("+a -a +b -b +c -c", "cba"),
        ("+a +b -a -b +c -c", "cab"),
        ("+b +a -b -a +c -c", "abc"),
        ("+c +b +a -a -b -c", "abc"),
    ],
)
async def test_the_order_of_the_trace_is_enforced(wanted: str, asked: str) -> None:
    gates = OrderedGates(steps(wanted))
    left: dict[str, asyncio.Event] = {point: asyncio.Event() for point in asked}
    answered: dict[str, asyncio.Event] = {point: asyncio.Event() for point in asked}

    async def deliver(point: str) -> None:
        async with gates.delivery(point):
            left[point].set()
            # The answer takes as long as it took in the trace; when a delivery leaves is what the gates decide.
            for what, other in steps(wanted)[: steps(wanted).index(("end", point))]:
                await (left if what == "start" else answered)[other].wait()
        answered[point].set()

    await asyncio.gather(*(deliver(point) for point in asked))
    assert shown(gates.order) == wanted
    assert gates.unreached == []


async def test_a_delivery_that_the_trace_does_not_know_goes_at_once() -> None:
    gates = OrderedGates(steps("+a -a +b -b"))
    async with gates.delivery("new"):
        pass
    assert shown(gates.order) == "+new -new"
    assert gates.unreached == []


async def test_steps_may_come_as_lists_as_a_json_file_has_them() -> None:
    gates = OrderedGates([["start", "a"], ["end", "a"], ["start", "b"]])  # type: ignore[list-item]
    later = asyncio.create_task(_deliver(gates, "b"))
    await asyncio.sleep(0)
    assert gates.order == []
    await _deliver(gates, "a")
    await later
    assert shown(gates.order) == "+a -a +b -b"


async def _deliver(gates: Gates, point: str) -> None:
    async with gates.delivery(point):
        pass


async def test_who_waits_for_a_failed_delivery_goes_on_when_it_has_failed() -> None:
    gates = OrderedGates(steps("+a -a +b -b"))
    later = asyncio.create_task(_deliver(gates, "b"))
    with pytest.raises(ConnectionError):
        async with gates.delivery("a"):
            raise ConnectionError
    await later
    assert gates.unreached == []


def _in_virtual_time(story: Callable[[VirtualLoop, OrderedGates], object], wanted: str) -> OrderedGates:
    async def main(loop: VirtualLoop) -> OrderedGates:
        gates = OrderedGates(steps(wanted), patience=10)
        await story(loop, gates)  # type: ignore[misc]
        return gates

    return run_virtual(main)


def test_patience_ends_and_is_reported_and_nobody_waits_for_the_same_again() -> None:
    times: dict[str, float] = {}

    async def story(loop: VirtualLoop, gates: OrderedGates) -> None:
        for point in "bcd":
            await _deliver(gates, point)
            times[point] = loop.time()

    gates = _in_virtual_time(story, "+never -never +b -b +c -c +gone +d")
    assert times == {"b": 10, "c": 10, "d": 20}
    assert gates.unreached == [
        "b went ahead after 10 s without end of never, start of never",
        "d went ahead after 10 s without start of gone",
    ]
    assert shown(gates.order) == "+b -b +c -c +d -d"


def test_patience_counts_from_when_a_delivery_wants_to_leave() -> None:
    times: dict[str, float] = {}

    async def late(loop: VirtualLoop, gates: OrderedGates) -> None:
        await asyncio.sleep(9)
        await _deliver(gates, "a")

    async def story(loop: VirtualLoop, gates: OrderedGates) -> None:
        task = asyncio.create_task(late(loop, gates))
        await _deliver(gates, "b")
        times["b"] = loop.time()
        await task
        await asyncio.sleep(100)
        await _deliver(gates, "c")
        times["c"] = loop.time()

    gates = _in_virtual_time(story, "+a -a +b -b +c -c")
    assert times == {"b": 9, "c": 109}
    assert gates.unreached == []


def test_a_cancelled_delivery_does_not_count_as_sent() -> None:
    async def story(loop: VirtualLoop, gates: OrderedGates) -> None:
        task = asyncio.create_task(_deliver(gates, "b"))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(0)
        await _deliver(gates, "a")

    assert shown(_in_virtual_time(story, "+a -a +b -b").order) == "+a -a"
