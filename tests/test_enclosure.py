"""Enclosures: vendors' names lead to the fakes for clients of all kinds, and nothing leads out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.live.capabilities import enclosure_problem, findings, word
from harness.live.enclosure import MARK, NoEnclosure, command, inside, unshare_options
from tests.clients.needs import missing, need
from tests.enclosed.strangers import ATTEMPTS

ROOT = Path(__file__).parent.parent
NOBODY = 65534


@pytest.fixture(autouse=True)
def _enclosures() -> None:
    if (problem := enclosure_problem()) is not None:
        missing(problem)


def tell(story: str) -> dict[str, Any]:
    """What `tests.enclosed.inside` has to tell from inside an enclosure."""
    done = subprocess.run(
        command([sys.executable, "-m", "tests.enclosed.inside", story]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_twelve_strangers_are_known_and_none_is_reached() -> None:
    need(shutil.which("node") is not None, "node")
    need(shutil.which("curl") is not None, "curl")
    told = tell("strangers")
    assert len(ATTEMPTS) == 12
    assert [what for what, failed in told["told"].items() if failed is None] == []
    assert told["sees"]
    assert sorted(told["refused"]) == sorted(ATTEMPTS)
    assert set(told["looked_up"]) == {name for name in ATTEMPTS if not name[0].isdigit() and name[0] != "["}


def test_clients_of_all_kinds_reach_vendors_by_their_own_names() -> None:
    need(shutil.which("node") is not None, "node")
    need(shutil.which("curl") is not None, "curl")
    told = tell("clients")
    models = "openai: https://api.openai.com/v1/models"
    for client in ("python", "requests", "node", "curl", "curl over IPv4", "curl over IPv6"):
        assert told[client] == models, client
    assert told["node dns"].startswith("11.0.0.")
    assert told["curl without variables"] == models
    assert told["python without variables"] == models
    assert told["metadata"] == "entra: http://169.254.169.254/metadata/identity"
    assert told["other vendor"] == "twilio: https://api.twilio.com/2010-04-01"
    # Each vendor has a certificate of its own names, so a client that mixes them up is told.
    assert "SSL" in told["wrong name"]
    assert "api.openai.com" in told["wrong name"]
    assert told["refused"] == []


def test_a_vendor_at_a_port_where_it_does_not_listen() -> None:
    need(shutil.which("curl") is not None, "curl")
    told = tell("plain")
    assert "curl: (7)" in told["told"][0]
    assert told["told"][1] == "entra: http://login.microsoftonline.com/common"
    assert told["refused"] == [["connect.refused", "openai:80"]]


def test_the_public_name_leads_back_to_the_gateway() -> None:
    need(shutil.which("curl") is not None, "curl")
    told = tell("public")
    assert told["there"] == "gateway: http://gw.example.test/media-stream"
    assert "curl: (" in told["gone"]


def test_the_command_says_how_it_ended() -> None:
    script = "import os, signal, sys; os.kill(os.getpid(), int(sys.argv[1])) if len(sys.argv) > 1 else sys.exit(7)"
    assert subprocess.run(command([sys.executable, "-c", script]), check=False).returncode == 7
    assert subprocess.run(command([sys.executable, "-c", script, "15"]), check=False).returncode == 128 + 15
    missing = subprocess.run(command(["no-such-program"]), capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stderr) == (127, "no-such-program: No such file or directory\n")


def test_nothing_outlives_an_enclosure(tmp_path: Path) -> None:
    """A grandchild with a session of its own ends with it."""
    source, sink = os.pipe()
    script = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True, "
        f"pass_fds=[{sink}])\n"
        "print(child.pid)\n"
    )
    done = subprocess.run(command([sys.executable, "-c", script]), pass_fds=[sink], capture_output=True, check=False)
    os.close(sink)
    assert done.returncode == 0
    # The grandchild held the pipe open: that it ends at once, means that the grandchild is gone.
    assert os.read(source, 1) == b""
    os.close(source)


def test_outside_nothing_changes() -> None:
    before = [Path(name).read_bytes() for name in ("/etc/hosts", "/etc/resolv.conf") if Path(name).exists()]
    tell("public")
    after = [Path(name).read_bytes() for name in ("/etc/hosts", "/etc/resolv.conf") if Path(name).exists()]
    assert before == after
    assert not inside()


@pytest.mark.skipif(os.geteuid() != 0, reason="to become nobody takes root")
def test_an_unprivileged_user_can_have_one() -> None:
    """Everything but the interpreter, which may lie in a folder that nobody can read."""
    tool = shutil.which("unshare")
    assert tool is not None
    options = unshare_options(root=False)
    assert options[:2] == ["--user", "--map-root-user"]
    script = "ip link set lo up 2>/dev/null; mount --bind /dev/null /etc/hosts && test ! -s /etc/hosts && id -u"
    done = subprocess.run(
        [tool, *options, "--", "sh", "-c", script],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


def test_where_there_is_no_unshare_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoEnclosure, match=r"takes Linux and unshare\(1\) of util-linux; with --intercept settings"):
        command(["true"])
    enclosure_problem.cache_clear()
    try:
        problem = enclosure_problem()
        assert problem is not None
        assert problem.startswith("no namespaces can be made here: unshare(1) of util-linux is not installed; ")
        assert problem.endswith("or do without, with --intercept settings or --intercept proxy")
        found = {one.name: one for one in findings()}
        assert word(found["live stage, namespace"]) == "no"
        assert "addresses are seen" not in found
        assert word(found["virtual stage"]) == "ok"
    finally:
        enclosure_problem.cache_clear()


def test_what_the_kernel_forbids_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("kernel/apparmor_restrict_unprivileged_userns", "1"), ("user/max_user_namespaces", "63432")):
        tmp_path.joinpath(name).parent.mkdir()
        tmp_path.joinpath(name).write_text(f"{value}\n", encoding="ascii")
    monkeypatch.setattr("harness.live.capabilities.SYSCTL", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    monkeypatch.setenv("PATH", "/nowhere")
    enclosure_problem.cache_clear()
    try:
        told = enclosure_problem()
        assert told is not None
        assert "; allow them: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or run as root; " in told
    finally:
        enclosure_problem.cache_clear()


def test_inside_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "1")
    assert inside()


def test_the_doctor_says_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0
    assert "pip install 'callproof[webrtc]'" in done.output
    assert "live stage, namespace" in done.output
