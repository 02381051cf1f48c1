"""The aiohttp shell of Azure OpenAI: that of OpenAI, under the host names of the resources."""

from __future__ import annotations

from collections.abc import Mapping

from fakes.azure.service import AzureService
from fakes.openai.server import OpenAIServer


class AzureServer(OpenAIServer):
    """The service as an aiohttp application, see `OpenAIServer`; `hosts` are those of all resources and regions."""

    name = "azure"

    def __init__(self, service: AzureService, *, routes: Mapping[str, str] | None = None) -> None:
        super().__init__(service, routes=routes)
        self.hosts = service.resources.hosts
