"""WebRTC for the live stage, with aiortc: answers SDP offers, and carries the events and the sound of calls.

Everything stays on this host: the only candidates are loopback addresses. aiortc is an optional dependency.
"""

from __future__ import annotations

import asyncio
import fractions
import ipaddress
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fakes.openai.calls import OVER, Call, CallState
from fakes.openai.errors import VendorError
from fakes.openai.frames import Frame
from fakes.openai.outbox import Outbox
from fakes.openai.playout import FRAME_BYTES, FRAME_SECONDS, RATE, SILENCE
from fakes.openai.rtc_session import RtcSession

try:
    from aiortc import (
        MediaStreamTrack,
        RTCConfiguration,
        RTCDataChannel,
        RTCPeerConnection,
        RTCRtpSender,
        RTCSessionDescription,
    )
    from aiortc.mediastreams import MediaStreamError
    from av import AudioFrame, AudioResampler
except ImportError as error:  # pragma: no cover - an installation without the extra
    raise ImportError("WebRTC on the live stage needs aiortc: pip install callproof[webrtc]") from error

if TYPE_CHECKING:
    from fakes.openai.service import OpenAIService

LOOPBACK = ("127.0.0.1",)
CODECS = ("audio/opus", "audio/PCMU", "audio/PCMA")
"""What the vendor's answers have (OpenAI API reference: create call)."""
PATIENCE = 1.0
"""Seconds without a packet after which a microphone counts as silent. Browsers send silence too, so this is rare."""
_GRACE = 0.06
_FRAME_SAMPLES = FRAME_BYTES // 2
_TIME_BASE = fractions.Fraction(1, RATE)


class SpeakingTrack(MediaStreamTrack):  # type: ignore[misc, unused-ignore]
    """A track of 20 ms frames at real time: those that are put in, and silence where there are none.

    `expecting`: whether sound is about to come, so that a frame which is a moment late is waited for.
    """

    kind = "audio"

    def __init__(self, expecting: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self._expecting = expecting
        self._frames: deque[bytes] = deque()
        self._due: float | None = None
        self._samples = 0
        self._waiter: asyncio.Future[None] | None = None
        self._wants_frame = False

    @property
    def waiting(self) -> int:
        """How many frames have not been sent."""
        return len(self._frames)

    def put(self, frame: bytes) -> None:
        """Queue 960 bytes: 20 ms at 24 kHz, s16le, mono."""
        self._frames.append(frame)
        if self._wants_frame:
            self._wake()

    def stop(self) -> None:
        """End the track; whoever waits for a frame gets none."""
        super().stop()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _until(self, when: float, *, or_frame: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._wants_frame = or_frame
        timer = loop.call_at(when, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    async def recv(self) -> AudioFrame:
        """See `MediaStreamTrack.recv`."""
        clock = asyncio.get_running_loop().time
        if self._due is None or clock() - self._due > 1:
            self._due = clock()
        if self._due > clock():
            await self._until(self._due)
        if not self._frames and self._expecting():
            await self._until(self._due + _GRACE, or_frame=True)
            self._due = max(self._due, clock())
        if self.readyState != "live":
            raise MediaStreamError
        self._due += FRAME_SECONDS
        frame = AudioFrame(format="s16", layout="mono", samples=_FRAME_SAMPLES)
        frame.planes[0].update(self._frames.popleft() if self._frames else SILENCE)
        frame.sample_rate = RATE
        frame.time_base = _TIME_BASE
        frame.pts = self._samples
        self._samples += _FRAME_SAMPLES
        return frame


def report_fault(task: asyncio.Task[None]) -> None:
    """For `add_done_callback`: a fault that ends a task is told to the loop at once, and not when it is collected."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "WebRTC: what came over a track could not be taken in", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)


async def listen(track: MediaStreamTrack, hear: Callable[[bytes], None]) -> None:
    """Hand on what comes over a track, in frames of 20 ms at 24 kHz, s16le, mono, until the track ends."""
    resampler: AudioResampler | None = None
    shape: tuple[str, str, int] | None = None
    waiting = bytearray()
    while True:
        try:
            frame: Any = await track.recv()
        except MediaStreamError:
            return
        if shape != (frame.format.name, frame.layout.name, frame.sample_rate):
            # The other side may change its codec at any time.
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
        assert resampler is not None
        for resampled in resampler.resample(frame):
            waiting += bytes(resampled.planes[0])[: resampled.samples * 2]
        while len(waiting) >= FRAME_BYTES:
            hear(bytes(waiting[:FRAME_BYTES]))
            del waiting[:FRAME_BYTES]


class LoopbackConnection(RTCPeerConnection):
    """A peer connection of aiortc whose candidates are `addresses` of this host, and which wants no others."""

    def __init__(self, addresses: Iterable[str] = LOOPBACK) -> None:
        super().__init__(RTCConfiguration(iceServers=[]))
        self._addresses = list(addresses)

    async def make_offer(self) -> str:
        """An offer for the tracks and channels that have been added, complete with candidates."""
        self._stay_on_host()
        await self.setLocalDescription(await self.createOffer())
        return str(self.localDescription.sdp)

    async def make_answer(self, offer: str, track: MediaStreamTrack) -> str:
        """Take an offer, and return the answer to it, which sends `track`. A bad offer raises nearly anything."""
        self.addTrack(track)
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        self.getTransceivers()[0].setCodecPreferences([codec for codec in codecs if codec.mimeType in CODECS])
        await self.setRemoteDescription(RTCSessionDescription(reachable(offer), "offer"))
        self._stay_on_host()
        await self.setLocalDescription(await self.createAnswer())
        return str(self.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer to the offer."""
        await self.setRemoteDescription(RTCSessionDescription(reachable(answer), "answer"))

    def _stay_on_host(self) -> None:
        """Gather host candidates on our addresses only. To be called before anything is gathered.

        aioice has no setting for that, and leaves loopback addresses out (RFC 8445, section 5.1.1.1). It does take
        the addresses as an argument of `Connection.get_component_candidates`, which is therefore given ours here: on
        the ICE connections of this one peer connection, nowhere else.
        """
        transports = {transceiver.receiver.transport.transport for transceiver in self.getTransceivers()}
        if self.sctp is not None:
            transports.add(self.sctp.transport.transport)
        for transport in transports:
            connection: Any = transport.iceGatherer._connection
            gather = connection.get_component_candidates

            async def get_component_candidates(component: int, gather: Any = gather, **_: object) -> Any:
                return await gather(component=component, addresses=self._addresses)

            connection.get_component_candidates = get_component_candidates


def reachable(sdp: str) -> str:
    """A session description without the candidates that are not loopback addresses.

    Browsers hide their addresses behind names of mDNS, which would be asked for on the network, and waited for. They
    need not be known: the browser's own checks to our candidates show where it is (RFC 8445, section 7.3.1.3). For the
    same reason the candidates never count as complete.
    """
    kept = []
    for line in sdp.splitlines():
        if line == "a=end-of-candidates" or (line.startswith("a=candidate:") and not _is_loopback(line)):
            continue
        kept.append(f"{line}\r\n")
    return "".join(kept)


def _is_loopback(candidate: str) -> bool:
    fields = candidate.split()
    try:
        return ipaddress.ip_address(fields[4]).is_loopback
    except (IndexError, ValueError):
        return False


class AiortcLeg:
    """One call over a real peer connection: the service's `Leg`."""

    def __init__(
        self, service: OpenAIService, call: Call, event_filter: Callable[[str], bool] | None, addresses: Iterable[str]
    ) -> None:
        self.pc = LoopbackConnection(addresses)
        self._service = service
        self._call = call
        self._filter = event_filter
        self._channel: RTCDataChannel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._outbox = Outbox(service.ports.gates, self._leave)
        self.rtc: RtcSession | None = None
        self._speaker = SpeakingTrack(lambda: self.rtc is not None and self.rtc.playout.playing)
        self.closing: asyncio.Task[None] | None = None

    async def answer(self, offer: str) -> str:
        """Take the offer, and return the answer. Raises `VendorError` for an offer that cannot be answered."""
        if any(f"\na={name}:" not in offer for name in ("ice-ufrag", "ice-pwd", "fingerprint")):
            raise VendorError("invalid_offer")
        pc = self.pc
        pc.on("track", self._track)
        pc.on("datachannel", self._opened)
        pc.on("connectionstatechange", self._state)
        try:
            answer = await pc.make_answer(offer, self._speaker)
        except Exception as error:
            # aiortc tells of a bad description by whatever its parser stumbles over: ValueError, KeyError, ...
            await self._close()
            raise VendorError("invalid_offer") from error
        self.rtc = RtcSession(self._service, self._call, self, patience=PATIENCE, filter=self._filter)
        return answer

    # -- what aiortc tells

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._run(listen(track, self._hear))

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(report_fault)

    def _hear(self, pcm: bytes) -> None:
        if self.rtc is not None:
            self.rtc.hear(pcm)

    def _opened(self, channel: RTCDataChannel) -> None:
        if self._channel is not None or self.rtc is None:
            return  # events cross the first channel, whatever its label; others are not listened to
        self._channel = channel
        channel.on("message", self._message)
        self.rtc.open()

    def _message(self, data: str | bytes) -> None:
        assert self.rtc is not None
        if isinstance(data, str):
            self.rtc.receive_text(data)
        else:
            self.rtc.receive_binary(data)

    def _state(self) -> None:
        state = self.pc.connectionState
        if self.rtc is None:
            return
        if state == "connected" and self.pc.sctp is None:
            self.rtc.open()
        elif state == "closed":
            self.rtc.lost("closed by the peer", 1000)
        elif state == "failed":
            self.rtc.lost("peer connection failed")

    # -- what the session tells

    def send(self, frame: Frame) -> None:
        """See `Leg.send`."""
        if self._channel is not None or frame.kind == "close":
            self._outbox.send(frame)

    def _leave(self, frame: Frame) -> None:
        assert self.rtc is not None
        if frame.kind == "close":
            self.rtc.left(frame)
        elif self._channel is not None and self._channel.readyState == "open":
            self.rtc.left(frame)
            self._channel.send(frame.body)

    def play(self, pcm: bytes) -> None:
        """See `Leg.play`."""
        self._speaker.put(pcm)

    def release(self) -> None:
        """See `Leg.release`."""
        self._outbox.close()
        self.closing = asyncio.get_running_loop().create_task(self._close())

    async def _close(self) -> None:
        await self.pc.close()
        self._speaker.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class AiortcAnswerer:
    """Answers offers over UDP on this host: the `Answerer` of the live stage.

    `addresses`: where it has its candidates. `event_filter`: which types of events cross the data channels; None is
    all.
    """

    def __init__(
        self,
        service: OpenAIService,
        *,
        addresses: Iterable[str] = LOOPBACK,
        event_filter: Callable[[str], bool] | None = None,
    ) -> None:
        self._service = service
        self._addresses = tuple(addresses)
        self._filter = event_filter
        self._legs: set[AiortcLeg] = set()

    async def answer(self, call: Call, offer: str) -> str:
        """See `Answerer.answer`."""
        leg = AiortcLeg(self._service, call, self._filter, self._addresses)
        answer = await leg.answer(offer)
        self._legs = {other for other in self._legs if other.closing is None or not other.closing.done()}
        self._legs.add(leg)
        if call.state in OVER:
            assert leg.rtc is not None
            leg.rtc.lost("the call was over before it was answered")
        return answer

    async def close(self) -> None:
        """End the calls that are not over, and close every peer connection."""
        for leg in self._legs:
            if leg.rtc is not None and leg.rtc.call.state not in OVER:
                leg.rtc.call.move(CallState.ENDED)
        await asyncio.gather(*(leg.closing for leg in self._legs if leg.closing is not None))
        self._legs.clear()
