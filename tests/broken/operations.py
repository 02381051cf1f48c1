"""Faults in placing and ending calls over REST, and in the operator's own interface."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from broken import entry, gateway
from reference_impl.calls import Call
from reference_impl.gateway import Gateway
from reference_impl.twilio_rest import TwilioError, TwilioRest

Params = Sequence[tuple[str, str]]


class JoinsEvents(TwilioRest):
    """The four events of StatusCallbackEvent are sent as one value, joined by spaces.

    Seen in vellum-assistant#6044, and in the vendor's own attribute of TwiML. Twilio ignores the lot,
    and no callback comes.
    """

    async def post(self, url: str, params: Params) -> dict[str, Any]:
        events = [value for name, value in params if name == "StatusCallbackEvent"]
        others = [pair for pair in params if pair[0] != "StatusCallbackEvent"]
        return await super().post(url, [*others, ("StatusCallbackEvent", " ".join(events))] if events else others)


class RelativeUrl(TwilioRest):
    """`Url` is sent as a path.

    The public URL was forgotten, as in code that was tried with inbound calls only. Twilio refuses the call (21205),
    and nobody is called.
    """

    async def post(self, url: str, params: Params) -> dict[str, Any]:
        return await super().post(url, [(n, urlsplit(v).path if n == "Url" else v) for n, v in params])


class RetriesCreate(TwilioRest):
    """A create request that was not answered within 3 s is sent again.

    A retry policy for everything. The callee's phone rings twice, and both calls are answered by an assistant.
    """

    async def post(self, url: str, params: Params) -> dict[str, Any]:
        try:
            async with asyncio.timeout(3):
                return await super().post(url, params)
        except TimeoutError:
            return await super().post(url, params)


class HidesRefusal(Gateway):
    """A call that Twilio refused is reported as placed.

    Seen in openclaw#129473, where the order is answered before Twilio's answer is read. The operator believes that
    somebody was called.
    """

    def twilio_failed(self, error: TwilioError) -> web.Response:
        super().twilio_failed(error)
        return web.json_response({"status": "queued"}, status=202)


class HangsUpStreamsOnly(Gateway):
    """A hang-up that is ordered while the phone still rings is noted and not passed on.

    The hang-up closes the stream, and there is none yet. A misdialled stranger's phone goes on ringing.
    """

    async def end_call(self, call: Call) -> None:
        pass


class TripsOverEndedCall(TwilioRest):
    """A hang-up of a call that is over already is an error.

    Seen in pipecat#2145 and yap#570. Callers hang up first all the time: the operator gets an error, and logs fill.
    """

    async def end_call(self, call_sid: str) -> None:
        await self.update_call(call_sid, [("Status", "completed")])


class Cancels(TwilioRest):
    """Calls are ended with `Status=canceled`, which has no effect on one that was answered.

    The two words are easily taken for each other. The line stays open, and is billed, until the caller hangs up.
    """

    async def end_call(self, call_sid: str) -> None:
        await self.update_call(call_sid, [("Status", "canceled")])


class UnhealthyInCalls(Gateway):
    """The health request is answered 503 while a call is up.

    Busy was taken for not ready. The platform restarts the gateway, and cuts everybody off.
    """

    async def on_health(self, request: web.Request) -> web.Response:
        return web.Response(status=503) if self.bridges else await super().on_health(request)


joins_events = entry(JoinsEvents, rest=JoinsEvents)
relative_url = entry(RelativeUrl, rest=RelativeUrl)
retries_create = entry(RetriesCreate, rest=RetriesCreate)
hides_refusal = gateway(HidesRefusal)
hangs_up_streams_only = gateway(HangsUpStreamsOnly)
trips_over_ended_call = entry(TripsOverEndedCall, rest=TripsOverEndedCall)
cancels = entry(Cancels, rest=Cancels)
unhealthy_in_calls = gateway(UnhealthyInCalls)
