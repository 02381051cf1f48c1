"""The vendor's own Python library against the fake: calls made, errors parsed, resources read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from fakes.local import local_ports
from fakes.people import Person
from fakes.twilio import PhoneNumber, Twilio, default_knobs
from fakes.twilio.server import TwilioServer

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "0123456789abcdef0123456789abcdef"
NUMBER, CALLEE = "+15005550006", "+15550003000"
PAUSE = "<Response><Pause length='60'/></Response>"


class Fake:
    def __init__(self, twilio: Twilio, callee: Person, base: str) -> None:
        self.twilio, self.callee, self.base = twilio, callee, base

    def client(self, token: str = TOKEN, **options: Any) -> Client:
        client = Client(ACCOUNT, token, **options)
        client.api.base_url = self.base
        return client


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    ports = local_ports()
    twilio = Twilio(ports, account_sid=ACCOUNT, auth_token=TOKEN, numbers=[PhoneNumber(NUMBER)], knobs=default_knobs())
    callee = Person(ports, number=CALLEE, party="callee")
    callee.answers_after(1)
    twilio.add_phone(callee)
    server = TwilioServer(twilio)
    await server.start()
    runner = web.AppRunner(server.app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    yield Fake(twilio, callee, f"http://127.0.0.1:{listener.getsockname()[1]}")
    await server.close()
    await runner.cleanup()


async def test_synchronous_client(fake: Fake) -> None:
    client = fake.client()

    def create() -> Any:
        return client.calls.create(
            to=CALLEE,
            from_=NUMBER,
            twiml=PAUSE,
            status_callback="https://gw.example.test/status",
            status_callback_event=["initiated", "answered"],
            timeout=20,
        )

    call = await asyncio.to_thread(create)
    assert call.sid == fake.twilio.calls[0].sid
    assert (call.status, call.direction, call.to) == ("queued", "outbound-api", CALLEE)
    assert call.date_created is None
    assert fake.twilio.calls[0].subscription.events == ("initiated", "answered")
    await fake.callee.connected()
    fetched = await asyncio.to_thread(lambda: client.calls(call.sid).fetch())
    assert fetched.status == "in-progress"
    assert abs((datetime.now(UTC) - fetched.date_created).total_seconds()) < 30
    listed = await asyncio.to_thread(lambda: client.calls.list(limit=5))
    assert [item.sid for item in listed] == [call.sid]
    updated = await asyncio.to_thread(lambda: client.calls(call.sid).update(twiml="<Response><Hangup/></Response>"))
    assert updated.sid == call.sid
    await fake.callee.ended()


async def test_asynchronous_client(fake: Fake) -> None:
    http = AsyncTwilioHttpClient()
    client = fake.client(http_client=http)
    try:
        call = await client.calls.create_async(to=CALLEE, from_=NUMBER, twiml=PAUSE)
        await fake.callee.connected()
        await client.calls(call.sid).update_async(status="completed")
        await fake.callee.ended()
        with pytest.raises(TwilioRestException) as caught:
            await client.calls(call.sid).update_async(status="completed")
        assert (caught.value.status, caught.value.code) == (404, 20404)
    finally:
        await http.session.close()


@pytest.mark.parametrize(
    ("form", "status", "code", "message"),
    [
        ({"to": "", "from_": NUMBER, "twiml": PAUSE}, 400, 21201, "No 'To' number is specified"),
        ({"to": CALLEE, "from_": NUMBER}, 400, 21205, "Url parameter is required."),
        ({"to": CALLEE, "from_": "+15550009999", "twiml": PAUSE}, 400, 21210, "not yet verified"),
    ],
)
async def test_errors(fake: Fake, form: dict[str, str], status: int, code: int, message: str) -> None:
    client = fake.client()
    with pytest.raises(TwilioRestException, match="Unable to create record: ") as caught:
        await asyncio.to_thread(lambda: client.calls.create(**form))
    assert (caught.value.status, caught.value.code) == (status, code)
    assert message in caught.value.msg


async def test_wrong_token(fake: Fake) -> None:
    client = fake.client("wrong")
    with pytest.raises(TwilioRestException, match="Authenticate") as caught:
        await asyncio.to_thread(lambda: client.calls.create(to=CALLEE, from_=NUMBER, twiml=PAUSE))
    assert (caught.value.status, caught.value.code) == (401, 20003)


async def test_redirect_of_a_call_that_is_not_in_progress(fake: Fake) -> None:
    fake.callee.does_not_answer()
    client = fake.client()
    call = await asyncio.to_thread(lambda: client.calls.create(to=CALLEE, from_=NUMBER, twiml=PAUSE))
    with pytest.raises(TwilioRestException, match=r"Call is not in-progress\. Cannot redirect\.") as caught:
        await asyncio.to_thread(lambda: client.calls(call.sid).update(twiml=PAUSE))
    assert caught.value.code == 21220
