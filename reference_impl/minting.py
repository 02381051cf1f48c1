"""Client secrets: the short-lived keys with which a browser talks to OpenAI itself, made for one page at a time.

Source: OpenAI docs, "Realtime API with WebRTC" and the reference of `POST /v1/realtime/client_secrets`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from reference_impl.config import Config
from reference_impl.dialects import Dialect
from reference_impl.problems import Problem, Refused, of_answer, ours
from reference_impl.tools import TALK_TOOLS

TIMEOUT = ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A minted secret. `expires_at` in Unix seconds."""

    value: str = field(repr=False)
    expires_at: int


class Minter:
    """Makes client secrets with the standard key, which stays here."""

    def __init__(self, config: Config, dialect: Dialect, http: ClientSession) -> None:
        self.config = config
        self.dialect = dialect
        self.http = http

    def url(self) -> str:
        """Where secrets are minted."""
        return f"{self.config.openai_base_url}/realtime/client_secrets"

    def calls_url(self) -> str:
        """Where the browser sends its SDP offer. The secret says all the rest, so there is no query."""
        return f"{self.config.openai_base_url}/realtime/calls"

    def headers(self) -> dict[str, str]:
        """The headers of the request; `OpenAI-Beta` is not among them."""
        return {"Authorization": f"Bearer {self.config.openai_api_key}"}

    def session(self) -> dict[str, Any]:
        """What every session opened with the secret begins with: the page has nothing to add, and no model to name."""
        tools = [tool.schema() for tool in TALK_TOOLS.values()]
        return {**self.dialect.session(tools), "model": self.config.openai_model}

    def body(self) -> dict[str, Any]:
        """The body of the request."""
        seconds = self.config.talk_secret_seconds
        return {"expires_after": {"anchor": "created_at", "seconds": seconds}, "session": self.session()}

    async def mint(self) -> ClientSecret:
        """A new secret. Raises Refused."""
        try:
            request = self.http.post(self.url(), json=self.body(), headers=self.headers(), timeout=TIMEOUT)
            async with request as response:
                if response.status != 200:
                    raise Refused(502, await self.problem_of(response))
                return self.secret_of(await response.json(content_type=None))
        except TimeoutError:
            raise Refused(502, ours("openai_timeout", f"no answer from OpenAI within {TIMEOUT.total:g} s")) from None
        except (ClientError, OSError) as error:
            what = f"no answer from OpenAI: {type(error).__name__}"
            raise Refused(502, ours("openai_unreachable", what)) from None
        except (KeyError, TypeError, ValueError):
            raise Refused(502, of_answer(200, {"error": "the answer has no client secret"})) from None

    def secret_of(self, answer: Any) -> ClientSecret:
        """The secret in the vendor's answer. Raises KeyError, TypeError, ValueError."""
        value, expires_at = answer["value"], answer["expires_at"]
        if not isinstance(value, str) or not value or not isinstance(expires_at, int):
            raise ValueError("no secret")
        return ClientSecret(value, expires_at)

    async def problem_of(self, response: ClientResponse) -> Problem:
        """What the vendor minds: its status, code and message, as they are."""
        try:
            body = await response.json(content_type=None)
        except ValueError:
            body = None
        return of_answer(response.status, body, response.headers.get("x-request-id"))
