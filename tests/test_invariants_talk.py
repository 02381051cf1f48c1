"""Rules about Talk on wires that are made by hand: what passes, what fails, and what nothing is said about."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hand import KEY, MODEL, TOKEN, Hand

from conformance import invariants_talk as rules
from conformance.assembly import registry
from conformance.evidence import Evidence, Invariant
from conformance.minted import CLIENT_SECRETS
from harness.report.model import Verdict
from harness.suite import Checks

SECRET = "ek_0123456789abcdef"
TALK = "talk-0123456789abcdef"
OPERATOR = "op-0123456789abcdef"
SESSION = {"type": "realtime", "model": MODEL, "instructions": "Be brief.", "audio": {"output": {"voice": "marin"}}}
MINTED = {f"TALK-MI-00{number}" for number in range(1, 8)} | {"TALK-MI-010"}


def mint(hand: Hand, session: Any = SESSION, path: str = CLIENT_SECRETS, **more: Any) -> None:
    """The gateway asks for a secret. `seconds` is its life; `flat`: the session is the body."""
    invalid, flat = more.pop("invalid", None), more.pop("flat", False)
    body = session if flat else {"session": session}
    if "seconds" in more:
        body = {**body, "expires_after": {"anchor": "created_at", "seconds": more.pop("seconds")}}
    headers = {"Authorization": f"Bearer {KEY}", **more}
    url = f"https://api.openai.com{path}"
    name = "openai/http#1"
    hand.put(
        "gateway", "openai", "openai.http", "request", body, name, invalid, method="POST", url=url, headers=headers
    )


def answer(hand: Hand, text: str = "{}", **headers: str) -> None:
    """The gateway answers a browser."""
    hand.put("gateway", "browser", "gateway.http", "response", text, "browser/http#1", status=200, headers=headers)


def evidence(hand: Hand) -> Evidence:
    made = hand.evidence()
    planted = {**made.planted, "talk.token": TALK, "operator.token": OPERATOR}
    return replace(made, planted=planted, secrets=[SECRET])


def verdicts(invariant: Invariant, story: Callable[[Hand], object], output: str = "") -> dict[str, Verdict]:
    hand = Hand(output=output)
    story(hand)
    check = Checks(registry())
    invariant(evidence(hand), check)
    return {finding.requirement: finding.verdict for finding in check.merged()}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in SESSION.items() if key != name}


def test_a_secret_that_is_minted_well() -> None:
    def story(hand: Hand) -> None:
        mint(hand)
        mint(hand, seconds=600)
        mint(hand, **{"OpenAI-Project": "proj_callproof", "OpenAI-Organization": "org-callproof"})

    assert verdicts(rules.secrets_are_minted_well, story) == dict.fromkeys(MINTED, Verdict.PASS)


@pytest.mark.parametrize(
    ("rule", "verdict", "story"),
    [
        ("TALK-MI-001", Verdict.FAIL, lambda h: mint(h, path="/v1/realtime/sessions", flat=True)),
        ("TALK-MI-002", Verdict.FAIL, lambda h: mint(h, without("type"))),
        ("TALK-MI-002", Verdict.FAIL, lambda h: mint(h, {**SESSION, "type": "transcription"})),
        ("TALK-MI-002", Verdict.FAIL, lambda h: mint(h, flat=True)),
        ("TALK-MI-003", Verdict.FAIL, lambda h: mint(h, without("model"))),
        ("TALK-MI-003", Verdict.FAIL, lambda h: mint(h, {**SESSION, "model": "gpt-realtime"})),
        ("TALK-MI-004", Verdict.FAIL, lambda h: mint(h, **{"OpenAI-Beta": "assistants=v2, realtime=v1"})),
        ("TALK-MI-005", Verdict.FAIL, lambda h: mint(h, invalid="Unknown parameter: 'session.modalities'.")),
        ("TALK-MI-006", Verdict.WARN, lambda h: mint(h, without("instructions"))),
        ("TALK-MI-006", Verdict.WARN, lambda h: mint(h, without("audio"))),
        ("TALK-MI-007", Verdict.FAIL, lambda h: mint(h, **{"OpenAI-Project": "proj_elsewhere"})),
        ("TALK-MI-007", Verdict.FAIL, lambda h: mint(h, **{"OpenAI-Organization": "org-elsewhere"})),
        ("TALK-MI-010", Verdict.WARN, lambda h: mint(h, seconds=601)),
        ("TALK-MI-010", Verdict.WARN, lambda h: mint(h, seconds="long")),
    ],
)
def test_one_thing_is_wrong_with_a_minting(rule: str, verdict: Verdict, story: Callable[[Hand], None]) -> None:
    found = verdicts(rules.secrets_are_minted_well, story)
    assert {key: value for key, value in found.items() if value is not Verdict.PASS} == {rule: verdict}


def test_a_body_that_is_no_json_has_no_session() -> None:
    found = verdicts(rules.secrets_are_minted_well, lambda h: mint(h, None))
    assert found["TALK-MI-002"] is Verdict.FAIL


def test_other_requests_to_openai_are_not_mintings() -> None:
    assert verdicts(rules.secrets_are_minted_well, lambda h: mint(h, path="/v1/models")) == {}


def test_a_secret_in_one_answer_and_in_two() -> None:
    given = f'{{"client_secret": "{SECRET}"}}'
    assert verdicts(rules.no_secret_is_given_twice, lambda h: answer(h)) == {}
    once = verdicts(rules.no_secret_is_given_twice, lambda h: answer(h, given))
    assert once == {"TALK-MI-008": Verdict.PASS}
    twice = verdicts(rules.no_secret_is_given_twice, lambda h: (answer(h, given), answer(h, given)))
    assert twice == {"TALK-MI-008": Verdict.FAIL}


@pytest.mark.parametrize(
    ("rule", "story"),
    [
        ("TALK-SE-001", lambda h: answer(h, f"<script>key = '{KEY}'</script>")),
        ("TALK-SE-001", lambda h: answer(h, base64.b64encode(f"id:{KEY}".encode()).decode())),
        ("TALK-SE-001", lambda h: answer(h, **{"Set-Cookie": f"key={KEY}"})),
        ("TALK-SE-001", lambda h: h.put("gateway", "browser", "talk.relay", "error", f'{{"message":"{KEY}"}}')),
        ("TALK-SE-001", lambda h: h.put("gateway", "browser", "talk.relay", "close", code=1000, reason=KEY)),
        ("TALK-SE-002", lambda h: answer(h, TOKEN)),
        ("TALK-SE-002", lambda h: answer(h, OPERATOR)),
    ],
)
def test_a_credential_that_a_browser_receives(rule: str, story: Callable[[Hand], None]) -> None:
    expected = {"TALK-SE-001": Verdict.PASS, "TALK-SE-002": Verdict.PASS, rule: Verdict.FAIL}
    assert verdicts(rules.browsers_are_given_no_credential, story) == expected


def test_secrets_in_what_is_printed() -> None:
    for output, verdict in (("ready", Verdict.PASS), (f"minted {SECRET}", Verdict.FAIL), (TALK, Verdict.FAIL)):
        assert verdicts(rules.secrets_are_not_printed, answer, output) == {"TALK-SE-003": verdict}


@pytest.mark.parametrize(
    ("verdict", "story"),
    [
        (Verdict.PASS, lambda h: answer(h, f'{{"client_secret":"{SECRET}","url":"https://api.openai.com/v1"}}')),
        (Verdict.FAIL, lambda h: answer(h, f'{{"url":"https://api.openai.com/v1?key={SECRET}"}}')),
        (Verdict.FAIL, lambda h: answer(h, f'{{"url":"/talk/relay?token={TALK}"}}')),
        (
            Verdict.FAIL,
            lambda h: (answer(h), h.put("browser", "gateway", "talk.relay", "upgrade", url=f"wss://x?{TALK}")),
        ),
    ],
)
def test_secrets_in_urls(verdict: Verdict, story: Callable[[Hand], None]) -> None:
    assert verdicts(rules.no_secret_is_in_a_url, story) == {"TALK-SE-004": verdict}


def test_nothing_is_said_of_a_world_without_browsers() -> None:
    for invariant in rules.TALK_INVARIANTS:
        assert verdicts(invariant, lambda h: None, output=f"{SECRET} {TALK}") == {}


def test_what_offends_is_marked() -> None:
    hand = Hand()
    mint(hand, {**SESSION, "model": "gpt-realtime"})
    answer(hand, f'{KEY} "https://x/{SECRET}"')
    check = Checks(registry())
    for invariant in rules.TALK_INVARIANTS:
        invariant(evidence(hand), check)
    bad = [finding for finding in check.merged() if finding.verdict is Verdict.FAIL]
    assert {finding.requirement for finding in bad} == {"TALK-MI-003", "TALK-SE-001", "TALK-SE-004"}
    assert all(finding.seq is not None and finding.message for finding in bad)
