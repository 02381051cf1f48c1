"""Azure's upgrades: which path is which dialect, who gets in, and with which status the others are told."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from azure_vendor import (
    BETA,
    DAY,
    GOOD_TOKEN,
    HOST,
    KEY1,
    KEY2,
    OID,
    OTHER_HOST,
    OTHER_KEY,
    PREVIEW,
    START,
    TENANT,
    V1,
    Azure,
)
from openai_world import phone, types

from fakes.azure.directory import Application, Tenant
from fakes.azure.entra import Entra
from fakes.azure.resources import Deployment, Resource, Resources
from fakes.azure.service import AzureService
from fakes.openai import HandshakePlan
from fakes.openai.handshake import RefuseHttp

# -- paths, api-versions and eras


def test_the_path_is_the_dialect_whatever_the_header_says() -> None:
    azure = Azure()
    assert azure.accepted(V1, openai_beta="realtime=v1").dialect == "ga"
    assert azure.accepted(V1, subprotocols=("realtime", "openai-beta.realtime-v1")).dialect == "ga"
    assert azure.accepted(BETA).dialect == "beta"
    assert azure.service.openings[0].connection == "azure#1"
    assert azure.service.openings[0].gate == "azure/session1/handshake"


@pytest.mark.parametrize(
    ("day", "version", "served"),
    [
        (date(2026, 11, 20), "2025-04-01-preview", True),
        (date(2026, 11, 20), "2024-12-17", True),
        (date(2026, 11, 20), "2024-10-01-preview", False),
        (date(2025, 6, 1), "2024-10-01-preview", True),
        (date(2025, 1, 1), "2025-04-01-preview", False),
        (date(2026, 11, 20), "2023-05-15", False),
        (date(2026, 11, 20), "", False),
    ],
)
def test_api_versions_have_their_time(day: date, version: str, served: bool) -> None:
    azure = Azure(day)
    query = {"api-version": version, "deployment": "old"}
    if served:
        assert azure.accepted(BETA, query).dialect == "beta"
    else:
        assert azure.refused(BETA, query) == (404, "404")


@pytest.mark.parametrize(
    ("retired", "day", "served"),
    [
        ("never", date(2026, 11, 20), True),
        ("by_date", date(2026, 4, 29), True),
        ("by_date", date(2026, 4, 30), False),
        ("now", date(2026, 1, 1), False),
    ],
)
def test_the_preview_may_have_been_retired(retired: str, day: date, served: bool) -> None:
    azure = Azure(day, preview_retired=retired)
    decision = azure.handshake(BETA).decision
    assert isinstance(decision, RefuseHttp) is not served
    assert azure.accepted(V1).dialect == "ga"


def test_v1_came_with_the_ga() -> None:
    assert Azure(date(2025, 8, 27)).refused(V1) == (404, "404")
    assert Azure(date(2025, 8, 28)).accepted(V1).dialect == "ga"


@pytest.mark.parametrize("path", ["/v1/realtime", "/openai/realtime/v1", "/openai/deployments/agent/realtime", "/"])
def test_wrong_paths(path: str) -> None:
    azure = Azure()
    assert azure.refused(path, {"model": "agent", "api-version": PREVIEW}) == (404, "404")
    assert azure.refused(path, {}, key="wrong") == (404, "404")


def test_a_leftover_api_version_on_v1() -> None:
    query = {"model": "agent", "api-version": PREVIEW}
    assert Azure().accepted(V1, query).dialect == "ga"
    assert Azure(v1_api_version="401").refused(V1, query) == (401, "401")


# -- credentials


def test_both_keys_are_good_and_a_rotated_one_is_not() -> None:
    azure = Azure()
    for key in (KEY1, KEY2):
        assert azure.accepted(key=key).key == key
    azure.voice.keys = (KEY2, "d4" * 16)
    assert azure.refused(key=KEY1) == (401, "401")
    assert azure.accepted(key="d4" * 16).kind == "realtime"


@pytest.mark.parametrize("path", [V1, BETA])
def test_a_key_is_good_for_its_own_resource_only(path: str) -> None:
    azure = Azure()
    assert azure.refused(path, key=OTHER_KEY) == (401, "401")
    assert azure.refused(path, key=KEY1, host=OTHER_HOST) == (401, "401")
    assert azure.refused(path, key=None) == (401, "401")
    assert azure.refused(path, key="") == (401, "401")


def test_a_key_in_the_query_string_is_for_web_sockets() -> None:
    azure = Azure()
    assert azure.accepted(V1, {"model": "agent", "api-key": KEY1}, key=None).key == KEY1
    assert azure.accepted(BETA, {"api-version": PREVIEW, "deployment": "agent", "api-key": KEY2}, key=None).key == KEY2
    assert azure.refused(V1, {"model": "agent", "api-key": OTHER_KEY}, key=None) == (401, "401")
    assert azure.error("/openai/v1/models", method="GET", key=None, query={"api-key": KEY1}) == (401, "401")


@pytest.mark.parametrize(
    ("where", "v1", "preview"), [("v1", True, False), ("everywhere", True, True), ("nowhere", False, False)]
)
def test_a_key_as_bearer(where: str, v1: bool, preview: bool) -> None:
    azure = Azure(bearer_api_key=where)
    for path, good in ((V1, v1), (BETA, preview)):
        opening = azure.handshake(path, key=None, authorization=f"Bearer {KEY1}")
        assert isinstance(opening.decision, RefuseHttp) is not good
    assert azure.refused(V1, key=None, authorization=f"Bearer {OTHER_KEY}")[0] == 401


@pytest.mark.parametrize("path", [V1, BETA])
def test_access_tokens(path: str) -> None:
    azure = Azure()
    assert azure.accepted(path, key=None, authorization=f"Bearer {GOOD_TOKEN}").key == f"entra:{OID}"
    for token in ("head.wrong.tail", "head.unknown.tail"):
        assert azure.refused(path, key=None, authorization=f"Bearer {token}") == (401, "Unauthorized")
    azure.clock.advance(3600)
    assert azure.refused(path, key=None, authorization=f"Bearer {GOOD_TOKEN}") == (401, "Unauthorized")


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_without_the_data_action(status: int) -> None:
    azure = Azure(permission_denied_status=status)
    decision = azure.handshake(BETA, key=None, authorization="Bearer head.stranger.tail").decision
    assert isinstance(decision, RefuseHttp)
    assert (decision.status, decision.error.code) == (status, "PermissionDenied")
    assert "`someone-else` lacks the required data action" in decision.error.message
    assert "`GET /openai/realtime`" in decision.error.message
    assert list(decision.error.body()["error"]) == ["code", "message"]
    azure.voice.principals = {"someone-else"}
    assert azure.accepted(BETA, key=None, authorization="Bearer head.stranger.tail").dialect == "beta"


def test_a_token_of_another_tenant() -> None:
    azure = Azure()
    azure.voice.tenant = "another"
    assert azure.refused(key=None, authorization=f"Bearer {GOOD_TOKEN}")[0] == 400


def test_tokens_without_anybody_who_knows_them() -> None:
    azure = Azure()
    azure.service = type(azure.service)(azure.service.ports, as_of=azure.service.as_of, resources=[azure.voice])
    assert azure.refused(key=None, authorization=f"Bearer {GOOD_TOKEN}") == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("audience", "good"),
    [
        ("https://cognitiveservices.azure.com", True),
        ("https://ai.azure.com", True),
        ("https://management.azure.com", False),
    ],
)
def test_the_tokens_of_entra(audience: str, good: bool) -> None:
    azure = Azure()
    gateway = Application("33333333-2222-4333-8444-555555555555")
    tenant = Tenant(TENANT, applications=[gateway])
    entra = Entra(azure.service.ports, [tenant])
    service = AzureService(azure.service.ports, as_of=DAY, resources=[azure.voice], tokens=entra)
    azure.service = service
    azure.voice.principals = {gateway.object_id}
    azure.voice.tenant = TENANT
    bearer = f"Bearer {entra.issue(tenant, gateway, audience, lifetime=600).text}"
    if not good:
        assert azure.refused(key=None, authorization=bearer) == (401, "Unauthorized")
        return
    assert azure.accepted(key=None, authorization=bearer).key == f"entra:{gateway.object_id}"
    assert azure.refused(key=None, authorization=bearer[:-4] + "AAAA") == (401, "Unauthorized")
    azure.clock.advance(600)
    assert azure.refused(key=None, authorization=bearer) == (401, "Unauthorized")


def test_a_credential_in_the_subprotocol() -> None:
    offered = ("realtime", f"openai-insecure-api-key.{KEY1}")
    assert Azure().refused(key=None, subprotocols=offered) == (401, "401")
    decision = Azure(subprotocol_key=True).accepted(key=None, subprotocols=offered)
    assert decision.subprotocol == "realtime"


def test_network_rules_come_first() -> None:
    azure = Azure()
    azure.voice.network_open = False
    assert azure.refused(key="wrong") == (403, "AccessDenied")
    assert azure.refused("/nowhere") == (403, "AccessDenied")
    assert azure.accepted(host=OTHER_HOST, key=OTHER_KEY).key == OTHER_KEY
    assert azure.error("/openai/v1/realtime/client_secrets", {}) == (403, "AccessDenied")


# -- hosts


@pytest.mark.parametrize("suffix", ["openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"])
def test_every_host_form_of_a_resource(suffix: str) -> None:
    azure = Azure()
    assert azure.accepted(host=f"voice.{suffix}").key == KEY1
    assert azure.accepted(host=f"LAB.{suffix}:443", key=OTHER_KEY).key == OTHER_KEY
    assert f"voice.{suffix}" in azure.service.resources.hosts


def test_an_address_is_the_first_resource() -> None:
    for host in ("127.0.0.1:8080", "localhost:1", "[::1]:8443", ""):
        assert Azure().accepted(host=host).key == KEY1


@pytest.mark.parametrize("status", [404, 401])
def test_a_host_of_nobody(status: int) -> None:
    azure = Azure(unknown_resource=status)
    assert azure.refused(host="nobody.openai.azure.com") == (status, str(status))
    assert azure.error("/openai/v1/models", method="GET", host="nobody.openai.azure.com") == (status, str(status))


def test_resources_must_make_sense() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Resources([])
    with pytest.raises(ValueError, match="two resources"):
        Resources([Resource("a"), Resource("a")])
    with pytest.raises(ValueError, match="no model 'gpt-realtime-15'"):
        Deployment("agent", "gpt-realtime-15")


# -- deployments


def test_deployments_are_not_models() -> None:
    azure = Azure()
    assert azure.refused(V1, {"model": "gpt-realtime"}) == (404, "DeploymentNotFound")
    assert azure.refused(BETA, {"api-version": PREVIEW, "deployment": "gpt-realtime"}) == (404, "DeploymentNotFound")
    assert azure.refused(V1, {"model": "thinker"}, host=OTHER_HOST, key=OTHER_KEY) == (404, "DeploymentNotFound")
    azure.voice.deployments = (Deployment("new", "gpt-realtime"),)
    assert azure.accepted(V1, {"model": "new"}).model is not None
    assert azure.refused() == (404, "DeploymentNotFound")


def test_a_model_that_was_not_out_yet() -> None:
    assert Azure(date(2026, 5, 6)).refused(V1, {"model": "thinker"}) == (404, "DeploymentNotFound")
    assert Azure(date(2026, 5, 7)).accepted(V1, {"model": "thinker"}).dialect == "ga"


@pytest.mark.parametrize(("status", "code"), [(400, "BadRequest"), (404, "DeploymentNotFound")])
def test_a_deployment_must_be_named_in_the_way_of_the_path(status: int, code: str) -> None:
    azure = Azure(missing_deployment=status)
    assert azure.refused(V1, {}) == (status, code)
    assert azure.refused(V1, {"deployment": "agent"}) == (status, code)
    assert azure.refused(BETA, {"api-version": PREVIEW}) == (status, code)
    assert azure.refused(BETA, {"api-version": PREVIEW, "model": "agent"}) == (status, code)


def test_models_that_speak_the_other_dialect() -> None:
    old, new = {"model": "old"}, {"api-version": PREVIEW, "deployment": "thinker"}
    assert Azure().accepted(V1, old).dialect == "ga"
    assert Azure(preview_model_on_v1="refuse").refused(V1, old) == (400, "OperationNotSupported")
    assert Azure(preview_model_on_v1="refuse").accepted(V1).dialect == "ga"
    assert Azure().refused(BETA, new) == (400, "OperationNotSupported")
    assert Azure(ga_model_on_preview="serve").accepted(BETA, new).dialect == "beta"
    assert Azure().refused(V1, {"model": "chat"}) == (400, "OperationNotSupported")


@pytest.mark.parametrize(
    ("path", "knob", "shown"),
    [
        (V1, "deployment_on_v1", "agent"),
        (BETA, "deployment_on_v1", "gpt-realtime"),
        (V1, "deployment", "agent"),
        (BETA, "deployment", "agent"),
        (V1, "model", "gpt-realtime"),
        (BETA, "model", "gpt-realtime"),
    ],
)
def test_what_session_model_shows(path: str, knob: str, shown: str) -> None:
    client = Azure(session_model=knob).connect(path)
    created = client.wait(5)[0]
    assert (created["type"], created["session"]["model"]) == ("session.created", shown)
    assert client.session.model == "gpt-realtime"
    assert {message.invalid for message in client.recorder.messages} == {None}
    assert {message.channel for message in client.recorder.messages} == {"azure.realtime"}
    assert {message.source for message in client.recorder.messages} == {"azure"}


@pytest.mark.parametrize("knob", ["deployment", "model"])
def test_to_repeat_the_deployment_is_no_change_of_model(knob: str) -> None:
    client = Azure(session_model=knob).connect(V1)
    created = client.wait(5)[0]
    shown = created["session"]["model"]
    for name in ("agent", shown):
        client.send("session.update", session={"type": "realtime", "model": name})
        (updated,) = client.wait(1)
        assert (updated["type"], updated["session"]["model"]) == ("session.updated", shown)
    client.send("session.update", session={"type": "realtime", "model": "chat"})
    (refused,) = client.wait(1)
    assert refused["error"]["param"] == "session.model"


@pytest.mark.parametrize("minutes", [30, 60])
def test_the_end_of_a_session(minutes: int) -> None:
    client = Azure(session_minutes=minutes).connect(V1)
    assert client.wait(5)[0]["session"]["expires_at"] == START + 60 * minutes
    assert client.wait(60 * minutes - 10) == []
    assert client.wait(10)[0]["error"]["code"] == "session_expired"


def test_a_session_outlives_its_credential() -> None:
    azure = Azure(session_minutes=90)
    client = azure.connect(key=None, authorization=f"Bearer {GOOD_TOKEN}")
    azure.voice.principals = frozenset()
    client.wait(3700)
    client.send("input_audio_buffer.clear")
    assert types(client.events()) == ["input_audio_buffer.cleared"]


def test_a_reasoning_deployment_is_one_by_its_model() -> None:
    client = Azure().connect(V1, {"model": "thinker"})
    assert client.wait(5)[0]["session"]["reasoning"] == {"effort": "low"}


# -- sessions


def test_the_shape_of_the_other_dialect_is_refused() -> None:
    ga = Azure().connect(V1)
    ga.wait(5)
    ga.send("session.update", session=phone("beta"))
    error = ga.error()
    assert (error["code"], error["param"]) == ("missing_required_parameter", "session.type")
    beta = Azure().connect(BETA)
    beta.wait(5)
    beta.send("session.update", session=phone("ga"))
    error = beta.error()
    assert (error["code"], error["message"]) == ("unknown_parameter", "Unknown parameter: 'session.type'.")


@pytest.mark.parametrize("dialect", ["beta", "ga"])
def test_a_spoken_turn(dialect: str) -> None:
    client = Azure().connect(V1 if dialect == "ga" else BETA)
    client.wait(5)
    client.send("session.update", session=phone(dialect))
    client.say("what_time")
    seen = types(client.wait())
    assert seen[:2] == ["session.updated", "input_audio_buffer.speech_started"]
    assert "response.done" in seen
    assert client.session.heard[0].phrase == "what_time"
    assert {message.invalid for message in client.recorder.messages} == {None}


def vad(**fields: Any) -> dict[str, Any]:
    session = phone("ga")
    session["audio"]["input"]["turn_detection"] = fields
    return session


@pytest.mark.parametrize(("knob", "heard"), [("silent", False), ("works", True)])
def test_semantic_vad_is_echoed_and_may_do_nothing(knob: str, heard: bool) -> None:
    client = Azure(semantic_vad=knob).connect(V1)
    client.wait(5)
    client.send("session.update", session=vad(type="semantic_vad"))
    updated = client.events()[-1]
    assert updated["session"]["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
    client.say("what_time", quiet_ms=4000)
    assert ("input_audio_buffer.speech_started" in types(client.wait())) is heard
    client.send("input_audio_buffer.commit")
    client.send("session.update", session=vad(type="server_vad"))
    client.say("what_time")
    assert "input_audio_buffer.speech_started" in types(client.wait())


@pytest.mark.parametrize(("knob", "ends"), [("honoured", False), ("ignored", True)])
def test_silence_duration_may_do_nothing(knob: str, ends: bool) -> None:
    client = Azure(silence_duration=knob).connect(V1)
    client.wait(5)
    client.send("session.update", session=vad(type="server_vad", silence_duration_ms=2000))
    client.say("what_time", quiet_ms=1000)
    assert ("input_audio_buffer.speech_stopped" in types(client.wait())) is ends


def test_transcription_sessions_take_deployments_and_models() -> None:
    azure = Azure()
    client = azure.connect(V1, {"intent": "transcription"})
    assert client.wait(5)[0]["session"]["type"] == "transcription"
    for model in ("scribe", "whisper-1"):
        transcription = {"model": model}
        client.send(
            "session.update", session={"type": "transcription", "audio": {"input": {"transcription": transcription}}}
        )
        assert types(client.events()) == ["session.updated"]
    wrong = {"type": "transcription", "audio": {"input": {"transcription": {"model": "nothing"}}}}
    client.send("session.update", session=wrong)
    assert client.error()["code"] == "invalid_value"
    assert azure.refused(V1, {"intent": "transcription", "model": "agent"})[0] == 400


def test_translation() -> None:
    azure = Azure()
    path = "/openai/v1/realtime/translations"
    assert azure.join(path, {"model": "interpreter"}).events()[0]["session"]["type"] == "translation"
    assert azure.refused(path, {"model": "agent"}) == (400, "OperationNotSupported")


# -- plans


def test_a_planned_429() -> None:
    azure = Azure()
    azure.service.plan(HandshakePlan(refuse_http=(429, "azure_too_many_requests"), headers={"retry-after-ms": "250"}))
    opening = azure.handshake()
    assert isinstance(opening.decision, RefuseHttp)
    assert (opening.decision.status, opening.decision.headers["retry-after-ms"]) == (429, "250")
    assert opening.headers["x-ms-region"] == "East US 2"
    assert opening.host == HOST
    assert azure.accepted().kind == "realtime"


def test_every_error_of_azure_can_be_planned() -> None:
    for name in ("azure_permission_denied", "azure_tenant_mismatch", "azure_operation_not_supported"):
        azure = Azure()
        azure.service.plan(HandshakePlan(refuse_http=(401, name)))
        assert azure.refused()[0] == 401


def test_every_answer_has_an_id_of_its_own() -> None:
    azure = Azure()
    first, second = azure.handshake().headers, azure.handshake(key="wrong").headers
    assert first["apim-request-id"] != second["apim-request-id"]
    assert len(first["apim-request-id"]) == 36
    assert azure.handshake(host=OTHER_HOST).headers["x-ms-region"] == "Sweden Central"
    assert "x-ms-region" not in azure.handshake(host="nobody.openai.azure.com").headers
