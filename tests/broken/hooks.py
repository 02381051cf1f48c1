"""What several faults of the bridge are built on."""

from __future__ import annotations

import asyncio

from reference_impl.bridge import Bridge, Handlers, State
from reference_impl.channel import JsonChannel

FINAL = ("3000", "4000", "4004")
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


class Listening(Bridge):
    """A bridge that handles more events of OpenAI than the reference gateway does."""

    def more(self) -> Handlers:
        """The handlers to add."""
        raise NotImplementedError

    async def _read(self, channel: JsonChannel, key: str, handlers: Handlers, stream_sid: str | None) -> None:
        more = self.more() if key == "type" else {}
        await super()._read(channel, key, {**handlers, **more}, stream_sid)


class Reconnecting(Bridge):
    """A bridge that replaces a session that it has lost in mid-call, once, and does not greet in the new one.

    No fault by itself: what other gateways do where the reference gateway ends the call.
    """

    attempts = 1
    pause = 0.2
    lost = 0

    def replaceable(self, why: str) -> bool:
        """Whether a session that has ended for this reason is to be replaced: not when the reason will stay."""
        return self.state is State.READY and not any(code in why for code in FINAL)

    def on_upstream_closed(self, why: str) -> None:
        if self.lost >= self.attempts or not self.replaceable(why):
            super().on_upstream_closed(why)
            return
        self.log.error("upstream.lost", reason=why)
        self.lost += 1
        self.state = State.CONNECTING
        self._active, self._creating = "", False
        self._upstream_task = self._spawn(self._again())

    async def _again(self) -> None:
        await self.close_upstream()
        await asyncio.sleep(self.pause)
        await self._from_openai()

    async def greet(self) -> None:
        if not self.lost:
            await super().greet()

    def on_over(self) -> None:
        super().on_over()
        if self._upstream_task is not None:
            self._upstream_task.cancel()
