"""What can be read off a wire about audio and turns: delays, durations, and how many responses there were."""

from __future__ import annotations

import base64
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from conformance.evidence import AUDIO_DELTAS
from harness.wire import Message

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld
    from fakes.openai.session import RealtimeSession


def responses_before_speech(world: PhoneWorld) -> tuple[bool, str]:
    """Whether exactly one response was made before anybody on the phone spoke, and what was seen."""
    spoke = world.wire.first("speech.start", channel="phone")
    made = world.wire.all("response.created", source="openai", before=spoke)
    return len(made) == 1, f"{len(made)} responses before the caller spoke"


def answers_within(world: PhoneWorld, turns: int) -> tuple[bool, str]:
    """Whether the caller's `turns` got one response each after the greeting, not counting cancelled ones and tools."""
    done = [
        m
        for m in world.wire.all("response.done", source="openai", after=world.wire.first("speech.start"))
        if m.get("response.status") != "cancelled" and not _is_tool_call(m)
    ]
    refused = [
        m
        for m in world.wire.all("error", source="openai")
        if m.get("error.code") == "conversation_already_has_active_response"
    ]
    return len(done) == turns and not refused, f"{len(done)} responses and {len(refused)} refused for {turns} turns"


def _is_tool_call(done: Message) -> bool:
    return any(item.get("type") == "function_call" for item in done.get("response.output", []))


def latencies(world: PhoneWorld) -> tuple[float, float]:
    """What the gateway adds, in seconds, at the 95th percentile: from media to its append, from delta to its media.

    For the only call of a world, and the time after its session has got going.
    """
    wire = world.wire
    up: list[float] = []
    if world.openai.sessions:
        frame = 20 * world.openai.sessions[0].settings.input_format.bytes_per_ms
        up = _delays(wire.all("media", source="twilio"), wire.all("input_audio_buffer.append", source="gateway"), frame)
    first_deltas: list[Message] = []
    seen: set[str] = set()
    for delta in wire.all(AUDIO_DELTAS, source="openai"):
        response = str(delta.get("response_id"))
        if response not in seen:
            seen.add(response)
            first_deltas.append(delta)
    media = wire.all("media", source="gateway")
    down = []
    for delta in first_deltas:
        following = next((m for m in media if m.seq > delta.seq), None)
        if following is not None:
            down.append(following.at - delta.at)
    return _p95(up), _p95(down)


def _delays(media: list[Message], appends: list[Message], frame: int) -> list[float]:
    """How long each media message took to come out as part of an append; `frame`: bytes of 20 ms as appended.

    Which media an append holds follows from the bytes alone, up to a shift that is not known, since a gateway may drop
    what came before its session: it is taken as large as can be without an append that comes before its media. Audio
    from before the session and half a second after is left out, for it had to wait. A gateway that leaves out silence
    cannot be measured this way.
    """
    if not appends:
        return [float("inf")]
    ends = list(accumulate(len(base64.b64decode(append.get("audio") or "")) / frame for append in appends))
    arrivals = [message.at for message in media]
    here = [bisect_right(arrivals, append.at) for append in appends]
    if ends[-1] < 0.9 * (here[-1] - here[0]):
        return []
    shift = min(arrived - round(end) for arrived, end in zip(here, ends, strict=True))
    delays = []
    begin = 0.0
    for append, end in zip(appends, ends, strict=True):
        for index in range(max(0, round(begin) + shift), round(end) + shift):
            if arrivals[index] > appends[0].at + 0.5:
                delays.append(append.at - arrivals[index])
        begin = end
    return delays


def _p95(values: list[float]) -> float:
    ordered = sorted(values) or [0.0]
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


def spoken_and_appended(world: PhoneWorld, session: RealtimeSession, phrase: str) -> tuple[bool, str]:
    """Whether as much audio was appended while a phrase was said as it has.

    To be asked half a second after the phrase. Within 5 percent and 100 ms, and the length of one append: audio comes
    in pieces, and one of them may lie across the beginning or the end.
    """
    start = world.wire.last("speech.start", channel="phone", where=lambda m: m.body == phrase)
    end = world.wire.last("speech.end", channel="phone", where=lambda m: m.body == phrase)
    if start is None or end is None:
        return False, f"{phrase} was not said"
    as_much, spoken, appended = appended_as_said(world, session, start, end)
    return as_much, f"{spoken:.2f} s on the phone, {appended:.2f} s appended"


def appended_as_said(
    world: PhoneWorld, session: RealtimeSession, start: Message, end: Message
) -> tuple[bool, float, float]:
    """Whether as much was appended between the beginning and the end of a phrase as was said; seconds of both.

    Not what the clock says: who says it may pause, in real time.
    """
    rate = session.settings.input_format.bytes_per_ms * 1000
    appends = appends_of(world, session, start, end)
    pieces = [len(base64.b64decode(append.get("audio") or "")) / rate for append in appends]
    spoken, appended = end.meta.get("said_ms", 0) / 1000, sum(pieces)
    allowed = max(0.1, 0.05 * spoken) + max(pieces, default=0.0)
    return abs(spoken - appended) < allowed, spoken, appended


def appends_of(world: PhoneWorld, session: RealtimeSession, after: Message, before: Message) -> list[Message]:
    """What was appended to the input of a session between two messages."""
    kind = "input_audio_buffer.append"
    return world.wire.all(kind, source="gateway", connection=session.connection, after=after, before=before)
