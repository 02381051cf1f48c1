"""Turns that do not go by the book: text, unknown items, two items, late audio, empty answers."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.invariants import AUDIO_DELTAS
from conformance.playback import heard_of_item, truncations
from conformance.steering import ScriptedResponse, late_audio, steer
from fakes.openai.brain import Say
from harness.suite import Checks, case

TURN_DETECTED = {"type": "cancelled", "reason": "turn_detected"}


@case(about="OAI-TU-011", claims=["phone.inbound"])
async def test_a_response_of_text_only(world: PhoneWorld, check: Checks) -> None:
    """The model writes an answer instead of speaking it; the next question is answered aloud."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    written = ScriptedResponse(world, await world.session(1), "written")
    written.begin()
    written.write("It is noon.")
    written.end("completed")
    await world.passes(0.5)
    with check.expects("OAI-TU-011"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)


@case(about="OAI-TU-007", claims=["phone.inbound"])
async def test_responses_that_end_with_nothing(world: PhoneWorld, check: Checks) -> None:
    """One response is cancelled before its first item, one is stopped by the content filter; the next questions are
    answered."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    for status, details in (
        ("cancelled", TURN_DETECTED),
        ("incomplete", {"type": "incomplete", "reason": "content_filter"}),
    ):
        empty = ScriptedResponse(world, session, status)
        empty.begin()
        await world.passes(0.2)
        empty.end(status, details)
        await world.passes(0.5)
        with check.expects("OAI-TU-007"):
            await caller.says("what_time")
            await caller.hears("its_noon", within=8)


@case(about="OAI-TU-012", claims=["phone.inbound", "phone.barge_in"])
async def test_late_audio_between_the_pieces_of_the_next_answer(world: PhoneWorld, check: Checks) -> None:
    """The caller interrupts; when the next answer is being heard, two more pieces of the interrupted one arrive."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("long_story")
    await caller.starts_hearing("long_answer", within=10)
    asked = world.wire[len(world.wire) - 1]
    delta = world.wire.last(AUDIO_DELTAS, source="openai")
    assert delta is not None
    caller.start_saying("what_time")
    await world.sees("clear", source="gateway", after=asked, within=3)
    await caller.starts_hearing("its_noon", within=10)
    late = world.wire[len(world.wire) - 1]
    media = world.wire.last("media", source="gateway")
    assert media is not None
    for start in (4000, 5000):
        late_audio(session, delta.json, "long_answer", start, start + 1000)
    with check.expects("OAI-TU-012"):
        await caller.hears("its_noon", within=10)
    await world.passes(2)
    sound = heard_of_item(world, "long_answer", after=max(late, media, key=lambda m: m.seq)) if media else 0.0
    check("OAI-TU-012", sound < 0.2, f"{sound:.2f} s of the interrupted answer in the next one", at=late)


@case(about="OAI-TU-013", claims=["phone.inbound"])
async def test_an_item_of_a_new_type(world: PhoneWorld, check: Checks) -> None:
    """A response brings an item of a type that nobody has heard of."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    novel = ScriptedResponse(world, await world.session(1), "novel")
    novel.begin()
    novel.raw_item({"id": novel.item_id, "type": "hologram", "status": "completed", "phase": "preamble", "shape": [1]})
    await world.passes(0.5)
    with check.expects("OAI-TU-013"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)


@case(about="OAI-TU-014", claims=["phone.inbound"])
async def test_a_response_with_two_spoken_items(world: PhoneWorld, check: Checks) -> None:
    """The model says a preamble, and then the answer, in one response."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    brain.changes.append(lambda usual: [Say("one_moment"), *usual])
    await caller.says("what_time")
    with check.expects("OAI-TU-014"):
        await caller.hears("one_moment", within=8)
        await caller.hears("its_noon", within=8)


@case(about="OAI-TU-016", claims=["phone.inbound", "phone.barge_in"])
async def test_nothing_is_truncated_that_was_heard(world: PhoneWorld, check: Checks) -> None:
    """The caller lets the assistant finish, and speaks a moment later."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await world.passes(1.5)
    await caller.says("what_time")
    with check.expects("OAI-TU-016"):
        await caller.hears("its_noon", within=8)
    check.none("OAI-TU-016", truncations(world), "an item is truncated that was heard whole")


@case(about="OAI-TU-017", claims=["phone.inbound"], knobs={"openai.audio_done_first": False})
async def test_the_transcript_ends_before_the_audio(world: PhoneWorld, check: Checks) -> None:
    """Each item's transcript is done before its audio is."""
    caller = await world.incoming()
    with check.expects("OAI-TU-017"):
        await caller.hears("greeting", within=12)
        for _ in range(2):
            await caller.says("what_time")
            await caller.hears("its_noon", within=8)


@case(about="OAI-TU-018", claims=["phone.inbound", "phone.barge_in"])
async def test_an_interruption_before_the_first_audio(world: PhoneWorld, check: Checks) -> None:
    """A response has begun and announced its item when the caller speaks; no audio of it has come."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await world.passes(1)
    silent = ScriptedResponse(world, await world.session(1), "silent")
    silent.begin()
    silent.announce()
    announced = await world.sees(
        "response.output_item.added", source="openai", where=lambda m: m.get("item.id") == silent.item_id, within=2
    )
    caller.start_saying("what_time")
    await world.sees("input_audio_buffer.speech_started", source="openai", after=announced, within=3)
    silent.end("cancelled", TURN_DETECTED)
    with check.expects("OAI-TU-018"):
        await caller.hears("its_noon", within=10)
    cut = [t for t in truncations(world) if t.get("item_id") == silent.item_id]
    check.none("OAI-TU-018", cut, "an item is truncated of which no audio has come")


@case(about="TWI-ST-003", claims=["phone.inbound"])
async def test_a_piece_of_audio_with_nothing_in_it(world: PhoneWorld, check: Checks) -> None:
    """In the middle of an answer comes a delta without a single sample."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("what_time")
    await caller.starts_hearing("its_noon", within=8)
    delta = world.wire.last(AUDIO_DELTAS, source="openai")
    assert delta is not None
    late_audio(session, delta.json, "its_noon", 0, 0)
    with check.expects("TWI-ST-003"):
        await caller.hears("its_noon", within=8)
