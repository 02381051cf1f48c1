"""`X-Twilio-Signature`: HMAC-SHA1 over the URL and the sorted form parameters, keyed by the auth token.

Source: Twilio docs, "Security" (validating requests).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from fakes.knobs import Knobs

Params = Iterable[tuple[str, str]]


def signature(auth_token: str, url: str, params: Params = ()) -> str:
    """The signature of one request, base64.

    `url`: exactly as it is to be signed (see `signed_url`). `params`: the form of a POST; empty for GET and WebSockets,
    whose parameters are in the URL. A repeated name contributes each distinct value once, sorted; an empty value
    contributes the name alone.
    """
    text = url + "".join(name + value for name, value in sorted(set(params)))
    return base64.b64encode(hmac.new(auth_token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def signed_url(url: str, knobs: Knobs) -> str:
    """The form of `url` that Twilio signs: no fragment, no userinfo, no port where that is dropped.

    A port is dropped for voice over https and kept over http (Twilio docs: Security). What happens to the port and to
    the path of a wss URL is not documented in full: `twilio.signature_wss_port`, `twilio.signature_wss_slash`.
    """
    if ":" not in url[6:] and "#" not in url and "@" not in url and url.startswith("https"):
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path
    drop_port = parts.scheme == "https"
    if parts.scheme in ("wss", "ws"):
        drop_port = parts.scheme == "wss" and knobs["twilio.signature_wss_port"] == "dropped"
        slash = knobs["twilio.signature_wss_slash"]
        if slash == "always" and not path.endswith("/"):
            path += "/"
        elif slash == "empty-path" and not path:
            path = "/"
    if drop_port and parts.port is not None:
        host = host[: -len(f":{parts.port}")]
    return urlunsplit((parts.scheme, host, path, parts.query, ""))
