"""Gateways on the virtual stage: how they start and how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.profile import Profile, load_profile
from harness.stage import GatewayNotStartable
from harness.virtual.stage import VirtualStage

GATEWAY = """
import asyncio, logging, os, signal, sys

KEY = os.environ["OPENAI_API_KEY"]

async def serve(reader, writer):
    writer.close()

async def keep_alive():
    await asyncio.sleep(3600)

async def main():
    print("key", KEY, "arguments", sys.argv[1:])
    print("to standard error", file=sys.stderr)
    logging.getLogger("gateway").warning("a warning")
    await asyncio.start_server(serve, "0.0.0.0", int(sys.argv[2]))
    await asyncio.Event().wait()

async def graceful():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, "0.0.0.0", int(sys.argv[2]))
    await stop.wait()
    print("drained")

async def deaf():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print, "never mind")
    await main()

async def messy():
    asyncio.create_task(keep_alive(), name="keep-alive")
    await main()

async def dies():
    raise LookupError("no such model")

async def lazy():
    await asyncio.sleep(3600)
"""


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Profile]:
    """A profile whose gateway is a function of a module that is imported afresh."""

    def make(entry: str) -> Profile:
        (tmp_path / "toy_gateway.py").write_text(GATEWAY)
        (tmp_path / "profile.toml").write_text(
            f'[gateway]\nname = "toy"\npython = "toy_gateway:{entry}"\nready = {{ port = true, timeout = 5 }}\n'
            'stop_timeout = 3\n[settings]\nopenai.api_key = "$OPENAI_API_KEY"\nlisten.port = "--port"\n'
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "toy_gateway", raising=False)
        return load_profile(tmp_path)

    return make


def _run_gateway(profile: Profile) -> tuple[str, list[str], Any, float]:
    stage = VirtualStage()

    async def world() -> tuple[str, list[str], Any, float]:
        values = {**await stage.prepare_gateway(), "openai.api_key": "sk-planted"}
        running = await stage.start_gateway(profile, values)
        left = running.left()
        ended = await running.stop()
        return running.output(), left, ended, stage.loop.time()

    return stage.run(world)


def test_a_gateway_reads_its_settings_when_it_is_imported(gateway: Callable[[str], Profile]) -> None:
    argv, outputs = sys.argv, (sys.stdout, sys.stderr)
    output, left, ended, _ = _run_gateway(gateway("main"))
    assert output.splitlines() == [
        "key sk-planted arguments ['--port', '8080']",
        "to standard error",
        "a warning",
    ]
    assert left == ["gateway"]
    assert ended.clean
    assert sys.argv is argv
    assert (sys.stdout, sys.stderr) == outputs
    assert "OPENAI_API_KEY" not in os.environ


def test_a_gateway_that_handles_sigterm_gets_it(gateway: Callable[[str], Profile]) -> None:
    output, _, ended, now = _run_gateway(gateway("graceful"))
    assert "drained" in output
    assert ended.clean
    assert now == 0


def test_a_gateway_that_does_not_end_by_sigterm_is_cancelled_and_told_on(gateway: Callable[[str], Profile]) -> None:
    output, _, ended, now = _run_gateway(gateway("deaf"))
    assert "never mind" in output
    assert ended.left == ["its main task did not end within 3 s of SIGTERM"]
    assert not ended.clean
    assert now == 3


def test_tasks_that_a_gateway_leaves_are_listed_by_name(gateway: Callable[[str], Profile]) -> None:
    _, left, ended, _ = _run_gateway(gateway("messy"))
    assert left == ["gateway", "keep-alive"]
    assert ended.left == ["task keep-alive"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("dies", "died at its start: LookupError: no such model"),
        ("lazy", "did not listen at port 8080 within 5 s: does its profile map listen.port"),
        ("missing", "'toy_gateway:missing' cannot be imported: AttributeError"),
    ],
)
def test_a_gateway_that_does_not_come_up(gateway: Callable[[str], Profile], entry: str, message: str) -> None:
    with pytest.raises(GatewayNotStartable) as caught:
        _run_gateway(gateway(entry))
    assert message in str(caught.value)


def test_a_gateway_whose_import_fails_is_not_startable(gateway: Callable[[str], Profile], tmp_path: Path) -> None:
    profile = gateway("main")
    (tmp_path / "toy_gateway.py").write_text("raise ValueError('wrong configuration')")
    with pytest.raises(GatewayNotStartable, match="ValueError: wrong configuration"):
        _run_gateway(profile)
