"""The name server of an enclosure: vendors' names lead to the fakes, and whatever is asked for is written down."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

TTL = 0
"""Seconds that an answer may be kept. Vendors of the next world may live elsewhere."""

FAMILIES = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}


class NameServer:
    """Answers from `addresses`: host name (lower case) to the addresses that it has. Every other name does not exist.

    `asked` is called with each name that somebody asks for, and whether it exists.
    """

    def __init__(self, addresses: Mapping[str, tuple[str, ...]], asked: Callable[[str, bool], None]) -> None:
        self._addresses = addresses
        self._asked = asked
        self._closers: list[Callable[[], None]] = []

    async def open(self, host: str, port: int = 53) -> None:
        """Listen, over UDP and over TCP. Raises OSError."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self.answer), local_addr=(host, port))
        self._closers.append(transport.close)
        server = await asyncio.start_server(self._serve, host, port)
        self._closers.append(server.close)

    def close(self) -> None:
        """Listen no more."""
        for close in self._closers:
            close()

    def answer(self, query: bytes) -> bytes | None:
        """The answer to one query as it is on the wire; None for what is no query."""
        try:
            asked = dns.message.from_wire(query)
        except dns.exception.DNSException:
            return None
        if asked.flags & dns.flags.QR or not asked.question:
            return None
        answer = dns.message.make_response(asked, recursion_available=True)
        question = asked.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        known = self._addresses.get(name)
        if not name.endswith(".arpa"):  # an address that is turned into a name again
            self._asked(name, known is not None)
        if known is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
            return answer.to_wire()
        family = FAMILIES.get(question.rdtype)
        found = [address for address in known if ipaddress.ip_address(address).version == family]
        if found:
            answer.answer.append(dns.rrset.from_text(question.name, TTL, dns.rdataclass.IN, question.rdtype, *found))
        return answer.to_wire()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                answer = self.answer(await reader.readexactly(length))
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        answer = self._answer(data)
        if answer is not None:
            self._transport.sendto(answer, addr)
