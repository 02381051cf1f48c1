"""Faults in what is done with the transcription of the caller."""

from __future__ import annotations

from typing import Any

from broken import bridge, gateway
from broken.hooks import TRANSCRIBED, Listening
from reference_impl.bridge import Frame, Handlers
from reference_impl.dialects import Dialect, Ga
from reference_impl.gateway import Gateway


class WaitsForTranscript(Listening):
    """The answer is kept back until the transcript of the question is there, so that the log is in order.

    Seen where a chat window was there first. Every answer comes as late as the slower of two models.
    """

    _waits = False

    def more(self) -> Handlers:
        self._kept: list[Frame] = []
        return {"input_audio_buffer.committed": self.on_committed, TRANSCRIBED: self.on_transcript}

    async def on_committed(self, event: Frame) -> None:
        self._waits = True

    async def on_audio_delta(self, event: Frame) -> None:
        if self._waits:
            self._kept.append(event)
        else:
            await super().on_audio_delta(event)

    async def on_transcript(self, event: Frame) -> None:
        self._waits = False
        for delta in self._kept:
            await super().on_audio_delta(delta)
        self._kept.clear()


class EndsOnFailedTranscription(Listening):
    """A transcription that failed ends the call.

    Its event has an `error` in it, and errors are fatal. The model has heard every word.
    """

    def more(self) -> Handlers:
        return {TRANSCRIBED.replace("completed", "failed"): self.on_failed}

    async def on_failed(self, event: Frame) -> None:
        self.on_upstream_closed("transcription failed")


class GivesTranscriptBack(Listening):
    """The transcript of what the caller said is added to the conversation as a message.

    Code that keeps a history for a model of text, taken over as it was. The model has every question twice.
    """

    def more(self) -> Handlers:
        return {TRANSCRIBED: self.on_transcript}

    async def on_transcript(self, event: Frame) -> None:
        content = [{"type": "input_text", "text": event["transcript"]}]
        await self.create_item({"type": "message", "role": "user", "content": content})


class _OwnEars(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        session = super().session(tools)
        session["audio"]["input"]["transcription"] = {"model": self.config.openai_model}
        return session


class TranscribesWithAnyModel(Gateway):
    """The model of the session is also named for the transcription.

    One setting for both looks tidy. Every transcription fails, and the log of the call has one side only.
    """

    def dialect_for(self) -> Dialect:
        return _OwnEars(self.config)


class TranscriptInterrupts(Listening):
    """Whatever is playing is thrown away when a transcript of the caller arrives.

    Barge-in by transcript, from gateways with a recogniser of their own. Here it belongs to the question that is being
    answered, and every long answer is cut off.
    """

    def more(self) -> Handlers:
        return {TRANSCRIBED: self.on_transcript}

    async def on_transcript(self, event: Frame) -> None:
        if not self.playback.idle:
            await self.clear_playback()


class CountsTokens(Listening):
    """The usage of a transcription is counted in tokens, which there are not for every model.

    A bill by the second raises in the one who counts. The call ends when the transcription model is changed.
    """

    def more(self) -> Handlers:
        return {TRANSCRIBED: self.on_transcript}

    async def on_transcript(self, event: Frame) -> None:
        if event["usage"]["type"] != "tokens":
            raise RuntimeError("no total_tokens in usage")


waits_for_transcript = bridge(WaitsForTranscript)
ends_on_failed_transcription = bridge(EndsOnFailedTranscription)
gives_transcript_back = bridge(GivesTranscriptBack)
transcribes_with_any_model = gateway(TranscribesWithAnyModel)
transcript_interrupts = bridge(TranscriptInterrupts)
counts_tokens = bridge(CountsTokens)
