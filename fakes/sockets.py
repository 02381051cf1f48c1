"""Ending a connection the hard way."""

from __future__ import annotations

import asyncio
import socket
import struct


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Reset a TCP connection (RST), as when the other end's machine has gone. Does nothing when it is gone already.

    asyncio's `abort` only closes the socket, which the peer takes for an end of file; without lingering it is a reset.
    """
    if transport is None or transport.is_closing():
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
