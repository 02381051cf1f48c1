"""The doctor of the reference gateway: what it finds, that a call shows the same cause, and what it never prints."""

import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, unused_port

from harness.virtual import VirtualLoop, run_virtual
from reference_impl import doctor
from reference_impl.config import load
from reference_impl.doctor import CHECKS, Report, examine
from reference_impl.gateway import Gateway

KEY = "0123456789abcdef0123456789abcdef"
PLATFORM_KEY = "sk-platform-0123456789abcdef"
OPERATOR = {"Authorization": "Bearer operator-token"}
ENVIRON = {
    "GATEWAY_PUBLIC_URL": "https://gw.example.test",
    "GATEWAY_TOKEN": "operator-token",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}
AZURE = {
    **ENVIRON,
    "AZURE_OPENAI_ENDPOINT": "https://voices.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT": "speech",
    "AZURE_OPENAI_API_KEY": KEY,
}


@asynccontextmanager
async def resource(status: int = 0, code: str = "", message: str = "") -> AsyncIterator[str]:
    """The address of a resource that refuses, or opens sessions."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if status:
            return web.json_response({"error": {"code": code, "message": message}}, status=status)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_json({"type": "session.created", "session": {}})
        async for frame in ws:
            await ws.send_json({"type": "session.updated", "session": json.loads(frame.data)["session"]})
        return ws

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def failed(report: Report) -> list[tuple[str, str]]:
    return [(each.check, each.cause) for each in report.findings if each.status == doctor.FAIL]


async def test_all_is_well() -> None:
    async with resource() as url:
        report = await examine((), {**AZURE, "AZURE_OPENAI_ENDPOINT": url})
        assert report.ok
        assert {each.status for each in report.findings} == {"ok", "warn"}
        assert [each.cause for each in report.findings if each.status == "warn"] == ["azure_host_unusual"]
        assert report.as_text().endswith("All is well.\n")
        openai = await examine((), {**ENVIRON, "OPENAI_API_KEY": PLATFORM_KEY, "OPENAI_BASE_URL": f"{url}/v1"})
        assert openai.ok


@pytest.mark.parametrize(
    ("wrong", "check", "cause"),
    [
        ({"AZURE_OPENAI_ENDPOINT": ""}, "endpoint", "azure_endpoint_missing"),
        ({"AZURE_OPENAI_ENDPOINT": "https://api.openai.com"}, "endpoint", "azure_endpoint_wrong"),
        ({"AZURE_OPENAI_DEPLOYMENT": ""}, "deployment", "azure_deployment_missing"),
        ({"GATEWAY_TALK_TRANSPORT": "webrtc"}, "transport", "azure_transport_unsupported"),
        ({"AZURE_OPENAI_API_KEY": ""}, "credentials", "azure_no_credentials"),
        ({"AZURE_OPENAI_API_KEY": PLATFORM_KEY}, "credentials", "azure_key_wrong"),
        ({"AZURE_OPENAI_API_VERSION": "newest"}, "api-version", "azure_api_version_wrong"),
        ({"OPENAI_API": "beta"}, "api-version", "azure_api_conflict"),
        ({"GATEWAY_PORT": "x"}, "configuration", "configuration_wrong"),
    ],
)
async def test_what_is_wrong_with_the_settings_is_named(wrong: dict[str, str], check: str, cause: str) -> None:
    report = await examine((), {**AZURE, **wrong})
    assert failed(report) == [(check, cause)]
    (finding,) = report.findings
    assert finding.fix.endswith(".")
    assert "{" not in finding.fix
    assert f"FAIL  {check}: " in report.as_text()


REFUSALS = [
    (401, "401", "invalid subscription key", {}, "authentication", "azure_key_refused"),
    (401, "PermissionDenied", "lacks the required data action", {}, "permission", "azure_permission_denied"),
    (403, "AccessDenied", "Virtual Network/Firewall rules.", {}, "network-rules", "azure_network_denied"),
    (404, "DeploymentNotFound", "does not exist", {}, "model", "azure_deployment_not_found"),
    (400, "OpperationNotSupported", "choose different model", {}, "model", "azure_model_unsupported"),
    (400, "BadRequest", "not supported in this region", {}, "model", "azure_region_unsupported"),
    (404, "404", "Resource not found", {}, "api", "azure_path_not_found"),
    (404, "404", "Resource not found", {"AZURE_OPENAI_API_VERSION": "2030-01-01"}, "api", "azure_api_version"),
    (404, "404", "not found", {"AZURE_OPENAI_API_VERSION": "2025-04-01-preview"}, "api", "azure_preview_retired"),
    (429, "429", "exceeded", {}, "quota", "azure_rate_limited"),
    (503, "503", "later", {}, "session", "azure_fault"),
]


@pytest.mark.parametrize(("status", "code", "message", "environ", "check", "cause"), REFUSALS)
async def test_the_doctor_names_the_cause_that_a_call_shows(
    status: int, code: str, message: str, environ: dict[str, str], check: str, cause: str
) -> None:
    async with resource(status, code, message) as url:
        settings = {**AZURE, "AZURE_OPENAI_ENDPOINT": url, "GATEWAY_TALK_TOKEN": "talk-token", **environ}
        report = await examine((), settings)
        assert failed(report) == [(check, cause)]
        finding = next(each for each in report.findings if each.status == doctor.FAIL)
        assert (finding.code, finding.http_status, finding.what) == (code, status, message)
        names = [each.check for each in report.findings]
        after = report.findings[names.index(check) + 1 :]
        assert {each.status for each in after} <= {"unknown"}
        assert all(each.status in ("ok", "warn") for each in report.findings[: names.index(check)])

        gateway = Gateway(load([], settings))
        await gateway.start()
        async with TestServer(gateway.app()) as server, ClientSession(str(server.make_url("/"))) as http:
            async with http.get("/doctor", headers=OPERATOR) as response:
                assert (response.status, await response.json()) == (200, report.as_dict())
            async with http.post("/talk/session", json={}, headers={"Authorization": "Bearer talk-token"}) as answer:
                ticket = (await answer.json())["url"]
            async with http.ws_connect(ticket) as ws:
                error: Any = (await ws.receive_json())["error"]
            assert (error["cause"], error["hint"]) == (finding.cause, finding.fix)
            await gateway.close()


async def test_only_the_operator_may_see_the_doctor() -> None:
    gateway = Gateway(load([], AZURE))
    await gateway.start()
    async with TestServer(gateway.app()) as server, ClientSession(str(server.make_url("/"))) as http:
        assert (await http.get("/doctor")).status == 401
    await gateway.close()


async def test_a_host_that_nobody_trusts_and_one_that_nobody_is_at() -> None:
    certificate = trustme.CA().issue_cert("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    server = TestServer(web.Application(), host="localhost", scheme="https")
    await server.start_server(ssl=context)
    url = f"https://localhost:{server.port}"
    assert failed(await examine((), {**AZURE, "AZURE_OPENAI_ENDPOINT": url})) == [("tls", "azure_tls")]
    await server.close()
    url = f"http://127.0.0.1:{unused_port()}"
    assert failed(await examine((), {**AZURE, "AZURE_OPENAI_ENDPOINT": url})) == [("connection", "azure_unreachable")]


def test_a_name_without_an_address() -> None:
    async def main(loop: VirtualLoop) -> Report:
        return await examine((), AZURE)

    assert failed(run_virtual(main)) == [("name", "azure_name_unresolved")]


async def test_what_is_in_order_but_odd_is_a_warning() -> None:
    async with resource() as url:
        odd = {"OPENAI_API_KEY": PLATFORM_KEY, "AZURE_OPENAI_API_VERSION": "2025-04-01-preview"}
        report = await examine((), {**AZURE, "AZURE_OPENAI_ENDPOINT": url, **odd})
    assert report.ok
    warned = {each.cause for each in report.findings if each.status == "warn"}
    assert warned == {"openai_key_unused", "azure_host_unusual", "azure_preview"}


async def test_openai_is_examined_too() -> None:
    async with resource(401, "invalid_api_key", "Incorrect API key provided.") as url:
        report = await examine((), {**ENVIRON, "OPENAI_API_KEY": PLATFORM_KEY, "OPENAI_BASE_URL": f"{url}/v1"})
    assert failed(report) == [("authentication", "invalid_api_key")]


async def test_no_secret_is_printed() -> None:
    async with resource(401, "401", f"The key {KEY} is wrong.") as url:
        report = await examine((), {**AZURE, "AZURE_OPENAI_ENDPOINT": url, "OPENAI_API_KEY": PLATFORM_KEY})
    for text in (report.as_text(), json.dumps(report.as_dict())):
        assert not [secret for secret in (KEY, PLATFORM_KEY, "auth-token", "operator-token") if secret in text]


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command(as_json: bool) -> None:
    def run(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "reference_impl", "doctor", *(["--json"] if as_json else [])]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    done = run({**AZURE, "AZURE_OPENAI_DEPLOYMENT": ""})
    assert (done.returncode, done.stderr) == (1, "")
    if as_json:
        (finding,) = json.loads(done.stdout)["findings"]
        assert (finding["check"], finding["cause"]) == ("deployment", "azure_deployment_missing")
    else:
        assert done.stdout.startswith("FAIL  deployment: ")
    assert run({**AZURE, "GATEWAY_CONFIG": "/nowhere.toml"}).returncode == 2


def test_every_check_of_a_setting_is_of_a_setting_there_is() -> None:
    known = {each.metadata["key"] for each in load([], AZURE).__dataclass_fields__.values()}
    assert CHECKS.keys() <= known
