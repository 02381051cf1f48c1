"""RSA keys that are the same in every run, and never lie in a file.

A key that the operating system's randomness makes is slow to find, differs from run to run, and would put a private
key into the repository if it were kept. These keys follow from their names: two runs sign the same claims with the
same bytes. They protect nothing, and are for the fakes alone.
"""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

EXPONENT = 65537
PRIME_BITS = 1024

_STARTS = {"authority": (1012, 394), "workload": (104, 43), "certificate": (1057, 34)}
"""The keys that exist, and where the search for the two primes of each begins: right there, to make it short."""
_SMALL = [p for p in range(3, 2000) if all(p % divisor for divisor in range(2, math.isqrt(p) + 1))]
_SMALL_PRODUCT = math.prod(_SMALL)
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19)

_VALID_FROM = datetime(2026, 1, 1, tzinfo=UTC)
_VALID_UNTIL = datetime(2036, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SigningKey:
    """A private key with the self-signed certificate that shows its public half."""

    private: rsa.RSAPrivateKey
    common_name: str

    @cached_property
    def certificate(self) -> x509.Certificate:
        """A certificate for `common_name`, from 2026 to 2036; the same bytes every time."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])
        serial = int.from_bytes(hashlib.sha256(self.common_name.encode()).digest()[:15], "big") | 1
        builder = x509.CertificateBuilder(name, name, self.private.public_key(), serial, _VALID_FROM, _VALID_UNTIL)
        return builder.sign(self.private, hashes.SHA256())

    @cached_property
    def thumbprint(self) -> str:
        """The `x5t` of the certificate: its SHA-1, base64url. Entra also uses it as the id of the key."""
        return base64url(self.certificate.fingerprint(hashes.SHA1()))

    def jwk(self) -> dict[str, object]:
        """The public half as an entry of a key set."""
        public = self.private.public_key().public_numbers()
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return {
            "kty": "RSA",
            "use": "sig",
            "kid": self.thumbprint,
            "x5t": self.thumbprint,
            "n": base64url(public.n.to_bytes((public.n.bit_length() + 7) // 8, "big")),
            "e": base64url(public.e.to_bytes(3, "big")),
            "x5c": [base64.b64encode(der).decode()],
            "cloud_instance_name": "microsoftonline.com",
        }

    def certificate_pem(self) -> str:
        """The certificate alone, as it is uploaded to an application."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def bundle_pem(self) -> str:
        """Private key and certificate in one file, as `AZURE_CLIENT_CERTIFICATE_PATH` wants it."""
        private = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private.decode() + self.certificate_pem()


@cache
def signing_key(name: str) -> SigningKey:
    """The key of that name: `authority` signs tokens, `workload` a cluster's, `certificate` is a client's own.

    Raises `KeyError` for any other name. Takes about 40 ms the first time.
    """
    p, q = (_prime(f"callproof/{name}/{half}/{start}") for half, start in zip("pq", _STARTS[name], strict=True))
    p, q = max(p, q), min(p, q)
    d = pow(EXPONENT, -1, math.lcm(p - 1, q - 1))
    private = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(EXPONENT, p * q),
    ).private_key()
    return SigningKey(private, f"callproof fake {name}")


def base64url(data: bytes) -> str:
    """Base64url without padding, as in a JSON Web Token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _prime(label: str) -> int:
    """The first prime at or after the number that the label stands for, fit for an RSA key."""
    number = int.from_bytes(hashlib.shake_256(label.encode()).digest(PRIME_BITS // 8), "big")
    # Both top bits are set, so that the product of two such primes has its full length.
    number |= (3 << (PRIME_BITS - 2)) | 1
    while math.gcd(number - 1, EXPONENT) != 1 or not _is_prime(number):
        number += 2
    return number


def _is_prime(number: int) -> bool:
    """Miller and Rabin's test."""
    if math.gcd(number, _SMALL_PRODUCT) != 1:
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, witness, odd, twos) for witness in _WITNESSES)


def _passes(number: int, witness: int, odd: int, twos: int) -> bool:
    power = pow(witness, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False
