"""<Gather>: prompts, then keys or speech, then a request to `action`. Source: Twilio docs, "<Gather>"."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fakes import audio
from fakes.ports import Timer
from fakes.twilio.playback import SILENCE
from fakes.twilio.twiml import Element

if TYPE_CHECKING:
    from fakes.twilio.call import Params
    from fakes.twilio.interpreter import Interpreter

SPEECH_END = 1.0
"""Seconds of silence that end what is said, where speechTimeout is `auto`."""


class Gather:
    """One run of the verb. `over` is told the parameters for `action`, or None to go on with the next verb."""

    def __init__(self, interpreter: Interpreter, verb: Element, over: Callable[[Params | None], None]) -> None:
        self._interpreter = interpreter
        self._verb = verb
        self._over = over
        self._prompts = list(verb.children)
        self._prompting = True
        self._digits = ""
        self._ended = False
        self._timer: Timer | None = None
        inputs = verb.get("input", "dtmf").split()
        self._dtmf = "dtmf" in inputs
        self._listener = audio.Listener("pcmu", 8000) if "speech" in inputs else None
        self._timeout = float(verb.get("timeout")) if verb.get("timeout").isdigit() else 5.0
        self._finish = verb.get("finishOnKey", "#")
        self._wanted = int(verb.get("numDigits")) if verb.get("numDigits").isdigit() else 0
        self._silent_since: float | None = None

    def start(self) -> None:
        """Play the first prompt, and listen."""
        if self._listener is not None:
            self._interpreter.call.line.tap(self._hear)
        self._next_prompt()

    def stop(self) -> None:
        """Stop playing, waiting and listening."""
        self._ended = True
        self._interpreter.call.line.tap(None)
        self._interpreter.call.forget(self._timer)
        self._timer = None
        if self._prompting:
            self._interpreter.call.line.attach(None)

    def key(self, digit: str) -> None:
        """A key: ends the prompts; completes the input, or is one digit of it."""
        if self._ended or not self._dtmf:
            return
        self._interrupt()
        if digit in self._finish:
            self._submit([("Digits", self._digits), ("FinishedOnKey", digit)])
            return
        self._digits += digit
        if self._wanted and len(self._digits) >= self._wanted:
            self._submit([("Digits", self._digits)])
            return
        self._wait()

    def _next_prompt(self) -> None:
        if self._ended or not self._prompting:
            return
        if not self._prompts:
            self._prompting = False
            self._wait()
            return
        self._interpreter.play(self._prompts.pop(0), self._next_prompt)

    def _interrupt(self) -> None:
        if self._prompting:
            self._prompting = False
            self._interpreter.call.line.attach(None)

    def _wait(self) -> None:
        self._interpreter.call.forget(self._timer)
        self._timer = self._interpreter.later(self._timeout, self._timed_out)

    def _timed_out(self) -> None:
        if self._ended:
            return
        if self._listener is not None and self._listener.current is not None:
            self._wait()
        elif self._digits:
            self._submit([("Digits", self._digits)])
        elif self._verb.get("actionOnEmptyResult") == "true":
            self._submit([("Digits", "")] if self._dtmf else [("SpeechResult", "")])
        else:
            self.stop()
            self._over(None)

    def _submit(self, extra: Params) -> None:
        self.stop()
        self._over([("msg", "Gather End"), *extra])

    def _hear(self, frame: bytes | None, at_ms: float) -> None:
        listener = self._listener
        assert listener is not None
        listener.feed(frame or SILENCE, at_ms)
        if listener.current is not None:
            self._silent_since = None
            self._interrupt()
            return
        if not listener.heard:
            return
        if self._silent_since is None:
            self._silent_since = at_ms
        text = self._verb.get("speechTimeout", "auto")
        if at_ms - self._silent_since >= 1000 * (float(text) if text.isdigit() else SPEECH_END):
            said = " ".join(_words(heard.phrase) for heard in listener.heard)
            self._submit([("SpeechResult", said), ("Confidence", "0.9")] if said else [("SpeechResult", "")])


def _words(phrase: str) -> str:
    known = audio.PHRASES.get(phrase)
    return known.text if known is not None else ""
