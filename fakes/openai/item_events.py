"""The client events about items: create, delete, retrieve, truncate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fakes.knobs import Knobs
from fakes.openai.dialects import Dialect, Settings, Wire
from fakes.openai.errors import VendorError
from fakes.openai.items import Conversation, Item, item_from_wire
from fakes.openai.mcp import McpTools
from fakes.openai.prompting import call_of, listen


class ItemsOwner(Protocol):
    """What the item events need of their session."""

    knobs: Knobs
    dialect: Dialect
    conversation: Conversation
    settings: Settings
    mcp: McpTools

    def new_id(self, prefix: str) -> str:
        """A new id."""
        ...

    def emit(self, event_type: str, fields: Mapping[str, Any]) -> None:
        """Send an event; the type is the GA name."""
        ...


class ItemEvents:
    """Handles the events of one session about its items, and tells of items that others add."""

    def __init__(self, owner: ItemsOwner) -> None:
        self._owner = owner

    def added(self, item: Item, previous: str | None) -> None:
        """Tell that an item has joined the conversation."""
        if self._owner.dialect.item_done is not None and self._owner.knobs["openai.legacy_item_created"]:
            self._tell("conversation.item.created", item, {"previous_item_id": previous})
        self._tell(self._owner.dialect.item_added, item, {"previous_item_id": previous})

    def done(self, item: Item, previous: str | None) -> None:
        """Tell that an item is finished; the beta has no such event."""
        if self._owner.dialect.item_done is not None:
            self._tell(self._owner.dialect.item_done, item, {"previous_item_id": previous})

    def _tell(self, event_type: str, item: Item, fields: Wire, *, with_audio: bool = False) -> None:
        with_object = bool(self._owner.knobs["openai.item_object"])
        wire = self._owner.dialect.item(item, with_object=with_object, with_audio=with_audio)
        self._owner.emit(event_type, {**fields, "item": wire})

    def given(self, wire: Mapping[str, Any], item_id: str, param: str) -> Item:
        """An item that a client has given, its sound listened to. `param`: where it stands in the event."""
        audio_format = self._owner.settings.input_format
        item = item_from_wire(wire, item_id, audio_format.bytes_per_ms, param)
        for part in item.parts:
            if part.kind == "audio":
                part.heard = listen(part.audio, audio_format)
        return item

    def create(self, event: Wire) -> None:
        """`conversation.item.create`."""
        owner, wire = self._owner, event["item"]
        item = self.given(wire, wire.get("id") or owner.new_id("item"), "item")
        if item.type == "function_call_output" and call_of(owner.conversation, item.call_id) is None:
            raise VendorError("tool_call_not_found", call=item.call_id)
        if item.type == "mcp_approval_response":
            owner.mcp.check(wire)
        previous = owner.conversation.insert(item, event.get("previous_item_id"))
        self.added(item, previous)
        self.done(item, previous)
        if item.type == "mcp_approval_response":
            owner.mcp.answer(wire)

    def delete(self, event: Wire) -> None:
        """`conversation.item.delete`."""
        item = self.find(event["item_id"], "item_delete_not_found")
        self._owner.conversation.remove(item.id)
        self._owner.emit("conversation.item.deleted", {"item_id": item.id})

    def retrieve(self, event: Wire) -> None:
        """`conversation.item.retrieve`: the item, with its sound."""
        item = self.find(event["item_id"], "item_retrieve_not_found")
        self._tell("conversation.item.retrieved", item, {}, with_audio=True)

    def truncate(self, event: Wire) -> None:
        """`conversation.item.truncate`: what the user has not heard is forgotten, and the transcript with it."""
        index, end = event["content_index"], event["audio_end_ms"]
        item = self.find(event["item_id"], "item_truncate_not_found")
        part = item.parts[index] if index < len(item.parts) else None
        if item.role != "assistant" or part is None or part.kind != "audio":
            raise VendorError("item_truncate_not_audio", param="item_id", item=item.id, index=index)
        if end > part.duration_ms:
            raise VendorError("item_truncate_too_long", have=int(part.duration_ms), want=end)
        self.truncated(item, index, end)

    def truncated(self, item: Item, index: int, end_ms: int) -> None:
        """Cut the sound of an item to `end_ms`, and tell so."""
        part = item.parts[index]
        part.duration_ms, part.transcript, part.truncated = end_ms, "", True
        fields = {"item_id": item.id, "content_index": index, "audio_end_ms": end_ms}
        self._owner.emit("conversation.item.truncated", fields)

    def find(self, item_id: str, error: str, param: str = "item_id") -> Item:
        """The item of that id, or the vendor's error. `param`: where the id stands in the event."""
        item = self._owner.conversation.find(item_id)
        if item is None:
            missing = VendorError(error, param=param, item=item_id)
            if self._owner.knobs["openai.item_not_found_code"] == "item_not_found":
                missing.code = "item_not_found"
            raise missing
        return item
