"""Client secrets and the other plain HTTP endpoints: who may mint what, and what that is good for."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from openai_vendor import ANSWER, CALLS, MINT, OFFER, REALTIME, TRANSCRIPTION, Answering, Vendor, listening
from openai_world import BETA_DAY, KEY, START

from fakes.openai import KeyInfo
from fakes.openai.calls import CallState
from fakes.openai.handshake import RefuseInBand
from fakes.openai.http import BODY_LIMIT, HttpAnswer, Offered
from fakes.openai.protocol import validate

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
    audio: dict[str, Any] = {"transcription": {"model": "gpt-realtime-whisper"}}
    session: dict[str, Any] = {"type": "transcription", "audio": {"input": audio}}
    minted = Vendor().ask(MINT, {"session": session})
    assert isinstance(minted, HttpAnswer)
    assert minted.body is not None
    assert minted.body["session"]["audio"]["input"]["turn_detection"] is None
    audio["turn_detection"] = {"type": "server_vad"}
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


# -- URLs and browsers


def test_methods_and_urls() -> None:
    vendor = Vendor()
    assert vendor.refusal(MINT, method="GET")[0] == 405
    assert vendor.refusal(f"{CALLS}/rtc_1/dance", {})[3] == "Invalid URL (POST /v1/realtime/calls/rtc_1/dance)"
    assert vendor.refusal("/v1/realtime/nope", {}, method="OPTIONS")[0] == 404
    for path in ("/v1/realtime", "/v1/realtime/translations"):
        assert vendor.refusal(path, method="GET")[0] == 426
        assert vendor.refusal(path, method="HEAD")[0] == 426
        assert vendor.refusal(path, method="PUT")[0] == 405
    assert Vendor(date(2026, 5, 5)).refusal("/v1/realtime/translations", method="GET")[0] == 404


BROWSER_PATHS = [MINT, CALLS, "/v1/realtime/sessions", f"{CALLS}/rtc_1/hangup", "/v1/models", "/v1/models/gpt-realtime"]


@pytest.mark.parametrize("path", BROWSER_PATHS)
def test_browsers_may_ask_first(path: str) -> None:
    wanted = "authorization,content-type,x-openai-agents-sdk,x-stainless-os"
    vendor = Vendor()
    origin = {"origin": "https://gateway.example"}
    answer = vendor.ask(path, key=None, method="OPTIONS", access_control_request_headers=wanted, **origin)
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == wanted
    plain = vendor.ask(path, key=None, method="OPTIONS", **origin)
    assert isinstance(plain, HttpAnswer)
    assert "Access-Control-Allow-Headers" not in plain.headers


@pytest.mark.parametrize("path", [*BROWSER_PATHS, "/v1/realtime", "/v1/realtime/nope", "/v1/nope"])
def test_browsers_may_read_every_refusal(path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = Vendor().ask(path, {}, key=None, method=method, origin="https://gateway.example")
        assert isinstance(answer, HttpAnswer)
        assert answer.status >= 400
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


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
    assert headers["Access-Control-Expose-Headers"] == "X-Request-ID, Location"
    server = vendor.offer("ek_wrong")
    assert isinstance(server, HttpAnswer)
    assert not [name for name in server.headers if name.startswith("Access-Control")]
    hidden = Vendor(cors_expose_location=False).offer("ek_wrong", origin="https://gateway.example")
    assert isinstance(hidden, HttpAnswer)
    assert hidden.headers["Access-Control-Expose-Headers"] == "X-Request-ID"


# -- what every answer carries


def test_every_answer_has_an_id_of_its_own() -> None:
    vendor = Vendor()
    answers = [vendor.ask("/v1/models", method="GET"), vendor.ask(MINT, {}), vendor.ask("/v1/nope", {}, key=None)]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == 3
    assert all(name.startswith("req_") for name in ids)
    assert {answer.headers["OpenAI-Version"] for answer in answers} == {"2020-10-01"}
    assert [answer.headers.get("OpenAI-Organization") for answer in answers] == ["org-callproof", "org-callproof", None]
    elsewhere = Vendor(key=KeyInfo(elsewhere={"org-other": None}))
    assert elsewhere.ask(MINT, {}, openai_organization="org-other").headers["OpenAI-Organization"] == "org-other"


async def test_how_long_an_answer_took() -> None:
    vendor = Vendor(answerer=Answering())
    offered = vendor.offer(vendor.mint())
    assert isinstance(offered, Offered)
    vendor.clock.advance(0.25)
    assert (await vendor.service.answer(offered)).headers["OpenAI-Processing-Ms"] == "250"
    assert vendor.ask(MINT, {}).headers["OpenAI-Processing-Ms"] == "0"


# -- models


def test_one_model() -> None:
    vendor = Vendor()
    assert vendor.get("/v1/models/gpt-realtime-2", method="GET")["id"] == "gpt-realtime-2"
    for name in ("gpt-4o-realtime-preview", "no-such-model", "gpt-realtime/2", "ft:gpt-4o:mine"):
        status, code, param, message = vendor.refusal(f"/v1/models/{name}", method="GET")
        assert (status, code, param) == (404, "model_not_found", "model")
        assert message == f"The model '{name}' does not exist"
    assert vendor.refusal("/v1/models/", method="GET")[0] == 404
    assert vendor.refusal("/v1/models", {}, method="POST")[0] == 405
    assert vendor.refusal("/v1/models/gpt-realtime", method="DELETE")[0] == 405
    assert vendor.refusal("/v1/models", method="GET", key=vendor.mint())[:2] == (403, "insufficient_permissions")
    assert vendor.refusal("/v1/models", method="GET", key="sk-wrong-0123456789")[:2] == (401, "invalid_api_key")
    assert vendor.ask("/v1/models/gpt-realtime-2", method="HEAD").headers["OpenAI-Version"]


def test_a_key_sees_models_that_it_may_not_use() -> None:
    vendor = Vendor(key=KeyInfo(models=("gpt-realtime",)))
    seen = [model["id"] for model in vendor.get("/v1/models", method="GET")["data"]]
    assert "gpt-realtime-2" in seen
    assert vendor.get("/v1/models/gpt-realtime-2", method="GET")["id"] == "gpt-realtime-2"
    assert vendor.rejected(KEY, {"model": "gpt-realtime-2"}) == ("model_not_found", 4004)
    assert vendor.connect(KEY, {"model": "gpt-realtime"}).model == "gpt-realtime"


# -- over sockets


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


async def test_bodies_that_are_too_large() -> None:
    async with listening() as (_, recorder, http):
        headers = {"Authorization": f"Bearer {KEY}", "Origin": "https://gateway.example"}
        async with http.post(MINT, headers=headers, data=b"x" * (BODY_LIMIT + 1)) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (413, "*")
            assert (await answer.json())["error"]["code"] == "request_too_large"
        assert recorder.messages[0].invalid is not None
        assert recorder.messages[0].body == b""


async def test_an_answer_to_head_has_no_body() -> None:
    async with listening() as (_, _, http):
        async with http.head("/v1/models", headers={"Authorization": f"Bearer {KEY}"}) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with http.head("/v1/models") as answer:
            assert answer.status == 401
