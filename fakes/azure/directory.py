"""What is in an Entra tenant: applications with their credentials, and managed identities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from fakes.azure import jws
from fakes.azure.keys import SigningKey, base64url, signing_key

EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
"""The audience of the assertions that Entra exchanges for tokens (Microsoft docs: Workload identity federation)."""


def guid(name: str) -> str:
    """A GUID that follows from a name."""
    return str(UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4))


@dataclass(slots=True)
class FederatedCredential:
    """Trust in somebody else's tokens: those that `issuer` gives to `subject`.

    Entra would fetch the issuer's keys from its metadata; here `key` is at hand.
    """

    issuer: str = "https://oidc.cluster.example.test/"
    subject: str = "system:serviceaccount:voice:gateway"
    audience: str = EXCHANGE_AUDIENCE
    key: SigningKey = field(default_factory=lambda: signing_key("workload"))

    def assertion(self, wall: float, *, lifetime: int = 3600, **claims: Any) -> str:
        """The token that the cluster puts into `AZURE_FEDERATED_TOKEN_FILE` at `wall`; `claims` go before its own."""
        now = int(wall)
        usual = {"aud": [self.audience], "exp": now + lifetime, "iat": now, "iss": self.issuer, "nbf": now}
        return jws.sign(self.key.private, {**usual, "sub": self.subject, **claims}, kid=self.key.thumbprint)


@dataclass
class Certificate:
    """A certificate that is registered on an application, as PEM text."""

    pem: str

    @cached_property
    def _parsed(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.pem.encode())

    @cached_property
    def thumbprints(self) -> frozenset[str]:
        """What an assertion may name it by: `x5t` (SHA-1) or `x5t#S256`."""
        return frozenset(base64url(self._parsed.fingerprint(kind)) for kind in (hashes.SHA1(), hashes.SHA256()))

    @property
    def key(self) -> rsa.RSAPublicKey:
        """Its public key. Raises `TypeError` when it is not an RSA key."""
        key = self._parsed.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError(f"certificates of applications have RSA keys here, not {type(key).__name__}")
        return key


@lru_cache(maxsize=64)
def certificate(pem: str) -> Certificate:
    """The certificate in a PEM text, parsed once."""
    return Certificate(pem)


@dataclass(slots=True)
class Application:
    """An application with its service principal. Its credentials may be changed at any time.

    `secrets` are values, not ids; `expired_secrets` are known and no longer good; `certificates` are PEM texts;
    `roles` go into its tokens.
    """

    client_id: str
    secrets: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    federated: list[FederatedCredential] = field(default_factory=list)
    expired_secrets: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    object_id: str = ""

    def __post_init__(self) -> None:
        self.object_id = self.object_id or guid(f"principal of {self.client_id}")


@dataclass(slots=True)
class ManagedIdentity:
    """An identity of the machine that the gateway runs on: the machine's own (`system`), or assigned to it."""

    client_id: str
    object_id: str = ""
    resource_id: str = ""
    system: bool = False

    def __post_init__(self) -> None:
        self.object_id = self.object_id or guid(f"principal of {self.client_id}")
        if not self.resource_id:
            name = "virtualMachines/gateway" if self.system else f"identities/{self.client_id[:8]}"
            provider = "Microsoft.Compute" if self.system else "Microsoft.ManagedIdentity"
            group = f"/subscriptions/{guid('subscription')}/resourceGroups/voice"
            kind = name if self.system else f"userAssigned{name[0].upper()}{name[1:]}"
            self.resource_id = f"{group}/providers/{provider}/{kind}"


@dataclass(slots=True)
class Tenant:
    """A directory. `domains` are other names that it is found by, such as `contoso.onmicrosoft.com`."""

    id: str
    name: str = "Contoso"
    domains: Sequence[str] = ()
    applications: list[Application] = field(default_factory=list)
    identities: list[ManagedIdentity] = field(default_factory=list)

    def application(self, client_id: str) -> Application | None:
        """The application of that client id."""
        wanted = client_id.lower()
        return next((app for app in self.applications if app.client_id.lower() == wanted), None)
