"""Azure's plain HTTP endpoints: client secrets, calls, the preview's sessions and its regional WebRTC."""

from __future__ import annotations

from datetime import date

import pytest
from azure_vendor import (
    BETA,
    CALLS,
    GOOD_TOKEN,
    KEY1,
    LEGACY,
    MINT,
    OTHER_HOST,
    OTHER_KEY,
    PREVIEW,
    START,
    V1,
    Azure,
)
from openai_vendor import ANSWER, NO_AUDIO, OFFER, Answering, multipart

from fakes.openai.calls import CallState
from fakes.openai.frames import Frame
from fakes.openai.handshake import RefuseHttp
from fakes.openai.http import HttpAnswer, HttpRequest, Offered
from fakes.openai.plans import HttpPlan
from fakes.openai.protocol import validate
from fakes.openai.rtc_session import RtcSession

REALTIME = {"type": "realtime", "model": "agent"}
REGIONAL = "/v1/realtimertc"
EASTUS2 = "eastus2.realtimeapi-preview.ai.azure.com"

# -- client secrets


def test_a_client_secret() -> None:
    azure = Azure()
    answer = azure.answer(MINT, {"session": {**REALTIME, "instructions": "Be brief."}})
    assert answer.status == 200
    assert answer.body is not None
    assert answer.body["expires_at"] == START + 600
    shown = answer.body["session"]
    assert (shown["model"], shown["instructions"]) == ("agent", "Be brief.")
    assert validate("ga", "server", {"type": "session.updated", "event_id": "e", "session": shown}) is None
    assert {"apim-request-id", "x-ms-region"} < set(answer.headers)
    assert not {name for name in answer.headers if name.lower().startswith("openai")}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"session": {"type": "realtime"}}, "session.model"),
        ({"session": {"model": "agent"}}, "session.type"),
        ({}, "session.model"),
    ],
)
def test_type_and_model_are_required(body: dict[str, object], param: str) -> None:
    azure = Azure()
    answer = azure.answer(MINT, body)
    assert answer.status == 400
    assert answer.body is not None
    assert (answer.body["error"]["code"], answer.body["error"]["param"]) == ("missing_required_parameter", param)
    assert answer.invalid is not None
    assert azure.service.secrets.minted == []


def test_minting_may_check_the_deployment() -> None:
    session = {"type": "realtime", "model": "nothing"}
    assert Azure().error(MINT, {"session": session}) == (404, "DeploymentNotFound")
    unchecked = Azure(minting_checks_deployment=False)
    secret = unchecked.mint(session)
    assert unchecked.refused(V1, {}, key=None, authorization=f"Bearer {secret}") == (404, "DeploymentNotFound")


def test_who_may_mint() -> None:
    azure = Azure()
    assert azure.error(MINT, {"session": REALTIME}, key=OTHER_KEY) == (401, "401")
    assert azure.error(MINT, {"session": REALTIME}, key=None) == (401, "401")
    assert azure.mint(key=None, authorization=f"Bearer {KEY1}")
    assert azure.mint(key=None, authorization=f"Bearer {GOOD_TOKEN}")
    stranger = "Bearer head.stranger.tail"
    answer = azure.answer(MINT, {"session": REALTIME}, key=None, authorization=stranger)
    assert answer.status == 401
    assert answer.body is not None
    assert "`POST /openai/v1/realtime/client_secrets`" in answer.body["error"]["message"]
    secret = azure.mint()
    assert azure.error(MINT, {"session": REALTIME}, key=None, authorization=f"Bearer {secret}")[0] == 403


@pytest.mark.parametrize("by", ["key", "token"])
def test_a_secret_opens_sessions_of_its_own_resource(by: str) -> None:
    azure = Azure()
    credential = {} if by == "key" else {"key": None, "authorization": f"Bearer {GOOD_TOKEN}"}
    secret = azure.mint({**REALTIME, "instructions": "Be brief."}, **credential)
    bearer = {"key": None, "authorization": f"Bearer {secret}"}
    client = azure.connect(V1, {}, **bearer)
    assert client.wait(5)[0]["session"]["instructions"] == "Be brief."
    assert azure.refused(V1, {}, host=OTHER_HOST, **bearer) == (401, "Unauthorized")
    azure.clock.advance(600)
    assert azure.refused(V1, {}, **bearer) == (401, "Unauthorized")


def test_a_secret_of_a_rotated_key_is_not_good() -> None:
    azure = Azure()
    secret = azure.mint()
    azure.voice.keys = ("d4" * 16,)
    assert azure.refused(V1, {}, key=None, authorization=f"Bearer {secret}") == (401, "Unauthorized")


# -- calls


async def test_a_call_by_a_secret() -> None:
    answering = Answering()
    azure = Azure(answerer=answering)
    offered = azure.offer(azure.mint(), OFFER)
    assert isinstance(offered, Offered)
    assert offered.gate == "azure/call1/answer"
    answer = await azure.service.answer(offered)
    assert (answer.status, answer.text, answer.content_type) == (201, ANSWER, "application/sdp")
    call = answering.calls[0]
    assert answer.headers["Location"] == f"/v1/realtime/calls/{call.id}"
    assert (call.state, call.filter) == (CallState.ACTIVE, None)
    assert "apim-request-id" in answer.headers


async def test_a_call_by_a_key_with_its_session_in_a_form() -> None:
    azure = Azure(answerer=Answering(), location_prefix=True)
    body, content_type = multipart(sdp=OFFER, session='{"type": "realtime", "model": "agent"}')
    offered = azure.ask(CALLS, body, content_type=content_type)
    assert isinstance(offered, Offered)
    assert offered.call.model is not None
    assert (offered.call.model.name, offered.call.model.deployment) == ("gpt-realtime", "agent")
    answer = await azure.service.answer(offered)
    assert answer.headers["Location"].startswith("/openai/v1/realtime/calls/rtc_")


class Leg:
    """A data channel that keeps what crosses it."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def send(self, frame: Frame) -> None:
        self.kinds.append(frame.kind)

    def play(self, pcm: bytes) -> None:
        pass

    def release(self) -> None:
        pass


@pytest.mark.parametrize("filtered", [True, False])
async def test_webrtcfilter(filtered: bool) -> None:
    azure = Azure(answerer=Answering())
    query = {"webrtcfilter": "on"} if filtered else {}
    offered = azure.offer(azure.mint(), OFFER, query=query)
    assert isinstance(offered, Offered)
    await azure.service.answer(offered)
    leg = Leg()
    rtc = RtcSession(azure.service, offered.call, leg)
    rtc.open()
    azure.clock.advance(5)
    rtc.receive_text('{"type": "response.create"}')
    azure.clock.advance(60)
    crossed = set(leg.kinds)
    assert {
        "response.output_audio_transcript.delta",
        "output_audio_buffer.started",
        "conversation.item.added",
    } < crossed
    assert ({"session.created", "response.done", "response.created"} & crossed == set()) is filtered
    assert rtc.session.channel == "azure.datachannel"
    assert rtc.session.wire["model"] == "agent"
    rtc.receive_text('{"type": "nonsense"}')
    assert ("error" in leg.kinds) is not filtered


async def test_a_sideband_and_the_end_of_a_call() -> None:
    azure = Azure(answerer=Answering())
    offered = azure.offer(azure.mint(), OFFER)
    assert isinstance(offered, Offered)
    await azure.service.answer(offered)
    call = offered.call
    RtcSession(azure.service, call, Leg()).open()
    azure.clock.advance(5)
    sideband = azure.join(V1, {"call_id": call.id})
    assert sideband.link.connection == "azure#1"
    assert azure.refused(V1, {"call_id": call.id}, host=OTHER_HOST, key=OTHER_KEY)[0] == 404
    assert azure.error(f"{CALLS}/{call.id}/hangup", host=OTHER_HOST, key=OTHER_KEY)[0] == 404
    assert azure.answer(f"{CALLS}/{call.id}/hangup").status == 200
    assert call.state is CallState.ENDED


def test_offers_that_are_refused() -> None:
    azure = Azure(answerer=Answering())
    secret = azure.mint()
    assert azure.offer(secret, "nonsense").status == 400  # type: ignore[union-attr]
    assert azure.offer(secret, NO_AUDIO).status == 400  # type: ignore[union-attr]
    wrong = azure.ask(CALLS, OFFER, content_type="application/sdp", key=KEY1, query={"model": "nothing"})
    assert isinstance(wrong, HttpAnswer)
    assert (wrong.status, wrong.body) == (
        404,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist. If you created the deployment within"
                " the last 5 minutes, please wait a moment and try again.",
            }
        },
    )
    assert azure.offer("ek_unknown", OFFER).status == 401  # type: ignore[union-attr]


@pytest.mark.parametrize("action", ["accept", "reject", "refer"])
def test_sip_is_under_the_same_roof(action: str) -> None:
    azure = Azure()
    body = {"accept": REALTIME, "reject": {}, "refer": {"target_uri": "tel:+15550100"}}[action]
    assert azure.error(f"{CALLS}/rtc_nothing/{action}", body)[0] == 404
    assert azure.error(f"{CALLS}/rtc_nothing/{action}", body, key="wrong")[0] == 401


# -- the preview


def test_a_session_of_the_preview() -> None:
    azure = Azure()
    query = {"api-version": PREVIEW}
    answer = azure.answer(LEGACY, {"model": "agent", "voice": "verse"}, query=query)
    assert answer.status == 200
    assert answer.body is not None
    assert (answer.body["model"], answer.body["voice"], answer.body["id"][:5]) == ("agent", "verse", "sess_")
    secret = answer.body["client_secret"]
    assert secret["value"].startswith("ek_")
    assert secret["expires_at"] == START + 60
    assert azure.error(LEGACY, {"model": "agent"}) == (404, "404")
    assert azure.error(LEGACY, {"model": "nothing"}, query=query) == (404, "DeploymentNotFound")
    assert azure.error(LEGACY, {"voice": "verse"}, query=query) == (400, "missing_required_parameter")
    assert Azure(preview_retired="now").error(LEGACY, {"model": "agent"}, query=query) == (404, "404")


def preview_secret(azure: Azure) -> str:
    answer = azure.answer(LEGACY, {"model": "agent"}, query={"api-version": PREVIEW})
    assert answer.body is not None
    return str(answer.body["client_secret"]["value"])


async def test_webrtc_of_the_preview_is_in_the_region() -> None:
    azure = Azure(answerer=Answering())
    there = {"path": REGIONAL, "query": {"model": "agent"}}
    offered = azure.offer(preview_secret(azure), OFFER, host=EASTUS2, **there)
    assert isinstance(offered, Offered)
    assert offered.call.dialect == "beta"
    answer = await azure.service.answer(offered)
    assert (answer.status, "Location" in answer.headers) == (201, False)
    assert EASTUS2 in azure.service.resources.hosts


def test_where_webrtc_of_the_preview_is_not() -> None:
    azure = Azure(answerer=Answering())
    secret = preview_secret(azure)
    there = {"path": REGIONAL, "query": {"model": "agent"}}
    elsewhere = "swedencentral.realtimeapi-preview.ai.azure.com"
    assert azure.offer(secret, OFFER, host=elsewhere, **there).status == 401  # type: ignore[union-attr]
    assert azure.offer(secret, OFFER, **there).status == 404  # type: ignore[union-attr]
    assert azure.offer("ek_unknown", OFFER, host=EASTUS2, **there).status == 401  # type: ignore[union-attr]
    lenient = Azure(answerer=Answering(), region_of_secret=False)
    assert isinstance(lenient.offer(preview_secret(lenient), OFFER, host=elsewhere, **there), Offered)


def test_secrets_are_of_one_dialect() -> None:
    azure = Azure(answerer=Answering())
    decision = azure.handshake(BETA, key=None, authorization=f"Bearer {azure.mint()}").decision
    assert isinstance(decision, RefuseHttp)
    assert azure.offer(preview_secret(azure), OFFER).status >= 400  # type: ignore[union-attr]


# -- the rest


def test_models() -> None:
    answer = Azure().answer("/openai/v1/models", method="GET")
    assert answer.body is not None
    assert "gpt-realtime" in [model["id"] for model in answer.body["data"]]
    assert Azure().answer("/openai/v1/models/gpt-realtime", method="GET").status == 200
    assert Azure(date(2025, 1, 1)).error("/openai/v1/models", method="GET") == (404, "404")


@pytest.mark.parametrize(
    "path", ["/v1/realtime/client_secrets", "/openai/realtime/client_secrets", "/openai/v1/chat/completions", V1, BETA]
)
def test_wrong_paths(path: str) -> None:
    assert Azure().error(path, {"session": REALTIME}) == (404, "404")


def test_a_web_socket_without_an_upgrade() -> None:
    assert Azure().answer(V1, method="GET").status == 426


def test_a_browser_may_come_from_anywhere() -> None:
    azure = Azure(answerer=Answering())
    asked = azure.answer(
        CALLS, method="OPTIONS", key=None, origin="https://app.example", access_control_request_headers="authorization"
    )
    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Headers"] == "authorization"
    regional = azure.answer(REGIONAL, method="OPTIONS", key=None, host=EASTUS2, origin="https://app.example")
    assert regional.status == 204
    refused = azure.answer(CALLS, "x", key="wrong", origin="https://app.example")
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, "*")


def test_a_body_that_is_too_large() -> None:
    azure = Azure()
    assert azure.service.too_large(HttpRequest("POST", MINT, {})).status == 413


def test_a_planned_429() -> None:
    plan = HttpPlan(refuse=(429, "azure_too_many_requests"), headers={"retry-after-ms": "250"})
    answer = plan.answered("POST", MINT)
    assert answer is not None
    assert answer.body is not None
    assert (answer.status, answer.headers["retry-after-ms"]) == (429, "250")
    assert list(answer.body["error"]) == ["code", "message"]


def test_a_body_that_is_too_large_for_nobody() -> None:
    headers = {"host": "nobody.openai.azure.com"}
    assert Azure().service.too_large(HttpRequest("POST", MINT, headers)).status == 404
