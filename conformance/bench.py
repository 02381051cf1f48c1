"""`callproof bench`: worlds per second, measured side by side in one run, on one core of this machine.

Rates are per CPU second of this process, so that they do not depend on what else the machine does. They are for
comparing two versions on one machine; no test asserts them.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import aiohttp
from aiohttp import web
from rich.console import Console
from rich.table import Table

from conformance.asking import ask, choose_columns
from conformance.assembly import PhoneWorld, make_knobs
from conformance.bench_openai import events_per_second, handshakes_per_second, sessions_held
from conformance.worlds import run_world
from fakes.people.person import Person
from fakes.ports import Ports
from fakes.twilio.boundary import PhoneNumber
from fakes.twilio.core import Twilio
from fakes.twilio.server import TwilioServer
from harness.choices import Choices, Seeded, Typical
from harness.clock import WorldClock
from harness.gates import Gates
from harness.live.process import free_port
from harness.live.steady import without_pauses
from harness.suite import CaseDefinition, Checks, Outcome
from harness.virtual import VirtualLoop, run_virtual
from harness.virtual.network import PARTY
from harness.wire import Wire

T = TypeVar("T")
GOALS = {"race": 300.0, "call": 10.0, "live": 200.0}
LATENESS_MS = 5.0
EXCHANGES, SOCKETS = 7, 2
"""What crosses the network in a world of `race`: an order, a create of the call, and five webhooks."""
STEPS = (50, 100, 150, 200, 250, 300, 400)


async def race(world: PhoneWorld, check: Checks) -> None:
    """An outbound call with its four webhooks and both WebSockets, up to the greeting, without audio."""
    callee = world.callee()
    await world.order_call(callee.number)
    await callee.connected(within=15)
    await world.sees("response.create", source="gateway", within=10)
    callee.hang_up()
    await world.settled()


async def call(world: PhoneWorld, check: Checks) -> None:
    """A call of 30 s: greeting, a long question, a long answer, another question; every frame of 20 ms both ways."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("long_story")
    await caller.hears("long_answer", within=25)
    caller.start_saying("what_time")
    await world.passes(max(0.0, 30 - world.clock.now()))
    caller.hang_up()


def _rate(story: Callable[[PhoneWorld, Checks], Awaitable[None]], audio: bool, seconds: float) -> tuple[float, Outcome]:
    """Worlds per CPU second, and the last world."""
    request = ask(gateway="reference")
    column = choose_columns(["gpt-realtime-2"], None)[0]
    definition = CaseDefinition(name="bench", story="", run=story, about="LIFE-009", audio=audio)
    run_world(definition, request, column, Typical(), 0)

    def world(number: int) -> Outcome:
        outcome = run_world(definition, request, column, Seeded(number), number)
        if outcome.error or outcome.checks.failed():
            raise RuntimeError(f"the bench's own world {number} went wrong: {outcome.error or outcome.checks.failed()}")
        return outcome

    return _per_cpu_second(world, seconds)


def _per_cpu_second(world: Callable[[int], T], seconds: float) -> tuple[float, T]:
    """How many worlds, numbered from 1, go into a second of this process's CPU time, and what came of the last."""
    worlds = 0
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        worlds += 1
        last = world(worlds)
    return worlds / spent, last


def _alone(seconds: float) -> float:
    """As `race`, but of the same exchanges with aiohttp at both ends and nothing else: no rules, nobody who judges."""
    form = dict.fromkeys(("CallSid", "AccountSid", "From", "To", "CallStatus", "Direction"), "value")

    async def answer(request: web.Request) -> web.Response:
        await request.post()
        return web.Response(text="<Response/>", content_type="text/xml")

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def main(loop: VirtualLoop) -> None:
        app = web.Application()
        app.router.add_post("/", answer)
        app.router.add_get("/", stream)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, port=80).start()
        # Twilio opens a connection for every webhook.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            for _ in range(EXCHANGES):
                async with session.post("http://127.0.0.1/", data=form) as response:
                    await response.text()
            for _ in range(SOCKETS):
                async with session.ws_connect("ws://127.0.0.1/") as socket:
                    await socket.send_str("session.update")
                    await socket.receive_str()
        await runner.cleanup()

    return _per_cpu_second(lambda _: run_virtual(main), seconds)[0]


def _shares(seconds: float) -> dict[str, float]:
    """What part of the CPU time of `race` worlds each party takes: the gateway under test, the fakes, the harness.

    The stack is looked at every millisecond of CPU time; whoever's task or callback it is, it is his.
    """
    seen: Counter[str] = Counter()
    before = signal.signal(signal.SIGPROF, lambda number, frame: seen.update([PARTY.get()]))
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    try:
        _rate(race, False, seconds)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return {party: count / seen.total() for party, count in seen.items()}


def run_bench(seconds: float, live: bool) -> None:
    """Measure and print."""
    gc.collect()
    gc.freeze()  # what was imported need not be looked through again and again
    console = Console()
    table = Table("what", "measured", "goal", title="callproof bench, one core", title_justify="left")
    with console.status("race worlds"):
        races, outcome = _rate(race, False, seconds)
    webhooks = sum(1 for m in outcome.messages if m.channel == "twilio.webhook" and m.kind == "request")
    table.add_row(
        f"race worlds ({webhooks} webhooks, two WebSockets, no audio)", f"{races:,.0f} /CPU s", f"{GOALS['race']:,.0f}"
    )
    with console.status("whose time it is"):
        own = _shares(seconds)["gateway"]
    table.add_row(f"at most, were callproof free: the gateway itself takes {own:.0%}", f"{races / own:,.0f} /CPU s", "")
    with console.status("aiohttp alone"):
        alone = _alone(seconds)
    exchanges = f"{EXCHANGES} exchanges and {SOCKETS} WebSockets"
    table.add_row(f"the same {exchanges} through aiohttp, and nothing else", f"{alone:,.0f} /CPU s", "")
    with console.status("calls with full audio"):
        calls, outcome = _rate(call, True, seconds)
    frames = sum(1 for m in outcome.messages if m.kind in ("media", "input_audio_buffer.append"))
    table.add_row(
        f"three-party calls of {outcome.seconds:.0f} s, full audio ({frames:,} frames)",
        f"{calls:,.1f} /CPU s",
        f"{GOALS['call']:,.0f}",
    )
    table.add_row("virtual time over real time, one such call", f"{calls * outcome.seconds:,.0f} ×", "")
    with console.status("OpenAI sessions"):
        events, held = events_per_second(seconds), sessions_held()
    table.add_row("OpenAI: events through one session, over its WebSocket", f"{events:,.0f} /CPU s", "")
    table.add_row("OpenAI: sessions held at once, each spoken to and answering", f"{held:,.0f} /core", "")
    if live:
        with console.status("WebRTC handshakes"):
            answered, whole = asyncio.run(handshakes_per_second(seconds))
        table.add_row("OpenAI: SDP offers answered", f"{answered:,.0f} /CPU s", "")
        table.add_row("OpenAI: whole WebRTC handshakes, both ends", f"{whole:,.0f} /CPU s", "")
        with console.status("live calls"):
            most, lateness = asyncio.run(_live(console))
        table.add_row(
            f"live paced calls at once, p99 lateness of frames {lateness:.1f} ms (limit {LATENESS_MS:g} ms)",
            f"{most:,}",
            f"{GOALS['live']:,.0f}",
        )
    console.print(table)


async def _live(console: Console) -> tuple[int, float]:
    """The most calls at once whose frames leave in time, and how late their 99th percentile is, in ms."""
    best, late = 0, 0.0
    for count in STEPS:
        with without_pauses():
            lateness = await _paced(count, 4.0)
        console.print(f"  {count} live calls: p99 lateness {lateness:.2f} ms", style="dim")
        if lateness >= LATENESS_MS:
            break
        best, late = count, lateness
    return best, late


async def _paced(count: int, seconds: float) -> float:
    """Run `count` calls against an echoing gateway in a process of its own; p99 lateness of their frames in ms."""
    port = free_port()
    script = str(Path(__file__).with_name("echo_gateway.py"))
    process = await asyncio.create_subprocess_exec(sys.executable, script, str(port))
    try:
        loop = asyncio.get_running_loop()
        clock = WorldClock(loop, time.time())
        wire = Wire(clock.now)
        ports = Ports(clock, Choices(Seeded(count)), wire, Gates())
        number = PhoneNumber("+14155550100", voice_url=f"http://127.0.0.1:{port}/voice")
        knobs = make_knobs({"twilio.local_urls": "allowed"})
        twilio = Twilio(ports, account_sid="AC" + "0" * 32, auth_token="t", numbers=[number], knobs=knobs)
        server = TwilioServer(twilio)
        await server.start()
        await _listening(port)
        people = [Person(ports, number=f"+1415556{index:04d}") for index in range(count)]
        for person in people:
            person.dial(twilio, number.number)
            await asyncio.sleep(0.004)
        for person in people:
            await person.connected(within=10)
            person.start_saying("long_story")
        await asyncio.sleep(0.5)
        since = clock.now()
        await asyncio.sleep(seconds)
        late = sorted(_lateness(wire, twilio, since))
        for person in people:
            person.hang_up()
        await asyncio.sleep(0.3)
        await server.close()
    finally:
        process.terminate()
        await process.wait()
    return late[int(len(late) * 0.99)] if late else float("inf")


def _lateness(wire: Wire, twilio: Twilio, since: float) -> list[float]:
    """How late each frame left, in ms, by the grid of 20 ms that began with its stream."""
    began = {s.name: s.started_at for c in twilio.calls for s in c.streams if s.started_at is not None}
    late = []
    counts: dict[str, int] = {}
    for message in wire.messages:
        if message.kind == "media" and message.source == "twilio":
            index = counts[message.connection] = counts.get(message.connection, -1) + 1
            if message.at >= since:
                due = began[message.connection] + 0.001 + index * 0.02
                late.append(max(0.0, message.at - due) * 1000)
    return late


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
