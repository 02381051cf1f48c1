"""The rules about Azure on wires made by hand: good ones pass, each bad one fails what it breaks. Nothing is said of a
world without Azure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from hand import Hand

from conformance.assembly import registry
from conformance.invariants_azure import AZURE_INVARIANTS
from harness.report.model import Verdict
from harness.suite import Checks

KEY = "c0ffee5eed1e55be11e7r1ngt0ne4242"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiJmb3JfYV90ZXN0In0.c2lnbmF0dXJlLW9mLWEtdGVzdA"
HOST = "contoso-voice.openai.azure.com"
KEYED = {
    "openai.provider": "azure-openai",
    "azure.endpoint": f"https://{HOST}",
    "azure.deployment": "voice-agent",
    "azure.api_key": KEY,
}
BY_ENTRA = {**{name: value for name, value in KEYED.items() if name != "azure.api_key"}, "azure.client_id": "0-0-0"}
PREVIEW = {**KEYED, "azure.api_version": "2025-04-01-preview"}
GA_URL = f"wss://{HOST}/openai/v1/realtime?model=voice-agent"
PREVIEW_URL = f"wss://{HOST}/openai/realtime?api-version=2025-04-01-preview&deployment=voice-agent"
GA_SESSION = {"type": "realtime", "audio": {"output": {"voice": "alloy"}}}
BETA_SESSION = {"modalities": ["text", "audio"], "voice": "alloy"}

Story = Callable[[Hand], object]


def upgrade(
    hand: Hand,
    url: str = GA_URL,
    *,
    to: str = "azure",
    headers: dict[str, str] | None = None,
    subprotocols: tuple[str, ...] = (),
) -> None:
    sent = {"api-key": KEY} if headers is None else headers
    hand.put(
        "gateway", to, f"{to}.realtime", "upgrade", None, f"{to}#1", url=url, headers=sent, subprotocols=subprotocols
    )


def session(hand: Hand, about: dict[str, object]) -> None:
    body = {"type": "session.update", "session": about}
    hand.put("gateway", "azure", "azure.realtime", "session.update", body, "azure#1")


def asks_for_token(hand: Hand, scope: str) -> None:
    url = "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"
    hand.put(
        "gateway", "entra", "entra.http", "request", urlencode({"scope": scope}), "entra#1", method="POST", url=url
    )


def failed(story: Story, settings: dict[str, str] | None = None, dialect: str = "ga") -> set[str]:
    """What does not pass in a world with this story."""
    return {name for name, verdict in verdicts(story, settings, dialect).items() if verdict is not Verdict.PASS}


def verdicts(story: Story, settings: dict[str, str] | None = None, dialect: str = "ga") -> dict[str, Verdict]:
    hand = Hand(dialect=dialect)
    story(hand)
    settings = settings or KEYED
    made = replace(
        hand.evidence(),
        planted={"azure.api_key": KEY, "openai.api_key": "sk-proj-of-nobody-here-0123456789"},
        issued={"azure.token": [TOKEN]},
        settings=settings,
        looked_up=frozenset({HOST}),
    )
    check = Checks(registry())
    for invariant in AZURE_INVARIANTS:
        invariant(made, check)
    return {finding.requirement: finding.verdict for finding in check.merged()}


def test_a_good_world_passes_in_ga() -> None:
    found = verdicts(lambda hand: (upgrade(hand), session(hand, GA_SESSION)))
    assert set(found.values()) == {Verdict.PASS}
    numbers = ("001", "002", "003", "004", "005", "006", "007", "011")
    assert set(found) == {
        *(f"AZ-EP-{number}" for number in numbers),
        "AZ-AU-002",
        "AZ-AU-003",
        "AZ-AU-004",
        "AZ-AU-006",
    }


def test_a_good_world_passes_in_the_preview() -> None:
    found = verdicts(lambda hand: (upgrade(hand, PREVIEW_URL), session(hand, BETA_SESSION)), PREVIEW, "beta")
    assert set(found.values()) == {Verdict.PASS}
    assert {"AZ-EP-008", "AZ-EP-009", "AZ-EP-010", "AZ-EP-011"} <= set(found)


def test_a_good_world_passes_with_a_token() -> None:
    def story(hand: Hand) -> None:
        asks_for_token(hand, "https://cognitiveservices.azure.com/.default")
        upgrade(hand, headers={"Authorization": f"Bearer {TOKEN}"})

    found = verdicts(story, BY_ENTRA)
    assert set(found.values()) == {Verdict.PASS}
    assert {"AZ-AU-007", "AZ-AU-008"} <= set(found)


OTHER = GA_URL.replace("contoso-voice", "contoso-lab")
OPENAI = "wss://api.openai.com/v1/realtime?model=gpt-realtime-2"

BAD: dict[str, tuple[set[str], Story]] = {
    "another resource": ({"AZ-EP-001", "AZ-EP-003"}, lambda hand: upgrade(hand, OTHER)),
    "openai": ({"AZ-EP-001", "AZ-EP-002"}, lambda hand: upgrade(hand, OPENAI, to="openai", headers={})),
    "the key to openai": (
        {"AZ-EP-001", "AZ-EP-002", "AZ-AU-004"},
        lambda hand: upgrade(hand, OPENAI, to="openai", headers={"Authorization": f"Bearer {KEY}"}),
    ),
    "openai's name": ({"AZ-EP-002"}, lambda hand: hand.put("gateway", "api.openai.com", "network", "lookup.refused")),
    "the path of the preview": (
        {"AZ-EP-004"},
        lambda hand: upgrade(hand, f"wss://{HOST}/openai/realtime?model=voice-agent"),
    ),
    "an api-version": ({"AZ-EP-005"}, lambda hand: upgrade(hand, f"{GA_URL}&api-version=2024-12-17")),
    "the header of the beta": (
        {"AZ-EP-006"},
        lambda hand: upgrade(hand, headers={"api-key": KEY, "OpenAI-Beta": "realtime=v1"}),
    ),
    "the shape of the beta": ({"AZ-EP-007"}, lambda hand: (upgrade(hand), session(hand, dict(BETA_SESSION)))),
    "another name": ({"AZ-EP-011"}, lambda hand: upgrade(hand, GA_URL.replace("voice-agent", "gpt-realtime"))),
    "no credential": ({"AZ-AU-002"}, lambda hand: upgrade(hand, headers={})),
    "the key in the URL": ({"AZ-AU-002"}, lambda hand: upgrade(hand, f"{GA_URL}&api-key={KEY}")),
    "the key as subprotocol": (
        {"AZ-AU-003"},
        lambda hand: upgrade(hand, subprotocols=("realtime", f"openai-insecure-api-key.{KEY}")),
    ),
    "the key to a browser": (
        {"AZ-RE-007"},
        lambda hand: hand.put("gateway", "browser", "gateway.http", "response", f'{{"key": "{KEY}"}}', status=200),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_world_fails_in_just_that(name: str) -> None:
    expected, story = BAD[name]
    assert failed(story) == expected


@pytest.mark.parametrize(
    ("expected", "story"),
    [
        ({"AZ-EP-008"}, lambda hand: upgrade(hand, PREVIEW_URL.replace("2025-04-01-preview", "2024-12-17"))),
        ({"AZ-EP-008"}, lambda hand: upgrade(hand, PREVIEW_URL.replace("/openai/", "/openai/v1/"))),
        ({"AZ-EP-009"}, lambda hand: upgrade(hand, PREVIEW_URL.replace("deployment", "model"))),
        ({"AZ-EP-010"}, lambda hand: (upgrade(hand, PREVIEW_URL), session(hand, dict(GA_SESSION)))),
    ],
)
def test_a_bad_world_fails_in_the_preview(expected: set[str], story: Story) -> None:
    assert failed(story, PREVIEW, "beta") == expected


def test_tokens_in_the_wrong_place_and_of_the_wrong_scope() -> None:
    assert failed(lambda hand: upgrade(hand, headers={"api-key": TOKEN}), BY_ENTRA) == {"AZ-AU-008"}
    assert failed(lambda hand: asks_for_token(hand, "https://management.azure.com/.default"), BY_ENTRA) == {"AZ-AU-007"}


def test_an_endpoint_without_tls_is_not_asked() -> None:
    plain = {**KEYED, "azure.endpoint": f"http://{HOST}"}
    assert failed(lambda hand: hand.put("gateway", "azure:80", "network", "connect.refused"), plain) == {"AZ-EP-020"}
    assert failed(lambda hand: hand.put("gateway", "twilio:443", "network", "connect.refused"), plain) == set()


def test_what_is_printed_is_searched() -> None:
    def story(hand: Hand) -> None:
        upgrade(hand)
        hand.output = f"connecting with {KEY}"

    assert failed(story) == {"AZ-AU-006"}


def test_a_world_without_azure_is_none_of_its_business() -> None:
    settings = {"openai.base_url": "https://api.openai.com/v1"}
    assert verdicts(lambda hand: upgrade(hand, OPENAI, to="openai", headers={}), settings) == {}
