"""The gateway of this folder. It talks to no vendor: it is there to be asked."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web


def settings() -> dict[str, Any]:
    """What the configuration file says."""
    text = (Path(os.environ["DRIVEN_HOME"]) / ".driven" / "settings.json").read_text(encoding="utf-8")
    read: dict[str, Any] = json.loads(text)
    return read


def app(told: dict[str, Any]) -> web.Application:
    """The gateway's pages."""

    async def health(request: web.Request) -> web.Response:
        good = request.headers.get("Authorization") == f"Bearer {told['token']}"
        return web.json_response({"version": told["version"]}, status=200 if good else 401)

    async def doctor(request: web.Request) -> web.Response:
        return web.json_response(dict(await request.post()))

    async def calls(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["to"].startswith("+0"):
            return web.json_response({"error": "no such number"}, status=422)
        return web.json_response({"dialled": asked["to"], "device": asked["device"]}, status=201)

    async def rpc(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        greeted = False
        async for message in socket:
            asked = json.loads(message.data)
            if asked["method"] == "hello":
                greeted = True
                await socket.send_json({"event": "welcome"})
                await socket.send_json({"id": asked["id"], "ok": True})
            elif asked["method"] == "end":
                known = greeted and asked["params"]["call"] != "CA404"
                found = {"ended": asked["params"]["call"]} if known else {"error": "no such call"}
                await socket.send_json({"id": asked["id"], **found})
            elif asked["method"] == "quit":
                await socket.close(code=4000)
        return socket

    async def relay(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            asked = json.loads(message.data)
            if asked.get("text") == "bye":
                await socket.send_json({"type": "bye", "why": "you said so"})
                break
            await socket.send_json({"type": "transcript", "role": "user", "text": asked.get("text", "sound")})
        await socket.close(code=4001, message=b"done")
        return socket

    built = web.Application()
    built.add_routes([web.get("/health", health), web.post("/doctor", doctor), web.post("/calls", calls)])
    built.add_routes([web.get("/rpc", rpc), web.get("/relay", relay)])
    return built


async def main() -> None:
    """Serve until cancelled."""
    told = settings()
    runner = web.AppRunner(app(told))
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", told["port"]).start()
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def health_command(home: str, port: str) -> int:
    """Ask the gateway that has this home, as a command line tool of its own would."""
    told = json.loads((Path(home) / ".driven" / "settings.json").read_text(encoding="utf-8"))
    request = urllib.request.Request(f"http://127.0.0.1:{port}/health")
    request.add_header("Authorization", f"Bearer {told['token']}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        sys.stdout.write(answer.read().decode())
    sys.stderr.write("a warning that is no part of the answer\n")
    return 0 if os.environ["DRIVEN_HOME"] == home else 3


if __name__ == "__main__":
    if sys.argv[1:2] == ["health"]:
        sys.exit(health_command(*sys.argv[2:]))
    asyncio.run(main())
