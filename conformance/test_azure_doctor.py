"""Azure OpenAI: the gateway is asked what is wrong with it, and says what a failing call says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from conformance.assembly import PhoneWorld
from conformance.azure_faults import (
    CLOSED,
    NO_DEPLOYMENT,
    WRONG_KEY,
    Fault,
    call_fails,
    has_status,
    is_served,
    last_refusal,
    names_azure,
    shortened,
    tells,
)
from harness.suite import Checks, case

CLAIMS = ("phone.inbound", "doctor")
NOWHERE = "https://contoso-vioce.openai.azure.com"
FAILURES = ("fail", "failed", "failure", "error", "critical", "unhealthy")


async def asked(world: PhoneWorld, check: Checks) -> tuple[int, Any, str]:
    """What the doctor answers: status, body and text. There is no credential in it."""
    status, body = await world.operate("doctor")
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    secrets = [*world.planted.values(), *(token for tokens in world.issued().values() for token in tokens)]
    pieces = [piece for secret in secrets for piece in (secret[: len(secret) // 2], secret[len(secret) // 2 :])]
    public = (world.planted["twilio.account_sid"],)
    found = [piece for piece in pieces if piece in text and not any(piece in each for each in public)]
    check("AZ-DO-008", not found, "a credential, or half of one, is in the doctor's answer")
    return status, body, text


def verdict(status: int, body: Any) -> tuple[object, ...]:
    """What a machine reads of an answer: its status, and the words and flags at its top."""
    fields = body.items() if isinstance(body, dict) else ()
    return (status, *((key, value) for key, value in fields if isinstance(value, (bool, str))))


def words(body: Any) -> Iterator[str]:
    """Every text in a body that is a value."""
    if isinstance(body, dict):
        for value in body.values():
            yield from words(value)
    elif isinstance(body, list):
        for value in body:
            yield from words(value)
    elif isinstance(body, str):
        yield body


async def well(world: PhoneWorld, check: Checks, rule: str) -> tuple[object, ...]:
    """The doctor finds nothing."""
    status, body, text = await asked(world, check)
    bad = [word for word in words(body) if word.casefold() in FAILURES]
    refused = isinstance(body, dict) and body.get("ok") is False
    check(rule, 200 <= status < 300 and not bad and not refused, f"{status}: {shortened(text)}")
    return verdict(status, body)


async def found(world: PhoneWorld, check: Checks, rule: str, fault: Fault) -> None:
    """The doctor before, during and after a fault; a call fails meanwhile, for the same cause."""
    before = await well(world, check, "AZ-DO-001")
    fault.make(world)
    told = await call_fails(world, check)
    status, body, text = await asked(world, check)
    refused = last_refusal(world)
    assert refused is not None, "the gateway did not ask Azure for a session"
    seen = f"Azure says {refused.status} {refused.get('error.code')}, the doctor {shortened(text)}"
    check(rule, has_status(text, refused.status) and tells(text, refused), seen, at=refused)
    same = (has_status(text, refused.status), tells(text, refused)) >= (
        has_status(told, refused.status),
        tells(told, refused),
    )
    check("AZ-DO-007", same, f"the call tells another cause than the doctor: {shortened(text)}", at=refused)
    check("AZ-DO-002", verdict(status, body) != before, f"told like a configuration that works: {status}", at=refused)
    check("AZ-DO-012", all(names_azure(world, text)), f"deployment or endpoint is not named: {shortened(text)}")
    fault.mend(world)
    await well(world, check, "AZ-DO-010")
    await is_served(world, check, "AZ-ER-016")


@case(about="AZ-DO-003", claims=CLAIMS, vendor="azure")
async def test_the_doctor_finds_a_wrong_key(world: PhoneWorld, check: Checks) -> None:
    """401."""
    await found(world, check, "AZ-DO-003", WRONG_KEY)


@case(about="AZ-DO-004", claims=CLAIMS, vendor="azure")
async def test_the_doctor_finds_an_unknown_deployment(world: PhoneWorld, check: Checks) -> None:
    """404 DeploymentNotFound."""
    await found(world, check, "AZ-DO-004", NO_DEPLOYMENT)


@case(about="AZ-DO-005", claims=CLAIMS, vendor="azure")
async def test_the_doctor_finds_a_network_rule(world: PhoneWorld, check: Checks) -> None:
    """403."""
    await found(world, check, "AZ-DO-005", CLOSED)


@case(
    about="AZ-DO-006",
    claims=CLAIMS,
    vendor="azure",
    settings={"azure.endpoint": NOWHERE},
    stages=["virtual", "enclosed"],
)
async def test_the_doctor_finds_that_there_is_no_such_resource(world: PhoneWorld, check: Checks) -> None:
    """The endpoint's name does not resolve."""
    _, body, text = await asked(world, check)
    bad = any(word.casefold() in FAILURES for word in words(body)) or (
        isinstance(body, dict) and body.get("ok") is False
    )
    _, endpoint = names_azure(world, text)
    check("AZ-DO-006", bad and endpoint, f"the doctor says {shortened(text)}")


@case(about="AZ-DO-011", claims=CLAIMS, vendor="azure")
async def test_the_doctor_in_mid_call(world: PhoneWorld, check: Checks) -> None:
    """Somebody is on the line while the doctor is asked, twice; nothing is left of it."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    for _ in range(2):
        await well(world, check, "AZ-DO-001")
    with check.expects("AZ-DO-011"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)
    await world.passes(10)
    sessions = [session for session in world.upstream.sessions if session.closed is None]
    check("AZ-DO-009", len(sessions) <= 1, f"{len(sessions)} sessions are open, for one call")


@case(about="AZ-DO-001", claims=(*CLAIMS, "azure.entra"), vendor="azure-entra", stages=["virtual", "enclosed"])
async def test_the_doctor_with_a_token(world: PhoneWorld, check: Checks) -> None:
    """The gateway is an application of Entra ID, and all is well."""
    await well(world, check, "AZ-DO-001")
    await is_served(world, check, "AZ-DO-011")
