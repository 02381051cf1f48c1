"""Who may use one resource: by an API key, an access token of Entra ID, or a client secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from fakes.azure.errors import VendorError
from fakes.azure.resources import ENTRA, Resource, ResourceKeys, azure_catalogue
from fakes.azure.routes import FAMILY, OPERATION
from fakes.azure.tokens import TokenRefused, TokenVerifier
from fakes.knobs import Knobs
from fakes.openai.access import KEY_PREFIX, Access, Credential
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.secrets import PREFIX, ClientSecrets, Place
from fakes.ports import Clock


class AzureAccess(Access):
    """Decides about the credentials and the deployments of one resource. Requests are as `routes` has made them."""

    def __init__(
        self,
        resource: Resource,
        tokens: TokenVerifier | None,
        knobs: Knobs,
        as_of: date,
        secrets: ClientSecrets,
        clock: Clock,
    ) -> None:
        super().__init__(azure_catalogue(), ResourceKeys(resource), knobs, as_of, secrets)
        self._resource = resource
        self._tokens = tokens
        self._clock = clock
        self._place = Place(resource.name, resource.name)

    @property
    def catalogue(self) -> Catalogue:
        """See `Access.catalogue`: the deployments are among them."""
        return self._resource.catalogue()

    def credential(self, headers: Mapping[str, str], subprotocols: tuple[str, ...] = ()) -> Credential:
        """See `Access.credential`. Raises `VendorError` with an error of Azure's."""
        key = headers.get("api-key", "").strip()
        if key:
            return self._api_key(key)
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        bearer = bearer.strip() if scheme.lower() == "bearer" else ""
        if not bearer and self._knobs["azure.subprotocol_key"]:
            offered = (offer.removeprefix(KEY_PREFIX) for offer in subprotocols if offer.startswith(KEY_PREFIX))
            bearer = next(offered, "")
        if not bearer:
            raise VendorError("azure_access_denied")
        if bearer.startswith(PREFIX):
            return self._client_secret(bearer)
        if bearer.count(".") == 2:
            return self._token(bearer, headers.get(OPERATION, ""))
        allowed = self._knobs["azure.bearer_api_key"]
        if allowed == "nowhere" or (allowed == "v1" and headers.get(FAMILY) != "v1"):
            raise VendorError("azure_token_refused")
        return self._api_key(bearer)

    def _api_key(self, key: str) -> Credential:
        if key not in self._resource.keys:
            raise VendorError("azure_access_denied")
        return Credential(key, self._keys[key], self._place, None)

    def _client_secret(self, value: str) -> Credential:
        try:
            return self._secret(value, "", "")
        except VendorError:
            raise VendorError("azure_token_refused") from None

    def _token(self, token: str, operation: str) -> Credential:
        if self._tokens is None:
            raise VendorError("azure_token_refused")
        try:
            principal = self._tokens.verify(token, self._clock.wall())
        except TokenRefused:
            raise VendorError("azure_token_refused") from None
        if self._resource.tenant not in ("", principal.tenant):
            raise VendorError("azure_tenant_mismatch", tenant=principal.tenant)
        if principal.oid not in self._resource.principals:
            raise VendorError("azure_permission_denied", principal=principal.oid, operation=operation)
        key = ENTRA + principal.oid
        return Credential(key, self._keys[key], self._place, None)

    def model(self, credential: Credential, name: str, dialect: str) -> Model:
        """See `Access.model`; `name` is that of a deployment."""
        model = self._deployed(name)
        newer = dialect == "beta" and "beta" not in model.dialects
        older = dialect == "ga" and "preview" in model.name
        refused = (newer and self._knobs["azure.ga_model_on_preview"] == "refuse") or (
            older and self._knobs["azure.preview_model_on_v1"] == "refuse"
        )
        if model.kind != "realtime" or refused:
            raise VendorError("azure_operation_not_supported", operation="realtime", model=model.name)
        shown = self._knobs["azure.session_model"]
        by_deployment = shown == "deployment" or (shown == "deployment_on_v1" and dialect == "ga")
        return replace(model, shows_deployment=by_deployment)

    def translation_model(self, credential: Credential, name: str) -> Model:
        """See `Access.translation_model`; `name` is that of a deployment."""
        model = self._deployed(name)
        if model.kind != "translation":
            raise VendorError("azure_operation_not_supported", operation="translation", model=model.name)
        return model

    def _deployed(self, name: str) -> Model:
        model = self._resource.model(name, self._day)
        if model is None:
            raise VendorError("azure_deployment_not_found")
        return model
