"""Faults in function calls: how functions are declared, and calls that come in an unusual way."""

from __future__ import annotations

import json
from typing import Any

from broken import bridge, gateway
from reference_impl.bridge import Bridge, Frame
from reference_impl.dialects import Dialect, Ga
from reference_impl.gateway import Gateway


class _Twice(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        return super().session([*tools, *tools])


class DeclaresTwice(Gateway):
    """Every function is declared twice.

    Tools of the gateway and tools of the agent, joined without a look at their names. Which one is meant is luck.
    """

    def dialect_for(self) -> Dialect:
        return _Twice(self.config)


class _Flat(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        flat = [{**tool, "parameters": dict.fromkeys(tool["parameters"]["properties"], "string")} for tool in tools]
        return super().session(flat)


class FlatParameters(Gateway):
    """The parameters of a function are a list of names and types instead of a JSON Schema.

    It reads well, and nothing refuses it before the model has to guess. It guesses wrong arguments.
    """

    def dialect_for(self) -> Dialect:
        return _Flat(self.config)


class AsksForEachOutput(Bridge):
    """A response is asked for after every output of a function, also when there are two of one response.

    Seen in openai-agents-python#1168. The requests race each other, and the caller hears the answer twice or not.
    """

    _outputs = 0

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        self._outputs += 1
        await super().run_tool(call_id, name, arguments)

    async def on_response_done(self, event: Frame) -> None:
        await super().on_response_done(event)
        more, self._outputs = self._outputs - 1, 0
        for _ in range(more):
            await self.to_openai('{"type":"response.create"}')


class FlushesOnCall(Bridge):
    """A function call throws away the audio that is still to be played.

    The handler of interruptions, called for everything that ends an answer. "Please hold the line" is cut off.
    """

    async def on_item_done(self, event: Frame) -> None:
        if event["item"]["type"] == "function_call" and not self.playback.idle:
            await self.clear_playback()
        await super().on_item_done(event)


class RunsCutCalls(Bridge):
    """A function call is carried out whatever its status is.

    The field is rarely looked at. A table is booked that the caller was just taking back.
    """

    async def on_item_done(self, event: Frame) -> None:
        await super().on_item_done({**event, "item": {**event["item"], "status": "completed"}})


class EmptyIsBroken(Bridge):
    """Empty arguments are told to the model as broken JSON.

    `json.loads("")` raises. The model tries to end the call again and again, or gives up, and the line stays open.
    """

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        await super().run_tool(call_id, name, arguments or "{")


class TripsOverLists(Bridge):
    """Arguments that are JSON and no object raise where nobody expects it.

    `arguments.get(...)` behind a parser that did not complain. The call ends.
    """

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        try:
            parsed = json.loads(arguments)
        except ValueError:
            parsed = {}
        if not isinstance(parsed, dict):
            raise RuntimeError("the arguments are no object")
        await super().run_tool(call_id, name, arguments)


class OneRound(Bridge):
    """Function calls in the response that follows a function's output are not looked at.

    Made for "ask, answer, speak". When the model needs a second function, the caller waits for ever.
    """

    _follows = False
    _deaf = False

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        self._follows = True
        await super().run_tool(call_id, name, arguments)

    async def on_response_created(self, event: Frame) -> None:
        self._deaf, self._follows = self._follows, False
        await super().on_response_created(event)

    async def on_item_done(self, event: Frame) -> None:
        if not self._deaf:
            await super().on_item_done(event)


class EmptyOutputs(Bridge):
    """The output of every function is empty.

    What `json.dumps` of nothing becomes in many a binding. The model makes up the weather.
    """

    async def create_item(self, item: dict[str, Any]) -> None:
        await super().create_item({**item, "output": ""} if "output" in item else item)


declares_twice = gateway(DeclaresTwice)
flat_parameters = gateway(FlatParameters)
asks_for_each_output = bridge(AsksForEachOutput)
flushes_on_call = bridge(FlushesOnCall)
runs_cut_calls = bridge(RunsCutCalls)
empty_is_broken = bridge(EmptyIsBroken)
trips_over_lists = bridge(TripsOverLists)
one_round = bridge(OneRound)
empty_outputs = bridge(EmptyOutputs)
