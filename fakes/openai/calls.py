"""Calls: WebRTC and SIP sessions by their id, `rtc_...`, and what can be done to them over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from fakes.openai.access import Credential
from fakes.openai.catalogue import Model
from fakes.openai.dialects import Wire
from fakes.openai.errors import VendorError
from fakes.openai.responses import IllegalTransitionError
from fakes.openai.secrets import Place
from fakes.ports import Ports

if TYPE_CHECKING:
    from fakes.openai.session import RealtimeSession


class CallState(Enum):
    """The states of a call. A WebRTC call begins as `OFFERED`, a SIP call as `RINGING`."""

    OFFERED = "offered"
    RINGING = "ringing"
    ACTIVE = "active"
    REJECTED = "rejected"
    REFERRED = "referred"
    ENDED = "ended"


CALL_TRANSITIONS: Mapping[CallState, frozenset[CallState]] = {
    CallState.OFFERED: frozenset({CallState.ACTIVE, CallState.ENDED}),
    CallState.RINGING: frozenset({CallState.ACTIVE, CallState.REJECTED, CallState.ENDED}),
    CallState.ACTIVE: frozenset({CallState.REFERRED, CallState.ENDED}),
    CallState.REJECTED: frozenset(),
    CallState.REFERRED: frozenset({CallState.ENDED}),
    CallState.ENDED: frozenset(),
}
OVER = frozenset({CallState.REJECTED, CallState.ENDED})
"""A call in one of these states is not found any more."""

_ACTIONS = {
    "accept": (CallState.RINGING, CallState.ACTIVE),
    "reject": (CallState.RINGING, CallState.REJECTED),
    "refer": (CallState.ACTIVE, CallState.REFERRED),
}


@dataclass(slots=True, eq=False)
class Call:
    """One call.

    `transport`: webrtc or sip. `place`: whom it belongs to. `dialect`, `kind` and `model` are those of its realtime
    session; `session` is what that session begins with, as an update. `detail`: the body of the request that moved it
    last. `on_move` is told of every move: whoever carries the media sets it; `watchers` are told after that. `running`
    is the session itself, set by whoever carries the media when it begins: a sideband joins it. `client`: the party at
    the other end. `filter`: which types of events its data channel carries; None is all.
    """

    id: str
    ordinal: int
    transport: str
    place: Place
    dialect: str = "ga"
    kind: str = "realtime"
    model: Model | None = None
    session: Wire = field(default_factory=dict)
    state: CallState = CallState.OFFERED
    detail: Wire = field(default_factory=dict)
    on_move: Callable[[Call], None] | None = None
    client: str = "gateway"
    watchers: list[Callable[[Call], None]] = field(default_factory=list)
    running: RealtimeSession | None = None
    filter: Callable[[str], bool] | None = None

    def move(self, state: CallState, detail: Mapping[str, Any] | None = None) -> None:
        """Change the state. Raises `IllegalTransitionError` when there is no such transition."""
        if state not in CALL_TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"call {self.ordinal} ({self.id}): from {self.state.value} to {state.value}")
        self.state = state
        self.detail = dict(detail or {})
        if self.on_move is not None:
            self.on_move(self)
        for watcher in list(self.watchers):
            watcher(self)


class Answerer(Protocol):
    """Answers SDP offers: the WebRTC half of the service. It carries the call's media until the call is over."""

    async def answer(self, call: Call, offer: str) -> str:
        """The SDP answer to an offer that has an audio media section.

        Raises `VendorError` (such as `invalid_offer`) for an offer that cannot be answered. The call is active once
        this has returned; `call.on_move` tells of its end.
        """
        ...


class Calls:
    """All calls of one service, past ones too."""

    def __init__(self, ports: Ports, party: str = "openai") -> None:
        self._ports = ports
        self._party = party
        self._calls: dict[str, Call] = {}

    @property
    def all(self) -> list[Call]:
        """Every call so far."""
        return list(self._calls.values())

    def open(
        self,
        transport: str,
        place: Place,
        *,
        dialect: str = "ga",
        kind: str = "realtime",
        model: Model | None = None,
        session: Mapping[str, Any] | None = None,
    ) -> Call:
        """A new call: a WebRTC offer that has been found good (`webrtc`), or a SIP call that comes in (`sip`)."""
        ordinal = len(self._calls) + 1
        call_id = f"rtc_{self._ports.choices.token(f'{self._party}/call{ordinal}/id', 32)}"
        state = CallState.RINGING if transport == "sip" else CallState.OFFERED
        call = Call(call_id, ordinal, transport, place, dialect, kind, model, dict(session or {}), state)
        self._calls[call_id] = call
        return call

    def find(self, call_id: str, credential: Credential) -> Call:
        """The call with that id. Raises `VendorError` when there is none, it is over, or it is somebody else's."""
        call = self._calls.get(call_id)
        if call is None or call.state in OVER or call.place != credential.place:
            raise VendorError("call_id_not_found", call=call_id)
        return call

    def end(self) -> None:
        """End every call that is not over."""
        for call in self._calls.values():
            if call.state not in OVER:
                call.move(CallState.ENDED)

    def check(self, call: Call, action: str) -> None:
        """Raise `VendorError` when a call is not in the state to be accepted, rejected or referred; SIP calls only."""
        if call.transport != "sip" or call.state is not _ACTIONS[action][0]:
            kind = {"sip": "SIP", "webrtc": "WebRTC"}[call.transport]
            raise VendorError("call_wrong_state", action=action, kind=kind, state=call.state.value)

    def act(self, call: Call, action: str, detail: Mapping[str, Any]) -> None:
        """Accept, reject or refer a SIP call. Raises `VendorError` when it is not in the state for that."""
        self.check(call, action)
        call.move(_ACTIONS[action][1], detail)
