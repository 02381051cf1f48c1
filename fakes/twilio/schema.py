"""The messages of Media Streams, both directions, as typed structs. Decoding one is checking it.

Source: Twilio docs, "Media Streams - WebSocket messages". Everything that looks like a number is a string, except
inside `mediaFormat`. Unknown and missing fields are both faults (debugger warning 31951).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Digits = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+$")]
Sid = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}[0-9a-f]{32}$")]


class _Out(msgspec.Struct, forbid_unknown_fields=True):
    """Part of a message from Twilio."""


class MediaFormat(_Out):
    encoding: str
    sampleRate: int  # noqa: N815
    channels: int


class StartBody(_Out):
    accountSid: Sid  # noqa: N815
    streamSid: Sid  # noqa: N815
    callSid: Sid  # noqa: N815
    tracks: list[str]
    mediaFormat: MediaFormat  # noqa: N815
    customParameters: dict[str, str]  # noqa: N815


class InboundMediaBody(_Out):
    track: str
    chunk: Digits
    timestamp: Digits
    payload: bytes


class DtmfBody(_Out):
    track: str
    digit: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-D#*]$")]


class MarkBody(_Out):
    name: str


class StopBody(_Out):
    accountSid: Sid  # noqa: N815
    callSid: Sid  # noqa: N815


class _Event(msgspec.Struct, forbid_unknown_fields=True, tag_field="event", tag=str.lower):
    """A message; `event` names it."""


class Connected(_Event):
    protocol: str
    version: str


class Start(_Event):
    sequenceNumber: Digits  # noqa: N815
    start: StartBody
    streamSid: Sid  # noqa: N815


class InboundMedia(_Event, tag="media"):
    sequenceNumber: Digits  # noqa: N815
    media: InboundMediaBody
    streamSid: Sid  # noqa: N815


class Dtmf(_Event):
    sequenceNumber: Digits  # noqa: N815
    dtmf: DtmfBody
    streamSid: Sid  # noqa: N815


class EchoedMark(_Event, tag="mark"):
    sequenceNumber: Digits  # noqa: N815
    mark: MarkBody
    streamSid: Sid  # noqa: N815


class Stop(_Event):
    sequenceNumber: Digits  # noqa: N815
    stop: StopBody
    streamSid: Sid  # noqa: N815


class PayloadBody(msgspec.Struct, forbid_unknown_fields=True):
    payload: bytes


class Media(_Event):
    """Audio to play: base64 mu-law, any length."""

    streamSid: str  # noqa: N815
    media: PayloadBody


class Mark(_Event):
    """A name to be echoed when playback reaches this place."""

    streamSid: str  # noqa: N815
    mark: MarkBody


class Clear(_Event):
    """Forget what is not played yet."""

    streamSid: str  # noqa: N815


class _Tolerant(msgspec.Struct, tag_field="event", tag=str.lower):
    """A message whose unknown fields are passed over."""


class _TolerantPayload(msgspec.Struct):
    payload: bytes


class _TolerantName(msgspec.Struct):
    name: str


class TolerantMedia(_Tolerant, tag="media"):
    streamSid: str  # noqa: N815
    media: _TolerantPayload


class TolerantMark(_Tolerant, tag="mark"):
    streamSid: str  # noqa: N815
    mark: _TolerantName


class TolerantClear(_Tolerant, tag="clear"):
    streamSid: str  # noqa: N815


Command = Media | Mark | Clear
TolerantCommand = TolerantMedia | TolerantMark | TolerantClear

decode_command = msgspec.json.Decoder(Command).decode
"""One text frame from the server. Raises `msgspec.ValidationError`, or `msgspec.DecodeError` for what is not JSON."""

decode_tolerant = msgspec.json.Decoder(TolerantCommand).decode
"""The same, passing over unknown fields."""

_decode_event = msgspec.json.Decoder(Connected | Start | InboundMedia | Dtmf | EchoedMark | Stop).decode
_decode_any = msgspec.json.Decoder().decode


def event_fault(text: str) -> str | None:
    """What is wrong with a message *from* Twilio, None when nothing is."""
    try:
        _decode_event(text)
    except msgspec.DecodeError as error:
        return str(error)
    return None


def kind_of(text: str) -> str:
    """The `event` of a message that did not decode; `malformed` when it has none or is not JSON."""
    try:
        value = _decode_any(text)
    except msgspec.DecodeError:
        return "malformed"
    event = value.get("event") if isinstance(value, dict) else None
    return event if isinstance(event, str) else "malformed"
