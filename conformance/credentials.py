"""Which credentials there are, where they may go, and which vendors a world's settings call for: `credentials.toml`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from harness.leaks import Credential

FILE = Path(__file__).parent / "credentials.toml"
OWN_MACHINE = ("localhost", "127.0.0.1", "::1")


class Secret(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A credential: its user name's setting, and party -> the places where it may be."""

    homes: dict[str, list[str]] = {}
    user: str = ""


class Vendor(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A vendor, and when settings call for it; see the comments in the file."""

    hosts: list[str]
    at: list[str]
    given: list[str]
    also: list[str] = []
    when: dict[str, list[str]] = {}
    lacking: list[str] = []
    unless: list[str] = []

    def called_for(self, settings: Mapping[str, str]) -> bool:
        """Whether a gateway with these settings has to do with this vendor."""
        if any(settings.get(name, "") not in values for name, values in self.when.items()):
            return False
        if any(settings.get(name) for name in self.unless):
            return False
        lacking = bool(self.lacking) and not any(settings.get(name) for name in self.lacking)
        return lacking or any(settings.get(name) for name in self.given)

    def places(self, settings: Mapping[str, str]) -> frozenset[str]:
        """The hosts at which these settings say that it is."""
        named = [host for name in self.at for host in _hosts(settings.get(name, ""))]
        return frozenset([*(named or [host for host in self.hosts if "*" not in host]), *self.also])


class Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file. `credentials` by setting, `vendors` by party."""

    credentials: dict[str, Secret]
    vendors: dict[str, Vendor]
    public: list[str]

    @property
    def homes(self) -> Mapping[str, Mapping[str, list[str]]]:
        """For `harness.leaks.search`."""
        return {name: secret.homes for name, secret in self.credentials.items()}

    def secrets(self, planted: Mapping[str, str], issued: Mapping[str, Iterable[str]]) -> list[Credential]:
        """What is to be searched for: the planted credentials that are not public, and those that were handed out."""
        found = []
        for name, value in planted.items():
            if name not in self.public and value:
                secret = self.credentials.get(name)
                found.append(Credential(name, value, planted.get(secret.user, "") if secret else ""))
        return found + [Credential(name, value) for name, values in issued.items() for value in dict.fromkeys(values)]

    def vendor_of(self, host: str) -> str:
        """The vendor that a host name belongs to; empty for a host that is none of theirs."""
        return next(
            (name for name, vendor in self.vendors.items() if any(fnmatchcase(host, known) for known in vendor.hosts)),
            "",
        )


@functools.cache
def table() -> Table:
    """What the file says."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), Table)


def named(settings: Mapping[str, str]) -> frozenset[str]:
    """Every host that a setting names, and the gateway's own machine."""
    return frozenset([*OWN_MACHINE, *(host for value in settings.values() for host in _hosts(value))])


def _hosts(value: str) -> Iterator[str]:
    if "://" in value:
        host = urlsplit(value).hostname or ""
        yield host
        if host in OWN_MACHINE:
            yield from OWN_MACHINE
