"""The transcription of what callers say: late, failed, in any form; it must not matter to a call."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from harness.suite import Checks, case

TRANSCRIPTION = "conversation.item.input_audio_transcription"
QUICK = {"openai/session1/response*/delay": 300}


@case(
    about="OAI-TR-001",
    claims=["phone.inbound"],
    fixed={**QUICK, "openai/session1/turn*/transcription/delay": 4000},
)
async def test_a_transcription_that_takes_long(world: PhoneWorld, check: Checks) -> None:
    """The question is transcribed four seconds after it was asked; the answer is heard long before."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("what_time")
    with check.expects("OAI-TR-001"):
        await caller.starts_hearing("its_noon", within=3)
        await caller.hears("its_noon", within=8)
    await world.passes(4)


@case(
    about="OAI-TR-005",
    claims=["phone.inbound"],
    fixed={**QUICK, "openai/session1/turn*/transcription/delay": 1500},
)
async def test_a_transcript_in_the_middle_of_the_answer(world: PhoneWorld, check: Checks) -> None:
    """The transcript of the question arrives while the long answer to it is being heard."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("long_story")
    with check.expects("OAI-TR-005"):
        await caller.starts_hearing("long_answer", within=5)
        await caller.hears("long_answer", within=20)


@case(about="OAI-TR-002", claims=["phone.inbound"])
async def test_a_transcription_that_fails(world: PhoneWorld, check: Checks) -> None:
    """The transcription of a turn fails; the next question is answered."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("what_time")
    turn = await world.sees("input_audio_buffer.committed", source="openai", within=5)
    error = {"type": "server_error", "code": None, "message": "Input transcription failed.", "param": None}
    session.emit(f"{TRANSCRIPTION}.failed", {"item_id": turn.get("item_id"), "content_index": 0, "error": error})
    with check.expects("OAI-TR-002"):
        await caller.hears("its_noon", within=8)
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)


@case(about="OAI-TR-006", claims=["phone.inbound"])
async def test_both_forms_of_usage(world: PhoneWorld, check: Checks) -> None:
    """One transcription is billed by the second, one by the token; the next question is answered."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    tokens = {"type": "tokens", "total_tokens": 22, "input_tokens": 13, "output_tokens": 9}
    for number, usage in enumerate(({"type": "duration", "seconds": 2}, tokens)):
        place = {"item_id": f"item_usage{number}", "content_index": 0}
        session.emit(f"{TRANSCRIPTION}.completed", {**place, "transcript": "", "usage": usage})
    await world.passes(0.5)
    with check.expects("OAI-TR-006"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=8)
