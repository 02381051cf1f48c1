"""What changes, as it changes: a stream of server-sent events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from conformance.serve import asking
from conformance.serve.settings_api import gateway_told, sessions_told

if TYPE_CHECKING:
    from conformance.serve.bench import Bench
    from fakes.twilio.call import Call

BREATH = 0.08
"""Seconds between two pieces of news: rows and sound come in batches."""
KEEP_ALIVE = 15.0
"""Seconds after which something is sent though there is no news, so that whoever is gone is noticed."""
SETTLED = 10.0
"""Seconds after its end when nothing changes in a call any more."""
_ROWS = 2000
"""The most rows in one event."""

_encode = msgspec.json.encode


async def events(bench: Bench, request: web.Request) -> web.StreamResponse:
    """Follow the bench: `rows`, `calls`, `sound`, `state`, and `reset` when the wire is cleared."""
    fold = asking.flag(request, "fold", True)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    feed = bench.wire.follow(fold)
    news = _News(bench)
    try:
        while not bench.stopping:
            feed.changed.clear()
            if feed.reset:
                feed.reset = False
                news.forget()
                await response.write(_event("reset", {}))
            rows = feed.take()
            for start in range(0, len(rows), _ROWS):
                await response.write(_event("rows", rows[start : start + _ROWS]))
            for name, told in news.take():
                await response.write(_event(name, told))
            await asyncio.sleep(BREATH)
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    await feed.changed.wait()
            except TimeoutError:
                await response.write(b": nothing new\n\n")
    except ConnectionError:
        pass  # whoever followed is gone
    finally:
        bench.wire.leave(feed)
    return response


def _event(name: str, told: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _encode(told) + b"\n\n"


class _News:
    """What one follower has been told already, so that only changes are sent."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._state = b""
        self._calls: dict[str, bytes] = {}
        self._levels: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """Everything was cleared."""
        self._calls.clear()
        self._levels.clear()
        self._state = b""

    def take(self) -> list[tuple[str, Any]]:
        """The events that are due."""
        bench = self._bench
        due: list[tuple[str, Any]] = []
        state = state_told(bench)
        if (encoded := _encode(state)) != self._state:
            self._state = encoded
            due.append(("state", state))
        calls = []
        now = bench.clock.now()
        alive = [call for call in bench.calls if call.sid not in self._calls or now - (call.ended_at or now) < SETTLED]
        for call in alive:
            told = bench.told(call)
            if (encoded := _encode(told)) != self._calls.get(call.sid):
                self._calls[call.sid] = encoded
                calls.append(told)
        if calls:
            due.append(("calls", calls))
        sound = [piece for call in alive if (piece := self._sound(call)) is not None]
        if sound:
            due.append(("sound", sound))
        return due

    def _sound(self, call: Call) -> dict[str, Any] | None:
        """How loud it was in a call since the last time, 20 ms a number; the last one may have grown since."""
        conversation, sid = self._bench.conversation(call), call.sid
        if conversation is None:
            return None
        tape = conversation.tape
        person, gateway = len(tape.person.levels), len(tape.gateway.levels)
        known = self._levels.get(sid)
        if known == (person, gateway):
            return None
        self._levels[sid] = person, gateway
        since = [max(0, number - 1) for number in known or (0, 0)]
        return {
            "sid": sid,
            "duration_ms": round(tape.duration_ms(self._bench.clock.now())),
            "person": {"from": since[0], "levels": tape.person.levels[since[0] :]},
            "gateway": {"from": since[1], "levels": tape.gateway.levels[since[1] :]},
        }


def state_told(bench: Bench) -> dict[str, Any]:
    """What is set, and which sessions there are."""
    behaviour, after = bench.answering
    return {
        "gateway": gateway_told(bench),
        "answering": {"behaviour": behaviour, "after_ms": after},
        "knobs": dict(bench.knobs.changed()),
        "faults": [fault.told() for fault in bench.faults.all()],
        "sessions": sessions_told(bench),
        "connections": dict(bench.connections),
    }


async def state(bench: Bench, request: web.Request) -> web.Response:
    """What is set, and which sessions there are."""
    return web.json_response(state_told(bench))
