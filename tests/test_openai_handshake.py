"""Who gets in on which day, and how the others are told."""

from __future__ import annotations

from datetime import date

import pytest

from fakes.knobs import Knobs
from fakes.openai import KNOBS, KeyInfo
from fakes.openai.catalogue import catalogue
from fakes.openai.handshake import Accept, Handshake, HandshakeRequest, RefuseHttp, RefuseInBand, masked

KEY = "sk-test-0123456789abcd"
BROKE = "sk-broke-0123456789abcd"
NOW = date(2026, 11, 20)
KEYS = {KEY: KeyInfo(), BROKE: KeyInfo(refuse="insufficient_quota")}


def decide(
    day: date = NOW,
    *,
    query: dict[str, str] | None = None,
    key: str | None = KEY,
    beta: bool = False,
    subprotocols: tuple[str, ...] = (),
    **knobs: str,
) -> Accept | RefuseInBand | RefuseHttp:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    if beta:
        headers["openai-beta"] = "realtime=v1"
    settings = Knobs.load(KNOBS)
    for name, value in knobs.items():
        settings.set(f"openai.{name}", value)
    request = HandshakeRequest(
        "/v1/realtime", {"model": "gpt-realtime"} if query is None else query, headers, subprotocols
    )
    return Handshake(catalogue(), KEYS, settings, day).decide(request)


def in_band(decision: Accept | RefuseInBand | RefuseHttp) -> tuple[str | None, str, int, str]:
    assert isinstance(decision, RefuseInBand), decision
    return decision.error.code, decision.error.message, decision.code, decision.error.reason


@pytest.mark.parametrize(
    ("day", "beta", "model", "dialect"),
    [
        (date(2024, 10, 1), True, "gpt-4o-realtime-preview", "beta"),
        (date(2025, 8, 28), True, "gpt-realtime", "beta"),
        (date(2025, 8, 28), False, "gpt-realtime", "ga"),
        (date(2026, 5, 6), False, "gpt-4o-realtime-preview", "ga"),
        (date(2026, 5, 11), True, "gpt-realtime", "beta"),
        (date(2026, 5, 12), False, "gpt-realtime", "ga"),
        (NOW, False, "gpt-realtime-2.1-mini", "ga"),
    ],
)
def test_accepted(day: date, beta: bool, model: str, dialect: str) -> None:
    decision = decide(day, beta=beta, query={"model": model})
    assert isinstance(decision, Accept)
    assert (decision.dialect, decision.kind, decision.subprotocol) == (dialect, "realtime", None)
    assert decision.model is not None
    assert decision.model.name == model


def test_the_key_may_come_as_a_subprotocol_and_realtime_is_selected() -> None:
    offered = ("realtime", f"openai-insecure-api-key.{KEY}", "openai-agents-sdk.0.20.0")
    decision = decide(key=None, subprotocols=offered)
    assert isinstance(decision, Accept)
    assert (decision.key, decision.subprotocol) == (KEY, "realtime")


def test_the_beta_may_be_asked_for_by_subprotocol() -> None:
    offered = ("realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1")
    before = decide(date(2026, 5, 11), key=None, subprotocols=offered)
    assert isinstance(before, Accept)
    assert before.dialect == "beta"
    assert in_band(decide(date(2026, 5, 12), key=None, subprotocols=offered))[0] == "beta_api_shape_disabled"


def test_the_beta_may_be_ignored_after_its_last_day() -> None:
    decision = decide(date(2026, 5, 12), beta=True, beta_header="ignore")
    assert isinstance(decision, Accept)
    assert decision.dialect == "ga"
    before = decide(date(2026, 5, 11), beta=True, beta_header="ignore")
    assert isinstance(before, Accept)
    assert before.dialect == "beta"


def test_the_beta_is_refused_from_its_last_day_on_whatever_the_model() -> None:
    for model in ("gpt-realtime", "gpt-realtime-2", "no-such-model"):
        assert in_band(decide(date(2026, 5, 12), beta=True, query={"model": model})) == (
            "beta_api_shape_disabled",
            "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API.",
            4000,
            "invalid_request_error.beta_api_shape_disabled",
        )


def test_without_the_header_there_was_nothing_before_ga() -> None:
    assert in_band(decide(date(2025, 8, 27), query={"model": "gpt-4o-realtime-preview"}))[0] == "missing_beta_header"


def test_before_the_first_day_there_is_no_such_url() -> None:
    decision = decide(date(2024, 9, 30), beta=True, query={"model": "gpt-4o-realtime-preview"})
    assert isinstance(decision, RefuseHttp)
    assert decision.status == 404


def test_a_wrong_key_is_told_in_band_and_not_shown() -> None:
    code, message, close, reason = in_band(decide(key="sk-wrong-key-wxyz"))
    assert (code, close, reason) == ("invalid_api_key", 3000, "invalid_request_error.invalid_api_key")
    assert message == (
        "Incorrect API key provided: sk-...wxyz. You can find your API key at "
        "https://platform.openai.com/account/api-keys."
    )
    assert in_band(decide(key=None))[2] == 3000


def test_a_short_key_is_hidden_altogether() -> None:
    assert masked("sk-abc") == "***"


def test_a_wrong_key_is_told_over_http_when_the_knob_says_so() -> None:
    decision = decide(key="sk-wrong-key-wxyz", bad_key_answer="http")
    assert isinstance(decision, RefuseHttp)
    assert decision.status == 401
    assert decision.error.body()["error"]["code"] == "invalid_api_key"


def test_an_owner_without_credit() -> None:
    assert in_band(decide(key=BROKE))[3] == "insufficient_quota.credit_balance_exhausted"


def test_no_model() -> None:
    assert in_band(decide(query={})) == (
        "missing_model",
        "You must provide a model parameter, for example wss://api.openai.com/v1/realtime?model=gpt-realtime-1.5",
        4000,
        "invalid_request_error.missing_model",
    )


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "gpt-live-1", "gpt-live-2-mini", "no-such-model", "gpt-realtime-translate", "gpt-audio-mini"],
)
def test_a_model_that_is_not_for_realtime(model: str) -> None:
    code, message, close, reason = in_band(decide(query={"model": model}))
    assert (code, close, reason) == ("invalid_model", 4000, "invalid_request_error.invalid_model")
    assert message.startswith(f'Model "{model}" is not supported in realtime mode.')


@pytest.mark.parametrize(
    ("model", "day", "code"),
    [
        ("gpt-realtime-1.5", date(2026, 2, 22), "invalid_model"),
        ("gpt-realtime-2", date(2026, 5, 6), "invalid_model"),
        ("gpt-4o-realtime-preview", date(2026, 5, 7), "model_not_found"),
        ("gpt-4o-mini-realtime-preview-2024-12-17", NOW, "model_not_found"),
    ],
)
def test_a_model_outside_its_days(model: str, day: date, code: str) -> None:
    refused = in_band(decide(day, query={"model": model}))
    assert refused[0] == code
    assert refused[2] == {"invalid_model": 4000, "model_not_found": 4004}[code]


def test_a_model_that_never_spoke_beta() -> None:
    assert in_band(decide(date(2026, 3, 1), beta=True, query={"model": "gpt-realtime-1.5"}))[0] == "invalid_model"


def test_a_transcription_model_as_the_model_of_a_session() -> None:
    code, message, close, _ = in_band(decide(query={"model": "gpt-realtime-whisper"}))
    assert (code, close) == ("invalid_model", 4000)
    assert "is a transcription model and cannot be used as the realtime session model" in message


def test_a_transcription_session_has_no_model() -> None:
    decision = decide(query={"intent": "transcription"})
    assert isinstance(decision, Accept)
    assert (decision.kind, decision.model) == ("transcription", None)
    refused = in_band(decide(query={"intent": "transcription", "model": "gpt-realtime"}))
    assert refused[:3] == (
        "invalid_model",
        "You must not provide a model parameter for transcription sessions.",
        4000,
    )


def test_parameters_that_nobody_knows_do_no_harm() -> None:
    assert isinstance(decide(query={"model": "gpt-realtime", "temperature": "0.8", "voice": "alloy"}), Accept)
