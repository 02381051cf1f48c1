"""The rules about sessions of OpenAI that hold in every world: each passes a good wire and fails a bad one."""

from __future__ import annotations

from typing import Any

import pytest
from hand import MODEL, Hand, Rule, verdicts

from conformance import invariants_openai as rules
from conformance.assembly import registry
from conformance.invariants_openai import OPENAI_INVARIANTS
from harness.report.model import Verdict
from harness.suite import Checks

UPDATE: dict[str, Any] = {"session": {"type": "realtime"}}
SPOKE = {"response_id": "r1", "delta": "AAAA"}
GOOD_TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def _update(hand: Hand, asked: str = MODEL, **session: Any) -> None:
    hand.to_model("upgrade", url=f"wss://api.openai.com/v1/realtime?model={asked}")
    hand.to_model("session.update", {"session": {"type": "realtime", **session}})


def _voice(hand: Hand, before: str, after: str, spoke: bool = True) -> None:
    hand.from_model("session.updated", {"session": {"audio": {"output": {"voice": before}}}})
    if spoke:
        hand.from_model("response.output_audio.delta", SPOKE)
    hand.to_model("session.update", {"session": {"audio": {"output": {"voice": after}}}})
    hand.from_model("response.output_audio.delta", SPOKE)


def _closed(hand: Hand, code: int, created: bool = True) -> None:
    if created:
        hand.from_model("session.created", {"session": {}})
    hand.to_model("close", code=code, initiator="gateway")


def _cancelled(hand: Hand, gap: float, running: bool = False) -> None:
    hand.from_model("response.created", {"response": {"id": "r1"}})
    if not running:
        hand.from_model("response.done", {"response": {"id": "r1"}})
    hand.from_model("input_audio_buffer.speech_started", {})
    hand.at += gap
    hand.to_model("response.cancel", {})


def _committed(hand: Hand, detection: Any, commit: bool = True) -> None:
    hand.from_model("session.updated", {"session": {"audio": {"input": {"turn_detection": detection}}}})
    hand.from_model("input_audio_buffer.speech_stopped", {})
    if commit:
        hand.to_model("input_audio_buffer.commit", {})


def _tools(hand: Hand, *tools: dict[str, Any]) -> None:
    hand.to_model("session.update", {"session": {"type": "realtime", "tools": list(tools)}})


def _with(parameters: Any) -> dict[str, Any]:
    return {**GOOD_TOOL, "parameters": parameters}


def _output(hand: Hand, text: str) -> None:
    item = {"type": "function_call_output", "call_id": "c1", "output": text}
    hand.to_model("conversation.item.create", {"item": item})


def _given_back(hand: Hand, text: str) -> None:
    hand.from_model("conversation.item.input_audio_transcription.completed", {"transcript": "What time is it?"})
    content = [{"type": "input_text", "text": text}]
    hand.to_model("conversation.item.create", {"item": {"type": "message", "role": "user", "content": content}})


def _transcribed(hand: Hand, model: str) -> None:
    hand.to_model("session.update", {"session": {"audio": {"input": {"transcription": {"model": model}}}}})


def _ids(hand: Hand, *ids: str) -> None:
    for given in ids:
        hand.to_model("response.create", {"event_id": given})


RULES = {
    "model": Rule(
        rules.sessions_fit_their_model,
        lambda h: _update(h, "gpt-realtime", model="gpt-realtime"),
        frozenset({"OAI-DI-004", "OAI-DI-005"}),
        {
            "reasoning": ("OAI-DI-004", lambda h: _update(h, "gpt-realtime", reasoning={"effort": "low"})),
            "parallel": ("OAI-DI-004", lambda h: _update(h, "gpt-realtime", parallel_tool_calls=True)),
            "another": ("OAI-DI-005", lambda h: _update(h, model="gpt-realtime")),
        },
    ),
    "reasoning": Rule(
        rules.sessions_fit_their_model,
        lambda h: _update(h, reasoning={"effort": "low"}),
        frozenset({"OAI-DI-005"}),
        {},
    ),
    "voice": Rule(
        rules.the_voice_stays,
        lambda h: _voice(h, "alloy", "alloy"),
        frozenset({"OAI-SS-001"}),
        {"changed": ("OAI-SS-001", lambda h: _voice(h, "alloy", "verse"))},
    ),
    "voice before the first word": Rule(
        rules.the_voice_stays, lambda h: _voice(h, "alloy", "verse", spoke=False), frozenset({"OAI-SS-001"}), {}
    ),
    "updates": Rule(
        rules.updates_are_not_repeated,
        lambda h: (_update(h), _update(h, instructions="other"), _update(h)),
        frozenset({"OAI-SS-002"}),
        {"again": ("OAI-SS-002", lambda h: (_update(h), _update(h)))},
    ),
    "close": Rule(
        rules.sessions_are_closed_properly,
        lambda h: _closed(h, 1000),
        frozenset({"OAI-SS-006"}),
        {"dropped": ("OAI-SS-006", lambda h: _closed(h, 1006))},
    ),
    "close in the handshake": Rule(
        rules.sessions_are_closed_properly, lambda h: _closed(h, 1006, created=False), frozenset(), {}
    ),
    "cancel": Rule(
        rules.responses_are_cancelled_while_they_run,
        lambda h: (_cancelled(h, 2, running=True), _cancelled(h, 0.1)),
        frozenset({"OAI-TU-009"}),
        {"late": ("OAI-TU-009", lambda h: _cancelled(h, 0.5))},
    ),
    "commit": Rule(
        rules.the_server_commits,
        lambda h: _committed(h, {"type": "server_vad"}, commit=False),
        frozenset({"OAI-TU-010"}),
        {"own": ("OAI-TU-010", lambda h: _committed(h, {"type": "server_vad"}))},
    ),
    "commit without turn detection": Rule(rules.the_server_commits, lambda h: _committed(h, None), frozenset(), {}),
    "functions": Rule(
        rules.functions_are_declared_well,
        lambda h: _tools(
            h, GOOD_TOOL, {"type": "function", "name": "end-call_2"}, {"type": "mcp", "server_label": "x"}
        ),
        frozenset({"OAI-FC-001", "OAI-FC-002"}),
        {
            "twice": ("OAI-FC-001", lambda h: _tools(h, GOOD_TOOL, GOOD_TOOL)),
            "space": ("OAI-FC-001", lambda h: _tools(h, {**GOOD_TOOL, "name": "get weather"})),
            "long": ("OAI-FC-001", lambda h: _tools(h, {**GOOD_TOOL, "name": "x" * 65})),
            "flat": ("OAI-FC-002", lambda h: _tools(h, _with({"city": "string"}))),
            "list": ("OAI-FC-002", lambda h: _tools(h, _with(["city"]))),
            "no schema": ("OAI-FC-002", lambda h: _tools(h, _with({"type": "object", "properties": {"city": "s"}}))),
            "unknown": ("OAI-FC-002", lambda h: _tools(h, _with({"type": "object", "required": ["city"]}))),
        },
    ),
    "outputs": Rule(
        rules.outputs_say_something,
        lambda h: _output(h, "{}"),
        frozenset({"OAI-FC-010"}),
        {"empty": ("OAI-FC-010", lambda h: _output(h, " "))},
    ),
    "transcripts": Rule(
        rules.transcripts_are_not_given_back,
        lambda h: _given_back(h, "The caller pressed 1."),
        frozenset({"OAI-TR-003"}),
        {"back": ("OAI-TR-003", lambda h: _given_back(h, "what time is it? "))},
    ),
    "transcription": Rule(
        rules.transcription_models_transcribe,
        lambda h: _transcribed(h, "whisper-1"),
        frozenset({"OAI-TR-004"}),
        {
            "speaks": ("OAI-TR-004", lambda h: _transcribed(h, MODEL)),
            "unknown": ("OAI-TR-004", lambda h: _transcribed(h, "whisper-9")),
        },
    ),
    "event ids": Rule(
        rules.event_ids_are_unique,
        lambda h: _ids(h, "a", "b"),
        frozenset({"OAI-ER-010"}),
        {"again": ("OAI-ER-010", lambda h: _ids(h, "a", "b", "a"))},
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_good_wire_passes(name: str) -> None:
    rule = RULES[name]
    hand = Hand(dialect=rule.dialect)
    rule.good(hand)
    assert verdicts(rule.invariant, hand) == dict.fromkeys(rule.passes, Verdict.PASS)


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, rule in RULES.items() for fault in rule.bad])
def test_a_bad_wire_fails_in_just_that_and_is_marked(name: str, fault: str) -> None:
    rule = RULES[name]
    requirement, story = rule.bad[fault]
    hand = Hand(dialect=rule.dialect)
    story(hand)
    check = Checks(registry())
    rule.invariant(hand.evidence(), check)
    level = registry()[requirement].level
    bad = [finding for finding in check.merged() if finding.verdict is not Verdict.PASS]
    assert [(f.requirement, f.verdict) for f in bad] == [
        (requirement, Verdict.FAIL if level == "MUST" else Verdict.WARN)
    ]
    assert bad[0].seq is not None
    assert bad[0].message


def test_every_rule_has_a_bad_wire_here() -> None:
    assert {rule.invariant for rule in RULES.values() if rule.bad} == set(OPENAI_INVARIANTS)


def test_a_rule_for_one_dialect_says_nothing_about_the_other() -> None:
    hand = Hand(dialect="beta")
    _update(hand, "gpt-realtime", reasoning={"effort": "low"})
    assert verdicts(rules.sessions_fit_their_model, hand) == {"OAI-DI-005": Verdict.PASS}
