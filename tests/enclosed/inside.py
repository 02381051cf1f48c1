"""Runs inside an enclosure: serves a vendor or two, lets a program loose, and prints what came of it as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import web

from harness.live.enclosure import Enclosure

HERE = Path(__file__).parent


class Hello:
    """A vendor that says at which name and by which scheme it was reached."""

    def __init__(self, name: str, *hosts: str, plain_ports: tuple[int, ...] = ()) -> None:
        self.name = name
        self.hosts = hosts
        self.plain_ports = plain_ports
        self.app = web.Application()
        self.app.router.add_get("/{path:.*}", self._hello)

    async def _hello(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{self.name}: {request.scheme}://{request.host}{request.path}")


async def run(*command: str, environment: dict[str, str] | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode().strip()


async def strangers(enclosure: Enclosure) -> dict[str, object]:
    """The program of twelve attempts, and what is known of it afterwards."""
    told = await run(sys.executable, str(HERE / "strangers.py"))
    contacts = enclosure.contacts()
    return {
        "told": json.loads(told),
        "refused": [what for _, what in contacts.refused],
        "looked_up": sorted(contacts.looked_up),
        "sees": enclosure.sees,
    }


FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
REQUESTS = "import sys, requests; print(requests.get(sys.argv[1], timeout=5).text)"
NODE = "fetch(process.argv[1]).then(a => a.text()).then(t => console.log(t))"
LOOKUP = "require('dns').resolve4(process.argv[1], (e, a) => console.log(e ? e.code : a.join()))"


async def clients(enclosure: Enclosure) -> dict[str, object]:
    """Clients of all kinds at vendors' own names, some of them without any of our variables."""
    bare = {"PATH": os.environ["PATH"]}
    url = "https://api.openai.com/v1/models"
    return {
        "python": await run(sys.executable, "-c", FETCH, url),
        "requests": await run(sys.executable, "-c", REQUESTS, url),
        "node": await run("node", "-e", NODE, url),
        "node dns": await run("node", "-e", LOOKUP, "api.openai.com"),
        "curl": await run("curl", "-sS", "--max-time", "5", url),
        "curl without variables": await run("curl", "-sS", "--max-time", "5", url, environment=bare),
        "python without variables": await run(sys.executable, "-c", FETCH, url, environment=bare),
        "curl over IPv4": await run("curl", "-4", "-sS", "--max-time", "5", url),
        "curl over IPv6": await run("curl", "-6", "-sS", "--max-time", "5", url),
        "metadata": await run("curl", "-sS", "--max-time", "5", "http://169.254.169.254/metadata/identity"),
        "other vendor": await run("curl", "-sS", "--max-time", "5", "https://api.twilio.com/2010-04-01"),
        "wrong name": await run(
            "curl", "-sS", "--max-time", "5", "--connect-to", "api.openai.com:443:api.twilio.com:443", url
        ),
        "refused": enclosure.contacts().refused,
    }


async def public(enclosure: Enclosure) -> dict[str, object]:
    """The gateway's public name, with and without somebody at home."""
    url = "https://gw.example.test/media-stream"
    gateway = web.AppRunner(Hello("gateway", "127.0.0.1").app)
    await gateway.setup()
    site = web.TCPSite(gateway, "127.0.0.1", 0)
    await site.start()
    port = gateway.addresses[0][1]
    await enclosure.open("gw.example.test", port)
    there = await run("curl", "-sS", "--max-time", "5", url)
    await gateway.cleanup()
    gone = await run("curl", "-sS", "--max-time", "5", url)
    return {"there": there, "gone": gone}


async def plain(enclosure: Enclosure) -> dict[str, object]:
    """A vendor is asked at a port where it does not listen, and at one where it does."""
    urls = ("http://api.openai.com/v1/models", "http://login.microsoftonline.com/common")
    told = [await run("curl", "-4", "-sS", "--max-time", "5", url) for url in urls]
    return {"told": told, "refused": enclosure.contacts().refused}


STORIES = {"strangers": strangers, "clients": clients, "public": public, "plain": plain}


async def main(story: str, enclosure: Enclosure) -> dict[str, object]:
    await enclosure.open("gw.example.test", 9)
    ends = []
    if story in ("clients", "plain"):
        vendors = [
            Hello("openai", "api.openai.com"),
            Hello("twilio", "api.twilio.com"),
            Hello("entra", "login.microsoftonline.com", "169.254.169.254", plain_ports=(80,)),
        ]
        ends = [(await enclosure.serve(vendor))[1] for vendor in vendors]
    try:
        return await STORIES[story](enclosure)
    finally:
        for end in ends:
            await end()
        await enclosure.close()


if __name__ == "__main__":
    made = Enclosure()
    json.dump(asyncio.run(main(sys.argv[1], made)), sys.stdout)
