"""The gateway's HTTP side: Twilio's webhooks and streams, and the operator's API. For browsers there is `talk`."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape, quoteattr

from aiohttp import web

from reference_impl import signature
from reference_impl.azure import upstream_for
from reference_impl.bridge import Bridge, Services
from reference_impl.calls import Call, Calls, StreamTokens
from reference_impl.channel import HARD_LIMIT, JsonChannel
from reference_impl.config import Config
from reference_impl.dialects import Dialect, dialect_for
from reference_impl.doctor import Doctor
from reference_impl.log import Log
from reference_impl.talk import Talk
from reference_impl.twilio_rest import TwilioError, TwilioRest
from reference_impl.upstream import Upstream, client_session

START_TIMEOUT = 5.0  # seconds from the upgrade to `start`
TOKEN_LIFETIME = 60.0  # seconds from the TwiML to the `start` of its stream
UNHEARD_TIMEOUT = 600.0  # seconds that a call we placed may stay without any TwiML fetch: Twilio may queue it
SETTLE_TIMEOUT = 10.0  # seconds from the end of a stream to the final status callback, which may be lost
SHUTDOWN_TIMEOUT = 5.0  # seconds that calls have to end in an orderly way when the gateway stops
MAX_BODY = 64 * 1024  # bytes of a webhook
MAX_FRAME = 64 * 1024  # characters of one frame of a stream; a real one has less than 1,000
APOLOGY: Final = "We are sorry, the assistant is not available at the moment. Please call again later."
HANGUP: Final = "<Hangup/>"
_CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")
_STREAM_SID = re.compile(r"MZ[0-9a-zA-Z]{1,64}")
_NUMBER = re.compile(r"\+[1-9]\d{1,14}")


class StreamRefused(Exception):
    """A stream is not let in; the text says why."""


class Gateway:
    """Built from pieces that a subclass can replace: the classes below, and every method."""

    bridge_class: type[Bridge] = Bridge
    calls_class: type[Calls] = Calls
    tokens_class: type[StreamTokens] = StreamTokens
    rest_class: type[TwilioRest] = TwilioRest
    channel_class: type[JsonChannel] = JsonChannel
    log_class: type[Log] = Log
    talk_class: type[Talk] = Talk
    doctor_class: type[Doctor] = Doctor

    def __init__(self, config: Config) -> None:
        self.config = config
        self.log = self.log_class(config.secrets())
        self.calls = self.calls_class()
        self.tokens = self.tokens_class(asyncio.get_running_loop().time, TOKEN_LIFETIME)
        self.bridges: dict[str, Bridge] = {}  # by CallSid
        self.upstream = self.upstream_for()
        self.talk = self.talk_class(config, self.log, lambda: self.http, self.upstream)
        self.closing = False
        self._streams: set[asyncio.Task[Any]] = set()  # the handlers of open WebSockets

    # Life

    async def start(self) -> None:
        """Get ready to serve."""
        self.http = client_session()
        self.twilio = self.rest_class(self.config, self.http)
        self.services = Services(self.config, self.dialect_for(), self.http, self.twilio)

    async def close(self) -> None:
        """End every call, in an orderly way as far as time allows."""
        self.closing = True
        for bridge in self.bridges.values():
            bridge.hang_up("shutdown")
        waiting = [call for call in self.calls.active() if call.sid not in self.bridges]
        work = [asyncio.create_task(self.end_call(call)) for call in waiting]
        streams = self._streams | self.talk.close()
        if pending := {*work, *streams}:
            _, late = await asyncio.wait(pending, timeout=SHUTDOWN_TIMEOUT)
            for task in late:
                task.cancel()
        for error in await asyncio.gather(*work, *streams, return_exceptions=True):
            if isinstance(error, BaseException):
                self.log.error("shutdown.incomplete", error=f"{type(error).__name__}: {error}")
        for call in self.calls:
            call.set_timer(None)
        await self.upstream.close()
        await self.http.close()

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/twilio/voice", self.on_voice)
        app.router.add_post("/twilio/status", self.on_status)
        app.router.add_get("/twilio/stream", self.on_stream)
        app.router.add_get("/healthz", self.on_health)
        app.router.add_get("/doctor", self.operator(self.on_doctor))
        app.router.add_get("/calls", self.operator(self.on_list_calls))
        app.router.add_post("/calls", self.operator(self.on_place_call))
        app.router.add_delete("/calls/{sid}", self.operator(self.on_end_call))
        self.talk.add_routes(app.router)
        return app

    def upstream_for(self) -> Upstream:
        """Where sessions are opened, for phones and browsers alike."""
        return upstream_for(self.config, self.log, self.busy)

    def dialect_for(self) -> Dialect:
        """How to speak to the configured model."""
        return dialect_for(self.config, upstream=self.upstream)

    def busy(self) -> bool:
        """Whether a conversation is up: it, or one more, may need a session soon."""
        return bool(self.bridges or self.talk.relays)

    # Twilio's webhooks

    def public_url_of(self, request: web.Request) -> str:
        """The URL that Twilio used: the configured one, for what arrives here may have gone through a proxy."""
        return self.config.public_url + request.raw_path

    def verify_signature(self, request: web.Request, params: list[tuple[str, str]]) -> bool:
        """Whether a webhook comes from Twilio."""
        given = request.headers.get("X-Twilio-Signature", "")
        return signature.verify(self.config.twilio_auth_token, self.public_url_of(request), params, given)

    def verify_upgrade(self, request: web.Request) -> bool:
        """Whether the upgrade of a stream comes from Twilio."""
        url = "ws" + self.public_url_of(request).removeprefix("http")
        given = request.headers.get("X-Twilio-Signature", "")
        return signature.verify_upgrade(self.config.twilio_auth_token, url, given)

    async def signed_form(self, request: web.Request) -> dict[str, str]:
        """The parameters of a webhook. Raises HTTPForbidden, HTTPBadRequest."""
        body = await request.read()
        try:
            params = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200)
        except ValueError:
            raise web.HTTPBadRequest(text="the body is not a form") from None
        if not self.verify_signature(request, params):
            self.log.warning("webhook.forbidden", path=request.path)
            raise web.HTTPForbidden(text="X-Twilio-Signature is missing or wrong")
        form = dict(params)
        if not _CALL_SID.fullmatch(form.get("CallSid", "")):
            raise web.HTTPBadRequest(text="CallSid is missing or malformed")
        return form

    async def on_voice(self, request: web.Request) -> web.Response:
        """Twilio fetches the TwiML of a call, inbound or outbound."""
        form = await self.signed_form(request)
        call = self.calls.open(form["CallSid"], form.get("Direction", ""), form.get("To", ""), form.get("From", ""))
        self.apply_status(call, form)
        fetch = request.headers.get("I-Twilio-Idempotency-Token", "")
        if call.over or self.closing:
            return self.xml(HANGUP)
        if not fetch or call.fetched[0] != fetch:
            if not call.streaming:
                self.watch(call, TOKEN_LIFETIME, "no stream came")
            call.fetched = fetch, self.twiml_for(call)
            self.log.event("twiml.served", call_sid=call.sid)
        return self.xml(call.fetched[1])

    def twiml_for(self, call: Call) -> str:
        """The verbs of a call. Those after `<Connect>` run only when the gateway closes the stream, that is when it
        cannot serve the call: a call that ends well is ended over REST."""
        token = quoteattr(self.tokens.issue(call.sid))
        url = quoteattr(self.config.stream_url)
        stream = f'<Stream url={url}><Parameter name="token" value={token}/></Stream>'
        return f"<Connect>{stream}</Connect><Say>{escape(APOLOGY)}</Say>{HANGUP}"

    def xml(self, verbs: str) -> web.Response:
        """A TwiML document."""
        document = f'<?xml version="1.0" encoding="UTF-8"?><Response>{verbs}</Response>'
        return web.Response(text=document, content_type="text/xml")

    async def on_status(self, request: web.Request) -> web.Response:
        """Twilio reports the progress of a call. The answer is empty, and nothing is done to the call."""
        form = await self.signed_form(request)
        status = form.get("CallStatus", "")
        call = self.calls.find_for_callback(
            form["CallSid"], form.get("Direction", ""), status, form.get("To", ""), form.get("From", "")
        )
        delivery = request.headers.get("I-Twilio-Idempotency-Token", "")
        if call is None:
            self.log.warning("status.unknown_call", call_sid=form["CallSid"], status=status)
        elif not delivery or delivery not in call.seen:
            call.seen.add(delivery)
            self.apply_status(call, form)
        return web.Response(status=204)

    def apply_status(self, call: Call, form: dict[str, str]) -> None:
        """Take in what a webhook says of the state of its call."""
        status, number = form.get("CallStatus", ""), form.get("SequenceNumber", "")
        before = call.status
        if not self.calls.apply_status(call, status, int(number) if number.isdecimal() else None):
            if status != before:
                self.log.event("status.ignored", call_sid=call.sid, status=status, current=before)
            return
        self.log.event("call.status", call_sid=call.sid, status=status)
        if call.over:
            self.on_call_over(call)

    def on_call_over(self, call: Call) -> None:
        """The call has ended: no stream may come for it, and one that is up is of no use any more."""
        call.set_timer(None)
        self.tokens.revoke(call.sid)
        if bridge := self.bridges.get(call.sid):
            bridge.on_call_over(call.status)

    def watch(self, call: Call, seconds: float, why: str) -> None:
        """Take the call for ended if nothing is heard of it for so long: callbacks can be lost."""
        if not call.over:
            call.set_timer(asyncio.get_running_loop().call_later(seconds, self.settle, call, why))

    def settle(self, call: Call, why: str) -> None:
        """No word of the call any more: it is over."""
        self.log.warning("call.settled", call_sid=call.sid, was=call.status, why=why)
        call.advance("completed")
        self.on_call_over(call)

    # Twilio's streams

    async def on_stream(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket of a media stream: let in with a signature and, in `start`, the token of its call."""
        if self.closing:
            raise web.HTTPServiceUnavailable
        if not self.verify_upgrade(request):
            self.log.warning("stream.forbidden")
            raise web.HTTPForbidden(text="X-Twilio-Signature is missing or wrong")
        ws = web.WebSocketResponse(compress=False, max_msg_size=HARD_LIMIT, timeout=2.0)
        await ws.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        channel = self.channel_class(ws, "twilio", self.log, max_frame=MAX_FRAME)
        try:
            start = await self.await_start(channel)
            call = self.admit(start)
            await self.carry(call, start["streamSid"], channel)
        except StreamRefused as refused:
            self.log.warning("stream.refused", why=str(refused))
            await channel.close(str(refused), code=1008)
        finally:
            self._streams.discard(task)
        return ws

    async def await_start(self, channel: JsonChannel) -> dict[str, Any]:
        """The `start` object of the stream. Raises StreamRefused."""
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while (frame := await channel.receive()) is not None:
                    if frame.get("event") == "start":
                        start = frame.get("start")
                        return start if isinstance(start, dict) else {}
        except TimeoutError:
            raise StreamRefused(f"no start within {START_TIMEOUT:g} s") from None
        raise StreamRefused("closed before start")

    def admit(self, start: dict[str, Any]) -> Call:
        """The call that a stream is for. Raises StreamRefused; the token is spent only if all else is right."""
        call_sid, stream_sid = start.get("callSid"), start.get("streamSid")
        custom, media_format = start.get("customParameters"), start.get("mediaFormat")
        token = custom.get("token") if isinstance(custom, dict) else None
        call = self.calls.get(call_sid) if isinstance(call_sid, str) else None
        if call is None or call.over:
            raise StreamRefused("no such call is going on")
        if not isinstance(stream_sid, str) or not _STREAM_SID.fullmatch(stream_sid):
            raise StreamRefused("streamSid is missing or malformed")
        if not isinstance(media_format, dict) or media_format.get("encoding") != "audio/x-mulaw":
            raise StreamRefused("the audio is not audio/x-mulaw")
        if call.streaming:
            raise StreamRefused("the call has a stream already")
        if not isinstance(token, str) or not self.tokens.redeem(token, call.sid):
            raise StreamRefused("the token is wrong, spent or expired")
        return call

    async def carry(self, call: Call, stream_sid: str, channel: JsonChannel) -> None:
        """Bridge the call until it is over."""
        call.streaming = True
        call.set_timer(None)
        self.calls.apply_status(call, "in-progress")
        channel.log = log = self.log.bind(call_sid=call.sid, stream_sid=stream_sid)
        bridge = self.bridges[call.sid] = self.bridge_class(self.services, call, stream_sid, channel, log)
        log.event("stream.started")
        try:
            reason = await bridge.run()
            log.event("stream.ended", reason=reason)
        finally:
            call.streaming = False
            self.bridges.pop(call.sid, None)
            if not self.closing:
                self.watch(call, SETTLE_TIMEOUT, "no final status came after the stream")

    # The operator

    def operator(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """`handler`, for those who know the bearer token."""
        expected = f"Bearer {self.config.token}".encode()

        async def guarded(request: web.Request) -> web.Response:
            given = request.headers.get("Authorization", "").encode(errors="replace")
            if not hmac.compare_digest(given, expected):
                return _error(
                    401, "send Authorization: Bearer with the operator's token", {"WWW-Authenticate": "Bearer"}
                )
            return await handler(request)

        return guarded

    async def on_health(self, request: web.Request) -> web.Response:
        """How the gateway is."""
        conversations = (*self.bridges.values(), *self.talk.relays.values())
        upstream = sum(each.openai is not None and each.openai.up for each in conversations)
        return web.json_response(
            {
                "status": "stopping" if self.closing else "ok",
                "active_calls": len(self.calls.active()),
                "streams": len(self._streams),
                "upstream_sessions": upstream,
            },
            status=503 if self.closing else 200,
        )

    async def on_doctor(self, request: web.Request) -> web.Response:
        """What the doctor finds; it opens one session to find out."""
        report = await self.doctor_class(self.config, self.dialect_for(), self.http, self.log).examine()
        return web.json_response(report.as_dict())

    async def on_list_calls(self, request: web.Request) -> web.Response:
        """The calls, ended ones included."""
        return web.json_response({"calls": [call.summary() for call in self.calls]})

    async def on_place_call(self, request: web.Request) -> web.Response:
        """Place a call: `{"to": "+15005550010"}`."""
        if self.closing:
            return _error(503, "the gateway is stopping")
        try:
            body = await request.json()
        except ValueError:
            body = None
        to = body.get("to") if isinstance(body, dict) else None
        if not isinstance(to, str) or not _NUMBER.fullmatch(to):
            return _error(400, 'send JSON such as {"to": "+15005550010"}, the number in E.164')
        self.calls.placing += 1
        try:
            call_sid = await self.twilio.create_call(to)
        except TwilioError as error:
            return self.twilio_failed(error)
        finally:
            self.calls.placing -= 1
        call = self.calls.open(call_sid, "outbound-api", to, self.config.twilio_number)
        if not call.over and call.timer is None and not call.streaming:
            self.watch(call, UNHEARD_TIMEOUT, "nothing was heard of the call")
        self.log.event("call.placed", call_sid=call.sid)
        return web.json_response({"call_sid": call.sid, "status": call.status}, status=201)

    async def on_end_call(self, request: web.Request) -> web.Response:
        """Hang up a call, whatever its state."""
        call = self.calls.get(request.match_info["sid"])
        if call is None:
            return _error(404, "there is no such call")
        if not call.over:
            if bridge := self.bridges.get(call.sid):
                bridge.hang_up("operator")
            else:
                try:
                    await self.end_call(call)
                except TwilioError as error:
                    return self.twilio_failed(error)
        return web.json_response({"call_sid": call.sid, "status": call.status}, status=200 if call.over else 202)

    async def end_call(self, call: Call) -> None:
        """Hang up a call that has no stream. Raises TwilioError."""
        await self.twilio.end_call(call.sid)
        self.watch(call, SETTLE_TIMEOUT, "no final status came after the hang-up")

    def twilio_failed(self, error: TwilioError) -> web.Response:
        """Tell the operator what Twilio said. A wrong number or a full account is the operator's to mend: those keep
        their HTTP status; the rest is ours."""
        self.log.error("twilio.error", status=error.status, code=error.code, message=error.message)
        about = {"message": error.message, "twilio_code": error.code, "twilio_status": error.status}
        return web.json_response({"error": about}, status=error.status if error.status in (400, 429) else 502)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
