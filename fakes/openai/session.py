"""One Realtime session: client events in, server events out, in either dialect. Knows no URL, no key and no socket."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec

from fakes.audio import Heard
from fakes.knobs import Knobs
from fakes.openai.brain import Brain
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.dialects import Dialect, Wire, defaults
from fakes.openai.errors import VendorError, from_violation, listed
from fakes.openai.frames import Closed, Frame, Sink
from fakes.openai.item_events import ItemEvents
from fakes.openai.items import Conversation, Item, Part, decode_audio, text_tokens
from fakes.openai.prompting import prompt_of
from fakes.openai.protocol import check, validate
from fakes.openai.responses import IllegalTransitionError, Response
from fakes.openai.shapes import shaped
from fakes.openai.transcription import transcription_events, transcription_of
from fakes.openai.updates import check_output, check_transcription, check_update
from fakes.openai.vad import InputAudio
from fakes.ports import Ports, Timer

CHANNEL = "openai.realtime"
APPEND = "input_audio_buffer.append"
MINIMUM_COMMIT_MS = 100
RATE_LIMITS_DELAY = 0.043
"""Seconds from `response.done` to `rate_limits.updated`, as seen in captures."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class State(Enum):
    """The states of a session."""

    CONNECTED = "connected"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.CONNECTED: frozenset({State.OPEN, State.CLOSING, State.CLOSED}),
    State.OPEN: frozenset({State.CLOSING, State.CLOSED}),
    State.CLOSING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}

_TRANSCRIPTION_EVENTS = frozenset(
    {
        "session.update",
        "transcription_session.update",
        APPEND,
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "conversation.item.retrieve",
        "conversation.item.delete",
    }
)


class RealtimeSession:
    """One session. `ordinal` counts the connections of the service from 1; points and names are built from it.

    `model` is None in a transcription session. `minutes`: the longest that it may last.
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
    ) -> None:
        self.ports = ports
        self.knobs = knobs
        self.dialect = dialect
        self.ordinal = ordinal
        self.name = f"openai/session{ordinal}"
        self.connection = f"openai#{ordinal}"
        self.kind = kind
        self.model = model.name if model is not None else None
        self.state = State.CONNECTED
        self.closed: Closed | None = None
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
        self._sink = sink
        self._minutes = minutes
        self._catalogue = catalogue
        self._brain = brain
        self._client_party = client_party
        self._party = party
        self._on_change = on_change
        self._token = ports.choices.token(f"{self.name}/ids", 12)
        self._ids = itertools.count(1)
        self.id = self.new_id("sess")
        self.conversation_id = self.new_id("conv")
        self.wire = self._new_wire(model)
        self.settings = dialect.settings(self.wire)
        self.input = InputAudio(
            self,
            self.settings.input_format,
            int(knobs["openai.vad_speech_ms"]),
            int(knobs["openai.semantic_vad_silence_ms"]),
        )
        self.input.configure(self.settings.input_format, self.settings.turn_detection)
        self._backlog: list[Callable[[], None]] = []
        self._timers: dict[int, Timer] = {}
        self._active: Response | None = None
        self._aside: set[Response] = set()
        self._failure: str | None = None
        self._turn_item_id: str | None = None
        self._turns = 0
        self._interruptions = 0
        self._handlers: dict[str, Callable[[Wire], None]] = {
            "session.update": self._session_update,
            "transcription_session.update": self._session_update,
            "input_audio_buffer.commit": self._commit_wanted,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._items.create,
            "conversation.item.delete": self._items.delete,
            "conversation.item.retrieve": self._items.retrieve,
            "conversation.item.truncate": self._items.truncate,
            "response.create": lambda event: self._create_response(event.get("response") or {}),
            "response.cancel": self._cancel,
        }

    def _new_wire(self, model: Model | None) -> Wire:
        session = self.dialect.new_session(self.kind)
        session["id"] = self.id
        session["expires_at"] = int(self.ports.clock.wall()) + 60 * self._minutes
        if model is not None:
            session["model"] = model.name
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

    def _move(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"{self.connection}: from {self.state.value} to {state.value}")
        self.state = state

    def _created(self) -> None:
        self._move(State.OPEN)
        self.emit(self._session_event("created"), {"session": self._shaped()})
        wanted = self.knobs["openai.conversation_created"]
        if self.kind == "realtime" and (wanted == "always" or wanted == self.dialect.name):
            conversation = {"id": self.conversation_id, "object": "realtime.conversation"}
            self.emit("conversation.created", {"conversation": conversation})
        backlog, self._backlog = self._backlog, []
        for waiting in backlog:
            waiting()

    def _shaped(self) -> Wire:
        if not self.shape:
            return self.wire
        kind = self.dialect.event(self._session_event("updated"))

        def allowed(session: Wire) -> bool:
            event = {"type": kind, "event_id": "event_0", "session": session}
            return validate(self.dialect.name, "server", event) is None

        return shaped(self.wire, self.shape, allowed)

    def _session_event(self, what: str) -> str:
        prefix = "transcription_session" if self.kind == "transcription" and self.dialect.name == "beta" else "session"
        return f"{prefix}.{what}"

    def _expire(self) -> None:
        error = VendorError("session_expired", minutes=self._minutes)
        self.emit("error", {"error": error.event(None)})
        self.close(error.text.close, error.message)

    def connection_lost(self, code: int, reason: str, initiator: str) -> None:
        """The connection has ended, by the party `initiator`. Everything that was to come is forgotten."""
        if self.state is State.CLOSED:
            return
        self._move(State.CLOSED)
        self.closed = Closed(code, reason, initiator)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for response in (self._active, *self._aside):
            if response is not None:
                response.drop()
        self._on_change()

    # -- controls for test cases

    @property
    def heard(self) -> list[Heard]:
        """The phrases that the client has sent so far. Times are in ms of audio since the session's first byte."""
        return self.input.heard

    @property
    def active_response(self) -> Response | None:
        """The response that is being made, if any."""
        return self._active

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
        invalid = validate(self.dialect.name, "server", event) if isinstance(event, dict) else "not a JSON object"
        self._send(Frame(kind, data, invalid))

    def error(self, code: str, message: str, *, error_type: str = "server_error", param: str | None = None) -> None:
        """Send an `error` event; the session goes on."""
        body = {"type": error_type, "code": code, "message": message, "param": param, "event_id": None}
        self.emit("error", {"error": body})

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection from the vendor's side, after everything that has been sent."""
        if self.state in (State.CONNECTED, State.OPEN):
            self._sink.send(Frame("close", gate=f"{self.name}/close", code=code, reason=reason))
            self._move(State.CLOSING)

    def abort(self) -> None:
        """Reset the connection without a close frame."""
        if self.state is not State.CLOSED:
            self.record_close(1006, "reset", self._party)
            self._sink.abort()
            self.connection_lost(1006, "reset", self._party)

    def fail_response(self, code: str = "server_error") -> None:
        """Let the next response end with status failed and this error code."""
        self._failure = code

    # -- in

    def receive_text(self, text: str) -> None:
        """Take in one text frame."""
        try:
            event = _decode(text)
        except msgspec.DecodeError as error:
            self._record(text, "malformed", f"not JSON: {error}")
            self._when_open(lambda: self._refuse(VendorError("invalid_json"), None))
            return
        if not isinstance(event, dict):
            self._record(text, "malformed", "not a JSON object")
            self._when_open(lambda: self._refuse(VendorError("not_an_object"), None))
            return
        kind = event.get("type")
        if kind == APPEND and validate(self.dialect.name, "client", event) is None:
            self._record(text, APPEND, None)
            if self.state is State.OPEN:
                self._append(event)
                self._on_change()
            else:
                self._when_open(lambda: self._append(event))
            return
        invalid = validate(self.dialect.name, "client", event)
        self._record(text, kind if isinstance(kind, str) else "malformed", invalid)
        self.received.append(event)
        self._when_open(lambda: self._handle(event))
        self._on_change()

    def _when_open(self, action: Callable[[], None]) -> None:
        """Do something now, or right after `session.created` when that has not been sent yet."""
        if self.state is State.OPEN:
            action()
        elif self.state is State.CONNECTED:
            self._backlog.append(action)

    def receive_binary(self, data: bytes) -> None:
        """Take in one binary frame, which the vendor does not want."""
        invalid = "a binary frame: the vendor wants text"
        self.ports.recorder.record(
            self._client_party, self._party, CHANNEL, "binary", data, connection=self.connection, invalid=invalid
        )
        self._when_open(lambda: self._refuse(VendorError("binary_frame"), None))

    def receive_oversized(self, size: int) -> None:
        """Take note of a message that is larger than the vendor allows; it ends the connection. `size` in bytes."""
        self.ports.recorder.record(
            self._client_party,
            self._party,
            CHANNEL,
            "oversized",
            connection=self.connection,
            invalid=f"a message of {size} bytes",
            meta={"bytes": size},
        )
        self.close(1009, "message too large")

    def _record(self, text: str, kind: str, invalid: str | None) -> None:
        self.ports.recorder.record(
            self._client_party, self._party, CHANNEL, kind, text, connection=self.connection, invalid=invalid
        )

    def _refuse(self, error: VendorError, event: Wire | None) -> None:
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
            if self.kind == "transcription" and kind not in _TRANSCRIPTION_EVENTS:
                raise VendorError("not_in_this_session", got=kind, kind=self.kind)
            handler(event)
        except VendorError as error:
            self._refuse(error, event)

    def _valid(self, event: Wire) -> Wire:
        """The event, without nulls where the knob says that they do not count. Raises `VendorError`."""
        while violation := check(self.dialect.name, "client", event):
            ignored = violation.got is None and violation.kind in ("invalid_type", "invalid_value")
            if not ignored or self.knobs["openai.null_for_absent"] == "refuse":
                raise from_violation(violation, defaults()["events"][self.dialect.name])
            event = _without(event, violation.param)
        return event

    # -- out

    def new_id(self, prefix: str) -> str:
        """A new id, such as `item_1f2e3d4c5b6a00007`: 12 digits of the session and a number."""
        return f"{prefix}_{self._token}{next(self._ids):05d}"

    def padding(self) -> dict[str, str]:
        """The obfuscation of a delta: 11 to 14 characters that mean nothing."""
        if not self.knobs["openai.obfuscation"]:
            return {}
        return {"obfuscation": f"{self._token}{len(self.sent):02d}"[: 11 + len(self.sent) % 4]}

    def emit(self, event_type: str, fields: Mapping[str, Any], gate: str | None = None) -> None:
        """Send an event; `event_type` is the GA name."""
        if self.state is not State.OPEN:
            return
        kind = self.dialect.event(event_type)
        event = {"type": kind, "event_id": self.new_id("event"), **fields}
        self.sent.append(kind)
        self._sink.send(Frame(kind, _encode(event).decode(), validate(self.dialect.name, "server", event), gate))
        self._on_change()

    def emit_valid(self, event_type: str, text: str) -> None:
        """Send an event that is JSON already and known to be valid; `event_type` is that of the wire."""
        if self.state is State.OPEN:
            self._sink.send(Frame(event_type, text))

    def _send(self, frame: Frame) -> None:
        if self.state is State.OPEN:
            self.sent.append(frame.kind)
            self._sink.send(frame)
            self._on_change()

    def record_sent(self, frame: Frame) -> None:
        """Write a frame down at the moment when it leaves; called by the shell."""
        if frame.kind == "close":
            self.record_close(frame.code, frame.reason, self._party)
            return
        self.ports.recorder.record(
            self._party,
            self._client_party,
            CHANNEL,
            frame.kind,
            frame.body,
            connection=self.connection,
            invalid=frame.invalid,
        )

    def record_close(self, code: int, reason: str, initiator: str) -> None:
        """Write down that a party has ended the connection."""
        other = self._client_party if initiator == self._party else self._party
        meta = {"code": code, "reason": reason, "initiator": initiator}
        self.ports.recorder.record(initiator, other, CHANNEL, "close", connection=self.connection, meta=meta)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Do something after a while, unless the connection has ended by then."""
        key = next(self._ids)

        def run() -> None:
            del self._timers[key]
            callback()

        clock = self.ports.clock
        self._timers[key] = clock.call_at(clock.now() + seconds, run)

    # -- session

    def _session_update(self, event: Wire) -> None:
        update = event["session"]
        if self.refuse_updates is not None:
            raise VendorError(self.refuse_updates)
        for_transcription = event["type"] == "transcription_session.update" or update.get("type") == "transcription"
        if self.kind == "realtime" and for_transcription:
            raise VendorError("transcription_update_to_realtime")
        if self.kind == "transcription" and not for_transcription:
            raise VendorError("realtime_update_to_transcription")
        if self.kind == "realtime":
            check_update(self.dialect, self._catalogue, self.wire, update, spoke=self._spoke)
        merged = self.dialect.merged(self.wire, update)
        settings = self.dialect.settings(merged)
        if self.kind == "transcription":
            check_transcription(self.dialect, self._catalogue, settings)
        self.wire = merged
        self.settings = settings
        self.input.configure(settings.input_format, settings.turn_detection)
        self.emit(self._session_event("updated"), {"session": self._shaped()})

    @property
    def _spoke(self) -> bool:
        """Whether there is audio of the assistant."""
        return any(response.first_audio_at is not None for response in self.responses)

    # -- input audio

    def _append(self, event: Wire) -> None:
        try:
            audio = decode_audio(event["audio"], "audio")
        except VendorError as error:
            self._refuse(error, event)
            return
        self.input.append(audio)

    def _clear(self, event: Wire) -> None:
        self.input.take()
        self._turn_item_id = None
        self.emit("input_audio_buffer.cleared", {})

    def speech_started(self, audio_start_ms: int) -> None:
        """Turn detection hears speech: announce its item, and interrupt the response if it may be interrupted."""
        self._turn_item_id = self.new_id("item")
        fields = {"audio_start_ms": audio_start_ms, "item_id": self._turn_item_id}
        gate = None
        if self.responses:
            self._interruptions += 1
            gate = f"{self.name}/interruption{self._interruptions}"
        self.emit("input_audio_buffer.speech_started", fields, gate)
        detection = self.settings.turn_detection
        response = self._active
        if response is None or detection is None or not detection.interrupt_response:
            return
        lag = int(self.knobs["openai.interruption_lag_ms"])
        if lag:
            self.later(lag / 1000, lambda: self._interrupt(response))
        else:
            self._interrupt(response)

    def _interrupt(self, response: Response) -> None:
        if self._active is not response:
            return  # it came to its end before the interruption had its effect
        response.cancel("turn_detected")
        if self.knobs["openai.server_truncates"] and response.first_audio_at is not None:
            self._truncate_played(response, response.first_audio_at)

    def _truncate_played(self, response: Response, began: float) -> None:
        """The server's own truncation: it takes for played what can have been played since the audio began."""
        item = response.items[-1]
        if item.role == "assistant" and item.parts and item.parts[0].kind == "audio":
            end = int(min(item.parts[0].duration_ms, round((self.ports.clock.now() - began) * 1000)))
            self._items.truncated(item, 0, end)

    def speech_stopped(self, audio_end_ms: int) -> None:
        """Turn detection hears the end of a turn: commit it, and answer if the session wants that."""
        fields = {"audio_end_ms": audio_end_ms, "item_id": self._turn_item_id}
        self.emit("input_audio_buffer.speech_stopped", fields)
        self._commit()
        detection = self.settings.turn_detection
        if self.kind == "realtime" and detection is not None and detection.create_response:
            try:
                self._create_response({})
            except VendorError as error:
                self._refuse(error, None)

    def _commit_wanted(self, event: Wire) -> None:
        if self.input.buffered_ms < MINIMUM_COMMIT_MS:
            raise VendorError("commit_too_small", ms=self.input.buffered_ms)
        self._commit()

    def _commit(self) -> None:
        buffered = self.input.buffered_ms
        audio, heard = self.input.take()
        item_id, self._turn_item_id = self._turn_item_id or self.new_id("item"), None
        names = tuple(found.phrase for found in heard)
        part = Part("audio", audio=audio, duration_ms=buffered, heard=names)
        item = Item(item_id, "message", role="user", parts=[part])
        previous = self.conversation.insert(item, None)
        self._turns += 1
        self.emit("input_audio_buffer.committed", {"previous_item_id": previous, "item_id": item.id})
        self.item_added(item, previous)
        self.item_done(item, previous)
        if self.settings.transcription is not None:
            point = f"{self.name}/turn{self._turns}/transcription/delay"
            delay = self.ports.choices.delay(point, 50, 400, 4000)
            model = str(self.settings.transcription.get("model", ""))
            self.later(delay, lambda: self._transcribe(item, part, model))

    def _transcribe(self, item: Item, part: Part, model: str) -> None:
        part.transcript = transcription_of(part)
        for event_type, fields in transcription_events(item, part, model):
            self.emit(event_type, {**fields, **self.padding()} if "delta" in fields else fields)

    # -- conversation

    def item_added(self, item: Item, previous: str | None) -> None:
        """Tell that an item has joined the conversation."""
        self._items.added(item, previous)

    def item_done(self, item: Item, previous: str | None) -> None:
        """Tell that an item is finished."""
        self._items.done(item, previous)

    # -- responses

    def _create_response(self, params: Wire) -> None:
        in_conversation = params.get("conversation") != "none"
        if in_conversation and self._active is not None:
            raise VendorError("active_response", response=self._active.id)
        check_output(self.dialect, self._catalogue, params, "response")
        overrides = {key: params[key] for key in params if key not in ("conversation", "input", "metadata")}
        session = self.dialect.merged(self.wire, overrides)
        settings = self.dialect.settings(session)
        if in_conversation and self._spoke and settings.voice != self.settings.voice:
            raise VendorError("cannot_update_voice")
        items: Sequence[Item] = self.conversation.items
        if params.get("input") is not None:
            items = self._context(params["input"])
        prompt = prompt_of(items, self.conversation, settings, str(params.get("instructions") or ""))
        tokens = [item.tokens() for item in items]
        spent = text_tokens(settings.instructions) + sum(t for t, _ in tokens), sum(a for _, a in tokens)
        failure, self._failure = self._failure, None
        response = Response(
            self,
            len(self.responses) + 1,
            session,
            settings,
            self._brain.reply(prompt),
            metadata=params.get("metadata"),
            in_conversation=in_conversation,
            input_tokens=spent,
            failure=failure,
        )
        self.responses.append(response)
        if in_conversation:
            self._active = response
        else:
            self._aside.add(response)
        response.start()

    def _context(self, given: list[Wire]) -> list[Item]:
        """The items of `response.create.input`: those of the conversation by reference, or new ones."""
        return [
            self._items.find(wire["id"], "item_reference_not_found")
            if wire["type"] == "item_reference"
            else self._items.given(wire, wire.get("id") or "", f"response.input[{index}]")
            for index, wire in enumerate(given)
        ]

    def _cancel(self, event: Wire) -> None:
        wanted = event.get("response_id")
        running = [response for response in (self._active, *self._aside) if response is not None]
        if wanted is None:
            running = [] if self._active is None else [self._active]
        else:
            running = [response for response in running if response.id == wanted]
        if not running:
            raise VendorError("cancel_not_active")
        running[0].cancel("client_cancelled")

    def response_finished(self, response: Response) -> None:
        """A response has ended: another one may begin. The rate limits follow a moment later."""
        if self._active is response:
            self._active = None
        self._aside.discard(response)
        self.later(RATE_LIMITS_DELAY, self._rate_limits)

    def _rate_limits(self) -> None:
        used = 0
        for response in self.responses:
            for item in response.items:
                used += sum(item.tokens())
        limits: list[Wire] = [
            {"name": "tokens", "limit": 40000, "remaining": max(0, 40000 - used), "reset_seconds": 0.06}
        ]
        if self.dialect.name == "beta":
            requests = {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 60.0}
            limits.insert(0, requests)
        self.emit("rate_limits.updated", {"rate_limits": limits})


def _without(event: Wire, param: str) -> Wire:
    """A copy of an event without the field that `param` names."""
    copied: Wire = _decode(_encode(event))
    holder: Any = copied
    *way, last = param.replace("[", ".").replace("]", "").split(".")
    for key in way:
        holder = holder[int(key)] if isinstance(holder, list) else holder[key]
    del holder[int(last) if isinstance(holder, list) else last]
    return copied
