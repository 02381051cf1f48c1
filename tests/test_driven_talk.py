"""The suite against a gateway that is asked by drivers throughout: the reference gateway, with another profile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from broken.suite import COLUMNS, cases

from conformance.asking import GATEWAYS
from conformance.worlds import run_world
from harness.choices import Typical
from harness.profile import load_profile
from harness.report.model import Verdict
from harness.run import RunRequest
from harness.suite import Outcome

DRIVER = """
import aiohttp
from harness.driver import Answer, OperationRefused


async def ask(gateway, path, body, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session:
        async with session.post(gateway.url + path, json=body, headers=headers) as answer:
            told = await answer.json()
            if answer.status >= 400:
                raise OperationRefused(Answer(answer.status, told))
            return Answer(answer.status, told)


async def call(gateway, *, to):
    return await ask(gateway, "/calls", {"to": to}, gateway.values["operator.token"])


async def mint(gateway):
    return await ask(gateway, "/talk/session", {"transport": "webrtc"}, gateway.values["talk.token"])


async def tool(gateway, *, name, arguments):
    return await ask(gateway, "/talk/tool", {"name": name, "arguments": arguments}, gateway.values["talk.token"])


async def explain(gateway, *, status, body):
    return await ask(gateway, "/talk/explain", {"status": int(status), "body": body}, gateway.values["talk.token"])


async def relay(gateway):
    granted = await ask(gateway, "/talk/session", {"transport": "relay"}, gateway.values["talk.token"])
    public = gateway.values["public_url"]
    url = gateway.url + granted.body["url"].removeprefix(public.replace("http", "ws", 1))
    session = aiohttp.ClientSession()
    try:
        headers = {"Origin": public, "Host": gateway.values["public_host"]}
        return Relay(session, await session.ws_connect(url, headers=headers))
    except BaseException:
        await session.close()
        raise


class Relay:
    def __init__(self, session, socket):
        self.session, self.socket, self.close_reason = session, socket, ""

    @property
    def close_code(self):
        return self.socket.close_code

    async def send(self, frame):
        await (self.socket.send_str if isinstance(frame, str) else self.socket.send_bytes)(frame)

    async def __aiter__(self):
        async for message in self.socket:
            yield message.data

    def abort(self):
        self.socket._conn.transport.abort()

    async def close(self):
        await self.socket.close(code=1001)
        await self.session.close()
"""


def outcome(folder: Path, case: str, driver: str = DRIVER) -> Outcome:
    text = (GATEWAYS / "reference" / "profile.toml").read_text(encoding="utf-8")
    drivers = "".join(
        f'\n[versions."driven".{table}]\ndriver = "driver.py:{name}"\n'
        for table, name in (
            ("operations.call", "call"),
            ("talk.webrtc", "mint"),
            ("talk.relay", "relay"),
            ("talk.tool", "tool"),
            ("talk.explain", "explain"),
        )
    )
    (folder / "profile.toml").write_text(text + drivers, encoding="utf-8")
    (folder / "driver.py").write_text(driver, encoding="utf-8")
    profile = load_profile(folder, "driven")
    column = COLUMNS["ga"]
    request = RunRequest(profile=profile, stage="virtual", columns=[column], seed=0, knobs={})
    try:
        return run_world(cases()[case], request, column, Typical(), 0)
    finally:
        asyncio.set_event_loop(None)


CASES = [
    "an_outbound_call_is_bridged",
    "a_refused_create_is_reported",
    "a_conversation_of_three_turns_over_the_relay",
    "an_interruption_while_only_the_page_is_playing",
    "the_person_leaves",
    "the_browser_vanishes",
    "the_browser_is_dead_and_its_connection_is_not",
    "the_session_of_a_relay_expires",
    "what_admits_a_browser_admits_one",
    "a_page_of_somebody_else_opens_the_relay",
    "a_browser_sends_nonsense",
    "a_browser_that_does_not_read",
    "the_relay_is_refused_its_model",
    "a_browser_is_given_a_secret_of_its_own",
    "a_conversation_of_three_turns_over_webrtc",
    "a_tool_is_run_for_a_browser",
    "the_model_may_not_be_used",
    "the_key_knows_a_project_without_the_model",
    "strangers_ask_for_a_secret",
    "strangers_ask_for_a_ticket",
    "strangers_call_a_tool",
]


@pytest.mark.parametrize("case", CASES)
def test_a_case_is_told_by_drivers(tmp_path: Path, case: str) -> None:
    found = outcome(tmp_path, case)
    assert found.error is None
    bad = [f for f in found.checks.merged() if f.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED)]
    assert bad == []


def test_the_relay_of_a_driver_is_on_the_wire(tmp_path: Path) -> None:
    messages = outcome(tmp_path, "a_typed_message_over_the_relay").messages
    kinds = [message.kind for message in messages if message.channel == "talk.relay"]
    assert kinds[:2] == ["upgrade", "upgrade.accepted"]
    assert {"ready", "text", "audio", "transcript", "close"} <= set(kinds)
    minted = outcome(tmp_path, "a_browser_is_given_a_secret_of_its_own").messages
    operations = [(m.source, m.target, m.kind) for m in minted if m.channel == "gateway.operation"]
    assert operations[:2] == [("browser", "gateway", "request"), ("gateway", "browser", "response")]


def test_a_fault_of_a_driver_is_ours_and_not_the_gateway_s(tmp_path: Path) -> None:
    wrong = DRIVER.replace("await (self.socket.send_str", "await frame.wrong(self.socket.send_str")
    found = outcome(tmp_path, "a_typed_message_over_the_relay", wrong)
    assert found.checks.worst() is Verdict.HARNESS_ERROR
    told = [f.message for f in found.checks.findings if f.verdict is Verdict.HARNESS_ERROR]
    assert any("the driver of the profile is at fault" in text and "driver.py:" in text for text in told)


def test_a_fault_of_a_driver_that_mints(tmp_path: Path) -> None:
    wrong = DRIVER.replace("async def mint(gateway):", "async def mint(gateway):\n    gateway.nothing")
    found = outcome(tmp_path, "a_browser_is_given_a_secret_of_its_own", wrong)
    assert found.error is not None
    assert "driver.py:21: AttributeError" in found.error
