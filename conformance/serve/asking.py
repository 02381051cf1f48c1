"""What requests to the control API bring along, checked, and what is answered to those that are no good."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from fakes.knobs import KnobError
from fakes.people.errors import PersonError
from harness.run import UsageProblem

CALLER = "+14155550199"
"""Who calls when nobody is named."""

T = TypeVar("T", bound=str)


class NotThere(UsageProblem):
    """There is no call, session, row or message of that name."""


class Forbidden(UsageProblem):
    """A request from where none may come."""


async def body(request: web.Request, needed: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """The JSON object that a request carries. Raises `UsageProblem` unless it has these members and no other."""
    needed, optional = set(needed), set(optional)
    wanted = f"the body is a JSON object with {', '.join(sorted(needed or optional))}"
    try:
        found = await request.json()
    except ValueError:
        raise UsageProblem(wanted) from None
    if not isinstance(found, dict):
        raise UsageProblem(wanted)
    if unknown := found.keys() - needed - optional:
        raise UsageProblem(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(needed | optional))}")
    if needed - found.keys():
        raise UsageProblem(wanted)
    return found


def url(values: Mapping[str, Any], key: str) -> str:
    """A member that is a URL."""
    value = values[key]
    if not isinstance(value, str) or not re.match(r"https?://[^/]", value):
        raise UsageProblem(f"{key} is a URL, such as http://127.0.0.1:8080/twilio/voice, not {value!r}")
    try:
        urlsplit(value).port  # noqa: B018
    except ValueError:
        raise UsageProblem(f"{key} has no good port: {value!r}") from None
    return value


def number(value: object, key: str) -> str:
    """A telephone number."""
    if not isinstance(value, str) or not re.fullmatch(r"\+[1-9]\d{6,14}", value):
        raise UsageProblem(f"{key} is a telephone number in E.164, such as {CALLER}, not {value!r}")
    return value


def one_of(value: object, key: str, options: Collection[T]) -> T:
    """One of several words."""
    for option in options:
        if value == option:
            return option
    *most, last = options
    raise UsageProblem(f"{key} is {', '.join(most)} or {last}, not {value!r}")


def milliseconds(value: object, key: str) -> int:
    """A duration."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageProblem(f"{key} is a number of milliseconds, such as 500, not {value!r}")
    return value


def count(request: web.Request, key: str, what: str, default: int = 0) -> int:
    """A number in the query."""
    try:
        return int(request.query.get(key, str(default)))
    except ValueError:
        raise UsageProblem(f"{key} is the number of a {what}, such as {default}") from None


def place(request: web.Request, key: str, what: str) -> int:
    """A number in the path."""
    try:
        return int(request.match_info[key])
    except ValueError:
        raise NotThere(f"no {what} is called {request.match_info[key]!r}: they have numbers, from 0") from None


def flag(request: web.Request, key: str, default: bool) -> bool:
    """A yes or no in the query."""
    value = request.query.get(key, str(default).lower())
    if value not in ("true", "false"):
        raise UsageProblem(f"{key} is true or false, not {value!r}")
    return value == "true"


@web.middleware
async def errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer what goes wrong as `{"error": ...}`."""
    try:
        response: web.StreamResponse = await handler(request)
    except (UsageProblem, KnobError, PersonError, ValueError) as error:
        status = 404 if isinstance(error, NotThere) else 403 if isinstance(error, Forbidden) else 400
        return web.json_response({"error": str(error)}, status=status)
    except web.HTTPMethodNotAllowed as error:
        told = f"{request.path} takes {', '.join(sorted(error.allowed_methods))}; GET / lists what there is"
        return web.json_response({"error": told}, status=405)
    except web.HTTPException as error:
        told = f"{request.path}: {error.reason}; GET / lists what there is"
        return web.json_response({"error": told}, status=error.status)
    return response


@web.middleware
async def own_pages_only(request: web.Request, handler: Any) -> web.StreamResponse:
    """Keep pages of other origins out, also one whose name was made to lead to this machine."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Forbidden(f"a page of {origin} has nothing to say here: open {request.scheme}://{request.host}/ itself")
    local = request.transport is not None and _is_loopback(
        str((request.transport.get_extra_info("sockname") or "?")[0])
    )
    name = urlsplit(f"//{request.host}").hostname or ""
    if local and not (_is_address(name) or name == "localhost" or name.endswith(".localhost")):
        raise Forbidden(f"{name!r} is not this machine's name: use http://127.0.0.1 or http://localhost")
    response: web.StreamResponse = await handler(request)
    return response


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback
