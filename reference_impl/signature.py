"""Twilio request signatures: HMAC-SHA1 over the public URL and the form parameters.

Source: Twilio docs, "Webhooks security".
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit, urlunsplit

Pairs = Iterable[tuple[str, str]]


def sign(auth_token: str, url: str, params: Pairs = ()) -> str:
    """The value of `X-Twilio-Signature` for a request to `url` with these form parameters."""
    # Values of a repeated name are de-duplicated; sorting pairs sorts by name and then by value.
    text = url + "".join(name + value for name, value in sorted(set(params)))
    return base64.b64encode(hmac.digest(auth_token.encode(), text.encode(), "sha1")).decode()


def verify(auth_token: str, url: str, params: Pairs, signature: str) -> bool:
    """Whether `signature` is right for `url`, written with or without its port; compares in constant time."""
    params = list(params)
    given = signature.encode()
    return any(hmac.compare_digest(sign(auth_token, form, params).encode(), given) for form in _port_forms(url))


def verify_upgrade(auth_token: str, url: str, signature: str) -> bool:
    """Whether `signature` is right for a WebSocket upgrade to `url`, with or without a trailing slash."""
    bare = url.rstrip("/")
    return any(verify(auth_token, form, (), signature) for form in (bare, bare + "/"))


def _port_forms(url: str) -> Iterator[str]:
    """`url` as it is, and with the port dropped or the default port added: Twilio drops it for voice over TLS."""
    yield url
    parts = urlsplit(url)
    default = {"https": 443, "wss": 443, "http": 80, "ws": 80}.get(parts.scheme)
    if parts.port is None:
        other = f"{parts.netloc}:{default}"
    else:
        other = parts.netloc.rpartition(":")[0]
    yield urlunsplit(parts._replace(netloc=other))
