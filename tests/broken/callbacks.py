"""Faults around status callbacks: what they set off, and what becomes of them when they come late, twice or never."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import parse_qsl

from aiohttp import web

from broken import bridge, entry, gateway
from reference_impl.bridge import Bridge, Frame, State
from reference_impl.calls import FINAL, Call, Calls
from reference_impl.gateway import Gateway


async def _form(request: web.Request) -> dict[str, str]:
    return dict(parse_qsl(await request.text(), keep_blank_values=True))


class SaysOnAnswered(Gateway):
    """The `answered` callback makes the gateway speak over REST: an update of the call with `<Say>`.

    Seen in openclaw#68712 (also #36869 and #68713). The update replaces the running `<Connect><Stream>`: the bridge is
    closed in the middle of its handshake, and the callee hears one sentence of a synthetic voice and then nothing.
    """

    async def on_status(self, request: web.Request) -> web.Response:
        response = await super().on_status(request)
        form = await _form(request)
        if form["CallStatus"] == "in-progress":
            twiml = "<Response><Say>Hello, this is a call from your assistant.</Say><Pause length='30'/></Response>"
            await self.twilio.update_call(form["CallSid"], [("Twiml", twiml)])
        return response


class TwimlOnCallback(Gateway):
    """Status callbacks are answered like TwiML requests, and use up the answer: the fetch that follows gets nothing.

    Seen in openclaw#8276 and its PR #1180, where one path served both. The call is hung up as soon as it is answered.
    """

    async def on_status(self, request: web.Request) -> web.Response:
        await super().on_status(request)
        call = self.calls.get((await _form(request))["CallSid"])
        if call is None or call.over:
            return web.Response(status=204)
        call.fetched = "used up", self.twiml_for(call)
        return self.xml(call.fetched[1])

    async def on_voice(self, request: web.Request) -> web.Response:
        response = await super().on_voice(request)
        call = self.calls.get((await _form(request))["CallSid"])
        return self.xml("") if call is not None and "used up" in call.seen else response

    def apply_status(self, call: Call, form: dict[str, str]) -> None:
        if "SequenceNumber" in form:  # a callback, not a fetch
            call.seen.add("used up")
        super().apply_status(call, form)


class RefusesLateCallbacks(Gateway):
    """A callback about a call that is over, or that is not known, is answered 404.

    Seen in gateways that look the call up first. Twilio's debugger fills with warnings, and an alert goes off.
    """

    async def on_status(self, request: web.Request) -> web.Response:
        call = self.calls.get((await _form(request)).get("CallSid", ""))
        response = await super().on_status(request)
        return response if call is not None and not call.over else web.Response(status=404)


class RefusesEarlyFetch(Gateway):
    """The TwiML request of an outbound call is refused until Twilio's answer to the create request has been read.

    The CallSid is looked up in a table that is filled from that answer. When Twilio is quick, the callee hears "an
    application error has occurred".
    """

    async def on_voice(self, request: web.Request) -> web.Response:
        form = await self.signed_form(request)
        if form.get("Direction") == "outbound-api" and self.calls.placing:
            return web.Response(status=404, text="there is no such call")
        return await super().on_voice(request)


class _OneLine(Gateway):
    """Places one outbound call at a time; an order waits 5 s for the line, and is then refused."""

    async def on_place_call(self, request: web.Request) -> web.Response:
        for _ in range(50):
            if not any(call.direction.startswith("outbound") for call in self.calls.active()):
                return await super().on_place_call(request)
            await asyncio.sleep(0.1)
        return web.json_response({"error": {"message": "there is a call already"}}, status=409)


class _AnyOrder(Calls):
    """Takes every callback for the newest."""

    def apply_status(self, call: Call, status: str, sequence: int | None = None) -> bool:
        changed = status in FINAL | {"initiated", "ringing", "in-progress"} and status != call.status
        call.status = status if changed else call.status
        return changed


class LateCallbackReopens(_OneLine):
    """The status of a call is whatever the last callback said: a late `ringing` brings an ended call back.

    Seen in vellum-assistant#6044 and openclaw PR #18435, with no look at SequenceNumber. A gateway with one line (the
    default of openclaw) refuses all further calls, for there seems to be one.
    """


class BusyKeepsPlace(_OneLine):
    """Only `completed` ends a call; `busy`, `no-answer`, `failed` and `canceled` leave it on the books.

    Seen in openclaw PR #18435. The first callee who does not pick up takes the line for ever.
    """

    def apply_status(self, call: Call, form: dict[str, str]) -> None:
        if form.get("CallStatus") not in FINAL - {"completed"}:
            super().apply_status(call, form)


class LateCallbackCallsTwilio(Gateway):
    """A callback about a call that is over makes the gateway hang it up again.

    Meant as a clean-up of calls that nobody knows. It meets every late callback, and Twilio answers each with an error.
    """

    async def on_status(self, request: web.Request) -> web.Response:
        form = await _form(request)
        call = self.calls.get(form["CallSid"])
        if call is not None and call.over and form["CallStatus"] not in FINAL:
            await self.twilio.end_call(call.sid)
        return await super().on_status(request)


class GreetsPerCallback(Gateway):
    """Each `answered` callback but the first makes the model speak the greeting once more.

    Seen where the greeting hangs on the callback, and callbacks are taken for exactly once. A callback that Twilio
    delivers twice greets twice.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.answered: Counter[str] = Counter()

    async def on_status(self, request: web.Request) -> web.Response:
        form = await _form(request)
        if form["CallStatus"] == "in-progress":
            self.answered[form["CallSid"]] += 1
            if self.answered[form["CallSid"]] > 1:
                task = asyncio.create_task(self.greet_again(form["CallSid"]))
                self._streams.add(task)
                task.add_done_callback(self._streams.discard)
        return await super().on_status(request)

    async def greet_again(self, call_sid: str) -> None:
        """Greet as soon as the bridge is up, if that is within 10 s."""
        for _ in range(100):
            bridge = self.bridges.get(call_sid)
            if bridge is not None and bridge.state is not State.CONNECTING:
                await bridge.greet()
                return
            await asyncio.sleep(0.1)


class EndsTwice(Bridge):
    """The end of a call is reported by `stop` and by the `completed` callback, and each of them makes a hang-up.

    Two systems that both mean well. Twilio answers 404 twice, and calls that were transferred are cut off.
    """

    async def on_twilio_stop(self, frame: Frame) -> None:
        await self.services.twilio.end_call(self.call.sid)
        await self.services.twilio.end_call(self.call.sid)
        await super().on_twilio_stop(frame)


says_on_answered = gateway(SaysOnAnswered)
twiml_on_callback = gateway(TwimlOnCallback)
refuses_late_callbacks = gateway(RefusesLateCallbacks)
refuses_early_fetch = gateway(RefusesEarlyFetch)
late_callback_reopens = entry(LateCallbackReopens, gateway=LateCallbackReopens, calls=_AnyOrder)
busy_keeps_place = gateway(BusyKeepsPlace)
late_callback_calls_twilio = gateway(LateCallbackCallsTwilio)
greets_per_callback = gateway(GreetsPerCallback)
ends_twice = bridge(EndsTwice)
