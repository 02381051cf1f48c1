"""The wire: the ordered record of every message that crossed between two parties in a world.

Messages are kept as they crossed (text or bytes) and are parsed only when somebody asks: a call with full audio has
thousands of them, and most are never looked at.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec


@functools.lru_cache(maxsize=256)
def _form_items(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(text, keep_blank_values=True))


@dataclass(slots=True)
class Message:
    """One message, at the moment when a fake sent or received it.

    `at`: seconds since the world began. `source`, `target`: parties. `channel`: `openai.realtime`, `twilio.webhook`...
    `kind`: event type, or `request`, `response`, `upgrade`, `close`... `connection`: by ordinal, `call1/stream1`.
    `invalid`: why it breaks the vendor's schema. `meta`: method, url, headers, status, code...
    """

    seq: int
    at: float
    source: str
    target: str
    channel: str
    kind: str
    body: str | bytes | None = None
    connection: str = ""
    invalid: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as text; empty when there is none."""
        if isinstance(self.body, bytes):
            return self.body.decode("utf-8", "replace")
        return self.body or ""

    @property
    def json(self) -> Any:
        """The body parsed as JSON, or an empty dict when it is not JSON."""
        try:
            return msgspec.json.decode(self.body) if self.body else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}

    @property
    def form(self) -> dict[str, str]:
        """The body parsed as a form; the last value of a repeated key wins."""
        return dict(_form_items(self.text))

    def get(self, path: str, default: Any = None) -> Any:
        """A value inside the JSON body by dotted path, such as `session.audio.input.format.type`."""
        value = self.json
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return value

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first header of that name, without regard to case."""
        wanted = name.lower()
        for key, value in self.meta.get("headers", ()):
            if key.lower() == wanted:
                return str(value)
        return default

    @property
    def status(self) -> int | None:
        """The HTTP status, for responses and upgrades."""
        return self.meta.get("status")

    def __str__(self) -> str:
        what = self.kind
        if self.kind == "request":
            what = f"{self.meta.get('method', '')} {self.meta.get('url', '')}"
        elif self.status is not None:
            what = f"{self.kind} {self.status}"
        elif self.kind == "close":
            what = f"close {self.meta.get('code', '')} {self.meta.get('reason', '')}".rstrip()
        return f"#{self.seq} {self.at:.3f}s {self.source} -> {self.target} [{self.connection or self.channel}] {what}"


class Wire:
    """All messages of a world, in order. It is the recorder that the fakes are handed."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.messages: list[Message] = []
        self._watchers: list[Callable[[Message], None]] = []

    def record(
        self,
        source: str,
        target: str,
        channel: str,
        kind: str,
        body: str | bytes | None = None,
        *,
        connection: str = "",
        invalid: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> int:
        """Write one message down; returns its number."""
        messages = self.messages
        seq = len(messages)
        message = Message(seq, self._now(), source, target, channel, kind, body, connection, invalid, meta or {})
        messages.append(message)
        if self._watchers:
            for watch in list(self._watchers):
                watch(message)
        return seq

    def watch(self, watcher: Callable[[Message], None]) -> Callable[[], None]:
        """Call `watcher` with every message from now on; returns what ends that."""
        self._watchers.append(watcher)

        def end() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

        return end

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def __getitem__(self, seq: int) -> Message:
        return self.messages[seq]

    def all(
        self,
        kind: str | Sequence[str] | None = None,
        *,
        source: str | None = None,
        target: str | None = None,
        channel: str | None = None,
        connection: str | None = None,
        after: Message | float | None = None,
        before: Message | float | None = None,
        where: Callable[[Message], bool] | None = None,
    ) -> list[Message]:
        """The messages that match everything given. `after` and `before` are messages or seconds, exclusive."""
        kinds = {kind} if isinstance(kind, str) else set(kind) if kind is not None else None
        found = []
        for message in self.messages:
            if kinds is not None and message.kind not in kinds:
                continue
            if source is not None and message.source != source:
                continue
            if target is not None and message.target != target:
                continue
            if channel is not None and message.channel != channel:
                continue
            if connection is not None and message.connection != connection:
                continue
            if after is not None and not _later(message, after):
                continue
            if before is not None and not _earlier(message, before):
                continue
            if where is not None and not where(message):
                continue
            found.append(message)
        return found

    def first(self, kind: str | Sequence[str] | None = None, **query: Any) -> Message | None:
        """The first message that matches, as for `all`."""
        found = self.all(kind, **query)
        return found[0] if found else None

    def last(self, kind: str | Sequence[str] | None = None, **query: Any) -> Message | None:
        """The last message that matches, as for `all`."""
        found = self.all(kind, **query)
        return found[-1] if found else None

    def digest(self) -> str:
        """A SHA-256 over every message: time, parties, kind and body, with ids that the gateway made up numbered."""
        return digest(self.messages)


def _later(message: Message, than: Message | float) -> bool:
    return message.seq > than.seq if isinstance(than, Message) else message.at > than


def _earlier(message: Message, than: Message | float) -> bool:
    return message.seq < than.seq if isinstance(than, Message) else message.at < than


NOISE = {
    "x-twilio-signature",
    "date",
    "sec-websocket-key",
    "sec-websocket-accept",
    "user-agent",
    "server",
    "host",
    "content-length",
}
"""Headers that say nothing about what a gateway does, and may differ between two equal runs on the live stage."""

AUDIO = frozenset({"media", "input_audio_buffer.append"})
"""Kinds of messages that are nothing but audio: there are thousands, and no id of a gateway's making is in them."""

_IDS = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|\b(?:[A-Z]{2})?[0-9a-f]{32}\b"
    r"|\beyJ[\w%=-]+\.[\w%=-]+\.[\w%=-]+"  # a JSON Web Token: some signatures have a salt in them
)


def digest(messages: Sequence[Message], *, times: bool = True) -> str:
    """The digest of a sequence of messages; without `times` only their order and content count."""
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return numbers.setdefault(match.group(), f"<id{len(numbers)}>")

    total = hashlib.sha256()
    for message in messages:
        body = message.body
        if isinstance(body, bytes):
            try:
                text: str | None = body.decode()
            except UnicodeDecodeError:
                text = base64.b64encode(body).decode()
        else:
            text = body
        if text is not None and message.kind not in AUDIO:
            text = _IDS.sub(number, text)
        meta = {key: value for key, value in message.meta.items() if key != "headers"}
        if "headers" in message.meta:
            meta["headers"] = sorted([k.lower(), v] for k, v in message.meta["headers"] if k.lower() not in NOISE)
        line = json.dumps(
            [
                round(message.at, 6) if times else 0,
                message.source,
                message.target,
                message.channel,
                message.kind,
                message.connection,
                _IDS.sub(number, json.dumps(meta, sort_keys=True, default=str)) if meta else "",
                text,
            ],
            separators=(",", ":"),
        )
        total.update(line.encode())
        total.update(b"\n")
    return total.hexdigest()
