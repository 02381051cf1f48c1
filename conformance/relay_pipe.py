"""The connection below a relay: a WebSocket of a browser's, or whatever the driver of a profile opens."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import aiohttp

from fakes.people.browser import Browser
from fakes.sockets import reset
from harness.driver import DriverFault, RelayConnection, fault
from harness.talk import BadFrame, RelayCodec

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld

_LOG = logging.getLogger("callproof")
"""What is told here is a harness error of the world; see `harness.faults`."""


class RelayEnd(Protocol):
    """The browser's end of one connection."""

    @property
    def code(self) -> int | None:
        """The code with which it was closed, None while it is open."""
        ...

    @property
    def reason(self) -> str:
        """Why it was closed, if that was said."""
        ...

    async def send(self, frame: str | bytes) -> None:
        """Send a frame. Raises ConnectionError or aiohttp's ClientError when it is closed."""
        ...

    async def receive(self) -> str | bytes | None:
        """The next frame; None when it is closed."""
        ...

    def pause(self) -> None:
        """Read nothing any more: what comes piles up on the way."""
        ...

    def resume(self) -> None:
        """Read again."""
        ...

    def lose(self) -> Awaitable[object] | None:
        """End it without saying so, as far as that can be done; returns what is to be waited for."""
        ...

    async def close(self) -> None:
        """Close it, as a page does that is left."""
        ...


class SocketEnd:
    """A WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.reason = ""

    @property
    def code(self) -> int | None:
        """See `RelayEnd.code`."""
        return self._socket.close_code

    async def send(self, frame: str | bytes) -> None:
        """See `RelayEnd.send`."""
        if isinstance(frame, str):
            await self._socket.send_str(frame)
        else:
            await self._socket.send_bytes(frame)

    async def receive(self) -> str | bytes | None:
        """See `RelayEnd.receive`."""
        message = await self._socket.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            frame: str | bytes = message.data
            return frame
        # Pings are answered below: what is left is the end.
        self.reason = message.extra or "" if message.type is aiohttp.WSMsgType.CLOSE else ""
        return None

    def pause(self) -> None:
        """See `RelayEnd.pause`."""
        if isinstance(transport := self._transport(), asyncio.Transport):
            transport.pause_reading()

    def resume(self) -> None:
        """See `RelayEnd.resume`."""
        if isinstance(transport := self._transport(), asyncio.Transport):
            transport.resume_reading()

    def lose(self) -> Awaitable[object] | None:
        """See `RelayEnd.lose`."""
        reset(self._transport())
        return None

    def _transport(self) -> asyncio.BaseTransport | None:
        connection = self._socket._conn  # aiohttp has no other way to what is below
        return connection.transport if connection is not None else None

    async def close(self) -> None:
        """See `RelayEnd.close`."""
        await self._socket.close(code=1001)


class DriverEnd:
    """What a driver has opened. It is paused by not reading from it, and lost by its `abort()` where it has one."""

    def __init__(self, connection: RelayConnection, file: Path) -> None:
        self._connection = connection
        self._file = file
        self._frames: AsyncIterator[str | bytes] = aiter(connection)
        self._closed = False

    @property
    def code(self) -> int | None:
        """See `RelayEnd.code`."""
        return self._connection.close_code

    @property
    def reason(self) -> str:
        """See `RelayEnd.reason`."""
        return self._connection.close_reason

    async def send(self, frame: str | bytes) -> None:
        """See `RelayEnd.send`."""
        try:
            await self._connection.send(frame)
        except Exception as error:
            raise self._judged(error) from None

    async def receive(self) -> str | bytes | None:
        """See `RelayEnd.receive`."""
        try:
            return await anext(self._frames, None)
        except (OSError, aiohttp.ClientError):
            return None
        except Exception as error:
            raise self._judged(error) from None

    def pause(self) -> None:
        """See `RelayEnd.pause`. Nothing more is read anyway."""

    def resume(self) -> None:
        """See `RelayEnd.resume`."""

    def lose(self) -> Awaitable[object] | None:
        """See `RelayEnd.lose`."""
        return self._abort()

    async def _abort(self) -> None:
        abort = getattr(self._connection, "abort", None)
        if abort is not None and inspect.isawaitable(aborting := abort()):
            await aborting
        await self.close()

    async def close(self) -> None:
        """See `RelayEnd.close`. A driver's connection is closed once."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._connection.close()
        except Exception as error:
            if isinstance(judged := self._judged(error), DriverFault):
                raise judged from None

    def _judged(self, error: Exception) -> Exception:
        """What is to be raised for an exception of the driver's: as it is when it is about the connection."""
        return error if isinstance(error, OSError | aiohttp.ClientError) else fault(self._file, error)


class Pipe:
    """One relay: sends in order, and hands to the browser what comes. See `fakes.people.browser.RelaySocket`."""

    def __init__(self, world: PhoneWorld, end: RelayEnd, codec: RelayCodec, connection: str) -> None:
        self._record = world.wire.record
        self._codec = codec
        self._end = end
        self._reading = asyncio.Event()
        self._reading.set()
        self.connection = connection
        self._queue: asyncio.Queue[tuple[str | bytes, str] | None] = asyncio.Queue()
        self._writer = asyncio.get_running_loop().create_task(self._write())
        self._losing: asyncio.Future[object] | None = None

    def send(self, frame: str | bytes, kind: str) -> None:
        """See `RelaySocket.send`."""
        self._queue.put_nowait((frame, kind))

    def close(self) -> None:
        """See `RelaySocket.close`."""
        self._queue.put_nowait(None)

    def stall(self) -> None:
        """See `RelaySocket.stall`."""
        self._reading.clear()
        self._end.pause()

    def lose(self) -> None:
        """See `RelaySocket.lose`."""
        losing = self._end.lose()
        self._writer.cancel()
        if losing is not None:
            self._losing = asyncio.ensure_future(losing)

    async def _write(self) -> None:
        while True:
            waiting = await self._queue.get()
            if waiting is None:
                await self._leave()
                return
            frame, kind = waiting
            self._record("browser", "gateway", "talk.relay", kind, frame, connection=self.connection)
            try:
                await self._end.send(frame)
            except (OSError, aiohttp.ClientError):
                break  # the reader finds out, and tells
            except DriverFault as error:
                _LOG.error("%s", error)
                await self._end.close()
                return

    async def _leave(self) -> None:
        meta = {"code": 1001, "reason": "", "initiator": "browser"}
        self._record("browser", "gateway", "talk.relay", "close", connection=self.connection, meta=meta)
        if not self._reading.is_set():
            self._end.resume()
        await self._end.close()

    async def finish(self) -> None:
        """Close what is below, whatever has become of it: a driver may hold more than a socket."""
        self._writer.cancel()
        await asyncio.wait({self._writer})
        if self._losing is not None:
            await self._losing
        try:
            await self._end.close()
        except DriverFault as error:
            _LOG.error("%s", error)

    async def read(self, browser: Browser) -> None:
        """Hand to the browser what comes, until nothing does."""
        told = ""
        while await self._reading.wait():
            try:
                frame = await self._end.receive()
            except DriverFault as error:
                _LOG.error("%s", error)
                frame = None
            if frame is None:
                break
            kind, invalid, read = "frame", None, None
            try:
                read = self._codec.read(frame)
            except BadFrame as error:
                invalid = str(error)
            if read is not None:
                kind = _KINDS.get(read.kind) or str(read.values.get("type") or "frame")
                if read.kind == "ended":
                    told = str(read.values.get("reason") or "")
            self._record("gateway", "browser", "talk.relay", kind, frame, connection=self.connection, invalid=invalid)
            if read is not None:
                browser.frame(read)
        code = self._end.code
        if browser.is_connected:
            meta = {"code": code, "reason": told or self._end.reason, "initiator": "gateway"}
            self._record("gateway", "browser", "talk.relay", "close", connection=self.connection, meta=meta)
        browser.over(told or f"the gateway closed the relay with code {code}")
        self._queue.put_nowait(None)


_KINDS = {
    "heard": "audio",
    "ready": "ready",
    "cleared": "clear",
    "transcript": "transcript",
    "error": "error",
    "ended": "ended",
}
