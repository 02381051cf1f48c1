"""Client secrets as the wire shows them: how a gateway minted them, and why one is refused where it is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from fakes.openai.secrets import Secret
from harness.wire import Message, Wire

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld
    from conformance.browsing import Grant

CLIENT_SECRETS = "/v1/realtime/client_secrets"
MINTING = (
    CLIENT_SECRETS,
    "/v1/realtime/sessions",
    "/v1/realtime/transcription_sessions",
    "/v1/realtime/translations/client_secrets",
)
"""Every path at which OpenAI mints, or has minted, client secrets."""


@dataclass(frozen=True, slots=True)
class Minting:
    """One request by which a gateway asks for a client secret. `body` is the parsed JSON, None when it is no object."""

    request: Message
    path: str
    body: dict[str, Any] | None

    @property
    def session(self) -> dict[str, Any] | None:
        """What stands under `session`, None when there is no object."""
        session = (self.body or {}).get("session")
        return session if isinstance(session, dict) else None


def mintings(wire: Wire, after: Message | None = None) -> list[Minting]:
    """Every request to mint of the gateway's, in order."""
    found = []
    for request in wire.all("request", channel="openai.http", source="gateway", after=after):
        path = urlsplit(request.meta.get("url", "")).path.rstrip("/")
        if request.meta.get("method") == "POST" and path in MINTING:
            found.append(Minting(request, path, _object(request.text)))
    return found


def _object(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def named_model(url: str) -> str | None:
    """The model that an address for the SDP offer names in its query, if it does."""
    return parse_qs(urlsplit(url).query).get("model", [None])[0]


def cause(world: PhoneWorld, grant: Grant) -> str:
    """Why OpenAI refuses the offer of a browser that has been given this: which of the known causes it is."""
    secret = world.openai.secrets.find(grant.secret)
    if secret is None:
        return "what the browser was given is no secret that OpenAI has minted"
    if world.openai.secrets.expired(secret):
        return "the secret has expired"
    return _misplaced(world, secret) or _misshapen(world, secret) or _contradicted(secret, grant) or _no_access(world)


def _misplaced(world: PhoneWorld, secret: Secret) -> str:
    own, place = world.openai.keys[world.planted["openai.api_key"]], secret.place
    if place.project != own.project:
        return f"the secret was minted in project {place.project}, and the project of the key is {own.project}"
    if place.organization != own.organization:
        return f"the secret was minted in {place.organization}, and the organisation of the key is {own.organization}"
    return ""


def _misshapen(world: PhoneWorld, secret: Secret) -> str:
    configured = world.values()["openai.model"]
    if secret.dialect == "beta":
        return "the secret was minted in the shape or at the endpoint of the beta, and the call is one of GA"
    if secret.kind != "realtime":
        return f"the secret was minted for a {secret.kind} session"
    if secret.model != configured:
        named = f"is bound to {secret.model}" if secret.model else "is bound to no model"
        return f"the secret {named}, and the configured model is {configured}"
    return ""


def _contradicted(secret: Secret, grant: Grant) -> str:
    named = named_model(grant.offer_url)
    if named is not None and named != secret.model:
        return f"the offer goes to ?model={named}, and the secret is bound to {secret.model}"
    return ""


def _no_access(world: PhoneWorld) -> str:
    return f"the project of the key may not use {world.values()['openai.model']}: nothing that the gateway did"
