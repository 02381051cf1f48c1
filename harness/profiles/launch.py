"""A profile that was read, and what a gateway is started with."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.profiles.config import mentions, render_file
from harness.profiles.tables import Claims, GatewayTable, Intercept, Webhooks
from harness.profiles.templates import Missing, flatten, placeholders, render
from harness.profiles.ways import Operation, Way
from harness.talk import TalkTable

_NAMED = re.compile(r"\{profile\}/([^\s\"'{}]+)")

NEEDED = {
    "OpenAI": (("openai.base_url", "openai.ws_url"), r"phone\.(inbound|outbound)|talk\.(webrtc|relay)|openai\."),
    "Twilio": (("twilio.base_url",), r"phone\.outbound|operator\.hangup|tools\.end_call"),
    "Azure OpenAI": (("azure.endpoint",), r"azure\."),
    "Entra ID": (("azure.authority_host", "azure.identity_endpoint"), r"azure\.entra"),
}
"""Vendor -> the settings of which one says where it is, and the claims of a gateway that talks to it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a gateway is started with, after the settings are filled in.

    `files`: what to write where, before the start. `home`: the folder that `{home}` stands for.
    """

    command: list[str]
    arguments: list[str]
    environment: dict[str, str]
    files: dict[Path, str] = field(default_factory=dict)
    home: Path | None = None

    def write_files(self) -> None:
        """Write the configuration files, for their owner only: there are credentials in them."""
        for path, text in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile that was read and found valid, at one version of its gateway."""

    folder: Path
    gateway: GatewayTable
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    webhooks: Webhooks
    operations: Mapping[str, Operation]
    claims: Claims
    talk: TalkTable = field(default_factory=TalkTable)
    files: Mapping[str, str] = field(default_factory=dict)
    versions: Sequence[str] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.gateway.name

    @property
    def version(self) -> str:
        return self.gateway.version

    @property
    def directory(self) -> Path:
        """Where the gateway is started."""
        return (self.folder / self.gateway.cwd).resolve()

    @property
    def cache(self) -> Path:
        """Where `setup` installs: one folder for each version, and for each content of the setup's commands and of the
        profile's files that they name."""
        named = {
            name
            for line in self.gateway.setup
            for part in line
            for name in _NAMED.findall(part.replace("{version}", self.version))
        }
        contents = [(name, _content(self.folder / name)) for name in sorted(named)]
        what = (self.folder, self.gateway.setup, self.version, contents)
        key = hashlib.sha256(repr(what).encode()).hexdigest()[:12]
        root = Path(os.environ.get("CALLPROOF_CACHE", Path.home() / ".cache" / "callproof"))
        return root / "-".join(part for part in (self.name, self.version, key) if part)

    @property
    def needs_home(self) -> bool:
        """Whether anything of it is to be written to, or read from, a folder of its own."""
        texts = [self.settings, self.environment, self.gateway.command]
        if self.files or any("home" in placeholders(text) for text in texts):
            return True
        return any(way.driver is not None or way.command is not None for _, way in self.ways())

    def ways(self) -> list[tuple[str, Way]]:
        """What can be asked of the gateway, by its key in the profile."""
        parts = {name: getattr(self.talk, name) for name in ("webrtc", "relay", "tool", "explain")}
        operations = [(f"operations.{name}", operation) for name, operation in self.operations.items()]
        return [*operations, *((f"talk.{name}", way) for name, way in parts.items() if way is not None)]

    @property
    def commands(self) -> list[str]:
        """The keys of what is asked by a command, which takes a process."""
        return [key for key, way in self.ways() if way.command is not None]

    @property
    def intercept(self) -> Intercept:
        """How requests to the vendors are led to the fakes: as the profile says, or as it can be done."""
        if self.gateway.intercept is not None:
            return self.gateway.intercept
        return "namespace" if self.untold() else "settings"

    def untold(self) -> list[str]:
        """The vendors that the gateway needs, and that nothing tells it where to find."""
        return [
            vendor
            for vendor, (settings, which) in NEEDED.items()
            if any(re.match(which, claim) for claim in self.claims.features) and not any(map(self.maps, settings))
        ]

    def maps(self, setting: str) -> bool:
        """Whether the gateway is told this setting, in whatever way."""
        if any(setting == name for name, _ in flatten(self.settings)):
            return True
        if any(setting in placeholders(text) for text in (self.settings, self.environment, self.gateway.command)):
            return True
        return any(mentions(self.folder, template, setting) for template in self.files.values())

    def places(self, home: Path | None = None) -> dict[str, str]:
        """What `{python}`, `{profile}`, `{cache}`, `{version}` and, with a home, `{home}` stand for."""
        places = {"python": sys.executable, "profile": str(self.folder), "version": self.version}
        places["cache"] = str(self.cache) if self.gateway.setup else ""
        return places if home is None else {**places, "home": str(home)}

    def launch(self, values: Mapping[str, str], home: Path | None = None) -> Launch:
        """Fill in the settings; what needs one that this world does not have is left out.

        Raises `ProfileError` for a placeholder that nobody knows.
        """
        fill = {**values, **self.places(home), **self.overrides}
        arguments: list[str] = []
        environment: dict[str, str] = {}
        for name, target in flatten(self.settings):
            if name not in fill:
                continue  # a setting that this world does not have, such as a key of another vendor
            value, where = fill[name], target
            if isinstance(target, Mapping):
                try:
                    value = render(str(target.get("value", "{" + name + "}")), fill, f"settings.{name}", self.folder)
                except Missing:
                    continue
                where = f"${target['env']}" if "env" in target else target["arg"]
            if where.startswith("$"):
                environment[where[1:]] = value
            else:
                arguments += [where, value]
        for name, template in self.environment.items():
            try:
                environment[name] = render(template, fill, f"environment.{name}", self.folder)
            except Missing:
                continue
        command = [render(part, fill, "gateway.command", self.folder) for part in self.gateway.command]
        files = {
            Path(render(target, fill, "files", self.folder)): render_file(self.folder, template, fill)
            for target, template in self.files.items()
        }
        return Launch(command, arguments, environment, files, home)

    def setup_commands(self) -> list[list[str]]:
        """The commands that install the gateway, with their places filled in."""
        places = self.places()
        return [[render(part, places, "gateway.setup", self.folder) for part in line] for line in self.gateway.setup]


def _content(path: Path) -> bytes:
    if path.is_dir():
        return repr([(str(file), file.read_bytes()) for file in sorted(path.rglob("*")) if file.is_file()]).encode()
    return path.read_bytes() if path.is_file() else b""
