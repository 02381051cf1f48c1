"""The plain HTTP endpoints of Azure OpenAI: those of OpenAI under other paths, with Azure's own refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fakes.azure.access import AzureAccess
from fakes.azure.errors import VendorError
from fakes.azure.handshake import status_of
from fakes.azure.resources import Resource, data
from fakes.azure.routes import as_http, route
from fakes.openai.access import Credential
from fakes.openai.calls import Call
from fakes.openai.dialects import Wire
from fakes.openai.http import HttpAnswer, HttpEndpoints, HttpRequest, Offered
from fakes.openai.secrets import Secret

if TYPE_CHECKING:
    from fakes.azure.service import AzureService


class AzureEndpoints(HttpEndpoints):
    """The HTTP endpoints of one resource, on the day of its service."""

    def __init__(self, service: AzureService, resource: Resource, access: AzureAccess) -> None:
        super().__init__(service, access)
        self._azure = service
        self._resource = resource

    def _route(self, request: HttpRequest) -> HttpAnswer | Offered:
        if not self._resource.network_open:
            raise VendorError("azure_network_denied")
        found, path = route(request.path, request.query, self._service.knobs, self._service.as_of)
        if found.upgrade and request.method in ("GET", "HEAD"):
            raise VendorError("upgrade_required")
        asked = as_http(request, found, path)
        elsewhere = found.family == "regional" and self._azure.resources.is_named(request.headers.get("host", ""))
        if found.upgrade or elsewhere:
            raise VendorError("azure_resource_not_found")
        if request.method != "OPTIONS":
            self._access.credential(asked.headers)
        answer = super()._route(asked)
        if isinstance(answer, Offered) and request.query.get("webrtcfilter", "").lower() == "on":
            answer.call.filter = _FILTER.__contains__
        return answer

    def _refused(self, error: VendorError, body: Wire, headers: Mapping[str, str]) -> HttpAnswer:
        answer = super()._refused(error, body, headers)
        return replace(answer, status=status_of(error, self._service.knobs))

    def _headers(self, request: HttpRequest) -> dict[str, str]:
        headers = self._azure.headers_of(self._resource)
        if "origin" in request.headers:
            headers |= self._cors()
        return headers

    def _timed(self, answer: HttpAnswer, began: float) -> HttpAnswer:
        return answer

    def _location(self, call: Call) -> str:
        prefix = "/openai" if self._service.knobs["azure.location_prefix"] else ""
        return prefix + super()._location(call)

    def _mint(self, credential: Credential, dialect: str, kind: str, given: Wire, seconds: int) -> Secret:
        name = given.get("model")
        if kind != "transcription":
            if not name:
                raise VendorError("missing_required_parameter", param="model" if dialect == "beta" else "session.model")
            if self._service.knobs["azure.minting_checks_deployment"]:
                if kind == "translation":
                    self._access.translation_model(credential, name)
                else:
                    self._access.model(credential, name, dialect)
        return super()._mint(credential, dialect, kind, given, seconds)


_FILTER = frozenset(data()["webrtc_filter"]["events"])
