"""What the caller was played of each item: deltas of the model matched with what the person heard, on one clock."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from conformance.listening import AUDIO_DELTAS
from harness.wire import Message

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld


def truncations(world: PhoneWorld) -> list[Message]:
    """Every `conversation.item.truncate` of the gateway."""
    return world.wire.all("conversation.item.truncate", source="gateway")


def phrase_of_item(world: PhoneWorld, item: str) -> str | None:
    """Which phrase an assistant item says."""
    for session in world.openai.sessions:
        phrase = session.phrase_of(item)
        if phrase is not None:
            return phrase
    return None


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


def heard_of_item(world: PhoneWorld, phrase: str, *, after: Message) -> float:
    """Seconds of the deltas of `phrase` that the gateway sent on to Twilio after `after`."""
    wanted: set[str] = set()
    for delta in world.wire.all(AUDIO_DELTAS, source="openai"):
        if phrase_of_item(world, str(delta.get("item_id"))) == phrase:
            wanted.add(str(delta.get("delta")))
    stock = b"".join(base64.b64decode(text) for text in wanted)
    sent = 0
    for media in world.wire.all("media", source="gateway", after=after):
        payload = base64.b64decode(media.get("media.payload"))
        if payload[:160].strip(b"\xff") and payload[:160] in stock:
            sent += len(payload)
    return sent / 8000
