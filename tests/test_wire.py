"""The wire: messages, queries and the digest."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from harness.wire import Message, Wire, digest


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire(clock: Clock) -> Wire:
    """A short call: webhook, answer, stream, media, close."""
    wire = Wire(clock)
    headers = [["Content-Type", "application/x-www-form-urlencoded"], ["X-Twilio-Signature", "abc="]]
    rows: list[tuple[float, str, str, str, str, Any, dict[str, Any]]] = [
        (
            0.0,
            "twilio",
            "gateway",
            "twilio.webhook",
            "request",
            b"CallSid=CA1&From=%2B1555&Empty=&From=%2B1556",
            {"method": "POST", "url": "https://gw.example.test/voice", "headers": headers},
        ),
        (0.1, "gateway", "twilio", "twilio.webhook", "response", "<Response/>", {"status": 200, "headers": []}),
        (0.2, "twilio", "gateway", "twilio.stream", "upgrade", None, {"url": "wss://gw.example.test/media"}),
        (0.3, "twilio", "gateway", "twilio.stream", "start", '{"event":"start","start":{"streamSid":"MZ1"}}', {}),
        (0.4, "twilio", "gateway", "twilio.stream", "media", '{"event":"media"}', {}),
        (0.5, "gateway", "twilio", "twilio.stream", "media", '{"event":"media"}', {}),
        (0.5, "gateway", "twilio", "twilio.stream", "mark", '{"event":"mark"}', {}),
        (0.9, "gateway", "twilio", "twilio.stream", "close", None, {"code": 1000, "reason": "bye"}),
    ]
    for at, source, target, channel, kind, body, meta in rows:
        clock.seconds = at
        connection = "call1/stream1" if channel == "twilio.stream" else "call1/voice#1"
        wire.record(source, target, channel, kind, body, connection=connection, meta=meta)
    return wire


def numbers(messages: list[Message]) -> list[int]:
    return [message.seq for message in messages]


def test_messages_are_numbered_and_timed_as_they_come(wire: Wire, clock: Clock) -> None:
    assert len(wire) == 8
    assert numbers(list(wire)) == list(range(8))
    assert [message.at for message in wire] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.9]
    clock.seconds = 1.0
    assert wire.record("openai", "gateway", "openai.realtime", "session.created", invalid="no id") == 8
    last = wire[-1]
    assert (last.at, last.invalid, last.body, last.meta, last.connection) == (1.0, "no id", None, {}, "")
    assert wire[8] is last


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (dict[str, Any](), [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"kind": "media"}, [4, 5]),
        ({"kind": ("media", "mark")}, [4, 5, 6]),
        ({"kind": ()}, []),
        ({"source": "gateway"}, [1, 5, 6, 7]),
        ({"target": "gateway"}, [0, 2, 3, 4]),
        ({"channel": "twilio.webhook"}, [0, 1]),
        ({"connection": "call1/stream1"}, [2, 3, 4, 5, 6, 7]),
        ({"kind": "media", "source": "twilio", "connection": "call1/stream1"}, [4]),
        ({"after": 0.5}, [7]),
        ({"after": 0}, [1, 2, 3, 4, 5, 6, 7]),
        ({"before": 0.5}, [0, 1, 2, 3, 4]),
        ({"after": 0.2, "before": 0.5}, [3, 4]),
        ({"where": lambda m: m.get("start.streamSid") == "MZ1"}, [3]),
        ({"kind": "media", "where": lambda m: m.source == "nobody"}, []),
    ],
)
def test_queries(wire: Wire, query: dict[str, Any], found: list[int]) -> None:
    assert numbers(wire.all(**query)) == found
    first, last = wire.first(**query), wire.last(**query)
    assert (first.seq if first else None) == (found[0] if found else None)
    assert (last.seq if last else None) == (found[-1] if found else None)


def test_after_and_before_a_message_go_by_order_and_not_by_time(wire: Wire) -> None:
    assert numbers(wire.all(after=wire[5])) == [6, 7], "6 is of the same instant as 5"
    assert numbers(wire.all(before=wire[6])) == [0, 1, 2, 3, 4, 5]
    assert numbers(wire.all("media", after=wire[3], before=wire[5])) == [4]


def test_bodies(wire: Wire) -> None:
    request, start, close = wire[0], wire[3], wire[7]
    assert request.text == "CallSid=CA1&From=%2B1555&Empty=&From=%2B1556"
    assert request.form == {"CallSid": "CA1", "From": "+1556", "Empty": ""}
    assert request.json == {}, "not JSON"
    assert start.json == {"event": "start", "start": {"streamSid": "MZ1"}}
    assert (start.get("event"), start.get("start.streamSid")) == ("start", "MZ1")
    assert (start.get("start.nothing"), start.get("event.streamSid", "default")) == (None, "default")
    assert (close.text, close.json, close.get("a"), close.form) == ("", {}, None, {})
    for body, text in ((b"\xff", "�"), ("[1]", "[1]")):
        message = Message(0, 0, "a", "b", "c", "d", body)
        assert message.text == text
        assert message.get("x", 5) == 5


def test_headers_and_status(wire: Wire) -> None:
    request = wire[0]
    assert request.header("content-type") == "application/x-www-form-urlencoded"
    assert request.header("X-TWILIO-signature") == "abc="
    assert request.header("host") is None
    assert wire[3].header("host", "nobody") == "nobody"
    assert (wire[1].status, request.status) == (200, None)
    twice = Message(0, 0, "a", "b", "c", "d", meta={"headers": [["Via", "1"], ["via", "2"]]})
    assert twice.header("via") == "1"


def test_a_message_as_a_line(wire: Wire) -> None:
    assert [str(wire[number]) for number in (0, 1, 4, 7)] == [
        "#0 0.000s twilio -> gateway [call1/voice#1] POST https://gw.example.test/voice",
        "#1 0.100s gateway -> twilio [call1/voice#1] response 200",
        "#4 0.400s twilio -> gateway [call1/stream1] media",
        "#7 0.900s gateway -> twilio [call1/stream1] close 1000 bye",
    ]


def test_watchers_see_every_message_until_they_end(wire: Wire) -> None:
    seen: list[str] = []

    def watch_once(message: Message) -> None:
        seen.append(f"once {message.kind}")
        end_once()

    end_once = wire.watch(watch_once)
    end = wire.watch(lambda message: seen.append(f"all {message.kind} {len(wire) - 1 == message.seq}"))
    wire.record("a", "b", "c", "one")
    wire.record("a", "b", "c", "two")
    end()
    wire.record("a", "b", "c", "three")
    assert seen == ["once one", "all one True", "all two True"]


# -- the digest

ID, OTHER = "5f0c2c5e-6f0e-4a53-b6d5-0b6f0f4a9d11", "0a0b0c0d-0e0f-4a53-b6d5-0b6f0f4a9d22"


def a_run(**changes: Any) -> Wire:
    """A few messages in which the gateway uses an id of its own three times, and another one once."""
    one, two = changes.get("ids", (ID, OTHER))
    clock = Clock()
    wire = Wire(clock)
    rows: list[tuple[float, dict[str, Any]]] = [
        (0.0, {"kind": "session.update", "body": f'{{"event_id":"{one}"}}'}),
        (changes.get("at", 0.25), {"kind": "request", "meta": {"method": "POST", "url": f"https://x/{two}?id={one}"}}),
        (
            1.0,
            {
                "kind": changes.get("kind", "response"),
                "body": changes.get("body", f"ok {one}"),
                "connection": changes.get("connection", "c1"),
                "meta": {"status": changes.get("status", 200), "headers": changes.get("headers", [["X-A", "1"]])},
            },
        ),
        (1.0, {"kind": "media", "body": changes.get("media", '{"media":"AAAA"}')}),
        (1.0, {"kind": "binary", "body": changes.get("binary", b"\x00\x01")}),
    ]
    if changes.get("swapped"):
        rows[3], rows[4] = rows[4], rows[3]
    for at, row in rows:
        clock.seconds = at
        wire.record(changes.get("source", "gateway"), "openai", "openai.realtime", **row)
    return wire


def test_two_equal_runs_have_one_digest() -> None:
    assert a_run().digest() == a_run().digest() == digest(a_run().messages)
    assert len(a_run().digest()) == 64
    assert Wire(Clock()).digest() != a_run().digest()


@pytest.mark.parametrize(
    "fresh",
    [
        lambda: str(uuid.uuid4()),
        lambda: uuid.uuid4().hex,
        lambda: f"CA{uuid.uuid4().hex}",
        lambda: str(uuid.uuid4()).upper(),
    ],
    ids=["uuid", "hex", "sid", "upper"],
)
def test_ids_that_the_gateway_makes_up_do_not_change_the_digest(fresh: Callable[[], str]) -> None:
    ids = [(fresh(), fresh()) for _ in range(3)]
    assert len({a_run(ids=pair).digest() for pair in ids}) == 1


def test_which_id_is_used_where_does_change_the_digest() -> None:
    assert a_run(ids=(ID, ID)).digest() != a_run().digest()
    assert a_run(body=f"ok {OTHER}").digest() != a_run(body=f"ok {ID}").digest()


@pytest.mark.parametrize(
    "change",
    [
        {"at": 0.26},
        {"kind": "answer"},
        {"body": "no"},
        {"connection": "c2"},
        {"status": 201},
        {"headers": [["X-A", "2"]]},
        {"headers": [["X-A", "1"], ["X-B", "1"]]},
        {"media": '{"media":"AAAB"}'},
        {"binary": b"\x00\x02"},
        {"source": "twilio"},
        {"swapped": True},
    ],
    ids=str,
)
def test_everything_else_changes_the_digest(change: dict[str, Any]) -> None:
    assert a_run(**change).digest() != a_run().digest()


def test_headers_that_say_nothing_do_not_change_the_digest() -> None:
    noisy = [["Date", "today"], ["x-a", "1"], ["Sec-WebSocket-Key", "dGhl"], ["Server", "x/1"], ["Host", "a:1"]]
    assert a_run(headers=noisy).digest() == a_run().digest()
    assert a_run(headers=[["B", "2"], ["A", "1"]]).digest() == a_run(headers=[["A", "1"], ["B", "2"]]).digest()


def test_without_times_only_order_and_content_count() -> None:
    assert digest(a_run(at=0.26).messages, times=False) == digest(a_run().messages, times=False)
    assert digest(a_run(swapped=True).messages, times=False) != digest(a_run().messages, times=False)
    assert digest(a_run(body="no").messages, times=False) != digest(a_run().messages, times=False)


def test_times_below_a_microsecond_are_noise_of_the_arithmetic() -> None:
    assert a_run(at=0.1 + 0.2).digest() == a_run(at=0.3).digest()
