"""Faults in minting client secrets, and in what is handed over with them. Many are told as 403 model_not_found."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from broken import minter, talk
from reference_impl.minting import ClientSecret, Minter
from reference_impl.talk import Talk


class MintsAtSessions(Minter):
    """Secrets are minted at the endpoint of the beta.

    The third of the causes that openclaw#83822 asks about. While the endpoint still mints, the session call succeeds;
    the browser is refused, and everybody looks at the browser.
    """

    def url(self) -> str:
        return f"{self.config.openai_base_url}/realtime/sessions"

    def body(self) -> dict[str, Any]:
        return {"model": self.config.openai_model, "voice": self.config.openai_voice}

    def secret_of(self, answer: Any) -> ClientSecret:
        return super().secret_of(answer["client_secret"])


class MintsFlat(Minter):
    """The session is sent in the beta's shape to the endpoint of GA, without `session.type`.

    Seen in openai-agents-js#406. Where it is not a 400, the secret is one of the beta, and no call takes it.
    """

    def body(self) -> dict[str, Any]:
        return {"session": {"voice": self.config.openai_voice, "instructions": self.config.openai_instructions}}


class MintsOldModel(Minter):
    """Secrets are minted for a model that stands in the code.

    The second of the causes that openclaw#83822 asks about: stale model permissions. The key may use the configured
    model, the page shows it, and the secret is for another one.
    """

    def session(self) -> dict[str, Any]:
        return {**super().session(), "model": "gpt-realtime"}


class MintsWithBetaHeader(Minter):
    """The header of the beta is sent along when a secret is minted.

    Left over from the WebSocket's headers, as in openclaw#80196. OpenAI has refused it since the beta ended.
    """

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "OpenAI-Beta": "realtime=v1"}


class MintsUnknownField(Minter):
    """The session has a field that only the beta knew.

    A migration that was nearly complete. OpenAI answers 400, and nobody can talk.
    """

    def session(self) -> dict[str, Any]:
        return {**super().session(), "modalities": ["audio", "text"]}


class LeavesInstructionsToThePage(Minter):
    """The secret is minted without instructions; the page is to send them.

    Seen in most samples, in which the page sends a `session.update`. Whoever is at the page tells the model who it is.
    """

    def session(self) -> dict[str, Any]:
        return {name: value for name, value in super().session().items() if name != "instructions"}


class MintsElsewhere(Minter):
    """A project that was left in the environment is named when a secret is minted.

    The first of the causes that openclaw#83822 asks about. Requests with the key itself go to its own project and work,
    so the key is taken for good; browsers get 403.
    """

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "OpenAI-Project": "proj_elsewhere"}


class SharesASecret(Talk):
    """One secret is handed to everybody until it expires.

    A cache that was to save a request. All who ask hold the same key, and the last one has a second left to use it.
    """

    kept = ClientSecret("", 0)

    async def webrtc_session(self) -> dict[str, Any]:
        if self.expired(self.kept):
            self.kept = await self.minter().mint()
        return self.webrtc_answer(self.minter(), self.kept)

    def expired(self, secret: ClientSecret) -> bool:
        """Whether the secret that is kept is of no use any more."""
        return secret.expires_at <= time.time()


class KeepsADeadSecret(SharesASecret):
    """The first secret is handed to everybody, for ever.

    The same cache, which nobody told of expiry. It works on the author's desk, and an hour later for nobody.
    """

    def expired(self, secret: ClientSecret) -> bool:
        return not secret.value


class AsksForTwoHours(Minter):
    """Secrets are asked for with the longest life that there is.

    To be on the safe side. A secret that is read over somebody's shoulder is good for the afternoon.
    """

    def body(self) -> dict[str, Any]:
        return {**super().body(), "expires_after": {"anchor": "created_at", "seconds": 7200}}


class GivesTheSessionId(Minter):
    """The id of the session is handed over in the place of the secret.

    `session.id` and `value` stand in one answer, and both are random text. OpenAI tells the browser invalid_api_key.
    """

    def secret_of(self, answer: Any) -> ClientSecret:
        return ClientSecret(str(answer["session"]["id"]), int(answer["expires_at"]))


class ExpiryInMilliseconds(Minter):
    """The browser is told the expiry in milliseconds.

    JavaScript's unit at one end, and Unix seconds at the other. The page uses a dead secret with all confidence.
    """

    def secret_of(self, answer: Any) -> ClientSecret:
        return ClientSecret(str(answer["value"]), int(answer["expires_at"]) * 1000)


class MintsInAdvance(Talk):
    """The secret for the next person is minted when the one before has been served.

    To answer at once. It waits until somebody comes, and is dead by then.
    """

    waiting: asyncio.Task[ClientSecret] | None = None

    async def webrtc_session(self) -> dict[str, Any]:
        minter = self.minter()
        secret = await (self.waiting or minter.mint())
        self.waiting = asyncio.create_task(minter.mint())
        return self.webrtc_answer(minter, secret)


class AnswersTogether(Talk):
    """Those who ask while a secret is being minted are given that one too.

    A library for single flights put around the wrong request. Two people hold one key.
    """

    minting: asyncio.Task[ClientSecret] | None = None

    async def webrtc_session(self) -> dict[str, Any]:
        minter = self.minter()
        if self.minting is None or self.minting.done():
            self.minting = asyncio.create_task(minter.mint())
        return self.webrtc_answer(minter, await self.minting)


class OffersAnotherModel(Minter):
    """The address for the offer names a model, and not the one of the secret.

    The fourth of the causes that openclaw#83822 asks about: the request of the browser is not built as the direct one.
    Whichever of the two is changed, OpenAI refuses the pair.
    """

    def calls_url(self) -> str:
        return f"{super().calls_url()}?model=gpt-realtime"


class OffersTheModelAgain(Minter):
    """The address for the offer names the model that the secret is bound to anyway.

    A habit of the beta. It works until one of the two places is changed.
    """

    def calls_url(self) -> str:
        return f"{super().calls_url()}?model={self.config.openai_model}"


class OffersElsewhere(Minter):
    """The browser is sent to the European address, while secrets are minted at the configured one.

    One of the two was moved. A secret is known where it was minted.
    """

    def calls_url(self) -> str:
        return "https://eu.api.openai.com/v1/realtime/calls"


mints_at_sessions = minter(MintsAtSessions)
mints_flat = minter(MintsFlat)
mints_old_model = minter(MintsOldModel)
mints_with_beta_header = minter(MintsWithBetaHeader)
mints_unknown_field = minter(MintsUnknownField)
leaves_instructions_to_the_page = minter(LeavesInstructionsToThePage)
mints_elsewhere = minter(MintsElsewhere)
shares_a_secret = talk(SharesASecret)
keeps_a_dead_secret = talk(KeepsADeadSecret)
asks_for_two_hours = minter(AsksForTwoHours)
gives_the_session_id = minter(GivesTheSessionId)
expiry_in_milliseconds = minter(ExpiryInMilliseconds)
mints_in_advance = talk(MintsInAdvance)
answers_together = talk(AnswersTogether)
offers_another_model = minter(OffersAnotherModel)
offers_the_model_again = minter(OffersTheModelAgain)
offers_elsewhere = minter(OffersElsewhere)
