"""Faults in answering requests for TwiML."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientError, ClientSession, web

from broken import entry, gateway
from reference_impl.bridge import Services
from reference_impl.calls import Call, StreamTokens
from reference_impl.gateway import Gateway


class PausesOutbound(Gateway):
    """The TwiML request of a call placed by REST is answered with `<Pause>`: only inbound calls get the stream.

    Seen in openclaw 2026.4.15 to 2026.4.22 (PR #71266): no or `inbound` Direction was taken for a voice call. The
    callee hears half a minute of silence, and the model is never reached.
    """

    def twiml_for(self, call: Call) -> str:
        return super().twiml_for(call) if call.direction == "inbound" else '<Pause length="30"/>'


class StartsStream(Gateway):
    """The stream is opened by `<Start>`, which only listens.

    The verb of transcription samples. The assistant hears the caller and cannot be heard; the document goes on, and the
    call ends.
    """

    def twiml_for(self, call: Call) -> str:
        return super().twiml_for(call).replace("Connect>", "Start>")


class PlainScheme(Gateway):
    """The stream's URL says `ws`, for that is what the gateway sees behind its proxy.

    Twilio takes nothing but wss (31922): the caller hears the apology.
    """

    def twiml_for(self, call: Call) -> str:
        return super().twiml_for(call).replace("wss://", "ws://")


class TokenInQuery(Gateway):
    """The stream's token stands in the query string of its URL.

    Seen in openclaw#5732. Twilio drops the query, and the gateway turns its own stream away.
    """

    def twiml_for(self, call: Call) -> str:
        stream = f'<Stream url="{self.config.stream_url}?token={self.tokens.issue(call.sid)}"/>'
        return f"<Connect>{stream}</Connect><Hangup/>"


class Unescaped(Gateway):
    """The caller's name is written into the TwiML as it is.

    One `&` in a name (most companies have one) and the document is no XML: the caller hears "an application error has
    occurred".
    """

    def twiml_for(self, call: Call) -> str:
        parameter = f'<Parameter name="caller" value="{self.names.get(call.sid, "")}"/>'
        return super().twiml_for(call).replace("</Stream>", f"{parameter}</Stream>")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.names: dict[str, str] = {}

    async def signed_form(self, request: web.Request) -> dict[str, str]:
        form = await super().signed_form(request)
        self.names[form["CallSid"]] = form.get("CallerName", "")
        return form


class LongParameter(Gateway):
    """The context of the call goes along in one `<Parameter>` of 600 characters.

    Twilio drops what is longer than 500, name included, and the assistant knows nothing of the call.
    """

    def twiml_for(self, call: Call) -> str:
        parameter = f'<Parameter name="context" value="{"x" * 600}"/>'
        return super().twiml_for(call).replace("</Stream>", f"{parameter}</Stream>")


class _Warm:
    """Stands in for the HTTP client of the bridges: hands out a session that was opened before."""

    def __init__(self, http: ClientSession) -> None:
        self.http = http
        self.ready: list[Any] = []

    async def open(self, *args: Any, **kwargs: Any) -> None:
        """Open one."""
        self.ready.append(await self.http.ws_connect(*args, **kwargs))

    async def ws_connect(self, *args: Any, **kwargs: Any) -> Any:
        """One that is open, or else a new one."""
        return self.ready.pop() if self.ready else await self.http.ws_connect(*args, **kwargs)


class WaitsForModel(Gateway):
    """The TwiML is answered when the session with the model is open, not before.

    It saves the caller a moment of silence on good days. On a bad one Twilio gives up after 15 s, and the caller hears
    "an application error has occurred".
    """

    async def start(self) -> None:
        await super().start()
        self.warm = _Warm(self.http)
        self.services = Services(self.config, self.services.dialect, self.warm, self.twilio)  # type: ignore[arg-type]

    async def on_voice(self, request: web.Request) -> web.Response:
        response = await super().on_voice(request)
        if "<Stream" in (response.text or ""):
            dialect = self.services.dialect
            try:
                await self.warm.open(dialect.url(), headers=dialect.headers())
            except (ClientError, OSError) as error:
                self.log.error("upstream.closed", error=str(error))
        return response


class RefusesRepeats(Gateway):
    """A TwiML request that is delivered again is answered 409.

    Replay protection that does not know of retries. When the first answer was lost, the caller is lost with it.
    """

    async def on_voice(self, request: web.Request) -> web.Response:
        known = self.calls.get((await self.signed_form(request))["CallSid"])
        if known is not None and known.fetched[1]:
            return web.Response(status=409, text="this request was served already")
        return await super().on_voice(request)


class EmptyForRepeats(Gateway):
    """A TwiML request that is delivered again is answered with an empty document.

    Seen in openclaw PR #29862, after two streams for one call had killed each other. If it is the second answer that
    Twilio reads, it hangs up.
    """

    async def on_voice(self, request: web.Request) -> web.Response:
        known = self.calls.get((await self.signed_form(request))["CallSid"])
        if known is not None and known.fetched[1]:
            return self.xml("")
        return await super().on_voice(request)


class _Fresh(StreamTokens):
    def issue(self, call_sid: str) -> str:
        self.revoke(call_sid)
        return super().issue(call_sid)


class NewTokenForRepeats(Gateway):
    """A TwiML request that is delivered again gets a document with a new token, and the first one is void.

    Each request for itself is right. Twilio uses the first answer, and the gateway turns its own stream away.
    """

    async def on_voice(self, request: web.Request) -> web.Response:
        response = await super().on_voice(request)
        for call in self.calls:
            call.fetched = "", ""
        return response


pauses_outbound = gateway(PausesOutbound)
starts_stream = gateway(StartsStream)
plain_scheme = gateway(PlainScheme)
token_in_query = gateway(TokenInQuery)
unescaped = gateway(Unescaped)
long_parameter = gateway(LongParameter)
waits_for_model = gateway(WaitsForModel)
refuses_repeats = gateway(RefusesRepeats)
empty_for_repeats = gateway(EmptyForRepeats)
new_token_for_repeats = entry(NewTokenForRepeats, gateway=NewTokenForRepeats, tokens=_Fresh)
