"""Azure in the reference gateway: addresses, credentials, Talk, and what is said of every refusal."""

import asyncio
import io
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.test_utils import TestServer, unused_port

from harness.virtual import VirtualLoop, run_virtual
from reference_impl.azure import Azure, upstream_for
from reference_impl.azure_settings import CAUSES
from reference_impl.config import Config, load
from reference_impl.conversation import Conversation, UpstreamRefused
from reference_impl.credentials import CredentialError, Entra
from reference_impl.dialects import Beta, Ga, dialect_for
from reference_impl.gateway import Gateway
from reference_impl.log import Log
from reference_impl.problems import AZURE_HINTS, Problem, of_cause
from reference_impl.upstream import Upstream, client_session

KEY = "0123456789abcdef0123456789abcdef"
PLATFORM_KEY = "sk-platform-0123456789abcdef"
TALK = {"Authorization": "Bearer talk-token"}
BASE = {
    "GATEWAY_PUBLIC_URL": "https://gw.example.test",
    "GATEWAY_TOKEN": "operator-token",
    "GATEWAY_TALK_TOKEN": "talk-token",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}
ENDPOINT = "https://voices.openai.azure.com"
AZURE = {
    "OPENAI_PROVIDER": "azure-openai",
    "AZURE_OPENAI_ENDPOINT": ENDPOINT,
    "AZURE_OPENAI_DEPLOYMENT": "speech-1",
    "AZURE_OPENAI_API_KEY": KEY,
}


def config(**environ: str) -> Config:
    return load([], {**BASE, **AZURE, **environ})


# Addresses, headers, dialect


@pytest.mark.parametrize("version", ["", "v1"])
def test_ga_has_the_deployment_as_its_model(version: str) -> None:
    dialect = dialect_for(config(AZURE_OPENAI_API_VERSION=version, OPENAI_MODEL="gpt-4o-realtime-preview"))
    assert type(dialect) is Ga
    assert dialect.url() == "wss://voices.openai.azure.com/openai/v1/realtime?model=speech-1"
    assert dialect.headers() == {"api-key": KEY}


def test_an_api_version_is_the_preview_in_the_beta_dialect_and_without_its_header() -> None:
    dialect = dialect_for(config(AZURE_OPENAI_API_VERSION="2025-04-01-preview", AZURE_OPENAI_DEPLOYMENT="a&b"))
    assert type(dialect) is Beta
    address = "wss://voices.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=a%26b"
    assert dialect.url() == address
    assert dialect.headers() == {"api-key": KEY}


def test_a_key_of_openai_is_of_no_use_with_azure() -> None:
    made = config(OPENAI_API_KEY=PLATFORM_KEY, OPENAI_BASE_URL="https://api.openai.com/v1")
    dialect = dialect_for(made)
    assert PLATFORM_KEY not in f"{dialect.url()} {dialect.headers()}"
    assert "api.openai.com" not in dialect.url()
    assert PLATFORM_KEY in made.secrets()


def test_what_the_person_says_is_written_down_by_what_azure_has() -> None:
    def model(**environ: str) -> Any:
        return dialect_for(config(**environ)).session([])["audio"]["input"]["transcription"]["model"]

    assert model() == "whisper-1"
    assert model(AZURE_OPENAI_TRANSCRIPTION="scribe") == "scribe"


# Refusals


def test_every_cause_has_a_hint_and_a_stage() -> None:
    stages = {cause for stage in CAUSES["stage"] for cause in stage["causes"]}
    elsewhere = {"azure_dialect_wrong", "azure_session_expired", "azure_fault"}  # the last stage
    for rule in CAUSES["refusal"]:
        assert rule["cause"] in AZURE_HINTS
        assert rule["cause"] in stages | elsewhere
    for cause in stages:
        assert cause in AZURE_HINTS or not cause.startswith(("azure", "entra"))
    for hint in AZURE_HINTS.values():
        assert "platform" not in hint.lower()
        assert "OPENAI_API_KEY" not in hint.replace("AZURE_OPENAI_API_KEY", "")
        assert hint.endswith(".")


DENIED = "Access denied due to invalid subscription key or wrong API endpoint."
MISSING = "The API deployment for this resource does not exist."
OTHER = "The realtime operation does not work with the specified model. Please choose different model and try again."
PREVIEW = {"AZURE_OPENAI_API_VERSION": "2025-04-01-preview"}
ENTRA = {"AZURE_OPENAI_API_KEY": "", "AZURE_OPENAI_AUTH": "entra"}
REFUSALS: list[tuple[int, str, str, dict[str, str], str]] = [
    (401, "401", DENIED, {}, "azure_key_refused"),
    (401, "Unauthorized", "Access token is missing, invalid, or expired.", ENTRA, "azure_token_refused"),
    (401, "PermissionDenied", "The principal `x` lacks the required data action", ENTRA, "azure_permission_denied"),
    (403, "PermissionDenied", "The principal `x` lacks the required data action", ENTRA, "azure_permission_denied"),
    (400, "Tenant provided in token", "Token tenant a does not match resource tenant.", ENTRA, "azure_tenant_mismatch"),
    (403, "AccessDenied", "Access denied due to Virtual Network/Firewall rules.", {}, "azure_network_denied"),
    (403, "403", "Public access is disabled. Please configure private endpoint.", {}, "azure_network_denied"),
    (403, "403", "Your resource has been temporarily blocked.", {}, "azure_resource_blocked"),
    (403, "403", "No.", {}, "azure_forbidden"),
    (404, "DeploymentNotFound", MISSING, {}, "azure_deployment_not_found"),
    (404, "DeploymentNotFound", MISSING, PREVIEW, "azure_deployment_not_found"),
    (404, "404", "Resource not found", {}, "azure_path_not_found"),
    (404, "404", "Resource not found", PREVIEW, "azure_preview_retired"),
    (404, "404", "Resource not found", {"AZURE_OPENAI_API_VERSION": "2025-08-28"}, "azure_api_version"),
    (400, "BadRequest", "API version not supported", {"AZURE_OPENAI_API_VERSION": "2030-01-01"}, "azure_api_version"),
    (400, "OpperationNotSupported", OTHER, {}, "azure_model_unsupported"),
    (400, "InvalidModel", "The model is not available in this region.", {}, "azure_region_unsupported"),
    (429, "429", "Requests have exceeded the call rate limit.", {}, "azure_rate_limited"),
    (302, "", "", {}, "azure_redirected"),
    (500, "InternalServerError", "Sorry about that!", {}, "azure_fault"),
]


class Resource:
    """A resource: answers upgrades with `refusals` one after the other, then opens sessions."""

    def __init__(self) -> None:
        self.refusals: list[web.Response] = []
        self.always: web.Response | None = None
        self.asked: list[web.Request] = []
        self.updates: list[Any] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.refusals:
            return self.refusals.pop(0)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_json({"type": "session.created", "session": {"model": "m"}})
        async for message in ws:
            event = json.loads(message.data)
            if event["type"] == "session.update":
                self.updates.append(event)
                await ws.send_json({"type": "session.updated", "session": event["session"]})
        return ws


def refusal(status: int, code: str = "", message: str = "", **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if not code:
        return web.Response(status=status, headers=named)
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=named)


@asynccontextmanager
async def resource() -> AsyncIterator[tuple[Resource, str]]:
    made = Resource()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    async with TestServer(app) as server:
        yield made, str(server.make_url("")).rstrip("/")


@asynccontextmanager
async def conversation(
    upstream: Callable[[Config, Log], Upstream] = upstream_for, /, **environ: str
) -> AsyncIterator[tuple[Conversation, io.StringIO]]:
    made = config(**environ)
    stream = io.StringIO()
    log = Log(made.secrets(), stream=stream)
    async with client_session() as http:
        talk = Conversation(made, dialect_for(made, upstream=upstream(made, log)), http, log)
        try:
            yield talk, stream
        finally:
            await talk.close_upstream()
            await talk.vendor.close()


async def problem_of(talk: Conversation) -> Problem:
    with pytest.raises(UpstreamRefused) as caught:
        await talk.open_session()
    return caught.value.problem


class Tokens(Entra):
    """Tokens that are numbered; `lifetime` in seconds, or why there is none."""

    lifetime: float | CredentialError = 3600.0
    fetched = 0

    async def fetch(self) -> tuple[str, float]:
        await asyncio.sleep(0)
        if isinstance(self.lifetime, CredentialError):
            raise self.lifetime
        self.fetched += 1
        return f"token-{self.fetched}", time.time() + self.lifetime


class AzureWithTokens(Azure):
    entra_class = Tokens


@pytest.mark.parametrize(("status", "code", "message", "environ", "cause"), REFUSALS)
async def test_a_refusal_is_told_in_azures_words_with_azures_advice(
    status: int, code: str, message: str, environ: dict[str, str], cause: str
) -> None:
    async with resource() as (azure, url):
        # A token that is refused is asked for anew and refused again.
        headers = {"x_ms_region": "East US 2", "apim_request_id": "req-7", "Location": "https://elsewhere.test/"}
        azure.refusals = [refusal(status, code, message, **headers) for _ in range(2)]
        async with conversation(AzureWithTokens, AZURE_OPENAI_ENDPOINT=url, **environ) as (talk, log):
            problem = await problem_of(talk)
    assert (problem.source, problem.status, problem.cause) == ("azure", status, cause)
    assert (problem.code, problem.request_id) == (code or None, "req-7")
    assert message in problem.message
    hint = problem.hint("")
    assert url in hint
    assert "speech-1" in hint
    assert status == 302 or "East US 2" in hint
    assert "{" not in hint
    logged = json.loads(log.getvalue().splitlines()[-1])
    assert logged["event"] == "upstream.refused"
    assert (logged["source"], logged["status"], logged["cause"]) == ("azure", status, cause)
    assert logged["hint"] == hint
    assert not [secret for secret in (KEY, "token-1", "token-2") if secret in log.getvalue()]


async def test_the_hint_tells_how_long_to_wait() -> None:
    async with resource() as (azure, url), conversation(AZURE_OPENAI_ENDPOINT=url) as (talk, _):
        azure.refusals = [refusal(429, "429", "Slow down.", retry_after_ms="1500")]
        assert "wait 1.5 s" in (await problem_of(talk)).hint("")


@pytest.mark.parametrize("body", ["", "<html>", "[1]", '{"error": null}', '{"statusCode": 401, "message": "no key"}'])
async def test_a_refusal_without_azures_words_is_told_too(body: str) -> None:
    async with resource() as (azure, url), conversation(AZURE_OPENAI_ENDPOINT=url) as (talk, _):
        azure.refusals = [web.Response(status=401, text=body)]
        problem = await problem_of(talk)
    assert (problem.status, problem.cause) == (401, "azure_key_refused")
    assert problem.message


async def test_a_redirection_is_not_followed() -> None:
    async with resource() as (azure, url), resource() as (other, elsewhere):
        azure.refusals = [refusal(307, Location=elsewhere + "/openai/v1/realtime")]
        async with conversation(AZURE_OPENAI_ENDPOINT=url) as (talk, _):
            assert (await problem_of(talk)).cause == "azure_redirected"
    assert (len(azure.asked), other.asked) == (1, [])


async def test_where_nobody_is_or_no_name_is() -> None:
    async with conversation(AZURE_OPENAI_ENDPOINT=f"http://127.0.0.1:{unused_port()}") as (talk, _):
        problem = await problem_of(talk)
        assert (problem.source, problem.cause) == ("gateway", "azure_unreachable")
    upstream = Azure(config())
    assert upstream.of_failure(TimeoutError(), "late").cause == "azure_timeout"
    events = {
        "unknown_parameter": "azure_dialect_wrong",
        "session_expired": "azure_session_expired",
        "invalid_model": "azure_model_unsupported",
        "beta_api_shape_disabled": "azure_preview_retired",
        "new": None,
    }
    for code, cause in events.items():
        problem = upstream.of_event({"type": "error", "error": {"code": code, "message": "m"}})
        assert (problem.source, problem.cause) == ("azure", cause)
        assert "Azure" in problem.hint("") or cause
    assert upstream.of_close(1001, "").message == "Azure closed the connection: 1001"


def test_no_name_for_the_host_and_no_trust_in_it() -> None:
    async def main(loop: VirtualLoop) -> Problem:
        async with conversation() as (talk, _):
            return await problem_of(talk)

    assert run_virtual(main).cause == "azure_name_unresolved"


# Credentials


async def test_a_session_opens_with_the_key_in_a_header_and_nowhere_else() -> None:
    async with resource() as (azure, url), conversation(AZURE_OPENAI_ENDPOINT=url) as (talk, log):
        await talk.open_session()
        request = azure.asked[0]
        assert request.headers["api-key"] == KEY
        assert "Authorization" not in request.headers
        assert request.path_qs == "/openai/v1/realtime?model=speech-1"
        assert azure.updates[0]["session"]["type"] == "realtime"
    assert KEY not in log.getvalue()


async def test_a_key_that_is_rotated_in_its_file_is_good_for_the_next_session(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first-key-1")
    environ = {"AZURE_OPENAI_API_KEY": "", "AZURE_OPENAI_API_KEY_FILE": str(file)}
    async with resource() as (azure, url), conversation(AZURE_OPENAI_ENDPOINT=url, **environ) as (talk, log):
        await talk.open_session()
        await talk.close_upstream()
        file.write_text("second-key-2\n")
        await talk.open_session()
        assert [request.headers["api-key"] for request in azure.asked] == ["first-key-1", "second-key-2"]
        talk.log.event("leak", text="second-key-2")
        file.unlink()
        assert (await problem_of(talk)).cause == "azure_key_file_wrong"
    assert "second-key-2" not in log.getvalue()


async def test_a_refused_key_is_tried_again_only_if_there_is_another(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old-key")
    environ = {"AZURE_OPENAI_API_KEY": "", "AZURE_OPENAI_API_KEY_FILE": str(file)}
    async with resource() as (azure, url), conversation(AZURE_OPENAI_ENDPOINT=url, **environ) as (talk, _):
        azure.refusals = [refusal(401, "401", DENIED)]
        assert (await problem_of(talk)).cause == "azure_key_refused"
        assert len(azure.asked) == 1
        upstream = talk.vendor
        assert isinstance(upstream, Azure)
        sent = upstream.auth()
        file.write_text("new-key")
        refused = Problem(source="azure", message="", cause="azure_key_refused")
        assert await upstream.renew(refused, sent)
        assert upstream.auth() == {"api-key": "new-key"}
        assert not await upstream.renew(refused, upstream.auth())
        assert not await upstream.renew(Problem(source="azure", message="", cause="azure_fault"), sent)


async def test_a_refused_token_is_refreshed_once_and_tried_once_more() -> None:
    async with resource() as (azure, url):
        async with conversation(AzureWithTokens, AZURE_OPENAI_ENDPOINT=url, **ENTRA) as (talk, _):
            azure.refusals = [refusal(401, "Unauthorized", "expired")]
            await talk.open_session()
        sent = [request.headers["Authorization"] for request in azure.asked]
        assert sent == ["Bearer token-1", "Bearer token-2"]
        assert not [request for request in azure.asked if "api-key" in request.headers]
        azure.asked.clear()
        async with conversation(AzureWithTokens, AZURE_OPENAI_ENDPOINT=url, **ENTRA) as (talk, _):
            azure.refusals = [refusal(401, "Unauthorized", "expired") for _ in range(3)]
            assert (await problem_of(talk)).cause == "azure_token_refused"
        assert len(azure.asked) == 2
        azure.asked.clear()
        async with conversation(AzureWithTokens, AZURE_OPENAI_ENDPOINT=url, **ENTRA) as (talk, _):
            azure.refusals = [refusal(401, "PermissionDenied", "no role")]
            assert (await problem_of(talk)).cause == "azure_permission_denied"
        assert len(azure.asked) == 1


def tokens(busy: Callable[[], bool] = bool) -> tuple[Tokens, io.StringIO]:
    stream = io.StringIO()
    return Tokens(config(**ENTRA), Log(stream=stream), busy), stream


def test_one_token_is_fetched_for_all_who_need_it_and_in_good_time_again() -> None:
    async def main(loop: VirtualLoop) -> None:
        entra, log = tokens()
        await asyncio.gather(*(entra.prepare() for _ in range(5)))
        assert entra.fetched == 1
        await asyncio.sleep(2990)
        await entra.prepare()
        assert entra.fetched == 1
        await asyncio.sleep(20)
        assert entra.fetched == 1  # nobody is on the line
        await entra.prepare()
        assert entra.fetched == 2
        assert entra.headers() == {"Authorization": "Bearer token-2"}
        await entra.close()
        entra.log.event("leak", text="token-1 token-2")
        assert "token-2" not in log.getvalue()

    run_virtual(main)


def test_while_a_call_is_up_the_token_is_always_good() -> None:
    async def main(loop: VirtualLoop) -> None:
        entra, _ = tokens(lambda: True)
        await entra.prepare()
        for _ in range(6):
            await asyncio.sleep(1600)
            assert entra._expires_at - time.time() > 600
        assert entra.fetched == 4
        await entra.close()

    run_virtual(main)


def test_a_refresh_that_fails_is_tried_again_and_the_last_token_used_while_it_is_good() -> None:
    async def main(loop: VirtualLoop) -> None:
        entra, log = tokens(lambda: True)
        await entra.prepare()
        entra.lifetime = CredentialError(of_cause("entra_unreachable", "down"))
        await asyncio.sleep(3100)
        await entra.prepare()
        assert entra.headers() == {"Authorization": "Bearer token-1"}
        assert log.getvalue().count("azure.token_not_refreshed") >= 3
        await asyncio.sleep(600)
        with pytest.raises(CredentialError):
            await entra.prepare()
        entra.lifetime = 3600.0
        await asyncio.sleep(40)
        assert entra.headers() == {"Authorization": "Bearer token-2"}
        await entra.close()

    run_virtual(main)


def test_whoever_stops_waiting_does_not_stop_the_others() -> None:
    async def main(loop: VirtualLoop) -> None:
        entra, _ = tokens()
        first, second = asyncio.ensure_future(entra.prepare()), asyncio.ensure_future(entra.prepare())
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert entra.fetched == 1
        await entra.close()

    run_virtual(main)


class FakeIdentity:
    """The module `azure.identity.aio` as far as it is used; `says` is a token, or an error."""

    def __init__(self, says: Any) -> None:
        self.says = says
        self.scopes: list[str] = []
        self.open = 0

    def DefaultAzureCredential(self) -> "FakeIdentity":  # noqa: N802 - the vendor's name
        return self

    async def __aenter__(self) -> "FakeIdentity":
        self.open += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open -= 1

    async def get_token(self, scope: str) -> Any:
        self.scopes.append(scope)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


class AzureError(Exception):
    """As in azure.core.exceptions."""


class ClientAuthenticationError(AzureError):
    """As in azure.core.exceptions."""


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> FakeIdentity:
    made = FakeIdentity(SimpleNamespace(token="tok", expires_on=2_000_000_000))
    errors = ModuleType("azure.core.exceptions")
    vars(errors).update(AzureError=AzureError, ClientAuthenticationError=ClientAuthenticationError)
    for name in ("azure", "azure.identity", "azure.core"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "azure.identity.aio", made)
    monkeypatch.setitem(sys.modules, "azure.core.exceptions", errors)
    return made


async def test_a_token_comes_from_azure_identity_for_the_scope(identity: FakeIdentity) -> None:
    entra = Entra(config(**ENTRA, AZURE_OPENAI_SCOPE="https://ai.azure.com/.default"), Log(stream=io.StringIO()))
    assert await entra.fetch() == ("tok", 2_000_000_000.0)
    assert (identity.scopes, identity.open) == (["https://ai.azure.com/.default"], 0)


@pytest.mark.parametrize(
    ("error", "source", "code", "cause", "words"),
    [
        (
            ClientAuthenticationError("Authentication failed: AADSTS7000215: Invalid client secret. Trace ID: 1"),
            "entra",
            "AADSTS7000215",
            "entra_refused",
            "AADSTS7000215: Invalid client secret",
        ),
        (
            ClientAuthenticationError("Failed.\n\tEnvironmentCredential: not configured\n\tAzureCliCredential: no az"),
            "gateway",
            "azure_no_credentials",
            "azure_no_credentials",
            "EnvironmentCredential, AzureCliCredential",
        ),
        (AzureError("no route"), "gateway", "entra_unreachable", "entra_unreachable", "no token"),
    ],
)
async def test_why_there_is_no_token_is_told(
    identity: FakeIdentity, error: Exception, source: str, code: str, cause: str, words: str
) -> None:
    identity.says = error
    async with conversation(**ENTRA) as (talk, _):
        problem = await problem_of(talk)
    assert (problem.source, problem.code, problem.cause) == (source, code, cause)
    assert words in problem.message
    assert ENDPOINT in problem.hint("")


async def test_without_azure_identity_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
    async with conversation(**ENTRA) as (talk, _):
        problem = await problem_of(talk)
    assert problem.cause == "azure_identity_missing"
    assert "pip install azure-identity" in problem.hint("")


# Talk


@asynccontextmanager
async def gateway(**environ: str) -> AsyncIterator[tuple[Resource, str, ClientSession]]:
    async with resource() as (azure, url):
        made = Gateway(config(AZURE_OPENAI_ENDPOINT=url, **environ))
        await made.start()
        async with TestServer(made.app()) as server, ClientSession() as http:
            try:
                yield azure, str(server.make_url("")).rstrip("/"), http
            finally:
                await made.close()


async def session_of(http: ClientSession, url: str, transport: str) -> dict[str, Any]:
    async with http.post(f"{url}/talk/session", json={"transport": transport}, headers=TALK) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
        return answer


async def test_who_asks_for_webrtc_gets_the_relay_and_the_reason() -> None:
    async with gateway(OPENAI_API_KEY=PLATFORM_KEY) as (azure, url, http):
        answer = await session_of(http, url, "webrtc")
        assert (answer["transport"], answer["model"]) == ("relay", "speech-1")
        assert "Azure" in answer["reason"]
        assert "client_secret" not in answer
        assert "reason" not in await session_of(http, url, "relay")
        async with http.get(f"{url}/talk") as page:
            assert "connect-src 'self';" in page.headers["Content-Security-Policy"]
        async with http.ws_connect(url + answer["url"]) as ws:
            assert (await ws.receive_json())["type"] == "ready"
            await ws.send_json({"type": "end"})
        assert [request.headers.get("api-key") for request in azure.asked] == [KEY]


async def test_a_browser_is_told_what_azure_says() -> None:
    async with gateway() as (azure, url, http):
        azure.refusals = [refusal(404, "DeploymentNotFound", MISSING, x_ms_region="Sweden Central")]
        answer = await session_of(http, url, "relay")
        async with http.ws_connect(url + answer["url"]) as ws:
            frame = await ws.receive_json()
            error = frame["error"]
            assert frame["type"] == "error"
            assert (error["source"], error["status"], error["code"]) == ("azure", 404, "DeploymentNotFound")
            assert (error["message"], error["cause"]) == (MISSING, "azure_deployment_not_found")
            assert "Sweden Central" in error["hint"]
            assert (await ws.receive_json())["type"] == "ended"
            assert (await ws.receive()).type is WSMsgType.CLOSE


async def test_a_gateway_that_is_set_to_the_relay_gives_it() -> None:
    made = load([], {**BASE, "OPENAI_API_KEY": PLATFORM_KEY, "GATEWAY_TALK_TRANSPORT": "relay"})
    talk = Gateway(made).talk
    assert talk.transport_for("webrtc")[0] == "relay"
    assert talk.transport_for("relay") == ("relay", "")
    assert talk.transport_for("webrtc")[1]
