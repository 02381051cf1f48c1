"""`callproof check-gateway`: what it says of gateways that work, and that do not, and of claims that are not true."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.asking import GATEWAYS, ask
from conformance.checking import Step, check_gateway
from conformance.probing import overlooked
from harness.cli import main
from harness.profile import load_profile

REFERENCE = (GATEWAYS / "reference" / "profile.toml").read_text(encoding="utf-8")


def checked(
    folder: Path, changes: Sequence[tuple[str, str]] = (), monkeypatch: pytest.MonkeyPatch | None = None
) -> tuple[int, list[Step]]:
    """Check the reference gateway in virtual time, with some of its profile's text replaced."""
    text = REFERENCE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "profile.toml").write_text(text)
    steps: list[Step] = []
    try:
        status = check_gateway(ask(gateway=str(folder), stage="virtual"), steps.append)
    finally:
        asyncio.set_event_loop(None)
    return status, steps


def of(steps: Sequence[Step], result: str) -> list[tuple[str, str]]:
    return [(step.name, step.said) for step in steps if step.result == result]


def test_a_gateway_that_works(tmp_path: Path) -> None:
    status, steps = checked(tmp_path)
    assert (status, of(steps, "failed"), of(steps, "note")) == (0, [], [])
    names = ["profile", "start", "webhook", "stream", "session", "inbound call", "session", "outbound call"]
    assert [step.name for step in steps] == [*names, "talk.webrtc", "talk.relay", "talk.page", "health", "doctor"]


def test_a_webhook_that_is_not_there(tmp_path: Path) -> None:
    status, steps = checked(tmp_path, [('voice = "/twilio/voice"', 'voice = "/voice"')])
    assert status == 1
    (step,) = [step for step in steps if step.name == "webhook"]
    assert (step.result, step.said[:33]) == ("failed", "POST /voice is answered 404: '404")
    assert step.todo == "set webhooks.voice to the path at which the gateway takes Twilio's calls"
    assert ("talk.page", "GET /talk is answered 200") in of(steps, "ok")


def test_a_signature_that_does_not_fit(tmp_path: Path) -> None:
    status, steps = checked(tmp_path, [('twilio.auth_token = "$TWILIO_AUTH_TOKEN"', 'twilio.auth_token = "$OTHER"')])
    assert status == 3
    _, start = steps
    assert (start.name, start.result) == ("start", "failed")
    assert "TWILIO_AUTH_TOKEN" in start.said
    status, steps = checked(
        tmp_path, [('"$GATEWAY_PUBLIC_URL"', '{ env = "GATEWAY_PUBLIC_URL", value = "https://x.test" }')]
    )
    (step,) = [step for step in steps if step.name == "webhook"]
    assert "is answered 403" in step.said
    assert step.todo.startswith("it refuses Twilio's signature: map twilio.auth_token, and public_url")


def test_a_model_that_is_not_reached(tmp_path: Path) -> None:
    wrong = '{ env = "OPENAI_BASE_URL", value = "https://api.openai.test/v1" }'
    status, steps = checked(tmp_path, [('"$OPENAI_BASE_URL"', wrong)])
    assert status == 1
    step = next(step for step in steps if step.result == "failed")
    assert (step.name, step.said) == (
        "session",
        "the gateway did not open realtime session 1 within 6 s; 0 were opened",
    )
    assert "it printed:" in step.todo


def test_a_profile_that_names_the_wrong_tool(tmp_path: Path) -> None:
    status, steps = checked(tmp_path, [('tool = "get_weather"', 'tool = "get_wether"')])
    assert status == 1
    step = next(step for step in steps if step.result == "failed")
    assert step.said == "claims.tool = 'get_wether' is not among the session's tools"
    assert step.todo == "did you mean 'get_weather'?"


def test_what_is_hidden_is_told(tmp_path: Path) -> None:
    gone = ['"phone.signature", ', '"phone.greeting", ', '"tools", ', '"talk.token", ', ' "phone.status_callbacks",']
    changes = [(claim, "") for claim in gone]
    changes += [('[operations.health]\nrequest = "GET /healthz"\n', ""), ('"health",\n', "\n")]
    changes += [('status = "/twilio/status"\n', "")]
    status, steps = checked(tmp_path, changes)
    assert status == 0
    hidden = [said.partition(":")[0] for name, said in of(steps, "note") if name == "claims"]
    assert set(hidden) == {
        "hides phone.signature", "hides phone.greeting", "hides tools", "hides talk.token", "hides health",
        "hides phone.status_callbacks",
    }  # fmt: skip


@pytest.mark.parametrize(
    "claim", ["operator.hangup", "doctor", "health", "talk.explain", "talk.tools", "phone.outbound"]
)
def test_what_the_profile_can_do_and_does_not_claim(tmp_path: Path, claim: str) -> None:
    text = REFERENCE.replace(f'"{claim}", ', "").replace(f'"{claim}",\n', "\n")
    (tmp_path / "profile.toml").write_text(text)
    ((said, todo),) = overlooked(load_profile(tmp_path))
    assert said.startswith(f"hides {claim}: the profile has ")
    assert todo == f'add "{claim}" to claims.features'


def test_a_signature_that_is_claimed_and_not_checked(tmp_path: Path) -> None:
    status, steps = checked(tmp_path, [('"reference_impl.app:main"', '"broken.security:accepts_unsigned"')])
    assert status == 1
    told = [said for _, said in of(steps, "failed")]
    assert told == ["claims phone.signature, but an unsigned webhook is answered 200"]


def test_a_gateway_that_does_not_start(tmp_path: Path) -> None:
    status, steps = checked(tmp_path, [('"reference_impl.app:main"', '"no_such_module:main"')])
    assert status == 3
    assert steps[-1].name == "start"
    assert "no_such_module" in steps[-1].said


# -- the command


def test_a_live_gateway_is_checked_by_the_command(tmp_path: Path) -> None:
    text = (
        REFERENCE.partition("[operations.call]")[0]
        + '[claims]\nfeatures = ["phone.inbound", "phone.greeting", "openai.ga"]\n'
    )
    (tmp_path / "profile.toml").write_text(text)
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", "from harness.cli import main; main()", "check-gateway", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok      inbound call   greeted, asked, answered\n" in done.stdout
    assert f"It works. Next: callproof run --gateway {tmp_path} --stage live\n" in done.stdout


def test_a_setup_that_fails_is_not_startable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "profile.toml").write_text(
        '[gateway]\nname = "mine"\nsetup = [["sh", "-c", "echo broken; exit 3"]]\ncommand = ["true"]\n'
    )
    done = CliRunner().invoke(main, ["check-gateway", str(tmp_path)])
    assert done.exit_code == 3
    assert "failed  setup" in done.output
    assert "broken" in done.output
    assert "-> mend gateway.setup in" in done.output


def test_usage(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["check-gateway", "refrence"])
    assert (done.exit_code, done.output) == (
        2,
        "callproof: no gateway is called 'refrence'; did you mean 'reference'? (or give a path to a profile)\n",
    )
    assert CliRunner().invoke(main, ["check-gateway", "reference@9"]).exit_code == 2


def test_gateways_are_listed_with_their_versions() -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["gateways"])
    assert done.exit_code == 0
    assert "reference" in done.output
    assert "virtual, live" in done.output
    for folder in GATEWAYS.glob("*/profile.toml"):
        assert folder.parent.name in done.output


def test_the_schema_is_printed() -> None:
    done = CliRunner().invoke(main, ["schema", "profile"])
    assert done.output == (Path(__file__).parent.parent / "harness" / "profile.schema.json").read_text(encoding="utf-8")
