"""`callproof serve`: the line that it prints, the vendors' own SDKs against it, the control API, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from serve_stand import Stand, gateway, standing
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from conformance.serving import CALLER, NUMBER, CannotListen, make_bench_knobs, serving
from fakes.people.person import Person
from harness.run import FACTS_DATE

CALLPROOF = [sys.executable, "-c", "from harness.cli import main; main()"]
KEYS = {
    "openai.base_url",
    "openai.api_key",
    "azure.endpoint",
    "azure.api_key",
    "azure.deployment",
    "twilio.base_url",
    "twilio.account_sid",
    "twilio.auth_token",
    "twilio.number",
    "control.url",
}


# -- the command


@dataclass(slots=True)
class Served:
    """A running `callproof serve`."""

    process: subprocess.Popen[str]
    ready: dict[str, str]

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal; exit status, and what else it printed."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@contextmanager
def served(*arguments: str, cwd: Path) -> Iterator[Served]:
    process = subprocess.Popen(
        [*CALLPROOF, "serve", *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 20)[0], "it never got ready"
        line = process.stdout.readline()
        assert line, process.communicate(timeout=10)[1]
        yield Served(process, json.loads(line))
    finally:
        process.kill()
        process.wait()


def refused(*arguments: str, cwd: Path) -> tuple[int, str]:
    """Exit status and message of a `serve` that cannot be."""
    done = subprocess.run(
        [*CALLPROOF, "serve", *arguments], cwd=cwd, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(
        "--as-of", "2026-03-01", "--knob", "twilio.callback_lose_percent=7", cwd=tmp_path_factory.mktemp("s")
    ) as it:
        yield it


def test_one_line_of_json_says_all_that_a_gateway_needs(command: Served) -> None:
    assert set(command.ready) == KEYS
    for key in ("openai.base_url", "azure.endpoint", "twilio.base_url", "control.url"):
        assert command.ready[key].startswith("http://127.0.0.1:")
    assert command.ready["openai.base_url"].endswith("/v1")
    assert command.ready["openai.api_key"].startswith("sk-proj-")
    assert command.ready["twilio.account_sid"].startswith("AC")
    assert len(command.ready["twilio.auth_token"]) == 32


async def test_the_day_and_the_knobs_of_the_command_line_hold(command: Served) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{command.ready['control.url']}/knobs") as answer:
        knobs = await answer.json()
    assert knobs["twilio.callback_lose_percent"]["value"] == 7
    assert knobs["twilio.local_urls"]["value"] == "allowed"
    client = openai.AsyncOpenAI(api_key=command.ready["openai.api_key"], base_url=command.ready["openai.base_url"])
    names = {model.id async for model in client.models.list()}
    assert "gpt-4o-realtime-preview" in names, "in March 2026 it had not been removed"
    assert "gpt-realtime-2" not in names, "it came in May 2026"
    await client.close()


async def test_the_openai_sdk_has_a_turn_with_the_model(command: Served) -> None:
    base = command.ready["openai.base_url"]
    client = openai.AsyncOpenAI(
        api_key=command.ready["openai.api_key"], base_url=base, websocket_base_url=base.replace("http", "ws", 1)
    )
    async with client.realtime.connect(model="gpt-realtime") as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await connection.response.create()
        seen = []
        async for event in connection:
            seen.append(event.type)
            if event.type == "response.done":
                break
    assert "session.updated" in seen
    assert "response.output_text.done" in seen
    await client.close()


async def test_the_openai_sdk_has_a_session_with_a_deployment_of_azures(command: Served) -> None:
    base = f"{command.ready['azure.endpoint']}/openai/v1"
    client = openai.AsyncOpenAI(
        api_key=command.ready["azure.api_key"], base_url=base, websocket_base_url=base.replace("http", "ws", 1)
    )
    async with client.realtime.connect(model=command.ready["azure.deployment"]) as connection:
        created = await connection.recv()
    assert (created.type, created.session.model) == ("session.created", command.ready["azure.deployment"])
    await client.close()


async def test_a_wrong_key_is_refused_as_the_vendor_does(command: Served) -> None:
    client = openai.AsyncOpenAI(api_key="sk-wrong", base_url=command.ready["openai.base_url"], max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        await client.models.list()
    await client.close()


async def test_the_twilio_sdk_places_a_call_to_a_phone_of_the_control_api(command: Served) -> None:
    client = Client(command.ready["twilio.account_sid"], command.ready["twilio.auth_token"])
    client.api.base_url = command.ready["twilio.base_url"]
    async with aiohttp.ClientSession(command.ready["control.url"]) as http:
        async with http.post("/phones", json={"number": "+14155550155", "behaviour": "busy", "after_ms": 0}) as answer:
            assert answer.status == 201

        def create(to: str) -> Any:
            pause = "<Response><Pause length='60'/></Response>"
            return client.calls.create(to=to, from_=command.ready["twilio.number"], twiml=pause)

        call = await asyncio.to_thread(create, "+14155550155")
        assert (call.status, call.direction) == ("queued", "outbound-api")
        async with http.get(f"/calls/{call.sid}") as answer:
            assert (await answer.json())["to"] == "+14155550155"
    with pytest.raises(TwilioRestException) as caught:
        await asyncio.to_thread(create, "nobody")
    assert caught.value.code == 21211


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Also while somebody holds a connection."""
    with served(cwd=tmp_path) as it, socket.create_connection(("127.0.0.1", _port(it.ready["control.url"]))):
        assert it.end(number) == (0, "", "")
    assert os.listdir(tmp_path) == []


async def test_a_signal_ends_it_while_a_session_is_open(tmp_path: Path) -> None:
    with served(cwd=tmp_path) as it:
        base = it.ready["openai.base_url"]
        client = openai.AsyncOpenAI(
            api_key=it.ready["openai.api_key"], base_url=base, websocket_base_url=base.replace("http", "ws", 1)
        )
        async with client.realtime.connect(model="gpt-realtime-2") as connection:
            await connection.recv()
            assert await asyncio.to_thread(it.end, signal.SIGTERM) == (0, "", "")
        await client.close()


def test_a_port_in_use_is_told_in_one_line(command: Served, tmp_path: Path) -> None:
    port = _port(command.ready["control.url"])
    status, message = refused("--port", str(port), cwd=tmp_path)
    assert status == 2
    assert message == f"callproof: port {port} on 127.0.0.1 is in use; give another --port, or 0 for a free one\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "192.0.2.1"), "callproof: --host 192.0.2.1 cannot be had: Cannot assign requested address\n"),
        (("--knob", "twilio.loacl_urls=x"), "no knob is called 'twilio.loacl_urls'; did you mean twilio.local_urls?"),
        (("--as-of", "soon"), "--as-of wants a date such as 2026-04-15, or `today`, not 'soon'"),
        (("--port", "70000"), "70000 is not in the range"),
    ],
    ids=["host", "knob", "as-of", "port"],
)
def test_what_cannot_be_had_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    status, told = refused(*arguments, cwd=tmp_path)
    assert status == 2
    assert message in told


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


# -- the control API


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing() as it:
        yield it


async def test_a_call_to_a_gateway_is_answered_and_can_be_read(stand: Stand) -> None:
    """Somebody calls a gateway, hears its greeting, speaks, presses a key and hangs up; the wire has it all."""
    async with gateway(stand.ready) as url:
        hooks = {"webhook": f"{url}/twilio/voice", "status_callback": f"{url}/twilio/status"}
        status, call = await stand.ask("POST", "/calls", hooks)
        assert (status, call["direction"], call["from"], call["to"]) == (201, "inbound", CALLER, NUMBER)
        sid = call["sid"]
        person = stand.person(sid)
        await person.hears("greeting", within=10)
        status, call = await stand.ask("GET", f"/calls/{sid}")
        assert (status, call["status"]) == (200, "in-progress")
        assert [(h["phrase"], h["complete"]) for h in call["heard"]] == [("greeting", True)]
        assert await stand.ask("POST", f"/calls/{sid}/say", {"phrase": "what_time"}) == (202, {"saying": "what_time"})
        async with asyncio.timeout(5):
            await stand.bench.openai.wait_for(lambda: bool(stand.bench.openai.sessions[0].heard))
        assert (await stand.ask("POST", f"/calls/{sid}/press", {"keys": "1#"}))[0] == 202
        assert (await stand.ask("POST", f"/calls/{sid}/hangup", {}))[0] == 202
        await person.ended(within=5)
    _, wire = await stand.ask("GET", "/wire")
    assert [message["seq"] for message in wire] == list(range(len(wire)))
    assert wire[0]["kind"] == "dial"
    assert not [m for m in wire if m["invalid"]]
    _, rest = await stand.ask("GET", f"/wire?since={wire[5]['seq']}")
    assert rest[0] == wire[5]
    _, webhooks = await stand.ask("GET", "/wire?channel=twilio.webhook")
    assert {m["channel"] for m in webhooks} == {"twilio.webhook"}
    assert webhooks[0]["meta"]["url"] == f"{url}/twilio/voice"
    async with stand.http.get("/ladder") as answer:
        ladder = await answer.text()
    for party in ("Caller", "Twilio", "Gateway", "OpenAI"):
        assert party in ladder.splitlines()[0]
    assert "POST /twilio/voice" in ladder


async def test_a_gateway_calls_a_phone_that_was_added(stand: Stand) -> None:
    async with gateway(stand.ready) as url:
        phone = {"number": "+14155550177", "after_ms": 0}
        assert await stand.ask("POST", "/phones", phone) == (201, {"number": "+14155550177", "behaviour": "answer"})
        headers = {"Authorization": "Bearer operator"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{url}/calls", json={"to": "+14155550177"}, headers=headers) as answer,
        ):
            assert answer.status < 300
        (call,) = stand.bench.twilio.calls
        assert isinstance(call.person, Person)
        await call.person.starts_hearing("greeting", within=10)
        _, calls = await stand.ask("GET", "/calls")
        assert [(c["direction"], c["status"]) for c in calls] == [("outbound-api", "in-progress")]
        await stand.ask("POST", f"/calls/{call.sid}/hangup", {})
        await call.person.ended(within=5)


async def test_calls_to_different_webhooks_do_not_mix(stand: Stand) -> None:
    """Each call keeps the webhook that it was placed with."""
    asked: list[str] = []
    both = asyncio.Event()

    async def voice(request: web.Request) -> web.Response:
        asked.append(request.path)
        if len(asked) == 2:
            both.set()
        return web.Response(text="<Response><Pause length='30'/></Response>", content_type="text/xml")

    app = web.Application()
    app.add_routes([web.post("/one", voice), web.post("/two", voice)])
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    for name, number in (("one", "+14155550161"), ("two", "+14155550162")):
        await stand.ask("POST", "/calls", {"webhook": f"{base}/{name}", "from": number})
    async with asyncio.timeout(5):
        await both.wait()
    assert sorted(asked) == ["/one", "/two"]
    await runner.cleanup()


async def test_a_stream_url_with_wss_leads_to_the_plain_port_of_the_webhook(stand: Stand) -> None:
    """Gateways answer with `wss://{Host}/...`; on this machine nobody speaks TLS there. A stream that is refused is
    told by the debugger."""
    opened = asyncio.Event()

    async def voice(request: web.Request) -> web.Response:
        url = f"wss://{request.host}{request.query_string}"
        return web.Response(
            text=f"<Response><Connect><Stream url='{url}'/></Connect></Response>", content_type="text/xml"
        )

    async def media(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        opened.set()
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.add_routes([web.post("/voice", voice), web.get("/media", media)])
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    await stand.ask("POST", "/calls", {"webhook": f"{base}/voice?/media"})
    async with asyncio.timeout(5):
        await opened.wait()
    _, refused = await stand.ask("POST", "/calls", {"webhook": f"{base}/voice?/nowhere", "from": "+14155550163"})
    await stand.person(refused["sid"]).ended(within=5)
    _, refused = await stand.ask("GET", f"/calls/{refused['sid']}")
    assert [entry.partition(":")[0] for entry in refused["debugger"]] == ["31920"]
    await runner.cleanup()


async def test_knobs_are_listed_and_turned(stand: Stand) -> None:
    _, knobs = await stand.ask("GET", "/knobs")
    assert set(knobs) == set(stand.bench.knobs)
    name = "twilio.callback_lose_percent"
    assert knobs[name]["value"] == knobs[name]["default"] == 0
    assert await stand.ask("PUT", f"/knobs/{name}", {"value": 20}) == (200, {name: 20})
    assert stand.bench.knobs[name] == 20
    assert knobs["twilio.local_urls"]["options"] == ["refused", "allowed"]


async def test_what_there_is_is_listed(stand: Stand) -> None:
    status, told = await stand.ask("GET", "/")
    assert status == 200
    for resource in stand.bench.app().router.resources():
        path = resource.canonical.replace("{name}", "").rstrip("/")
        assert any(path in key for key in told), f"GET / does not tell of {resource.canonical}"
    _, phrases = await stand.ask("GET", "/phrases")
    assert phrases["greeting"]


WEBHOOK = "http://127.0.0.1:9/voice"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/nope", None, 404, "/nope: Not Found; GET / lists what there is"),
        ("DELETE", "/calls", None, 405, "/calls takes GET, HEAD, POST; GET / lists what there is"),
        ("GET", "/calls/CA1", None, 404, "no call is called CA1; GET /calls lists them"),
        ("POST", "/calls/CA1/say", {"phrase": "yes"}, 404, "no call is called CA1; GET /calls lists them"),
        ("POST", "/calls", None, 400, "the body is a JSON object with webhook"),
        ("POST", "/calls", [], 400, "the body is a JSON object with webhook"),
        ("POST", "/calls", {}, 400, "the body is a JSON object with webhook"),
        ("POST", "/calls", {"webhok": WEBHOOK}, 400, "unknown: webhok; there are from, status_callback, webhook"),
        ("POST", "/calls", {"webhook": "nowhere"}, 400, "webhook is a URL, such as http://"),
        (
            "POST",
            "/calls",
            {"webhook": WEBHOOK, "status_callback": 5},
            400,
            "status_callback is a URL, such as http://",
        ),
        ("POST", "/calls", {"webhook": WEBHOOK, "from": "4711"}, 400, "from is a telephone number in E.164, such as +"),
        ("POST", "/phones", {"number": "hello"}, 400, "number is a telephone number in E.164, such as +"),
        ("POST", "/phones", {"number": CALLER, "after_ms": "soon"}, 400, "after_ms is a number of milliseconds"),
        (
            "POST",
            "/phones",
            {"number": CALLER, "behaviour": "sing"},
            400,
            "behaviour is answer, manual, busy, reject or ignore",
        ),
        ("GET", "/wire?since=begin", None, 400, "since is the number of a message, such as 0"),
        ("PUT", "/knobs/twilio.loacl_urls", {"value": 1}, 400, "did you mean twilio.local_urls?"),
        ("PUT", "/knobs/twilio.local_urls", {"value": "maybe"}, 400, "is one of refused, allowed, not 'maybe'"),
        ("PUT", "/knobs/twilio.local_urls", {"value": {}}, 400, "the value of a knob is true, false, a whole number"),
        ("PUT", "/knobs/twilio.local_urls", {}, 400, "the body is a JSON object with value"),
    ],
)
async def test_errors_say_what_to_do(
    stand: Stand, method: str, path: str, body: Any, status: int, message: str
) -> None:
    got, answer = await stand.ask(method, path, body)
    assert got == status
    assert message in answer["error"]
    assert not stand.bench.twilio.calls


async def test_what_a_person_cannot_do_is_an_error_too(stand: Stand) -> None:
    _, call = await stand.ask("POST", "/calls", {"webhook": WEBHOOK})
    sid = call["sid"]
    status, answer = await stand.ask("POST", f"/calls/{sid}/say", {"phrase": "nothing"})
    assert (status, answer["error"]) == (400, "no phrase is called 'nothing'; GET /phrases lists them")
    await stand.person(sid).connected(within=5)
    status, answer = await stand.ask("POST", f"/calls/{sid}/press", {"keys": "x"})
    assert status == 400
    assert "'x' is no key" in answer["error"]
    await stand.ask("POST", f"/calls/{sid}/hangup", {})
    await stand.person(sid).ended(within=5)
    status, answer = await stand.ask("POST", f"/calls/{sid}/say", {"phrase": "yes"})
    assert status == 400, answer


async def test_a_port_that_is_taken_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        before = asyncio.all_tasks()
        with pytest.raises(CannotListen, match="is in use; give another --port"):
            async with serving("127.0.0.1", taken.getsockname()[1], FACTS_DATE, make_bench_knobs({})):
                pass
        assert asyncio.all_tasks() == before
