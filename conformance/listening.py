"""What can be read off a wire about audio and turns: delays, durations, and how many responses there were."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from harness.wire import Message

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld
    from fakes.openai.session import RealtimeSession

AUDIO_DELTAS = ("response.output_audio.delta", "response.audio.delta")
BYTES_PER_SECOND = {"audio/pcmu": 8000, "audio/pcma": 8000, "audio/pcm": 48000, "g711_ulaw": 8000, "g711_alaw": 8000}


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
    """What the gateway adds, in seconds, at the 95th percentile: from media to its append, from delta to its media."""
    wire = world.wire
    up = _delays(wire.all("media", source="twilio"), wire.all("input_audio_buffer.append", source="gateway"))
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


def _delays(media: list[Message], appends: list[Message]) -> list[float]:
    """For each append the age of the newest media message that it can contain, by bytes of audio."""
    if not appends:
        return [float("inf")]
    first = appends[0]
    delays = []
    position = 0
    carried = [m for m in media if m.at >= first.at - 0.5]
    offset = max(0, len([m for m in carried if m.at < first.at]) - 1)
    frames = 0.0
    for append in appends:
        size = len(base64.b64decode(append.get("audio") or ""))
        frames += size / 160
        position = offset + round(frames) - 1
        if 0 <= position < len(carried):
            delays.append(max(0.0, append.at - carried[position].at))
    return delays or [float("inf")]


def _p95(values: list[float]) -> float:
    ordered = sorted(values) or [0.0]
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


def spoken_and_appended(world: PhoneWorld, session: RealtimeSession, phrase: str) -> tuple[bool, str]:
    """Whether a phrase lasts as long for the model as it lasted on the phone (within 5 percent and 100 ms)."""
    starts = world.wire.all("speech.start", channel="phone", where=lambda m: m.body == phrase)
    ends = world.wire.all("speech.end", channel="phone", where=lambda m: m.body == phrase)
    heard = [h for h in session.heard if h.phrase == phrase]
    if not (starts and ends and heard):
        return False, f"{phrase} was not said and heard"
    spoken = ends[0].at - starts[0].at
    appended = (heard[0].end_ms - heard[0].start_ms) / 1000
    return abs(spoken - appended) < max(0.1, 0.05 * spoken), f"{spoken:.2f} s on the phone, {appended:.2f} s appended"
