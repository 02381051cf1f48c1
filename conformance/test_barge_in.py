"""Barge-in: the caller speaks while the assistant does."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.playback import heard_of_item, truncated_too_far, truncations
from harness.suite import Checks, case
from harness.wire import Message

TOLERANCE_MS = 300
GENERATION_TAKES = 10.0
"""Seconds after which the model has sent all of its long answer, of 12 s, and only Twilio still plays."""

GOODBYE_LEFT = 0.6
"""Seconds of the goodbye, of 1.8 s, that are surely left when the caller speaks at its beginning."""


def _first_media(world: PhoneWorld, clear: Message) -> Message:
    """The first audio after `clear`: what should not have been sent, where there is such a thing."""
    return world.wire.first("media", source="gateway", connection=clear.connection, after=clear) or clear


@case(about="TWI-ST-005", claims=["phone.inbound", "phone.barge_in"])
async def test_interruption_while_only_twilio_is_playing(world: PhoneWorld, check: Checks) -> None:
    """The model has long sent its answer; the caller interrupts in the middle of it. The assistant falls silent, the
    model is told how much was heard, and the new question is answered."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("long_story")
    asked = world.wire[len(world.wire) - 1]
    await caller.starts_hearing("long_answer", within=10)
    done = await world.sees("response.done", source="openai", after=asked, within=GENERATION_TAKES)
    await world.passes(1)
    caller.start_saying("what_time")
    started = await world.sees("input_audio_buffer.speech_started", source="openai", after=done, within=5)
    with check.expects("TWI-ST-005"):
        clear = await world.sees("clear", source="gateway", after=started, within=1)
    with check.expects("AUD-007"):
        await caller.stops_hearing(within=5)
    cut = next(h for h in caller.heard if h.phrase == "long_answer")
    late = cut.end_ms / 1000 - started.at
    check("AUD-007", late < 0.3, f"the assistant spoke on for {late * 1000:.0f} ms")
    with check.expects("AUD-008"):
        await world.model_hears(session, "what_time", within=6)
        await caller.hears("its_noon", within=10)
    told = truncations(world)
    check("OAI-TU-006", told, "the item that was cut off was not truncated", at=started)
    if truncations(world):
        check.none("OAI-TU-005", *truncated_too_far(world, TOLERANCE_MS))
    after = heard_of_item(world, "long_answer", after=clear)
    check(
        "TWI-ST-006",
        not after,
        f"{after:.2f} s of the interrupted item were sent after clear",
        at=_first_media(world, clear),
    )


@case(about="TWI-ST-004", claims=["phone.inbound", "phone.barge_in"], knobs={"openai.interruption_lag_ms": 500})
async def test_interruption_while_the_model_is_still_sending(world: PhoneWorld, check: Checks) -> None:
    """The caller interrupts at once, while audio still streams in, and it goes on coming for half a second; what comes
    late is not played."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("long_story")
    await caller.starts_hearing("long_answer", within=10)
    asked = world.wire[len(world.wire) - 1]
    caller.start_saying("what_time")
    started = await world.sees("input_audio_buffer.speech_started", source="openai", after=asked, within=5)
    with check.expects("TWI-ST-004"):
        clear = await world.sees("clear", source="gateway", after=started, within=1)
    with check.expects("AUD-008"):
        await world.model_hears(session, "what_time", within=6)
        await caller.hears("its_noon", within=10)
    after = heard_of_item(world, "long_answer", after=clear)
    check(
        "TWI-ST-006",
        after < 0.25,
        f"{after:.2f} s of the interrupted item were sent after clear",
        at=_first_media(world, clear),
    )
    if truncations(world):
        check.none("OAI-TU-005", *truncated_too_far(world, TOLERANCE_MS))


@case(about="TWI-ST-007", claims=["phone.inbound", "phone.barge_in"])
async def test_two_interruptions_in_a_row(world: PhoneWorld, check: Checks) -> None:
    """The caller interrupts, and interrupts the next answer as soon as it begins: marks that `clear` gave back count
    for nothing."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("long_story")
    asked = world.wire[len(world.wire) - 1]
    await caller.starts_hearing("long_answer", within=10)
    await world.sees("response.done", source="openai", after=asked, within=GENERATION_TAKES)
    await world.passes(1)
    caller.start_saying("long_story")
    with check.expects("TWI-ST-005"):
        await caller.hears("long_answer", within=5, complete=False)
    await caller.starts_hearing("long_answer", within=20)
    caller.start_saying("what_time")
    with check.expects("TWI-ST-007"):
        await caller.hears("its_noon", within=15)
    # Before the first clear no mark has come back early: what is wrong then has another cause.
    clear = world.wire.first(("clear",), source="gateway")
    before = [t for t in truncations(world) if clear is None or t.seq < clear.seq]
    later = [t for t in truncations(world) if clear is not None and t.seq > clear.seq]
    if before:
        check.none("OAI-TU-005", *truncated_too_far(world, TOLERANCE_MS, only=before))
    if later:
        check.none("TWI-ST-007", *truncated_too_far(world, TOLERANCE_MS, only=later))
    errors = world.wire.all(
        "error", source="openai", where=lambda m: "audio content" in str(m.get("error.message")).lower()
    )
    check.none("OAI-TU-005", errors, "a truncation beyond the audio")


@case(about="AUD-008", claims=["phone.inbound", "phone.barge_in"])
async def test_interrupting_the_greeting(world: PhoneWorld, check: Checks) -> None:
    """The caller does not wait for the greeting to end."""
    caller = await world.incoming()
    await caller.starts_hearing("greeting", within=10)
    await world.passes(0.6)
    caller.start_saying("what_time")
    with check.expects("AUD-008"):
        await caller.hears("its_noon", within=12)
    greeting = next(h for h in caller.heard if h.phrase == "greeting")
    check("TWI-ST-004", not greeting.complete, "the greeting was spoken to its end over the caller")


@case(about="TOOL-004", claims=["phone.inbound", "phone.barge_in", "tools.end_call"])
async def test_interrupting_the_goodbye(world: PhoneWorld, check: Checks) -> None:
    """The model has called the tool that ends the call and says goodbye; the caller has one more question. The marks
    that `clear` gives back do not mean that the goodbye was heard: whoever still wants to end the call ends it when the
    goodbye would have been over, and not before."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("goodbye")
    said = world.wire[len(world.wire) - 1]
    goodbye = await world.sees(("heard.start", "ended"), channel="phone", target="caller", after=said, within=12)
    if goodbye.kind == "ended":
        return  # a gateway that ends the call without a goodbye: there is nothing to interrupt
    caller.start_saying("what_time")
    with check.expects("TWI-ST-004"):
        clear = await world.sees("clear", source="gateway", after=goodbye, within=2)
    await world.passes(GOODBYE_LEFT)
    early = [m for m in world.wire.all("ended", channel="phone", after=clear) if m.at < clear.at + GOODBYE_LEFT]
    check.none("TWI-ST-007", early, "the caller is hung up on in the middle of a question, at once after clear")
    if caller.is_connected:
        await world.ended_or_hears(caller, "its_noon", within=10)
