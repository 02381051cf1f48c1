"""What a project's folder gives away about a gateway: how it is started, what it reads, where it takes calls."""

from __future__ import annotations

import functools
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCES = ("*.js", "*.mjs", "*.cjs", "*.ts", "*.py", "*.go", "*.rb", "*.java", "*.cs", "*.rs", "*.php", "*.ex")
EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist", "env.example", ".env")
SKIPPED = {"node_modules", "dist", "build", "target", "vendor", "venv", "__pycache__", "tests", "test", "callproof"}
FILES, BYTES = 200, 200_000
"""How much of a project is looked at."""

_READ = re.compile(
    r"""process\.env\.([A-Z][A-Z0-9_]*)|environ(?:\.get)?[\[(]\s*["']([A-Z][A-Z0-9_]*)["']|"""
    r"""(?:getenv|GetEnvironmentVariable|Getenv|LookupEnv|env(?:::var)?)\(\s*["']([A-Z][A-Z0-9_]*)["']|ENV(?:\.fetch\(|\[)["']([A-Z][A-Z0-9_]*)["']"""
    r"""|process\.env\[["']([A-Z][A-Z0-9_]*)["']\]|\$\{?([A-Z][A-Z0-9_]*)\}?"""
)
_DESTRUCTURED = re.compile(r"\{([^{}]*)\}\s*=\s*process\.env")
_ROUTE = re.compile(
    r"""\.\s*(get|post|all|any|route|api_route|add_post|add_get|HandleFunc|Handle|MapPost|MapGet)\(\s*["'`](/[^"'`\s]*)["'`]""",
    re.IGNORECASE,
)
_PORT = re.compile(
    r"""(?:PORT["']?\s*[,)\]]*\s*(?:\|\||\?\?|or|,)\s*["']?|\.listen\(\s*\{?\s*(?:port\s*:\s*)?|\bport\s*=\s*["']?|"""
    r"""ListenAndServe\(\s*["']:)(\d{2,5})\b""",
    re.IGNORECASE,
)
_APP = re.compile(r"^(\w+)\s*(?::[^=]+)?=\s*(FastAPI|Starlette|Quart|Flask)\(", re.MULTILINE)


@dataclass(slots=True)
class Guess:
    """What was found. `said`: where, in sentences. `unknown`: variables that nothing is known about."""

    command: str = ""
    voice: str = "/twilio/voice"
    status: str | None = None
    call: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    claims: tuple[str, ...] = ("phone.inbound", "openai.ga")
    unknown: tuple[str, ...] = ()
    port: int | None = None
    is_project: bool = False
    said: list[str] = field(default_factory=list)


@functools.cache
def names() -> Mapping[str, Any]:
    """The names of the field, as `names.toml` has them."""
    return tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))


def guess(folder: Path) -> Guess:
    """Look at a folder. Nothing in it is run, and no value of a variable is kept."""
    found = Guess()
    sources = dict(_sources(folder))
    text = "\n".join(sources.values())
    found.command = _command(folder, sources, found)
    found.is_project = bool(found.command or sources)
    variables = _variables(folder, sources)
    _map(variables, found)
    _route(text, found)
    _claim(text, found)
    if found.settings.get("listen.port") is None and (match := _PORT.search(text)):
        found.port = int(match.group(1))
        found.said.append(f"it listens at port {found.port}, as is written in its code")
    return found


def _sources(folder: Path) -> Iterator[tuple[Path, str]]:
    """The source files of a project, those at the top first."""
    files = [path for pattern in SOURCES for path in _files(folder, pattern)]
    for path in sorted(files, key=lambda path: (len(path.parts), path))[:FILES]:
        if path.stat().st_size < BYTES:
            yield path, path.read_text(encoding="utf-8", errors="replace")


def _files(folder: Path, pattern: str, depth: int = 3) -> Iterator[Path]:
    yield from (path for path in folder.glob(pattern) if path.is_file())
    if depth == 0:
        return
    for below in folder.iterdir():
        if below.is_dir() and not below.is_symlink() and below.name not in SKIPPED and not below.name.startswith("."):
            yield from _files(below, pattern, depth - 1)


# -- how it is started


def _command(folder: Path, sources: Mapping[Path, str], found: Guess) -> str:
    for name, look in (
        ("package.json", _of_package),
        ("Procfile", _of_procfile),
        ("go.mod", lambda _: "go run ."),
        ("Cargo.toml", lambda _: "cargo run --quiet --release"),
    ):
        file = folder / name
        if file.is_file() and (command := look(file.read_text(encoding="utf-8", errors="replace"))):
            found.said.append(f"{name} says how it is started: {command}")
            return command
    if command := _of_python(folder, sources, found):
        found.said.append(f"it looks as if it is started by: {command}")
        return command
    file = folder / "Dockerfile"
    if file.is_file() and (command := _of_dockerfile(file.read_text(encoding="utf-8", errors="replace"))):
        found.said.append(f"Dockerfile says how it is started: {command}")
        return command
    return ""


def _of_package(text: str) -> str:
    try:
        package = json.loads(text)
    except ValueError:
        return ""
    start = str(package.get("scripts", {}).get("start", ""))
    if re.fullmatch(r"(node|tsx|bun|deno)( [\w./=@:-]+)+", start):
        return start if start.startswith("node ") else f"npx {start}"
    if start:
        return "npm start --silent"
    main = package.get("main")
    return f"node {main}" if isinstance(main, str) else ""


def _of_procfile(text: str) -> str:
    match = re.search(r"^web:\s*(.+)$", text, re.MULTILINE)
    return f"sh -c {shlex.quote('exec ' + match.group(1).strip())}" if match else ""


def _of_dockerfile(text: str) -> str:
    found = re.findall(r"^(?:CMD|ENTRYPOINT)\s+(\[.*\])\s*$", text, re.MULTILINE)
    try:
        return shlex.join(json.loads(found[-1])) if found else ""
    except ValueError:
        return ""


def _of_python(folder: Path, sources: Mapping[Path, str], found: Guess) -> str:
    """The command for the Python file that serves: itself, or its application by uvicorn or flask."""
    python = next(
        (f"{name}/bin/python" for name in (".venv", "venv") if (folder / name / "bin/python").exists()), "python3"
    )
    likely = ("main.py", "app.py", "server.py", "bot.py", "gateway.py")
    files = [path for path in sources if path.suffix == ".py" and path.parent == folder]
    files.sort(
        key=lambda path: (path.name not in likely, likely.index(path.name) if path.name in likely else 0, path.name)
    )
    for path in files:
        text = sources[path]
        app = _APP.search(text)
        if re.search(r"__name__\s*==\s*['\"]__main__['\"]", text):
            return f"{python} {path.name}"
        if app is None:
            continue
        if app.group(2) == "Flask":
            found.settings["listen.port"] = "--port"
            return f"{python} -m flask --app {path.stem} run"
        found.settings["listen.port"] = "--port"
        return f"{python} -m uvicorn {path.stem}:{app.group(1)}"
    return ""


# -- what it reads


def _variables(folder: Path, sources: Mapping[Path, str]) -> dict[str, str]:
    """Names of environment variables, and where each was seen first."""
    seen: dict[str, str] = {}
    for name in EXAMPLES:
        file = folder / name
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            for variable in re.findall(r"^\s*(?:export\s+)?#?\s*([A-Z][A-Z0-9_]*)\s*=", text, re.MULTILINE):
                seen.setdefault(variable, name)
    for path, text in sources.items():
        where = path.relative_to(folder).as_posix()
        for match in _DESTRUCTURED.finditer(text):
            for variable in re.findall(r"\b([A-Z][A-Z0-9_]+)\b", match.group(1)):
                seen.setdefault(variable, where)
        for match in _READ.finditer(text):
            variable = next(group for group in match.groups() if group)
            if match.group(6) is None:  # ${NAME} is only looked at in a Procfile or a Dockerfile
                seen.setdefault(variable, where)
    for name in ("Procfile", "Dockerfile"):
        file = folder / name
        if file.is_file():
            for match in _READ.finditer(file.read_text(encoding="utf-8", errors="replace")):
                seen.setdefault(next(group for group in match.groups() if group), name)
    return seen


def _map(variables: Mapping[str, str], found: Guess) -> None:
    taken: set[str] = set()
    for setting, known in names()["variables"].items():
        for name in known:
            if name in variables and name not in taken:
                found.settings[setting] = f"${name}"
                found.said.append(f"{setting} is read from {name} ({variables[name]})")
                taken.add(name)
                break
    for setting, template in names()["templates"].items():
        for name in template["names"]:
            if name in variables:
                found.settings[setting] = f'{{ env = "{name}", value = "{template["value"]}" }}'
                found.said.append(f"{setting} is read from {name} ({variables[name]}); check what is behind the host")
                taken.add(name)
                break
    found.unknown = tuple(sorted(set(variables) - taken))


# -- where it takes calls


def _route(text: str, found: Guess) -> None:
    routes = [(method.lower(), path) for method, path in _ROUTE.findall(text)]
    paths = [path for _, path in routes]
    if best := _best([path for path in paths if not _has_parameter(path)], "voice"):
        found.voice = best
        found.said.append(f"Twilio's calls go to {best}")
    others = [path for path in paths if path != found.voice]
    found.status = _best([path for path in others if not _has_parameter(path)], "status")
    posts = [path for method, path in routes if method != "get" and path not in (found.voice, found.status)]
    if best := _best([path for path in posts if not _has_parameter(path)], "call"):
        found.call = f"POST {best}"
        found.said.append(f"an outbound call may be ordered by POST {best}; what it wants in the body is yours to say")


def _claim(text: str, found: Guess) -> None:
    """Features that its code speaks of."""
    claims = ["phone.inbound"]
    for claim, pattern in names()["claims"].items():
        if match := re.search(pattern, text):
            claims.append(claim)
            found.said.append(f"it may have {claim}: its code has {match.group().strip()!r}")
    if "openai.beta" not in claims or re.search(names()["ga"], text):
        claims.append("openai.ga")
    found.claims = tuple(claims)


def _best(paths: list[str], kind: str) -> str | None:
    weights: Mapping[str, int] = names()[kind]

    def score(path: str) -> int:
        words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", path).lower())
        return sum(weights.get(word, 0) for word in words)

    scored = sorted(paths, key=lambda path: (-score(path), len(path)))
    return scored[0] if scored and score(scored[0]) > 0 else None


def _has_parameter(path: str) -> bool:
    return re.search(r"[:{<*]", path) is not None
