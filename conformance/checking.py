"""`callproof check-gateway`: start a gateway, place a call, and say in a few lines what works and what does not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from conformance.assembly import PhoneWorld
from conformance.browsing import Refused
from conformance.live import make_station, move_in
from conformance.probing import overlooked, probe_calls, probe_health, probe_signature, probe_talk, probe_tools
from conformance.worlds import run_world
from harness import run
from harness.choices import Typical
from harness.driver import OperationFailed
from harness.live.enclosure import NoEnclosure
from harness.live.process import run_setup
from harness.profile import Profile, ProfileError
from harness.report.model import Verdict
from harness.run import RunRequest
from harness.stage import GatewayNotStartable
from harness.suite import CaseDefinition, CaseOver, Checks
from harness.wire import Message

STREAM_SECONDS = 8.0
SESSION_SECONDS = 6.0
HEAR_SECONDS = 8.0
GREETING_SECONDS = 2.5


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried. `result`: ok, failed, or note. `todo`: what to do about it."""

    name: str
    result: str
    said: str = ""
    todo: str = ""


class Over(Exception):
    """What comes next has nothing to stand on."""


@dataclass
class Checkup:
    """What was found out so far. `tell` hears of every step as it is made."""

    tell: Callable[[Step], None]
    steps: list[Step] = field(default_factory=list)

    def add(self, name: str, result: str, said: str = "", todo: str = "") -> None:
        """Take a step."""
        step = Step(name, result, said, todo)
        self.steps.append(step)
        self.tell(step)

    def ok(self, name: str, said: str = "") -> None:
        """It works."""
        self.add(name, "ok", said)

    def fails(self, name: str, said: str, todo: str) -> None:
        """It does not work."""
        self.add(name, "failed", said, todo)

    def note(self, name: str, said: str, todo: str = "") -> None:
        """It works or not, and something is to be known about it."""
        self.add(name, "note", said, todo)

    @contextmanager
    def trying(self, name: str, todo: str | Callable[[], str]) -> Iterator[None]:
        """What is done inside fails this step by an AssertionError or a time-out; the rest is left out then."""
        try:
            yield
        except (AssertionError, TimeoutError, aiohttp.ClientError, OSError) as error:
            self.fails(name, _line(error) or "it took too long", todo if isinstance(todo, str) else todo())
            raise Over from None

    @property
    def failed(self) -> bool:
        """Whether anything does not work."""
        return any(step.result == "failed" for step in self.steps)


def check_gateway(request: RunRequest, tell: Callable[[Step], None]) -> int:
    """Check it, step by step; returns the exit status as `callproof run` has it. Raises nothing of the gateway's.

    On the live stage with namespaces, the whole command begins again inside of one.
    """
    checkup = Checkup(tell)
    profile = request.profile
    began = time.perf_counter()
    try:
        if request.stage == "live":
            asyncio.run(run_setup(profile))
            move_in(request)
    except (GatewayNotStartable, NoEnclosure, ProfileError) as error:
        checkup.fails("setup", _line(error), _about_setup(error, profile))
        return run.EXIT_NOT_STARTABLE
    checkup.ok("profile", f"{profile.name} {profile.version}".strip() + f", {profile.folder / 'profile.toml'}")
    if profile.gateway.setup:
        checkup.ok("setup", f"installed in {profile.cache}")
    for said, todo in overlooked(profile):
        checkup.note("claims", said, todo)
    definition = CaseDefinition(
        name="check_gateway", story="", run=_Story(checkup, began).tell, about="LIFE-001", seconds=60.0
    )
    station = make_station(request) if request.stage == "live" else None
    try:
        outcome = run_world(definition, request, request.columns[0], Typical(), request.seed, station=station)
    except (GatewayNotStartable, ProfileError) as error:
        checkup.fails("start", str(error), _about_start(error, profile))
        return run.EXIT_NOT_STARTABLE
    finally:
        if station is not None:
            station.close()
    if outcome.error is not None:
        checkup.fails("harness", outcome.error, "this is a fault of the profile's driver, or of callproof itself")
        return run.EXIT_HARNESS_ERROR
    findings = [f for f in outcome.checks.merged() if f.verdict is Verdict.FAIL]
    if findings:
        said = "; ".join(f"{f.requirement} {f.message}" for f in findings[:3])
        more = f" and {len(findings) - 3} more" if len(findings) > 3 else ""
        checkup.note("rules", f"{said}{more}", "callproof run tells more about each of them")
    return run.EXIT_FAILED if checkup.failed else 0


class _Story:
    """The calls that are placed, and what is looked at in them."""

    def __init__(self, checkup: Checkup, began: float) -> None:
        self._up = checkup
        self._began = began

    async def tell(self, world: PhoneWorld, check: Checks) -> None:
        """All of it; what cannot be tried for want of something else is left out."""
        self._up.ok("start", f"ready after {time.perf_counter() - self._began:.1f} s, at {world.gateway.url}")
        claims = world.profile.claims.features
        phone = [claim for claim in claims if claim.startswith("phone.")]
        if phone or not any(claim.startswith("talk.") for claim in claims):
            await self._try(self._inbound(world))
        if "phone.outbound" in claims:
            await self._try(self._outbound(world))
        if "talk.webrtc" in claims:
            await self._try(self._mint(world))
        if "talk.relay" in claims:
            await self._try(self._relay(world))
        if "talk.page" in claims:
            await self._try(self._page(world))
        for name in ("health", "doctor"):
            if name in world.profile.operations:
                await self._try(self._operation(world, name))
        for probe in (probe_signature, probe_health, probe_talk, probe_calls, probe_tools):
            for result, said, todo in await probe(world):
                self._up.add("claims", result, said, todo)

    async def _try(self, part: Awaitable[None]) -> None:
        try:
            await part
        except (Over, CaseOver):
            return

    # -- the telephone

    async def _inbound(self, world: PhoneWorld) -> None:
        up, person = self._up, world.caller()
        call = person.dial(world.twilio, world.number)
        with up.trying("webhook", f"is webhooks.voice = {world.profile.webhooks.voice!r} its path for Twilio's calls?"):
            answer = await world.sees(
                ("response", "failure"), within=STREAM_SECONDS, channel="twilio.webhook", source="gateway"
            )
        path = world.profile.webhooks.voice
        status = answer.meta.get("status")
        if answer.kind != "response" or not isinstance(status, int) or not 200 <= status < 300:
            self._refused(path, answer)
            raise Over
        if call.debugger and not call.streams and "<Stream" not in answer.text:
            entry = call.debugger[-1]
            up.fails("webhook", f"POST {path} is answered {status}; Twilio says {entry.code}: {entry.message}", TWIML)
            raise Over
        up.ok("webhook", f"POST {path} is answered {status}")
        with up.trying("stream", TWIML):
            kinds = ("upgrade.accepted", "upgrade.refused", "failure", "ended")
            opened = await world.sees(
                kinds, within=STREAM_SECONDS, where=lambda m: m.channel in ("twilio.stream", "phone")
            )
            said = "; ".join(f"Twilio says {entry.code}: {entry.message}" for entry in call.debugger[-2:] if entry.code)
            assert opened.kind == "upgrade.accepted", said or f"it was not opened: {opened.kind} {opened.meta}"
        up.ok("stream", "Twilio's media stream is open")
        await self._talks(world, 1, person, "inbound call")

    def _refused(self, path: str, answer: Message) -> None:
        status = answer.meta.get("status")
        said = f"POST {path} is answered {status or 'nothing'}: {answer.text.strip()[:120]!r}"
        todo = "its log may say why; what Twilio needs is TwiML with <Connect><Stream>"
        if status == 404:
            todo = "set webhooks.voice to the path at which the gateway takes Twilio's calls"
        elif status in (401, 403):
            todo = (
                "it refuses Twilio's signature: map twilio.auth_token, and public_url to what it computes the URL from"
            )
        self._up.fails("webhook", said, todo)

    async def _talks(self, world: PhoneWorld, ordinal: int, person: Any, name: str, *, asks: bool = True) -> None:
        """A person on the phone is greeted, asks, and is answered. `asks`: whether to ask even who greets."""
        up = self._up
        try:
            session = await world.session(ordinal, within=SESSION_SECONDS)
        except AssertionError as error:
            up.fails("session", str(error), _about_session(world))
            raise Over from None
        up.ok("session", f"realtime session with {world.column.model}, {world.column.dialect} dialect")
        greeted = "phone.greeting" in world.profile.claims.features
        if greeted:
            with up.trying(name, lambda: _refusal(world) or "does it send response.create, and media to Twilio?"):
                await person.hears("greeting", within=HEAR_SECONDS)
        else:
            await world.passes(GREETING_SECONDS)  # whoever speaks first has begun by then
        said = "greeted"
        if asks or not greeted:
            todo = "is the caller's audio appended, and are audio deltas sent to Twilio as media?"
            with up.trying(name, lambda: _refusal(world) or todo):
                await person.says("what_time")
                await person.hears("its_noon", within=HEAR_SECONDS)
            said = "greeted, asked, answered" if greeted else "asked, answered"
        up.ok(name, said)
        if not greeted and any(heard.phrase == "greeting" for heard in person.heard):
            up.note("claims", "hides phone.greeting: it speaks first", 'add "phone.greeting" to claims.features')
        person.hang_up()
        with up.trying("hang-up", "close the model's WebSocket when Twilio's stream stops"):
            await world.session_ends(session, within=5)

    async def _outbound(self, world: PhoneWorld) -> None:
        callee = world.callee()
        before = len(world.upstream.sessions)
        with self._up.trying(
            "outbound call", "is [operations.call] as the gateway wants it, and twilio.base_url mapped?"
        ):
            await world.order_call(callee.number)
            await callee.connected(within=STREAM_SECONDS)
        await self._talks(world, before + 1, callee, "outbound call", asks=False)

    # -- browsers

    async def _mint(self, world: PhoneWorld) -> None:
        with self._up.trying(
            "talk.webrtc", "is [talk.webrtc] as the gateway wants it, and `secret` where its answer has it?"
        ):
            grant = await world.web.granted("webrtc")
        self._up.ok("talk.webrtc", f"a client secret of {len(grant.secret)} characters")

    async def _relay(self, world: PhoneWorld) -> None:
        with self._up.trying("talk.relay", "is [talk.relay] as the gateway wants it?"):
            browser = await world.web.talks("relay")
            await browser.says("what_time")
            await browser.hears("its_noon", within=HEAR_SECONDS, complete=None)
        self._up.ok("talk.relay", "asked, answered")
        await browser.leave()

    async def _page(self, world: PhoneWorld) -> None:
        with self._up.trying("talk.page", "is talk.page the path of the page?"):
            answer = await world.web.page()
            assert answer.ok, f"GET {world.web.page_path()} is answered {answer.status}"
        self._up.ok("talk.page", f"GET {world.web.page_path()} is answered {answer.status}")

    async def _operation(self, world: PhoneWorld, name: str) -> None:
        with self._up.trying(name, f"is [operations.{name}] as the gateway wants it?"):
            status, body = await world.operate(name)
            assert 200 <= status < 300, f"it answers {status}: {json.dumps(body)[:120]}"
        self._up.ok(name, f"answers {status}")


TWIML = 'answer with TwiML that has <Connect><Stream url="wss://..."/></Connect>, under public_url or the Host header'


def _about_session(world: PhoneWorld) -> str:
    refused = world.wire.first("upgrade.refused", channel=f"{world.upstream.party}.realtime")
    if refused is not None:
        return f"the model refused the connection: {refused.text.strip()[:200] or refused.meta.get('status')}"
    if world.request.stage == "live" and world.request.intercept == "settings":
        return 'map openai.base_url or openai.ws_url, or write intercept = "namespace"; see the gateway\'s output'
    lines = world.gateway.output().strip().splitlines()[-4:]
    printed = "".join(f"\n  {line[:160]}" for line in lines) if lines else " nothing"
    return f"does it get its key (openai.api_key), and the right model? it printed:{printed}"


def _refusal(world: PhoneWorld) -> str:
    """What the model did not like, empty for nothing."""
    refused = world.wire.first("error", channel=f"{world.upstream.party}.realtime")
    if refused is None:
        return ""
    model, dialect = world.column.model, world.column.dialect
    return f"the model refused: {refused.get('error.message')} ({model} speaks the {dialect} dialect)"


def _about_setup(error: Exception, profile: Profile) -> str:
    if isinstance(error, NoEnclosure):
        return "callproof doctor says what this machine can do; --intercept settings does without"
    return f"mend gateway.setup in {profile.folder / 'profile.toml'}"


def _about_start(error: Exception, profile: Profile) -> str:
    if isinstance(error, ProfileError):
        return f"mend {profile.folder / 'profile.toml'}"
    return "try gateway.command by hand; is listen.port mapped, and gateway.ready what it does when it is up?"


def _line(error: BaseException) -> str:
    if isinstance(error, Refused | OperationFailed):
        return str(error)
    return (str(error) or type(error).__name__).strip()
