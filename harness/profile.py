"""Gateway profiles: the folder that says how to start, configure and drive one gateway.

`profile.toml`, in short::

    [gateway]
    name = "mine"
    command = ["node", "server.js"]             # live stage
    python = "mine.app:main"                    # virtual stage: an async callable without arguments
    ready = { http = "/healthz" }               # or { log = "listening" }, or { port = true }

    [settings]                                  # our vocabulary -> where this gateway reads it
    openai.api_key = "$OPENAI_API_KEY"          # an environment variable
    listen.port = "--port"                      # a command line argument
    openai.base_url = { env = "OPENAI_URL", value = "{openai.base_url}/realtime" }

    [webhooks]
    voice = "/twilio/voice"

    [operations.call]                           # how to place an outbound call
    request = "POST /calls"
    json = { to = "{to}" }

    [claims]
    features = ["phone.inbound", "phone.outbound"]
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness import talk
from harness.talk import TalkTable

VOCABULARY = {
    "listen.host": "the address that the gateway binds to",
    "listen.port": "the port that it listens at",
    "public_url": "the URL under which Twilio reaches it, such as https://gw.example.test",
    "public_host": "the host of public_url",
    "openai.provider": "whose models it uses: openai or azure-openai",
    "openai.api_key": "the OpenAI API key",
    "openai.base_url": "where the OpenAI API is, such as https://api.openai.com/v1",
    "openai.ws_url": "the same with ws or wss",
    "openai.model": "the realtime model",
    "azure.endpoint": "the Azure OpenAI resource, such as https://contoso.openai.azure.com",
    "azure.deployment": "the name of the deployment in that resource",
    "azure.api_version": "the api-version of the preview API; not set where the v1 API is used",
    "azure.api_key": "a key of that resource",
    "azure.api_key_file": "a file with such a key in it, which may be exchanged at any time",
    "azure.tenant_id": "the tenant of Microsoft Entra ID",
    "azure.client_id": "the application, or the managed identity",
    "azure.client_secret": "the secret of the application",
    "azure.authority_host": "where Entra ID is, such as https://login.microsoftonline.com",
    "azure.federated_token_file": "the file with the token of a workload identity",
    "azure.identity_endpoint": "where App Service hands out tokens of a managed identity",
    "azure.identity_header": "the secret that this endpoint wants",
    "twilio.account_sid": "the Twilio account",
    "twilio.auth_token": "its auth token",
    "twilio.base_url": "where the Twilio API is, such as https://api.twilio.com",
    "twilio.number": "the gateway's own telephone number",
    "operator.token": "the bearer token of the gateway's own API",
    "talk.token": "the token by which a browser may talk",
    "call.max_seconds": "how long a call may last, in seconds; set where a case has a longer one",
}
"""The settings that a world has. A profile maps those that its gateway can be told."""

CLAIMS = {
    "phone.inbound": "answers inbound calls",
    "phone.outbound": "places outbound calls",
    "phone.signature": "checks Twilio's signature on webhooks",
    "phone.stream_token": "protects the media stream by a token or a signature of its own",
    "phone.status_callbacks": "takes status callbacks",
    "phone.dtmf": "passes pressed keys to the model",
    "phone.barge_in": "stops speaking when the caller interrupts",
    "phone.greeting": "speaks first",
    "tools": "has function tools that the model can call",
    "tools.end_call": "has a tool by which the model ends the call",
    "openai.ga": "speaks the GA dialect",
    "openai.beta": "speaks the beta dialect to the models that want it",
    "talk.webrtc": "gives browsers a client secret with which they talk to OpenAI themselves",
    "talk.relay": "relays between a browser's WebSocket and OpenAI",
    "talk.page": "serves a page to talk from",
    "talk.browser": "has a page that can be used in a real browser",
    "talk.token": "lets nobody talk who has no token",
    "talk.explain": "turns OpenAI's refusal of a browser's call into words for the person",
    "talk.tools": "runs function tools for browsers that talk to OpenAI themselves",
    "azure.ga": "speaks the v1 API of Azure OpenAI",
    "azure.beta": "speaks the preview API of Azure OpenAI, with an api-version",
    "azure.entra": "gets its access to Azure OpenAI from Microsoft Entra ID",
    "azure.key_file": "reads its key of Azure OpenAI from a file, and again when it was exchanged there",
    "azure.relay": "relays between browsers and Azure OpenAI",
    "doctor": "can be asked what is wrong with its settings",
    "operator.hangup": "can be told to end a call",
    "health": "answers a health request",
}
"""Features that a gateway may claim. Cases of a feature that is not claimed are unsupported."""


class ProfileError(ValueError):
    """A profile that cannot be used. The message names the file, the key and what to write instead."""


class Ready(msgspec.Struct, forbid_unknown_fields=True):
    """How to know that the gateway is up: an HTTP path that answers below 500, a line of its log, or its open port."""

    http: str | None = None
    log: str | None = None
    port: bool = False
    timeout: float = 30.0


class GatewayTable(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    version: str = ""
    description: str = ""
    python: str | None = None
    command: list[str] = []
    setup: list[list[str]] = []
    ready: Ready = msgspec.field(default_factory=lambda: Ready(port=True))
    stop_timeout: float = 10.0


class Webhooks(msgspec.Struct, forbid_unknown_fields=True):
    voice: str = "/twilio/voice"
    status: str | None = None


class Operation(msgspec.Struct, forbid_unknown_fields=True):
    """An HTTP request template; `{to}` and the vocabulary are filled in."""

    request: str
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None
    form: dict[str, str] | None = None
    answer: str | None = None


class Claims(msgspec.Struct, forbid_unknown_fields=True):
    features: list[str] = []
    tool: str | None = None
    end_call_tool: str | None = None


class ProfileFile(msgspec.Struct, forbid_unknown_fields=True):
    gateway: GatewayTable
    settings: dict[str, Any] = {}
    environment: dict[str, str] = {}
    webhooks: Webhooks = msgspec.field(default_factory=Webhooks)
    operations: dict[str, Operation] = {}
    talk: TalkTable = msgspec.field(default_factory=TalkTable)
    claims: Claims = msgspec.field(default_factory=Claims)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a gateway is started with, after the settings are filled in."""

    command: list[str]
    arguments: list[str]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile that was read and found valid."""

    folder: Path
    gateway: GatewayTable
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    webhooks: Webhooks
    operations: Mapping[str, Operation]
    claims: Claims
    talk: TalkTable = field(default_factory=TalkTable)
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.gateway.name

    @property
    def cache(self) -> Path:
        """Where `setup` installs: one folder for each content of its commands and of the profile's files they name."""
        named = [part for line in self.gateway.setup for part in line if part.startswith("{profile}/")]
        files = [self.folder / part.removeprefix("{profile}/") for part in named]
        contents = [file.read_bytes() for file in files if file.is_file()]
        key = hashlib.sha256(repr((self.folder, self.gateway.setup, contents)).encode()).hexdigest()[:12]
        root = Path(os.environ.get("CALLPROOF_CACHE", Path.home() / ".cache" / "callproof"))
        return root / f"{self.name}-{key}"

    def places(self) -> dict[str, str]:
        """What `{python}`, `{profile}` and `{cache}` stand for in commands."""
        places = {"python": sys.executable, "profile": str(self.folder)}
        return {**places, "cache": str(self.cache)} if self.gateway.setup else {**places, "cache": ""}

    def launch(self, values: Mapping[str, str]) -> Launch:
        """Fill in the settings. Raises `ProfileError` for a placeholder that nobody knows."""
        fill = {**values, **self.places(), **self.overrides}
        arguments: list[str] = []
        environment: dict[str, str] = {}
        for name, target in flatten(self.settings):
            if name not in fill:
                continue  # a setting that this world does not have, such as a key of another vendor
            value, where = fill[name], target
            if isinstance(target, Mapping):
                value = render(str(target.get("value", "{" + name + "}")), fill, f"settings.{name}", self.folder)
                where = f"${target['env']}" if "env" in target else target["arg"]
            if where.startswith("$"):
                environment[where[1:]] = value
            else:
                arguments += [where, value]
        for name, template in self.environment.items():
            environment[name] = render(template, fill, f"environment.{name}", self.folder)
        command = [render(part, fill, "gateway.command", self.folder) for part in self.gateway.command]
        return Launch(command, arguments, environment)

    def setup_commands(self) -> list[list[str]]:
        """The commands that install the gateway, with their places filled in."""
        places = self.places()
        return [[render(part, places, "gateway.setup", self.folder) for part in line] for line in self.gateway.setup]


def render(template: str, values: Mapping[str, str], key: str, folder: Path) -> str:
    """Replace `{name}` by its value; `{{` and `}}` stand for braces."""

    def one(match: re.Match[str]) -> str:
        if match.group(1) or match.group(2):
            return match.group()[0]
        name = match.group(3)
        if name not in values:
            near = difflib.get_close_matches(name, values, 1)
            hint = f"; did you mean {{{near[0]}}}?" if near else f"; there are: {', '.join(sorted(values))}"
            raise ProfileError(f"{folder / 'profile.toml'}: {key}: nothing is called {{{name}}}{hint}")
        return values[name]

    return re.sub(r"(\{\{)|(\}\})|\{([A-Za-z_][\w.]*)\}", one, template)


def render_all(value: Any, one: Callable[[str], str]) -> Any:
    """A template of tables, lists and strings with `one` done to every string in it."""
    if isinstance(value, str):
        return one(value)
    if isinstance(value, Mapping):
        return {key: render_all(item, one) for key, item in value.items()}
    if isinstance(value, list):
        return [render_all(item, one) for item in value]
    return value


def flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """`{"openai": {"api_key": "$X"}}` as `[("openai.api_key", "$X")]`."""
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and not {"env", "arg"} & value.keys():
            found += flatten(value, f"{name}.")
        else:
            found.append((name, value))
    return found


def _nearest(word: str, words: Sequence[str]) -> str:
    if not words:
        return "; there is none at all"
    near = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(words))}"


def load_profile(folder: Path) -> Profile:
    """Read and check `folder/profile.toml`. Raises `ProfileError`."""
    file = folder / "profile.toml"
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ProfileError(f"{file} does not exist: a profile is a folder with a profile.toml in it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file} is not valid TOML: {error}") from None
    try:
        read = msgspec.convert(data, ProfileFile)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{file}: {_explain(str(error))}") from None
    for name, target in flatten(read.settings):
        if name not in VOCABULARY:
            raise ProfileError(f"{file}: settings.{name}: no setting is called that{_nearest(name, list(VOCABULARY))}")
        if not _is_target(target):
            raise ProfileError(
                f'{file}: settings.{name}: write "$NAME" for an environment variable, "--name" for an argument, or '
                f'{{ env = "NAME", value = "..." }}, not {target!r}'
            )
    for claim in read.claims.features:
        if claim not in CLAIMS:
            raise ProfileError(
                f"{file}: claims.features: no feature is called {claim!r}{_nearest(claim, list(CLAIMS))}"
            )
    for name, operation in read.operations.items():
        if name not in OPERATIONS:
            raise ProfileError(f"{file}: operations.{name}: no operation is called that{_nearest(name, OPERATIONS)}")
        if not re.fullmatch(REQUEST, operation.request):
            raise ProfileError(
                f'{file}: operations.{name}.request: write a method and a path, such as "POST /calls", '
                f"not {operation.request!r}"
            )
    if read.gateway.python is None and not read.gateway.command:
        raise ProfileError(f"{file}: gateway: say how to start it: `command` (live stage), `python` (virtual stage)")
    if read.gateway.python is not None and not re.fullmatch(r"[\w.]+:\w+", read.gateway.python):
        raise ProfileError(f'{file}: gateway.python: write "module:callable", not {read.gateway.python!r}')
    for key, path in (
        ("gateway.ready.http", read.gateway.ready.http),
        ("webhooks.voice", read.webhooks.voice),
        ("webhooks.status", read.webhooks.status),
    ):
        if path is not None and not path.startswith("/"):
            raise ProfileError(f'{file}: {key}: write a path that begins with "/", not {path!r}')
    try:
        re.compile(read.gateway.ready.log or "")
    except re.error as error:
        raise ProfileError(f"{file}: gateway.ready.log is not a regular expression: {error}") from None
    if "phone.outbound" in read.claims.features and "call" not in read.operations:
        raise ProfileError(f"{file}: claims.features has phone.outbound, so [operations.call] has to say how to do it")
    _check_talk(file, read)
    return Profile(
        folder.resolve(),
        read.gateway,
        read.settings,
        read.environment,
        read.webhooks,
        read.operations,
        read.claims,
        read.talk,
    )


def _check_talk(file: Path, read: ProfileFile) -> None:
    table = read.talk
    requests = {"webrtc": table.webrtc, "relay": table.relay, "tool": table.tool, "explain": table.explain}
    for name, each in requests.items():
        if each is not None and each.request is not None and not re.fullmatch(REQUEST, each.request):
            raise ProfileError(
                f'{file}: talk.{name}.request: write a method and a path, such as "POST /talk/session", '
                f"not {each.request!r}"
            )
    if table.page is not None and not table.page.startswith("/"):
        raise ProfileError(f'{file}: talk.page: write a path that begins with "/", not {table.page!r}')
    if table.relay is not None and table.relay.rate not in talk.RATES:
        raise ProfileError(f"{file}: talk.relay.rate: one of {', '.join(map(str, talk.RATES))}, not {table.relay.rate}")
    if table.relay is not None and table.relay.request is None and not table.relay.url.startswith("/"):
        raise ProfileError(
            f"{file}: talk.relay.url: without a `request` it is the path of the WebSocket and begins with "
            f'"/", not {table.relay.url!r}'
        )
    parts = ("webrtc", "relay", "explain", "page", "browser")
    needed = {"talk.tools": "tool", **{f"talk.{part}": part for part in parts}}
    for claim, part in needed.items():
        if claim in read.claims.features and getattr(table, part) is None:
            where = "talk.page" if part == "page" else f"[talk.{part}]"
            raise ProfileError(f"{file}: claims.features has {claim}, so {where} has to say how to do it")


OPERATIONS = ["call", "hangup", "health", "doctor"]
REQUEST = r"(GET|POST|PUT|PATCH|DELETE) /\S*"


def _is_target(target: Any) -> bool:
    """Whether this says where a gateway reads a setting."""
    if isinstance(target, str):
        return re.fullmatch(r"\$\w+|-\S+", target) is not None
    if not isinstance(target, Mapping) or not target.keys() <= {"env", "arg", "value"}:
        return False
    env, arg = target.get("env"), target.get("arg")
    if env is not None:
        return arg is None and isinstance(env, str) and re.fullmatch(r"\w+", env) is not None
    return isinstance(arg, str) and arg.startswith("-")


def _explain(error: str) -> str:
    """msgspec's message with the nearest valid key where a key is unknown."""
    match = re.search(r"unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?", error)
    if not match:
        return error
    field_name, path = match.group(1), match.group(2) or ""
    tables: dict[str, type[msgspec.Struct]] = {
        "": ProfileFile,
        "gateway": GatewayTable,
        "gateway.ready": Ready,
        "webhooks": Webhooks,
        "claims": Claims,
        "talk": TalkTable,
        "talk.webrtc": talk.MintTable,
        "talk.relay": talk.RelayTable,
        "talk.tool": talk.ToolTable,
        "talk.browser": talk.BrowserTable,
        "talk.explain": talk.ExplainTable,
        "talk.errors": talk.TalkErrors,
    }
    table = tables.get(path, talk.Meaning if path.startswith("talk.relay.") else Operation)
    known = [f.name for f in msgspec.structs.fields(table)]
    where = f"{path}.{field_name}" if path else field_name
    return f"{where}: no such key{_nearest(field_name, known)}"


def find_profile(name: str, roots: Sequence[Path]) -> Profile:
    """A profile by name (a folder below one of `roots`) or by path. Raises `ProfileError`."""
    if os.sep in name or (Path(name) / "profile.toml").exists():
        return load_profile(Path(name))
    known = {p.parent.name: p.parent for root in roots for p in sorted(root.glob("*/profile.toml"))}
    if name not in known:
        raise ProfileError(f"no gateway is called {name!r}{_nearest(name, list(known))} (or give a path to a profile)")
    return load_profile(known[name])
