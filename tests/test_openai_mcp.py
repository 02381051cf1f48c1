"""MCP servers as tools of a GA session: listed, called, approved; the beta knows nothing of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from openai_world import BETA_DAY, Client, Event, World, outline, types, user_text

from fakes.audio import phrase
from fakes.openai import McpServer, McpTool
from fakes.openai.brain import Output, Prompt
from fakes.openai.errors import VendorError

URL = "https://mcp.example.com/tools"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORECAST = McpTool("get_forecast", "The weather forecast for a city", SCHEMA, read_only=True)
SERVER = McpServer((FORECAST, McpTool("delete_all")), outputs={"get_forecast": '{"sky":"blue"}'})
LISTED = ["conversation.item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "conversation.item.done"]


def mcp(**fields: Any) -> Event:
    return {"type": "mcp", "server_label": "weather", "server_url": URL, **fields}


def opened(tool: Event, knobs: dict[str, Any] | None = None, server: McpServer = SERVER) -> Client:
    """A session whose MCP server has been listed."""
    world = World(knobs=knobs)
    world.service.mcp_servers[URL] = server
    client = world.open()
    configure(client, tool)
    client.wait()
    return client


def configure(client: Client, tool: Event) -> None:
    """Give a session an MCP server; what follows on that is still to come."""
    client.send("session.update", session={"type": "realtime", "tools": [tool]})


def ask(client: Client, **response: Any) -> list[Event]:
    """Ask for the weather, in writing, and let the answer come."""
    client.send("conversation.item.create", item=user_text(phrase("weather").text))
    client.events()
    client.send("response.create", **({"response": response} if response else {}))
    return client.wait()


def one(events: Sequence[Event], kind: str) -> Event:
    found = [event for event in events if event["type"] == kind]
    assert len(found) == 1, f"{len(found)} events {kind} in {types(events)}"
    return found[0]


def said(events: Sequence[Event]) -> list[str]:
    return [event["transcript"] for event in events if event["type"] == "response.output_audio_transcript.done"]


def all_valid(client: Client) -> bool:
    return all(message.invalid is None for message in client.recorder.messages)


# -- listing


def test_the_tools_of_a_server_are_listed_after_the_update() -> None:
    world = World()
    world.service.mcp_servers[URL] = SERVER
    client = world.open()
    configure(client, mcp(allowed_tools=["get_forecast"]))
    updated, *events = client.wait()
    assert updated["type"] == "session.updated"
    assert types(events) == LISTED
    item = events[-1]["item"]
    assert (item["type"], item["server_label"]) == ("mcp_list_tools", "weather")
    assert [(tool["name"], tool["input_schema"]) for tool in item["tools"]] == [("get_forecast", SCHEMA)]
    assert {event.get("item_id", item["id"]) for event in events} == {item["id"]}
    assert events[0]["item"]["tools"] == []
    client.send("session.update", session={"type": "realtime", "instructions": "Hello."})
    assert types(client.wait()) == ["session.updated"]
    assert all_valid(client)


def test_the_item_may_come_after_the_list() -> None:
    world = World(knobs={"openai.mcp_list_item_first": False})
    world.service.mcp_servers[URL] = SERVER
    client = world.open()
    configure(client, mcp())
    assert types(client.wait())[1:] == [LISTED[1], LISTED[2], LISTED[0], LISTED[3]]


@pytest.mark.parametrize("servers", [{}, {URL: McpServer((FORECAST,), reachable=False)}])
def test_a_server_that_cannot_be_reached(servers: dict[str, McpServer]) -> None:
    world = World()
    world.service.mcp_servers.update(servers)
    client = world.open()
    configure(client, mcp())
    assert types(client.wait())[1:] == [LISTED[0], LISTED[1], "mcp_list_tools.failed", LISTED[3]]
    assert said(ask(client)) == [phrase("weather_sunny").text]
    assert all_valid(client)


def test_another_server_by_the_same_label_is_listed_too() -> None:
    client = opened(mcp())
    configure(client, mcp(server_url=f"{URL}/other"))
    assert types(client.wait()) == ["session.updated", LISTED[0], LISTED[1], "mcp_list_tools.failed", LISTED[3]]
    configure(client, mcp(server_url=f"{URL}/other", require_approval="never"))
    assert types(client.wait()) == ["session.updated"]
    # The tools of the first server are gone with it.
    assert said(ask(client)) == [phrase("weather_sunny").text]


def test_a_filter_by_what_tools_do() -> None:
    world = World()
    world.service.mcp_servers[URL] = SERVER
    client = world.open()
    configure(client, mcp(allowed_tools={"read_only": True}))
    events = client.wait()
    assert [tool["name"] for tool in events[-1]["item"]["tools"]] == ["get_forecast"]


def test_a_server_wants_an_address() -> None:
    client = World().open()
    client.send("session.update", event_id="m", session={"type": "realtime", "tools": [mcp(server_url="")]})
    error = client.error()
    assert (error["code"], error["param"]) == ("missing_required_parameter", "session.tools[0].server_url")
    client.send("session.update", session={"type": "realtime", "tools": [{"type": "mcp", "server_url": URL}]})
    assert client.error()["param"] == "session.tools[0].server_label"


def test_the_beta_has_no_mcp() -> None:
    client = World(BETA_DAY).open("beta")
    client.send("session.update", session={"tools": [mcp()]})
    assert client.error()["param"] in ("session.tools[0].name", "session.tools[0].type")


# -- calls


def test_a_call_without_approval() -> None:
    client = opened(mcp(require_approval="never"))
    events = ask(client)
    assert outline(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "deltas",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    added = one(events, "response.output_item.added")["item"]
    assert (added["type"], added["arguments"], added["output"]) == ("mcp_call", "", None)
    arguments = one(events, "response.mcp_call_arguments.done")
    deltas = [event for event in events if event["type"] == "response.mcp_call_arguments.delta"]
    assert "".join(event["delta"] for event in deltas) == arguments["arguments"] == '{"city":"Berlin"}'
    assert all(event["obfuscation"] for event in deltas)
    assert {event["item_id"] for event in deltas} == {added["id"]} == {arguments["item_id"]}
    item = one(events, "response.done")["response"]["output"][0]
    assert (item["output"], item["error"], item["arguments"]) == ('{"sky":"blue"}', None, '{"city":"Berlin"}')
    assert "response_id" not in one(events, "response.mcp_call.completed")
    # The client asks for what is said about it.
    client.send("response.create")
    assert said(client.wait()) == [phrase("weather_sunny").text]
    assert all_valid(client)


def test_the_server_asks_for_the_answer_when_the_knob_says_so() -> None:
    client = opened(mcp(require_approval="never"), {"openai.mcp_follow_up": "server"})
    events = ask(client)
    assert types(events).count("response.created") == 2
    assert said(events) == [phrase("weather_sunny").text]


def test_a_call_may_be_made_after_its_response() -> None:
    client = opened(mcp(require_approval="never"), {"openai.mcp_call_runs": "after_response"})
    kinds = types(ask(client))
    assert kinds.index("response.done") < kinds.index("response.mcp_call.in_progress")
    assert kinds.index("response.mcp_call.completed") < len(kinds) - 1
    assert kinds[-1] == "conversation.item.done"
    client.send("response.create")
    assert said(client.wait()) == [phrase("weather_sunny").text]


def test_a_call_that_fails() -> None:
    broken = McpServer((FORECAST,), errors={"get_forecast": "The forecast failed."})
    client = opened(mcp(require_approval="never"), server=broken)
    events = ask(client)
    assert "response.mcp_call.completed" not in types(events)
    assert one(events, "response.mcp_call.failed")["output_index"] == 0
    item = one(events, "response.output_item.done")["item"]
    assert item["error"] == {"type": "tool_execution_error", "message": "The forecast failed."}
    client.send("response.create")
    assert said(client.wait()) == [phrase("sorry_trouble").text]
    assert all_valid(client)


def test_a_call_that_is_cut_off() -> None:
    client = opened(mcp(require_approval="never"))
    client.send("response.create", response={"tool_choice": "required"})
    while "response.mcp_call.in_progress" not in types(client.wait(0.01)):
        pass
    client.send("response.cancel")
    assert types(client.wait()) == [
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]


def test_a_server_for_one_response() -> None:
    world = World()
    world.service.mcp_servers[URL] = SERVER
    client = world.open()
    events = ask(client, tools=[mcp(require_approval="never")])
    kinds = types(events)
    assert kinds.index("mcp_list_tools.completed") < kinds.index("response.output_item.added")
    assert "response.mcp_call.completed" in kinds
    client.send("response.create")
    assert "response.output_audio.done" in types(client.wait())


class Refusing:
    """A brain that the vendor has taken away."""

    def reply(self, prompt: Prompt) -> Sequence[Output]:
        raise VendorError("server_error")


def test_a_brain_that_refuses_when_the_response_has_begun() -> None:
    world = World(brain=Refusing())
    world.service.mcp_servers[URL] = SERVER
    client = world.open()
    configure(client, mcp())
    client.wait()
    client.send("response.create")
    response = one(client.wait(), "response.done")["response"]
    assert (response["status"], response["status_details"]["error"]["code"]) == ("failed", "server_error")
    client = World(brain=Refusing()).open()
    client.send("response.create", event_id="r")
    assert (lambda error: (error["code"], error["event_id"]))(client.error()) == ("server_error", "r")


@pytest.mark.parametrize("choice", [{"server_label": "weather"}, {"server_label": "weather", "name": "delete_all"}])
def test_a_tool_of_a_server_is_chosen(choice: Event) -> None:
    client = opened(mcp(require_approval="never"))
    client.send("response.create", response={"tool_choice": {"type": "mcp", **choice}})
    item = one(client.wait(), "response.output_item.done")["item"]
    assert item["name"] == choice.get("name", "get_forecast")
    client.send("response.create", response={"tool_choice": {"type": "mcp", "server_label": "other"}})
    assert client.error()["message"] == "Tool choice 'other' not found in 'tools' parameter."


# -- approvals


def requested(client: Client) -> tuple[Event, list[Event]]:
    events = ask(client)
    (request,) = [
        event["item"]
        for event in events
        if event["type"] == "conversation.item.done" and event["item"]["type"] == "mcp_approval_request"
    ]
    return request, events


def answer(request: str, *, approve: bool) -> Event:
    return {"id": "mcpa_1", "type": "mcp_approval_response", "approval_request_id": request, "approve": approve}


@pytest.mark.parametrize(
    "wanted",
    [{}, {"require_approval": "always"}, {"require_approval": {"never": {"tool_names": ["delete_all"]}}}],
)
def test_a_call_that_is_approved(wanted: Event) -> None:
    client = opened(mcp(**wanted))
    request, events = requested(client)
    assert (request["name"], request["server_label"], request["arguments"]) == (
        "get_forecast",
        "weather",
        '{"city":"Berlin"}',
    )
    kinds = types(events)
    assert "response.mcp_call.in_progress" not in kinds
    assert kinds.index("response.mcp_call_arguments.done") < kinds.index("response.done")
    call, asked = one(events, "response.done")["response"]["output"]
    assert (call["type"], asked) == ("mcp_call", request)
    assert call["approval_request_id"] == request["id"]
    client.send("conversation.item.create", item=answer(request["id"], approve=True))
    events = client.wait()
    assert types(events) == [
        "conversation.item.added",
        "conversation.item.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "conversation.item.done",
    ]
    assert events[-1]["item"]["output"] == '{"sky":"blue"}'
    client.send("response.create", response={"tool_choice": "none"})
    assert said(client.wait()) == [phrase("weather_sunny").text]
    assert all_valid(client)


def test_a_call_that_is_not_approved() -> None:
    client = opened(mcp())
    request, _ = requested(client)
    client.send("conversation.item.create", item=answer(request["id"], approve=False))
    events = client.wait()
    assert types(events)[2:] == ["response.mcp_call.failed", "conversation.item.done"]
    assert events[-1]["item"]["error"]["message"] == "The call was not approved."
    client.send("conversation.item.create", item={**answer(request["id"], approve=True), "id": "mcpa_2"})
    error = client.error()
    assert (error["code"], error["param"]) == ("invalid_value", "item.approval_request_id")


def test_only_some_tools_need_approval() -> None:
    client = opened(mcp(require_approval={"always": {"tool_names": ["delete_all"]}}))
    assert "response.mcp_call.completed" in types(ask(client))
    client = opened(mcp(require_approval={"never": {"read_only": True}}))
    assert "response.mcp_call.completed" in types(ask(client))
