"""Who lives where inside an enclosure: every vendor has an address of its own that looks like one of the Internet.

Gateways refuse to fetch from private, reserved and documentation addresses (guards against server-side request
forgery), so none of those will do. 4000:1ab::/64 is of a space that nobody was given; 11.0.0.0/24 is not routed on the
Internet. Nothing in an enclosure reaches either. (Seen with the guards of OpenClaw 2026.5.7 to 2026.9.6, which are
those of ipaddr.js: "unicast" passes.)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

NETWORKS = (ipaddress.ip_network("11.0.0.0/24"), ipaddress.ip_network("4000:1ab::/64"))
HOMES = 40
"""How many addresses there are of each family."""

GATEWAY = 1
"""The number of the address of the gateway's public name; vendors follow."""

Pair = tuple[str, str]


def pair(number: int) -> Pair:
    """The IPv4 and the IPv6 address of the nth of `HOMES`, counted from 1. Raises ValueError beyond the last one."""
    if not 1 <= number <= HOMES:
        raise ValueError(f"an enclosure has {HOMES} addresses; there is no {number}")
    return str(NETWORKS[0][number]), str(NETWORKS[1][number])


class Homes:
    """Hands out addresses: the same to the same vendor, world after world."""

    def __init__(self) -> None:
        self._of: dict[str, Pair] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        """Host name to addresses, for the name server."""

    def give(self, who: str, hosts: tuple[str, ...]) -> Pair:
        """The addresses of `who`, where its `hosts` can be found from now on."""
        home = self._of.setdefault(who, pair(GATEWAY + len(self._of)))
        self.names.update({host.lower().rstrip("."): home for host in hosts if not is_address(host)})
        return home

    def who(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
        """Who lives at an address, None where nobody does."""
        return next((who for who, home in self._of.items() if str(address) in home), None)

    def belongs(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, others: Collection[str]) -> bool:
        """Whether somebody lives at an address: on this machine, a vendor, or one of `others`."""
        if address.is_loopback or address.is_unspecified or str(address) in others:
            return True
        return self.who(address) is not None


def is_address(host: str) -> bool:
    """Whether this is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
