"""The fake Twilio: calls, numbers, webhooks and streams, as one state machine without sockets.

What comes in: `rest`, `dial`, `webhook_sent`, `webhook_answered`, `stream_opening`, `stream_opened`, `stream_failed`,
`stream_received`, `stream_closed`. What goes out: through a `TwilioIO`, and to the people at the far end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fakes.knobs import Knobs
from fakes.ports import Ports, Timer
from fakes.twilio import debugger
from fakes.twilio.boundary import (
    FarEnd,
    Headers,
    PhoneNumber,
    RestAnswer,
    RestRequest,
    StreamFailure,
    Subscription,
    TwilioIO,
    WebhookAnswer,
    WebhookFailure,
)
from fakes.twilio.call import Call, CallStatus
from fakes.twilio.callbacks import Callbacks
from fakes.twilio.interpreter import spoken_frames
from fakes.twilio.timing import Timing
from fakes.twilio.webhooks import Result, Webhooks

if TYPE_CHECKING:
    from fakes.twilio.call import Params
    from fakes.twilio.stream import Stream

KNOBS = Path(__file__).parent / "knobs.toml"


@cache
def _known_knobs() -> Knobs:
    return Knobs.load(KNOBS)


def default_knobs() -> Knobs:
    """Knobs of Twilio alone, at their defaults, to be turned freely. The file is read once in a process."""
    known = _known_knobs()
    return Knobs({name: known.knob(name) for name in known})


class Twilio:
    """One account of the fake Twilio.

    `numbers`: the phone numbers of the account. `audio`: False leaves out the media messages of silence, for scenarios
    in which nobody listens; speech is still carried. `api_keys`: API key SIDs with their secrets.
    `calls`: every call so far, in order. `debugger`: what Twilio shows to the account's owner.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        account_sid: str,
        auth_token: str,
        numbers: Sequence[PhoneNumber],
        knobs: Knobs,
        gateway_party: str = "gateway",
        audio: bool = True,
        api_keys: Mapping[str, str] | None = None,
    ) -> None:
        from fakes.twilio.rest import Rest

        self.ports = ports
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.api_keys = dict(api_keys or {})
        self.numbers = {number.number: number for number in numbers}
        self.knobs = knobs
        self.gateway_party = gateway_party
        self.audio = audio
        self.trailing_silence = 0.0
        """Seconds of silence that are carried after speech where silence is left out: a model knows by them that
        somebody has ended."""
        self._io: TwilioIO | None = None
        self.timing = Timing(ports.choices, knobs)
        self.webhooks = Webhooks(self)
        self.callbacks = Callbacks(self)
        self.calls: list[Call] = []
        self.debugger: list[debugger.DebuggerEntry] = []
        self.phones: dict[str, FarEnd] = {}
        self.anybody: Callable[[str], FarEnd] | None = None
        """Who picks up at a number that nobody was given; None lets such calls fail, as a wrong number does."""
        self._rest = Rest(self)
        self._streams: dict[str, Stream] = {}
        self._timers: set[Timer] = set()
        self._next_departure = 0.0
        self._call_ended: list[Callable[[Call], None]] = []

    @property
    def io(self) -> TwilioIO:
        """What carries out the effects. Raises RuntimeError until a shell has been attached."""
        if self._io is None:
            raise RuntimeError("this Twilio has no shell: set its `io`, or give it to fakes.twilio.server.TwilioServer")
        return self._io

    @io.setter
    def io(self, io: TwilioIO) -> None:
        self._io = io

    # ------------------------------------------------------------------ people

    def add_phone(self, person: FarEnd) -> None:
        """Let `person` be reached at their number. A call to a number that nobody has fails."""
        self.phones[person.number] = person

    def _far_end(self, number: str) -> FarEnd | None:
        person = self.phones.get(number)
        if person is None and self.anybody is not None:
            person = self.phones[number] = self.anybody(number)
        return person

    def dial(self, person: FarEnd, to: str) -> Call:
        """`person` dials a number of this account: an inbound call. Raises ValueError for any other number."""
        try:
            number = self.numbers[to]
        except KeyError:
            known = ", ".join(sorted(self.numbers)) or "none"
            raise ValueError(f"{to!r} is no number of this Twilio account; there are: {known}") from None
        call = Call(
            self,
            len(self.calls) + 1,
            direction="inbound",
            from_=person.number,
            to=to,
            person=person,
            status=CallStatus.RINGING,
            subscription=Subscription(number.status_callback, number.status_callback_method),
            fallback=(number.fallback_url, number.fallback_method),
        )
        self.calls.append(call)
        call.fetch(number.voice_url, number.voice_method)
        return call

    def redirect(self, call: Call, text: str) -> None:
        """Move a call that is up to another document, as somebody at the console does; its stream is torn down.

        Raises RuntimeError when the call is not up.
        """
        if call.status is not CallStatus.IN_PROGRESS:
            raise RuntimeError(f"{call.name} is {call.status}: only a call in progress can be moved")
        call.interrupt()
        call.run(text)

    def repeat_fetch(self, call: Call, after: float = 0.05) -> None:
        """Deliver the first TwiML request of `call` a second time, `after` seconds after the first; same token.

        The second answer is thrown away, as if the connection had been lost.
        """
        self.webhooks.repeat(call, "fetch#1", after)

    # ------------------------------------------------------------------ REST

    def rest(self, request: RestRequest) -> RestAnswer:
        """Answer one request to the REST API. The answer is to be sent after its `delay`, through `rest_answered`."""
        return self._rest.handle(request)

    def rest_answered(self, answer: RestAnswer) -> None:
        """The answer leaves now."""
        self.ports.recorder.record(
            "twilio",
            self.gateway_party,
            "twilio.rest",
            "response",
            answer.body or None,
            connection=f"rest#{answer.number}",
            meta={"status": answer.status, "headers": [list(pair) for pair in answer.headers]},
        )

    def create_call(
        self,
        *,
        to: str,
        from_: str,
        url: str,
        method: str,
        twiml: str,
        ring_for: float,
        time_limit: float,
        subscription: Subscription,
        fallback: tuple[str, str],
    ) -> Call:
        """Queue an outbound call. `ring_for`, `time_limit`: seconds. One of `url` and `twiml` is given."""
        call = Call(
            self,
            len(self.calls) + 1,
            direction="outbound-api",
            from_=from_,
            to=to,
            person=self._far_end(to),
            status=CallStatus.QUEUED,
            subscription=subscription,
            fallback=fallback,
        )
        self.calls.append(call)

        def answered() -> None:
            call.after(time_limit, call.hang_up)
            if url:
                call.fetch(url, method)
            else:
                call.run(twiml)

        now = self.ports.clock.now()
        per_second = int(self.knobs["twilio.calls_per_second"])
        departure = max(now, self._next_departure)
        self._next_departure = departure + 1 / per_second if per_second else now
        wait = departure - now + self.timing.delay(f"{call.point}/dequeue/delay", "dequeue_delay")
        call.after(wait, lambda: call.place(ring_for, answered))
        return call

    # ------------------------------------------------------------------ webhooks

    def webhook_sent(self, number: int) -> None:
        """The shell lets the request leave."""
        self.webhooks.sent(number)

    def webhook_answered(self, number: int, result: WebhookAnswer | WebhookFailure) -> None:
        """The gateway answered, or could not be reached."""
        self.webhooks.answered(number, result)

    def voice_params(self, call: Call, *, first: bool = False) -> Params:
        """The standard parameters of a request about `call`. `first`: its first one, which also carries tokens."""
        params = [
            ("CallSid", call.sid),
            ("AccountSid", self.account_sid),
            ("From", call.from_),
            ("To", call.to),
            ("CallStatus", call.status.value),
            ("ApiVersion", "2010-04-01"),
            ("Direction", call.direction),
            ("Caller", call.from_),
            ("Called", call.to),
        ]
        for prefix, number in (("From", call.from_), ("Caller", call.from_), ("To", call.to), ("Called", call.to)):
            country = "US" if number.startswith("+1") else ""
            params += [(prefix + "City", ""), (prefix + "State", ""), (prefix + "Zip", "")]
            params.append((prefix + "Country", country))
        if first and call.inbound and self.knobs["twilio.call_token"] != "absent":
            token = self.ports.choices.token(f"{call.point}/token", 64)
            params += [("CallToken", token), ("StirVerstat", "TN-Validation-Passed-A")]
        return params

    def fetch_audio(self, call: Call, url: str, done: Callable[[Sequence[bytes]], None]) -> None:
        """Fetch what <Play> names and give it in frames of 20 ms; nothing, with an error shown, when it cannot be had.

        `audio/basic` and `audio/x-mulaw` are played as they are. Any other audio is stood for by the phrase of its
        URL: this fake decodes no MP3.
        """
        call.plays += 1

        def fetched(result: Result, at: str) -> None:
            if isinstance(result, int):
                self.debug(result, at, call)
                done(())
            elif isinstance(result, WebhookFailure):
                self.debug(int(debugger.TEXTS["webhook_failure"][result.kind.value]), f"{at}: {result.message}", call)
                done(())
            elif not 200 <= result.status < 300:
                self.debug(11200, f"{at} answered {result.status}", call)
                done(())
            else:
                kind = result.header("content-type").partition(";")[0].strip().lower()
                if kind in ("audio/basic", "audio/x-mulaw"):
                    body = result.body
                    done([body[start : start + 160].ljust(160, b"\xff") for start in range(0, len(body), 160)])
                elif kind.startswith("audio/"):
                    done(spoken_frames(url))
                else:
                    self.debug(12300, f"{at} answered {kind or 'no Content-Type'}", call)
                    done(())

        self.webhooks.send(call, f"play#{call.plays}", url, "GET", [], delay=0.0, done=fetched, signed=False)

    # ------------------------------------------------------------------ streams

    def register(self, stream: Stream) -> None:
        """A stream is about to be opened."""
        self._streams[stream.name] = stream

    def stream_opening(self, name: str) -> bool:
        """The upgrade request leaves now. False: it must not, the stream is not wanted any more."""
        return self._streams[name].opening()

    def stream_opened(self, name: str, headers: Headers = ()) -> None:
        """The server answered 101."""
        self._streams[name].opened([list(pair) for pair in headers])

    def stream_failed(self, name: str, failure: StreamFailure) -> None:
        """The WebSocket did not open."""
        self._streams[name].failed(failure)

    def stream_received(self, name: str, data: str | bytes) -> None:
        """One message from the server."""
        self._streams[name].receive(data)

    def stream_closed(self, name: str, code: int, reason: str = "") -> None:
        """The WebSocket is gone. `code`: 1005 for a close frame without one, 1006 for none at all."""
        self._streams[name].closed(code, reason)

    # ------------------------------------------------------------------ the rest

    def debug(self, code: int, detail: str = "", call: Call | None = None) -> None:
        """Put an entry into the debugger."""
        now = self.ports.clock.now()
        self.debugger.append(debugger.entry(now, code, detail, call.name if call is not None else ""))

    def not_done(self, what: str, call: Call | None = None) -> None:
        """Note that this fake leaves out something that Twilio would do."""
        now = self.ports.clock.now()
        name = call.name if call is not None else ""
        self.debugger.append(debugger.DebuggerEntry(now, 0, "fake", what, name))

    def after(self, seconds: float, effect: Callable[[], None]) -> None:
        """Run `effect` after `seconds`, whatever becomes of the call, until `close`."""

        def run() -> None:
            self._timers.discard(timer)
            effect()

        timer = self.ports.clock.call_at(self.ports.clock.now() + seconds, run)
        self._timers.add(timer)

    def ended(self, call: Call) -> None:
        """`call` is over."""
        for tell in self._call_ended:
            tell(call)

    def on_call_ended(self, tell: Callable[[Call], None]) -> None:
        """Have `tell` called with each call that ends."""
        self._call_ended.append(tell)

    def close(self) -> None:
        """The world ends: stop all timers. Calls stay as they are."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for call in self.calls:
            call.abandon()
