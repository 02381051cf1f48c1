"""The OpenAI platform of one world: its keys, its models on a given day, and the sessions that it has opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

from fakes.knobs import Knobs
from fakes.openai.brain import Brain, PhraseBookBrain
from fakes.openai.calls import Answerer, Call, Calls
from fakes.openai.catalogue import Catalogue, catalogue
from fakes.openai.dialects import DIALECTS, TurnDetection
from fakes.openai.errors import ErrorText, VendorError, error_text
from fakes.openai.frames import Sink
from fakes.openai.handshake import (
    PATH,
    TRANSLATIONS,
    Accept,
    Decision,
    Handshake,
    HandshakeRequest,
    KeyInfo,
    RefuseHttp,
    RefuseInBand,
)
from fakes.openai.http import Came, HttpAnswer, HttpEndpoints, HttpRequest, Offered
from fakes.openai.links import Link, WebSocketSession
from fakes.openai.mcp import McpServer
from fakes.openai.plans import PLANNED_FIELDS, HttpPlan, HttpPlans
from fakes.openai.secrets import ClientSecrets, preset
from fakes.openai.session import RealtimeSession
from fakes.openai.sideband import SharedSink, Sideband
from fakes.openai.sip import SipLeg, incoming
from fakes.openai.translation import TranslationSession
from fakes.openai.waiting import Waiting
from fakes.openai.webhooks import WebhookEndpoint, Webhooks
from fakes.ports import Ports

T = TypeVar("T")

KNOBS = Path(__file__).with_name("knobs.toml")


@dataclass(frozen=True, slots=True)
class HandshakePlan:
    """What a test case wants of one handshake; everything that is not said goes its usual way.

    `delay_ms`: how long the answer takes. `created_delay_ms`: how long `session.created` takes after that.
    `refuse_http`: status and error (a name or a code in errors.toml), answered instead of the upgrade, with `headers`.
    `refuse_in_band`: an error after the upgrade, then a close with `close_code` (default: that of the error).
    `reset`: the connection is reset instead of an answer. `silent`: there is never an answer.
    `refuse_updates`: the error with which every `session.update` of this connection is refused, however good it is.
    `shape`: which of the allowed shapes its session objects have (`fakes.openai.shapes`).
    """

    delay_ms: int | None = None
    created_delay_ms: int | None = None
    refuse_http: tuple[int, str] | None = None
    refuse_in_band: str | None = None
    close_code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False
    silent: bool = False
    refuse_updates: str | None = None
    shape: int = 0

    def __post_init__(self) -> None:
        # A name that does not exist is told to the author of the case, not to the gateway.
        for name in (self.refuse_in_band, self.refuse_updates, self.refuse_http[1] if self.refuse_http else None):
            if name is not None:
                error_text(name)


@dataclass(frozen=True, slots=True)
class Opening:
    """One connection that asks for a session.

    `ordinal`: its number. `decision`: what is answered, `delay` seconds later. `client`: the party that asks; `party`:
    the one that is asked, by the name `host`. `headers` go with every answer.
    """

    ordinal: int
    decision: Decision
    delay: float
    plan: HandshakePlan
    client: str
    party: str = "openai"
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = ""

    @property
    def connection(self) -> str:
        """The name of the connection on the wire."""
        return f"{self.party}#{self.ordinal}"

    @property
    def gate(self) -> str:
        """The point at which the answer may be held."""
        return f"{self.party}/session{self.ordinal}/handshake"


class OpenAIService:
    """The service behind `api.openai.com`, on the day `as_of`.

    `keys`: the API keys that it knows. `knobs`: by default those of `knobs.toml`. `brain`: what the models say; by
    default they answer by the phrase book. `client_party`: who its clients are on the wire; `browser_party`: who those
    are that send an `Origin`, None when they are like the others. `answerer`: answers SDP offers; without one they are
    checked, then refused with status 501.
    """

    party = "openai"

    def __init__(
        self,
        ports: Ports,
        *,
        as_of: date,
        keys: Mapping[str, KeyInfo],
        knobs: Knobs | None = None,
        brain: Brain | None = None,
        client_party: str = "gateway",
        browser_party: str | None = "browser",
        answerer: Answerer | None = None,
        webhook: WebhookEndpoint | None = None,
    ) -> None:
        self.ports = ports
        self.as_of = as_of
        self.knobs = knobs if knobs is not None else Knobs.load(KNOBS)
        self.brain = brain if brain is not None else PhraseBookBrain()
        self.client_party = client_party
        self.browser_party = browser_party
        self.answerer = answerer
        self.webhook = webhook
        self.webhooks = Webhooks(ports, self.knobs, client_party, self.party)
        self.mcp_servers: dict[str, McpServer] = {}
        """The MCP servers that sessions can have as tools, by URL or by id of a connector; for test cases to fill."""
        self.sessions: list[RealtimeSession] = []
        """Every session that was opened, past ones too, in the order of their connections' acceptance."""
        self.links: list[Link] = []
        """Every sideband and every translation session, past ones too."""
        self.openings: list[Opening] = []
        """Every connection that asked for a session, refused ones too."""
        self.secrets = ClientSecrets(ports, self.party)
        """Every client secret that was minted."""
        self.calls = Calls(ports, self.party)
        """The WebRTC and SIP calls."""
        self.keys = keys if isinstance(keys, dict) else dict(keys)
        """What each key may do; it may be changed at any time."""
        self.handshake = Handshake(catalogue(), self.keys, self.knobs, as_of, self.secrets, self.calls)
        self._endpoints = HttpEndpoints(self, self.handshake.access)
        self._era = catalogue().era(as_of)
        self._plans: dict[int, HandshakePlan] = {}
        self._http_plans = HttpPlans()
        self._shared: dict[str, SharedSink] = {}
        self._waiting = Waiting()
        self._requests = 0

    # -- controls for test cases

    def plan(self, plan: HandshakePlan, connection: int | None = None) -> None:
        """Fix what happens at the handshake of the nth connection, counted from 1; by default of the next one."""
        self._plans[connection if connection is not None else len(self.openings) + 1] = plan

    def plan_http(self, path: str, plan: HttpPlan | None, request: int | None = None) -> None:
        """Fix what becomes of the nth HTTP request to a path, counted from the first plan on; without a number, of all
        of them from now on. A plan of None takes that back."""
        self._http_plans.put(path, plan, request)

    async def wait_for(self, condition: Callable[[], T | None]) -> T:
        """Wait until `condition` returns something true, and return that. It is tried whenever something happens."""
        return await self._waiting.until(condition)

    async def wait_session(self, ordinal: int = 1) -> RealtimeSession:
        """Wait for the nth session to be opened, counted from 1 among those that were, and return it."""
        await self.wait_for(lambda: len(self.sessions) >= ordinal)
        return self.sessions[ordinal - 1]

    def changed(self) -> None:
        """Something has happened: look at the conditions that are waited for."""
        self._waiting.changed()

    def client(self, headers: Mapping[str, str]) -> str:
        """Who has sent a request, by its headers; their names are in lower case.

        A browser sends an `Origin`. So do some WebSocket clients of servers (`websocket-client` of Python), but with an
        `Authorization`, which no page can give a WebSocket (WHATWG: the WebSocket interface takes no headers).
        """
        browser = self.browser_party
        if browser is None or "origin" not in headers:
            return self.client_party
        upgrade = headers.get("upgrade", "").lower() == "websocket"
        return self.client_party if upgrade and "authorization" in headers else browser

    def incoming_sip(
        self, caller: str, number: str = "+15550100", *, headers: Sequence[tuple[str, str]] = ()
    ) -> SipLeg:
        """Let a SIP call come in from the number `caller`, and tell the webhook of the project.

        `headers`: more of the INVITE's. Raises `ValueError` when the service has no webhook.
        """
        if self.webhook is None:
            raise ValueError("nobody is told of a SIP call: give OpenAIService(webhook=WebhookEndpoint(url, secret))")
        return incoming(self, self.webhook, caller, number, headers)

    # -- WebSocket

    def open(self, request: HandshakeRequest) -> Opening:
        """A client asks for a session: decide, and say how long the answer takes."""
        ordinal = len(self.openings) + 1
        plan = self._plans.get(ordinal, HandshakePlan())
        point = f"{self.party}/session{ordinal}/handshake/delay"
        delay = plan.delay_ms / 1000 if plan.delay_ms is not None else self.ports.choices.delay(point, 20, 150, 2500)
        decision, client = self._planned(plan, request), self.client(request.headers)
        headers, host = self.answer_headers(request), request.headers.get("host", "")
        opening = Opening(ordinal, decision, delay, plan, client, self.party, headers, host)
        self.openings.append(opening)
        self.changed()
        return opening

    def _planned(self, plan: HandshakePlan, request: HandshakeRequest) -> Decision:
        decision = self.decide(request)
        if plan.refuse_http is not None:
            status, name = plan.refuse_http
            return RefuseHttp(_planned_error(name, request), status, plan.headers)
        if plan.refuse_in_band is not None:
            error = _planned_error(plan.refuse_in_band, request)
            code = plan.close_code if plan.close_code is not None else error.text.close
            subprotocol = None if isinstance(decision, RefuseHttp) else decision.subprotocol
            return RefuseInBand(error, code, subprotocol)
        return decision

    def decide(self, request: HandshakeRequest) -> Decision:
        """What is answered to an upgrade that no test case has a plan for."""
        return self.handshake.decide(request)

    def answer_headers(self, request: HandshakeRequest) -> Mapping[str, str]:
        """What the answer to an upgrade carries beside what every one has."""
        return {}

    def is_web_socket(self, path: str) -> bool:
        """Whether an upgrade at a path is answered here; elsewhere it is just a request."""
        return path in (PATH, TRANSLATIONS)

    def catalogue_of(self, opened: Opening | Call) -> Catalogue:
        """The models that a session knows: one of a connection, or one of a call."""
        return catalogue()

    def minutes(self, dialect: str) -> int:
        """How long a session may last."""
        return self._era.session_minutes[dialect]

    def detection(self, wanted: TurnDetection | None) -> TurnDetection | None:
        """The turn detection that sessions do when they are asked for this one."""
        return wanted

    def serve(self, opening: Opening, decision: Accept, sink: Sink) -> WebSocketSession:
        """The upgrade has been answered: open what it asked for. The caller starts it when the sink is ready."""
        if decision.kind == "translation":
            return self._translate(opening, decision, sink)
        if decision.call is not None:
            return self._join(opening, decision.call, sink)
        return self.accept(opening, decision, sink)

    def _translate(self, opening: Opening, decision: Accept, sink: Sink) -> TranslationSession:
        assert decision.model is not None
        session = TranslationSession(
            self.ports,
            sink,
            ordinal=opening.ordinal,
            model=decision.model,
            minutes=self.minutes(decision.dialect),
            catalogue=self.catalogue_of(opening),
            knobs=self.knobs,
            preset=decision.preset,
            client_party=opening.client,
            party=self.party,
            on_change=self.changed,
        )
        self.links.append(session)
        self.changed()
        return session

    def _join(self, opening: Opening, call: Call, sink: Sink) -> Sideband:
        if call.id not in self._shared:
            assert call.running is not None, "the handshake lets nobody join a call without a session"
            call.running.share(lambda own: self._shared.setdefault(call.id, SharedSink(own, self.knobs)))
        sideband = Sideband(
            self.ports,
            sink,
            ordinal=opening.ordinal,
            call=call,
            shared=self._shared[call.id],
            knobs=self.knobs,
            client_party=opening.client,
            party=self.party,
            on_change=self.changed,
        )
        self.links.append(sideband)
        self.changed()
        return sideband

    def accept(self, opening: Opening, decision: Accept, sink: Sink) -> RealtimeSession:
        """The upgrade has been answered: open the session. The caller starts it when the sink is ready."""
        session = RealtimeSession(
            self.ports,
            sink,
            DIALECTS[decision.dialect],
            ordinal=opening.ordinal,
            kind=decision.kind,
            model=decision.model,
            minutes=self.minutes(decision.dialect),
            catalogue=self.catalogue_of(opening),
            knobs=self.knobs,
            brain=self.brain,
            client_party=opening.client,
            party=self.party,
            on_change=self.changed,
            mcp_servers=self.mcp_servers,
            detection=self.detection,
        )
        if decision.preset is not None:
            preset(session, decision.preset)
        session.shape = opening.plan.shape
        session.refuse_updates = opening.plan.refuse_updates
        self.sessions.append(session)
        self.changed()
        return session

    # -- HTTP

    def request_name(self) -> str:
        """The name of the next HTTP request's connection."""
        self._requests += 1
        return f"{self.party}/http#{self._requests}"

    def http_plan(self, path: str) -> HttpPlan:
        """What a test case wants of a request that has come."""
        return self._http_plans.take(path)

    def http(self, request: HttpRequest, came: Came = lambda invalid: None) -> HttpAnswer | Offered:
        """Answer a plain HTTP request; an SDP offer that has been found good goes to `answer`.

        `came` is told of the request, and why it is invalid if it is, before it has any effect on a call.
        """
        return self._endpoints.handle(request, came)

    def too_large(self, request: HttpRequest, came: Came = lambda invalid: None) -> HttpAnswer:
        """Answer a request whose body is too large to be read."""
        return self._endpoints.too_large(request, came)

    async def answer(self, offered: Offered) -> HttpAnswer:
        """Let the answerer answer an offer."""
        return await self._endpoints.answer(offered)


def _planned_error(name: str, request: HandshakeRequest) -> VendorError:
    text: ErrorText = error_text(name)
    fields = {**PLANNED_FIELDS, "model": request.query.get("model", "the model"), "path": request.path}
    return VendorError(text.name, **{**fields, "operation": f"GET {request.path}"})
