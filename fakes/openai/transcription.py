"""The transcription of what a user has said: its text, its events and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fakes.audio import PHRASES, UNKNOWN
from fakes.openai.catalogue import Model
from fakes.openai.errors import VendorError
from fakes.openai.items import Item, Part, text_tokens

PREFIX = "conversation.item.input_audio_transcription"
LOGPROBS = "item.input_audio_transcription.logprobs"
"""What `include` says for deltas with the probability of each word."""
WORD_GAP = 0.015
"""Seconds between two deltas."""

Event = tuple[str, dict[str, Any]]


def transcription_of(part: Part) -> str:
    """The words in a piece of sound; empty when nothing was understood."""
    return " ".join(PHRASES[name].text for name in part.heard if name != UNKNOWN)


def transcription_failed(item: Item, error: VendorError) -> Event:
    """The event that ends a transcription which could not be made."""
    text = {"type": error.text.type, "code": error.code, "message": error.message, "param": error.param}
    return f"{PREFIX}.failed", {"item_id": item.id, "content_index": 0, "error": text}


def transcription_events(item: Item, part: Part, model: Model, *, logprobs: bool) -> Iterator[Event]:
    """The events of one transcription, type and fields: deltas (and segments, where speakers are told), `completed`.

    `logprobs`: whether they were asked for; only some models have them. How it is cut, counted and billed is in the
    catalogue. A speaker has said a segment for each phrase that was heard; the first one is called `A`.
    """
    place = {"item_id": item.id, "content_index": 0}
    probable = logprobs and model.logprobs
    text = transcription_of(part)
    written: list[dict[str, Any]] = []
    for number, (sentence, span) in enumerate(_sentences(part, text) if model.speakers else [(text, (0.0, 0.0))]):
        lead = " " if number else ""
        words = [sentence] if model.deltas == "whole" else sentence.split(" ")
        for index, word in enumerate(words if sentence else ()):
            delta: dict[str, Any] = {**place, "delta": f" {word}" if index else f"{lead}{word}"}
            if probable:
                delta["logprobs"] = [_probability(delta["delta"])]
                written += delta["logprobs"]
            yield f"{PREFIX}.delta", delta
        if model.speakers and sentence:
            times = {"start": round(span[0] / 1000, 3), "end": round(span[1] / 1000, 3)}
            yield f"{PREFIX}.segment", {**place, "id": f"seg_{number:04d}", "text": sentence, "speaker": "A", **times}
    completed: dict[str, Any] = {**place, "transcript": text}
    if probable:
        completed["logprobs"] = written
    if model.tells_language:
        completed["languages"] = [{"code": "en"}] if text else []
    yield f"{PREFIX}.completed", {**completed, "usage": _usage(part, text, model)}


def _sentences(part: Part, text: str) -> list[tuple[str, tuple[float, float]]]:
    spans = part.spans or ((0.0, part.duration_ms),) * len(part.heard)
    known = [(PHRASES[name].text, span) for name, span in zip(part.heard, spans, strict=True) if name != UNKNOWN]
    return known or [(text, (0.0, part.duration_ms))]


def _probability(token: str) -> dict[str, Any]:
    # The surrogate is recognised or not, so that a word that was written is as good as certain.
    return {"token": token, "logprob": -0.0001, "bytes": list(token.encode())}


def _usage(part: Part, text: str, model: Model) -> dict[str, Any]:
    if model.billed == "duration":
        return {"type": "duration", "seconds": round(part.duration_ms / 1000, 1)}
    audio, words = int(part.duration_ms // 100), text_tokens(text)
    return {
        "type": "tokens",
        "total_tokens": audio + words,
        "input_tokens": audio,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
        "output_tokens": words,
    }
