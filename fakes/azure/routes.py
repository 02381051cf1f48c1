"""The paths of Azure OpenAI, and how a request to one of them would look at api.openai.com.

The dialect follows from the path alone. What is known only here goes along in pseudo-headers, whose names begin with a
colon: no client can send them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache

from fakes.azure.errors import VendorError
from fakes.azure.resources import data
from fakes.knobs import Knobs
from fakes.openai.handshake import BETA_HEADER, BETA_SUBPROTOCOL, HandshakeRequest
from fakes.openai.http import HttpRequest

FAMILY = ":family"
"""Which of the families a request belongs to: `preview`, `v1` or `regional`."""
OPERATION = ":operation"
"""Method and path as the client has sent them."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `to`: the same thing at api.openai.com; `family`: preview, v1 or regional; `upgrade`: to WebSocket."""

    path: str
    to: str
    family: str
    upgrade: bool = False

    @property
    def preview(self) -> bool:
        """Whether it speaks the dialect of the beta."""
        return self.family != "v1"


def is_web_socket(path: str) -> bool:
    """Whether there is a WebSocket at that path, whatever the day."""
    return any(route.upgrade and route.path == path for route in _routes())


def route(path: str, query: Mapping[str, str], knobs: Knobs, day: date) -> tuple[Route, str]:
    """The route of a path, and the path at api.openai.com. Raises `VendorError` for what there is not on that day."""
    for found in _routes():
        match = _pattern(found.path).fullmatch(path)
        if match is not None and _served(found, query, knobs, day):
            return found, found.to.format(rest=match.groupdict().get("rest", ""))
    raise VendorError("azure_resource_not_found")


def _served(found: Route, query: Mapping[str, str], knobs: Knobs, day: date) -> bool:
    if found.family == "v1":
        return bool(day >= data()["eras"]["v1_from"])
    retired = knobs["azure.preview_retired"]
    if retired == "now" or (retired == "by_date" and day >= data()["eras"]["preview_deprecated"]):
        return False
    return found.family == "regional" or _api_version(query.get("api-version", ""), day)


def _api_version(name: str, day: date) -> bool:
    for version in data()["api_versions"]:
        if version["name"] == name:
            return bool(version["from"] <= day < version.get("until", date.max))
    return False


def as_upgrade(request: HandshakeRequest, found: Route, path: str) -> HandshakeRequest:
    """An upgrade as it would look at api.openai.com."""
    query = {name: value for name, value in request.query.items() if name not in ("api-version", "api-key")}
    headers = _headers(request.headers, found, f"GET {request.path}")
    if "api-key" in request.query:
        headers.setdefault("api-key", request.query["api-key"])
    if found.preview:
        query.pop("model", None)
        if "deployment" in query:
            query["model"] = query.pop("deployment")
    subprotocols = tuple(offer for offer in request.subprotocols if offer != BETA_SUBPROTOCOL)
    return HandshakeRequest(path, query, headers, subprotocols)


def as_http(request: HttpRequest, found: Route, path: str) -> HttpRequest:
    """A plain request as it would look at api.openai.com."""
    query = {name: value for name, value in request.query.items() if name != "api-version"}
    headers = _headers(request.headers, found, f"{request.method} {request.path}")
    return HttpRequest(request.method, path, headers, query, request.body)


def _headers(headers: Mapping[str, str], found: Route, operation: str) -> dict[str, str]:
    # Nobody looks at OpenAI-Beta here; organisation and project are OpenAI's.
    unread = ("openai-beta", "openai-organization", "openai-project")
    result = {name: value for name, value in headers.items() if name not in unread}
    result |= {FAMILY: found.family, OPERATION: operation}
    if found.preview:
        result["openai-beta"] = BETA_HEADER
    return result


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(path.replace("{rest}", "(?P<rest>.+)"))


@cache
def _routes() -> tuple[Route, ...]:
    return tuple(Route(**entry) for entry in data()["routes"])
