"""Client secrets, calls and the other plain HTTP endpoints: who may mint what, and what that is good for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openai_world import BETA_DAY, GA_DAY, KEY, START, ListSink, ManualClock, NotedChoices

from fakes.knobs import Knobs
from fakes.local import ListRecorder, LoopClock, OpenGates, TypicalChoices
from fakes.openai import KNOBS, KeyInfo, OpenAIServer, OpenAIService, RealtimeSession
from fakes.openai.calls import CALL_TRANSITIONS, Call, CallState
from fakes.openai.errors import VendorError
from fakes.openai.handshake import Accept, HandshakeRequest, RefuseInBand
from fakes.openai.http import HttpAnswer, HttpRequest, Offered
from fakes.openai.protocol import validate
from fakes.openai.responses import IllegalTransitionError
from fakes.openai.secrets import Place
from fakes.ports import Ports

OTHER = "sk-other-0123456789abcd"
OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
ANSWER = "v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
NO_AUDIO = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
MINT = "/v1/realtime/client_secrets"
CALLS = "/v1/realtime/calls"
REALTIME = {"type": "realtime", "model": "gpt-realtime"}
TRANSCRIPTION = {
    "type": "transcription",
    "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}, "format": {"type": "audio/pcmu"}}},
}
PUBLISHED = {
    "error": {
        "message": "The model `gpt-realtime` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "code": "model_not_found",
        "param": "",
    }
}


@dataclass
class Answering:
    """An answerer that says the same to everybody."""

    refuse: str | None = None
    calls: list[Call] = field(default_factory=list)
    moves: list[CallState] = field(default_factory=list)

    async def answer(self, call: Call, offer: str) -> str:
        self.calls.append(call)
        call.on_move = lambda moved: self.moves.append(moved.state)
        if self.refuse is not None:
            raise VendorError(self.refuse)
        return ANSWER


class Vendor:
    """A service without sockets. `keys` may be changed at any time."""

    def __init__(
        self, day: date = GA_DAY, *, answerer: Answering | None = None, key: KeyInfo | None = None, **knobs: Any
    ) -> None:
        settings = Knobs.load(KNOBS)
        for name, value in knobs.items():
            settings.set(f"openai.{name}", value)
        self.clock = ManualClock()
        ports = Ports(self.clock, NotedChoices(), ListRecorder(), OpenGates())
        self.keys = {KEY: key or KeyInfo()}
        self.service = OpenAIService(ports, as_of=day, keys=self.keys, knobs=settings, answerer=answerer)

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        key: str | None = KEY,
        method: str = "POST",
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> HttpAnswer | Offered:
        sent = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        raw = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        return self.service.http(HttpRequest(method, path, sent, query or {}, raw))

    def get(self, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """The body of a request that is granted."""
        answer = self.ask(path, body, **options)
        assert isinstance(answer, HttpAnswer)
        assert (answer.status, answer.invalid) == (200, None), answer.body
        return answer.body or {}

    def mint(self, session: Any = REALTIME, **options: Any) -> str:
        value = self.get(MINT, {"session": session}, **options)["value"]
        assert isinstance(value, str)
        return value

    def refusal(self, path: str, body: Any = None, **options: Any) -> tuple[int, str | None, str | None, str]:
        """Status, code, parameter and message of a request that is refused."""
        answer = self.ask(path, body, **options)
        assert isinstance(answer, HttpAnswer), answer
        assert answer.body is not None, answer
        error = answer.body["error"]
        return answer.status, error["code"], error["param"], error["message"]

    def offer(self, key: str, offer: str = OFFER, **options: Any) -> HttpAnswer | Offered:
        return self.ask(CALLS, offer, key=key, content_type="application/sdp", **options)

    def refused_call(self, key: str, offer: str = OFFER, **options: Any) -> tuple[int, dict[str, Any]]:
        answer = self.offer(key, offer, **options)
        assert isinstance(answer, HttpAnswer), answer
        assert answer.body is not None
        return answer.status, answer.body

    def call(self, key: str, **options: Any) -> Call:
        offered = self.offer(key, **options)
        assert isinstance(offered, Offered), offered
        return offered.call

    def handshake(
        self,
        key: str,
        query: Mapping[str, str] | None = None,
        *,
        subprotocols: tuple[str, ...] | None = None,
        **headers: str,
    ) -> Any:
        if subprotocols is None:
            headers["authorization"] = f"Bearer {key}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.service.open(HandshakeRequest("/v1/realtime", query or {}, sent, subprotocols or ()))

    def connect(self, key: str, query: Mapping[str, str] | None = None, **options: Any) -> RealtimeSession:
        """Open a session and wait for `session.created`."""
        opening = self.handshake(key, query, **options)
        assert isinstance(opening.decision, Accept), opening.decision
        sink = ListSink()
        session = self.service.accept(opening, opening.decision, sink)
        sink.session = session
        session.start()
        self.clock.advance(5)
        created = json.loads(sink.frames[0].body)
        assert created["session"] == session.wire
        assert sink.frames[0].invalid is None
        return session

    def rejected(self, key: str, query: Mapping[str, str] | None = None, **options: Any) -> tuple[str | None, int]:
        decision = self.handshake(key, query, **options).decision
        assert isinstance(decision, RefuseInBand), decision
        return decision.error.code, decision.code


def multipart(**parts: str) -> tuple[str, str]:
    """A body and its content type."""
    lines = [f'--b0\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in parts.items()]
    return "".join(lines) + "--b0--\r\n", "multipart/form-data; boundary=b0"


# -- minting


def test_a_client_secret_and_the_session_it_stands_for() -> None:
    vendor = Vendor()
    session = {**REALTIME, "instructions": "Be brief.", "audio": {"output": {"voice": "cedar"}}}
    minted = vendor.get(MINT, {"session": session})
    assert set(minted) == {"value", "expires_at", "session"}
    assert minted["value"].startswith("ek_")
    assert minted["expires_at"] == START + 600
    shown = minted["session"]
    assert (shown["id"][:5], shown["expires_at"], shown["object"]) == ("sess_", 0, "realtime.session")
    assert (shown["model"], shown["instructions"]) == ("gpt-realtime", "Be brief.")
    assert shown["audio"]["output"]["voice"] == "cedar"
    assert shown["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    event = {"type": "session.updated", "event_id": "event_1", "session": shown}
    assert validate("ga", "server", event) is None
    assert vendor.mint() != minted["value"]


def test_a_secret_for_a_model_that_reasons_shows_its_reasoning() -> None:
    minted = Vendor().get(MINT, {"session": {**REALTIME, "model": "gpt-realtime-2"}})
    assert minted["session"]["reasoning"] == {"effort": "low"}


def test_a_body_is_optional() -> None:
    minted = Vendor().get(MINT)
    assert minted["session"]["type"] == "realtime"
    assert "model" not in minted["session"]
    assert Vendor(secret_default_model="gpt-realtime").get(MINT)["session"]["model"] == "gpt-realtime"


@pytest.mark.parametrize(
    ("expires_after", "lifetime"),
    [({"anchor": "created_at", "seconds": 10}, 10), ({"seconds": 7200}, 7200), ({"anchor": "created_at"}, 600)],
)
def test_how_long_a_secret_lasts(expires_after: dict[str, Any], lifetime: int) -> None:
    minted = Vendor().get(MINT, {"expires_after": expires_after, "session": REALTIME})
    assert minted["expires_at"] == START + lifetime


@pytest.mark.parametrize(
    ("body", "code", "param", "text"),
    [
        ({"type": "realtime"}, "unknown_parameter", "type", "Unknown parameter: 'type'."),
        ({"session": REALTIME, "model": "gpt-realtime"}, "unknown_parameter", "model", "Unknown parameter: 'model'."),
        ({"session": {"model": "gpt-realtime"}}, "missing_required_parameter", "session.type", "session.type"),
        ({"session": {**REALTIME, "voice": "cedar"}}, "unknown_parameter", "session.voice", "session.voice"),
        ({"session": {**REALTIME, "type": "live"}}, "invalid_value", "session.type", "'live'"),
        ({"session": []}, "invalid_type", "session", "an array"),
        (
            {"session": {**REALTIME, "audio": {"output": {"voice": "nobody"}}}},
            "invalid_value",
            "session.audio.output.voice",
            "nobody",
        ),
        (
            {"session": {"type": "transcription", "audio": {"input": {"transcription": {"model": 3}}}}},
            "invalid_type",
            "session.audio.input.transcription.model",
            "an integer",
        ),
        ({"expires_after": 5}, "invalid_type", "expires_after", "an object"),
        ({"expires_after": {"seconds": 9}}, "integer_below_min_value", "expires_after.seconds", ">= 10"),
        ({"expires_after": {"seconds": 7201}}, "integer_above_max_value", "expires_after.seconds", "<= 7200"),
        ({"expires_after": {"seconds": True}}, "invalid_type", "expires_after.seconds", "a boolean"),
        ({"expires_after": {"anchor": "now"}}, "invalid_value", "expires_after.anchor", "'created_at'"),
        ({"expires_after": {"ttl": 5}}, "unknown_parameter", "expires_after.ttl", "ttl"),
    ],
)
def test_bodies_that_are_refused(body: Any, code: str, param: str, text: str) -> None:
    vendor = Vendor()
    status, got_code, got_param, message = vendor.refusal(MINT, body)
    assert (status, got_code, got_param) == (400, code, param)
    assert text in message
    answer = vendor.ask(MINT, body)
    assert isinstance(answer, HttpAnswer)
    assert answer.invalid == message
    assert vendor.service.secrets.minted == []


def test_bodies_that_are_no_json() -> None:
    vendor = Vendor()
    assert "could not parse the JSON body" in vendor.refusal(MINT, "{")[3]
    assert "could not parse the JSON body" in vendor.refusal(MINT, "[]")[3]
    assert vendor.refusal(MINT, "a=b", content_type="text/plain")[1] == "unsupported_content_type"


def test_minting_does_not_verify_the_model() -> None:
    vendor = Vendor()
    secret = vendor.mint({**REALTIME, "model": "gpt-4o-realtime-preview"})
    assert vendor.rejected(secret) == ("model_not_found", 4004)
    live = vendor.mint({**REALTIME, "model": "gpt-live-1"})
    assert vendor.rejected(live) == ("invalid_model", 4000)


def test_who_may_mint() -> None:
    vendor = Vendor()
    assert vendor.refusal(MINT, key=None)[:2] == (401, "invalid_api_key")
    assert vendor.refusal(MINT, key="sk-wrong-0123456789wxyz")[:2] == (401, "invalid_api_key")
    assert vendor.refusal(MINT, key=vendor.mint())[:2] == (403, "insufficient_permissions")
    assert vendor.refusal("/v1/models", key=vendor.mint(), method="GET")[0] == 403


def test_credit_is_looked_at_when_a_secret_is_used() -> None:
    vendor = Vendor(key=KeyInfo(refuse="insufficient_quota"))
    secret = vendor.mint()
    status, body = vendor.refused_call(secret)
    assert (status, body["error"]["type"]) == (429, "insufficient_quota")
    assert vendor.rejected(secret) == ("credit_balance_exhausted", 4000)
    assert Vendor(key=KeyInfo(refuse="no_realtime_access")).refusal(MINT)[:2] == (403, "no_realtime_access")


# -- sessions opened with a secret


def test_a_secret_opens_sessions_that_begin_with_its_settings() -> None:
    vendor = Vendor()
    audio = {"input": {"format": {"type": "audio/pcmu"}, "turn_detection": None}, "output": {"voice": "cedar"}}
    secret = vendor.mint({**REALTIME, "instructions": "Be brief.", "audio": audio})
    first = vendor.connect(secret, {"model": "gpt-realtime"})
    assert (first.model, first.kind) == ("gpt-realtime", "realtime")
    assert first.settings.instructions == "Be brief."
    assert first.settings.input_format.encoding == "pcmu"
    assert first.settings.turn_detection is None
    assert first.wire["expires_at"] > 0
    second = vendor.connect("", subprotocols=("realtime", f"openai-insecure-api-key.{secret}"))
    assert second.settings.voice == "cedar"
    assert second.id != first.id


def test_sessions_of_a_plain_key_begin_with_the_defaults() -> None:
    vendor = Vendor()
    vendor.mint({**REALTIME, "instructions": "Be brief."})
    assert vendor.connect(KEY, {"model": "gpt-realtime"}).settings.instructions != "Be brief."


def test_a_secret_expires_and_its_sessions_live_on() -> None:
    vendor = Vendor()
    secret = vendor.mint()
    session = vendor.connect(secret)
    vendor.clock.advance(594)
    vendor.connect(secret)
    vendor.clock.advance(5)
    assert vendor.rejected(secret) == ("invalid_api_key", 3000)
    status, body = vendor.refused_call(secret)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert f"ek_...{secret[-4:]}" in body["error"]["message"]
    assert secret not in body["error"]["message"]
    assert session.closed is None
    other = Vendor(expired_secret="secret_expired")
    secret = other.mint()
    other.clock.advance(600)
    assert other.rejected(secret) == ("token_expired", 3000)


def test_a_secret_that_nobody_minted() -> None:
    assert Vendor().rejected("ek_0123456789abcdef") == ("invalid_api_key", 3000)
    assert Vendor().refused_call("ek_0123456789abcdef")[0] == 401


def test_a_secret_falls_with_its_key() -> None:
    vendor = Vendor()
    secret = vendor.mint()
    del vendor.keys[KEY]
    assert vendor.rejected(secret) == ("invalid_api_key", 3000)


def test_a_secret_is_bound_to_its_model() -> None:
    def outcome(**knobs: str) -> Any:
        vendor = Vendor(**knobs)
        secret = vendor.mint({**REALTIME, "model": "gpt-realtime-mini"})
        return vendor.handshake(secret, {"model": "gpt-realtime"}).decision

    refused = outcome()
    assert isinstance(refused, RefuseInBand)
    assert (refused.error.code, refused.code) == ("model_not_found", 4004)
    assert outcome(secret_model_contradicted="secret").model.name == "gpt-realtime-mini"
    assert outcome(secret_model_contradicted="request").model.name == "gpt-realtime"


def test_a_secret_without_a_model_leaves_it_to_the_request() -> None:
    vendor = Vendor()
    secret = vendor.mint({"type": "realtime"})
    assert vendor.connect(secret, {"model": "gpt-realtime-mini"}).model == "gpt-realtime-mini"
    assert vendor.rejected(secret) == ("missing_model", 4000)


def test_a_transcription_secret_connects_without_a_model() -> None:
    vendor = Vendor()
    minted = vendor.get(MINT, {"session": TRANSCRIPTION})
    shown = minted["session"]
    assert (shown["object"], shown["expires_at"]) == ("realtime.transcription_session", 0)
    assert validate("ga", "server", {"type": "session.updated", "event_id": "event_1", "session": shown}) is None
    session = vendor.connect(minted["value"])
    assert (session.kind, session.model) == ("transcription", None)
    assert session.settings.transcription is not None
    assert session.settings.transcription["model"] == "gpt-4o-transcribe"
    assert vendor.connect(minted["value"], {"intent": "transcription"}).kind == "transcription"
    assert vendor.rejected(minted["value"], {"model": "gpt-realtime"}) == ("invalid_model", 4000)


def test_a_transcription_model_without_turn_detection() -> None:
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}}
    assert Vendor().refusal(MINT, {"session": session})[1:3] == (
        "invalid_value",
        "session.audio.input.turn_detection",
    )


# -- the beta's endpoints


def test_the_beta_minted_for_a_minute() -> None:
    vendor = Vendor(BETA_DAY)
    body = {"model": "gpt-4o-realtime-preview", "voice": "sage", "input_audio_format": "g711_ulaw"}
    # What the SDK's beta half sends along does no harm.
    minted = vendor.get("/v1/realtime/sessions", body, openai_beta="assistants=v2")
    secret = minted.pop("client_secret")
    assert secret["expires_at"] == START + 60
    assert (minted["voice"], minted["expires_at"]) == ("sage", 0)
    event = {"type": "session.updated", "event_id": "event_1", "session": minted}
    assert validate("beta", "server", event) is None
    session = vendor.connect(secret["value"], {"model": "gpt-4o-realtime-preview"}, openai_beta="realtime=v1")
    assert session.settings.voice == "sage"
    assert session.dialect.name == "beta"
    vendor.clock.advance(60)
    assert vendor.rejected(secret["value"], openai_beta="realtime=v1") == ("invalid_api_key", 3000)


def test_the_beta_minted_for_transcription() -> None:
    vendor = Vendor(BETA_DAY)
    body = {"input_audio_transcription": {"model": "whisper-1"}}
    minted = vendor.get("/v1/realtime/transcription_sessions", body)
    session = vendor.connect(minted["client_secret"]["value"], openai_beta="realtime=v1")
    assert session.kind == "transcription"
    assert session.settings.transcription is not None
    assert session.settings.transcription["model"] == "whisper-1"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": "gpt-realtime", "type": "realtime"}, "unknown_parameter", "type"),
        ({"voice": "sage"}, "missing_required_parameter", "model"),
        ({"model": "gpt-realtime", "voice": "marin"}, "invalid_value", "voice"),
        ({"model": "gpt-realtime", "temperature": 2}, "decimal_above_max_value", "temperature"),
    ],
)
def test_bodies_that_the_beta_refused(body: Any, code: str, param: str) -> None:
    assert Vendor(BETA_DAY).refusal("/v1/realtime/sessions", body)[:3] == (400, code, param)


@pytest.mark.parametrize("path", ["/v1/realtime/sessions", "/v1/realtime/transcription_sessions"])
def test_the_beta_is_over(path: str) -> None:
    assert Vendor().refusal(path, {"model": "gpt-realtime"})[:2] == (400, "beta_api_shape_disabled")
    assert Vendor(date(2024, 11, 1)).refusal(path, {})[0] == 404


def test_ga_endpoints_refuse_the_beta_header_once_it_is_over() -> None:
    vendor = Vendor()
    assert vendor.refusal(MINT, openai_beta="realtime=v1")[:2] == (400, "beta_api_shape_disabled")
    assert vendor.refused_call(KEY, openai_beta="realtime=v1")[1]["error"]["code"] == "beta_api_shape_disabled"
    assert Vendor(date(2025, 8, 27)).refusal(MINT)[0] == 404


def test_secrets_of_one_dialect_are_not_good_for_the_other() -> None:
    vendor = Vendor(BETA_DAY)
    beta = vendor.get("/v1/realtime/sessions", {"model": "gpt-realtime"})["client_secret"]["value"]
    decision = vendor.handshake(beta).decision
    assert isinstance(decision, RefuseInBand)
    assert decision.error.message == (
        "API version mismatch. You cannot start a Realtime GA session with a beta client secret."
    )
    ga = vendor.mint()
    decision = vendor.handshake(ga, openai_beta="realtime=v1").decision
    assert isinstance(decision, RefuseInBand)
    assert decision.error.message.endswith("You cannot start a Realtime beta session with a GA client secret.")
    assert (decision.error.code, decision.code) == ("api_version_mismatch", 4000)
    sdp = vendor.refusal("/v1/realtime", OFFER, key=ga, content_type="application/sdp")
    assert sdp[:2] == (400, "api_version_mismatch")


async def test_webrtc_of_the_beta() -> None:
    answering = Answering()
    vendor = Vendor(BETA_DAY, answerer=answering)
    body = {"model": "gpt-realtime", "instructions": "Be brief."}
    secret = vendor.get("/v1/realtime/sessions", body)["client_secret"]["value"]
    query = {"model": "gpt-realtime"}
    offered = vendor.ask("/v1/realtime", OFFER, key=secret, query=query, content_type="application/sdp")
    assert isinstance(offered, Offered)
    answer = await vendor.service.answer(offered)
    assert (answer.status, answer.text) == (201, ANSWER)
    assert "Location" not in answer.headers
    assert (offered.call.dialect, offered.call.session) == ("beta", {"instructions": "Be brief."})
    today = Vendor().refusal("/v1/realtime", OFFER, query=query, content_type="application/sdp")
    assert today[:2] == (400, "beta_api_shape_disabled")


# -- translation


def test_a_translation_secret() -> None:
    vendor = Vendor()
    path = "/v1/realtime/translations/client_secrets"
    session = {"model": "gpt-realtime-translate", "audio": {"output": {"language": "es"}}}
    minted = vendor.get(path, {"session": session})
    shown = minted["session"]
    assert (shown["type"], shown["expires_at"]) == ("translation", 0)
    assert shown["audio"]["output"]["language"] == "es"
    event = {"type": "session.created", "event_id": "event_1", "session": shown}
    assert validate("translation", "server", event) is None
    assert vendor.rejected(minted["value"]) == ("invalid_model", 4000)
    assert vendor.refusal(path, {})[:3] == (400, "missing_required_parameter", "session")
    assert vendor.refusal(path, {"session": {}})[:3] == (400, "missing_required_parameter", "session.model")
    assert vendor.refusal(path, {"session": {**session, "voice": "x"}})[1:3] == ("unknown_parameter", "session.voice")
    wrong = {**session, "audio": {"output": {"language": 3}}}
    assert vendor.refusal(path, {"session": wrong})[1:3] == ("invalid_type", "session.audio.output.language")
    assert Vendor(date(2026, 5, 5)).refusal(path, {"session": session})[0] == 404


# -- calls


async def test_an_offer_with_a_secret_is_answered() -> None:
    answering = Answering()
    vendor = Vendor(answerer=answering)
    secret = vendor.mint({**REALTIME, "instructions": "Be brief."})
    offered = vendor.offer(secret)
    assert isinstance(offered, Offered)
    assert offered.call.state is CallState.OFFERED
    answer = await vendor.service.answer(offered)
    assert (answer.status, answer.text, answer.content_type) == (201, ANSWER, "application/sdp")
    assert answer.headers["Location"] == f"/v1/realtime/calls/{offered.call.id}"
    call = answering.calls[0]
    assert call.id.startswith("rtc_")
    assert call.state is CallState.ACTIVE
    assert call.model is not None
    assert (call.model.name, call.kind, call.transport) == ("gpt-realtime", "realtime", "webrtc")
    assert call.session == {"type": "realtime", "instructions": "Be brief."}
    vendor.get(f"{CALLS}/{call.id}/hangup")
    assert answering.moves == [CallState.ACTIVE, CallState.ENDED]
    assert vendor.refusal(f"{CALLS}/{call.id}/hangup")[:2] == (404, "call_id_not_found")


async def test_an_answerer_may_refuse() -> None:
    vendor = Vendor(answerer=Answering(refuse="invalid_offer"))
    offered = vendor.offer(vendor.mint())
    assert isinstance(offered, Offered)
    answer = await vendor.service.answer(offered)
    assert answer.status == 400
    assert answer.body is not None
    assert answer.body["error"]["code"] == "invalid_offer"
    assert offered.call.state is CallState.ENDED


def test_an_offer_in_a_multipart_body() -> None:
    vendor = Vendor(answerer=Answering())
    session = {**REALTIME, "instructions": "Be brief."}
    body, content_type = multipart(sdp=OFFER, session=json.dumps(session))
    offered = vendor.ask(CALLS, body, content_type=content_type)
    assert isinstance(offered, Offered)
    assert offered.offer.splitlines() == OFFER.splitlines()
    assert offered.call.session["instructions"] == "Be brief."
    secret = vendor.mint({**REALTIME, "instructions": "At length.", "audio": {"output": {"voice": "cedar"}}})
    offered = vendor.ask(CALLS, body, key=secret, content_type=content_type)
    assert isinstance(offered, Offered)
    assert offered.call.session["instructions"] == "Be brief."
    assert offered.call.session["audio"]["output"]["voice"] == "cedar"


@pytest.mark.parametrize(
    ("parts", "code", "param"),
    [
        ({"session": json.dumps(REALTIME)}, "missing_required_parameter", "sdp"),
        ({"sdp": OFFER, "model": "gpt-realtime"}, "unknown_parameter", "model"),
        ({"sdp": OFFER, "session": "{"}, "", ""),
        ({"sdp": OFFER, "session": '{"model":"gpt-realtime"}'}, "missing_required_parameter", "session.type"),
        ({"sdp": OFFER, "session": json.dumps(TRANSCRIPTION)}, "invalid_value", "session.type"),
    ],
)
def test_multipart_bodies_that_are_refused(parts: dict[str, str], code: str, param: str) -> None:
    vendor = Vendor()
    body, content_type = multipart(**parts)
    key = vendor.mint() if parts.get("session") == json.dumps(TRANSCRIPTION) else KEY
    assert vendor.refusal(CALLS, body, key=key, content_type=content_type)[:3] == (400, code, param)


def test_bodies_that_are_neither_sdp_nor_multipart() -> None:
    vendor = Vendor()
    assert vendor.refusal(CALLS, "{}")[1] == "unsupported_content_type"
    assert "multipart body" in vendor.refusal(CALLS, "x", content_type="multipart/form-data; boundary=b0")[3]
    assert "multipart body" in vendor.refusal(CALLS, "x", content_type="multipart/form-data")[3]


def test_offers_that_are_none() -> None:
    vendor = Vendor()
    secret = vendor.mint()
    assert vendor.refused_call(secret, NO_AUDIO) == (
        400,
        {
            "error": {
                "message": "Offer did not have an audio media section.",
                "type": "invalid_request_error",
                "code": "invalid_offer",
                "param": "",
            }
        },
    )
    for offer in ("", "fake", "v=0\r\nnonsense\r\n", json.dumps({"sdp": OFFER})):
        status, body = vendor.refused_call(secret, offer)
        assert (status, body["error"]["code"]) == (400, "invalid_offer")
        assert "WHIP-compliant" in body["error"]["message"]
    assert vendor.service.calls.all == []


def test_the_model_of_a_call() -> None:
    vendor = Vendor(answerer=Answering())
    assert vendor.refused_call(KEY)[1]["error"]["code"] == "missing_model"
    call = vendor.call(KEY, query={"model": "gpt-realtime-mini"})
    assert call.model is not None
    assert call.model.name == "gpt-realtime-mini"
    status, body = vendor.refused_call(KEY, query={"model": "gpt-live-1"})
    assert (status, body["error"]["code"], body["error"]["param"]) == (400, "invalid_model", "")
    transcription = vendor.mint(TRANSCRIPTION)
    assert vendor.call(transcription).kind == "transcription"
    assert vendor.refused_call(transcription, query={"model": "gpt-realtime"})[1]["error"]["code"] == "invalid_model"


def test_without_webrtc_the_fake_says_so() -> None:
    vendor = Vendor()
    status, code, _, message = vendor.refusal(CALLS, OFFER, key=vendor.mint(), content_type="application/sdp")
    assert (status, code) == (501, "webrtc_not_served")
    assert "without WebRTC" in message
    assert [call.state for call in vendor.service.calls.all] == [CallState.ENDED]


# -- the published 403, and its causes


def test_cause_minted_in_another_project() -> None:
    vendor = Vendor(key=KeyInfo(elsewhere={"proj_small": ("gpt-realtime-mini",)}))
    secret = vendor.mint(openai_project="proj_small")
    assert vendor.refused_call(secret) == (403, PUBLISHED)
    assert vendor.rejected(secret) == ("model_not_found", 4004)
    # The direct path, as the report has it: the model is listed, and the call gets as far as its fake offer.
    assert vendor.get("/v1/models/gpt-realtime", method="GET")["id"] == "gpt-realtime"
    status, body = vendor.refused_call(KEY, NO_AUDIO, query={"model": "gpt-realtime"})
    assert (status, body["error"]["code"]) == (400, "invalid_offer")
    healthy = Vendor(answerer=Answering(), key=KeyInfo(elsewhere={"proj_small": ("gpt-realtime-mini",)}))
    healthy.call(healthy.mint())


def test_cause_minted_in_another_organisation() -> None:
    vendor = Vendor(key=KeyInfo(elsewhere={"org-small": ()}))
    assert vendor.refused_call(vendor.mint(openai_organization="org-small")) == (403, PUBLISHED)


def test_cause_minted_with_stale_permissions() -> None:
    for reading, refused in (("minted", True), ("live", False)):
        vendor = Vendor(secret_permissions=reading, answerer=Answering(), key=KeyInfo(models=("gpt-realtime-mini",)))
        secret = vendor.mint()
        vendor.keys[KEY] = KeyInfo()
        if refused:
            assert vendor.refused_call(secret) == (403, PUBLISHED)
            vendor.call(vendor.mint())
        else:
            vendor.call(secret)


def test_cause_minted_with_another_model() -> None:
    vendor = Vendor()
    secret = vendor.mint({**REALTIME, "model": "gpt-4o-realtime-preview"})
    status, body = vendor.refused_call(secret)
    assert (status, body["error"]["code"]) == (403, "model_not_found")
    assert "`gpt-4o-realtime-preview`" in body["error"]["message"]


def test_cause_minted_through_the_beta_endpoint() -> None:
    vendor = Vendor(beta_minting="always", secret_of_other_dialect="model_not_found")
    minted = vendor.get("/v1/realtime/sessions", {"model": "gpt-realtime"})
    assert vendor.refused_call(minted["client_secret"]["value"]) == (403, PUBLISHED)


def test_cause_minted_in_the_beta_shape() -> None:
    vendor = Vendor(beta_shape_at_client_secrets="mint", secret_of_other_dialect="model_not_found")
    assert vendor.refused_call(vendor.mint({"model": "gpt-realtime", "voice": "sage"})) == (403, PUBLISHED)
    assert vendor.refusal(MINT, {"session": {"audio": {}}})[1] == "missing_required_parameter"


def test_cause_a_request_that_contradicts_its_secret() -> None:
    vendor = Vendor(answerer=Answering())
    secret = vendor.mint({**REALTIME, "model": "gpt-realtime-mini"})
    assert vendor.refused_call(secret, query={"model": "gpt-realtime"}) == (403, PUBLISHED)
    body, content_type = multipart(sdp=OFFER, session=json.dumps(REALTIME))
    answer = vendor.ask(CALLS, body, key=secret, content_type=content_type)
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.body) == (403, PUBLISHED)
    vendor.call(secret)


def test_cause_the_key_has_no_access() -> None:
    vendor = Vendor(key=KeyInfo(models=("gpt-realtime-mini",)))
    listing = vendor.get("/v1/models", method="GET")
    assert "gpt-realtime" in [model["id"] for model in listing["data"]]
    assert vendor.refused_call(KEY, query={"model": "gpt-realtime"}) == (403, PUBLISHED)
    assert vendor.rejected(KEY, {"model": "gpt-realtime"}) == ("model_not_found", 4004)
    assert vendor.connect(KEY, {"model": "gpt-realtime-mini"}).model == "gpt-realtime-mini"


def test_a_fake_offer_may_hide_the_403() -> None:
    for first, status in (("model", 403), ("offer", 400)):
        vendor = Vendor(calls_check_first=first, key=KeyInfo(models=()))
        assert vendor.refused_call(vendor.mint(), NO_AUDIO)[0] == status


def test_projects_and_organisations_that_are_not_those_of_the_key() -> None:
    vendor = Vendor(answerer=Answering(), key=KeyInfo(elsewhere={"proj_small": None}))
    assert vendor.refusal(MINT, openai_project="proj_nope")[:2] == (401, "mismatched_project")
    assert vendor.refusal(MINT, openai_organization="org-nope")[:2] == (401, "mismatched_organization")
    secret = vendor.mint(openai_project="proj_small")
    assert vendor.refused_call(secret, openai_project="proj_callproof")[0] == 401
    assert vendor.refused_call(secret, openai_organization="org-nope")[0] == 401
    vendor.call(secret, openai_project="proj_small")
    offered = ("realtime", f"openai-insecure-api-key.{secret}", "openai-project.proj_callproof")
    assert vendor.rejected("", subprotocols=offered) == ("mismatched_project", 3000)
    assert vendor.connect("", subprotocols=(*offered[:2], "openai-project.proj_small")).kind == "realtime"


# -- what is done to calls


def test_a_sip_call_is_accepted_referred_and_hung_up() -> None:
    vendor = Vendor()
    moves: list[CallState] = []
    call = vendor.service.calls.open("sip", Place("org-callproof", "proj_callproof"))
    call.on_move = lambda moved: moves.append(moved.state)
    path = f"{CALLS}/{call.id}"
    assert vendor.refusal(f"{path}/refer", {"target_uri": "tel:+15550100"})[:2] == (400, "invalid_call_state")
    vendor.get(f"{path}/accept", {**REALTIME, "instructions": "Be brief."})
    assert call.model is not None
    assert call.session == {"type": "realtime", "instructions": "Be brief."}
    assert vendor.refusal(f"{path}/accept", REALTIME)[:2] == (400, "invalid_call_state")
    vendor.get(f"{path}/refer", {"target_uri": "tel:+15550100"})
    assert call.detail == {"target_uri": "tel:+15550100"}
    vendor.get(f"{path}/hangup")
    assert moves == [CallState.ACTIVE, CallState.REFERRED, CallState.ENDED]


def test_a_sip_call_is_rejected() -> None:
    vendor = Vendor()
    call = vendor.service.calls.open("sip", Place("org-callproof", "proj_callproof"))
    path = f"{CALLS}/{call.id}"
    vendor.get(f"{path}/reject", {"status_code": 486})
    assert (call.state, call.detail) == (CallState.REJECTED, {"status_code": 486})
    assert vendor.refusal(f"{path}/reject")[:2] == (404, "call_id_not_found")


@pytest.mark.parametrize(
    ("action", "body", "code", "param"),
    [
        ("accept", {}, "missing_required_parameter", "type"),
        ("accept", {"type": "transcription"}, "invalid_value", "type"),
        ("accept", {**REALTIME, "voice": "x"}, "unknown_parameter", "voice"),
        ("accept", {**REALTIME, "audio": {"output": {"voice": "x"}}}, "invalid_value", "audio.output.voice"),
        ("accept", {"type": "realtime"}, "missing_required_parameter", "model"),
        ("reject", {"status_code": "486"}, "invalid_type", "status_code"),
        ("reject", {"status_code": 200}, "integer_below_min_value", "status_code"),
        ("reject", {"code": 486}, "unknown_parameter", "code"),
        ("refer", {}, "missing_required_parameter", "target_uri"),
        ("refer", {"target_uri": 5}, "invalid_type", "target_uri"),
        ("refer", {"target_uri": "tel:+1", "to": "x"}, "unknown_parameter", "to"),
    ],
)
def test_actions_with_bodies_that_are_refused(action: str, body: Any, code: str, param: str) -> None:
    vendor = Vendor()
    call = vendor.service.calls.open("sip", Place("org-callproof", "proj_callproof"))
    assert vendor.refusal(f"{CALLS}/{call.id}/{action}", body)[:3] == (400, code, param)
    assert call.state is CallState.RINGING


@pytest.mark.parametrize("action", ["accept", "reject", "refer", "hangup"])
def test_calls_that_are_not_there(action: str) -> None:
    vendor = Vendor()
    path = f"{CALLS}/rtc_nobody/{action}"
    assert vendor.refusal(path, REALTIME)[:2] == (404, "call_id_not_found")
    assert vendor.refusal(path, REALTIME, key=vendor.mint())[0] == 403
    assert vendor.refusal(path, REALTIME, key=None)[0] == 401
    assert Vendor(unknown_call_status=400).refusal(path, REALTIME)[:2] == (400, "call_id_not_found")
    vendor.keys[OTHER] = KeyInfo(project="proj_theirs")
    call = vendor.service.calls.open("sip", Place("org-callproof", "proj_callproof"))
    assert vendor.refusal(f"{CALLS}/{call.id}/{action}", REALTIME, key=OTHER)[0] == 404


def test_a_webrtc_call_is_only_hung_up() -> None:
    vendor = Vendor(answerer=Answering())
    call = vendor.call(vendor.mint())
    call.move(CallState.ACTIVE)
    status, code, _, message = vendor.refusal(f"{CALLS}/{call.id}/refer", {"target_uri": "tel:+1"})
    assert (status, code) == (400, "invalid_call_state")
    assert message == "You cannot refer a WebRTC call that is active."


def test_illegal_transitions_of_a_call_raise() -> None:
    for before, allowed in CALL_TRANSITIONS.items():
        for after in set(CallState) - allowed:
            call = Call("rtc_1", 1, "sip", Place("o", "p"), state=before)
            with pytest.raises(IllegalTransitionError, match="call 1"):
                call.move(after)


# -- URLs and browsers


def test_methods_and_urls() -> None:
    vendor = Vendor()
    assert vendor.refusal(MINT, method="GET")[0] == 405
    assert vendor.refusal(f"{CALLS}/rtc_1/dance", {})[3] == "Invalid URL (POST /v1/realtime/calls/rtc_1/dance)"
    assert vendor.refusal("/v1/realtime/nope", {}, method="OPTIONS")[0] == 404


@pytest.mark.parametrize("path", [MINT, CALLS, "/v1/realtime/sessions", f"{CALLS}/rtc_1/hangup"])
def test_browsers_may_ask_first(path: str) -> None:
    answer = Vendor().ask(path, key=None, method="OPTIONS", origin="https://gateway.example")
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    for header in ("authorization", "content-type", "x-openai-agents-sdk"):
        assert header in answer.headers["Access-Control-Allow-Headers"]


async def test_answers_to_browsers_may_be_read() -> None:
    vendor = Vendor(answerer=Answering())
    secret = vendor.mint()
    refused = vendor.offer("ek_wrong", origin="https://gateway.example")
    assert isinstance(refused, HttpAnswer)
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, "*")
    offered = vendor.offer(secret, origin="https://gateway.example")
    assert isinstance(offered, Offered)
    headers = (await vendor.service.answer(offered)).headers
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Expose-Headers"] == "Location"
    server = vendor.offer("ek_wrong")
    assert isinstance(server, HttpAnswer)
    assert server.headers == {}
    hidden = Vendor(cors_expose_location=False).offer("ek_wrong", origin="https://gateway.example")
    assert isinstance(hidden, HttpAnswer)
    assert "Access-Control-Expose-Headers" not in hidden.headers


# -- over sockets


@asynccontextmanager
async def listening(
    **options: Any,
) -> AsyncIterator[tuple[OpenAIService, ListRecorder, aiohttp.ClientSession]]:
    recorder = ListRecorder()
    ports = Ports(LoopClock(), TypicalChoices(), recorder, OpenGates())
    service = OpenAIService(ports, as_of=GA_DAY, keys={KEY: KeyInfo()}, **options)
    server = OpenAIServer(service)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as http:
        yield service, recorder, http
    await server.close()
    await runner.cleanup()


async def test_a_browser_and_its_server_on_the_wire() -> None:
    answering = Answering()
    async with listening(answerer=answering) as (service, recorder, http):
        server = {"Authorization": f"Bearer {KEY}"}
        async with http.post(MINT, headers=server, json={"session": REALTIME}) as minted:
            secret = (await minted.json())["value"]
        browser = {"Origin": "https://gateway.example"}
        asking = {**browser, "Access-Control-Request-Method": "POST"}
        async with http.options(CALLS, headers=asking) as preflight:
            assert preflight.status == 204
            assert preflight.headers["Access-Control-Allow-Origin"] == "*"
        headers = {**browser, "Authorization": f"Bearer {secret}", "Content-Type": "application/sdp"}
        async with http.post(CALLS, headers=headers, data=OFFER) as answer:
            assert (answer.status, answer.content_type) == (201, "application/sdp")
            assert await answer.text() == ANSWER
            location = answer.headers["Location"]
        async with http.post(f"{location}/hangup", headers=server) as hung_up:
            assert (hung_up.status, await hung_up.text()) == (200, "")
        async with http.post(MINT, headers=server, json={"model": "gpt-realtime"}) as refused:
            assert refused.status == 400
        said = [(m.source, m.target, m.kind, m.connection) for m in recorder.messages]
        assert said[:6] == [
            ("gateway", "openai", "request", "openai/http#1"),
            ("openai", "gateway", "response", "openai/http#1"),
            ("browser", "openai", "request", "openai/http#2"),
            ("openai", "browser", "response", "openai/http#2"),
            ("browser", "openai", "request", "openai/http#3"),
            ("openai", "browser", "response", "openai/http#3"),
        ]
        assert {m.channel for m in recorder.messages} == {"openai.http"}
        # The wire has secrets as they crossed: that is how a leak is found.
        assert secret in str(recorder.messages[1].body)
        assert ["Authorization", f"Bearer {secret}"] in [list(pair) for pair in recorder.messages[4].meta["headers"]]
        assert recorder.messages[5].meta["status"] == 201
        assert [m.invalid for m in recorder.messages[:-2]] == [None] * (len(recorder.messages) - 2)
        assert recorder.messages[-2].invalid == "Unknown parameter: 'model'."
        assert answering.moves == [CallState.ACTIVE, CallState.ENDED]
        assert service.calls.all[0].state is CallState.ENDED


async def test_a_browser_connects_by_subprotocol() -> None:
    async with listening() as (service, recorder, http):
        async with http.post(MINT, headers={"Authorization": f"Bearer {KEY}"}, json={"session": REALTIME}) as minted:
            secret = (await minted.json())["value"]
        protocols = ("realtime", f"openai-insecure-api-key.{secret}")
        origin = {"Origin": "https://gateway.example"}
        async with http.ws_connect("/v1/realtime?model=gpt-realtime", headers=origin, protocols=protocols) as ws:
            assert ws.protocol == "realtime"
            assert (await ws.receive_json())["session"]["model"] == "gpt-realtime"
        closed = await service.wait_for(lambda: service.sessions[0].closed)
        assert closed.initiator == "browser"
        ends = {(m.source, m.target) for m in recorder.messages if m.channel == "openai.realtime"}
        assert ends == {("browser", "openai"), ("openai", "browser")}


async def test_everybody_is_the_gateway_when_there_are_no_browsers() -> None:
    async with listening(browser_party=None) as (_, recorder, http):
        async with http.get("/v1/models", headers={"Origin": "https://gateway.example"}) as answer:
            assert answer.status == 401
        assert [m.source for m in recorder.messages] == ["gateway", "openai"]


async def test_calls_end_with_the_server() -> None:
    answering = Answering()
    async with listening(answerer=answering) as (_, _, http):
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/sdp"}
        async with http.post(f"{CALLS}?model=gpt-realtime", headers=headers, data=OFFER) as answer:
            assert answer.status == 201
    assert answering.moves == [CallState.ACTIVE, CallState.ENDED]
