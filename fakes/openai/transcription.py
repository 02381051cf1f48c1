"""The transcription of what a user has said: its text and its events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fakes.audio import PHRASES, UNKNOWN
from fakes.openai.items import Item, Part, text_tokens

PREFIX = "conversation.item.input_audio_transcription"


def transcription_of(part: Part) -> str:
    """The words in a piece of sound; empty when nothing was understood."""
    return " ".join(PHRASES[name].text for name in part.heard if name != UNKNOWN)


def transcription_events(item: Item, part: Part, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of one transcription, type and fields: deltas, then `completed`.

    `whisper-1` writes its text in one piece and is billed by the second; the others write word by word and are billed
    by the token.
    """
    text = transcription_of(part)
    place = {"item_id": item.id, "content_index": 0}
    whole = model == "whisper-1"
    for index, word in enumerate([text] if whole else text.split(" ")):
        yield f"{PREFIX}.delta", {**place, "delta": f" {word}" if index else word}
    if whole:
        usage: dict[str, Any] = {"type": "duration", "seconds": round(part.duration_ms / 1000)}
    else:
        audio, words = int(part.duration_ms // 100), text_tokens(text)
        usage = {
            "type": "tokens",
            "total_tokens": audio + words,
            "input_tokens": audio,
            "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
            "output_tokens": words,
        }
    yield f"{PREFIX}.completed", {**place, "transcript": text, "usage": usage}
