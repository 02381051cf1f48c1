"""One WebRTC or SIP call's session: its events cross a data channel, its sound a media track. Sans I/O.

The session core is the same as on a WebSocket. What differs is here: sound comes in by itself, silence too; sound goes
out at real time, and the vendor knows what has been played; the call has an end of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fakes.audio import encode, resample
from fakes.openai.calls import OVER, Call, CallState
from fakes.openai.connected import State
from fakes.openai.dialects import DIALECTS
from fakes.openai.frames import Frame
from fakes.openai.playout import BYTES_PER_MS, FRAME_SECONDS, RATE, Playout
from fakes.openai.secrets import preset
from fakes.openai.session import RealtimeSession
from fakes.ports import Timer

if TYPE_CHECKING:
    from fakes.openai.service import OpenAIService

CONNECT_SECONDS = 30.0
"""How long a call may take from its answer to its connection. After that it is over."""
_SECOND = bytes(1000 * BYTES_PER_MS)
_TOLERANCE = 0.001
_MISSING = 2 * FRAME_SECONDS
"""A frame comes 20 ms after the one before it; when the next one is due as well, it is missing."""


class Leg(Protocol):
    """The peer connection (or the trunk) of a call, as its session sees it."""

    def send(self, frame: Frame) -> None:
        """Send an event over the data channel: after those before it, when its gate lets it through.

        `RtcSession.left` is to be told when it leaves. A `close` frame crosses no channel, but takes its turn, and
        `left` is to be told of it too. A leg without a data channel gets nothing but that.
        """
        ...

    def play(self, pcm: bytes) -> None:
        """The sound of the coming 20 ms (24 kHz, s16le, mono); silence is not told of."""
        ...

    def release(self) -> None:
        """The call is over: close the connection. Comes once."""
        ...


class RtcSession:
    """The session of one call, from its answer to its end.

    `call` must not be over; its `running` is set, and its moves are listened to. `patience`: for how many seconds the
    microphone may be late before its absence is taken for silence; 0 when it is never late. `filter`: which types of
    events cross the data channel; None is as the call says.
    """

    def __init__(
        self,
        service: OpenAIService,
        call: Call,
        leg: Leg,
        *,
        patience: float = 0.0,
        filter: Callable[[str], bool] | None = None,
    ) -> None:
        self.call = call
        self.ended = False
        self.filter = filter if filter is not None else call.filter
        self._service = service
        self._leg = leg
        self._clock = service.ports.clock
        self.playout = Playout(self._clock, self)
        self.session = RealtimeSession(
            service.ports,
            self,
            DIALECTS[call.dialect],
            ordinal=call.ordinal,
            kind=call.kind,
            model=call.model,
            minutes=service.minutes(call.dialect),
            catalogue=service.catalogue_of(call),
            knobs=service.knobs,
            brain=service.brain,
            client_party=call.client,
            party=service.party,
            on_change=service.changed,
            call=f"call{call.ordinal}",
            media=self.playout,
            mcp_servers=service.mcp_servers,
            detection=service.detection,
        )
        preset(self.session, call.session)
        self._client = call.client
        self._party = service.party
        self._patience = patience
        self._absent = True
        self._heard_until = 0.0
        self._opened = False
        self._downsampled = _Downsampled()
        self._silence_timer: Timer | None = None
        self._connect_timer = self._clock.call_at(self._clock.now() + CONNECT_SECONDS, self._never_connected)
        call.running = self.session
        call.on_move = self._moved
        service.sessions.append(self.session)
        service.changed()

    # -- the connection

    def open(self) -> None:
        """The connection is up, and so is its data channel, if it has one: the session begins."""
        if self._opened or self.ended:
            return
        self._opened = True
        self._connect_timer.cancel()
        self._heard_until = self._clock.now()
        self.session.start()

    def lost(self, reason: str, code: int = 1006) -> None:
        """The peer connection has ended without the vendor's doing; `code` 1000: the peer has closed it."""
        if not self.ended:
            self.session.record_close(code, reason, self._client)
            self._end(code, reason, self._client)

    def _never_connected(self) -> None:
        self.lost(f"no connection within {CONNECT_SECONDS:g} s of the answer")

    def _moved(self, call: Call) -> None:
        if call.state is CallState.ENDED and not self.ended:
            self.session.record_close(1000, "the call was ended", self._party)
            self._end(1000, "the call was ended", self._party)

    def _end(self, code: int, reason: str, initiator: str) -> None:
        if self.ended:
            return
        self.ended = True
        self._connect_timer.cancel()
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None
        self.playout.stop()
        self.session.connection_lost(code, reason, initiator)
        if self.call.state not in OVER:
            self.call.move(CallState.ENDED)
        self._leg.release()
        self._service.changed()

    # -- events

    def receive_text(self, text: str) -> None:
        """Take in one text message of the data channel."""
        if not self.ended:
            self._fill(self._clock.now())
            self.session.receive_text(text)

    def receive_binary(self, data: bytes) -> None:
        """Take in one binary message of the data channel, which the vendor does not want."""
        if not self.ended:
            self.session.receive_binary(data)

    def send(self, frame: Frame) -> None:
        """See `Sink.send`; called by the session."""
        if frame.kind == "close" or self.filter is None or self.filter(frame.kind):
            self._leg.send(frame)

    def abort(self) -> None:
        """See `Sink.abort`; called by the session."""
        self._end(1006, "reset", self._party)

    def left(self, frame: Frame) -> None:
        """A frame leaves now; called by the leg."""
        if self.ended:
            return
        self.session.record_sent(frame)
        if frame.kind == "close":
            self._end(frame.code, frame.reason, self._party)

    # -- sound out

    def play(self, frame: bytes) -> None:
        """See `PlayoutEvents.play`."""
        self._leg.play(frame)

    def buffer_event(self, what: str, response_id: str) -> None:
        """See `PlayoutEvents.buffer_event`."""
        self.session.emit(f"output_audio_buffer.{what}", {"response_id": response_id})

    # -- sound in

    def hear(self, pcm: bytes) -> None:
        """Take in sound of the microphone that has just come: 24 kHz, s16le, mono, best in pieces of 20 ms."""
        if not self._opened or self.ended:
            return
        now = self._clock.now()
        self._fill(now - len(pcm) / BYTES_PER_MS / 1000, 2 * _TOLERANCE)
        self._absent = False
        self._heard_until = now
        self._feed(pcm)
        if self._silence_timer is None and not self.ended:
            self._watch(now)
        self._service.changed()

    def _watch(self, now: float) -> None:
        when = now + FRAME_SECONDS if self._absent else self._heard_until + self._patience + _MISSING
        self._silence_timer = self._clock.call_at(when, self._look)

    def _look(self) -> None:
        """The microphone has been silent, perhaps: turn detection has to hear that, or no turn ever ends."""
        self._silence_timer = None
        now = self._clock.now()
        self._fill(now)
        if not self.ended and (self.session.input.speaking or not self._absent):
            self._watch(now)

    def _fill(self, until: float, slack: float = _MISSING) -> None:
        """Where no sound has come there was silence; a long one is filled in only when something follows it.

        `slack`: for how long before `until` sound may be on its way.
        """
        gap = until - self._heard_until
        if not self._opened or gap < _TOLERANCE or (not self._absent and gap < self._patience + slack - _TOLERANCE):
            return
        self._absent = True
        milliseconds = round(gap * 1000)
        self._heard_until += milliseconds / 1000
        while milliseconds > 0 and not self.ended:
            self._feed(_SECOND[: milliseconds * BYTES_PER_MS])
            milliseconds -= 1000

    def _feed(self, pcm: bytes) -> None:
        session = self.session
        if session.state is not State.OPEN:
            return
        audio_format = session.settings.input_format
        if audio_format.encoding != "pcm16":
            pcm = self._downsampled(pcm, audio_format.encoding, audio_format.rate)
        session.input.hear(pcm)


class _Downsampled:
    """Sound of 24 kHz in another encoding, piece by piece without a seam, 10 ms later."""

    def __init__(self) -> None:
        self._before = np.zeros(RATE // 50, np.int16)

    def __call__(self, pcm: bytes, encoding: str, rate: int) -> bytes:
        samples = np.concatenate([self._before, np.frombuffer(pcm, "<i2")])
        size = len(self._before)
        self._before = samples[-size:]
        begin = size // 2 * rate // RATE
        count = len(pcm) // 2 * rate // RATE
        return encode(resample(samples, RATE, rate)[begin : begin + count], encoding)
