"""Talk over WebRTC: a person in a browser and the model, with what the gateway has prepared for them."""

from __future__ import annotations

from typing import Any

from conformance.assembly import PhoneWorld
from fakes.audio import phrase
from fakes.people.browser import Browser
from harness.suite import Checks, case
from harness.talk import find

STOPS_WITHIN = 1.0
LONGEST_SECRET = 420.0
"""Seconds that a story can wait for a secret to expire."""


async def asks(browser: Browser, check: Checks, rule: str, question: str, answer: str) -> None:
    """The person asks, and hears the answer."""
    with check.expects(rule):
        await browser.says(question)
        await browser.hears(answer, within=10, complete=None)


async def talks(world: PhoneWorld, check: Checks, rule: str = "TALK-RT-001") -> Browser:
    """Somebody opens the page and talks: the session has begun."""
    with check.expects(rule):
        return await world.web.talks("webrtc")


async def begun(browser: Browser, check: Checks) -> dict[str, Any]:
    """The session as it begins, before the page could have said anything about it."""
    with check.expects("TALK-RT-001"):
        created = await browser.is_told("session.created", within=5)
    session: dict[str, Any] = created.values["session"]
    return session


@case(about="TALK-RT-001", claims=["talk.webrtc"], dialect="ga")
async def test_a_conversation_of_three_turns_over_webrtc(world: PhoneWorld, check: Checks) -> None:
    """Three questions and their answers; the last one is asked when the secret has expired, which ends nothing, if that
    can be waited for."""
    with check.expects("TALK-RT-001"):
        grant = await world.web.granted("webrtc")
        browser = await world.web.joins(grant)
    await begun(browser, check)
    await asks(browser, check, "TALK-RT-001", "what_time", "its_noon")
    await asks(browser, check, "TALK-RT-001", "thanks", "anything_else")
    said = phrase("what_time").text.casefold()
    shown = [
        told
        for told in browser.told
        if told.kind == "conversation.item.input_audio_transcription.completed"
        and said in str(told.values.get("transcript")).casefold()
    ]
    check("TALK-RT-008", shown, f"the page is not told what the person said ({said!r})")
    expires = next(secret.expires_at for secret in world.openai.secrets.minted if secret.value == grant.secret)
    left = expires - world.openai.ports.clock.wall()
    if left < LONGEST_SECRET and world.affords(left):
        await world.passes(max(0.0, left) + 5)
    await asks(browser, check, "TALK-RT-001", "what_time", "its_noon")


@case(about="TALK-RT-002", claims=["talk.webrtc"], dialect="ga")
async def test_a_session_begins_as_it_was_minted(world: PhoneWorld, check: Checks) -> None:
    """The page says nothing; what the session is like is read off its first event."""
    with check.expects("TALK-RT-001"):
        grant = await world.web.granted("webrtc")
        browser = await world.web.joins(grant)
    session = await begun(browser, check)
    request = world.wire.last("request", source="gateway", channel="openai.http")
    minted = request.get("session", {}) if request is not None else {}
    for what in ("instructions", "audio.output.voice"):
        asked, found = find(minted, what), find(session, what)
        seen = f"{what} is {found!r}, and {asked!r} was asked for" if asked else f"{what} was not asked for"
        check("TALK-RT-002", asked and found == asked, seen, at=request)
    model, configured = session.get("model"), world.values()["openai.model"]
    check("TALK-RT-003", model == configured, f"the session is one of {model}, configured is {configured}", at=request)
    if grant.model is not None:
        check("TALK-RT-003", grant.model == configured, f"the browser is told of {grant.model}")


@case(about="TALK-RT-005", claims=["talk.webrtc", "talk.tools"], dialect="ga")
async def test_a_tool_is_run_for_a_browser(world: PhoneWorld, check: Checks) -> None:
    """The person asks for the weather; the model calls a tool over the data channel; the page has the gateway run it
    and hands the output to the model; the person hears the answer, and asks on."""
    browser = await talks(world, check)
    session = await begun(browser, check)
    tool = world.profile.claims.tool or "get_weather"
    known = [entry.get("name") for entry in session.get("tools", [])]
    check("TALK-RT-004", tool in known, f"the tools of the session are {known}, and {tool} is claimed")
    if tool not in known:
        return
    await browser.says("weather")
    with check.expects("TALK-RT-005"):
        await browser.is_told("response.function_call_arguments.done", within=8)
        await browser.hears("weather_sunny", within=12, complete=None)
    await asks(browser, check, "TALK-RT-005", "what_time", "its_noon")


@case(about="TALK-RT-006", claims=["talk.webrtc", "talk.tools"], dialect="ga")
async def test_tool_calls_that_make_no_sense(world: PhoneWorld, check: Checks) -> None:
    """An unknown function, and arguments that are cut off, of the wrong kind, or missing; as the model wrote them."""
    table = world.profile.talk.tool
    if table is None:
        return
    tool = world.profile.claims.tool or "get_weather"
    for name, arguments in (("no_such_tool", "{}"), (tool, '{"city": "Ber'), (tool, "[1]"), (tool, "")):
        answer = await world.web.runs(name, arguments)
        output = find(answer.json, table.output) if answer.ok else None
        said = f"{name}({arguments}) is answered {answer.status} {answer.text[:120]!r}"
        check("TALK-RT-006", isinstance(output, str) and output, said)


@case(about="TALK-RT-007", claims=["talk.webrtc"], dialect="ga")
async def test_an_interruption_over_webrtc(world: PhoneWorld, check: Checks) -> None:
    """The person speaks into the middle of a long answer; it stops, and the question is answered."""
    browser = await talks(world, check)
    await begun(browser, check)
    with check.expects("TALK-RT-001"):
        await browser.says("long_story")
        await browser.starts_hearing("long_answer", within=10)
    await world.passes(2)
    spoke = world.clock.now()
    browser.start_saying("what_time")
    with check.expects("TALK-RT-007"):
        started = await browser.is_told("input_audio_buffer.speech_started", within=5, where=lambda t: t.at > spoke)
        await browser.stops_hearing(within=5)
    cut = next(heard for heard in browser.heard if heard.phrase == "long_answer")
    late = cut.end_ms / 1000 - started.at
    check("TALK-RT-007", late < STOPS_WITHIN, f"the assistant spoke on for {late:.1f} s")
    with check.expects("TALK-RT-007"):
        await browser.hears("its_noon", within=10, complete=None)


@case(about="TALK-RT-009", claims=["talk.webrtc"], dialect="ga")
async def test_two_people_talk_over_webrtc_at_once(world: PhoneWorld, check: Checks) -> None:
    """Two browsers ask different questions at the same moment; when one has left, a third person comes."""
    first = await talks(world, check)
    second = await talks(world, check, "TALK-RT-009")
    for browser in (first, second):
        await begun(browser, check)
    first.start_saying("what_time")
    second.start_saying("thanks")
    with check.expects("TALK-RT-009"):
        await first.hears("its_noon", within=15, complete=None)
        await second.hears("anything_else", within=15, complete=None)
    await first.leave()
    third = await talks(world, check, "TALK-RT-009")
    await asks(third, check, "TALK-RT-009", "what_time", "its_noon")
    heard = [[h.phrase for h in person.heard if h.phrase != "greeting"] for person in (first, second, third)]
    expected = [["its_noon"], ["anything_else"], ["its_noon"]]
    check("TALK-RT-009", heard == expected, f"the three people hear {heard}")
