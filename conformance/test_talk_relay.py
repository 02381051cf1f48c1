"""Talk over the relay: a person in a browser, the gateway in between, the model at the other end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conformance.assembly import PhoneWorld
from conformance.browsing import Refused
from conformance.listening import appends_of
from conformance.playback import truncations
from conformance.relayed import (
    CHANNEL,
    answers_of,
    codec_of,
    held_back,
    longest_gap,
    lost_of_responses,
    phrase_sent,
    said_and_appended,
    truncated_too_far,
)
from fakes.audio import phrase
from fakes.openai.service import HandshakePlan
from fakes.people.browser import MICROPHONE_MS, Browser
from harness.suite import Checks, case
from harness.talk import find
from harness.wire import Message

AT_ONCE = 0.25
"""Seconds that audio may be kept back."""

STOPS_WITHIN = 0.5
TOLERANCE_MS = 300
GENERATION_TAKES = 10.0
"""Seconds after which the model has sent all of its long answer, of 12 s, and only the page still plays."""

GONE_WITHIN = 5.0
DEAD_WITHIN = 120.0
EXPIRED_AFTER = 590.0
BIG = 8 * 1024 * 1024
PIECE = 8
"""So many characters of a key in a row are a part of it."""

ELSEWHERE = "https://evil.example"


async def asks(browser: Browser, check: Checks, rule: str, question: str, answer: str, *, within: float = 10) -> None:
    """The person asks, and hears the answer, or most of it: whether it comes whole is asked once."""
    with check.expects(rule):
        await browser.says(question)
        await browser.hears(answer, within=within, complete=None)


# -- a conversation


@case(about="TALK-RE-001", claims=["talk.relay"])
async def test_a_conversation_of_three_turns_over_the_relay(world: PhoneWorld, check: Checks) -> None:
    """Three questions and their answers, a long one among them. All is heard, by both, as it is said."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await asks(browser, check, "TALK-RE-001", "what_time", "its_noon")
    await asks(browser, check, "TALK-RE-001", "long_story", "long_answer", within=20)
    with check.expects("TALK-RE-003"):
        await world.model_hears(session, "long_story", within=1)
    check("TALK-RE-003", *said_and_appended(world, browser, session, "long_story"))
    await asks(browser, check, "TALK-RE-001", "thanks", "anything_else")
    await world.passes(2)
    cut = [heard.phrase for heard in browser.heard if not heard.complete]
    check("TALK-RE-004", not cut, f"not heard whole: {', '.join(cut)}")
    said, sent = lost_of_responses(world, browser, session)
    check("TALK-RE-004", abs(said - sent) < 0.04, f"the model said {said:.2f} s, the browser was sent {sent:.2f} s")
    greeted = any(heard.phrase == "greeting" for heard in browser.heard)
    answers = answers_of(world, session) - greeted
    check("TALK-RE-001", answers == 3, f"three questions got {answers} answers")
    ready = world.wire.first("ready", source="gateway", channel=CHANNEL)
    if ready is not None:
        updated = world.wire.first("session.updated", source="openai", before=ready)
        check("TALK-RE-002", updated, "the browser is told to speak before the session is configured", at=ready)
    if not check.failed():
        pauses(world, check, browser)


def pauses(world: PhoneWorld, check: Checks, browser: Browser) -> None:
    """What the relay adds to the pauses of the conversation."""
    session = world.openai.sessions[0]
    begin, end = (
        world.wire.last(kind, channel="talk", connection=browser.name, where=lambda m: m.body == "long_story")
        for kind in ("speech.start", "speech.end")
    )
    assert begin is not None
    assert end is not None
    gap, late = longest_gap(appends_of(world, session, begin, end))
    own, _ = longest_gap(
        world.wire.all(
            "audio", source="browser", channel=CHANNEL, connection=browser.connection, after=begin, before=end
        )
    )
    # On a busy machine the microphone of the page may be late itself.
    added = gap - max(0.0, own - MICROPHONE_MS / 1000)
    told = (
        f"{gap * 1000:.0f} ms between two pieces of what the person says, of which the page's are {own * 1000:.0f} ms"
    )
    check("TALK-RE-005", added <= AT_ONCE, told, at=late)
    held, late = held_back(world, browser, session)
    check("TALK-RE-005", held <= AT_ONCE, f"the model's first words are kept back for {held * 1000:.0f} ms", at=late)


@case(about="TALK-RE-006", claims=["talk.relay"])
async def test_a_typed_message_over_the_relay(world: PhoneWorld, check: Checks) -> None:
    """The person types a question, and hears the answer; then asks another one aloud."""
    if not codec_of(world).takes_text:
        return  # the relay takes no typed messages, and does not say that it does
    browser = await world.web.talks("relay")
    since = world.wire[len(world.wire) - 1]
    browser.types(phrase("what_time").text)
    with check.expects("TALK-RE-006"):
        item = await world.sees(
            "conversation.item.create",
            source="gateway",
            after=since,
            within=5,
            where=lambda m: m.get("item.role") == "user",
        )
    written = [part.get("text") for part in item.get("item.content", [])]
    check("TALK-RE-006", written == [phrase("what_time").text], f"the model is given {written}", at=item)
    with check.expects("TALK-RE-006"):
        await browser.hears("its_noon", within=10, complete=None)
    await asks(browser, check, "TALK-RE-001", "thanks", "anything_else")


@case(about="TALK-RE-007", claims=["talk.relay"])
async def test_what_was_said_is_shown(world: PhoneWorld, check: Checks) -> None:
    """One question; the page is sent the words of both."""
    table = world.profile.talk.relay
    if table is None or table.transcript is None:
        return
    browser = await world.web.talks("relay")
    await asks(browser, check, "TALK-RE-001", "what_time", "its_noon")
    await world.passes(2)
    shown = " ".join(str(told.values.get("text")) for told in browser.told if told.kind == "transcript").casefold()
    for who, said in (("the person", "what_time"), ("the model", "its_noon")):
        text = phrase(said).text
        check("TALK-RE-007", text.casefold() in shown, f"what {who} said ({text!r}) is not shown")


@case(about="TALK-RE-013", claims=["talk.relay", "tools"])
async def test_a_tool_is_run_over_the_relay(world: PhoneWorld, check: Checks) -> None:
    """The person asks for the weather; the model calls a tool; the gateway runs it, and the answer is heard."""
    browser = await world.web.talks("relay")
    await browser.says("weather")
    asked = await world.sees("response.function_call_arguments.done", source="openai", within=8)
    is_output = lambda m: m.get("item.type") == "function_call_output"  # noqa: E731
    with check.expects("TALK-RE-013"):
        output = await world.sees("conversation.item.create", source="gateway", where=is_output, after=asked, within=10)
        await world.sees("response.create", source="gateway", after=output, within=5)
        await browser.hears("weather_sunny", within=12, complete=None)
    created = world.wire.all("response.create", source="gateway", after=asked)
    check("TALK-RE-013", len(created) == 1, f"{len(created)} responses are asked for after one tool", at=created[-1])
    await asks(browser, check, "TALK-RE-013", "what_time", "its_noon")


# -- interruptions


@case(about="TALK-RE-008", claims=["talk.relay"])
async def test_an_interruption_while_only_the_page_is_playing(world: PhoneWorld, check: Checks) -> None:
    """The model has long sent its answer; the person interrupts in the middle of it. The page falls silent, the model
    is told how much was heard, and the new question is answered."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await browser.says("long_story")
    asked = world.wire[len(world.wire) - 1]
    await browser.starts_hearing("long_answer", within=10)
    done = await world.sees("response.done", source="openai", after=asked, within=GENERATION_TAKES)
    await world.passes(1)
    browser.start_saying("what_time")
    started = await world.sees("input_audio_buffer.speech_started", source="openai", after=done, within=5)
    cleared = await told_to_stop(world, check, started)
    with check.expects("TALK-RE-008"):
        await browser.stops_hearing(within=5)
    with check.expects("TALK-RE-012"):
        await world.model_hears(session, "what_time", within=6)
        await browser.hears("its_noon", within=10, complete=None)
    check("TALK-RE-011", truncations(world), "the item that was cut off was not truncated", at=started)
    if truncations(world):
        check.none("TALK-RE-010", *truncated_too_far(world, browser, TOLERANCE_MS))
    again, first = phrase_sent(world, browser, "long_answer", after=cleared)
    check("TALK-RE-009", not again, f"{again:.2f} s of the answer that was cut off are sent after that", at=first)


@case(about="TALK-RE-008", claims=["talk.relay"], knobs={"openai.interruption_lag_ms": 500})
async def test_an_interruption_while_the_model_is_still_sending_to_the_relay(world: PhoneWorld, check: Checks) -> None:
    """The person interrupts at once, while audio still streams in, and it goes on coming for half a second: what comes
    late is not passed on."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await browser.says("long_story")
    await browser.starts_hearing("long_answer", within=10)
    asked = world.wire[len(world.wire) - 1]
    browser.start_saying("what_time")
    started = await world.sees("input_audio_buffer.speech_started", source="openai", after=asked, within=5)
    cleared = await told_to_stop(world, check, started)
    with check.expects("TALK-RE-012"):
        await world.model_hears(session, "what_time", within=6)
        await browser.hears("its_noon", within=10, complete=None)
    again, first = phrase_sent(world, browser, "long_answer", after=cleared)
    check("TALK-RE-009", again < 0.25, f"{again:.2f} s of the answer that was cut off are sent after that", at=first)
    if truncations(world):
        check.none("TALK-RE-010", *truncated_too_far(world, browser, TOLERANCE_MS))


async def told_to_stop(world: PhoneWorld, check: Checks, started: Message) -> Message:
    """The page is told to stop playing, and soon; when it was."""
    with check.expects("TALK-RE-008"):
        cleared = await world.sees("clear", source="gateway", channel=CHANNEL, after=started, within=2)
    late = cleared.at - started.at
    check("TALK-RE-008", late <= STOPS_WITHIN, f"the page is told to stop after {late * 1000:.0f} ms", at=cleared)
    return cleared


# -- the end of a conversation


@case(about="TALK-RE-014", claims=["talk.relay"])
async def test_the_person_leaves(world: PhoneWorld, check: Checks) -> None:
    """One person closes the page in the middle of an answer, another one says that it is enough; both sessions end."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await browser.says("long_story")
    await browser.starts_hearing("long_answer", within=10)
    await browser.leave()
    with check.expects("TALK-RE-014"):
        await world.session_ends(session, within=GONE_WITHIN)
    end = codec_of(world).end()
    if end is None:
        return
    polite = await world.web.talks("relay")
    session = await world.session(2)
    await asks(polite, check, "TALK-RE-001", "what_time", "its_noon")
    polite.sends_frame(end, "end")
    with check.expects("TALK-RE-014"):
        await world.session_ends(session, within=GONE_WITHIN)


@case(about="TALK-RE-015", claims=["talk.relay"])
async def test_the_browser_vanishes(world: PhoneWorld, check: Checks) -> None:
    """The connection is reset in the middle of an answer: the lid of a laptop was shut."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await browser.says("long_story")
    await browser.starts_hearing("long_answer", within=10)
    browser.vanishes()
    with check.expects("TALK-RE-015"):
        await world.session_ends(session, within=GONE_WITHIN)


@case(about="TALK-RE-016", claims=["talk.relay"], stages=["virtual"])  # two minutes
async def test_the_browser_is_dead_and_its_connection_is_not(world: PhoneWorld, check: Checks) -> None:
    """The page neither reads nor sends any more. Nothing tells the gateway so."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await asks(browser, check, "TALK-RE-001", "what_time", "its_noon")
    browser.freezes()
    with check.expects("TALK-RE-016"):
        await world.session_ends(session, within=DEAD_WITHIN)


async def ends_or_carries_on(world: PhoneWorld, check: Checks, how: str) -> None:
    """The session is lost in mid-conversation; within 5 s the socket is closed, or the next question is answered."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await asks(browser, check, "TALK-RE-001", "what_time", "its_noon")
    lost = world.wire[len(world.wire) - 1]
    if how == "abort":
        session.abort()
    else:
        if how == "1001":
            words = "Your session hit the maximum duration of 60 minutes."
            session.error("session_expired", words, error_type="invalid_request_error")
        session.close(int(how), "")
    await world.passes(GONE_WITHIN)
    if browser.is_connected:
        await asks(browser, check, "TALK-RE-017", "thanks", "anything_else")
        return
    check("TALK-RE-017", True)
    table = world.profile.talk.relay
    known = table is not None and (table.error is not None or table.ended is not None)
    told = world.wire.all(("error", "ended"), source="gateway", channel=CHANNEL, after=lost)
    closed = world.wire.first("close", source="gateway", channel=CHANNEL, after=lost)
    reason = closed is not None and closed.meta.get("reason")
    if known or reason:
        check("TALK-RE-018", told or reason, "the socket is closed, and the page is not told why", at=closed)
    with check.expects("TALK-RE-022"):
        again = await world.web.talks("relay")
    await asks(again, check, "TALK-RE-022", "what_time", "its_noon")


@case(about="TALK-RE-017", claims=["talk.relay"])
async def test_the_session_of_a_relay_expires(world: PhoneWorld, check: Checks) -> None:
    """`session_expired`, and a close with 1001."""
    await ends_or_carries_on(world, check, "1001")


@case(about="TALK-RE-017", claims=["talk.relay"])
async def test_the_session_of_a_relay_ends_with_an_internal_error(world: PhoneWorld, check: Checks) -> None:
    """A close with 1011."""
    await ends_or_carries_on(world, check, "1011")


@case(about="TALK-RE-017", claims=["talk.relay"])
async def test_the_session_of_a_relay_is_lost_without_a_close(world: PhoneWorld, check: Checks) -> None:
    """The vendor's connection is reset."""
    await ends_or_carries_on(world, check, "abort")


@case(about="TALK-RE-032", claims=["talk.relay"])
async def test_the_vendor_quotes_the_key_to_a_relay(world: PhoneWorld, check: Checks) -> None:
    """In mid-conversation comes an error in which half of the key can be read."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await asks(browser, check, "TALK-RE-001", "what_time", "its_noon")
    key = world.planted["openai.api_key"]
    words = f"Incorrect API key provided: {key[: len(key) // 2]}************{key[-4:]}."
    session.error("invalid_api_key", words, error_type="invalid_request_error")
    await world.passes(2)
    secret = key.rpartition("-")[2]
    pieces = [secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1)]
    frames = [m for m in world.wire.all(source="gateway", channel=CHANNEL) if m.kind != "audio"]
    quoting = [frame for frame in frames if any(piece in frame.text for piece in pieces)]
    check.none("TALK-RE-032", quoting, "a part of the key is shown to the person")
    printed = world.gateway.output()
    check("TALK-RE-032", not any(piece in printed for piece in pieces), "a part of the key is printed")


@case(about="TALK-RE-030", claims=["talk.relay"])
async def test_the_gateway_is_told_to_stop_while_somebody_talks(world: PhoneWorld, check: Checks) -> None:
    """In the middle of an answer the gateway is told to stop; both connections are closed in an orderly way."""
    browser = await world.web.talks("relay")
    session = await world.session(1)
    await browser.says("long_story")
    await browser.starts_hearing("long_answer", within=10)
    since = world.wire[len(world.wire) - 1]
    await world.gateway_stops()
    with check.expects("TALK-RE-030"):
        await browser.ended(within=GONE_WITHIN)
        await world.session_ends(session, within=GONE_WITHIN)
    for party, channel in (("the browser", CHANNEL), ("the vendor", "openai.realtime")):
        close = world.wire.first("close", source="gateway", channel=channel, after=since)
        good = close is not None and close.meta.get("code") in (1000, 1001, 1012)
        seen = f"the connection to {party} ends with {close.meta.get('code') if close else 'no close'}"
        check("TALK-RE-030", good, seen, at=close)


# -- who is let in


@case(about="TALK-RE-023", claims=["talk.relay", "talk.token"])
async def test_what_admits_a_browser_admits_one(world: PhoneWorld, check: Checks) -> None:
    """Somebody who has seen the address of a relay opens it during the conversation, and again after it."""
    grant = await world.web.granted("relay")
    browser = await world.web.joins(grant)
    await asks(browser, check, "TALK-RE-001", "what_time", "its_noon")
    await stays_out(world, check, "TALK-RE-023", grant.url, "a second session at the same address")
    check("TALK-RE-023", browser.is_connected, "whoever came second has ended the conversation")
    if browser.is_connected:
        await asks(browser, check, "TALK-RE-023", "thanks", "anything_else")
    await browser.leave()
    await world.settled()
    await stays_out(world, check, "TALK-RE-023", grant.url, "a session at the address of a conversation that is over")


@case(about="TALK-RE-024", claims=["talk.relay", "talk.token"], stages=["virtual"])  # ten minutes
async def test_what_admits_a_browser_expires(world: PhoneWorld, check: Checks) -> None:
    """The address of a relay is used for the first time ten minutes after it was given."""
    grant = await world.web.granted("relay")
    await world.passes(EXPIRED_AFTER - world.clock.now())
    await stays_out(world, check, "TALK-RE-024", grant.url, "a session at an address that is ten minutes old")


@case(about="TALK-RE-025", claims=["talk.relay", "talk.token"])
async def test_a_browser_that_nothing_admits(world: PhoneWorld, check: Checks) -> None:
    """The address of a relay, with its last characters changed, and without its query."""
    grant = await world.web.granted("relay")
    flipped = "".join("A" if letter != "A" else "B" for letter in grant.url[-8:])
    for url in (grant.url[:-8] + flipped, grant.url.partition("?")[0]):
        if url != grant.url:
            await stays_out(world, check, "TALK-RE-025", url, "a session for a browser that nothing admits")
    browser = await world.web.joins(grant)
    await asks(browser, check, "TALK-RE-001", "what_time", "its_noon")


@case(about="TALK-RE-026", claims=["talk.relay"])
async def test_a_page_of_somebody_else_opens_the_relay(world: PhoneWorld, check: Checks) -> None:
    """A good address, opened by a page of another site."""
    grant = await world.web.granted("relay")
    await stays_out(world, check, "TALK-RE-026", grant.url, "a session for somebody else's page", origin=ELSEWHERE)
    browser = await world.web.talks("relay")
    await asks(browser, check, "TALK-RE-001", "what_time", "its_noon")


async def stays_out(
    world: PhoneWorld, check: Checks, rule: str, url: str, seen: str, *, origin: str | None = ""
) -> None:
    """Whoever opens a relay at this address gets no session; what becomes of the socket is the gateway's affair."""
    if not url:
        return  # the profile's driver opens this relay: there is no address that somebody else could open
    since = world.wire[len(world.wire) - 1]
    socket = await world.web.opens(url, origin=origin)
    await world.passes(5)
    opened = world.wire.all("upgrade", channel="openai.realtime", after=since)
    check.none(rule, opened, seen)
    if not isinstance(socket, int):
        await socket.close()


# -- more than one person


@case(about="TALK-RE-027", claims=["talk.relay"])
async def test_two_people_talk_over_the_relay_at_once(world: PhoneWorld, check: Checks) -> None:
    """Two browsers ask different questions at the same moment; each hears its own answer and no other."""
    first = await world.web.talks("relay")
    await world.session(1)
    second = await world.web.talks("relay")
    await world.session(2)
    first.start_saying("what_time")
    second.start_saying("thanks")
    with check.expects("TALK-RE-027"):
        await first.hears("its_noon", within=15, complete=None)
        await second.hears("anything_else", within=15, complete=None)
    await world.passes(3)
    heard = [[h.phrase for h in person.heard if h.phrase != "greeting"] for person in (first, second)]
    check("TALK-RE-027", heard == [["its_noon"], ["anything_else"]], f"the two people hear {heard}")
    taken = [[h.phrase for h in session.heard] for session in world.openai.sessions]
    check("TALK-RE-027", taken == [["what_time"], ["thanks"]], f"the two sessions hear {taken}")


@case(about="TALK-RE-027", claims=["talk.relay", "phone.inbound"])
async def test_a_phone_call_and_a_browser_at_once(world: PhoneWorld, check: Checks) -> None:
    """Somebody is on the phone while somebody else talks from a browser; each hears their own answer and no other."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    browser = await world.web.talks("relay")
    await world.session(2)
    caller.start_saying("what_time")
    browser.start_saying("thanks")
    with check.expects("TALK-RE-027"):
        await caller.hears("its_noon", within=15)
        await browser.hears("anything_else", within=15, complete=None)
    await world.passes(3)
    heard = [[h.phrase for h in person.heard if h.phrase != "greeting"] for person in (caller, browser)]
    check("TALK-RE-027", heard == [["its_noon"], ["anything_else"]], f"caller and browser hear {heard}")
    caller.hang_up()
    await world.session_ends(world.openai.sessions[0], within=10)
    await asks(browser, check, "TALK-RE-027", "what_time", "its_noon")


@case(about="TALK-RE-028", claims=["talk.relay"])
async def test_a_browser_sends_nonsense(world: PhoneWorld, check: Checks) -> None:
    """One page sends what no page should; another conversation goes on, and a third one begins."""
    good = await world.web.talks("relay")
    await asks(good, check, "TALK-RE-001", "what_time", "its_noon")
    bad = await world.web.talks("relay")
    broken = codec_of(world).audio(b"abc")
    frames: list[str | bytes] = ['{"type":"aud', "[1, 2, 3]", "null", '"text"', b"\x00\x01\x02", "{}"]
    frames += ['{"type":"weather","sky":"blue"}', broken.replace("YWJj", "***") if isinstance(broken, str) else broken]
    for frame in (*frames, json.dumps({"type": "text", "text": "x" * BIG})):
        if not bad.is_connected:
            bad = await world.web.talks("relay")
        world.deliberate.add(frame)
        bad.sends_frame(frame, "nonsense")
        await world.passes(0.3)
    with check.expects("TALK-RE-028"):
        await good.says("thanks")
        await good.hears("anything_else", within=10, complete=None)
        third = await world.web.talks("relay")
        await third.says("what_time")
        await third.hears("its_noon", within=10, complete=None)


@case(about="TALK-RE-029", claims=["talk.relay"])
async def test_a_browser_that_does_not_read(world: PhoneWorld, check: Checks) -> None:
    """One page stops reading at the beginning of a long answer, which is too long for all the buffers on its way;
    another one is served as usual."""
    slow = await world.web.talks("relay")
    await slow.says("long_story")
    asked = world.wire[len(world.wire) - 1]
    await slow.starts_hearing("long_answer", within=10)
    slow.stalls()
    await world.sees("response.done", source="openai", after=asked, within=GENERATION_TAKES)
    with check.expects("TALK-RE-029"):
        other = await world.web.talks("relay")
        await other.says("what_time")
        await other.hears("its_noon", within=8, complete=None)


# -- the vendor refuses


async def is_told(world: PhoneWorld, check: Checks, plan: HandshakePlan, shows: str) -> None:
    """No session can be had; the person is told why, and the next one is served. `shows`: code or status to be told."""
    for connection in range(1, 40):
        world.openai.plan(plan, connection=connection)
    text, values = await _tried(world, check)
    refused = world.wire.first("error", source="openai", channel="openai.realtime")
    if refused is not None:
        code, message = refused.get("error.code"), refused.get("error.message")
        known = world.profile.talk.relay is not None and world.profile.talk.relay.error is not None
        found = values if known and values else {"code": text, "message": text}
        seen = f"the vendor says {code}: {message!r}, the person is shown {found}"
        told = str(code) in str(found.get("code")) and str(message) in str(found.get("message"))
        check("TALK-RE-020", told, seen, at=refused)
    elif shows:
        check("TALK-RE-020", any(part in text for part in shows.split("|")), f"no {shows} in {text[:300]!r}")
    if "hint" in values:
        check("TALK-RE-021", values["hint"], f"no hint in {text[:300]}")
    upgrades = world.wire.all("upgrade", channel="openai.realtime")
    if upgrades and (plan.refuse_http is None or plan.refuse_http[0] < 429):
        seen = f"{len(upgrades)} attempts for a refusal that a retry cannot cure"
        check("OAI-HS-005", len(upgrades) <= 5, seen, at=upgrades[-1])
    for connection in range(1, 40):
        world.openai.plan(HandshakePlan(), connection=connection)
    await world.everybody_leaves()
    await world.settled()
    with check.expects("TALK-RE-022"):
        again = await world.web.talks("relay")
    await asks(again, check, "TALK-RE-022", "what_time", "its_noon")


async def _tried(world: PhoneWorld, check: Checks) -> tuple[str, Mapping[str, Any]]:
    """Somebody tries to talk and cannot: all that they are told, and what the profile finds in it."""
    try:
        browser = await world.web.talks("relay", ready=False)
    except Refused as refused:
        check("TALK-RE-019", True)
        errors = world.profile.talk.errors
        paths = {"code": errors.code, "message": errors.message, "hint": errors.hint}
        return refused.answer.text, {name: find(refused.answer.json, path) for name, path in paths.items() if path}
    since = world.clock.now()
    table = world.profile.talk.relay
    with check.expects("TALK-RE-019"):
        if table is not None and table.error is not None:
            await browser.is_told("error", within=30)
        await browser.ended(within=max(0.0, since + 30 - world.clock.now()))
    told = next((told for told in browser.told if told.kind == "error"), None)
    frames = world.wire.all(("error", "ended"), source="gateway", channel=CHANNEL, connection=browser.connection)
    text = "\n".join([*(frame.text for frame in frames), browser.ended_by])
    return text, told.values if told is not None else {}


@case(about="TALK-RE-019", claims=["talk.relay"])
async def test_the_relay_is_refused_its_model(world: PhoneWorld, check: Checks) -> None:
    """The upgrade is accepted; then an error event and a close say that the model does not exist."""
    await is_told(world, check, HandshakePlan(refuse_in_band="model_not_found"), "model_not_found")


@case(about="TALK-RE-019", claims=["talk.relay"])
async def test_the_relay_is_refused_for_want_of_credit(world: PhoneWorld, check: Checks) -> None:
    """An error event, and a close with 4000."""
    await is_told(world, check, HandshakePlan(refuse_in_band="insufficient_quota"), "credit_balance_exhausted")


@case(about="TALK-RE-019", claims=["talk.relay"])
async def test_the_relay_is_refused_its_project(world: PhoneWorld, check: Checks) -> None:
    """An error event, and a close with 3000."""
    await is_told(world, check, HandshakePlan(refuse_in_band="mismatched_project"), "mismatched_project")


@case(about="TALK-RE-019", claims=["talk.relay"])
async def test_the_key_of_the_relay_is_refused(world: PhoneWorld, check: Checks) -> None:
    """HTTP 401 on the upgrade."""
    await is_told(world, check, HandshakePlan(refuse_http=(401, "invalid_api_key")), "401|invalid_api_key")


@case(about="TALK-RE-019", claims=["talk.relay"])
async def test_too_many_requests_for_the_relay(world: PhoneWorld, check: Checks) -> None:
    """HTTP 429 on the upgrade."""
    await is_told(world, check, HandshakePlan(refuse_http=(429, "rate_limit_exceeded")), "429|rate_limit_exceeded")


@case(about="TALK-RE-019", claims=["talk.relay"])
async def test_the_vendor_of_the_relay_is_down(world: PhoneWorld, check: Checks) -> None:
    """HTTP 500 on the upgrade."""
    await is_told(world, check, HandshakePlan(refuse_http=(500, "server_error")), "500|server_error")


@case(about="TALK-RE-019", claims=["talk.relay"])
async def test_the_session_update_of_the_relay_is_refused(world: PhoneWorld, check: Checks) -> None:
    """The vendor refuses every session.update; the person must not be let talk to a session that is not configured."""
    await is_told(world, check, HandshakePlan(refuse_updates="server_error"), "")


@case(about="TALK-RE-019", claims=["talk.relay"])
async def test_the_model_of_the_relay_never_answers(world: PhoneWorld, check: Checks) -> None:
    """The upgrade request is never answered."""
    await is_told(world, check, HandshakePlan(delay_ms=600_000), "")
