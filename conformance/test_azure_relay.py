"""Azure OpenAI: browsers talk to a deployment through the gateway, and are told what is wrong when they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.assembly import PhoneWorld
from conformance.azure import SECRET_OF_SOMEBODY_ELSE
from conformance.azure_faults import (
    BLOCKED,
    CLOSED,
    NO_DEPLOYMENT,
    WRONG_KEY,
    Fault,
    code_and_words,
    has_status,
    last_refusal,
    names_azure,
    no_platform,
    says,
)
from conformance.browsing import Refused
from conformance.relayed import CHANNEL
from fakes.people.browser import Browser
from harness.suite import Checks, case
from harness.talk import find

CLAIMS = ("talk.relay", "azure.relay")
TOLD_WITHIN = 30.0


async def asks(browser: Browser, check: Checks, rule: str, question: str, answer: str) -> None:
    """The person asks, and hears the answer."""
    with check.expects(rule):
        await browser.says(question)
        await browser.hears(answer, within=10, complete=None)


@case(about="AZ-RE-001", claims=CLAIMS, vendor="azure")
async def test_a_conversation_with_a_deployment(world: PhoneWorld, check: Checks) -> None:
    """Two questions and their answers, over the relay."""
    with check.expects("AZ-RE-001"):
        browser = await world.web.talks("relay")
    await asks(browser, check, "AZ-RE-001", "what_time", "its_noon")
    await asks(browser, check, "AZ-RE-001", "thanks", "anything_else")


@case(about="AZ-RE-003", claims=(*CLAIMS, "talk.webrtc"), vendor="azure")
async def test_a_browser_asks_for_webrtc(world: PhoneWorld, check: Checks) -> None:
    """The page asks for WebRTC, as it did when the gateway was configured for OpenAI."""
    answer = await world.web.asks("webrtc")
    asked = world.wire.all("request", channel="openai.http", source="gateway")
    check.none("AZ-RE-002", asked, "the gateway asks OpenAI for a client secret")
    check("AZ-RE-002", "openai.com" not in answer.text, f"the browser is sent to OpenAI: {answer.text[:200]}")
    if not answer.ok:
        check("AZ-RE-003", "relay" in answer.text, f"the answer does not say what to ask for: {answer.text[:200]}")
        return
    with check.expects("AZ-RE-003"):
        try:
            grant = world.web.read("relay", answer)
        except AssertionError:
            grant = world.web.read("webrtc", answer)
        browser = await world.web.joins(grant)
    await asks(browser, check, "AZ-RE-003", "what_time", "its_noon")


# -- Azure refuses


async def tried(world: PhoneWorld, check: Checks, rule: str) -> tuple[str, Mapping[str, Any]]:
    """Somebody tries to talk and cannot: all that they are told, and what the profile finds in it."""
    try:
        browser = await world.web.talks("relay", ready=False)
    except Refused as refused:
        errors = world.profile.talk.errors
        paths = {"code": errors.code, "message": errors.message, "hint": errors.hint}
        return refused.answer.text, {name: find(refused.answer.json, path) for name, path in paths.items() if path}
    since = world.clock.now()
    table = world.profile.talk.relay
    with check.expects(rule):
        if table is not None and table.error is not None:
            await browser.is_told("error", within=TOLD_WITHIN)
        await browser.ended(within=max(0.0, since + TOLD_WITHIN - world.clock.now()))
    told = next((told for told in browser.told if told.kind == "error"), None)
    frames = world.wire.all(("error", "ended"), source="gateway", channel=CHANNEL, connection=browser.connection)
    text = "\n".join([*(frame.text for frame in frames), browser.ended_by])
    return text, told.values if told is not None else {}


async def is_told(world: PhoneWorld, check: Checks, fault: Fault) -> None:
    """Azure refuses the session of a relay: the browser is told why; when it is mended the next one is served."""
    fault.make(world)
    text, values = await tried(world, check, "AZ-RE-005")
    refused = last_refusal(world)
    assert refused is not None, "the gateway did not ask Azure for a session"
    code, words = code_and_words(refused)
    seen = f"Azure says {refused.status} {code} {words!r}, the browser is told {text[:300]}"
    check("AZ-RE-004", code in text if code else has_status(text, refused.status), seen, at=refused)
    check("AZ-RE-005", words in text, seen, at=refused)
    no_platform(check, "AZ-RE-006", text)
    if "hint" in values:
        hint = str(values["hint"] or "")
        check("AZ-RE-008", any(names_azure(world, hint)), f"the hint is {hint!r}", at=refused)
    fault.mend(world)
    await world.everybody_leaves()
    await world.settled()
    with check.expects("AZ-RE-010"):
        again = await world.web.talks("relay")
    await asks(again, check, "AZ-RE-010", "what_time", "its_noon")


@case(about="AZ-RE-005", claims=CLAIMS, vendor="azure")
async def test_the_key_is_wrong_while_a_browser_talks(world: PhoneWorld, check: Checks) -> None:
    """401."""
    await is_told(world, check, WRONG_KEY)


@case(about="AZ-RE-005", claims=CLAIMS, vendor="azure")
async def test_the_deployment_of_the_relay_does_not_exist(world: PhoneWorld, check: Checks) -> None:
    """404 DeploymentNotFound."""
    await is_told(world, check, NO_DEPLOYMENT)


@case(about="AZ-RE-005", claims=CLAIMS, vendor="azure")
async def test_a_network_rule_keeps_the_relay_out(world: PhoneWorld, check: Checks) -> None:
    """403 from the firewall of the resource."""
    await is_told(world, check, CLOSED)


@case(about="AZ-RE-005", claims=CLAIMS, vendor="azure")
async def test_the_resource_of_the_relay_is_blocked(world: PhoneWorld, check: Checks) -> None:
    """403 for the whole resource."""
    await is_told(world, check, BLOCKED)


@case(
    about="AZ-RE-009",
    claims=(*CLAIMS, "azure.entra"),
    vendor="azure-entra",
    settings={"azure.client_secret": SECRET_OF_SOMEBODY_ELSE},
    stages=["virtual", "enclosed"],
)
async def test_entra_refuses_while_a_browser_talks(world: PhoneWorld, check: Checks) -> None:
    """AADSTS7000215: the client secret is wrong."""
    text, _ = await tried(world, check, "AZ-RE-009")
    says(check, "AZ-RE-009", text, "entra", "AADSTS")
    no_platform(check, "AZ-RE-006", text)
