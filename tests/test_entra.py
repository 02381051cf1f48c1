"""Entra without sockets: who gets a token, how it looks, how long it is good, and how refusals look."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from entra_world import ASSIGNED, CLIENT, COGNITIVE, FOUNDRY, HEADER, SECRET, SYSTEM, TENANT, EntraWorld, entra
from manual_clock import DAY, ManualClock

from fakes.azure import jws
from fakes.azure.directory import FederatedCredential, ManagedIdentity, Tenant, guid
from fakes.azure.entra import Entra, TokenPlan
from fakes.azure.entra_errors import entra_data
from fakes.azure.entra_http import EntraAnswer
from fakes.azure.keys import SigningKey, base64url, signing_key
from fakes.azure.tokens import TokenRefused
from fakes.knobs import Knobs
from fakes.local import ListRecorder, OpenGates, TypicalChoices
from fakes.ports import Ports

TOKEN_URL = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"


@pytest.fixture
def world() -> EntraWorld:
    return EntraWorld()


def code(answer: EntraAnswer) -> int:
    """The AADSTS code of a refusal, which says it three times."""
    (number,) = answer.body["error_codes"]
    assert answer.body["error_description"].startswith(f"AADSTS{number}: ")
    assert answer.body["error_uri"].endswith(f"/error?code={number}")
    return int(number)


def claims(answer: EntraAnswer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return jws.parse(answer.body["access_token"]).claims


def assertion(header: dict[str, str] | None = None, key: SigningKey | None = None, **changes: Any) -> str:
    """What a client with a certificate sends."""
    key = key or signing_key("certificate")
    now = int(DAY)
    usual = {"aud": TOKEN_URL, "iss": CLIENT, "sub": CLIENT, "jti": "1", "nbf": now, "exp": now + 600}
    return jws.sign(key.private, {**usual, **changes}, **(header or {"x5t": key.thumbprint}))


# -- a token


def test_a_secret_gets_a_token(world: EntraWorld) -> None:
    answer = world.ask()
    token = answer.body.pop("access_token")
    assert answer.status == 200
    assert answer.body == {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599}
    assert answer.headers["Cache-Control"] == "no-store, no-cache"
    assert world.entra.verify(token, DAY).oid == world.application.object_id
    assert answer.invalid is None


def test_claims_and_header_of_a_token(world: EntraWorld) -> None:
    world.application.roles.append("Voice.Call")
    answer = world.ask()
    parsed = jws.parse(answer.body["access_token"])
    key = signing_key("authority")
    assert parsed.header == {"typ": "JWT", "alg": "RS256", "x5t": key.thumbprint, "kid": key.thumbprint}
    unique = parsed.claims.pop("uti")
    assert len(unique) == 22
    assert parsed.claims == {
        "aud": COGNITIVE,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": int(DAY) - 300,
        "nbf": int(DAY) - 300,
        "exp": int(DAY) + 3599,
        "appid": CLIENT,
        "appidacr": "1",
        "idp": f"https://sts.windows.net/{TENANT}/",
        "idtyp": "app",
        "oid": world.application.object_id,
        "sub": world.application.object_id,
        "tid": TENANT,
        "ver": "1.0",
        "roles": ["Voice.Call"],
    }


def test_a_token_can_be_checked_with_the_published_keys(world: EntraWorld) -> None:
    parsed = jws.parse(world.ask().body["access_token"])
    metadata = world.get(f"/{TENANT}/v2.0/.well-known/openid-configuration").body
    path = metadata["jwks_uri"].removeprefix("https://login.microsoftonline.com")
    (published,) = world.get(path).body["keys"]
    n, e = (int.from_bytes(base64.urlsafe_b64decode(published[name] + "=="), "big") for name in "ne")
    assert published["kid"] == parsed.header["kid"]
    public = rsa.RSAPublicNumbers(e, n).public_key()
    public.verify(parsed.signature, parsed.signed, padding.PKCS1v15(), hashes.SHA256())


def test_the_same_choices_give_the_same_token() -> None:
    assert EntraWorld().ask().body == EntraWorld().ask().body


def test_two_tokens_of_one_run_differ(world: EntraWorld) -> None:
    assert world.ask().body["access_token"] != world.ask().body["access_token"]


@pytest.mark.parametrize("resource", [COGNITIVE, FOUNDRY, f"{COGNITIVE}/"])
def test_both_audiences_are_good_as_they_were_asked_for(world: EntraWorld, resource: str) -> None:
    token = world.ask(scope=f"{resource}/.default").body["access_token"]
    assert world.entra.verify(token, DAY).audience == resource


def test_a_tenant_is_also_found_by_its_domain(world: EntraWorld) -> None:
    assert claims(world.ask(path="/Contoso.onmicrosoft.com/oauth2/v2.0/token"))["tid"] == TENANT


def test_the_secret_may_come_as_http_basic(world: EntraWorld) -> None:
    pair = base64.b64encode(f"{CLIENT}:{quote(SECRET)}".encode()).decode()
    answer = world.ask(client_id=None, client_secret=None, headers={"authorization": f"Basic {pair}"})
    assert claims(answer)["appid"] == CLIENT


def test_a_secret_can_be_rotated_at_any_time(world: EntraWorld) -> None:
    world.application.secrets[:] = ["new8Q~secret"]
    assert code(world.ask()) == 7000215
    assert world.ask(client_secret="new8Q~secret").status == 200


# -- how long it is good


class LongestChoices(TypicalChoices):
    def integer(self, point: str, low: int, typical: int, high: int) -> int:
        return high


def test_choices_draw_60_to_90_minutes() -> None:
    clock = ManualClock()
    service = entra(clock)
    service.ports = Ports(clock, LongestChoices(), ListRecorder(), OpenGates())
    issued = service.issue(service.tenants[0], service.tenants[0].applications[0], COGNITIVE)
    assert issued.lives(DAY) == 5399


def test_a_case_fixes_the_lifetime(world: EntraWorld) -> None:
    world.entra.lifetime = 120
    answer = world.ask()
    token = answer.body["access_token"]
    assert answer.body["expires_in"] == 120
    world.entra.verify(token, DAY + 119.9)
    with pytest.raises(TokenRefused) as refused:
        world.entra.verify(token, DAY + 120)
    assert refused.value.reason == "expired"


def test_expiry_follows_the_time_of_the_world(world: EntraWorld) -> None:
    world.clock.advance(5000)
    assert claims(world.ask())["exp"] == int(DAY) + 5000 + 3599


def test_a_knob_lets_resources_be_late() -> None:
    world = EntraWorld(lifetime=120)
    world.entra.knobs.set("azure.entra_skew_seconds", 300)
    token = world.ask().body["access_token"]
    assert world.entra.verify(token, DAY + 400).oid == world.application.object_id
    with pytest.raises(TokenRefused):
        world.entra.verify(token, DAY + 420)


# -- what a resource refuses


def forged(world: EntraWorld, key: str = "authority", **changes: Any) -> str:
    """A token of the service with other claims."""
    original = jws.parse(world.ask().body["access_token"])
    return jws.sign(signing_key(key).private, {**original.claims, **changes}, kid=signing_key("authority").thumbprint)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("signature", {"key": "workload"}),
        ("issuer", {"iss": "https://sts.windows.net/other/"}),
        ("issuer", {"iss": f"https://sts.windows.net/{guid('other')}/", "tid": guid("other")}),
        ("audience", {"aud": "https://management.azure.com"}),
        ("audience", {"aud": "https://example.test"}),
        ("expired", {"exp": int(DAY)}),
        ("expired", {"exp": None}),
        ("early", {"nbf": int(DAY) + 1}),
    ],
)
def test_refused_tokens(world: EntraWorld, reason: str, changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused) as refused:
        world.entra.verify(forged(world, **changes), DAY)
    assert refused.value.reason == reason


@pytest.mark.parametrize("token", ["", "key-of-a-resource", "a.b.c", "e30.W10.e30", "e30.e30.*"])
def test_malformed_tokens(world: EntraWorld, token: str) -> None:
    with pytest.raises(TokenRefused) as refused:
        world.entra.verify(token, DAY)
    assert refused.value.reason == "malformed"


def test_a_token_without_signature_is_refused(world: EntraWorld) -> None:
    parsed = jws.parse(world.ask().body["access_token"])
    header = base64url(json.dumps({**parsed.header, "alg": "none"}).encode())
    token = f"{header}.{base64url(json.dumps(parsed.claims).encode())}."
    with pytest.raises(TokenRefused) as refused:
        world.entra.verify(token, DAY)
    assert refused.value.reason == "signature"


# -- refusals of the token endpoint


@pytest.mark.parametrize(
    ("number", "status", "error", "form"),
    [
        (900144, 400, "invalid_request", {"grant_type": None}),
        (900144, 400, "invalid_request", {"client_id": None}),
        (900144, 400, "invalid_request", {"scope": None}),
        (70003, 400, "unsupported_grant_type", {"grant_type": "password"}),
        (700016, 400, "unauthorized_client", {"client_id": guid("nobody")}),
        (7000216, 401, "invalid_client", {"client_secret": None}),
        (7000215, 401, "invalid_client", {"client_secret": "wrong"}),
        (7000222, 401, "invalid_client", {"client_secret": "old8Q~secret"}),
        (500011, 400, "invalid_resource", {"scope": "https://example.test/.default"}),
        (1002012, 400, "invalid_scope", {"scope": COGNITIVE}),
        (70011, 400, "invalid_scope", {"scope": "/.default"}),
        (70011, 400, "invalid_scope", {"scope": f"{COGNITIVE}/.default {FOUNDRY}/.default"}),
    ],
)
def test_refusals(world: EntraWorld, number: int, status: int, error: str, form: dict[str, str | None]) -> None:
    answer = world.ask(**form)
    assert (code(answer), answer.status, answer.body["error"]) == (number, status, error)
    assert world.entra.issued == []


def test_a_refusal_has_the_vendors_form(world: EntraWorld) -> None:
    body = world.ask(client_secret="wrong", headers={"client-request-id": "my-id"}).body
    trace = body["trace_id"]
    assert body["error_description"] == (
        "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client "
        f"secret value, not the client secret ID, for a secret added to app '{CLIENT}'. "
        f"Trace ID: {trace} Correlation ID: my-id Timestamp: 2026-11-20 00:00:00Z"
    )
    assert body["correlation_id"] == "my-id"
    assert body["timestamp"] == "2026-11-20 00:00:00Z"


def test_a_refusal_never_repeats_the_secret(world: EntraWorld) -> None:
    assert "wrong-secret" not in json.dumps(world.ask(client_secret="wrong-secret").body)


def test_a_knob_words_the_scope_error_as_documented(world: EntraWorld) -> None:
    world.entra.knobs.set("azure.entra_scope_error", "invalid_scope")
    assert code(world.ask(scope=COGNITIVE)) == 70011


@pytest.mark.parametrize(("name", "number"), [(guid("nobody"), 90002), ("nobody.example", 90002), ("nobody", 900023)])
def test_unknown_tenants(world: EntraWorld, name: str, number: int) -> None:
    assert code(world.ask(path=f"/{name}/oauth2/v2.0/token")) == number
    assert code(world.get(f"/{name}/v2.0/.well-known/openid-configuration")) == number


def test_requests_that_break_the_rules_are_marked(world: EntraWorld) -> None:
    assert "grant_type" in str(world.ask(grant_type=None).invalid)
    assert world.ask(client_secret="wrong").invalid is None


# -- certificates


def test_a_certificate_gets_a_token(world: EntraWorld) -> None:
    assert claims(world.assert_with(assertion()))["appidacr"] == "2"


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (700027, {"header": {"x5t": "unknown"}}),
        (700027, {"key": signing_key("workload"), "header": {"x5t": signing_key("certificate").thumbprint}}),
        (700021, {"iss": guid("another"), "sub": guid("another")}),
        (700021, {"sub": guid("another")}),
        (700023, {"aud": "https://example.test/token"}),
        (700023, {"aud": TOKEN_URL.replace(TENANT, guid("another"))}),
        (700023, {"aud": TOKEN_URL.replace("https", "http")}),
        (700024, {"exp": int(DAY) - 301}),
        (700024, {"nbf": int(DAY) + 301}),
    ],
)
def test_faults_of_assertions(world: EntraWorld, number: int, changes: dict[str, Any]) -> None:
    answer = world.assert_with(assertion(**changes))
    assert (code(answer), answer.status) == (number, 401)


def test_an_assertion_that_is_none(world: EntraWorld) -> None:
    assert code(world.assert_with("no.token")) == 50027
    assert code(world.assert_with(assertion(), client_assertion_type=None)) == 900144


def test_a_certificate_that_was_taken_away(world: EntraWorld) -> None:
    world.application.certificates.clear()
    assert code(world.assert_with(assertion())) == 700027


# -- workload identity


def test_a_federated_assertion_gets_a_token(world: EntraWorld) -> None:
    assert claims(world.assert_with(FederatedCredential().assertion(DAY)))["appid"] == CLIENT


@pytest.mark.parametrize(
    ("number", "named", "changes"),
    [
        (700211, "https://other.example/", {"iss": "https://other.example/"}),
        (700213, "system:serviceaccount:other:pod", {"sub": "system:serviceaccount:other:pod"}),
        (700213, "System:Serviceaccount:voice:gateway", {"sub": "System:Serviceaccount:voice:gateway"}),
        (700212, "https://kubernetes.default.svc", {"aud": "https://kubernetes.default.svc"}),
        (700024, "2026-11-19T23:54:59Z", {"exp": int(DAY) - 301}),
    ],
)
def test_faults_of_federated_assertions(world: EntraWorld, number: int, named: str, changes: dict[str, Any]) -> None:
    answer = world.assert_with(FederatedCredential().assertion(DAY, **changes))
    assert (code(answer), answer.status) == (number, 401)
    assert named in answer.body["error_description"]


def test_a_federated_assertion_of_somebody_else(world: EntraWorld) -> None:
    stranger = FederatedCredential(key=signing_key("certificate"))
    assert code(world.assert_with(stranger.assertion(DAY))) == 700027


# -- metadata


def test_instance_discovery(world: EntraWorld) -> None:
    asked = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/authorize"
    body = world.get("/common/discovery/instance", authorization_endpoint=asked).body
    where = f"https://login.microsoftonline.com/{TENANT}/v2.0/.well-known/openid-configuration"
    assert body["tenant_discovery_endpoint"] == where
    assert "sts.windows.net" in body["metadata"][0]["aliases"]


def test_instance_discovery_of_a_host_that_is_none_of_ours(world: EntraWorld) -> None:
    answer = world.get("/common/discovery/instance", authorization_endpoint="https://login.example.test/x")
    assert (code(answer), answer.body["error"]) == (50049, "invalid_instance")


def test_openid_metadata(world: EntraWorld) -> None:
    body = world.get("/contoso.onmicrosoft.com/v2.0/.well-known/openid-configuration").body
    assert body["token_endpoint"] == TOKEN_URL
    assert body["issuer"] == f"https://login.microsoftonline.com/{TENANT}/v2.0"
    older = world.get(f"/{TENANT}/.well-known/openid-configuration").body
    assert older["token_endpoint"] == TOKEN_URL.replace("/v2.0", "")
    assert older["issuer"] == f"https://sts.windows.net/{TENANT}/"


def test_what_is_not_served(world: EntraWorld) -> None:
    assert world.get("/nothing/here").status == 404
    assert world.get(f"/{TENANT}/oauth2/v2.0/token").status == 405


# -- the metadata service of a machine


def test_imds(world: EntraWorld) -> None:
    answer = world.imds()
    token = answer.body.pop("access_token")
    assert answer.body == {
        "client_id": SYSTEM,
        "expires_in": "86400",
        "expires_on": str(int(DAY) + 86400),
        "ext_expires_in": "86400",
        "not_before": str(int(DAY)),
        "resource": COGNITIVE,
        "token_type": "Bearer",
    }
    assert world.entra.verify(token, DAY).oid == guid(f"principal of {SYSTEM}")
    assert jws.parse(token).claims["xms_mirid"].endswith("/Microsoft.Compute/virtualMachines/gateway")


def test_imds_with_an_assigned_identity_by_each_of_its_names(world: EntraWorld) -> None:
    assigned = world.entra.tenants[0].identities[1]
    for query in (
        {"client_id": ASSIGNED.upper()},
        {"object_id": assigned.object_id},
        {"msi_res_id": assigned.resource_id},
    ):
        assert world.imds(**query).body["client_id"] == ASSIGNED


@pytest.mark.parametrize(
    ("error", "headers", "query"),
    [
        ("bad_request_102", {}, {}),
        ("bad_request_102", {"metadata": "false"}, {}),
        ("bad_request_102", {"metadata": "true", "x-forwarded-for": "10.0.0.1"}, {}),
        ("invalid_request", None, {"api-version": ""}),
        ("invalid_request", None, {"api-version": "2017-01-01"}),
        ("invalid_request", None, {"resource": ""}),
        ("invalid_request", None, {"client_id": guid("nobody")}),
        ("invalid_resource", None, {"resource": "https://example.test"}),
    ],
)
def test_refusals_of_imds(world: EntraWorld, error: str, headers: dict[str, str] | None, query: dict[str, str]) -> None:
    answer = world.imds(headers, **query)
    assert (answer.status, answer.body["error"]) == (400, error)
    assert set(answer.body) == {"error", "error_description"}


def machine(*identities: ManagedIdentity) -> EntraWorld:
    world = EntraWorld()
    world.entra.tenants[:] = [Tenant(TENANT, identities=list(identities))]
    return world


def test_which_identity_a_machine_has_when_none_is_named() -> None:
    one, other = ManagedIdentity(ASSIGNED), ManagedIdentity(guid("other"))
    assert machine(one).imds().body["client_id"] == ASSIGNED
    assert "Multiple user assigned identities" in machine(one, other).imds().body["error_description"]
    assert machine().imds().body["error_description"] == "Identity not found"


def test_a_machine_gives_the_same_token_until_half_of_its_life_is_over(world: EntraWorld) -> None:
    first = world.imds().body["access_token"]
    world.clock.advance(43_199)
    assert world.imds().body["access_token"] == first
    assert world.imds().body["expires_in"] == str(86400 - 43_199)
    assert world.imds(resource=FOUNDRY).body["access_token"] != first
    world.clock.advance(1)
    assert world.imds().body["access_token"] != first


def test_a_knob_has_every_token_of_a_machine_new(world: EntraWorld) -> None:
    world.entra.knobs.set("azure.entra_identity_cached", False)
    world.entra.knobs.set("azure.entra_identity_minutes", 60)
    first = world.imds().body
    assert first["expires_in"] == "3600"
    assert world.imds().body["access_token"] != first["access_token"]


# -- the identity endpoint of App Service


def test_app_service(world: EntraWorld) -> None:
    answer = world.app_service()
    assert world.entra.verify(answer.body.pop("access_token"), DAY).oid == guid(f"principal of {SYSTEM}")
    assert answer.body == {
        "expires_on": str(int(DAY) + 86400),
        "resource": COGNITIVE,
        "token_type": "Bearer",
        "client_id": SYSTEM,
    }


@pytest.mark.parametrize(
    ("status", "headers", "query"),
    [
        (401, {}, {}),
        (401, {"x-identity-header": "wrong"}, {}),
        (400, None, {"api-version": "2017-09-01"}),
        (400, None, {"resource": ""}),
        (400, None, {"client_id": guid("nobody")}),
        (500, None, {"resource": "https://example.test"}),
    ],
)
def test_refusals_of_app_service(
    world: EntraWorld, status: int, headers: dict[str, str] | None, query: dict[str, str]
) -> None:
    answer = world.app_service(headers, **query)
    assert (answer.status, answer.body["statusCode"]) == (status, status)
    assert HEADER not in json.dumps(answer.body)


# -- plans


def test_a_planned_refusal_is_of_one_request_alone(world: EntraWorld) -> None:
    world.entra.plans.append(TokenPlan(error="transient", delay_ms=4000))
    answer = world.ask()
    assert (code(answer), answer.status, answer.delay, answer.headers["Retry-After"]) == (90033, 503, 4.0, "1")
    assert world.ask().status == 200


@pytest.mark.parametrize("name", sorted(entra_data()["errors"]))
def test_every_error_can_be_planned(world: EntraWorld, name: str) -> None:
    world.entra.plans.append(TokenPlan(error=name))
    assert code(world.ask()) == entra_data()["errors"][name]["code"]


def test_a_plan_for_an_error_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"no error 'transcient'; it has .*transient"):
        TokenPlan(error="transcient")


def test_knobs_can_be_shared_with_another_vendor() -> None:
    knobs = Knobs({})
    assert Entra(entra(ManualClock()).ports, [], knobs=knobs).knobs is knobs
