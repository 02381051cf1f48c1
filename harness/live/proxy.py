"""A forward proxy that leads the vendors' own names to the fakes, for machines without namespaces.

It works for programs that honour `HTTPS_PROXY` (the `websockets` and `requests` packages of Python, Node.js with
`NODE_USE_ENV_PROXY=1`); others look the names up themselves and are not seen. Plain HTTP through it is led as well.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from harness.live.front import Server, pour
from harness.live.network import Contacts, Mode, Ports, start
from harness.live.trust import Authority
from harness.stage import Vendor

HEAD_LIMIT = 65536
NOT_OURS = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """The network of a gateway that goes through a proxy; see `harness.live.network.Network`."""

    mode: Mode = "proxy"
    sees = False

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="callproof-proxy-"))
        self._authority = Authority(self.folder)
        self._ports = Ports()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._where: dict[tuple[str, int], int] = {}
        """Host and port as a client says them -> port on loopback."""
        self._contacts = Contacts()
        self._server = Server(self._serve)
        self._port = 0

    async def open(self, public_host: str, gateway_port: int) -> None:
        """See `Network.open`."""
        self._where[public_host, 80] = gateway_port
        if not self._port:
            self._port = await self._server.open(["127.0.0.1"], 0, limit=HEAD_LIMIT)

    async def serve(self, vendor: Vendor) -> tuple[str, Callable[[], Awaitable[None]]]:
        """See `Network.serve`: under the vendor's own names."""
        hosts = tuple(vendor.hosts)
        context = self._contexts.setdefault(vendor.name, self._authority.context(hosts))
        secure = self._ports.listening(f"{vendor.name} tls", "127.0.0.1", 0)
        plain = self._ports.listening(f"{vendor.name} plain", "127.0.0.1", 0)
        for host in hosts:
            self._where[host, 443] = secure.getsockname()[1]
            self._where.update({(host, port): plain.getsockname()[1] for port in vendor.plain_ports})
        return f"https://{hosts[0]}", await start(vendor, [(secure, context), (plain, None)])

    def environment(self) -> Mapping[str, str]:
        """See `Network.environment`: the proxy, in both spellings, and trust in our authority."""
        url = f"http://127.0.0.1:{self._port}"
        lead = {"HTTPS_PROXY": url, "HTTP_PROXY": url, "NO_PROXY": "127.0.0.1,localhost,::1", "NODE_USE_ENV_PROXY": "1"}
        return {**self._authority.environment(), **lead, **{name.lower(): lead[name] for name in list(lead)[:3]}}

    def browser(self) -> Sequence[str]:
        """See `Network.browser`."""
        trusted = f"--ignore-certificate-errors-spki-list={self._authority.fingerprints()}"
        return f"--proxy-server=http://127.0.0.1:{self._port}", trusted

    def contacts(self) -> Contacts:
        """See `Network.contacts`: those that went through the proxy."""
        told, self._contacts = self._contacts, Contacts()
        return told

    async def close(self) -> None:
        """See `Network.close`."""
        await self._server.close()
        self._ports.close()
        rmtree(self.folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._lead(reader, writer)
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked = _target(head)
        if asked is None:
            writer.write(NO_REQUEST)
            return
        host, port, rest = asked
        self._contacts.looked_up.add(host)
        inner = self._where.get((host, port))
        if inner is None:
            self._contacts.refuse("connect.refused", f"{host}:{port}")
            writer.write(NOT_OURS)
            return
        try:
            source, sink = await asyncio.open_connection("127.0.0.1", inner)
        except OSError:
            writer.write(NOT_OURS)
            return
        if rest is None:
            writer.write(OPENED)
        else:
            sink.write(rest)
        await asyncio.gather(pour(reader, sink), pour(source, writer))


def _target(head: bytes) -> tuple[str, int, bytes | None] | None:
    """Where a request to a proxy wants to go, and what is to be sent there (None for a tunnel); None for no request."""
    line, _, headers = head.partition(b"\r\n")
    try:
        method, target, version = line.decode("ascii").split(" ")
    except ValueError:
        return None
    if method == "CONNECT":
        host, _, port = target.rpartition(":")
        return (host.strip("[]").lower(), int(port), None) if port.isdigit() else None
    scheme, separator, place = target.partition("://")
    if scheme.lower() != "http" or not separator:
        return None
    authority, slash, path = place.partition("/")
    host, _, port = authority.partition(":")
    if port and not port.isdigit():
        return None
    request = f"{method} {slash or '/'}{path} {version}\r\n".encode("ascii")
    return host.lower(), int(port or 80), request + headers
