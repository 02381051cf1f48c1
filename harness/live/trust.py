"""A private certificate authority, and how programs are brought to trust it: `trust.toml`."""

from __future__ import annotations

import base64
import hashlib
import ssl
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

TABLE = Path(__file__).with_name("trust.toml")
JAVA_NAME = b"callproof"


class Authority:
    """One certificate authority, its files below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA(organization_name="callproof", organization_unit_name="fake vendors")
        self._fingerprints: list[str] = []
        self._table: dict[str, Any] = tomllib.loads(TABLE.read_text(encoding="utf-8"))
        self.bundle = folder / "authority.pem"
        self.bundle.write_bytes(self._authority.cert_pem.bytes())
        self._java = folder / "authority.p12"
        self._java.write_bytes(_truststore(self._authority.cert_pem.bytes()))
        self._empty = folder / "no-authorities"
        self._empty.mkdir(exist_ok=True)

    def environment(self) -> dict[str, str]:
        """The variables by which a child process comes to trust this authority, and no other."""
        values = {"bundle": str(self.bundle), "folder": str(self._empty)}
        return {name: values[kind] for name, kind in self._table["variables"].items()}

    def system_files(self) -> Iterator[tuple[Path, Path]]:
        """Ours and the system's file that it stands in for, for each one that this system has."""
        for kind, ours in (("pem", self.bundle), ("java", self._java)):
            for name in self._table["system"][kind]:
                path = Path(name)
                if path.is_file():
                    yield ours, path

    def context(self, hosts: Sequence[str]) -> ssl.SSLContext:
        """What a server of these names (or addresses) shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = self._authority.issue_cert(*hosts)
        leaf.configure_cert(context)
        self._fingerprints.append(_fingerprint(leaf.cert_chain_pems[0].bytes()))
        context.set_alpn_protocols(["http/1.1"])
        return context

    def fingerprints(self) -> str:
        """The public keys of all servers as Chromium's `--ignore-certificate-errors-spki-list` wants them.

        The authority's own would not do: a server does not show it.
        """
        return ",".join(self._fingerprints)


def _fingerprint(pem: bytes) -> str:
    certificate = x509.load_pem_x509_certificate(pem)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


def _truststore(pem: bytes) -> bytes:
    certificate = PKCS12Certificate(x509.load_pem_x509_certificate(pem), JAVA_NAME)
    return serialize_java_truststore([certificate], NoEncryption())
