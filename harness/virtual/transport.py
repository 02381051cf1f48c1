"""Connections in memory: two transports, one for each end.

Bytes of one direction arrive in order, after the latency of their link; what is written at one instant arrives as one
piece. Closing sends an end of file behind the bytes on their way; bytes that reach an end that is closed come back as a
reset, as TCP has it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from asyncio import sslproto
from collections.abc import Iterable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from harness.virtual import tls
from harness.virtual.network import Link, Listener, VirtualSocket, acting_as

if TYPE_CHECKING:
    from harness.virtual.loop import VirtualLoop

KERNEL_BUFFER = 256 * 1024
"""Bytes that a connection takes on top of the transport's own limit before the writer is asked to wait."""

_quiet: tuple[int, int] | None = None


def _never_readable() -> int:
    """A file descriptor that no poll ever finds readable (httpcore polls one to see whether a connection is idle)."""
    global _quiet
    if _quiet is None:
        _quiet = os.pipe()
    return _quiet[0]


class VirtualTransport(asyncio.Transport):
    """One end of a connection in memory."""

    peer: VirtualTransport
    established: asyncio.Future[None]

    def __init__(
        self,
        loop: VirtualLoop,
        link: Link,
        party: str,
        sockname: tuple[str, int],
        peername: tuple[str, int],
        context: Context,
    ) -> None:
        super().__init__()
        self.number = next(loop.network.numbers)
        self._loop = loop
        self._link = link
        self._context = context
        self._protocol: Any = None
        self._buffered = False
        self._closing = False
        self._lost = False
        self._eof_sent = False
        self._eof_seen = False
        self._reading = True
        self._unread: list[bytes | None] = []
        self._chunk: list[bytes] | None = None
        self._chunk_at = -1.0
        self._last_due = 0.0
        self._undelivered = 0
        self._write_paused = False
        self._high, self._low = 64 * 1024, 16 * 1024
        self._server: Any = None
        self._extra.update(  # type: ignore[attr-defined]
            party=party,
            sockname=sockname,
            peername=peername,
            socket=VirtualSocket(sockname, peername, self._fileno),
        )

    def _fileno(self) -> int:
        return -1 if self._lost or self._eof_seen else _never_readable()

    # -- set up

    def take_tls_as_said(self, sslcontext: Any, server_name: str | None) -> None:
        """Remember that this connection was to be TLS, without encrypting anything."""
        self._extra.update(sslcontext=sslcontext, tls=True, sni=server_name)  # type: ignore[attr-defined]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to its protocol."""
        self.set_protocol(protocol)
        self._link.transports.add(self)
        protocol.connection_made(self)

    # -- writing

    def write(self, data: Any) -> None:
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = bytes(data)
        if self._closing or self._lost or not data:
            return
        if self._eof_sent:
            raise RuntimeError("Cannot call write() after write_eof()")
        now = self._loop._now
        self._undelivered += len(data)
        if self._chunk is not None and self._chunk_at == now:
            self._chunk.append(data)
        else:
            self._chunk = [data]
            self._chunk_at = now
            self._schedule(self._arrive, self._chunk)
        if self._undelivered > self._high + KERNEL_BUFFER:
            self._pause_writing()

    def _pause_writing(self) -> None:
        if not self._write_paused:
            self._write_paused = True
            self._protocol.pause_writing()

    def _resume_writing(self) -> None:
        if self._write_paused and self._undelivered <= self._low + KERNEL_BUFFER and not self._lost:
            self._write_paused = False
            self._protocol.resume_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if not self._eof_sent and not self._lost:
            self._eof_sent = True
            self._chunk = None
            self._schedule(self._arrive, None)

    def can_write_eof(self) -> bool:
        return True

    def _schedule(self, callback: Any, argument: Any = None) -> None:
        due = self._loop._now + self._link.latency
        if due < self._last_due:
            due = self._last_due
        self._last_due = due
        self._loop.deliver_at(due, callback, argument, self.peer._context)

    def _arrive(self, chunk: list[bytes] | None) -> None:
        """One piece, or the end of file, reaches the other end (runs in the other end's context)."""
        if chunk is self._chunk:
            self._chunk = None
        link = self._link
        if link.held or link._waiting:
            link.wait(self.peer._context, self._land, chunk)
        else:
            self._land(chunk)

    def _land(self, chunk: list[bytes] | None) -> None:
        peer = self.peer
        if chunk is None:
            peer._receive(None)
            return
        data = chunk[0] if len(chunk) == 1 else b"".join(chunk)
        if peer._lost:
            peer._schedule(self._reset_arrives)
            return
        peer._receive(data)

    def _delivered(self, size: int) -> None:
        self._undelivered -= size
        if self._write_paused:
            # In its own turn: the other end's code is running now.
            self._loop.call_soon(self._resume_writing, context=self._context)

    def get_write_buffer_size(self) -> int:
        return max(0, self._undelivered - KERNEL_BUFFER)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = (64 * 1024 if low is None else 4 * low) if high is None else high
        self._low = self._high // 4 if low is None else low
        if self._undelivered > self._high + KERNEL_BUFFER:
            self._pause_writing()

    # -- reading

    def _receive(self, data: bytes | None) -> None:
        if self._lost:
            return
        if not self._reading or self._unread:
            self._unread.append(data)
            return
        self._hand_over(data)

    def _hand_over(self, data: bytes | None) -> None:
        if data is None:
            self._eof_seen = True
        else:
            self.peer._delivered(len(data))
        if self._closing:
            return
        protocol = self._protocol
        try:
            if data is None:
                if not protocol.eof_received():
                    self.close()
            elif self._buffered:
                _fill(protocol, data)
            else:
                protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # As asyncio has it: a protocol that raises has lost its connection.
            self._loop.call_exception_handler(
                {
                    "message": "Fatal error: a protocol could not take what it received",
                    "exception": error,
                    "transport": self,
                    "protocol": protocol,
                }
            )
            self._force_close(error)

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            if self._unread:
                self._loop.call_soon(self._drain_unread, context=self._context)

    def _drain_unread(self) -> None:
        while self._unread and self._reading and not self._lost:
            self._hand_over(self._unread.pop(0))

    # -- ending

    def is_closing(self) -> bool:
        return self._closing or self._lost

    def close(self) -> None:
        if self._closing or self._lost:
            return
        self._closing = True
        self.write_eof()
        self._loop.call_soon(self._connection_lost, None, context=self._context)

    def abort(self) -> None:
        """Close at once; the other end sees a reset."""
        self._force_close(None)

    def _force_close(self, error: BaseException | None) -> None:
        """`abort` with a reason for the own protocol; asyncio's TLS layer calls this by its name."""
        if self._lost:
            return
        self._closing = self._eof_sent = True
        self._schedule(self.peer._reset_arrives)
        self._loop.call_soon(self._connection_lost, error, context=self._context)

    def _reset_arrives(self, nothing: None = None) -> None:
        link = self._link
        if link.held or link._waiting:
            link.wait(self._context, self._connection_lost, _reset())
        else:
            self._connection_lost(_reset())

    def lose(self) -> None:
        """The connection is reset from this moment on; the other end is not told."""
        if not self._lost:
            self._closing = self._eof_sent = True
            self._loop.call_soon(self._connection_lost, _reset(), context=self._context)

    def _connection_lost(self, error: BaseException | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._unread.clear()
        self._link.transports.discard(self)
        if self._server is not None:
            self._server.detached(self)
        if self._protocol is not None:
            self._protocol.connection_lost(error)


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


def _fill(protocol: Any, data: bytes) -> None:
    """Hand bytes to a `BufferedProtocol`."""
    view = memoryview(data)
    while view:
        buffer = protocol.get_buffer(len(view))
        size = min(len(buffer), len(view))
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]


class _Sniffer(asyncio.Protocol):
    """Waits for the first bytes at a TLS port: a ClientHello is answered with the private CA, anything else reset.

    Libraries that do TLS themselves over the byte stream (anyio, hence httpx) send a real one.
    """

    def __init__(self, loop: VirtualLoop, listener: Listener, transport: VirtualTransport) -> None:
        self._loop = loop
        self._listener = listener
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data[0] != 0x16:
            self._transport.abort()
            return
        self._transport._extra["tls"] = True  # type: ignore[attr-defined]
        inner = self._listener.factory()
        outer = sslproto.SSLProtocol(
            self._loop,
            inner,
            tls.server_context(),
            waiter=None,  # type: ignore[arg-type]  # asyncio itself passes None for servers
            server_side=True,
            call_connection_made=True,
        )
        self._transport.set_protocol(outer)
        outer.connection_made(self._transport)
        _fill(outer, data)

    def take_as_said(self) -> None:
        """The client has upgraded to TLS without a ClientHello (`loop.start_tls`): the server's turn has come."""
        inner = self._listener.factory()
        self._transport.set_protocol(inner)
        inner.connection_made(self._transport)


def upgrade(transport: VirtualTransport, protocol: asyncio.BaseProtocol, sslcontext: Any, server_name: str) -> None:
    """Take TLS as said on a connection that began without."""
    transport.set_protocol(protocol)
    transport.take_tls_as_said(sslcontext, server_name)
    other = transport.peer
    other.take_tls_as_said(None, server_name)
    sniffer = other.get_protocol()
    if isinstance(sniffer, _Sniffer):
        other._context.run(sniffer.take_as_said)


def connect_pair(
    loop: VirtualLoop,
    listener: Listener,
    party: str,
    protocol: asyncio.BaseProtocol,
    *,
    tls: bool,
    sslcontext: Any,
    sni: str | None,
) -> VirtualTransport:
    """Connect `protocol` of `party` with a new protocol of `listener`; returns the client's end.

    The client's `connection_made` comes in the next turn, before which `transport.established` is not done.
    """
    network = loop.network
    here = (network.add_host(party), 50000 + next(network.numbers) % 15000)
    link = network.link(party, listener.party)
    client = VirtualTransport(loop, link, party, here, listener.address, copy_context())
    context = acting_as(listener.party)
    server = VirtualTransport(loop, link, listener.party, listener.address, here, context)
    client.peer, server.peer = server, client
    server._server = listener.server
    if listener.server is not None:
        listener.server.transports.add(server)
    if tls:
        client.take_tls_as_said(sslcontext, sni)
        server.take_tls_as_said(None, sni)
    client.established = loop.create_future()

    def begin_server() -> None:
        try:
            server.begin(_Sniffer(loop, listener, server) if listener.tls and not tls else listener.factory())
        except BaseException:
            server.abort()
            raise

    def begin_client() -> None:
        try:
            client.begin(protocol)
        finally:
            if not client.established.done():
                client.established.set_result(None)

    loop.call_soon(begin_server, context=context)
    loop.call_soon(begin_client, context=client._context)
    return client
