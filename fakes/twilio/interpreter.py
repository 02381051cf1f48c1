"""Runs one TwiML document: one verb at a time, top to bottom, until it ends, hands over or is stopped.

Source: Twilio docs, "TwiML for Programmable Voice" and the page of each verb.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from fakes import audio
from fakes.ports import Timer
from fakes.twilio.gather import Gather
from fakes.twilio.prompt import Prompt
from fakes.twilio.stream import Stream
from fakes.twilio.twiml import Document, Element

if TYPE_CHECKING:
    from fakes.twilio.call import Call, Params

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class Interpreter:
    """The run of one document. `base_url` and `method`: where it came from; empty for inline TwiML."""

    def __init__(self, call: Call, document: Document, base_url: str, method: str) -> None:
        self.call = call
        self.base_url = base_url
        self.method = method
        self.stopped = False
        self._verbs = document.verbs
        self._index = 0
        self._timer: Timer | None = None
        self._gather: Gather | None = None
        self._stream: Stream | None = None
        self._connect: Element | None = None
        self._handlers: dict[str, Callable[[Element], None]] = {
            "Say": self._prompt,
            "Play": self._prompt,
            "Pause": self._pause,
            "Gather": self._run_gather,
            "Redirect": self._redirect,
            "Hangup": self._hangup,
            "Reject": self._reject,
            "Connect": self._run_connect,
        }

    # ------------------------------------------------------------------ control

    def start(self) -> None:
        """Run the first verb."""
        self.next()

    def next(self) -> None:
        """The running verb is done: run the next one, or tell the call that there is none."""
        if self.stopped:
            return
        if self._index >= len(self._verbs):
            self.stopped = True
            self.call.document_ended()
            return
        verb = self._verbs[self._index]
        self._index += 1
        if self.call.status == "ringing" and verb.name not in ("Pause", "Reject"):
            self.call.answer()
        self._handlers[verb.name](verb)

    def stop(self, *, redirected: bool = False) -> None:
        """Interrupt the running verb; nothing resumes. `redirected`: the call goes on with another document."""
        if self.stopped:
            return
        self.stopped = True
        self.call.forget(self._timer)
        if self._gather is not None:
            self._gather.stop()
        if not redirected:
            return
        self.call.line.attach(None)
        if self._stream is not None:
            self._stream.redirected()
            self._after_redirect()

    def hand_over(self, url: str, method: str, extra: Params | None = None) -> None:
        """Leave this document for the one at `url`, relative to this one."""
        resolved = self.call.resolve(url, self.base_url)
        self.stopped = True
        if not resolved:
            self.call.debug_and_end(11100, f"{url!r} is relative, and the document came without a URL")
            return
        self.call.fetch(resolved, method, extra)

    def key(self, digit: str) -> None:
        """The far end presses a key."""
        if self._gather is not None:
            self._gather.key(digit)
        elif self._stream is not None:
            self._stream.dtmf(digit)

    def later(self, seconds: float, effect: Callable[[], None]) -> Timer:
        """Run `effect` after `seconds` if this document still runs."""

        def run() -> None:
            if not self.stopped:
                effect()

        return self.call.after(seconds, run)

    # ------------------------------------------------------------------ verbs

    def _prompt(self, verb: Element) -> None:
        self.play(verb, self.next)

    def play(self, verb: Element, done: Callable[[], None]) -> None:
        """Play a Say, Play or Pause to the far end, then `done`."""
        if verb.name == "Pause":
            self._timer = self.later(_seconds(verb.get("length"), 1), done)
            return
        loop = _whole(verb.get("loop"), 1)
        if verb.name == "Play" and not verb.get("digits"):
            url = self.call.resolve(verb.text, self.base_url)
            if not url:
                self.call.core.debug(11100, f"<Play> {verb.text!r}", self.call)
                done()
                return
            self.call.core.fetch_audio(
                self.call, url, lambda frames: None if self.stopped else self._attach(frames, loop, done)
            )
            return
        frames = _digits(verb.get("digits")) if verb.name == "Play" else spoken_frames(verb.text)
        self._attach(frames, loop, done)

    def _attach(self, frames: Sequence[bytes], loop: int, done: Callable[[], None]) -> None:
        def finished() -> None:
            self.call.line.attach(None)
            if not self.stopped:
                done()

        self.call.line.attach(Prompt(frames, loop, finished))

    def _pause(self, verb: Element) -> None:
        self.play(verb, self.next)

    def _run_gather(self, verb: Element) -> None:
        def over(extra: Params | None) -> None:
            self._gather = None
            if extra is None:
                self.next()
                return
            self.hand_over(verb.get("action") or self.base_url, verb.get("method", "POST"), extra)

        self._gather = Gather(self, verb, over)
        self._gather.start()

    def _redirect(self, verb: Element) -> None:
        self.hand_over(verb.text, verb.get("method", "POST"))

    def _hangup(self, verb: Element) -> None:
        self.stopped = True
        self.call.hang_up()

    def _reject(self, verb: Element) -> None:
        self.stopped = True
        self.call.reject(busy=verb.get("reason") == "busy")

    # ------------------------------------------------------------------ Connect

    def _run_connect(self, verb: Element) -> None:
        noun = next((child for child in verb.children if child.name == "Stream"), None)
        if noun is None:
            names = ", ".join(f"<{child.name}>" for child in verb.children) or "nothing"
            self.call.core.not_done(f"<Connect> with {names} is not run by this fake; it was skipped", self.call)
            self.next()
            return
        self._connect = verb
        url = self._stream_url(noun)
        if not url:
            self._stream_over(False)
            return
        callback = self.call.resolve(noun.get("statusCallback"), self.base_url) if noun.get("statusCallback") else ""
        self._stream = Stream(
            self.call,
            url,
            label=noun.get("name"),
            parameters={child.get("name"): child.get("value") for child in noun.children},
            callback=(callback, noun.get("statusCallbackMethod", "POST")),
            on_end=self._stream_ended,
        )
        self._stream.open()

    def _stream_url(self, noun: Element) -> str:
        """The URL to connect to; empty, with an error shown, when it cannot be used."""
        debug = self.call.core.debug
        if noun.get("track", "inbound_track") != "inbound_track":
            debug(31941, f"track={noun.get('track')!r}; <Connect><Stream> takes inbound_track", self.call)
            return ""
        url = noun.get("url").strip()
        parts = urlsplit(url)
        if not parts.scheme and url and self.base_url:
            base = urlsplit(self.call.resolve(url, self.base_url))
            parts = base._replace(scheme={"https": "wss", "http": "ws"}.get(base.scheme, base.scheme))
        try:
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            debug(31923, f"{url!r}: {error}", self.call)
            return ""
        if not parts.scheme or not host:
            debug(31923, f"{url!r}", self.call)
            return ""
        local = host in LOCAL_HOSTS and self.call.core.knobs["twilio.local_urls"] == "allowed"
        if parts.scheme != "wss" and not (local and parts.scheme == "ws"):
            debug(31922, f"{url!r}: the scheme is {parts.scheme}, expected wss", self.call)
            return ""
        if parts.query and self.call.core.knobs["twilio.stream_query"] == "stripped":
            parts = parts._replace(query="")
        return urlunsplit(parts._replace(fragment=""))

    def _stream_ended(self, stream: Stream, opened: bool) -> None:
        if self.stopped:
            return
        if stream.lost and self.call.core.knobs["twilio.stream_replacement"]:
            self._stream = stream.replacement(self._stream_ended)
            self._stream.open()
            return
        self._stream_over(opened)

    def _stream_over(self, opened: bool) -> None:
        self._stream = None
        if not opened and self.call.core.knobs["twilio.stream_failure"] == "hangup":
            self.stopped = True
            self.call.hang_up()
            return
        connect = self._connect
        self._connect = None
        if connect is not None and connect.get("action"):
            self.hand_over(connect.get("action"), connect.get("method", "POST"))
            return
        self.next()

    def _after_redirect(self) -> None:
        connect = self._connect
        if connect is None or self.call.core.knobs["twilio.connect_action_after_redirect"] != "yes":
            return
        url = self.call.resolve(connect.get("action"), self.base_url) if connect.get("action") else ""
        if url:
            self.call.notify("connect-action", url, connect.get("method", "POST"))


def spoken_frames(text: str) -> Sequence[bytes]:
    """The stand-in for speech synthesis: the phrase of `text` in frames of 20 ms."""
    return audio.frames(audio.phrase_for_text(text).name, "pcmu", 8000) if text else ()


def _digits(digits: str) -> Sequence[bytes]:
    """Touch tones, 100 ms each with 100 ms between; `w` waits half a second, `W` a whole one."""
    data = b""
    for digit in digits:
        if digit in "wW":
            data += audio.silence(500 if digit == "w" else 1000, "pcmu", 8000)
        elif digit in "0123456789*#ABCD":
            data += audio.dtmf(digit, 100) + audio.silence(100, "pcmu", 8000)
    return [data[start : start + 160] for start in range(0, len(data), 160)]


def _seconds(text: str, default: float) -> float:
    try:
        return max(0.0, float(text)) if text else default
    except ValueError:
        return default


def _whole(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default
