"""One call: its states, and what moves it from one to the next.

    outbound:  queued -> initiated -> ringing -> in-progress -> completed
               queued, initiated, ringing -> busy, no-answer, failed, canceled
    inbound:   ringing -> in-progress -> completed;   ringing -> busy, no-answer, canceled, completed

`initiated` exists in webhooks only: the REST resource says `queued` for it. Source: Twilio docs, "Call resource".
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from fakes.ports import Timer
from fakes.twilio import twiml
from fakes.twilio.boundary import FarEnd, Subscription, WebhookAnswer, WebhookFailure
from fakes.twilio.debugger import TEXTS, DebuggerEntry
from fakes.twilio.interpreter import Interpreter
from fakes.twilio.line import Line

if TYPE_CHECKING:
    from fakes.twilio.core import Twilio
    from fakes.twilio.stream import Stream

Params = list[tuple[str, str]]
APOLOGY = "We are sorry, an application error has occurred. Goodbye."


class CallStatus(StrEnum):
    """The states of a call, by the names that webhooks use."""

    QUEUED = "queued"
    INITIATED = "initiated"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def over(self) -> bool:
        """True for the states that nothing follows."""
        return not TRANSITIONS[self]


_UNANSWERED = {CallStatus.BUSY, CallStatus.NO_ANSWER, CallStatus.FAILED, CallStatus.CANCELED, CallStatus.COMPLETED}
TRANSITIONS: dict[CallStatus, frozenset[CallStatus]] = {
    CallStatus.QUEUED: frozenset({CallStatus.INITIATED} | _UNANSWERED),
    CallStatus.INITIATED: frozenset({CallStatus.RINGING, CallStatus.IN_PROGRESS} | _UNANSWERED),
    CallStatus.RINGING: frozenset({CallStatus.IN_PROGRESS} | _UNANSWERED),
    CallStatus.IN_PROGRESS: frozenset({CallStatus.COMPLETED, CallStatus.FAILED}),
    CallStatus.COMPLETED: frozenset(),
    CallStatus.BUSY: frozenset(),
    CallStatus.NO_ANSWER: frozenset(),
    CallStatus.FAILED: frozenset(),
    CallStatus.CANCELED: frozenset(),
}
SIP_CODES = {
    CallStatus.COMPLETED: "200",
    CallStatus.BUSY: "486",
    CallStatus.NO_ANSWER: "487",
    CallStatus.FAILED: "404",
    CallStatus.CANCELED: "487",
}
"""SipResponseCode of an outbound call by its final state."""


class IllegalTransition(RuntimeError):
    """A call was told to enter a state that cannot follow the one it is in. This is a fault of the fake."""


class Call:
    """One call of the fake Twilio.

    `ordinal` counts the calls of a world from 1; `name` is `call<ordinal>`. `history`: (seconds, status) of every state
    entered. `streams`: every Media Stream it had. `person`: who is at the far end. `rang_for`, `time_limit`: seconds.
    """

    def __init__(
        self,
        core: Twilio,
        ordinal: int,
        *,
        direction: str,
        from_: str,
        to: str,
        person: FarEnd | None,
        status: CallStatus,
        subscription: Subscription,
        fallback: tuple[str, str] = ("", "POST"),
    ) -> None:
        self.core = core
        self.ordinal = ordinal
        self.name = f"call{ordinal}"
        self.point = f"twilio/{self.name}"
        self.sid = "CA" + core.ports.choices.token(f"{self.point}/sid", 32)
        self.direction = direction
        self.from_ = from_
        self.to = to
        self.person = person
        self.status = status
        self.subscription = subscription
        self.fallback = fallback
        self.created_at = core.ports.clock.now()
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.history: list[tuple[float, CallStatus]] = [(self.created_at, status)]
        self.streams: list[Stream] = []
        self.line = Line(core.ports.clock, person, audio=core.audio, trailing=core.trailing_silence)
        self.interpreter: Interpreter | None = None
        self.sequence = 0
        self.updates = 0
        self.plays = 0
        self._fetches = 0
        self._epoch = 0
        self._timers: list[Timer] = []

    def __repr__(self) -> str:
        return f"<Call {self.name} {self.direction} {self.from_} -> {self.to} {self.status}>"

    @property
    def debugger(self) -> list[DebuggerEntry]:
        """What Twilio's debugger shows about this call."""
        return [entry for entry in self.core.debugger if entry.call == self.name]

    @property
    def inbound(self) -> bool:
        """True when the far end placed the call."""
        return self.direction == "inbound"

    @property
    def duration(self) -> int:
        """Whole seconds between answer and end (or now); 0 for a call that was not answered."""
        if self.answered_at is None:
            return 0
        ended = self.core.ports.clock.now() if self.ended_at is None else self.ended_at
        return round(ended - self.answered_at)

    # ------------------------------------------------------------------ time

    def later(self, kind: str, point: str, effect: Callable[[], None]) -> Timer:
        """Run `effect` after the delay chosen at `<call>/<point>`, unless the call is over by then."""
        return self.after(self.core.timing.delay(f"{self.point}/{point}", kind), effect)

    def after(self, seconds: float, effect: Callable[[], None]) -> Timer:
        """Run `effect` after `seconds`, unless the call is over by then."""

        def run() -> None:
            self._timers.remove(timer)
            effect()

        clock = self.core.ports.clock
        timer = clock.call_at(clock.now() + seconds, run)
        self._timers.append(timer)
        return timer

    def forget(self, timer: Timer | None) -> None:
        """Cancel a timer of `later` or `after`."""
        if timer is not None and timer in self._timers:
            self._timers.remove(timer)
            timer.cancel()

    # ------------------------------------------------------------------ states

    def enter(self, status: CallStatus) -> None:
        """Go to `status`. Raises `IllegalTransition` when it cannot follow the present one."""
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(
                f"{self.name} cannot go from {self.status} to {status}; "
                f"possible: {', '.join(sorted(TRANSITIONS[self.status])) or 'nothing, it is over'}"
            )
        self.status = status
        self.history.append((self.core.ports.clock.now(), status))

    def place(self, ring_for: float, answer: Callable[[], None]) -> None:
        """Begin an outbound call that has left the queue: `answer` runs once the callee has picked up."""
        self.enter(CallStatus.INITIATED)
        self.core.callbacks.event(self, "initiated")
        if self.person is None:
            self.later("ring_delay", "ring/delay", lambda: self.end(CallStatus.FAILED))
            return
        self.later("ring_delay", "ring/delay", lambda: self._ring(ring_for, answer))

    def _ring(self, ring_for: float, answer: Callable[[], None]) -> None:
        assert self.person is not None
        self.enter(CallStatus.RINGING)
        self.core.callbacks.event(self, "ringing")
        self.after(ring_for, self._not_answered)
        reaction = self.person.on_ringing(self)
        effects: dict[str, Callable[[], None]] = {
            "answer": lambda: self._picked_up(answer),
            "reject": lambda: self.end(CallStatus.NO_ANSWER, sip="603"),
            "busy": lambda: self.end(CallStatus.BUSY),
        }
        effect = effects.get(reaction.kind)
        if effect is None:
            return
        if reaction.after_ms is None:
            self.later("answer_delay", "answer/delay", effect)
        else:
            self.after(reaction.after_ms / 1000, effect)

    def _not_answered(self) -> None:
        if self.status is CallStatus.RINGING:
            self.end(CallStatus.NO_ANSWER)

    def _picked_up(self, answer: Callable[[], None]) -> None:
        if self.status is CallStatus.RINGING:
            self.answer()
            answer()

    def answer(self) -> None:
        """The call is connected; the far end and Twilio hear each other."""
        self.enter(CallStatus.IN_PROGRESS)
        self.answered_at = self.core.ports.clock.now()
        if self.person is not None:
            self.person.on_answered(self)
        self.core.callbacks.event(self, "answered")

    def end(self, status: CallStatus, *, sip: str = "") -> None:
        """The call is over: every timer stops, streams get their `stop`, the final status callback goes out."""
        if self.status.over:
            return
        before = self.status
        self.enter(status)
        self.ended_at = self.core.ports.clock.now()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._epoch += 1
        self.line.stop()
        if self.interpreter is not None:
            self.interpreter.stop()
            self.interpreter = None
        for stream in self.streams:
            stream.call_ended()
        if self.person is not None:
            self.person.on_ended(self)
        if not (status is CallStatus.CANCELED and before is CallStatus.QUEUED):
            self.core.callbacks.event(self, "completed", sip=sip or SIP_CODES[status])
        self.core.ended(self)

    def hang_up(self) -> None:
        """End a call from Twilio's side, or as the far end's hang-up has its effect."""
        if self.status is CallStatus.IN_PROGRESS:
            self.end(CallStatus.COMPLETED)
        elif self.inbound:
            self.end(CallStatus(str(self.core.knobs["twilio.inbound_abandoned_status"])))
        else:
            self.end(CallStatus.NO_ANSWER, sip="603")

    def reject(self, *, busy: bool) -> None:
        """<Reject>: an inbound call is not answered, and nothing is charged. One that is answered is hung up."""
        if self.status is CallStatus.RINGING:
            self.end(CallStatus.BUSY if busy else CallStatus.NO_ANSWER)
        else:
            self.hang_up()

    def abandon(self) -> None:
        """The world ends: stop all timers of this call, without a message to anybody."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.line.stop()

    def person_hangs_up(self, put_down: Callable[[], None]) -> None:
        """The far end hangs up, or rejects while it rings: takes effect through the gate `<call>/hangup`.

        `put_down` is called at that moment, just before.
        """

        def effect() -> None:
            if not self.status.over:
                put_down()
                self.hang_up()

        self.core.io.deliver(f"{self.point}/hangup", effect)

    def press(self, digit: str) -> None:
        """The far end presses a key."""
        if self.status is CallStatus.IN_PROGRESS and self.interpreter is not None:
            self.interpreter.key(digit)

    # ------------------------------------------------------------------ documents

    def interrupt(self) -> None:
        """Stop the running document and forget one that is being fetched; nothing of them resumes."""
        self._epoch += 1
        if self.interpreter is not None:
            self.interpreter.stop(redirected=True)
            self.interpreter = None

    def run(self, text: str, base_url: str = "", method: str = "POST") -> None:
        """Run a TwiML document in the place of the present one. A document that does not parse ends the call."""
        try:
            document = twiml.parse(text)
        except twiml.TwimlError as error:
            self._failed(12100, str(error), base_url)
            return
        self._run(document, base_url, method)

    def fetch(self, url: str, method: str, extra: Params | None = None) -> None:
        """Ask `url` for the next document and run it. The present one has ended or waits for it."""
        self._fetch(url, method, extra or [], fallback=False)

    def _fetch(self, url: str, method: str, extra: Params, *, fallback: bool) -> None:
        self._epoch += 1
        epoch = self._epoch
        self._fetches += 1
        label = f"fetch#{self._fetches}"
        params = self.core.voice_params(self, first=self._fetches == 1) + extra
        self.core.webhooks.send(
            self,
            label,
            url,
            method,
            params,
            delay=self.core.timing.delay(f"{self.point}/{label}/delay", "fetch_delay"),
            check=_twiml_fault,
            done=lambda answer, at: self._fetched(answer, at, method, epoch, fallback),
        )

    def _fetched(
        self, answer: WebhookAnswer | WebhookFailure | int, url: str, method: str, epoch: int, fallback: bool
    ) -> None:
        if epoch != self._epoch or self.status.over:
            return
        if isinstance(answer, int):
            self._failed(answer, url, url, fallback)
        elif isinstance(answer, WebhookFailure):
            self._failed(int(TEXTS["webhook_failure"][answer.kind.value]), f"{url}: {answer.message}", url, fallback)
        elif not 200 <= answer.status < 300:
            self._failed(11200, f"{url} answered {answer.status}", url, fallback)
        else:
            self._read(answer, url, method, fallback)

    def _read(self, answer: WebhookAnswer, url: str, method: str, fallback: bool) -> None:
        kind, charset = _content_type(answer)
        if kind.startswith("audio/"):
            self._run(twiml.Document((twiml.Element("Play", text=url),), (), ()), url, method)
            return
        if kind not in TWIML_TYPES:
            self._failed(12300, f"{url} answered {kind or 'no Content-Type'}", url, fallback)
            return
        try:
            document = twiml.parse(twiml.decode(answer.body, charset))
        except twiml.TwimlError as error:
            if kind != "text/plain":
                self._failed(12100, f"{url}: {error}", url, fallback)
                return
            spoken = twiml.Element("Say", text=answer.body.decode("utf-8", "replace"))
            document = twiml.Document((spoken,), (), ())
        self._run(document, url, method)

    def _run(self, document: twiml.Document, base_url: str, method: str) -> None:
        for warning in document.warnings:
            self.core.debug(12200, warning, self)
        for name in document.not_run:
            self.core.not_done(f"<{name}> is not run by this fake; it was skipped", self)
        if document.warnings and self.core.knobs["twilio.schema_warning"] == "end-call":
            self._finish()
            return
        self._epoch += 1
        self.interpreter = Interpreter(self, document, base_url, method)
        self.interpreter.start()

    def _failed(self, code: int, detail: str, url: str, fallback: bool = False) -> None:
        """A fatal error of a document: show it, then the fallback URL, else apologise and hang up."""
        self.core.debug(code, detail, self)
        if self.fallback[0] and not fallback:
            extra = [("ErrorCode", str(code)), ("ErrorUrl", url)]
            self._fetch(self.fallback[0], self.fallback[1], extra, fallback=True)
            return
        self._run(twiml.Document((twiml.Element("Say", text=APOLOGY),), (), ()), url, "POST")

    def debug_and_end(self, code: int, detail: str, url: str = "") -> None:
        """A fatal error while a document runs: the fallback URL, else an apology and the end."""
        self._failed(code, detail, url)

    def notify(self, label: str, url: str, method: str) -> None:
        """Make a request about the call whose answer is not used."""
        self.core.webhooks.send(self, f"{label}#1", url, method, self.core.voice_params(self), delay=0.0)

    def document_ended(self) -> None:
        """The document has no verb left: the call ends."""
        self.interpreter = None
        self._finish()

    def _finish(self) -> None:
        if self.status is CallStatus.RINGING and self.inbound:
            self.answer()
        self.hang_up()

    def resolve(self, url: str, base_url: str) -> str:
        """A URL of a document as an absolute one; empty when it is relative and there is nothing to be relative to."""
        resolved = urljoin(base_url, url) if base_url else url
        return resolved if resolved.startswith(("http://", "https://")) else ""


TWIML_TYPES = ("text/xml", "application/xml", "text/html", "text/plain")


def _content_type(answer: WebhookAnswer) -> tuple[str, str]:
    """The media type in lower case and the charset of an answer."""
    kind, _, rest = answer.header("content-type").partition(";")
    charset = "utf-8"
    for part in rest.split(";"):
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"')
    return kind.strip().lower(), charset


def _twiml_fault(answer: WebhookAnswer) -> str | None:
    """What is wrong with an answer to a TwiML fetch, for the record."""
    if not 200 <= answer.status < 300:
        return None
    kind, charset = _content_type(answer)
    if kind.startswith("audio/") or kind == "text/plain":
        return None
    if kind not in TWIML_TYPES:
        return f"12300: Content-Type is {kind or 'missing'}, expected text/xml"
    try:
        document = twiml.parse(twiml.decode(answer.body, charset))
    except twiml.TwimlError as error:
        return f"12100: {error}"
    return f"12200: {'; '.join(document.warnings)}" if document.warnings else None
