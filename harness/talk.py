"""Talk in a profile: how a browser gets its session from a gateway, and what the frames of a gateway's relay mean.

`profile.toml`, in short::

    [talk]
    page = "/talk#token={talk.token}"           # optional: the page that a person opens

    [talk.webrtc]                               # the browser talks to OpenAI, with a client secret from the gateway
    request = "POST /talk/session"
    json = { transport = "webrtc" }
    secret = "client_secret"                    # where in the answer it is: keys with dots between them
    offer_url = "calls_url"                     # optional: where the SDP offer goes; else to OpenAI's /realtime/calls

    [talk.relay]                                # the browser talks to the gateway, over a WebSocket
    request = "POST /talk/session"              # optional: without it `url` is the path of the WebSocket itself
    url = "url"                                 # where in the answer the address of the WebSocket is
    audio = { type = "audio", audio = "{audio}" }              # a frame with audio (base64); or "binary"
    heard = { where = { type = "audio" }, audio = "audio" }    # which frames carry audio, and where in them it is
    cleared = { where = { type = "clear" } }                   # which frames say: stop playing
    error = { where = { type = "error" }, code = "error.code", message = "error.message" }
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Binary = Literal["binary"]
RATES = (8000, 16000, 24000, 48000)


class MintTable(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk.webrtc]`: the request that gives a browser its client secret, and where in the answer things are."""

    request: str
    secret: str
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None
    offer_url: str | None = None
    model: str | None = None
    expires_at: str | None = None


class ToolTable(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk.tool]`: how the page has a function tool run, and where in the answer its output is.

    `{name}` and `{arguments}` (JSON text) are filled in.
    """

    request: str
    output: str
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None


class ExplainTable(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk.explain]`: how the page asks what a refusal of OpenAI's means; the answer is as `[talk.errors]` says.

    `{status}` (a number) and `{body}` (the text of OpenAI's answer) are filled in.
    """

    request: str
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None


class Meaning(msgspec.Struct, forbid_unknown_fields=True):
    """Frames of one meaning: those in which every path of `where` has that value; the others say where a value is."""

    where: dict[str, Any]
    audio: str | None = None
    item: str | None = None
    text: str | None = None
    role: str | None = None
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    reason: str | None = None


class RelayTable(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk.relay]`: the WebSocket between browser and gateway. Audio is 16-bit PCM, mono, at `rate`."""

    url: str
    audio: dict[str, Any] | Binary
    heard: Meaning | Binary
    request: str | None = None
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None
    rate: int = 24000
    text: dict[str, Any] | None = None
    interrupted: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    ready: Meaning | None = None
    cleared: Meaning | None = None
    transcript: Meaning | None = None
    error: Meaning | None = None
    ended: Meaning | None = None


class TalkErrors(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk.errors]`: where in the answer to a refused session call the vendor's words are."""

    code: str | None = None
    message: str | None = None
    hint: str | None = None


class BrowserTable(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk.browser]`: how a person uses the page, in CSS selectors.

    `webrtc`, `relay`: what to press, one after the other, to talk over that transport. `live`: what can be seen while
    the conversation is on; `problem`: what can be seen when something went wrong; `transcript`: what was said.
    """

    live: str
    webrtc: list[str] = []
    relay: list[str] = []
    problem: str | None = None
    transcript: str | None = None


class TalkTable(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk]`."""

    page: str | None = None
    webrtc: MintTable | None = None
    relay: RelayTable | None = None
    tool: ToolTable | None = None
    explain: ExplainTable | None = None
    browser: BrowserTable | None = None
    errors: TalkErrors = msgspec.field(default_factory=TalkErrors)


@dataclass(frozen=True, slots=True)
class RelayFrame:
    """What a frame from a relay means: `kind` is heard, ready, cleared, transcript, error or ended; `other` for none.

    `values` are those that the profile says where to find (`code`, `message`, `item`...), `audio` is decoded.
    """

    kind: str
    audio: bytes = b""
    values: Mapping[str, Any] = field(default_factory=dict)


class BadFrame(ValueError):
    """A frame that does not hold what the profile says it holds."""


class RelayCodec:
    """Frames of one gateway's relay: what to send, and what came."""

    def __init__(self, table: RelayTable) -> None:
        self._table = table
        self.rate = table.rate
        kinds = ("heard", "cleared", "ready", "transcript", "error", "ended")
        self._meanings = [(kind, getattr(table, kind)) for kind in kinds]

    @property
    def takes_text(self) -> bool:
        """Whether a typed message can be sent."""
        return self._table.text is not None

    def audio(self, pcm: bytes) -> str | bytes:
        """A frame with audio of the microphone."""
        if self._table.audio == "binary":
            return pcm
        return _encoded(self._table.audio, {"audio": base64.b64encode(pcm).decode()})

    def text(self, text: str) -> str:
        """A frame with a typed message. Raises ValueError when the relay has none."""
        if self._table.text is None:
            raise ValueError("the profile has no talk.relay.text: this relay takes no typed messages")
        return _encoded(self._table.text, {"text": text})

    def interrupted(self, item: str, played_ms: int) -> str | None:
        """The frame that tells how much of an item was heard before it was cut off, if there is one."""
        if self._table.interrupted is None:
            return None
        return _encoded(self._table.interrupted, {"item": item, "played_ms": played_ms})

    def end(self) -> str | None:
        """The frame that says that the person has had enough, if there is one."""
        return None if self._table.end is None else _encoded(self._table.end, {})

    def read(self, frame: str | bytes) -> RelayFrame:
        """What a frame means. Raises `BadFrame`."""
        if isinstance(frame, bytes):
            if self._table.heard == "binary":
                return RelayFrame("heard", frame, {})
            raise BadFrame(f"a binary frame of {len(frame)} bytes where the profile expects JSON")
        try:
            told = json.loads(frame)
        except ValueError:
            raise BadFrame(f"a frame that is no JSON: {frame[:60]!r}") from None
        for kind, meaning in self._meanings:
            if isinstance(meaning, Meaning) and all(find(told, path) == v for path, v in meaning.where.items()):
                return _read(kind, meaning, told)
        return RelayFrame("other", b"", told if isinstance(told, dict) else {})


def _read(kind: str, meaning: Meaning, told: Any) -> RelayFrame:
    values = {
        name: find(told, path)
        for name, path in msgspec.structs.asdict(meaning).items()
        if name not in ("where", "audio") and path is not None
    }
    audio = b""
    if meaning.audio is not None:
        encoded = find(told, meaning.audio)
        try:
            audio = base64.b64decode(encoded, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise BadFrame(f"{kind}: there is no base64 at {meaning.audio}") from None
    return RelayFrame(kind, audio, values)


def find(value: Any, path: str) -> Any:
    """The value at `path`, keys (or numbers of a list) with dots between them; None when there is none."""
    for key in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its placeholders filled in; a string that is nothing but one takes the value's own type."""
    if isinstance(template, str):
        if template.startswith("{") and template.endswith("}") and template[1:-1] in values:
            return values[template[1:-1]]
        for name, value in values.items():
            template = template.replace(f"{{{name}}}", str(value))
        return template
    if isinstance(template, Mapping):
        return {key: fill(item, values) for key, item in template.items()}
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    return template


def _encoded(template: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    return json.dumps(fill(template, values), separators=(",", ":"))
