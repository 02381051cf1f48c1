"""Translation sessions: who gets one, what is said in it, and how it ends."""

from __future__ import annotations

import base64
import json
from datetime import date
from typing import Any

import openai
import pytest
from openai_vendor import MINT, OTHER, REALTIME, Socket, Vendor, listening
from openai_world import KEY, START

from fakes.audio import PHRASES, Listener, silence, speak
from fakes.openai import KeyInfo
from fakes.openai.connected import State
from fakes.openai.handshake import RefuseHttp
from fakes.openai.protocol import validate
from fakes.openai.translation import FRAME_BYTES, RATE, translation_of

PATH = "/v1/realtime/translations"
MODEL = {"model": "gpt-realtime-translate"}
APPEND = "session.input_audio_buffer.append"


def connect(vendor: Vendor | None = None, key: str = KEY, query: dict[str, str] | None = MODEL) -> Socket:
    return (vendor or Vendor()).join(key, query, path=PATH)


def began(vendor: Vendor | None = None, **audio: Any) -> Socket:
    """A session that has been configured; nothing of that is left in its events."""
    socket = connect(vendor)
    socket.say("session.update", session={"audio": audio})
    assert [event["type"] for event in socket.events()] == ["session.created", "session.updated"]
    return socket


def hear(socket: Socket, phrase: str, quiet_ms: int = 600, chunk: int = FRAME_BYTES) -> None:
    sound = speak(phrase, "pcm16", RATE) + silence(quiet_ms, "pcm16", RATE)
    for start in range(0, len(sound), chunk):
        socket.say(APPEND, audio=base64.b64encode(sound[start : start + chunk]).decode())


def text_of(events: list[dict[str, Any]], which: str) -> str:
    return "".join(event["delta"] for event in events if event["type"] == f"session.{which}_transcript.delta")


def heard_in(events: list[dict[str, Any]]) -> list[str]:
    listener = Listener("pcm16", RATE)
    for event in events:
        if event["type"] == "session.output_audio.delta":
            listener.feed(base64.b64decode(event["delta"]))
    listener.flush()
    return [heard.phrase for heard in listener.heard]


def test_speech_comes_out_in_the_other_language() -> None:
    vendor = Vendor()
    socket = began(vendor, output={"language": "es"})
    hear(socket, "what_time")
    vendor.clock.advance(10)
    events = socket.events()
    said = translation_of("what_time", "es")
    assert text_of(events, "output") == said.text
    assert heard_in(events) == [said.name]
    assert {event["type"] for event in events} == {"session.output_transcript.delta", "session.output_audio.delta"}
    assert [frame.invalid for frame in socket.frames] == [None] * len(socket.frames)
    sound = next(event for event in events if event["type"] == "session.output_audio.delta")
    assert (sound["sample_rate"], sound["channels"], sound["format"]) == (24000, 1, "pcm16")
    assert sound["elapsed_ms"] % 200 == 0
    assert sound["elapsed_ms"] >= PHRASES["what_time"].duration_ms


def test_the_language_decides_what_is_said() -> None:
    assert len({translation_of("what_time", language).name for language in ("de", "en", "es", "fr", "it", "ja")}) > 1


def test_the_source_is_transcribed_when_that_is_configured() -> None:
    vendor = Vendor()
    socket = began(vendor, input={"transcription": {"model": "gpt-realtime-whisper"}})
    hear(socket, "hello")
    hear(socket, "yes")
    vendor.clock.advance(20)
    events = socket.events()
    # Append-only: what is not the first delta brings its own space.
    assert text_of(events, "input") == f"{PHRASES['hello'].text} {PHRASES['yes'].text}"
    said = [translation_of(name, "en") for name in ("hello", "yes")]
    assert text_of(events, "output") == " ".join(phrase.text for phrase in said)
    assert heard_in(events) == [phrase.name for phrase in said]
    plain = began(vendor)
    hear(plain, "hello")
    vendor.clock.advance(20)
    assert text_of(plain.events(), "input") == ""


def test_chunks_of_any_size_make_frames_of_200_ms() -> None:
    vendor = Vendor()
    socket = began(vendor)
    hear(socket, "weather", chunk=961)
    vendor.clock.advance(20)
    assert heard_in(socket.events()) == [translation_of("weather", "en").name]


def test_the_session_object() -> None:
    socket = connect()
    (created,) = socket.events()
    assert created["session"]["id"].startswith("sess_")
    assert {**created["session"], "id": ""} == {
        "id": "",
        "type": "translation",
        "expires_at": int(START) + 3600,
        "model": "gpt-realtime-translate",
        "audio": {"input": {"transcription": None, "noise_reduction": None}, "output": {"language": "en"}},
    }
    socket.say("session.update", session={"audio": {"output": {"language": "fr"}}})
    socket.say("session.update", session={"audio": {"input": {"noise_reduction": {"type": "far_field"}}}})
    audio = socket.events()[-1]["session"]["audio"]
    assert audio["output"] == {"language": "fr"}
    assert audio["input"] == {"transcription": None, "noise_reduction": {"type": "far_field"}}
    socket.say("session.update", session={"audio": {"input": {"noise_reduction": None}}})
    assert socket.events()[-1]["session"]["audio"]["input"]["noise_reduction"] is None


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "response.create"}, "invalid_value", "type"),
        ({"type": "input_audio_buffer.append", "audio": ""}, "invalid_value", "type"),
        ({"type": "nope"}, "invalid_value", "type"),
        ({"session": {}}, "invalid_event", None),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "session.update", "session": {"model": "x"}}, "unknown_parameter", "session.model"),
        ({"type": "session.update", "session": {"type": "translation"}}, "unknown_parameter", "session.type"),
        (
            {"type": "session.update", "session": {"audio": {"input": {"language": "de"}}}},
            "unknown_parameter",
            "session.audio.input.language",
        ),
        (
            {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "gpt-4o"}}}}},
            "invalid_value",
            "session.audio.input.transcription.model",
        ),
        ({"type": APPEND}, "missing_required_parameter", "audio"),
        ({"type": APPEND, "audio": "%%%"}, "invalid_value", "audio"),
    ],
)
def test_events_that_are_refused(event: dict[str, Any], code: str, param: str | None) -> None:
    vendor = Vendor()
    socket = began(vendor)
    before = dict(socket.link.wire)  # type: ignore[attr-defined]
    socket.link.receive_text(json.dumps({"event_id": "e1", **event}))
    error = socket.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "e1")
    assert socket.link.wire == before  # type: ignore[attr-defined]
    hear(socket, "yes")
    vendor.clock.advance(10)
    assert heard_in(socket.events()) == [translation_of("yes", "en").name]


def test_closing_translates_the_rest_first() -> None:
    vendor = Vendor()
    socket = began(vendor)
    hear(socket, "hello", quiet_ms=0, chunk=1000)
    socket.say("session.close")
    assert socket.close is None
    socket.say(APPEND, audio="")
    assert socket.error()["message"] == "The session is being closed: it takes no more events."
    vendor.clock.advance(20)
    events = socket.events()
    assert heard_in(events) == [translation_of("hello", "en").name]
    assert events[-1]["type"] == "session.closed"
    assert validate("translation", "server", events[-1]) is None
    assert socket.close == (1000, "")
    assert socket.link.state is State.CLOSING


def test_closing_in_silence_and_who_closes_the_socket() -> None:
    quiet = began()
    quiet.say("session.close")
    assert [event["type"] for event in quiet.events()] == ["session.closed"]
    assert quiet.close == (1000, "")
    lasting = began(Vendor(translation_closes=False))
    lasting.say("session.close")
    assert [event["type"] for event in lasting.events()] == ["session.closed"]
    assert lasting.close is None


def test_elapsed_ms_is_a_knob() -> None:
    vendor = Vendor(translation_elapsed_ms=False)
    socket = began(vendor)
    hear(socket, "yes")
    vendor.clock.advance(10)
    events = socket.events()
    assert events
    assert not any("elapsed_ms" in event for event in events)


def test_it_expires() -> None:
    vendor = Vendor()
    socket = began(vendor)
    vendor.clock.advance(3600)
    assert socket.error()["code"] == "session_expired"
    assert socket.close == (1001, "Your session hit the maximum duration of 60 minutes.")


def test_what_is_too_large_ends_it() -> None:
    socket = began()
    socket.link.receive_oversized(1 << 24)
    assert socket.close == (1009, "message too large")


# -- who gets one


def test_one_that_is_closed_before_it_has_begun_never_does() -> None:
    vendor = Vendor()
    socket = vendor.join(KEY, MODEL, path=PATH, start=False)
    socket.link.start()
    socket.link.receive_oversized(16 * 1024 * 1024 + 1)
    vendor.clock.advance(5)
    assert (socket.events(), socket.close) == ([], (1009, "message too large"))


def test_models_that_do_not_translate() -> None:
    vendor = Vendor()
    for model in ("gpt-realtime", "gpt-4o", "gpt-realtime-whisper", "no-such-model"):
        assert vendor.rejected(KEY, {"model": model}, path=PATH) == ("invalid_model", 4000)
    assert vendor.rejected(KEY, {}, path=PATH) == ("missing_model", 4000)
    assert vendor.rejected(KEY, MODEL) == ("invalid_model", 4000)
    vendor.keys[OTHER] = KeyInfo(models=("gpt-realtime",))
    assert vendor.rejected(OTHER, MODEL, path=PATH) == ("model_not_found", 4004)
    assert vendor.rejected("sk-wrong-0123456789", MODEL, path=PATH) == ("invalid_api_key", 3000)


def test_there_was_none_before_its_model() -> None:
    decision = Vendor(date(2026, 5, 5)).handshake(KEY, MODEL, path=PATH).decision
    assert isinstance(decision, RefuseHttp)
    assert decision.status == 404
    beta = Vendor(date(2026, 5, 6))
    assert beta.rejected(KEY, MODEL, path=PATH, openai_beta="realtime=v1") == ("invalid_beta", 4000)


def test_a_client_secret_brings_its_settings() -> None:
    vendor = Vendor()
    given = {**MODEL, "audio": {"output": {"language": "ja"}}}
    secret = vendor.get("/v1/realtime/translations/client_secrets", {"session": given})["value"]
    for query in ({}, MODEL):
        (created,) = connect(vendor, secret, dict(query)).events()
        assert created["session"]["audio"]["output"] == {"language": "ja"}
    assert vendor.rejected(secret, {"model": "gpt-realtime"}, path=PATH) == ("model_not_found", 4004)
    assert vendor.rejected(secret, {}) == ("invalid_model", 4000)
    other = vendor.get(MINT, {"session": REALTIME})["value"]
    assert vendor.rejected(other, {}, path=PATH) == ("invalid_value", 4000)


# -- over sockets


async def test_the_vendors_package_translates() -> None:
    async with listening() as (service, recorder, http):
        base = str(http._base_url).rstrip("/") + "/v1"
        async with openai.AsyncOpenAI(api_key=KEY, base_url=base, max_retries=0) as client:
            session: Any = {**MODEL, "audio": {"output": {"language": "es"}}}
            minted = await client.realtime.translations.client_secrets.create(session=session)
            assert minted.value.startswith("ek_")
            async with client.realtime.translations.connect(model=MODEL["model"]) as connection:
                assert (await connection.recv()).type == "session.created"
                await connection.session.update(session={"audio": {"output": {"language": "es"}}})
                assert (await connection.recv()).type == "session.updated"
                sound = speak("yes", "pcm16", RATE) + silence(600, "pcm16", RATE)
                await connection.session.input_audio_buffer.append(audio=base64.b64encode(sound).decode())
                await connection.session.close()
                events = [await connection.recv()]
                while events[-1].type != "session.closed":
                    events.append(await connection.recv())
        said = [event.to_dict() for event in events]
        assert heard_in(said) == [translation_of("yes", "es").name]
        closed = await service.wait_for(lambda: service.links[0].closed)
        assert (closed.code, closed.initiator) == (1000, "openai")
        assert {m.invalid for m in recorder.messages} == {None}
        assert recorder.messages[2].connection == "openai#1"
        assert recorder.messages[2].kind == "upgrade"


async def test_open_sessions_end_with_the_server() -> None:
    async with listening() as (service, _, http):
        headers = {"Authorization": f"Bearer {KEY}"}
        ws = await http.ws_connect(f"{PATH}?model=gpt-realtime-translate", headers=headers)
        assert (await ws.receive_json())["type"] == "session.created"
    assert service.links[0].closed is not None
    assert service.links[0].closed.code == 1006
