"""The handshake of Azure OpenAI: what the vendor itself refuses in band, Azure refuses with an HTTP status."""

from __future__ import annotations

from datetime import date

from fakes.azure.access import AzureAccess
from fakes.azure.errors import VendorError
from fakes.azure.resources import Resource, azure_catalogue
from fakes.azure.routes import as_upgrade, route
from fakes.knobs import Knobs
from fakes.openai.calls import Calls
from fakes.openai.handshake import SUBPROTOCOL, Decision, Handshake, HandshakeRequest, RefuseHttp


class AzureHandshake(Handshake):
    """Decides about upgrades of one resource on one day."""

    def __init__(self, resource: Resource, access: AzureAccess, knobs: Knobs, as_of: date, calls: Calls) -> None:
        super().__init__(azure_catalogue(), {}, knobs, as_of, calls=calls, access=access)
        self._resource = resource
        self._as_of = as_of

    def decide(self, request: HandshakeRequest) -> Decision:
        """Accept or refuse one upgrade."""
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
        try:
            return self._accept(self._asked(request), subprotocol)
        except VendorError as error:
            return RefuseHttp(error, status_of(error, self._knobs), {})

    def _asked(self, request: HandshakeRequest) -> HandshakeRequest:
        """The upgrade in the terms of OpenAI, once its path, its network and its credential have been looked at."""
        if not self._resource.network_open:
            raise VendorError("azure_network_denied")
        found, path = route(request.path, request.query, self._knobs, self._as_of)
        asked = as_upgrade(request, found, path)
        credential = self.access.credential(asked.headers, asked.subprotocols)
        leftover = not found.preview and "api-version" in request.query
        if leftover and self._knobs["azure.v1_api_version"] == "401":
            raise VendorError("azure_access_denied")
        needs_model = "call_id" not in asked.query and asked.query.get("intent") != "transcription"
        if needs_model and not asked.query.get("model") and credential.secret is None:
            if self._knobs["azure.missing_deployment"] == "404":
                raise VendorError("azure_deployment_not_found")
            raise VendorError("azure_missing_deployment", parameter="deployment" if found.preview else "model")
        return asked


def status_of(error: VendorError, knobs: Knobs) -> int:
    """The status that an error is answered with."""
    if error.name == "azure_permission_denied":
        return int(knobs["azure.permission_denied_status"])
    if error.name == "call_id_not_found":
        return int(knobs["openai.unknown_call_status"])
    return error.text.status
