"""The aiohttp shell around the core: serves the REST API, makes the webhooks, opens the streams."""

from __future__ import annotations

import asyncio
import types
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from aiohttp import WSMsgType, web

from fakes.sockets import reset
from fakes.twilio.boundary import (
    CloseHow,
    Failure,
    RestRequest,
    StreamFailure,
    StreamOpening,
    WebhookAnswer,
    WebhookFailure,
    WebhookRequest,
)
from fakes.twilio.core import Twilio

CLOSE_TIMEOUT = 5.0
"""Seconds that Twilio waits for the server's close frame before it drops the connection."""
BODY_LIMIT = 1 << 20


class TwilioServer:
    """Gives a `Twilio` its sockets.

    `routes`: public hosts (`gw.example.test`, `gw.example.test:8443`) to base addresses (`http://127.0.0.1:8123`), for
    a gateway that listens somewhere else than its public URL says: the request goes there, without TLS, and keeps the
    Host header and the signature of the public URL, as behind a tunnel. A host without a route is resolved as usual.
    `forwarded`: add the `X-Forwarded-*` headers of such a tunnel.
    """

    name = "twilio"
    hosts = ("api.twilio.com",)
    plain_ports: tuple[int, ...] = ()

    def __init__(self, twilio: Twilio, *, routes: Mapping[str, str] | None = None, forwarded: bool = False) -> None:
        self.twilio = twilio
        self.routes = dict(routes or {})
        self.forwarded = forwarded
        self.app = web.Application(client_max_size=BODY_LIMIT)
        self.app.router.add_route("*", "/{path:.*}", self._rest)
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: dict[str, _Socket] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        twilio.io = self

    async def start(self) -> None:
        """Be ready to make requests. Must run before the first call."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding", "Accept"),
            auto_decompress=True,
            ws_response_class=_StreamSocket,
        )

    async def close(self) -> None:
        """End everything: no task and no socket is left. Streams that are open are cut off."""
        self._closing = True
        self.twilio.close()
        for socket in list(self._sockets.values()):
            socket.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ------------------------------------------------------------------ REST

    async def _rest(self, request: web.Request) -> web.Response:
        body = await request.text()
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self.twilio.rest(
            RestRequest(request.method, request.rel_url.raw_path, headers, body, request.rel_url.raw_query_string)
        )
        await asyncio.sleep(answer.delay)
        self.twilio.rest_answered(answer)
        return web.Response(status=answer.status, headers=list(answer.headers), body=answer.body.encode())

    # ------------------------------------------------------------------ TwilioIO

    def fetch(self, request: WebhookRequest) -> None:
        """Make one webhook request, in a task of its own."""
        self._spawn(self._fetch(request))

    def open_stream(self, opening: StreamOpening) -> None:
        """Open one WebSocket and read it until it closes, in a task of its own."""
        self._opening[opening.name] = self._spawn(self._stream(opening))

    def send(self, stream: str, data: str | bytes) -> bool:
        """Send one frame without waiting."""
        socket = self._sockets.get(stream)
        return socket is not None and socket.send(data)

    def close_stream(self, stream: str, how: CloseHow) -> None:
        """Close the WebSocket behind everything sent so far, or stop opening it."""
        socket = self._sockets.get(stream)
        if socket is not None:
            socket.close(how)
        elif stream in self._opening:
            self._opening[stream].cancel()

    def deliver(self, point: str, effect: Callable[[], None]) -> None:
        """Run `effect` through its gate."""
        self._spawn(self._deliver(point, effect))

    # ------------------------------------------------------------------ tasks

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler(
                {"message": "the fake Twilio failed", "exception": error, "task": task}
            )

    async def _deliver(self, point: str, effect: Callable[[], None]) -> None:
        async with self.twilio.ports.gates.delivery(point):
            effect()

    async def _fetch(self, request: WebhookRequest) -> None:
        async with self.twilio.ports.gates.delivery(request.point):
            self.twilio.webhook_sent(request.id)
            self.twilio.webhook_answered(request.id, await self._exchange(request))

    async def _exchange(self, request: WebhookRequest) -> WebhookAnswer | WebhookFailure:
        assert self._session is not None, "TwilioServer.start() has not been awaited"
        url, headers = self._address(request.url, request.headers)
        timeout = aiohttp.ClientTimeout(
            total=request.total_timeout, sock_connect=request.connect_timeout, sock_read=request.read_timeout
        )
        try:
            async with self._session.request(
                request.method,
                url,
                data=request.body.encode() if request.body else None,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = await response.read()
                return WebhookAnswer(response.status, tuple(response.headers.items()), body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return WebhookFailure(_failure(error), str(error) or type(error).__name__)

    async def _stream(self, opening: StreamOpening) -> None:
        assert self._session is not None, "TwilioServer.start() has not been awaited"
        name = opening.name
        twilio = self.twilio
        try:
            async with twilio.ports.gates.delivery(opening.point):
                if not twilio.stream_opening(name):
                    return
                url, headers = self._address(opening.url, opening.headers)
                try:
                    async with asyncio.timeout(opening.timeout):
                        ws = await self._session.ws_connect(
                            url, headers=headers, autoclose=False, compress=0, max_msg_size=16 << 20
                        )
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                    twilio.stream_failed(name, _stream_failure(error))
                    return
                assert isinstance(ws, _StreamSocket)
                self._sockets[name] = socket = _Socket(ws, self._spawn)
                twilio.stream_opened(name, tuple(ws.response.headers.items()))
        finally:
            self._opening.pop(name, None)
        try:
            await self._read(name, ws, socket)
        finally:
            socket.abort()
            self._sockets.pop(name, None)

    async def _read(self, name: str, ws: _StreamSocket, socket: _Socket) -> None:
        received = self.twilio.stream_received
        code, reason = 1006, ""
        while True:
            message = await ws.receive()
            kind = message.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                received(name, message.data)
                continue
            if kind is WSMsgType.CLOSE:
                code, reason = message.data or 1005, message.extra or ""
                await socket.reply_close(code if code != 1005 else None)
            elif kind is WSMsgType.ERROR:
                reason = str(message.data)
            break
        self.twilio.stream_closed(name, code, reason)

    def _address(self, url: str, headers: tuple[tuple[str, str], ...]) -> tuple[Any, list[tuple[str, str]]]:
        """Where a public URL is really served, and the headers to send there."""
        from yarl import URL

        parts = urlsplit(url)
        sent = list(headers)
        if parts.username is not None:
            userinfo = parts.netloc.rpartition("@")[0]
            sent.append(("Authorization", "Basic " + b64encode(userinfo.encode()).decode()))
            parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        route = self.routes.get(parts.netloc) or self.routes.get(parts.hostname or "")
        if route is None:
            return URL(urlunsplit(parts), encoded=True), sent
        base = urlsplit(route)
        scheme = base.scheme
        if parts.scheme in ("ws", "wss"):
            scheme = "wss" if scheme in ("https", "wss") else "ws"
        sent.insert(0, ("Host", parts.netloc))
        if self.forwarded:
            proto = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
            sent += [
                ("X-Forwarded-For", "203.0.113.10"),
                ("X-Forwarded-Host", parts.netloc),
                ("X-Forwarded-Proto", proto),
            ]
        path = base.path.rstrip("/") + (parts.path or "/")
        return URL(urlunsplit((scheme, base.netloc, path, parts.query, "")), encoded=True), sent


class _StreamSocket(aiohttp.ClientWebSocketResponse):
    """aiohttp's client WebSocket, with access to the HTTP response that it grew out of."""

    response: aiohttp.ClientResponse

    def __init__(self, reader: Any, writer: Any, protocol: str | None, response: Any, *args: Any, **kwargs: Any):
        super().__init__(reader, writer, protocol, response, *args, **kwargs)
        self.response = response


class _Socket:
    """One open WebSocket: sends at once where it can, keeps what must not be lost where it cannot."""

    __slots__ = ("_backlog", "_busy", "_close", "_dead", "_patience", "_spawn", "_ws")

    def __init__(self, ws: _StreamSocket, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._ws = ws
        self._spawn = spawn
        self._backlog: deque[str | bytes] = deque()
        self._busy = False
        self._close: CloseHow | None = None
        self._dead = False
        self._patience: asyncio.TimerHandle | None = None

    def send(self, data: str | bytes) -> bool:
        """Send a frame now. While the peer does not read, media is dropped and everything else waits."""
        if self._dead or self._close is not None:
            return False
        if self._busy:
            if isinstance(data, str) and data.startswith('{"event":"media"'):
                return False
            self._backlog.append(data)
            return True
        sending = self._begin(data)
        try:
            pending = sending.send(None)
        except StopIteration:
            return True
        except (ConnectionError, aiohttp.ClientError):
            return False
        self._busy = True
        self._spawn(self._drain(sending, pending))
        return True

    def _begin(self, data: str | bytes) -> Coroutine[Any, Any, None]:
        return self._ws.send_str(data) if isinstance(data, str) else self._ws.send_bytes(data)

    async def _drain(self, sending: Coroutine[Any, Any, None], pending: object) -> None:
        """Finish a send that has to wait for the peer to read, then send what has gathered behind it."""
        try:
            await _resume(sending, pending)
            while self._backlog:
                await self._begin(self._backlog.popleft())
        except (ConnectionError, aiohttp.ClientError):
            self._dead = True
        self._busy = False
        if self._close is not None:
            await self._shut(self._close)

    def close(self, how: CloseHow) -> None:
        """Send a close frame and wait for the peer's; or cut the connection off."""
        if how == "abrupt":
            self.abort()
        elif self._close is None and not self._dead:
            self._close = how
            if not self._busy:
                self._spawn(self._shut(how))

    async def _shut(self, how: CloseHow) -> None:
        try:
            await self._ws.send_frame(b"" if how == "1005" else (1000).to_bytes(2, "big"), WSMsgType.CLOSE)
        except (ConnectionError, aiohttp.ClientError):
            self.abort()
            return
        self._patience = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    async def reply_close(self, code: int | None) -> None:
        """Answer the peer's close frame, unless it was itself an answer."""
        if self._close is None and not self._dead:
            self._close = "1005"
            try:
                await self._ws.send_frame(b"" if code is None else code.to_bytes(2, "big"), WSMsgType.CLOSE)
            except (ConnectionError, aiohttp.ClientError):
                self._dead = True

    def abort(self) -> None:
        """Cut the connection off. Does nothing when it is gone."""
        self._dead = True
        if self._patience is not None:
            self._patience.cancel()
        connection = self._ws.response.connection
        if connection is not None and connection.transport is not None and self._close is None:
            reset(connection.transport)
        self._ws.response.close()


@types.coroutine
def _resume(work: Coroutine[Any, Any, None], pending: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that was begun by hand and waits for `pending`."""
    while True:
        yield pending
        try:
            pending = work.send(None)
        except StopIteration:
            return


def _failure(error: BaseException) -> Failure:
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError)):
        return Failure.TLS
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failure.DNS
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failure.CONNECT_TIMEOUT
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failure.REFUSED
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT
    return Failure.PROTOCOL


def _stream_failure(error: BaseException) -> StreamFailure:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        headers = tuple(error.headers.items()) if error.headers else ()
        return StreamFailure(Failure.STATUS, f"HTTP {error.status}", error.status, headers)
    return StreamFailure(_failure(error), str(error) or type(error).__name__)
