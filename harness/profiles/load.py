"""Reading a profile: its file, the version that was asked for, and what is wrong with it."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness import talk
from harness.driver import check_driver
from harness.profiles.config import check_template
from harness.profiles.errors import ProfileError, nearest
from harness.profiles.launch import Profile
from harness.profiles.lines import Lines
from harness.profiles.tables import ProfileFile
from harness.profiles.templates import flatten, placeholders
from harness.profiles.versions import known_versions, split_version, with_version
from harness.profiles.vocabulary import CLAIMS, OPERATIONS, PLACES, VOCABULARY
from harness.profiles.ways import DRIVER, KINDS, REQUEST, Way

Keys = Sequence[str | int]

KINDS_IN_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}

TAKES = {
    "operations.call": (("to",), "Answer"),
    "operations.hangup": (("call_sid",), "Answer"),
    "talk.relay": ((), "RelayConnection"),
    "talk.tool": (("name", "arguments"), "Answer"),
    "talk.explain": (("status", "body"), "Answer"),
    "talk.browser": (("page",), "None"),
}
"""What drivers are given by name, and what they return; the others are given nothing and return an `Answer`."""


def load_profile(folder: Path, version: str | None = None) -> Profile:
    """Read and check `folder/profile.toml`, at a version of its gateway or the default one. Raises `ProfileError`."""
    file = folder / "profile.toml"
    try:
        text = file.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise ProfileError(f"{file} does not exist: a profile is a folder with a profile.toml in it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file} is not valid TOML: {error}") from None
    return _Reader(folder, text, data, version).profile()


def load_versions(folder: Path) -> list[Profile]:
    """A profile at each of its versions, the default one first. Raises `ProfileError`."""
    first = load_profile(folder)
    return [first, *(load_profile(folder, version) for version in first.versions if version != first.version)]


def find_profile(name: str, roots: Sequence[Path]) -> Profile:
    """A profile by name (a folder below one of `roots`) or by path, each with `@VERSION` behind it for another version
    than the default one. Raises `ProfileError`."""
    for gateway, version in ((name, None), split_version(name)):
        if (Path(gateway) / "profile.toml").exists() and (os.sep in gateway or Path(gateway).is_dir()):
            return load_profile(Path(gateway), version)
    gateway, version = split_version(name)
    if os.sep in gateway:
        return load_profile(Path(gateway), version)
    known = known_profiles(roots)
    if gateway not in known:
        raise ProfileError(f"no gateway is called {gateway!r}{nearest(gateway, known)} (or give a path to a profile)")
    return load_profile(known[gateway], version)


def known_profiles(roots: Sequence[Path]) -> dict[str, Path]:
    """The folders of the profiles below `roots`, by name."""
    return {path.parent.name: path.parent for root in roots for path in sorted(root.glob("*/profile.toml"))}


class _Reader:
    """One profile at one version, while it is read."""

    def __init__(self, folder: Path, text: str, data: dict[str, Any], version: str | None) -> None:
        self._folder = folder.resolve()
        self._file = folder / "profile.toml"
        self._lines = Lines(text)
        self._data = data
        self._version: str | None = None
        self._merged = with_version(data, version, self.fault)
        self._version = version or next(iter(known_versions(data)), None)

    def fault(self, path: Keys, said: str) -> ProfileError:
        """An error with the line on which its key stands, in the overlay of the version if it stands there."""
        overlay = ["versions", self._version, *path] if self._version is not None else list(path)
        line = self._lines.exact(overlay) or self._lines.line(path)
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in path)[1:]
        return ProfileError(f"{self._file}:{line}: {key}: {said}" if key else f"{self._file}: {said}")

    def profile(self) -> Profile:
        """The profile. Raises `ProfileError`."""
        try:
            read = msgspec.convert(self._merged, ProfileFile)
        except msgspec.ValidationError as error:
            raise self._explained(str(error)) from None
        self._check_gateway(read)
        self._check_settings(read)
        self._check_files(read)
        self._check_operations(read)
        self._check_claims(read)
        self._check_talk(read)
        return Profile(
            folder=self._folder,
            gateway=read.gateway,
            settings=read.settings,
            environment=read.environment,
            webhooks=read.webhooks,
            operations=read.operations,
            claims=read.claims,
            talk=read.talk,
            files=read.files,
            versions=tuple(known_versions(self._data)),
        )

    # -- what msgspec says

    def _explained(self, error: str) -> ProfileError:
        """msgspec's message with its line, and the nearest valid key where a key is unknown."""
        said, _, where = error.partition(" - at `")
        path = self._path(where.removesuffix("`"), error)
        if match := re.search(r"unknown field `([^`]+)`", said):
            key = match.group(1)
            return self.fault([*path, key], f"no such key{nearest(key, _keys(path))}")
        if match := re.search(r"missing required field `([^`]+)`", said):
            return self.fault(path, f"the key {match.group(1)!r} is missing")
        return self.fault(path, re.sub("`([^`]+)`", lambda match: _kinds(match.group(1)), said[0].lower() + said[1:]))

    def _path(self, where: str, error: str) -> list[str | int]:
        """The keys of a path of msgspec's, which does not name those of tables with keys of the profile's own."""
        path: list[str | int] = []
        for part in re.findall(r"\[\.\.\.\]|\[\d+\]|[^.\[\]$]+", where):
            if part == "[...]":
                path.append(self._culprit(path, error))
            else:
                path.append(int(part[1:-1]) if part.startswith("[") else part)
        return path

    def _culprit(self, path: Keys, error: str) -> str:
        """The entry of a table for which msgspec says this."""
        table: Any = self._merged
        for key in path:
            table = table[key]
        for name, value in table.items():
            try:
                msgspec.convert(_replaced(self._merged, path, {name: value}), ProfileFile)
            except msgspec.ValidationError as again:
                if str(again) == error:
                    return str(name)
        return str(next(iter(table)))

    # -- what msgspec cannot know

    def _check_gateway(self, read: ProfileFile) -> None:
        gateway = read.gateway
        if gateway.python is None and not gateway.command:
            raise self.fault(["gateway"], "say how to start it: `command` (live stage), `python` (virtual stage)")
        if gateway.python is not None and not re.fullmatch(r"[\w.]+:[\w.]+", gateway.python):
            raise self.fault(["gateway", "python"], f'write "module:callable", not {gateway.python!r}')
        if not (self._folder / gateway.cwd).is_dir():
            raise self.fault(["gateway", "cwd"], f"there is no folder {(self._folder / gateway.cwd).resolve()}")
        paths: list[tuple[list[str], str | None]] = [
            (["gateway", "ready", "http"], gateway.ready.http),
            (["webhooks", "voice"], read.webhooks.voice),
            (["webhooks", "status"], read.webhooks.status),
            (["talk", "page"], read.talk.page),
        ]
        for key, path in paths:
            if path is not None and not path.startswith("/"):
                raise self.fault(key, f'write a path that begins with "/", not {path!r}')
        try:
            re.compile(gateway.ready.log or "")
        except re.error as error:
            raise self.fault(["gateway", "ready", "log"], f"this is not a regular expression: {error}") from None
        for number, line in enumerate(gateway.setup):
            self._check_names(["gateway", "setup", number], line, PLACES.keys() - {"home"})
        self._check_names(["gateway", "command"], gateway.command, {*PLACES, *VOCABULARY})

    def _check_settings(self, read: ProfileFile) -> None:
        for name, target in flatten(read.settings):
            path = ["settings", *name.split(".")]
            if name not in VOCABULARY:
                raise self.fault(path, f"no setting is called that{nearest(name, VOCABULARY)}")
            if not _is_target(target):
                raise self.fault(
                    path,
                    f'write "$NAME" for an environment variable, "--name" for an argument, or '
                    f'{{ env = "NAME", value = "..." }}, not {target!r}',
                )
            self._check_names(path, target, {*PLACES, *VOCABULARY})
        for name, template in read.environment.items():
            self._check_names(["environment", name], template, {*PLACES, *VOCABULARY})

    def _check_files(self, read: ProfileFile) -> None:
        for target, template in read.files.items():
            path = ["files", target]
            self._check_names(path, target, {*PLACES, *VOCABULARY})
            if not target.startswith(("{home}/", "{cache}/")):
                raise self.fault(path, 'write where it goes, below "{home}/" (or "{cache}/")')
            if not (self._folder / template).is_file():
                raise self.fault(path, f"there is no template {template!r} in {self._folder}")
            check_template(self._folder, template)

    def _check_operations(self, read: ProfileFile) -> None:
        for name, operation in read.operations.items():
            path = ["operations", name]
            if name not in OPERATIONS:
                raise self.fault(path, f"no operation is called that{nearest(name, OPERATIONS)}")
            self._check_way(path, operation)

    def _check_way(self, path: Keys, way: Way, *, needed: bool = True) -> None:
        """Raises `ProfileError` unless it is exactly one way, and a good one."""
        given = [kind for kind in KINDS if getattr(way, kind) is not None]
        if len(given) > 1 or (needed and not given):
            there = f"there are {' and '.join(given)}" if given else "there is none of them"
            raise self.fault(path, f"write exactly one of {', '.join(KINDS)}; {there}")
        if way.request is not None and not re.fullmatch(REQUEST, way.request):
            raise self.fault(
                [*path, "request"], f'write a method and a path, such as "POST /calls", not {way.request!r}'
            )
        if way.json is not None and way.form is not None:
            raise self.fault([*path, "form"], "a request has one body: json or form, not both")
        for key in ("json", "form", "headers"):
            if getattr(way, key) and way.request is None:
                raise self.fault([*path, key], "only a request has this")
        if way.command is not None and not way.command:
            raise self.fault([*path, "command"], "write the program and its arguments")
        if way.driver is not None:
            self._check_driver([*path, "driver"], way.driver)
        takes, _ = TAKES.get(".".join(str(key) for key in path), ((), ""))
        known = {*VOCABULARY, *takes}
        for key in ("request", "headers", "json", "form", "command"):
            self._check_names([*path, key], getattr(way, key), known | PLACES.keys() if key == "command" else known)
        if way.socket is not None:
            self._check_names([*path, "socket"], msgspec.to_builtins(way.socket), known)
            if not re.match(r"wss?://|/", way.socket.url):
                raise self.fault(
                    [*path, "socket", "url"], f'write "ws://...", or a path of the gateway, not {way.socket.url!r}'
                )
            if not way.socket.send or not way.socket.answer:
                raise self.fault([*path, "socket"], "say what to send, and which message is the answer")

    def _check_driver(self, path: Keys, driver: str) -> None:
        if not re.fullmatch(DRIVER, driver):
            raise self.fault(path, f'write a file and a function in it, such as "driver.py:call", not {driver!r}')
        file, _, name = driver.rpartition(":")
        takes, returns = TAKES.get(".".join(str(key) for key in path[:-1]), ((), "Answer"))
        if wrong := check_driver(self._folder / file, name, takes, returns):
            raise self.fault(path, wrong)

    def _check_claims(self, read: ProfileFile) -> None:
        features = read.claims.features
        for position, claim in enumerate(features):
            if claim not in CLAIMS:
                said = f"no feature is called {claim!r}{nearest(claim, CLAIMS)}"
                raise self.fault(self._claim(claim, position), said)
        if "phone.outbound" in features and "call" not in read.operations:
            said = "phone.outbound is claimed, so [operations.call] has to say how to do it"
            raise self.fault(self._claim("phone.outbound", features.index("phone.outbound")), said)
        parts = ("webrtc", "relay", "explain", "page", "browser")
        needed = {"talk.tools": "tool", **{f"talk.{part}": part for part in parts}}
        for claim, part in needed.items():
            if claim in features and getattr(read.talk, part) is None:
                where = "talk.page" if part == "page" else f"[talk.{part}]"
                said = f"{claim} is claimed, so {where} has to say how to do it"
                raise self.fault(self._claim(claim, features.index(claim)), said)

    def _claim(self, claim: str, position: int) -> Keys:
        """Where a feature is claimed: in the profile's list, or in the overlay's."""
        overlay = self._data.get("versions", {}).get(self._version, {}).get("claims", {})
        added = overlay.get("with", [])
        return ["claims", "with", added.index(claim)] if claim in added else ["claims", "features", position]

    def _check_talk(self, read: ProfileFile) -> None:
        table = read.talk
        ways = {"webrtc": table.webrtc, "relay": table.relay, "tool": table.tool, "explain": table.explain}
        for name, way in ways.items():
            if way is not None:
                self._check_way(["talk", name], way, needed=name != "relay")
        if table.browser is not None and table.browser.start is not None:
            self._check_driver(["talk", "browser", "start"], table.browser.start)
        relay = table.relay
        if relay is None:
            return
        if relay.rate not in talk.RATES:
            rates = ", ".join(map(str, talk.RATES))
            raise self.fault(["talk", "relay", "rate"], f"one of {rates}, not {relay.rate}")
        if relay.kind is None and not relay.url.startswith("/"):
            raise self.fault(
                ["talk", "relay", "url"],
                f'without a `request` it is the path of the WebSocket and begins with "/", not {relay.url!r}',
            )
        if relay.kind not in (None, "driver") and not relay.url:
            raise self.fault(["talk", "relay", "url"], "say where in the answer the address of the WebSocket is")

    def _check_names(self, path: Keys, template: Any, known: set[str]) -> None:
        for name in placeholders(template):
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {{{near[0]}}}?" if near else f"; there are: {', '.join(sorted(known))}"
                raise self.fault(path, f"nothing is called {{{name}}}{hint}")


def _is_target(target: Any) -> bool:
    """Whether this says where a gateway reads a setting."""
    if isinstance(target, str):
        return re.fullmatch(r"\$\w+|-\S+", target) is not None
    if not isinstance(target, Mapping) or not target.keys() <= {"env", "arg", "value"}:
        return False
    if not isinstance(target.get("value", ""), str):
        return False
    env, arg = target.get("env"), target.get("arg")
    if env is not None:
        return arg is None and isinstance(env, str) and re.fullmatch(r"\w+", env) is not None
    return isinstance(arg, str) and arg.startswith("-")


def _replaced(data: Any, path: Keys, value: Any) -> Any:
    if not path:
        return value
    return {**data, path[0]: _replaced(data[path[0]], path[1:], value)}


def _keys(path: Keys) -> list[str]:
    """The keys that the table at this path can have."""
    kind: Any = msgspec.inspect.type_info(ProfileFile)
    for key in path:
        kind = _table(kind)
        if isinstance(kind, msgspec.inspect.StructType):
            kind = next(field.type for field in kind.fields if field.encode_name == key)
        elif isinstance(kind, msgspec.inspect.DictType):
            kind = kind.value_type
        else:
            kind = kind.item_type
    kind = _table(kind)
    return [field.encode_name for field in kind.fields] if isinstance(kind, msgspec.inspect.StructType) else []


def _table(kind: Any) -> Any:
    """A type without its metadata, and of several the one that has something in it."""
    tables = (msgspec.inspect.StructType, msgspec.inspect.DictType, msgspec.inspect.ListType)
    if isinstance(kind, msgspec.inspect.Metadata):
        return _table(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return next((_table(one) for one in kind.types if isinstance(_table(one), tables)), kind)
    return kind


def _kinds(names: str) -> str:
    """msgspec's names of types in words: `str | null` as "a text"."""
    kinds = [name for name in names.split(" | ") if name != "null"]
    return " or ".join(KINDS_IN_WORDS.get(name, name) for name in kinds or ["null"])


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key) else f'"{key}"'
