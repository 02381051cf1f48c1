"""The bodies of HTTP requests: JSON and multipart, and the rules for their fields. A bad one raises `VendorError`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import msgspec

from fakes.openai.catalogue import Catalogue
from fakes.openai.dialects import DIALECTS, Wire, defaults
from fakes.openai.errors import VendorError, from_violation, listed
from fakes.openai.protocol import Violation, check
from fakes.openai.updates import check_output, check_transcription

JSON = "application/json"
MULTIPART = "multipart/form-data"
SDP = "application/sdp"

SECONDS = (10, 600, 7200)
"""The shortest, the usual and the longest life of a client secret."""


def media_type(headers: Mapping[str, str]) -> str:
    """The media type of a body, without its parameters; empty when none is said."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def wanted_type(headers: Mapping[str, str], *allowed: str) -> str:
    """The media type of a body. Raises `VendorError` when it is none of `allowed`."""
    got = media_type(headers)
    if got not in allowed:
        raise VendorError("unsupported_content_type", got=got, options=listed(allowed))
    return got


def json_object(body: bytes, *, empty: bool = False) -> Wire:
    """A body that must be a JSON object; `empty`: nothing at all counts as one."""
    if empty and not body.strip():
        return {}
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise VendorError("unparsable_body") from None
    if not isinstance(parsed, dict):
        raise VendorError("unparsable_body")
    return parsed


def multipart(body: bytes, content_type: str) -> dict[str, bytes]:
    """The parts of a multipart body by name. Raises `VendorError` when it is none, or a part has no name."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    parts: dict[str, bytes] = {}
    if not message.is_multipart() or message.defects:
        raise VendorError("unparsable_multipart")
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            raise VendorError("unparsable_multipart")
        parts[name] = content
    return parts


def fields(body: Mapping[str, Any], known: Iterable[str], required: Iterable[str] = (), under: str = "") -> None:
    """Raise `VendorError` for a required field that is missing, or for one that nobody knows."""
    known = tuple(known)
    for name in required:
        if name not in body:
            raise VendorError("missing_required_parameter", param=under + name)
    for name in body:
        if name not in known:
            raise VendorError("unknown_parameter", param=under + name)


def typed(value: Any, kind: type, name: str, param: str) -> None:
    """Raise `VendorError` when a value is not of a Python type; `name` is the type in JSON Schema."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise from_violation(Violation("invalid_type", param, value, (name,)), ())


def within(value: Any, low: int, high: int, param: str) -> int:
    """A whole number. Raises `VendorError` when it is none, or too small or too large."""
    typed(value, int, "integer", param)
    number = int(value)
    if number < low:
        raise from_violation(Violation("below_min", param, number, (low,)), ())
    if number > high:
        raise from_violation(Violation("above_max", param, number, (high,)), ())
    return number


def lifetime(expires_after: Any) -> int:
    """How long a client secret shall last, in seconds, from the `expires_after` of its minting."""
    low, usual, high = SECONDS
    if expires_after is None:
        return usual
    typed(expires_after, dict, "object", "expires_after")
    fields(expires_after, ("anchor", "seconds"), under="expires_after.")
    anchor = expires_after.get("anchor", "created_at")
    if anchor != "created_at":
        raise VendorError("invalid_value", param="expires_after.anchor", got=anchor, options=listed(("created_at",)))
    return within(expires_after.get("seconds", usual), low, high, "expires_after.seconds")


def session(catalogue: Catalogue, dialect: str, given: Any, *, kind: str | None = None, under: str = "session") -> str:
    """Check a session as a client describes it, and return its kind: realtime or transcription.

    `kind`: the one that it must have, where the endpoint says so. `under`: where it stands in the body; empty when it
    is the body. Raises `VendorError` for everything that `session.update` would refuse too.
    """
    event_type = "session.update"
    if dialect == "beta" and kind == "transcription":
        event_type = "transcription_session.update"
    try:
        return _session_kind(catalogue, dialect, event_type, given, kind)
    except VendorError as error:
        if under or error.param is None:
            raise
        raise VendorError(error.name, param=error.param.removeprefix("session."), **error.fields) from None


def _session_kind(catalogue: Catalogue, dialect: str, event_type: str, given: Any, kind: str | None) -> str:
    violation = check(dialect, "client", {"type": event_type, "session": given})
    if violation is not None:
        raise from_violation(violation, defaults()["events"][dialect])
    actual = kind or "realtime" if dialect == "beta" else str(given["type"])
    if kind is not None and actual != kind:
        raise VendorError("invalid_value", param="session.type", got=actual, options=listed((kind,)))
    shape = DIALECTS[dialect]
    if actual == "realtime":
        check_output(shape, catalogue, given, "session")
    else:
        merged = shape.merged(shape.new_session(actual), given)
        check_transcription(shape, catalogue, shape.settings(merged), given)
    return actual


def translation(given: Any) -> str:
    """Check a translation session as a client describes it, and return the name of its model."""
    typed(given, dict, "object", "session")
    fields(given, ("model", "audio"), ("model",), under="session.")
    typed(given["model"], str, "string", "session.model")
    rest = {name: value for name, value in given.items() if name != "model"}
    violation = check("translation", "client", {"type": "session.update", "session": rest})
    if violation is not None:
        raise from_violation(violation, ())
    return str(given["model"])


def check_offer(offer: str) -> None:
    """Raise `VendorError` for an SDP offer that is none, or that has no audio media section."""
    lines = offer.splitlines()
    if not lines or lines[0] != "v=0" or any(line[1:2] != "=" for line in lines if line):
        raise VendorError("invalid_offer")
    if not any(line.startswith("m=audio ") for line in lines):
        raise VendorError("offer_without_audio")
