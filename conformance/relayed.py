"""What can be read off a wire about a relay: the audio that crossed it, what was played, how long things took."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from conformance.evidence import AUDIO_DELTAS
from conformance.listening import appended_as_said
from conformance.playback import phrase_of_item
from fakes.audio import Listener
from fakes.people.browser import Browser
from harness.talk import BadFrame, RelayCodec
from harness.wire import Message

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld
    from fakes.openai.session import RealtimeSession

CHANNEL = "talk.relay"


def codec_of(world: PhoneWorld) -> RelayCodec:
    """How the relay of the gateway under test writes its frames. AssertionError when it has none."""
    table = world.profile.talk.relay
    assert table is not None, f"the profile of {world.profile.name} has no [talk.relay]"
    return RelayCodec(table)


def frames_to(world: PhoneWorld, browser: Browser, after: Message | None = None) -> list[tuple[Message, bytes]]:
    """The frames with audio that a browser was sent, and the audio of each."""
    codec = codec_of(world)
    sent = world.wire.all("audio", source="gateway", channel=CHANNEL, connection=browser.connection, after=after)
    found = []
    for message in sent:
        try:
            found.append((message, codec.read(message.body or "").audio))
        except BadFrame:
            continue  # it is marked as invalid on the wire, and held no audio
    return found


def phrase_sent(world: PhoneWorld, browser: Browser, phrase: str, *, after: Message) -> tuple[float, Message]:
    """Seconds of `phrase` that are recognised in what a browser was sent after `after`, and the first such frame."""
    listener = Listener("pcm16", browser.rate)
    first = after
    for message, pcm in frames_to(world, browser, after):
        first = message if first is after else first
        listener.feed(pcm)
    listener.flush()
    return sum(heard.heard_ms for heard in listener.heard if heard.phrase == phrase) / 1000, first


def lost_of_responses(world: PhoneWorld, browser: Browser, session: RealtimeSession) -> tuple[float, float]:
    """Seconds of audio that the model sent in a session, and that the browser was sent. Of both all that there was."""
    rate = session.settings.output_format.bytes_per_ms * 1000
    deltas = world.wire.all(AUDIO_DELTAS, source="openai", connection=session.connection)
    said = sum(len(base64.b64decode(delta.get("delta") or "")) for delta in deltas) / rate
    sent = sum(len(pcm) for _, pcm in frames_to(world, browser)) / 2 / browser.rate
    return said, sent


def said_and_appended(world: PhoneWorld, browser: Browser, session: RealtimeSession, phrase: str) -> tuple[bool, str]:
    """Whether as much audio was appended while a phrase was said as it has; see `listening.spoken_and_appended`."""
    said = {
        kind: world.wire.last(kind, channel="talk", connection=browser.name, where=lambda m: m.body == phrase)
        for kind in ("speech.start", "speech.end")
    }
    start, end = said["speech.start"], said["speech.end"]
    if start is None or end is None:
        return False, f"{phrase} was not said"
    as_much, spoken, appended = appended_as_said(world, session, start, end)
    return as_much, f"{spoken:.2f} s were said, {appended:.2f} s appended"


def longest_gap(messages: Sequence[Message]) -> tuple[float, Message | None]:
    """The longest time between two messages in a row, in seconds, and the later one of them."""
    gaps = [(later.at - earlier.at, later) for earlier, later in pairwise(messages)]
    return max(gaps, key=lambda gap: gap[0], default=(0.0, None))


def held_back(world: PhoneWorld, browser: Browser, session: RealtimeSession) -> tuple[float, Message | None]:
    """The longest time from the first audio of a response to the next frame to the browser, in seconds."""
    sent = [message for message, _ in frames_to(world, browser)]
    longest, late = 0.0, None
    seen: set[str] = set()
    for delta in world.wire.all(AUDIO_DELTAS, source="openai", connection=session.connection):
        response = str(delta.get("response_id"))
        if response in seen:
            continue
        seen.add(response)
        following = next((message for message in sent if message.seq > delta.seq), None)
        if following is not None and following.at - delta.at > longest:
            longest, late = following.at - delta.at, following
    return longest, late


def answers_of(world: PhoneWorld, session: RealtimeSession) -> int:
    """How many responses of a session were made, not counting those that were cancelled or called a tool."""
    done = world.wire.all("response.done", source="openai", connection=session.connection)
    return sum(
        m.get("response.status") != "cancelled"
        and not any(item.get("type") == "function_call" for item in m.get("response.output", []))
        for m in done
    )


def truncated_too_far(world: PhoneWorld, browser: Browser, tolerance_ms: float) -> tuple[list[Message], str]:
    """The truncations that name more than the person had heard of the item, and what the first of them says.

    An item is known by its phrase: the stories that ask have each phrase once.
    """
    offending: list[Message] = []
    words = ""
    for truncate in world.wire.all("conversation.item.truncate", source="gateway"):
        phrase, said = phrase_of_item(world, str(truncate.get("item_id"))), truncate.get("audio_end_ms", 0)
        hearing = next((heard for heard in browser.heard if heard.phrase == phrase), None)
        until = min(truncate.at * 1000, hearing.end_ms) - hearing.start_ms if hearing is not None else 0.0
        if said > until + tolerance_ms:
            offending.append(truncate)
            words = words or f"truncated at {said} ms of an item of which {until:.0f} ms were played"
    return offending, words
