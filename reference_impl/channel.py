"""One WebSocket that carries JSON objects, on either side of the gateway."""

from __future__ import annotations

from json import loads
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType, web

from reference_impl.log import Log

HARD_LIMIT = 32 * 1024 * 1024  # bytes; a frame beyond this ends the connection (close code 1009)
_LOGGED = 20  # bad frames of one connection that get a log line each


class JsonChannel:
    """Reads objects and skips what is none, sends text while the connection is up, closes once.

    A frame that is binary, is not a JSON object, or is larger than `max_frame` characters is logged (by its size, not
    its content: it may hold a secret) and skipped; the connection goes on.
    """

    __slots__ = ("_bad", "_max_frame", "_ws", "close_code", "log", "name", "reason", "up")

    def __init__(
        self, ws: web.WebSocketResponse | ClientWebSocketResponse, name: str, log: Log, *, max_frame: int
    ) -> None:
        self._ws = ws
        self.log = log
        self._max_frame = max_frame
        self._bad = 0
        self.name = name
        self.up = True
        self.close_code: int | None = None  # of the other side's close frame, if one came
        self.reason = ""

    async def receive(self) -> dict[str, Any] | None:
        """The next object, or None when the connection has ended."""
        while True:
            message = await self._ws.receive()
            if message.type is WSMsgType.TEXT:
                data: str = message.data
                if len(data) > self._max_frame:
                    self.bad_frame(f"{len(data)} characters, more than {self._max_frame}")
                    continue
                try:
                    frame = loads(data)
                except (ValueError, RecursionError):
                    self.bad_frame(f"not JSON ({len(data)} characters)")
                    continue
                if type(frame) is dict:
                    return frame
                self.bad_frame(f"not a JSON object ({len(data)} characters)")
            elif message.type is WSMsgType.BINARY:
                self.bad_frame(f"binary ({len(message.data)} bytes)")
            else:
                self.up = False
                if message.type is WSMsgType.CLOSE:
                    self.close_code, self.reason = message.data, message.extra or ""
                return None

    def bad_frame(self, why: str) -> None:
        """Log a frame that is skipped; not every one when there are many."""
        self._bad += 1
        if self._bad <= _LOGGED or self._bad % 1000 == 0:
            self.log.warning("frame.skipped", source=self.name, why=why, count=self._bad)

    async def send(self, text: str) -> bool:
        """Send one text frame; False, with nothing sent, when the connection has ended."""
        if not self.up or self._ws.closed:
            return False
        try:
            await self._ws.send_str(text)
        except ConnectionError:
            # The other side went away and the reader has not come to it yet.
            self.up = False
            return False
        return True

    async def close(self, reason: str = "", *, code: int = 1000) -> None:
        """Close, unless it is closed already."""
        self.up = False
        await self._ws.close(code=code, message=reason.encode()[:120])
