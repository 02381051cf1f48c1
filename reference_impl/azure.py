"""Azure OpenAI (AI Foundry) in the place of OpenAI: addresses, credentials, dialect, and what its refusals mean.

Sessions are opened at `wss://RESOURCE/openai/v1/realtime?model=DEPLOYMENT` (GA), or, when an api-version is set, at
`/openai/realtime?api-version=...&deployment=...`, where the beta dialect is spoken: the path decides and not a header.
The credential goes in a header, never into an address, and never anywhere else. Source: Microsoft docs, "GPT Realtime
API for speech and audio".
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import ClientConnectorDNSError, ClientSSLError

from reference_impl.azure_settings import CAUSES, GA_VERSIONS
from reference_impl.config import Config
from reference_impl.credentials import ApiKey, Credential, Entra
from reference_impl.log import Log
from reference_impl.problems import AZURE_HINTS, Problem, of_cause
from reference_impl.upstream import Upstream

RELAY_ONLY: Final = "the model is Azure's, whose credentials stay in the gateway: the relay is used"
RENEWABLE: Final = frozenset({"azure_key_refused", "azure_token_refused"})


class Azure(Upstream):
    """One deployment of one resource."""

    source = "azure"
    relay_only = RELAY_ONLY
    beta_headers: Mapping[str, str] = {}
    api_key_class: type[ApiKey] = ApiKey
    entra_class: type[Entra] = Entra

    def __init__(self, config: Config, log: Log | None = None, busy: Callable[[], bool] = bool) -> None:
        """`busy` says whether a call is up."""
        super().__init__(config)
        self.transcription = config.azure_transcription
        self.credential = self.credential_for(log or Log(config.secrets()), busy)

    def credential_for(self, log: Log, busy: Callable[[], bool]) -> Credential:
        """The credential that the configuration asks for."""
        if self.config.azure_auth == "entra":
            return self.entra_class(self.config, log, busy)
        return self.api_key_class(self.config, log)

    def beta(self) -> bool:
        """See Upstream."""
        return self.config.azure_api_version not in GA_VERSIONS

    def url(self) -> str:
        """See Upstream."""
        base = "ws" + self.config.azure_endpoint.removeprefix("http")
        if self.beta():
            asked = {"api-version": self.config.azure_api_version, "deployment": self.config.azure_deployment}
            return f"{base}/openai/realtime?{urlencode(asked)}"
        return f"{base}/openai/v1/realtime?{urlencode({'model': self.config.azure_deployment})}"

    def auth(self) -> dict[str, str]:
        """See Upstream."""
        return self.credential.headers()

    async def prepare(self) -> None:
        """See Upstream."""
        await self.credential.prepare()

    async def renew(self, refused: Problem, sent: Mapping[str, str]) -> bool:
        """See Upstream: a key that was rotated in its file, a token that was revoked or has expired."""
        return refused.cause in RENEWABLE and await self.credential.renew(sent)

    async def close(self) -> None:
        """See Upstream."""
        await self.credential.close()

    # What went wrong

    def of_failure(self, error: Exception, why: str) -> Problem:
        """See Upstream."""
        if isinstance(error, TimeoutError):
            cause = "azure_timeout"
        elif isinstance(error, ClientConnectorDNSError):
            cause = "azure_name_unresolved"
        elif isinstance(error, (ClientSSLError, ssl.SSLError)):
            cause = "azure_tls"
        else:
            cause = "azure_unreachable"
        return self.explain(of_cause(cause, why))

    def explain(self, problem: Problem, headers: Mapping[str, str] | None = None) -> Problem:
        """See Upstream."""
        cause = problem.cause or self.cause_of(problem)
        return replace(problem, cause=cause, advice=self.advice(cause, headers or {}))

    def cause_of(self, problem: Problem) -> str | None:
        """What Azure's words are taken for: the first rule of `causes.toml` that fits."""
        return next((str(rule["cause"]) for rule in CAUSES["refusal"] if self._fits(rule, problem)), None)

    def _fits(self, rule: Mapping[str, Any], problem: Problem) -> bool:
        return (
            ("status" not in rule or bool(re.fullmatch(str(rule["status"]), str(problem.status))))
            and ("code" not in rule or bool(re.fullmatch(rule["code"], str(problem.code))))
            and ("message" not in rule or bool(re.search(rule["message"], problem.message)))
            and rule.get("api") in (None, "beta" if self.beta() else "ga")
            and rule.get("auth") in (None, self.config.azure_auth)
            and rule.get("preview") in (None, self.config.azure_api_version in CAUSES["previews"])
        )

    def advice(self, cause: str | None, headers: Mapping[str, str]) -> str:
        """What to do about a cause, with the names of what it is about."""
        wait = headers.get("retry-after-ms", "")
        version = self.config.azure_api_version
        return AZURE_HINTS.get(cause or "", AZURE_HINTS["other"]).format(
            endpoint=self.config.azure_endpoint,
            deployment=self.config.azure_deployment,
            api=f"the API with api-version {version}" if self.beta() else "the GA API (/openai/v1/realtime)",
            region=headers.get("x-ms-region", "not told"),
            wait=f"{int(wait) / 1000:g} s" if wait.isdecimal() else "a minute",
            credential=self.credential.name,
        )


def upstream_for(config: Config, log: Log | None = None, busy: Callable[[], bool] = bool) -> Upstream:
    """Where the configuration says that sessions are opened."""
    return Azure(config, log, busy) if config.azure else Upstream(config)
