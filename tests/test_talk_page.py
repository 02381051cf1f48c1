"""Talk in a real Chromium: the reference gateway's page works, and pages with a fault are caught by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from broken_pages import FAULTS, PageFault

import conformance

ROOT = Path(__file__).parent.parent
REFERENCE = Path(conformance.__file__).parent / "gateways" / "reference" / "profile.toml"
MODEL = "gpt-realtime-2"


def profile(folder: Path, name: str) -> Path:
    """The reference gateway's profile, with the gateway of that fault in its place."""
    text = REFERENCE.read_text(encoding="utf-8")
    command = 'command = ["{python}", "-m", "reference_impl"]'
    assert command in text
    script = json.dumps(str(ROOT / "tests" / "broken_pages.py"))
    made = folder / name
    made.mkdir()
    (made / "profile.toml").write_text(
        text.replace(command, f'command = ["{{python}}", {script}, "{name}"]'), encoding="utf-8"
    )
    return made


def play(gateway: str, cases: list[str], report: Path) -> dict[str, dict[str, Any]]:
    """Play cases on the live stage; the requirements of the report by id."""
    arguments = [arg for case in cases for arg in ("--case", case)]
    command = [
        str(Path(sys.executable).with_name("callproof")),
        "run",
        "--gateway",
        gateway,
        "--stage",
        "live",
        "--model",
        MODEL,
    ]
    ran = subprocess.run(
        [*command, *arguments, "--report", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stdout[-3000:] + ran.stderr[-2000:]
    found: dict[str, dict[str, Any]] = {}
    for check in json.loads((report / "results.json").read_text(encoding="utf-8"))["checks"]:
        found.setdefault(check["requirement"], {}).setdefault(check["verdict"], check)
    return found


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("healthy")
    return play(
        "reference", sorted({"test_a_page_talks_over_the_relay", *(f.case for f in FAULTS.values())}), folder
    ), folder


@pytest.mark.parametrize("requirement", sorted({fault.requirement for fault in FAULTS.values()}))
def test_the_page_does_what_it_should(healthy: tuple[dict[str, dict[str, Any]], Path], requirement: str) -> None:
    assert set(healthy[0][requirement]) == {"pass"}, healthy[0][requirement]


def test_there_are_pictures_of_it(healthy: tuple[dict[str, dict[str, Any]], Path]) -> None:
    pictures = sorted(path.name for path in (healthy[1] / "pictures").iterdir())
    assert pictures == ["talk-relay.png", "talk-webrtc.png"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_page_is_caught(name: str, tmp_path: Path) -> None:
    fault: PageFault = FAULTS[name]
    found = play(str(profile(tmp_path, name)), [fault.case], tmp_path / "report")
    bad = {requirement for requirement, verdicts in found.items() if verdicts.keys() - {"pass", "unsupported"}}
    assert bad == {fault.requirement}, {requirement: found[requirement] for requirement in bad}
