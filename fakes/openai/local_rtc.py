"""WebRTC without a network: calls between a peer and the service inside one process, on the clock of the world.

For the virtual stage, where there is no UDP. Offer, answer, events and sound are those of a real call (there is no
Opus on the way, and no sound is lost); a peer and its call find each other by the `ice-ufrag` of the offer.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from fakes.openai.calls import Call
from fakes.openai.errors import VendorError
from fakes.openai.frames import Frame
from fakes.openai.outbox import Outbox
from fakes.openai.playout import FRAME_BYTES, FRAME_SECONDS, SILENCE
from fakes.openai.rtc_session import RtcSession
from fakes.ports import Clock, Timer

if TYPE_CHECKING:
    from fakes.openai.service import OpenAIService

ROUND_TRIPS = 3
"""From the answer to an open data channel: connectivity checks, DTLS, SCTP."""


class LocalClient(Protocol):
    """The peer's half of a call, as the exchange sees it."""

    def connected(self, leg: LocalLeg) -> None:
        """The connection is up; from now on the leg takes messages and sound."""
        ...

    def message(self, text: str) -> None:
        """A message has come over the data channel."""
        ...

    def audio(self, pcm: bytes) -> None:
        """20 ms of sound have come."""
        ...

    def disconnected(self, reason: str) -> None:
        """The other side has closed the connection."""
        ...


class _Pipe:
    """One direction of a connection: everything arrives `latency` seconds later, in its order."""

    def __init__(self, clock: Clock, latency: float) -> None:
        self._clock = clock
        self._latency = latency
        self._waiting: deque[Callable[[], None]] = deque()

    def put(self, delivery: Callable[[], None]) -> None:
        """Let something happen at the other end."""
        self._waiting.append(delivery)
        self._clock.call_at(self._clock.now() + self._latency, self._deliver)

    def _deliver(self) -> None:
        self._waiting.popleft()()


class LocalLeg:
    """One call between a peer and the service: the service's `Leg`, and what the peer sends into."""

    def __init__(self, service: OpenAIService, client: LocalClient, latency: float, call: Call, channel: bool) -> None:
        self._clock = service.ports.clock
        self._client = client
        self._latency = latency
        self._channel = channel
        self._up = _Pipe(self._clock, latency)
        self._down = _Pipe(self._clock, latency)
        self._open = False
        self._microphone = bytearray()
        self._due = 0.0
        self._timer: Timer | None = None
        self.rtc = RtcSession(service, call, self)
        self._outbox = Outbox(service.ports.gates, self._leave)

    # -- from the peer

    def connect(self) -> None:
        """The peer has got its answer: bring the connection up."""
        self._clock.call_at(self._clock.now() + 2 * ROUND_TRIPS * self._latency, self._connected)

    def _connected(self) -> None:
        if self.rtc.ended:
            return
        self._open = True
        self._client.connected(self)
        self._up.put(self.rtc.open)

    def send(self, frame: Frame) -> None:
        """See `Leg.send`."""
        if self._channel or frame.kind == "close":
            self._outbox.send(frame)

    def _leave(self, frame: Frame) -> None:
        self.rtc.left(frame)
        if frame.kind != "close" and isinstance(frame.body, str):
            text = frame.body
            self._down.put(lambda: self._client.message(text))

    def play(self, pcm: bytes) -> None:
        """See `Leg.play`."""
        self._down.put(lambda: self._client.audio(pcm))

    def release(self) -> None:
        """See `Leg.release`."""
        self._outbox.close()
        self._stop_speaking()
        self._open = False
        self._down.put(lambda: self._client.disconnected("closed by the other side"))

    def say(self, text: str) -> None:
        """The peer sends a message over the data channel."""
        if self._open and self._channel:
            self._up.put(lambda: self.rtc.receive_text(text))

    def speak(self, pcm: bytes) -> None:
        """The peer's microphone picks up sound, after all that it has picked up already."""
        if not self._open or not pcm:
            return
        self._microphone += pcm
        if self._timer is None:
            # 20 ms have been spoken before they can be sent.
            self._due = max(self._due, self._clock.now() + self._latency) + FRAME_SECONDS
            self._timer = self._clock.call_at(self._due, self._spoken)

    def _spoken(self) -> None:
        self._timer = None
        frame = bytes(self._microphone[:FRAME_BYTES])
        del self._microphone[:FRAME_BYTES]
        if self._microphone:
            self._due += FRAME_SECONDS
            self._timer = self._clock.call_at(self._due, self._spoken)
        self.rtc.hear(frame if len(frame) == FRAME_BYTES else frame + SILENCE[len(frame) :])

    @property
    def speaking(self) -> bool:
        """Whether the microphone still has something to say."""
        return self._timer is not None

    def hang_up(self) -> None:
        """The peer closes the connection."""
        self._open = False
        self._stop_speaking()
        self._up.put(lambda: self.rtc.lost("closed by the peer", 1000))

    def _stop_speaking(self) -> None:
        self._microphone.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class LocalExchange:
    """Answers the offers of peers in the same process: the `Answerer` of the virtual stage.

    `latency`: seconds that a message or a piece of sound takes in one direction.
    """

    def __init__(self, service: OpenAIService, *, latency: float = 0.0) -> None:
        self.latency = latency
        self._service = service
        self._offers: dict[str, LocalClient] = {}
        self._answers: dict[str, tuple[str, LocalLeg]] = {}
        self._peers = 0

    # -- the peer's side

    def offer(self, client: LocalClient, *, channel: bool = True, audio: bool = True) -> str:
        """An SDP offer by which the service finds this peer. `channel`, `audio`: the media sections that it has."""
        self._peers += 1
        point = f"webrtc/peer{self._peers}/offer"
        ufrag = self._service.ports.choices.token(point, 8)
        self._offers[ufrag] = client
        return _description(ufrag, point, "actpass", channel=channel, audio=audio)

    def accept(self, offer: str, answer: str) -> None:
        """The peer takes the answer to its offer. Raises `ValueError` for one that is not of this exchange."""
        ufrag = _attribute(answer, "ice-ufrag")
        offered, leg = self._answers.get(ufrag, ("", None))
        if leg is None or offered != _attribute(offer, "ice-ufrag"):
            raise ValueError(f"no answer to this offer: ice-ufrag {ufrag!r} is not that of a call on this exchange")
        del self._answers[ufrag]
        leg.connect()

    # -- the service's side

    async def answer(self, call: Call, offer: str) -> str:
        """See `Answerer.answer`. An offer that no peer of this exchange has made is invalid, and so is a used one."""
        offered = _attribute(offer, "ice-ufrag", "")
        client = self._offers.pop(offered, None)
        if client is None:
            raise VendorError("invalid_offer")
        point = f"{self._service.party}/call{call.ordinal}/answer"
        ufrag = self._service.ports.choices.token(point, 8)
        channel = _has_channel(offer)
        self._answers[ufrag] = offered, LocalLeg(self._service, client, self.latency, call, channel)
        return _description(ufrag, point, "active", channel=channel, audio=True)

    async def close(self) -> None:
        """End every call that is not over."""
        self._service.calls.end()


def _has_channel(sdp: str) -> bool:
    return any(line.startswith("m=application ") for line in sdp.splitlines())


def _attribute(sdp: str, name: str, default: str | None = None) -> str:
    """The first value of an attribute in a session description. Raises `ValueError` when there is none, nor default."""
    for line in sdp.splitlines():
        if line.startswith(f"a={name}:"):
            return line.partition(":")[2].strip()
    if default is None:
        raise ValueError(f"no a={name} in the session description")
    return default


_HEAD = """v=0
o=- {number} 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE {mids}
a=msid-semantic: WMS *
"""
_AUDIO = """m=audio {port} UDP/TLS/RTP/SAVPF 111 0 8
c=IN IP4 127.0.0.1
a=rtcp-mux
a=mid:{mid}
a=sendrecv
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
"""
_CHANNEL = """m=application {port} UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 127.0.0.1
a=mid:{mid}
a=sctp-port:5000
a=max-message-size:262144
"""
_TRANSPORT = """a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host
a=end-of-candidates
a=ice-ufrag:{ufrag}
a=ice-pwd:{password}
a=fingerprint:sha-256 {fingerprint}
a=setup:{setup}
"""


def _description(ufrag: str, point: str, setup: str, *, channel: bool, audio: bool) -> str:
    """A session description as a browser's, with audio, a data channel, or both. All of it follows from the names."""
    digest = hashlib.sha256(f"{point}/{ufrag}".encode()).digest()
    sections = [template for template, wanted in ((_AUDIO, audio), (_CHANNEL, channel)) if wanted]
    values: Mapping[str, object] = {
        "number": int.from_bytes(digest[:7], "big"),
        "mids": " ".join(str(mid) for mid in range(len(sections))),
        "port": 49152 + int.from_bytes(digest[7:9], "big") % 16384,
        "ufrag": ufrag,
        "password": digest.hex()[:24],
        "fingerprint": ":".join(f"{byte:02X}" for byte in digest),
        "setup": setup,
    }
    text = _HEAD.format_map(values)
    for mid, section in enumerate(sections):
        text += section.format_map({**values, "mid": mid}) + _TRANSPORT.format_map(values)
    return text.replace("\n", "\r\n")
