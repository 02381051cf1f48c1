"""Faults on the media stream: what is sent to it, how its audio is handled, and how its end is taken."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from binascii import a2b_base64
from typing import Any

from broken import bridge, entry, gateway
from reference_impl.bridge import Bridge, Frame, State
from reference_impl.calls import Call
from reference_impl.channel import JsonChannel
from reference_impl.gateway import Gateway, StreamRefused

WAV = b"RIFF\xff\xff\xff\xffWAVEfmt \x12\x00\x00\x00\x07\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00"


class SendsWavHeader(Bridge):
    """Each piece of audio goes to Twilio with the header of a WAV file before it.

    From gateways that let a converter write files. Twilio refuses nothing: callers hear a click before every word.
    """

    async def on_audio_delta(self, event: Frame) -> None:
        await super().on_audio_delta({**event, "delta": b64encode(WAV + b64decode(event["delta"])).decode()})


class ExtraField(Bridge):
    """Marks are sent with a field that Twilio does not know.

    Seen where one message type serves both directions. Twilio drops such messages with a warning that nobody reads, and
    the gateway waits for marks that never come back.
    """

    async def send_mark(self) -> None:
        name = self.playback.next_mark()
        mark = f'"mark":{{"name":"{name}","track":"outbound"}}'
        await self.stream.send(f'{{"event":"mark","streamSid":"{self.stream_sid}",{mark}}}')


class CallSidForStreamSid(Bridge):
    """Media is sent with the CallSid where the StreamSid belongs.

    Both are in `start`, and both are 34 characters long. Twilio drops every message, and the caller hears nothing.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._media = self._media.replace(self.stream_sid, self.call.sid)


class DropsOddBytes(Bridge):
    """The model's audio is cut into frames of 20 ms, and what is left over of each delta is thrown away.

    Seen in paced senders. As long as deltas are whole frames nobody notices; then speech gets holes.
    """

    async def on_audio_delta(self, event: Frame) -> None:
        audio = a2b_base64(event["delta"])
        whole = audio[: len(audio) - len(audio) % 160]
        await super().on_audio_delta({**event, "delta": b64encode(whole).decode()})


class DropsTheTail(Bridge):
    """The last 100 ms of every utterance stay in a converter that nobody flushes.

    Seen in pipecat before 1.14 (#4993, #5386), whose stream resampler is asked for what is in it by the next sound
    only. Each sentence ends a syllable early, which people put down to the line.
    """

    tail = b""
    speaking = ""

    async def on_audio_delta(self, event: Frame) -> None:
        if event["item_id"] != self.speaking:
            self.speaking, self.tail = event["item_id"], b""
        audio = self.tail + a2b_base64(event["delta"])
        sent, self.tail = audio[:-800], audio[-800:]
        if sent:
            await super().on_audio_delta({**event, "delta": b64encode(sent).decode()})


class DropsEarlyAudio(Bridge):
    """What the caller says before the session is ready is thrown away.

    The usual `if not ready: return`. "Hello?" is not heard, and the first sentence loses its beginning.
    """

    def keep_early(self, payload: str) -> None:
        pass


class BatchesAudio(Bridge):
    """The caller's audio is sent in batches of 400 ms, to save messages.

    Costs nearly half a second at every turn, which people take for a slow assistant.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._batch = bytearray()

    async def on_media(self, frame: Frame) -> None:
        if self.state is not State.READY:
            await super().on_media(frame)
            return
        self._batch += a2b_base64(frame["media"]["payload"], strict_mode=True)
        if len(self._batch) >= 3200:
            audio = b64encode(self._batch).decode()
            await self.to_openai(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')
            self._batch.clear()


class SendsAfterStop(Bridge):
    """`stop` is answered by waiting until the answer in progress has been sent.

    Seen in pipecat#1511 and #1995 ("Cannot call send once a close message has been sent"): the sender does not know
    that the stream has ended, and the clean-up of the call never comes to its end.
    """

    async def on_twilio_stop(self, frame: Frame) -> None:
        await asyncio.sleep(2)
        await super().on_twilio_stop(frame)


class HangsUpAfterStop(Bridge):
    """Every `stop` is taken for the end of the call, and the call is hung up over REST to be sure.

    Seen in vocode-core#276. `stop` also comes when a call is transferred: it is cut off in that moment.
    """

    async def on_twilio_stop(self, frame: Frame) -> None:
        await self.services.twilio.end_call(self.call.sid)
        await super().on_twilio_stop(frame)


class WaitsForCompleted(Bridge):
    """Only the `completed` callback ends a call; `stop` and the closing of the stream are ignored.

    Seen in openclaw PR #18435 and vellum-assistant#6044. Callbacks can be lost or late, and then sessions stay open.
    """

    async def on_twilio_stop(self, frame: Frame) -> None:
        self.stream.up = False

    def on_stream_closed(self) -> None:
        pass


class WaitsForStop(Bridge):
    """Only `stop` ends a call; a stream that just goes away does not.

    Networks fail without a goodbye: the session stays open, and the call is on the books for ever.
    """

    def on_stream_closed(self) -> None:
        pass


class MixesCalls(Gateway):
    """The stream to talk to is kept in one place for all calls: the last one that came.

    A module-level `streamSid`, as in the vendors' samples. With two calls at a time one caller hears both assistants
    and the other hears nobody.
    """

    async def carry(self, call: Call, stream_sid: str, channel: JsonChannel) -> None:
        for other in self.bridges.values():
            other._media = other._media.replace(other.stream_sid, stream_sid)
            other.stream = channel
        await super().carry(call, stream_sid, channel)


class _Noticing(JsonChannel):
    """Knows whether it ended without a `stop`."""

    __slots__ = ("lost", "stopped")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lost = self.stopped = False

    async def receive(self) -> Frame | None:
        frame = await super().receive()
        self.stopped = self.stopped or (frame is not None and frame.get("event") == "stop")
        self.lost = frame is None and not self.stopped
        return frame


class StaysBusyAfterLoss(Gateway):
    """A stream that ends without `stop` leaves the gateway busy: the next caller is turned away.

    Seen in openclaw#65601, where Twilio closed with 1005. One bad connection takes the assistant off the air until
    somebody restarts it.
    """

    engaged = False

    async def carry(self, call: Call, stream_sid: str, channel: JsonChannel) -> None:
        await super().carry(call, stream_sid, channel)
        assert isinstance(channel, _Noticing)
        self.engaged = self.engaged or channel.lost

    def admit(self, start: Frame) -> Call:
        if self.engaged:
            raise StreamRefused("there is a call already")
        return super().admit(start)


sends_wav_header = bridge(SendsWavHeader)
extra_field = bridge(ExtraField)
call_sid_for_stream_sid = bridge(CallSidForStreamSid)
drops_odd_bytes = bridge(DropsOddBytes)
drops_the_tail = bridge(DropsTheTail)
drops_early_audio = bridge(DropsEarlyAudio)
batches_audio = bridge(BatchesAudio)
sends_after_stop = bridge(SendsAfterStop)
hangs_up_after_stop = bridge(HangsUpAfterStop)
waits_for_completed = bridge(WaitsForCompleted)
waits_for_stop = bridge(WaitsForStop)
mixes_calls = gateway(MixesCalls)
stays_busy_after_loss = entry(StaysBusyAfterLoss, gateway=StaysBusyAfterLoss, channel=_Noticing)
