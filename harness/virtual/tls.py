"""The private CA of this process: certificates for the names of a world, for clients that do TLS themselves."""

from __future__ import annotations

import atexit
import functools
import shutil
import ssl
import tempfile
from pathlib import Path

import trustme


@functools.cache
def authority() -> trustme.CA:
    """The CA; made once in a process, when somebody first needs it."""
    return trustme.CA(organization_name="callproof", organization_unit_name="private CA of this run")


@functools.cache
def _contexts() -> dict[str, ssl.SSLContext]:
    return {}


@functools.cache
def server_context() -> ssl.SSLContext:
    """A context that answers for whatever name the client asks for (SNI)."""
    fallback = _context_for("localhost")

    def choose(sock: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        if name:
            sock.context = _context_for(name)

    fallback.sni_callback = choose
    return fallback


def _context_for(name: str) -> ssl.SSLContext:
    contexts = _contexts()
    if name not in contexts:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert(name).configure_cert(context)
        contexts[name] = context
    return contexts[name]


@functools.cache
def bundle() -> str:
    """The path of a PEM file with the CA's certificate: what `SSL_CERT_FILE` has to name."""
    folder = Path(tempfile.mkdtemp(prefix="callproof-ca-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return str(path)
