"""One Realtime session: client events in, server events out, in either dialect. Knows no URL, no key and no socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from fakes.audio import Heard
from fakes.knobs import Knobs
from fakes.openai.brain import Brain
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.connected import Connected, State
from fakes.openai.dialects import Dialect, TurnDetection, Wire, defaults
from fakes.openai.errors import VendorError, error_text, from_violation, listed
from fakes.openai.frames import Frame, Sink
from fakes.openai.input_turns import InputTurns
from fakes.openai.item_events import ItemEvents
from fakes.openai.items import Conversation, Item
from fakes.openai.mcp import McpServer, McpTools
from fakes.openai.playout import Playout
from fakes.openai.protocol import check, event_types, validate
from fakes.openai.response_events import ResponseEvents
from fakes.openai.responses import Response
from fakes.openai.shapes import shaped
from fakes.openai.updates import check_reasoning, check_tools, check_transcription, check_update, fitting
from fakes.ports import Ports

APPEND = "input_audio_buffer.append"
MAX_APPEND = 15 * 1024 * 1024
"""Bytes of base64 that one append may have."""

_TRANSCRIPTION_EVENTS = frozenset({*event_types("transcription", "client"), "transcription_session.update"})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class RealtimeSession(Connected):
    """One session. `ordinal` counts the connections of the service from 1; points and names are built from it.

    `model` is None in a transcription session. `minutes`: the longest that it may last. `call`: the name of the call
    that carries the session, such as `call1`, when no connection of its own does; `media`: where its sound goes then.
    `party`: who serves it; names and channels begin with that. `detection`: the turn detection that is really done when
    one is asked for.
    """

    def __init__(
        self,
        ports: Ports,
        sink: Sink,
        dialect: Dialect,
        *,
        ordinal: int,
        kind: str,
        model: Model | None,
        minutes: int,
        catalogue: Catalogue,
        knobs: Knobs,
        brain: Brain,
        client_party: str = "gateway",
        party: str = "openai",
        on_change: Callable[[], None] = lambda: None,
        call: str | None = None,
        media: Playout | None = None,
        mcp_servers: Mapping[str, McpServer] = MappingProxyType({}),
        detection: Callable[[TurnDetection | None], TurnDetection | None] = lambda wanted: wanted,
    ) -> None:
        super().__init__(
            ports,
            sink,
            ordinal=ordinal,
            name=f"{party}/session{ordinal}" if call is None else f"{party}/{call}",
            connection=f"{party}#{ordinal}" if call is None else call,
            channel=f"{party}.realtime" if call is None else f"{party}.datachannel",
            client_party=client_party,
            party=party,
            on_change=on_change,
        )
        self.knobs = knobs
        self.dialect = dialect
        self.revision = "transcription" if kind == "transcription" and dialect.name == "ga" else dialect.name
        """Which of the vendor's schemas its events follow."""
        self.media = media
        self.kind = kind
        self.model = model.name if model is not None else None
        self.asked = model.asked if model is not None else None
        """The model by the name that it was asked for."""
        self.shape = 0
        """Which of the allowed shapes the session objects have, see `fakes.openai.shapes`."""
        self.refuse_updates: str | None = None
        """The error with which every `session.update` is refused; for test cases."""
        self.received: list[Wire] = []
        """The client events so far, but for audio, in order."""
        self.sent: list[str] = []
        """The types of the server events so far, but for audio deltas after the first of a part, in order."""
        self.responses: list[Response] = []
        self.conversation = Conversation()
        self._items = ItemEvents(self)
        self._answers = ResponseEvents(self, self._items, catalogue, brain)
        self._minutes = minutes
        self._catalogue = catalogue
        self._detection = detection
        self.id = self.new_id("sess")
        self.conversation_id = self.new_id("conv")
        self.wire = self._new_wire(model)
        self.settings = dialect.settings(self.wire)
        self.mcp = McpTools(self, mcp_servers)
        self.input = InputTurns(self, catalogue)
        self._handlers: dict[str, Callable[[Wire], None]] = {
            "session.update": self._session_update,
            "transcription_session.update": self._session_update,
            "input_audio_buffer.commit": self.input.commit,
            "input_audio_buffer.clear": self.input.clear,
            "conversation.item.create": self._items.create,
            "conversation.item.delete": self._items.delete,
            "conversation.item.retrieve": self._items.retrieve,
            "conversation.item.truncate": self._items.truncate,
            "response.create": self._answers.create,
            "response.cancel": self._answers.cancel,
            "output_audio_buffer.clear": self._answers.clear_output,
        }

    def _new_wire(self, model: Model | None) -> Wire:
        session = self.dialect.new_session(self.kind)
        session["id"] = self.id
        session["expires_at"] = int(self.ports.clock.wall()) + 60 * self._minutes
        if model is not None:
            session["model"] = model.shown
            if self.dialect.name == "ga":
                session["audio"]["output"]["voice"] = self.knobs["openai.default_voice_ga"]
                if model.reasoning:
                    session |= defaults()["ga_reasoning"]
        return session

    # -- life

    def start(self, created_delay_ms: int | None = None) -> None:
        """Begin: `session.created` follows after a moment. `created_delay_ms` fixes how long that is."""
        if created_delay_ms is None:
            delay = self.ports.choices.delay(f"{self.name}/created/delay", 0, 30, 1500)
        else:
            delay = created_delay_ms / 1000
        self.later(self._minutes * 60, self._expire)
        self.later(delay, self._created)

    def _created(self) -> None:
        self.move(State.OPEN)
        self.emit(self._session_event("created"), {"session": self._shaped()})
        wanted = self.knobs["openai.conversation_created"]
        if self.kind == "realtime" and (wanted == "always" or wanted == self.dialect.name):
            conversation = {"id": self.conversation_id, "object": "realtime.conversation"}
            self.emit("conversation.created", {"conversation": conversation})
        self.mcp.configure(self.settings.tools)
        self.release()

    def _shaped(self) -> Wire:
        if not self.shape:
            return self.wire
        kind = self.dialect.event(self._session_event("updated"))

        def allowed(session: Wire) -> bool:
            event = {"type": kind, "event_id": "event_0", "session": session}
            return validate(self.revision, "server", event) is None

        return shaped(self.wire, self.shape, allowed)

    def _session_event(self, what: str) -> str:
        prefix = "transcription_session" if self.kind == "transcription" and self.dialect.name == "beta" else "session"
        return f"{prefix}.{what}"

    def _expire(self) -> None:
        error = VendorError("session_expired", minutes=self._minutes)
        self.emit("error", {"error": error.event(None)})
        self.close(error.text.close, error.message)

    def ended(self) -> None:
        """See `Connected.ended`."""
        self._answers.drop()

    # -- controls for test cases

    @property
    def heard(self) -> list[Heard]:
        """The phrases that the client has sent so far. Times are in ms of audio since the session's first byte."""
        return self.input.heard

    @property
    def active_response(self) -> Response | None:
        """The response that is being made, if any."""
        return self._answers.active

    def send_raw(self, data: str | bytes) -> None:
        """Send anything at all; it is recorded as invalid when it is no event of the dialect."""
        if isinstance(data, bytes):
            self._send(Frame("binary", data, "a binary frame: the vendor sends text only"))
            return
        try:
            event = _decode(data)
        except msgspec.DecodeError as error:
            self._send(Frame("malformed", data, f"not JSON: {error}"))
            return
        kind = str(event.get("type", "raw")) if isinstance(event, dict) else "raw"
        invalid = validate(self.revision, "server", event) if isinstance(event, dict) else "not a JSON object"
        self._send(Frame(kind, data, invalid))

    def error(self, code: str, message: str, *, error_type: str = "server_error", param: str | None = None) -> None:
        """Send an `error` event; the session goes on."""
        body = {"type": error_type, "code": code, "message": message, "param": param, "event_id": None}
        self.emit("error", {"error": body})

    def fail_response(self, code: str = "server_error") -> None:
        """Let the next response end with status failed and this error code."""
        self._answers.failure = code

    def filter_response(self) -> None:
        """Let the content filter cut off the next response half way: it ends with status incomplete."""
        self._answers.filtered = True

    def fail_transcription(self, error: str = "audio_unintelligible") -> None:
        """Let the next transcription fail with this error, a name or a code in errors.toml."""
        self.input.failure = VendorError(error_text(error).name, model="this model")

    # -- in

    def receive_text(self, text: str) -> None:
        """Take in one text frame."""
        try:
            event = _decode(text)
        except msgspec.DecodeError as error:
            self._refused(text, "malformed", f"not JSON: {error}", VendorError("invalid_json"))
            return
        if not isinstance(event, dict):
            self._refused(text, "malformed", "not a JSON object", VendorError("not_an_object"))
            return
        kind = event.get("type")
        if kind == APPEND and validate(self.revision, "client", event) is None:
            self._record(text, APPEND, None)
            if self.state is State.OPEN:
                self._append(event)
                self._on_change()
            else:
                self._when_open(lambda: self._append(event))
            return
        invalid = validate(self.revision, "client", event)
        self._record(text, kind if isinstance(kind, str) else "malformed", invalid)
        self.received.append(event)
        self._when_open(lambda: self._handle(event))
        self._on_change()

    def take_in(self, event: Wire) -> None:
        """Take in a client event that came over a sideband, where it has been recorded."""
        if event.get("type") != APPEND:
            self.received.append(event)
        self._when_open(lambda: self._handle(event))
        self._on_change()

    def refuse(self, error: VendorError, event: Wire | None) -> None:
        """Send an error event; `event` is the client's that caused it, if one did."""
        echo = event.get("event_id") if event is not None else None
        self.emit("error", {"error": error.event(echo if isinstance(echo, str) else None)})
        self._on_change()

    def _handle(self, event: Wire) -> None:
        try:
            event = self._valid(event)
            kind = event["type"]
            if kind == APPEND:
                self._append(event)
                return
            handler = self._handlers.get(kind)
            if handler is None:
                raise VendorError("unknown_event", got=kind, options=listed(defaults()["events"][self.dialect.name]))
            handler(event)
        except VendorError as error:
            self.refuse(error, event)

    def _valid(self, event: Wire) -> Wire:
        """The event, without nulls where the knob says that they do not count. Raises `VendorError`."""
        kind = event.get("type")
        if kind in ("session.update", "transcription_session.update"):
            self._check_kind(event)
        known = self.kind == "realtime" or (isinstance(kind, str) and kind in _TRANSCRIPTION_EVENTS)
        if not known and kind in event_types(self.dialect.name, "client"):
            raise VendorError("not_in_this_session", got=kind, kind=self.kind)
        while violation := check(self.revision, "client", event):
            ignored = violation.got is None and violation.kind in ("invalid_type", "invalid_value")
            if not ignored or self.knobs["openai.null_for_absent"] == "refuse":
                raise from_violation(violation, defaults()["events"][self.dialect.name])
            event = _without(event, violation.param)
        return event

    # -- out

    def padding(self, *, observed: bool = True) -> dict[str, str]:
        """The obfuscation of a delta: 11 to 14 characters that mean nothing. `observed`: it was seen on such deltas."""
        wanted = self.knobs["openai.obfuscation"]
        if wanted == "none" or (wanted == "observed" and not observed):
            return {}
        return {"obfuscation": f"{self._token}{len(self.sent):02d}"[: 11 + len(self.sent) % 4]}

    def emit(self, event_type: str, fields: Mapping[str, Any], gate: str | None = None) -> None:
        """Send an event; `event_type` is the GA name."""
        if self.state is not State.OPEN:
            return
        kind = self.dialect.event(event_type)
        event = {"type": kind, "event_id": self.new_id("event"), **fields}
        self.sent.append(kind)
        self._sink.send(Frame(kind, _encode(event).decode(), validate(self.revision, "server", event), gate))
        self._on_change()

    def share(self, wrap: Callable[[Sink], Sink]) -> None:
        """Send everything from now on to the sink that `wrap` makes of the one so far; sidebands see it there."""
        self._sink = wrap(self._sink)

    def emit_valid(self, event_type: str, text: str) -> None:
        """Send an event that is JSON already and known to be valid; `event_type` is that of the wire."""
        if self.state is State.OPEN:
            self._sink.send(Frame(event_type, text))

    def _send(self, frame: Frame) -> None:
        if self.state is State.OPEN:
            self.sent.append(frame.kind)
            self._sink.send(frame)
            self._on_change()

    # -- session

    def _session_update(self, event: Wire) -> None:
        update = event["session"]
        if self.refuse_updates is not None:
            raise VendorError(self.refuse_updates)
        if self.kind == "realtime":
            spoke, answering = self._answers.spoke, self._answers.active is not None
            update = check_update(
                self.dialect, self._catalogue, self.wire, update, asked=self.asked, spoke=spoke, answering=answering
            )
            model = self._catalogue.models.get(self.model or "")
            update = check_reasoning(model, update, "session", self.knobs)
        merged = self.dialect.merged(self.wire, update)
        settings = self.dialect.settings(merged)
        check_transcription(self.dialect, self._catalogue, settings, update, knobs=self.knobs)
        check_tools(self.dialect, settings, update, "session", self.knobs)
        self.adopt(merged)
        self.emit(self._session_event("updated"), {"session": self._shaped()})
        self.mcp.configure(settings.tools)

    def adopt(self, wire: Wire) -> None:
        """Be a session as `wire` says, without a word about it."""
        self.wire = fitting(self.dialect, self._catalogue, wire)
        self.settings = self.dialect.settings(self.wire)
        self.input.configure(self.settings.input_format, self._detection(self.settings.turn_detection))

    def _check_kind(self, event: Wire) -> None:
        """Raise `VendorError` for an update of the other kind of session: in GA its type tells, in beta the event."""
        session = event.get("session")
        kind = session.get("type") if isinstance(session, dict) else None
        if self.dialect.name == "beta":
            kind = "transcription" if event["type"] == "transcription_session.update" else "realtime"
        if self.kind == "realtime" and kind == "transcription":
            raise VendorError("transcription_update_to_realtime")
        if self.kind == "transcription" and kind == "realtime":
            raise VendorError("realtime_update_to_transcription")

    # -- input audio

    def _append(self, event: Wire) -> None:
        size = len(event["audio"])
        if size > MAX_APPEND and self.knobs["openai.append_too_large"] == "close":
            self.close(1009, "message too large")
            return
        try:
            if size > MAX_APPEND:
                raise VendorError("append_too_large", limit=MAX_APPEND, got=size)
            self.input.append(event)
        except VendorError as error:
            self.refuse(error, event)

    def user_speaks(self) -> None:
        """Turn detection hears the user: interrupt the response if it may be interrupted."""
        self._answers.user_speaks()

    def turn_ended(self) -> None:
        """Turn detection has committed a turn: answer it if the session wants that."""
        self._answers.turn_ended()

    # -- conversation

    def item_added(self, item: Item, previous: str | None) -> None:
        """Tell that an item has joined the conversation."""
        self._items.added(item, previous)

    def item_done(self, item: Item, previous: str | None) -> None:
        """Tell that an item is finished."""
        self._items.done(item, previous)

    # -- responses

    def response_finished(self, response: Response) -> None:
        """A response has ended: another one may begin."""
        self._answers.finished(response)
        if response.in_conversation:
            self.input.answered(response.playback_left)


def _without(event: Wire, param: str) -> Wire:
    """A copy of an event without the field that `param` names."""
    copied: Wire = _decode(_encode(event))
    holder: Any = copied
    *way, last = param.replace("[", ".").replace("]", "").split(".")
    for key in way:
        holder = holder[int(key)] if isinstance(holder, list) else holder[key]
    del holder[int(last) if isinstance(holder, list) else last]
    return copied
