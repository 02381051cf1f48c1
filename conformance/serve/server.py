"""Everything listens: the vendors on ports of their own, and the control API with its page."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from conformance.assembly import make_knobs
from conformance.serve.bench import NUMBER, Bench
from fakes.knobs import KnobError, Knobs
from harness.run import UsageProblem

CLOSING_SECONDS = 1.0
"""How long whoever is still connected gets when the servers are told to end."""


class CannotListen(RuntimeError):
    """The address or port that was asked for cannot be had."""


async def _listen(app: web.Application, host: str, port: int = 0) -> tuple[web.AppRunner, str]:
    """A running server and its URL. Raises `CannotListen`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSING_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"port {port} on {host} is in use; give another --port, or 0 for a free one") from None
        what = f"port {port} on {host}" if port else f"--host {host}"
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise CannotListen(f"{what} cannot be had: {why}") from None
    return runner, f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"


@asynccontextmanager
async def serving(host: str, port: int, as_of: dt.date, knobs: Knobs) -> AsyncIterator[tuple[Bench, dict[str, str]]]:
    """All vendors on ports of their own, and the control API on `port`; with them what a gateway has to know.

    Raises `CannotListen`.
    """
    bench = Bench(as_of, knobs)
    runners: list[web.AppRunner] = []
    try:
        # First what can go wrong.
        control, control_url = await _listen(bench.app(), host, port)
        runners.append(control)
        openai, openai_url = await _listen(bench.openai_server.app, host)
        runners.append(openai)
        azure, azure_url = await _listen(bench.azure_server.app, host)
        runners.append(azure)
        twilio, twilio_url = await _listen(bench.twilio_server.app, host)
        runners.append(twilio)
        await bench.twilio_server.start()
        bench.ready = {
            "openai.base_url": f"{openai_url}/v1",
            "openai.api_key": bench.api_key,
            "azure.endpoint": azure_url,
            "azure.api_key": bench.azure_key,
            "azure.deployment": bench.azure_deployment,
            "twilio.base_url": twilio_url,
            "twilio.account_sid": bench.twilio.account_sid,
            "twilio.auth_token": bench.twilio.auth_token,
            "twilio.number": NUMBER,
            "control.url": control_url,
        }
        yield bench, bench.ready
    finally:
        bench.stop()
        await bench.openai_server.close()
        await bench.azure_server.close()
        for webrtc in bench.webrtc:
            await webrtc.close()
        await bench.twilio_server.close()
        for runner in runners:
            await runner.cleanup()


def make_bench_knobs(turned: Mapping[str, bool | int | str]) -> Knobs:
    """The vendors' knobs for servers that somebody runs by hand. Raises `UsageProblem`."""
    try:
        # Whoever does that has no public https name: plain URLs on this machine are welcome.
        return make_knobs({"twilio.local_urls": "allowed"}, turned)
    except KnobError as error:
        raise UsageProblem(str(error)) from None


def serve_forever(host: str, port: int, as_of: dt.date, turned: Mapping[str, bool | int | str]) -> None:
    """Serve until SIGINT or SIGTERM. Raises `UsageProblem` for a bad knob, `CannotListen` for a bad address."""
    knobs = make_bench_knobs(turned)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with serving(host, port, as_of, knobs) as (_, ready):
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            await stop.wait()

    asyncio.run(main())
