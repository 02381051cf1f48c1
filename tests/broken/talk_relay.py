"""Faults in the relay: what a browser hears, what the model hears, how conversations begin and end."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from typing import Any

from aiohttp import web

from broken import Entry, entry, talk
from reference_impl.channel import HARD_LIMIT, JsonChannel
from reference_impl.conversation import Frame, UpstreamRefused
from reference_impl.problems import Problem, ours
from reference_impl.relay import Relay
from reference_impl.talk import MAX_FRAME, Talk, Tickets
from reference_impl.tools import TALK_TOOLS, call_tool


def relay(fault: type[Relay]) -> Entry:
    """The entry point of a fault in the relay."""
    return entry(fault, talk=type("BrokenTalk", (Talk,), {"relay_class": fault}))


def tickets(fault: type[Tickets]) -> Entry:
    """The entry point of a fault in who is let in."""
    return entry(fault, talk=type("BrokenTalk", (Talk,), {"tickets_class": fault}))


# -- a conversation


class MutesUntilBetaEvent(Relay):
    """The microphone is off while the assistant speaks, and on again at `response.audio.done`.

    Against echoes, and with the name that the event had in the beta. After the first answer the gateway is deaf.
    """

    muted = False

    async def on_audio_delta(self, event: Frame) -> None:
        self.muted = True
        await super().on_audio_delta(event)

    async def on_audio(self, frame: Frame) -> None:
        if not self.muted:
            await super().on_audio(frame)


class ReadyTooEarly(Relay):
    """The page is told to speak as soon as its own socket is open.

    Seen wherever the relay's `open` is taken for the session's. The first words go into a session that does not know
    yet what they are about.
    """

    async def run(self) -> str:
        await self.to_browser({"type": "ready", "model": self.config.openai_model, "voice": self.config.openai_voice})
        return await super().run()


class DropsPieces(Relay):
    """Every fifth piece of the microphone is dropped.

    A queue with a limit that drops what is new when it is full, and is always full. Words are garbled.
    """

    pieces = 0

    async def on_audio(self, frame: Frame) -> None:
        self.pieces += 1
        if self.pieces % 5:
            await super().on_audio(frame)


class LosesTheEnd(Relay):
    """Audio is passed on in pieces of at least 200 ms; what is left in the end is never sent.

    A buffer without a flush. The last syllable of every answer is missing.
    """

    kept = b""

    async def on_audio_delta(self, event: Frame) -> None:
        pcm = self.kept + b64decode(event["delta"])
        whole = len(pcm) // 9600 * 9600
        self.kept = pcm[whole:]
        if whole:
            await super().on_audio_delta({**event, "delta": b64encode(pcm[:whole]).decode()})


class CollectsFirst(Relay):
    """The microphone is collected for a second before it is passed on.

    To save messages. Every answer comes a second later.
    """

    waiting = b""

    async def on_audio(self, frame: Frame) -> None:
        self.waiting += b64decode(frame["audio"])
        if len(self.waiting) >= 48000:
            await super().on_audio({**frame, "audio": b64encode(self.waiting).decode()})
            self.waiting = b""


class TakesTextOnly(Relay):
    """A typed message is added to the conversation, and no response is asked for.

    As for a tool's output, the field's most frequent omission. The message appears in the page, and nothing follows.
    """

    async def say(self, text: str) -> None:
        await self.create_item({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})


class ShowsNothing(Relay):
    """No transcripts are passed on.

    The relay was written for audio. Nobody sees that they were misunderstood.
    """

    async def transcript(self, role: str, item_id: str, text: str, *, final: bool) -> None:
        pass


class ForgetsToGoOn(Relay):
    """A tool's output is added to the conversation, and no response is asked for.

    The same omission as on the phone. The person hears nothing of what the tool has found.
    """

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        _, output = call_tool(name, arguments, TALK_TOOLS)
        await self.create_item({"type": "function_call_output", "call_id": call_id, "output": output})


# -- interruptions


class NeverClears(Relay):
    """The person speaks, the model stops, and the page is told nothing.

    Seen in openclaw/openclaw#90749. The page plays what it has, up to the whole answer, over the person.
    """

    async def clear(self, item_id: str) -> None:
        pass


class PassesStaleAudio(Relay):
    """Audio of the response that was cut off is passed on when it comes late.

    Seen in twilio-agent-connect-python#118. Pieces of the old sentence are played before the new one.
    """

    async def on_audio_delta(self, event: Frame) -> None:
        self._cut.discard(event["response_id"])
        await super().on_audio_delta(event)

    async def stop_speaking(self) -> None:
        pass


class TruncatesAtSent(Relay):
    """The item is truncated at what was sent of it, whatever the page says that it has played.

    The gateway knows the one and has to be told the other. The model goes on as if everything had been heard.
    """

    async def on_interrupt(self, frame: Frame) -> None:
        spoken = self.items.get(frame["item"])
        if spoken is not None:
            frame = {**frame, "played_ms": spoken.length_ms - 1}
        await super().on_interrupt(frame)


class NeverTruncates(Relay):
    """The item that was cut off is not truncated.

    It works without. The model believes that it has said everything.
    """

    async def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        pass


class ClearsInput(Relay):
    """When the person interrupts, the input buffer is cleared as well as the playback.

    A misreading of `input_audio_buffer.clear`. The first words of every interruption are lost.
    """

    async def on_speech_started(self, event: Frame) -> None:
        active = self._active
        await super().on_speech_started(event)
        if active:
            await self.to_openai('{"type":"input_audio_buffer.clear"}')


# -- the end


class KeepsSession(Relay):
    """The person leaves, and the session stays open.

    Seen in Azure-Samples/aisearch-openai-rag-audio#31. The vendor goes on listening to nobody, for up to an hour.
    """

    async def close_upstream(self) -> None:
        pass


class WaitsForReturn(Relay):
    """A connection that ends without a close frame is given a minute to come back, with its session open.

    Kind to people in trains, and nothing was ever written that lets them come back. Each costs a minute of the session.
    """

    def finish(self, reason: str) -> None:
        if reason == "browser gone" and self.browser.close_code is None:
            self._later(60, super().finish, reason)
        else:
            super().finish(reason)


class NeverLooks(Talk):
    """Neither pings nor a limit on silence tell that a browser is gone.

    TCP is trusted to say so, and does not for hours. The session runs on and is billed.
    """

    class relay_class(Relay):  # noqa: N801
        def _watch(self) -> None:
            pass

    def socket(self) -> web.WebSocketResponse:
        return web.WebSocketResponse(compress=False, max_msg_size=HARD_LIMIT)


class OutlivesSession(Relay):
    """When the session ends, the browser's socket stays open.

    What comes of a reader task that simply returns. The page looks alive, and nobody listens.
    """

    async def on_upstream_closed(self, code: int | None, reason: str) -> None:
        self.log.error("upstream.closed", code=code)


class EndsWithoutAWord(Relay):
    """When the session ends, the socket is closed without a reason.

    Seen in pydantic/pydantic-ai#6704, where it cannot be told from a regular end. People look for the fault at home.
    """

    async def on_upstream_closed(self, code: int | None, reason: str) -> None:
        self.finish("upstream closed")

    async def close_browser(self) -> None:
        await self.browser.close()


class SilentWhenRefused(Relay):
    """When there is no session to be had, the gateway logs it, and the page goes on connecting.

    Seen in openclaw 2026.4.29. People wait until they give up.
    """

    async def on_refused(self, refused: UpstreamRefused) -> None:
        self.log.error("upstream.closed", reason=str(refused))


class HidesTheReason(Relay):
    """Whatever the vendor says, the person is told that the session could not be set up.

    Seen in openclaw/openclaw#83822 ("setup failed (403)"), and in its relay as "Realtime provider error.". Nobody
    can do anything about it.
    """

    async def on_refused(self, refused: UpstreamRefused) -> None:
        await super().on_refused(
            UpstreamRefused(str(refused), ours("realtime_unavailable", "Realtime session setup failed"))
        )


class RefusesAtTheDoor(Talk):
    """The session is opened first, and the browser's WebSocket is let in when there is one; if not, it is a plain 502.

    It spares a socket. But a page learns nothing of an upgrade that was refused: neither its status nor its body.
    """

    async def on_relay(self, request: web.Request) -> web.StreamResponse:
        self.relay_class = Relay
        before = self.relay(JsonChannel(web.WebSocketResponse(), "browser", self.log, max_frame=MAX_FRAME))
        try:
            channel = await before.open_session()
        except UpstreamRefused as refused:
            self.log.error("upstream.closed", reason=str(refused))
            await before.close_upstream()
            return web.Response(status=502)

        class Opened(Relay):
            async def open_session(self) -> JsonChannel:
                self.openai = channel
                return channel

        self.relay_class = Opened
        return await super().on_relay(request)


class GivesNoHints(Talk):
    """Errors come without a hint of what to do.

    The vendor's words are thought to be enough. The person at the page is not the one who has read the documentation.
    """

    def hint(self, problem: Problem) -> str | None:
        return None


class QuotesTheVendor(Talk):
    """The vendor's message is shown as it came.

    Whoever writes the error text of a service thinks of its owner as the reader. A part of the key stands in the page.
    """

    def describe(self, problem: Problem) -> dict[str, Any]:
        return {**super().describe(problem), "message": problem.message}


class RemembersRefusals(Talk):
    """After one refusal every further conversation is refused as well, without asking the vendor.

    A circuit breaker without a way back. The vendor is well again, and the gateway has to be restarted.
    """

    remembered: UpstreamRefused | None = None

    def relay(self, browser: JsonChannel) -> Relay:
        everybody = self

        class Careful(Relay):
            async def open_session(self) -> JsonChannel:
                if everybody.remembered is not None:
                    raise everybody.remembered
                return await super().open_session()

            async def on_refused(self, refused: UpstreamRefused) -> None:
                everybody.remembered = refused
                await super().on_refused(refused)

        self.relay_class = Careful
        return super().relay(browser)


class LeavesRelaysOpen(Talk):
    """On a stop the conversations over the relay are not ended; they go down with the process.

    Only the phone was thought of. Browsers and vendor see a connection that breaks.
    """

    def close(self) -> set[asyncio.Task[Any]]:
        for task in self.relays:
            task.cancel()
        return set()


# -- who is let in


class GoodForEver(Tickets):
    """A ticket is good as often as it is used, as long as it is young enough.

    It is looked up and not taken out. Whoever reads the URL in a log talks at the owner's cost.
    """

    def redeem(self, ticket: str) -> bool:
        return self._expiries.get(ticket, 0.0) > self._now()


class NeverExpires(Tickets):
    """A ticket that was not used stays good for ever.

    Tickets were given a use and no life. Every session call leaves a key to the gateway behind.
    """

    def redeem(self, ticket: str) -> bool:
        return self._expiries.pop(ticket, None) is not None


class AnyTicket(Tickets):
    """Whoever knows the path of the relay is let in.

    The session call asks for the token, and the WebSocket was forgotten. Anybody talks at the owner's cost.
    """

    def redeem(self, ticket: str) -> bool:
        known = ticket in self._expiries
        return super().redeem(ticket) or not known


class AnyOrigin(Talk):
    """The relay does not look at `Origin`.

    CORS is thought to protect it, and does not: it is about requests, not about WebSockets. Any page can talk.
    """

    def allowed_origin(self, request: web.Request) -> bool:
        return request.path == "/talk/relay" or super().allowed_origin(request)


# -- more than one person


class PlaysToEverybody(Talk):
    """What the model says is sent to every browser.

    The list of clients is kept once for the process, as in samples that were made for one person. People hear the
    answers to questions that others have asked.
    """

    def relay(self, browser: JsonChannel) -> Relay:
        everybody = self

        class Choir(Relay):
            async def on_audio_delta(self, event: Frame) -> None:
                for one in everybody.relays.values():
                    await Relay.on_audio_delta(one, event)

        self.relay_class = Choir
        return super().relay(browser)


class OneForAll(Talk):
    """A frame that cannot be read ends every conversation of the gateway.

    One task group for all of them, in which an exception of one cancels the others. A single page with a bad frame
    silences everybody.
    """

    def relay(self, browser: JsonChannel) -> Relay:
        everybody = self

        class Strict(JsonChannel):
            def bad_frame(self, why: str) -> None:
                super().bad_frame(why)
                for one in everybody.relays.values():
                    one.finish("internal error")

        return super().relay(Strict(browser._ws, browser.name, browser.log, max_frame=MAX_FRAME))


class WaitsForTheSlowest(Talk):
    """Frames to browsers are sent one after the other, for all of them.

    One lock around the list of clients. A browser on a bad line holds up everybody.
    """

    lock: asyncio.Lock | None = None

    def relay(self, browser: JsonChannel) -> Relay:
        lock = self.lock = self.lock or asyncio.Lock()

        class Queued(JsonChannel):
            async def send(self, text: str) -> bool:
                async with lock:
                    return await super().send(text)

        return super().relay(Queued(browser._ws, browser.name, browser.log, max_frame=MAX_FRAME))


mutes_until_beta_event = relay(MutesUntilBetaEvent)
ready_too_early = relay(ReadyTooEarly)
drops_pieces = relay(DropsPieces)
loses_the_end = relay(LosesTheEnd)
collects_first = relay(CollectsFirst)
takes_text_only = relay(TakesTextOnly)
shows_nothing = relay(ShowsNothing)
relay_forgets_to_go_on = relay(ForgetsToGoOn)
relay_never_clears = relay(NeverClears)
passes_stale_audio = relay(PassesStaleAudio)
relay_truncates_at_sent = relay(TruncatesAtSent)
relay_never_truncates = relay(NeverTruncates)
relay_clears_input = relay(ClearsInput)
relay_keeps_session = relay(KeepsSession)
waits_for_return = relay(WaitsForReturn)
never_looks = talk(NeverLooks)
outlives_session = relay(OutlivesSession)
ends_without_a_word = relay(EndsWithoutAWord)
relay_silent_when_refused = relay(SilentWhenRefused)
hides_the_reason = relay(HidesTheReason)
refuses_at_the_door = talk(RefusesAtTheDoor)
gives_no_hints = talk(GivesNoHints)
quotes_the_vendor = talk(QuotesTheVendor)
remembers_refusals = talk(RemembersRefusals)
leaves_relays_open = talk(LeavesRelaysOpen)
ticket_good_for_ever = tickets(GoodForEver)
ticket_never_expires = tickets(NeverExpires)
any_ticket = tickets(AnyTicket)
relay_of_any_origin = talk(AnyOrigin)
plays_to_everybody = talk(PlaysToEverybody)
one_for_all = talk(OneForAll)
waits_for_the_slowest = talk(WaitsForTheSlowest)
