"""The two dialects of OpenAI Realtime: what differs between `beta` and `ga` is here and nowhere else.

Audio goes through the gateway as it is, so that no sample is ever converted: G.711 mu-law, 8000 Hz, for a telephone,
and 16-bit PCM, 24 kHz, for a browser. Over WebRTC the two ends agree on a codec, and the session says nothing of it.
Source: OpenAI docs, Realtime guide and "Beta to GA migration".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from reference_impl.azure import upstream_for
from reference_impl.config import Config
from reference_impl.upstream import Upstream

LEGACY_MODELS = "gpt-4o*-realtime-preview*"  # the only models that a beta upstream serves and GA does not
TURN_DETECTION = {"type": "server_vad", "create_response": True, "interrupt_response": True}


PHONE, BROWSER, WEBRTC = "phone", "browser", "webrtc"  # who is at the other end of the gateway


class Dialect:
    """How to speak to one generation of the API. Subclasses say what is different."""

    name: str
    audio_delta: str  # event types
    audio_done: str
    transcript_delta: str
    transcript_done: str
    formats: Mapping[str, Any]  # of audio, by who is at the other end

    def __init__(self, config: Config, other_end: str = PHONE, upstream: Upstream | None = None) -> None:
        """`upstream` is where it is spoken; what the configuration says if that is left out."""
        self.config = config
        self.upstream = upstream or upstream_for(config)
        self.format = self.formats.get(other_end)

    def url(self) -> str:
        """The WebSocket address of a session."""
        return self.upstream.url()

    def headers(self) -> dict[str, str]:
        """The headers of the upgrade."""
        return self.upstream.auth()

    def session(self, tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The `session` of `session.update`."""
        raise NotImplementedError

    def turn_detection(self, session: dict[str, Any]) -> dict[str, Any]:
        """The turn detection in force, out of the `session` of `session.updated`."""
        raise NotImplementedError

    def session_update(self, tools: Sequence[dict[str, Any]]) -> str:
        """The `session.update` event."""
        return json.dumps({"type": "session.update", "event_id": "session", "session": self.session(tools)})


class Ga(Dialect):
    """The API as it is: no `OpenAI-Beta` header, a session with a `type`, audio settings in `audio`."""

    name = "ga"
    audio_delta = "response.output_audio.delta"
    audio_done = "response.output_audio.done"
    transcript_delta = "response.output_audio_transcript.delta"
    transcript_done = "response.output_audio_transcript.done"
    formats: Mapping[str, Any] = {PHONE: {"type": "audio/pcmu"}, BROWSER: {"type": "audio/pcm", "rate": 24000}}

    def session(self, tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """See Dialect."""
        audio_format = {} if self.format is None else {"format": self.format}
        return {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": self.config.openai_instructions,
            "audio": {
                "input": {
                    **audio_format,
                    "transcription": {"model": self.upstream.transcription},
                    "turn_detection": TURN_DETECTION,
                },
                "output": {**audio_format, "voice": self.config.openai_voice},
            },
            "tools": list(tools),
            "tool_choice": "auto",
        }

    def turn_detection(self, session: dict[str, Any]) -> dict[str, Any]:
        """See Dialect."""
        return session.get("audio", {}).get("input", {}).get("turn_detection") or {}


class Beta(Dialect):
    """The API as it was: the header `OpenAI-Beta: realtime=v1` and a flat session."""

    name = "beta"
    audio_delta = "response.audio.delta"
    audio_done = "response.audio.done"
    transcript_delta = "response.audio_transcript.delta"
    transcript_done = "response.audio_transcript.done"
    formats: Mapping[str, Any] = {PHONE: "g711_ulaw", BROWSER: "pcm16"}

    def headers(self) -> dict[str, str]:
        """See Dialect."""
        return {**super().headers(), **self.upstream.beta_headers}

    def session(self, tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """See Dialect."""
        return {
            "modalities": ["text", "audio"],
            "instructions": self.config.openai_instructions,
            "voice": self.config.openai_voice,
            "input_audio_format": self.format,
            "output_audio_format": self.format,
            "input_audio_transcription": {"model": "whisper-1"},
            "turn_detection": TURN_DETECTION,
            "tools": list(tools),
            "tool_choice": "auto",
        }

    def turn_detection(self, session: dict[str, Any]) -> dict[str, Any]:
        """See Dialect."""
        return session.get("turn_detection") or {}


def dialect_for(config: Config, other_end: str = PHONE, upstream: Upstream | None = None) -> Dialect:
    """The dialect that the configuration asks for; with `auto`, what the model speaks. Azure's addresses decide it."""
    upstream = upstream or upstream_for(config)
    legacy = fnmatchcase(config.openai_model, LEGACY_MODELS)
    beta = config.openai_api == "beta" or (config.openai_api == "auto" and legacy)
    if (known := upstream.beta()) is not None:
        beta = known
    return Beta(config, other_end, upstream) if beta else Ga(config, other_end, upstream)
