"""Talk: OpenAI mints nothing. The person is told why, soon, and the next one is served."""

from __future__ import annotations

import asyncio
import json

from conformance.assembly import PhoneWorld
from conformance.browsing import Answer
from conformance.minted import CLIENT_SECRETS, mintings
from fakes.openai.errors import error_text
from fakes.openai.plans import HttpPlan
from harness.suite import Checks, case
from harness.talk import find

PATIENCE = 15.0
"""Seconds within which a session call is to be answered."""

AFTERWARDS = 5.0
"""Seconds after a session call that failed, in which the gateway may be seen to try again."""

PIECE = 8
"""So many characters of a credential in a row are no accident."""

PROXY_PAGE = "<html><body><h1>Welcome</h1><p>Please sign in to use this network.</p></body></html>"


async def asks(world: PhoneWorld, check: Checks) -> Answer:
    """Make a session call, and see that it is answered in time."""
    began = world.clock.now()
    try:
        async with asyncio.timeout(4 * PATIENCE):
            answer = await world.web.asks("webrtc")
    except TimeoutError:
        check("TALK-ER-006", False, f"the session call was not answered within {4 * PATIENCE:g} s")
        raise AssertionError("the session call was never answered") from None
    took = world.clock.now() - began
    check("TALK-ER-006", took <= PATIENCE, f"the session call was answered after {took:.1f} s")
    return answer


def told(world: PhoneWorld, answer: Answer, what: str) -> str:
    """The code, message or hint in an answer: where the profile says that it is, else the whole of it."""
    path = getattr(world.profile.talk.errors, what)
    if path is None:
        return answer.text if what != "hint" else ""
    return str(find(answer.json, path) or "")


def says_why(world: PhoneWorld, check: Checks, answer: Answer, code: str, words: str) -> None:
    """The vendor's code and message have reached the person, with a hint."""
    found = told(world, answer, "code")
    good = found == code if world.profile.talk.errors.code is not None else code in found
    check("TALK-ER-002", good, f"OpenAI said {code}, and the person is told {found[:80]!r}")
    found = told(world, answer, "message")
    check("TALK-ER-003", words in found, f"OpenAI said {words!r}, and the person is told {found[:200]!r}")
    has_hint(world, check, answer)


def has_hint(world: PhoneWorld, check: Checks, answer: Answer) -> None:
    """The person is told what to do."""
    check("TALK-ER-004", told(world, answer, "hint").strip(), "the answer has no hint")


async def nothing_is_minted(world: PhoneWorld, check: Checks, plan: HttpPlan) -> Answer:
    """A session call while OpenAI fails; soon after it is well again, and so is the next session call."""
    world.openai.plan_http(CLIENT_SECRETS, plan)
    answer = await asks(world, check)
    rule = "TALK-ER-010" if plan.answer is not None else "TALK-ER-001"
    check(rule, answer.status >= 400, f"nothing was minted, and the session call is answered {answer.status}")
    await world.passes(AFTERWARDS)
    tries = mintings(world.wire)
    seen = f"{len(tries)} requests to mint for one session call"
    check("TALK-ER-007", len(tries) <= 3, seen, at=tries[-1].request if tries else None)
    world.openai.plan_http(CLIENT_SECRETS, None)
    with check.expects("TALK-ER-008"):
        await world.web.granted("webrtc")
    return answer


async def is_refused(world: PhoneWorld, check: Checks, status: int, name: str, words: str) -> None:
    """OpenAI refuses with an error of its own."""
    answer = await nothing_is_minted(world, check, HttpPlan(refuse=(status, name)))
    if answer.status >= 400:
        says_why(world, check, answer, error_text(name).code or "", words)


@case(about="TALK-ER-001", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_the_model_may_not_be_used(world: PhoneWorld, check: Checks) -> None:
    """403, model_not_found."""
    await is_refused(world, check, 403, "call_model_not_found", "does not exist or you do not have access to it.")


@case(about="TALK-ER-001", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_the_key_may_not_mint(world: PhoneWorld, check: Checks) -> None:
    """401, invalid_api_key."""
    await is_refused(world, check, 401, "invalid_api_key", "Incorrect API key provided")


@case(about="TALK-ER-001", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_there_is_no_credit_left(world: PhoneWorld, check: Checks) -> None:
    """429, insufficient_quota."""
    await is_refused(world, check, 429, "insufficient_quota", "You exceeded your current quota")


@case(about="TALK-ER-001", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_too_many_secrets_were_asked_for(world: PhoneWorld, check: Checks) -> None:
    """429, rate_limit_exceeded."""
    await is_refused(world, check, 429, "rate_limit_exceeded", "Rate limit reached")


@case(about="TALK-ER-001", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_minting_fails_at_the_vendor(world: PhoneWorld, check: Checks) -> None:
    """500, server_error."""
    await is_refused(world, check, 500, "server_error", "The server had an error while processing your request.")


@case(about="TALK-ER-010", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_a_proxy_answers_instead(world: PhoneWorld, check: Checks) -> None:
    """200, and the page of a hotel's network."""
    has_hint(world, check, await nothing_is_minted(world, check, HttpPlan(answer=(200, PROXY_PAGE))))


@case(about="TALK-ER-010", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_an_answer_without_a_secret(world: PhoneWorld, check: Checks) -> None:
    """200, and JSON in which the secret is missing."""
    body = {"object": "realtime.client_secret", "session": {"type": "realtime"}}
    has_hint(world, check, await nothing_is_minted(world, check, HttpPlan(answer=(200, json.dumps(body)))))


@case(about="TALK-ER-010", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_a_secret_that_is_null(world: PhoneWorld, check: Checks) -> None:
    """200, and JSON with a secret that is none."""
    body = {"value": None, "expires_at": int(world.clock.wall()) + 60, "session": {"type": "realtime"}}
    has_hint(world, check, await nothing_is_minted(world, check, HttpPlan(answer=(200, json.dumps(body)))))


@case(about="TALK-ER-001", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_minting_is_cut_off(world: PhoneWorld, check: Checks) -> None:
    """The connection is reset instead of an answer."""
    has_hint(world, check, await nothing_is_minted(world, check, HttpPlan(reset=True)))


@case(
    about="TALK-ER-001",
    claims=["talk.webrtc"],
    dialect="ga",
    audio=False,
    settings={"openai.base_url": "http://127.0.0.1:9/v1"},
)
async def test_openai_cannot_be_reached(world: PhoneWorld, check: Checks) -> None:
    """The gateway is told of an address at which nobody listens."""
    answer = await asks(world, check)
    if mintings(world.wire):
        return  # it knows the address by itself
    check("TALK-ER-001", answer.status >= 400, f"nothing was minted, and the session call is answered {answer.status}")
    has_hint(world, check, answer)


@case(about="TALK-ER-006", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_minting_is_never_answered(world: PhoneWorld, check: Checks) -> None:
    """OpenAI takes the request, and that is all."""
    has_hint(world, check, await nothing_is_minted(world, check, HttpPlan(silent=True)))


@case(about="TALK-ER-009", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_one_hangs_and_the_others_are_served(world: PhoneWorld, check: Checks) -> None:
    """The first request to mint is never answered; meanwhile somebody else asks for a session."""
    world.openai.plan_http(CLIENT_SECRETS, HttpPlan(silent=True), request=1)
    hanging = asyncio.ensure_future(world.web.asks("webrtc"))
    try:
        await world.sees("request", channel="openai.http", source="gateway", within=5)
        with check.expects("TALK-ER-009"):
            async with asyncio.timeout(5):
                await world.web.granted("webrtc")
        if "health" in world.profile.operations:
            status, _ = await world.operate("health")
            check("TALK-ER-009", status == 200, f"the health request is answered {status}")
    finally:
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


@case(about="TALK-ER-005", claims=["talk.webrtc"], dialect="ga", audio=False)
async def test_the_vendor_quotes_the_key(world: PhoneWorld, check: Checks) -> None:
    """401, with a message in which half of the key can be read."""
    key = world.planted["openai.api_key"]
    quoted = f"Incorrect API key provided: {key[: len(key) // 2]}************{key[-4:]}."
    answer = await nothing_is_minted(world, check, HttpPlan(refuse=(401, "invalid_api_key"), message=quoted))
    secret = key.rpartition("-")[2]
    pieces = [secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1)]
    for where, text in (("the answer", answer.text), ("what the gateway prints", world.gateway.output())):
        check("TALK-ER-005", not any(piece in text for piece in pieces), f"a part of the key is in {where}")
