"""What can be wrong with Azure, how it is mended, and what a failing call has to tell about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.azure import DEPLOYMENT
from conformance.invariants_azure import host_of, strangers, upgrades
from conformance.invariants_azure import told as told_of
from fakes.openai.service import HandshakePlan
from harness.suite import Checks
from harness.wire import Message

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld

TOLD_WITHIN = 30.0
PLATFORM = re.compile(r"(platform|api|help)\.openai\.com|(?<!AZURE_)OPENAI_API_KEY")
"""What nobody is to be told of who is a customer of Azure's."""

FINAL = (401, 403, 404)
ATTEMPTS = 5
A_FEW = 3
EARLY = 15.0
"""Seconds after a 429 that asks for 20, in which there may be a few more attempts."""

CONNECTIONS = range(1, 40)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong at Azure. `make` brings it about and `mend` undoes it; `status`: what Azure answers."""

    make: Callable[[PhoneWorld], None]
    mend: Callable[[PhoneWorld], None]
    status: int


def _regenerate(world: PhoneWorld) -> None:
    token = world.choices.token
    world.azure.resource.keys = (token("azure/new/key1", 32), token("azure/new/key2", 32))


def _key_back(world: PhoneWorld) -> None:
    world.azure.resource.keys = world.azure.keys


def _delete(world: PhoneWorld) -> None:
    world.azure.resource.deployments = ()


def _deploy(world: PhoneWorld) -> None:
    world.azure.resource.deployments = world.azure.deployments


def _close(world: PhoneWorld) -> None:
    world.azure.resource.network_open = False


def _open(world: PhoneWorld) -> None:
    world.azure.resource.network_open = True


def _plan(plan: HandshakePlan) -> Callable[[PhoneWorld], None]:
    def planned(world: PhoneWorld) -> None:
        for connection in CONNECTIONS:
            world.azure.service.plan(plan, connection=connection)

    return planned


WRONG_KEY = Fault(_regenerate, _key_back, 401)
NO_DEPLOYMENT = Fault(_delete, _deploy, 404)
CLOSED = Fault(_close, _open, 403)
BLOCKED = Fault(_plan(HandshakePlan(refuse_http=(403, "azure_blocked"))), _plan(HandshakePlan()), 403)
EXHAUSTED = Fault(
    _plan(HandshakePlan(refuse_http=(429, "azure_too_many_requests"), headers={"retry-after-ms": "20000"})),
    _plan(HandshakePlan()),
    429,
)


async def call_fails(world: PhoneWorld, check: Checks) -> str:
    """Somebody calls, and no session can be had: they are told, or the call ends. Returns what is printed meanwhile,
    or at the start where the gateway has refused its configuration."""
    if not world.started:
        return world.gateway.output()
    since = len(world.gateway.output())
    caller = world.caller()
    caller.dial(world.twilio, world.number)
    try:
        with check.expects("AZ-ER-002"):
            await world.ended_or_hears(caller, None, within=TOLD_WITHIN)
        await world.passes(3)
    finally:
        nobody_else(world, check)
        not_tried_for_ever(world, check)
    if caller.is_connected:
        caller.hang_up()
    await world.settled()
    return world.gateway.output()[since:]


def nobody_else(world: PhoneWorld, check: Checks) -> None:
    """No other vendor, and no other resource, takes the place of the one that fails."""
    openai, azure = strangers(world.wire, world.stage.looked_up(), world.values())
    names, at = told_of(openai + azure)
    check("AZ-ER-001", not names, f"when Azure fails the gateway turns to {names}", at=at)


def not_tried_for_ever(world: PhoneWorld, check: Checks) -> None:
    """What a retry cannot cure is not tried again and again."""
    refused = last_refusal(world)
    tries = upgrades(world.wire)
    if refused is not None and refused.status in FINAL:
        check("AZ-ER-013", len(tries) <= ATTEMPTS, f"{len(tries)} attempts for a {refused.status}", at=tries[-1])
    elif refused is not None and refused.status == EXHAUSTED.status:
        early = [upgrade for upgrade in tries if upgrade.at < tries[0].at + EARLY]
        check("AZ-ER-018", len(early) <= A_FEW, f"{len(early)} upgrades within {EARLY:g} s of a 429", at=early[-1])


def last_refusal(world: PhoneWorld) -> Message | None:
    """Azure's last refusal of an upgrade."""
    return world.wire.last("upgrade.refused", source="azure", channel="azure.realtime")


def code_and_words(refused: Message) -> tuple[str, str]:
    """The code of a refusal, empty where it only repeats the status, and the first sentence of its message."""
    code, message = str(refused.get("error.code") or ""), str(refused.get("error.message") or "")
    return ("" if code == str(refused.status) else code), message.partition(".")[0].partition("`")[0].strip()


def tells(text: str, refused: Message) -> bool:
    """Whether a text has Azure's code in it, or its words."""
    code, words = code_and_words(refused)
    return bool(code and code in text) or bool(words and words in text)


def has_status(text: str, status: int | None) -> bool:
    """Whether an HTTP status stands in a text, as a number of its own."""
    return re.search(rf"(?<![\w.]){status}(?!\w)", text) is not None


def names_azure(world: PhoneWorld, text: str) -> tuple[bool, bool]:
    """Whether a text names the deployment, and the host of the endpoint."""
    deployment = re.search(
        rf"(?<![\w-]){re.escape(world.values().get('azure.deployment') or DEPLOYMENT)}(?![\w-])", text
    )
    host = host_of(world.values().get("azure.endpoint", ""))
    return deployment is not None, bool(host) and host in text


def says_why(world: PhoneWorld, check: Checks, text: str) -> None:
    """What is printed about a failing call names Azure's cause, and what it is about."""
    refused = last_refusal(world)
    assert refused is not None, "the gateway did not ask Azure for a session"
    seen = shortened(text)
    check("AZ-ER-003", has_status(text, refused.status), f"Azure answers {refused.status}; printed: {seen}", at=refused)
    what = f"Azure says {refused.get('error.code')}: {refused.get('error.message')!r}; printed: {seen}"
    check("AZ-ER-004", tells(text, refused), what, at=refused)
    deployment, endpoint = names_azure(world, text)
    check("AZ-ER-005", deployment, f"the deployment is not named; printed: {seen}", at=refused)
    check("AZ-ER-006", endpoint, f"the endpoint is not named; printed: {seen}", at=refused)
    request_id = refused.header("apim-request-id")
    if request_id:
        check("AZ-ER-017", request_id in text, f"the id of the request is not told; printed: {seen}", at=refused)
    no_platform(check, "AZ-ER-007", text)


def no_platform(check: Checks, rule: str, text: str) -> None:
    """Nobody is sent to OpenAI's platform."""
    found = PLATFORM.search(text)
    check(rule, found is None, f"it speaks of {found[0]}: {shortened(text)}" if found else "")


def shortened(text: str) -> str:
    """The end of a text."""
    return repr(text[-400:]) if text else "nothing"


async def is_served(world: PhoneWorld, check: Checks, rule: str) -> None:
    """Somebody calls, and is greeted and answered."""
    caller = await world.incoming()
    with check.expects(rule):
        await caller.hears("greeting", within=15)
        await caller.says("what_time")
        await caller.hears("its_noon", within=10)
    caller.hang_up()
    await world.settled()


async def failing_call(world: PhoneWorld, check: Checks, fault: Fault) -> str:
    """A call while something is wrong at Azure, and another one when it is mended. Returns what was printed of it."""
    fault.make(world)
    text = await call_fails(world, check)
    says_why(world, check, text)
    fault.mend(world)
    await is_served(world, check, "AZ-ER-016")
    return text


def says(check: Checks, rule: str, text: str, *words: str) -> None:
    """One of these words, whatever its case, is in what was printed."""
    good = any(re.search(word, text, re.IGNORECASE) for word in words)
    check(rule, good, f"nothing of {' or '.join(words)} is told; printed: {shortened(text)}")


def with_deployment(world: PhoneWorld, name: str) -> None:
    """Deploy the model of the world under another name as well."""
    first = world.azure.resource.deployments[0]
    world.azure.resource.deployments = (*world.azure.resource.deployments, replace(first, name=name))
