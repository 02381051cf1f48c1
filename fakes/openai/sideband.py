"""Sidebands: further WebSockets that join the session of a call, to watch it and to control it from a server.

A sideband sees every server event from the moment when it joins, and its client events act on the same session. The
sound of the call does not cross it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from fakes.knobs import Knobs
from fakes.openai.calls import OVER, Call
from fakes.openai.connected import State
from fakes.openai.frames import Frame, Sink
from fakes.openai.links import Event, Link
from fakes.openai.session import RealtimeSession
from fakes.ports import Ports

_FOR_EVERYBODY = frozenset({"session_expired"})
"""Errors that answer no client event."""


class SharedSink:
    """Where the frames of a session go that has sidebands: where they went before, and to each sideband."""

    def __init__(self, own: Sink, knobs: Knobs) -> None:
        self.members: list[Sideband] = []
        self.speaking: Sideband | None = None
        self._own = own
        self._errors_to_all = knobs["openai.sideband_errors"] == "all"

    def send(self, frame: Frame) -> None:
        """See `Sink.send`."""
        if frame.kind == "error" and not self._errors_to_all:
            if self.speaking is not None:
                self.speaking.forward(frame)
                return
            if not _for_everybody(frame):
                self._own.send(frame)
                return
        self._own.send(frame)
        if frame.kind != "close":
            for member in list(self.members):
                # Without its gate: that point is passed once, on the way to whoever has the call.
                member.forward(Frame(frame.kind, frame.body, frame.invalid))

    def abort(self) -> None:
        """See `Sink.abort`. The sidebands learn of the end by that of the call."""
        self._own.abort()

    def take_in(self, member: Sideband, event: Event, session: RealtimeSession) -> None:
        """Let the session take in an event of one sideband: an error that it answers at once goes there alone."""
        self.speaking = member
        try:
            session.take_in(event)
        finally:
            self.speaking = None


class Sideband(Link):
    """One sideband of a call that has a running session. `shared`: the sink of that session."""

    def __init__(
        self,
        ports: Ports,
        sink: Sink,
        *,
        ordinal: int,
        call: Call,
        shared: SharedSink,
        knobs: Knobs,
        client_party: str = "gateway",
        party: str = "openai",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            ports,
            sink,
            ordinal=ordinal,
            name=f"{party}/sideband{ordinal}",
            client_party=client_party,
            party=party,
            on_change=on_change,
        )
        if call.running is None:
            raise ValueError(f"call {call.ordinal} ({call.id}) has no running session that a sideband could join")
        self.call = call
        self.session = call.running
        self._shared = shared
        self._knobs = knobs
        self._early: list[Event] = []

    def start(self, created_delay_ms: int | None = None) -> None:
        """Join. `created_delay_ms`: how long `session.created` takes, when the knob wants one."""
        if self.call.state in OVER:
            self.open()
            self._over(self.call)
            return
        self.call.watchers.append(self._over)
        if not self._knobs["openai.sideband_created"]:
            self._join()
            return
        delay = self.ports.choices.delay(f"{self.name}/created/delay", 0, 30, 1500)
        self.later(delay if created_delay_ms is None else created_delay_ms / 1000, self._join)

    def _join(self) -> None:
        self.open()
        # Before the session's own `session.created` there is nothing to repeat: it comes by itself.
        if self._knobs["openai.sideband_created"] and self.session.state is State.OPEN:
            self.emit("session.created", {"session": self.session.wire})
        self._shared.members.append(self)
        self.release()

    def forward(self, frame: Frame) -> None:
        """Send a frame of the session; after its `session.created`, the events that had to wait for it."""
        super().forward(frame)
        if self._early and frame.kind == "session.created":
            self.later(0, self._catch_up)

    def _catch_up(self) -> None:
        early, self._early = self._early, []
        for event in early:
            self._shared.take_in(self, event, self.session)

    def handle(self, event: Event) -> None:
        """See `Link.handle`."""
        if self.session.state is State.CONNECTED:
            self._early.append(event)
        else:
            self._shared.take_in(self, event, self.session)

    def ended(self) -> None:
        """See `Link.ended`: the session goes on without it."""
        if self in self._shared.members:
            self._shared.members.remove(self)
        if self._over in self.call.watchers:
            self.call.watchers.remove(self._over)

    def _over(self, call: Call) -> None:
        code = int(self._knobs["openai.sideband_close_code"])
        if call.state in OVER and code:
            self.close(code)


def _for_everybody(frame: Frame) -> bool:
    error = json.loads(frame.body)["error"]
    return error["type"] == "server_error" or error["code"] in _FOR_EVERYBODY
