"""What is left of a world when it is over: what the invariants look at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from conformance.credentials import table
from harness.leaks import Credential, Leak, search
from harness.suite import Checks, Column
from harness.wire import Message, Wire

IN_FLIGHT = 0.15
"""Seconds for a message that was on its way, and a gateway's own turn of its loop, before "after" means after."""

AUDIO_DELTAS = ("response.output_audio.delta", "response.audio.delta")
AUDIO_KINDS = frozenset({"media", "input_audio_buffer.append"})
SOUND = frozenset({"audio", "clear"})
"""Frames of a relay in which there is nothing to find, and of which there are many."""


@dataclass(frozen=True)
class Evidence:
    """What is left of a world when it is over.

    `planted`: name of a credential -> the credential. `secrets`: the client secrets that OpenAI minted. `issued`: what
    else was handed out, by its name in `credentials.toml`. `settings`: what the gateway was told, None for not known.
    `looked_up`: the names that it has looked up, None on a stage that does not see them.
    """

    wire: Wire
    column: Column
    planted: Mapping[str, str]
    output: str
    configured_model: str
    ended: float
    secrets: Sequence[str] = ()
    deliberate: frozenset[str | bytes] | set[str | bytes] = frozenset()
    issued: Mapping[str, Sequence[str]] = field(default_factory=dict)
    settings: Mapping[str, str] | None = None
    looked_up: frozenset[str] | None = None

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

    @functools.cached_property
    def credentials(self) -> list[Credential]:
        """What has to stay where it belongs."""
        return table().secrets(self.planted, self.issued)

    @functools.cached_property
    def leaks(self) -> list[Leak]:
        """Every credential in something that the gateway sent or printed, and that is not at home there."""
        known = table()
        hosts = {}
        if self.settings is not None:
            hosts = {party: vendor.places(self.settings) for party, vendor in known.vendors.items()}
        return search(
            self.wire.messages,
            self.output,
            self.credentials,
            homes=known.homes,
            hosts=hosts,
            sound=AUDIO_KINDS | SOUND,
        )


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
