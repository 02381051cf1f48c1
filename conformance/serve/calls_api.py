"""The control API: calls, the people in them, and what was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from conformance.serve import asking
from conformance.serve.asking import CALLER
from conformance.serve.people import BEHAVIOURS
from conformance.serve.tape import WHICH, Tape
from fakes.audio import PHRASES, phrase_for_text
from fakes.twilio.stream import StreamState
from harness.run import UsageProblem

if TYPE_CHECKING:
    from conformance.serve.bench import Bench
    from conformance.serve.people import Participant
    from fakes.twilio.call import Call

_CHUNK = 8000


def _call(bench: Bench, request: web.Request) -> Call:
    return bench.call(request.match_info["sid"])


def _person(bench: Bench, request: web.Request) -> Participant:
    return bench.person(_call(bench, request))


async def place(bench: Bench, request: web.Request) -> web.Response:
    """Let somebody call the gateway."""
    needed = set() if bench.webhook else {"webhook"}
    body = await asking.body(request, needed, {"webhook", "from", "status_callback"})
    webhook = asking.url(body, "webhook") if "webhook" in body else bench.webhook
    status = asking.url(body, "status_callback") if "status_callback" in body else ""
    if not status and webhook == bench.webhook:
        status = bench.status_callback
    call = bench.dial(asking.number(body.get("from", CALLER), "from"), webhook, status)
    return web.json_response(bench.told(call), status=201)


async def all_calls(bench: Bench, request: web.Request) -> web.Response:
    """Every call so far."""
    return web.json_response([bench.told(call) for call in bench.calls])


async def one_call(bench: Bench, request: web.Request) -> web.Response:
    """One call."""
    return web.json_response(bench.told(_call(bench, request)))


async def say(bench: Bench, request: web.Request) -> web.Response:
    """Let the person say something: a phrase, or the phrase that stands for a text."""
    person = _person(bench, request)
    body = await asking.body(request, set(), {"phrase", "text"})
    if len(body) != 1:
        raise UsageProblem("say either a phrase, by its name, or a text")
    if "text" in body:
        if not isinstance(body["text"], str) or not body["text"].strip():
            raise UsageProblem(f"text is what the person says, such as 'Yes, please.', not {body['text']!r}")
        name = phrase_for_text(body["text"]).name
    elif body["phrase"] in PHRASES:
        name = str(body["phrase"])
    else:
        raise UsageProblem(f"no phrase is called {body['phrase']!r}; GET /phrases lists them")
    person.start_saying(name)
    return web.json_response({"saying": person.saying}, status=202)


async def press(bench: Bench, request: web.Request) -> web.Response:
    """Let the person press keys."""
    person = _person(bench, request)
    body = await asking.body(request, {"keys"})
    person.press(str(body["keys"]))
    return web.json_response({}, status=202)


async def hang_up(bench: Bench, request: web.Request) -> web.Response:
    """Let the person put the phone down."""
    _person(bench, request).hang_up()
    return web.json_response({}, status=202)


async def answer(bench: Bench, request: web.Request) -> web.Response:
    """Pick up a phone that rings."""
    bench.twilio.pick_up(_call(bench, request))
    return web.json_response({}, status=202)


async def reject(bench: Bench, request: web.Request) -> web.Response:
    """Decline a call to a phone that rings, or be busy."""
    call = _call(bench, request)
    body = await asking.body(request, set(), {"as"}) if request.can_read_body else {}
    how = asking.one_of(body.get("as", "reject"), "as", ("reject", "busy"))
    bench.twilio.turn_down(call, busy=how == "busy")
    return web.json_response({}, status=202)


async def lose_stream(bench: Bench, request: web.Request) -> web.Response:
    """Cut the media stream of a call off, as a network does."""
    call = _call(bench, request)
    for stream in reversed(call.streams):
        if stream.state in (StreamState.ACCEPTED, StreamState.STARTED):
            stream.lose()
            return web.json_response({"lost": stream.name}, status=202)
    raise UsageProblem(f"no media stream of {call.sid} is up")


def _tape(bench: Bench, request: web.Request) -> Tape:
    call = _call(bench, request)
    conversation = bench.conversation(call)
    if conversation is None:
        raise UsageProblem(f"nothing was heard in {call.sid} yet: it is {call.status}")
    return conversation.tape


async def audio(bench: Bench, request: web.Request) -> web.Response:
    """What was heard so far, as a WAV file."""
    tape = _tape(bench, request)
    which = asking.one_of(request.query.get("track", "both"), "track", WHICH)
    name = bench.call(request.match_info["sid"]).name
    disposition = f'inline; filename="{name}-{which}.wav"'
    sound = tape.wav(which, bench.clock.now())
    return web.Response(body=sound, content_type="audio/wav", headers={"Content-Disposition": disposition})


async def recording(bench: Bench, request: web.Request) -> web.Response:
    """How loud both directions were, for each 20 ms."""
    tape = _tape(bench, request)
    return web.json_response(
        {
            "duration_ms": round(tape.duration_ms(bench.clock.now())),
            "person": tape.person.levels,
            "gateway": tape.gateway.levels,
        }
    )


async def microphone(bench: Bench, request: web.Request) -> web.StreamResponse:
    """Speak for the person: a WebSocket that takes mu-law of 8 kHz in binary frames."""
    person = _person(bench, request)
    person.switch_microphone(True)
    socket = web.WebSocketResponse(max_msg_size=_CHUNK)
    try:
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                await socket.close(code=1003, message=b"mu-law of 8 kHz in binary frames")
                break
            if not person.is_connected:
                await socket.close(code=1000, message=b"the call is over")
                break
            person.into_microphone(message.data)
    finally:
        person.switch_microphone(False)
    return socket


async def add_phone(bench: Bench, request: web.Request) -> web.Response:
    """Give somebody a phone, so that the gateway can call them."""
    body = await asking.body(request, {"number"}, {"behaviour", "after_ms"})
    number = asking.number(body["number"], "number")
    after = asking.milliseconds(body.get("after_ms", 500), "after_ms")
    behaviour = asking.one_of(body.get("behaviour", "answer"), "behaviour", BEHAVIOURS)
    bench.add_phone(number, behaviour, after)
    return web.json_response({"number": number, "behaviour": behaviour}, status=201)


async def answering(bench: Bench, request: web.Request) -> web.Response:
    """What people do whom the gateway calls."""
    behaviour, after = bench.answering
    return web.json_response({"behaviour": behaviour, "after_ms": after})


async def set_answering(bench: Bench, request: web.Request) -> web.Response:
    """Change what people do whom the gateway calls, and who were given no phone of their own."""
    body = await asking.body(request, {"behaviour"}, {"after_ms"})
    behaviour = asking.one_of(body["behaviour"], "behaviour", BEHAVIOURS)
    bench.answer_by(behaviour, asking.milliseconds(body.get("after_ms", bench.answering[1]), "after_ms"))
    bench.wire.poke()
    return await answering(bench, request)


async def phrases(bench: Bench, request: web.Request) -> web.Response:
    """What people and models can say."""
    return web.json_response({name: phrase.text for name, phrase in PHRASES.items()})
