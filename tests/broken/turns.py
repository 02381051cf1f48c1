"""Faults in whose turn it is: responses, barge-in, marks, tools, digits."""

from __future__ import annotations

import asyncio
from typing import Any

from broken import bridge
from reference_impl.bridge import Bridge, Farewell, Frame, Handlers
from reference_impl.channel import JsonChannel
from reference_impl.playback import Item
from reference_impl.tools import TOOLS, call_tool


class CreatesWhileActive(Bridge):
    """`response.create` is sent without a look at whether a response is in progress.

    Seen wherever a tool's output is followed by `response.create` at once. OpenAI refuses it
    (conversation_already_has_active_response), and whether the caller gets an answer is luck.
    """

    async def request_response(self, response: dict[str, Any] | None = None) -> None:
        active, self._active, self._creating = self._active, "", False
        await super().request_response(response)
        self._active = active


class AnswersTwice(Bridge):
    """`response.create` is sent when the caller falls silent, though the server's turn detection does that itself.

    From samples that were written for sessions without turn detection. Two answers race for every question.
    """

    async def _read(self, channel: JsonChannel, key: str, handlers: Handlers, stream_sid: str | None) -> None:
        async def on_speech_stopped(frame: Frame) -> None:
            await self.request_response()

        await super()._read(
            channel, key, {**handlers, "input_audio_buffer.speech_stopped": on_speech_stopped}, stream_sid
        )


class NeverClears(Bridge):
    """Barge-in stops the model, and nobody tells Twilio to stop playing.

    Seen in cloudflare/agents#2261 and elizaOS#19407. The assistant talks over the caller until what was buffered, up to
    a minute, has been played.
    """

    async def clear_playback(self) -> None:
        self.playback.cleared(self._now())


class ClearsOnlyWhileActive(Bridge):
    """`clear` is sent only while a response is in progress, not when Twilio alone is still playing.

    Seen in openai-agents-js#1184 and #1343. Speech is made faster than it is played, so most interruptions come too
    late for it, and the assistant cannot be stopped.
    """

    async def on_speech_started(self, event: Frame) -> None:
        if self._active:
            await super().on_speech_started(event)


class ClearsLate(Bridge):
    """`clear` is sent 0.6 s after the caller began to speak.

    A debounce against coughs, put in the wrong place. Every interruption is talked over for a moment.
    """

    async def clear_playback(self) -> None:
        await asyncio.sleep(0.6)
        await super().clear_playback()


class PlaysStaleDeltas(Bridge):
    """Audio of the interrupted response that arrives after `clear` is played all the same.

    Seen in twilio-agent-connect-python#118. The sentence that was cut off comes back in the middle of the caller's.
    """

    async def on_speech_started(self, event: Frame) -> None:
        await super().on_speech_started(event)
        self._cut.clear()


class TruncatesAtSent(Bridge):
    """The interrupted item is truncated at what was sent of it, not at what was played.

    Seen in twilio-agent-connect-python#118. The model believes that the caller has heard the whole answer, and refers
    to things that were never heard.
    """

    def played_ms(self, item: Item) -> int:
        return item.length_ms


class NeverTruncates(Bridge):
    """The interrupted item is not truncated at all.

    The simplest way to do barge-in, and the same consequence: the model takes everything for heard.
    """

    async def on_speech_started(self, event: Frame) -> None:
        self.playback.items.clear()
        await super().on_speech_started(event)


class MarksOfClearCount(Bridge):
    """The marks that `clear` gives back at once are taken for audio that was heard.

    Seen in vellum-assistant#38316. A caller who speaks into the goodbye, because there is one more question, is hung up
    on in that moment: the mark behind the goodbye has come back.
    """

    async def on_mark(self, frame: Frame) -> None:
        await super().on_mark(frame)
        if self.playback.idle and self._farewell is Farewell.SPOKEN:
            self.hang_up("end_call")

    def _call_goes_on(self) -> None:
        """The goodbye is not taken back: all of it counts as heard."""


class ClearsInputOnBargeIn(Bridge):
    """On barge-in the input buffer is cleared as well as the playback.

    A misreading of `input_audio_buffer.clear` as "clear everything". The first words of every interruption are lost.
    """

    async def on_speech_started(self, event: Frame) -> None:
        playing = not self.playback.idle
        await super().on_speech_started(event)
        if playing:
            await self.to_openai('{"type":"input_audio_buffer.clear"}')


class ForgetsToGoOn(Bridge):
    """A tool's output is added to the conversation, and no response is asked for.

    The field's most frequent question about function calling: the assistant says "one moment" and is silent for ever.
    """

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        _, output = call_tool(name, arguments)
        await self.create_item({"type": "function_call_output", "call_id": call_id, "output": output})


class RunsToolsTwice(Bridge):
    """A function call is run when its item is done, and again out of `response.done`, which lists it once more.

    Seen where both events are handled. Tables are booked twice.
    """

    async def on_response_done(self, event: Frame) -> None:
        for item in event["response"].get("output", ()):
            self._answered.discard(item.get("call_id"))
            await self.on_item_done({"item": item})
        await super().on_response_done(event)


class IgnoresUnknownTools(Bridge):
    """A call of an unknown function, or with arguments that are no JSON, is logged and not answered.

    An exception in the handler, caught too far up. The model waits for its answer, and the caller for the model.
    """

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        if name in TOOLS and call_tool(name, arguments)[0]:
            await super().run_tool(call_id, name, arguments)


class IgnoresEndCall(Bridge):
    """The model's `end_call` is answered, and the call is not ended.

    The tool was declared and never wired up. After the goodbye both sides wait until the caller hangs up.
    """

    async def run_tool(self, call_id: str, name: str, arguments: str) -> None:
        await super().run_tool(call_id, name, arguments)
        self._farewell = Farewell.NONE


class CutsGoodbye(Bridge):
    """The hang-up that the model asked for comes when the goodbye was sent, not when it was heard.

    Seen in every first version of an end-of-call tool: the caller hears "Good" and a dead line.
    """

    async def on_response_done(self, event: Frame) -> None:
        if self._farewell is Farewell.SPEAKING:
            self.hang_up("end_call")
        else:
            await super().on_response_done(event)


class IgnoresDigits(Bridge):
    """Pressed keys are dropped.

    Speech bridges mostly know `media` and `stop` only. "Press one" leads nowhere.
    """

    async def on_dtmf(self, frame: Frame) -> None:
        pass


creates_while_active = bridge(CreatesWhileActive)
answers_twice = bridge(AnswersTwice)
never_clears = bridge(NeverClears)
clears_only_while_active = bridge(ClearsOnlyWhileActive)
clears_late = bridge(ClearsLate)
plays_stale_deltas = bridge(PlaysStaleDeltas)
truncates_at_sent = bridge(TruncatesAtSent)
never_truncates = bridge(NeverTruncates)
marks_of_clear_count = bridge(MarksOfClearCount)
clears_input_on_barge_in = bridge(ClearsInputOnBargeIn)
forgets_to_go_on = bridge(ForgetsToGoOn)
runs_tools_twice = bridge(RunsToolsTwice)
ignores_unknown_tools = bridge(IgnoresUnknownTools)
ignores_end_call = bridge(IgnoresEndCall)
cuts_goodbye = bridge(CutsGoodbye)
ignores_digits = bridge(IgnoresDigits)
