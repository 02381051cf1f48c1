"""What a case can make OpenAI do that it does not do by itself: replies, refusals, and events of the case's making."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fakes.audio import speak
from fakes.openai.brain import Brain, Output, Prompt
from fakes.openai.errors import VendorError

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld
    from fakes.openai.session import RealtimeSession

Change = Callable[[Sequence[Output]], Sequence[Output]]


class SteeredBrain:
    """The usual brain, whose next replies a case may change, or keep from being given.

    `changes`: for the next responses in order, what becomes of the usual outputs. `refusal`: the error with which the
    next `response.create` that would use a tool's output is refused; `before` is called first.
    """

    def __init__(self, usual: Brain) -> None:
        self._usual = usual
        self.changes: list[Change] = []
        self.refusal: VendorError | None = None
        self.before: Callable[[], None] = lambda: None

    def reply(self, prompt: Prompt) -> Sequence[Output]:
        """See `Brain.reply`. Raises `VendorError` for a refusal."""
        if prompt.result is not None and self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            self.before()
            raise refusal
        usual = self._usual.reply(prompt)
        return self.changes.pop(0)(usual) if self.changes else usual


def steer(world: PhoneWorld) -> SteeredBrain:
    """Steer the brain of the sessions that are opened from now on."""
    brain = SteeredBrain(world.openai.brain)
    world.openai.brain = brain
    return brain


class ScriptedResponse:
    """A response that a case plays event by event, beside those that the fake makes.

    Its objects are those of the last response of the session, with ids of their own; so there has to have been one that
    spoke. `key` makes the ids.
    """

    def __init__(self, world: PhoneWorld, session: RealtimeSession, key: str) -> None:
        self._world = world
        self._session = session
        self.id = f"resp_{key}"
        self.item_id = f"item_{key}"
        self._response = self._last("response.done", "response")
        self._item = self._last("response.output_item.added", "item", lambda item: item["type"] == "message")

    def _last(self, kind: str, key: str, fits: Callable[[Any], bool] = lambda value: True) -> dict[str, Any]:
        found = self._world.wire.last(
            kind, source="openai", connection=self._session.connection, where=lambda m: fits(m.get(key))
        )
        assert found is not None, f"the session has sent no {kind} yet"
        value: dict[str, Any] = found.get(key)
        return value

    def begin(self) -> None:
        """`response.created`."""
        fresh: dict[str, Any] = {"id": self.id, "status": "in_progress", "status_details": None, "output": []}
        self._session.emit("response.created", {"response": {**self._response, **fresh, "usage": None}})

    def announce(self) -> None:
        """`response.output_item.added`: a message of the assistant, nothing of which has come yet."""
        self._session.emit("response.output_item.added", {**self._place(), "item": self._message("in_progress", [])})

    def write(self, text: str) -> None:
        """A message of text: its item, one part, one delta, and their ends."""
        kind = "output_text" if self._session.dialect.name == "ga" else "text"
        place = {**self._place(), "item_id": self.item_id, "content_index": 0}
        emit = self._session.emit
        self.announce()
        emit("response.content_part.added", {**place, "part": {"type": "text", "text": ""}})
        emit("response.output_text.delta", {**place, "delta": text})
        emit("response.output_text.done", {**place, "text": text})
        emit("response.content_part.done", {**place, "part": {"type": "text", "text": text}})
        item = self._message("completed", [{"type": kind, "text": text}])
        emit("response.output_item.done", {**self._place(), "item": item})

    def end(self, status: str, details: Mapping[str, Any] | None = None) -> None:
        """`response.done`, with nothing in its output."""
        ended: dict[str, Any] = {"id": self.id, "status": status, "status_details": details, "output": []}
        self._session.emit("response.done", {"response": {**self._response, **ended}})

    def raw_item(self, item: Mapping[str, Any]) -> None:
        """An item that no schema knows: added, done, and in the output of a completed response."""
        ended = {"id": self.id, "status": "completed", "status_details": None, "output": [item]}
        for kind, fields in (
            ("response.output_item.added", {**self._place(), "item": item}),
            ("response.output_item.done", {**self._place(), "item": item}),
            ("response.done", {"response": {**self._response, **ended}}),
        ):
            event = {"type": kind, "event_id": f"event_{self.id}_{kind}", **fields}
            self._world.sends_raw(self._session, json.dumps(event))

    def _place(self) -> dict[str, Any]:
        return {"response_id": self.id, "output_index": 0}

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._item, "id": self.item_id, "status": status, "content": content}


def late_audio(session: RealtimeSession, delta: Mapping[str, Any], phrase: str, start_ms: int, end_ms: int) -> None:
    """Send a piece of `phrase` as one more delta of the item that `delta` belongs to."""
    form = session.settings.output_format
    sound = speak(phrase, form.encoding, form.rate)[start_ms * form.bytes_per_ms : end_ms * form.bytes_per_ms]
    place = {key: delta[key] for key in ("response_id", "item_id", "output_index", "content_index")}
    session.emit("response.output_audio.delta", {**place, "delta": base64.b64encode(sound).decode()})
