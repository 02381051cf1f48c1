"""Function calls that come in an unusual way: two at once, after speech, cut off, in a row, or with odd arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from conformance.assembly import PhoneWorld
from conformance.steering import Change, ScriptedResponse, steer
from fakes.openai.brain import Call, Output, Say
from fakes.openai.errors import VendorError
from harness.suite import Checks, case
from harness.wire import Message

FILLER = "x" * 4000
"""Enough arguments for five seconds of writing."""


def with_arguments(raw: str) -> Change:
    """The usual function call, with these arguments."""
    return lambda usual: [replace(output, raw=raw) if isinstance(output, Call) else output for output in usual]


def is_output(message: Message) -> bool:
    """Whether this is the output of a function call."""
    return str(message.get("item.type")) == "function_call_output"


def outputs(world: PhoneWorld, after: Message) -> list[Message]:
    """The outputs of function calls after a message."""
    return world.wire.all("conversation.item.create", source="gateway", where=is_output, after=after)


async def refused(world: PhoneWorld, code: str) -> None:
    """Wait for the error with which a `response.create` is refused."""
    await world.sees("error", source="openai", where=lambda m: m.get("error.code") == code, within=12)


@case(about="OAI-FC-003", claims=["phone.inbound", "tools"])
async def test_two_function_calls_in_one_response(world: PhoneWorld, check: Checks) -> None:
    """The model calls a function twice in one response; both are answered, then one response is asked for."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    brain.changes.append(lambda usual: [*usual, *usual])
    await caller.says("weather")
    called = await world.sees("response.function_call_arguments.done", source="openai", within=8)
    with check.expects("OAI-FC-003"):
        await caller.hears("weather_sunny", within=15)
    await world.passes(3)
    given = outputs(world, called)
    asked = world.wire.all("response.create", source="gateway", after=called)
    seen = f"{len(asked)} responses asked for after {len(given)} outputs"
    once = len(asked) == 1 and len(given) == 2 and asked[0].seq > given[-1].seq
    check("OAI-FC-003", once, seen, at=asked[-1] if asked else called)


@case(about="OAI-FC-004", claims=["phone.inbound", "tools"])
async def test_a_sentence_and_a_function_call_in_one_response(world: PhoneWorld, check: Checks) -> None:
    """The model asks for a moment's patience and calls a function, in one response."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    brain.changes.append(lambda usual: [Say("hold_please"), *usual])
    await caller.says("weather")
    with check.expects("OAI-FC-004"):
        await caller.hears("hold_please", within=10)
        await caller.hears("weather_sunny", within=12)


@case(about="OAI-FC-005", claims=["phone.inbound", "phone.barge_in", "tools"])
async def test_a_function_call_that_is_cut_off(world: PhoneWorld, check: Checks) -> None:
    """The caller speaks on while the model is still writing the arguments."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    brain.changes.append(with_arguments(f'{{"city": "Berlin", "note": "{FILLER}"}}'))
    await caller.says("weather")
    writing = await world.sees("response.function_call_arguments.delta", source="openai", within=8)
    caller.start_saying("what_time")
    with check.expects("OAI-FC-005"):
        await caller.hears("its_noon", within=12)
    done = world.wire.first("response.output_item.done", source="openai", after=writing)
    if done is None or done.get("item.status") != "incomplete":
        check.harness_error("the function call was not cut off", at=done)
    check.none("OAI-FC-005", outputs(world, writing), "a function call that was cut off is carried out")


@case(about="OAI-FC-006", claims=["phone.inbound", "tools.end_call"])
async def test_the_model_ends_the_call_without_arguments(world: PhoneWorld, check: Checks) -> None:
    """The model calls the function that ends the call with an empty string for arguments."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    brain.changes.append(with_arguments(""))
    await caller.says("goodbye")
    called = await world.sees("response.function_call_arguments.done", source="openai", within=8)
    if requires(session.wire.get("tools"), world.profile.claims.end_call_tool or ""):
        return  # then nothing is not enough, and the gateway is right to say so
    with check.expects("OAI-FC-006"):
        await caller.ended(within=15)
    check("OAI-FC-006", outputs(world, called), "the function call was not answered", at=called)


def requires(tools: object, name: str) -> bool:
    """Whether the function of that name, among those of a session, requires an argument."""
    for tool in tools if isinstance(tools, list) else []:
        if tool.get("name") == name:
            parameters = tool.get("parameters")
            return isinstance(parameters, Mapping) and bool(parameters.get("required"))
    return False


@case(about="OAI-FC-007", claims=["phone.inbound", "tools"])
async def test_arguments_that_are_no_object(world: PhoneWorld, check: Checks) -> None:
    """The model writes a list, then null, where an object is wanted."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    for raw in ("[1, 2]", "null"):
        brain.changes.append(with_arguments(raw))
        since = world.wire[len(world.wire) - 1]
        await caller.says("weather")
        called = await world.sees("response.function_call_arguments.done", source="openai", after=since, within=8)
        with check.expects("OAI-FC-007"):
            await world.sees("conversation.item.create", source="gateway", where=is_output, after=called, within=10)
        await world.passes(6)
    with check.expects("OAI-FC-007"):
        await caller.says("what_time")
        await caller.hears("its_noon", within=10)


@case(about="OAI-FC-008", claims=["phone.inbound", "tools"])
async def test_one_function_call_after_another(world: PhoneWorld, check: Checks) -> None:
    """With the first output in hand the model calls a function again; only then does it speak."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    first: list[Call] = []

    def remembered(usual: Sequence[Output]) -> Sequence[Output]:
        first.extend(output for output in usual if isinstance(output, Call))
        return usual

    brain.changes += [remembered, lambda usual: first]
    await caller.says("weather")
    called = await world.sees("response.function_call_arguments.done", source="openai", within=8)
    with check.expects("OAI-FC-008"):
        await caller.hears("weather_sunny", within=15)
    given = outputs(world, called)
    check("OAI-FC-008", len(given) == 2, f"{len(given)} outputs for two function calls", at=called)


@case(about="OAI-FC-009", claims=["phone.inbound", "tools"])
async def test_the_response_after_a_tool_fails(world: PhoneWorld, check: Checks) -> None:
    """The tool has done its work; the response that was to tell of it fails."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("weather")
    await world.sees("response.function_call_arguments.delta", source="openai", within=8)
    session.fail_response("server_error")
    failed = lambda m: m.get("response.status") == "failed"  # noqa: E731
    await world.sees("response.done", source="openai", where=failed, within=10)
    with check.expects("OAI-FC-009"):
        await world.ended_or_hears(caller, None, within=15)


@case(about="OAI-TU-015", claims=["phone.inbound", "tools"])
async def test_a_response_that_lost_the_race_is_made_up_for(world: PhoneWorld, check: Checks) -> None:
    """The response that is to use a tool's output is refused, for another one has begun in that moment."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    other = ScriptedResponse(world, await world.session(1), "other")
    brain.refusal, brain.before = VendorError("active_response", response=other.id), other.begin
    await caller.says("weather")
    await refused(world, "conversation_already_has_active_response")
    await world.passes(0.4)
    other.end("completed")
    with check.expects("OAI-TU-015"):
        await caller.hears("weather_sunny", within=10)


@case(about="OAI-ER-004", claims=["phone.inbound", "tools"])
async def test_a_response_that_is_refused_is_over(world: PhoneWorld, check: Checks) -> None:
    """The response after a tool's output is refused with a server error; the tool of the next turn works."""
    brain = steer(world)
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    brain.refusal = VendorError("server_error")
    await caller.says("weather")
    await refused(world, "server_error")
    await world.passes(4)
    since = len(caller.heard)
    with check.expects("OAI-ER-004"):
        await caller.says("weather")
        await caller.hears("weather_sunny", within=12)
    again = [h.phrase for h in caller.heard[since:]]
    check("OAI-ER-004", "weather_sunny" in again, f"after the second question the caller heard {again}")
