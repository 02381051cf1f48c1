"""Talk: a person in a browser speaks with the model, over WebRTC with a client secret, or over the gateway's relay."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, web
from yarl import URL

from reference_impl.azure import upstream_for
from reference_impl.channel import HARD_LIMIT, JsonChannel
from reference_impl.config import Config
from reference_impl.conversation import HEARTBEAT
from reference_impl.dialects import BROWSER, WEBRTC, dialect_for
from reference_impl.log import Log
from reference_impl.minting import ClientSecret, Minter
from reference_impl.problems import Problem, Refused, of_answer, of_event, ours
from reference_impl.relay import Relay
from reference_impl.tools import TALK_TOOLS, call_tool
from reference_impl.upstream import Upstream

TICKET_LIFETIME = 30.0  # seconds from the session call to the relay
MAX_FRAME = 512 * 1024  # characters of one frame of a browser; 30 ms of audio have less than 2,000
FILES: Final = Path(__file__).with_name("talk")
ASSETS: Final = {
    "talk.js": "text/javascript",
    "webrtc.js": "text/javascript",
    "relay.js": "text/javascript",
    "capture.js": "text/javascript",
    "talk.css": "text/css",
}
TRANSPORTS: Final = ("webrtc", "relay")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tickets:
    """What lets one WebSocket in: a browser cannot send a header with it, and the token does not belong into a URL."""

    def __init__(self, now: Callable[[], float], lifetime: float) -> None:
        """`now` and `lifetime` in seconds."""
        self._now = now
        self._lifetime = lifetime
        self._expiries: dict[str, float] = {}

    def issue(self) -> str:
        """A new ticket."""
        now = self._now()
        self._expiries = {ticket: expiry for ticket, expiry in self._expiries.items() if expiry > now}
        ticket = secrets.token_urlsafe(24)
        self._expiries[ticket] = now + self._lifetime
        return ticket

    def redeem(self, ticket: str) -> bool:
        """Whether the ticket is good now; it is not a second time."""
        return self._expiries.pop(ticket, 0.0) > self._now()


class Talk:
    """Built from pieces that a subclass can replace: the classes below, and every method."""

    minter_class: type[Minter] = Minter
    relay_class: type[Relay] = Relay
    tickets_class: type[Tickets] = Tickets

    def __init__(
        self, config: Config, log: Log, http: Callable[[], ClientSession], upstream: Upstream | None = None
    ) -> None:
        """`http` gives the client for requests to the `upstream`."""
        self.config = config
        self.upstream = upstream or upstream_for(config, log)
        self.log = log
        self.http = http
        self.tickets = self.tickets_class(asyncio.get_running_loop().time, TICKET_LIFETIME)
        self.relays: dict[asyncio.Task[Any], Relay] = {}  # by the task that handles their WebSocket
        self.closing = False

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Let Talk be found, if there is a token for it."""
        if not self.config.talk_token:
            return
        router.add_get("/talk", self.on_page)
        router.add_post("/talk/session", self.answering(self.on_session))
        router.add_post("/talk/tool", self.answering(self.on_tool))
        router.add_post("/talk/explain", self.answering(self.on_explain))
        router.add_get("/talk/relay", self.on_relay)
        router.add_get("/talk/{name}", self.on_asset)

    def close(self) -> set[asyncio.Task[Any]]:
        """End every relay; the tasks to wait for."""
        self.closing = True
        for relay in self.relays.values():
            relay.finish("shutdown")
        return set(self.relays)

    # The page

    async def on_page(self, request: web.Request) -> web.StreamResponse:
        """The page. It holds no secret: the person brings the token."""
        return self.file("index.html", "text/html")

    async def on_asset(self, request: web.Request) -> web.StreamResponse:
        """What the page is made of."""
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        return self.file(name, ASSETS[name])

    def file(self, name: str, content_type: str) -> web.Response:
        """One of the files in `talk/`."""
        text = (FILES / name).read_text("utf-8")
        return web.Response(text=text, content_type=content_type, headers=self.page_headers())

    def page_headers(self) -> dict[str, str]:
        """What the page may do: run its own scripts, listen to the microphone, talk to us, and to OpenAI if it may."""
        openai = "" if self.upstream.relay_only else f" {URL(self.config.openai_base_url).origin()}"
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
            f"connect-src 'self'{openai}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return {
            "Content-Security-Policy": policy,
            "Permissions-Policy": "microphone=(self)",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        }

    # Who may come in

    def allowed_origin(self, request: web.Request) -> bool:
        """Whether a request comes from our own page, or from no page at all."""
        given = request.headers.get("Origin")
        if given is None:
            return True
        try:
            origin = URL(given).origin()
        except ValueError:
            return False
        public = URL(self.config.public_url)
        is_public = (origin.scheme, origin.host, origin.port) == (public.scheme, public.host, public.port)
        return is_public or origin.authority == request.host

    def authorised(self, request: web.Request) -> bool:
        """Whether a request has the token."""
        given = request.headers.get("Authorization", "").encode(errors="replace")
        return hmac.compare_digest(given, f"Bearer {self.config.talk_token}".encode())

    def admit(self, request: web.Request) -> None:
        """Let a request of the page in. Raises Refused."""
        self.check_origin(request)
        if not self.authorised(request):
            raise Refused(401, ours("talk_token_wrong", "the token is missing or wrong", status=401))

    def check_origin(self, request: web.Request) -> None:
        """Turn other people's pages away. Raises Refused."""
        if not self.allowed_origin(request):
            raise Refused(403, ours("talk_origin_wrong", "this page may not use the gateway", status=403))

    def answering(self, handler: Callable[[web.Request], Awaitable[Any]]) -> Handler:
        """`handler`, for those who are let in; its JSON, or the reason why there is none, is the answer."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                self.admit(request)
                return self.json(await handler(request))
            except Refused as refused:
                return self.refusal(refused)

        return guarded

    def json(self, body: Any, status: int = 200) -> web.Response:
        """An answer that nobody may keep."""
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})

    def refusal(self, refused: Refused) -> web.Response:
        """The answer to a request that was refused."""
        about = refused.problem
        self.log.warning("talk.refused", source=about.source, status=about.status, code=about.code, why=about.message)
        answer = self.json({"error": self.describe(about)}, refused.status)
        if refused.status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def describe(self, problem: Problem) -> dict[str, Any]:
        """What the person is shown of a problem: all the vendor said but the keys, and what to do."""
        told = {
            "source": problem.source,
            "status": problem.status,
            "type": problem.type,
            "code": problem.code,
            "message": problem.message,
            "param": problem.param,
            "request_id": problem.request_id,
            **({"cause": problem.cause} if problem.cause else {}),
            "hint": self.hint(problem),
        }
        return {name: self.log.redact(value) if isinstance(value, str) else value for name, value in told.items()}

    def hint(self, problem: Problem) -> str | None:
        """What to do about a problem."""
        return problem.hint(self.config.model)

    async def body(self, request: web.Request, **defaults: Any) -> dict[str, Any]:
        """The JSON object of a request, with these fields and no others. A default of None is no default. Raises
        Refused."""
        try:
            given = json.loads(await request.read() or b"{}")
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise self.wrong("the body is not a JSON object")
        if unknown := sorted(given.keys() - defaults.keys()):
            raise self.wrong(f"unknown field {unknown[0]!r}; the fields are {', '.join(defaults)}")
        body = {**defaults, **given}
        if missing := [name for name, value in body.items() if value is None]:
            raise self.wrong(f"the field {missing[0]!r} is missing")
        return body

    def wrong(self, message: str) -> Refused:
        """A request that does not say what it should."""
        return Refused(400, ours("talk_request_wrong", message, status=400))

    # Sessions

    async def on_session(self, request: web.Request) -> dict[str, Any]:
        """A session for one page: `{"transport": "webrtc"}` or `{"transport": "relay"}`. `transport` of the answer is
        what the page gets, with a `reason` if it is not what it asked for."""
        transport = (await self.body(request, transport="webrtc"))["transport"]
        if transport not in TRANSPORTS:
            raise self.wrong(f"transport is {transport!r}; it must be {' or '.join(TRANSPORTS)}")
        if self.closing:
            raise Refused(503, ours("stopping", "the gateway is stopping", status=503))
        given, reason = self.transport_for(transport)
        answer = await (self.webrtc_session() if given == "webrtc" else self.relay_session())
        return {**answer, "reason": reason} if reason else answer

    def transport_for(self, asked: str) -> tuple[str, str]:
        """What a page that asked for this transport gets, and why if it is another."""
        if asked == "webrtc" and self.upstream.relay_only:
            return "relay", self.upstream.relay_only
        if self.config.talk_transport not in ("auto", asked):
            return self.config.talk_transport, f"the gateway is set to use the {self.config.talk_transport} transport"
        return asked, ""

    async def webrtc_session(self) -> dict[str, Any]:
        """A client secret of its own for every session; it is kept nowhere. Raises Refused."""
        minter = self.minter()
        if minter.dialect.name != "ga":
            message = f"client secrets cannot be minted for {self.config.openai_model}, which is spoken to in beta"
            raise Refused(409, ours("talk_needs_ga", message, status=409))
        secret = await minter.mint()
        self.log.event("talk.minted", model=self.config.openai_model, expires_at=secret.expires_at)
        return self.webrtc_answer(minter, secret)

    def minter(self) -> Minter:
        """What makes client secrets."""
        return self.minter_class(self.config, dialect_for(self.config, WEBRTC, self.upstream), self.http())

    def webrtc_answer(self, minter: Minter, secret: ClientSecret) -> dict[str, Any]:
        """What the page needs to call OpenAI, and nothing more."""
        return {
            "transport": "webrtc",
            "client_secret": secret.value,
            "expires_at": secret.expires_at,
            "calls_url": minter.calls_url(),
            "model": self.config.openai_model,
            "voice": self.config.openai_voice,
        }

    async def relay_session(self) -> dict[str, Any]:
        """A ticket for the relay."""
        return {
            "transport": "relay",
            "url": f"/talk/relay?ticket={self.tickets.issue()}",
            "model": self.config.model,
            "voice": self.config.openai_voice,
        }

    async def on_tool(self, request: web.Request) -> dict[str, Any]:
        """Run a tool that the model called over WebRTC: `{"name": "...", "arguments": "<as the model wrote it>"}`."""
        body = await self.body(request, name=None, arguments=None)
        name, arguments = body["name"], body["arguments"]
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise self.wrong("name and arguments must be text")
        return {"output": self.run_tool(name, arguments)}

    def run_tool(self, name: str, arguments: str) -> str:
        """The output of a tool, for the model."""
        ran, output = call_tool(name, arguments, TALK_TOOLS)
        self.log.event("tool.called", tool=name, ran=ran)
        return output

    async def on_explain(self, request: web.Request) -> dict[str, Any]:
        """What the page was told by OpenAI itself, explained: `{"status": 403, "body": "<as it came>"}`. The status is
        0 for an event of the data channel."""
        told = await self.body(request, status=None, body=None)
        status, text = told["status"], told["body"]
        if type(status) is not int or not isinstance(text, str):
            raise self.wrong("status must be a number, and body text")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        event = isinstance(content, dict) and not status
        problem = of_event(content) if event else of_answer(status or None, content)
        self.log.error("talk.browser_refused", status=status, code=problem.code, message=problem.message)
        return {"error": self.describe(problem)}

    # The relay

    async def on_relay(self, request: web.Request) -> web.StreamResponse:
        """The browser's WebSocket: let in with a ticket."""
        ws = self.socket()
        try:
            self.check_origin(request)
            if self.closing:
                raise Refused(503, ours("stopping", "the gateway is stopping", status=503))
            if not ws.can_prepare(request).ok:
                raise Refused(426, ours("talk_request_wrong", "this is the address of a WebSocket", status=426))
            if not self.tickets.redeem(request.query.get("ticket", "")):
                raise Refused(401, ours("talk_ticket_wrong", "the ticket is wrong, spent or expired", status=401))
        except Refused as refused:
            return self.refusal(refused)
        await ws.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        relay = self.relays[task] = self.relay(JsonChannel(ws, "browser", self.log, max_frame=MAX_FRAME))
        try:
            self.log.event("relay.ended", reason=await relay.run())
        finally:
            del self.relays[task]
            if relay.stuck and request.transport is not None:
                request.transport.abort()
        return ws

    def socket(self) -> web.WebSocketResponse:
        """The WebSocket of a browser; pings find out whether it is still there."""
        return web.WebSocketResponse(compress=False, max_msg_size=HARD_LIMIT, heartbeat=HEARTBEAT, timeout=2.0)

    def relay(self, browser: JsonChannel) -> Relay:
        """What carries a conversation."""
        dialect = dialect_for(self.config, BROWSER, self.upstream)
        return self.relay_class(self.config, dialect, self.http(), browser, self.log, self.describe)
