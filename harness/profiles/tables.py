"""The tables of `profile.toml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from harness.profiles.ways import Operation
from harness.talk import TalkTable

Intercept = Literal["namespace", "settings", "proxy"]


class Ready(msgspec.Struct, forbid_unknown_fields=True):
    """How to know that the gateway is up. All that are given must hold."""

    http: Annotated[str | None, Meta(description="A path that answers with a status below 500.")] = None
    log: Annotated[str | None, Meta(description="A regular expression that its output matches.")] = None
    port: Annotated[bool, Meta(description="Whether its port (settings.listen.port) is open.")] = False
    timeout: Annotated[float, Meta(description="Seconds that it may take to start.", gt=0)] = 30.0


class GatewayTable(msgspec.Struct, forbid_unknown_fields=True):
    """What the gateway is, how to install it, and how to start and stop it."""

    name: Annotated[str, Meta(description="The name in reports.")]
    version: Annotated[str, Meta(description="The version that is tried when nobody says which.")] = ""
    description: Annotated[str, Meta(description="One sentence about it.")] = ""
    python: Annotated[
        str | None,
        Meta(
            description="Virtual stage: an ASGI application (served by uvicorn), an aiohttp Application, a function "
            'that makes one, or an async function without arguments that serves, such as "mine.app:main".'
        ),
    ] = None
    reimport: Annotated[
        bool,
        Meta(
            description="Virtual stage: whether each world imports the program's modules anew. False makes worlds "
            "cheaper, for a program that neither reads settings nor keeps anything at the top of its modules."
        ),
    ] = True
    command: Annotated[list[str], Meta(description="Live stage: the command that serves in the foreground.")] = []
    cwd: Annotated[str, Meta(description="Live stage: where it is started, from the profile's folder.")] = "."
    port: Annotated[
        Annotated[int, Meta(gt=0, lt=65536)] | None,
        Meta(description="The port that it listens at, where it cannot be told another one."),
    ] = None
    setup: Annotated[
        list[list[str]],
        Meta(description="Commands that install it into {cache}; run once for each version and content of its files."),
    ] = []
    ready: Annotated[Ready, Meta(description="How to know that it is up; by default by its port.")] = msgspec.field(
        default_factory=lambda: Ready(port=True)
    )
    stop_timeout: Annotated[float, Meta(description="Seconds that it gets to end by itself after SIGTERM.")] = 10.0
    intercept: Annotated[
        Intercept | None,
        Meta(
            description="How requests to the vendors are led to the fakes: by a network namespace with names and "
            "certificates of its own, by base URLs in its settings, or by a proxy. By default by settings where the "
            "profile maps all that are needed, else by a namespace."
        ),
    ] = None


class Webhooks(msgspec.Struct, forbid_unknown_fields=True):
    """Where Twilio finds the gateway."""

    voice: Annotated[str, Meta(description="The path of the voice webhook, as set for its number.")] = "/twilio/voice"
    status: Annotated[str | None, Meta(description="The path of the number's status callback, if it has one.")] = None


class Claims(msgspec.Struct, forbid_unknown_fields=True):
    """What the gateway says it can do. What it does not claim is not tested."""

    features: Annotated[list[str], Meta(description="The features that it has.")] = []
    tool: Annotated[str | None, Meta(description="The name of a function tool that the model can call.")] = None
    end_call_tool: Annotated[str | None, Meta(description="The name of the tool that ends the call.")] = None


class ProfileFile(msgspec.Struct, forbid_unknown_fields=True):
    """A callproof profile: how to start, configure and drive one realtime-voice gateway."""

    gateway: GatewayTable
    settings: Annotated[
        dict[str, Any],
        Meta(description='Where the gateway reads a setting: "$VARIABLE", "--argument", or { env = "V", value = "" }.'),
    ] = {}
    files: Annotated[
        dict[str, str],
        Meta(description='Configuration files: where each goes, such as "{home}/.mine.json", and its Jinja template.'),
    ] = {}
    environment: Annotated[dict[str, str], Meta(description="More environment variables, as templates.")] = {}
    webhooks: Annotated[Webhooks, Meta(description="Where Twilio finds it.")] = msgspec.field(default_factory=Webhooks)
    operations: Annotated[dict[str, Operation], Meta(description="What an operator can ask it.")] = {}
    talk: Annotated[TalkTable, Meta(description="How browsers talk.")] = msgspec.field(default_factory=TalkTable)
    claims: Annotated[Claims, Meta(description="What it can do.")] = msgspec.field(default_factory=Claims)
