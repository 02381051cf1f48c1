"""Keys that follow from their names, and signed tokens."""

from __future__ import annotations

import base64
import json
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from fakes.azure import jws
from fakes.azure.keys import SigningKey, base64url, signing_key

NAMES = ("authority", "workload", "certificate")


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_sound_and_of_full_length(name: str) -> None:
    key = signing_key(name).private
    assert key.key_size == 2048
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # Loading it checks it, primes included.
    serialization.load_der_private_key(der, None)


def test_keys_are_the_same_in_every_run() -> None:
    assert signing_key("authority").thumbprint == "wj4DIcqhFFty3OkmVhzsnwBLxL0"
    signing_key.cache_clear()
    assert signing_key("authority").thumbprint == "wj4DIcqhFFty3OkmVhzsnwBLxL0"


def test_keys_differ() -> None:
    assert len({signing_key(name).private.private_numbers().p for name in NAMES}) == 3


def test_an_unknown_key() -> None:
    with pytest.raises(KeyError, match="nobody"):
        signing_key("nobody")


def test_a_key_shows_its_certificate() -> None:
    key = signing_key("authority")
    (chain,) = key.jwk()["x5c"]  # type: ignore[misc]
    found = x509.load_der_x509_certificate(base64.b64decode(chain))
    found.verify_directly_issued_by(found)
    assert base64url(found.fingerprint(hashes.SHA1())) == key.jwk()["kid"] == key.thumbprint


def test_a_bundle_is_what_tls_libraries_read(tmp_path: object) -> None:
    key = SigningKey(signing_key("certificate").private, "client")
    path = f"{tmp_path}/client.pem"
    with open(path, "w", encoding="ascii") as file:
        file.write(key.bundle_pem())
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path)


def test_a_signed_token_and_back() -> None:
    key = signing_key("workload").private
    token = jws.parse(jws.sign(key, {"sub": "somebody", "exp": 5}, kid="one"))
    assert token.header == {"typ": "JWT", "alg": "RS256", "kid": "one"}
    assert token.claims == {"sub": "somebody", "exp": 5}
    assert token.signed_by(key.public_key())
    assert not token.signed_by(signing_key("authority").private.public_key())


def test_signing_is_repeatable() -> None:
    key = signing_key("workload").private
    assert jws.sign(key, {"sub": "x"}) == jws.sign(key, {"sub": "x"})


def test_ps256_and_padding_as_the_vendors_library_signs() -> None:
    key = signing_key("certificate").private
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in ({"alg": "PS256"}, {"sub": "xy"})]
    signed = b".".join(parts)
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
    signature = base64.urlsafe_b64encode(key.sign(signed, scheme, hashes.SHA256()))
    token = jws.parse((signed + b"." + signature).decode())
    assert b"=" in signed
    assert token.signed_by(key.public_key())


def test_a_changed_token_is_not_signed() -> None:
    key = signing_key("workload").private
    header, _, signature = jws.sign(key, {"sub": "me"}).split(".")
    other = base64url(b'{"sub":"you"}')
    assert not jws.parse(f"{header}.{other}.{signature}").signed_by(key.public_key())


@pytest.mark.parametrize("value", [True, "5", None, [5]])
def test_a_time_that_is_none(value: object) -> None:
    assert jws.SignedToken({}, {"exp": value}, b"", b"").time("exp") is None


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("a.b", "this one has 2"),
        ("*.e30.e30", "header is not base64url"),
        ("YQ.e30.e30", "header is not JSON"),
        ("e30.W10.e30", "payload is not a JSON object"),
        ("e30.e30.a", "signature is not base64url"),
    ],
)
def test_malformed(token: str, why: str) -> None:
    with pytest.raises(jws.Malformed, match=why):
        jws.parse(token)
