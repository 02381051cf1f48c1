"""Managed identities: the endpoints that a machine of Azure gives to the programs on it.

Sources: Microsoft docs, "Use managed identities on a virtual machine to acquire an access token" (the metadata service,
IMDS) and "Use managed identities for App Service" (REST endpoint reference); the published code of MSAL for Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fakes.azure.directory import ManagedIdentity
from fakes.azure.entra import Entra, IssuedToken
from fakes.azure.entra_errors import EntraError

IMDS_VERSIONS = ("2018-02-01", "2019-08-01", "2021-02-01")
APP_SERVICE_VERSIONS = ("2019-08-01", "2020-06-01", "2025-03-30")

_IMDS_NAMES = {
    "client_id": "client_id",
    "object_id": "object_id",
    "msi_res_id": "resource_id",
    "mi_res_id": "resource_id",
}
_APP_SERVICE_NAMES = {**_IMDS_NAMES, "principal_id": "object_id"}


def imds_token(entra: Entra, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    """Answer `GET /metadata/identity/oauth2/token`. Raises `EntraError`; header names are in lower case."""
    if headers.get("metadata", "").lower() != "true":
        raise EntraError("no_metadata_header", section="imds")
    if "x-forwarded-for" in headers:
        raise EntraError("forwarded", section="imds")
    if query.get("api-version") not in IMDS_VERSIONS:
        raise EntraError("api_version", section="imds")
    identity, issued = _asked(entra, query, _IMDS_NAMES, "imds")
    left = str(issued.lives(entra.ports.clock.wall()))
    return {
        "access_token": issued.text,
        "client_id": identity.client_id,
        "expires_in": left,
        "expires_on": str(issued.expires),
        "ext_expires_in": left,
        "not_before": str(issued.issued),
        "resource": query["resource"],
        "token_type": "Bearer",
    }


def app_service_token(entra: Entra, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    """Answer `GET $IDENTITY_ENDPOINT`. Raises `EntraError`; header names are in lower case."""
    if headers.get("x-identity-header") != entra.identity_header:
        raise EntraError("identity_header", section="app_service")
    if query.get("api-version") not in APP_SERVICE_VERSIONS:
        raise EntraError("api_version", section="app_service")
    identity, issued = _asked(entra, query, _APP_SERVICE_NAMES, "app_service")
    return {
        "access_token": issued.text,
        "expires_on": str(issued.expires),
        "resource": query["resource"],
        "token_type": "Bearer",
        "client_id": identity.client_id,
    }


def _asked(
    entra: Entra, query: Mapping[str, str], names: Mapping[str, str], section: str
) -> tuple[ManagedIdentity, IssuedToken]:
    resource = query.get("resource", "")
    if not resource:
        raise EntraError("no_resource", section=section)
    fits = _fits(query, names)
    every = [(tenant, identity) for tenant in entra.tenants for identity in tenant.identities]
    if fits is not None:
        found = [(tenant, identity) for tenant, identity in every if fits(identity)]
    else:
        # Without a system-assigned identity the only other one is meant (Microsoft docs: managed identities FAQ).
        found = [(tenant, identity) for tenant, identity in every if identity.system] or every
    if not found:
        raise EntraError("unknown_identity", section=section)
    if len(found) > 1:
        raise EntraError("several_identities" if section == "imds" else "unknown_identity", section=section)
    tenant, identity = found[0]
    if entra.resource(resource) is None:
        raise EntraError("unknown_resource", section=section, resource=resource, directory=tenant.name)
    return identity, entra.host_token(tenant, identity, resource)


def _fits(query: Mapping[str, str], names: Mapping[str, str]) -> Callable[[ManagedIdentity], bool] | None:
    """Whether an identity is the one that the query names; None when it names none."""
    named = [(attribute, query[parameter].lower()) for parameter, attribute in names.items() if query.get(parameter)]
    if not named:
        return None
    return lambda identity: all(getattr(identity, attribute).lower() == wanted for attribute, wanted in named)
