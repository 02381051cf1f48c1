"""Function tools: the model asks, the gateway answers, the conversation goes on."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.assembly import PhoneWorld
from fakes.openai.brain import Brain, Call, Output, Prompt
from fakes.people import nearly_whole
from harness.suite import Checks, case


class NextCall:
    """A brain that, when told to, answers the next thing that it hears with a function call of the case's making."""

    def __init__(self, usual: Brain) -> None:
        self._usual = usual
        self.next: Call | None = None

    def reply(self, prompt: Prompt) -> Sequence[Output]:
        """See `Brain.reply`."""
        if self.next is None or prompt.result is not None:
            return self._usual.reply(prompt)
        call, self.next = self.next, None
        return [call]


@case(about="TOOL-002", claims=["phone.inbound", "tools"])
async def test_a_tool_is_called_and_its_answer_is_spoken(world: PhoneWorld, check: Checks) -> None:
    """The caller asks for the weather; the model calls a tool, the gateway answers it, the caller hears the result."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("weather")
    asked = await world.sees("response.function_call_arguments.done", source="openai", within=8)
    is_output = lambda m: m.get("item.type") == "function_call_output"  # noqa: E731
    with check.expects("TOOL-001"):
        output = await world.sees("conversation.item.create", source="gateway", where=is_output, after=asked, within=10)
    with check.expects("TOOL-002"):
        await world.sees("response.create", source="gateway", after=output, within=5)
        await caller.hears("weather_sunny", within=12)
    await caller.says("what_time")
    with check.expects("TOOL-002"):
        await caller.hears("its_noon", within=8)


@case(about="TOOL-003", claims=["phone.inbound", "tools"])
async def test_a_tool_that_does_not_exist_and_arguments_that_are_no_json(world: PhoneWorld, check: Checks) -> None:
    """The model calls a function that nobody declared, then one with cut-off arguments; both are answered."""
    brain = NextCall(world.openai.brain)
    world.openai.brain = brain
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    for name, arguments in (("no_such_tool", "{}"), (world.profile.claims.tool or "get_weather", '{"city": "Ber')):
        brain.next = Call(name, {}, raw=arguments)
        since = world.wire[len(world.wire) - 1]
        await caller.says("weather")
        asked = await world.sees("response.function_call_arguments.done", source="openai", after=since, within=8)
        is_output = lambda m: m.get("item.type") == "function_call_output"  # noqa: E731
        with check.expects("TOOL-003"):
            await world.sees("conversation.item.create", source="gateway", where=is_output, after=asked, within=10)
        await world.passes(6)
    await caller.says("what_time")
    with check.expects("TOOL-003"):
        await caller.hears("its_noon", within=10)


@case(about="TOOL-004", claims=["phone.inbound", "tools.end_call"])
async def test_the_model_ends_the_call(world: PhoneWorld, check: Checks) -> None:
    """The caller says goodbye; the model calls the tool that ends the call; the caller hears the farewell, whole, and
    the line goes dead."""
    caller = await world.incoming()
    greeting = await caller.hears("greeting", within=12)
    await caller.says("goodbye")
    await world.sees("response.function_call_arguments.done", source="openai", within=8)
    with check.expects("TOOL-004"):
        await caller.ended(within=15)
    # A gateway that loses the end of everything loses that of the goodbye, too: AUD-004 says so, no hang-up did it.
    lossy = not greeting.complete
    cut = [h.phrase for h in caller.heard if not (nearly_whole(h) if lossy else h.complete)]
    check("TOOL-005", not cut, f"cut off by the hang-up: {cut}")
