"""Faults in what is made of OpenAI's errors: too much, nothing, or no word of it in the log."""

from __future__ import annotations

from broken import bridge
from reference_impl.bridge import Bridge, Frame, State, UpstreamRefused
from reference_impl.channel import JsonChannel
from reference_impl.problems import Problem

BENIGN = ("conversation_already_has_active_response", "response_cancel_not_active", "server_error", None)


class EndsOnUnknownCode(Bridge):
    """An error whose code is not on the list of harmless ones ends the call.

    A list is always older than the service. Callers are cut off on the day when a code is added.
    """

    async def on_error(self, event: Frame) -> None:
        await super().on_error(event)
        if event["error"].get("code") not in BENIGN:
            self.on_upstream_closed("unknown error")


class EndsOnErrorWithoutCode(Bridge):
    """An error without a code raises.

    `error.code.startswith(...)`. Old deployments send no more than a type and a message.
    """

    async def on_error(self, event: Frame) -> None:
        await super().on_error(event)
        if event["error"]["code"] is None:
            raise RuntimeError("an error without a code")


class EndsOnServerError(Bridge):
    """An error of type `server_error` ends the call.

    It sounds like the end. The session is open all the while, and would have answered the next question.
    """

    async def on_error(self, event: Frame) -> None:
        await super().on_error(event)
        if event["error"]["type"] == "server_error":
            self.on_upstream_closed("server error")


class WaitsForRefused(Bridge):
    """A response that was asked for and refused is still waited for.

    Seen in livekit/agents#6818: the error's event id was not looked at. No tool is followed by an answer any more.
    """

    _stuck = False

    async def on_error(self, event: Frame) -> None:
        creating = self._creating
        await super().on_error(event)
        self._stuck = creating
        self._creating = creating

    async def on_response_created(self, event: Frame) -> None:
        await super().on_response_created(event)
        self._creating = self._stuck


class RetriesFailedForever(Bridge):
    """A response that failed is asked for again at once, each time.

    One retry is good, and nobody counted. At its rate limit the account is asked several times a second.
    """

    async def on_response_done(self, event: Frame) -> None:
        self._failures = 0
        await super().on_response_done(event)


class PassesOverFailures(Bridge):
    """A response that failed is logged, and that is all.

    Seen in livekit/agents#2967. The caller waits for an answer that nobody asks for again.
    """

    async def on_response_done(self, event: Frame) -> None:
        if event["response"]["status"] == "failed":
            self.log.error("response.failed", details=str(event["response"]["status_details"]))
            event["response"]["status"] = "cancelled"
        await super().on_response_done(event)


class QuietAboutRefusals(Bridge):
    """The log says of a refused session that it was refused.

    Seen in openclaw#80196 as "closed before ready". The code that would have told why was dropped.
    """

    def log_error(self, event: Frame) -> str:
        return super().log_error(event) if self.state is State.READY else "the session was refused"

    def log_refused(self, problem: Problem) -> None:
        self.log.error("upstream.refused", reason="the session was refused")


class QuietAboutErrors(Bridge):
    """Errors in mid-call are dropped without a line in the log.

    They were noise while everything worked. A caller's complaint leaves no trace.
    """

    def log_error(self, event: Frame) -> str:
        return "" if self.state is State.READY else super().log_error(event)


class QuietAboutFailures(Bridge):
    """The log says of a failed response that it failed, and not why.

    Seen in livekit/agents#2967. An empty account looks like a slow network.
    """

    async def on_response_done(self, event: Frame) -> None:
        event["response"]["status_details"] = None
        await super().on_response_done(event)


class QuietAboutStatus(Bridge):
    """The log says of a refused upgrade that there was no connection.

    Client libraries put the status in an exception, and the exception is caught. 401 and 503 look the same.
    """

    async def open_session(self) -> JsonChannel:
        try:
            return await super().open_session()
        except UpstreamRefused:
            raise UpstreamRefused("cannot connect") from None

    def log_refused(self, problem: Problem) -> None:
        self.log.error("upstream.refused", reason="cannot connect")


class ReusesEventIds(Bridge):
    """All events have the same id.

    A required-looking field, filled in once. An error names its cause by it, and any event may be the one.
    """

    async def to_openai(self, event: str) -> None:
        if '"conversation.item.' in event:
            event = f'{event[:-1]}, "event_id": "evt_1"}}'
        await super().to_openai(event)


ends_on_unknown_code = bridge(EndsOnUnknownCode)
ends_on_error_without_code = bridge(EndsOnErrorWithoutCode)
ends_on_server_error = bridge(EndsOnServerError)
waits_for_refused = bridge(WaitsForRefused)
retries_failed_forever = bridge(RetriesFailedForever)
passes_over_failures = bridge(PassesOverFailures)
quiet_about_refusals = bridge(QuietAboutRefusals)
quiet_about_errors = bridge(QuietAboutErrors)
quiet_about_failures = bridge(QuietAboutFailures)
quiet_about_status = bridge(QuietAboutStatus)
reuses_event_ids = bridge(ReusesEventIds)
