"""Signed tokens in their compact form (RFC 7515): read, made and checked, with no clock of their own.

The libraries for JSON Web Tokens look at the wall clock of the machine; here time is the world's, so the caller judges
`nbf` and `exp`.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from fakes.azure.keys import base64url

_SHA256 = hashes.SHA256()
_PKCS1 = padding.PKCS1v15()
_PSS = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=padding.PSS.DIGEST_LENGTH)


class Malformed(ValueError):
    """Not a signed token at all. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token taken apart; nothing in it is to be believed before `signed_by` has said so."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    def signed_by(self, key: rsa.RSAPublicKey) -> bool:
        """Whether the signature is that of `key`, by RS256 or PS256; any other algorithm is no signature."""
        scheme = {"RS256": _PKCS1, "PS256": _PSS}.get(str(self.header.get("alg")))
        if scheme is None:
            return False
        try:
            key.verify(self.signature, self.signed, scheme, _SHA256)
        except InvalidSignature:
            return False
        return True

    def text(self, claim: str) -> str:
        """A claim as text; empty when it is not there or is none."""
        value = self.claims.get(claim)
        return value if isinstance(value, str) else ""

    def time(self, claim: str) -> int | None:
        """A claim that is a time, in Unix seconds; None when it is not there or is none."""
        value = self.claims.get(claim)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def sign(key: rsa.RSAPrivateKey, claims: dict[str, Any], **header: str) -> str:
    """A token signed by RS256. The same key and claims give the same text."""
    parts = ({"typ": "JWT", "alg": "RS256", **header}, claims)
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{base64url(key.sign(signed.encode(), _PKCS1, _SHA256))}"


def parse(token: str) -> SignedToken:
    """Take a token apart. Raises `Malformed`."""
    parts = token.split(".")
    if len(parts) != 3:
        raise Malformed(f"a signed token has three parts between dots, this one has {len(parts)}")
    header, claims = _object(parts[0], "header"), _object(parts[1], "payload")
    signed = token.rpartition(".")[0].encode()
    return SignedToken(header, claims, signed, _decoded(parts[2], "signature"))


def _object(part: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(part, name))
    except ValueError as error:
        raise Malformed(f"its {name} is not JSON in base64url: {error}") from None
    if not isinstance(value, dict):
        raise Malformed(f"its {name} is not a JSON object")
    return value


def _decoded(part: str, name: str) -> bytes:
    # Azure's own library for Python leaves the padding in the assertions that it signs.
    bare = part.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"its {name} is not base64url: {error}") from None
