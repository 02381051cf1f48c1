"""Drivers: Python files of a profile for what cannot be said in a template.

A driver is an async function of a file in the profile's folder. It gets a `GatewayHandle`, and by name what is to be
filled in; it returns an `Answer`, or for `[talk.relay]` an open `RelayConnection`::

    from harness.driver import Answer, GatewayHandle

    async def call(gateway: GatewayHandle, *, to: str) -> Answer:
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{gateway.url}/dial", json={"number": to}) as answer:
                return Answer(answer.status, await answer.json())
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from harness.profiles.errors import ProfileError, nearest


@dataclass(frozen=True, slots=True)
class GatewayHandle:
    """What a driver gets of a gateway that is up.

    `url`: http://127.0.0.1:PORT. `values`: the settings of this world. `output`: all that the gateway has printed.
    `environment`: what it was started with. `state`: empty for each gateway that is started; a driver keeps there what
    outlives one world (a pairing, a device key), never a connection or a task.
    """

    url: str
    values: Mapping[str, str]
    home: Path
    cache: Path
    folder: Path
    version: str
    output: Callable[[], str]
    state: dict[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway answered. `status` as of HTTP: a driver maps refusals to 4xx and 5xx. `body` is JSON or text."""

    status: int
    body: Any = None


class OperationRefused(Exception):
    """The gateway said no; what it said is in `answer`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {str(answer.body)[:300]}")
        self.answer = answer


class OperationFailed(AssertionError):
    """The gateway did not answer: it could not be reached, or not in time."""


class DriverFault(RuntimeError):
    """A driver raised what it should not have. The message names its file and line: the profile is to be mended."""


class RelayConnection(Protocol):
    """One open relay, between a browser and the gateway."""

    @property
    def close_code(self) -> int | None:
        """The code with which it was closed, None while it is open."""
        ...

    @property
    def close_reason(self) -> str:
        """Why it was closed, if that was said."""
        ...

    async def send(self, frame: str | bytes) -> None:
        """Send a frame, as the templates of `[talk.relay]` make it. ConnectionError when it is closed."""
        ...

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """The frames that come; ends when the relay is closed."""
        ...

    async def close(self) -> None:
        """Close it, as a page does that is left."""
        ...


Driver = Callable[..., Awaitable[Any]]


def signature(name: str, takes: Sequence[str], returns: str) -> str:
    """How a driver is written: `async def call(gateway: GatewayHandle, *, to: str) -> Answer`."""
    keywords = f", *, {', '.join(f'{each}: str' for each in takes)}" if takes else ""
    return f"async def {name}(gateway: GatewayHandle{keywords}) -> {returns}"


def check_driver(file: Path, name: str, takes: Sequence[str], returns: str) -> str | None:
    """What is wrong with a driver, as far as its text shows; None for nothing. Nothing of it is run."""
    write = f"write `{signature(name, takes, returns)}`"
    try:
        module = ast.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{file} does not exist; {write} there"
    except SyntaxError as error:
        return f"{file}:{error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return f"{file} cannot be read: {error}"
    found: dict[str, ast.stmt] = {}
    for statement in module.body:
        if isinstance(statement, ast.AsyncFunctionDef | ast.FunctionDef | ast.ClassDef):
            found[statement.name] = statement
    function = found.get(name)
    if function is None:
        if _binds(module, name):
            return None
        near = nearest(name, [each for each, what in found.items() if isinstance(what, ast.AsyncFunctionDef)])
        return f"{file} has no {name}; {write}{near}"
    if not isinstance(function, ast.AsyncFunctionDef):
        return f"{file}:{function.lineno}: {name} is no async function; {write}"
    return None if _accepts(function.args, takes) else f"{file}:{function.lineno}: {name} is called otherwise; {write}"


def _binds(module: ast.Module, name: str) -> bool:
    """Whether a name comes into a module by an import or an assignment."""
    for node in ast.walk(module):
        if isinstance(node, ast.alias) and name in (node.asname or node.name, "*"):
            return True
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            return True
    return False


def _accepts(arguments: ast.arguments, takes: Sequence[str]) -> bool:
    """Whether a function can be called with a handle and these names."""
    positional = [*arguments.posonlyargs, *arguments.args]
    if not positional and arguments.vararg is None:
        return False
    later = positional[1:]
    optional = later[len(later) - len(arguments.defaults) :] if arguments.defaults else []
    required = [a.arg for a in later if a not in optional]
    required += [a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
    known = {a.arg for a in (*arguments.args[1:], *arguments.kwonlyargs)}
    return set(required) <= set(takes) and (arguments.kwarg is not None or set(takes) <= known)


def load_driver(folder: Path, reference: str) -> Driver:
    """The function that `driver.py:call` names. Raises `ProfileError`; `DriverFault` when the file cannot be run."""
    path, _, name = reference.rpartition(":")
    file = folder / path
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        raise ProfileError(f"{file} does not exist") from None
    function = getattr(_module(file, changed), name, None)
    if not inspect.iscoroutinefunction(function):
        what = "has no such function" if function is None else f"{name} is no async function"
        raise ProfileError(f"{file}: {what}: write `async def {name}(gateway: GatewayHandle, ...)`")
    driver: Driver = function
    return driver


@functools.lru_cache(maxsize=64)
def _module(file: Path, changed: int) -> ModuleType:
    """The module of a file, run once for each state of it."""
    key = hashlib.sha256(f"{file}/{changed}".encode()).hexdigest()[:16]
    name = f"callproof_driver_{key}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise fault(file, error) from error
    return module


def fault(file: Path, error: BaseException) -> DriverFault:
    """What is said of an exception of a driver: where in its file it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        where = f"{error.filename}:{error.lineno}"
    else:
        inside = [frame for frame in frames if Path(frame.filename).parent == file.parent]
        where = f"{inside[-1].filename}:{inside[-1].lineno}" if inside else str(file)
    return DriverFault(f"the driver of the profile is at fault: {where}: {type(error).__name__}: {error}")
