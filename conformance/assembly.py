"""Where harness and fakes meet: one world with OpenAI, Twilio, the people on the phone, and a gateway."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
from faker import Faker

from conformance.azure import VENDORS, Azure
from conformance.browsing import Web
from conformance.webrtc import LocalWebRtc, UdpWebRtc, WebRtc
from fakes.knobs import Knob, Knobs
from fakes.openai.catalogue import Catalogue
from fakes.openai.catalogue import catalogue as load_catalogue
from fakes.openai.handshake import KeyInfo
from fakes.openai.server import OpenAIServer
from fakes.openai.service import OpenAIService
from fakes.openai.session import RealtimeSession
from fakes.people.human import in_vain
from fakes.people.person import Person
from fakes.ports import Ports
from fakes.twilio.boundary import PhoneNumber
from fakes.twilio.call import Call
from fakes.twilio.core import Twilio
from fakes.twilio.server import TwilioServer
from fakes.twilio.stream import Stream
from harness.choices import Choices
from harness.clock import WorldClock
from harness.driver import GatewayHandle
from harness.gates import Gates, OrderedGates
from harness.operations import OPERATION, Operator
from harness.requirements import Registry
from harness.run import RunRequest
from harness.stage import Ended, GatewayNotStartable, RefusedGateway, RunningGateway, Stage
from harness.suite import CaseDefinition, Column
from harness.virtual.network import acting_as
from harness.virtual.stage import VirtualStage
from harness.wire import Message, Wire

PATIENCE_SECONDS = 3.0
"""How long anybody waits for a conversation that cannot come about any more."""
HANDSHAKE = ("upgrade", "upgrade.accepted", "upgrade.refused", "close")
HERE = Path(__file__).parent
FAKES = HERE.parent / "fakes"

SETTLE_SECONDS = 20.0
"""How long after the last hang-up a gateway may take to put everything away."""

LONGEST_WAIT = 30.0
"""Seconds that a story may wait in real time for nothing but time to pass."""


@functools.cache
def registry() -> Registry:
    """The requirements of the suite."""
    return Registry.load(HERE / "requirements")


@functools.cache
def _knob_table() -> dict[str, Knob]:
    knobs = Knobs.load(*(FAKES / vendor / "knobs.toml" for vendor in ("openai", "azure", "twilio")))
    return {name: knobs.knob(name) for name in knobs}


def make_knobs(*turned: Mapping[str, bool | int | str]) -> Knobs:
    """All vendors' knobs, turned by each mapping in order. Raises `KnobError`."""
    knobs = Knobs(_knob_table())
    for mapping in turned:
        for name, value in mapping.items():
            knobs.set(name, value)
    return knobs


@functools.cache
def catalogue() -> Catalogue:
    """OpenAI's models and their dates."""
    return load_catalogue()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is on the phone, for the parameters that Twilio sends along."""

    name: str
    number: str


@functools.cache
def identity(seed: int, which: str) -> Identity:
    """A person that follows from the seed."""
    faker = _faker()
    faker.seed_instance(f"{seed}/{which}")
    return Identity(faker.name(), faker.numerify("+1415555####"))


@functools.cache
def _faker() -> Faker:
    return Faker("en_US", use_weighting=False)


class PhoneWorld:
    """What a case has in its hands."""

    def __init__(
        self, stage: Stage, definition: CaseDefinition, request: RunRequest, column: Column, choices: Choices
    ) -> None:
        self.stage = stage
        self.definition = definition
        self.request = request
        self.profile = request.profile
        self.column = column
        self.choices = choices
        self.number = "+14155550100"
        self.people: list[Person] = []
        self.planted: dict[str, str] = {}
        self.deliberate: set[str | bytes] = set()
        self.clock: WorldClock
        self.wire: Wire
        self.gates: Gates
        self.twilio: Twilio
        self.openai: OpenAIService
        self.gateway: RunningGateway
        self.ended: Ended | None = None
        self._operator: Operator
        self._web: Web | None = None
        self._azure: Azure | None = None
        self._closers: list[Callable[[], Any]] = []
        self._hopeless = ""
        self._limits: list[asyncio.Timeout] = []

    # -- set up and tear down

    async def open(self) -> None:
        """Bring up vendors and gateway. Raises `GatewayNotStartable`."""
        loop = asyncio.get_running_loop()
        # A process has the machine's clock, by which it judges what the vendors say; only what they do is of its day.
        wall = time.time() if self.stage.name == "live" else noon(self.column.as_of)
        self.clock = WorldClock(loop, wall)
        self.wire = Wire(self.clock.now)
        trace = self.request.trace
        ordered = trace is not None and self.stage.name == "live"
        self.gates = OrderedGates(trace.order) if trace is not None and ordered else Gates()

        def ports(vendor: str) -> Ports:
            # Whoever makes a vendor do something, a person or a story: it is the vendor whose connections follow.
            return Ports(self.clock.within(acting_as(vendor)), self.choices, self.wire, self.gates)

        knobs = make_knobs(self.definition.knobs, self.request.knobs)
        token = self.choices.token
        self.planted = {
            "openai.api_key": f"sk-proj-{token('plant/openai', 40)}",
            "twilio.account_sid": f"AC{token('plant/account', 32)}",
            "twilio.auth_token": token("plant/twilio", 32),
            "operator.token": f"op-{token('plant/operator', 24)}",
            "talk.token": f"talk-{token('plant/talk', 24)}",
        }
        address = await self.stage.prepare_gateway()
        self.openai = OpenAIService(
            ports(OpenAIServer.name),
            as_of=self.column.as_of,
            keys={self.planted["openai.api_key"]: KeyInfo()},
            knobs=knobs,
        )
        openai_server = OpenAIServer(self.openai, routes=self.stage.routes())
        openai_server.hosts += tuple(self.definition.hosts.get(openai_server.name, ()))
        self._closers.append(openai_server.close)
        public = address["public_url"]
        status = self.profile.webhooks.status
        self.twilio = Twilio(
            ports(TwilioServer.name),
            account_sid=self.planted["twilio.account_sid"],
            auth_token=self.planted["twilio.auth_token"],
            numbers=[
                PhoneNumber(
                    self.number,
                    voice_url=public + self.profile.webhooks.voice,
                    status_callback=public + status if status else "",
                )
            ],
            knobs=knobs,
            # A line of real time is never silent: some gateways learn only by what they send that their model is gone.
            audio=self.definition.audio or self.stage.name == "live",
        )
        twilio_server = TwilioServer(self.twilio, routes=self.stage.routes())
        self._closers.append(twilio_server.close)
        openai_url = await self.stage.serve(openai_server)
        models: dict[str, str] = {
            "openai.api_key": self.planted["openai.api_key"],
            "openai.base_url": f"{openai_url}/v1",
            "openai.ws_url": f"{openai_url.replace('http', 'ws', 1)}/v1",
            "openai.model": self.column.model,
        }
        if self.definition.vendor in VENDORS:
            self._azure = Azure(ports("azure"), self.column, knobs, VENDORS[self.definition.vendor])
            self._closers.append(self._azure.close)
            self.planted.update(self._azure.planted())
            models = await self._azure.serve(self.stage)
        twilio_url = await self.stage.serve(twilio_server)
        await twilio_server.start()
        values = {
            **address,
            **{name: value for name, value in self.planted.items() if not name.startswith(("openai.", "azure."))},
            **models,
            "twilio.base_url": twilio_url,
            "twilio.number": self.number,
        }
        for name, value in self.definition.settings.items():
            values.pop(name, None)
            if value is not None:
                values[name] = value
        self._values = values
        if isinstance(self.stage, VirtualStage):
            for vendor in ("azure" if self._azure is not None else "openai", "twilio"):
                delay = self.choices.delay(f"link/{vendor}/latency", 0, 1, 40)
                self.stage.network.link("gateway", vendor).latency = delay
        try:
            self.gateway = await self.stage.start_gateway(self.profile, values)
        except GatewayNotStartable as error:
            if not self.definition.may_refuse:
                raise
            self.gateway = RefusedGateway(str(error))
        http = aiohttp.ClientSession(trust_env=False)
        self._closers.append(http.close)
        self._operator = Operator(http, self.wire.record, commands=not isinstance(self.stage, VirtualStage))

    async def close(self) -> None:
        """Take everything down, whatever state it is in."""
        for close in reversed(self._closers):
            await close()
        await self.stage.close()

    @property
    def azure(self) -> Azure:
        """Azure, in a world whose gateway is configured for it."""
        if self._azure is None:
            raise AssertionError('this world has no Azure: its case wants @case(..., vendor="azure")')
        return self._azure

    def issued(self) -> Mapping[str, Sequence[str]]:
        """The credentials that vendors have handed out in this world, by their names in `credentials.toml`."""
        if self._azure is None:
            return {}
        tokens = [token.text for token in self._azure.entra.issued]
        return {"azure.token": tokens, "azure.api_key": self._azure.exchanged}

    @property
    def started(self) -> bool:
        """Whether the gateway is up; False where it has refused its settings, and was allowed to."""
        return not isinstance(self.gateway, RefusedGateway)

    @property
    def upstream(self) -> OpenAIService:
        """The service that the gateway is configured for: OpenAI's own, or Azure's."""
        return self.openai if self._azure is None else self._azure.service

    # -- people

    def caller(self) -> Person:
        """A new person who can call the gateway's number."""
        return self._person("caller")

    def callee(self) -> Person:
        """A new person whom the gateway can call."""
        return self._person("callee")

    def _person(self, party: Literal["caller", "callee"]) -> Person:
        who = identity(self.choices.seed, f"{party}{len(self.people)}")
        person = Person(self.twilio.ports, number=who.number, party=party)
        if self._hopeless:
            person.loses_patience(PATIENCE_SECONDS, self._hopeless)
        self.people.append(person)
        self.twilio.add_phone(person)
        return person

    async def everybody_leaves(self) -> None:
        """Every browser is closed."""
        if self._web is not None:
            for browser in self._web.browsers:
                await browser.leave()

    async def incoming(self) -> Person:
        """Somebody calls the gateway's number and is connected."""
        person = self.caller()
        person.dial(self.twilio, self.number)
        await person.connected(within=10)
        return person

    @property
    def web(self) -> Web:
        """The browsers of this world, and what they do."""
        if self._web is None:
            webrtc: WebRtc = UdpWebRtc(self.upstream)
            if isinstance(self.stage, VirtualStage):
                webrtc = LocalWebRtc(self.upstream)
                delay = self.choices.delay("link/browser/gateway/latency", 0, 20, 150)
                self.stage.network.link("browser", "gateway").latency = delay
            self._web = Web(self, webrtc.peer)
            self._closers += [webrtc.close, self._web.close]
        return self._web

    async def gateway_leaves(self) -> Ended:
        """The world is over: the gateway is told to stop, or kept for the next world, as the stage has it."""
        if self.ended is None:
            self.ended = await self.stage.part(self.gateway)
        return self.ended

    async def gateway_stops(self) -> Ended:
        """Tell the gateway to stop, and wait until it has; does nothing the second time."""
        if self.ended is None:
            self.ended = await self.gateway.stop()
        return self.ended

    # -- the gateway's own interface

    def handle(self, **values: str) -> GatewayHandle:
        """What is asked of the gateway, with `values` in the place of the world's."""
        gateway, profile = self.gateway, self.profile
        return GatewayHandle(
            url=gateway.url,
            values={**self._values, **values},
            home=gateway.home or profile.folder,
            cache=profile.cache,
            folder=profile.folder,
            version=profile.version,
            output=gateway.output,
            state=gateway.state,
            environment=gateway.environment,
        )

    async def operate(self, name: str, **fill: str) -> tuple[int, Any]:
        """Use an operation of the profile; returns the status and the body of the answer (parsed if it is JSON).

        AssertionError when the gateway does not answer.
        """
        operation = self.profile.operations.get(name)
        if operation is None:
            raise AssertionError(f"the profile of {self.profile.name} has no [operations.{name}]")
        asked = sum(m.channel in ("gateway.http", OPERATION) for m in self.wire.all("request"))
        connection = f"operator/{name}#{asked + 1}"
        answer = await self._operator.perform(
            operation, self.handle(), fill, key=f"operations.{name}", connection=connection
        )
        return answer.status, answer.body

    async def order_call(self, to: str) -> Call:
        """Tell the gateway to call `to`; returns the call once Twilio has it. AssertionError when it is refused."""
        before = len(self.twilio.calls)
        status, body = await self.operate("call", to=to)
        assert 200 <= status < 300, f"the gateway refused to place a call: {status} {str(body)[:200]}"
        assert len(self.twilio.calls) > before, "the gateway accepted the order but created no call at Twilio"
        return self.twilio.calls[before]

    # -- what the model and the people are waited for

    async def session(self, ordinal: int = 1, *, within: float = 15) -> RealtimeSession:
        """Wait for the nth realtime session of the world, counted from 1. AssertionError when it is not opened."""
        try:
            async with self._patiently(within):
                return await self.upstream.wait_session(ordinal)
        except TimeoutError:
            raise AssertionError(
                f"the gateway did not open realtime session {ordinal} {in_vain(within, self._hopeless)}; "
                f"{len(self.upstream.sessions)} were opened"
            ) from None

    async def model_hears(self, session: RealtimeSession, phrase: str, *, within: float) -> None:
        """Wait until the model has recognised `phrase` in what was appended. AssertionError when it has not."""
        try:
            async with self._patiently(within):
                await self.upstream.wait_for(lambda: any(h.phrase == phrase and h.complete for h in session.heard))
        except TimeoutError:
            heard = [h.phrase if h.complete else f"part of {h.phrase}" for h in session.heard]
            raise AssertionError(
                f"the model did not hear {phrase!r} {in_vain(within, self._hopeless)}, but {heard or 'nothing'}"
            ) from None

    def loses_patience(self, why: str) -> None:
        """There will be no conversation, for the reason that `why` tells: whoever waits for one gives up soon."""
        self._hopeless = why
        for person in self.people:
            person.loses_patience(PATIENCE_SECONDS, why)
        soon = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        for limit in self._limits:
            limit.reschedule(min(soon, limit.when() or soon))

    @asynccontextmanager
    async def _patiently(self, within: float) -> AsyncIterator[None]:
        """A limit for what only a conversation brings. Raises TimeoutError."""
        async with asyncio.timeout(min(within, PATIENCE_SECONDS) if self._hopeless else within) as limit:
            self._limits.append(limit)
            try:
                yield
            finally:
                self._limits.remove(limit)

    async def session_ends(self, session: RealtimeSession, *, within: float) -> None:
        """Wait until a realtime session is closed. AssertionError when it stays open."""
        try:
            async with asyncio.timeout(within):
                await self.upstream.wait_for(lambda: session.closed is not None)
        except TimeoutError:
            raise AssertionError(f"realtime session {session.ordinal} was still open after {within:g} s") from None

    async def ended_or_hears(self, person: Person, phrase: str | None, *, within: float) -> None:
        """Wait until the call is over, or the person hears `phrase` (None: anything that begins from now on)."""
        since = len(self.wire) - 1
        where = (lambda m: m.body == phrase) if phrase is not None else None
        if person.ended_at is not None:
            return
        kinds = ("heard.start", "ended")
        try:
            await self.sees(
                kinds,
                within=within,
                after=self.wire[since],
                where=lambda m: m.kind == "ended" or where is None or where(m),
                target=person.party,
                connection=person.call.name if person.call else "",
            )
        except AssertionError:
            heard = "anything more" if phrase is None else repr(phrase)
            told = f"within {within:g} s the {person.party} did not hear {heard}, and the call did not end"
            raise AssertionError(told) from None

    def sends_raw(self, end: RealtimeSession | Stream, data: str | bytes) -> None:
        """Let a fake send something that it would never send of its own accord."""
        self.deliberate.add(data)
        end.send_raw(data)

    # -- time and the wire

    async def passes(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def affords(self, seconds: float) -> bool:
        """Whether a story may wait that long for something: virtual time costs nothing, real time is somebody's."""
        return self.stage.name == "virtual" or seconds <= LONGEST_WAIT

    async def sees(
        self,
        kind: str | tuple[str, ...],
        *,
        within: float,
        where: Callable[[Message], bool] | None = None,
        **query: Any,
    ) -> Message:
        """Wait for a message on the wire (also one that is there already). AssertionError when it does not come."""
        found = self.wire.first(kind, where=where, **query)
        if found is not None:
            return found
        kinds = (kind,) if isinstance(kind, str) else kind
        arrived: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def look(message: Message) -> None:
            if arrived.done() or message.kind not in kinds or (where is not None and not where(message)):
                return
            if any(getattr(message, key) != value for key, value in query.items() if key not in ("after", "before")):
                return
            arrived.set_result(message)

        end = self.wire.watch(look)
        try:
            async with asyncio.timeout(within):
                return await arrived
        except TimeoutError:
            said = " ".join(f"{k}={v}" for k, v in query.items() if isinstance(v, str))
            raise AssertionError(f"no {' or '.join(kinds)} ({said}) within {within:g} s") from None
        finally:
            end()

    async def settled(self, within: float = SETTLE_SECONDS) -> list[str]:
        """Wait until no call and no realtime session is up; returns what is left when time runs out."""
        deadline = self.clock.now() + within
        while left := self.left():
            wait = deadline - self.clock.now()
            if wait <= 0:
                return left
            await self._something_ends(wait)
        return []

    async def all_is_told(self, within: float = SETTLE_SECONDS) -> None:
        """Wait until Twilio has told the gateway all there is to tell, such as that its calls have ended."""
        deadline = self.clock.now() + within
        while self.twilio.webhooks.outstanding and (wait := deadline - self.clock.now()) > 0:
            await self._something_ends(wait)

    async def _something_ends(self, within: float) -> None:
        changed = asyncio.Event()
        kinds = ("close", "hangup", "ended", "response", "failure")
        end = self.wire.watch(lambda message: changed.set() if message.kind in kinds else None)
        try:
            async with asyncio.timeout(min(within, 1.0)):
                await changed.wait()
        except TimeoutError:
            return
        finally:
            end()

    def left(self) -> list[str]:
        """Calls and realtime sessions that are still up."""
        calls = [f"{call.sid} is {call.status}" for call in self.twilio.calls if not call.status.over]
        sessions = [f"realtime session {s.ordinal} is open" for s in self.upstream.sessions if s.closed is None]
        return calls + sessions + [f"{name} waits for its handshake" for name in self._handshakes()]

    def _handshakes(self) -> list[str]:
        """Realtime connections that have asked for an upgrade and were not answered yet."""
        pending: dict[str, None] = {}
        for message in self.wire.all(HANDSHAKE, channel=f"{self.upstream.party}.realtime"):
            if message.kind == "upgrade":
                pending[message.connection] = None
            else:
                pending.pop(message.connection, None)
        return list(pending)

    def values(self) -> Mapping[str, str]:
        """The settings that the gateway was given."""
        return self._values


def noon(day: dt.date) -> float:
    """The middle of a day, in seconds since 1970."""
    return dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.UTC).timestamp()
