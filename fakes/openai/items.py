"""The conversation: items in their order, whatever the dialect."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fakes.openai.errors import VendorError

IMAGE_TOKENS = {"low": 85}
"""About how many tokens an image has, by its level of detail; at any other level as many as one of 512 px squared."""
_IMAGE_TOKENS = 255
_IMAGE = re.compile(r"data:image/(png|jpe?g);base64,", re.IGNORECASE)


class Tokens(NamedTuple):
    """About how many tokens of each kind something has."""

    text: int
    audio: int
    image: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.text + self.audio + self.image

    def plus(self, other: Tokens) -> Tokens:
        """Both together."""
        return Tokens(self.text + other.text, self.audio + other.audio, self.image + other.image)


@dataclass(slots=True)
class Part:
    """One part of the content of a message. `kind`: text, audio or image.

    `audio`: the sound, in the format that the session had when it came; for the assistant all that there was to say.
    `bytes_per_ms`: of that sound. `duration_ms`: how long it is; for the assistant, how much of it has been generated
    and not been truncated. `heard`: names of the phrases in the sound; `spans`: when each begins and ends, in ms from
    its beginning. `idle`: it is the silence after which an idle session was woken. `truncated`: it was cut short, so
    that what is still generated of it is sent, and not remembered.
    """

    kind: str
    text: str = ""
    transcript: str | None = None
    audio: bytes = b""
    duration_ms: float = 0.0
    bytes_per_ms: int = 0
    heard: tuple[str, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()
    idle: bool = False
    truncated: bool = False
    image_url: str = ""
    detail: str | None = None

    def audio_base64(self) -> str:
        """The sound as it is sent: as much of it as there is."""
        return base64.b64encode(self.audio[: round(self.duration_ms * self.bytes_per_ms)]).decode()


@dataclass(slots=True)
class Item:
    """One item. `type`: message, function_call, function_call_output, or one of MCP, whose wire form is in `raw`.

    `phase`: of an item of the assistant, by a model that tells (`commentary` or `final_answer`).
    """

    id: str
    type: str
    status: str = "completed"
    role: str | None = None
    parts: list[Part] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    arguments: str = ""
    output: str = ""
    phase: str | None = None
    raw: dict[str, Any] | None = None

    def tokens(self) -> Tokens:
        """About how many tokens the item is: of text four in three words; of audio ten or twenty a second."""
        text = f"{self.arguments} {self.output}" if self.raw is None else _texts(self.raw)
        audio_ms = 0.0
        image = 0
        for part in self.parts:
            text += f" {part.text}"
            audio_ms += part.duration_ms
            if part.kind == "image":
                image += IMAGE_TOKENS.get(part.detail or "", _IMAGE_TOKENS)
        per_token = 50 if self.role == "assistant" else 100
        return Tokens(text_tokens(text), int(audio_ms // per_token), image)


def _texts(raw: Mapping[str, Any]) -> str:
    """What a model reads of an item of MCP."""
    tools = raw.get("tools") or ()
    read = [raw.get("name"), raw.get("arguments"), raw.get("output"), *(tool.get("description") for tool in tools)]
    return " ".join(str(text) for text in read if text)


def text_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text.split()) * 4 // 3)


@dataclass(slots=True)
class Conversation:
    """Items in their order, each with its own id."""

    items: list[Item] = field(default_factory=list)
    _index: dict[str, Item] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def last_id(self) -> str | None:
        """The id of the last item, None when there is none."""
        return self.items[-1].id if self.items else None

    def find(self, item_id: str) -> Item | None:
        """The item of that id."""
        return self._index.get(item_id)

    def insert(self, item: Item, previous: str | None) -> str | None:
        """Put an item in after `previous` (None: at the end; `root`: at the beginning); return the id before it.

        Raises `VendorError` for an id that is taken, or a `previous` that does not exist.
        """
        if item.id in self._index:
            raise VendorError("item_duplicate", item=item.id)
        if previous is None:
            position = len(self.items)
        elif previous == "root":
            position = 0
        elif previous in self._index:
            position = self.items.index(self._index[previous]) + 1
        else:
            raise VendorError("item_create_previous_not_found", item=previous)
        self.items.insert(position, item)
        self._index[item.id] = item
        return self.items[position - 1].id if position else None

    def remove(self, item_id: str) -> None:
        """Take an item out. Raises `VendorError` when it is not there."""
        item = self._index.pop(item_id, None)
        if item is None:
            raise VendorError("item_delete_not_found", param="item_id", item=item_id)
        self.items.remove(item)


def decode_audio(text: str, param: str) -> bytes:
    """The bytes of a base64 field. Raises `VendorError` when it is no base64."""
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except (binascii.Error, ValueError):
        raise VendorError("invalid_audio", param=param) from None


def item_from_wire(wire: Mapping[str, Any], item_id: str, bytes_per_ms: int, param: str = "item") -> Item:
    """An item that a client gave, already valid by its schema.

    Raises `VendorError` for audio that is no base64, and for an image that is no data URI of a PNG or a JPEG.
    """
    kind = wire["type"]
    if kind == "message":
        parts = [
            _part_from_wire(content, bytes_per_ms, f"{param}.content[{index}]")
            for index, content in enumerate(wire["content"])
        ]
        return Item(item_id, kind, role=wire["role"], parts=parts)
    if kind == "function_call":
        return Item(item_id, kind, name=wire["name"], call_id=wire.get("call_id") or "", arguments=wire["arguments"])
    if kind == "function_call_output":
        return Item(item_id, kind, call_id=wire["call_id"], output=wire["output"])
    return Item(item_id, kind, raw={key: value for key, value in wire.items() if key != "id"})


def _part_from_wire(content: Mapping[str, Any], bytes_per_ms: int, param: str) -> Part:
    kind = content["type"]
    if kind == "input_image":
        return Part("image", image_url=_image(content["image_url"], param), detail=content.get("detail"))
    if kind == "input_audio":
        audio = decode_audio(content["audio"], f"{param}.audio")
        duration = len(audio) / bytes_per_ms
        transcript = content.get("transcript")
        return Part("audio", transcript=transcript, audio=audio, duration_ms=duration, bytes_per_ms=bytes_per_ms)
    return Part("text", text=content.get("text") or content.get("transcript") or "")


def _image(url: str, param: str) -> str:
    found = _IMAGE.match(url)
    try:
        binascii.a2b_base64(url[found.end() :] if found else "*", strict_mode=True)
    except (binascii.Error, ValueError):
        raise VendorError("invalid_image", param=f"{param}.image_url") from None
    return url
