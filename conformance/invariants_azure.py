"""Rules that hold in every world of a gateway that is configured for Azure: whom it asks, how, and with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from conformance.credentials import OWN_MACHINE
from conformance.evidence import Evidence, Invariant
from harness.suite import Checks
from harness.wire import Message, Wire

CHANNELS = ("azure.realtime", "openai.realtime")
GA_PATH = "/openai/v1/realtime"
PREVIEW_PATH = "/openai/realtime"
SCOPES = ("https://cognitiveservices.azure.com", "https://ai.azure.com")
SECRETS = ("azure.api_key", "azure.client_secret", "azure.token", "azure.federated_token", "azure.identity_header")
BETA_KEYS = ("modalities", "input_audio_format", "output_audio_format", "turn_detection", "voice")
"""Keys of a session that are flat in beta and have another place or name in GA."""


def is_azure(settings: Mapping[str, str] | None) -> bool:
    """Whether a gateway with these settings has its models from Azure."""
    return settings is not None and settings.get("openai.provider") == "azure-openai"


def upgrades(wire: Wire) -> list[Message]:
    """Every realtime session that was asked for, whomever it was asked of."""
    return [m for channel in CHANNELS for m in wire.all("upgrade", source="gateway", channel=channel)]


def host_of(url: str) -> str:
    """The host of a URL, without its port."""
    return (urlsplit(url).hostname or "").rstrip(".")


def query_of(message: Message) -> dict[str, str]:
    """The query of a request or an upgrade; of a parameter that is there twice, the last."""
    return dict(parse_qsl(urlsplit(str(message.meta.get("url", ""))).query, keep_blank_values=True))


def contacts(wire: Wire, looked_up: frozenset[str] | None) -> Iterator[tuple[str, Message | None]]:
    """Every host or party that the gateway turned to, and the message that shows it, if one does."""
    for name in sorted(looked_up or ()):
        yield name, None
    for message in wire.all(source="gateway"):
        if message.channel == "network":
            target = message.target if message.kind == "lookup.refused" else message.target.rpartition(":")[0]
            yield target.lower().rstrip("."), message
        elif message.kind in ("request", "upgrade"):
            yield host_of(str(message.meta.get("url", ""))) or message.target, message
            yield message.target, message


def of_openai(name: str) -> bool:
    """Whether a host or a party is OpenAI's."""
    return name == "openai" or name == "openai.com" or name.endswith(".openai.com")


def of_azure(name: str) -> bool:
    """Whether a host is a resource of Azure's, or stands for a region."""
    return name.endswith(
        (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com", ".ai.azure.com")
    )


def strangers(
    wire: Wire, looked_up: frozenset[str] | None, settings: Mapping[str, str]
) -> tuple[list[tuple[str, Message | None]], list[tuple[str, Message | None]]]:
    """Who was contacted and should not have been: hosts of OpenAI's, and hosts of Azure's but the endpoint's."""
    own = host_of(settings.get("azure.endpoint", ""))
    known = list(contacts(wire, looked_up))
    openai = [(name, message) for name, message in known if of_openai(name)]
    azure = [(name, message) for name, message in known if of_azure(name) and name != own]
    return openai, azure


def told(found: list[tuple[str, Message | None]]) -> tuple[str, Message | None]:
    """The names in one line, and a message to point at."""
    names = ", ".join(dict.fromkeys(name for name, _ in found))
    return names, next((message for _, message in found if message is not None), None)


def the_configured_endpoint_is_contacted(evidence: Evidence, check: Checks) -> None:
    """AZ-EP-001, AZ-EP-002, AZ-EP-003."""
    settings = evidence.settings
    if settings is None or not is_azure(settings):
        return
    asked = upgrades(evidence.wire)
    own = host_of(settings.get("azure.endpoint", ""))
    if asked and own:
        wrong = [m for m in asked if host_of(str(m.meta.get("url", ""))) != own]
        seen = f"a session is asked for at {host_of(str(wrong[0].meta.get('url', '')))}, not at {own}" if wrong else ""
        check.none("AZ-EP-001", wrong, seen)
    openai, azure = strangers(evidence.wire, evidence.looked_up, settings)
    if asked or evidence.looked_up or openai or azure:
        names, at = told(openai)
        check("AZ-EP-002", not openai, f"the gateway, which is configured for Azure, turns to {names}", at=at)
        names, at = told(azure)
        check("AZ-EP-003", not azure, f"the gateway, which is configured for {own}, turns to {names}", at=at)


def nothing_is_sent_in_the_clear(evidence: Evidence, check: Checks) -> None:
    """AZ-EP-020, where the endpoint is one without TLS."""
    endpoint = (evidence.settings or {}).get("azure.endpoint", "")
    if not is_azure(evidence.settings) or not endpoint.startswith("http:") or host_of(endpoint) in OWN_MACHINE:
        return
    tried = [m for m in evidence.wire.all(source="gateway", channel="network") if m.target.endswith(":80")]
    check.none("AZ-EP-020", tried, "the gateway turns to port 80 with its credential")


def sessions_are_asked_for_in_the_dialect_of_the_address(evidence: Evidence, check: Checks) -> None:
    """AZ-EP-004 to AZ-EP-010."""
    settings = evidence.settings
    if settings is None or not is_azure(settings):
        return
    for upgrade in upgrades(evidence.wire):
        if upgrade.target != "azure":
            continue
        path, query = urlsplit(str(upgrade.meta.get("url", ""))).path, query_of(upgrade)
        if evidence.column.dialect == "ga":
            good = path == GA_PATH and bool(query.get("model"))
            seen = f"the session is asked for at {path} with {', '.join(query) or 'no query'}"
            check("AZ-EP-004", good, seen, at=upgrade)
            check("AZ-EP-005", "api-version" not in query, "the upgrade has an api-version", at=upgrade)
            asks = "realtime=v1" in (upgrade.header("OpenAI-Beta") or "")
            asks = asks or "openai-beta.realtime-v1" in upgrade.meta.get("subprotocols", ())
            check("AZ-EP-006", not asks, "the upgrade asks for the beta dialect", at=upgrade)
        else:
            version = settings.get("azure.api_version", "")
            good = path == PREVIEW_PATH and query.get("api-version") == version
            seen = f"the session is asked for at {path} with api-version {query.get('api-version')!r}, not {version!r}"
            check("AZ-EP-008", good, seen, at=upgrade)
            check(
                "AZ-EP-009",
                query.get("deployment"),
                f"the upgrade names no deployment, but {', '.join(query)}",
                at=upgrade,
            )
    for update in evidence.wire.all("session.update", source="gateway", channel="azure.realtime"):
        session: Any = update.get("session") or {}
        flat = [key for key in BETA_KEYS if key in session]
        if evidence.column.dialect == "ga":
            seen = f"session.type is {session.get('type')!r}; of the beta: {', '.join(flat) or 'nothing'}"
            check("AZ-EP-007", session.get("type") == "realtime" and not flat, seen, at=update)
        else:
            good = "type" not in session and "audio" not in session
            check("AZ-EP-010", good, "the session of the preview has the shape of GA", at=update)


def the_deployment_is_named(evidence: Evidence, check: Checks) -> None:
    """AZ-EP-011."""
    settings = evidence.settings
    if settings is None or not is_azure(settings) or not settings.get("azure.deployment"):
        return
    for upgrade in upgrades(evidence.wire):
        if upgrade.target == "azure":
            query = query_of(upgrade)
            name = query.get("deployment") or query.get("model")
            wanted = settings["azure.deployment"]
            check("AZ-EP-011", name == wanted, f"the upgrade names {name!r}, and {wanted!r} is configured", at=upgrade)


def credentials_are_sent_as_they_should(evidence: Evidence, check: Checks) -> None:
    """AZ-AU-002, AZ-AU-003, AZ-AU-008."""
    settings = evidence.settings
    if settings is None or not is_azure(settings):
        return
    key = settings.get("azure.api_key") or settings.get("azure.api_key_file")
    tokens = set(evidence.issued.get("azure.token", ()))
    for upgrade in upgrades(evidence.wire):
        if upgrade.target != "azure":
            continue
        query = query_of(upgrade)
        bearer = (upgrade.header("Authorization") or "").removeprefix("Bearer ").strip()
        api_key = upgrade.header("api-key") or ""
        in_url = [name for name in query if name.lower() in ("api-key", "api_key", "key", "token", "access_token")]
        if key:
            good = not in_url and (api_key or bearer)
            seen = f"the upgrade has {', '.join(in_url)} in its URL" if in_url else "the upgrade has no key in a header"
            check("AZ-AU-002", good, seen, at=upgrade)
        elif tokens:
            seen = "the token is in api-key" if api_key in tokens else f"in the URL: {', '.join(in_url)}"
            check("AZ-AU-008", bearer in tokens and not api_key and not in_url, seen, at=upgrade)
        offered = [name for name in upgrade.meta.get("subprotocols", ()) if "key" in name or "bearer" in name.lower()]
        check("AZ-AU-003", not offered, "a credential is offered as a subprotocol", at=upgrade)


def tokens_are_asked_for_in_the_right_scope(evidence: Evidence, check: Checks) -> None:
    """AZ-AU-007."""
    for request in evidence.wire.all("request", channel="entra.http", source="gateway"):
        form = {**query_of(request), **{k: v[-1] for k, v in parse_qs(request.text).items()}}
        asked = form.get("scope") or form.get("resource")
        if asked:
            base = asked.removesuffix("/.default").removesuffix("/")
            check("AZ-AU-007", base in SCOPES, f"a token is asked for in the scope {asked}", at=request)


def credentials_of_azure_stay_in_the_gateway(evidence: Evidence, check: Checks) -> None:
    """AZ-AU-004, AZ-AU-006, AZ-RE-007."""
    if not is_azure(evidence.settings):
        return
    leaks = [leak for leak in evidence.leaks if leak.credential in SECRETS]
    elsewhere = [leak for leak in leaks if leak.message is not None and leak.message.target == "openai"]
    printed = [leak for leak in leaks if leak.message is None]
    shown = [leak for leak in leaks if leak.message is not None and leak.message.target == "browser"]
    if upgrades(evidence.wire) or elsewhere:
        seen = f"{elsewhere[0].credential} is sent to OpenAI" if elsewhere else ""
        check("AZ-AU-004", not elsewhere, seen, at=elsewhere[0].message if elsewhere else None)
        check("AZ-AU-006", not printed, f"{printed[0].credential} is printed" if printed else "")
    if evidence.browsed:
        seen = f"{shown[0].credential} is sent to a browser" if shown else ""
        check("AZ-RE-007", not shown, seen, at=shown[0].message if shown else None)


AZURE_INVARIANTS: tuple[Invariant, ...] = (
    the_configured_endpoint_is_contacted,
    sessions_are_asked_for_in_the_dialect_of_the_address,
    the_deployment_is_named,
    nothing_is_sent_in_the_clear,
    credentials_are_sent_as_they_should,
    tokens_are_asked_for_in_the_right_scope,
    credentials_of_azure_stay_in_the_gateway,
)
