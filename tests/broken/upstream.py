"""Faults in living with the session: refused, slow, lost, or opened for a caller who has gone."""

from __future__ import annotations

import asyncio

from broken import bridge
from reference_impl.bridge import Bridge, Frame, State, UpstreamRefused
from reference_impl.channel import JsonChannel


class SilentWhenRefused(Bridge):
    """When the session cannot be had, the gateway logs it and the call stays up.

    Seen in openclaw 2026.4.29, which waits for a `session.updated` that never comes. Callers listen to silence until
    they give up.
    """

    def on_upstream_closed(self, why: str) -> None:
        if self.state is State.CONNECTING:
            self.log.error("upstream.closed", reason=why)
        else:
            super().on_upstream_closed(why)


class SilentWhenLost(Bridge):
    """When the session ends in mid-call, the gateway logs it and the call stays up.

    What comes of a reader task that simply returns: the phone line outlives the assistant, and is billed.
    """

    def on_upstream_closed(self, why: str) -> None:
        if self.state is State.CONNECTING:
            super().on_upstream_closed(why)
        else:
            self.log.error("upstream.closed", reason=why)


class ReconnectsForever(Bridge):
    """A refused handshake is tried again every second, for as long as the caller holds the line.

    Seen in openclaw 2026.4.15 and 2026.4.29: the counter of attempts is reset as soon as the socket is open, and the
    refusal comes after that. A wrong key becomes a flood of requests, and the caller hears nothing.
    """

    async def open_session(self) -> JsonChannel:
        while True:
            try:
                return await super().open_session()
            except UpstreamRefused as refused:
                self.log.warning("upstream.retry", reason=str(refused))
                await asyncio.sleep(1)


class Impatient(Bridge):
    """The session has one second to open, then the call is given up.

    A time-out that was good enough on the author's desk. On a slow day every call ends with the apology.
    """

    async def open_session(self) -> JsonChannel:
        try:
            async with asyncio.timeout(1.0):
                return await super().open_session()
        except TimeoutError as error:
            raise UpstreamRefused("no session within 1 s") from error


class OpensAfterHangUp(Bridge):
    """The opening of a session is not cancelled by the caller's hang-up: nobody closes what then opens.

    The kind of pipecat#3179 and of every bridge that opens the session in a task of its own. Sessions pile up until the
    account's limit is reached.
    """

    async def open_session(self) -> JsonChannel:
        return await asyncio.shield(asyncio.ensure_future(super().open_session()))


class KeepsSession(Bridge):
    """The caller hangs up, and the session stays open.

    Seen in pipecat#3179 (the pipeline is not cancelled by a hang-up in mid-speech). OpenAI goes on talking to nobody,
    for up to an hour.
    """

    async def close_upstream(self) -> None:
        pass


class EndsOnError(Bridge):
    """Any `error` event of OpenAI ends the call.

    Most of them are harmless, such as a cancel that comes too late; callers are cut off in the middle of a sentence.
    """

    async def on_error(self, event: Frame) -> None:
        self.on_upstream_closed(self.log_error(event))


class EndsOnFailedResponse(Bridge):
    """A response that failed ends the call, without another try.

    Seen where `response.done` is taken for an end of the session when its status is unexpected. A hiccup of the vendor
    costs the call.
    """

    async def on_response_done(self, event: Frame) -> None:
        if event["response"].get("status") == "failed":
            self.on_upstream_closed("a response failed")
        else:
            await super().on_response_done(event)


silent_when_refused = bridge(SilentWhenRefused)
silent_when_lost = bridge(SilentWhenLost)
reconnects_forever = bridge(ReconnectsForever)
impatient = bridge(Impatient)
opens_after_hang_up = bridge(OpensAfterHangUp)
keeps_session = bridge(KeepsSession)
ends_on_error = bridge(EndsOnError)
ends_on_failed_response = bridge(EndsOnFailedResponse)
