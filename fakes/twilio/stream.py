"""One bidirectional Media Stream: the messages of the WebSocket, both ways, and the playout clock.

Source: Twilio docs, "Media Streams - WebSocket messages", "<Stream>"; errors 31900 to 31951.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from fakes.twilio.boundary import CloseHow, StreamFailure, StreamOpening
from fakes.twilio.debugger import TEXTS
from fakes.twilio.playback import SILENCE, Playback
from fakes.twilio.schema import (
    Clear,
    Mark,
    Media,
    TolerantClear,
    TolerantMark,
    TolerantMedia,
    decode_command,
    decode_tolerant,
    event_fault,
    kind_of,
)
from fakes.twilio.signature import signature, signed_url

if TYPE_CHECKING:
    from fakes.twilio.call import Call

CONNECT_TIMEOUT = 15.0
FIRST_MEDIA_AFTER = 0.001
SILENCE_BASE64 = b64encode(SILENCE).decode()


@lru_cache(maxsize=8192)
def _base64(frame: bytes) -> str:
    return b64encode(frame).decode()


class StreamState(StrEnum):
    """Where a stream is in its life."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    ACCEPTED = "accepted"
    STARTED = "started"
    STOPPED = "stopped"
    OVER = "over"


TRANSITIONS: dict[StreamState, frozenset[StreamState]] = {
    StreamState.WAITING: frozenset({StreamState.CONNECTING, StreamState.OVER}),
    StreamState.CONNECTING: frozenset({StreamState.ACCEPTED, StreamState.OVER}),
    StreamState.ACCEPTED: frozenset({StreamState.STARTED, StreamState.STOPPED, StreamState.OVER}),
    StreamState.STARTED: frozenset({StreamState.STOPPED, StreamState.OVER}),
    StreamState.STOPPED: frozenset({StreamState.OVER}),
    StreamState.OVER: frozenset(),
}


class Stream:
    """A stream of one call.

    `name`: `call1/stream1`. `sid`: MZ... `on_end(opened)` is told once when the stream ends for any reason but the end
    or the redirection of its call; `opened` is False when it never connected.
    """

    def __init__(
        self,
        call: Call,
        url: str,
        *,
        label: str = "",
        parameters: dict[str, str] | None = None,
        callback: tuple[str, str] = ("", "POST"),
        on_end: Callable[[Stream, bool], None],
    ) -> None:
        self.call = call
        self.core = call.core
        self.ordinal = len(call.streams) + 1
        self.name = f"{call.name}/stream{self.ordinal}"
        self.point = f"twilio/{self.name}"
        self.sid = "MZ" + self.core.ports.choices.token(f"{self.point}/sid", 32)
        self.label = label or self.sid
        self.url = url
        self.parameters = parameters or {}
        self.state = StreamState.WAITING
        self.playback = Playback()
        self.lost = False
        self.close_code: int | None = None
        self.started_at: float | None = None
        self._callback = callback
        self._callbacks = 0
        self._on_end = on_end
        self._airing = False
        self._upgrading = False
        self._sequence = 0
        self._chunk = 0
        self._accepted_at = 0.0
        self._first_timestamp = 0
        self._warned: set[int] = set()
        self._record = self.core.ports.recorder.record
        self._send = self.core.io.send
        self._party = self.core.gateway_party
        self._tail = f'"}},"streamSid":"{self.sid}"}}'
        call.streams.append(self)
        self.core.register(self)

    def __repr__(self) -> str:
        return f"<Stream {self.name} {self.state}>"

    def _enter(self, state: StreamState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"{self.name} cannot go from {self.state} to {state}: a fault of the fake")
        self.state = state

    def replacement(self, on_end: Callable[[Stream, bool], None]) -> Stream:
        """Another stream of the same call to the same place, for one that was lost."""
        return Stream(
            self.call,
            self.url,
            label="" if self.label == self.sid else self.label,
            parameters=self.parameters,
            callback=self._callback,
            on_end=on_end,
        )

    # ------------------------------------------------------------------ opening

    def open(self) -> None:
        """Connect after the delay chosen at `<stream>/connect/delay`."""
        self.call.later("stream_connect_delay", f"stream{self.ordinal}/connect/delay", self._connect)

    def _connect(self) -> None:
        if self.state is not StreamState.WAITING:
            return
        self._enter(StreamState.CONNECTING)
        core = self.core
        headers = (
            ("User-Agent", "Twilio.TmeWs/1.0"),
            ("X-Twilio-Signature", signature(core.auth_token, signed_url(self.url, core.knobs))),
        )
        core.io.open_stream(StreamOpening(self.name, f"{self.point}/connect", self.url, headers, CONNECT_TIMEOUT))

    def opening(self) -> bool:
        """The upgrade request leaves now. False: it must not, since the stream is not wanted any more."""
        if self.state is not StreamState.CONNECTING:
            return False
        headers = [
            ["User-Agent", "Twilio.TmeWs/1.0"],
            ["X-Twilio-Signature", signature(self.core.auth_token, signed_url(self.url, self.core.knobs))],
        ]
        self._upgrading = True
        self._note("twilio", "upgrade", None, url=self.url, headers=headers, subprotocols=[])
        return True

    def opened(self, headers: list[list[str]]) -> None:
        """The server accepted the upgrade."""
        self._note(self._party, "upgrade.accepted", None, status=101, headers=headers)
        if self.state is not StreamState.CONNECTING:
            self._close()
            return
        self._enter(StreamState.ACCEPTED)
        self._accepted_at = self.core.ports.clock.now()
        self.call.later("stream_start_delay", f"stream{self.ordinal}/start/delay", self._start)

    def failed(self, failure: StreamFailure) -> None:
        """The WebSocket did not open."""
        if failure.status is not None:
            self._note(
                self._party,
                "upgrade.refused",
                failure.body or None,
                status=failure.status,
                headers=[list(pair) for pair in failure.headers],
            )
        if self.state is StreamState.OVER:
            return
        self._enter(StreamState.OVER)
        code = int(TEXTS["stream_failure"][failure.kind.value])
        self.core.debug(code, f"{self.url}: {failure.message}", self.call)
        self._report("stream-error", error=f"{code}: {failure.message}")
        self._on_end(self, False)

    def _start(self) -> None:
        if self.state is not StreamState.ACCEPTED:
            return
        self._enter(StreamState.STARTED)
        self._report("stream-started")
        self._emit("connected", '{"event":"connected","protocol":"Call","version":"1.0.0"}')
        self._sequence = 1
        start = {
            "event": "start",
            "sequenceNumber": "1",
            "start": {
                "accountSid": self.core.account_sid,
                "streamSid": self.sid,
                "callSid": self.call.sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": self.parameters,
            },
            "streamSid": self.sid,
        }
        self._emit("start", json.dumps(start, separators=(",", ":"), ensure_ascii=False))
        self.started_at = self.core.ports.clock.now()
        first = self.started_at + FIRST_MEDIA_AFTER
        self._first_timestamp = round((first - self._accepted_at) * 1000)
        self.call.line.attach(self, at=first)
        percent = int(self.core.knobs["twilio.stream_lose_percent"])
        if self.core.ports.choices.flag(f"{self.point}/lose", percent / 100):
            self.call.later("stream_lose_delay", f"stream{self.ordinal}/lose/delay", self.lose)

    # ------------------------------------------------------------------ Twilio -> server

    @property
    def wants_ticks(self) -> bool:
        """Whether the line has to keep its clock going for this stream."""
        return self.call.line.audio or self._airing or self.playback.buffered > 0

    def tick(self, spoken: bytes | None) -> bytes | None:
        """20 ms pass: echo the marks that were reached, send what the far end says, give what it hears."""
        playback = self.playback
        for name in playback.reached():
            self._echo(name)
        if spoken is not None or self.call.line.audio:
            payload = SILENCE_BASE64 if spoken is None else _base64(spoken)
            sequence = self._sequence + 1
            timestamp = self._first_timestamp + 20 * self._chunk
            self._chunk += 1
            text = (
                f'{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{self._chunk}"'
                f',"timestamp":"{timestamp}","payload":"{payload}{self._tail}'
            )
            if self._send(self.name, text):
                self._sequence = sequence
                self._record("twilio", self._party, "twilio.stream", "media", text, connection=self.name)
            else:
                self._warn(31930, "")
        heard = playback.next()
        self._airing = heard is not None
        return heard

    def dtmf(self, digit: str) -> None:
        """The far end pressed a key."""
        if self.state is StreamState.STARTED:
            body = f'"dtmf":{{"track":"inbound_track","digit":"{digit}"}}'
            self._emit("dtmf", f'{{"event":"dtmf","streamSid":"{self.sid}","sequenceNumber":"{self._next()}",{body}}}')

    def _echo(self, name: str) -> None:
        mark = json.dumps({"name": name}, separators=(",", ":"), ensure_ascii=False)
        sequence = self._next()
        self._emit("mark", f'{{"event":"mark","sequenceNumber":"{sequence}","streamSid":"{self.sid}","mark":{mark}}}')

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _emit(self, kind: str, text: str) -> None:
        if self._send(self.name, text):
            self._record(
                "twilio",
                self._party,
                "twilio.stream",
                kind,
                text,
                connection=self.name,
                invalid=event_fault(text),
            )

    def send_raw(self, data: str | bytes) -> None:
        """Send anything at all, for a test case; it is recorded as invalid when Twilio would not send it."""
        if not self._send(self.name, data):
            return
        if isinstance(data, bytes):
            kind = "binary"
            fault: str | None = "a binary frame: Twilio sends text only"
        else:
            kind, fault = kind_of(data), event_fault(data)
        self._record("twilio", self._party, "twilio.stream", kind, data, connection=self.name, invalid=fault)

    # ------------------------------------------------------------------ server -> Twilio

    def receive(self, data: str | bytes) -> None:
        """One message from the server: text, or bytes for a binary frame."""
        if isinstance(data, bytes):
            self._fault(31950, "binary", data, "a binary frame, expected a text frame")
            return
        command: Media | Mark | Clear | TolerantMedia | TolerantMark | TolerantClear
        try:
            command = decode_command(data)
        except msgspec.DecodeError as error:
            kind = kind_of(data)
            self._fault(31951, kind, data, str(error))
            if "unknown field" not in str(error) or self.core.knobs["twilio.stream_extra_field"] == "ignored":
                return
            try:
                command = decode_tolerant(data)
            except msgspec.DecodeError:
                return
            if command.streamSid == self.sid:
                self._obey(command)
            return
        kind = type(command).__name__.lower()
        if command.streamSid != self.sid:
            self._fault(31951, kind, data, f"streamSid is {command.streamSid!r}, expected {self.sid!r}")
            return
        self._record(self._party, "twilio", "twilio.stream", kind, data, connection=self.name)
        self._obey(command)

    def _obey(self, command: Media | Mark | Clear | TolerantMedia | TolerantMark | TolerantClear) -> None:
        if self.state not in (StreamState.ACCEPTED, StreamState.STARTED):
            return
        playback = self.playback
        if isinstance(command, (Media, TolerantMedia)):
            if not playback.add(command.media.payload):
                self._warn(31931, f"{len(command.media.payload)} bytes")
            elif self.state is StreamState.STARTED:
                self.call.line.wake()
        elif isinstance(command, (Mark, TolerantMark)):
            playback.mark(command.mark.name)
            if not self._airing and not playback.buffered:
                for name in playback.reached():
                    self._echo(name)
        else:
            self._airing = False
            for name in playback.clear():
                self._echo(name)

    def _fault(self, code: int, kind: str, data: str | bytes, reason: str) -> None:
        self._record(
            self._party, "twilio", "twilio.stream", kind, data, connection=self.name, invalid=f"{code}: {reason}"
        )
        if self.state in (StreamState.ACCEPTED, StreamState.STARTED):
            self._warn(code, reason)

    def _warn(self, code: int, detail: str) -> None:
        """A warning that the debugger shows once for each stream."""
        if code not in self._warned:
            self._warned.add(code)
            self.core.debug(code, f"{self.name} {detail}".rstrip(), self.call)

    # ------------------------------------------------------------------ the end

    def redirected(self) -> None:
        """The call goes on with another document: `stop`, then close."""
        self._stop()

    def call_ended(self) -> None:
        """The call is over: `stop` after the delay chosen at `<call>/hangup/stop/delay`, then close."""
        if self.state in (StreamState.WAITING, StreamState.CONNECTING):
            self._stop()
        elif self.state in (StreamState.ACCEPTED, StreamState.STARTED):
            point = f"{self.call.point}/hangup/stop/delay"
            self.core.after(self.core.timing.delay(point, "hangup_stop_delay"), self._stop)

    def lose(self) -> None:
        """The socket is lost on Twilio's side: no `stop`, no close frame. It may be replaced by another stream."""
        if self.state not in (StreamState.ACCEPTED, StreamState.STARTED):
            return
        self.lost = True
        self._detach()
        self._enter(StreamState.OVER)
        self._shut("abrupt")
        self._report("stream-error", error="31924: connection lost")
        self._on_end(self, True)

    def closed(self, code: int, reason: str) -> None:
        """The socket is gone. `code`: 1005 for a close frame without one, 1006 for no close frame."""
        if self.state in (StreamState.STOPPED, StreamState.OVER):
            if self.state is StreamState.STOPPED:
                self._enter(StreamState.OVER)
            return
        self.close_code = code
        self._note(self._party, "close", None, code=code, reason=reason, initiator=self._party)
        was_accepted = self.state is StreamState.ACCEPTED
        self._detach()
        self._enter(StreamState.OVER)
        logged = self.core.knobs["twilio.close_logs_31921"]
        if logged == "always" or (logged == "abnormal" and code != 1000):
            self.core.debug(31921, f"{self.url} closed with {code} {reason}".rstrip(), self.call)
        if not was_accepted:
            self._report("stream-stopped")
        if not self.call.status.over:
            self._on_end(self, True)

    def _stop(self) -> None:
        if self.state in (StreamState.STOPPED, StreamState.OVER):
            return
        state = self.state
        self._detach()
        if state in (StreamState.WAITING, StreamState.CONNECTING):
            self._enter(StreamState.OVER)
            if self._upgrading:
                self._shut("abrupt")
            elif state is StreamState.CONNECTING:
                self.core.io.close_stream(self.name, "abrupt")
            return
        if state is StreamState.STARTED:
            if self.core.knobs["twilio.marks_at_stop"] == "echoed":
                for name in self.playback.clear():
                    self._echo(name)
            if self.core.knobs["twilio.stop_message"] == "sent":
                body = f'"stop":{{"accountSid":"{self.core.account_sid}","callSid":"{self.call.sid}"}}'
                head = f'"event":"stop","sequenceNumber":"{self._next()}","streamSid":"{self.sid}"'
                self._emit("stop", f"{{{head},{body}}}")
            self._report("stream-stopped")
        self._enter(StreamState.STOPPED)
        self._close()

    def _close(self) -> None:
        how = str(self.core.knobs["twilio.stream_close"])
        self._shut("abrupt" if how == "abrupt" else "1000" if how == "1000" else "1005")

    def _shut(self, how: CloseHow) -> None:
        code = 1006 if how == "abrupt" else int(how)
        self.close_code = code
        self._note("twilio", "close", None, code=code, reason="", initiator="twilio")
        self.core.io.close_stream(self.name, how)

    def _detach(self) -> None:
        if self.started_at is not None and not self.call.status.over:
            self.call.line.attach(None)

    # ------------------------------------------------------------------ record and callbacks

    def _note(self, source: str, kind: str, body: str | None, **meta: object) -> None:
        target = self._party if source == "twilio" else "twilio"
        self._record(source, target, "twilio.stream", kind, body, connection=self.name, meta=meta)

    def _report(self, event: str, error: str = "") -> None:
        url, method = self._callback
        if not url:
            return
        self._callbacks += 1
        nanoseconds = round(self.core.ports.clock.wall() * 1000) * 1_000_000
        moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
        params = [
            ("AccountSid", self.core.account_sid),
            ("CallSid", self.call.sid),
            ("StreamSid", self.sid),
            ("StreamName", self.label),
            ("StreamEvent", event),
            ("Timestamp", f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}Z"),
        ]
        if error:
            params.append(("StreamError", error))
        label = f"stream{self.ordinal}/callback/{event}#1"
        delay = self.core.timing.delay(f"{self.call.point}/{label}/delay", "callback_delay")
        self.core.webhooks.send(self.call, label, url, method, params, delay=delay)
