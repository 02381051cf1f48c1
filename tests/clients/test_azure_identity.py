"""The vendor's own library, unmodified, gets its tokens from the fake Entra: in every flow, blocking and not."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import urllib3.util.connection
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    DefaultAzureCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.identity import aio as identity_aio
from entra_stand import (
    ASSIGNED,
    CLIENT,
    HEADER,
    SECONDS,
    SECRET,
    SYSTEM,
    TENANT,
    Stand,
    entra,
    on_the_virtual_stage,
    principal,
    served,
)

from fakes.azure.directory import FederatedCredential, guid
from fakes.azure.entra import Entra
from fakes.azure.entra_http import APP_SERVICE_PATH
from fakes.azure.entra_server import EntraServer
from fakes.azure.keys import signing_key
from fakes.local import ListRecorder, LoopClock
from harness.virtual import DEFAULT_WALL, spawn
from harness.virtual.stage import VirtualStage

SCOPE = "https://cognitiveservices.azure.com/.default"
FOUNDRY = "https://ai.azure.com"
APPLICATION = guid(f"principal of {CLIENT}")
AZURE_VARIABLES = (
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_TOKEN_CREDENTIALS",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
)


@pytest.fixture(autouse=True)
def no_azure_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine that the tests run on is to be seen."""
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A private CA that clients are told of as programs are told of one: by environment variables."""
    ca = trustme.CA()
    bundle = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(bundle))
    return ca


@pytest.fixture
def stand(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """The service in a thread of its own, for clients that block.

    A hosts file of the test's own sends the vendor's names and the address of the metadata service to it.
    """
    loop = asyncio.new_event_loop()
    ready: list[Stand] = []
    up, over = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with served(authority) as stand:
            ready.append(stand)
            up.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert up.wait(SECONDS)
    connect = urllib3.util.connection.create_connection

    def here(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        host, port = address
        if host in EntraServer.hosts:
            address = ("127.0.0.1", ready[0].port if port == 443 else ready[0].plain_port)
        return connect(address, *args, **kwargs)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", here)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(SECONDS)
        loop.close()


@pytest.fixture
def certificate_file(tmp_path: Path) -> str:
    path = tmp_path / "client.pem"
    path.write_text(signing_key("certificate").bundle_pem())
    return str(path)


def token_file(directory: Path, wall: float) -> str:
    """The file that a cluster projects into a pod."""
    path = directory / "token"
    path.write_text(FederatedCredential().assertion(wall))
    return str(path)


# -- blocking clients


def test_client_secret(stand: Stand) -> None:
    with ClientSecretCredential(TENANT, CLIENT, SECRET) as credential:
        token = credential.get_token(SCOPE)
        again = credential.get_token(SCOPE)
    assert principal(stand.entra, token.token) == APPLICATION
    assert token.expires_on == pytest.approx(stand.entra.issued[0].expires, abs=2)
    assert again.token == token.token
    assert len(stand.entra.issued) == 1


def test_both_audiences(stand: Stand) -> None:
    with ClientSecretCredential(TENANT, CLIENT, SECRET) as credential:
        token = credential.get_token(f"{FOUNDRY}/.default").token
    assert stand.entra.verify(token, stand.entra.ports.clock.wall()).audience == FOUNDRY


def test_a_wrong_secret_is_told_in_the_vendors_words(stand: Stand) -> None:
    with (
        ClientSecretCredential(TENANT, CLIENT, "wrong") as credential,
        pytest.raises(ClientAuthenticationError, match="AADSTS7000215: Invalid client secret provided"),
    ):
        credential.get_token(SCOPE)


def test_an_unknown_tenant_is_told(stand: Stand) -> None:
    with (
        ClientSecretCredential(guid("nobody"), CLIENT, SECRET) as credential,
        pytest.raises(ClientAuthenticationError, match="tenant name or GUID is correct"),
    ):
        credential.get_token(SCOPE)


def test_certificate(stand: Stand, certificate_file: str) -> None:
    with CertificateCredential(TENANT, CLIENT, certificate_file) as credential:
        assert principal(stand.entra, credential.get_token(SCOPE).token) == APPLICATION


def test_workload_identity(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", token_file(tmp_path, stand.entra.ports.clock.wall()))
    with WorkloadIdentityCredential() as credential:
        assert principal(stand.entra, credential.get_token(SCOPE).token) == APPLICATION


@pytest.mark.parametrize(("client_id", "owner"), [(None, SYSTEM), (ASSIGNED, ASSIGNED)])
def test_managed_identity_of_a_machine(stand: Stand, client_id: str | None, owner: str) -> None:
    with ManagedIdentityCredential(client_id=client_id) as credential:
        assert principal(stand.entra, credential.get_token(SCOPE).token) == guid(f"principal of {owner}")
    assert stand.paths() == ["metadata/identity/oauth2/token"]


def test_an_identity_that_the_machine_has_not(stand: Stand) -> None:
    with (
        ManagedIdentityCredential(client_id=guid("nobody")) as credential,
        pytest.raises((CredentialUnavailableError, ClientAuthenticationError), match="Identity not found"),
    ):
        credential.get_token(SCOPE)


def test_managed_identity_of_app_service(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{stand.plain_port}{APP_SERVICE_PATH}")
    monkeypatch.setenv("IDENTITY_HEADER", HEADER)
    with ManagedIdentityCredential() as credential:
        assert principal(stand.entra, credential.get_token(SCOPE).token) == guid(f"principal of {SYSTEM}")
    assert stand.paths() == ["msi/token"]


def test_default_credential_by_environment(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    with DefaultAzureCredential() as credential:
        assert principal(stand.entra, credential.get_token(SCOPE).token) == APPLICATION


def test_default_credential_finds_the_managed_identity(stand: Stand) -> None:
    with DefaultAzureCredential() as credential:
        assert principal(stand.entra, credential.get_token(SCOPE).token) == guid(f"principal of {SYSTEM}")


def test_another_authority_host(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", stand.authority)
    with ClientSecretCredential(TENANT, CLIENT, SECRET, disable_instance_discovery=True) as credential:
        assert principal(stand.entra, credential.get_token(SCOPE).token) == APPLICATION
    assert all(f"localhost:{stand.port}" in m.meta["url"] for m in stand.recorder.messages if m.kind == "request")


# -- asynchronous clients, on a real loop


async def test_asynchronous_clients_over_tls(
    authority: trustme.CA, tmp_path: Path, certificate_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(authority) as stand:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", stand.authority)
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{stand.plain_port}")
        file = token_file(tmp_path, stand.entra.ports.clock.wall())
        # aiohttp has read SSL_CERT_FILE long ago: a program that is started with it needs no option.
        trusting = {"connection_verify": str(tmp_path / "ca.pem")}
        for credential, owner in (
            (identity_aio.ClientSecretCredential(TENANT, CLIENT, SECRET, **trusting), CLIENT),
            (identity_aio.CertificateCredential(TENANT, CLIENT, certificate_file, **trusting), CLIENT),
            (
                identity_aio.WorkloadIdentityCredential(
                    tenant_id=TENANT, client_id=CLIENT, token_file_path=file, **trusting
                ),
                CLIENT,
            ),
            (identity_aio.ManagedIdentityCredential(), SYSTEM),
        ):
            async with credential:
                token = await credential.get_token(SCOPE)
            assert principal(stand.entra, token.token) == guid(f"principal of {owner}")


# -- asynchronous clients on the virtual stage, the vendor's own host names


def test_virtual_client_secret_and_its_refresh() -> None:
    async def main(service: Entra) -> None:
        service.lifetime = 3600
        async with identity_aio.ClientSecretCredential(TENANT, CLIENT, SECRET) as credential:
            tokens = []
            for _ in range(10):
                tokens.append((await credential.get_token(SCOPE)).token)
                assert principal(service, tokens[-1]) == APPLICATION
                await asyncio.sleep(600)
        assert len(set(tokens)) == len(service.issued) == 2

    wire = on_the_virtual_stage(main)
    hosts = {m.meta["url"].split("/")[2] for m in wire.all("request")}
    assert hosts == {"login.microsoftonline.com"}
    assert [m.invalid for m in wire if m.invalid] == []


def test_virtual_default_credential_in_each_place(tmp_path: Path, certificate_file: str) -> None:
    file = token_file(tmp_path, DEFAULT_WALL)
    application = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT}
    app_service = {"IDENTITY_ENDPOINT": "http://169.254.169.254:8081/msi/token", "IDENTITY_HEADER": HEADER}
    for environ, owner in (
        ({**application, "AZURE_CLIENT_SECRET": SECRET}, CLIENT),
        ({**application, "AZURE_CLIENT_CERTIFICATE_PATH": certificate_file}, CLIENT),
        ({**application, "AZURE_FEDERATED_TOKEN_FILE": file}, CLIENT),
        (app_service, SYSTEM),
        ({}, SYSTEM),
    ):

        async def main(service: Entra, owner: str = owner) -> None:
            async with identity_aio.DefaultAzureCredential() as credential:
                token = await credential.get_token(SCOPE)
            assert principal(service, token.token) == guid(f"principal of {owner}")

        on_the_virtual_stage(main, **environ)


@pytest.mark.parametrize("proof", ["secret", "workload", "machine"])
def test_equal_runs_have_equal_wires(proof: str, tmp_path: Path) -> None:
    file = token_file(tmp_path, DEFAULT_WALL)
    credentials: dict[str, Callable[[], Any]] = {
        "secret": lambda: identity_aio.ClientSecretCredential(TENANT, CLIENT, SECRET),
        "workload": lambda: identity_aio.WorkloadIdentityCredential(
            tenant_id=TENANT, client_id=CLIENT, token_file_path=file
        ),
        "machine": identity_aio.ManagedIdentityCredential,
    }

    async def main(service: Entra) -> None:
        async with credentials[proof]() as credential:
            await credential.get_token(SCOPE)

    one, other = on_the_virtual_stage(main), on_the_virtual_stage(main)
    assert len(one) == 2
    assert one.digest() == other.digest()


def test_the_stage_of_a_world_serves_the_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    stage = VirtualStage()

    async def main() -> None:
        service = entra(LoopClock(DEFAULT_WALL), ListRecorder())
        url = await stage.serve(EntraServer(service))
        assert url == "https://login.microsoftonline.com"

        async def gateway() -> None:
            async with identity_aio.EnvironmentCredential() as credential:
                assert principal(service, (await credential.get_token(SCOPE)).token) == APPLICATION

        await spawn(stage.loop, "gateway", gateway(), "gateway")
        await stage.close()

    stage.run(main)
    assert stage.network.looked_up_by("gateway") == {"login.microsoftonline.com"}
