"""The network in memory: names, links, connections and their ends."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.virtual import Network, VirtualLoop, run_virtual, spawn
from harness.virtual import tls as virtual_tls
from harness.virtual.network import PARTY, Link, VirtualServer
from harness.virtual.transport import KERNEL_BUFFER, VirtualTransport

PORT = 9000


class Peer(asyncio.Protocol):
    """Writes down what happens to it, and when."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.events: list[Any] = []
        self.data = bytearray()
        self.pieces: list[tuple[float, bytes]] = []
        self.error: BaseException | None = None
        self.lost_at: float | None = None
        self.eof_at: float | None = None
        self.parties: set[str] = set()
        self.keep_open = keep_open
        self.transport: VirtualTransport

    def _now(self) -> float:
        self.parties.add(PARTY.get())
        return asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(VirtualTransport, transport)
        self._now()

    def data_received(self, data: bytes) -> None:
        self.pieces.append((self._now(), data))
        self.data += data
        self.events.append("data")

    def eof_received(self) -> bool:
        self.eof_at = self._now()
        self.events.append("eof")
        return self.keep_open

    def connection_lost(self, exc: BaseException | None) -> None:
        self.error, self.lost_at = exc, self._now()
        self.events.append("lost")

    def pause_writing(self) -> None:
        self._now()
        self.events.append("pause")

    def resume_writing(self) -> None:
        self._now()
        self.events.append("resume")


async def served(
    loop: VirtualLoop,
    party: str = "openai",
    port: int = PORT,
    *,
    host: str = "0.0.0.0",
    factory: Callable[[], asyncio.BaseProtocol] | None = None,
    **options: Any,
) -> tuple[VirtualServer, list[Peer]]:
    """A server of `party`; its connections are in the list, oldest first."""
    peers: list[Peer] = []

    def make() -> asyncio.BaseProtocol:
        peers.append(Peer(keep_open=options.get("keep_open", False)))
        return peers[-1]

    loop.network.add_host(party, [f"{party}.test"])
    start = loop.create_server(factory or make, host, port)
    return await spawn(loop, party, start, f"{party} listens"), peers


async def connected(
    loop: VirtualLoop, *, latency: float = 0.0, keep_open: bool = False, party: str = "gateway"
) -> tuple[Peer, Peer, Link]:
    """Two ends of one connection: the gateway's, the vendor's, and the link between them."""
    link = loop.network.link(party, "openai")
    link.latency = latency
    _, peers = await served(loop, keep_open=keep_open)
    near = Peer(keep_open=keep_open)
    await spawn(loop, party, loop.create_connection(lambda: near, "openai.test", PORT), "connect")
    return near, peers[0], link


def world(main: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Callable[[], None]:
    """Run an async test in a world of its own, in which nothing may go unhandled."""

    def test() -> None:
        unhandled: list[Any] = []

        async def inside(loop: VirtualLoop) -> None:
            loop.set_exception_handler(lambda loop, context: unhandled.append(context))
            await main(loop)

        run_virtual(inside)
        assert not unhandled

    test.__name__ = main.__name__
    test.__doc__ = main.__doc__
    return test


# -- bytes


@world
async def test_bytes_take_the_latency_and_keep_their_order(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop, latency=0.05)
    began = loop.time()
    assert began == 0.1, "a handshake takes one round trip"
    near.transport.write(b"one ")
    await asyncio.sleep(0.01)
    near.transport.write(b"two ")
    far.transport.write(b"back")
    link.latency = 0  # a faster way must not let later bytes overtake
    await asyncio.sleep(0.01)
    near.transport.write(b"three")
    await asyncio.sleep(1)
    assert far.data == b"one two three"
    assert [at - began for at, _ in far.pieces] == pytest.approx([0.05, 0.06, 0.06])
    assert near.pieces == [(pytest.approx(began + 0.06), b"back")]


@world
async def test_what_is_written_at_one_instant_arrives_as_one_piece(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop, latency=0.01)
    near.transport.write(b"a")
    near.transport.writelines([b"b", bytearray(b"c"), memoryview(b"d")])
    near.transport.write(b"")
    await asyncio.sleep(0)
    near.transport.write(b"e")
    await asyncio.sleep(0.001)
    near.transport.write(b"f")
    await asyncio.sleep(1)
    assert [data for _, data in far.pieces] == [b"abcde", b"f"]


@world
async def test_each_end_runs_as_its_party(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop)
    near.transport.write(b"x")
    far.transport.write(b"y")
    await asyncio.sleep(1)
    link.hold()
    near.transport.write(b"held")
    far.transport.write(b"held")
    await asyncio.sleep(1)
    link.release()
    await asyncio.sleep(1)
    far.transport.abort()
    await asyncio.sleep(1)
    assert near.events == far.events == ["data", "data", "lost"]
    assert (near.parties, far.parties) == ({"gateway"}, {"openai"})


@world
async def test_names_and_numbers_of_both_ends(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop)
    here, there = near.transport, far.transport
    assert here.get_extra_info("peername") == there.get_extra_info("sockname") == ("10.0.0.1", PORT)
    assert here.get_extra_info("sockname") == there.get_extra_info("peername")
    assert here.get_extra_info("sockname")[0] == "10.0.0.2"
    assert here.get_extra_info("socket").getpeername() == ("10.0.0.1", PORT)
    assert (here.get_extra_info("party"), there.get_extra_info("party")) == ("gateway", "openai")
    assert here.get_extra_info("tls") is None
    assert loop.network.open_transports() == sorted([here, there], key=lambda t: t.number)
    here.close()
    await asyncio.sleep(1)
    assert loop.network.open_transports() == []


@pytest.mark.parametrize("data", ["text", 5, None, ["x"]])
def test_only_bytes_can_be_written(data: Any) -> None:
    async def main(loop: VirtualLoop) -> None:
        near, _, _ = await connected(loop)
        near.transport.write(data)

    with pytest.raises(TypeError, match="bytes-like"):
        run_virtual(main)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(10_000):
        writer.write(data)
        await writer.drain()
    writer.close()


@world
async def test_streams_echo_five_megabytes(loop: VirtualLoop) -> None:
    loop.network.add_host("openai", ["openai.test"])
    loop.network.link("harness", "openai").latency = 0.02
    await spawn(loop, "openai", asyncio.start_server(_echo, None, PORT), "listen")
    reader, writer = await asyncio.open_connection("openai.test", PORT)
    sent = b"".join(number.to_bytes(4) for number in range(1_310_720))

    async def send() -> None:
        for begin in range(0, len(sent), 50_000):
            writer.write(sent[begin : begin + 50_000])
            await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    got = await reader.read()
    await sending
    assert len(got) == 5 * 1024 * 1024
    assert got == sent
    writer.close()
    await writer.wait_closed()
    assert loop.network.open_transports() == []


# -- flow control


@world
async def test_a_paused_reader_pauses_the_writer_and_loses_nothing(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop, latency=0.01)
    near.transport.set_write_buffer_limits(high=1000, low=100)
    assert near.transport.get_write_buffer_limits() == (100, 1000)
    far.transport.pause_reading()
    assert not far.transport.is_reading()
    near.transport.write(b"a" * (KERNEL_BUFFER + 1000))
    assert near.events == []
    near.transport.write(b"b")
    assert near.events == ["pause"]
    assert near.transport.get_write_buffer_size() == 1001
    near.transport.write(b"c")
    near.transport.write_eof()
    await asyncio.sleep(1)
    assert (near.events, far.events) == (["pause"], [])
    far.transport.resume_reading()
    far.transport.resume_reading()
    await asyncio.sleep(1)
    assert near.events[:2] == ["pause", "resume"]
    assert near.transport.get_write_buffer_size() == 0
    assert far.data == b"a" * (KERNEL_BUFFER + 1000) + b"bc"
    assert far.events[:2] == ["data", "eof"]


@world
async def test_a_reader_may_pause_while_it_takes_what_has_piled_up(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop)
    far.transport.pause_reading()
    for piece in (b"1", b"2", b"3"):
        near.transport.write(piece)
        await asyncio.sleep(0.1)
    taken = far.data_received

    def take_one(data: bytes) -> None:
        taken(data)
        far.transport.pause_reading()

    far.data_received = take_one  # type: ignore[method-assign]
    for count in (1, 2):
        far.transport.resume_reading()
        near.transport.write(b"+")
        await asyncio.sleep(0.1)
        assert len(far.pieces) == count
    far.data_received = taken  # type: ignore[method-assign]
    far.transport.resume_reading()
    await asyncio.sleep(0.1)
    assert far.data == b"123++"


@world
async def test_what_arrives_at_the_instant_of_resuming_does_not_overtake(loop: VirtualLoop) -> None:
    near, far, link = await connected(loop)
    far.transport.pause_reading()
    near.transport.write(b"1")
    await asyncio.sleep(1)
    link.latency = 1
    loop.call_at(loop.time() + 1, far.transport.resume_reading)
    near.transport.write(b"2")  # its timer stands behind that of the resumption
    await asyncio.sleep(5)
    assert far.data == b"12"


@world
async def test_a_writer_that_writes_when_it_is_resumed_writes_as_itself(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop)
    inside: list[bool] = []
    plain = far.data_received

    def slow(data: bytes) -> None:
        inside.append(True)
        plain(data)
        inside.pop()

    def resume() -> None:
        Peer.resume_writing(near)
        assert not inside, "the other end is still in its data_received"
        near.transport.write(b"more")

    far.data_received = slow  # type: ignore[method-assign]
    near.resume_writing = resume  # type: ignore[method-assign]
    near.transport.write(b"x" * 1_000_000)
    near.parties.clear()
    await asyncio.sleep(1)
    assert near.events == ["pause", "resume"]
    assert near.parties == {"gateway"}
    assert far.data == b"x" * 1_000_000 + b"more"


@world
async def test_lowering_the_limit_below_what_is_waiting_pauses(loop: VirtualLoop) -> None:
    near, _, _ = await connected(loop)
    near.transport.write(b"x" * (KERNEL_BUFFER + 50))
    assert near.events == []
    near.transport.set_write_buffer_limits(high=10)
    assert near.events == ["pause"]
    await asyncio.sleep(1)
    assert near.events == ["pause", "resume"]


# -- ending


@world
async def test_half_close_leaves_the_other_direction_open(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop, latency=0.01, keep_open=True)
    near.transport.write(b"question")
    near.transport.write_eof()
    near.transport.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        near.transport.write(b"more")
    await asyncio.sleep(1)
    assert (far.data, far.events) == (b"question", ["data", "eof"])
    assert not far.transport.is_closing()
    far.transport.write(b"answer")
    await asyncio.sleep(1)
    assert near.data == b"answer"
    far.transport.close()
    await asyncio.sleep(1)
    assert near.events == ["data", "eof"]
    near.transport.close()
    await asyncio.sleep(1)
    assert (near.error, far.error) == (None, None)
    assert near.events[-1] == far.events[-1] == "lost"


@world
async def test_an_end_that_does_not_keep_the_connection_open_closes_at_the_end_of_file(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop)
    near.transport.write_eof()
    await asyncio.sleep(1)
    assert (near.events, far.events) == (["eof", "lost"], ["eof", "lost"])


@world
async def test_bytes_on_their_way_arrive_before_the_close(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop, latency=0.5)
    began = loop.time()
    near.transport.write(b"last words")
    near.transport.close()
    assert near.transport.is_closing()
    near.transport.write(b"too late")
    await asyncio.sleep(5)
    assert near.lost_at == began
    assert (far.data, far.events, far.error) == (b"last words", ["data", "eof", "lost"], None)
    assert far.eof_at == began + 0.5


@world
async def test_abort_is_a_reset_for_the_other_end(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop, latency=0.5)
    began = loop.time()
    near.transport.abort()
    await asyncio.sleep(5)
    assert (near.error, near.lost_at) == (None, began)
    assert isinstance(far.error, ConnectionResetError)
    assert far.error.errno == errno.ECONNRESET
    assert (far.lost_at, far.events) == (began + 0.5, ["lost"])


@world
async def test_bytes_for_an_end_that_is_closed_come_back_as_a_reset(loop: VirtualLoop) -> None:
    near, far, _ = await connected(loop, latency=0.5, keep_open=True)
    began = loop.time()
    near.transport.close()
    await asyncio.sleep(2)
    assert far.events == ["eof"]
    far.transport.write(b"are you there?")
    await asyncio.sleep(5)
    assert near.data == b""
    assert far.events == ["eof", "lost"]
    assert isinstance(far.error, ConnectionResetError)
    assert far.lost_at == began + 3, "half a second for the bytes, half a second for the answer"
    far.transport.write(b"ignored")
    far.transport.abort()
    await asyncio.sleep(5)
    assert far.events == ["eof", "lost"], "an end is lost once"


@world
async def test_a_protocol_without_an_end_of_file_handler_closes_too(loop: VirtualLoop) -> None:
    class Plain(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.got = bytearray()
            self.buffer = bytearray(3)

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.got += self.buffer[:nbytes]

    far = Plain()
    await served(loop, factory=lambda: far)
    near = Peer()
    await loop.create_connection(lambda: near, "openai.test", PORT)
    near.transport.write(b"0123456789")
    near.transport.write_eof()
    await asyncio.sleep(1)
    assert far.got == b"0123456789", "a protocol with a buffer of three bytes is filled four times"
    assert near.events == ["eof", "lost"]


@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_a_protocol_that_raises_has_lost_its_connection(method: str) -> None:
    heard: list[BaseException] = []

    async def main(loop: VirtualLoop) -> None:
        loop.set_exception_handler(lambda loop, context: heard.append(context["exception"]))
        near, far, _ = await connected(loop)

        def fail(*args: Any) -> None:
            raise LookupError("no such event")

        setattr(far, method, fail)
        near.transport.write(b"x")
        near.transport.write_eof()
        await asyncio.sleep(1)
        assert far.events[-1] == "lost"
        assert isinstance(far.error, LookupError)
        assert isinstance(near.error, ConnectionResetError)
        assert [str(error) for error in heard] == ["no such event"]

    run_virtual(main)


# -- links


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


# -- names and ports


def _reporting() -> tuple[Network, list[tuple[str, str, str]]]:
    reports: list[tuple[str, str, str]] = []
    return Network(report=lambda *report: reports.append(report)), reports


def test_an_unknown_name_is_refused_and_reported_with_who_asked() -> None:
    network, reports = _reporting()

    async def ask(loop: VirtualLoop) -> None:
        with pytest.raises(socket.gaierror, match="no host of this world") as caught:
            await loop.create_connection(Peer, "telemetry.example.com", 443)
        assert caught.value.errno == socket.EAI_NONAME
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("Sentry.Example.com.", 443)

    async def main(loop: VirtualLoop) -> None:
        await spawn(loop, "gateway", ask(loop), "ask")

    run_virtual(main, network=network)
    assert reports == [
        ("lookup.refused", "gateway", "telemetry.example.com"),
        ("lookup.refused", "gateway", "Sentry.Example.com."),
    ]


def test_a_port_where_nobody_listens_is_refused_and_reported_once() -> None:
    network, reports = _reporting()

    async def ask(loop: VirtualLoop, host: str, port: int) -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            await loop.create_connection(Peer, host, port)
        assert caught.value.errno == errno.ECONNREFUSED

    async def main(loop: VirtualLoop) -> None:
        await served(loop)
        await spawn(loop, "gateway", ask(loop, "openai.test", 81), "ask")
        await spawn(loop, "twilio", ask(loop, "localhost", PORT), "ask")
        await spawn(loop, "gateway", ask(loop, "203.0.113.7", 443), "ask")

    run_virtual(main, network=network)
    assert reports == [
        ("connect.refused", "gateway", "openai:81"),
        ("connect.refused", "twilio", f"twilio:{PORT}"),
        ("connect.refused", "gateway", "203.0.113.7:443"),
    ]


@world
async def test_names_resolve_without_regard_to_case_and_localhost_is_oneself(loop: VirtualLoop) -> None:
    network = loop.network
    openai, gateway = network.add_host("openai", ["Api.OpenAI.com"]), network.add_host("gateway")
    assert openai != gateway
    assert network.add_host("openai", ["second.name"]) == openai
    assert network.resolve("API.openai.COM.", "gateway") == openai
    assert network.resolve("second.name", "gateway") == openai
    assert network.looked_up_by("gateway") == {"api.openai.com", "second.name"}
    assert network.looked_up_by("twilio") == frozenset()
    assert network.resolve(openai, "gateway") == openai
    for name in ("localhost", "127.0.0.1", "127.0.1.1", "::1", ""):
        assert network.resolve(name, "gateway") == gateway
    assert await loop.getaddrinfo("api.openai.com", "https") == [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (openai, 443))
    ]
    assert await loop.getaddrinfo(b"api.openai.com", None) == [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (openai, 0))
    ]


@world
async def test_a_port_can_be_had_once(loop: VirtualLoop) -> None:
    server, _ = await served(loop)
    with pytest.raises(OSError) as caught:
        await served(loop)
    assert caught.value.errno == errno.EADDRINUSE
    server.close()
    await served(loop)
    with pytest.raises(OSError) as caught:
        await served(loop, "twilio", host="openai.test")
    assert caught.value.errno == errno.EADDRNOTAVAIL


@world
async def test_two_parties_may_listen_at_the_same_port_number(loop: VirtualLoop) -> None:
    _, openai = await served(loop, "openai")
    _, twilio = await served(loop, "twilio")
    to_twilio = Peer()
    await loop.create_connection(lambda: to_twilio, "twilio.test", PORT)
    to_twilio.transport.write(b"hello")
    await asyncio.sleep(1)
    assert (len(openai), twilio[0].data) == (0, b"hello")


@world
async def test_port_0_is_a_free_port(loop: VirtualLoop) -> None:
    one, _ = await served(loop, port=0)
    two, _ = await served(loop, port=0)
    ports = [server.sockets[0].getsockname()[1] for server in (one, two)]
    assert len(set(ports)) == 2
    await loop.create_connection(Peer, "openai.test", ports[1])


@world
async def test_listening_waits_for_the_port_of_the_right_party(loop: VirtualLoop) -> None:
    waiting = [asyncio.create_task(loop.network.listening("gateway", PORT)) for _ in range(2)]
    await served(loop, "openai")
    await asyncio.sleep(1)
    assert not any(task.done() for task in waiting)
    await served(loop, "gateway")
    await asyncio.gather(*waiting)
    await loop.network.listening("gateway", PORT)
    assert loop.time() == 1


# -- servers


@world
async def test_a_closed_server_takes_no_connection_and_waits_for_those_it_has(loop: VirtualLoop) -> None:
    server, peers = await served(loop)
    near = Peer()
    await loop.create_connection(lambda: near, "openai.test", PORT)
    assert server.is_serving()
    server.close()
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Peer, "openai.test", PORT)
    waiting = asyncio.create_task(server.wait_closed())
    near.transport.write(b"still here")
    await asyncio.sleep(1)
    assert peers[0].data == b"still here"
    assert not waiting.done()
    near.transport.close()
    await waiting
    await server.wait_closed()


@world
async def test_waiting_for_the_end_of_a_server_that_serves_waits(loop: VirtualLoop) -> None:
    server, _ = await served(loop)
    waiting = asyncio.create_task(server.wait_closed())
    await asyncio.sleep(1)
    assert not waiting.done()
    server.close()
    await waiting


@world
async def test_serving_for_ever_ends_with_the_server_or_with_the_task(loop: VirtualLoop) -> None:
    server, _ = await served(loop)
    serving = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(1)
    server.close()
    await asyncio.wait({serving})
    assert serving.cancelled()
    server, _ = await served(loop)
    serving = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(1)
    serving.cancel()
    await asyncio.wait({serving})
    assert not server.is_serving()


@world
async def test_the_clients_of_a_server_can_be_closed_or_aborted_oldest_first(loop: VirtualLoop) -> None:
    for verb in ("close_clients", "abort_clients"):
        server, _ = await served(loop)
        ended: list[int] = []
        for number in range(20):
            near = Peer()
            near.connection_lost = lambda exc, number=number, ended=ended: ended.append(number)  # type: ignore[method-assign,misc]
            await loop.create_connection(lambda near=near: near, "openai.test", PORT)  # type: ignore[misc]
        getattr(server, verb)()
        await asyncio.sleep(1)
        assert ended == list(range(20))
        server.close()
        await server.wait_closed()


def test_a_server_that_cannot_make_its_protocol_resets_the_client() -> None:
    heard: list[str] = []

    def fail() -> asyncio.Protocol:
        raise LookupError("no protocol")

    async def main(loop: VirtualLoop) -> None:
        loop.set_exception_handler(lambda loop, context: heard.append(str(context["exception"])))
        await served(loop, factory=fail)
        near = Peer()
        await loop.create_connection(lambda: near, "openai.test", PORT)
        await asyncio.sleep(1)
        assert isinstance(near.error, ConnectionResetError)

    run_virtual(main)
    assert heard == ["no protocol"]


# -- TLS


async def tls_port(loop: VirtualLoop, port: int = 443) -> list[Peer]:
    """The vendor's plain server behind a port where TLS is expected."""
    loop.network.expect_tls(loop.network.add_host("openai"), port)
    _, peers = await served(loop, port=port)
    return peers


@world
async def test_tls_is_taken_as_said(loop: VirtualLoop) -> None:
    peers = await tls_port(loop)
    context = ssl.create_default_context()
    near = Peer()
    await loop.create_connection(lambda: near, "openai.test", 443, ssl=context)
    near.transport.write(b"in plain")
    await asyncio.sleep(1)
    assert peers[0].data == b"in plain"
    assert near.transport.get_extra_info("sslcontext") is context
    for end in (near, peers[0]):
        assert end.transport.get_extra_info("tls") is True
        assert end.transport.get_extra_info("sni") == "openai.test"
    await loop.create_connection(Peer, "openai.test", 443, ssl=True, server_hostname="other.test")
    assert peers[1].transport.get_extra_info("sni") == "other.test"


@world
async def test_tls_to_a_port_that_does_not_speak_it_fails_as_openssl_would(loop: VirtualLoop) -> None:
    _, peers = await served(loop)
    with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
        await loop.create_connection(Peer, "openai.test", PORT, ssl=True)
    assert peers == []
    assert loop.network.open_transports() == []


@world
async def test_plain_bytes_at_a_tls_port_are_reset(loop: VirtualLoop) -> None:
    peers = await tls_port(loop)
    near = Peer()
    await loop.create_connection(lambda: near, "openai.test", 443)
    near.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.sleep(1)
    assert isinstance(near.error, ConnectionResetError)
    assert peers == []
    silent = Peer()
    await loop.create_connection(lambda: silent, "openai.test", 443)
    silent.transport.close()
    await asyncio.sleep(1)
    assert loop.network.open_transports() == []


@world
async def test_an_upgrade_to_tls_is_taken_as_said(loop: VirtualLoop) -> None:
    peers = await tls_port(loop)
    near, context = Peer(), ssl.create_default_context()
    await loop.create_connection(lambda: near, "openai.test", 443)
    after = Peer()
    transport = await loop.start_tls(near.transport, after, context, server_hostname="openai.test")
    transport.write(b"in plain")
    await asyncio.sleep(1)
    assert peers[0].data == b"in plain"
    assert peers[0].parties == {"openai"}
    assert peers[0].transport.get_extra_info("sni") == "openai.test"
    peers[0].transport.write(b"back")
    await asyncio.sleep(1)
    assert (bytes(near.data), bytes(after.data)) == (b"", b"back")


class TlsClient(asyncio.Protocol):
    """Does TLS itself over the byte stream, like anyio."""

    def __init__(self, server_name: str, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self.ready = asyncio.get_running_loop().create_future()
        self.got = bytearray()
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._advance()

    def data_received(self, data: bytes) -> None:
        self.incoming.write(data)
        self._advance()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True

    def _advance(self) -> None:
        try:
            if not self.ready.done():
                self.tls.do_handshake()
                self.ready.set_result(self.tls.getpeercert())
            while True:
                self.got += self.tls.read(65536)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not self.ready.done():
                self.ready.set_exception(error)
        self.transport.write(self.outgoing.read())

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.transport.write(self.outgoing.read())


@world
async def test_a_real_client_hello_is_answered_by_the_private_ca_for_the_name_asked_for(loop: VirtualLoop) -> None:
    peers = await tls_port(loop)
    loop.network.add_host("openai", ["api.openai.com"])
    context = ssl.create_default_context(cafile=virtual_tls.bundle())
    for count, name in enumerate(("openai.test", "api.openai.com"), 1):
        client = TlsClient(name, context)
        await loop.create_connection(lambda client=client: client, name, 443)  # type: ignore[misc]
        certificate = await client.ready
        assert certificate["subjectAltName"] == (("DNS", name),)
        client.send(b"x" * 100_000)
        await asyncio.sleep(1)
        assert len(peers) == count
        assert peers[-1].data == b"x" * 100_000
        assert peers[-1].parties == {"openai"}
        assert peers[-1].transport.get_extra_info("tls") is True
        peers[-1].transport.write(b"y" * 100_000)
        await asyncio.sleep(1)
        assert client.got == b"y" * 100_000


@world
async def test_a_client_that_does_not_trust_the_private_ca_ends_the_connection(loop: VirtualLoop) -> None:
    await tls_port(loop)
    client = TlsClient("openai.test", ssl.create_default_context())
    await loop.create_connection(lambda: client, "openai.test", 443)
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.ready
    await asyncio.sleep(120)
    assert loop.network.open_transports() == []


@world
async def test_a_server_can_abort_a_connection_with_real_tls(loop: VirtualLoop) -> None:
    inner: list[asyncio.Transport] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            inner.append(transport)

    loop.network.expect_tls(loop.network.add_host("openai"), 443)
    await served(loop, port=443, factory=Server)
    client = TlsClient("openai.test", ssl.create_default_context(cafile=virtual_tls.bundle()))
    await loop.create_connection(lambda: client, "openai.test", 443)
    await client.ready
    await asyncio.sleep(1)
    inner[0].abort()
    await asyncio.sleep(120)
    assert client.lost
    assert loop.network.open_transports() == []


@world
async def test_a_front_serves_https_by_a_plain_port_behind(loop: VirtualLoop) -> None:
    loop.network.add_front("gw.example.test", "gateway", 8080)
    with pytest.raises(ConnectionRefusedError, match="gateway:443"):
        await loop.create_connection(Peer, "gw.example.test", 443, ssl=True)
    _, peers = await served(loop, "gateway", 8080)
    link = loop.network.link("harness", "gateway")
    link.latency = 0.5
    near = Peer()
    began = loop.time()
    await loop.create_connection(lambda: near, "gw.example.test", 443, ssl=True)
    near.transport.write(b"webhook")
    await asyncio.sleep(0.5)
    assert loop.time() == began + 1.5, "the front is part of the gateway: its link is the gateway's"
    assert peers[0].data == b"webhook"
    link.reset()
    await asyncio.sleep(1)
    assert isinstance(near.error, ConnectionResetError)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Peer, "gw.example.test", 8080)


# -- sockets of one's own


@world
async def test_a_socket_connected_by_the_loop_becomes_a_connection(loop: VirtualLoop) -> None:
    _, peers = await served(loop)
    address = loop.network.add_host("openai")
    sock = socket.socket()
    await loop.sock_connect(sock, (address, PORT))
    near = Peer()
    transport, _ = await loop.create_connection(lambda: near, sock=sock)
    assert sock.fileno() == -1, "the real one is not needed any more"
    transport.write(b"x")
    await asyncio.sleep(1)
    assert peers[0].data == b"x"
    with socket.socket() as other, pytest.raises(ValueError, match="sock_connect"):
        await loop.create_connection(Peer, sock=other)
    with pytest.raises(OSError) as caught:
        await loop.sock_connect(sock, (address, PORT))
    assert caught.value.errno == errno.EBADF
    with socket.socket() as refused, pytest.raises(ConnectionRefusedError):
        await loop.sock_connect(refused, (address, 81))
