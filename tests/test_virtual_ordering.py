"""What happens at one instant happens in an order of cause, wherever in memory the objects happen to lie."""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import subprocess
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from harness.virtual import VirtualLoop, run_virtual, spawn

ROOT = Path(__file__).parent.parent
CLIENTS = 7

type_of_junk: list[Callable[[random.Random], Any]] = [
    lambda r: bytearray(r.randrange(600)),
    lambda r: asyncio.Queue(),
    lambda r: {},
    lambda r: object(),
    lambda r: set(),
    lambda r: [0] * r.randrange(50),
]


def perturb(seed: int) -> list[Any]:
    """Litter the memory: what is allocated from now on lies somewhere else. Keep what is returned."""
    chosen = random.Random(seed)
    junk = [chosen.choice(type_of_junk)(chosen) for _ in range(chosen.randrange(4000))]
    chosen.shuffle(junk)
    return junk[: len(junk) // 2]


def everywhere(main: Callable[[VirtualLoop], Coroutine[Any, Any, list[int]]]) -> list[list[int]]:
    """The outcome of `main` in each of ten worlds whose objects lie elsewhere."""
    outcomes = []
    for seed in range(10):
        junk = perturb(seed)
        outcomes.append(run_virtual(main))
        del junk
    return outcomes


def in_one_order(outcomes: list[list[int]]) -> bool:
    """Whether all have the same order. It need not be that of creation."""
    assert [sorted(outcome) for outcome in outcomes] == [list(range(len(outcomes[0])))] * len(outcomes)
    return len({tuple(outcome) for outcome in outcomes}) == 1


async def test_sets_of_a_real_loops_futures_have_another_order() -> None:
    """Else the tests below could not fail."""
    orders = set()
    loop = asyncio.get_running_loop()
    for seed in range(10):
        junk = perturb(seed)
        futures = {loop.create_future(): number for number in range(CLIENTS) if perturb(number)}
        orders.add(tuple(futures[future] for future in set(futures)))
        del junk
    assert len(orders) > 1


@pytest.mark.parametrize("kind", ["futures", "tasks", "gathered"])
def test_a_set_of_futures_has_an_order_of_cause(kind: str) -> None:
    async def nothing() -> None:
        return

    async def main(loop: VirtualLoop) -> list[int]:
        make: dict[str, Callable[[], asyncio.Future[Any]]] = {
            "futures": loop.create_future,
            "tasks": lambda: loop.create_task(nothing()),
            "gathered": lambda: asyncio.gather(nothing()),
        }
        made = [make[kind]() for number in range(CLIENTS) if perturb(number)]
        if kind == "futures":
            for future in made:
                future.set_result(None)
        done, _ = await asyncio.wait(made)
        return [made.index(future) for future in done]

    assert in_one_order(everywhere(main))


def test_a_future_is_equal_to_itself_only() -> None:
    async def main(loop: VirtualLoop) -> tuple[bool, bool, bool]:
        one, other = loop.create_future(), loop.create_future()
        return one == one, one == other, hash(one) == hash(one)

    assert run_virtual(main) == (True, False, True)


async def _closes(loop: VirtualLoop, serve: Callable[[], Awaitable[Callable[[], Any]]]) -> list[int]:
    """Open WebSockets to what `serve` serves at port 8080, let it close them all at once; in which order they close."""
    loop.network.add_host("gateway", ["gw.example.test"])
    stop: list[Callable[[], Any]] = []

    async def start() -> None:
        stop.append(await serve())

    serving = spawn(loop, "gateway", start(), "start")
    await loop.network.listening("gateway", 8080)
    closed: list[int] = []
    async with aiohttp.ClientSession() as session:
        sockets = []
        junk = []
        for number in range(CLIENTS):
            junk.append(perturb(number))
            sockets.append(await session.ws_connect("http://gw.example.test:8080/"))
            await sockets[-1].receive()

        async def wait(number: int) -> None:
            await sockets[number].receive()
            closed.append(number)

        waiting = [loop.create_task(wait(number)) for number in range(CLIENTS)]
        await asyncio.sleep(1)
        await serving
        spawn(loop, "gateway", stop[0](), "stop")
        await asyncio.gather(*waiting)
    return closed


@pytest.mark.parametrize("ws", ["websockets", "websockets-sansio"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_uvicorn_closes_its_websockets_in_an_order_of_cause(ws: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hi"})
        await receive()

    async def main(loop: VirtualLoop) -> list[int]:
        async def serve() -> Callable[[], Any]:
            config = uvicorn.Config(app, host="0.0.0.0", port=8080, lifespan="off", log_level="error", ws=ws)
            server = uvicorn.Server(config)
            running = loop.create_task(server.serve())

            async def stop() -> None:
                server.should_exit = True
                await running

            return stop

        return await _closes(loop, serve)

    assert in_one_order(everywhere(main))


@pytest.mark.parametrize("module", ["websockets.asyncio.server", "websockets.legacy.server"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_websockets_closes_its_connections_in_an_order_of_cause(module: str) -> None:
    serve_websockets = importlib.import_module(module).serve

    async def main(loop: VirtualLoop) -> list[int]:
        async def handler(connection: Any) -> None:
            await connection.send("hi")
            await connection.wait_closed()

        async def serve() -> Callable[[], Any]:
            server = await serve_websockets(handler, "0.0.0.0", 8080)

            async def stop() -> None:
                server.close()
                await server.wait_closed()

            return stop

        return await _closes(loop, serve)

    assert in_one_order(everywhere(main))


def test_a_program_that_keeps_connections_in_a_set_writes_to_them_in_an_order_of_cause() -> None:
    """As aiohttp's manual has it: a WeakSet of WebSockets, which are closed when the application shuts down."""

    async def main(loop: VirtualLoop) -> list[int]:
        connected: weakref.WeakSet[web.WebSocketResponse] = weakref.WeakSet()

        async def socket(request: web.Request) -> web.WebSocketResponse:
            ws = web.WebSocketResponse()
            await ws.prepare(request)
            connected.add(ws)
            await ws.send_str("hi")
            await ws.receive()
            return ws

        async def close_all(app: web.Application) -> None:
            for ws in set(connected):
                await ws.close(code=1001)

        async def serve() -> Callable[[], Any]:
            app = web.Application()
            app.router.add_get("/", socket)
            app.on_shutdown.append(close_all)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "0.0.0.0", 8080).start()
            return runner.cleanup

        return await _closes(loop, serve)

    assert in_one_order(everywhere(main))


def test_connections_of_a_real_loop_keep_their_hash() -> None:
    """A set that they are in must still find them while a world runs in the process, and after it."""

    async def live() -> web.StreamResponse:
        return web.WebSocketResponse()

    before = asyncio.run(live())
    kept = {before}

    async def main(loop: VirtualLoop) -> web.StreamResponse:
        assert before in kept
        return web.WebSocketResponse()

    inside = run_virtual(main)
    numbered = hash(inside)
    after = asyncio.run(live())
    assert before in kept
    assert hash(before) == object.__hash__(before)
    assert hash(inside) == numbered != object.__hash__(inside)
    assert hash(after) == object.__hash__(after)


SCRIPT = """
import json, sys
sys.path[:0] = ["tests"]
from broken.suite import COLUMNS, cases, profile
from conformance.worlds import run_world
from harness.choices import Typical
from harness.run import RunRequest
from test_virtual_ordering import perturb

column = COLUMNS["ga"]
definition = cases()["an_oversized_frame_harms_no_other_call"]
digests = []
for seed in map(int, sys.argv[1:]):
    junk = perturb(seed)
    gateway = profile("reference_impl.app:main")
    request = RunRequest(profile=gateway, stage="virtual", columns=[column], seed=0, knobs={})
    digests.append(run_world(definition, request, column, Typical(), 0).digest)
print(json.dumps(digests))
"""


def test_three_calls_that_end_in_one_instant_give_one_wire() -> None:
    """Three requests wait for one name at one time; aiohttp wakes them from a set."""
    digests = []
    for seeds in (range(5), range(100, 105)):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *map(str, seeds)], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        digests += json.loads(done.stdout.splitlines()[-1])
    assert len(digests) == 10
    assert len(set(digests)) == 1
