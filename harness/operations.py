"""What is asked of a gateway: an operation of its profile, performed in the way that the profile says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from harness.driver import Answer, DriverFault, GatewayHandle, OperationFailed, OperationRefused, fault, load_driver
from harness.profile import ProfileError, SocketTable, Way, render, render_all
from harness.profiles.templates import located
from harness.talk import fill as put
from harness.talk import find
from harness.virtual.network import PARTY

SECONDS = 30.0
"""How long a command, a WebSocket RPC or a driver may take when the profile does not say."""

OPERATION = "gateway.operation"
"""The channel of what is asked in another way than by an HTTP request of ours."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Record(Protocol):
    """Where messages are recorded, as `Wire.record`."""

    def __call__(
        self,
        source: str,
        target: str,
        channel: str,
        kind: str,
        body: str | bytes | None = None,
        *,
        connection: str = "",
        meta: dict[str, Any] | None = None,
    ) -> Any: ...


class Operator:
    """Somebody who asks a gateway for something; what is asked and answered is recorded.

    `party`: who it is on the wire. `commands`: whether commands can be run, which take another process.
    """

    def __init__(
        self, http: aiohttp.ClientSession, record: Record, *, party: str = "operator", commands: bool = True
    ) -> None:
        self._http = http
        self._record = record
        self._party = party
        self._commands = commands

    async def perform(
        self,
        way: Way,
        gateway: GatewayHandle,
        fill: Mapping[str, str],
        *,
        key: str,
        connection: str,
        typed: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Ask. `fill`: what is filled in besides settings; `typed`: what keeps its type where a template is nothing but
        it. `key`: where in the profile the way is written. `connection`: its name on the wire.

        Raises `OperationFailed` when the gateway cannot be reached or takes too long, `ProfileError` for a way that
        cannot be gone, `DriverFault` for an error of the profile's driver.
        """
        asking = _Asking(self, way, gateway, fill, typed or {}, key, connection)
        token = PARTY.set(self._party)
        try:
            async with asyncio.timeout(way.timeout if way.timeout or way.kind == "request" else SECONDS):
                return await asking.perform()
        except TimeoutError:
            raise OperationFailed(f"{key}: the gateway gave no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise OperationFailed(f"{key}: {type(error).__name__}: {error}") from None
        finally:
            PARTY.reset(token)

    def asks(
        self, channel: str, connection: str, body: str | None, meta: dict[str, Any] | None = None
    ) -> Callable[[int, str | None, Mapping[str, Any]], None]:
        """Record a request; returns what records its answer (status, body, more about it)."""
        self._record(self._party, "gateway", channel, "request", body, connection=connection, meta=meta or {})

        def answered(status: int, text: str | None, more: Mapping[str, Any]) -> None:
            told = {"status": status, **more}
            self._record("gateway", self._party, channel, "response", text, connection=connection, meta=told)

        return answered

    @property
    def http(self) -> aiohttp.ClientSession:
        """What requests are made with."""
        return self._http

    @property
    def can_run_commands(self) -> bool:
        """Whether another process can be started from here."""
        return self._commands


class _Asking:
    """One request to the gateway."""

    def __init__(
        self,
        operator: Operator,
        way: Way,
        gateway: GatewayHandle,
        fill: Mapping[str, str],
        typed: Mapping[str, Any],
        key: str,
        connection: str,
    ) -> None:
        self._operator = operator
        self._way = way
        self._gateway = gateway
        self._more = fill
        self._typed = typed
        self._key = key
        self._connection = connection
        kept = {name: f"{{{name}}}" for name in typed}
        self._values = {**gateway.values, **fill, **kept}

    async def perform(self) -> Answer:
        if self._way.request is not None:
            return await self._request(self._way.request)
        if self._way.command is not None:
            return await self._command(self._way.command)
        if self._way.socket is not None:
            return await self._socket(self._way.socket)
        if self._way.driver is not None:
            return await self._driver(self._way.driver)
        raise ProfileError(f"{self._where()}: there is nothing to perform")

    def _fill(self, text: str) -> str:
        return render(text, self._values, self._key, self._gateway.folder)

    def _filled(self, template: Any) -> Any:
        return put(render_all(template, self._fill), self._typed)

    def _where(self, part: str = "") -> str:
        key = f"{self._key}.{part}" if part else self._key
        return located(self._gateway.folder / "profile.toml", key, self._gateway.version)

    def _url(self, text: str, scheme: str) -> str:
        """An address at the gateway: of a path, or of another of its ports."""
        url = self._fill(text)
        base = urlsplit(self._gateway.url)
        if url.startswith("/"):
            return f"{scheme}://{base.netloc}{url}"
        parts = urlsplit(url)
        host = parts.netloc.rpartition(":")[0] or parts.netloc
        if host in LOOPBACK and base.hostname and base.hostname != "127.0.0.1":
            # On the virtual stage every party has an address of its own.
            port = f":{parts.port}" if parts.port else ""
            return parts._replace(netloc=f"{base.hostname}{port}").geturl()
        return url

    # -- the ways

    async def _request(self, request: str) -> Answer:
        method, _, path = request.partition(" ")
        url = self._url(path, "http")
        headers = {key: self._fill(value) for key, value in self._way.headers.items()}
        body = self._filled(self._way.json)
        form = self._filled(self._way.form)
        text = json.dumps(body) if body is not None else None
        if form is not None:
            text = "&".join(f"{key}={value}" for key, value in form.items())
        answered = self._operator.asks("gateway.http", self._connection, text, {"method": method, "url": url})
        options: dict[str, Any] = {"json": body} if form is None else {"data": form}
        async with self._operator.http.request(method, url, headers=headers, **options) as answer:
            told = await answer.text()
        answered(answer.status, told, {"headers": list(answer.headers.items())})
        return Answer(answer.status, _parsed(told))

    async def _command(self, template: list[str]) -> Answer:
        if not self._operator.can_run_commands:
            raise ProfileError(f"{self._where('command')}: a command takes another process: use --stage live")
        gateway = self._gateway
        places = {"python": sys.executable, "profile": str(gateway.folder), "cache": str(gateway.cache)}
        self._values = {**self._values, **places, "home": str(gateway.home), "version": gateway.version}
        command = [self._fill(part) for part in template]
        answered = self._operator.asks(OPERATION, self._connection, json.dumps({"command": command}))
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=gateway.folder,
                env=dict(gateway.environment) or None,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ProfileError(f"{self._where('command')}: {command[0]}: {error.strerror or error}") from None
        try:
            out, errors = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        text = out.decode("utf-8", "replace").strip()
        status = 200 if process.returncode == 0 else 400
        if status != 200:
            text = "\n".join(part for part in (text, errors.decode("utf-8", "replace").strip()) if part)
        answered(status, text, {"exit_status": process.returncode})
        return Answer(status, _parsed(text))

    async def _socket(self, table: SocketTable) -> Answer:
        url = self._url(table.url, "ws")
        headers = {key: self._fill(value) for key, value in table.headers.items()}
        messages = [self._filled(message) for message in table.send]
        wanted = self._filled(table.answer)
        answered = self._operator.asks(OPERATION, self._connection, json.dumps(messages), {"url": url})
        try:
            async with self._operator.http.ws_connect(url, headers=headers, max_msg_size=0) as socket:
                body: Any = None
                for position, message in enumerate(messages):
                    await socket.send_str(json.dumps(message))
                    if position == len(messages) - 1:
                        body = await _message(socket, wanted)
                    elif "id" in message:
                        told = await _message(socket, {"id": message["id"]})
                        if _says_no(told, table):
                            body = told
                            break
        except aiohttp.WSServerHandshakeError as error:
            answered(error.status, None, {})
            return Answer(error.status)
        except _Closed as error:
            raise OperationFailed(f"{self._key}: {error}") from None
        status = 400 if _says_no(body, table) else 200
        answered(status, json.dumps(body), {})
        return Answer(status, body)

    async def _driver(self, reference: str) -> Answer:
        what = {"driver": reference, **self._more, **self._typed}
        driver = load_driver(self._gateway.folder, reference)
        answered = self._operator.asks(OPERATION, self._connection, json.dumps(what))
        arguments = {**self._more, **{name: str(value) for name, value in self._typed.items()}}
        answer = await drive(self._gateway, reference, driver(self._gateway, **arguments))
        if not isinstance(answer, Answer):
            file = self._gateway.folder / reference.rpartition(":")[0]
            raise DriverFault(f"{file}: {reference.rpartition(':')[2]} returned {type(answer).__name__}, not an Answer")
        answered(answer.status, _text(answer.body), {})
        return answer


async def drive(gateway: GatewayHandle, reference: str, running: Any) -> Any:
    """What a driver returns; an `Answer` where it says that the gateway refused.

    Raises what means that the gateway cannot be reached (OSError, TimeoutError, aiohttp's ClientError), and
    `DriverFault` for anything else.
    """
    try:
        return await running
    except OperationRefused as refused:
        return refused.answer
    except aiohttp.InvalidURL as error:
        raise fault(gateway.folder / Path(reference.rpartition(":")[0]), error) from error
    except (OSError, TimeoutError, aiohttp.ClientError, OperationFailed, ProfileError):
        raise
    except Exception as error:
        raise fault(gateway.folder / Path(reference.rpartition(":")[0]), error) from error


class _Closed(Exception):
    """The gateway closed the WebSocket."""


async def _message(socket: aiohttp.ClientWebSocketResponse, wanted: Mapping[str, Any]) -> Any:
    """The first message in which every path has its value."""
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue
        told = _parsed(message.data)
        if all(find(told, path) == value for path, value in wanted.items()):
            return told
    said = ", ".join(f"{path} = {value!r}" for path, value in wanted.items())
    raise _Closed(f"the gateway closed the WebSocket with {socket.close_code} before an answer with {said} came")


def _says_no(told: Any, table: SocketTable) -> bool:
    if table.refused is not None:
        return all(find(told, path) == value for path, value in table.refused.items())
    return find(told, "error") is not None or find(told, "ok") is False


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(body: Any) -> str | None:
    return body if body is None or isinstance(body, str) else json.dumps(body, default=str)
