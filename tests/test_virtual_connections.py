"""Connections in memory: bytes, flow control, and how they end."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
from virtual_peers import PORT, Peer, connected, served, world

from harness.virtual import VirtualLoop, run_virtual, spawn
from harness.virtual.transport import KERNEL_BUFFER

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
