"""A tenant for tests: one application with every kind of credential, and the identities of one machine."""

from __future__ import annotations

from typing import Any

from manual_clock import ManualClock

from fakes.azure.directory import Application, FederatedCredential, ManagedIdentity, Tenant
from fakes.azure.entra import Entra
from fakes.azure.entra_http import EntraAnswer, EntraEndpoints, EntraRequest
from fakes.azure.keys import signing_key
from fakes.local import ListRecorder, OpenGates, TypicalChoices
from fakes.ports import Clock, Ports

TENANT = "3f1c6d2e-7b54-4a8e-9c0d-5e2f8a1b4c6d"
CLIENT = "9a7b5c3d-1e2f-4a6b-8c9d-0e1f2a3b4c5d"
SECRET = "abc8Q~Gateway-secret.0123456789_xyz"
SYSTEM = "11111111-2222-4333-8444-555555555555"
ASSIGNED = "66666666-7777-4888-9999-aaaaaaaaaaaa"
HEADER = "5d1c9a7e-identity-header"
COGNITIVE = "https://cognitiveservices.azure.com"
FOUNDRY = "https://ai.azure.com"


def application() -> Application:
    """The gateway's application."""
    return Application(
        CLIENT,
        secrets=[SECRET],
        certificates=[signing_key("certificate").certificate_pem()],
        federated=[FederatedCredential()],
        expired_secrets=["old8Q~secret"],
    )


def tenant(*identities: ManagedIdentity) -> Tenant:
    """The tenant; without `identities` its machine has one of its own and one assigned to it."""
    usual = (ManagedIdentity(SYSTEM, system=True), ManagedIdentity(ASSIGNED))
    return Tenant(TENANT, "Contoso", ("contoso.onmicrosoft.com",), [application()], list(identities or usual))


def entra(clock: Clock, recorder: ListRecorder | None = None, **options: Any) -> Entra:
    """The service."""
    ports = Ports(clock, TypicalChoices(), recorder or ListRecorder(), OpenGates())
    return Entra(ports, [tenant()], identity_header=HEADER, **options)


class EntraWorld:
    """The service without sockets, and its clock."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.entra = entra(self.clock, **options)
        self.endpoints = EntraEndpoints(self.entra)

    @property
    def application(self) -> Application:
        return self.entra.tenants[0].applications[0]

    def ask(
        self, *, path: str = f"/{TENANT}/oauth2/v2.0/token", headers: dict[str, str] | None = None, **form: str | None
    ) -> EntraAnswer:
        """Ask for a token with the secret, unless `form` says otherwise; None leaves a parameter out."""
        usual: dict[str, str | None] = {
            "client_id": CLIENT,
            "client_secret": SECRET,
            "grant_type": "client_credentials",
            "scope": f"{COGNITIVE}/.default",
        }
        filled = {name: value for name, value in {**usual, **form}.items() if value is not None}
        return self.endpoints.handle(EntraRequest("POST", path, {}, headers or {}, filled))

    def assert_with(self, assertion: str, **form: str | None) -> EntraAnswer:
        """Ask for a token with an assertion."""
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return self.ask(**{"client_secret": None, "client_assertion": assertion, "client_assertion_type": kind, **form})

    def get(self, path: str, headers: dict[str, str] | None = None, **query: str) -> EntraAnswer:
        """Ask for anything else."""
        return self.endpoints.handle(EntraRequest("GET", path, query, headers or {}))

    def imds(self, headers: dict[str, str] | None = None, **query: str) -> EntraAnswer:
        """Ask the metadata service; a parameter that is empty is left out, `api_version` is the usual one."""
        asked = {"api-version": "2018-02-01", "resource": COGNITIVE, **query}
        usual = {"metadata": "true"} if headers is None else headers
        return self.get("/metadata/identity/oauth2/token", usual, **{k: v for k, v in asked.items() if v})

    def app_service(self, headers: dict[str, str] | None = None, **query: str) -> EntraAnswer:
        """Ask the App Service identity endpoint, in the same way."""
        asked = {"api-version": "2019-08-01", "resource": COGNITIVE, **query}
        usual = {"x-identity-header": HEADER} if headers is None else headers
        return self.get("/msi/token", usual, **{k: v for k, v in asked.items() if v})
