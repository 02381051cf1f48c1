"""A call over SIP, as a gateway takes it with the vendor's SDKs: webhook, accept, sideband, refer, hang-up."""

from __future__ import annotations

import asyncio
from typing import Any

import agents
import agents.realtime as sdk
import openai
import pytest
from agents.realtime.openai_realtime import OpenAIRealtimeSIPModel
from node_clients import run
from openai_stand import KEY, MODEL, WEATHER, stand
from sip_stand import Caller, gateway

from fakes.openai.calls import CallState

SESSION: Any = {"type": "realtime", "model": MODEL, "instructions": "Be brief.", "tools": [WEATHER]}


async def next_event(connection: Any, kind: str) -> Any:
    async for event in connection:
        assert event.type != "error", event
        if event.type == kind:
            return event
    raise AssertionError(f"the connection ended before {kind}")


async def test_a_call_is_taken_controlled_and_hung_up() -> None:
    async with stand() as s, gateway(s) as g, s.client() as client:
        caller = Caller(s.service.incoming_sip("+15550123", headers=[("X-Campaign", "spring")]))
        told = await g.told.get()
        assert told.type == "realtime.call.incoming"
        assert {header.name: header.value for header in told.data.sip_headers}["X-Campaign"] == "spring"
        await client.realtime.calls.accept(told.data.call_id, **SESSION)
        assert caller.leg.status == 200
        async with client.realtime.connect(call_id=told.data.call_id) as connection:
            await connection.response.create()
            await caller.hears(400)
            caller.says("weather")
            truncated = await next_event(connection, "conversation.item.truncated")
            assert 400 <= truncated.audio_end_ms < 3000
            called = await next_event(connection, "response.function_call_arguments.done")
            await next_event(connection, "response.done")
            item: Any = {"type": "function_call_output", "call_id": called.call_id, "output": '{"sky":"blue"}'}
            await connection.conversation.item.create(item=item)
            await connection.response.create()
            await next_event(connection, "output_audio_buffer.stopped")
            caller.leg.press("5")
            assert (await next_event(connection, "input_audio_buffer.dtmf_event_received")).event == "5"
            await client.realtime.calls.hangup(told.data.call_id)
            with pytest.raises(AssertionError, match="the connection ended"):
                await next_event(connection, "nothing")
        assert caller.phrases() == [("greeting", False), ("weather_sunny", True)]
        assert caller.leg.over
        assert (s.invalid(), s.faults("ga")) == ([], [])


async def test_a_call_is_rejected_and_another_referred() -> None:
    async with stand() as s, gateway(s) as g, s.client() as client:
        busy = s.service.incoming_sip("+15550123")
        await client.realtime.calls.reject((await g.told.get()).data.call_id, status_code=486)
        assert (busy.status, busy.over) == (486, True)
        moved = s.service.incoming_sip("+15550124")
        call_id = (await g.told.get()).data.call_id
        await client.realtime.calls.accept(call_id, **SESSION)
        await client.realtime.calls.refer(call_id, target_uri="tel:+15550100")
        assert moved.referred_to == "tel:+15550100"
        with pytest.raises(openai.NotFoundError):
            await client.realtime.calls.accept("rtc_nobody", **SESSION)


async def test_an_agent_takes_a_call() -> None:
    cities: list[str] = []

    @agents.function_tool  # type: ignore[untyped-decorator]
    def get_weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return "blue sky"

    agents.set_tracing_disabled(True)
    agent = sdk.RealtimeAgent(name="Receptionist", instructions="Be brief.", tools=[get_weather])
    settings = {"turn_detection": {"type": "server_vad", "interrupt_response": True, "create_response": True}}
    async with stand() as s, gateway(s) as g, s.client() as client:
        caller = Caller(s.service.incoming_sip("+15550123"))
        call_id = (await g.told.get()).data.call_id
        payload = await OpenAIRealtimeSIPModel.build_initial_session_payload(agent, overrides=settings)
        await client.realtime.calls.accept(call_id, **payload.model_dump(exclude_none=True))
        runner = sdk.RealtimeRunner(agent, model=OpenAIRealtimeSIPModel(), config={"model_settings": settings})
        where = {"api_key": KEY, "call_id": call_id, "url": f"{s.ws}/realtime?call_id={call_id}"}
        async with await runner.run(model_config=where) as running:
            await running.send_message("Please greet the caller.")
            await caller.hears(400)
            caller.says("weather")
            async for event in running:
                assert event.type != "error", event
                if event.type == "raw_model_event" and _raw(event) == "output_audio_buffer.stopped":
                    break
            await client.realtime.calls.hangup(call_id)
        assert cities == ["Berlin"]
        assert caller.phrases() == [("greeting", False), ("weather_sunny", True)]
        assert s.service.calls.all[0].state is CallState.ENDED
        assert (s.invalid(), s.faults("ga")) == ([], [])


def _raw(event: Any) -> str | None:
    data = getattr(event.data, "data", None)
    return data.get("type") if isinstance(data, dict) else None


async def test_an_agent_in_node_takes_a_call() -> None:
    async with stand() as s, gateway(s) as g:
        caller = Caller(s.service.incoming_sip("+15550123"))
        call_id = (await g.told.get()).data.call_id
        task = {"base": s.http, "ws": s.ws, "key": KEY, "model": MODEL, "call": call_id}
        running = asyncio.create_task(run("sip.mjs", task))
        greeted = asyncio.create_task(caller.hears(400))
        await asyncio.wait([running, greeted], return_when=asyncio.FIRST_COMPLETED)
        if greeted.done():
            caller.says("weather")
        greeted.cancel()
        told = await running
        assert 400 <= told["interruption"]["heard_ms"] < 3000
        assert told["told"]["cities"] == ["Berlin"]
        assert told["closed"]["state"] == "disconnected"
        assert caller.phrases() == [("greeting", False), ("weather_sunny", True)]
        assert (s.invalid(), s.faults("ga")) == ([], [])
