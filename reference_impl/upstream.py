"""Where sessions are opened, and how the gateway proves there who it is: OpenAI itself here, Azure in `azure`.

What stands between the gateway and a session is made a `Problem` here, whoever the vendor is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import urlencode

from aiohttp import ClientResponse, ClientSession, TraceConfig, TraceRequestRedirectParams, WSServerHandshakeError

from reference_impl.config import Config
from reference_impl.problems import VENDORS, Problem, of_answer, of_close, of_event, ours

MAX_BODY = 64 * 1024  # bytes that are read of the answer to an upgrade that was refused
BODY_TIMEOUT = 2.0  # seconds that this answer may take after its head


class UpgradeRefused(WSServerHandshakeError):
    """The upgrade to a WebSocket was answered with something else, and this is the `body` of it."""

    body: bytes


def client_session() -> ClientSession:
    """A client that keeps the body of an upgrade that is refused, and follows no redirect with it: the credential among
    its headers is for one host."""
    trace = TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    return ClientSession(raise_for_status=_keep_refusal, trace_configs=[trace])


async def _keep_refusal(response: ClientResponse) -> None:
    if response.status != 101 and response.request_info.headers.get("Upgrade", "").lower() == "websocket":
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                while len(body) < MAX_BODY and (piece := await response.content.read(MAX_BODY - len(body))):
                    body += piece
        except (TimeoutError, OSError):
            pass  # the status says enough
        raise _refusal(response, bytes(body))


async def _refuse_redirect(_: ClientSession, __: SimpleNamespace, params: TraceRequestRedirectParams) -> None:
    if params.response.request_info.headers.get("Upgrade", "").lower() == "websocket":
        raise _refusal(params.response, b"")


def _refusal(response: ClientResponse, body: bytes) -> UpgradeRefused:
    response.close()
    refused = UpgradeRefused(response.request_info, (), status=response.status, headers=response.headers)
    refused.body = body
    return refused


class Upstream:
    """OpenAI, or what OPENAI_BASE_URL names and speaks as OpenAI does. Subclasses say what is different elsewhere."""

    source: ClassVar[str] = "openai"
    transcription = "gpt-4o-mini-transcribe"  # the model that writes down what the person says
    relay_only = ""  # why a browser may not go there itself
    beta_headers: Mapping[str, str] = {"OpenAI-Beta": "realtime=v1"}

    def __init__(self, config: Config) -> None:
        self.config = config

    def beta(self) -> bool | None:
        """Whether the beta dialect is spoken there; None when the model decides that."""
        return None

    def url(self) -> str:
        """The WebSocket address of a session."""
        base = "ws" + self.config.openai_base_url.removeprefix("http")
        return f"{base}/realtime?{urlencode({'model': self.config.openai_model})}"

    def auth(self) -> dict[str, str]:
        """The header that proves who we are; `prepare` comes before."""
        return {"Authorization": f"Bearer {self.config.openai_api_key}"}

    async def prepare(self) -> None:
        """Make `auth` ready for a new session. Raises CredentialError."""

    async def renew(self, refused: Problem, sent: Mapping[str, str]) -> bool:
        """Whether to try again, after a refusal of the header `sent`, because `auth` has a better one now. Raises
        CredentialError."""
        return False

    async def close(self) -> None:
        """Leave nothing running."""

    # What went wrong

    def of_refusal(self, error: WSServerHandshakeError) -> Problem:
        """The HTTP answer to an upgrade: the vendor's words, where it found any."""
        try:
            body = json.loads(getattr(error, "body", b""))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or not body.get("error"):
            body = {"error": body} if isinstance(body, dict) and body.get("message") else None
        headers: Mapping[str, str] = error.headers or {}
        request_id = headers.get("apim-request-id") or headers.get("x-request-id")
        problem = of_answer(error.status, body or self._bare(error.status), request_id, source=self.source)
        return self.explain(problem, headers)

    def _bare(self, status: int) -> dict[str, str]:
        return {"error": f"{VENDORS[self.source]} answered HTTP {status} on the upgrade"}

    def of_event(self, event: Mapping[str, Any]) -> Problem:
        """See problems."""
        return self.explain(of_event(event, source=self.source))

    def of_close(self, code: int | None, reason: str) -> Problem:
        """See problems."""
        return self.explain(of_close(code, reason, source=self.source))

    def of_failure(self, error: Exception, why: str) -> Problem:
        """There was no answer at all."""
        return ours("openai_timeout" if isinstance(error, TimeoutError) else "openai_unreachable", why)

    def explain(self, problem: Problem, headers: Mapping[str, str] | None = None) -> Problem:
        """The problem with its cause and what to do; `headers` are those of the HTTP answer, if it was one."""
        return problem
