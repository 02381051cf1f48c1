"""How the gateway of this folder is driven."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp

from harness.driver import Answer, GatewayHandle, OperationRefused


async def call(gateway: GatewayHandle, *, to: str) -> Answer:
    """Place a call from a device that is made up once for each gateway."""
    device = gateway.state.setdefault("device", f"device of {gateway.version}")
    asked = {"to": to, "device": device}
    async with aiohttp.ClientSession() as session, session.post(f"{gateway.url}/calls", json=asked) as answer:
        body = await answer.json()
        if answer.status >= 400:
            raise OperationRefused(Answer(answer.status, body))
        return Answer(answer.status, body)


async def mint(gateway: GatewayHandle) -> Answer:
    """Make up a client secret."""
    return Answer(200, {"secret": {"value": f"ek_{gateway.values['talk.token']}"}})


async def explain(gateway: GatewayHandle, *, status: str, body: str) -> Answer:
    """Say what a refusal means."""
    return Answer(200, {"status": status, "said": body})


async def relay(gateway: GatewayHandle) -> Relay:
    """Open the relay."""
    session = aiohttp.ClientSession()
    return Relay(session, await session.ws_connect(f"{gateway.url}/relay"))


class Relay:
    """One relay."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._socket = socket
        self.close_reason = ""

    @property
    def close_code(self) -> int | None:
        """The code with which it was closed."""
        return self._socket.close_code

    async def send(self, frame: str | bytes) -> None:
        """Send a frame."""
        await self._socket.send_str(json.dumps(json.loads(frame)))

    async def __aiter__(self) -> AsyncIterator[str]:
        async for message in self._socket:
            yield message.data
        self.close_reason = "done"

    async def close(self) -> None:
        """Leave."""
        await self._socket.close()
        await self._session.close()
