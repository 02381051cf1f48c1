"""The entry: `main` reads the configuration and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Sequence

from aiohttp import web

from reference_impl.config import Config, ConfigError, load
from reference_impl.gateway import Gateway

SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def main(argv: Sequence[str] | None = None) -> None:
    """Serve as `argv` (the arguments after the program's name) and the environment say. Raises ConfigError."""
    await serve(load(argv or (), os.environ))


async def serve(config: Config, gateway_class: type[Gateway] = Gateway) -> None:
    """Serve until SIGTERM, SIGINT or the cancellation of this task; then end all calls and clean up.

    Raises ConfigError when the address cannot be used.
    """
    gateway = gateway_class(config)
    runner = web.AppRunner(gateway.app(), access_log=None, logger=gateway.log.as_logger(), shutdown_timeout=1.0)
    stop = asyncio.Event()
    await gateway.start()
    handled = _handle_signals(stop)
    try:
        await runner.setup()
        await _listen(runner, config)
        gateway.log.event("gateway.ready", address=str(runner.addresses), model=config.model)
        await stop.wait()
    finally:
        # The server stays up meanwhile: Twilio tells over it that the calls have ended.
        await gateway.close()
        await runner.cleanup()
        for each in handled:
            asyncio.get_running_loop().remove_signal_handler(each)
        gateway.log.event("gateway.stopped")


async def _listen(runner: web.AppRunner, config: Config) -> None:
    try:
        await web.TCPSite(runner, config.host, config.port).start()
    except OSError as error:
        what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        hint = "set gateway.host or gateway.port (GATEWAY_HOST, GATEWAY_PORT) to another one"
        raise ConfigError(f"the address {config.host}:{config.port} {what}; {hint}") from error


def _handle_signals(stop: asyncio.Event) -> list[signal.Signals]:
    """Set `stop` on a signal, where the loop can do that; the signals that are handled."""
    loop = asyncio.get_running_loop()
    try:
        for each in SIGNALS:
            loop.add_signal_handler(each, stop.set)
    except (NotImplementedError, RuntimeError, ValueError):
        # A simulated loop, or not the main thread: whoever runs it cancels the task instead.
        return []
    return list(SIGNALS)
