"""What the model has to go by: a `Prompt` from the items of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fakes.audio import UNKNOWN, Listener
from fakes.openai.brain import Prompt, ToolResult
from fakes.openai.dialects import AudioFormat, Settings
from fakes.openai.items import Item

_UNSAID = frozenset({"mcp_list_tools", "mcp_approval_request", "mcp_approval_response"})
"""Items that a model does not answer."""


def listen(audio: bytes, audio_format: AudioFormat) -> tuple[str, ...]:
    """The names of the phrases in a piece of sound, in order; `?` for sound that is none."""
    listener = Listener(audio_format.encoding, audio_format.rate)
    listener.feed(audio)
    listener.flush()
    return tuple(heard.phrase for heard in listener.heard)


def call_of(items: Iterable[Item], call_id: str) -> Item | None:
    """The function call with that id."""
    return next((item for item in items if item.type == "function_call" and item.call_id == call_id), None)


def prompt_of(items: Sequence[Item], conversation: Iterable[Item], settings: Settings, instructions: str) -> Prompt:
    """The prompt of a response. `items`: what it is made from; `conversation`: where its function calls are."""
    users = [item for item in items if item.role == "user"]
    heard: tuple[str, ...] = ()
    text = result = None
    idle = False
    last = next((item for item in reversed(items) if item.role != "system" and item.type not in _UNSAID), None)
    if last is not None and last.role == "user":
        spoken = any(part.kind == "audio" for part in last.parts)
        idle = any(part.idle for part in last.parts)
        # Sound without a phrase in it is something that was not understood.
        heard = tuple(name for part in last.parts for name in part.heard)
        if spoken and not idle:
            heard = heard or (UNKNOWN,)
        text = None if spoken else " ".join(part.text for part in last.parts)
    elif last is not None and last.type == "function_call_output":
        call = call_of(conversation, last.call_id)
        result = ToolResult(call.name if call is not None else "", last.output)
    elif last is not None and last.type == "mcp_call" and last.raw is not None:
        result = ToolResult(last.raw["name"], last.raw.get("output") or str(last.raw.get("error") or ""))
    return Prompt(
        heard=heard,
        text=text,
        result=result,
        asked=_asked(users),
        first=not users,
        instructions=instructions,
        idle=idle,
        tools=settings.tools,
        tool_choice=settings.tool_choice,
    )


def _asked(users: Sequence[Item]) -> str | None:
    """The last phrase of the user that was understood."""
    for item in reversed(users):
        known = [name for part in item.parts for name in part.heard if name != UNKNOWN]
        if known:
            return known[-1]
    return None
