"""Faults in reading the model's answers: their items, their order, their ends, and what comes late."""

from __future__ import annotations

import json

from broken import bridge
from broken.hooks import Listening
from reference_impl.bridge import Bridge, Frame, Handlers


class CancelsAlways(Bridge):
    """`response.cancel` is sent whenever the caller speaks.

    Seen in most samples. Most of the time no response is in progress, and each one costs an error event.
    """

    async def on_speech_started(self, event: Frame) -> None:
        await super().on_speech_started(event)
        await self.to_openai('{"type":"response.cancel"}')


class CommitsItself(Listening):
    """The input buffer is committed when the caller falls silent, though the server's turn detection does that.

    From samples without turn detection. The commit finds an empty buffer, or the first words of the next sentence.
    """

    def more(self) -> Handlers:
        return {"input_audio_buffer.speech_stopped": self.on_speech_stopped}

    async def on_speech_stopped(self, event: Frame) -> None:
        await self.to_openai('{"type":"input_audio_buffer.commit"}')


class TripsOverText(Listening):
    """Text in a session that was asked for audio raises.

    An assertion that held for every answer of the test calls. One written sentence costs the caller the call.
    """

    def more(self) -> Handlers:
        return {"response.output_text.delta": self.on_text, "response.text.delta": self.on_text}

    async def on_text(self, event: Frame) -> None:
        raise RuntimeError("text where audio was asked for")


class EndsOnIncomplete(Bridge):
    """A response that ends `incomplete` is taken for the failure of the session.

    Seen in hash#9399. An answer that the vendor's filter or a limit of tokens has stopped costs the caller the call.
    """

    async def on_response_done(self, event: Frame) -> None:
        await super().on_response_done(event)
        if event["response"]["status"] == "incomplete":
            self.on_upstream_closed("a response is incomplete")


class ForgetsWhatIsStale(Bridge):
    """That audio is stale is remembered until the next response begins, not for the response that it belongs to.

    One flag, set by the interruption and reset by `response.created`. The old sentence breaks into the new one.
    """

    async def on_response_created(self, event: Frame) -> None:
        self._cut.clear()
        await super().on_response_created(event)


class TripsOverNewItems(Bridge):
    """An item of an unknown type raises.

    A `match` whose last case is an assertion. The first model with a new kind of item takes the gateway's calls down.
    """

    async def on_item_done(self, event: Frame) -> None:
        if event["item"]["type"] not in ("message", "function_call"):
            raise RuntimeError(f"unknown item type {event['item']['type']}")
        await super().on_item_done(event)


class PlaysFirstItemOnly(Bridge):
    """Only the first item of a response is played.

    Seen in livekit/agents#5684: one message a response was expected. The caller hears the preamble, and no answer.
    """

    async def on_audio_delta(self, event: Frame) -> None:
        if event["output_index"] == 0:
            await super().on_audio_delta(event)


class DropsLostRace(Bridge):
    """A `response.create` that was refused because of another response is forgotten.

    The error is rightly not fatal (pipecat#3960), and wrongly without consequence: what the tool found is never said.
    """

    async def on_error(self, event: Frame) -> None:
        wanted = self._wanted
        await super().on_error(event)
        self._wanted = wanted


class TruncatesWhatWasHeard(Bridge):
    """When the caller speaks, the last item is truncated, be it played to its end long ago.

    The samples remember the last item and forget to forget it. The model loses the words of its last answer.
    """

    _last: tuple[str, int] | None = None

    async def on_audio_delta(self, event: Frame) -> None:
        await super().on_audio_delta(event)
        if self.playback.items:
            item = self.playback.items[-1]
            self._last = (item.item_id, item.length_ms)

    async def on_speech_started(self, event: Frame) -> None:
        heard = self._last if not self.playback.items else None
        await super().on_speech_started(event)
        self._last = None
        if heard is not None:
            await self.truncate(heard[0], 0, heard[1])


class WantsAudioFirst(Listening):
    """The transcript of an item may not be done before its audio is.

    A state machine written after one log. On the day when the order is another one, every call ends in the greeting.
    """

    def more(self) -> Handlers:
        self._audio_done: set[str] = set()
        return {self.dialect.transcript_done: self.on_transcript_done}

    async def on_audio_done(self, event: Frame) -> None:
        self._audio_done.add(event["item_id"])
        await super().on_audio_done(event)

    async def on_transcript_done(self, event: Frame) -> None:
        if event["item_id"] not in self._audio_done:
            raise RuntimeError("a transcript is done before its audio")


class TruncatesAnnounced(Listening):
    """An item is truncated at 0 ms when the caller speaks after it was announced and before its first audio.

    Seen in livekit/agents#6158. OpenAI refuses it: there is no audio to truncate.
    """

    _announced = ""

    def more(self) -> Handlers:
        return {"response.output_item.added": self.on_item_added}

    async def on_item_added(self, event: Frame) -> None:
        self._announced = event["item"]["id"] if event["item"]["type"] == "message" else ""

    async def on_audio_delta(self, event: Frame) -> None:
        self._announced = ""
        await super().on_audio_delta(event)

    async def on_speech_started(self, event: Frame) -> None:
        await super().on_speech_started(event)
        if self._announced:
            await self.truncate(self._announced, 0, 0)


class PlaysEmptyAudio(Bridge):
    """A delta with nothing in it becomes a media message with nothing in it.

    Found in the reference gateway by the suite. Twilio takes such a message for a broken one.
    """

    async def on_audio_delta(self, event: Frame) -> None:
        await super().on_audio_delta(event)
        if not event["delta"]:
            message = {"event": "media", "streamSid": self.stream_sid, "media": {"payload": ""}}
            await self.stream.send(json.dumps(message))


cancels_always = bridge(CancelsAlways)
commits_itself = bridge(CommitsItself)
trips_over_text = bridge(TripsOverText)
ends_on_incomplete = bridge(EndsOnIncomplete)
forgets_what_is_stale = bridge(ForgetsWhatIsStale)
trips_over_new_items = bridge(TripsOverNewItems)
plays_first_item_only = bridge(PlaysFirstItemOnly)
drops_lost_race = bridge(DropsLostRace)
truncates_what_was_heard = bridge(TruncatesWhatWasHeard)
wants_audio_first = bridge(WantsAudioFirst)
truncates_announced = bridge(TruncatesAnnounced)
plays_empty_audio = bridge(PlaysEmptyAudio)
