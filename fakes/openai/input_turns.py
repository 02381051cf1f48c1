"""The input audio of a session: appended, cleared, cut into turns, committed as items, transcribed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from fakes.audio import Heard
from fakes.knobs import Knobs
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.dialects import AudioFormat, Settings, TurnDetection, Wire
from fakes.openai.errors import VendorError
from fakes.openai.items import Conversation, Item, Part, decode_audio
from fakes.openai.transcription import (
    LOGPROBS,
    WORD_GAP,
    Event,
    transcription_events,
    transcription_failed,
    transcription_of,
)
from fakes.openai.vad import InputAudio
from fakes.ports import Ports

MINIMUM_COMMIT_MS = 100


class TurnsOwner(Protocol):
    """What the turns of the user need of their session."""

    ports: Ports
    knobs: Knobs
    conversation: Conversation
    settings: Settings
    name: str

    @property
    def responses(self) -> Sequence[object]:
        """Every response so far."""
        ...

    def new_id(self, prefix: str) -> str:
        """A new id."""
        ...

    def padding(self) -> dict[str, str]:
        """The obfuscation of a delta, or nothing."""
        ...

    def emit(self, event_type: str, fields: Mapping[str, Any], gate: str | None = None) -> None:
        """Send an event; the type is the GA name."""
        ...

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Do something after a while, unless the connection has ended by then."""
        ...

    def item_added(self, item: Item, previous: str | None) -> None:
        """Tell that an item has joined the conversation."""
        ...

    def item_done(self, item: Item, previous: str | None) -> None:
        """Tell that an item is finished."""
        ...

    def user_speaks(self) -> None:
        """Turn detection hears the user: a response may have to be interrupted."""
        ...

    def turn_ended(self) -> None:
        """Turn detection has committed a turn: it may have to be answered."""
        ...


class InputTurns:
    """The input audio buffer of one session and what becomes of it."""

    def __init__(self, owner: TurnsOwner, catalogue: Catalogue) -> None:
        self._owner = owner
        self._catalogue = catalogue
        self.failure: VendorError | None = None
        """The error with which the next transcription fails; for test cases."""
        settings, knobs = owner.settings, owner.knobs
        self._audio = InputAudio(
            self,
            settings.input_format,
            int(knobs["openai.vad_speech_ms"]),
            int(knobs["openai.semantic_vad_silence_ms"]),
        )
        self._audio.configure(settings.input_format, settings.turn_detection)
        self._item_id: str | None = None
        self._turns = 0
        self._interruptions = 0
        self._activity = 0

    @property
    def heard(self) -> list[Heard]:
        """The phrases heard so far. Times are in ms of audio since the session's first byte."""
        return self._audio.heard

    @property
    def speaking(self) -> bool:
        """Whether turn detection hears speech."""
        return self._audio.speaking

    def configure(self, audio_format: AudioFormat, detection: TurnDetection | None) -> None:
        """Take over the format and the turn detection of the session. A change of format empties the buffer."""
        self._activity += 1
        self._audio.configure(audio_format, detection)

    # -- client events

    def append(self, event: Wire) -> None:
        """`input_audio_buffer.append`. Raises `VendorError` for audio that is no base64."""
        self._audio.append(decode_audio(event["audio"], "audio"))

    def hear(self, audio: bytes) -> None:
        """Sound that did not come as an event but by the media track, in the session's input format."""
        self._audio.append(audio)

    def clear(self, event: Wire) -> None:
        """`input_audio_buffer.clear`."""
        self._audio.take()
        self._item_id = None
        self._owner.emit("input_audio_buffer.cleared", {})

    def commit(self, event: Wire) -> None:
        """`input_audio_buffer.commit`. Raises `VendorError` when there is less than 100 ms of audio."""
        if self._audio.buffered_ms < MINIMUM_COMMIT_MS:
            raise VendorError("commit_too_small", ms=self._audio.buffered_ms)
        self._commit()

    # -- turn detection

    def speech_started(self, audio_start_ms: int) -> None:
        """Turn detection hears speech: announce its item, and interrupt the response if it may be interrupted."""
        owner = self._owner
        self._activity += 1
        self._item_id = owner.new_id("item")
        fields = {"audio_start_ms": audio_start_ms, "item_id": self._item_id}
        gate = None
        if owner.responses:
            self._interruptions += 1
            gate = f"{owner.name}/interruption{self._interruptions}"
        owner.emit("input_audio_buffer.speech_started", fields, gate)
        owner.user_speaks()

    def speech_stopped(self, audio_end_ms: int) -> None:
        """Turn detection hears the end of a turn: commit it, and answer if the session wants that."""
        fields = {"audio_end_ms": audio_end_ms, "item_id": self._item_id}
        self._owner.emit("input_audio_buffer.speech_stopped", fields)
        self._commit()
        self._owner.turn_ended()

    # -- silence

    def answering(self) -> None:
        """A response begins: whoever waits for the user waits no longer."""
        self._activity += 1

    def answered(self, playback_seconds: float) -> None:
        """A response is done and will have been played after that time: the user's silence counts from then on."""
        detection = self._owner.settings.turn_detection
        if detection is None or detection.idle_timeout_ms is None or detection.type != "server_vad":
            return
        activity, wait = self._activity, detection.idle_timeout_ms / 1000

        def played() -> None:
            start = round(self._audio.position_ms)
            self._owner.later(wait, lambda: self._idle(activity, start))

        self._owner.later(playback_seconds, played)

    def _idle(self, activity: int, audio_start_ms: int) -> None:
        if activity != self._activity or self._audio.speaking:
            return
        owner = self._owner
        self._item_id = owner.new_id("item")
        times = {"audio_start_ms": audio_start_ms, "audio_end_ms": round(self._audio.position_ms)}
        owner.emit("input_audio_buffer.timeout_triggered", {**times, "item_id": self._item_id})
        self._commit(idle=True)
        owner.turn_ended()

    # -- items

    def _commit(self, *, idle: bool = False) -> None:
        owner = self._owner
        self._activity += 1
        buffered = self._audio.buffered_ms
        begin = self._audio.position_ms - buffered
        bytes_per_ms = self._audio.format.bytes_per_ms
        audio, heard = self._audio.take()
        item_id, self._item_id = self._item_id or owner.new_id("item"), None
        part = Part(
            "audio",
            audio=audio,
            duration_ms=buffered,
            bytes_per_ms=bytes_per_ms,
            heard=tuple(found.phrase for found in heard),
            spans=tuple((max(found.start_ms - begin, 0.0), found.end_ms - begin) for found in heard),
            idle=idle,
        )
        item = Item(item_id, "message", role="user", parts=[part])
        previous = owner.conversation.insert(item, None)
        self._turns += 1
        owner.emit("input_audio_buffer.committed", {"previous_item_id": previous, "item_id": item.id})
        owner.item_added(item, previous)
        owner.item_done(item, previous)
        if owner.settings.transcription is not None:
            point = f"{owner.name}/turn{self._turns}/transcription/delay"
            delay = owner.ports.choices.delay(point, 50, 400, 4000)
            events = self._transcription(item, part, str(owner.settings.transcription.get("model") or "whisper-1"))
            owner.later(delay, lambda: self._transcribe(events))

    def _transcription(self, item: Item, part: Part, model: str) -> Iterator[Event]:
        """The events of a transcription, in the order in which they are to be sent."""
        failure, self.failure = self.failure, None
        if failure is not None:
            yield transcription_failed(item, failure)
            return
        part.transcript = transcription_of(part)
        wanted = LOGPROBS in self._owner.settings.include
        yield from transcription_events(item, part, self._model(model), logprobs=wanted)

    def _model(self, name: str) -> Model:
        models = self._catalogue.models
        # The name of a deployment stands for a model of no particular kind.
        return models[name] if name in models else replace(models["gpt-4o-transcribe"], name=name)

    def _transcribe(self, events: Iterator[Event]) -> None:
        event = next(events, None)
        if event is None:
            return
        owner = self._owner
        event_type, fields = event
        owner.emit(event_type, {**fields, **owner.padding()} if "delta" in fields else fields)
        if event_type.endswith((".delta", ".segment")):
            owner.later(WORD_GAP, lambda: self._transcribe(events))
