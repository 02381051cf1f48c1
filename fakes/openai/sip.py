"""SIP: calls that come in over a trunk. The telephone network is in memory: a `SipLeg` is the caller's end of it.

An incoming call rings until the project's server accepts or rejects it; a signed webhook tells that server of it
(OpenAI docs: Realtime API with SIP).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fakes.openai.calls import Call, CallState
from fakes.openai.frames import Frame
from fakes.openai.rtc_session import RtcSession
from fakes.openai.webhooks import WebhookEndpoint
from fakes.ports import Timer

if TYPE_CHECKING:
    from fakes.openai.service import OpenAIService

KEYS = "0123456789*#ABCD"
DECLINE = 603
NOT_ANSWERED = 480
CANCELLED = 487
PATIENCE = 0.06
"""How many seconds the caller's sound may be late before its absence is taken for silence."""

_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})
"""Headers that a webhook leaves out."""


class SipLeg:
    """The caller's end of one SIP call: for test cases, and for the people of a scenario.

    `sip_headers`: those of the INVITE. Sound is 24 kHz, s16le, mono.
    """

    def __init__(self, service: OpenAIService, call: Call, sip_headers: Sequence[tuple[str, str]]) -> None:
        self.call = call
        self.sip_headers = tuple(sip_headers)
        self.status: int | None = None
        """The final answer to the INVITE, once there is one: 200 when it was accepted."""
        self.referred_to: str | None = None
        """Where the vendor has transferred the call to."""
        self.over = False
        self.played = bytearray()
        """What the caller has been played so far; silence is left out."""
        self.on_audio: Callable[[bytes], None] | None = None
        """Who hears what is played, 20 ms at a time, as it is played."""
        self._service = service
        self._session: RtcSession | None = None
        self._timer: Timer | None = None
        self._hung_up = False
        call.watchers.append(self._moved)
        self._record(True, "INVITE", [list(header) for header in self.sip_headers])
        self._wait(int(service.knobs["openai.sip_answer_seconds"]), self._not_answered)

    # -- what the caller does

    def audio(self, pcm: bytes) -> None:
        """Speak; best in pieces of 20 ms. Raises `RuntimeError` when the call has not been accepted, or is over."""
        self._active().hear(pcm)

    def press(self, key: str) -> None:
        """Press a key of the telephone: `0`-`9`, `*`, `#`, `A`-`D`. Raises `RuntimeError` as `audio` does."""
        if len(key) != 1 or key not in KEYS:
            raise ValueError(f"a telephone has the keys {KEYS}, not {key!r}")
        session = self._active().session
        received_at = int(self._service.ports.clock.wall())
        # The one event without an event_id.
        event = {"type": "input_audio_buffer.dtmf_event_received", "event": key, "received_at": received_at}
        session.send_raw(json.dumps(event, separators=(",", ":")))

    def hang_up(self) -> None:
        """End the call from the caller's end; does nothing when it is over."""
        if self.over:
            return
        self._hung_up = True
        self._record(True, "BYE" if self._session is not None else "CANCEL")
        if self._session is not None:
            self._session.lost("the caller hung up")
        else:
            self._answer(CANCELLED)
            self.call.move(CallState.ENDED)

    def _active(self) -> RtcSession:
        if self._session is None or self.over:
            raise RuntimeError(
                f"call {self.call.ordinal} is {self.call.state.value}: there is nobody to hear the caller"
            )
        return self._session

    # -- what becomes of the call

    def _moved(self, call: Call) -> None:
        self._stop_waiting()
        match call.state:
            case CallState.ACTIVE:
                self._answer(200)
                self._session = RtcSession(self._service, call, self, patience=PATIENCE, filter=lambda kind: False)
                self._session.open()
            case CallState.REJECTED:
                self._answer(int(call.detail.get("status_code", DECLINE)))
                self.over = True
            case CallState.REFERRED:
                self.referred_to = str(call.detail["target_uri"])
                self._record(False, "REFER", self.referred_to)
                if self._service.knobs["openai.refer_ends_call"]:
                    # The trunk has connected the caller to somebody else, and leaves.
                    point = f"{self._service.party}/call{call.ordinal}/refer/delay"
                    self._wait(self._service.ports.choices.delay(point, 50, 300, 5000), self.hang_up)
            case CallState.ENDED:
                if self.status is None:
                    self._answer(NOT_ANSWERED)
                self.over = True
        self._service.changed()

    def _not_answered(self) -> None:
        self.call.move(CallState.ENDED)

    def _answer(self, status: int) -> None:
        self.status = status
        self._record(False, str(status))

    def _wait(self, seconds: float, callback: Callable[[], None]) -> None:
        if seconds:
            clock = self._service.ports.clock
            self._timer = clock.call_at(clock.now() + seconds, callback)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what the session sees of the trunk

    def send(self, frame: Frame) -> None:
        """See `Leg.send`: a trunk has no data channel, so that only the end of the call comes here."""
        if self._session is not None:
            self._session.left(frame)

    def play(self, pcm: bytes) -> None:
        """See `Leg.play`."""
        self.played += pcm
        if self.on_audio is not None:
            self.on_audio(pcm)

    def release(self) -> None:
        """See `Leg.release`."""
        if not self._hung_up:
            self._record(False, "BYE")

    def _record(self, inbound: bool, kind: str, body: Any = None) -> None:
        service = self._service
        parties = (self.call.client, service.party) if inbound else (service.party, self.call.client)
        text = None if body is None else json.dumps(body)
        channel = f"{service.party}.sip"
        service.ports.recorder.record(*parties, channel, kind, text, connection=f"call{self.call.ordinal}")


def incoming(
    service: OpenAIService, endpoint: WebhookEndpoint, caller: str, number: str, headers: Sequence[tuple[str, str]]
) -> SipLeg:
    """Let a call come in: it rings, and the webhook of its project is told."""
    call = service.calls.open("sip", endpoint.place)
    call.client = "caller"
    token = service.ports.choices.token(f"{service.party}/call{call.ordinal}/sip", 32)
    sip_headers = [
        ("From", f"<sip:{caller}@trunk.example.test>;tag={token[:8]}"),
        ("To", f"<sip:{number}@trunk.example.test>"),
        ("Call-ID", f"{token[8:]}@trunk.example.test"),
        *headers,
    ]
    leg = SipLeg(service, call, sip_headers)
    shown = [{"name": name, "value": value} for name, value in sip_headers if name.lower() not in _CREDENTIALS]
    data: dict[str, Any] = {"call_id": call.id, "sip_headers": shown}
    security = service.knobs["openai.sip_media_security"]
    if security != "omitted":
        data["sip_media_security"] = security
    name = f"call{call.ordinal}"
    point = f"{service.party}/{name}/webhook"
    service.webhooks.send(point, f"{name}/incoming", endpoint, "realtime.call.incoming", data)
    return leg
