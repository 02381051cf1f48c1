"""The first profile of a gateway, as `callproof new-gateway` writes it."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.profiles.errors import nearest
from harness.profiles.load import load_profile
from harness.profiles.schema import schema_text
from harness.profiles.vocabulary import CLAIMS
from harness.profiles.ways import REQUEST

SCHEMA = "profile.schema.json"


class CannotWrite(ValueError):
    """What was asked for makes no profile, or there is one already. The message says what to do."""


@dataclass(slots=True)
class Draft:
    """What is known of a new gateway. `settings`: setting -> "$NAME", "--name", or an inline table as text."""

    name: str
    command: str
    voice: str
    call: str = ""
    status: str | None = None
    cwd: str | None = None
    python: str | None = None
    port: int | None = None
    settings: dict[str, str] = field(default_factory=dict)
    claims: Sequence[str] = ("phone.inbound", "openai.ga")
    unknown: Sequence[str] = ()


def drafted(draft: Draft, folder: Path, here: Path) -> str:
    """The text of its profile.toml. Raises `CannotWrite`."""
    _check(draft)
    claims = list(draft.claims)
    if draft.call and "phone.outbound" not in claims:
        claims.append("phone.outbound")
    unclaimed = [claim for claim in CLAIMS if claim not in claims]
    cwd = draft.cwd if draft.cwd is not None else os.path.relpath(here, folder)
    parts = [
        f"""\
#:schema {SCHEMA}
# How callproof starts, configures and drives {draft.name}. `callproof check-gateway` tries it.

[gateway]
name = {_text(draft.name)}
# version = "1.0"                  # shown in reports; with it, `{draft.name}@1.0` can be asked for
""",
        f"command = {_list(shlex.split(draft.command))}\n" if draft.command else "",
        f"cwd = {_text(cwd)}" + " " * max(1, 33 - len(f"cwd = {_text(cwd)}")) + "# where it is started, from here\n"
        if draft.command and cwd != "."
        else "",
        f"python = {_text(draft.python)}\n" if draft.python else "",
        f"port = {draft.port}"
        + " " * max(1, 33 - len(f"port = {draft.port}"))
        + "# it cannot be told another one; if it can: settings.listen.port\n"
        if draft.port is not None
        else "",
        """\
ready = { port = true }            # or { http = "/healthz" }, { log = "listening" }; all that are given must hold
# setup = [["npm", "ci", "--prefix", "{cache}"]]     # what installs it, once; {cache} is a folder for that

# Where it reads what: "$NAME" is an environment variable, "--name" an argument,
# { env = "NAME", value = "{openai.base_url}/realtime" } a variable with something around the value.
[settings]
""",
        "".join(f"{setting} = {_target(target)}\n" for setting, target in draft.settings.items()),
        "".join(f"# {line}\n" for line in _open_settings(draft.settings)),
        _unknown(draft.unknown),
        """
# Configuration files, from Jinja templates beside this file: {{ openai.api_key | tojson }}, {{ listen.port }}
# [files]
# "{home}/.config/gateway.json" = "gateway.json.j2"

[webhooks]
""",
        f"voice = {_text(draft.voice)}\n",
        f"status = {_text(draft.status)}\n"
        if draft.status
        else '# status = "/twilio/status"       # if its number has one\n',
        _call(draft.call),
        "\n[claims]                            # what it does not claim is not tested\n",
        f"features = {_list(claims)}\n",
        "# more that it may have; `callproof check-gateway` tells of some that it sees:\n",
        "".join(f"#   {claim:<24}{CLAIMS[claim]}\n" for claim in unclaimed),
        '# tool = "get_weather"            # a function tool of its session, for the claim "tools"\n',
    ]
    return "".join(parts)


def write_profile(text: str, folder: Path) -> list[Path]:
    """Write profile.toml and its schema; returns their paths. Raises `CannotWrite`; nothing is ever overwritten."""
    file = folder / "profile.toml"
    if file.exists():
        raise CannotWrite(f"{file} exists; give another --dir, or edit it and try callproof check-gateway {folder}")
    if folder.exists() and not folder.is_dir():
        raise CannotWrite(f"{folder} is a file; give another --dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        schema = folder / SCHEMA
        schema.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be written to: {error.strerror}") from None
    load_profile(folder)
    return [file, schema]


def _check(draft: Draft) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", draft.name):
        raise CannotWrite(f"a gateway's name is made of letters, digits, dots and dashes, not {draft.name!r}")
    if not draft.command and not draft.python:
        raise CannotWrite('say how it is started: --command "node server.js", or --python module:name for virtual time')
    try:
        shlex.split(draft.command)
    except ValueError as error:
        raise CannotWrite(f"--command {draft.command!r} cannot be read as a command line: {error}") from None
    if not draft.voice.startswith("/"):
        raise CannotWrite(f'--voice is a path that begins with "/", not {draft.voice!r}')
    if draft.call and not re.fullmatch(REQUEST, draft.call):
        raise CannotWrite(f'--call is a method and a path, such as "POST /calls", not {draft.call!r}')
    for claim in draft.claims:
        if claim not in CLAIMS:
            raise CannotWrite(f"--claim: no feature is called {claim!r}{nearest(claim, CLAIMS)}")
    for setting, target in draft.settings.items():
        if not re.fullmatch(r"\$\w+|-\S+|\{.*\}", target):
            raise CannotWrite(
                f"{setting}: write a variable such as PORT, or an argument such as --port, not {target!r}"
            )


def _open_settings(settings: Mapping[str, str]) -> list[str]:
    """Settings that matter and were not found."""
    examples = {
        "listen.port": 'listen.port = "$PORT"',
        "public_url": 'public_url = "$PUBLIC_URL"         # where Twilio reaches it, if Host does not tell it',
        "openai.api_key": 'openai.api_key = "$OPENAI_API_KEY"',
        "openai.base_url": 'openai.base_url = "$OPENAI_BASE_URL"   # without it, vendor hosts are led to the fakes',
        "openai.model": 'openai.model = "$OPENAI_MODEL"',
        "twilio.auth_token": 'twilio.auth_token = "$TWILIO_AUTH_TOKEN"',
    }
    return [line for setting, line in examples.items() if setting not in settings]


def _unknown(names: Sequence[str]) -> str:
    if not names:
        return ""
    head = '\n# It reads these too; if it needs one of them, write [environment] with NAME = "value":\n'
    return f"{head}#   {', '.join(names)}\n"


def _call(call: str) -> str:
    if not call:
        return """
# How to have it place a call, for the claim "phone.outbound":
# [operations.call]
# request = "POST /calls"
# json = { to = "{to}" }
"""
    return f"""
[operations.call]                   # how to have it place a call
request = {_text(call)}
json = {{ to = "{{to}}" }}               # what it wants in the body; or form = {{ To = "{{to}}" }}
# headers = {{ Authorization = "Bearer {{operator.token}}" }}
"""


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _target(target: str) -> str:
    return target if target.startswith("{") else _text(target)
