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
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from harness.profiles.ways import Way

Binary = Literal["binary"]
RATES = (8000, 16000, 24000, 48000)


class MintTable(Way, forbid_unknown_fields=True, kw_only=True):
    """`[talk.webrtc]`: how a browser gets its client secret, and where in the answer things are."""

    secret: Annotated[str, Meta(description="Where in the answer the client secret is: keys with dots between them.")]
    offer_url: Annotated[
        str | None, Meta(description="Where in the answer the address for the SDP offer is; else OpenAI's own.")
    ] = None
    model: Annotated[str | None, Meta(description="Where in the answer the model is.")] = None
    expires_at: Annotated[str | None, Meta(description="Where in the answer the time is at which it expires.")] = None


class ToolTable(Way, forbid_unknown_fields=True, kw_only=True):
    """`[talk.tool]`: how the page has a function tool run, and where in the answer its output is.

    `{name}` and `{arguments}` (JSON text) are filled in.
    """

    output: Annotated[str, Meta(description="Where in the answer the output is: keys with dots between them.")]


class ExplainTable(Way, forbid_unknown_fields=True, kw_only=True):
    """`[talk.explain]`: how the page asks what a refusal of OpenAI's means; the answer is as `[talk.errors]` says.

    `{status}` (a number) and `{body}` (the text of OpenAI's answer) are filled in.
    """


class Meaning(msgspec.Struct, forbid_unknown_fields=True):
    """Frames of one meaning: those in which every path of `where` has that value; the others say where a value is."""

    where: Annotated[dict[str, Any], Meta(description="Paths in a frame, and the value that stands there.")]
    audio: Annotated[str | None, Meta(description="Where the audio is (base64).")] = None
    item: Annotated[str | None, Meta(description="Where the id of the item is that is being spoken.")] = None
    text: Annotated[str | None, Meta(description="Where the text is.")] = None
    role: Annotated[str | None, Meta(description="Where it says who spoke: user or assistant.")] = None
    code: Annotated[str | None, Meta(description="Where the vendor's error code is.")] = None
    message: Annotated[str | None, Meta(description="Where the words for the person are.")] = None
    hint: Annotated[str | None, Meta(description="Where it says what to do.")] = None
    reason: Annotated[str | None, Meta(description="Where it says why it is over.")] = None


class RelayTable(Way, forbid_unknown_fields=True, kw_only=True):
    """`[talk.relay]`: what browser and gateway send each other. Audio is 16-bit PCM, mono, at `rate`.

    With a `driver` that opens the relay, `url` is not needed.
    """

    url: Annotated[
        str, Meta(description="Where in the answer the WebSocket's address is; without a request its path itself.")
    ] = ""
    audio: Annotated[
        dict[str, Any] | Binary, Meta(description='A frame with audio of the microphone: a template, or "binary".')
    ]
    heard: Annotated[Meaning | Binary, Meta(description='Frames with audio to play; or "binary".')]
    rate: Annotated[int, Meta(description="Samples per second, both ways: 8000, 16000, 24000 or 48000.")] = 24000
    text: Annotated[dict[str, Any] | None, Meta(description="A frame with a typed message, {text}.")] = None
    interrupted: Annotated[
        dict[str, Any] | None,
        Meta(description="A frame that tells how much of {item} was played, {played_ms}, before it was cut off."),
    ] = None
    end: Annotated[dict[str, Any] | None, Meta(description="A frame that says that the person has had enough.")] = None
    ready: Annotated[Meaning | None, Meta(description="Frames that say: go ahead.")] = None
    cleared: Annotated[Meaning | None, Meta(description="Frames that say: stop playing.")] = None
    transcript: Annotated[Meaning | None, Meta(description="Frames with what was said, in words.")] = None
    error: Annotated[Meaning | None, Meta(description="Frames that say that something went wrong.")] = None
    ended: Annotated[Meaning | None, Meta(description="Frames that say that it is over.")] = None


class TalkErrors(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk.errors]`: where in the answer to a refused session call the vendor's words are."""

    code: Annotated[str | None, Meta(description="Where the error code is.")] = None
    message: Annotated[str | None, Meta(description="Where the message is.")] = None
    hint: Annotated[str | None, Meta(description="Where it says what to do.")] = None


class BrowserTable(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk.browser]`: how a person uses the page, in CSS selectors.

    `webrtc`, `relay`: what to press, one after the other, to talk over that transport. `live`: what can be seen while
    the conversation is on; `problem`: what can be seen when something went wrong; `transcript`: what was said.
    """

    live: Annotated[str, Meta(description="What can be seen while the conversation is on.")]
    webrtc: Annotated[list[str], Meta(description="What to press to talk over WebRTC.")] = []
    relay: Annotated[list[str], Meta(description="What to press to talk over the relay.")] = []
    problem: Annotated[str | None, Meta(description="What can be seen when something went wrong.")] = None
    transcript: Annotated[str | None, Meta(description="Where what was said can be read.")] = None
    start: Annotated[
        str | None,
        Meta(description='An async function that gets the page ready before anything is pressed: "driver.py:start".'),
    ] = None


class TalkTable(msgspec.Struct, forbid_unknown_fields=True):
    """`[talk]`: how browsers talk."""

    page: Annotated[str | None, Meta(description="The path of the page that a person opens.")] = None
    webrtc: Annotated[MintTable | None, Meta(description="The browser talks to OpenAI, with a client secret.")] = None
    relay: Annotated[RelayTable | None, Meta(description="The browser talks to the gateway, over a WebSocket.")] = None
    tool: Annotated[ToolTable | None, Meta(description="How the page has a function tool run.")] = None
    explain: Annotated[ExplainTable | None, Meta(description="How the page asks what a refusal means.")] = None
    browser: Annotated[BrowserTable | None, Meta(description="How a person uses the page.")] = None
    errors: Annotated[TalkErrors, Meta(description="Where in a refusal the vendor's words are.")] = msgspec.field(
        default_factory=TalkErrors
    )


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
