"""The vendor's packages for JavaScript over WebRTC, in a real Chromium, against the service over real sockets."""

from __future__ import annotations

import asyncio
import base64
import shutil
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from needs import missing
from node_clients import MODULES, node
from openai_stand import KEY, MODEL, WEATHER, Stand, ear, sound, stand
from playwright.async_api import async_playwright

from fakes.audio import UNKNOWN, phrase, silence
from fakes.openai.calls import CallState

PAGES = Path(__file__).with_name("browser")
RATE = 24000
SECONDS = 25
"""How long a page may take."""
COVERED_MS = 400
"""How long the sound is at most by which a browser covers a gap."""
CHROMIUM = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


class PageServer:
    """Where the pages come from: an origin of its own, with the packages, sounds, and a server's part in a call."""

    def __init__(self, s: Stand) -> None:
        self.call = ""
        self._stand = s
        self.app = web.Application()
        self.app.router.add_get("/sounds/{phrase}.pcm", self.sound)
        self.app.router.add_post("/exchange", self.exchange)
        self.app.router.add_post("/hangup", self.hangup)
        self.app.router.add_static("/bundle", MODULES / "@openai" / "agents-realtime" / "dist" / "bundle")
        self.app.router.add_static("/openai", MODULES / "openai")
        self.app.router.add_static("/", PAGES)

    async def sound(self, request: web.Request) -> web.Response:
        return web.Response(body=b"".join(sound(request.match_info["phrase"], "pcm16", 0)))

    async def exchange(self, request: web.Request) -> web.Response:
        """Hand on an offer, with the server's own key and the whole session."""
        session: Any = {"type": "realtime", "model": MODEL, "instructions": "Be brief.", "tools": [WEATHER]}
        async with self._stand.client() as client:
            answer = await client.realtime.calls.with_raw_response.create(sdp=await request.text(), session=session)
        self.call = answer.http_response.headers["location"].split("/")[-1]
        return web.Response(text=answer.http_response.text)

    async def hangup(self, request: web.Request) -> web.Response:
        async with self._stand.client() as client:
            await client.realtime.calls.hangup(self.call)
        return web.Response()


@asynccontextmanager
async def served(s: Stand) -> AsyncIterator[str]:
    """The address of the page."""
    node()  # tells when the packages are not there
    runner = web.AppRunner(PageServer(s).app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/index.html"
    finally:
        await runner.cleanup()


def microphone(folder: Path, before_ms: int, phrase: str) -> str:
    """The argument that makes Chromium's microphone play a phrase once, after a silence."""
    path = folder / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(silence(before_ms, "pcm16", RATE) + b"".join(sound(phrase, "pcm16", 1000)))
    return f"--use-file-for-fake-audio-capture={path}%noloop"


@asynccontextmanager
async def page(s: Stand, *arguments: str) -> AsyncIterator[Any]:
    """A page in a browser of its own. What it logs is shown when the test fails."""
    path = shutil.which("chromium")
    if path is None:
        missing("no chromium on the PATH: install the package `chromium`")
    async with served(s) as url, async_playwright() as p:
        browser = await p.chromium.launch(executable_path=path, args=[*CHROMIUM, *arguments])
        try:
            opened = await browser.new_page()
            opened.on("console", lambda message: print(f"{message.type}: {message.text}"))  # noqa: T201
            await opened.goto(url)
            yield opened
        finally:
            await browser.close()


async def secret(s: Stand) -> str:
    """A client secret, minted as a gateway would."""
    async with s.client() as client:
        minted = await client.realtime.client_secrets.create(session={"type": "realtime", "model": MODEL})
    return minted.value


async def tell(opened: Any, function: str, s: Stand, key: str) -> dict[str, Any]:
    """Run a function of the page, and return what it tells."""
    task = {"key": key, "model": MODEL, "url": f"{s.http}/realtime/calls"}
    async with asyncio.timeout(SECONDS):
        told: dict[str, Any] = await opened.evaluate(f"task => window.{function}(task)", task)
    return told


def heard(told: dict[str, Any]) -> list[tuple[str, bool]]:
    """The phrases in the sound that the browser played, in order, and whether each was heard to its end.

    A browser plays a little faster or slower to keep its buffer short, and covers a gap by a sound of its own: a phrase
    may be heard in two parts, some ms of it are always missing, and where it was cut there may be a bit of noise.
    """
    listener = ear("pcm16")
    listener.feed(base64.b64decode(told["audio"]))
    listener.flush()
    parts: dict[str, float] = {}
    for found in listener.heard:
        if found.phrase == UNKNOWN and found.end_ms - found.start_ms < COVERED_MS:
            continue
        parts[found.phrase] = parts.get(found.phrase, 0) + found.heard_ms
    return [(name, name != UNKNOWN and ms > 0.85 * phrase(name).duration_ms) for name, ms in parts.items()]


async def test_a_person_says_hello_into_the_microphone(tmp_path: Path) -> None:
    async with stand(webrtc=True) as s, page(s, microphone(tmp_path, 2500, "hello")) as opened:
        told = await tell(opened, "hello", s, await secret(s))
        assert heard(told) == [("greeting", True)]
        assert "input_audio_buffer.speech_started" in told["seen"]
        assert told["call"] == s.service.calls.all[0].id
        requests = [message.meta for message in s.recorder.messages if message.kind == "request"]
        minted, asked, offered = (dict(meta["headers"]) for meta in requests)
        assert minted["Authorization"] == f"Bearer {KEY}"
        # The page is of another origin, so that the browser asks first.
        assert asked["Access-Control-Request-Headers"] == "authorization,content-type,x-openai-agents-sdk"
        assert offered["Authorization"].startswith("Bearer ek_")
        assert s.invalid() == []


async def test_a_greeting_an_interruption_and_a_tool_call() -> None:
    async with stand(webrtc=True) as s, page(s) as opened:
        told = await tell(opened, "story", s, await secret(s))
        assert heard(told) == [("greeting", False), ("weather_sunny", True)]
        assert told["cities"] == ["Berlin"]
        assert 0 < told["cut"] < 3000
        assert "response.output_audio.delta" not in told["seen"]
        assert (s.invalid(), s.faults("ga")) == ([], [])


async def test_a_page_whose_server_exchanges_the_offer_and_hangs_up() -> None:
    async with stand(webrtc=True) as s, page(s) as opened:
        told = await tell(opened, "exchanged", s, "")
        assert heard(told) == [("greeting", False), ("weather_sunny", True)]
        assert told["calls"] == ['{"city":"Berlin"}']
        assert 0 < told["cut"] < 3000
        # The channel or the connection under it is seen to go first.
        assert told["closed"] in ("remote", "failed")
        assert s.service.calls.all[0].state is CallState.ENDED
        assert (s.invalid(), s.faults("ga")) == ([], [])


async def test_a_page_is_told_why_it_is_refused() -> None:
    async with stand(webrtc=True) as s, page(s) as opened:
        told = await tell(opened, "refused", s, "ek_nobody")
        assert "401" in told["message"]
