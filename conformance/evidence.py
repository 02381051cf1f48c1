"""What is left of a world when it is over: what the invariants look at."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from harness.suite import Checks, Column
from harness.wire import Message, Wire

IN_FLIGHT = 0.15
"""Seconds for a message that was on its way, and a gateway's own turn of its loop, before "after" means after."""

AUDIO_DELTAS = ("response.output_audio.delta", "response.audio.delta")
AUDIO_KINDS = frozenset({"media", "input_audio_buffer.append"})
SOUND = frozenset({"audio", "clear"})
"""Frames of a relay in which there is nothing to find, and of which there are many."""

AUTH_HEADERS = frozenset({"authorization", "sec-websocket-protocol"})


@dataclass(frozen=True)
class Evidence:
    """What is left of a world when it is over.

    `planted`: name of a credential -> the credential. `secrets`: the client secrets that OpenAI minted.
    """

    wire: Wire
    column: Column
    planted: Mapping[str, str]
    output: str
    configured_model: str
    ended: float
    secrets: Sequence[str] = ()
    deliberate: frozenset[str | bytes] | set[str | bytes] = frozenset()

    @functools.cached_property
    def sessions(self) -> dict[str, list[Message]]:
        """What crossed each realtime connection."""
        return by_connection(self.wire.all(channel="openai.realtime"))

    @functools.cached_property
    def events(self) -> dict[str, list[Message]]:
        """What crossed each realtime connection but audio: no appends, and of the model's deltas only the first."""
        return {name: list(_without_audio(messages)) for name, messages in self.sessions.items()}

    @functools.cached_property
    def streams(self) -> dict[str, list[Message]]:
        """What crossed each media stream."""
        return by_connection(self.wire.all(channel="twilio.stream"))

    @functools.cached_property
    def browsed(self) -> list[Message]:
        """Everything that the gateway sent to browsers but sound."""
        return self.wire.all(source="gateway", target="browser", where=lambda m: m.kind not in SOUND)

    def said_to(self, vendor: str) -> list[tuple[Message, str]]:
        """Everything that the gateway sent but audio, as text, without the headers that `vendor` authenticates by."""
        said = []
        for message in self.wire.messages:
            if message.source != "gateway" or message.kind in AUDIO_KINDS:
                continue
            meta = message.meta
            parts = [message.text, meta.get("url", ""), meta.get("reason") or ""] if meta else [message.text]
            for name, value in meta.get("headers", ()):
                if not (message.target == vendor and name.lower() in AUTH_HEADERS):
                    parts.append(value)
            said.append((message, "\n".join(parts)))
        return said


Invariant = Callable[[Evidence, Checks], None]


def _without_audio(messages: Sequence[Message]) -> Iterator[Message]:
    spoke = False
    for message in messages:
        if message.kind == "input_audio_buffer.append":
            continue
        if message.kind in AUDIO_DELTAS:
            if spoke:
                continue
            spoke = True
        yield message


def by_connection(messages: Sequence[Message]) -> dict[str, list[Message]]:
    """Messages by connection, in order."""
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.connection, []).append(message)
    return groups


def spellings(secret: str) -> set[str]:
    """The forms in which a credential may turn up: plain, URL-encoded, base64, JSON-escaped."""
    encoded = {base64.b64encode(secret.encode()[skip:]).decode().rstrip("=")[:-2] for skip in range(3)}
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], *encoded}
