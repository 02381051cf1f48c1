"""The live stage: gateways as real processes on loopback, started, watched and ended for certain."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from harness.live import LiveStage
from harness.live.process import GatewayProcess, clean_environment, free_port, run_setup
from harness.profile import Profile, load_profile
from harness.stage import GatewayNotStartable

SERVER = """
import http.server, json, os, signal, subprocess, sys, time

asked = []

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            os._exit(9)
        if self.path == "/warming":
            asked.append(self.path)
            self.send_response(503 if len(asked) < 3 else 204)
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "https://gw.example.test/")
        else:
            self.send_response(404)
        self.end_headers()

    def log_message(self, *args):
        pass

mode, port = sys.argv[1], sys.argv[sys.argv.index("--port") + 1]
print("mode", mode, flush=True)
if mode == "env":
    print(json.dumps(dict(os.environ)), flush=True)
if mode == "dies":
    print("no such model: gpt-9", file=sys.stderr)
    sys.exit(7)
if mode == "dies-with-child":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    sys.exit(7)
if mode == "never":
    time.sleep(600)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "graceful":
    def stop(*args):
        print("drained", flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
if mode == "escaped":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("child", child.pid, flush=True)
if mode in ("family", "deaf-child", "other-group"):
    if mode != "family":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # handed down to the child
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} if mode == "deaf-child" else {}
    group = 0 if mode == "other-group" else None
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=group, **quiet)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("child", child.pid, flush=True)
if mode == "wrapper":
    # Like a shell: gone at once by SIGTERM, while what it started takes its time to end well.
    code = (
        "import signal, sys, time\\n"
        "def stop(*args):\\n    time.sleep(0.15)\\n    print('child drained', flush=True)\\n    sys.exit(0)\\n"
        "signal.signal(signal.SIGTERM, stop)\\nprint('child ready', flush=True)\\ntime.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    print("child", child.pid, flush=True)
server = http.server.HTTPServer(("127.0.0.1", int(port)), Handler)
print("listening on", port, flush=True)
server.serve_forever()
"""

READY = {
    "port": "{ port = true, timeout = 10 }",
    "http": '{ http = "/warming", timeout = 10 }',
    "moved": '{ http = "/moved", timeout = 10 }',
    "log": '{ log = "listening on \\\\d+", timeout = 10 }',
    "child": '{ log = "child ready", timeout = 10 }',
    "impatient": "{ port = true, timeout = 0.3 }",
    "wrong log": '{ log = "never printed", timeout = 0.3 }',
    "said too early": '{ log = "mode", timeout = 0.5 }',
    "wrong http": '{ http = "/x", timeout = 0.3 }',
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Profile]:
    """A profile of the little server in one of its modes."""

    def profile(mode: str, ready: str = "log", stop_timeout: float = 10, extra: str = "", command: str = "") -> Profile:
        (tmp_path / "server.py").write_text(SERVER)
        command = command or f'["{{python}}", "-S", "server.py", "{mode}"]'
        (tmp_path / "profile.toml").write_text(
            f'[gateway]\nname = "toy"\ncommand = {command}\nready = {READY[ready]}\nstop_timeout = {stop_timeout}\n'
            f'{extra}\n[settings]\nlisten.port = "--port"\nopenai.api_key = "$OPENAI_API_KEY"\n'
        )
        return load_profile(tmp_path)

    return profile


@asynccontextmanager
async def started(profile: Profile) -> AsyncIterator[GatewayProcess]:
    """The gateway on a stage of its own; ended for certain afterwards."""
    stage = LiveStage()
    values = {**await stage.prepare_gateway(), "openai.api_key": "sk-planted"}
    gateway = await stage.start_gateway(profile, values)
    assert isinstance(gateway, GatewayProcess)
    try:
        yield gateway
    finally:
        await gateway.stop()


def running(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def child_of(gateway: GatewayProcess) -> int:
    match = re.search(r"child (\d+)", gateway.output())
    assert match, gateway.output()
    return int(match.group(1))


def descendants() -> set[int]:
    """The processes that this one has started and that run."""
    found = {int(f.name) for f in Path("/proc").glob("[0-9]*") if running(int(f.name)) and f.name != str(os.getpid())}
    mine = set()
    for pid in found:
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == os.getpid():
            mine.add(pid)
    return mine


@pytest.fixture(autouse=True)
def strays() -> Iterator[Callable[[], set[int]]]:
    """The processes that a test has started; afterwards there must be none."""
    before = descendants()

    def strays() -> set[int]:
        return descendants() - before

    yield strays
    assert strays() == set()


# -- getting ready


@pytest.mark.parametrize("ready", ["port", "http", "log", "moved"])
async def test_a_gateway_gets_ready(make: Callable[..., Profile], ready: str) -> None:
    async with started(make("plain", ready)) as gateway:
        assert gateway.died() is None
        async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/anything") as answer:
            assert answer.status == 404
        ended = await gateway.stop()
    assert (ended.clean, ended.left, ended.status) == (True, [], -signal.SIGTERM)
    assert gateway.died() == f"it ended with exit status {-signal.SIGTERM}"
    assert "mode plain\nlistening on" in gateway.output()
    assert gateway.left() == []


@pytest.mark.parametrize("ready", ["port", "http", "log"])
async def test_a_gateway_that_dies_at_its_start_is_reported_with_its_output(
    make: Callable[..., Profile], ready: str
) -> None:
    with pytest.raises(GatewayNotStartable) as caught:
        async with started(make("dies", ready)):
            pass
    assert "gateway toy died at its start with exit status 7" in str(caught.value)
    assert "its last output:\n  mode dies\n  no such model: gpt-9" in str(caught.value)


async def test_a_gateway_that_dies_and_leaves_a_child_does_not_block(make: Callable[..., Profile]) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(GatewayNotStartable, match="died at its start with exit status 7"):
        async with started(make("dies-with-child", "port")):
            pass
    assert loop.time() - began < 5, "the child holds the output open; it has to be ended, not waited for"


@pytest.mark.parametrize(
    ("ready", "what"),
    [
        ("impatient", "its port to open"),
        ("wrong log", "a line of output that matches 'never printed'"),
        ("wrong http", "GET /x"),
    ],
)
async def test_a_gateway_that_never_gets_ready(make: Callable[..., Profile], ready: str, what: str) -> None:
    with pytest.raises(GatewayNotStartable) as caught:
        async with started(make("never", ready)):
            pass
    assert f"gateway toy was not ready within 0.3 s (waited for {what})" in str(caught.value)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_gateway_that_listens_somewhere_else_is_told_apart(make: Callable[..., Profile]) -> None:
    """It printed the line, but nobody answers at the port that it was given: the port is not passed on."""
    with pytest.raises(GatewayNotStartable) as caught:
        async with started(make("never", "said too early")):
            pass
    assert re.search(r"waited for port \d+ to open, the one of settings\.listen\.port; 'mode' was", str(caught.value))


async def test_a_start_that_is_cancelled_leaves_nothing(
    make: Callable[..., Profile], strays: Callable[[], set[int]]
) -> None:
    async def start() -> None:
        async with started(make("never", "port")):
            pass

    task = asyncio.create_task(start())
    while not strays():  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert strays() == set()


async def test_waiting_that_is_cancelled_leaves_nothing(
    make: Callable[..., Profile], strays: Callable[[], set[int]]
) -> None:
    gateway = GatewayProcess(make("never", "port"), free_port())
    task = asyncio.create_task(gateway.start([sys.executable, "-S", "server.py", "never", "--port", "0"], {}))
    await gateway._printed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gateway.output().startswith("mode")
    assert strays() == set()


async def test_a_command_that_does_not_exist(make: Callable[..., Profile]) -> None:
    profile = make("", command='["no-such-program"]')
    with pytest.raises(GatewayNotStartable, match=r"no-such-program: No such file .*; check gateway\.command"):
        async with started(profile):
            pass


async def test_a_profile_without_a_command_belongs_on_the_virtual_stage(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text('[gateway]\nname = "toy"\npython = "toy:main"\n')
    with pytest.raises(GatewayNotStartable, match=r"has no `command`.*use --stage virtual"):
        async with started(load_profile(tmp_path)):
            pass


async def test_a_gateway_that_dies_later_is_noticed(make: Callable[..., Profile]) -> None:
    async with started(make("plain")) as gateway, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{gateway.url}/crash")
        await gateway._ended
        assert gateway.died() == "it ended with exit status 9"
        ended = await gateway.stop()
    assert (ended.clean, ended.status) == (True, 9)


# -- ending


async def test_sigterm_lets_a_gateway_end_well(make: Callable[..., Profile]) -> None:
    async with started(make("graceful")) as gateway:
        ended = await gateway.stop()
        assert (ended.clean, ended.status) == (True, 0)
        assert gateway.output().endswith("drained\n")
        again = await gateway.stop()
        assert (again.clean, again.status) == (True, 0), "ending twice does no harm"


async def test_a_gateway_that_ignores_sigterm_is_killed(make: Callable[..., Profile]) -> None:
    async with started(make("deaf", stop_timeout=0.2)) as gateway:
        ended = await gateway.stop()
    assert (ended.clean, ended.status) == (False, -signal.SIGKILL)
    assert ended.left == ["it did not end within 0.2 s of SIGTERM and was killed"]


async def test_what_a_gateway_started_ends_with_it(make: Callable[..., Profile]) -> None:
    async with started(make("family")) as gateway:
        child = child_of(gateway)
        assert running(child)
        ended = await gateway.stop()
    assert not running(child)
    assert ended.clean


@pytest.mark.parametrize("mode", ["deaf-child", "other-group"])
async def test_a_child_that_outlives_its_gateway_is_killed_and_told_on(make: Callable[..., Profile], mode: str) -> None:
    async with started(make(mode, stop_timeout=0.2)) as gateway:
        child = child_of(gateway)
        ended = await gateway.stop()
    assert not running(child)
    assert ended.left == ["a process that it started did not end within 0.2 s of SIGTERM and was killed"]
    assert ended.status == -signal.SIGTERM


async def test_the_program_behind_a_wrapper_may_end_well(make: Callable[..., Profile]) -> None:
    async with started(make("wrapper", "child")) as gateway:
        child = child_of(gateway)
        ended = await gateway.stop()
    assert ended.clean
    assert not running(child)
    assert gateway.output().endswith("child drained\n")


async def test_a_child_that_left_the_session_is_told_on_and_does_not_block(
    make: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.live.process.KILL_SECONDS", 0.1)
    async with started(make("escaped")) as gateway:
        child = child_of(gateway)
        ended = await gateway.stop()
    os.kill(child, signal.SIGKILL)
    assert ended.left == ["something that it started left its session and still holds its output"]


# -- environment


async def test_the_environment_has_no_proxies_and_no_vendor_settings_of_the_user(
    make: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    astray = ["OPENAI_API_KEY", "OPENAI_BASE_URL", "TWILIO_AUTH_TOKEN", "AZURE_OPENAI_ENDPOINT"]
    astray += ["http_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy"]
    for name in astray:
        monkeypatch.setenv(name, "the user's own")
    monkeypatch.setenv("CALLPROOF_TEST_OTHER", "kept")
    async with started(make("env")) as gateway:
        seen: dict[str, Any] = json.loads(gateway.output().splitlines()[1])
    assert seen["OPENAI_API_KEY"] == "sk-planted"
    assert "the user's own" not in seen.values()
    assert (seen["CALLPROOF_TEST_OTHER"], seen["PATH"]) == ("kept", os.environ["PATH"])


def test_what_the_profile_sets_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "0")
    made = clean_environment({"HTTPS_PROXY": "wanted", "TWILIO_X": "wanted", "PYTHONUNBUFFERED": "2"})
    assert (made["HTTPS_PROXY"], made["TWILIO_X"], made["PYTHONUNBUFFERED"]) == ("wanted", "wanted", "2")
    assert clean_environment({})["PYTHONUNBUFFERED"] == "1"


# -- setup


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


async def test_setup_runs_once(make: Callable[..., Profile], cache: Path) -> None:
    step = "open('{cache}/runs', 'a').write('x')"
    extra = f'setup = [["{{python}}", "-S", "-c", "{step}"], ["{{python}}", "-S", "-c", "{step}"]]'
    profile = make("plain", extra=extra)
    for _ in range(2):
        assert await run_setup(profile) == profile.cache
    assert (profile.cache / "runs").read_text() == "xx"
    assert profile.cache.parent == cache


async def test_a_setup_that_fails_is_reported_and_tried_again(make: Callable[..., Profile], cache: Path) -> None:
    code = "import sys; print('no such package'); sys.exit(3)"
    profile = make("plain", extra=f'setup = [["{{python}}", "-S", "-c", "{code}"]]')
    for _ in range(2):
        with pytest.raises(GatewayNotStartable) as caught:
            async with started(profile):
                pass
        assert "setup of gateway toy: `" in str(caught.value)
        assert "ended with 3:\n  no such package" in str(caught.value)
    profile = make("plain", extra='setup = [["no-such-program"]]')
    with pytest.raises(GatewayNotStartable, match="setup of gateway toy: no-such-program: No such file"):
        await run_setup(profile)


# -- the stage


class Hello:
    """A vendor that says its name."""

    hosts = ("api.openai.com",)
    plain_ports = ()

    def __init__(self, name: str = "openai") -> None:
        self.name = name

        async def hello(request: web.Request) -> web.Response:
            return web.Response(text=self.name)

        self.app = web.Application()
        self.app.add_routes([web.get("/", hello)])


def test_vendors_are_served_on_loopback_until_the_stage_closes() -> None:
    stage = LiveStage()

    async def main() -> tuple[str, str]:
        url = await stage.serve(Hello())
        other = await stage.serve(Hello("twilio"))
        assert url != other
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                text = await answer.text()
            await stage.close()
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(url)
        return url, text

    url, text = stage.run(main)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert text == "openai"


async def test_the_gateway_is_told_where_it_is() -> None:
    stage = LiveStage()
    values = await stage.prepare_gateway()
    assert values["listen.host"] == "127.0.0.1"
    assert (values["public_url"], values["public_host"]) == ("https://gw.example.test", "gw.example.test")
    assert stage.routes() == {"gw.example.test": f"http://127.0.0.1:{values['listen.port']}"}
    assert free_port() != free_port() or sys.platform != "linux"
