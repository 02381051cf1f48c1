"""Reference gateways with a fault in their page: `python tests/broken_pages.py NAME` serves one, as the real one is."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from aiohttp import web

from reference_impl.app import serve
from reference_impl.config import load
from reference_impl.gateway import Gateway
from reference_impl.talk import Talk


@dataclass(frozen=True)
class PageFault:
    """`file` of the page has `right` in it, and gets `wrong` in its place. It fails or warns of `requirement`."""

    file: str
    right: str
    wrong: str
    case: str
    requirement: str


FAULTS = {
    # Nobody connects the track of the model to a loudspeaker: everything works, and nothing is heard.
    "plays_no_track": PageFault(
        "webrtc.js", "voice.srcObject = stream;", "", "test_a_page_talks_over_webrtc", "TALK-PG-001"
    ),
    # The sound of the relay is queued and goes nowhere.
    "plays_no_relay": PageFault(
        "relay.js",
        "output.connect(context.destination);",
        "",
        "test_a_page_talks_over_the_relay",
        "TALK-PG-002",
    ),
    # The person reads `failed (403)`, and asks the internet.
    "says_failed": PageFault(
        "talk.js",
        '$("problem-message").textContent = error.message;',
        '$("problem-message").textContent = `failed (${error.status})`; error = { source: error.source };',
        "test_a_page_says_why_its_offer_was_refused",
        "TALK-PG-003",
    ),
    # A request to the gateway is lost, and with it the answer that the model waits for.
    "lets_the_model_wait": PageFault(
        "webrtc.js",
        'return JSON.stringify({ error: "the tool could not be run" });',
        "throw error;",
        "test_a_page_cannot_have_a_function_run",
        "TALK-PG-006",
    ),
    # What is said is not written down.
    "writes_nothing": PageFault(
        "talk.js", "transcript: write,", "transcript: () => {},", "test_a_page_talks_over_webrtc", "TALK-PG-004"
    ),
    # The key comes with a script, for a shortcut that somebody once needed.
    "key_in_a_script": PageFault(
        "talk.js", "// Conversations", "const KEY = `{openai_api_key}`;", "test_a_page_talks_over_webrtc", "TALK-PG-005"
    ),
}


def gateway_with(fault: PageFault) -> type[Gateway]:
    """The reference gateway with a page that has this fault. Its files have to have the right text."""

    class Faulty(Talk):
        def file(self, name: str, content_type: str) -> web.Response:
            response = super().file(name, content_type)
            if name == fault.file:
                text = response.text or ""
                assert text.count(fault.right) == 1, f"{name} does not have {fault.right!r} in it"
                wrong = fault.wrong.replace("{openai_api_key}", self.config.openai_api_key)
                response.text = text.replace(fault.right, wrong)
            return response

    class FaultyGateway(Gateway):
        talk_class = Faulty

    return FaultyGateway


if __name__ == "__main__":
    asyncio.run(serve(load([], os.environ), gateway_with(FAULTS[sys.argv[1]])))
