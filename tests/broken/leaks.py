"""Faults in where credentials turn up, and in whom the gateway turns to without being told to."""

from __future__ import annotations

import base64
import sys
from contextlib import suppress
from urllib.parse import urlencode

from aiohttp import ClientError

from broken import gateway
from reference_impl.calls import Call
from reference_impl.dialects import Dialect, Ga
from reference_impl.gateway import Gateway


class HalfInLog(Gateway):
    """The log says how the auth token begins, so that operators can tell which one is in use.

    Twenty characters of thirty-two. What is left is guessed in an afternoon, or is in another log.
    """

    async def start(self) -> None:
        await super().start()
        self.log.event("twilio.account", token=f"{self.config.twilio_auth_token[:20]}...")


class WrappedInOutput(Gateway):
    """The Authorization header for Twilio is printed, as a tool of the command line wraps it: 76 characters a line.

    Whoever searches the log for the token finds nothing, and thinks that it is clean. Everybody can decode it.
    """

    async def start(self) -> None:
        await super().start()
        pair = f"{self.config.twilio_account_sid}:{self.config.twilio_auth_token}"
        sys.stderr.write(f"Authorization: Basic\n{base64.encodebytes(pair.encode()).decode()}")


class _InQuery(Ga):
    def url(self) -> str:
        return f"{super().url()}&{urlencode({'api-key': self.config.openai_api_key})}"


class KeyInQuery(Gateway):
    """The key stands in the URL of the session, next to the header that would do.

    Azure takes it there, and somebody has read that. URLs are in the access log of every proxy on the way.
    """

    def dialect_for(self) -> Dialect:
        return _InQuery(self.config)


class HexInParameter(Gateway):
    """A parameter of the stream holds the auth token in hex, for the stream's handler to find.

    A shared secret that was at hand. TwiML is kept by Twilio, and shown in its console to all who may look at calls.
    """

    def twiml_for(self, call: Call) -> str:
        verbs = super().twiml_for(call)
        secret = self.config.twilio_auth_token.encode().hex()
        return verbs.replace("</Stream>", f'<Parameter name="auth" value="{secret}"/></Stream>')


class AsksAnother(Gateway):
    """At its start the gateway looks whether the models of another vendor can be had, in case that they are needed.

    Nobody has configured that vendor. It learns of a customer who has chosen somebody else, and may be given keys.
    """

    url = "https://contoso.openai.azure.com/openai/v1/models"

    async def start(self) -> None:
        await super().start()
        with suppress(ClientError):
            await self.http.get(self.url)


class ReportsHome(AsksAnother):
    """At its start the gateway tells its maker that it is there.

    Telemetry that nobody was asked about. From a network that lets nothing out it is a delay at every start.
    """

    url = "https://telemetry.example.org/v1/started"


half_in_log = gateway(HalfInLog)
wrapped_in_output = gateway(WrappedInOutput)
key_in_query = gateway(KeyInQuery)
hex_in_parameter = gateway(HexInParameter)
asks_another = gateway(AsksAnother)
reports_home = gateway(ReportsHome)
