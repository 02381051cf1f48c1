"""The name server and the packet watch of an enclosure, without one."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from harness.live.addresses import GATEWAY, HOMES, Homes, is_address, pair
from harness.live.names import NameServer
from harness.live.network import Contacts
from harness.live.packets import Attempt, read

ADDRESSES = {"api.openai.com": ("11.0.0.2", "4000:1ab::2")}


def ask(name: str, kind: str, asked: list[tuple[str, bool]] | None = None) -> dns.message.Message:
    seen = asked if asked is not None else []
    server = NameServer(ADDRESSES, lambda name, known: seen.append((name, known)))
    answer = server.answer(dns.message.make_query(name, kind).to_wire())
    assert answer is not None
    return dns.message.from_wire(answer)


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("api.openai.com", "A", ["11.0.0.2"]),
        ("API.OpenAI.com.", "AAAA", ["4000:1ab::2"]),
        ("api.openai.com", "HTTPS", []),
        ("api.openai.com", "TXT", []),
    ],
)
def test_vendors_names_have_their_addresses(name: str, kind: str, found: list[str]) -> None:
    answer = ask(name, kind)
    assert answer.rcode() == dns.rcode.NOERROR
    assert [str(item) for rrset in answer.answer for item in rrset] == found
    assert answer.flags & dns.flags.RA
    assert answer.question[0].name.to_text(omit_final_dot=True) == name.rstrip(".")


def test_every_other_name_does_not_exist_and_is_told() -> None:
    asked: list[tuple[str, bool]] = []
    assert ask("telemetry.example.com", "A", asked).rcode() == dns.rcode.NXDOMAIN
    assert ask("eu.api.openai.com", "AAAA", asked).rcode() == dns.rcode.NXDOMAIN
    ask("api.openai.com", "A", asked)
    # The name of an address is no contact with anybody.
    assert ask("2.0.0.11.in-addr.arpa", "PTR", asked).rcode() == dns.rcode.NXDOMAIN
    assert asked == [("telemetry.example.com", False), ("eu.api.openai.com", False), ("api.openai.com", True)]


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"\x00" * 11,
        b"no query",
        dns.message.make_response(dns.message.make_query("api.openai.com", "A")).to_wire(),
    ],
    ids=["empty", "short", "text", "answer"],
)
def test_what_is_no_query_gets_no_answer(query: bytes) -> None:
    server = NameServer(ADDRESSES, lambda name, known: pytest.fail(name))
    assert server.answer(query) is None


async def test_over_tcp_as_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = NameServer(ADDRESSES, lambda name, known: None)
    await server.open("127.0.0.1", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for kind in ("A", "AAAA"):
        query = dns.message.make_query("api.openai.com", kind).to_wire()
        writer.write(len(query).to_bytes(2, "big") + query)
        length = int.from_bytes(await reader.readexactly(2), "big")
        answer = dns.message.from_wire(await reader.readexactly(length))
        assert answer.answer[0].rdtype == dns.rdatatype.from_text(kind)
    writer.write(b"\x00\x03bad")
    assert await reader.read() == b""
    writer.close()
    server.close()


# -- packets


def packet4(protocol: int, target: str, rest: bytes, options: int = 0) -> bytes:
    header = bytes([0x45 + options, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 127, 0, 0, 1])
    return header + ipaddress.ip_address(target).packed + b"\x01" * (4 * options) + rest


def packet6(protocol: int, target: str, rest: bytes) -> bytes:
    return bytes([0x60, 0, 0, 0, 0, 0, protocol, 64]) + bytes(16) + ipaddress.ip_address(target).packed + rest


TO_443 = b"\x9c\x40\x01\xbb" + bytes(16)


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (packet4(6, "8.8.8.8", TO_443), "8.8.8.8:443"),
        (packet4(6, "8.8.8.8", TO_443, options=2), "8.8.8.8:443"),
        (packet4(17, "9.9.9.9", b"\x9c\x40\x00\x35"), "9.9.9.9:53/udp"),
        (packet4(1, "9.9.9.9", b"\x08\x00"), "9.9.9.9/icmp"),
        (packet4(132, "9.9.9.9", b""), "9.9.9.9/protocol 132"),
        (packet6(6, "2606:4700::1111", TO_443), "[2606:4700::1111]:443"),
        (packet6(58, "2606:4700::1111", b"\x80\x00"), "[2606:4700::1111]/icmp"),
    ],
)
def test_a_packet_is_read(packet: bytes, told: str) -> None:
    assert str(read(packet)) == told


@pytest.mark.parametrize(
    "packet",
    [b"", b"\x45" * 19, b"\x60" * 39, b"\x90" * 60, packet4(6, "8.8.8.8", b"\x00"), packet4(1, "8.8.8.8", b"\x03\x03")],
    ids=["empty", "short 4", "short 6", "version 9", "no ports", "answer of icmp"],
)
def test_what_opens_nothing_is_no_attempt(packet: bytes) -> None:
    assert read(packet) is None


# -- homes


def test_every_vendor_keeps_its_home() -> None:
    homes = Homes()
    gateway = homes.give("gateway", ("gw.example.test",))
    openai = homes.give("openai", ("api.openai.com", "169.254.169.254"))
    assert gateway == pair(GATEWAY)
    assert openai == pair(GATEWAY + 1) == homes.give("openai", ("api.openai.com", "EU.api.openai.com."))
    assert homes.names == {"gw.example.test": gateway, "api.openai.com": openai, "eu.api.openai.com": openai}
    for address, theirs in {"127.0.0.9": True, "::1": True, openai[0]: True, openai[1]: True, "8.8.8.8": False}.items():
        assert homes.belongs(ipaddress.ip_address(address), {}) is theirs, address
    assert homes.belongs(ipaddress.ip_address("169.254.169.254"), {"169.254.169.254": 1})


def test_no_home_is_one_that_guards_refuse() -> None:
    """What libraries against forged requests call private, reserved or documentation."""
    for number in range(1, HOMES + 1):
        four, six = map(ipaddress.ip_address, pair(number))
        assert four.is_global
        assert not six.is_private
        assert not six.is_link_local
    with pytest.raises(ValueError, match="an enclosure has 40 addresses; there is no 41"):
        pair(HOMES + 1)
    assert is_address("::1")
    assert not is_address("api.openai.com")


def test_contacts_are_noted_once() -> None:
    contacts = Contacts()
    for _ in range(3):
        contacts.refuse("connect.refused", str(Attempt("tcp", ipaddress.ip_address("8.8.8.8"), 443)))
    contacts.refuse("lookup.refused", "8.8.8.8:443")
    assert contacts.refused == [("connect.refused", "8.8.8.8:443"), ("lookup.refused", "8.8.8.8:443")]
