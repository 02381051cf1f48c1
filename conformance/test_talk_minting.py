"""Talk over WebRTC: what a gateway mints for a browser, and hands over."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

from conformance.assembly import PhoneWorld
from conformance.browsing import Grant
from conformance.minted import cause, mintings, named_model
from fakes.openai.secrets import Secret
from harness.suite import Checks, case
from harness.talk import find

QUIET = 10.0
"""Seconds in which nobody asks for anything."""

PATIENCE = 700
"""Seconds within which the secret of a case has to expire, if the case is to see it: the vendor's default is 600."""


def minted(world: PhoneWorld, check: Checks, grant: Grant) -> Secret | None:
    """The secret on the vendor's side that a browser was given."""
    secret = world.openai.secrets.find(grant.secret)
    check("TALK-MI-011", secret is not None, "the browser was given no secret that OpenAI has minted")
    return secret


def fits_its_secret(world: PhoneWorld, check: Checks, grant: Grant, secret: Secret) -> None:
    """Nothing that stands beside the secret contradicts it."""
    table, answer = world.profile.talk.webrtc, grant.answer.json
    if table is not None and table.expires_at is not None:
        told = find(answer, table.expires_at)
        right = told == secret.expires_at
        check("TALK-MI-012", right, f"the browser is told {told!r}, and the secret expires at {secret.expires_at}")
    told = f"the browser is told {grant.model}, and the secret is bound to {secret.model}"
    check("TALK-MI-015", None in (grant.model, secret.model) or grant.model == secret.model, told)
    named = named_model(grant.offer_url)
    told = f"the offer goes to ?model={named}, and the secret is bound to {secret.model}"
    check("TALK-MI-015", named in (None, secret.model), told)
    address, wanted = urlsplit(grant.offer_url), f"{world.values()['openai.base_url']}/realtime/calls"
    names = ", ".join(parse_qs(address.query, keep_blank_values=True))
    check("TALK-MI-016", not address.query, f"the address for the offer has a query: {names}")
    plain = address._replace(query="", fragment="").geturl()
    check("TALK-MI-017", plain == wanted, f"the offer goes to {plain}, and secrets are minted for {wanted}")


async def answers_an_offer(world: PhoneWorld, check: Checks, grant: Grant) -> None:
    """A browser uses what it was given, once, and leaves."""
    try:
        browser = await world.web.joins(grant)
    except AssertionError as error:
        check("TALK-MI-018", False, f"{error}: {cause(world, grant)}")
        return
    check("TALK-MI-018", True)
    await browser.leave()


@case(about="TALK-MI-011", claims=["talk.webrtc"], dialect="ga")
async def test_a_browser_is_given_a_secret_of_its_own(world: PhoneWorld, check: Checks) -> None:
    """For a while nobody asks; then somebody does, uses what they get, and leaves; for a while nobody asks again."""
    await world.passes(QUIET)
    before = len(mintings(world.wire))
    check("TALK-MI-013", before == 0, f"{before} secrets were asked for before anybody wanted one")
    with check.expects("TALK-MI-011"):
        grant = await world.web.granted("webrtc")
    secret = minted(world, check, grant)
    if secret is not None:
        fits_its_secret(world, check, grant, secret)
        await answers_an_offer(world, check, grant)
    await world.passes(QUIET)
    asked = len(mintings(world.wire)) - before
    check("TALK-MI-013", asked == 1, f"{asked} secrets were asked for, for one session call")


@case(about="TALK-MI-014", claims=["talk.webrtc"], dialect="ga")
async def test_two_people_ask_at_once(world: PhoneWorld, check: Checks) -> None:
    """Two session calls at the same moment, and both are used."""
    with check.expects("TALK-MI-014"):
        first, second = await asyncio.gather(world.web.granted("webrtc"), world.web.granted("webrtc"))
    check("TALK-MI-014", first.secret != second.secret, "both were given the same secret")
    for grant in (first, second):
        if minted(world, check, grant) is not None:
            await answers_an_offer(world, check, grant)


@case(about="TALK-MI-009", claims=["talk.webrtc"], dialect="ga", stages=["virtual"])  # one minute, or ten
async def test_a_secret_that_has_expired_is_not_handed_out(world: PhoneWorld, check: Checks) -> None:
    """The first secret expires unused; the next session call is answered with one that is good."""
    with check.expects("TALK-MI-009"):
        first = await world.web.granted("webrtc")
    secret = minted(world, check, first)
    left = secret.expires_at - world.clock.wall() if secret is not None else PATIENCE
    if left >= PATIENCE:
        return
    await world.passes(max(left, 0) + 1)
    with check.expects("TALK-MI-009"):
        second = await world.web.granted("webrtc")
    again = minted(world, check, second)
    if again is not None:
        good = not world.openai.secrets.expired(again)
        if check("TALK-MI-009", good, "a secret was handed out that had expired already"):
            await answers_an_offer(world, check, second)
