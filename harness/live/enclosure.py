"""An enclosure: namespaces of the kernel in which a gateway with built-in vendor addresses runs unmodified.

The whole run (harness, fakes, gateway, browser) moves into a network, mount and process namespace of its own, with a
user namespace around it where the user is not root. In there is only the loopback device. Every name is resolved by a
name server of ours, every address is local, the vendors' own listen at port 443 with certificates of a private
authority that all programs are brought to trust. There is no way out, and everything that tries to find one is known.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import NoReturn

from harness.live.addresses import HOMES, Homes, is_address, pair
from harness.live.front import Front
from harness.live.names import NameServer
from harness.live.network import Contacts, Mode, Ports, start
from harness.live.packets import Attempt, Watch
from harness.live.trust import Authority
from harness.stage import Vendor

MARK = "CALLPROOF_ENCLOSURE"
"""Set in the environment of whatever runs in an enclosure."""

NAME_SERVER = "127.0.0.53"
HTTPS = 443
MS_BIND = 4096
IFA_F_NODAD = 2
RTN_LOCAL, RTN_MULTICAST, RT_SCOPE_HOST, RT_TABLE_LOCAL = 2, 5, 254, 255

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class NoEnclosure(RuntimeError):
    """This machine lets nobody make one. The message says why, and what to do."""


def inside() -> bool:
    """Whether this process is in an enclosure."""
    return MARK in os.environ


def unshare_options(root: bool) -> list[str]:
    """The options of unshare(1) for an enclosure. With a process namespace, so that nothing outlives it."""
    user = [] if root else ["--user", "--map-root-user"]
    return [*user, "--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]


def command(arguments: Sequence[str]) -> list[str]:
    """The command that runs `arguments` in an enclosure. Raises `NoEnclosure` where there can be none."""
    tool = shutil.which("unshare")
    if tool is None or _libc is None:
        raise NoEnclosure(
            "interception by namespaces takes Linux and unshare(1) of util-linux; with --intercept settings or "
            "--intercept proxy callproof does without"
        )
    init = Path(__file__).with_name("init.py")
    options = unshare_options(os.geteuid() == 0)
    return [tool, *options, "--", sys.executable, str(init), *arguments]


def enter(arguments: Sequence[str]) -> NoReturn:
    """Go on as `arguments` in an enclosure: this process becomes it, and ends with its status. Raises `NoEnclosure`."""
    from harness.live.capabilities import enclosure_problem

    if (problem := enclosure_problem()) is not None:
        raise NoEnclosure(problem)
    sys.stdout.flush()
    sys.stderr.flush()
    whole = command(arguments)
    os.execve(whole[0], whole, {**os.environ, MARK: "1"})


class Enclosure:
    """The network of an enclosure; see `harness.live.network.Network`. To be made inside of one, before a loop runs.

    Raises OSError when the kernel refuses something.
    """

    mode: Mode = "namespace"

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="callproof-enclosure-"))
        self.authority = Authority(self.folder)
        self.homes = Homes()
        self._ports = Ports()
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        self._contacts = Contacts()
        self._served: set[str] = set()
        """Addresses that vendors listen at besides their homes, such as that of a metadata service."""
        self._ports_of: dict[str, tuple[int, ...]] = {"gateway": (HTTPS,)}
        """At which ports of their homes the gateway's public name and the vendors are reached."""
        self._names = NameServer(self.homes.names, self._asked)
        self._front: Front | None = None
        self._watch: Watch | None = None
        _raise_network()
        self._cover()

    def _cover(self) -> None:
        """Put files of ours where programs look for names and for authorities. Seen by nobody outside."""
        own = socket.gethostname()
        files = {
            "/etc/hosts": f"127.0.0.1 localhost {own}\n::1 localhost ip6-localhost ip6-loopback\n",
            # Nothing is appended to a name that is not found.
            "/etc/resolv.conf": f"nameserver {NAME_SERVER}\nsearch .\noptions timeout:2 attempts:2\n",
            # Other services, such as systemd-resolved, answer from outside by sockets in the file system.
            "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        }
        for name, text in files.items():
            ours = self.folder / Path(name).name
            ours.write_text(text, encoding="utf-8")
            if Path(name).exists():
                _bind(ours, Path(name))
        for ours, theirs in self.authority.system_files():
            _bind(ours, theirs)
        # The harness's own clients live here too.
        os.environ.update(self.authority.environment())

    @property
    def sees(self) -> bool:
        """See `Network.sees`. Names are always seen; addresses where this process may open a packet socket."""
        return self._watch is not None

    async def open(self, public_host: str, gateway_port: int) -> None:
        """See `Network.open`."""
        if self._front is None:
            await self._names.open(NAME_SERVER)
            try:
                self._watch = Watch(self._attempted)
                self._watch.start()
            except PermissionError:
                self._watch = None
            home = self.homes.give("gateway", (public_host,))
            self._front = Front(self.authority.context([public_host]))
            await self._front.open(home, HTTPS)
        self._front.port = gateway_port

    async def serve(self, vendor: Vendor) -> tuple[str, Callable[[], Awaitable[None]]]:
        """See `Network.serve`: at the vendor's own names, over TLS, and at its plain ports."""
        hosts = tuple(vendor.hosts)
        home = self.homes.give(vendor.name, hosts)
        known = self._contexts.get(hosts)
        if known is None:
            known = self._contexts[hosts] = self.authority.context(hosts)
        ports = self._ports_of[vendor.name] = (HTTPS, *vendor.plain_ports)
        own = [host for host in hosts if is_address(host)]
        self._served.update(own)
        sites: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        for address in (*home, *own):
            for port in ports:
                listening = self._ports.listening(f"{vendor.name} {address} {port}", address, port)
                sites.append((listening, known if port == HTTPS else None))
        end = await start(vendor, sites)

        async def close() -> None:
            await end()
            self._served.difference_update(own)

        return f"https://{hosts[0]}", close

    def environment(self) -> Mapping[str, str]:
        """See `Network.environment`: trust in our authority."""
        return self.authority.environment()

    def browser(self) -> Sequence[str]:
        """See `Network.browser`: names from us and not from the name server, for what a browser looks up of its own
        accord is not the gateway's doing; our authority; and loopback for media, for there is nothing else."""
        known = [f"MAP {name} {four}" for name, (four, *_) in self.homes.names.items()]
        rules = ", ".join([*known, "MAP * ~NOTFOUND", "EXCLUDE localhost", "EXCLUDE 127.0.0.1"])
        return (
            f"--host-resolver-rules={rules}",
            f"--ignore-certificate-errors-spki-list={self.authority.fingerprints()}",
            "--allow-loopback-in-peer-connection",
        )

    def contacts(self) -> Contacts:
        """See `Network.contacts`."""
        if self._watch is not None:
            self._watch.look()
        told, self._contacts = self._contacts, Contacts()
        return told

    def _asked(self, name: str, known: bool) -> None:
        self._contacts.looked_up.add(name)
        if not known:
            self._contacts.refuse("lookup.refused", name)

    def _attempted(self, attempt: Attempt) -> None:
        who = self.homes.who(attempt.address)
        if not self.homes.belongs(attempt.address, self._served):
            self._contacts.refuse("connect.refused", str(attempt))
        elif who is not None and attempt.transport == "tcp" and attempt.port not in self._ports_of.get(who, ()):
            self._contacts.refuse("connect.refused", f"{who}:{attempt.port}")

    async def close(self) -> None:
        """See `Network.close`."""
        self._ports.close()
        self._names.close()
        if self._watch is not None:
            self._watch.close()
        if self._front is not None:
            await self._front.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _bind(ours: Path, theirs: Path) -> None:
    assert _libc is not None
    # A link (resolv.conf often is one) is followed: what it leads to is covered.
    if _libc.mount(str(ours).encode(), str(theirs).encode(), None, MS_BIND, None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(theirs))


def _raise_network() -> None:
    """The loopback device up, our addresses on it, and every other address local as well: refused, and not lost."""
    from pyroute2 import IPRoute

    with IPRoute() as routes:
        device = routes.link_lookup(ifname="lo")[0]
        routes.link("set", index=device, state="up")
        for number in range(1, HOMES + 1):
            four, six = pair(number)
            routes.addr("add", index=device, address=four, prefixlen=32)
            # Without the check for duplicates they can be used at once.
            routes.addr("add", index=device, address=six, prefixlen=128, flags=IFA_F_NODAD)
        for family, everything in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
            scope = {"scope": RT_SCOPE_HOST} if family is socket.AF_INET else {}
            routes.route(
                "add", dst=everything, family=family, oif=device, type=RTN_LOCAL, table=RT_TABLE_LOCAL, **scope
            )
        # Discovery on a local network (mDNS, SSDP): sent, and seen, but heard by nobody.
        routes.route("add", dst="224.0.0.0/4", oif=device, type=RTN_MULTICAST, table=RT_TABLE_LOCAL)
