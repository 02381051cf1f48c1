"""Talk: the gateway's own page, in a real Chromium with a fake microphone. Real time, so on the live stage only."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urljoin

from conformance.assembly import PhoneWorld
from conformance.browsing import Transport
from conformance.chromium import Chromium
from conformance.minted import CLIENT_SECRETS
from fakes.audio import phrase
from fakes.openai.handshake import KeyInfo
from fakes.openai.plans import HttpPlan
from harness.live import LiveStage
from harness.suite import Checks, case
from harness.talk import BrowserTable
from harness.wire import Message

LIVE_WITHIN = 12.0
ANSWER_WITHIN = 20.0
OUTPUT_WITHIN = 10.0


def table(world: PhoneWorld) -> BrowserTable:
    """How the page is used."""
    found = world.profile.talk.browser
    assert found is not None, "the profile has no [talk.browser]"
    return found


def told(world: PhoneWorld) -> Sequence[str]:
    """What the browser is told, so that it finds the vendors of this world."""
    assert isinstance(world.stage, LiveStage)
    return world.stage.browser()


async def talks(world: PhoneWorld, check: Checks, transport: Transport, requirement: str) -> None:
    """A person opens the page, asks for the time and hears it."""
    page = table(world)
    async with Chromium(says="what_time", after=5, arguments=told(world)) as browser:
        with check.expects(requirement):
            await browser.opens(urljoin(world.gateway.url, world.web.page_address()))
            await world.web.prepares(browser.page)
            await browser.presses(page.webrtc if transport == "webrtc" else page.relay)
            await browser.sees(page.live, within=LIVE_WITHIN)
            await browser.hears("its_noon", within=ANSWER_WITHIN)
        shown = await browser.reads(page.transcript) if page.transcript else ""
        if world.request.report is not None:
            await browser.picture(world.request.report / "pictures" / f"talk-{transport}.png")
        await browser.loaded()
        received = list(browser.received)
    text = phrase("its_noon").text
    check("TALK-PG-004", text in shown, f"the answer is not in the transcript: {shown[-120:]!r}")
    key = world.planted["openai.api_key"]
    found = [url for url, body in received if key in body]
    check("TALK-PG-005", not found, f"the standard API key is in what the browser loaded from {', '.join(found)}")


@case(about="TALK-PG-001", claims=["talk.browser", "talk.webrtc"], dialect="ga", stages=["live"])
async def test_a_page_talks_over_webrtc(world: PhoneWorld, check: Checks) -> None:
    """Somebody opens the page in Chromium, talks over WebRTC, and hears the answer."""
    await talks(world, check, "webrtc", "TALK-PG-001")


@case(about="TALK-PG-002", claims=["talk.browser", "talk.relay"], stages=["live"])
async def test_a_page_talks_over_the_relay(world: PhoneWorld, check: Checks) -> None:
    """Somebody opens the page in Chromium, talks over the relay, and hears the answer."""
    await talks(world, check, "relay", "TALK-PG-002")


async def asks_for_the_weather(world: PhoneWorld, check: Checks, *answers: str, fails: str = "") -> None:
    """A person talks over WebRTC, and asks for something that takes a function. `fails`: a path that the page cannot
    reach."""
    page = table(world)
    async with Chromium(says="weather", after=5, arguments=told(world)) as browser:
        with check.expects("TALK-PG-001"):
            await browser.opens(urljoin(world.gateway.url, world.web.page_address()))
            await world.web.prepares(browser.page)
            if fails:
                await browser.fails(fails)
            await browser.presses(page.webrtc)
            await browser.sees(page.live, within=LIVE_WITHIN)
        with check.expects("TALK-PG-006"):
            called = await world.sees("response.function_call_arguments.done", source="openai", within=ANSWER_WITHIN)
            given = await world.sees(
                "conversation.item.create", source="browser", where=is_output, within=OUTPUT_WITHIN
            )
            await browser.hears(*answers, within=ANSWER_WITHIN)
    same = given.get("item.call_id") == called.get("call_id")
    check("TALK-PG-006", same and given.get("item.output"), "the output is empty, or that of another call", at=given)


def is_output(message: Message) -> bool:
    """Whether this is the output of a function."""
    return str(message.get("item.type")) == "function_call_output"


@case(about="TALK-PG-006", claims=["talk.browser", "talk.webrtc", "talk.tools"], dialect="ga", stages=["live"])
async def test_a_page_has_a_function_run(world: PhoneWorld, check: Checks) -> None:
    """The model calls a function, and the person hears what came of it."""
    await asks_for_the_weather(world, check, "weather_sunny")


@case(about="TALK-PG-006", claims=["talk.browser", "talk.webrtc", "talk.tools"], dialect="ga", stages=["live"])
async def test_a_page_cannot_have_a_function_run(world: PhoneWorld, check: Checks) -> None:
    """The model calls a function, and the page's request to have it run fails. The model is told, and speaks."""
    tool = world.profile.talk.tool
    if tool is None or tool.request is None:
        return  # its page has functions run in a way that is not known, and cannot be disturbed
    path = tool.request.partition(" ")[2].partition("?")[0]
    await asks_for_the_weather(world, check, "sorry_trouble", "weather_sunny", fails=path)


async def sees_the_refusal(world: PhoneWorld, check: Checks, code: str, said: str) -> None:
    """A person opens the page, wants to talk, and reads why that cannot be."""
    page = table(world)
    async with Chromium(arguments=told(world)) as browser:
        with check.expects("TALK-PG-003"):
            await browser.opens(urljoin(world.gateway.url, world.web.page_address()))
            await world.web.prepares(browser.page)
            await browser.presses(page.webrtc)
            shown = await browser.sees(page.problem or "body", within=LIVE_WITHIN)
            check("TALK-PG-003", code in shown and said in shown, f"{code} ({said}) is not in what is seen: {shown!r}")


@case(about="TALK-PG-003", claims=["talk.browser", "talk.webrtc"], dialect="ga", stages=["live"])
async def test_a_page_says_why_nothing_was_minted(world: PhoneWorld, check: Checks) -> None:
    """OpenAI mints no secret: the account has no credit."""
    world.openai.plan_http(CLIENT_SECRETS, HttpPlan(refuse=(429, "rate_limit_exceeded")))
    await sees_the_refusal(world, check, "rate_limit_exceeded", "Rate limit reached")


@case(about="TALK-PG-003", claims=["talk.browser", "talk.webrtc"], dialect="ga", stages=["live"])
async def test_a_page_says_why_its_offer_was_refused(world: PhoneWorld, check: Checks) -> None:
    """OpenAI mints the secret and answers the browser's own request with 403: the published report."""
    world.openai.keys[world.planted["openai.api_key"]] = KeyInfo(models=())
    await sees_the_refusal(world, check, "model_not_found", "you do not have access")
