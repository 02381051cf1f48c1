"""Faults in what is taken for granted of a dialect, a revision or a model."""

from __future__ import annotations

from typing import Any

from broken import bridge, gateway
from broken.hooks import Listening
from reference_impl.bridge import Bridge, Frame, Handlers, UpstreamRefused
from reference_impl.channel import JsonChannel
from reference_impl.dialects import Dialect, Ga
from reference_impl.gateway import Gateway


class WaitsForConversation(Bridge):
    """The bridge is ready when it has seen `conversation.created`, as logs of the beta have it.

    The event comes in some deployments and not in others. Where it does not come, callers hear the apology.
    """

    async def _await_event(self, channel: JsonChannel, kind: str) -> Frame:
        event = await super()._await_event(channel, kind)
        if kind == "session.created":
            await super()._await_event(channel, "conversation.created")
        return event


class WantsItemObject(Bridge):
    """Only what says `object: realtime.item` is taken for an item.

    A guard copied from the beta's documentation. Where items come without the field no tool is ever run.
    """

    async def on_item_done(self, event: Frame) -> None:
        if event["item"].get("object") == "realtime.item":
            await super().on_item_done(event)


class NameFromArguments(Listening):
    """The name of a called function is read from `response.function_call_arguments.done`, which has it in GA only.

    What a migration to GA leaves behind for preview models: their function calls are dropped, and the caller waits.
    """

    def more(self) -> Handlers:
        return {"response.function_call_arguments.done": self.on_arguments_done}

    async def on_arguments_done(self, event: Frame) -> None:
        await self.run_tool(event["call_id"], event["name"], event["arguments"])

    async def on_item_done(self, event: Frame) -> None:
        pass


class _Reasoning(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        return {**super().session(tools), "reasoning": {"effort": "low"}}


class ReasoningForAll(Gateway):
    """`reasoning` is sent whatever the model is.

    Right for the model that it was tried with; for one that does not reason it is an unknown parameter.
    """

    def dialect_for(self) -> Dialect:
        return _Reasoning(self.config)


class _Modelled(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        return {**super().session(tools), "model": "gpt-realtime"}


class ModelInSession(Gateway):
    """`session.update` has a `model`, and it is that of the example.

    Copied from a request for a client secret, where it belongs. The whole update is refused, and nobody is served.
    """

    def dialect_for(self) -> Dialect:
        return _Modelled(self.config)


class InsistsOnModel(Bridge):
    """The model that `session.created` names has to be spelled as it was asked for.

    A sanity check that holds until an alias is resolved to its snapshot; from that day on every call is refused.
    """

    async def _await_event(self, channel: JsonChannel, kind: str) -> Frame:
        event = await super()._await_event(channel, kind)
        if kind == "session.created" and event["session"]["model"] != self.config.openai_model:
            raise UpstreamRefused("OpenAI opened a session with another model")
        return event


class KnowsItsModels(Bridge):
    """A list of models is compiled in, and others are refused.

    Seen in openai-realtime-api-beta#89 and in the type lists of many SDKs. A model cannot be used until somebody has
    released a new version of the gateway.
    """

    async def open_session(self) -> JsonChannel:
        if self.config.openai_model not in ("gpt-realtime", "gpt-realtime-mini", "gpt-realtime-2"):
            raise UpstreamRefused(f"unsupported model {self.config.openai_model}")
        return await super().open_session()


waits_for_conversation = bridge(WaitsForConversation)
wants_item_object = bridge(WantsItemObject)
name_from_arguments = bridge(NameFromArguments)
reasoning_for_all = gateway(ReasoningForAll)
model_in_session = gateway(ModelInSession)
insists_on_model = bridge(InsistsOnModel)
knows_its_models = bridge(KnowsItsModels)
