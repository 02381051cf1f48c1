"""The HTTP side of Entra, without sockets: which path is what, and how answers and refusals look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fakes.azure.entra import AUTHORITY, Entra, TokenRequest, stamp
from fakes.azure.entra_errors import EntraError, entra_data
from fakes.azure.managed_identity import app_service_token, imds_token

IMDS_PATH = "/metadata/identity/oauth2/token"
APP_SERVICE_PATH = "/msi/token"
"""The path of `IDENTITY_ENDPOINT`; Container Apps and App Service both end it so."""


@dataclass(frozen=True, slots=True)
class EntraRequest:
    """A request as it came. Header names are in lower case; `form` is what its body says; `host` with its port."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    host: str = AUTHORITY


@dataclass(frozen=True, slots=True)
class EntraAnswer:
    """What goes back, `delay` seconds later. `invalid`: why the request breaks the rules, None when it does not."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    delay: float = 0.0
    invalid: str | None = None


class EntraEndpoints:
    """The endpoints of one service."""

    def __init__(self, entra: Entra) -> None:
        self.entra = entra
        self._answers = 0

    def handle(self, request: EntraRequest) -> EntraAnswer:
        """Answer a request."""
        self._answers += 1
        headers = self._headers(request)
        try:
            return self._route(request, headers)
        except EntraError as error:
            return self._refused(error, request, headers, 0.0)

    def _route(self, request: EntraRequest, headers: dict[str, str]) -> EntraAnswer:
        path = request.path.rstrip("/") or "/"
        match path.removeprefix("/").split("/"):
            case ["common", "discovery", "instance"]:
                return EntraAnswer(200, self._instances(request), headers)
            case [tenant, "v2.0", ".well-known", "openid-configuration"]:
                return EntraAnswer(200, self._openid(tenant, "v2.0", request.host), headers)
            case [tenant, ".well-known", "openid-configuration"]:
                return EntraAnswer(200, self._openid(tenant, "", request.host), headers)
            case [_, "discovery", "v2.0", "keys"] | [_, "discovery", "keys"]:
                return EntraAnswer(200, {"keys": [self.entra.key.jwk()]}, headers)
            case [tenant, "oauth2", "v2.0", "token"]:
                if request.method != "POST":
                    return EntraAnswer(405, {}, headers, invalid="the token endpoint takes POST alone")
                return self._token(tenant, request, headers)
        wanted = path.lower()
        if wanted in (IMDS_PATH, APP_SERVICE_PATH):
            if request.method != "GET":
                return EntraAnswer(405, {}, headers, invalid="identity endpoints take GET alone")
            return self._host_token(wanted, request, headers)
        return EntraAnswer(404, {}, headers, invalid=f"nothing is served at {request.path}")

    # -- tokens

    def _token(self, tenant: str, request: EntraRequest, headers: dict[str, str]) -> EntraAnswer:
        plan = self.entra.next_plan()
        delay = self.entra.delay(plan)
        try:
            if plan.error:
                raise EntraError.planned(plan.error)
            body = self.entra.token(TokenRequest(tenant, request.form, request.headers, request.host))
        except EntraError as error:
            return self._refused(error, request, headers, delay)
        return EntraAnswer(200, body, headers, delay)

    def _host_token(self, path: str, request: EntraRequest, headers: dict[str, str]) -> EntraAnswer:
        plan = self.entra.next_plan()
        delay = self.entra.delay(plan)
        answer = imds_token if path == IMDS_PATH else app_service_token
        try:
            if plan.error:
                raise EntraError.planned(plan.error)
            body = answer(self.entra, request.query, request.headers)
        except EntraError as error:
            return self._refused(error, request, headers, delay)
        return EntraAnswer(200, body, headers, delay)

    # -- metadata

    def _instances(self, request: EntraRequest) -> dict[str, Any]:
        discovery = entra_data()["discovery"]
        asked = urlsplit(request.query.get("authorization_endpoint", ""))
        if asked.netloc.lower() not in {*discovery["hosts"], request.host.lower()}:
            raise EntraError("unknown_instance")
        tenant = asked.path.removeprefix("/").partition("/")[0] or "common"
        where = f"https://{asked.netloc}/{tenant}/v2.0/.well-known/openid-configuration"
        return {
            "tenant_discovery_endpoint": where,
            "api-version": "1.1",
            "metadata": [
                {
                    "preferred_network": discovery["preferred_network"],
                    "preferred_cache": discovery["preferred_cache"],
                    "aliases": discovery["hosts"],
                }
            ],
        }

    def _openid(self, name: str, version: str, host: str) -> dict[str, Any]:
        tenant = "common" if name.lower() in ("common", "organizations") else self.entra.tenant(name).id
        base = f"https://{host}/{tenant}"
        flow = f"{base}/oauth2/{version}".rstrip("/")
        issuer = f"https://{AUTHORITY}/{tenant}/v2.0" if version else f"https://sts.windows.net/{tenant}/"
        return {
            "token_endpoint": f"{flow}/token",
            "jwks_uri": f"{base}/discovery/{version}/keys" if version else f"{base}/discovery/keys",
            "issuer": issuer.replace("/common/", "/{tenantid}/"),
            "authorization_endpoint": f"{flow}/authorize",
            "device_authorization_endpoint": f"{flow}/devicecode",
            "end_session_endpoint": f"{flow}/logout",
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "tenant_region_scope": "NA",
            **entra_data()["openid"],
        }

    # -- form

    def _headers(self, request: EntraRequest) -> dict[str, str]:
        """What every answer carries."""
        headers = {
            "Cache-Control": "no-store, no-cache",
            "Pragma": "no-cache",
            "Content-Type": "application/json; charset=utf-8",
            "x-ms-request-id": self._id("trace"),
        }
        asked = request.headers.get("client-request-id")
        if asked and request.headers.get("return-client-request-id", "").lower() == "true":
            headers["client-request-id"] = asked
        return headers

    def _refused(self, error: EntraError, request: EntraRequest, headers: dict[str, str], delay: float) -> EntraAnswer:
        invalid = error.message if error.malformed else None
        correlation = request.headers.get("client-request-id") or self._id("correlation")
        if error.section == "imds":
            body: dict[str, Any] = {"error": error.error, "error_description": error.message}
        elif error.section == "app_service":
            body = {"statusCode": error.status, "message": error.message, "correlationId": correlation}
        else:
            now = stamp(self.entra.ports.clock.wall())
            trace = headers["x-ms-request-id"]
            body = {
                "error": error.error,
                "error_description": (
                    f"{error.message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"
                ),
                "error_codes": [error.code],
                "timestamp": now,
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": f"https://{AUTHORITY}/error?code={error.code}",
            }
        if error.status in (429, 503):
            headers["Retry-After"] = "1"
        return EntraAnswer(error.status, body, headers, delay, invalid)

    def _id(self, purpose: str) -> str:
        token = self.entra.ports.choices.token(f"entra/answer{self._answers}/{purpose}", 32)
        return str(UUID(token))
