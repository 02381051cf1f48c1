"""What the README tells people to write and to run is accepted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.cli import main
from harness.profile import load_profile
from harness.report.verdicts import load_verdicts

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
TABLES = re.findall(r"^ *```toml\n(.*?)^ *```", README, re.S | re.M)
PROFILES = [text for text in TABLES if "[[verdict]]" not in text]


@pytest.mark.parametrize("text", PROFILES)
def test_a_profile_is_valid(text: str, tmp_path: Path) -> None:
    lines = [line.strip() for line in text.splitlines()]
    head = "" if "[gateway]" in lines else '[gateway]\nname = "mine"\ncommand = ["true"]\n'
    (tmp_path / "profile.toml").write_text(head + "\n".join(lines))
    assert load_profile(tmp_path).claims.features


def test_verdicts_are_valid(tmp_path: Path) -> None:
    (verdicts,) = [text for text in TABLES if "[[verdict]]" in text]
    (tmp_path / "VERDICTS.toml").write_text(verdicts)
    (note,) = load_verdicts(tmp_path / "VERDICTS.toml")
    assert note.fits("1.14.0", "LIFE-003")


def test_there_are_profiles_and_commands() -> None:
    assert len(PROFILES) >= 2
    assert len(re.findall(r"^\$ callproof ", README, re.M)) >= 8


@pytest.mark.parametrize("line", re.findall(r"^\$ callproof (.*)$", README, re.M))
def test_a_command_and_its_options_exist(line: str) -> None:
    name, *rest = shlex.split(line.partition("#")[0])
    command = main.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    commands = getattr(command, "commands", {})
    if commands:
        known |= {option for parameter in commands[rest[0]].params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_a_file_that_is_linked_is_there(path: str) -> None:
    assert (Path(__file__).parent.parent / path).exists()
