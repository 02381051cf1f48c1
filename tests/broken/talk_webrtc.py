"""Faults in what a browser needs to talk with OpenAI itself, and in the tools that are run for it."""

from __future__ import annotations

import asyncio
from typing import Any

from broken import minter, talk
from reference_impl.minting import Minter
from reference_impl.problems import Refused, ours
from reference_impl.talk import Talk
from reference_impl.tools import TALK_TOOLS, call_tool


class MintsWithoutTurns(Minter):
    """Secrets are minted with turn detection off.

    From the push-to-talk page that the gateway had before. The model listens for ever and never answers.
    """

    def session(self) -> dict[str, Any]:
        session = super().session()
        session["audio"]["input"]["turn_detection"] = None
        return session


class MintsUnstoppable(Minter):
    """Secrets are minted with `interrupt_response` off.

    Meant for the phone, where the gateway cancels by itself; over WebRTC nobody does. The assistant talks over people.
    """

    def session(self) -> dict[str, Any]:
        session = super().session()
        session["audio"]["input"]["turn_detection"] = {"type": "server_vad", "interrupt_response": False}
        return session


class MintsWithoutTranscription(Minter):
    """Secrets are minted without a transcription of what the person says.

    The answer's transcript comes by itself, and the question's has to be asked for. Half of the page stays empty.
    """

    def session(self) -> dict[str, Any]:
        session = super().session()
        del session["audio"]["input"]["transcription"]
        return session


class MintsWithoutTools(Minter):
    """Secrets are minted without the tools.

    They were declared in the `session.update` of the phone's bridge, which a browser's session does not have. The
    assistant says that it cannot look anything up.
    """

    def session(self) -> dict[str, Any]:
        return {**super().session(), "tools": []}


class MintsBare(Minter):
    """Secrets are minted with type and model, and the page is left to say the rest.

    The example of the vendor's reference, unchanged. The session begins as somebody else's assistant.
    """

    def session(self) -> dict[str, Any]:
        session = super().session()
        del session["instructions"], session["audio"]["output"]["voice"]
        return session


class TellsOfAnotherModel(Talk):
    """The browser is told of the model that the page was made for, not of the one that the secret is for.

    Two places for one setting. Whoever reports a fault reports it for the wrong model.
    """

    async def webrtc_session(self) -> dict[str, Any]:
        return {**await super().webrtc_session(), "model": "gpt-realtime"}


class DropsOutputs(Talk):
    """A tool is run, and its output is not handed back.

    The endpoint was written for tools that only do something. The model is told nothing and makes something up.
    """

    def run_tool(self, name: str, arguments: str) -> str:
        super().run_tool(name, arguments)
        return '{"error": "failed"}'


class FailsOnNonsense(Talk):
    """What the model gets wrong in a tool call is an internal error.

    An exception that nobody catches. The page gets a 500 and has nothing to tell the model, which waits.
    """

    def run_tool(self, name: str, arguments: str) -> str:
        ran, output = call_tool(name, arguments, TALK_TOOLS)
        if not ran:
            raise Refused(500, ours("tool_failed", "internal error", status=500))
        return output


class OnePersonOnly(Talk):
    """There is one place for a conversation over WebRTC, which is given back when the secret has expired.

    A guard against costs that was tried out by one person. The second one is told to come back later.
    """

    taken = 0.0

    async def webrtc_session(self) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        if now < self.taken:
            raise Refused(429, ours("talk_busy", "somebody else is talking", status=429))
        self.taken = now + self.config.talk_secret_seconds
        return await super().webrtc_session()


mints_without_turns = minter(MintsWithoutTurns)
mints_unstoppable = minter(MintsUnstoppable)
mints_without_transcription = minter(MintsWithoutTranscription)
mints_without_tools = minter(MintsWithoutTools)
mints_bare = minter(MintsBare)
tells_of_another_model = talk(TellsOfAnotherModel)
drops_outputs = talk(DropsOutputs)
fails_on_nonsense = talk(FailsOnNonsense)
one_person_only = talk(OnePersonOnly)
