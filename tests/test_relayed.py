"""`conformance.relayed`: what is read off a wire about a relay, on wires made by hand."""

from __future__ import annotations

import base64
import datetime as dt
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance import invariants, relayed
from conformance.assembly import PhoneWorld, registry
from conformance.invariants import Evidence
from fakes import audio
from fakes.audio import Heard
from fakes.openai.session import RealtimeSession
from fakes.people.browser import Browser
from harness.suite import Checks, Column
from harness.talk import Meaning, RelayTable
from harness.wire import Message, Wire

RELAY = "browser/relay#1"
TABLE = RelayTable(
    url="url",
    audio={"type": "audio", "audio": "{audio}"},
    heard=Meaning(where={"type": "audio"}, audio="audio", item="item"),
)


class Hand:
    """A wire made by hand, of one relay and one session at 48 bytes a ms. `at`: the time of what comes next."""

    def __init__(self) -> None:
        self.at = 0.0
        self.wire = Wire(lambda: self.at)
        self.world = cast(
            PhoneWorld,
            SimpleNamespace(wire=self.wire, profile=SimpleNamespace(name="hand", talk=SimpleNamespace(relay=TABLE))),
        )
        heard: list[Heard] = []
        self.browser = cast(Browser, SimpleNamespace(connection=RELAY, name="browser1", rate=24000, heard=heard))
        pcm = SimpleNamespace(bytes_per_ms=48)
        settings = SimpleNamespace(input_format=pcm, output_format=pcm)
        self.session = cast(RealtimeSession, SimpleNamespace(connection="openai#1", settings=settings))

    def put(self, at: float, source: str, target: str, channel: str, kind: str, body: Any, connection: str) -> Message:
        self.at = at
        text = json.dumps(body) if isinstance(body, dict) else body
        return self.wire[self.wire.record(source, target, channel, kind, text, connection=connection)]

    def event(
        self, at: float, kind: str, *, source: str = "openai", connection: str = "openai#1", **body: Any
    ) -> Message:
        target = "gateway" if source == "openai" else "openai"
        return self.put(at, source, target, "openai.realtime", kind, {"type": kind, **body}, connection)

    def delta(self, at: float, ms: int, response: str = "r1") -> Message:
        return self.event(at, "response.output_audio.delta", response_id=response, delta=pcm(ms))

    def append(self, at: float, ms: int) -> Message:
        return self.event(at, "input_audio_buffer.append", source="gateway", audio=pcm(ms))

    def frame(self, at: float, data: str) -> Message:
        return self.put(at, "gateway", "browser", "talk.relay", "audio", {"type": "audio", "audio": data}, RELAY)

    def says(self, at: float, kind: str, phrase: str) -> Message:
        return self.put(at, "browser", "gateway", "talk", kind, phrase, "browser1")


def pcm(ms: int) -> str:
    """Silence as it crosses the wire."""
    return base64.b64encode(bytes(48 * ms)).decode()


def test_what_the_model_said_and_what_the_browser_was_sent() -> None:
    hand = Hand()
    for at in (1.0, 2.0, 3.0):
        hand.delta(at, 200)
        if at < 3:
            hand.frame(at + 0.1, pcm(200))
    hand.frame(4.0, "no base64")
    assert relayed.lost_of_responses(hand.world, hand.browser, hand.session) == pytest.approx((0.6, 0.4))


def test_the_first_words_of_every_response_are_looked_at() -> None:
    hand = Hand()
    hand.delta(1.0, 200)
    hand.frame(1.1, pcm(200))
    hand.delta(1.2, 200)
    hand.frame(2.0, pcm(200))
    hand.delta(3.0, 200, "r2")
    late = hand.frame(3.4, pcm(200))
    hand.delta(5.0, 200, "r3")
    held, message = relayed.held_back(hand.world, hand.browser, hand.session)
    assert held == pytest.approx(0.4)
    assert message is late


def test_the_longest_gap() -> None:
    hand = Hand()
    appends = [hand.append(at, 40) for at in (1.0, 1.04, 1.5, 1.54)]
    assert relayed.longest_gap(appends) == (pytest.approx(0.46), appends[2])
    assert relayed.longest_gap(appends[:1]) == (0.0, None)


@pytest.mark.parametrize(("pieces", "good"), [(50, True), (40, False), (60, False)])
def test_as_much_is_appended_as_is_said(pieces: int, good: bool) -> None:
    hand = Hand()
    assert relayed.said_and_appended(hand.world, hand.browser, hand.session, "yes") == (False, "yes was not said")
    hand.says(1.0, "speech.start", "yes")
    for index in range(pieces):
        hand.append(1.0 + index * 2 / pieces, 40)
    # Whoever says it is slow, as the machine is: what counts is how much there was of it.
    hand.says(3.6, "speech.end", "yes").meta["said_ms"] = 2000
    hand.append(3.7, 4000)
    assert relayed.said_and_appended(hand.world, hand.browser, hand.session, "yes")[0] is good


def test_a_phrase_is_recognised_in_what_was_sent_after_a_message() -> None:
    hand = Hand()
    sound = audio.speak("its_noon", "pcm16", 24000)
    half = len(sound) // 96 * 48
    hand.frame(1.0, base64.b64encode(sound[:half]).decode())
    cleared = hand.put(1.5, "gateway", "browser", "talk.relay", "clear", {"type": "clear"}, RELAY)
    assert relayed.phrase_sent(hand.world, hand.browser, "its_noon", after=cleared) == (0, cleared)
    late = hand.frame(2.0, base64.b64encode(sound[half:]).decode())
    seconds, first = relayed.phrase_sent(hand.world, hand.browser, "its_noon", after=cleared)
    assert seconds == pytest.approx(len(sound[half:]) / 48000, abs=0.3)
    assert first is late


@pytest.mark.parametrize(("audio_end_ms", "good"), [(900, True), (1200, True), (1400, False)])
def test_what_was_heard_limits_what_is_truncated(audio_end_ms: int, good: bool) -> None:
    hand = Hand()
    text = audio.phrase("long_answer").text
    hand.event(1.0, "response.output_audio_transcript.delta", item_id="item1", delta=text[:20])
    hand.browser.heard.append(Heard("long_answer", 1000.0, 2000.0, 1000.0, False))
    hand.event(
        2.5, "conversation.item.truncate", source="gateway", item_id="item1", content_index=0, audio_end_ms=audio_end_ms
    )
    offending, words = relayed.truncated_too_far(hand.world, hand.browser, 300)
    assert (not offending) is good
    assert good or words == "truncated at 1400 ms of an item of which 1000 ms were played"


def test_cancelled_responses_and_tools_are_no_answers() -> None:
    hand = Hand()
    for status, output in (("completed", []), ("cancelled", []), ("completed", [{"type": "function_call"}])):
        hand.event(1.0, "response.done", response={"status": status, "output": output})
    assert relayed.answers_of(hand.world, hand.session) == 1


def test_a_relay_may_have_a_session_as_a_call_may() -> None:
    hand = Hand()
    for number in (1, 2):
        hand.put(number, "browser", "gateway", "talk.relay", "upgrade", None, f"browser/relay#{number}")
        hand.event(number + 0.5, "upgrade.accepted", connection=f"openai#{number}")
    assert not verdict(hand)
    hand.event(3.0, "upgrade.accepted", connection="openai#3")
    assert verdict(hand) == ["OAI-HS-004"]


def verdict(hand: Hand) -> list[str]:
    """What `one_session_for_each_call` finds."""
    checks = Checks(registry())
    column = Column("gpt-realtime-2", "ga", dt.date(2026, 11, 20))
    evidence = Evidence(
        wire=hand.wire, column=column, planted={}, output="", configured_model="gpt-realtime-2", ended=10.0
    )
    invariants.one_session_for_each_call(evidence, checks)
    return checks.failed()
