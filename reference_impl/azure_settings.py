"""The rules about Azure's settings that more than one of them has a part in.

The first rule: who says anything of Azure wants Azure. What is missing or wrong then is told; it is never made up for
with OpenAI's key or OpenAI's address.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

CAUSES: Final[Mapping[str, Any]] = tomllib.loads(Path(__file__).with_name("causes.toml").read_text("utf-8"))
SETTINGS: Final = ("azure_endpoint", "azure_deployment", "azure_api_version", "azure_api_key", "azure_api_key_file")
EXAMPLE: Final = "https://RESOURCE.openai.azure.com"
# Any of these in the environment, and azure-identity has something to go by.
IDENTITIES: Final = ("AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT")
GA_VERSIONS: Final = ("", "v1")
_VERSION = re.compile(r"\d{4}-\d\d-\d\d(-preview)?")
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")

Found = Iterator[tuple[str, str, str]]  # the field of Config, the cause, what is wrong and what to write


def settle(values: dict[str, Any], environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Look at all settings together, and make the values of Azure's final; what is wrong with them."""
    wanted = values.get("openai_provider") == "azure-openai"
    if wanted or any(values.get(name) for name in SETTINGS) or values.get("azure_auth") in ("key", "entra"):
        found = [*_where(values), *_version(values), *_transport(values), *_credential(values, environ)]
    else:
        values["azure_auth"] = ""
        found = [*_openai(values)]
    return found


def is_azure_host(host: str) -> bool:
    """Whether a host is one of Azure's own."""
    return any(host.endswith("." + suffix) for suffix in CAUSES["hosts"])


def _openai(values: dict[str, Any]) -> Found:
    if values.get("openai_api_key") == "":
        yield "openai_api_key", "configuration_wrong", "is missing; set one of the two"


def _where(values: dict[str, Any]) -> Found:
    endpoint: str = values.get("azure_endpoint", "").rstrip("/")
    deployment: str = values.get("azure_deployment", "")
    values["azure_endpoint"] = endpoint
    if not endpoint:
        why = "is missing; with Azure it is the address of the resource, such as " + EXAMPLE
        yield "azure_endpoint", "azure_endpoint_missing", why
    elif why := _wrong_with(endpoint):
        yield "azure_endpoint", "azure_endpoint_wrong", f"{why}; write {EXAMPLE}, not {_plain(endpoint)!r}"
    if not deployment:
        why = "is missing; with Azure it is the name of the deployment, and OPENAI_MODEL is not used"
        yield "azure_deployment", "azure_deployment_missing", why
    elif deployment.split() != [deployment]:
        yield "azure_deployment", "azure_deployment_missing", f"must be one word without spaces, not {deployment!r}"


def _plain(url: str) -> str:
    # There may be a key in a query, and there is a password before an @.
    scheme, separator, rest = url.split("?")[0].rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _wrong_with(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        host = (parts.hostname or "").lower()
        _ = parts.port
    except ValueError:
        return "must be a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "must be a URL with https"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must have no user, query or fragment; the deployment and the version have settings of their own"
    if host == "openai.com" or host.endswith(".openai.com"):
        return "is OpenAI's own address, where no credential of Azure may go"
    if parts.scheme == "http" and not _LOOPBACK.fullmatch(host):
        return "must have https: the credential would cross the network in the clear"
    if parts.path and (is_azure_host(host) or "/openai" in parts.path):
        return "must have no path; the gateway adds /openai/v1/realtime"
    return ""


def _version(values: dict[str, Any]) -> Found:
    version: str = values.get("azure_api_version", "")
    if version not in GA_VERSIONS and not _VERSION.fullmatch(version):
        why = f"must be empty (or v1) for the GA API, or a date such as 2025-04-01-preview, not {version!r}"
        yield "azure_api_version", "azure_api_version_wrong", why
    elif (asked := values.get("openai_api", "auto")) != "auto":
        beta = version not in GA_VERSIONS
        if (asked == "beta") != beta:
            why = f"is {asked}, but with Azure the api-version decides, and {version or 'none'} asks for the other one"
            yield "openai_api", "azure_api_conflict", why


def _transport(values: dict[str, Any]) -> Found:
    if values.get("talk_transport") == "webrtc":
        why = "must be auto or relay with Azure, whose credentials stay in the gateway: no browser can go there itself"
        yield "talk_transport", "azure_transport_unsupported", why


def _credential(values: dict[str, Any], environ: Mapping[str, str]) -> Found:
    key: str = values.get("azure_api_key", "")
    auth: str = values.get("azure_auth", "auto") or "auto"
    scheme, _, name = key.partition(":")
    if key and values.get("azure_api_key_file"):
        yield "azure_api_key", "azure_key_wrong", "is set, and so is azure.api_key_file; set one of the two"
    elif scheme == "env":
        values["azure_api_key"] = key = environ.get(name, "")
        if not key:
            yield "azure_api_key", "azure_key_wrong", f"refers to the environment variable {name}, which is not set"
    elif scheme == "file":
        values["azure_api_key"], values["azure_api_key_file"] = "", name
    if key.startswith("sk-"):
        why = "is a key of OpenAI Platform; Azure's are shown at the resource, under Keys and Endpoint"
        yield "azure_api_key", "azure_key_wrong", why
    file: str = values.get("azure_api_key_file", "")
    if file and not values.get("azure_api_key") and (why := unreadable(file)):
        yield "azure_api_key_file", "azure_key_wrong", why
    has_key = bool(values.get("azure_api_key") or values.get("azure_api_key_file"))
    if auth == "auto":
        auth = "key" if has_key else "entra" if any(environ.get(each) for each in IDENTITIES) else ""
    values["azure_auth"] = auth
    if "azure_api_key" in values and (auth == "" or (auth == "key" and not (has_key or scheme == "env"))):
        why = (
            "is missing, and there is no identity to go by; set it, or azure.api_key_file, or what azure-identity "
            "reads (AZURE_TENANT_ID, AZURE_CLIENT_ID, ...), or AZURE_OPENAI_AUTH=entra for the identity of this machine"
        )
        unused = "; OPENAI_API_KEY is not used with Azure" if values.get("openai_api_key") else ""
        yield "azure_api_key", "azure_no_credentials", why + unused


def read_key(path: str) -> str:
    """The key in a file. Raises ValueError with what is wrong."""
    try:
        text = Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path} is not text") from None
    if len(text.split()) != 1 or text.startswith("sk-"):
        raise ValueError(f"{path} must hold a key of Azure and nothing else")
    return text


def unreadable(path: str) -> str:
    """Why there is no key in a file; empty if there is."""
    try:
        read_key(path)
    except ValueError as error:
        return str(error)
    return ""
