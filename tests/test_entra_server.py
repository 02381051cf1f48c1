"""The shell of Entra over sockets: what is recorded, how long answers take, what is held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from entra_world import CLIENT, COGNITIVE, SECRET, TENANT, entra
from manual_clock import ManualClock

from fakes.azure.entra import TokenPlan
from fakes.azure.entra_server import BODY_LIMIT, EntraServer
from fakes.local import ListRecorder, OpenGates, TypicalChoices
from fakes.ports import Ports

TOKEN = f"/{TENANT}/oauth2/v2.0/token"
FORM = {
    "client_id": CLIENT,
    "client_secret": SECRET,
    "grant_type": "client_credentials",
    "scope": f"{COGNITIVE}/.default",
}


class CountingGates(OpenGates):
    """Writes down the deliveries."""

    def __init__(self) -> None:
        self.points: list[str] = []

    def delivery(self, point: str) -> AbstractAsyncContextManager[None]:
        self.points.append(point)
        return super().delivery(point)


class WatchedClock(ManualClock):
    """Tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = asyncio.Event()

    def call_at(self, when: float, callback: object) -> object:  # type: ignore[override]
        timer = super().call_at(when, callback)  # type: ignore[arg-type]
        self.waited_for.set()
        return timer


class Rig:
    """The service on loopback, its clock, and an HTTP client."""

    def __init__(self, server: EntraServer, clock: WatchedClock, recorder: ListRecorder, gates: CountingGates) -> None:
        self.server = server
        self.clock = clock
        self.recorder = recorder
        self.gates = gates
        self.http: aiohttp.ClientSession

    async def token(self) -> tuple[int, dict[str, object]]:
        async with self.http.post(TOKEN, data=FORM) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    clock, recorder, gates = WatchedClock(), ListRecorder(), CountingGates()
    service = entra(clock)
    service.ports = Ports(clock, TypicalChoices(), recorder, gates)
    server = EntraServer(service)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = Rig(server, clock, recorder, gates)
    try:
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as made.http,
            asyncio.timeout(20),
        ):
            yield made
    finally:
        await server.close()
        await runner.cleanup()


async def test_a_request_and_its_answer_are_recorded() -> None:
    async with rig() as it:
        it.server.entra.plans.append(TokenPlan(delay_ms=0))
        status, body = await it.token()
    came, went = it.recorder.messages
    assert status == 200
    assert (came.source, came.target, came.channel, came.kind) == ("gateway", "entra", "entra.http", "request")
    assert (came.meta["method"], came.connection, came.invalid) == ("POST", "entra#1", None)
    assert f"client_secret={SECRET}" in str(came.body)
    assert (went.source, went.target, went.kind, went.meta["status"]) == ("entra", "gateway", "response", 200)
    assert str(body["access_token"]) in str(went.body)
    assert it.gates.points == ["entra/request1/answer"]


async def test_an_answer_takes_its_time_by_the_clock_of_the_world() -> None:
    async with rig() as it:
        it.server.entra.plans.append(TokenPlan(delay_ms=4000))
        asked = asyncio.create_task(it.token())
        await it.clock.waited_for.wait()
        it.clock.advance(3.999)
        assert [m.kind for m in it.recorder.messages] == ["request"]
        it.clock.advance(0.001)
        assert (await asked)[0] == 200


async def test_metadata_answers_at_once() -> None:
    async with rig() as it, it.http.get(f"/{TENANT}/discovery/v2.0/keys") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert it.clock.pending == 0


async def test_a_body_that_is_too_large_is_refused_and_recorded() -> None:
    async with rig() as it:
        async with it.http.post(TOKEN, data=b"x" * (BODY_LIMIT + 1)) as answer:
            assert answer.status == 413
        assert f"more than {BODY_LIMIT} bytes" in str(it.recorder.messages[0].invalid)


async def test_a_body_that_is_no_text() -> None:
    async with rig() as it:
        it.server.entra.plans.append(TokenPlan(delay_ms=0))
        async with it.http.post(TOKEN, data=b"\xff\xfe") as answer:
            assert answer.status == 400
            assert (await answer.json())["error_codes"] == [900144]


async def test_closing_lets_go_of_what_waits() -> None:
    async with rig() as it:
        it.server.entra.plans.append(TokenPlan(delay_ms=3_600_000))
        asked = asyncio.create_task(it.token())
        await it.clock.waited_for.wait()
        await it.server.close()
        assert (await asked)[0] == 200


@pytest.mark.parametrize("header", [{}, {"Metadata": "true"}])
async def test_the_metadata_service_wants_its_header(header: dict[str, str]) -> None:
    query = {"api-version": "2018-02-01", "resource": COGNITIVE}
    async with rig() as it:
        it.server.entra.plans.append(TokenPlan(delay_ms=0))
        async with it.http.get("/metadata/identity/oauth2/token", params=query, headers=header) as answer:
            assert answer.status == (200 if header else 400)
            assert (it.recorder.messages[0].invalid is None) == bool(header)
