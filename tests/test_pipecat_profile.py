"""The profile of the pipecat bot: it loads, and starts the bot with the settings under the bot's own names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.profile import VOCABULARY, Profile, load_profile

FOLDER = Path(__file__).parent.parent / "conformance" / "gateways" / "pipecat"
VALUES = {name: f"<{name}>" for name in VOCABULARY} | {"openai.ws_url": "ws://127.0.0.1:9000/v1"}


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path))
    return load_profile(FOLDER)


def test_the_bot_runs_in_the_environment_that_setup_makes(profile: Profile) -> None:
    make, install = profile.setup_commands()
    launch = profile.launch(VALUES)
    assert make[-1] == f"{profile.cache}/venv"
    assert install[0] == launch.command[0] == f"{profile.cache}/venv/bin/python"
    for file in (install[-1], launch.command[1]):
        assert Path(file).is_file()
    assert profile.gateway.python is None


def test_every_setting_is_one_that_the_bot_reads(profile: Profile) -> None:
    source = (FOLDER / "bot.py").read_text()
    launch = profile.launch(VALUES)
    assert not launch.arguments
    assert launch.environment["OPENAI_REALTIME_URL"] == "ws://127.0.0.1:9000/v1/realtime"
    assert set(launch.environment) == set(re.findall(r'os\.(?:environ\[|getenv\()"(\w+)"', source))


def test_every_path_and_tool_is_one_that_the_bot_has(profile: Profile) -> None:
    source = (FOLDER / "bot.py").read_text()
    routes = set(re.findall(r'@app\.(\w+)\("([^"]+)"\)', source))
    method, path = profile.operations["call"].request.split()
    assert {("post", profile.webhooks.voice), (method.lower(), path)} <= routes
    for tool in (profile.claims.tool, profile.claims.end_call_tool):
        assert f'name="{tool}"' in source


def test_every_requirement_is_pinned_and_pipecat_to_the_version_of_the_profile(profile: Profile) -> None:
    lines = [line for line in (FOLDER / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[\w.]+", line)] == []
    assert f"pipecat-ai=={profile.gateway.version}" in lines


def test_other_requirements_are_installed_elsewhere(profile: Profile, tmp_path: Path) -> None:
    copy = tmp_path / "pipecat"
    shutil.copytree(FOLDER, copy)
    before = load_profile(copy).cache
    assert load_profile(copy).cache == before
    with (copy / "requirements.txt").open("a") as file:
        file.write("sniffio==1.3.1\n")
    assert load_profile(copy).cache != before
