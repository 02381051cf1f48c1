"""Faults in who may do what, and in where credentials go."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientSession, web

from broken import entry, gateway
from reference_impl.bridge import Services
from reference_impl.calls import Call, Calls, StreamTokens
from reference_impl.gateway import Gateway
from reference_impl.log import Log


class NoSignature(Gateway):
    """Webhooks are taken from anybody.

    The default of most samples. Whoever knows the URL ends calls, or opens sessions at the operator's expense.
    """

    def verify_signature(self, request: web.Request, params: list[tuple[str, str]]) -> bool:
        return True


class AcceptsUnsigned(Gateway):
    """The signature is checked when there is one.

    A header that is optional in development. Leaving it out opens the door.
    """

    def verify_signature(self, request: web.Request, params: list[tuple[str, str]]) -> bool:
        return "X-Twilio-Signature" not in request.headers or super().verify_signature(request, params)


class SignsOwnUrl(Gateway):
    """The signature is checked over the URL as the request shows it: inner scheme, and host as the proxy left it.

    The most frequent signature fault (Twilio's docs have a section on it). Behind a proxy every genuine request is
    refused.
    """

    def public_url_of(self, request: web.Request) -> str:
        return str(request.url)


class _Open(Gateway):
    """Streams come without a signature, as they do in nearly all gateways of the field."""

    def verify_upgrade(self, request: web.Request) -> bool:
        return True


class TokenUnchecked(_Open):
    """Any WebSocket that says `start` is bridged.

    The default of every sample: there is neither a signature nor a token. Strangers talk to the model for free.
    """

    def admit(self, start: dict[str, Any]) -> Call:
        return self.calls.open(start["callSid"], "inbound", "", "")


class _Reusable(StreamTokens):
    def redeem(self, token: str, call_sid: str) -> bool:
        return self._tokens.get(call_sid, ("", 0.0))[0] == token

    def revoke(self, call_sid: str) -> None:
        pass


class TokenReusable(_Open):
    """The token of a stream is good for as many streams as come with it, also when the call is over.

    Seen where the token is a key in a table that nobody deletes from. TwiML is logged in many places, and the token
    with it.
    """

    def admit(self, start: dict[str, Any]) -> Call:
        call = self.calls.get(start["callSid"])
        assert call is not None
        call.streaming, call.status = False, "in-progress"
        return super().admit(start)


class _Forgetful(Calls):
    def open(self, sid: str, direction: str, to: str, from_: str) -> Call:
        call = self.get(sid)
        if call is not None and call.over:
            del self._calls[sid]
        return super().open(sid, direction, to, from_)


class ReplayAdmits(_Open):
    """A genuine TwiML request that is sent again after its call gets a document with a new token.

    Calls are forgotten when they end, and signatures have no date. Whoever has seen one request has a session whenever
    they want.
    """


class _Plain(Log):
    def redact(self, text: str) -> str:
        return text


class KeyInLog(Gateway):
    """The headers of the request to OpenAI are logged.

    Debugging help that stayed. The key is in every log archive from then on.
    """

    async def start(self) -> None:
        await super().start()
        self.log.event("upstream.request", headers=str(self.services.dialect.headers()))


class TokenInHealth(Gateway):
    """The health page shows the configuration, auth token included.

    A debug page that grew. Whoever finds it can sign as Twilio.
    """

    async def on_health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "twilio": {"auth_token": self.config.twilio_auth_token}})


class KeyToEverybody(Gateway):
    """One HTTP client with the OpenAI key among its default headers is used for Twilio too.

    A convenience of HTTP libraries. Each vendor learns the credentials of the other.
    """

    async def start(self) -> None:
        await super().start()
        await self.http.close()
        self.http = ClientSession(headers={"api-key": self.config.openai_api_key})
        self.twilio = self.rest_class(self.config, self.http)
        self.services = Services(self.config, self.services.dialect, self.http, self.twilio)


no_signature = gateway(NoSignature)
accepts_unsigned = gateway(AcceptsUnsigned)
signs_own_url = gateway(SignsOwnUrl)
token_unchecked = gateway(TokenUnchecked)
token_reusable = entry(TokenReusable, gateway=TokenReusable, tokens=_Reusable)
replay_admits = entry(ReplayAdmits, gateway=ReplayAdmits, calls=_Forgetful)
key_in_log = entry(KeyInLog, gateway=KeyInLog, log=_Plain)
token_in_health = gateway(TokenInHealth)
key_to_everybody = gateway(KeyToEverybody)
