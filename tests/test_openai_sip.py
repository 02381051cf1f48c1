"""SIP calls: the webhook that tells of them, what can be done to them, their sound, and sidebands."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from aiohttp import web
from openai.types.webhooks import RealtimeCallIncomingWebhookEvent
from openai_vendor import CALLS, OTHER, REALTIME, Vendor, listening
from openai_world import KEY, START

from fakes.audio import Listener, frames
from fakes.openai import KeyInfo
from fakes.openai.calls import CallState
from fakes.openai.protocol import validate
from fakes.openai.secrets import Place
from fakes.openai.sip import SipLeg
from fakes.openai.webhooks import Delivery, Outcome, WebhookEndpoint, signature

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes ....").decode()
URL = "https://gateway.example/openai/webhook"
ENDPOINT = WebhookEndpoint(URL, SECRET)


class Project(Vendor):
    """A vendor that has the gateway's webhook."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.service.webhook = ENDPOINT

    def ring(self, **options: Any) -> SipLeg:
        """Let a call come in, and its webhook be taken."""
        leg = self.service.incoming_sip("+15550123", **options)
        self.clock.advance(5)
        self.take()
        return leg

    def take(self, status: int = 200) -> Delivery:
        """Answer the last webhook."""
        webhooks = self.service.webhooks
        delivery = webhooks.deliveries[-1]
        webhooks.sent(delivery)
        webhooks.answered(delivery, Outcome(status))
        return delivery

    def accept(self, leg: SipLeg, **session: Any) -> None:
        self.get(f"{CALLS}/{leg.call.id}/accept", {**REALTIME, **session})
        self.clock.advance(5)

    def trunk(self) -> list[tuple[str, str]]:
        """What has crossed the trunk: from whom, and what."""
        return [(m.source, m.kind) for m in self.recorder.messages if m.channel == "openai.sip"]


# -- the webhook


def test_an_incoming_call_is_told_to_the_webhook() -> None:
    project = Project()
    leg = project.ring(headers=[("X-Twilio-CallSid", "CA1"), ("Authorization", "Digest secret")])
    (delivery,) = project.service.webhooks.deliveries
    assert (delivery.url, delivery.attempt) == (URL, 1)
    headers = dict(delivery.headers)
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"].startswith("wh_")
    assert int(START) <= int(headers["webhook-timestamp"]) <= int(START) + 5
    assert RealtimeCallIncomingWebhookEvent.model_validate_json(delivery.body, strict=True).data.call_id == leg.call.id
    event = json.loads(delivery.body)
    assert event["id"].startswith("evt_")
    assert {key: event[key] for key in ("object", "type", "created_at")} == {
        "object": "event",
        "type": "realtime.call.incoming",
        "created_at": int(START),
    }
    assert event["data"]["call_id"] == leg.call.id
    assert [header["name"] for header in event["data"]["sip_headers"]] == ["From", "To", "Call-ID", "X-Twilio-CallSid"]
    assert "+15550123" in event["data"]["sip_headers"][0]["value"]
    assert set(event["data"]) == {"call_id", "sip_headers"}
    assert (leg.call.state, leg.status) == (CallState.RINGING, None)
    assert [(m.source, m.target, m.channel, m.kind, m.connection) for m in project.recorder.messages] == [
        ("caller", "openai", "openai.sip", "INVITE", "call1"),
        ("openai", "gateway", "openai.webhook", "request", "call1/incoming"),
        ("gateway", "openai", "openai.webhook", "response", "call1/incoming"),
    ]


def test_the_vendors_package_verifies_the_signature() -> None:
    project = Project()
    project.ring()
    (delivery,) = project.service.webhooks.deliveries
    client = openai.OpenAI(api_key="none", webhook_secret=SECRET)
    headers = dict(delivery.headers)
    # The world's time is not that of the package.
    client.webhooks.verify_signature(delivery.body, headers, tolerance=10**10)
    for body, changed in (
        (delivery.body + " ", headers),
        (delivery.body, {**headers, "webhook-id": "wh_other"}),
        (delivery.body, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}),
    ):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.verify_signature(body, changed, tolerance=10**10)


def test_a_webhook_that_nobody_takes_is_tried_again() -> None:
    project = Project()
    project.service.incoming_sip("+15550123")
    project.clock.advance(5)
    webhooks = project.service.webhooks
    first = project.take(500)
    waits = []
    for status in (302, 404):
        before, began = len(webhooks.deliveries), project.clock.now()
        while len(webhooks.deliveries) == before:
            project.clock.advance(1)
        waits.append(project.clock.now() - began)
        project.take(status)
    assert waits == [5, 10]
    project.clock.advance(20)
    webhooks.answered(webhooks.deliveries[-1], Outcome(None, failure="timed out"))
    assert [m.kind for m in project.recorder.messages if m.channel == "openai.webhook"][-1] == "failure"
    project.clock.advance(40)
    last = project.take(204)
    project.clock.advance(80 * 3600)
    assert [delivery.attempt for delivery in webhooks.deliveries] == [1, 2, 3, 4, 5]
    assert len({delivery.point for delivery in webhooks.deliveries}) == 5
    # The same event under the same id, signed anew.
    assert (last.body, dict(last.headers)["webhook-id"]) == (first.body, dict(first.headers)["webhook-id"])
    assert dict(last.headers)["webhook-signature"] != dict(first.headers)["webhook-signature"]


def test_after_three_days_it_gives_up() -> None:
    project = Project(webhook_first_retry_seconds=3600)
    project.service.incoming_sip("+15550123")
    project.clock.advance(5)
    webhooks = project.service.webhooks
    while len(webhooks.outcomes) < len(webhooks.deliveries):
        project.take(500)
        for _ in range(72):
            if len(webhooks.outcomes) == len(webhooks.deliveries):
                project.clock.advance(3600)
    assert len(webhooks.deliveries) == 7  # after 1, 3, 7, 15, 31 and 63 hours
    assert project.clock.pending == 0


def test_what_the_webhook_says_of_the_media_is_a_knob() -> None:
    project = Project(sip_media_security="srtp")
    project.ring()
    assert json.loads(project.service.webhooks.deliveries[0].body)["data"]["sip_media_security"] == "srtp"


def test_without_a_webhook_nobody_is_told() -> None:
    with pytest.raises(ValueError, match="WebhookEndpoint"):
        Vendor().service.incoming_sip("+15550123")


@pytest.mark.parametrize(
    ("url", "secret"), [("gateway.example", SECRET), (URL, "hunter2"), (URL, "whsec_%"), (URL, "c2VjcmV0")]
)
def test_an_endpoint_is_checked(url: str, secret: str) -> None:
    with pytest.raises(ValueError, match="webhook endpoint"):
        WebhookEndpoint(url, secret)


# -- what becomes of the call


def test_an_accepted_call_has_a_session_and_sound() -> None:
    project = Project()
    leg = project.ring()
    # mu-law is the default of nobody: the trunk converts.
    audio = {"input": {"format": {"type": "audio/pcmu"}}}
    project.accept(leg, instructions="Be brief.", audio=audio)
    assert (leg.call.state, leg.status) == (CallState.ACTIVE, 200)
    session = leg.call.running
    assert session is not None
    assert session.settings.instructions == "Be brief."
    assert session.sent[0] == "session.created"
    heard: list[bytes] = []
    leg.on_audio = heard.append
    for frame in frames("what_time", "pcm16", 24000):
        leg.audio(frame)
        project.clock.advance(0.02)
    project.clock.advance(30)
    assert [found.phrase for found in session.heard] == ["what_time"]
    assert "output_audio_buffer.stopped" in session.sent
    listener = Listener("pcm16", 24000)
    listener.feed(bytes(leg.played))
    listener.flush()
    assert [found.phrase for found in listener.heard] == ["its_noon"]
    assert b"".join(heard) == bytes(leg.played)


def test_a_sideband_monitors_a_sip_call() -> None:
    project = Project()
    leg = project.ring()
    project.accept(leg)
    sideband = project.join(KEY, {"call_id": leg.call.id})
    sideband.say("response.create")
    project.clock.advance(30)
    seen = [event["type"] for event in sideband.events()]
    assert seen[0] == "response.created"
    assert "output_audio_buffer.started" in seen
    assert "response.output_audio.delta" not in seen
    leg.hang_up()
    assert sideband.close == (1000, "")


def test_keys_of_the_telephone_are_events() -> None:
    project = Project()
    leg = project.ring()
    project.accept(leg)
    sideband = project.join(KEY, {"call_id": leg.call.id})
    leg.press("#")
    (event,) = sideband.events()
    now = int(START + project.clock.now())
    assert event == {"type": "input_audio_buffer.dtmf_event_received", "event": "#", "received_at": now}
    assert validate("ga", "server", event) is None
    for key in ("E", "12", ""):
        with pytest.raises(ValueError, match="keys"):
            leg.press(key)


def test_a_call_is_rejected() -> None:
    project = Project()
    for body, status in (({"status_code": 486}, 486), (None, 603)):
        leg = project.ring()
        project.get(f"{CALLS}/{leg.call.id}/reject", body)
        assert (leg.call.state, leg.status, leg.over) == (CallState.REJECTED, status, True)
        with pytest.raises(RuntimeError, match="rejected"):
            leg.audio(b"\0\0")


def test_a_call_is_referred_and_the_trunk_leaves() -> None:
    project = Project()
    leg = project.ring()
    project.accept(leg)
    project.get(f"{CALLS}/{leg.call.id}/refer", {"target_uri": "tel:+15550199"})
    assert (leg.referred_to, leg.over) == ("tel:+15550199", False)
    project.clock.advance(10)
    assert (leg.call.state, leg.over) == (CallState.ENDED, True)
    caller, vendor = "caller", "openai"
    assert project.trunk() == [(caller, "INVITE"), (vendor, "200"), (vendor, "REFER"), (caller, "BYE")]


def test_a_referred_call_may_stay() -> None:
    project = Project(refer_ends_call=False)
    leg = project.ring()
    project.accept(leg)
    project.get(f"{CALLS}/{leg.call.id}/refer", {"target_uri": "tel:+15550199"})
    project.clock.advance(100)
    assert (leg.call.state, leg.over) == (CallState.REFERRED, False)


def test_a_call_is_hung_up_by_the_project() -> None:
    project = Project()
    leg = project.ring()
    project.accept(leg)
    project.get(f"{CALLS}/{leg.call.id}/hangup")
    assert (leg.call.state, leg.over) == (CallState.ENDED, True)
    assert project.trunk()[-1] == ("openai", "BYE")
    assert leg.call.running is not None
    assert leg.call.running.closed is not None


def test_the_caller_hangs_up_once() -> None:
    project = Project()
    ringing = project.ring()
    ringing.hang_up()
    assert (ringing.status, ringing.over, ringing.call.state) == (487, True, CallState.ENDED)
    assert project.refusal(f"{CALLS}/{ringing.call.id}/accept", REALTIME)[:2] == (404, "call_id_not_found")
    active = project.ring()
    project.accept(active)
    active.hang_up()
    active.hang_up()
    assert active.call.state is CallState.ENDED
    assert project.trunk() == [
        ("caller", "INVITE"),
        ("caller", "CANCEL"),
        ("openai", "487"),
        ("caller", "INVITE"),
        ("openai", "200"),
        ("caller", "BYE"),
    ]


def test_a_call_that_nobody_answers() -> None:
    project = Project(sip_answer_seconds=30)
    leg = project.ring()
    project.clock.advance(30)
    assert (leg.status, leg.call.state, leg.over) == (480, CallState.ENDED, True)
    patient = Project(sip_answer_seconds=0)
    leg = patient.ring()
    patient.clock.advance(86400)
    assert leg.call.state is CallState.RINGING


def test_a_call_ends_with_its_session() -> None:
    project = Project()
    leg = project.ring()
    project.accept(leg)
    project.clock.advance(3600)
    assert (leg.call.state, leg.over) == (CallState.ENDED, True)
    assert project.trunk()[-1] == ("openai", "BYE")
    assert project.clock.pending == 0


def test_calls_belong_to_the_project_of_the_webhook() -> None:
    project = Project()
    project.keys[OTHER] = KeyInfo(project="proj_theirs")
    leg = project.ring()
    assert project.refusal(f"{CALLS}/{leg.call.id}/accept", REALTIME, key=OTHER)[0] == 404
    project.service.webhook = WebhookEndpoint(URL, SECRET, Place("org-callproof", "proj_theirs"))
    theirs = project.ring()
    assert project.refusal(f"{CALLS}/{theirs.call.id}/accept", REALTIME)[0] == 404
    assert theirs.call.state is CallState.RINGING


# -- over sockets


class Receiver:
    """A gateway that takes webhooks with the vendor's package and accepts the call."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses
        self.events: list[Any] = []
        self.hosts: list[str] = []
        self.ids: list[str] = []
        self.accepted = asyncio.Event()
        self.client: openai.AsyncOpenAI | None = None

    async def take(self, request: web.Request) -> web.Response:
        assert self.client is not None
        self.hosts.append(request.host)
        self.ids.append(request.headers["webhook-id"])
        event = self.client.webhooks.unwrap(await request.read(), dict(request.headers))
        status = self.statuses.pop(0)
        if status == 200 and isinstance(event, RealtimeCallIncomingWebhookEvent):
            self.events.append(event)
            await self.client.realtime.calls.accept(event.data.call_id, type="realtime", model="gpt-realtime")
            self.accepted.set()
        return web.Response(status=status)


@asynccontextmanager
async def receiving(*statuses: int, **options: Any) -> AsyncIterator[tuple[Receiver, Any, Any]]:
    receiver = Receiver(list(statuses))
    app = web.Application()
    app.router.add_post("/openai/webhook", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    routes = {"gateway.example": f"http://{host}:{port}"}
    async with listening(webhook=ENDPOINT, routes=routes, **options) as (service, recorder, http):
        base = str(http._base_url).rstrip("/") + "/v1"
        async with openai.AsyncOpenAI(api_key=KEY, base_url=base, webhook_secret=SECRET, max_retries=0) as client:
            receiver.client = client
            yield receiver, service, recorder
    await runner.cleanup()


async def test_the_vendors_package_takes_a_call() -> None:
    async with receiving(503, 200, knobs={"webhook_first_retry_seconds": 1}) as (receiver, service, recorder):
        leg = service.incoming_sip("+15550123")
        await receiver.accepted.wait()
        (event,) = receiver.events
        assert event.data.call_id == leg.call.id
        assert event.data.sip_headers[0].name == "From"
        assert receiver.hosts == ["gateway.example"] * 2
        assert len(set(receiver.ids)) == 1
        await service.wait_for(lambda: len(service.webhooks.outcomes) == 2)
        assert (leg.status, leg.call.state) == (200, CallState.ACTIVE)
        assert receiver.client is not None
        async with receiver.client.realtime.connect(call_id=leg.call.id) as sideband:
            await sideband.session.update(session={"type": "realtime", "instructions": "Be brief."})
            kinds = []
            while "session.updated" not in kinds:
                kinds.append((await sideband.recv()).type)
            await receiver.client.realtime.calls.hangup(leg.call.id)
        assert leg.over
        # On the wire a request comes before what it does.
        said = [(m.channel, m.kind) for m in recorder.messages]
        accept = said.index(("openai.http", "request"))
        assert said[accept : accept + 3] == [
            ("openai.http", "request"),
            ("openai.sip", "200"),
            ("openai.http", "response"),
        ]
        webhook = [(m.kind, m.invalid) for m in recorder.messages if m.channel == "openai.webhook"]
        assert webhook == [("request", None), ("response", None)] * 2


@pytest.mark.parametrize("seconds", [5, 30])
def test_how_long_a_webhook_may_take(seconds: int) -> None:
    project = Project(webhook_timeout_seconds=seconds)
    project.ring()
    (delivery,) = project.service.webhooks.deliveries
    assert delivery.timeout == seconds


async def test_a_webhook_that_nobody_listens_to() -> None:
    endpoint = WebhookEndpoint("http://127.0.0.1:9/webhook", SECRET)
    async with listening(webhook=endpoint) as (service, recorder, _):
        service.incoming_sip("+15550123")
        await service.wait_for(lambda: service.webhooks.outcomes)
        assert service.webhooks.outcomes[0].status is None
        assert recorder.messages[-1].kind == "failure"


async def test_a_webhook_under_way_ends_with_the_server() -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def never(request: web.Request) -> web.Response:
        asked.set()
        await release.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhook", never)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with listening(webhook=WebhookEndpoint(f"http://{host}:{port}/webhook", SECRET)) as (service, recorder, _):
        leg = service.incoming_sip("+15550123")
        await asked.wait()
    assert (leg.over, service.webhooks.outcomes) == (True, [])
    assert [m.kind for m in recorder.messages if m.channel == "openai.webhook"] == ["request"]
    release.set()
    await runner.cleanup()


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification of Standard Webhooks.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = '{"test": 2432232314}'
    value = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert value == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
