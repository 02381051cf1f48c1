"""Gateways that misbehave as programs: they spin, or their entry point is no async function."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from conformance.asking import ask, choose_columns
from conformance.worlds import run_world
from harness.choices import Typical
from harness.stage import GatewayNotStartable
from harness.suite import CaseDefinition, Checks, Outcome

SPINS_WHEN_CALLED = """
import asyncio
from aiohttp import web

async def voice(request):
    while True:
        await asyncio.sleep(0)

async def main():
    app = web.Application()
    app.router.add_post("/twilio/voice", voice)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 8080).start()
    await asyncio.Event().wait()

def not_async():
    pass
"""


async def _call(world: object, check: Checks) -> None:
    await world.incoming()  # type: ignore[attr-defined]


def _run(folder: Path, monkeypatch: pytest.MonkeyPatch, entry: str) -> Outcome:
    (folder / "odd_gateway.py").write_text(SPINS_WHEN_CALLED)
    monkeypatch.syspath_prepend(str(folder))
    request = ask(gateway="reference")
    table = msgspec.structs.replace(request.profile.gateway, python=f"odd_gateway:{entry}")
    request = dataclasses.replace(request, profile=dataclasses.replace(request.profile, gateway=table))
    case = CaseDefinition(name="call", story="", run=_call, about="AUD-001")
    return run_world(case, request, choose_columns(["gpt-realtime-2"], None)[0], Typical(), 0)


def test_a_gateway_that_spins_fails_and_does_not_hang_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = _run(tmp_path, monkeypatch, "main")
    assert outcome.checks.failed() == ["AUD-001"]
    assert "keeps its event loop busy" in outcome.checks.merged()[0].message
    assert outcome.error is None


def test_an_entry_point_that_is_not_async_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GatewayNotStartable, match="returned None: name an ASGI application"):
        _run(tmp_path, monkeypatch, "not_async")
