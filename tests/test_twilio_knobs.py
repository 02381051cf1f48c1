"""What the knobs of the fake Twilio change: every delay, and the readings that no other test tries."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from twilio_world import BASE, CALLEE, NUMBER, VOICE, FixedChoices, World, answer

from fakes.twilio.signature import signed_url

BOUNDS = (7, 11, 13)


class Noting(FixedChoices):
    """Typical values; keeps the bounds within which each delay was chosen."""

    def __init__(self) -> None:
        super().__init__({})
        self.bounds: dict[str, tuple[int, int, int]] = {}

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        self.bounds[point.removeprefix("twilio/")] = (low_ms, typical_ms, high_ms)
        return super().delay(point, low_ms, typical_ms, high_ms)


def story(knobs: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """An outbound call whose document comes at the second try, whose stream is redirected, and that is hung up."""
    again = answer(503)
    document = '<Response><Connect><Stream url="wss://gw.example.test/media"/></Connect></Response>'
    voice = {"/voice": [again, document, document, document]}
    noting = Noting()
    world = World(replies=voice, knobs={"callback_duplicate_percent": 100, **knobs}, choices=noting)
    call = world.create(Url=f"{VOICE}#rc=2&rp=5xx", StatusCallbackEvent=["answered", "completed"])
    world.run(8)
    world.update(call, Twiml=document)
    world.run(2)
    world.callee.hang_up()
    world.run(2)
    return noting.bounds


@cache
def usual() -> dict[str, tuple[int, int, int]]:
    return {**story({"stream_lose_percent": 100}), **story({})}


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        ("rest_delay", "call1/create/delay"),
        ("dequeue_delay", "call1/dequeue/delay"),
        ("ring_delay", "call1/ring/delay"),
        ("answer_delay", "call1/answer/delay"),
        ("fetch_delay", "call1/fetch#1/delay"),
        ("callback_delay", "call1/callback/answered#1/delay"),
        ("completed_callback_delay", "call1/callback/completed#1/delay"),
        ("duplicate_delay", "call1/callback/answered#2/delay"),
        ("retry_delay", "call1/fetch#1/retry1/delay"),
        ("update_delay", "call1/update#1/delay"),
        ("stream_connect_delay", "call1/stream1/connect/delay"),
        ("stream_start_delay", "call1/stream1/start/delay"),
        ("stream_lose_delay", "call1/stream1/lose/delay"),
        ("hangup_stop_delay", "call1/hangup/stop/delay"),
    ],
)
def test_a_delay_is_chosen_within_its_knobs(kind: str, point: str) -> None:
    turned = dict(zip((f"{kind}_{which}_ms" for which in ("low", "typical", "high")), BOUNDS, strict=True))
    lost = {"stream_lose_percent": 100} if kind == "stream_lose_delay" else {}
    bounds = story({**turned, **lost})
    assert bounds[point] == BOUNDS
    changed = {point for point, chosen in bounds.items() if chosen == BOUNDS}
    assert all(usual().get(point) != BOUNDS for point in changed)


def test_a_typical_value_beyond_its_bounds_is_brought_within_them() -> None:
    bounds = story({"ring_delay_low_ms": 50, "ring_delay_typical_ms": 10, "ring_delay_high_ms": 20})
    assert bounds["call1/ring/delay"] == (50, 50, 50)


@pytest.mark.parametrize("code", [21211, 21217, 13223])
def test_the_code_for_an_invalid_number(code: int) -> None:
    world = World(knobs={"to_invalid_code": str(code)})
    refused = world.rest(f"{BASE}/Calls.json", To="+1", From=NUMBER, Url=VOICE)
    assert (refused.status, json.loads(refused.body)["code"]) == (400, code)


@pytest.mark.parametrize(("reading", "dated"), [("null", False), ("set", True)])
def test_the_dates_in_the_answer_to_a_create(reading: str, dated: bool) -> None:
    world = World(knobs={"create_dates": reading})
    created = json.loads(world.rest(f"{BASE}/Calls.json", To=CALLEE, From=NUMBER, Url=VOICE).body)
    assert (created["date_created"] is not None, created["date_updated"] is not None) == (dated, dated)


@pytest.mark.parametrize("reading", ["close", "keep-alive"])
def test_the_connection_header_of_webhooks(reading: str) -> None:
    world = World(knobs={"webhook_connection": reading})
    world.dial()
    world.run(2)
    assert world.posted("/voice")[0].header("Connection") == reading


@pytest.mark.parametrize(
    ("knob", "reading", "url", "signed"),
    [
        ("signature_wss_port", "dropped", "wss://gw.example.test:8443/media", "wss://gw.example.test/media"),
        ("signature_wss_port", "kept", "wss://gw.example.test:8443/media", "wss://gw.example.test:8443/media"),
        ("signature_wss_slash", "empty-path", "wss://gw.example.test", "wss://gw.example.test/"),
        ("signature_wss_slash", "empty-path", "wss://gw.example.test/media", "wss://gw.example.test/media"),
        ("signature_wss_slash", "never", "wss://gw.example.test", "wss://gw.example.test"),
        ("signature_wss_slash", "always", "wss://gw.example.test/media", "wss://gw.example.test/media/"),
    ],
)
def test_the_form_of_a_stream_address_that_is_signed(knob: str, reading: str, url: str, signed: str) -> None:
    assert signed_url(url, World(knobs={knob: reading}).knobs) == signed


@pytest.mark.parametrize(("percent", "lost"), [(0, False), (100, True)])
def test_how_many_streams_lose_their_socket(percent: int, lost: bool) -> None:
    world = World(knobs={"stream_lose_percent": percent})
    _, stream = world.streaming()
    world.run(30)
    assert stream.lost is lost
