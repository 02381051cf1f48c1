"""The bench: the vendors and the people of `callproof serve`, and what is known of each call."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from conformance.assembly import catalogue
from conformance.serve.asking import CALLER, NotThere
from conformance.serve.exchange import Exchange
from conformance.serve.faults import Faults
from conformance.serve.people import Behaviour, Conversation, Participant
from conformance.serve.recording import Recording
from conformance.webrtc import UdpWebRtc
from fakes.audio import PHRASES, Heard
from fakes.azure.resources import Deployment, Resource
from fakes.azure.server import AzureServer
from fakes.azure.service import AzureService
from fakes.knobs import Knobs
from fakes.openai.handshake import KeyInfo
from fakes.openai.server import OpenAIServer
from fakes.openai.service import OpenAIService
from fakes.openai.session import RealtimeSession
from fakes.people.person import Person
from fakes.ports import Ports
from fakes.twilio.boundary import PhoneNumber
from fakes.twilio.call import Call
from fakes.twilio.server import TwilioServer
from harness.choices import Choices, Typical
from harness.clock import WorldClock
from harness.gates import Gates
from harness.run import UsageProblem
from harness.wire import Message

NUMBER = "+14155550100"
"""The number of the gateway."""

AZURE_RESOURCE = "callproof"
"""The Azure resource that is served. At an address it needs no name."""

MARKS = {
    "clear": "barge-in: the gateway clears the playback",
    "input_audio_buffer.speech_started": "the model hears speech",
    "conversation.item.truncate": "the gateway truncates what was said",
    "response.cancel": "the gateway cancels the response",
    "dtmf": "key",
}
"""The messages that are marked in the picture of a call, and what they mean."""


class Bench:
    """The vendors, the people, and the wire between them."""

    def __init__(self, as_of: dt.date, knobs: Knobs) -> None:
        loop = asyncio.get_running_loop()
        self.clock = WorldClock(loop, dt.datetime.now(dt.UTC).timestamp())
        self.as_of = as_of
        self.wire = Recording(self.clock.now)
        # Every start is a different one: a gateway may keep what it knows of earlier calls by their ids.
        choices = Choices(Typical(), seed=int(dt.datetime.now(dt.UTC).timestamp() * 1000))
        self.ports = Ports(self.clock, choices, self.wire, Gates())
        self.knobs = knobs
        token = choices.token
        self.api_key = f"sk-proj-{token('plant/openai', 40)}"
        self.openai = OpenAIService(self.ports, as_of=as_of, keys={self.api_key: KeyInfo()}, knobs=knobs)
        self.azure_key = token("plant/azure/key1", 32)
        deployments = [Deployment(model, model) for model in _deployable(as_of)]
        self.azure_deployment = deployments[-1].name
        resource = Resource(AZURE_RESOURCE, keys=(self.azure_key,), deployments=deployments)
        self.azure = AzureService(self.ports, as_of=as_of, resources=[resource], knobs=knobs)
        self.services: Mapping[str, OpenAIService] = {"openai": self.openai, "azure": self.azure}
        self.webrtc = [UdpWebRtc(self.openai), UdpWebRtc(self.azure)]
        self.twilio = Exchange(
            self.ports,
            account_sid=f"AC{token('plant/account', 32)}",
            auth_token=token("plant/twilio", 32),
            numbers=[PhoneNumber(NUMBER)],
            knobs=knobs,
        )
        self.twilio.anybody = self._anybody
        self.openai_server = OpenAIServer(self.openai)
        self.azure_server = AzureServer(self.azure)
        self.twilio_server = TwilioServer(self.twilio)
        self.ready: dict[str, str] = {}
        """What a gateway has to know, once everything listens."""
        self.webhook = ""
        self.status_callback = ""
        self.answering: tuple[Behaviour, int] = ("answer", 500)
        """What people do whom the gateway calls, and after how many ms."""
        self.faults = Faults(self.services, self.twilio)
        self.people: dict[str, Participant] = {}
        """Who is, or was, on the phone in a call, by its sid."""
        self.stopping = False
        self._conversations: dict[str, Conversation] = {}
        self._marks: dict[str, list[dict[str, Any]]] = {}
        self._connections: dict[str, str] = {}
        self._sessions = dict.fromkeys(self.services, 0)
        self._cleared: set[str] = set()
        self.wire.watch(self._look)

    def app(self) -> web.Application:
        """The control API and the page."""
        from conformance.serve.routes import application

        return application(self)

    def stop(self) -> None:
        """Let everybody go who follows what happens."""
        self.stopping = True
        self.wire.poke()

    # -- what follows from what crosses the wire

    def _look(self, message: Message) -> None:
        self.faults.look(message)
        for vendor, service in self.services.items():
            while self._sessions[vendor] < len(service.sessions):
                self.faults.opened(vendor, service.sessions[self._sessions[vendor]])
                self._sessions[vendor] += 1
        if message.kind == "upgrade" and message.channel.endswith(".realtime"):
            self._belongs(message.connection)
        elif message.kind in MARKS:
            self._mark(message)

    def _belongs(self, connection: str) -> None:
        """A session is the newest call's that is up and has none: nothing on the wire says whose it is."""
        taken = set(self._connections.values())
        up = [call.name for call in reversed(self.twilio.calls) if not call.status.over]
        if up:
            self._connections[connection] = next((name for name in up if name not in taken), up[0])

    def call_of(self, connection: str) -> str:
        """The name of the call that a connection is part of; empty where it is not known."""
        name = connection.partition("/")[0]
        return name if name.startswith("call") else self._connections.get(connection, "")

    @property
    def connections(self) -> Mapping[str, str]:
        """The sessions that belong to a call, and its name."""
        return self._connections

    def _mark(self, message: Message) -> None:
        name = self.call_of(message.connection)
        if message.kind == "dtmf" and message.channel != "phone":
            return
        kind = message.kind.rpartition(".")[2]
        mark = {"at_ms": message.at * 1000, "kind": kind, "seq": message.seq, "means": MARKS[message.kind]}
        if message.kind == "dtmf":
            mark["means"] = f"{MARKS['dtmf']} {message.text}"
        self._marks.setdefault(name, []).append(mark)

    # -- calls and people

    def dial(self, number: str, webhook: str, status_callback: str) -> Call:
        """Let somebody call the gateway."""
        line = replace(self.twilio.numbers[NUMBER], voice_url=webhook, status_callback=status_callback)
        person = Participant(self.ports, number=number, joined=self._joined)
        self.twilio.numbers[NUMBER] = line
        self.lead(webhook)
        call = person.dial(self.twilio, NUMBER)
        self.people[call.sid] = person
        self.faults.placed(call)
        return call

    def lead(self, webhook: str) -> None:
        """Lead what a gateway says about its public name to where its webhook is.

        Gateways answer with `wss://{Host}/...`, as behind a tunnel; on this machine there is no TLS at that port.
        """
        parts = urlsplit(webhook)
        if parts.scheme == "http":
            self.twilio_server.routes[parts.netloc] = f"http://{parts.netloc}"

    def add_phone(self, number: str, behaviour: Behaviour, after_ms: int) -> Participant:
        """Give somebody a phone, so that the gateway can call them."""
        person = Participant(self.ports, number=number, party="callee", joined=self._joined)
        person.behaves(behaviour, after_ms)
        self.twilio.add_phone(person)
        return person

    def answer_by(self, behaviour: Behaviour, after_ms: int) -> None:
        """What people do from now on whom nobody has given a phone."""
        self.answering = behaviour, after_ms
        for person in self.twilio.phones.values():
            if isinstance(person, _Anybody):
                person.behaves(behaviour, after_ms)

    def _anybody(self, number: str) -> Participant:
        person = _Anybody(self.ports, number=number, party="callee", joined=self._joined)
        person.behaves(*self.answering)
        return person

    def _joined(self, call: Call, conversation: Conversation) -> None:
        self.people[call.sid] = conversation.person
        self._conversations[call.sid] = conversation

    @property
    def calls(self) -> list[Call]:
        """Every call since the last `clear`, and those that were up then."""
        return [call for call in self.twilio.calls if call.sid not in self._cleared]

    def call(self, sid: str) -> Call:
        """One call. Raises `NotThere`."""
        for call in self.calls:
            if call.sid == sid:
                return call
        raise NotThere(f"no call is called {sid}; GET /calls lists them")

    def person(self, call: Call) -> Participant:
        """Who is on the phone in a call. Raises `UsageProblem` when nobody is."""
        person = self.people.get(call.sid) or call.person
        if not isinstance(person, Participant) or person.call is not call:
            raise UsageProblem(f"nobody is on the phone in {call.sid}")
        return person

    def conversation(self, call: Call) -> Conversation | None:
        """A call as its person had it; None as long as nobody has answered."""
        return self._conversations.get(call.sid)

    def session(self, vendor: str, ordinal: int) -> RealtimeSession:
        """One realtime session. Raises `NotThere`."""
        service = self.services.get(vendor)
        for session in service.sessions if service is not None else ():
            if session.ordinal == ordinal:
                return session
        raise NotThere(f"there is no session {vendor}/{ordinal}; GET /sessions lists them")

    def clear(self) -> None:
        """Forget the wire and every call that is over."""
        self._cleared |= {call.sid for call in self.twilio.calls if call.status.over}
        self._marks.clear()
        self.wire.clear()

    # -- in JSON

    def told(self, call: Call) -> dict[str, Any]:
        """What there is to say about a call."""
        conversation = self.conversation(call)
        heard = conversation.heard if conversation is not None else []
        person = self.people.get(call.sid)
        mine = person is not None and person.call is call
        began = conversation.tape.began * 1000 if conversation is not None else None
        return {
            "sid": call.sid,
            "name": call.name,
            "direction": call.direction,
            "from": call.from_,
            "to": call.to,
            "status": str(call.status),
            "created_at": round(call.created_at, 3),
            "answered_at": None if call.answered_at is None else round(call.answered_at, 3),
            "ended_at": None if call.ended_at is None else round(call.ended_at, 3),
            "began_ms": None if began is None else round(began),
            "ringing": self.twilio.rings(call),
            "streams": [
                {"name": stream.name, "sid": stream.sid, "state": str(stream.state)} for stream in call.streams
            ],
            "sessions": [name for name, of in self._connections.items() if of == call.name],
            "debugger": [f"{entry.code}: {entry.message}" for entry in call.debugger if entry.code],
            "saying": person.saying if person is not None and mine else None,
            "heard": [{"phrase": h.phrase, "at_ms": round(h.start_ms), "complete": h.complete} for h in heard],
            "transcript": _transcript(conversation, self._hearing(person) if mine else None),
            "marks": [
                {**mark, "at_ms": round(mark["at_ms"] - (began or 0))} for mark in self._marks.get(call.name, ())
            ],
        }

    @staticmethod
    def _hearing(person: Person | None) -> Heard | None:
        return person.hearing if person is not None and person.is_connected else None


class _Anybody(Participant):
    """Whoever picks up at a number that nobody was given."""


def _transcript(conversation: Conversation | None, hearing: Heard | None) -> list[dict[str, Any]]:
    """What was said in a call, in order; times in ms from the beginning of its tape."""
    if conversation is None:
        return []
    began = conversation.tape.began * 1000
    lines: list[dict[str, Any]] = [
        {"who": "person", **_line(said.phrase, said.at - began, said.until, began, said.complete)}
        for said in conversation.said
    ]
    lines += [
        {"who": "gateway", **_line(heard.phrase, heard.start_ms - began, heard.end_ms, began, heard.complete)}
        for heard in conversation.heard
    ]
    if hearing is not None:
        lines.append({"who": "gateway", **_line(hearing.phrase, hearing.start_ms - began, None, began, False)})
    return sorted(lines, key=lambda line: int(line["at_ms"]))


def _line(phrase: str, at_ms: float, until: float | None, began: float, complete: bool) -> dict[str, Any]:
    text = PHRASES[phrase].text if phrase in PHRASES else "(a sound that is no phrase)"
    end = None if until is None else round(until - began)
    return {"phrase": phrase, "text": text, "at_ms": round(at_ms), "end_ms": end, "complete": complete}


def _deployable(day: dt.date) -> list[str]:
    """The realtime models that there were on a day, the newest last: each is deployed under its own name."""
    models = [model for model in catalogue().models.values() if model.kind == "realtime" and model.released <= day]
    return [model.name for model in sorted(models, key=lambda model: model.released)]


__all__ = ["AZURE_RESOURCE", "CALLER", "MARKS", "NUMBER", "Bench"]
