"""Entra ID: gives tokens to applications that prove who they are, and says whose a token is.

Sources: Microsoft docs, "OAuth 2.0 client credentials flow", "Certificate credentials", "Workload identity federation",
"Access token claims reference"; the published code of MSAL and azure-identity for Python; error texts as in
`entra.toml`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fakes.azure import jws
from fakes.azure.directory import Application, FederatedCredential, ManagedIdentity, Tenant, certificate, guid
from fakes.azure.entra_errors import EntraError, entra_data
from fakes.azure.keys import SigningKey, signing_key
from fakes.azure.tokens import Principal, TokenRefused
from fakes.knobs import Knobs
from fakes.ports import Ports

KNOBS = Path(__file__).with_name("knobs.toml")
AUTHORITY = "login.microsoftonline.com"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SHORTEST, LONGEST = 3599, 5399
"""Seconds that an application's token lives: 60 to 90 minutes (Microsoft docs: Configurable token lifetimes)."""
BACKDATED = 300
"""Seconds that `iat` and `nbf` lie before the moment of issue, for clocks that are late."""
ASSERTION_SKEW = 300
"""Seconds by which the clock of whoever made an assertion may be wrong."""

_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to the token endpoint of `tenant`. Header names are in lower case; `host` is what it was sent to."""

    tenant: str
    form: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = AUTHORITY


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that has been given out. Times are Unix seconds."""

    text: str
    tenant: str
    principal: Application | ManagedIdentity
    audience: str
    issued: int
    expires: int

    def lives(self, now: float) -> int:
        """Whole seconds that are left."""
        return self.expires - int(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlan:
    """What is to become of one request for a token: `error`, a name in entra.toml, instead of one; or a delay."""

    error: str = ""
    delay_ms: int | None = None

    def __post_init__(self) -> None:
        # A name that does not exist is told to the author of the case, not to the gateway.
        if self.error and self.error not in entra_data()["errors"]:
            raise ValueError(f"entra.toml has no error {self.error!r}; it has {', '.join(entra_data()['errors'])}")


class Entra:
    """The directory service of one cloud: its tenants, and the tokens that it has given out.

    `lifetime`: seconds that every token lives from now on; None leaves it to the choices. `plans`: what is to become
    of the next requests for tokens, in order. `issued`: every token, in order. `identity_header`: the secret of the
    App Service identity endpoint. It is a `TokenVerifier` for the resources of Azure.
    """

    party = "entra"

    def __init__(
        self,
        ports: Ports,
        tenants: Sequence[Tenant],
        *,
        knobs: Knobs | None = None,
        identity_header: str = "",
        lifetime: int | None = None,
    ) -> None:
        self.ports = ports
        self.tenants = list(tenants)
        self.knobs = knobs if knobs is not None else Knobs.load(KNOBS)
        self.identity_header = identity_header or guid("identity header")
        self.lifetime = lifetime
        self.plans: deque[TokenPlan] = deque()
        self.issued: list[IssuedToken] = []
        self._requests = 0
        self._host_tokens: dict[tuple[str, str], IssuedToken] = {}

    # -- directory

    @property
    def key(self) -> SigningKey:
        """What tokens are signed with."""
        return signing_key("authority")

    def tenant(self, name: str) -> Tenant:
        """The tenant of that id or domain. Raises `EntraError`."""
        wanted = name.lower()
        for tenant in self.tenants:
            if wanted == tenant.id.lower() or wanted in (domain.lower() for domain in tenant.domains):
                return tenant
        if not _GUID.fullmatch(name) and "." not in name:
            raise EntraError("malformed_tenant", tenant=name)
        raise EntraError("unknown_tenant", tenant=name)

    def resource(self, uri: str) -> dict[str, Any] | None:
        """What is known of a resource, by its URI with or without a slash at its end."""
        wanted = uri.removesuffix("/").lower()
        resources: list[dict[str, Any]] = entra_data()["resources"]
        return next((entry for entry in resources if entry["uri"] == wanted), None)

    # -- the token endpoint

    def next_plan(self) -> TokenPlan:
        """What is to become of a request for a token that has come."""
        return self.plans.popleft() if self.plans else TokenPlan()

    def delay(self, plan: TokenPlan) -> float:
        """How long its answer takes, in seconds."""
        self._requests += 1
        if plan.delay_ms is not None:
            return plan.delay_ms / 1000
        return self.ports.choices.delay(f"entra/request{self._requests}/delay", 20, 120, 2000)

    def token(self, request: TokenRequest) -> dict[str, Any]:
        """Answer a request for a token with the body of a success. Raises `EntraError`."""
        form = request.form
        tenant = self.tenant(request.tenant)
        grant = _needed(form, "grant_type")
        client, secret = _basic(request.headers)
        client = client or _needed(form, "client_id")
        if grant != "client_credentials":
            raise EntraError("unsupported_grant", grant=grant)
        application = tenant.application(client)
        if application is None:
            raise EntraError("unknown_application", client=client, directory=tenant.name)
        resource = self._resource_of(_needed(form, "scope"), tenant)
        if "client_assertion" in form:
            self._check_assertion(request, tenant, application)
            proof = "2"
        elif secret or "client_secret" in form:
            _check_secret(application, secret or form["client_secret"])
            proof = "1"
        else:
            raise EntraError("no_client_credential")
        issued = self.issue(tenant, application, resource, proof=proof)
        left = issued.lives(self.ports.clock.wall())
        return {"token_type": "Bearer", "expires_in": left, "ext_expires_in": left, "access_token": issued.text}

    def _resource_of(self, scope: str, tenant: Tenant) -> str:
        scopes = scope.split()
        if len(scopes) != 1:
            raise EntraError("invalid_scope", scope=scope)
        resource, default, rest = scopes[0].rpartition("/.default")
        if not default or rest:
            name = str(self.knobs["azure.entra_scope_error"])
            raise EntraError(name, scope=scope)
        if not resource:
            raise EntraError("invalid_scope", scope=scope)
        if self.resource(resource) is None:
            raise EntraError("unknown_resource", resource=resource, directory=tenant.name)
        return resource

    def _check_assertion(self, request: TokenRequest, tenant: Tenant, application: Application) -> None:
        if request.form.get("client_assertion_type") != ASSERTION_TYPE:
            raise EntraError("wrong_assertion_type")
        try:
            assertion = jws.parse(request.form["client_assertion"])
        except jws.Malformed:
            raise EntraError("malformed_assertion") from None
        if assertion.text("iss").lower() == application.client_id.lower():
            self._check_certificate(assertion, request, tenant, application)
        elif {"x5t", "x5t#S256"} & set(assertion.header):
            raise EntraError("assertion_of_another")
        else:
            self._check_federated(assertion, application)

    def _check_certificate(
        self, assertion: jws.SignedToken, request: TokenRequest, tenant: Tenant, application: Application
    ) -> None:
        thumbprint = str(assertion.header.get("x5t#S256") or assertion.header.get("x5t") or "")
        registered = [certificate(pem) for pem in application.certificates]
        found = next((entry for entry in registered if thumbprint.rstrip("=") in entry.thumbprints), None)
        if found is None:
            raise EntraError("unknown_certificate", thumbprint=thumbprint, client=application.client_id)
        if not assertion.signed_by(found.key):
            raise EntraError("assertion_signature", thumbprint=thumbprint)
        if assertion.text("sub").lower() != application.client_id.lower():
            raise EntraError("assertion_of_another")
        if not _meant_for(assertion.text("aud"), request, tenant):
            raise EntraError("assertion_audience")
        self._check_time(assertion)

    def _check_federated(self, assertion: jws.SignedToken, application: Application) -> None:
        trusted = application.federated
        fitting = trusted
        audiences = assertion.claims.get("aud")
        presented = [audiences] if isinstance(audiences, str) else list(audiences or [])
        # The order in which the vendor looks is not documented; the message names the first that fits no credential.
        for name, value, fits in (
            ("federated_issuer", assertion.text("iss"), lambda c: c.issuer == assertion.text("iss")),
            ("federated_subject", assertion.text("sub"), lambda c: c.subject == assertion.text("sub")),
            ("federated_audience", ", ".join(map(str, presented)), lambda c: c.audience in presented),
        ):
            fitting = [credential for credential in fitting if fits(credential)]
            if not fitting:
                raise EntraError(name, value=value)
        self._check_federated_signature(assertion, fitting[0])
        self._check_time(assertion)

    def _check_federated_signature(self, assertion: jws.SignedToken, credential: FederatedCredential) -> None:
        if not assertion.signed_by(credential.key.private.public_key()):
            raise EntraError("assertion_signature", thumbprint=str(assertion.header.get("kid", "")))

    def _check_time(self, assertion: jws.SignedToken) -> None:
        now = self.ports.clock.wall()
        start, end = assertion.time("nbf") or assertion.time("iat") or 0, assertion.time("exp") or 0
        if not start - ASSERTION_SKEW <= now < end + ASSERTION_SKEW:
            raise EntraError("assertion_time", now=stamp(now, "T"), start=stamp(start, "T"), end=stamp(end, "T"))

    # -- tokens

    def issue(
        self,
        tenant: Tenant,
        principal: Application | ManagedIdentity,
        audience: str,
        *,
        lifetime: int | None = None,
        proof: str = "2",
    ) -> IssuedToken:
        """Sign a token of version 1.0, the one that Azure's own resources ask for.

        `lifetime`: seconds from now, None as this service does it. `proof`: how the client has proved who it is, by
        a secret (1) or by a certificate or an assertion (2).
        """
        number = len(self.issued) + 1
        now = int(self.ports.clock.wall())
        if lifetime is None:
            lifetime = self.lifetime
        if lifetime is None:
            lifetime = self.ports.choices.integer(f"entra/token{number}/lifetime", SHORTEST, SHORTEST, LONGEST)
        issuer = f"https://sts.windows.net/{tenant.id}/"
        unique = bytes.fromhex(self.ports.choices.token(f"entra/token{number}/uti", 32))
        claims: dict[str, Any] = {
            "aud": audience,
            "iss": issuer,
            "iat": now - BACKDATED,
            "nbf": now - BACKDATED,
            "exp": now + lifetime,
            "appid": principal.client_id,
            "appidacr": proof,
            "idp": issuer,
            "idtyp": "app",
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": tenant.id,
            "uti": base64.urlsafe_b64encode(unique).rstrip(b"=").decode(),
            "ver": "1.0",
        }
        if isinstance(principal, ManagedIdentity):
            claims["xms_mirid"] = principal.resource_id
        elif principal.roles:
            claims["roles"] = list(principal.roles)
        key = self.key
        text = jws.sign(key.private, claims, x5t=key.thumbprint, kid=key.thumbprint)
        issued = IssuedToken(text, tenant.id, principal, audience, now, now + lifetime)
        self.issued.append(issued)
        return issued

    def host_token(self, tenant: Tenant, identity: ManagedIdentity, audience: str) -> IssuedToken:
        """The token of a managed identity: the one from before, until half of its life is over."""
        now = self.ports.clock.wall()
        kept = self._host_tokens.get((identity.client_id, audience))
        keeps = bool(self.knobs["azure.entra_identity_cached"])
        if keeps and kept is not None and now < (kept.issued + kept.expires) / 2:
            return kept
        lifetime = self.lifetime if self.lifetime is not None else int(self.knobs["azure.entra_identity_minutes"]) * 60
        issued = self.issue(tenant, identity, audience, lifetime=lifetime)
        self._host_tokens[identity.client_id, audience] = issued
        return issued

    def verify(self, token: str, now: float) -> Principal:
        """Whose token this is at `now`, in Unix seconds.

        Raises `TokenRefused`, whose reason is malformed, signature, issuer, audience, expired or early.
        """
        try:
            parsed = jws.parse(token)
        except jws.Malformed:
            raise TokenRefused("malformed") from None
        if parsed.header.get("kid") != self.key.thumbprint or not parsed.signed_by(self.key.private.public_key()):
            raise TokenRefused("signature")
        tenant = parsed.text("tid")
        if parsed.text("iss") != f"https://sts.windows.net/{tenant}/" or all(t.id != tenant for t in self.tenants):
            raise TokenRefused("issuer")
        resource = self.resource(parsed.text("aud"))
        if resource is None or not resource["voice"]:
            raise TokenRefused("audience")
        skew = int(self.knobs["azure.entra_skew_seconds"])
        start, end = parsed.time("nbf") or 0, parsed.time("exp") or 0
        if now >= end + skew:
            raise TokenRefused("expired")
        if now < start - skew:
            raise TokenRefused("early")
        return Principal(parsed.text("oid"), tenant, parsed.text("aud"), end)


def stamp(wall: float, between: str = " ") -> str:
    """A time as the vendor writes it."""
    return datetime.fromtimestamp(wall, UTC).strftime(f"%Y-%m-%d{between}%H:%M:%SZ")


def _needed(form: Mapping[str, str], parameter: str) -> str:
    value = form.get(parameter, "")
    if not value:
        raise EntraError("missing_parameter", parameter=parameter)
    return value


def _basic(headers: Mapping[str, str]) -> tuple[str, str]:
    """Client id and secret from a header of HTTP Basic; both empty when there is none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        client, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote(client), unquote(secret)


def _check_secret(application: Application, secret: str) -> None:
    if secret in application.secrets:
        return
    name = "expired_secret" if secret in application.expired_secrets else "invalid_secret"
    raise EntraError(name, client=application.client_id)


def _meant_for(audience: str, request: TokenRequest, tenant: Tenant) -> bool:
    """Whether an assertion is for this authority: its token endpoint, or its issuer."""
    url = urlsplit(audience)
    head, _, path = url.path.removeprefix("/").partition("/")
    names = {tenant.id.lower(), request.tenant.lower(), *(domain.lower() for domain in tenant.domains)}
    hosts = {request.host.lower(), *entra_data()["discovery"]["hosts"]}
    return (
        url.scheme == "https"
        and url.netloc.lower() in hosts
        and head.lower() in names
        and path in ("oauth2/v2.0/token", "oauth2/token", "v2.0", "")
    )
