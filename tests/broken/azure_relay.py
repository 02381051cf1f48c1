"""Faults in what browsers get from a gateway that is configured for Azure."""

from __future__ import annotations

from typing import Any

from broken import talk
from reference_impl.channel import JsonChannel
from reference_impl.dialects import BROWSER, dialect_for
from reference_impl.problems import Problem
from reference_impl.relay import Relay
from reference_impl.talk import Talk
from reference_impl.upstream import Upstream


class RelaysToOpenai(Talk):
    """Phone calls go to Azure, and browsers to OpenAI.

    Talk was made first, and has its own settings. What is said at the page goes to a vendor that nobody has chosen.
    """

    def relay(self, browser: JsonChannel) -> Relay:
        dialect = dialect_for(self.config, BROWSER, Upstream(self.config))
        return self.relay_class(self.config, dialect, self.http(), browser, self.log, self.describe)


class WebrtcDespiteAzure(Talk):
    """A browser that asks for WebRTC gets it, by way of OpenAI.

    Client secrets are minted where they always were. There is no key for that, or it is another vendor's.
    """

    def transport_for(self, asked: str) -> tuple[str, str]:
        return asked, ""


class SaysProviderError(Talk):
    """The browser is told `Realtime provider error.`, whatever Azure has said.

    openclaw 2026.9.6: the cause is in the log of the gateway. The person at the page cannot read that.
    """

    def describe(self, problem: Problem) -> dict[str, Any]:
        hidden = {"code": "realtime_unavailable", "message": "Realtime provider error.", "type": None, "status": None}
        return {**super().describe(problem), **hidden, "cause": None, "source": "gateway", "hint": None}


class GivesNoAdvice(Talk):
    """Azure's words are passed on, and no advice.

    The advice that there was is about OpenAI, and was left out. `401` means something to few.
    """

    def hint(self, problem: Problem) -> str | None:
        return None if problem.source == "azure" else super().hint(problem)


class KeyForTheBrowser(Talk):
    """The answer to the session call has the key of the resource in it.

    For a page that was to connect by itself. Whoever opens it can use the resource from then on.
    """

    async def relay_session(self) -> dict[str, Any]:
        return {**await super().relay_session(), "apiKey": self.config.azure_api_key}


relays_to_openai = talk(RelaysToOpenai)
webrtc_despite_azure = talk(WebrtcDespiteAzure)
says_provider_error = talk(SaysProviderError)
gives_no_advice = talk(GivesNoAdvice)
key_for_the_browser = talk(KeyForTheBrowser)
