"""The profile of the pipecat bots: it loads in every version, and starts each bot with the settings under its names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.profile import VOCABULARY, Profile, load_profile

FOLDER = Path(__file__).parent.parent / "conformance" / "gateways" / "pipecat"
VALUES = {name: f"<{name}>" for name in VOCABULARY} | {"openai.ws_url": "ws://127.0.0.1:9000/v1"}
VERSIONS = ("1.14.0", "0.0.108", "0.0.84")


@pytest.fixture(params=VERSIONS)
def profile(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path))
    return load_profile(FOLDER, request.param)


def source_of(profile: Profile) -> str:
    """What the bot of a version is made of."""
    bot = Path(profile.launch(VALUES).command[1])
    shared = [FOLDER / "telephone.py", *([] if bot.name == "bot.py" else [FOLDER / "before_1_0.py"])]
    return "".join(path.read_text() for path in (bot, *shared))


def test_the_newest_is_taken_when_nobody_says_which() -> None:
    assert load_profile(FOLDER).version == VERSIONS[0]
    assert set(load_profile(FOLDER).versions) == set(VERSIONS)


def test_the_bot_runs_in_the_environment_that_setup_makes(profile: Profile) -> None:
    make, install = profile.setup_commands()
    launch = profile.launch(VALUES)
    assert make[-1] == f"{profile.cache}/venv"
    assert install[0] == launch.command[0] == f"{profile.cache}/venv/bin/python"
    for file in (install[-1], launch.command[1]):
        assert Path(file).is_file()
    assert profile.gateway.python is None


def test_every_setting_is_one_that_the_bot_reads(profile: Profile) -> None:
    launch = profile.launch(VALUES)
    assert not launch.arguments
    assert launch.environment["OPENAI_REALTIME_URL"] == "ws://127.0.0.1:9000/v1/realtime"
    assert set(launch.environment) == set(re.findall(r'os\.(?:environ\[|getenv\()"(\w+)"', source_of(profile)))


def test_every_path_and_tool_is_one_that_the_bot_has(profile: Profile) -> None:
    source = source_of(profile)
    routes = set(re.findall(r'@app\.(\w+)\("([^"]+)"\)', source))
    request = profile.operations["call"].request
    assert request is not None
    method, path = request.split()
    assert {("post", profile.webhooks.voice), (method.lower(), path)} <= routes
    for tool in (profile.claims.tool, profile.claims.end_call_tool):
        assert f'name="{tool}"' in source


def test_a_bot_speaks_the_dialect_that_is_claimed(profile: Profile) -> None:
    beta = profile.version == "0.0.84"
    assert ("openai.beta" in profile.claims.features) is beta
    assert ("openai.ga" in profile.claims.features) is not beta
    assert ("OpenAIRealtimeBetaLLMService" in source_of(profile)) is beta


def test_every_requirement_is_pinned_and_pipecat_to_the_version_of_the_profile(profile: Profile) -> None:
    lines = Path(profile.setup_commands()[1][-1]).read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[\w.]+", line)] == []
    assert f"pipecat-ai=={profile.version}" in lines


def test_each_version_and_other_requirements_are_installed_elsewhere(profile: Profile, tmp_path: Path) -> None:
    copy = tmp_path / "pipecat"
    shutil.copytree(FOLDER, copy)
    caches = {load_profile(copy, version).cache for version in VERSIONS}
    assert len(caches) == len(VERSIONS)
    before = load_profile(copy, profile.version).cache
    with (copy / f"requirements-{profile.version}.txt").open("a") as file:
        file.write("sniffio==1.3.1\n")
    assert load_profile(copy, profile.version).cache not in caches
    assert before in caches
