"""The published defect: a browser with a fresh secret is told 403 `model_not_found`, and the key may use the model.

Each case makes one candidate cause possible on the vendor's side. A gateway that does nothing to bring it about passes
them all; of one that does, the requirement that fails says which cause it is.
"""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.browsing import Answer, Grant, Refused
from conformance.minted import cause
from conformance.test_talk_errors import told
from conformance.test_talk_minting import answers_an_offer, fits_its_secret, minted
from fakes.openai.handshake import KeyInfo
from harness.suite import Checks, case
from harness.talk import find

ELSEWHERE = {"proj_elsewhere": (), "org-elsewhere": ()}
"""A project and an organisation that the key can name as well, in which no realtime model may be used."""


def key_may(world: PhoneWorld, info: KeyInfo) -> None:
    """Change what the vendor lets the gateway's key do."""
    world.openai.keys[world.planted["openai.api_key"]] = info


async def talks(world: PhoneWorld, check: Checks) -> None:
    """Somebody asks for a session and sends an offer."""
    with check.expects("TALK-MI-018"):
        grant = await world.web.granted("webrtc")
    secret = minted(world, check, grant)
    if secret is not None:
        fits_its_secret(world, check, grant, secret)
    await answers_an_offer(world, check, grant)


@case(about="TALK-MI-007", claims=["talk.webrtc"], dialect="ga")
async def test_the_key_knows_a_project_without_the_model(world: PhoneWorld, check: Checks) -> None:
    """First cause: a secret minted in another project or organisation of the key, where the model is not allowed."""
    key_may(world, KeyInfo(elsewhere=ELSEWHERE))
    await talks(world, check)


@case(about="TALK-MI-003", claims=["talk.webrtc"], dialect="ga")
async def test_the_key_may_use_one_model_only(world: PhoneWorld, check: Checks) -> None:
    """Second cause: a secret minted for a model that was configured once, or is somebody's default."""
    key_may(world, KeyInfo(models=(world.values()["openai.model"],)))
    await talks(world, check)
    await world.passes(5)
    await talks(world, check)


@case(
    about="TALK-MI-001",
    claims=["talk.webrtc"],
    dialect="ga",
    knobs={
        "openai.beta_minting": "always",
        "openai.beta_shape_at_client_secrets": "mint",
        "openai.secret_of_other_dialect": "model_not_found",
    },
)
async def test_the_beta_still_mints(world: PhoneWorld, check: Checks) -> None:
    """Third cause: a secret minted at an endpoint or in the shape of the beta, which no call of GA takes."""
    await talks(world, check)


@case(
    about="TALK-MI-015",
    claims=["talk.webrtc"],
    dialect="ga",
    knobs={"openai.secret_model_contradicted": "refuse", "openai.calls_check_first": "model"},
)
async def test_the_offer_is_held_against_the_secret(world: PhoneWorld, check: Checks) -> None:
    """Fourth cause: an offer that names another model than its secret is bound to."""
    await talks(world, check)


async def refused(world: PhoneWorld, check: Checks, grant: Grant) -> Answer | None:
    """The refusal of an offer for a model that was taken away; None when the gateway has made another one of it."""
    try:
        browser = await world.web.joins(grant)
    except Refused as refused:
        if find(refused.answer.json, "error.code") == "model_not_found":
            return refused.answer
        check("TALK-MI-018", False, f"{refused}: {cause(world, grant)}")
        return None
    except AssertionError as error:
        check("TALK-MI-018", False, str(error))
        return None
    await browser.leave()
    raise RuntimeError("the fake let a browser talk for whom the model was taken away")


@case(
    about="TALK-ER-011",
    claims=["talk.webrtc", "talk.explain"],
    dialect="ga",
    knobs={"openai.secret_permissions": "live"},
)
async def test_the_model_is_taken_away_after_minting(world: PhoneWorld, check: Checks) -> None:
    """Nothing that a gateway did: between minting and offer the project loses the model. The person learns why."""
    with check.expects("TALK-ER-011"):
        grant = await world.web.granted("webrtc")
    key_may(world, KeyInfo(models=()))
    refusal = await refused(world, check, grant)
    if refusal is not None:
        explained = await world.web.explained(refusal)
        check("TALK-ER-011", explained.ok, f"the request for an explanation is answered {explained.status}")
        said, code = str(find(refusal.json, "error.code")), told(world, explained, "code")
        check("TALK-ER-011", said in code, f"OpenAI said {said}, and the person is told {code[:80]!r}")
        said, message = str(find(refusal.json, "error.message")), told(world, explained, "message")
        check("TALK-ER-011", said in message, f"OpenAI said {said!r}, and the person is told {message[:200]!r}")
        check("TALK-ER-011", told(world, explained, "hint").strip(), "there is no hint at what to do")
    key_may(world, KeyInfo())
    with check.expects("TALK-ER-008"):
        again = await world.web.granted("webrtc")
    await answers_an_offer(world, check, again)
