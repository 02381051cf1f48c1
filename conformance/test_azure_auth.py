"""Azure OpenAI: keys that change, tokens that expire, and credentials that stay where they belong."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.azure_faults import WRONG_KEY, call_fails, is_served, shortened
from conformance.invariants_azure import upgrades
from fakes.people import nearly_whole
from harness.suite import Checks, case
from harness.wire import Message, Wire

PLATFORM_KEY = "sk-proj-PlatformKeyOfSomebodyOnThisMachine0123456789abcd"
TOKEN_SECONDS = 3600
MINUTE = 60.0
ATTEMPTS = 5
LEFT = 60
"""Seconds that a token should have left when a session is opened with it."""


@case(
    about="AZ-AU-005",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"openai.api_key": PLATFORM_KEY},
    may_refuse=True,
)
async def test_an_openai_key_is_there_as_well(world: PhoneWorld, check: Checks) -> None:
    """The environment of the machine has an OpenAI key, which is meant for something else. One call is served, and one
    fails because of Azure's key."""
    if not world.started:
        return  # it wants to be told which of the two is meant, and has sent neither
    await is_served(world, check, "AZ-AU-005")
    WRONG_KEY.make(world)
    await call_fails(world, check)
    used = [m for m in world.wire.all(source="gateway") if _has(m, PLATFORM_KEY)]
    check.none("AZ-AU-005", used, "the OpenAI key is sent to somebody")


def _has(message: Message, secret: str) -> bool:
    meta = message.meta
    if not meta:
        return False
    headers = [str(value) for _, value in meta.get("headers", ())]
    return any(secret in text for text in (str(meta.get("url", "")), *meta.get("subprotocols", ()), *headers))


@case(about="AZ-AU-015", claims=["phone.inbound"], vendor="azure")
async def test_the_key_is_regenerated_in_mid_call(world: PhoneWorld, check: Checks) -> None:
    """The call goes on; the next one fails, and when the key is put back, the one after that is served."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    WRONG_KEY.make(world)
    with check.expects("AZ-AU-015"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)
    caller.hang_up()
    await world.settled()
    await call_fails(world, check)
    WRONG_KEY.mend(world)
    await is_served(world, check, "AZ-AU-016")


@case(about="AZ-AU-017", claims=["phone.inbound", "azure.key_file"], vendor="azure-key-file")
async def test_the_key_is_exchanged_in_its_file(world: PhoneWorld, check: Checks) -> None:
    """The gateway reads its key from a file. Between two calls, and in the middle of the second, both keys are
    regenerated and one of them is put there; nobody notices."""
    token = world.choices.token
    await is_served(world, check, "AZ-AU-002")
    world.azure.exchange_key(token("azure/exchanged/key1", 32))
    caller = await world.incoming()
    with check.expects("AZ-AU-017"):
        await caller.hears("greeting", within=15)
    world.azure.exchange_key(token("azure/exchanged/key2", 32))
    with check.expects("AZ-AU-017"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=10)
    caller.hang_up()
    await world.settled()
    await is_served(world, check, "AZ-AU-017")


# -- tokens


def token_requests(wire: Wire) -> list[Message]:
    """The requests for tokens."""
    return wire.all("request", channel="entra.http", where=lambda m: "/token" in str(m.meta.get("url", "")))


@case(about="AZ-AU-008", claims=["phone.inbound", "azure.entra"], vendor="azure-entra", stages=["virtual", "enclosed"])
async def test_two_calls_with_a_token(world: PhoneWorld, check: Checks) -> None:
    """The gateway is an application of Entra ID, and has no key; two callers are served, some minutes apart where that
    costs nothing."""
    await is_served(world, check, "AZ-AU-008")
    await world.passes(5 * MINUTE if world.affords(5 * MINUTE) else 1)
    await is_served(world, check, "AZ-AU-008")
    asked = token_requests(world.wire)
    check(
        "AZ-AU-009", len(asked) <= 1, f"{len(asked)} tokens are fetched for two calls", at=asked[-1] if asked else None
    )


@case(
    about="AZ-AU-012",
    claims=["phone.inbound", "azure.entra"],
    vendor="azure-entra",
    settings={"call.max_seconds": "6600"},
    knobs={"azure.session_minutes": 120},
    audio=False,
    seconds=3 * 60 * MINUTE,
    stages=["virtual"],  # two hours
)
async def test_a_token_expires_while_somebody_talks(world: PhoneWorld, check: Checks) -> None:
    """Somebody is on the line for 95 minutes, and asks something every nine; the token lives for an hour. Then others
    call."""
    world.azure.entra.lifetime = TOKEN_SECONDS
    world.twilio.trailing_silence = 2.0
    caller = await world.incoming()
    await caller.hears("greeting", within=15)
    begun = world.clock.now()
    session = await world.session(1)
    expires = world.azure.entra.issued[0].expires
    while world.clock.now() - begun < 95 * MINUTE and caller.is_connected:
        with check.expects("AZ-AU-012"):
            asked = len(caller.heard)
            await caller.says("what_time")
            await caller.hears("its_noon", within=8)
        whole = [heard for heard in caller.heard[asked:] if heard.phrase == "its_noon" and nearly_whole(heard)]
        check("AZ-AU-012", whole, "an answer in mid-call was not heard whole")
        check("AZ-AU-012", session.closed is None, "the session was closed in mid-call")
        await world.passes(9 * MINUTE)
    check("AZ-AU-012", caller.is_connected, "the call ended while its caller was silent")
    if world.clock.wall() < expires:
        check.harness_error("the token had not expired when the call was over")
    caller.hang_up()
    await world.settled()
    await is_served(world, check, "AZ-AU-010")
    await world.passes(30 * MINUTE)
    await is_served(world, check, "AZ-AU-010")
    fresh(world, check)


def fresh(world: PhoneWorld, check: Checks) -> None:
    """No session was opened with a token that had expired, or was about to."""
    issued = {f"Bearer {token.text}": token for token in world.azure.entra.issued}
    for upgrade in upgrades(world.wire):
        token = issued.get(upgrade.header("Authorization") or "")
        if token is not None:
            left = token.expires - (upgrade.at - world.clock.now() + world.clock.wall())
            check("AZ-AU-010", left > 0, f"the token has expired {-left:.0f} s ago", at=upgrade)
            check("AZ-AU-011", left >= LEFT, f"the token has {left:.0f} s left", at=upgrade)
    refused = world.wire.all("upgrade.refused", channel="azure.realtime")
    check.none("AZ-AU-011", refused, "an upgrade was refused for its token")


@case(about="AZ-AU-014", claims=["phone.inbound", "azure.entra"], vendor="azure-entra", stages=["virtual", "enclosed"])
async def test_a_token_that_is_not_taken_any_more(world: PhoneWorld, check: Checks) -> None:
    """A caller is served; then Azure refuses the token, long before it expires; somebody else calls."""
    await is_served(world, check, "AZ-AU-008")
    world.azure.refused_tokens.update(token.text for token in world.azure.entra.issued)
    since = len(upgrades(world.wire))
    caller = await world.incoming()
    try:
        await caller.hears("greeting", within=20)
        check("AZ-AU-014", True)
    except AssertionError:
        check("AZ-AU-014", False, "the call is given up after the first 401")
    tries = upgrades(world.wire)[since:]
    check("AZ-AU-013", len(tries) <= ATTEMPTS, f"{len(tries)} upgrades for one call", at=tries[-1])


@case(about="AZ-AU-013", claims=["phone.inbound", "azure.entra"], vendor="azure-entra", stages=["virtual", "enclosed"])
async def test_the_identity_has_no_role(world: PhoneWorld, check: Checks) -> None:
    """401 PermissionDenied for every token; then the role is given, and the next caller is served."""
    world.azure.resource.principals = frozenset()
    text = await call_fails(world, check)
    tries, asked = upgrades(world.wire), token_requests(world.wire)
    check("AZ-AU-013", len(tries) <= ATTEMPTS, f"{len(tries)} upgrades for one call", at=tries[-1] if tries else None)
    check("AZ-AU-013", len(asked) <= ATTEMPTS, f"{len(asked)} token requests for one call")
    told = "PermissionDenied" in text or "lacks the required data action" in text
    check("AZ-ER-004", told, f"PermissionDenied is not told; printed: {shortened(text)}")
    world.azure.resource.principals = {world.azure.application.object_id}
    await is_served(world, check, "AZ-ER-016")
