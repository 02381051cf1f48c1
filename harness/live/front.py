"""The gateway's public name inside an enclosure: TLS ends here, and the bytes go on to the gateway as they are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

CHUNK = 65536


class Server:
    """Serves connections by `lead`, and knows those that are open, so that they can be ended."""

    def __init__(self, lead: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._lead = lead
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, addresses: Sequence[str], port: int, **options: Any) -> int:
        """Listen at all of `addresses`; returns the port, for one of 0. `options`: of `asyncio.start_server`.

        Raises OSError.
        """
        self._server = await asyncio.start_server(self._serve, addresses, port, **options)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and end what is open."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        await self._lead(reader, writer)


class Front:
    """What a load balancer or a tunnel is in front of a gateway. `port`: where the gateway listens on loopback."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.port = 0
        self._context = context
        self._server = Server(self._lead)

    async def open(self, addresses: Sequence[str], port: int) -> None:
        """Listen at all of `addresses`. Raises OSError."""
        await self._server.open(addresses, port, ssl=self._context)

    async def close(self) -> None:
        """Listen no more, and end what is open."""
        await self._server.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner, to_gateway = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.transport.abort()  # nobody is at home: the connection breaks, as behind a load balancer without one
            return
        try:
            await asyncio.gather(pour(reader, to_gateway), pour(inner, writer))
        finally:
            writer.transport.abort()
            to_gateway.transport.abort()


async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass everything on, and then its end, if the sink can be told of an end."""
    try:
        while chunk := await source.read(CHUNK):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
        else:
            sink.close()
    except (ConnectionError, ssl.SSLError):
        sink.close()
