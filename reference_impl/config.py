"""The configuration: a TOML file and environment variables (which win), all checked at the start."""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from reference_impl import azure_settings

_ABSENT = object()
CONFIGURATION_WRONG = "configuration_wrong"


class Wrong(NamedTuple):
    """One thing that is wrong: the key, its environment variable, what to write instead, and a cause as in
    `causes.toml` where it has one."""

    key: str
    env: str
    text: str
    cause: str = CONFIGURATION_WRONG

    def __str__(self) -> str:
        return f"{self.key} (environment: {self.env}): {self.text}" if self.env else f"{self.key}: {self.text}"

    @property
    def line(self) -> str:
        """All of it, for a list."""
        return str(self) if self.cause == CONFIGURATION_WRONG else f"{self} [{self.cause}]"


class ConfigError(ValueError):
    """The configuration is wrong; the text names every wrong key and what to write instead, as `wrong` does."""

    def __init__(self, text: str, wrong: Sequence[Wrong] = ()) -> None:
        super().__init__(text)
        self.wrong = tuple(wrong)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _secret(value: object) -> str:
    text = _text(value)
    if not text or text.split() != [text]:
        raise ValueError("must be one word without spaces")
    return text


def _maybe_secret(value: object) -> str:
    return _secret(value) if value else ""


def _number(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return check


def _matching(pattern: str, meaning: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not re.fullmatch(pattern, text := _text(value)):
            raise ValueError(f"must be {meaning}")
        return text

    return check


def _url(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("must be a URL such as https://gateway.example.com, without user, query or fragment")
    return text.rstrip("/")


def _setting(key: str, env: str, check: Callable[[object], Any], default: Any = _ABSENT, secret: bool = False) -> Any:
    """A field of Config: its key in the TOML file, its environment variable, its check, its default."""
    metadata = {"key": key, "env": env, "check": check, "default": default, "secret": secret}
    # Not passed on as the field's default: a Config made by hand (in tests) has to be complete.
    return field(metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the gateway needs to know. URLs have no trailing slash; `port` 0 means any free port."""

    host: str = _setting("gateway.host", "GATEWAY_HOST", _secret, "127.0.0.1")
    port: int = _setting("gateway.port", "GATEWAY_PORT", _number(0, 65535), 8080)
    public_url: str = _setting("gateway.public_url", "GATEWAY_PUBLIC_URL", _url)
    token: str = _setting("gateway.token", "GATEWAY_TOKEN", _secret, secret=True)
    greeting: str = _setting("gateway.greeting", "GATEWAY_GREETING", _text, "Hello, how can I help you?")
    max_call_seconds: int = _setting("gateway.max_call_seconds", "GATEWAY_MAX_CALL_SECONDS", _number(1, 86400), 3300)
    openai_provider: str = _setting(
        "openai.provider", "OPENAI_PROVIDER", _matching("openai|azure-openai|", "openai or azure-openai"), "openai"
    )
    openai_api_key: str = _setting("openai.api_key", "OPENAI_API_KEY", _maybe_secret, "", secret=True)
    openai_base_url: str = _setting("openai.base_url", "OPENAI_BASE_URL", _url, "https://api.openai.com/v1")
    openai_model: str = _setting("openai.model", "OPENAI_MODEL", _secret, "gpt-realtime-2")
    openai_api: str = _setting("openai.api", "OPENAI_API", _matching("auto|beta|ga", "auto, beta or ga"), "auto")
    openai_voice: str = _setting("openai.voice", "OPENAI_VOICE", _secret, "alloy")
    openai_instructions: str = _setting(
        "openai.instructions",
        "OPENAI_INSTRUCTIONS",
        _text,
        "You are a friendly assistant on the telephone. Keep answers short.",
    )
    twilio_account_sid: str = _setting(
        "twilio.account_sid", "TWILIO_ACCOUNT_SID", _matching("AC[0-9a-fA-F]{32}", "AC and 32 hex digits")
    )
    twilio_auth_token: str = _setting("twilio.auth_token", "TWILIO_AUTH_TOKEN", _secret, secret=True)
    twilio_base_url: str = _setting("twilio.base_url", "TWILIO_BASE_URL", _url, "https://api.twilio.com")
    twilio_number: str = _setting(
        "twilio.number", "TWILIO_NUMBER", _matching(r"\+[1-9]\d{1,14}", "a number such as +15005550006 (E.164)")
    )

    # Azure: any of these, or the provider azure-openai, and OpenAI itself is never contacted. `azure_settings` has the
    # rules. The version is empty for GA; `azure_auth` is key or entra once all is read, and empty without Azure.
    azure_endpoint: str = _setting("azure.endpoint", "AZURE_OPENAI_ENDPOINT", _text, "")
    azure_deployment: str = _setting("azure.deployment", "AZURE_OPENAI_DEPLOYMENT", _text, "")
    azure_api_version: str = _setting("azure.api_version", "AZURE_OPENAI_API_VERSION", _text, "")
    azure_api_key: str = _setting("azure.api_key", "AZURE_OPENAI_API_KEY", _maybe_secret, "", secret=True)
    azure_api_key_file: str = _setting("azure.api_key_file", "AZURE_OPENAI_API_KEY_FILE", _text, "")
    azure_auth: str = _setting(
        "azure.auth", "AZURE_OPENAI_AUTH", _matching("auto|key|entra|", "auto, key or entra"), ""
    )
    azure_scope: str = _setting(
        "azure.scope", "AZURE_OPENAI_SCOPE", _secret, "https://cognitiveservices.azure.com/.default"
    )
    azure_transcription: str = _setting(
        "azure.transcription", "AZURE_OPENAI_TRANSCRIPTION", _secret, "whisper-1"
    )  # the name of a deployment, or whisper-1, which needs none

    # The door of Talk. Empty: there is no Talk, and /talk is not found.
    talk_token: str = _setting("talk.token", "GATEWAY_TALK_TOKEN", _maybe_secret, "", secret=True)
    # How long a browser may take from its client secret to its call; the vendor allows 10 s to 2 h.
    talk_secret_seconds: int = _setting("talk.secret_seconds", "GATEWAY_TALK_SECRET_SECONDS", _number(10, 7200), 60)
    # What a browser gets that asks for WebRTC: with auto, WebRTC where the vendor and its credentials allow it.
    talk_transport: str = _setting(
        "talk.transport", "GATEWAY_TALK_TRANSPORT", _matching("auto|webrtc|relay", "auto, webrtc or relay"), "auto"
    )

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be seen outside."""
        return tuple(getattr(self, each.name) for each in fields(self) if each.metadata["secret"])

    @property
    def azure(self) -> bool:
        """Whether the model is Azure's."""
        return bool(self.azure_endpoint)

    @property
    def model(self) -> str:
        """What the model is called where the sessions are opened: a deployment, with Azure."""
        return self.azure_deployment if self.azure else self.openai_model

    @property
    def stream_url(self) -> str:
        """The WebSocket address that Twilio is told to connect to."""
        return "ws" + self.public_url.removeprefix("http") + "/twilio/stream"


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Read the command line, the TOML file that it (or GATEWAY_CONFIG) names, and `environ`.

    Raises ConfigError with one line for each thing that is wrong.
    """
    name = (_config_argument(argv) if argv else None) or environ.get("GATEWAY_CONFIG")
    written = _flatten(_read(Path(name))) if name else {}
    known = {each.metadata["key"]: each for each in fields(Config)}
    keys = ", ".join(sorted(known))
    wrong = [Wrong(key, "", f"unknown key in {name}; the keys are {keys}") for key in written if key not in known]
    values: dict[str, Any] = {}
    for key, each in known.items():
        try:
            values[each.name] = _value(each, written, environ)
        except ValueError as error:
            wrong.append(Wrong(key, each.metadata["env"], str(error)))
    about = {each.name: each.metadata for each in known.values()}
    for name_of, cause, text in azure_settings.settle(values, environ):
        wrong.append(Wrong(about[name_of]["key"], about[name_of]["env"], text, cause))
    if wrong:
        raise ConfigError("the configuration is wrong:\n  " + "\n  ".join(each.line for each in wrong), wrong)
    return Config(**values)


def _config_argument(argv: Sequence[str]) -> str | None:
    parser = argparse.ArgumentParser(prog="reference_impl", description="A voice gateway: Twilio to OpenAI Realtime.")
    parser.add_argument("--config", metavar="FILE", help="TOML file; also GATEWAY_CONFIG")
    config: str | None = parser.parse_args(argv).config
    return config


def _value(each: Field[Any], written: Mapping[str, object], environ: Mapping[str, str]) -> Any:
    about = each.metadata
    given = environ.get(about["env"], written.get(about["key"], about["default"]))
    if given is _ABSENT:
        raise ValueError("is missing; set one of the two")
    try:
        return about["check"](given)
    except ValueError as error:
        raise ValueError(f"{error}, not {'the value given' if about['secret'] else repr(given)}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"the configuration file {path} is not valid TOML: {error}") from None


def _flatten(document: Mapping[str, Any]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for section, content in document.items():
        if isinstance(content, dict):
            flat.update({f"{section}.{key}": value for key, value in content.items()})
        else:
            flat[section] = content
    return flat
