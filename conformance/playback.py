"""What the caller was played of each item: deltas of the model matched with what the person heard, on one clock."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from conformance.invariants import AUDIO_DELTAS
from fakes.audio import PHRASES, Listener
from harness.wire import Message

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld

TRANSCRIPT_DELTAS = ("response.output_audio_transcript.delta", "response.audio_transcript.delta")


def truncations(world: PhoneWorld) -> list[Message]:
    """Every `conversation.item.truncate` of the gateway."""
    return world.wire.all("conversation.item.truncate", source="gateway")


def phrase_of_item(world: PhoneWorld, item: str) -> str | None:
    """Which phrase an assistant item says, by what has been sent of its transcript."""
    deltas = world.wire.all(TRANSCRIPT_DELTAS, source="openai", where=lambda m: m.get("item_id") == item)
    said = "".join(str(delta.get("delta")) for delta in deltas).strip()
    return next((name for name, phrase in PHRASES.items() if said and phrase.text.startswith(said)), None)


def played_ms(world: PhoneWorld, truncate: Message) -> float | None:
    """How much of the item the person had heard, in ms, when the fake received `truncate`; None for an unknown item.

    An item is the n-th response with its phrase; the person's n-th hearing of that phrase is what was played of it.
    """
    item = str(truncate.get("item_id"))
    phrase = phrase_of_item(world, item)
    if phrase is None:
        return None
    order = [
        i
        for i in dict.fromkeys(str(m.get("item_id")) for m in world.wire.all(AUDIO_DELTAS, source="openai"))
        if phrase_of_item(world, i) == phrase
    ]
    if item not in order:
        return 0.0
    hearings = world.wire.all("heard.end", channel="phone", where=lambda m: m.body == phrase)
    index = order.index(item)
    if index >= len(hearings):
        return 0.0
    heard = hearings[index].meta
    until = min(truncate.at * 1000, float(heard["end_ms"]))
    return max(0.0, until - float(heard["start_ms"]))


def truncated_too_far(
    world: PhoneWorld, tolerance_ms: float, *, only: Sequence[Message] | None = None
) -> tuple[list[Message], str]:
    """The truncations that name more audio than was played (or an item that there is not), and what the first says.

    `only`: look at these truncations instead of all.
    """
    offending: list[Message] = []
    words = ""
    for truncate in truncations(world) if only is None else only:
        played, said = played_ms(world, truncate), truncate.get("audio_end_ms", 0)
        if played is None or said > played + tolerance_ms:
            offending.append(truncate)
            words = words or f"truncated at {said} ms of an item of which {played or 0:.0f} ms were played"
    return offending, words


def heard_of_item(world: PhoneWorld, phrase: str, *, after: Message) -> float:
    """Seconds of `phrase` that are recognised in what the gateway sent to Twilio after `after`."""
    listener = Listener("pcmu", 8000)
    for media in world.wire.all("media", source="gateway", connection=after.connection, after=after):
        listener.feed(base64.b64decode(media.get("media.payload")))
    listener.flush()
    return sum(heard.heard_ms for heard in listener.heard if heard.phrase == phrase) / 1000
