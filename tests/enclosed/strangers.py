"""A program that tries to reach twelve names and addresses that nobody has given it, each in a way of its own.

Prints one JSON object: what became of each attempt. `None` would be a success.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Callable

QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
PING = struct.pack("!BBHHH", 8, 0, 0xF7FF - 1, 0, 1)


def tcp(address: str, port: int) -> None:
    socket.create_connection((address, port), 3).close()


def answered(family: socket.AddressFamily, address: str, port: int, data: bytes) -> None:
    """Send a datagram and wait for what comes back."""
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0.5)
        sender.connect((address, port))
        sender.send(data)
        sender.recv(512)


def fetch(url: str) -> None:
    urllib.request.urlopen(url, timeout=3).close()


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}")


async def websocket(url: str) -> None:
    import websockets

    async with websockets.connect(url, open_timeout=3):
        return


NODE = "require('dns').resolve4(process.argv[1], (e, a) => { if (e) { console.error(e.code); process.exit(1) } })"

ATTEMPTS: dict[str, Callable[[], None]] = {
    "telemetry.example.com": lambda: fetch("https://telemetry.example.com/v1/events"),
    "updates.example.org": lambda: socket.getaddrinfo("updates.example.org", 443) and None,
    "api.openai.com.evil.example": lambda: asyncio.run(websocket("wss://api.openai.com.evil.example/v1/realtime")),
    "api.anthropic.example": lambda: run(shutil.which("node") or "node", "-e", NODE, "api.anthropic.example"),
    "eu.api.openai.com": lambda: run("curl", "-sS", "--max-time", "3", "https://eu.api.openai.com/v1/models"),
    "8.8.8.8:53/udp": lambda: answered(socket.AF_INET, "8.8.8.8", 53, QUERY),
    "1.1.1.1:443": lambda: fetch("https://1.1.1.1/dns-query"),
    "[2606:4700:4700::1111]:853": lambda: tcp("2606:4700:4700::1111", 853),
    "169.254.169.254:80": lambda: fetch("http://169.254.169.254/latest/meta-data/"),
    "10.0.0.1:8080": lambda: tcp("10.0.0.1", 8080),
    "224.0.0.251:5353/udp": lambda: answered(socket.AF_INET, "224.0.0.251", 5353, QUERY),
    "93.184.215.14:4444": lambda: tcp("93.184.215.14", 4444),
}


def main() -> None:
    told: dict[str, str | None] = {}
    for what, attempt in ATTEMPTS.items():
        try:
            attempt()
        except Exception as error:
            told[what] = f"{type(error).__name__}: {error}"
        else:
            told[what] = None
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
