"""The control API of `callproof serve`: what can be done over it; every answer fits its OpenAPI document."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import tomllib
import wave
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jsonschema_rs
import numpy as np
import pytest
from serve_stand import Stand, free_port, gateway, gateway_process, place_outbound, standing

from conformance.serve.exchange import RestPlan
from conformance.serve.faults import FAULTS, Fault
from conformance.serve.page import POLICY
from conformance.serve.routes import ROUTES, document
from conformance.serving import CALLER
from fakes.audio import Listener, frames
from fakes.openai.plans import HttpPlan
from fakes.openai.service import HandshakePlan
from fakes.openai.session import RealtimeSession

HOOK = "http://127.0.0.1:9/voice"


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing() as it:
        yield it


async def dial(stand: Stand, url: str) -> str:
    """Call the gateway, and hear its greeting; the sid."""
    hooks = {"webhook": f"{url}/twilio/voice", "status_callback": f"{url}/twilio/status"}
    _, call = await stand.ask("POST", "/calls", hooks)
    await stand.person(call["sid"]).hears("greeting", within=10)
    return str(call["sid"])


async def hang_up(stand: Stand, sid: str) -> None:
    await stand.ask("POST", f"/calls/{sid}/hangup")
    await stand.person(sid).ended(within=5)


async def happens(stand: Stand, kind: str, **query: Any) -> Any:
    """Wait for a message on the wire."""
    found = stand.bench.wire.first(kind, **query)
    if found is not None:
        return found
    arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def look(message: Any) -> None:
        if not arrived.done() and message.kind == kind and all(getattr(message, k) == v for k, v in query.items()):
            arrived.set_result(message)

    end = stand.bench.wire.watch(look)
    try:
        async with asyncio.timeout(10):
            return await arrived
    finally:
        end()


def sound_of(file: bytes, channels: int) -> Any:
    """The samples of a WAV file of 16 bits at 8 kHz, one row for each time."""
    with wave.open(io.BytesIO(file)) as read:
        assert (read.getnchannels(), read.getframerate(), read.getsampwidth()) == (channels, 8000, 2)
        return np.frombuffer(read.readframes(read.getnframes()), "<i2").reshape(-1, channels)


def heard_in(sound: bytes) -> list[str]:
    """The phrases in mono PCM of 8 kHz."""
    listener = Listener("pcm16", 8000)
    listener.feed(sound, 0)
    listener.flush()
    return [heard.phrase for heard in listener.heard if heard.complete]


# -- the document


async def test_the_document_has_every_route_and_no_other(stand: Stand) -> None:
    registered = {
        (route.method, route.resource.canonical)
        for route in stand.bench.app().router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    _, told = await stand.ask("GET", "/openapi.json")
    documented = {(method.upper(), path) for path, operations in told["paths"].items() for method in operations}
    assert documented == registered
    assert told["openapi"].startswith("3.1")


def test_the_document_is_sound() -> None:
    """Operations have names of their own and summaries; references lead somewhere; schemas are schemas."""
    told = document()
    operations = [operation for each in told["paths"].values() for operation in each.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in operations)
    schemas = told["components"]["schemas"]
    for schema in schemas.values():
        jsonschema_rs.Draft202012Validator({**schema, "components": told["components"]})
    text = json.dumps(told)
    references = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= schemas.keys()
    assert schemas.keys() <= references, f"nobody uses {schemas.keys() - references}"
    for path, each in told["paths"].items():
        for operation in each.values():
            declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "GET" and "{" not in route.path])
async def test_what_can_be_read_is_as_documented(stand: Stand, route: Any) -> None:
    kind = next(iter(document()["paths"][route.path]["get"]["responses"]["200"]["content"]))
    async with stand.http.get(route.path) as answer:
        assert answer.status == 200
        assert answer.content_type == kind
    if kind == "application/json":
        await stand.ask("GET", route.path)


@pytest.mark.parametrize("schema", ["GatewaySetting", "Dialling", "Speech", "Keys", "NewPhone", "Value", "Arming"])
def test_bodies_that_are_documented_are_closed(schema: str) -> None:
    """A member that nobody knows is refused, by the API as by its document."""
    told = document()
    validator = jsonschema_rs.Draft202012Validator({**told["components"]["schemas"][schema], **told})
    assert not validator.is_valid({"unknown": 1})


# -- the gateway and its environment


async def test_a_gateway_is_set_once_and_called_often(stand: Stand) -> None:
    assert await stand.ask("GET", "/gateway") == (200, {"webhook": "", "status_callback": ""})
    status, told = await stand.ask("PUT", "/gateway", {"webhook": HOOK, "status_callback": f"{HOOK}/status"})
    assert (status, told["webhook"]) == (200, HOOK)
    status, call = await stand.ask("POST", "/calls", {})
    assert (status, call["from"]) == (201, CALLER)
    assert stand.bench.twilio.calls[0].subscription.url == f"{HOOK}/status"
    status, told = await stand.ask("PUT", "/gateway", {"webhook": "nowhere"})
    assert status == 400


async def test_the_environment_is_what_a_gateway_needs(stand: Stand) -> None:
    _, told = await stand.ask("GET", "/environment")
    assert told["OPENAI_API_KEY"] == stand.ready["openai.api_key"]
    assert "AZURE_OPENAI_ENDPOINT" not in told
    await stand.ask("PUT", "/gateway", {"webhook": "http://127.0.0.1:5050/voice"})
    _, told = await stand.ask("GET", "/environment?vendor=azure&gateway=reference")
    assert told["AZURE_OPENAI_ENDPOINT"] == stand.ready["azure.endpoint"]
    assert (told["GATEWAY_PUBLIC_URL"], told["GATEWAY_PORT"]) == ("http://127.0.0.1:5050", "5050")
    assert "OPENAI_API_KEY" not in told
    async with stand.http.get("/environment?format=shell") as answer:
        lines = (await answer.text()).splitlines()
    assert f"export TWILIO_ACCOUNT_SID={stand.ready['twilio.account_sid']}" in lines
    assert (await stand.ask("GET", "/environment?vendor=acme"))[0] == 400


async def test_the_environment_for_azure_makes_a_gateway_talk_to_azure(stand: Stand) -> None:
    await stand.ask("PUT", "/gateway", {"webhook": f"http://127.0.0.1:{free_port()}/twilio/voice"})
    _, environment = await stand.ask("GET", "/environment?vendor=azure&gateway=reference")
    async with gateway_process(environment):
        _, call = await stand.ask("POST", "/calls", {})
        await stand.person(call["sid"]).hears("greeting", within=10)
        await hang_up(stand, call["sid"])
    _, (session,) = await stand.ask("GET", "/sessions")
    assert (session["vendor"], session["call"]) == ("azure", "call1")


async def test_vendors_have_addresses_and_credentials(stand: Stand) -> None:
    _, told = await stand.ask("GET", "/vendors")
    values = {value["setting"]: value["value"] for vendor in told["vendors"] for value in vendor["values"]}
    assert values == {name: stand.ready[name] for name in values}
    assert [vendor["address"] for vendor in told["vendors"]] == [
        stand.ready[name] for name in ("openai.base_url", "azure.endpoint", "twilio.base_url")
    ]


# -- calls


async def test_a_call_is_recorded_in_both_directions(stand: Stand) -> None:
    async with gateway(stand.ready) as url:
        sid = await dial(stand, url)
        _, saying = await stand.ask("POST", f"/calls/{sid}/say", {"text": "What is the weather like in Berlin today?"})
        assert saying == {"saying": "weather"}
        await stand.person(sid).hears("weather_sunny", within=15)
        _, call = await stand.ask("GET", f"/calls/{sid}")
        await hang_up(stand, sid)
    said = [(line["who"], line["phrase"], line["complete"]) for line in call["transcript"]]
    assert said == [("gateway", "greeting", True), ("person", "weather", True), ("gateway", "weather_sunny", True)]
    assert [mark["kind"] for mark in call["marks"]] == ["speech_started"]
    assert call["sessions"] == ["openai#1"]
    async with stand.http.get(f"/calls/{sid}/audio.wav") as answer:
        assert answer.content_type == "audio/wav"
        sound = sound_of(await answer.read(), 2)
    assert heard_in(sound[:, 0].tobytes()) == ["weather"]
    assert heard_in(sound[:, 1].tobytes()) == ["greeting", "weather_sunny"]
    _, levels = await stand.ask("GET", f"/calls/{sid}/levels")
    line = call["transcript"][1]
    middle = (line["at_ms"] + line["end_ms"]) // 40
    assert levels["person"][middle] > 50
    assert sum(levels["gateway"][middle - 5 : middle + 5]) == 0
    assert abs(levels["duration_ms"] / 1000 - len(sound) / 8000) < 0.01
    for track, channels in (("person", 1), ("gateway", 1), ("mixed", 1)):
        async with stand.http.get(f"/calls/{sid}/audio.wav?track={track}") as answer:
            assert len(sound_of(await answer.read(), channels)) == len(sound)


async def test_an_interruption_is_marked(stand: Stand) -> None:
    async with gateway(stand.ready) as url:
        sid = await dial(stand, url)
        person = stand.person(sid)
        await stand.ask("POST", f"/calls/{sid}/say", {"phrase": "long_story"})
        await person.starts_hearing("long_answer", within=20)
        await stand.ask("POST", f"/calls/{sid}/say", {"phrase": "stop_please"})
        await person.stops_hearing(within=5)
        _, call = await stand.ask("GET", f"/calls/{sid}")
        await hang_up(stand, sid)
    kinds = [mark["kind"] for mark in call["marks"]]
    assert {"clear", "truncate"} <= set(kinds)
    clear = next(mark for mark in call["marks"] if mark["kind"] == "clear")
    answer = next(line for line in call["transcript"] if line["phrase"] == "long_answer")
    assert not answer["complete"]
    assert abs(answer["end_ms"] - clear["at_ms"]) < 100
    _, message = await stand.ask("GET", f"/wire/{clear['seq']}")
    assert message["kind"] == "clear"


async def test_a_phone_that_rings_is_answered_by_hand(stand: Stand) -> None:
    assert (await stand.ask("PUT", "/answering", {"behaviour": "manual"}))[1]["behaviour"] == "manual"
    async with gateway(stand.ready) as url:
        await place_outbound(url, "+14155550171")
        await happens(stand, "ring")
        _, (call,) = await stand.ask("GET", "/calls")
        assert (call["status"], call["ringing"], call["to"]) == ("ringing", True, "+14155550171")
        status, _ = await stand.ask("POST", f"/calls/{call['sid']}/answer")
        assert status == 202
        await stand.person(call["sid"]).hears("greeting", within=10)
        status, told = await stand.ask("POST", f"/calls/{call['sid']}/answer")
        assert (status, "only a call to a phone that rings" in told["error"]) == (400, True)
        await hang_up(stand, call["sid"])
    _, call = await stand.ask("GET", f"/calls/{call['sid']}")
    assert (call["status"], call["heard"][0]["phrase"]) == ("completed", "greeting")


@pytest.mark.parametrize(("way", "status"), [("busy", "busy"), ("reject", "no-answer")])
async def test_a_phone_that_rings_is_turned_down(stand: Stand, way: str, status: str) -> None:
    await stand.ask("PUT", "/answering", {"behaviour": "manual"})
    async with gateway(stand.ready) as url:
        await place_outbound(url, "+14155550172")
        await happens(stand, "ring")
        _, (call,) = await stand.ask("GET", "/calls")
        assert (await stand.ask("POST", f"/calls/{call['sid']}/reject", {"as": way}))[0] == 202
        _, call = await stand.ask("GET", f"/calls/{call['sid']}")
    assert (call["status"], call["ringing"]) == (status, False)


async def test_one_person_is_called_twice_and_each_call_keeps_what_was_heard(stand: Stand) -> None:
    async with gateway(stand.ready) as url:
        for number in (1, 2):
            await place_outbound(url, "+14155550173")
            await happens(stand, "answer", connection=f"call{number}")
            call = stand.bench.twilio.calls[-1]
            await stand.person(call.sid).hears("greeting", within=10)
            await hang_up(stand, call.sid)
    _, calls = await stand.ask("GET", "/calls")
    assert [[line["phrase"] for line in call["transcript"]] for call in calls] == [["greeting"], ["greeting"]]


async def test_a_microphone_speaks_for_the_person(stand: Stand) -> None:
    async with gateway(stand.ready) as url:
        sid = await dial(stand, url)
        async with stand.http.ws_connect(f"/calls/{sid}/microphone") as microphone:
            for frame in frames("what_time"):
                await microphone.send_bytes(frame[:100])
                await microphone.send_bytes(frame[100:])
                # A browser sends as fast as it hears: one frame is spoken before the next one comes.
                await happens_next(stand, "media")
            await stand.person(sid).hears("its_noon", within=10)
        await hang_up(stand, sid)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await stand.http.ws_connect(f"/calls/{sid}/microphone")


async def happens_next(stand: Stand, kind: str) -> None:
    """Wait for the next message of a kind from Twilio."""
    arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    end = stand.bench.wire.watch(
        lambda m: arrived.set_result(None) if m.kind == kind and m.source == "twilio" and not arrived.done() else None
    )
    async with asyncio.timeout(5):
        await arrived
    end()


# -- faults


async def test_a_fault_happens_the_next_time_only(stand: Stand) -> None:
    status, fault = await stand.ask("PUT", "/faults/openai.upgrade_429", {"armed": "next"})
    assert (status, fault["armed"]) == (200, "next")
    assert await handshake(stand) == (429, "2")
    _, faults = await stand.ask("GET", "/faults")
    told = {fault["name"]: (fault["armed"], fault["happened"]) for fault in faults}
    assert told["openai.upgrade_429"] == ("off", 1)
    assert (await handshake(stand))[0] == 101


async def test_a_fault_happens_until_it_is_switched_off(stand: Stand) -> None:
    await stand.ask("PUT", "/faults/openai.upgrade_500", {"armed": "always"})
    await stand.ask("PUT", "/faults/openai.upgrade_403", {"armed": "always"})
    _, faults = await stand.ask("GET", "/faults")
    assert [fault["name"] for fault in faults if fault["armed"] != "off"] == ["openai.upgrade_403"]
    assert [(await handshake(stand))[0] for _ in range(3)] == [403, 403, 403]
    await stand.ask("DELETE", "/faults")
    assert (await handshake(stand))[0] == 101


async def handshake(stand: Stand) -> tuple[int, str | None]:
    """Ask for a realtime session; the status of the answer, and its Retry-After."""
    base = stand.ready["openai.base_url"]
    headers = {"Authorization": f"Bearer {stand.ready['openai.api_key']}"}
    async with aiohttp.ClientSession() as http:
        try:
            async with http.ws_connect(f"{base}/realtime?model=gpt-realtime-2", headers=headers):
                return 101, None
        except aiohttp.WSServerHandshakeError as error:
            return error.status, (error.headers or {}).get("Retry-After")


async def test_http_and_rest_faults(stand: Stand) -> None:
    bearer = {"Authorization": f"Bearer {stand.ready['openai.api_key']}"}
    secrets = f"{stand.ready['openai.base_url']}/realtime/client_secrets"
    calls = f"{stand.ready['twilio.base_url']}/2010-04-01/Accounts/{stand.ready['twilio.account_sid']}/Calls.json"
    basic = base64.b64encode(f"{stand.ready['twilio.account_sid']}:{stand.ready['twilio.auth_token']}".encode())
    auth = {"Authorization": f"Basic {basic.decode()}"}
    form = {"To": "+14155550174", "From": stand.ready["twilio.number"], "Twiml": "<Response/>"}
    await stand.ask("PUT", "/faults/openai.secrets_403", {"armed": "next"})
    await stand.ask("PUT", "/faults/twilio.rest_429", {"armed": "next"})
    async with aiohttp.ClientSession() as http:
        for statuses in ((403, 429), (200, 201)):
            async with http.post(secrets, headers=bearer, json={}) as answer:
                assert answer.status == statuses[0], await answer.text()
            async with http.post(calls, headers=auth, data=form) as answer:
                assert answer.status == statuses[1]
                body = await answer.json()
            if statuses[1] == 429:
                assert body["code"] == 20429
                assert not stand.bench.twilio.calls
    _, messages = await stand.ask("GET", "/wire?channel=twilio.rest&kind=request")
    assert [message["meta"]["method"] for message in messages] == ["POST", "POST"]


async def test_a_webhook_comes_twice_and_a_response_fails(stand: Stand) -> None:
    await stand.ask("PUT", "/faults/twilio.fetch_twice", {"armed": "next"})
    await stand.ask("PUT", "/faults/openai.response_fails", {"armed": "next"})
    async with gateway(stand.ready) as url:
        hooks = {"webhook": f"{url}/twilio/voice", "status_callback": f"{url}/twilio/status"}
        _, call = await stand.ask("POST", "/calls", hooks)
        done = await happens(stand, "response.done")
        await hang_up(stand, call["sid"])
    assert done.get("response.status") == "failed"
    assert stand.bench.wire.first("request", connection="call1/fetch#1/again") is not None


async def test_a_call_that_is_up_is_disturbed(stand: Stand) -> None:
    async with gateway(stand.ready) as url:
        sid = await dial(stand, url)
        _, (session,) = await stand.ask("GET", "/sessions")
        assert (session["state"], session["call"], session["model"]) == ("open", "call1", "gpt-realtime-2")
        path = f"/sessions/{session['vendor']}/{session['ordinal']}/disturb"
        assert (await stand.ask("POST", path, {"with": "sing"}))[0] == 400
        assert (await stand.ask("POST", path, {"with": "close", "code": 1006}))[0] == 400
        assert (await stand.ask("POST", path, {"with": "close", "reason": "x" * 124}))[0] == 400
        assert (await stand.ask("POST", path, {"with": "error", "reason": "Trouble."}))[0] == 202
        assert (await happens(stand, "error")).get("error.message") == "Trouble."
        _, lost = await stand.ask("POST", f"/calls/{sid}/lose-stream")
        assert lost == {"lost": "call1/stream1"}
        await stand.person(sid).ended(within=15)
        status, told = await stand.ask("POST", f"/calls/{sid}/lose-stream")
        assert (status, "no media stream" in told["error"]) == (400, True)
    async with asyncio.timeout(5):
        await stand.bench.openai.wait_for(lambda: stand.bench.openai.sessions[0].closed)
    assert (await stand.ask("POST", path, {"with": "reset"}))[0] == 400
    assert (await stand.ask("POST", "/sessions/openai/9/disturb", {"with": "reset"}))[0] == 404


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_session_is_ended_from_the_vendors_side(stand: Stand, how: str) -> None:
    async with gateway(stand.ready) as url:
        sid = await dial(stand, url)
        await stand.ask("POST", "/sessions/openai/1/disturb", {"with": how})
        closed = await happens(stand, "close", channel="openai.realtime", source="openai")
        assert closed.meta["code"] == {"close": 1011, "reset": 1006}[how]
        await stand.ask("POST", f"/calls/{sid}/hangup")
        await stand.person(sid).ended(within=15)


def test_every_fault_is_one_that_the_fakes_know() -> None:
    """Plans are made of fields that there are, and name errors that there are; acts are methods of a session."""
    for name, table in tomllib.loads(FAULTS.read_text(encoding="utf-8")).items():
        fault = Fault(name, **table)
        assert name.startswith(f"{fault.vendor}."), name
        plans = {"handshake": HandshakePlan, "http": HttpPlan, "rest": RestPlan}
        if fault.at in plans:
            plans[fault.at](**fault.fields)
        elif fault.at == "session":
            assert callable(getattr(RealtimeSession, fault.act)), name
        else:
            assert fault.at == "fetch", name


async def test_a_fault_that_there_is_not_gets_a_hint(stand: Stand) -> None:
    status, told = await stand.ask("PUT", "/faults/openai.upgrade_42", {"armed": "next"})
    assert (status, "did you mean openai.upgrade_4" in told["error"]) == (400, True)
    status, told = await stand.ask("PUT", "/faults/openai.upgrade_429", {"armed": "on"})
    assert told["error"] == "armed is off, next or always, not 'on'"


# -- the wire


async def test_rows_fold_media_and_tell_their_messages(stand: Stand) -> None:
    async with gateway(stand.ready) as url:
        sid = await dial(stand, url)
        await hang_up(stand, sid)
    _, rows = await stand.ask("GET", "/rows")
    _, wire = await stand.ask("GET", "/wire")
    assert sum(row.get("count", 1) for row in rows) == len(wire)
    run = max(rows, key=lambda row: row.get("count", 1))
    assert run["count"] > 20
    _, told = await stand.ask("GET", f"/rows/{run['number']}")
    assert len(told["seqs"]) == run["count"]
    assert {wire[seq]["kind"] for seq in told["seqs"]} == {run["kind"]}
    _, each = await stand.ask("GET", "/rows?fold=false")
    assert [row["seq"] for row in each] == list(range(len(wire)))
    assert (await stand.ask("GET", "/rows/99999"))[0] == 404
    assert (await stand.ask("GET", "/wire/99999"))[0] == 404
    assert (await stand.ask("GET", "/wire/x"))[0] == 404
    _, some = await stand.ask("GET", "/wire?since=3&limit=2&call=call1")
    assert len(some) == 2


async def test_search_finds_bodies_headers_and_labels(stand: Stand) -> None:
    wire = stand.bench.wire
    wire.record("gateway", "openai", "openai.realtime", "session.update", '{"voice": "Ällöy"}', connection="openai#1")
    wire.record(
        "twilio", "gateway", "twilio.webhook", "request", "A=1", meta={"method": "POST", "url": "http://x/needle"}
    )
    wire.record("twilio", "gateway", "twilio.stream", "media", '{"media":{"payload":"needle"}}', connection="call1/s")
    assert (await stand.ask("GET", "/search?q=%C3%A4LL%C3%B6y"))[1] == {"rows": [0], "until": 3}
    assert (await stand.ask("GET", "/search?q=needle"))[1]["rows"] == [1]
    assert (await stand.ask("GET", "/search?q=needle&since=2"))[1]["rows"] == []
    assert (await stand.ask("GET", "/search?q=media&fold=false"))[1]["rows"] == [2]


async def test_the_wire_is_downloaded_and_cleared(stand: Stand) -> None:
    async with gateway(stand.ready) as url:
        first = await dial(stand, url)
        await hang_up(stand, first)
        second = await dial(stand, url)
        async with stand.http.get("/wire.jsonl") as answer:
            lines = [json.loads(line) for line in (await answer.text()).splitlines()]
            assert "attachment" in answer.headers["Content-Disposition"]
        _, wire = await stand.ask("GET", "/wire")
        assert lines == wire[: len(lines)]
        assert (await stand.ask("DELETE", "/wire")) == (200, {})
        _, calls = await stand.ask("GET", "/calls")
        assert [call["sid"] for call in calls] == [second], "a call that is up stays"
        assert (await stand.ask("GET", f"/calls/{first}"))[0] == 404
        await hang_up(stand, second)
    _, wire = await stand.ask("GET", "/wire")
    assert [message["seq"] for message in wire] == list(range(len(wire)))
    assert "dial" not in {message["kind"] for message in wire}


class Events:
    """The stream of events, read one by one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, name: str) -> Any:
        """The data of the next event of that name."""
        async with asyncio.timeout(10):
            while True:
                event, data = "", ""
                while line := (await self._answer.content.readline()).decode().rstrip("\n"):
                    field, _, value = line.partition(": ")
                    event, data = (value, data) if field == "event" else (event, value)
                if event == name:
                    return json.loads(data)


async def test_what_changes_is_pushed(stand: Stand) -> None:
    schemas = document()["components"]

    def fits(name: str, told: Any) -> None:
        reference = {"$ref": f"#/components/schemas/{name}", "components": schemas}
        jsonschema_rs.Draft202012Validator(reference).validate(told)

    async with gateway(stand.ready) as url, stand.http.get("/events") as answer:
        events = Events(answer)
        fits("State", await events.next("state"))
        hooks = {"webhook": f"{url}/twilio/voice", "status_callback": f"{url}/twilio/status"}
        _, call = await stand.ask("POST", "/calls", hooks)
        rows = await events.next("rows")
        assert rows[0]["kind"] == "dial"
        for row in rows:
            fits("Row", row)
        (told,) = await events.next("calls")
        fits("Call", told)
        (sound,) = await events.next("sound")
        assert sound["sid"] == call["sid"]
        await stand.ask("PUT", "/knobs/twilio.callback_lose_percent", {"value": 3})
        while (await events.next("state"))["knobs"].get("twilio.callback_lose_percent") != 3:
            pass
        await stand.ask("DELETE", "/wire")
        assert await events.next("reset") == {}
        await hang_up(stand, call["sid"])


# -- the page's files, and who may ask


async def test_the_page_and_nothing_else_is_served_to_a_browser(stand: Stand) -> None:
    async with stand.http.get("/", headers={"Accept": "text/html"}) as answer:
        assert answer.content_type == "text/html"
        text = await answer.text()
        assert answer.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "style=" not in text
    assert "http://" not in text.replace("http://127.0.0.1:8080", ""), "it needs nothing from elsewhere"
    for name in ("app.js", "style.css", "icon.svg", "index.html"):
        async with stand.http.get(f"/page/{name}") as answer:
            assert answer.status == 200
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    async with stand.http.get("/page/..%2Fapi.py") as answer:
        assert answer.status == 404
    async with stand.http.head("/wire") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://elsewhere.example"}, {"Origin": "null"}, {"Host": "rebound.example"}],
    ids=["origin", "null", "host"],
)
async def test_pages_of_others_are_kept_out(stand: Stand, headers: dict[str, str]) -> None:
    async with stand.http.post("/calls", json={"webhook": HOOK}, headers=headers) as answer:
        assert answer.status == 403
        assert "error" in await answer.json()
    assert not stand.bench.twilio.calls


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/calls/{sid}/say", {}, "say either a phrase, by its name, or a text"),
        ("POST", "/calls/{sid}/say", {"text": " "}, "text is what the person says"),
        ("POST", "/calls/{sid}/say", {"text": "a", "phrase": "yes"}, "say either a phrase"),
        ("POST", "/calls/{sid}/answer", None, "only a call to a phone that rings"),
        ("POST", "/calls/{sid}/reject", {"as": "rude"}, "as is reject or busy, not 'rude'"),
        ("GET", "/calls/{sid}/audio.wav", None, "nothing was heard in"),
        ("PUT", "/answering", {"behaviour": "sing"}, "behaviour is answer, manual, busy, reject or ignore"),
        ("PUT", "/answering", {"behaviour": "busy", "after_ms": True}, "after_ms is a number of milliseconds"),
        ("GET", "/rows?fold=perhaps", None, "fold is true or false, not 'perhaps'"),
        ("PUT", "/gateway", {"webhook": "http://127.0.0.1:99999/"}, "webhook has no good port"),
    ],
)
async def test_mistakes_are_told(stand: Stand, method: str, path: str, body: Any, message: str) -> None:
    _, call = await stand.ask("POST", "/calls", {"webhook": HOOK})
    status, told = await stand.ask(method, path.replace("{sid}", call["sid"]), body)
    assert status == 400
    assert message in told["error"]
