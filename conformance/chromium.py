"""A real browser for a gateway's own page: Chromium with a fake microphone, and an ear for what it plays."""

from __future__ import annotations

import asyncio
import base64
import shutil
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from fakes.audio import Listener, resample, silence, speak
from fakes.audio import phrase as phrase_of
from fakes.people.errors import NotHeard
from harness.run import UsageProblem

RATE = 24000
MICROPHONE_RATE = 48000
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--force-webrtc-ip-handling-policy=default",
)
ENOUGH = 0.3
"""How much of a phrase has to be heard: enough to know it. On a busy machine a browser loses half of what it plays."""

_TAP = Path(__file__).with_name("chromium.js")


class NoBrowser(UsageProblem):
    """There is no Chromium, or nothing to drive it by. The message says what to install."""


class Chromium:
    """A browser of its own with one page, as an asynchronous context manager. Raises `NoBrowser`.

    `says`: a phrase that the microphone hears once, `after` seconds after the page has asked for the microphone.
    """

    def __init__(self, *, says: str | None = None, after: float = 3.0, arguments: Sequence[str] = ()) -> None:
        self._says = says
        self._after = after
        self._arguments = list(arguments)
        self._folder = tempfile.TemporaryDirectory(prefix="callproof-")
        self._driver: Any = None
        self._browser: Any = None
        self._played = bytearray()
        self._rate = RATE
        self._more = asyncio.Event()
        self._reading: set[asyncio.Task[None]] = set()
        self.page: Any = None
        self.console: list[str] = []
        """What the page has logged."""
        self.received: list[tuple[str, str]] = []
        """Every text that the page was sent: from which address, and what; all of it after `loaded`."""

    async def __aenter__(self) -> Chromium:
        try:
            from playwright.async_api import async_playwright
        except ImportError:
            raise NoBrowser("the page is tried in a real browser: pip install 'callproof[browser]'") from None
        path = next((found for name in NAMES if (found := shutil.which(name))), None)
        if path is None:
            raise NoBrowser(
                f"the page is tried in a real browser: install Chromium (one of {', '.join(NAMES)} on PATH)"
            )
        self._driver = await async_playwright().start()
        try:
            arguments = [*ARGUMENTS, *self._arguments, f"--use-file-for-fake-audio-capture={self._microphone()}%noloop"]
            self._browser = await self._driver.chromium.launch(executable_path=path, args=arguments)
            self.page = await self._browser.new_page(viewport={"width": 1180, "height": 620})
            self.page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
            self.page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
            self.page.on("response", lambda response: self._keep(response))
            await self.page.expose_function("callproofPlayed", self._take)
            await self.page.add_init_script(_TAP.read_text(encoding="utf-8"))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if self._browser is not None:
            # A page that is left ends its calls by itself; one that is killed is only missed after half a minute.
            if self.page is not None:
                await self.page.goto("about:blank")
            await self._browser.close()
        await self._driver.stop()
        self._folder.cleanup()

    def _microphone(self) -> str:
        path = Path(self._folder.name) / "microphone.wav"
        said = speak(self._says, "pcm16", MICROPHONE_RATE) if self._says else b""
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, MICROPHONE_RATE, 0, "NONE", ""))
            before, after = self._after * 1000, 30_000
            file.writeframes(silence(before, "pcm16", MICROPHONE_RATE))
            file.writeframes(said)
            file.writeframes(silence(after, "pcm16", MICROPHONE_RATE))
        return str(path)

    def _keep(self, response: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._read(response))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def loaded(self) -> None:
        """Wait until everything that was answered so far has been read into `received`; for endless answers, 5 s."""
        if self._reading:
            await asyncio.wait(self._reading, timeout=5)

    async def _read(self, response: Any) -> None:
        try:
            self.received.append((response.url, await response.text()))
        except Exception as error:
            self.received.append((response.url, f"(could not be read: {error})"))

    # -- what a person does

    async def opens(self, url: str) -> None:
        """Open a page, and wait until it is loaded. AssertionError when it is not."""
        answer = await self.page.goto(url)
        if answer is None or answer.status >= 400:
            raise AssertionError(f"the page at {url} was answered with {answer.status if answer else 'nothing'}")

    async def presses(self, selectors: Sequence[str]) -> None:
        """Press one after the other. AssertionError for one that is not there, or cannot be pressed."""
        for selector in selectors:
            try:
                await self.page.locator(selector).first.click(timeout=5000, force=True)
            except Exception as error:
                raise AssertionError(f"the page has nothing to press at {selector!r}: {_first_line(error)}") from None

    async def sees(self, selector: str, *, within: float) -> str:
        """Wait until something can be seen; returns its text. AssertionError when it cannot."""
        try:
            found = self.page.locator(selector).first
            await found.wait_for(state="visible", timeout=within * 1000)
            return str(await found.inner_text())
        except Exception:
            told = "; ".join(self.console[-3:])
            raise AssertionError(
                f"the page did not show {selector!r} within {within:g} s" + (f"; it logged: {told}" if told else "")
            ) from None

    async def reads(self, selector: str) -> str:
        """The text of something that may be empty, or hidden, or not there."""
        found = self.page.locator(selector)
        return str(await found.first.inner_text()) if await found.count() else ""

    async def fails(self, path: str) -> None:
        """From now on the page's requests to a path of its own fail, as where the network is bad."""
        await self.page.route(lambda url: urlsplit(url).path == path, lambda route: route.abort("connectionfailed"))

    async def hears(self, *phrases: str, within: float) -> None:
        """Wait until the browser has played one of these phrases. Raises `NotHeard` with what it has played instead."""
        wanted = {phrase: phrase_of(phrase).duration_ms * ENOUGH for phrase in phrases}
        try:
            async with asyncio.timeout(within):
                while not any(self._heard().get(phrase, 0) >= enough for phrase, enough in wanted.items()):
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            heard = ", ".join(f"{name} for {ms / 1000:.1f} s" for name, ms in self._heard().items()) or "nothing"
            expected = " or ".join(map(repr, phrases))
            raise NotHeard(f"the browser did not play {expected} within {within:g} s, but {heard}") from None

    def _take(self, rate: float, pcm: str) -> None:
        """A piece of what the page plays."""
        self._rate = int(rate)
        self._played += base64.b64decode(pcm)
        self._more.set()

    def _heard(self) -> dict[str, float]:
        """How much of each phrase was played, in ms."""
        pcm = resample(np.frombuffer(self._played, "<i2"), self._rate, RATE).tobytes()
        listener = Listener("pcm16", RATE)
        listener.feed(pcm, 0)
        listener.flush()
        parts: dict[str, float] = {}
        for found in listener.heard:
            parts[found.phrase] = parts.get(found.phrase, 0.0) + found.heard_ms
        return parts

    async def picture(self, path: Path) -> None:
        """Keep a picture of the page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=str(path))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160]
