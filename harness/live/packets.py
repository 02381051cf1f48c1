"""What is sent inside an enclosure to addresses that are nobody's: read off the wire, so that nothing is missed.

In an enclosure every address is local: a packet to a stranger comes to the loopback device and no further. The kernel
refuses it there; a packet socket sees it pass.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ETH_P_ALL = 0x0003
SO_ATTACH_FILTER = 26
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
TRANSPORTS = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmp"}
ECHO = {ICMP: 8, ICMPV6: 128}
"""Types of ICMP that somebody sends of their own accord; all others answer something."""

HEADERS = 128
"""Bytes of a packet that are looked at: those of the headers."""

# Classic BPF, on packets that begin with their IP header: of TCP only what opens a connection (SYN without ACK), and
# everything that is not TCP. The media of calls would otherwise be copied to this process a second time.
_FILTER = (
    (0x30, 0, 0, 0),  # ldb [0]                 version and header length
    (0x74, 0, 0, 4),  # rsh #4
    (0x15, 0, 5, 4),  # jeq #4, ., ipv6
    (0x30, 0, 0, 9),  # ldb [9]                 protocol
    (0x15, 0, 8, TCP),  # jeq #tcp, ., accept
    (0xB1, 0, 0, 0),  # ldxb 4*([0]&0xf)
    (0x50, 0, 0, 13),  # ldb [x+13]             flags of TCP
    (0x05, 0, 0, 3),  # ja flags
    (0x30, 0, 0, 6),  # ldb [6]                 next header of IPv6
    (0x15, 0, 3, TCP),  # jeq #tcp, ., accept
    (0x30, 0, 0, 53),  # ldb [53]               flags of TCP
    (0x54, 0, 0, 0x12),  # flags: and #(SYN|ACK)
    (0x15, 0, 1, 0x02),  # jeq #SYN, accept, drop
    (0x06, 0, 0, HEADERS),  # accept
    (0x06, 0, 0, 0),  # drop
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A packet that somebody sent: `transport` is tcp (the first of a connection), udp, icmp or a protocol's number."""

    transport: str
    address: Address
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        where = host if self.port is None else f"{host}:{self.port}"
        return where if self.transport == "tcp" else f"{where}/{self.transport}"


def read(packet: bytes) -> Attempt | None:
    """What an IP packet is; None for one that is cut off, of no version that there is, or an answer of ICMP."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        protocol, start, target = packet[9], (packet[0] & 15) * 4, packet[16:20]
    elif version == 6 and len(packet) >= 40:
        protocol, start, target = packet[6], 40, packet[24:40]
    else:
        return None
    port = None
    if protocol in ECHO and packet[start : start + 1] != bytes([ECHO[protocol]]):
        return None
    if protocol in (TCP, UDP):
        if len(packet) < start + 4:
            return None
        port = struct.unpack_from("!H", packet, start + 2)[0]
    return Attempt(TRANSPORTS.get(protocol, f"protocol {protocol}"), ipaddress.ip_address(target), port)


class Watch:
    """Reads the loopback device, and tells `seen` of each packet that opens something.

    Raises OSError where this process may not: it takes the capability of raw sockets in its network namespace.
    """

    def __init__(self, seen: Callable[[Attempt], None]) -> None:
        self._seen = seen
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        code = b"".join(struct.pack("HBBI", *line) for line in _FILTER)
        buffer = ctypes.create_string_buffer(code)
        program = struct.pack("HL", len(_FILTER), ctypes.addressof(buffer))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        self._socket.setblocking(False)

    def start(self) -> None:
        """Begin, on the running loop."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self.look)

    def look(self) -> None:
        """Take in what has passed so far."""
        while True:
            try:
                packet, source = self._socket.recvfrom(HEADERS)
            except BlockingIOError:
                return
            if source[2] != socket.PACKET_OUTGOING:
                continue  # on loopback each packet passes twice: on its way out, and in again
            attempt = read(packet)
            if attempt is not None:
                self._seen(attempt)

    def close(self) -> None:
        """Look no more."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
