"""Gateway profiles: the folder that says how to start, configure and drive one gateway.

`profile.toml`, in short::

    [gateway]
    name = "mine"
    version = "2.0"                             # the one that is tried when nobody says which
    setup = [["npm", "install", "--prefix", "{cache}", "mine@{version}"]]
    command = ["node", "{cache}/server.js"]     # live stage
    python = "mine.app:app"                     # virtual stage: an ASGI application, or an async main()
    ready = { http = "/healthz" }               # and { log = "listening" }, and { port = true }

    [settings]                                  # our vocabulary -> where this gateway reads it
    openai.api_key = "$OPENAI_API_KEY"          # an environment variable
    listen.port = "--port"                      # a command line argument
    openai.base_url = { env = "OPENAI_URL", value = "{openai.base_url}/realtime" }

    [files]                                     # configuration files, from Jinja templates in this folder
    "{home}/.mine/config.json" = "config.json.j2"

    [environment]
    HOME = "{home}"                             # a new, empty folder for every start

    [webhooks]
    voice = "/twilio/voice"

    [operations.call]                           # how to place an outbound call; see `harness.profiles.ways`
    request = "POST /calls"
    json = { to = "{to}" }

    [claims]
    features = ["phone.inbound", "phone.outbound"]

    [versions."1.4"]                            # what is different in another version: `--gateway mine@1.4`
    gateway.ready.timeout = 90
    claims.without = ["phone.outbound"]
"""

from __future__ import annotations

from harness.profiles.errors import ProfileError
from harness.profiles.launch import Launch, Profile
from harness.profiles.load import find_profile, known_profiles, load_profile, load_versions
from harness.profiles.tables import Claims, GatewayTable, Intercept, ProfileFile, Ready, Webhooks
from harness.profiles.templates import flatten, render, render_all
from harness.profiles.vocabulary import CLAIMS, OPERATIONS, PLACES, VOCABULARY
from harness.profiles.ways import Operation, SocketTable, Way

__all__ = [
    "CLAIMS",
    "OPERATIONS",
    "PLACES",
    "VOCABULARY",
    "Claims",
    "GatewayTable",
    "Intercept",
    "Launch",
    "Operation",
    "Profile",
    "ProfileError",
    "ProfileFile",
    "Ready",
    "SocketTable",
    "Way",
    "Webhooks",
    "find_profile",
    "flatten",
    "known_profiles",
    "load_profile",
    "load_versions",
    "render",
    "render_all",
]
