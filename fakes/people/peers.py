"""The browser's half of a WebRTC call: what every peer connection can do, and one that needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fakes.openai.local_rtc import LocalExchange, LocalLeg


class PeerEvents(Protocol):
    """Who is told of what happens on a peer connection."""

    def opened(self) -> None:
        """The connection is up, and so is the data channel."""
        ...

    def message(self, text: str) -> None:
        """A message has come over the data channel."""
        ...

    def audio(self, pcm: bytes) -> None:
        """Sound that is played now (24 kHz, s16le, mono), in pieces of 20 ms. Silence may be left out."""
        ...

    def closed(self, reason: str) -> None:
        """The connection is over, whoever has ended it. Comes once, and last."""
        ...


class PeerConnection(Protocol):
    """One peer connection with a microphone, a loudspeaker and a data channel."""

    async def offer(self) -> str:
        """An SDP offer, complete with candidates."""
        ...

    async def accept(self, answer: str) -> None:
        """Take the SDP answer; the connection comes up after that. Raises `ValueError` for one that is none."""
        ...

    def send(self, text: str) -> None:
        """Send a message over the data channel. Raises `ConnectionError` when it is not open."""
        ...

    def speak(self, pcm: bytes) -> None:
        """Queue sound for the microphone (24 kHz, s16le, mono), which is silent otherwise.

        It waits for the connection. Give it whole sentences: a piece may be filled up with silence to whole 20 ms.
        """
        ...

    async def close(self) -> None:
        """Close the connection. Does nothing when it is closed."""
        ...


class LocalPeer:
    """A peer connection to a service in the same process, through a `LocalExchange`.

    `channel`, `audio`: whether its offer has a data channel and an audio section.
    """

    def __init__(
        self, exchange: LocalExchange, events: PeerEvents, *, channel: bool = True, audio: bool = True
    ) -> None:
        self._exchange = exchange
        self._events = events
        self._sections = {"channel": channel, "audio": audio}
        self._offer: str | None = None
        self._leg: LocalLeg | None = None
        self._early = bytearray()
        self._closed = False

    @property
    def speaking(self) -> bool:
        """Whether the microphone still has something to say."""
        return bool(self._early) or (self._leg is not None and self._leg.speaking)

    async def offer(self) -> str:
        """See `PeerConnection.offer`."""
        self._offer = self._exchange.offer(self, **self._sections)
        return self._offer

    async def accept(self, answer: str) -> None:
        """See `PeerConnection.accept`."""
        if self._offer is None:
            raise ValueError("there is no offer yet: call offer() first, and send it to the service")
        if not self._closed:
            self._exchange.accept(self._offer, answer)

    def send(self, text: str) -> None:
        """See `PeerConnection.send`."""
        if self._leg is None or self._closed:
            raise ConnectionError("the data channel is not open")
        self._leg.say(text)

    def speak(self, pcm: bytes) -> None:
        """See `PeerConnection.speak`."""
        if self._closed:
            return
        if self._leg is None:
            self._early += pcm
        else:
            self._leg.speak(pcm)

    async def close(self) -> None:
        """See `PeerConnection.close`."""
        if self._closed:
            return
        self._end("closed")
        if self._leg is not None:
            self._leg.hang_up()

    def _end(self, reason: str) -> None:
        self._closed = True
        self._early.clear()
        self._events.closed(reason)

    # -- what the exchange tells

    def connected(self, leg: LocalLeg) -> None:
        """See `LocalClient.connected`."""
        if self._closed:
            leg.hang_up()
            return
        self._leg = leg
        self._events.opened()
        early, self._early = bytes(self._early), bytearray()
        leg.speak(early)

    def message(self, text: str) -> None:
        """See `LocalClient.message`."""
        if not self._closed:
            self._events.message(text)

    def audio(self, pcm: bytes) -> None:
        """See `LocalClient.audio`."""
        if not self._closed:
            self._events.audio(pcm)

    def disconnected(self, reason: str) -> None:
        """See `LocalClient.disconnected`."""
        if not self._closed:
            self._end(reason)
