"""One response of the model, from `response.created` to `response.done`: the documented order, piece by piece."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol

from fakes.knobs import Knobs
from fakes.openai.brain import Call, McpCall, Output, Say, arguments_text
from fakes.openai.dialects import FORMATS, AudioFormat, Dialect, Settings
from fakes.openai.errors import VendorError, failure_of
from fakes.openai.items import Conversation, Item, Part, Tokens, text_tokens
from fakes.openai.mcp import McpTools
from fakes.openai.playout import Playout
from fakes.openai.voice import voiced
from fakes.ports import Ports, Timer

AUDIO_MS_PER_TOKEN = 50
CHUNK_MS = 200
CHUNK_GAP_MS = 40
TEXT_GAP_MS = 15
ARGUMENTS_STEP = 12
"""Characters of each delta of the arguments of a call."""


class Status(Enum):
    """The states of a response; the values are those of the wire."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class IllegalTransitionError(RuntimeError):
    """A state machine of the fake was asked for a step that it does not have: a fault of the fake."""


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.IN_PROGRESS: frozenset({Status.COMPLETED, Status.CANCELLED, Status.INCOMPLETE, Status.FAILED}),
}


class ResponseOwner(Protocol):
    """What a response needs of its session."""

    ports: Ports
    knobs: Knobs
    dialect: Dialect
    conversation: Conversation
    conversation_id: str
    name: str
    mcp: McpTools
    media: Playout | None

    def new_id(self, prefix: str) -> str:
        """A new id."""
        ...

    def padding(self, *, observed: bool = True) -> dict[str, str]:
        """The obfuscation of a delta, or nothing; `observed`: it was seen on deltas of this kind."""
        ...

    def emit(self, event_type: str, fields: Mapping[str, Any]) -> None:
        """Send an event; the type is the GA name."""
        ...

    def emit_valid(self, event_type: str, text: str) -> None:
        """Send an event that is JSON already and known to be valid; the type is that of the wire."""
        ...

    def item_added(self, item: Item, previous: str | None) -> None:
        """Tell that an item has joined the conversation."""
        ...

    def item_done(self, item: Item, previous: str | None) -> None:
        """Tell that an item is finished."""
        ...

    def response_finished(self, response: Response) -> None:
        """The response has ended."""
        ...


def chunks(total: int, audio_format: AudioFormat, unevenness: int) -> Iterator[tuple[int, int]]:
    """How audio of `total` bytes is cut for sending: bytes of each delta, and ms to wait after it.

    `unevenness` goes from 0 (200 ms of audio every 40 ms) to 40 (from 20 to 380 ms, with stalls); the cut follows from
    it by arithmetic alone. Sizes are whole samples and rarely whole frames of a telephone.
    """
    sent = 0
    number = 0
    while sent < total:
        number += 1
        mixed = (unevenness * 2654435761 + number * 40503 * (unevenness + 1)) & 0xFFFFFFFF
        swing = ((mixed >> 16) % 201 - 100) / 100 * unevenness / 40
        size_ms = CHUNK_MS * (1 + 0.9 * swing)
        gap = round(CHUNK_GAP_MS * (1 + 0.9 * ((mixed >> 4) % 201 - 100) / 100 * unevenness / 40))
        if unevenness > 30 and mixed % 11 == 0:
            gap += 300
        samples = int(size_ms * audio_format.rate / 1000)
        size = min(samples * audio_format.sample_bytes, total - sent)
        sent += size
        yield size, gap


@lru_cache(maxsize=8192)
def _spoken(sound: bytes, start: int, end: int) -> str:
    return base64.b64encode(sound[start:end]).decode()


def _deltas(text: str) -> Iterator[str]:
    """The arguments of a call, piece by piece."""
    for start in range(0, len(text), ARGUMENTS_STEP):
        yield text[start : start + ARGUMENTS_STEP]


@dataclass(frozen=True, slots=True)
class Brief:
    """What a response is asked for. `session`: the session object with its overrides; `settings`: its meaning.

    `think` says what is said and called; it is asked when the model has thought, and may raise `VendorError`.
    `in_conversation`: whether the items become part of the conversation (`conversation` is not `none`).
    `input_tokens`, `cached_tokens`: what goes into the model, and how much of that it has seen before. `failure`: an
    error code with which the response ends at once. `filtered`: the content filter cuts it off half way. `phases`:
    whether messages tell their phase. `preamble`: a phrase that is said before any tool is called.
    """

    session: Mapping[str, Any]
    settings: Settings
    think: Callable[[], Sequence[Output]]
    metadata: Mapping[str, str] | None
    in_conversation: bool
    input_tokens: Tokens
    cached_tokens: Tokens
    failure: str | None = None
    filtered: bool = False
    phases: bool = False
    preamble: str | None = None


class Response:
    """One response, the nth of its session. `on_called` is told when a call of an MCP tool has ended after it."""

    def __init__(
        self,
        owner: ResponseOwner,
        ordinal: int,
        brief: Brief,
        on_called: Callable[[], None] = lambda: None,
    ) -> None:
        self._owner = owner
        self._brief = brief
        self._on_called = on_called
        self.settings = brief.settings
        self.in_conversation = brief.in_conversation
        self.id = owner.new_id("resp")
        self.ordinal = ordinal
        self.status = Status.IN_PROGRESS
        self.items: list[Item] = []
        self.first_audio_at: float | None = None
        self._point = f"{owner.name}/response{ordinal}"
        self._item: Item | None = None
        self._previous: str | None = None
        self._part: Part | None = None
        self._open_arguments = False
        self._emit_items = brief.in_conversation or bool(owner.knobs["openai.out_of_band_item_events"])
        self._timer: Timer | None = None
        self._after: list[Callable[[], None]] = []
        self._script: Iterator[float] = iter(())

    # -- life

    def start(self) -> None:
        """Send `response.created` and begin."""
        self._owner.emit("response.created", {"response": self.wire()})
        self._script = self._play()
        self._advance()

    def cancel(self, reason: str) -> None:
        """Cut the response short; `reason` is turn_detected or client_cancelled. Everything open is closed."""
        self._finish(Status.CANCELLED, {"type": "cancelled", "reason": reason})

    def drop(self) -> None:
        """Forget the response without a word: the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._script = iter(())

    @property
    def playback_left(self) -> float:
        """How many seconds of its audio are still to be played, when that began with the first of it."""
        if self.first_audio_at is None:
            return 0.0
        total = sum(part.duration_ms for item in self.items for part in item.parts if part.kind == "audio")
        return max(0.0, self.first_audio_at + total / 1000 - self._owner.ports.clock.now())

    def wire(self) -> dict[str, Any]:
        """The response object as it is now."""
        return self._wire(None)

    def _wire(self, details: Mapping[str, Any] | None) -> dict[str, Any]:
        owner = self._owner
        done = self.status is not Status.IN_PROGRESS
        head = {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status.value,
            "status_details": details,
            "output": [self._item_wire(item) for item in self.items] if done else [],
            "conversation_id": owner.conversation_id if self.in_conversation else None,
        }
        tail = {"usage": self._usage() if done else None, "metadata": self._brief.metadata}
        return owner.dialect.response(self._brief.session, head, tail)

    def _item_wire(self, item: Item) -> dict[str, Any]:
        return self._owner.dialect.item(item, with_object=bool(self._owner.knobs["openai.item_object"]))

    def _usage(self) -> dict[str, Any]:
        given, seen = self._brief.input_tokens, self._brief.cached_tokens
        text_out = audio_out = 0
        for item in self.items:
            made = item.tokens()
            transcript = sum(text_tokens(part.transcript or "") for part in item.parts)
            text_out += made.text + transcript
            audio_out += made.audio
        cached = {"text_tokens": seen.text, "audio_tokens": seen.audio}
        details: dict[str, Any] = {
            "text_tokens": given.text,
            "audio_tokens": given.audio,
            "cached_tokens": seen.total,
        }
        if self._owner.dialect.name == "ga":
            details["image_tokens"] = given.image
            cached["image_tokens"] = seen.image
        return {
            "total_tokens": given.total + text_out + audio_out,
            "input_tokens": given.total,
            "output_tokens": text_out + audio_out,
            "input_token_details": {**details, "cached_tokens_details": cached},
            "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
        }

    def _finish(self, status: Status, details: Mapping[str, Any] | None) -> None:
        if status not in TRANSITIONS.get(self.status, frozenset()):
            raise IllegalTransitionError(f"{self._point}: from {self.status.value} to {status.value}")
        self.drop()
        if self._part is not None:
            self._close_part()
        if self._item is not None:
            self._close_item("completed" if status is Status.COMPLETED else "incomplete")
        self.status = status
        self._owner.emit("response.done", {"response": self._wire(details)})
        self._owner.response_finished(self)
        for action in self._after if status is Status.COMPLETED else ():
            action()

    # -- output

    def _advance(self) -> None:
        pause = next(self._script, None)
        if pause is not None:
            clock = self._owner.ports.clock
            self._timer = clock.call_at(clock.now() + pause, self._advance)

    def _play(self) -> Iterator[float]:
        """The response as a script: does something, then yields how many seconds pass until the next thing."""
        yield self._owner.ports.choices.delay(f"{self._point}/delay", 20, 250, 3000)
        brief = self._brief
        if brief.failure is not None:
            error = failure_of(brief.failure, with_message=self._owner.dialect.name == "ga")
            self._finish(Status.FAILED, {"type": "failed", "error": error})
            return
        tools = self._owner.mcp.ready_in(self.settings.tools)
        if tools:
            yield tools
        try:
            outputs = brief.think()
        except VendorError as refused:
            error = failure_of(refused.code or refused.name, with_message=self._owner.dialect.name == "ga")
            self._finish(Status.FAILED, {"type": "failed", "error": error})
            return
        for output in self._allowed(outputs):
            match output:
                case Call():
                    yield from self._call(output)
                case McpCall():
                    yield from self._call_mcp(output)
                case Say() if self.settings.audio:
                    yield from self._speak(output)
                case Say():
                    yield from self._write(output)
            if self.status is not Status.IN_PROGRESS:
                return
        self._finish(Status.COMPLETED, None)

    def _allowed(self, outputs: Sequence[Output]) -> Iterator[Output]:
        """What the settings of the response leave of what the model would say and call, with its preamble."""
        choice, parallel = self.settings.tool_choice, self.settings.parallel_tool_calls
        called = False
        for output in outputs:
            if isinstance(output, Say):
                yield output
            elif choice != "none" and (parallel or not called):
                if not called and self._brief.preamble is not None:
                    yield Say(self._brief.preamble)
                called = True
                yield output

    def _place(self) -> dict[str, Any]:
        assert self._item is not None
        return {"response_id": self.id, "item_id": self._item.id, "output_index": len(self.items) - 1}

    def _open_item(self, item: Item) -> None:
        owner = self._owner
        self.items.append(item)
        self._item = item
        fields = {"response_id": self.id, "output_index": len(self.items) - 1, "item": self._item_wire(item)}
        owner.emit("response.output_item.added", fields)
        self._previous = owner.conversation.insert(item, None) if self.in_conversation else None
        if self._emit_items:
            owner.item_added(item, self._previous)

    def _close_item(self, status: str) -> None:
        item = self._item
        assert item is not None
        if self._open_arguments:
            self._close_arguments(item)
        item.status = status
        if self._emit_items:
            self._owner.item_done(item, self._previous)
        fields = {"response_id": self.id, "output_index": len(self.items) - 1, "item": self._item_wire(item)}
        self._owner.emit("response.output_item.done", fields)
        self._item = None

    def _leave_item(self) -> None:
        """The response is done with its item, which will be finished after it."""
        item = self._item
        assert item is not None
        fields = {"response_id": self.id, "output_index": len(self.items) - 1, "item": self._item_wire(item)}
        self._owner.emit("response.output_item.done", fields)
        self._item = None

    def _close_arguments(self, item: Item) -> None:
        self._open_arguments = False
        if item.raw is not None:
            fields = {**self._place(), "arguments": item.raw["arguments"]}
            self._owner.emit("response.mcp_call_arguments.done", fields)
            return
        fields = {**self._place(), "call_id": item.call_id, "arguments": item.arguments}
        if self._owner.dialect.name == "ga":
            fields["name"] = item.name
        self._owner.emit("response.function_call_arguments.done", fields)

    def _open_part(self, part: Part, wire: Mapping[str, Any]) -> dict[str, Any]:
        assert self._item is not None
        place = {**self._place(), "content_index": 0}
        self._owner.emit("response.content_part.added", {**place, "part": wire})
        self._item.parts.append(part)
        self._part = part
        return place

    def _close_part(self) -> None:
        part = self._part
        assert part is not None
        owner = self._owner
        place = {**self._place(), "content_index": 0}
        if part.kind == "audio":
            closing = [
                ("response.output_audio.done", place),
                ("response.output_audio_transcript.done", {**place, "transcript": part.transcript}),
            ]
            for name, fields in closing if owner.knobs["openai.audio_done_first"] else reversed(closing):
                owner.emit(name, fields)
            wire: dict[str, Any] = {"type": "audio", "transcript": part.transcript}
        else:
            owner.emit("response.output_text.done", {**place, "text": part.text})
            wire = {"type": "text", "text": part.text}
        owner.emit("response.content_part.done", {**place, "part": wire})
        self._part = None

    def _message(self, say: Say) -> Item:
        phase = None
        if self._brief.phases:
            phase = "commentary" if say.phrase == self._brief.preamble else "final_answer"
        return Item(self._owner.new_id("item"), "message", status="in_progress", role="assistant", phase=phase)

    def _room(self, total: int, limit: int) -> tuple[int, str]:
        """How much of `total` may be said, and why not more."""
        if self._brief.filtered and total // 2 < limit:
            return total // 2, "content_filter"
        return min(total, limit), "max_output_tokens"

    def _speak(self, say: Say) -> Iterator[float]:
        owner = self._owner
        media = owner.media
        # On a call the sound leaves by the media track, whatever the format in the session's settings.
        audio_format = self.settings.output_format if media is None else FORMATS["audio/pcm"]
        encoding, rate = audio_format.encoding, audio_format.rate
        sound = voiced(say.phrase, encoding, rate, self.settings.speed)
        total = len(sound)
        limit = self.settings.max_output_tokens
        room, reason = self._room(
            total, total if limit is None else limit * AUDIO_MS_PER_TOKEN * audio_format.bytes_per_ms
        )
        room -= room % audio_format.sample_bytes
        words = say.text.split(" ")
        self._open_item(self._message(say))
        part = Part("audio", transcript="", audio=sound, bytes_per_ms=audio_format.bytes_per_ms)
        place = self._open_part(part, {"type": "audio", "transcript": ""})
        event_type = owner.dialect.event("response.output_audio.delta")
        between = (
            f'","response_id":"{self.id}","item_id":"{place["item_id"]}","output_index":{place["output_index"]},'
            '"content_index":0,"delta":"'
        )
        message = f"/message{len(self.items)}" if self.first_audio_at is not None else ""
        unevenness = owner.ports.choices.integer(f"{self._point}{message}/unevenness", 0, 10, 40)
        sent = said = pause = 0
        if self.first_audio_at is None:
            self.first_audio_at = owner.ports.clock.now()
        for size, gap in chunks(room, audio_format, unevenness):
            if sent:
                yield pause / 1000
            pause = gap
            spoken = -(-len(words) * (sent + size) // total)
            if spoken > said:
                delta = "".join(
                    f" {word}" if index else word for index, word in enumerate(words[:spoken]) if index >= said
                )
                said = spoken
                if not part.truncated:
                    part.transcript = f"{part.transcript}{delta}"
                fields = {**place, "delta": delta, **owner.padding(observed=False)}
                owner.emit("response.output_audio_transcript.delta", fields)
            audio = "" if media is not None else _spoken(sound, sent, sent + size)
            if media is not None:
                media.add(self.id, place["item_id"], 0, sound[sent : sent + size])
            elif sent:
                owner.emit_valid(
                    event_type, f'{{"type":"{event_type}","event_id":"{owner.new_id("event")}{between}{audio}"}}'
                )
            else:
                # The first one is checked against the schema; the others differ in nothing but id and sound.
                owner.emit("response.output_audio.delta", {**place, "delta": audio})
            sent += size
            if not part.truncated:
                part.duration_ms = sent / audio_format.bytes_per_ms
        if room < total:
            self._finish(Status.INCOMPLETE, {"type": "incomplete", "reason": reason})
            return
        self._close_part()
        self._close_item("completed")

    def _write(self, say: Say) -> Iterator[float]:
        owner = self._owner
        words = say.text.split(" ")
        limit = self.settings.max_output_tokens
        room, reason = self._room(len(words), len(words) if limit is None else limit * 3 // 4)
        self._open_item(self._message(say))
        part = Part("text")
        place = self._open_part(part, {"type": "text", "text": ""})
        for index, word in enumerate(words[:room]):
            if index:
                yield TEXT_GAP_MS / 1000
            delta = f" {word}" if index else word
            part.text += delta
            owner.emit("response.output_text.delta", {**place, "delta": delta, **owner.padding()})
        if room < len(words):
            self._finish(Status.INCOMPLETE, {"type": "incomplete", "reason": reason})
            return
        self._close_part()
        self._close_item("completed")

    def _call(self, call: Call) -> Iterator[float]:
        owner = self._owner
        item = Item(owner.new_id("item"), "function_call", "in_progress", name=call.name, call_id=owner.new_id("call"))
        self._open_item(item)
        self._open_arguments = True
        place = {**self._place(), "call_id": item.call_id}
        for delta in _deltas(arguments_text(call)):
            if item.arguments:
                yield TEXT_GAP_MS / 1000
            item.arguments += delta
            fields = {**place, "delta": delta, **owner.padding(observed=False)}
            owner.emit("response.function_call_arguments.delta", fields)
        self._close_item("completed")

    def _call_mcp(self, call: McpCall) -> Iterator[float]:
        """The call of a tool of an MCP server; made here, or after the response when it must be approved first."""
        owner = self._owner
        raw: dict[str, Any] = {
            "type": "mcp_call",
            "server_label": call.server_label,
            "name": call.name,
            "arguments": "",
            "approval_request_id": None,
            "output": None,
            "error": None,
        }
        item = Item(owner.new_id("mcp"), "mcp_call", "in_progress", raw=raw)
        self._open_item(item)
        self._open_arguments = True
        place, previous = self._place(), self._previous
        index = place["output_index"]
        for delta in _deltas(arguments_text(call)):
            if raw["arguments"]:
                yield TEXT_GAP_MS / 1000
            raw["arguments"] += delta
            fields = {**place, "delta": delta, **owner.padding()}
            owner.emit("response.mcp_call_arguments.delta", fields)
        self._close_arguments(item)
        if owner.mcp.wants_approval(self.settings.tools, call.server_label, call.name):
            self._leave_item()
            self._request_approval(item, index, previous)
        elif owner.knobs["openai.mcp_call_runs"] == "in_response":
            yield owner.mcp.begin(item, index)
            owner.mcp.finish(item, index)
            self._close_item("completed")
            self._after.append(self._on_called)
        else:
            self._leave_item()
            self._after.append(lambda: owner.mcp.later(item, index, previous, self._on_called))

    def _request_approval(self, call: Item, index: int, previous: str | None) -> None:
        assert call.raw is not None
        raw = {"type": "mcp_approval_request", **{key: call.raw[key] for key in ("server_label", "name", "arguments")}}
        request = Item(self._owner.new_id("mcpr"), "mcp_approval_request", raw=raw)
        call.raw["approval_request_id"] = request.id
        self._owner.mcp.ask(call, request, index, previous, self._on_called)
        self._open_item(request)
        self._close_item("completed")
