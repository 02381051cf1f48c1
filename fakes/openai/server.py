"""The aiohttp shell of the OpenAI service: carries frames between sockets and sessions, and decides nothing."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web

from fakes.openai.frames import Frame
from fakes.openai.handshake import SUBPROTOCOL, Accept, HandshakeRequest, RefuseHttp, RefuseInBand
from fakes.openai.http import BODY_LIMIT, Came, HttpAnswer, HttpRequest, Offered
from fakes.openai.links import WebSocketSession
from fakes.openai.plans import HttpPlan
from fakes.openai.poster import WebhookPoster
from fakes.openai.protocol import validate
from fakes.openai.service import OpenAIService, Opening
from fakes.sockets import reset

MAX_MESSAGE = 16 * 1024 * 1024
"""What the vendor takes. A message above it is answered with close 1009."""
HARD_LIMIT = 4 * MAX_MESSAGE
"""What is read at all. Above it the connection breaks, perhaps before the client has seen the close frame."""


class Connection:
    """The sink of one session: frames wait here for the writer."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._frames: deque[Frame | None] = deque()
        self._wake: asyncio.Future[None] | None = None
        self.closing = False

    def send(self, frame: Frame) -> None:
        """See `Sink.send`."""
        self._put(frame)

    def ping(self) -> None:
        """Let the writer send a ping."""
        self._put(None)

    def abort(self) -> None:
        """See `Sink.abort`."""
        self._frames.clear()
        reset(self._transport)

    def _put(self, frame: Frame | None) -> None:
        self._frames.append(frame)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def next(self) -> Frame | None:
        """The next frame, None for a ping."""
        while not self._frames:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._frames.popleft()


class OpenAIServer:
    """The service as an aiohttp application: `app` is to be run by whoever owns the loop.

    `routes`: where the receivers of webhooks really listen, see `WebhookPoster`.
    """

    name = "openai"
    hosts: tuple[str, ...] = ("api.openai.com",)
    plain_ports: tuple[int, ...] = ()

    def __init__(self, service: OpenAIService, *, routes: Mapping[str, str] | None = None) -> None:
        self.service = service
        self._channel = f"{service.party}.realtime"
        self._http_channel = f"{service.party}.http"
        self._poster = WebhookPoster(service, routes)
        self.app = web.Application(client_max_size=BODY_LIMIT)
        self.app.router.add_route("*", "/{path:.*}", self._handle)
        self._held: set[asyncio.Future[None]] = set()

    async def close(self) -> None:
        """Reset every connection that is still open, also those that wait for their handshake; end every call."""
        await self._poster.close()
        self.service.calls.end()
        for session in self.service.sessions:
            session.abort()
        for link in self.service.links:
            link.abort()
        for waiter in list(self._held):
            if not waiter.done():
                waiter.set_result(None)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.service.is_web_socket(request.path) and request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._upgrade(request)
        return await self._http(request)

    # -- HTTP

    async def _http(self, request: web.Request) -> web.Response:
        service, headers = self.service, _lowered(request)
        connection, client, body = service.request_name(), service.client(headers), b""
        meta = {"method": request.method, "url": str(request.url), "headers": list(request.headers.items())}

        def came(invalid: str | None) -> None:
            self._came(client, connection, "request", body, channel=self._http_channel, invalid=invalid, meta=meta)

        plan = service.http_plan(request.path)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            answer: HttpAnswer | Offered = service.too_large(
                HttpRequest(request.method, request.path, headers, request.query), came
            )
        else:
            asked = HttpRequest(request.method, request.path, headers, request.query, body)
            answer = self._as_planned(plan, asked, came) or service.http(asked, came)
        if plan.silent or plan.delay_ms:
            await self._pause(request, None if plan.silent else plan.delay_ms / 1000)
        if plan.silent or plan.reset:
            return self._unanswered(request, client, connection)
        if isinstance(answer, HttpAnswer):
            if request.method == "HEAD":
                answer = replace(answer, body=None, text="")
            return self._answered(answer, client, connection, self._http_channel, "response")
        async with service.ports.gates.delivery(answer.gate):
            answered = await service.answer(answer)
            return self._answered(answered, client, connection, self._http_channel, "response")

    def _as_planned(self, plan: HttpPlan, asked: HttpRequest, came: Came) -> HttpAnswer | None:
        planned = plan.answered(asked.method, asked.path)
        if planned is not None:
            came(None)
        return planned

    def _unanswered(self, request: web.Request, client: str, connection: str) -> web.Response:
        meta = {"code": 1006, "reason": "reset", "initiator": self.service.party}
        self._went(client, connection, "close", channel=self._http_channel, meta=meta)
        reset(request.transport)
        self.service.changed()
        return web.Response(status=499)

    def _answered(self, answer: HttpAnswer, client: str, connection: str, channel: str, kind: str) -> web.Response:
        body = answer.text if answer.body is None else json.dumps(answer.body)
        response = web.Response(status=answer.status, headers=answer.headers)
        if body:
            response.content_type = answer.content_type
            response.text = body
        meta = {"status": answer.status, "headers": list(response.headers.items())}
        self._went(client, connection, kind, body, channel=channel, meta=meta)
        self.service.changed()
        return response

    # -- record

    def _came(
        self,
        client: str,
        connection: str,
        kind: str,
        body: str | bytes | None = None,
        *,
        channel: str | None = None,
        invalid: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Write down what a client has sent."""
        channel = channel or self._channel
        self.service.ports.recorder.record(
            client, self.service.party, channel, kind, body, connection=connection, invalid=invalid, meta=meta
        )

    def _went(
        self,
        client: str,
        connection: str,
        kind: str,
        body: str | bytes | None = None,
        *,
        channel: str | None = None,
        invalid: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Write down what is sent to a client."""
        channel = channel or self._channel
        self.service.ports.recorder.record(
            self.service.party, client, channel, kind, body, connection=connection, invalid=invalid, meta=meta
        )

    # -- WebSocket

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        service = self.service
        lowered = _lowered(request)
        offered = tuple(part.strip() for part in lowered.get("sec-websocket-protocol", "").split(",") if part.strip())
        opening = service.open(HandshakeRequest(request.path, dict(request.query), lowered, offered))
        meta: dict[str, Any] = {"url": str(request.url), "headers": list(request.headers.items())}
        meta["subprotocols"] = list(offered)
        self._came(opening.client, opening.connection, "upgrade", meta=meta)
        await self._pause(request, None if opening.plan.silent else opening.delay)
        transport = request.transport
        if transport is None or transport.is_closing():
            return self._abandoned(opening)
        if opening.plan.reset:
            self._refused(opening, "reset")
            reset(transport)
            return web.Response()
        if opening.plan.silent:
            reset(transport)
            return self._abandoned(opening)
        decision = opening.decision
        async with service.ports.gates.delivery(opening.gate):
            if isinstance(decision, RefuseHttp):
                headers = {**opening.headers, **decision.headers}
                answer = HttpAnswer(decision.status, decision.error.body(), headers)
                return self._answered(answer, opening.client, opening.connection, self._channel, "upgrade.refused")
            ws = web.WebSocketResponse(
                protocols=(SUBPROTOCOL,) if offered else (),
                max_msg_size=HARD_LIMIT,
                compress=bool(service.knobs["openai.permessage_deflate"]),
                autoclose=True,
            )
            ws.headers.update(opening.headers)
            try:
                await ws.prepare(request)
            except ConnectionError:
                return self._abandoned(opening)
            meta = {"status": 101, "headers": list(ws.headers.items()), "subprotocol": decision.subprotocol}
            self._went(opening.client, opening.connection, "upgrade.accepted", meta=meta)
        if isinstance(decision, RefuseInBand):
            await self._refuse_in_band(ws, opening, decision)
        else:
            assert isinstance(transport, asyncio.Transport)
            await self._serve(ws, transport, opening, decision)
        return ws

    async def _pause(self, request: web.Request, seconds: float | None) -> None:
        """Wait by the clock of the world (None is for ever), or until the client is seen to have gone away.

        aiohttp tells a handler nothing of that, so it is looked for every second.
        """
        clock = self.service.ports.clock
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        end = float("inf") if seconds is None else clock.now() + seconds
        timer = None

        def look() -> None:
            nonlocal timer
            if waiter.done():
                return
            if clock.now() >= end or request.transport is None or request.transport.is_closing():
                waiter.set_result(None)
            else:
                timer = clock.call_at(min(end, clock.now() + 1), look)

        timer = clock.call_at(min(end, clock.now() + 1), look)
        self._held.add(waiter)
        try:
            await waiter
        finally:
            self._held.discard(waiter)
            timer.cancel()

    def _refused(self, opening: Opening, reason: str) -> None:
        self._went(opening.client, opening.connection, "upgrade.refused", meta={"reason": reason})
        self.service.changed()

    def _abandoned(self, opening: Opening) -> web.Response:
        """The client has gone before it was answered."""
        client, reason = opening.client, "gone before the handshake was answered"
        meta = {"code": 1006, "reason": reason, "initiator": client}
        self._came(client, opening.connection, "close", meta=meta)
        self.service.changed()
        return web.Response(status=499)

    async def _refuse_in_band(self, ws: web.WebSocketResponse, opening: Opening, decision: RefuseInBand) -> None:
        service = self.service
        token = service.ports.choices.token(f"{service.party}/session{opening.ordinal}/ids", 12)
        event = {"type": "error", "event_id": f"event_{token}00001", "error": decision.error.event(None)}
        body = json.dumps(event, separators=(",", ":"))
        meta = {"code": decision.code, "reason": decision.error.reason, "initiator": service.party}
        try:
            self._went(opening.client, opening.connection, "error", body, invalid=validate("ga", "server", event))
            await ws.send_str(body)
            self._went(opening.client, opening.connection, "close", meta=meta)
            service.changed()
            await ws.close(code=decision.code, message=decision.error.reason.encode())
        except ConnectionError:
            service.changed()

    async def _serve(
        self, ws: web.WebSocketResponse, transport: asyncio.Transport, opening: Opening, decision: Accept
    ) -> None:
        connection = Connection(transport)
        session = self.service.serve(opening, decision, connection)
        writer = asyncio.get_running_loop().create_task(self._write(ws, connection, session))
        self._ping_later(connection, session)
        session.start(opening.plan.created_delay_ms)
        try:
            await self._read(ws, session, opening.client)
        finally:
            if session.closed is None:
                session.connection_lost(1006, "", opening.client)
            if not connection.closing:
                writer.cancel()
            # When the vendor closes, the writer waits for the client's close frame; aiohttp limits how long.
            await asyncio.gather(writer, return_exceptions=True)

    def _ping_later(self, connection: Connection, session: WebSocketSession) -> None:
        seconds = int(self.service.knobs["openai.ping_seconds"])
        if not seconds:
            return

        def ping() -> None:
            connection.ping()
            session.later(seconds, ping)

        session.later(seconds, ping)

    async def _read(self, ws: web.WebSocketResponse, session: WebSocketSession, client: str) -> None:
        """Carry frames in until the connection ends."""
        while True:
            message = await ws.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY) and len(message.data) > MAX_MESSAGE:
                session.receive_oversized(len(message.data))
            elif message.type is WSMsgType.TEXT:
                session.receive_text(message.data)
            elif message.type is WSMsgType.BINARY:
                session.receive_binary(message.data)
            elif session.closed is not None:
                return
            elif message.type is WSMsgType.CLOSE:
                code = message.data or WSCloseCode.OK
                session.record_close(int(code), message.extra or "", client)
                session.connection_lost(int(code), message.extra or "", client)
                return
            elif message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
                reason = str(message.data)
                session.record_close(int(message.data.code), reason, self.service.party)
                session.connection_lost(int(message.data.code), reason, self.service.party)
                return
            else:
                session.record_close(WSCloseCode.ABNORMAL_CLOSURE, "", client)
                session.connection_lost(WSCloseCode.ABNORMAL_CLOSURE, "", client)
                return

    async def _write(self, ws: web.WebSocketResponse, connection: Connection, session: WebSocketSession) -> None:
        """Carry frames out, in order, each one when its gate lets it through."""
        gates = self.service.ports.gates
        while not connection.closing:
            frame = await connection.next()
            try:
                if frame is None:
                    await ws.ping()
                elif frame.gate is None:
                    await self._leave(ws, frame, connection, session)
                else:
                    async with gates.delivery(frame.gate):
                        await self._leave(ws, frame, connection, session)
            except ConnectionError:
                # The client is gone; the reader is told so too and ends the session.
                return

    async def _leave(
        self, ws: web.WebSocketResponse, frame: Frame, connection: Connection, session: WebSocketSession
    ) -> None:
        if ws.closed:
            return
        session.record_sent(frame)
        if frame.kind == "close":
            connection.closing = True
            session.connection_lost(frame.code, frame.reason, self.service.party)
            await ws.close(code=frame.code, message=frame.reason.encode())
        elif isinstance(frame.body, str):
            await ws.send_str(frame.body)
        else:
            await ws.send_bytes(frame.body)


def _lowered(request: web.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}
