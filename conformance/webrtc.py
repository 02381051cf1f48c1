"""WebRTC of one world: in memory on the virtual stage, over UDP on this host on the live one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fakes.openai.errors import VendorError
from fakes.openai.local_rtc import LocalExchange
from fakes.openai.service import OpenAIService
from fakes.people.peers import LocalPeer, PeerConnection, PeerEvents

if TYPE_CHECKING:
    from fakes.openai.calls import Call
    from fakes.openai.webrtc import AiortcAnswerer


class WebRtc(Protocol):
    """Answers the offers that reach OpenAI, and makes the peer connections of browsers."""

    def peer(self, events: PeerEvents) -> PeerConnection:
        """A peer connection for a browser."""
        ...

    async def close(self) -> None:
        """End what is still up."""
        ...


class LocalWebRtc:
    """Peers and service in one process."""

    def __init__(self, service: OpenAIService) -> None:
        latency = service.ports.choices.delay("link/browser/openai/latency", 0, 20, 150)
        self._exchange = service.answerer = LocalExchange(service, latency=latency)

    def peer(self, events: PeerEvents) -> PeerConnection:
        """See `WebRtc.peer`."""
        return LocalPeer(self._exchange, events)

    async def close(self) -> None:
        """See `WebRtc.close`. The service ends its calls itself."""


class UdpWebRtc:
    """Real peer connections. What they need is only loaded when somebody talks: it takes its time."""

    def __init__(self, service: OpenAIService) -> None:
        self._service = service
        self._answerer: AiortcAnswerer | None = None
        service.answerer = self

    async def answer(self, call: Call, offer: str) -> str:
        """See `Answerer.answer`."""
        if self._answerer is None:
            try:
                from fakes.openai.webrtc import AiortcAnswerer
            except ImportError:
                raise VendorError("webrtc_not_served") from None
            self._answerer = AiortcAnswerer(self._service)
        return await self._answerer.answer(call, offer)

    def peer(self, events: PeerEvents) -> PeerConnection:
        """See `WebRtc.peer`."""
        from fakes.people.aiortc_peer import AiortcPeer

        return AiortcPeer(events)

    async def close(self) -> None:
        """See `WebRtc.close`."""
        if self._answerer is not None:
            await self._answerer.close()
