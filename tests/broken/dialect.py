"""Faults in what the gateway asks OpenAI for: the upgrade request, the dialect, the shape of the session."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from broken import bridge, gateway
from reference_impl.bridge import Bridge, Frame, UpstreamRefused
from reference_impl.channel import JsonChannel
from reference_impl.dialects import Beta, Dialect, Ga
from reference_impl.gateway import Gateway


class BetaToGa(Gateway):
    """A GA model is asked for with `OpenAI-Beta: realtime=v1` and a flat session without `session.type`.

    Seen in openclaw#80196, releases 2026.4.15 to 2026.5.7. OpenAI closes the connection with 4000: no caller ever
    hears the assistant.
    """

    def dialect_for(self) -> Dialect:
        return Beta(self.config)


class GaToPreview(Gateway):
    """Every model is spoken to in GA, the preview models too, which are served in beta only.

    What a gateway does that was migrated without a thought for accounts that still ran a preview model in spring 2026.
    """

    def dialect_for(self) -> Dialect:
        return Ga(self.config)


class _Untyped(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        session = super().session(tools)
        del session["type"]
        return session


class NoSessionType(Gateway):
    """A GA session without `session.type`: the header was migrated, the session was not.

    The second half of openclaw#80196. OpenAI answers missing_required_parameter to every session.update.
    """

    def dialect_for(self) -> Dialect:
        return _Untyped(self.config)


class _WithTemperature(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        return {**super().session(tools), "temperature": 0.8}


class BetaParameterInGa(Gateway):
    """`temperature` is kept from beta in a GA session, which does not know it.

    Seen in openclaw 2026.4.15 to 2026.5.7 beside the missing type. OpenAI answers unknown_parameter.
    """

    def dialect_for(self) -> Dialect:
        return _WithTemperature(self.config)


class _TypedBeta(Beta):
    def session(self, tools: Any) -> dict[str, Any]:
        return {**super().session(tools), "type": "realtime"}


class TypeInBeta(Gateway):
    """A beta session with the `type` of GA: one session builder for both dialects.

    The opposite of openclaw#80196, as its fix does where Azure's preview endpoints are spoken to.
    """

    def dialect_for(self) -> Dialect:
        return _TypedBeta(self.config)


class _OldModel(Ga):
    def url(self) -> str:
        base = "ws" + self.config.openai_base_url.removeprefix("http")
        return f"{base}/realtime?{urlencode({'model': 'gpt-realtime'})}"


class ModelHardCoded(Gateway):
    """The model in the URL is the one that the example had, whatever is configured.

    Copied from the vendors' samples, where the model stands in the URL as text. Callers get, and the operator pays,
    another model than was chosen.
    """

    def dialect_for(self) -> Dialect:
        return _OldModel(self.config)


class _BetaEvents(Ga):
    audio_delta = "response.audio.delta"
    audio_done = "response.audio.done"


class BetaEventsInGa(Gateway):
    """A GA session whose audio is awaited under its beta name, `response.audio.delta`.

    The most frequent leftover of the migration: session and header are right, and callers hear nothing at all.
    """

    def dialect_for(self) -> Dialect:
        return _BetaEvents(self.config)


class _PcmIn(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        session = super().session(tools)
        session["audio"]["input"]["format"] = {"type": "audio/pcm", "rate": 24000}
        return session


class PcmDeclared(Gateway):
    """The caller's audio is declared as 24 kHz PCM and sent as Twilio's mu-law.

    The default format of the API, left standing in bridges made for browsers. The model hears a sixth of a second of
    noise for every second of speech.
    """

    def dialect_for(self) -> Dialect:
        return _PcmIn(self.config)


class _PcmOut(Ga):
    def session(self, tools: Any) -> dict[str, Any]:
        session = super().session(tools)
        session["audio"]["output"]["format"] = {"type": "audio/pcm", "rate": 24000}
        return session


class PcmPassedOn(Gateway):
    """The model's 24 kHz PCM is passed on to Twilio, which plays it as mu-law.

    The other half of the same mistake: callers hear loud noise for six times as long as the sentence is.
    """

    def dialect_for(self) -> Dialect:
        return _PcmOut(self.config)


class GreetsTooEarly(Bridge):
    """The greeting is asked for as soon as the socket is open, before the session is set up.

    Seen in openclaw 2026.4.15, where ready means connected. The greeting comes in the vendor's default format, 24 kHz
    PCM, and callers hear it as noise.
    """

    _greeted = False

    async def _await_event(self, channel: JsonChannel, kind: str) -> Frame:
        event = await super()._await_event(channel, kind)
        if kind == "session.created":
            await self.greet()
        return event

    async def greet(self) -> None:
        if not self._greeted:
            self._greeted = True
            await super().greet()


class CarriesOnUnconfigured(Bridge):
    """A refused `session.update` is logged, and the call goes on in the session that the vendor makes by default.

    Seen in openclaw 2026.4.15: the log has one line, and the caller hears noise from a session in another format.
    """

    async def _await_event(self, channel: JsonChannel, kind: str) -> Frame:
        try:
            return await super()._await_event(channel, kind)
        except UpstreamRefused:
            if kind == "session.created" or not channel.up:
                raise
            return {}


class TruncatesWithoutIndex(Bridge):
    """`conversation.item.truncate` lacks `content_index`, which is required.

    A field that looks optional since it is always 0. OpenAI refuses the event, and the model goes on believing that the
    caller heard everything.
    """

    async def to_openai(self, event: str) -> None:
        if "conversation.item.truncate" in event:
            event = event.replace('"content_index": 0, ', "")
        await super().to_openai(event)


beta_to_ga = gateway(BetaToGa)
ga_to_preview = gateway(GaToPreview)
no_session_type = gateway(NoSessionType)
beta_parameter_in_ga = gateway(BetaParameterInGa)
type_in_beta = gateway(TypeInBeta)
model_hard_coded = gateway(ModelHardCoded)
beta_events_in_ga = gateway(BetaEventsInGa)
pcm_declared = gateway(PcmDeclared)
pcm_passed_on = gateway(PcmPassedOn)
greets_too_early = bridge(GreetsTooEarly)
carries_on_unconfigured = bridge(CarriesOnUnconfigured)
truncates_without_index = bridge(TruncatesWithoutIndex)
