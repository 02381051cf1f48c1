"""The pure parts of the reference gateway: signature, dialects, call states, tokens, tools, log."""

import io
import json
from itertools import permutations
from typing import Any

import pytest
from twilio.request_validator import RequestValidator

from reference_impl import signature
from reference_impl.calls import FINAL, TRANSITIONS, Call, Calls, IllegalTransition, StreamTokens
from reference_impl.config import Config, load
from reference_impl.dialects import Beta, Ga, dialect_for
from reference_impl.log import Log
from reference_impl.tools import TOOLS, call_tool

ENVIRON = {
    "GATEWAY_PUBLIC_URL": "https://gw.example.test",
    "GATEWAY_TOKEN": "operator-token",
    "OPENAI_API_KEY": "sk-test-key",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}
TOKEN = "0123456789abcdef0123456789abcdef"
FORM = [
    ("CallSid", "CA" + "0" * 31 + "1"),
    ("CallStatus", "in-progress"),
    ("From", "+15005550006"),
    ("To", "+15005550010"),
]


def config(**environ: str) -> Config:
    return load([], {**ENVIRON, **environ})


# Signature


@pytest.mark.parametrize(
    ("url", "params", "expected"),
    [
        ("https://gw.example.test/voice?callId=7", FORM, "EjzsM8CpWBc9UoCpz4oHe+T9ffE="),
        ("wss://gw.example.test/media", [], "/hNE+acmz3jEiQu9IIj34nqKQio="),
        ("wss://gw.example.test/media/", [], "rYe8aZtQ/EGRGDYibGns5yldruE="),
        ("https://gw.example.test/x", [("A", "2"), ("A", "1"), ("A", "2"), ("B", "")], "NpHGMXtP/dFEIGTLusm89f6UYow="),
    ],
)
def test_known_signatures(url: str, params: list[tuple[str, str]], expected: str) -> None:
    assert signature.sign(TOKEN, url, params) == expected
    assert signature.verify(TOKEN, url, params, expected)
    assert not signature.verify(TOKEN, url, [*params, ("Extra", "1")], expected)
    assert not signature.verify(TOKEN + "0", url, params, expected)


def test_signature_of_the_vendors_sdk_is_accepted() -> None:
    url = "https://gw.example.test/twilio/voice"
    theirs = RequestValidator(TOKEN).compute_signature(url, dict(FORM))
    assert signature.verify(TOKEN, url, FORM, theirs)


@pytest.mark.parametrize("given", ["", "nonsense", "EjzsM8CpWBc9UoCpz4oHe+T9ffF=", "ä"])
def test_missing_and_forged_signatures_are_refused(given: str) -> None:
    assert not signature.verify(TOKEN, "https://gw.example.test/voice?callId=7", FORM, given)


def test_port_may_be_written_or_not() -> None:
    bare, default, other = (f"https://gw.example.test{port}/v" for port in ("", ":443", ":8443"))
    assert signature.verify(TOKEN, bare, FORM, signature.sign(TOKEN, default, FORM))
    assert signature.verify(TOKEN, other, FORM, signature.sign(TOKEN, bare, FORM))
    assert not signature.verify(TOKEN, bare, FORM, signature.sign(TOKEN, other, FORM))


@pytest.mark.parametrize("written", ["wss://gw.example.test/s", "wss://gw.example.test/s/"])
@pytest.mark.parametrize("signed", ["wss://gw.example.test/s", "wss://gw.example.test/s/"])
def test_upgrade_may_be_signed_with_a_trailing_slash(written: str, signed: str) -> None:
    assert signature.verify_upgrade(TOKEN, written, signature.sign(TOKEN, signed))
    assert not signature.verify_upgrade(TOKEN, written, signature.sign(TOKEN, "https://gw.example.test/s"))


# Dialects


@pytest.mark.parametrize(
    ("model", "api", "expected"),
    [
        ("gpt-4o-realtime-preview", "auto", Beta),
        ("gpt-4o-realtime-preview-2024-12-17", "auto", Beta),
        ("gpt-4o-mini-realtime-preview", "auto", Beta),
        ("gpt-realtime", "auto", Ga),
        ("gpt-realtime-2.1-mini", "auto", Ga),
        ("my-gpt-4o-realtime-preview", "auto", Ga),
        ("gpt-4o-realtime-preview", "ga", Ga),
        ("gpt-realtime", "beta", Beta),
    ],
)
def test_dialect_choice(model: str, api: str, expected: type) -> None:
    assert type(dialect_for(config(OPENAI_MODEL=model, OPENAI_API=api))) is expected


def test_ga_handshake_and_session() -> None:
    dialect = Ga(config(OPENAI_VOICE="cedar"))
    assert dialect.url() == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2"
    assert dialect.headers() == {"Authorization": "Bearer sk-test-key"}
    session = json.loads(dialect.session_update([]))["session"]
    assert session["type"] == "realtime"
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "cedar"}
    assert not {"modalities", "input_audio_format", "temperature"} & session.keys()
    assert dialect.turn_detection(session)["interrupt_response"] is True


def test_beta_handshake_and_session() -> None:
    dialect = Beta(config(OPENAI_BASE_URL="http://127.0.0.1:9000/v1", OPENAI_MODEL="gpt-4o-realtime-preview"))
    assert dialect.url() == "ws://127.0.0.1:9000/v1/realtime?model=gpt-4o-realtime-preview"
    assert dialect.headers()["OpenAI-Beta"] == "realtime=v1"
    session = dialect.session([])
    assert session["input_audio_format"] == session["output_audio_format"] == "g711_ulaw"
    assert not {"type", "audio", "output_modalities"} & session.keys()
    assert dialect.turn_detection(session)["type"] == "server_vad"


# Calls


def outbound(status: str = "queued") -> tuple[Calls, Call]:
    calls = Calls()
    call = calls.open("CA1", "outbound-api", "+15005550010", "+15005550006")
    call.status = status
    return calls, call


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_callbacks_in_any_order_end_in_completed(order: tuple[int, ...]) -> None:
    calls, call = outbound()
    statuses = ["initiated", "ringing", "in-progress", "completed"]
    for number in order:
        calls.apply_status(call, statuses[number], number)
    assert call.status == "completed"


def test_late_and_repeated_callbacks_change_nothing() -> None:
    calls, call = outbound()
    assert calls.apply_status(call, "in-progress", 2)
    assert not calls.apply_status(call, "ringing", 1)
    assert not calls.apply_status(call, "in-progress", 2)
    assert call.status == "in-progress"
    assert calls.apply_status(call, "completed", 3)
    for status in TRANSITIONS:
        assert not calls.apply_status(call, status, 9)
    assert call.status == "completed"


def test_sequence_number_tells_a_late_callback() -> None:
    calls, call = outbound()
    assert calls.apply_status(call, "initiated", 4)
    assert not calls.apply_status(call, "ringing", 3)
    assert call.status == "initiated"


def test_an_end_is_news_whatever_its_number_and_unknown_words_are_not() -> None:
    calls, call = outbound()
    assert calls.apply_status(call, "in-progress", 7)
    assert not calls.apply_status(call, "answered", 8)
    assert calls.apply_status(call, "failed", 0)


def test_illegal_transition_raises() -> None:
    _, call = outbound("completed")
    with pytest.raises(IllegalTransition, match="is completed: it cannot become ringing"):
        call.advance("ringing")
    assert all(not TRANSITIONS[status] for status in FINAL)


def test_callback_before_the_create_answer_is_kept() -> None:
    calls = Calls()
    calls.placing = 1
    call = calls.find_for_callback("CA1", "outbound-api", "initiated", "+1", "+2")
    assert call is not None
    assert calls.apply_status(call, "initiated", 0)
    calls.placing = 0
    assert calls.open("CA1", "outbound-api", "+1", "+2") is call
    assert call.status == "initiated"


def test_callback_of_a_call_that_nobody_placed() -> None:
    calls = Calls()
    assert calls.find_for_callback("CA1", "outbound-api", "ringing", "", "") is None
    assert list(calls) == []
    # The end of an inbound call can overtake its TwiML fetch.
    ended = calls.find_for_callback("CA2", "inbound", "completed", "", "")
    assert ended is not None
    assert calls.apply_status(ended, "completed", 0)
    assert calls.active() == []
    assert calls.open("CA2", "inbound", "", "").over


def test_ended_calls_are_forgotten_in_the_end_and_active_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_impl.calls.KEPT", 2)
    calls = Calls()
    for sid, status in (("CA1", "in-progress"), ("CA2", "completed"), ("CA3", "in-progress"), ("CA4", "ringing")):
        calls.open(sid, "inbound", "", "").status = status
    assert [call.sid for call in calls] == ["CA1", "CA3", "CA4"]


# Tokens


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_token_is_single_use_and_bound_to_its_call() -> None:
    tokens = StreamTokens(Clock(), 60)
    token = tokens.issue("CA1")
    assert tokens.issue("CA1") == token  # a repeated fetch
    assert tokens.issue("CA2") != token
    assert not tokens.redeem(token, "CA2")
    assert not tokens.redeem("\ud800", "CA1")
    assert tokens.redeem(token, "CA1")
    assert not tokens.redeem(token, "CA1")
    assert not tokens.redeem("", "CA1")


def test_token_expires_and_can_be_revoked() -> None:
    clock = Clock()
    tokens = StreamTokens(clock, 60)
    token = tokens.issue("CA1")
    clock.now = 60.0
    assert not tokens.redeem(token, "CA1")
    fresh = tokens.issue("CA1")
    assert fresh != token
    tokens.revoke("CA1")
    assert not tokens.redeem(fresh, "CA1")


# Tools


@pytest.mark.parametrize(
    ("name", "arguments", "ran", "expected"),
    [
        ("get_weather", '{"city": "Oslo"}', True, {"city": "Oslo", "forecast": "sunny", "celsius": 21}),
        ("book_table", '{"name": "Ada", "people": 13, "time": "19:00"}', True, {"booked": False}),
        ("end_call", "", True, {"ending": True}),
        ("get_weather", '{"town": "Oslo"}', False, {}),
        ("get_weather", "[1]", False, {}),
        ("get_weather", "{", False, {}),
        ("fly", "{}", False, {}),
    ],
)
def test_tools(name: str, arguments: str, ran: bool, expected: dict[str, Any]) -> None:
    outcome, output = call_tool(name, arguments)
    answer = json.loads(output)
    assert outcome is ran
    assert ("error" in answer) is not ran
    assert expected.items() <= answer.items()


def test_tool_schemas_name_their_parameters() -> None:
    schema = TOOLS["book_table"].schema()
    assert schema["type"] == "function"
    assert schema["parameters"]["required"] == ["name", "people", "time"]


# Log


def test_log_is_one_json_object_a_line_without_secrets() -> None:
    stream = io.StringIO()
    log = Log(["auth-token", ""], stream=stream).bind(call_sid="CA1")
    log.event("a", note='the "auth-token"\nof sk-proj-12345 and sk-***abcd', count=3, nothing=None)
    log.warning("b", error=ValueError("auth-token"))
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["call_sid"] == "CA1"
    assert (first["event"], first["level"], first["count"], first["nothing"]) == ("a", "info", 3, None)
    assert first["note"] == 'the "[redacted]"\nof [redacted] and [redacted]'
    assert (second["level"], second["error"]) == ("warning", "[redacted]")


def test_web_server_errors_go_to_the_log() -> None:
    stream = io.StringIO()
    logger = Log(stream=stream).as_logger()
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logger.exception("Error handling request")
    record = json.loads(stream.getvalue())
    assert (record["level"], record["error"]) == ("error", "RuntimeError: broken")
