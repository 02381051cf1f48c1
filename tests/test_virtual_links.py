"""Links between parties: slow, held, cut, reset."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_peers import PORT, Peer, connected, served, world

from harness.virtual import VirtualLoop, run_virtual, spawn
from harness.virtual.network import Link


@world
async def test_hold_and_release(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop, latency=0.1)
    near.transport.write(b"1")
    link.hold()
    await asyncio.sleep(1)
    near.transport.write(b"2")
    far.transport.write(b"a")
    await asyncio.sleep(1)
    assert (near.events, far.events) == ([], [])
    near.transport.write(b"3")  # still on its way at the release
    link.release()
    released = loop.time()
    await asyncio.sleep(1)
    assert [(at - released, data) for at, data in far.pieces] == [
        (0, b"1"),
        (0, b"2"),
        (pytest.approx(0.1), b"3"),
    ]
    assert near.pieces == [(released, b"a")]


@world
async def test_what_arrives_at_the_instant_of_the_release_does_not_overtake(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop, latency=1)
    began = loop.time()
    near.transport.write(b"1")
    link.hold()
    await asyncio.sleep(0.5)
    near.transport.write(b"2")
    # Set before the second piece's own timer, so it runs before it in the same round of callbacks.
    loop.call_at(began + 1.5, link.release)
    await asyncio.sleep(0.25)
    near.transport.write(b"3")
    await asyncio.sleep(5)
    assert far.data == b"123"


@world
async def test_release_runs_before_an_arrival_of_the_same_round(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop)
    link.hold()
    near.transport.write(b"1")
    await asyncio.sleep(1)
    at = loop.time() + 1
    loop.call_at(at, link.release)
    loop.call_at(at - 0.5, near.transport.write, b"")
    link.latency = 1
    near.transport.write(b"2")  # its timer stands behind that of the release
    await asyncio.sleep(5)
    assert far.data == b"12"
    assert [when for when, _ in far.pieces] == [at, at]


@world
async def test_holding_again_before_all_is_through_holds_the_rest(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop)
    link.hold()
    for piece in (b"1", b"2", b"3"):
        near.transport.write(piece)
        await asyncio.sleep(0.1)
    plain = far.data_received

    def hold_at_the_first(data: bytes) -> None:
        plain(data)
        if data == b"1":
            link.hold()

    far.data_received = hold_at_the_first  # type: ignore[method-assign]
    link.release()
    await asyncio.sleep(1)
    assert far.data == b"1"
    link.release()
    await asyncio.sleep(1)
    assert far.data == b"123"


@world
async def test_closing_and_resetting_wait_for_a_held_link_as_well(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop)
    link.hold()
    near.transport.write(b"1")
    near.transport.close()
    far.transport.abort()
    await asyncio.sleep(1)
    assert (near.events, far.events) == (["lost"], ["lost"])
    assert (near.error, far.error) == (None, None)
    link.release()
    await asyncio.sleep(1)
    assert (near.events, far.events) == (["lost"], ["lost"])


@world
async def test_an_abort_over_a_held_link_is_felt_at_the_release(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop)
    link.hold()
    near.transport.write(b"1")
    near.transport.abort()
    await asyncio.sleep(1)
    assert far.events == []
    link.release()
    await asyncio.sleep(1)
    assert far.events == ["data", "lost"]
    assert isinstance(far.error, ConnectionResetError)


@world
async def test_partition_and_repair_look_like_hold_and_release(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop)
    link.partition()
    near.transport.write(b"1")
    await asyncio.sleep(3600)
    assert far.events == []
    link.repair()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert far.data == b"1"


@world
async def test_reset_hits_both_ends_of_every_connection_of_the_link_and_no_other(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop)
    other, _, _ = await _another(loop)
    second = Peer()
    await spawn(loop, "gateway", loop.create_connection(lambda: second, "openai.test", PORT), "connect")
    near.transport.write(b"lost on the way")
    link.reset()
    await asyncio.sleep(1)
    for end in (near, far, second):
        assert isinstance(end.error, ConnectionResetError)
        assert end.events[-1] == "lost"
    assert other.events == []
    third = Peer()
    await spawn(loop, "gateway", loop.create_connection(lambda: third, "openai.test", PORT), "connect")
    assert third.events == [], "new connections are not touched"


async def _another(loop: VirtualLoop) -> tuple[Peer, Peer, Link]:
    _, peers = await served(loop, "twilio")
    near = Peer()
    await spawn(loop, "gateway", loop.create_connection(lambda: near, "twilio.test", PORT), "connect")
    return near, peers[0], loop.network.link("gateway", "twilio")


@world
async def test_a_new_connection_waits_for_a_held_link(loop: VirtualLoop) -> None:
    _, peers = await served(loop)
    link = loop.network.link("openai", "gateway")
    assert link is loop.network.link("gateway", "openai")
    link.hold()
    names = ["a", "b"]
    order: list[str] = []

    async def connect(name: str) -> None:
        await loop.create_connection(Peer, "openai.test", PORT)
        order.append(name)

    tasks = [spawn(loop, "gateway", connect(name), name) for name in names]
    gone = spawn(loop, "gateway", connect("gone"), "gone")
    await asyncio.sleep(60)
    assert peers == []
    gone.cancel()
    await asyncio.sleep(0)
    link.release()
    await asyncio.gather(*tasks)
    assert (order, len(peers)) == (names, 2)


@world
async def test_a_link_that_is_held_during_the_handshake_holds_the_connection(loop: VirtualLoop) -> None:
    _, peers = await served(loop)
    link = loop.network.link("openai", "gateway")
    link.latency = 1
    task = spawn(loop, "gateway", loop.create_connection(Peer, "openai.test", PORT), "connect")
    await asyncio.sleep(1)
    link.hold()
    await asyncio.sleep(100)
    assert (peers, task.done()) == ([], False)
    link.release()
    await task
    assert len(peers) == 1


@world
async def test_a_link_that_is_held_again_at_once_lets_no_connection_slip_through(loop: VirtualLoop) -> None:
    _, peers = await served(loop)
    link = loop.network.link("openai", "gateway")
    link.hold()
    task = spawn(loop, "gateway", loop.create_connection(Peer, "openai.test", PORT), "connect")
    await asyncio.sleep(1)
    link.release()
    loop.call_soon(link.hold)
    await asyncio.sleep(100)
    assert (peers, task.done()) == ([], False)
    link.release()
    await task


@world
async def test_a_connection_whose_caller_gave_up_is_closed(loop: VirtualLoop) -> None:
    _, peers = await served(loop)
    task = spawn(loop, "gateway", loop.create_connection(Peer, "openai.test", PORT), "connect")
    for _ in range(2):  # rounds until the connection is there and the caller does not know it yet
        await asyncio.sleep(0)
    assert len(loop.network.open_transports()) == 2
    assert not task.done()
    task.cancel()
    await asyncio.sleep(1)
    assert task.cancelled()
    assert loop.network.open_transports() == []
    assert peers[0].events == ["eof", "lost"]


Step = tuple[str, Any]
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 60_000)),
        st.tuples(st.just("back"), st.integers(1, 3000)),
        st.tuples(st.just("wait"), st.sampled_from([0, 0.001, 0.5, 1])),
        st.tuples(st.just("latency"), st.sampled_from([0.0, 0.25, 1.0])),
        st.tuples(st.sampled_from(["pause", "resume", "hold", "release", "pass"]), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(_steps, st.booleans())
def test_whatever_happens_on_the_way_the_bytes_arrive_whole_and_in_order(steps: list[Step], close: bool) -> None:
    numbers = itertools.count()

    def next_bytes(size: int) -> bytes:
        return b"".join(next(numbers).to_bytes(4) for _ in range(size // 4 + 1))

    async def main(loop: VirtualLoop) -> None:
        near, far, link = await connected(loop, keep_open=True)
        sent, returned = bytearray(), bytearray()
        for verb, value in steps:
            if verb == "write":
                sent += (data := next_bytes(value))
                near.transport.write(data)
            elif verb == "back":
                returned += (data := next_bytes(value))
                far.transport.write(data)
            elif verb == "wait":
                await asyncio.sleep(value)
            elif verb == "latency":
                link.latency = value
            elif verb == "pause":
                far.transport.pause_reading()
            elif verb == "resume":
                far.transport.resume_reading()
            elif verb == "hold":
                link.hold()
            elif verb == "release":
                link.release()
            else:
                loop.call_soon(link.release)
            assert sent.startswith(far.data)
            assert returned.startswith(near.data)
        if close:
            near.transport.write_eof()
        link.release()
        far.transport.resume_reading()
        await asyncio.sleep(10)
        assert far.data == sent
        assert near.data == returned
        assert far.events.count("eof") == int(close)
        assert not close or far.events[-1] == "eof"
        flow = [event for event in near.events if event in ("pause", "resume")]
        assert flow == ["pause", "resume"] * (len(flow) // 2)
        assert near.transport.get_write_buffer_size() == 0

    run_virtual(main)
