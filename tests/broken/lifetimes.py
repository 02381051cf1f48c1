"""Faults in what becomes of a session between its first update and its end, and of the one that takes its place."""

from __future__ import annotations

import asyncio
import json

from broken import bridge
from broken.hooks import Reconnecting
from reference_impl.bridge import Bridge, Frame, State, UpstreamRefused
from reference_impl.channel import JsonChannel
from reference_impl.tools import TOOLS


class ChangesVoice(Bridge):
    """The voice is changed after the first answer, as a setting that somebody may turn at any time.

    Seen in openai-agents-python#1661, where a handover to another agent brings its voice. The update is refused.
    """

    _changed = False

    async def on_response_done(self, event: Frame) -> None:
        await super().on_response_done(event)
        if not self._changed:
            self._changed = True
            session = {"type": "realtime", "audio": {"output": {"voice": "verse"}}}
            await self.to_openai(json.dumps({"type": "session.update", "session": session}))


class RepeatsUpdate(Bridge):
    """The `session.update` is sent once more when the session is ready, to be sure.

    Left over from the hunt for another fault. Handlers that start something at `session.updated` start it twice.
    """

    async def on_ready(self) -> None:
        update = json.loads(self.dialect.session_update([tool.schema() for tool in TOOLS.values()]))
        await self.to_openai(json.dumps({**update, "event_id": "session-again"}))
        await super().on_ready()


class ReconnectsAtOnce(Reconnecting):
    """A lost session is replaced at once, however often, for each new one begins to count afresh.

    Seen in openclaw#102285. An upstream that drops every session is asked for five a second, and the caller hears none.
    """

    attempts = 1_000_000

    def replaceable(self, why: str) -> bool:
        return super().replaceable(why) or (self.state is State.CONNECTING and self.lost > 0)


class RetriesTooSoon(Bridge):
    """A refused upgrade is tried once more after a second, whatever `Retry-After` says.

    A fixed pause is what most examples have. The second request is refused as well, and counts against the account.
    """

    async def open_session(self) -> JsonChannel:
        try:
            return await super().open_session()
        except UpstreamRefused:
            await asyncio.sleep(1)
            return await super().open_session()


class GreetsAgain(Reconnecting):
    """A new session in the middle of a call begins with the greeting.

    Seen in strands-agents#4104 as "re-introduces itself". The caller has to tell everything once more.
    """

    async def greet(self) -> None:
        await Bridge.greet(self)


class DropsSession(Bridge):
    """The connection of a session is dropped, without a close frame.

    What comes of ending a call by cancelling everything. The vendor's side waits for more until its own limits.
    """

    async def close_upstream(self) -> None:
        if self.openai is not None:
            self.openai._ws._response.close()  # type: ignore[union-attr]
        await super().close_upstream()


class ReconnectsWhateverTheCode(Reconnecting):
    """A session that was closed for good is opened anew like one that was lost.

    Close codes are rarely looked at. The caller waits for a second refusal before anybody tells the first.
    """

    def replaceable(self, why: str) -> bool:
        return self.state is State.READY


class HangsUpAtTheLimit(Bridge):
    """When the session has ended, the call is hung up without a word.

    The straightforward thing to do when the socket closes. After an hour of talk the line is dead in mid-sentence.
    """

    def on_upstream_closed(self, why: str) -> None:
        if self.state is State.READY:
            self.hang_up("session over")
        else:
            super().on_upstream_closed(why)


changes_voice = bridge(ChangesVoice)
repeats_update = bridge(RepeatsUpdate)
reconnects_at_once = bridge(ReconnectsAtOnce)
retries_too_soon = bridge(RetriesTooSoon)
greets_again = bridge(GreetsAgain)
drops_session = bridge(DropsSession)
reconnects_whatever_the_code = bridge(ReconnectsWhateverTheCode)
hangs_up_at_the_limit = bridge(HangsUpAtTheLimit)
