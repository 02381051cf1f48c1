"""Status callbacks: which events are told, with what, in which order, how late, twice or never.

An event is one HTTP request of its own. Its delay counts from the event, so that requests overtake each other.
Source: Twilio docs, "Call resource" (StatusCallback); errors 15002, 15003, 21626.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from fakes.twilio.boundary import WebhookFailure
from fakes.twilio.webhooks import Result

if TYPE_CHECKING:
    from fakes.twilio.call import Call, Params
    from fakes.twilio.core import Twilio

EVENTS = ("initiated", "ringing", "answered", "completed")


class Callbacks:
    """Sends the status callbacks of all calls."""

    def __init__(self, core: Twilio) -> None:
        self._core = core

    def event(self, call: Call, event: str, *, sip: str = "") -> None:
        """`event` of `call` happens now. Call it after the state has changed."""
        core = self._core
        subscription = call.subscription
        subscribed = bool(subscription.url) and event in subscription.events
        sequence = call.sequence
        if subscribed or core.knobs["twilio.sequence_counts"] == "all":
            call.sequence += 1
        if not subscribed:
            return
        params = core.voice_params(call) + self._progress(call, sequence)
        if event == "completed":
            params += self._final(call, sip)
        label = f"callback/{event}#1"
        point = f"{call.point}/{label}"
        choices = core.ports.choices
        lose = int(core.knobs["twilio.callback_lose_percent"]) / 100
        duplicate = int(core.knobs["twilio.callback_duplicate_percent"]) / 100
        delay = core.timing.delay(
            f"{point}/delay", "completed_callback_delay" if event == "completed" else "callback_delay"
        )
        if choices.flag(f"{point}/lose", lose):
            core.debug(15002, f"{event} callback to {subscription.url} expired", call)
            return
        self._send(call, label, params, delay, label)
        if choices.flag(f"{point}/duplicate", duplicate):
            second = f"callback/{event}#2"
            again = core.timing.delay(f"{call.point}/{second}/delay", "duplicate_delay")
            self._send(call, second, params, delay + again, label)

    def _send(self, call: Call, label: str, params: Params, delay: float, token_of: str) -> None:
        def done(result: Result, url: str) -> None:
            if isinstance(result, int):
                self._core.debug(result, url, call)
            elif isinstance(result, WebhookFailure):
                self._core.debug(15003, f"{url}: {result.kind}: {result.message}", call)
            elif result.status >= 400:
                self._core.debug(15003, f"{url} answered {result.status}", call)

        subscription = call.subscription
        self._core.webhooks.send(
            call, label, subscription.url, subscription.method, params, delay=delay, done=done, token_of=token_of
        )

    def _progress(self, call: Call, sequence: int) -> Params:
        moment = datetime.fromtimestamp(int(self._core.ports.clock.wall()), UTC)
        return [
            ("Timestamp", format_datetime(moment)),
            ("CallbackSource", "call-progress-events"),
            ("SequenceNumber", str(sequence)),
        ]

    def _final(self, call: Call, sip: str) -> Params:
        seconds = call.duration
        params = [("CallDuration", str(seconds)), ("Duration", str(-(-seconds // 60)))]
        if not call.inbound:
            params.append(("SipResponseCode", sip))
        return params
