"""Azure over real sockets on loopback: upgrades, refusals with their headers, and who is on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure_vendor import BETA, DAY, DEPLOYMENTS, HOST, KEY1, MINT, PREVIEW, V1, Issuer, settings
from openai_world import phone

from fakes.azure.resources import Resource
from fakes.azure.server import AzureServer
from fakes.azure.service import AzureService
from fakes.local import ListRecorder, LoopClock, OpenGates, TypicalChoices
from fakes.openai import HandshakePlan
from fakes.openai.plans import HttpPlan
from fakes.ports import Ports


@dataclass(slots=True)
class Rig:
    service: AzureService
    recorder: ListRecorder
    http: aiohttp.ClientSession

    async def refused(self, url: str, **headers: str) -> tuple[int, Any, dict[str, Any]]:
        """Status, headers and body of an upgrade that is refused."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await self.http.ws_connect(url, headers=headers)
        message = self.recorder.messages[-1]
        assert message.kind == "upgrade.refused"
        assert message.body is not None
        return refused.value.status, refused.value.headers, json.loads(message.body)


@asynccontextmanager
async def rig(**knobs: Any) -> AsyncIterator[Rig]:
    recorder = ListRecorder()
    ports = Ports(LoopClock(), TypicalChoices(), recorder, OpenGates())
    resource = Resource("voice", keys=(KEY1,), deployments=DEPLOYMENTS)
    service = AzureService(ports, as_of=DAY, resources=[resource], tokens=Issuer(), knobs=settings(**knobs))
    server = AzureServer(service)
    assert (server.name, server.hosts[0]) == ("azure", HOST)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as http:
        yield Rig(service, recorder, http)
    await server.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("url", "dialect", "shown"),
    [
        (f"{V1}?model=agent", "ga", "agent"),
        (f"{BETA}?api-version={PREVIEW}&deployment=agent", "beta", "gpt-realtime"),
    ],
)
async def test_a_session_and_its_record(url: str, dialect: str, shown: str) -> None:
    async with rig() as r:
        async with r.http.ws_connect(url, headers={"api-key": KEY1}) as ws:
            created = await ws.receive_json()
            assert (created["type"], created["session"]["model"]) == ("session.created", shown)
            await ws.send_json({"type": "session.update", "session": phone(dialect)})
            while (await ws.receive_json())["type"] != "session.updated":
                pass
        await r.service.wait_for(lambda: r.service.sessions[0].closed)
        kinds = [message.kind for message in r.recorder.messages]
        assert kinds[:3] == ["upgrade", "upgrade.accepted", "session.created"]
        accepted = dict(r.recorder.messages[1].meta["headers"])
        assert (accepted["x-ms-region"], len(accepted["apim-request-id"])) == ("East US 2", 36)
        assert {message.channel for message in r.recorder.messages} == {"azure.realtime"}
        assert {message.connection for message in r.recorder.messages} == {"azure#1"}
        assert {(message.source, message.target) for message in r.recorder.messages} == {
            ("gateway", "azure"),
            ("azure", "gateway"),
        }
        assert {message.invalid for message in r.recorder.messages} == {None}


async def test_refusals_are_statuses() -> None:
    async with rig() as r:
        status, headers, body = await r.refused(f"{V1}?model=agent", **{"api-key": "wrong"})
        assert (status, body["error"]["code"]) == (401, "401")
        assert "invalid subscription key or wrong API endpoint" in body["error"]["message"]
        assert len(headers["apim-request-id"]) == 36
        status, _, body = await r.refused(f"{V1}?model=nothing", **{"api-key": KEY1})
        assert (status, body["error"]["code"]) == (404, "DeploymentNotFound")
        status, _, body = await r.refused("/v1/realtime?model=agent", **{"api-key": KEY1})
        assert (status, body) == (404, {"error": {"code": "404", "message": "Resource not found"}})
        status, _, body = await r.refused(f"{V1}?model=agent", Authorization="Bearer head.stranger.tail")
        assert (status, body["error"]["code"]) == (401, "PermissionDenied")
        r.service.plan(HandshakePlan(refuse_http=(429, "azure_too_many_requests"), headers={"retry-after-ms": "250"}))
        status, headers, body = await r.refused(f"{V1}?model=agent", **{"api-key": KEY1})
        assert (status, headers["retry-after-ms"], body["error"]["code"]) == (429, "250", "429")
        assert "x-ms-region" in headers
        assert r.service.sessions == []


async def test_http() -> None:
    async with rig() as r:
        body = {"session": {"type": "realtime", "model": "agent"}}
        async with r.http.post(MINT, json=body, headers={"api-key": KEY1}) as answer:
            assert answer.status == 200
            secret = (await answer.json())["value"]
        r.service.plan_http(
            MINT, HttpPlan(refuse=(429, "azure_too_many_requests"), headers={"retry-after-ms": "9"}), request=1
        )
        async with r.http.post(MINT, json=body, headers={"api-key": KEY1}) as answer:
            assert (answer.status, answer.headers["retry-after-ms"]) == (429, "9")
        async with r.http.post(MINT, json=body, headers={"api-key": "wrong"}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (401, "401")
        assert {message.channel for message in r.recorder.messages} == {"azure.http"}
        assert r.recorder.messages[0].connection == "azure/http#1"
        async with r.http.ws_connect(V1, headers={"Authorization": f"Bearer {secret}"}) as ws:
            assert (await ws.receive_json())["type"] == "session.created"
