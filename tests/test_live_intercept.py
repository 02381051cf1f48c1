"""A gateway with vendor hosts in its code, run as it is: in a namespace, and through a proxy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.live.capabilities import enclosure_problem
from harness.report.model import Results, Verdict
from harness.report.store import read_results
from tests.clients.needs import missing

CALLPROOF = str(Path(sys.executable).with_name("callproof"))
BRIDGE = Path(__file__).parent / "apps" / "fastapi_bridge"

CHATTY = """
import socket
import threading
import urllib.request
from contextlib import suppress

from fastapi_bridge import app


def call_home():
    for url in ("https://telemetry.example.com/events", "https://contoso.openai.azure.com/openai/v1/models"):
        with suppress(OSError):
            urllib.request.urlopen(url, timeout=5)
    with suppress(OSError):
        socket.create_connection(("93.184.215.14", 443), 5)


app.router.on_startup.append(lambda: threading.Thread(target=call_home).start())
"""


def run(profile: Path, report: Path, mode: str) -> Results:
    """One short case with a call in it."""
    command = [CALLPROOF, "run", "--gateway", str(profile), "--stage", "live", "--intercept", mode, "--jobs", "1"]
    command += ["--case", "health_is_answered", "--model", "gpt-realtime-2", "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return read_results(report)


def verdicts(results: Results) -> dict[str, set[Verdict]]:
    found: dict[str, set[Verdict]] = {}
    for check in results.checks:
        found.setdefault(check.requirement, set()).add(check.verdict)
    return found


@pytest.fixture
def _enclosures() -> None:
    if (problem := enclosure_problem()) is not None:
        missing(problem)


@pytest.mark.usefixtures("_enclosures")
def test_in_a_namespace(tmp_path: Path) -> None:
    found = verdicts(run(BRIDGE, tmp_path, "namespace"))
    assert found["OAI-HS-001"] == {Verdict.PASS}
    # Everybody that it turned to is known, and nobody else was among them.
    assert (found["SEC-012"], found["SEC-013"]) == ({Verdict.PASS}, {Verdict.PASS})
    assert Verdict.FAIL not in set().union(*found.values())


def test_through_a_proxy(tmp_path: Path) -> None:
    found = verdicts(run(BRIDGE, tmp_path, "proxy"))
    assert found["OAI-HS-001"] == {Verdict.PASS}
    assert Verdict.FAIL not in set().union(*found.values())


@pytest.mark.usefixtures("_enclosures")
def test_a_gateway_that_calls_home_is_told(tmp_path: Path) -> None:
    """Telemetry is a warning; a vendor that no setting calls for is a failure; and neither was reached."""
    profile = tmp_path / "chatty"
    profile.mkdir()
    (profile / "chatty.py").write_text(CHATTY)
    text = (BRIDGE / "profile.toml").read_text(encoding="utf-8")
    text = text.replace('"--app-dir", "{profile}", ', "")
    text = text.replace("fastapi_bridge:app", "chatty:app")
    (profile / "profile.toml").write_text(f'{text}\n[environment]\nPYTHONPATH = "{BRIDGE}:{profile}"\n')
    results = run(profile, tmp_path / "report", "namespace")
    (strangers,) = {c.message for c in results.checks if c.requirement == "SEC-013" and c.verdict is Verdict.WARN}
    assert "telemetry.example.com" in strangers
    assert "93.184.215.14" in strangers
    (vendor,) = {c.message for c in results.checks if c.requirement == "SEC-012" and c.verdict is Verdict.FAIL}
    assert "contoso.openai.azure.com" in vendor
