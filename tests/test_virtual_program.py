"""What `gateway.python` may name, and that every world has the program's modules to itself."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from harness.profile import Profile, load_profile
from harness.stage import Ended, GatewayNotStartable
from harness.virtual.stage import VirtualStage

PROGRAM = """
import asyncio, logging, os, random, sys

import shelf

KEY = os.environ["OPENAI_API_KEY"]
LUCK = random.random()
print("imported with", KEY)
logging.getLogger("my.program").addHandler(logging.StreamHandler())
logging.getLogger("my.program").warning("one line")

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            print("lifespan", message["type"])
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    shelf.visits.append(scope["path"])
    body = f"{KEY} {len(shelf.visits)} {LUCK}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

class Instance:
    async def __call__(self, scope, receive, send):
        await asgi(scope, receive, send)

instance = Instance()
namespace = type("Namespace", (), {"app": instance})

def factory():
    return instance

async def async_factory(debug=False):
    await asyncio.sleep(0.5)
    return asgi

def aiohttp_factory():
    from aiohttp import web
    async def hello(request):
        shelf.visits.append("/")
        return web.Response(text=f"{KEY} {len(shelf.visits)} {LUCK}")
    app = web.Application()
    app.router.add_get("/", hello)
    return app

aiohttp_app = aiohttp_factory()

def wsgi(environ, start_response):
    return []

def returns_nothing():
    pass

def returns_a_word():
    return "application"

def own_loop():
    import uvicorn
    uvicorn.run(asgi, port=8080)

async def exits():
    sys.exit("no configuration")

async def exits_in_peace():
    sys.exit(0)

async def broken_lifespan(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is away"})

number = 5
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Profile]:
    """The profile of a program with this entry point, in a folder that is nowhere on the path."""

    def make(entry: str, more: str = "") -> Profile:
        (tmp_path / "program.py").write_text(PROGRAM)
        (tmp_path / "shelf.py").write_text("visits = []\n")
        (tmp_path / "profile.toml").write_text(
            f'[gateway]\nname = "toy"\npython = "program:{entry}"\n{more}\n'
            "ready = { port = true, timeout = 5 }\nstop_timeout = 3\n"
            '[settings]\nopenai.api_key = "$OPENAI_API_KEY"\n'
        )
        return load_profile(tmp_path)

    return make


def run(profile: Profile, key: str = "sk-planted", seed: int = 0) -> tuple[str, str, Ended]:
    """Start it, ask for `/` twice, stop it: the second answer, what it printed, how it ended."""
    stage = VirtualStage(seed=seed)

    async def world() -> tuple[str, str, Ended]:
        values = {**await stage.prepare_gateway(), "openai.api_key": key}
        running = await stage.start_gateway(profile, values)
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.get(running.url) as answer:
                    text = await answer.text()
        ended = await running.stop()
        return text, running.output(), ended

    return stage.run(world)


@pytest.mark.parametrize(
    "entry",
    ["asgi", "instance", "namespace.app", "factory", "async_factory", "aiohttp_app", "aiohttp_factory"],
)
def test_an_application_is_served(program: Callable[..., Profile], entry: str) -> None:
    text, output, ended = run(program(entry))
    assert text.split()[:2] == ["sk-planted", "2"]
    assert ended.clean, ended.left
    assert output.count("imported with sk-planted") == 1
    if "aiohttp" not in entry:
        assert output.index("lifespan lifespan.startup") < output.index("GET / HTTP/1.1")
        assert output.index("GET / HTTP/1.1") < output.index("lifespan lifespan.shutdown")


def test_every_world_has_modules_of_its_own(program: Callable[..., Profile]) -> None:
    """Settings that are read at import, what is kept at the top of a module, and what chance gave it."""
    profile = program("asgi")
    path, modules = sys.path[:], set(sys.modules)
    first, second, again = run(profile, "sk-one", 1)[0], run(profile, "sk-two", 2)[0], run(profile, "sk-one", 1)[0]
    assert first.split()[:2] == ["sk-one", "2"]
    assert second.split()[:2] == ["sk-two", "2"]
    assert first == again, "also the first import of a process has the world's own entropy"
    assert first.split()[2] != second.split()[2]
    assert sys.path == path
    assert {"program", "shelf"}.isdisjoint(sys.modules.keys() - modules)


def test_a_program_that_says_so_is_imported_once(program: Callable[..., Profile]) -> None:
    profile = program("asgi", "reimport = false")
    try:
        assert run(profile, "sk-one")[0].split()[:2] == ["sk-one", "2"]
        assert run(profile, "sk-two")[0].split()[:2] == ["sk-one", "4"]
    finally:
        del sys.modules["program"], sys.modules["shelf"]
        logging.getLogger("my.program").handlers.clear()


def test_handlers_of_loggers_do_not_pile_up(program: Callable[..., Profile]) -> None:
    outputs = [run(program("asgi"))[1] for _ in range(3)]
    assert [output.count("one line") for output in outputs] == [1, 1, 1]
    assert logging.getLogger("my.program").handlers == []


def test_a_module_of_the_same_name_is_put_back(
    program: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = types.ModuleType("program")
    monkeypatch.setitem(sys.modules, "program", mine)
    assert run(program("asgi"))[0].split()[:2] == ["sk-planted", "2"]
    assert sys.modules["program"] is mine


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("wsgi", r"is a WSGI application \(Flask, Django\).*--stage live"),
        ("number", "'program:number' name an ASGI application"),
        ("returns_nothing", "returned None: name an ASGI application"),
        ("returns_a_word", "returned 'application': name an ASGI application"),
        ("own_loop", "runs an event loop of its own .*: name an ASGI application"),
        ("exits", "died at its start: RuntimeError: it ended with exit status no configuration"),
        ("exits_in_peace", "died at its start: its entry point returned"),
        ("broken_lifespan", "(?s)died at its start: RuntimeError: it ended with exit status 3.*the database is away"),
        ("namespace.gone", "'program:namespace.gone' cannot be imported: AttributeError"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_what_cannot_be_served_is_explained(program: Callable[..., Profile], entry: str, message: str) -> None:
    with pytest.raises(GatewayNotStartable, match=message):
        run(program(entry))


def test_uvicorn_is_asked_for_where_it_is_missing(
    program: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(GatewayNotStartable, match="uvicorn, which serves it, is not installed: pip install uvicorn"):
        run(program("asgi"))


def test_an_installed_package_takes_none_of_its_neighbours_along(tmp_path: Path) -> None:
    """A gateway that was installed by pip has everything else that is installed beside it."""
    folder = tmp_path / "site-packages"
    (folder / "gateway_package").mkdir(parents=True)
    (folder / "gateway_package" / "__init__.py").write_text("import neighbour\n")
    (folder / "gateway_package" / "app.py").write_text(PROGRAM.replace("import shelf", "from . import shelf"))
    (folder / "gateway_package" / "shelf.py").write_text("visits = []\n")
    (folder / "neighbour.py").write_text("made = []\n")
    (tmp_path / "profile.toml").write_text(
        '[gateway]\nname = "toy"\npython = "gateway_package.app:asgi"\n[settings]\nopenai.api_key = "$OPENAI_API_KEY"\n'
    )
    sys.path.insert(0, str(folder))
    try:
        profile = load_profile(tmp_path)
        assert run(profile, "sk-one")[0].split()[:2] == ["sk-one", "2"]
        neighbour = sys.modules["neighbour"]
        assert run(profile, "sk-two")[0].split()[:2] == ["sk-two", "2"]
        assert sys.modules["neighbour"] is neighbour
        assert not [name for name in sys.modules if name.startswith("gateway_package")]
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("neighbour", None)
