"""Calls: SDP offers, the family of the published 403, and what is done to WebRTC and SIP calls over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai_vendor import (
    ANSWER,
    CALLS,
    MINT,
    NO_AUDIO,
    OFFER,
    OTHER,
    PUBLISHED,
    REALTIME,
    TRANSCRIPTION,
    Answering,
    Vendor,
    listening,
    multipart,
)
from openai_world import BETA_DAY, KEY

from fakes.openai import KeyInfo
from fakes.openai.calls import CALL_TRANSITIONS, Call, CallState
from fakes.openai.http import HttpAnswer, Offered
from fakes.openai.responses import IllegalTransitionError
from fakes.openai.secrets import Place

# -- offers


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
    other = Vendor(other_organization="invalid_organization").refusal(MINT, openai_organization="org-nope")
    assert other == (401, "invalid_organization", None, "No such organization: org-nope.")
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


# -- over sockets


async def test_calls_end_with_the_server() -> None:
    answering = Answering()
    async with listening(answerer=answering) as (_, _, http):
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/sdp"}
        async with http.post(f"{CALLS}?model=gpt-realtime", headers=headers, data=OFFER) as answer:
            assert answer.status == 201
    assert answering.moves == [CallState.ACTIVE, CallState.ENDED]


def test_the_beta_has_null_where_ga_has_empty_strings() -> None:
    for vendor, path, param in ((Vendor(BETA_DAY), "/v1/realtime", None), (Vendor(), CALLS, "")):
        query = {"model": "gpt-realtime"}
        refused = vendor.refusal(path, "v=0 nonsense", query=query, content_type="application/sdp")
        assert refused[1:3] == ("invalid_offer", param)
