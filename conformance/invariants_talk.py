"""Rules about Talk that hold in every world, as those in `conformance.invariants`: minting, and what browsers get."""

from __future__ import annotations

import re

from conformance.evidence import Evidence, Invariant
from conformance.invariants_leaks import leaks_none
from conformance.minted import CLIENT_SECRETS, Minting, mintings
from fakes.openai.handshake import KeyInfo
from harness.leaks import Credential, search
from harness.suite import Checks
from harness.wire import Message

BETA_HEADER = "realtime=v1"
USUAL_SECONDS = 600
"""How long a client secret lives when nothing is said (OpenAI API reference: client secrets)."""

URL = re.compile(r"\b(?:https?|wss?)://[^\s\"'<>\\]+|\"(/[^\s\"<>\\]*)\"")


def secrets_are_minted_well(evidence: Evidence, check: Checks) -> None:
    """TALK-MI-001 to TALK-MI-007, TALK-MI-010: every request by which the gateway mints."""
    for minting in mintings(evidence.wire):
        request = minting.request
        check("TALK-MI-001", minting.path == CLIENT_SECRETS, f"a secret is minted at {minting.path}", at=request)
        wanted = [value.strip() for value in (request.header("OpenAI-Beta") or "").split(",")]
        check("TALK-MI-004", BETA_HEADER not in wanted, "the request asks for the beta", at=request)
        elsewhere = _elsewhere(request)
        check("TALK-MI-007", not elsewhere, f"the secret is minted for {elsewhere}, not for the key's own", at=request)
        if minting.path == CLIENT_SECRETS and _has_a_session(minting, check):
            _describes_its_session(minting, evidence.configured_model, check)


def _elsewhere(request: Message) -> str:
    """The organisation and project that a request names, where they are not those of the key."""
    own = KeyInfo()
    named = {"OpenAI-Organization": own.organization, "OpenAI-Project": own.project}
    asked = {name: request.header(name) or place for name, place in named.items()}
    return " and ".join(f"{name} {asked[name]}" for name, place in named.items() if asked[name] != place)


def _has_a_session(minting: Minting, check: Checks) -> bool:
    """TALK-MI-002. The rest of a body in another shape says nothing."""
    session, request = minting.session, minting.request
    if session is None:
        seen = "the session is at the top level of the body, as in the beta" if minting.body else "there is no session"
        return check("TALK-MI-002", False, seen, at=request)
    kind = session.get("type")
    seen = f"session.type is {kind!r}" if kind is not None else "session.type is missing, as in the beta"
    return check("TALK-MI-002", kind == "realtime", seen, at=request)


def _describes_its_session(minting: Minting, configured: str, check: Checks) -> None:
    session, request = minting.session or {}, minting.request
    model = session.get("model")
    named = f"names {model}" if model else "names no model"
    right = model == configured or not configured
    check("TALK-MI-003", right, f"the session {named}, and the configured model is {configured}", at=request)
    check("TALK-MI-005", not request.invalid, f"refused: {request.invalid}", at=request)
    missing = [name for name in ("instructions", "audio.output.voice") if not request.get(f"session.{name}")]
    check("TALK-MI-006", not missing, f"the session has no {' and no '.join(missing)}", at=request)
    seconds = request.get("expires_after.seconds") or USUAL_SECONDS
    short = isinstance(seconds, int) and seconds <= USUAL_SECONDS
    check("TALK-MI-010", short, f"the secret is to live for {seconds} s", at=request)


def no_secret_is_given_twice(evidence: Evidence, check: Checks) -> None:
    """TALK-MI-008."""
    for secret in evidence.secrets:
        holding = [answer for answer in evidence.browsed if answer.kind == "response" and secret in answer.text]
        if holding:
            given = f"the same client secret is in {len(holding)} answers"
            check("TALK-MI-008", len(holding) == 1, given, at=holding[-1])


def browsers_are_given_no_credential(evidence: Evidence, check: Checks) -> None:
    """TALK-SE-001, TALK-SE-002."""
    if not evidence.browsed:
        return
    received = [leak for leak in evidence.leaks if leak.message is not None and leak.message.target == "browser"]
    own = [leak for leak in received if leak.credential == "openai.api_key"]
    leaks_none("TALK-SE-001", own, check)
    leaks_none("TALK-SE-002", [leak for leak in received if leak not in own], check)


def secrets_are_not_printed(evidence: Evidence, check: Checks) -> None:
    """TALK-SE-003, in worlds in which a browser was given something."""
    if not evidence.browsed:
        return
    secrets = {"a client secret": evidence.secrets, "the talk token": [evidence.planted.get("talk.token", "")]}
    sought = [Credential(name, value) for name, values in secrets.items() for value in values if value]
    leaks_none("TALK-SE-003", search((), evidence.output, sought), check)


def no_secret_is_in_a_url(evidence: Evidence, check: Checks) -> None:
    """TALK-SE-004: URLs that are requested, and those that the gateway gives to browsers."""
    if not evidence.browsed:
        return
    secrets = [value for value in (*evidence.secrets, evidence.planted.get("talk.token")) if value]
    seen = evidence.wire.all(("request", "upgrade"))
    found = [m for m in seen if any(secret in str(m.meta.get("url", "")) for secret in secrets)]
    for message in evidence.browsed:
        urls = [match.group(0) for match in URL.finditer(message.text)]
        if any(secret in url for url in urls for secret in secrets):
            found.append(message)
    check.none("TALK-SE-004", found, "a secret is in a URL")


TALK_INVARIANTS: tuple[Invariant, ...] = (
    secrets_are_minted_well,
    no_secret_is_given_twice,
    browsers_are_given_no_credential,
    secrets_are_not_printed,
    no_secret_is_in_a_url,
)
