"""MCP servers as tools of a session: their tools are listed, called and approved. No network: a table stands for them.

OpenAI docs: Realtime with tools (MCP). What is not documented about the order of the events is a knob.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fakes.knobs import Knobs
from fakes.openai.dialects import Wire
from fakes.openai.errors import VendorError
from fakes.openai.items import Conversation, Item
from fakes.ports import Ports


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of an MCP server. `input_schema`: a JSON Schema. `read_only`: it changes nothing."""

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    read_only: bool = False

    def wire(self) -> Wire:
        """The tool as `mcp_list_tools` shows it."""
        return {
            "name": self.name,
            "description": self.description,
            "input_schema": dict(self.input_schema),
            "annotations": {"readOnlyHint": self.read_only},
        }


@dataclass(frozen=True, slots=True)
class McpServer:
    """What one MCP server has and answers. `outputs`, `errors`: by the name of the tool; without either it says `{}`.

    `reachable`: when it is not, its tools cannot be listed.
    """

    tools: tuple[McpTool, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    reachable: bool = True


@dataclass(slots=True)
class _Pending:
    """A call that waits for its approval. `run` makes it; `refuse` ends it."""

    run: Callable[[], None]
    refuse: Callable[[], None]


class McpOwner(Protocol):
    """What the MCP tools need of their session."""

    ports: Ports
    knobs: Knobs
    conversation: Conversation
    name: str

    def new_id(self, prefix: str) -> str:
        """A new id."""
        ...

    def emit(self, event_type: str, fields: Mapping[str, Any]) -> None:
        """Send an event; the type is the GA name."""
        ...

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Do something after a while, unless the connection has ended by then."""
        ...

    def item_added(self, item: Item, previous: str | None) -> None:
        """Tell that an item has joined the conversation."""
        ...

    def item_done(self, item: Item, previous: str | None) -> None:
        """Tell that an item is finished."""
        ...


class McpTools:
    """The MCP servers of one session. `servers`: those that there are, by URL, or by id of a connector or tunnel."""

    def __init__(self, owner: McpOwner, servers: Mapping[str, McpServer]) -> None:
        self._owner = owner
        self._servers = servers
        self._asked: dict[str, str | None] = {}
        self._due: dict[str, float] = {}
        self._listed: dict[str, McpServer] = {}
        self._pending: dict[str, _Pending] = {}
        self._lists = 0
        self._calls = 0

    # -- listing

    def configure(self, tools: Iterable[Wire]) -> None:
        """List the tools of the servers that the session has not asked yet."""
        for tool in tools:
            if tool.get("type") == "mcp" and self._asked.get(tool["server_label"], "") != _address(tool):
                self._list(tool)

    def _list(self, tool: Wire) -> None:
        owner, label = self._owner, tool["server_label"]
        self._lists += 1
        self._asked[label] = _address(tool)
        self._listed.pop(label, None)
        point = f"{owner.name}/mcp{self._lists}/list/delay"
        delay = owner.ports.choices.delay(point, 20, 200, 5000)
        self._due[label] = owner.ports.clock.now() + delay
        listing: Wire = {"type": "mcp_list_tools", "server_label": label, "tools": []}
        item = Item(owner.new_id("mcpl"), "mcp_list_tools", raw=listing)
        item_first = bool(owner.knobs["openai.mcp_list_item_first"])
        previous = owner.conversation.insert(item, None) if item_first else None
        if item_first:
            owner.item_added(item, previous)
        owner.emit("mcp_list_tools.in_progress", {"item_id": item.id})

        def answered() -> None:
            server = self._server(tool)
            if server is None:
                owner.emit("mcp_list_tools.failed", {"item_id": item.id})
            else:
                self._listed[label] = server
                item.raw = {**listing, "tools": [found.wire() for found in server.tools if _allowed(tool, found)]}
                owner.emit("mcp_list_tools.completed", {"item_id": item.id})
            before = previous
            if not item_first:
                before = owner.conversation.insert(item, None)
                owner.item_added(item, before)
            owner.item_done(item, before)

        owner.later(delay, answered)

    def _server(self, tool: Wire) -> McpServer | None:
        server = self._servers.get(_address(tool) or "")
        return server if server is not None and server.reachable else None

    def ready_in(self, tools: Iterable[Wire]) -> float:
        """How many seconds it takes until all these servers have been asked for their tools."""
        now = self._owner.ports.clock.now()
        due = [self._due[tool["server_label"]] for tool in tools if tool.get("type") == "mcp"]
        return max([0.0, *(when - now for when in due)])

    def available(self, tools: Iterable[Wire]) -> list[Wire]:
        """The tools of these servers that have been listed, in the form of function tools with a `server_label`."""
        return [
            {
                "type": "mcp",
                "server_label": tool["server_label"],
                "name": found.name,
                "description": found.description,
                "parameters": dict(found.input_schema),
            }
            for tool in tools
            if tool.get("type") == "mcp" and tool["server_label"] in self._listed
            for found in self._listed[tool["server_label"]].tools
            if _allowed(tool, found)
        ]

    # -- calling

    def wants_approval(self, tools: Iterable[Wire], label: str, name: str) -> bool:
        """Whether a call must be approved by the client: it must, where nothing else has been said."""
        tool = next((tool for tool in tools if tool.get("server_label") == label), {})
        wanted = tool.get("require_approval") or "always"
        if isinstance(wanted, str):
            return wanted == "always"
        found = self._tool(label, name)
        if "never" in wanted and _matches(wanted["never"], found):
            return False
        return "always" not in wanted or _matches(wanted["always"], found) or "never" in wanted

    def _tool(self, label: str, name: str) -> McpTool:
        server = self._listed.get(label, McpServer())
        return next((tool for tool in server.tools if tool.name == name), McpTool(name))

    def begin(self, item: Item, output_index: int) -> float:
        """Tell that a call is being made, and say how many seconds it takes."""
        self._calls += 1
        self._owner.emit("response.mcp_call.in_progress", {"output_index": output_index, "item_id": item.id})
        return self._owner.ports.choices.delay(f"{self._owner.name}/mcp_call{self._calls}/delay", 20, 300, 8000)

    def finish(self, item: Item, output_index: int, refusal: str | None = None) -> None:
        """Tell how a call has ended, and put that into its item. `refusal`: why it was never made."""
        assert item.raw is not None
        server = self._listed.get(item.raw["server_label"])
        name = item.raw["name"]
        error: str | None = refusal
        if error is None and (server is None or name not in {tool.name for tool in server.tools}):
            error = f"Unknown tool: {name}"
        elif error is None and server is not None:
            error = server.errors.get(name)
        if error is not None:
            item.raw["error"] = {"type": "tool_execution_error", "message": error}
        elif server is not None:
            item.raw["output"] = server.outputs.get(name, "{}")
        outcome = "completed" if error is None else "failed"
        self._owner.emit(f"response.mcp_call.{outcome}", {"output_index": output_index, "item_id": item.id})

    def later(self, item: Item, output_index: int, previous: str | None, done: Callable[[], None]) -> None:
        """Make a call outside of its response; `done` is called when it has ended."""

        def ended() -> None:
            self.finish(item, output_index)
            self._done(item, previous)
            done()

        self._owner.later(self.begin(item, output_index), ended)

    def _done(self, item: Item, previous: str | None) -> None:
        if self._owner.conversation.find(item.id) is not None:
            self._owner.item_done(item, previous)

    # -- approvals

    def ask(self, call: Item, request: Item, output_index: int, previous: str | None, done: Callable[[], None]) -> None:
        """Keep a call until the client has answered the approval request."""

        def refuse() -> None:
            self.finish(call, output_index, "The call was not approved.")
            self._done(call, previous)

        self._pending[request.id] = _Pending(lambda: self.later(call, output_index, previous, done), refuse)

    def check(self, wire: Mapping[str, Any]) -> None:
        """Raise `VendorError` for an approval of something that does not wait for one."""
        if wire["approval_request_id"] not in self._pending:
            raise VendorError("approval_request_not_found", request=wire["approval_request_id"])

    def answer(self, wire: Mapping[str, Any]) -> None:
        """The client has answered an approval request: make the call, or end it."""
        pending = self._pending.pop(wire["approval_request_id"])
        if wire["approve"]:
            pending.run()
        else:
            pending.refuse()


def _address(config: Wire) -> str | None:
    return config.get("server_url") or config.get("connector_id") or config.get("tunnel_id")


def _allowed(config: Wire, tool: McpTool) -> bool:
    allowed = config.get("allowed_tools")
    if allowed is None:
        return True
    return tool.name in allowed if isinstance(allowed, list) else _matches(allowed, tool)


def _matches(wanted: Mapping[str, Any], tool: McpTool) -> bool:
    """Whether a tool is one of those that a filter names."""
    names, read_only = wanted.get("tool_names"), wanted.get("read_only")
    return (names is None or tool.name in names) and (read_only is None or tool.read_only == read_only)
