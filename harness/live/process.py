"""A gateway as a child process: started, watched until it is ready, ended for certain.

The child gets a session of its own, so that ending it ends whatever it started as well, and dies with this process
even when this one is killed.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import aiohttp

from harness.profile import Profile
from harness.stage import VENDOR_SETTING, Ended, GatewayNotStartable

KILL_SECONDS = 2.0
"""How long a killed process gets to be gone."""

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would lead a gateway astray: proxies, and vendor settings of a user.

    Without that, a developer's own OPENAI_API_KEY would reach a gateway under test.
    """
    proxy = re.compile(r"(https?|all|no|ftp)_proxy$", re.IGNORECASE)
    kept = {k: v for k, v in os.environ.items() if not VENDOR_SETTING.match(k) and not proxy.match(k)}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


class GatewayProcess:
    """One running gateway process."""

    def __init__(self, profile: Profile, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._profile = profile
        self._port = port
        self._process: asyncio.subprocess.Process
        self._output = bytearray()
        self._reader: asyncio.Task[None]
        self._ended: asyncio.Task[int]
        self._printed = asyncio.Event()
        self._lacking = _name(profile)
        self._begun = 0
        self._home: Path | None = None
        self.environment: Mapping[str, str] = {}
        self.state: dict[str, Any] = {}

    async def launch(self, values: Mapping[str, str], environment: Mapping[str, str]) -> None:
        """Start it with these settings: with a home of its own, the profile's files written. See `start`.

        `environment`: what it has to find besides what its profile says. Raises `ProfileError` as well.
        """
        self._home = Path(mkdtemp(prefix="callproof-home-"))
        try:
            launch = self._profile.launch(values, home=self._home)
            launch.write_files()
            await self.start([*launch.command, *launch.arguments], {**environment, **launch.environment})
        except BaseException:
            self._forget_home()
            raise

    def _forget_home(self) -> None:
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)

    @property
    def home(self) -> Path | None:
        """The folder that is its home, where it has one of its own."""
        return self._home

    def begin(self) -> None:
        """A new world begins: what was printed so far is of another one."""
        self._begun = len(self._output)

    async def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it and wait until it is ready. Raises `GatewayNotStartable`; leaves nothing behind when it does."""
        self.environment = clean_environment(environment)
        # A pipe of our own: with asyncio's, the end of the process is seen only when its children have let go of it.
        source, sink = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self._profile.directory,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except BaseException as error:
            os.close(source)
            if not isinstance(error, OSError):
                raise
            raise GatewayNotStartable(
                f"gateway {self._profile.name} cannot be started: {command[0]}: {error.strerror or error}; check "
                f"gateway.command in {self._profile.folder / 'profile.toml'}"
            ) from None
        finally:
            os.close(sink)
        self._reader = asyncio.create_task(self._read(source), name="gateway output")
        self._ended = asyncio.create_task(self._process.wait(), name="gateway ends")
        ready = self._profile.gateway.ready
        try:
            async with asyncio.timeout(ready.timeout):
                await self._until_ready()
        except TimeoutError:
            await self.stop()
            raise GatewayNotStartable(
                f"gateway {self._profile.name} was not ready within {ready.timeout:g} s (waited for "
                f"{self._lacking}){self.tail()}"
            ) from None
        except BaseException:
            await self.stop()
            raise

    async def _read(self, source: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb")
        )
        try:
            while chunk := await reader.read(65536):
                self._output += chunk
                self._printed.set()
        finally:
            transport.close()

    async def _until_ready(self) -> None:
        ready = self._profile.gateway.ready
        probe = asyncio.create_task(self._probe(ready.log, ready.http))
        try:
            await asyncio.wait({self._ended, probe}, return_when=asyncio.FIRST_COMPLETED)
            if not probe.done():
                await self._kill()
                raise GatewayNotStartable(
                    f"gateway {self._profile.name} died at its start with exit status {self._process.returncode}"
                    f"{self.tail()}"
                )
            probe.result()
        finally:
            probe.cancel()

    async def _probe(self, log: str | None, http: str | None) -> None:
        if log is not None:
            pattern = re.compile(log)
            while not pattern.search(self.output()):
                self._printed.clear()
                await self._printed.wait()
            # It says that it listens. Where, is not said: a port that the profile does not set is found out here, and
            # not by callers who are not answered.
            self._lacking = f"port {self._port} to open, the one of settings.listen.port; {log!r} was printed"
        pause = 0.02
        async with aiohttp.ClientSession(trust_env=False) as session:
            while True:
                try:
                    if http is None:
                        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                        writer.close()
                        return
                    async with session.get(self.url + http, allow_redirects=False) as answer:
                        if answer.status < 500:
                            return
                except (OSError, aiohttp.ClientError):
                    pass
                # A process that is starting gives no other sign than that it answers, so it is asked again.
                await asyncio.sleep(pause)
                pause = min(0.25, pause * 1.5)

    def output(self) -> str:
        """What it has printed in this world; its home, which is another one at every start, is told as ~."""
        told = self._output[self._begun :].decode("utf-8", "replace")
        return told if self._home is None else told.replace(str(self._home), "~")

    def tail(self) -> str:
        lines = self.output().strip().splitlines()[-12:]
        return "\nits last output:\n  " + "\n  ".join(lines) if lines else "\nit printed nothing"

    def died(self) -> str | None:
        code = self._process.returncode
        return None if code is None else f"it ended with exit status {code}"

    def left(self) -> list[str]:
        """A process is asked through its health request, not from outside."""
        return []

    async def stop(self) -> Ended:
        """SIGTERM, then after `stop_timeout` SIGKILL, to the whole session."""
        timeout = self._profile.gateway.stop_timeout
        left: list[str] = []
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._ended)
                await self._session_ends()
        except TimeoutError:
            who = "it" if self._process.returncode is None else "a process that it started"
            left.append(f"{who} did not end within {timeout:g} s of SIGTERM and was killed")
        left += await self._kill()
        self._forget_home()
        return Ended(clean=not left, left=left, status=self._process.returncode)

    async def _kill(self) -> list[str]:
        """End everything at once; returns what cannot be ended."""
        self._signal(signal.SIGKILL)
        _, running = await asyncio.wait({self._ended, self._reader}, timeout=KILL_SECONDS)
        for task in running:
            task.cancel()
        if self._reader in running:
            return ["something that it started left its session and still holds its output"]
        return []

    async def _session_ends(self) -> None:
        """Wait for the rest of the session: a wrapper (a shell, npm) may be gone before the program that it started."""
        while True:
            if not self._session():
                return
            # The kernel tells the end of a process to its parent only, and that is not us.
            await asyncio.sleep(0.02)

    def _session(self) -> list[int]:
        """The processes of the gateway's session that run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # pid (name) state ppid pgrp session ...; the name may hold anything, parentheses too.
                state, _, _, session = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            except OSError:
                continue  # it ended meanwhile
            if int(session) == self._process.pid and state not in "ZX":
                found.append(int(folder.name))
        return found

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        for pid in self._session():
            # Shells with job control put their children into groups of their own.
            with suppress(ProcessLookupError):
                if os.getpgid(pid) != self._process.pid:
                    os.kill(pid, number)


def _name(profile: Profile) -> str:
    ready = profile.gateway.ready
    if ready.log is not None:
        return f"a line of output that matches {ready.log!r}"
    return f"GET {ready.http}" if ready.http is not None else "its port to open"


async def run_setup(profile: Profile) -> Path:
    """Run the profile's setup commands, once for each version of them. Raises `GatewayNotStartable`."""
    done = profile.cache / ".installed"
    if not profile.gateway.setup or done.exists():
        return profile.cache
    profile.cache.mkdir(parents=True, exist_ok=True)
    for command in profile.setup_commands():
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=profile.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise GatewayNotStartable(
                f"setup of gateway {profile.name}: {command[0]}: {error.strerror or error}"
            ) from None
        output, _ = await process.communicate()
        if process.returncode:
            tail = "\n  ".join(output.decode("utf-8", "replace").strip().splitlines()[-12:])
            raise GatewayNotStartable(
                f"setup of gateway {profile.name}: `{' '.join(command)}` ended with {process.returncode}:\n  {tail}"
            )
    done.touch()
    return profile.cache
