"""`fakes.twilio.stream` and `playback`: the messages of Media Streams, and the playout clock to the frame."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twilio.request_validator import RequestValidator
from twilio_world import ACCOUNT, STREAM, TOKEN, World

from fakes import audio
from fakes.twilio.boundary import Failure, StreamFailure
from fakes.twilio.playback import FRAME, SILENCE, Playback
from fakes.twilio.schema import event_fault
from fakes.twilio.stream import StreamState

FRAME_S = 0.02


def times(messages: list[tuple[float, dict[str, Any]]]) -> list[float]:
    return [at for at, _ in messages]


def names(world: World) -> list[str]:
    return [message["mark"]["name"] for _, message in world.events("mark")]


# ---------------------------------------------------------------------- what Twilio sends


def test_upgrade_request() -> None:
    world = World()
    world.streaming()
    at, opening = world.io.openings[0]
    assert opening.url == "wss://gw.example.test/media"
    headers = dict(opening.headers)
    assert headers["User-Agent"] == "Twilio.TmeWs/1.0"
    assert set(headers) == {"User-Agent", "X-Twilio-Signature"}
    assert RequestValidator(TOKEN).validate(opening.url, {}, headers["X-Twilio-Signature"])
    assert at == pytest.approx(0.04 + 0.06)
    kinds = [(m.source, m.kind) for m in world.recorded("twilio.stream")]
    assert kinds[:4] == [
        ("twilio", "upgrade"),
        ("gateway", "upgrade.accepted"),
        ("twilio", "connected"),
        ("twilio", "start"),
    ]


def test_connected_and_start() -> None:
    document = (
        '<Response><Connect><Stream url="wss://gw.example.test/media"><Parameter name="a" value="ä&quot;"/>'
        '<Parameter name="b" value="2"/></Stream></Connect></Response>'
    )
    world = World(replies={"/voice": document})
    call, stream = world.streaming()
    (first, connected), (second, start) = world.io.frames[0][::2], world.io.frames[1][::2]
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": ACCOUNT,
            "streamSid": stream.sid,
            "callSid": call.sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"a": 'ä"', "b": "2"},
        },
        "streamSid": stream.sid,
    }
    assert first == second == pytest.approx(0.11 + 0.11)


def test_media_every_20_ms() -> None:
    world = World()
    _, stream = world.streaming()
    world.run(2)
    media = world.events("media")
    started = stream.started_at or 0
    assert times(media)[:3] == pytest.approx([started + 0.001, started + 0.021, started + 0.041])
    assert len(media) == 100
    first = media[0][1]
    assert first == {
        "event": "media",
        "sequenceNumber": "2",
        "media": {"track": "inbound", "chunk": "1", "timestamp": "111", "payload": first["media"]["payload"]},
        "streamSid": stream.sid,
    }
    last = media[-1][1]
    assert (last["sequenceNumber"], last["media"]["chunk"], last["media"]["timestamp"]) == ("101", "100", "2091")
    assert len(first["media"]["payload"]) == 216


def test_the_caller_is_heard() -> None:
    world = World()
    world.streaming()
    world.run(0.5)
    world.caller.start_saying("what_time")
    world.run(5)
    listener = audio.Listener("pcmu", 8000)
    from base64 import b64decode

    for _, message in world.events("media"):
        listener.feed(b64decode(message["media"]["payload"]))
    assert [(heard.phrase, heard.complete) for heard in listener.heard] == [("what_time", True)]


def test_dtmf() -> None:
    world = World()
    _, stream = world.streaming()
    world.run(0.1)
    world.caller.press("5#")
    (_, first), (_, second) = world.events("dtmf")
    before = len(world.events("media"))
    assert first == {
        "event": "dtmf",
        "streamSid": stream.sid,
        "sequenceNumber": str(before + 2),
        "dtmf": {"track": "inbound_track", "digit": "5"},
    }
    assert second["dtmf"]["digit"] == "#"
    assert second["sequenceNumber"] == str(before + 3)


def test_one_sequence_for_all_messages() -> None:
    world = World()
    _, stream = world.streaming()
    world.run(0.5)
    world.caller.press("1")
    world.marks(stream, "a")
    world.run(0.1)
    world.caller.hang_up()
    world.run(1)
    numbers = [int(m["sequenceNumber"]) for _, _, m in world.io.frames if "sequenceNumber" in m]
    assert numbers == list(range(1, len(numbers) + 1))
    assert world.io.frames[-1][2]["event"] == "stop"


def test_all_messages_fit_their_schema() -> None:
    world = World()
    _, stream = world.streaming()
    world.caller.press("1")
    world.marks(stream, 'odd "name" \\ ü')
    world.run(0.1)
    world.caller.hang_up()
    world.run(1)
    sent = [m for m in world.recorded("twilio.stream") if m.source == "twilio" and m.body]
    assert {m.kind for m in sent} == {"connected", "start", "media", "dtmf", "mark", "stop"}
    assert [event_fault(m.body) for m in sent] == [None] * len(sent)
    assert all(m.invalid is None for m in sent)
    assert names(world) == ['odd "name" \\ ü']


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"connected","protocol":"Call"}',
        '{"event":"stop","sequenceNumber":5,"streamSid":"MZ1","stop":{"accountSid":"AC","callSid":"CA"}}',
        '{"event":"dtmf","streamSid":"MZ' + "0" * 32 + '","sequenceNumber":"5","dtmf":{"track":"x","digit":"10"}}',
        "{",
    ],
)
def test_schema_notices_what_twilio_would_not_send(text: str) -> None:
    assert event_fault(text)


def test_without_silence() -> None:
    world = World(audio=False)
    _, stream = world.streaming()
    world.run(3)
    assert world.events("media") == []
    assert world.clock.pending == 0
    world.caller.start_saying("yes")
    world.plays(stream, audio.speak("its_noon"))
    world.marks(stream, "end")
    world.run(5)
    assert len(world.events("media")) == len(audio.frames("yes"))
    assert [heard.phrase for heard in world.caller.heard] == ["its_noon"]
    assert names(world) == ["end"]
    assert world.clock.pending == 0


def test_silence_after_speech_only() -> None:
    world = World(audio=False)
    world.twilio.trailing_silence = 0.5
    world.streaming()
    world.run(3)
    assert world.events("media") == []
    world.caller.start_saying("yes")
    world.run(5)
    assert len(world.events("media")) == pytest.approx(len(audio.frames("yes")) + 25, abs=1)
    assert world.clock.pending == 0


# ---------------------------------------------------------------------- playout


@pytest.mark.parametrize("size", [160, 266, 1100, 8000, 15400, 24000])
def test_audio_is_played_whatever_the_size_of_its_pieces(size: int) -> None:
    world = World()
    _, stream = world.streaming()
    data = audio.speak("greeting")
    for start in range(0, len(data), size):
        world.plays(stream, data[start : start + size])
    world.marks(stream, "end")
    begin = world.clock.now()
    world.run(5)
    heard = world.caller.heard[0]
    assert (heard.phrase, heard.complete) == ("greeting", True)
    assert heard.start_ms == pytest.approx(begin * 1000, abs=25)
    frames = -(-len(data) // FRAME)
    assert times(world.events("mark"))[0] == pytest.approx((stream.started_at or 0) + 0.001 + frames * FRAME_S)


def test_marks_come_when_playback_reaches_them() -> None:
    world = World()
    _, stream = world.streaming()
    world.run(0.0105)
    for index in range(5):
        world.plays(stream, SILENCE * 10)
        world.marks(stream, f"m{index}")
    first = (stream.started_at or 0) + 0.001 + FRAME_S
    world.run(3)
    assert names(world) == ["m0", "m1", "m2", "m3", "m4"]
    assert times(world.events("mark")) == pytest.approx([first + 0.2 * (index + 1) for index in range(5)])


def test_mark_on_an_empty_buffer_comes_at_once() -> None:
    world = World()
    _, stream = world.streaming()
    world.run(1)
    now = world.clock.now()
    world.marks(stream, "a")
    world.marks(stream, "a")
    assert world.events("mark")[-1][1]["streamSid"] == stream.sid
    assert names(world) == ["a", "a"]
    assert times(world.events("mark")) == [now, now]


def test_mark_behind_the_frame_that_is_playing_waits_for_its_end() -> None:
    world = World()
    _, stream = world.streaming()
    world.plays(stream, SILENCE)
    world.run(0.006)
    assert stream.playback.buffered == 0
    world.marks(stream, "a")
    assert names(world) == []
    world.run(0.02)
    assert times(world.events("mark")) == pytest.approx([(stream.started_at or 0) + 0.021])


def test_clear_empties_the_buffer_and_echoes_every_mark() -> None:
    world = World()
    _, stream = world.streaming()
    world.plays(stream, audio.speak("long_answer"))
    world.marks(stream, "a")
    world.marks(stream, "b")
    world.run(2)
    now = world.clock.now()
    assert names(world) == []
    world.sends(stream, event="clear")
    assert names(world) == ["a", "b"]
    assert times(world.events("mark")) == [now, now]
    world.run(2)
    heard = world.caller.heard[0]
    assert (heard.phrase, heard.complete) == ("long_answer", False)
    assert heard.end_ms == pytest.approx(now * 1000, abs=25)
    world.marks(stream, "c")
    assert times(world.events("mark"))[-1] == world.clock.now()
    world.sends(stream, event="clear")
    assert names(world) == ["a", "b", "c"]


def test_more_than_ten_minutes() -> None:
    world = World(audio=False)
    _, stream = world.streaming()
    minute = SILENCE * 50 * 60
    for _ in range(10):
        world.plays(stream, minute)
    assert stream.playback.buffered == 10 * 60 * 8000
    world.plays(stream, SILENCE)
    world.plays(stream, SILENCE)
    assert world.codes() == [31931]
    assert stream.playback.buffered == 10 * 60 * 8000


def test_playback_by_itself() -> None:
    playback = Playback()
    assert playback.next() is None
    assert playback.add(b"")
    playback.mark("before")
    assert playback.reached() == ["before"]
    playback.add(b"a" * 100)
    playback.add(b"b" * 100)
    playback.mark("after")
    assert playback.next() == b"a" * 100 + b"b" * 60
    assert playback.reached() == []
    assert playback.pending == ("after",)
    assert playback.next() == b"b" * 40 + b"\xff" * 120
    assert playback.reached() == ["after"]
    assert playback.next() is None
    assert (playback.received, playback.taken) == (200, 200)


# ---------------------------------------------------------------------- bad input

GOOD_SID = "{sid}"


@pytest.mark.parametrize(
    ("text", "kind", "code", "part"),
    [
        (b"\x00\x01", "binary", 31950, "binary frame"),
        ("{", "malformed", 31951, "truncated"),
        ("hello", "malformed", 31951, "malformed"),
        ("[]", "malformed", 31951, "Expected `object`"),
        ('{"streamSid":"{sid}"}', "malformed", 31951, "missing required field `event`"),
        ('{"event":"play","streamSid":"{sid}"}', "play", 31951, "Invalid value 'play'"),
        ('{"event":"start","streamSid":"{sid}"}', "start", 31951, "Invalid value 'start'"),
        ('{"event":"clear"}', "clear", 31951, "missing required field `streamSid`"),
        ('{"event":"media","streamSid":"{sid}"}', "media", 31951, "missing required field `media`"),
        ('{"event":"media","streamSid":"{sid}","media":{}}', "media", 31951, "missing required field `payload`"),
        ('{"event":"media","streamSid":"{sid}","media":{"payload":"%"}}', "media", 31951, "base64"),
        ('{"event":"media","streamSid":"{sid}","media":{"payload":1}}', "media", 31951, "$.media.payload"),
        (
            '{"event":"media","streamSid":"{sid}","media":{"payload":"/w==","track":"outbound"}}',
            "media",
            31951,
            "unknown field `track`",
        ),
        ('{"event":"clear","streamSid":"{sid}","x":1}', "clear", 31951, "unknown field `x`"),
        ('{"event":"mark","streamSid":"{sid}","mark":{"name":7}}', "mark", 31951, "$.mark.name"),
        ('{"event":"clear","streamSid":"MZother"}', "clear", 31951, "streamSid is 'MZother'"),
    ],
)
def test_bad_messages_are_warned_about_once_and_ignored(text: str | bytes, kind: str, code: int, part: str) -> None:
    world = World()
    call, stream = world.streaming()
    world.plays(stream, SILENCE * 50)
    data = text if isinstance(text, bytes) else text.replace("{sid}", stream.sid)
    for _ in range(2):
        world.twilio.stream_received(stream.name, data)
    assert [(entry.code, entry.level, entry.call) for entry in call.debugger] == [(code, "warning", "call1")]
    message = world.recorded("twilio.stream")[-1]
    assert (message.source, message.kind, message.body) == ("gateway", kind, data)
    assert message.invalid.startswith(f"{code}: ")
    assert part in message.invalid
    assert stream.playback.received == FRAME * 50
    world.run(0.5)
    assert stream.state is StreamState.STARTED
    world.marks(stream, "still here")
    world.run(2)
    assert names(world) == ["still here"]


@pytest.mark.parametrize(("knob", "received"), [("ignored", 0), ("accepted", 1)])
def test_extra_fields(knob: str, received: int) -> None:
    world = World(knobs={"stream_extra_field": knob})
    _, stream = world.streaming()
    world.sends(stream, event="media", media={"payload": "/w==", "track": "outbound"})
    assert world.codes() == [31951]
    assert stream.playback.received == received


def test_good_messages_are_recorded_as_they_came() -> None:
    world = World()
    _, stream = world.streaming()
    text = json.dumps({"event": "media", "streamSid": stream.sid, "media": {"payload": "/w=="}}, indent=1)
    world.twilio.stream_received(stream.name, text)
    message = world.recorded("twilio.stream")[-1]
    assert (message.source, message.kind, message.body, message.invalid) == ("gateway", "media", text, None)
    assert message.connection == "call1/stream1"


def test_congestion_drops_media() -> None:
    world = World()
    world.streaming()
    world.run(0.1)
    sent = len(world.events("media"))
    world.io.congested = True
    world.run(1)
    world.io.congested = False
    world.run(0.1)
    assert world.codes() == [31930]
    media = world.events("media")
    assert len(media) == sent + 5
    assert int(media[sent][1]["media"]["chunk"]) - int(media[sent - 1][1]["media"]["chunk"]) == 51
    numbers = [int(message["sequenceNumber"]) for _, message in media]
    assert numbers == list(range(2, len(numbers) + 2))
    assert len([m for m in world.recorded("twilio.stream") if m.kind == "media"]) == len(media)


# ---------------------------------------------------------------------- the end


def test_hang_up_stops_the_stream() -> None:
    world = World()
    call, stream = world.streaming()
    world.run(1)
    world.plays(stream, SILENCE * 500)
    world.marks(stream, "never")
    world.caller.hang_up()
    world.run(0.059)
    assert call.status == "completed"
    assert stream.state is StreamState.STARTED
    media = len(world.events("media"))
    world.run(0.5)
    (at, stop), *more = world.events("stop")
    assert more == []
    assert at == pytest.approx((call.ended_at or 0) + 0.06)
    assert stop == {
        "event": "stop",
        "sequenceNumber": str(media + 2),
        "streamSid": stream.sid,
        "stop": {"accountSid": ACCOUNT, "callSid": call.sid},
    }
    assert world.io.closed == [(at, "call1/stream1", "1005")]
    assert names(world) == []
    assert len(world.events("media")) == media
    world.plays(stream, SILENCE)
    assert world.recorded("twilio.stream")[-1].kind == "media"
    assert world.codes() == []
    world.twilio.stream_closed(stream.name, 1005)
    assert stream.state is StreamState.OVER
    assert [m.kind for m in world.recorded("twilio.stream")].count("close") == 1


@pytest.mark.parametrize(("how", "code"), [("1000", 1000), ("1005", 1005), ("abrupt", 1006)])
def test_how_twilio_closes(how: str, code: int) -> None:
    world = World(knobs={"stream_close": how})
    world.streaming()
    world.caller.hang_up()
    world.run(1)
    assert world.io.closed[0][2] == how
    close = world.recorded("twilio.stream")[-1]
    assert (close.source, close.kind, close.meta["code"], close.meta["initiator"]) == (
        "twilio",
        "close",
        code,
        "twilio",
    )


def test_stop_may_be_missing() -> None:
    world = World(knobs={"stop_message": "missing"})
    world.streaming()
    world.caller.hang_up()
    world.run(1)
    assert world.events("stop") == []
    assert len(world.io.closed) == 1


def test_marks_at_the_end_may_be_echoed() -> None:
    world = World(knobs={"marks_at_stop": "echoed"})
    _, stream = world.streaming()
    world.plays(stream, SILENCE * 500)
    world.marks(stream, "late")
    world.caller.hang_up()
    world.run(1)
    assert names(world) == ["late"]
    assert world.io.frames[-1][2]["event"] == "stop"


def test_hang_up_while_the_stream_connects() -> None:
    world = World(fixed={"twilio/call1/stream1/connect/delay": 100})
    call = world.dial()
    world.run(0.1)
    assert call.streams[0].state is StreamState.WAITING
    world.caller.hang_up()
    world.run(2)
    assert world.io.openings == []
    late = World()
    late.io.latency = 0.05
    call = late.dial()
    late.run(0.15)
    assert call.streams[0].state is StreamState.CONNECTING
    late.caller.hang_up()
    late.run(2)
    assert late.io.closed[0][1:] == ("call1/stream1", "abrupt")
    assert late.io.frames == []
    assert not [m for m in late.recorded("twilio.stream") if m.kind == "upgrade"]


def test_hang_up_before_start() -> None:
    world = World()
    call = world.dial()
    world.run(0.15)
    assert call.streams[0].state is StreamState.ACCEPTED
    world.caller.hang_up()
    world.run(2)
    assert world.io.frames == []
    assert world.io.closed[0][1:] == ("call1/stream1", "1005")


def test_server_closes() -> None:
    world = World(replies={"/voice": STREAM.replace("</Response>", "<Pause length='60'/></Response>")})
    call, stream = world.streaming()
    world.run(0.5)
    world.twilio.stream_closed(stream.name, 1000, "bye")
    count = len(world.io.frames)
    world.run(1)
    assert call.status == "in-progress"
    assert len(world.io.frames) == count
    close = [m for m in world.recorded("twilio.stream") if m.kind == "close"]
    assert [(m.source, m.meta) for m in close] == [("gateway", {"code": 1000, "reason": "bye", "initiator": "gateway"})]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Failure.TIMEOUT, 31901),
        (Failure.CONNECT_TIMEOUT, 31901),
        (Failure.REFUSED, 31902),
        (Failure.TLS, 31910),
        (Failure.STATUS, 31920),
        (Failure.PROTOCOL, 31924),
        (Failure.DNS, 31900),
    ],
)
def test_failed_connections(kind: Failure, code: int) -> None:
    world = World(replies={"/voice": STREAM.replace("url=", 'statusCallback="/stream" url=')})
    world.io.refuse = StreamFailure(kind, "it says", 403 if kind is Failure.STATUS else None)
    call = world.dial()
    world.run(2)
    assert world.codes() == [code]
    assert call.status == "completed"
    params = world.posted("/stream")[0].params
    assert (params["StreamEvent"], params["StreamError"]) == ("stream-error", f"{code}: it says")
    refused = [m for m in world.recorded("twilio.stream") if m.kind == "upgrade.refused"]
    assert [m.meta["status"] for m in refused] == ([403] if kind is Failure.STATUS else [])


def test_lost_stream_is_replaced() -> None:
    world = World()
    call, first = world.streaming()
    world.run(0.5)
    first.lose()
    world.run(1)
    assert world.io.closed[0][1:] == ("call1/stream1", "abrupt")
    assert world.events("stop") == []
    second = call.streams[1]
    assert second.state is StreamState.STARTED
    assert second.sid != first.sid
    starts = [message["start"]["callSid"] for _, message in world.events("start")]
    assert starts == [call.sid, call.sid]
    assert world.events("media")[-1][1]["streamSid"] == second.sid


def test_lost_stream_by_choice_and_without_replacement() -> None:
    world = World(knobs={"stream_replacement": False}, fixed={"twilio/call1/stream1/lose": True})
    call, _ = world.streaming()
    world.run(1.9)
    assert call.status == "in-progress"
    world.run(0.2)
    assert call.status == "completed"
    assert len(call.streams) == 1


def test_stream_status_callbacks() -> None:
    document = STREAM.replace("url=", 'name="n" statusCallback="https://gw.example.test/stream" url=')
    world = World(replies={"/voice": document})
    call, stream = world.streaming()
    world.run(1)
    world.caller.hang_up()
    world.run(1)
    started, stopped = [sent.params for sent in world.posted("/stream")]
    assert started == {
        "AccountSid": ACCOUNT,
        "CallSid": call.sid,
        "StreamSid": stream.sid,
        "StreamName": "n",
        "StreamEvent": "stream-started",
        "Timestamp": "2018-03-25T09:53:19.220000000Z",
    }
    assert stopped["StreamEvent"] == "stream-stopped"


def test_illegal_transition_raises() -> None:
    world = World()
    _, stream = world.streaming()
    with pytest.raises(RuntimeError, match="call1/stream1 cannot go from started to connecting"):
        stream._enter(StreamState.CONNECTING)
