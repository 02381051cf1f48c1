"""A translation session: speech in one language comes in, the same in another language goes out while it comes.

There is no conversation, no item and no response. The model hears the sound in frames of 200 ms (OpenAI API reference:
translation client and server events). What it says is speech surrogate as well: for each phrase that is heard, another
one stands for its translation, see `translation_of`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fakes.audio import PHRASES, UNKNOWN, Listener, Phrase, phrase_for_text, speak
from fakes.knobs import Knobs
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.connected import State
from fakes.openai.dialects import defaults
from fakes.openai.errors import VendorError, from_violation, listed
from fakes.openai.frames import Sink
from fakes.openai.items import decode_audio
from fakes.openai.links import Event, Link
from fakes.openai.protocol import check
from fakes.ports import Ports

RATE = 24_000
"""Samples per second of the sound in both directions, which is s16le and mono."""
FRAME_MS = 200
FRAME_BYTES = FRAME_MS * RATE * 2 // 1000
PACE = 0.05
"""Seconds from one piece of a translation to the next: faster than it is heard."""


def translation_of(name: str, language: str) -> Phrase:
    """The phrase that stands for what the phrase `name` is in `language`; the same one in every run."""
    return phrase_for_text(f"{language} {PHRASES[name].text}")


def translation_session(given: Mapping[str, Any], session_id: str, model: str | None, expires_at: int) -> Event:
    """The session object; the vendor fills in what `given`, its settings, leave out."""
    audio = given.get("audio") or {}
    heard = {"transcription": None, "noise_reduction": None, **(audio.get("input") or {})}
    spoken = {"language": "en", **(audio.get("output") or {})}
    return {
        "id": session_id,
        "type": "translation",
        "expires_at": expires_at,
        "model": model,
        "audio": {"input": heard, "output": spoken},
    }


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is sent at once: some words and some sound; `elapsed_ms` is how much had been heard by then."""

    words: str
    sound: bytes
    elapsed_ms: int


class TranslationSession(Link):
    """One translation session. `preset`: the settings of the client secret that it was opened with."""

    revision = "translation"

    def __init__(
        self,
        ports: Ports,
        sink: Sink,
        *,
        ordinal: int,
        model: Model,
        minutes: int,
        catalogue: Catalogue,
        knobs: Knobs,
        preset: Mapping[str, Any] | None = None,
        client_party: str = "gateway",
        party: str = "openai",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            ports,
            sink,
            ordinal=ordinal,
            name=f"{party}/session{ordinal}",
            client_party=client_party,
            party=party,
            on_change=on_change,
        )
        self.id = self.new_id("sess")
        expires_at = int(ports.clock.wall()) + 60 * minutes
        self.wire = translation_session(preset or {}, self.id, model.name, expires_at)
        self._minutes = minutes
        self._catalogue = catalogue
        self._knobs = knobs
        self._listener = Listener("pcm16", RATE)
        self._rest = b""
        self._frames = 0
        self._translated = 0
        self._pieces: list[_Piece] = []
        self._speaking = False
        self._closing = False
        # Deltas are appended to each other as they are: what is not the first one brings its own space.
        self._gaps = {"heard": "", "said": ""}
        self._handlers: dict[str, Callable[[Event], None]] = {
            "session.update": self._update,
            "session.input_audio_buffer.append": self._append,
            "session.close": self._close,
        }

    @property
    def heard(self) -> list[str]:
        """The names of the phrases that were heard so far."""
        return [heard.phrase for heard in self._listener.heard]

    # -- life

    def start(self, created_delay_ms: int | None = None) -> None:
        """Begin: `session.created` follows after a moment. `created_delay_ms` fixes how long that is."""
        delay = self.ports.choices.delay(f"{self.name}/created/delay", 0, 30, 1500)
        self.later(self._minutes * 60, self._expire)
        self.later(delay if created_delay_ms is None else created_delay_ms / 1000, self._created)

    def _created(self) -> None:
        self.open()
        self.emit("session.created", {"session": self.wire})
        self.release()

    def _expire(self) -> None:
        error = VendorError("session_expired", minutes=self._minutes)
        self.emit("error", {"error": error.event(None)})
        self.close(error.text.close, error.message)

    def handle(self, event: Event) -> None:
        """See `Link.handle`."""
        violation = check(self.revision, "client", event)
        if violation is not None:
            known = defaults()["events"]["ga"]
            if violation.kind == "unknown_event" and violation.got in known:
                raise VendorError("not_in_this_session", got=violation.got, kind="translation")
            raise from_violation(violation, known)
        if self._closing:
            raise VendorError("translation_closing")
        self._handlers[event["type"]](event)

    # -- client events

    def _update(self, event: Event) -> None:
        given = event["session"].get("audio") or {}
        heard, spoken = given.get("input") or {}, given.get("output") or {}
        transcription = heard.get("transcription")
        if transcription is not None:
            names = [model.name for model in self._catalogue.models.values() if model.kind == "transcription"]
            if transcription["model"] not in names:
                param = "session.audio.input.transcription.model"
                raise VendorError("invalid_value", param=param, got=transcription["model"], options=listed(names))
        audio = self.wire["audio"]
        merged = {"input": {**audio["input"], **heard}, "output": {**audio["output"], **spoken}}
        self.wire = {**self.wire, "audio": merged}
        self.emit("session.updated", {"session": self.wire})

    def _append(self, event: Event) -> None:
        data = self._rest + decode_audio(event["audio"], "audio")
        whole = len(data) - len(data) % FRAME_BYTES
        self._rest = data[whole:]
        for start in range(0, whole, FRAME_BYTES):
            self._frames += 1
            if self._listener.feed(data[start : start + FRAME_BYTES]):
                self._translate()

    def _close(self, event: Event) -> None:
        """Translate what has come so far, then end."""
        self._closing = True
        if self._rest:
            self._frames += 1
            self._listener.feed(self._rest + bytes(FRAME_BYTES - len(self._rest)))
            self._rest = b""
        self._listener.flush()
        self._translate()
        if not self._speaking:
            self._finish()

    def _finish(self) -> None:
        self.emit("session.closed", {})
        if self._knobs["openai.translation_closes"]:
            self.close(1000)

    # -- the translation

    @property
    def _elapsed_ms(self) -> int:
        return self._frames * FRAME_MS

    def _stamped(self, fields: Event, elapsed_ms: int) -> Event:
        return {**fields, "elapsed_ms": elapsed_ms} if self._knobs["openai.translation_elapsed_ms"] else fields

    def _translate(self) -> None:
        """Say what the phrases are that have been heard since last time."""
        heard = self._listener.heard[self._translated :]
        self._translated += len(heard)
        names = [found.phrase for found in heard if found.phrase != UNKNOWN]
        for name in names:
            if self.wire["audio"]["input"]["transcription"] is not None:
                for word in self._words("heard", PHRASES[name].text):
                    self.emit("session.input_transcript.delta", self._stamped({"delta": word}, self._elapsed_ms))
            self._pieces += self._said(translation_of(name, str(self.wire["audio"]["output"]["language"])))
        if self._pieces and not self._speaking:
            self._speaking = True
            point = f"{self.name}/translation{self._translated}/delay"
            self.later(self.ports.choices.delay(point, 100, 300, 3000), self._speak)

    def _said(self, phrase: Phrase) -> Iterator[_Piece]:
        """A phrase in pieces of 200 ms, the words spread over them."""
        sound = speak(phrase.name, "pcm16", RATE)
        count = -(-len(sound) // FRAME_BYTES)
        words = self._words("said", phrase.text)
        for index in range(count):
            first, last = len(words) * index // count, len(words) * (index + 1) // count
            part = sound[index * FRAME_BYTES : (index + 1) * FRAME_BYTES]
            yield _Piece("".join(words[first:last]), part, self._elapsed_ms)

    def _speak(self) -> None:
        piece = self._pieces.pop(0)
        if piece.words:
            self.emit("session.output_transcript.delta", self._stamped({"delta": piece.words}, piece.elapsed_ms))
        delta = {
            "delta": base64.b64encode(piece.sound).decode(),
            "sample_rate": RATE,
            "channels": 1,
            "format": "pcm16",
        }
        self.emit("session.output_audio.delta", self._stamped(delta, piece.elapsed_ms))
        if self._pieces:
            self.later(PACE, self._speak)
            return
        self._speaking = False
        if self._closing and self.state is State.OPEN:
            self._finish()

    def _words(self, transcript: str, text: str) -> list[str]:
        words = []
        for word in text.split(" "):
            words.append(self._gaps[transcript] + word)
            self._gaps[transcript] = " "
        return words
