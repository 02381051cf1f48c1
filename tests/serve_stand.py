"""The vendors on loopback in this process with a client of the control API, and the reference gateway beside them."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import jsonschema_rs
from aiohttp import web

from conformance.serve.people import Participant
from conformance.serving import Bench, make_bench_knobs, serving
from harness.run import FACTS_DATE
from reference_impl.config import load
from reference_impl.gateway import Gateway


@dataclass(slots=True)
class Stand:
    """The vendors on loopback in this process, and a client of the control API."""

    bench: Bench
    ready: dict[str, str]
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer, which has to be what the OpenAPI document says."""
        async with self.http.request(method, path, json=body) as answer:
            told = await answer.json()
        if path != "/openapi.json":
            await self._fits(method, path.partition("?")[0], answer.status, told)
        return answer.status, told

    async def _fits(self, method: str, path: str, status: int, told: Any) -> None:
        async with self.http.get("/openapi.json") as answer:
            document = await answer.json()
        found = [name for name in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", name), path)]
        operations = [document["paths"][name] for name in sorted(found, key=lambda name: name.count("{"))]
        if not operations or method.lower() not in operations[0]:
            assert status in (404, 405), f"{method} {path} answers {status}, but the document does not have it"
            return
        responses = operations[0][method.lower()]["responses"]
        response = responses.get(str(status)) or responses[f"{status // 100}XX"]
        schema = {**response["content"]["application/json"]["schema"], "components": document["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(told)

    def person(self, sid: str) -> Participant:
        return self.bench.people[sid]


@asynccontextmanager
async def standing() -> AsyncIterator[Stand]:
    async with (
        serving("127.0.0.1", 0, FACTS_DATE, make_bench_knobs({})) as (bench, ready),
        aiohttp.ClientSession(ready["control.url"]) as http,
    ):
        yield Stand(bench, ready, http)


@asynccontextmanager
async def gateway(ready: dict[str, str]) -> AsyncIterator[str]:
    """The reference gateway, told what `serve` prints; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = load(
        (),
        {
            "GATEWAY_PUBLIC_URL": url,
            "GATEWAY_TOKEN": "operator",
            "OPENAI_API_KEY": ready["openai.api_key"],
            "OPENAI_BASE_URL": ready["openai.base_url"],
            "TWILIO_ACCOUNT_SID": ready["twilio.account_sid"],
            "TWILIO_AUTH_TOKEN": ready["twilio.auth_token"],
            "TWILIO_BASE_URL": ready["twilio.base_url"],
            "TWILIO_NUMBER": ready["twilio.number"],
        },
    )
    it = Gateway(config)
    runner = web.AppRunner(it.app(), access_log=None, shutdown_timeout=1)
    await it.start()
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield url
    finally:
        await it.close()
        await runner.cleanup()


async def place_outbound(url: str, to: str) -> None:
    """Let the gateway call somebody."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/calls", json={"to": to}, headers={"Authorization": "Bearer operator"}) as answer,
    ):
        assert answer.status < 300, await answer.text()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@asynccontextmanager
async def gateway_process(environment: dict[str, str]) -> AsyncIterator[None]:
    """The reference gateway as a process of its own, with these variables; it has said that it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "reference_impl",
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        told = b""
        async with asyncio.timeout(20):
            while b"gateway.ready" not in told:
                line = await process.stdout.readline()
                assert line, f"the gateway did not start: {told.decode()}"
                told += line
        # Nobody may be held up because nobody reads.
        reading = asyncio.create_task(process.stdout.read())
        yield
    finally:
        process.terminate()
        async with asyncio.timeout(20):
            await process.wait()
    await reading
