"""An Azure OpenAI without sockets for tests: two resources, a clock that is moved by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from manual_clock import ManualClock
from openai_vendor import Answering, Socket
from openai_world import Client, ListSink, NotedChoices

from fakes.azure.resources import Deployment, Resource
from fakes.azure.service import KNOBS, AzureService
from fakes.azure.tokens import Principal, TokenRefused
from fakes.knobs import Knobs
from fakes.local import ListRecorder, OpenGates
from fakes.openai import KNOBS as OPENAI_KNOBS
from fakes.openai.brain import Brain
from fakes.openai.handshake import Accept, HandshakeRequest, RefuseHttp
from fakes.openai.http import HttpAnswer, HttpRequest, Offered
from fakes.openai.links import Link
from fakes.openai.service import Opening
from fakes.ports import Ports

DAY = date(2026, 11, 20)
START = 1_795_132_800.0
KEY1, KEY2, OTHER_KEY = "a1" * 16, "b2" * 16, "c3" * 16
HOST, OTHER_HOST = "voice.openai.azure.com", "lab.openai.azure.com"
OID = "11111111-2222-4333-8444-555555555555"
TENANT = "99999999-8888-4777-8666-555555555555"
GOOD_TOKEN = "head.good.tail"
PREVIEW = "2025-04-01-preview"
V1 = "/openai/v1/realtime"
BETA = "/openai/realtime"
MINT = "/openai/v1/realtime/client_secrets"
CALLS = "/openai/v1/realtime/calls"
LEGACY = "/openai/realtimeapi/sessions"

DEPLOYMENTS = (
    Deployment("agent", "gpt-realtime", "2025-08-28"),
    Deployment("thinker", "gpt-realtime-2"),
    Deployment("old", "gpt-4o-realtime-preview-2024-12-17"),
    Deployment("scribe", "gpt-4o-transcribe"),
    Deployment("chat", "gpt-4o"),
    Deployment("interpreter", "gpt-realtime-translate"),
)


class Issuer:
    """Knows tokens by heart: whose they are, or why they are refused."""

    def __init__(self) -> None:
        self.tokens: dict[str, Principal | str] = {
            GOOD_TOKEN: Principal(OID, TENANT, "https://cognitiveservices.azure.com", START + 3600),
            "head.stranger.tail": Principal("someone-else", TENANT, "https://ai.azure.com"),
            "head.wrong.tail": "audience",
        }

    def verify(self, token: str, now: float) -> Principal:
        found = self.tokens.get(token, "signature")
        if isinstance(found, str):
            raise TokenRefused(found)
        if now >= found.expires_at:
            raise TokenRefused("expired")
        return found


def settings(**knobs: Any) -> Knobs:
    """The knobs of both; `azure.` is left out of their names, `openai.` is written `openai_`."""
    result = Knobs.load(OPENAI_KNOBS, KNOBS)
    for name, value in knobs.items():
        full = f"openai.{name.removeprefix('openai_')}" if name.startswith("openai_") else f"azure.{name}"
        result.set(full, value)
    return result


class Azure:
    """A service with the resources `voice` and `lab`, in different regions."""

    def __init__(
        self, day: date = DAY, *, answerer: Answering | None = None, brain: Brain | None = None, **knobs: Any
    ) -> None:
        self.recorder = ListRecorder()
        self.clock = ManualClock(START)
        self.voice = Resource("voice", keys=(KEY1, KEY2), deployments=DEPLOYMENTS, principals={OID})
        self.lab = Resource("lab", "swedencentral", (OTHER_KEY,), (Deployment("agent", "gpt-realtime-1.5"),))
        self.issuer = Issuer()
        self.service = AzureService(
            Ports(self.clock, NotedChoices(), self.recorder, OpenGates()),
            as_of=day,
            resources=[self.voice, self.lab],
            tokens=self.issuer,
            knobs=settings(**knobs),
            answerer=answerer,
            brain=brain,
        )

    # -- WebSocket

    def handshake(
        self,
        path: str = V1,
        query: Mapping[str, str] | None = None,
        *,
        host: str = HOST,
        key: str | None = KEY1,
        subprotocols: tuple[str, ...] = (),
        **headers: str,
    ) -> Opening:
        """Ask for an upgrade; by default to the deployment `agent`, in the way that the path wants."""
        if query is None:
            query = {"model": "agent"} if path == V1 else {"api-version": PREVIEW, "deployment": "agent"}
        sent = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if key is not None:
            sent["api-key"] = key
        return self.service.open(HandshakeRequest(path, query, sent, subprotocols))

    def refused(self, *args: Any, **options: Any) -> tuple[int, str | None]:
        """Status and code of an upgrade that is refused."""
        decision = self.handshake(*args, **options).decision
        assert isinstance(decision, RefuseHttp), decision
        return decision.status, decision.error.code

    def accepted(self, *args: Any, **options: Any) -> Accept:
        """What an upgrade opens that is accepted."""
        decision = self.handshake(*args, **options).decision
        assert isinstance(decision, Accept), decision
        return decision

    def connect(self, *args: Any, **options: Any) -> Client:
        """Open a session; `session.created` is still to come."""
        opening = self.handshake(*args, **options)
        assert isinstance(opening.decision, Accept), opening.decision
        sink = ListSink()
        session = self.service.accept(opening, opening.decision, sink)
        sink.session = session
        session.start()
        return Client(self.clock, self.recorder, session, sink)

    def join(self, *args: Any, **options: Any) -> Socket:
        """Open a sideband or a translation session, and let it start."""
        opening = self.handshake(*args, **options)
        assert isinstance(opening.decision, Accept), opening.decision
        sink = Socket()
        link = self.service.serve(opening, opening.decision, sink)
        assert isinstance(link, Link)
        sink.link = link
        link.start()
        self.clock.advance(5)
        return sink

    # -- HTTP

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "POST",
        host: str = HOST,
        key: str | None = KEY1,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> HttpAnswer | Offered:
        sent = {"host": host, "content-type": content_type}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["api-key"] = key
        raw = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        return self.service.http(HttpRequest(method, path, sent, query or {}, raw))

    def answer(self, path: str, body: Any = None, **options: Any) -> HttpAnswer:
        answer = self.ask(path, body, **options)
        assert isinstance(answer, HttpAnswer), answer
        return answer

    def error(self, path: str, body: Any = None, **options: Any) -> tuple[int, str | None]:
        """Status and code of a request that is refused."""
        answer = self.answer(path, body, **options)
        assert answer.body is not None, answer
        return answer.status, answer.body["error"]["code"]

    def mint(self, session: Mapping[str, Any] | None = None, **options: Any) -> str:
        answer = self.answer(MINT, {"session": session or {"type": "realtime", "model": "agent"}}, **options)
        assert answer.status == 200, answer.body
        assert answer.body is not None
        return str(answer.body["value"])

    def offer(self, secret: str, offer: str, **options: Any) -> HttpAnswer | Offered:
        """POST an SDP offer with a client secret, as a browser does."""
        path = options.pop("path", CALLS)
        sent = {"content_type": "application/sdp", "authorization": f"Bearer {secret}", "key": None, **options}
        return self.ask(path, offer, **sent)
