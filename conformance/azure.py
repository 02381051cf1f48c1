"""Azure in a world: the resource that the gateway is configured for, another one that it is not, and Entra ID."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Literal

from fakes.azure.directory import Application, Tenant
from fakes.azure.entra import Entra
from fakes.azure.entra_server import EntraServer
from fakes.azure.resources import Deployment, Resource
from fakes.azure.server import AzureServer
from fakes.azure.service import AzureService
from fakes.azure.tokens import Principal, TokenRefused
from fakes.knobs import Knobs
from fakes.ports import Ports
from harness.stage import Stage
from harness.suite import Column

RESOURCE = "contoso-voice"
OTHER = "contoso-lab"
DEPLOYMENT = "voice-agent"
PREVIEW = "2025-04-01-preview"
SECRET_OF_SOMEBODY_ELSE = "Zq8~not-the-one-of-this-application-R7w~Q"

Access = Literal["key", "file", "application"]
VENDORS: Mapping[str, Access] = {"azure": "key", "azure-key-file": "file", "azure-entra": "application"}
"""What a case says as its `vendor`, and how the gateway is let in then."""


class Azure:
    """One subscription, as the gateway of a world meets it.

    `resource` is the one that it is configured for, with a deployment of the column's model; `other` has a deployment
    of the same name, and keys that are no good for the first. `keys` and `deployments` are those that `resource` begins
    with. `by`: what the gateway is given: a key, a file with it, or the secret of an application of Entra ID.
    """

    def __init__(self, ports: Ports, column: Column, knobs: Knobs, by: Access = "key") -> None:
        token = ports.choices.token
        keys = [token(f"plant/azure/key{number}", 32) for number in (1, 2, 3, 4)]
        self.keys = tuple(keys[:2])
        self.deployments = (Deployment(DEPLOYMENT, column.model),)
        self.column = column
        self.by = by
        self.key_file: Path | None = None
        self.exchanged: list[str] = []
        """The keys that were put into the file in the place of the first."""
        self.client_secret = f"{token('plant/azure/secret', 37)}~Q"
        self.tenant_id = _uuid(token("plant/azure/tenant", 32))
        self.client_id = _uuid(token("plant/azure/client", 32))
        self.application = Application(self.client_id, secrets=[self.client_secret])
        self.resource = Resource(
            RESOURCE, keys=self.keys, deployments=self.deployments, principals={self.application.object_id}
        )
        self.other = Resource(OTHER, keys=keys[2:], deployments=self.deployments)
        self.entra = Entra(ports, tenants=[Tenant(self.tenant_id, applications=[self.application])], knobs=knobs)
        self.service = AzureService(
            ports, as_of=column.as_of, resources=[self.resource, self.other], tokens=self, knobs=knobs
        )
        self.refused_tokens: set[str] = set()
        """Tokens that are refused although Entra has issued them, and they have not expired."""
        self.server = AzureServer(self.service)
        self.entra_server = EntraServer(self.entra)

    def verify(self, token: str, now: float) -> Principal:
        """See `TokenVerifier.verify`: as Entra says, but for `refused_tokens`."""
        if token in self.refused_tokens:
            raise TokenRefused("expired")
        return self.entra.verify(token, now)

    def exchange_key(self, key: str) -> None:
        """Regenerate both keys of the resource, and put `key`, which is one of the new ones, into the file."""
        assert self.key_file is not None, 'the case wants @case(..., vendor="azure-key-file")'
        self.resource.keys = (key, f"{key[::-1]}")
        self.key_file.write_text(key, encoding="utf-8")
        self.exchanged.append(key)

    def planted(self) -> Mapping[str, str]:
        """The credentials that have to stay where they belong."""
        return {"azure.api_key": self.resource.keys[0], "azure.client_secret": self.client_secret}

    async def serve(self, stage: Stage) -> dict[str, str]:
        """Bring both up; returns the settings that a gateway is told."""
        url = await stage.serve(self.server)
        authority = await stage.serve(self.entra_server)
        told = {
            "openai.provider": "azure-openai",
            "azure.endpoint": url,
            "azure.deployment": DEPLOYMENT,
            "azure.authority_host": authority,
        }
        if self.by == "key":
            told["azure.api_key"] = self.keys[0]
        elif self.by == "file":
            self.key_file = Path(mkdtemp(prefix="callproof-")) / "azure-key"
            self.key_file.write_text(self.keys[0], encoding="utf-8")
            told["azure.api_key_file"] = str(self.key_file)
        else:
            told["azure.tenant_id"] = self.tenant_id
            told["azure.client_id"] = self.client_id
            told["azure.client_secret"] = self.client_secret
        return {**told, "azure.api_version": PREVIEW} if self.column.dialect == "beta" else told

    async def close(self) -> None:
        """Take both down."""
        if self.key_file is not None:
            rmtree(self.key_file.parent)
        await self.server.close()
        await self.entra_server.close()


def _uuid(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], f"4{digits[13:16]}", f"8{digits[17:20]}", digits[20:32]))
