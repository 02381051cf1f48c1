"""`callproof serve`: all fakes as stand-alone servers on loopback, with an HTTP control API."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from conformance.assembly import catalogue, make_knobs
from conformance.webrtc import UdpWebRtc
from fakes.audio import PHRASES
from fakes.azure.resources import Deployment, Resource
from fakes.azure.server import AzureServer
from fakes.azure.service import AzureService
from fakes.knobs import KnobError, Knobs
from fakes.openai.handshake import KeyInfo
from fakes.openai.server import OpenAIServer
from fakes.openai.service import OpenAIService
from fakes.people.errors import PersonError
from fakes.people.person import Person
from fakes.ports import Ports
from fakes.twilio.boundary import PhoneNumber
from fakes.twilio.call import Call
from fakes.twilio.core import Twilio
from fakes.twilio.server import TwilioServer
from harness.choices import Choices, Typical
from harness.clock import WorldClock
from harness.gates import Gates
from harness.report.ladder import ladder_lines, render_text
from harness.run import UsageProblem
from harness.wire import Message, Wire

NUMBER = "+14155550100"
CALLER = "+14155550199"


CLOSING_SECONDS = 1.0
"""How long whoever is still connected gets when the servers are told to end."""


AZURE_RESOURCE = "callproof"
"""The Azure resource that is served. At an address it needs no name."""


class CannotListen(RuntimeError):
    """The address or port that was asked for cannot be had."""


class NoSuchCall(UsageProblem):
    """There is no call of that sid."""


class Bench:
    """The vendors, the people, and what the control API does with them."""

    def __init__(self, as_of: dt.date, knobs: Knobs) -> None:
        loop = asyncio.get_running_loop()
        clock = WorldClock(loop, dt.datetime.now(dt.UTC).timestamp())
        self.wire = Wire(clock.now)
        # Every start is a different one: a gateway may keep what it knows of earlier calls by their ids.
        choices = Choices(Typical(), seed=int(dt.datetime.now(dt.UTC).timestamp() * 1000))
        self.ports = Ports(clock, choices, self.wire, Gates())
        self.knobs = knobs
        token = choices.token
        self.api_key = f"sk-proj-{token('plant/openai', 40)}"
        self.openai = OpenAIService(self.ports, as_of=as_of, keys={self.api_key: KeyInfo()}, knobs=knobs)
        self.azure_key = token("plant/azure/key1", 32)
        deployments = [Deployment(model, model) for model in _deployable(as_of)]
        self.azure_deployment = deployments[-1].name
        resource = Resource(AZURE_RESOURCE, keys=(self.azure_key,), deployments=deployments)
        self.azure = AzureService(self.ports, as_of=as_of, resources=[resource], knobs=knobs)
        self.webrtc = [UdpWebRtc(self.openai), UdpWebRtc(self.azure)]
        self.twilio = Twilio(
            self.ports,
            account_sid=f"AC{token('plant/account', 32)}",
            auth_token=token("plant/twilio", 32),
            numbers=[PhoneNumber(NUMBER)],
            knobs=knobs,
        )
        self.twilio.anybody = lambda number: Person(self.ports, number=number, party="callee")
        self.openai_server = OpenAIServer(self.openai)
        self.azure_server = AzureServer(self.azure)
        self.twilio_server = TwilioServer(self.twilio)
        self.people: dict[str, Person] = {}

    # -- control API

    def app(self) -> web.Application:
        """The control API."""
        app = web.Application(middlewares=[_errors_as_json])
        app.add_routes(
            [
                web.get("/", self.describe),
                web.post("/calls", self.place_call),
                web.get("/calls", self.list_calls),
                web.get("/calls/{sid}", self.show_call),
                web.post("/calls/{sid}/say", self.say),
                web.post("/calls/{sid}/press", self.press),
                web.post("/calls/{sid}/hangup", self.hang_up),
                web.post("/phones", self.add_phone),
                web.get("/phrases", self.list_phrases),
                web.get("/wire", self.read_wire),
                web.get("/ladder", self.read_ladder),
                web.get("/knobs", self.list_knobs),
                web.put("/knobs/{name}", self.turn_knob),
            ]
        )
        return app

    async def describe(self, request: web.Request) -> web.Response:
        """What there is."""
        return web.json_response(
            {
                "POST /calls": {
                    "webhook": "URL of the gateway's voice webhook",
                    "status_callback?": "URL",
                    "from?": CALLER,
                },
                "GET /calls, GET /calls/{sid}": "state, what Twilio's debugger says, and what the person heard",
                "POST /calls/{sid}/say": {"phrase": "a name of GET /phrases"},
                "POST /calls/{sid}/press": {"keys": "12#"},
                "POST /calls/{sid}/hangup": {},
                "POST /phones": {"number": "+1...", "behaviour": "answer | busy | reject | ignore", "after_ms?": 500},
                "GET /phrases": "what people and models can say",
                "GET /wire?since=0&channel=": "every message that crossed",
                "GET /ladder": "the same as a text ladder",
                "GET /knobs, PUT /knobs/{name}": {"value": "..."},
            }
        )

    async def place_call(self, request: web.Request) -> web.Response:
        """Let somebody call a webhook URL."""
        body = await _body(request, {"webhook"}, {"from", "status_callback"})
        number = replace(
            self.twilio.numbers[NUMBER],
            voice_url=_url(body, "webhook"),
            status_callback=_url(body, "status_callback") if "status_callback" in body else "",
        )
        person = Person(self.ports, number=_number(body.get("from", CALLER), "from"))
        self.twilio.numbers[NUMBER] = number
        webhook = urlsplit(number.voice_url)
        if webhook.scheme == "http":
            # Gateways answer with `wss://{Host}/...`, as behind a tunnel; on this machine there is no TLS at that port.
            self.twilio_server.routes[webhook.netloc] = f"http://{webhook.netloc}"
        call = person.dial(self.twilio, NUMBER)
        self.people[call.sid] = person
        return web.json_response(self._call(call), status=201)

    async def add_phone(self, request: web.Request) -> web.Response:
        """Give somebody a phone, so that the gateway can call them."""
        body = await _body(request, {"number"}, {"behaviour", "after_ms"})
        person = Person(self.ports, number=_number(body["number"], "number"), party="callee")
        after = body.get("after_ms", 500)
        if not isinstance(after, int) or after < 0:
            raise UsageProblem(f"after_ms is a number of milliseconds, such as 500, not {after!r}")
        behaviour = body.get("behaviour", "answer")
        react = {
            "answer": lambda: person.answers_after(after),
            "busy": lambda: person.is_busy(after),
            "reject": lambda: person.rejects(after),
            "ignore": person.does_not_answer,
        }.get(str(behaviour))
        if react is None:
            raise UsageProblem(f"behaviour is answer, busy, reject or ignore, not {behaviour!r}")
        react()
        self.twilio.add_phone(person)
        return web.json_response({"number": person.number, "behaviour": behaviour}, status=201)

    async def list_calls(self, request: web.Request) -> web.Response:
        """Every call so far."""
        return web.json_response([self._call(call) for call in self.twilio.calls])

    async def show_call(self, request: web.Request) -> web.Response:
        """One call."""
        return web.json_response(self._call(self._find(request)))

    async def say(self, request: web.Request) -> web.Response:
        """Let the person of a call say a phrase."""
        body = await _body(request, {"phrase"}, set())
        person = self._person(request)
        if body["phrase"] not in PHRASES:
            raise UsageProblem(f"no phrase is called {body['phrase']!r}; GET /phrases lists them")
        person.start_saying(str(body["phrase"]))
        return web.json_response({"saying": person.saying}, status=202)

    async def press(self, request: web.Request) -> web.Response:
        """Let the person of a call press keys."""
        body = await _body(request, {"keys"}, set())
        self._person(request).press(str(body["keys"]))
        return web.json_response({}, status=202)

    async def hang_up(self, request: web.Request) -> web.Response:
        """Let the person of a call put the phone down."""
        self._person(request).hang_up()
        return web.json_response({}, status=202)

    async def list_phrases(self, request: web.Request) -> web.Response:
        """What people and models can say."""
        return web.json_response({name: phrase.text for name, phrase in PHRASES.items()})

    async def read_wire(self, request: web.Request) -> web.Response:
        """Messages from number `since` on, of one `channel` or of all."""
        try:
            since = int(request.query.get("since", "0"))
        except ValueError:
            raise UsageProblem("since is the number of a message, such as 0") from None
        channel = request.query.get("channel")
        found = [m for m in self.wire.messages[max(0, since) :] if channel in (None, m.channel)]
        return web.json_response([_message(message) for message in found])

    async def read_ladder(self, request: web.Request) -> web.Response:
        """The wire as a ladder diagram in text."""
        return web.Response(text=render_text(ladder_lines(self.wire.messages), 120) + "\n")

    async def list_knobs(self, request: web.Request) -> web.Response:
        """Every knob with its value and what it is about."""
        told = {}
        for name in self.knobs:
            knob = self.knobs.knob(name)
            about: dict[str, Any] = {"value": self.knobs[name], "default": knob.default, "behaviour": knob.behaviour}
            if knob.options:
                about["options"] = list(knob.options)
            told[name] = about
        return web.json_response(told)

    async def turn_knob(self, request: web.Request) -> web.Response:
        """Turn a knob."""
        body = await _body(request, {"value"}, set())
        name = request.match_info["name"]
        if not isinstance(body["value"], bool | int | str):
            raise UsageProblem(f"the value of a knob is true, false, a whole number or a text, not {body['value']!r}")
        self.knobs.set(name, body["value"])
        return web.json_response({name: self.knobs[name]})

    # -- helpers

    def _find(self, request: web.Request) -> Call:
        sid = request.match_info["sid"]
        for call in self.twilio.calls:
            if call.sid == sid:
                return call
        raise NoSuchCall(f"no call is called {sid}; GET /calls lists them")

    def _person(self, request: web.Request) -> Person:
        call = self._find(request)
        person = self.people.get(call.sid) or call.person
        if not isinstance(person, Person):
            raise UsageProblem(f"nobody is on the phone in {call.sid}")
        return person

    def _call(self, call: Call) -> dict[str, Any]:
        person = self.people.get(call.sid) or call.person
        heard = person.heard if isinstance(person, Person) else []
        return {
            "sid": call.sid,
            "direction": call.direction,
            "from": call.from_,
            "to": call.to,
            "status": str(call.status),
            "debugger": [f"{entry.code}: {entry.message}" for entry in call.debugger if entry.code],
            "heard": [{"phrase": h.phrase, "at_ms": round(h.start_ms), "complete": h.complete} for h in heard],
        }


def _message(message: Message) -> dict[str, Any]:
    return {
        "seq": message.seq,
        "at": round(message.at, 6),
        "source": message.source,
        "target": message.target,
        "channel": message.channel,
        "kind": message.kind,
        "connection": message.connection,
        "body": message.text,
        "invalid": message.invalid,
        "meta": message.meta,
    }


async def _body(request: web.Request, needed: set[str], optional: set[str]) -> dict[str, Any]:
    wanted = f"the body is a JSON object with {', '.join(sorted(needed))}"
    try:
        body = await request.json()
    except ValueError:
        raise UsageProblem(wanted) from None
    if not isinstance(body, dict):
        raise UsageProblem(wanted)
    if unknown := body.keys() - needed - optional:
        raise UsageProblem(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(needed | optional))}")
    if needed - body.keys():
        raise UsageProblem(wanted)
    return body


def _url(body: Mapping[str, Any], key: str) -> str:
    value = body[key]
    if not isinstance(value, str) or not re.match(r"https?://[^/]", value):
        raise UsageProblem(f"{key} is a URL, such as http://127.0.0.1:8080/twilio/voice, not {value!r}")
    return value


def _number(value: object, key: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\+[1-9]\d{6,14}", value):
        raise UsageProblem(f"{key} is a telephone number in E.164, such as {CALLER}, not {value!r}")
    return value


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except (UsageProblem, KnobError, PersonError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=404 if isinstance(error, NoSuchCall) else 400)
    except web.HTTPMethodNotAllowed as error:
        told = f"{request.path} takes {', '.join(sorted(error.allowed_methods))}; GET / lists what there is"
        return web.json_response({"error": told}, status=405)
    except web.HTTPException as error:
        told = f"{request.path}: {error.reason}; GET / lists what there is"
        return web.json_response({"error": told}, status=error.status)
    return response


async def _listen(app: web.Application, host: str, port: int = 0) -> tuple[web.AppRunner, str]:
    """A running server and its URL. Raises `CannotListen`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSING_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"port {port} on {host} is in use; give another --port, or 0 for a free one") from None
        what = f"port {port} on {host}" if port else f"--host {host}"
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise CannotListen(f"{what} cannot be had: {why}") from None
    return runner, f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"


@asynccontextmanager
async def serving(host: str, port: int, as_of: dt.date, knobs: Knobs) -> AsyncIterator[tuple[Bench, dict[str, str]]]:
    """All vendors on ports of their own, and the control API on `port`; with them what a gateway has to know.

    Raises `CannotListen`.
    """
    bench = Bench(as_of, knobs)
    runners: list[web.AppRunner] = []
    try:
        # First what can go wrong.
        control, control_url = await _listen(bench.app(), host, port)
        runners.append(control)
        openai, openai_url = await _listen(bench.openai_server.app, host)
        runners.append(openai)
        azure, azure_url = await _listen(bench.azure_server.app, host)
        runners.append(azure)
        twilio, twilio_url = await _listen(bench.twilio_server.app, host)
        runners.append(twilio)
        await bench.twilio_server.start()
        yield (
            bench,
            {
                "openai.base_url": f"{openai_url}/v1",
                "openai.api_key": bench.api_key,
                "azure.endpoint": azure_url,
                "azure.api_key": bench.azure_key,
                "azure.deployment": bench.azure_deployment,
                "twilio.base_url": twilio_url,
                "twilio.account_sid": bench.twilio.account_sid,
                "twilio.auth_token": bench.twilio.auth_token,
                "twilio.number": NUMBER,
                "control.url": control_url,
            },
        )
    finally:
        await bench.openai_server.close()
        await bench.azure_server.close()
        for webrtc in bench.webrtc:
            await webrtc.close()
        await bench.twilio_server.close()
        for runner in runners:
            await runner.cleanup()


def _deployable(day: dt.date) -> list[str]:
    """The realtime models that there were on a day, the newest last: each is deployed under its own name."""
    models = [model for model in catalogue().models.values() if model.kind == "realtime" and model.released <= day]
    return [model.name for model in sorted(models, key=lambda model: model.released)]


def make_bench_knobs(turned: Mapping[str, bool | int | str]) -> Knobs:
    """The vendors' knobs for servers that somebody runs by hand. Raises `UsageProblem`."""
    try:
        # Whoever does that has no public https name: plain URLs on this machine are welcome.
        return make_knobs({"twilio.local_urls": "allowed"}, turned)
    except KnobError as error:
        raise UsageProblem(str(error)) from None


def serve_forever(host: str, port: int, as_of: dt.date, turned: Mapping[str, bool | int | str]) -> None:
    """Serve until SIGINT or SIGTERM. Raises `UsageProblem` for a bad knob, `CannotListen` for a bad address."""
    knobs = make_bench_knobs(turned)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with serving(host, port, as_of, knobs) as (_, ready):
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            await stop.wait()

    asyncio.run(main())
