"""A gateway that is a Python program: its modules, which every world has anew, and what its entry point is."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import random
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from aiohttp import web

from harness.stage import GatewayNotStartable
from harness.virtual.network import acting_as
from harness.virtual.output import WARMING_UP, lent_loggers

OWN: Final = frozenset({"__main__", "callproof", "conformance", "fakes", "harness"})
"""Modules that are never a gateway's, wherever they lie."""

INSTALLED: Final = frozenset({"site-packages", "dist-packages"})

_warm: set[tuple[str, str]] = set()


class Program:
    """The program of a profile's `gateway.python`, such as `main:app`.

    As with `uvicorn main:app`, modules are looked for in the working directory too; the profile's folder comes first.
    Programs read their settings and keep their calls at the top of modules. So every world has the modules of its
    own: whatever lies beside or below the module that is named (installed packages and callproof excepted) is
    imported again. `reimport = False` is for programs that keep nothing there: their modules are imported once.
    """

    def __init__(self, entry: str, folder: Path, *, reimport: bool) -> None:
        self._entry = entry
        self._module, _, self._name = entry.partition(":")
        self._folder = folder
        self._reimport = reimport

    @contextmanager
    def modules(self) -> Iterator[None]:
        """While it lasts, the program can be imported, and has modules of its own."""
        with ExitStack() as undo:
            for path in (os.getcwd(), str(self._folder)):
                sys.path.insert(0, path)
                undo.callback(sys.path.remove, path)
            if self._reimport:
                undo.enter_context(lent_loggers())
                undo.enter_context(self._modules_apart())
            yield

    @contextmanager
    def _modules_apart(self) -> Iterator[None]:
        mine = self._own_modules()
        taken = mine.take()
        try:
            warm = (self._module, str(self._folder))
            if warm not in _warm:
                # Libraries are imported once in a process, and may draw random numbers; no world shall have them.
                state = random.getstate()
                with lent_loggers():
                    self._import(WARMING_UP)
                random.setstate(state)
                mine.take()
                _warm.add(warm)
            yield
        finally:
            mine.take()
            sys.modules.update(taken)

    def _own_modules(self) -> _Modules:
        top = self._module.partition(".")[0]
        places: list[str] = []
        # Not `importlib.util.find_spec`: another program's module of this name may have been imported already.
        for finder in sys.meta_path:
            spec = finder.find_spec(top, None)
            if spec is not None:
                places = [*(spec.submodule_search_locations or [spec.origin or ""])]
                break
        return _Modules(top, [str(Path(place).parent) for place in places if os.path.isabs(place)])

    def _import(self, party: str) -> Any:
        context = acting_as(party)
        try:
            found: Any = context.run(importlib.import_module, self._module)
            for part in self._name.split("."):
                found = getattr(found, part)
        except (Exception, SystemExit) as error:
            raise GatewayNotStartable(
                f"gateway.python = {self._entry!r} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        return found

    def main(self, host: str, port: int) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Import it; returns what runs it until it is stopped. Raises `GatewayNotStartable`."""
        found = self._import("gateway")
        kind = _kind(found)
        if kind == "wsgi":
            raise self._unusable(
                "is a WSGI application (Flask, Django): it needs threads, so give the profile a `command` and run it "
                "on the live stage (--stage live)"
            )
        if kind == "neither":
            raise self._unusable(_WANTED)

        async def run() -> None:
            try:
                await self._serve(found, kind, host, port)
            except SystemExit as end:
                # Let through, it would end this process.
                if end.code:
                    raise RuntimeError(f"it ended with exit status {end.code}") from end

        return run

    async def _serve(self, found: Any, kind: str, host: str, port: int) -> None:
        if kind == "callable":
            try:
                found = found()
            except RuntimeError as error:
                if "event loop" not in str(error):
                    raise
                raise self._unusable(
                    f"runs an event loop of its own ({error}), and the world has one: {_WANTED}"
                ) from error
            if inspect.isawaitable(found):
                found = await found
                if found is None:
                    return  # it has served
            kind = _kind(found)
        if kind == "asgi":
            await _serve_asgi(found, host, port)
        elif kind == "aiohttp":
            await _serve_aiohttp(found, host, port)
        else:
            raise self._unusable(f"returned {found!r:.60}: {_WANTED}")

    def _unusable(self, why: str) -> GatewayNotStartable:
        return GatewayNotStartable(f"gateway.python = {self._entry!r} {why}")


_WANTED: Final = (
    "name an ASGI application (FastAPI, Starlette), an aiohttp Application, a function without arguments that makes "
    "one, or an async function without arguments that serves until it is cancelled"
)


class _Modules:
    """The modules of a program: those of its top name, and those that lie in its places and were not installed."""

    def __init__(self, top: str, places: Sequence[str]) -> None:
        self._top = top
        installed = any(INSTALLED & set(Path(place).parts) for place in places)
        self._places = () if installed else tuple(place + os.sep for place in places)

    def take(self) -> dict[str, ModuleType]:
        """Take them out of `sys.modules`."""
        mine = [name for name, module in list(sys.modules.items()) if self._has(name, module)]
        return {name: sys.modules.pop(name) for name in mine}

    def _has(self, name: str, module: ModuleType) -> bool:
        top = name.partition(".")[0]
        if top == self._top:
            return True
        file = getattr(module, "__file__", None)
        if top in OWN or not self._places or not isinstance(file, str) or not file.startswith(self._places):
            return False
        return not INSTALLED & set(Path(file).parts)


def _kind(found: Any) -> str:
    if isinstance(found, web.Application):
        return "aiohttp"
    if not callable(found):
        return "neither"
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return "neither"
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in places if p.default is p.empty]
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        return "neither"
    return {0: "callable", 2: "wsgi", 3: "asgi"}.get(len(needed), "neither")


async def _serve_asgi(app: Any, host: str, port: int) -> None:
    """As `uvicorn module:app --host HOST --port PORT` does. Its SIGTERM is that of the world."""
    try:
        import uvicorn  # only who has such a gateway needs it
    except ImportError as error:
        raise GatewayNotStartable(
            "the gateway is an ASGI application, and uvicorn, which serves it, is not installed: pip install uvicorn"
        ) from error
    await uvicorn.Server(uvicorn.Config(app, host=host, port=port)).serve()


async def _serve_aiohttp(app: web.Application, host: str, port: int) -> None:
    """As `aiohttp.web.run_app(app, host=HOST, port=PORT)` does."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()
