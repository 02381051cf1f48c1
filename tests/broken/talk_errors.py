"""Faults in what a person is told when OpenAI refuses, and in what the gateway does meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from aiohttp import ClientResponse, web

from broken import minter, talk
from reference_impl.minting import ClientSecret, Minter
from reference_impl.problems import Problem, Refused
from reference_impl.talk import Talk


class AnswersWithSuccess(Talk):
    """What went wrong at OpenAI is answered 200, with the error in the body.

    The status was thought to be that of the gateway. The page takes the answer for a session, and fails somewhere else.
    """

    def json(self, body: Any, status: int = 200) -> web.Response:
        return super().json(body, 200 if status == 502 else status)


class DropsTheCode(Talk):
    """The vendor's message is passed on, and its code is not.

    Seen wherever only `error.message` is read. Nobody can look up what is not named.
    """

    def describe(self, problem: Problem) -> dict[str, Any]:
        return {**super().describe(problem), "code": None, "type": None}


class SaysFailed(Talk):
    """The person reads `Realtime WebRTC setup failed (403)`.

    The words of openclaw#83822. They are true of every cause, and help with none.
    """

    def describe(self, problem: Problem) -> dict[str, Any]:
        return {**super().describe(problem), "message": f"Realtime WebRTC setup failed ({problem.status})"}


class GivesNoHint(Talk):
    """The vendor's words are passed on, and nothing is added.

    Right for a developer. The person at the page does not know what a project is.
    """

    def hint(self, problem: Problem) -> str | None:
        return None if problem.status is not None or problem.source == "gateway" else super().hint(problem)


class QuotesTheKey(Talk):
    """The vendor's message is passed on as it came.

    It quotes the key, masked as the vendor of the day thinks fit. What is not masked is on the screen.
    """

    def describe(self, problem: Problem) -> dict[str, Any]:
        return {**super().describe(problem), "message": problem.message}


class TriesAgainWhenSlow(Minter):
    """A request to mint that was not answered in time is made again, twice.

    A policy for everything. The person waits for half a minute, and gets the same answer.
    """

    async def mint(self) -> ClientSecret:
        for _ in range(2):
            try:
                return await super().mint()
            except Refused as refused:
                if refused.problem.code != "openai_timeout":
                    raise
        return await super().mint()


class TriesForever(Minter):
    """A request to mint that was refused is made again at once, up to ten times.

    A retry around everything that is not 200, as in livekit/agents#6352. A wrong key becomes a flood.
    """

    async def mint(self) -> ClientSecret:
        for _ in range(9):
            try:
                return await super().mint()
            except Refused as refused:
                if refused.problem.source != "openai":
                    raise
                await asyncio.sleep(0.1)
        return await super().mint()


class RemembersTheRefusal(Talk):
    """After a refusal the gateway does not ask again.

    To spare the vendor. The key has been mended, and nobody can talk until somebody restarts the gateway.
    """

    refused: Refused | None = None

    async def webrtc_session(self) -> dict[str, Any]:
        if self.refused is not None:
            raise self.refused
        try:
            return await super().webrtc_session()
        except Refused as refused:
            self.refused = refused
            raise


class OneAfterTheOther(Talk):
    """Secrets are minted one after the other.

    A lock around a client that was not thought to take two requests. One request that hangs stops everybody.
    """

    def __init__(self, *pieces: Any) -> None:
        super().__init__(*pieces)
        self.lock = asyncio.Lock()

    async def webrtc_session(self) -> dict[str, Any]:
        async with self.lock:
            return await super().webrtc_session()


class TakesWhatComes(Minter):
    """What stands in the answer for the secret is passed on, also when it is nothing.

    `undefined` in JavaScript, an empty text elsewhere. OpenAI tells the browser that its key is wrong, and the search
    begins at the key.
    """

    def secret_of(self, answer: Any) -> ClientSecret:
        return ClientSecret(str(answer.get("value", "")), int(answer.get("expires_at", 0)))


class ExplainsNothing(Talk):
    """The page's question what a refusal means is answered with the status only.

    The body of OpenAI's answer was not read. The code, which says everything, is in the developer tools.
    """

    async def on_explain(self, request: web.Request) -> dict[str, Any]:
        explained = await super().on_explain(request)
        return {"error": {**explained["error"], "code": None, "message": "Realtime WebRTC setup failed (403)"}}


class ReadsNoBody(Minter):
    """The body of a refusal is not read.

    `raise_for_status`, and the status line is all that is left of it. It may be the key or the bill.
    """

    async def problem_of(self, response: ClientResponse) -> Problem:
        problem = await super().problem_of(response)
        return replace(problem, code=None, type=None, message=f"{response.status}, message={response.reason!r}")


answers_with_success = talk(AnswersWithSuccess)
drops_the_code = talk(DropsTheCode)
says_failed = talk(SaysFailed)
gives_no_hint = talk(GivesNoHint)
quotes_the_key = talk(QuotesTheKey)
tries_again_when_slow = minter(TriesAgainWhenSlow)
tries_forever = minter(TriesForever)
remembers_the_refusal = talk(RemembersTheRefusal)
one_after_the_other = talk(OneAfterTheOther)
takes_what_comes = minter(TakesWhatComes)
explains_nothing = talk(ExplainsNothing)
reads_no_body = minter(ReadsNoBody)
