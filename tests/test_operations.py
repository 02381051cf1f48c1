"""What is asked of a gateway, in every way that a profile can say, on both stages."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from harness.driver import Answer, DriverFault, GatewayHandle, OperationFailed, load_driver
from harness.live import LiveStage, Station
from harness.operations import OPERATION, Operator
from harness.profile import Profile, ProfileError, Way, load_profile
from harness.stage import GatewayNotStartable
from harness.virtual.stage import VirtualStage
from harness.wire import Wire

FOLDER = Path(__file__).parent / "driven"
PLANTED = {"operator.token": "op-planted", "talk.token": "talk-planted"}

T = TypeVar("T")
Asked = Callable[["Desk"], Awaitable[T]]


class Desk:
    """A gateway that is up, and an operator in front of it."""

    def __init__(self, profile: Profile, handle: GatewayHandle, operator: Operator, wire: Wire) -> None:
        self.profile = profile
        self.handle = handle
        self.operator = operator
        self.wire = wire

    async def asks(self, name: str, **fill: str) -> Answer:
        """Perform an operation of the profile."""
        return await self.performs(self.profile.operations[name], f"operations.{name}", **fill)

    async def performs(self, way: Way, key: str = "operations.call", **fill: str) -> Answer:
        """Ask in some way."""
        return await self.operator.perform(way, self.handle, fill, key=key, connection=f"operator/{key}#1")

    def recorded(self) -> list[tuple[str, str, str, str | bytes | None]]:
        """What is on the wire: from whom, on which channel, what."""
        return [(m.source, m.channel, m.kind, m.body) for m in self.wire.messages]


def at_desk(asked: Asked[T], stage: str = "virtual", version: str | None = None, folder: Path = FOLDER) -> T:
    """Start the gateway on a stage and do something at its desk."""
    profile = load_profile(folder, version)
    place = VirtualStage(port=profile.gateway.port) if stage == "virtual" else LiveStage()

    async def main() -> T:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(place.close)
            values = {**await place.prepare_gateway(), **PLANTED}
            gateway = await place.start_gateway(profile, values)
            stack.push_async_callback(gateway.stop)
            http = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
            wire = Wire(lambda: 0.0)
            operator = Operator(http, wire.record, commands=stage == "live")
            handle = GatewayHandle(
                url=gateway.url,
                values=values,
                home=gateway.home or profile.folder,
                cache=profile.cache,
                folder=profile.folder,
                version=profile.version,
                output=gateway.output,
                state=gateway.state,
                environment=gateway.environment,
            )
            return await asked(Desk(profile, handle, operator, wire))

    return place.run(main)


both = pytest.mark.parametrize("stage", ["virtual", "live"])


@both
def test_a_driver_places_a_call(stage: str) -> None:
    async def asked(desk: Desk) -> list[Answer]:
        return [await desk.asks("call", to=to) for to in ("+1555", "+0")]

    good, bad = at_desk(asked, stage)
    assert good == Answer(201, {"dialled": "+1555", "device": "device of 2.0"})
    assert bad == Answer(422, {"error": "no such number"})


@both
def test_a_socket_is_asked_message_by_message(stage: str) -> None:
    async def asked(desk: Desk) -> tuple[list[Answer], list[Any]]:
        answers = [await desk.asks("hangup", call_sid=sid) for sid in ("CA1", "CA404")]
        return answers, desk.recorded()

    (good, bad), recorded = at_desk(asked, stage)
    assert good == Answer(200, {"id": "2", "ended": "CA1"})
    assert bad == Answer(400, {"id": "2", "error": "no such call"})
    assert [line[:3] for line in recorded[:2]] == [
        ("operator", OPERATION, "request"),
        ("gateway", OPERATION, "response"),
    ]
    assert '"call": "CA1"' in recorded[0][3]
    assert recorded[3][3] == '{"id": "2", "error": "no such call"}'


@both
def test_a_request_may_go_to_another_port(stage: str) -> None:
    async def asked(desk: Desk) -> tuple[Answer, list[Any]]:
        return await desk.asks("health"), desk.recorded()

    answer, recorded = at_desk(asked, stage)
    assert answer == Answer(200, {"version": "2.0"})
    assert recorded[0][:3] == ("operator", "gateway.http", "request")


def test_a_form_is_sent_as_a_form() -> None:
    async def asked(desk: Desk) -> Answer:
        return await desk.asks("doctor")

    assert at_desk(asked) == Answer(200, {"what": "a & b", "token": "op-planted"})


def test_a_command_asks_with_the_environment_of_the_gateway() -> None:
    async def asked(desk: Desk) -> tuple[Answer, list[Any]]:
        return await desk.asks("health"), desk.recorded()

    answer, recorded = at_desk(asked, "live", "1.0")
    assert answer == Answer(200, {"version": "1.0"})
    assert recorded[1][3] == '{"version": "1.0"}'


def test_a_command_that_fails_is_a_refusal_with_what_it_printed() -> None:
    words = "import sys; print('no'); print('because', file=sys.stderr); sys.exit(2)"

    async def asked(desk: Desk) -> Answer:
        return await desk.performs(Way(command=[sys.executable, "-c", words]))

    assert at_desk(asked, "live") == Answer(400, "no\nbecause")


def test_a_command_that_hangs_is_ended_with_all_it_started() -> None:
    async def asked(desk: Desk) -> None:
        with pytest.raises(OperationFailed, match=r"operations\.call: the gateway gave no answer in time"):
            await desk.performs(Way(command=["sh", "-c", "sleep 60 & wait"], timeout=0.2))

    at_desk(asked, "live")


def test_a_command_that_is_not_there_is_the_fault_of_the_profile() -> None:
    async def asked(desk: Desk) -> None:
        with pytest.raises(ProfileError, match=r"profile\.toml:\d+: operations\.call\.command: no-such-thing: No such"):
            await desk.performs(Way(command=["no-such-thing"]))

    at_desk(asked, "live")


def test_a_profile_with_commands_cannot_be_used_in_virtual_time() -> None:
    async def asked(desk: Desk) -> None:
        with pytest.raises(ProfileError, match="a command takes another process: use --stage live"):
            await desk.performs(Way(command=["true"]))

    at_desk(asked)


def test_a_profile_with_commands_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "driven")
    file = tmp_path / "driven" / "profile.toml"
    file.write_text(file.read_text().replace("gateway.python = false\n", ""))

    async def asked(desk: Desk) -> None:
        raise AssertionError("it was started")

    with pytest.raises(GatewayNotStartable, match=r"has commands \(operations\.health\), which take processes"):
        at_desk(asked, version="1.0", folder=tmp_path / "driven")


@both
def test_nobody_listens(stage: str) -> None:
    async def asked(desk: Desk) -> None:
        with pytest.raises(OperationFailed, match=r"operations\.call: Client\w*Error"):
            await desk.performs(Way(request="GET http://127.0.0.1:9/x"))

    at_desk(asked, stage)


def test_a_socket_that_is_closed_before_its_answer() -> None:
    from harness.profile import SocketTable

    table = SocketTable(url="/rpc", send=[{"method": "quit"}], answer={"id": 1})

    async def asked(desk: Desk) -> None:
        with pytest.raises(OperationFailed, match=r"closed the WebSocket with 4000 before an answer with id = 1 came"):
            await desk.performs(Way(socket=table))

    at_desk(asked)


def test_a_socket_that_is_refused() -> None:
    from harness.profile import SocketTable

    table = SocketTable(url="/nowhere", send=[{}], answer={"id": 1})

    async def asked(desk: Desk) -> Answer:
        return await desk.performs(Way(socket=table))

    assert at_desk(asked) == Answer(404)


def test_a_gateway_whose_port_is_written_in_its_code(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "driven")
    file = tmp_path / "driven" / "profile.toml"
    file.write_text(file.read_text().replace('version = "2.0"', 'version = "2.0"\nport = 5050'))
    template = tmp_path / "driven" / "settings.json.j2"
    template.write_text(template.read_text().replace("{{ listen.port }}", "5050"))

    async def asked(desk: Desk) -> tuple[str, Answer]:
        return desk.handle.url, await desk.asks("health")

    url, answer = at_desk(asked, folder=tmp_path / "driven")
    assert (url, answer.status) == ("http://gateway.test:5050", 200)


async def test_a_station_takes_the_port_that_cannot_be_told() -> None:
    station = Station(port=5050)
    first, second = await station.ports()
    assert first == 5050 != second


def test_a_gateway_is_started_where_its_profile_says(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "project" / "callproof" / "driven")
    folder = tmp_path / "project" / "callproof" / "driven"
    (folder / "program.py").rename(tmp_path / "project" / "program.py")
    text = (folder / "profile.toml").read_text().replace('"{profile}/program.py"', '"program.py"')
    text = text.replace('version = "2.0"', 'version = "2.0"\ncwd = "../.."').replace(
        "driven.program:main", "program:main"
    )
    (folder / "profile.toml").write_text(text)

    async def asked(desk: Desk) -> Answer:
        return await desk.asks("health")

    assert at_desk(asked, "live", folder=folder).status == 200
    (folder / "profile.toml").write_text(text.replace("../..", "../nowhere"))
    with pytest.raises(ProfileError, match=r":6: gateway\.cwd: there is no folder .*nowhere"):
        load_profile(folder)


def test_state_is_kept_by_the_gateway() -> None:
    async def asked(desk: Desk) -> dict[str, Any]:
        await desk.asks("call", to="+1")
        return desk.handle.state

    assert at_desk(asked) == {"device": "device of 2.0"}


# -- drivers that are wrong


def driver(tmp_path: Path, text: str) -> GatewayHandle:
    (tmp_path / "driver.py").write_text(text)
    return GatewayHandle("http://127.0.0.1:9", {}, tmp_path, tmp_path, tmp_path, "1", str)


async def performs(handle: GatewayHandle, reference: str = "driver.py:call", **fill: str) -> Answer:
    async with aiohttp.ClientSession() as http:
        operator = Operator(http, Wire(lambda: 0.0).record)
        way = Way(driver=reference)
        return await operator.perform(way, handle, fill, key="operations.call", connection="operator/call#1")


async def test_an_error_of_a_driver_names_its_file_and_line(tmp_path: Path) -> None:
    handle = driver(
        tmp_path, "async def call(gateway, *, to):\n    return helper()[to]\n\n\ndef helper():\n    return {}\n"
    )
    with pytest.raises(DriverFault, match=r"the driver of the profile is at fault: .*driver\.py:2: KeyError: '\+1'"):
        await performs(handle, to="+1")


async def test_a_driver_that_cannot_reach_the_gateway_is_no_fault(tmp_path: Path) -> None:
    handle = driver(tmp_path, "async def call(gateway):\n    raise ConnectionRefusedError('not there')\n")
    with pytest.raises(OperationFailed, match=r"operations\.call: ConnectionRefusedError: not there"):
        await performs(handle)


async def test_a_driver_that_returns_something_else(tmp_path: Path) -> None:
    handle = driver(tmp_path, "async def call(gateway):\n    return 200\n")
    with pytest.raises(DriverFault, match=r"driver\.py: call returned int, not an Answer"):
        await performs(handle)


async def test_a_driver_that_cannot_be_imported(tmp_path: Path) -> None:
    handle = driver(tmp_path, "import os\nimport no_such_module\n")
    with pytest.raises(DriverFault, match=r"driver\.py:2: ModuleNotFoundError: No module named 'no_such_module'"):
        await performs(handle)


def test_a_driver_that_was_changed_is_read_again(tmp_path: Path) -> None:
    driver(tmp_path, "async def call(gateway):\n    return 1\n")
    first = load_driver(tmp_path, "driver.py:call")
    assert load_driver(tmp_path, "driver.py:call") is first
    driver(tmp_path, "async def call(gateway, *, to):\n    return 22\n")
    import os

    os.utime(tmp_path / "driver.py", ns=(1, 1))
    assert load_driver(tmp_path, "driver.py:call") is not first
    with pytest.raises(ProfileError, match="has no such function: write `async def other"):
        load_driver(tmp_path, "driver.py:other")


HEAD = '[gateway]\nname = "mine"\ncommand = ["true"]\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"has no call; write `async def call\(gateway: GatewayHandle, \*, to: str\) -> Answer`; there is none"),
        ("async def cal(gateway, *, to): ...", r"has no call; .*; did you mean 'cal'\?"),
        ("\ndef call(gateway, *, to): ...", r"driver\.py:2: call is no async function; write `async def call"),
        ("async def call(gateway): ...", r"driver\.py:1: call is called otherwise; write `async def call"),
        ("async def call(gateway, *, number): ...", "call is called otherwise"),
        ("async def call(gateway, *, to, more): ...", "call is called otherwise"),
        ("async def call(gateway, more, *, to): ...", "call is called otherwise"),
        ("async def call(*, to): ...", "call is called otherwise"),
        ("async def call(gateway:", r"driver\.py:1: '\(' was never closed"),
    ],
)
def test_a_driver_is_looked_at_when_the_profile_is_read(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "driver.py").write_text(text)
    (tmp_path / "profile.toml").write_text(HEAD + '[operations.call]\ndriver = "driver.py:call"\n')
    with pytest.raises(ProfileError, match=rf"profile\.toml:5: operations\.call\.driver: .*{told}"):
        load_profile(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "async def call(gateway, to): ...",
        "async def call(gateway, *, to, more=1): ...",
        "async def call(gateway, more=1, *, to): ...",
        "async def call(*args, **kwargs): ...",
        "async def call(gateway, **fill): ...",
        "from elsewhere import call",
        "async def _call(gateway, *, to): ...\ncall = _call",
    ],
)
def test_a_driver_that_can_be_called(tmp_path: Path, text: str) -> None:
    (tmp_path / "driver.py").write_text(text)
    (tmp_path / "profile.toml").write_text(HEAD + '[operations.call]\ndriver = "driver.py:call"\n')
    assert load_profile(tmp_path).operations["call"].kind == "driver"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", r":4: operations\.call: write exactly one of request, command, socket, driver; there is none of them"),
        ('request = "POST /x"\ncommand = ["x"]', "there are request and command"),
        ('command = ["x"]\njson = {}', None),
        ('command = ["x"]\njson = { a = 1 }', r":6: operations\.call\.json: only a request has this"),
        ("command = []", r"operations\.call\.command: write the program and its arguments"),
        ('driver = "call"', r'operations\.call\.driver: write a file and a function in it, such as "driver\.py:call"'),
        ('driver = "no.py:call"', r"no\.py does not exist; write `async def call\(gateway"),
        ('request = "POST /x"\nform = { a = "1" }\njson = {}', "a request has one body: json or form, not both"),
        ('socket = { url = "x", send = [{}], answer = { id = 1 } }', r"socket\.url: write \"ws://"),
        ('socket = { url = "/x", send = [], answer = { id = 1 } }', "say what to send, and which message is the"),
        ('socket = { url = "/x", send = [{}] }', r":5: operations\.call\.socket: the key 'answer' is missing"),
        ('request = "POST /x"\ntimeout = 0', r":6: operations\.call\.timeout: expected a number > 0"),
        ('request = "POST https://x.test:1/y"', None),
    ],
)
def test_a_way_is_one_and_a_good_one(tmp_path: Path, table: str, told: str | None) -> None:
    (tmp_path / "profile.toml").write_text(f"{HEAD}[operations.call]\n{table}\n")
    if told is None:
        load_profile(tmp_path)
        return
    with pytest.raises(ProfileError, match=told):
        load_profile(tmp_path)
