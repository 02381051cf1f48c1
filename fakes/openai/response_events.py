"""The client events about responses, and what begins and ends them by itself: turns, interruptions, rate limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from fakes.openai.brain import Brain, Output, Prompt
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.dialects import Settings, Wire, defaults
from fakes.openai.errors import VendorError, listed
from fakes.openai.input_turns import InputTurns
from fakes.openai.item_events import ItemEvents
from fakes.openai.items import Item, Tokens, text_tokens
from fakes.openai.playout import Heard
from fakes.openai.prompting import prompt_of
from fakes.openai.responses import Brief, Response, ResponseOwner
from fakes.openai.updates import check_output, check_reasoning, check_tools

MOST_OUTPUT_TOKENS = 4096
CACHE_STEP = 64
PREAMBLE = "hold_please"
"""The phrase that a model says before it calls a tool, where it says any."""
RATE_LIMITS_DELAY = 0.043
"""Seconds from `response.done` to `rate_limits.updated`, as seen in captures."""


class AnsweringOwner(ResponseOwner, Protocol):
    """What the response events need of their session."""

    wire: Wire
    settings: Settings
    responses: list[Response]
    input: InputTurns
    kind: str

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Do something after a while, unless the connection has ended by then."""
        ...

    def refuse(self, error: VendorError, event: Wire | None) -> None:
        """Send an error event; `event` is the client's that caused it, if one did."""
        ...


class ResponseEvents:
    """Begins, cancels and counts the responses of one session."""

    def __init__(self, owner: AnsweringOwner, items: ItemEvents, catalogue: Catalogue, brain: Brain) -> None:
        self._owner = owner
        self._items = items
        self._catalogue = catalogue
        self._brain = brain
        self.active: Response | None = None
        """The response of the conversation that is being made, if any."""
        self._aside: list[Response] = []
        self._seen = Tokens(0, 0, 0)
        self.failure: str | None = None
        """The error code with which the next response fails."""
        self.filtered = False
        """Whether the content filter cuts off the next response."""

    @property
    def running(self) -> Iterator[Response]:
        """The responses that are being made, that of the conversation first."""
        if self.active is not None:
            yield self.active
        yield from self._aside

    @property
    def _model(self) -> Model | None:
        """The model of the session, when it is one of the catalogue."""
        return self._catalogue.models.get(self._owner.wire.get("model") or "")

    @property
    def spoke(self) -> bool:
        """Whether there is audio of the assistant."""
        return any(response.first_audio_at is not None for response in self._owner.responses)

    def drop(self) -> None:
        """Forget every response without a word: the connection is gone."""
        for response in list(self.running):
            response.drop()

    # -- client events

    def create(self, event: Wire) -> None:
        """`response.create`. Raises `VendorError`."""
        self._create(event.get("response") or {})

    def _create(self, params: Wire) -> None:
        owner = self._owner
        in_conversation = params.get("conversation") != "none"
        if in_conversation and self.active is not None:
            raise VendorError("active_response", response=self.active.id)
        model = self._model
        check_output(owner.dialect, self._catalogue, params, "response")
        overrides = {key: params[key] for key in params if key not in ("conversation", "input", "metadata")}
        overrides = check_reasoning(model, overrides, "response", owner.knobs)
        session = owner.dialect.merged(owner.wire, overrides)
        settings = owner.dialect.settings(session)
        if in_conversation and self.spoke and settings.voice != owner.settings.voice:
            raise VendorError("cannot_update_voice")
        check_tools(owner.dialect, settings, params, "response", owner.knobs)
        items: Sequence[Item] = owner.conversation.items
        if params.get("input") is not None:
            items = self._context(params["input"])
        items, spent = in_context(items, text_tokens(settings.instructions), settings.truncation, model)
        prompt = prompt_of(items, owner.conversation, settings, str(params.get("instructions") or ""))
        cached = _seen_before(self._seen, spent) if in_conversation else Tokens(0, 0, 0)
        phase = owner.knobs["openai.phase"] if model is not None and model.reasoning else "never"
        brief = Brief(
            session=session,
            settings=settings,
            think=self._thought(prompt, settings),
            metadata=params.get("metadata"),
            in_conversation=in_conversation,
            input_tokens=spent,
            cached_tokens=cached,
            failure=self.failure,
            filtered=self.filtered,
            phases=phase != "never",
            preamble=PREAMBLE if phase == "preamble" else None,
        )
        self.failure, self.filtered = None, False
        response = Response(owner, len(owner.responses) + 1, brief, self._called)
        owner.responses.append(response)
        if in_conversation:
            self.active = response
            self._seen = spent
            owner.input.answering()
        else:
            self._aside.append(response)
        owner.mcp.configure(settings.tools)
        response.start()

    def _thought(self, prompt: Prompt, settings: Settings) -> Callable[[], Sequence[Output]]:
        """What the brain says to a prompt; only when the tools of MCP servers are known, if there are any."""
        if any(tool.get("type") == "mcp" for tool in settings.tools):
            tools = self._owner.mcp.available
            return lambda: self._brain.reply(replace(prompt, tools=[*prompt.tools, *tools(settings.tools)]))
        outputs = self._brain.reply(prompt)
        return lambda: outputs

    def _called(self) -> None:
        """A call of an MCP tool has ended: the model goes on by itself if it is the server who asks for that."""
        if self._owner.knobs["openai.mcp_follow_up"] == "server" and self.active is None:
            self._answer()

    def _answer(self) -> None:
        """A response that no client has asked for."""
        try:
            self._create({})
        except VendorError as error:
            self._owner.refuse(error, None)

    def _context(self, given: list[Wire]) -> list[Item]:
        """The items of `response.create.input`: those of the conversation by reference, or new ones."""
        return [
            self._items.find(wire["id"], "item_reference_not_found", f"response.input[{index}].id")
            if wire["type"] == "item_reference"
            else self._items.given(wire, wire.get("id") or "", f"response.input[{index}]")
            for index, wire in enumerate(given)
        ]

    def cancel(self, event: Wire) -> None:
        """`response.cancel`: the response of that id, or that of the conversation. Raises `VendorError`."""
        wanted = event.get("response_id")
        if wanted is None:
            running = [] if self.active is None else [self.active]
        else:
            running = [response for response in self.running if response.id == wanted]
        if not running:
            raise VendorError("cancel_not_active")
        running[0].cancel("client_cancelled")

    def clear_output(self, event: Wire) -> None:
        """`output_audio_buffer.clear`, on a call: cut off the sound that plays, and what is still to come of it."""
        owner = self._owner
        if owner.media is None:
            if owner.knobs["openai.output_buffer_clear_on_websocket"] == "only_on_calls":
                raise VendorError("output_buffer_only_on_calls")
            options = listed(defaults()["events"][owner.dialect.name])
            raise VendorError("unknown_event", got=event["type"], options=options)
        cut = owner.media.clear()
        if owner.knobs["openai.client_clear_truncates"]:
            # An item that is still being made goes on: the client was to cancel its response first.
            making = {item.id for response in self.running for item in response.items}
            self._truncate_unplayed([heard for heard in cut if heard.item_id not in making])

    # -- turns

    def user_speaks(self) -> None:
        """Turn detection hears the user: interrupt the response if it may be interrupted."""
        owner, response = self._owner, self.active
        detection = owner.settings.turn_detection
        if detection is None or not detection.interrupt_response:
            return
        if response is None and (owner.media is None or not owner.media.busy):
            return
        lag = int(owner.knobs["openai.interruption_lag_ms"])
        if lag:
            owner.later(lag / 1000, lambda: self._interrupt(response))
        else:
            self._interrupt(response)

    def _interrupt(self, response: Response | None) -> None:
        media = self._owner.media
        if media is not None:
            # The response may be done while its sound still plays: that is what the user interrupts.
            cut = media.clear()
            if response is not None and self.active is response:
                response.cancel("turn_detected")
            self._truncate_unplayed(cut)
            return
        if response is None or self.active is not response:
            return  # it came to its end before the interruption had its effect
        response.cancel("turn_detected")
        if self._owner.knobs["openai.server_truncates"] and response.first_audio_at is not None:
            self._truncate_played(response, response.first_audio_at)

    def _truncate_played(self, response: Response, began: float) -> None:
        """The server's own truncation: it takes for played what can have been played since the audio began."""
        item = response.items[-1]
        if item.role == "assistant" and item.parts and item.parts[0].kind == "audio":
            end = int(min(item.parts[0].duration_ms, round((self._owner.ports.clock.now() - began) * 1000)))
            self._items.truncated(item, 0, end)

    def _truncate_unplayed(self, cut: Sequence[Heard]) -> None:
        """On a call the server knows what was played, and forgets the rest by itself."""
        for heard in cut:
            item = self._owner.conversation.find(heard.item_id)
            if item is not None:
                self._items.truncated(item, heard.content_index, heard.played_ms)

    def turn_ended(self) -> None:
        """Turn detection has committed a turn: answer it if the session wants that."""
        detection = self._owner.settings.turn_detection
        if self._owner.kind == "realtime" and detection is not None and detection.create_response:
            self._answer()

    # -- the end of a response

    def finished(self, response: Response) -> None:
        """A response has ended: another one may begin. The rate limits follow a moment later."""
        if self.active is response:
            self.active = None
        if response in self._aside:
            self._aside.remove(response)
        if self._owner.media is not None:
            self._owner.media.finish(response.id)
        self._owner.later(RATE_LIMITS_DELAY, self._rate_limits)

    def _rate_limits(self) -> None:
        used = 0
        for response in self._owner.responses:
            for item in response.items:
                used += item.tokens().total
        limits: list[dict[str, Any]] = [
            {"name": "tokens", "limit": 40000, "remaining": max(0, 40000 - used), "reset_seconds": 0.06}
        ]
        if self._owner.dialect.name == "beta":
            requests = {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 60.0}
            limits.insert(0, requests)
        self._owner.emit("rate_limits.updated", {"rate_limits": limits})


def _seen_before(last: Tokens, now: Tokens) -> Tokens:
    """How much of what goes into the model went into it last time too; the vendor caches in steps of 64 tokens."""
    return Tokens(*(min(before, again) // CACHE_STEP * CACHE_STEP for before, again in zip(last, now, strict=True)))


def in_context(
    items: Sequence[Item], instructions: int, truncation: Any, model: Model | None
) -> tuple[Sequence[Item], Tokens]:
    """The items that fit into the model, the oldest left out where there are too many, and the tokens of all of it.

    `instructions`: how many tokens those have. `truncation`: that of the session. Raises `VendorError` when it is
    disabled and there are too many.
    """
    tokens = [item.tokens() for item in items]
    total = sum(counted.total for counted in tokens)
    if model is not None:
        limit = model.context_tokens - MOST_OUTPUT_TOKENS - instructions
        keep = 1.0
        if isinstance(truncation, dict):
            limit = min(limit, (truncation.get("token_limits") or {}).get("post_instructions", limit))
            keep = truncation["retention_ratio"]
        if total > limit:
            if truncation == "disabled":
                raise VendorError("context_too_long", tokens=total + instructions, limit=limit + instructions)
            first = 0
            while first < len(items) - 1 and total > limit * keep:
                total -= tokens[first].total
                first += 1
            items, tokens = items[first:], tokens[first:]
    spent = Tokens(instructions, 0, 0)
    for counted in tokens:
        spent = spent.plus(counted)
    return items, spent
