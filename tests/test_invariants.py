"""The rules of the suite on wires made by hand: each one passes a good wire, fails a bad one, and says nothing when the
world had nothing of the kind.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hand import ACCOUNT, KEY, MODEL, TOKEN, ULAW, Hand, Rule, Story, verdicts

from conformance import invariants as rules
from conformance.assembly import registry
from conformance.invariants import INVARIANTS
from conformance.invariants_azure import AZURE_INVARIANTS
from conformance.invariants_leaks import LEAK_INVARIANTS, credentials_stay_where_they_belong
from conformance.invariants_openai import OPENAI_INVARIANTS
from conformance.invariants_talk import TALK_INVARIANTS
from fakes.audio import PHRASES
from harness.report.model import Verdict
from harness.suite import HARNESS, Checks


def _upgrade(hand: Hand, model: str = MODEL, key: str = KEY, beta: bool = False, browser: bool = False) -> None:
    headers = {} if browser else {"authorization": f"Bearer {key}"}
    if beta and not browser:
        headers["OpenAI-Beta"] = "realtime=v1"
    protocols = ["realtime", f"openai-insecure-api-key.{key}"] if browser else []
    if beta and browser:
        protocols.append("openai-beta.realtime-v1")
    url = f"wss://api.openai.com/v1/realtime?model={model}"
    hand.to_model("upgrade", url=url, headers=headers, subprotocols=protocols)


GA_SESSION = {"session": {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}}
BETA_SESSION = {"session": {"input_audio_format": "g711_ulaw", "modalities": ["audio", "text"]}}
APPEND = {"type": "input_audio_buffer.append", "audio": ULAW}


def _refusal(param: str, code: str = "unknown_parameter") -> dict[str, Any]:
    return {"error": {"param": param, "code": code, "message": f"Unknown parameter: '{param}'."}}


def _session(hand: Hand, body: Any = GA_SESSION, refusal: Any = None, event: Any = None) -> None:
    hand.to_model("session.update", body)
    if refusal:
        hand.from_model("error", refusal)
    hand.to_model("input_audio_buffer.append", APPEND, invalid=event)


def _responses(hand: Hand, gap: float, done: bool = True, conversation: str | None = None) -> None:
    hand.to_model("response.create", {})
    hand.from_model("response.created", {"response": {"id": "r1"}})
    hand.at += gap
    if done:
        hand.from_model("response.done", {"response": {"id": "r1"}})
    hand.to_model("response.create", {"response": {"conversation": conversation}} if conversation else {})


def _tool(hand: Hand, *outputs: str, closed: float | None = None) -> None:
    hand.from_model("response.function_call_arguments.done", {"call_id": "c1"})
    for call_id in outputs:
        hand.to_model("conversation.item.create", {"item": {"type": "function_call_output", "call_id": call_id}})
    if closed is not None:
        hand.at += closed
        hand.from_model("close", code=1000)


def _played(hand: Hand, after: float, until: float = 60.0, media: bool = True, before: bool = False) -> None:
    if before:
        hand.to_stream("media", {"streamSid": "MZ1"})
    began = hand.at
    hand.from_model("response.output_audio.delta", {"response_id": "r1", "delta": ULAW})
    hand.at = began + after
    if media:
        hand.to_stream("media", {"streamSid": "MZ1"})
    hand.at = began + until
    hand.from_stream("stop", {})


def _heard(hand: Hand, to_ms: int = 2900, *between: Callable[[Hand], object], phrase: str = "greeting") -> None:
    """Three seconds of a greeting are played, and it is heard `to_ms` far. `between`: what happens meanwhile."""
    began = hand.at
    hand.at = began + 2
    for happens in between:
        happens(hand)
    hand.at = began + 3.3
    begun = round(began * 1000)
    told = {"start_ms": begun, "end_ms": begun + to_ms, "heard_ms": to_ms, "from_ms": 0, "to_ms": to_ms}
    whole = to_ms == PHRASES["greeting"].duration_ms
    hand.put("twilio", "caller", "phone", "heard.end", phrase, "call1", complete=whole, **told)


def _on_phone(kind: str, call: str = "call1") -> Callable[[Hand], object]:
    return lambda h: h.put("caller", "twilio", "phone", kind, None, call)


def _done(status: str, channel: str = "openai") -> Callable[[Hand], object]:
    body = {"response": {"status": status}}
    return lambda h: h.put(channel, "gateway", f"{channel}.realtime", "response.done", body, f"{channel}#1")


def _stream(hand: Hand, sid: str = "MZ1", payload: str = ULAW, invalid: str | None = None, early: bool = False) -> None:
    start = ("start", {"streamSid": "MZ1"})
    if not early:
        hand.from_stream(*start)
    hand.to_stream("media", {"streamSid": sid, "media": {"payload": payload}}, invalid=invalid)
    hand.to_stream("mark", {"streamSid": sid})
    if early:
        hand.from_stream(*start)


def _after(hand: Hand, kind: str, gap: float, source: str = "twilio") -> None:
    hand.from_stream("start", {"streamSid": "MZ1"})
    hand.to_stream("media", {"streamSid": "MZ1"})
    (hand.from_stream if source == "twilio" else hand.to_stream)(kind, {})
    hand.at += gap
    hand.to_stream("media", {"streamSid": "MZ1"})


def _twiml(url: str = "wss://gw.example.test/s", parameters: str = "", before: str = "", root: str = "Response") -> str:
    stream = f"<Connect><Stream url='{url}'>{parameters}</Stream></Connect>"
    return f"{before}<?xml version='1.0'?><{root}>{stream}</{root}>"


WH = frozenset({"TWI-WH-001", "TWI-WH-002", "TWI-WH-004", "TWI-WH-005", "TWI-WH-006", "TWI-WH-007"})
FETCH = "call1/fetch#1"
CALL = f"/Calls/CA{'0' * 32}.json"


def _fetch(hand: Hand, document: str, **more: Any) -> None:
    hand.webhook(FETCH, document, **more)


def _sessions(hand: Hand, *events: str) -> None:
    """`call2` calls, `+1` opens session 1, `-1` closes it."""
    for event in events:
        if event.startswith("call"):
            hand.webhook(f"{event}/fetch#1", _twiml())
        elif event[0] == "+":
            hand.from_model("upgrade.accepted", on=int(event[1:]))
        else:
            hand.from_model("close", on=int(event[1:]))


def _update_after(hand: Hand, form: dict[str, str], *, callback: bool = True, method: str = "POST") -> None:
    if callback:
        hand.webhook("call1/callback/answered#1", "", status=204)
    hand.rest(CALL, form, method=method)


PARAMETER = "<Parameter name='token' value='abc'/>"
RULES = {
    "fakes": Rule(
        rules.fakes_keep_to_the_schemas,
        lambda h: (h.to_model("nonsense", "{}", invalid="ours it is not"), h.from_model("session.created", "{}")),
        frozenset(),
        {"a fake's own": (HARNESS, lambda h: h.from_model("session.created", "{}", invalid="no event_id"))},
    ),
    "upgrade": Rule(
        rules.upgrade_asks_for_the_right_dialect,
        lambda h: (_upgrade(h), _upgrade(h, browser=True)),
        frozenset({"OAI-HS-001", "OAI-HS-003"}),
        {
            "beta header": ("OAI-HS-001", lambda h: _upgrade(h, beta=True)),
            "beta subprotocol": ("OAI-HS-001", lambda h: _upgrade(h, beta=True, browser=True)),
            "another model": ("OAI-HS-003", lambda h: _upgrade(h, model="gpt-realtime")),
            "another key": ("OAI-HS-003", lambda h: _upgrade(h, key="sk-other")),
        },
    ),
    "dialect ga": Rule(
        rules.models_are_addressed_in_their_dialect,
        lambda h: (_upgrade(h), _session(h)),
        frozenset({"OAI-HS-002"}),
        {
            "header": ("OAI-HS-002", lambda h: (_upgrade(h, beta=True), _session(h))),
            "shape": ("OAI-HS-002", lambda h: (_upgrade(h), _session(h, BETA_SESSION))),
        },
    ),
    "dialect beta": Rule(
        rules.models_are_addressed_in_their_dialect,
        lambda h: (_upgrade(h, beta=True), _session(h, BETA_SESSION)),
        frozenset({"OAI-HS-002"}),
        {
            "header": ("OAI-HS-002", lambda h: (_upgrade(h), _session(h, BETA_SESSION))),
            "shape": ("OAI-HS-002", lambda h: (_upgrade(h, beta=True), _session(h))),
        },
        dialect="beta",
    ),
    "shape ga": Rule(
        rules.sessions_have_the_right_shape,
        lambda h: _session(h, refusal=_refusal("item.id")),
        frozenset({"OAI-SE-001", "OAI-SE-002", "OAI-SE-004"}),
        {
            "no type": ("OAI-SE-001", lambda h: _session(h, {"session": {"voice": "alloy"}})),
            "refused": ("OAI-SE-002", lambda h: _session(h, refusal=_refusal("session.modalities"))),
            "refused response": ("OAI-SE-002", lambda h: _session(h, refusal=_refusal("response.modalities"))),
            "invalid event": ("OAI-SE-004", lambda h: _session(h, event="`audio` is missing")),
        },
    ),
    "shape beta": Rule(
        rules.sessions_have_the_right_shape,
        lambda h: _session(h, BETA_SESSION),
        frozenset({"OAI-SE-003", "OAI-SE-004"}),
        {"refused": ("OAI-SE-003", lambda h: _session(h, BETA_SESSION, refusal=_refusal("session.type")))},
        dialect="beta",
    ),
    "formats": Rule(
        rules.formats_are_set_before_audio,
        lambda h: _session(h),
        frozenset({"OAI-SE-006"}),
        {
            "append first": (
                "OAI-SE-006",
                lambda h: (h.to_model("input_audio_buffer.append", APPEND), h.to_model("session.update", GA_SESSION)),
            ),
            "response first": (
                "OAI-SE-006",
                lambda h: (h.to_model("response.create", {}), h.to_model("session.update", BETA_SESSION)),
            ),
        },
    ),
    "one response": Rule(
        rules.one_response_at_a_time,
        lambda h: (_responses(h, 3), _responses(h, 0.1, done=False), _responses(h, 3, False, conversation="none")),
        frozenset({"OAI-TU-001"}),
        {"two": ("OAI-TU-001", lambda h: _responses(h, 0.2, done=False))},
    ),
    "tools": Rule(
        rules.function_calls_are_answered_once,
        lambda h: _tool(h, "c1"),
        frozenset({"TOOL-001"}),
        {
            "never": ("TOOL-001", lambda h: _tool(h)),
            "never, closed late": ("TOOL-001", lambda h: _tool(h, closed=6)),
            "twice": ("TOOL-001", lambda h: _tool(h, "c1", "c1")),
            "of nothing": ("TOOL-001", lambda h: _tool(h, "c1", "c2")),
        },
    ),
    "appends": Rule(
        rules.appended_audio_is_well_formed,
        lambda h: h.to_model("input_audio_buffer.append", APPEND),
        frozenset({"OAI-AU-001"}),
        {
            str(audio): ("OAI-AU-001", lambda h, a=audio: h.to_model("input_audio_buffer.append", {"audio": a}))
            for audio in ("", None, "not base64!", ULAW + "A")
        },
    ),
    "played": Rule(
        rules.audio_of_the_model_is_played,
        lambda h: _played(h, 1.9),
        frozenset({"OAI-AU-002"}),
        {
            "never": ("OAI-AU-002", lambda h: _played(h, 1, media=False)),
            "late": ("OAI-AU-002", lambda h: _played(h, 2.1)),
            "only before": ("OAI-AU-002", lambda h: _played(h, 1, media=False, before=True)),
        },
    ),
    "heard": Rule(
        rules.phrases_are_heard_to_their_end,
        lambda h: (_heard(h, 3000), _heard(h, 1000), _heard(h, 2700)),
        frozenset({"AUD-004"}),
        {
            "100 ms less": ("AUD-004", lambda h: _heard(h)),
            "one of two": ("AUD-004", lambda h: (_heard(h, 3000), _heard(h, 2800))),
            "after clear": ("AUD-004", lambda h: (h.to_stream("clear", {}), setattr(h, "at", 1), _heard(h))),
            "before clear": ("AUD-004", lambda h: (_heard(h), h.to_stream("clear", {}))),
            "clear elsewhere": ("AUD-004", lambda h: _heard(h, 2900, lambda h: h.to_stream("clear", {}, on=2))),
            "another speaks": ("AUD-004", lambda h: _heard(h, 2900, _on_phone("speech.start", "call12"))),
            "completed": ("AUD-004", lambda h: _heard(h, 2900, _done("completed"))),
        },
    ),
    "stream": Rule(
        rules.stream_messages_are_valid,
        lambda h: _stream(h),
        frozenset({"TWI-ST-001", "TWI-ST-002", "TWI-ST-003"}),
        {
            "another sid": ("TWI-ST-002", lambda h: _stream(h, sid="MZ2")),
            "before start": ("TWI-ST-002", lambda h: _stream(h, early=True)),
            "invalid": ("TWI-ST-001", lambda h: _stream(h, invalid="`media` is missing")),
            "no base64": ("TWI-ST-003", lambda h: _stream(h, payload="%%%")),
            "a WAV file": ("TWI-ST-003", lambda h: _stream(h, payload=base64.b64encode(b"RIFF$...WAVE").decode())),
        },
    ),
    "after the end": Rule(
        rules.nothing_is_sent_after_the_end,
        lambda h: _after(h, "stop", 0.1),
        frozenset({"TWI-ST-008"}),
        {
            "after stop": ("TWI-ST-008", lambda h: _after(h, "stop", 0.2)),
            "after a close": ("TWI-ST-008", lambda h: _after(h, "close", 0.2)),
            "after its own close": ("TWI-ST-008", lambda h: _after(h, "close", 0.2, source="gateway")),
        },
    ),
    "twiml": Rule(
        rules.twiml_is_good,
        lambda h: (_fetch(h, _twiml(parameters=PARAMETER)), h.rest(CALL, {"Twiml": "<Response><Hangup/></Response>"})),
        WH,
        {
            "status": ("TWI-WH-001", lambda h: _fetch(h, _twiml(parameters=PARAMETER), status=500)),
            "json": ("TWI-WH-001", lambda h: _fetch(h, "{}", content="application/json")),
            "root": ("TWI-WH-002", lambda h: _fetch(h, _twiml(root="TwiML"))),
            "cut": ("TWI-WH-002", lambda h: _fetch(h, _twiml()[:-3])),
            "space": ("TWI-WH-002", lambda h: _fetch(h, _twiml(before="\n"))),
            "byte order mark": ("TWI-WH-002", lambda h: _fetch(h, _twiml(before="\ufeff"))),
            "update": ("TWI-WH-002", lambda h: h.rest(CALL, {"Twiml": "<Response>"})),
            "ws": ("TWI-WH-004", lambda h: _fetch(h, _twiml("ws://gw.example.test/s"))),
            "host": ("TWI-WH-004", lambda h: _fetch(h, _twiml("wss://localhost/s"))),
            "query": ("TWI-WH-005", lambda h: _fetch(h, _twiml("wss://gw.example.test/s?token=1"))),
            "long": ("TWI-WH-006", lambda h: _fetch(h, _twiml(parameters=PARAMETER.replace("abc", "a" * 495)))),
            "late": ("TWI-WH-007", lambda h: _fetch(h, _twiml(), after=15)),
            "never": ("TWI-WH-007", lambda h: h.webhook(FETCH, None)),
        },
    ),
    "connect inbound": Rule(
        rules.calls_get_connect_stream,
        lambda h: _fetch(h, _twiml()),
        frozenset({"TWI-WH-003"}),
        {
            "say": ("TWI-WH-003", lambda h: _fetch(h, "<Response><Say>Hello</Say></Response>")),
            "start": ("TWI-WH-003", lambda h: _fetch(h, "<Response><Start><Stream url='wss://x'/></Start></Response>")),
        },
    ),
    "connect outbound": Rule(
        rules.calls_get_connect_stream,
        lambda h: _fetch(h, _twiml(), form={"Direction": "outbound-api"}),
        frozenset({"TWI-WH-008"}),
        {"empty": ("TWI-WH-008", lambda h: _fetch(h, "<Response/>", form={"Direction": "outbound-api"}))},
    ),
    "callbacks": Rule(
        rules.callbacks_are_answered,
        lambda h: h.webhook("call1/callback/ringing#1", "", status=204),
        frozenset({"TWI-CB-001"}),
        {
            str(status): ("TWI-CB-001", lambda h, s=status: h.webhook("call1/callback/ringing#1", "", status=s))
            for status in (301, 403, 404, 500)
        },
    ),
    "no replacing": Rule(
        rules.callbacks_replace_no_twiml,
        lambda h: (_update_after(h, {"Status": "completed"}), _update_after(h, {}, method="GET")),
        frozenset({"TWI-CB-004"}),
        {key: ("TWI-CB-004", lambda h, k=key: _update_after(h, {k: "https://x/"})) for key in ("Twiml", "Url")},
    ),
    "creates": Rule(
        rules.creates_are_right,
        lambda h: h.rest("/Calls.json", {"To": "+14155550123", "StatusCallbackEvent": ["initiated", "answered"]}),
        frozenset({"TWI-REST-001", "TWI-REST-002"}),
        {
            "refused": ("TWI-REST-001", lambda h: h.rest("/Calls.json", {"To": "nobody"}, status=400)),
            "joined": ("TWI-REST-002", lambda h: h.rest("/Calls.json", {"StatusCallbackEvent": "initiated answered"})),
            "unknown": ("TWI-REST-002", lambda h: h.rest("/Calls.json", {"StatusCallbackEvent": ["in-progress"]})),
        },
    ),
    "sessions": Rule(
        rules.one_session_for_each_call,
        lambda h: _sessions(h, "call1", "+1", "call2", "+2", "-1", "+3"),
        frozenset({"OAI-HS-004"}),
        {"two for one": ("OAI-HS-004", lambda h: _sessions(h, "call1", "+1", "+2"))},
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_good_wire_passes(name: str) -> None:
    rule = RULES[name]
    hand = Hand(dialect=rule.dialect)
    rule.good(hand)
    found = verdicts(rule.invariant, hand)
    assert found == dict.fromkeys(rule.passes, Verdict.PASS)


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, rule in RULES.items() for fault in rule.bad])
def test_a_bad_wire_fails_in_just_that(name: str, fault: str) -> None:
    rule = RULES[name]
    requirement, story = rule.bad[fault]
    hand = Hand(dialect=rule.dialect)
    story(hand)
    found = verdicts(rule.invariant, hand)
    bad = {key: verdict for key, verdict in found.items() if verdict is not Verdict.PASS}
    if requirement == HARNESS:
        assert bad == {HARNESS: Verdict.HARNESS_ERROR}
    else:
        level = registry()[requirement].level
        assert bad == {requirement: Verdict.FAIL if level == "MUST" else Verdict.WARN}


def test_the_offending_message_is_marked() -> None:
    """Every failure of a rule about something that was sent points at it."""
    for name, rule in RULES.items():
        for fault, (_, story) in rule.bad.items():
            hand = Hand(dialect=rule.dialect)
            story(hand)
            check = Checks(registry())
            rule.invariant(hand.evidence(), check)
            for finding in check.merged():
                if finding.verdict is not Verdict.PASS:
                    assert finding.seq is not None, f"{name}, {fault}: {finding}"
                    assert finding.message, f"{name}, {fault}"


def test_every_rule_has_a_bad_wire_here() -> None:
    tested = {rule.invariant for rule in RULES.values()}
    assert tested == set(INVARIANTS) - {*OPENAI_INVARIANTS, *TALK_INVARIANTS, *LEAK_INVARIANTS, *AZURE_INVARIANTS}


def test_nothing_is_said_about_an_empty_world() -> None:
    for invariant in INVARIANTS:
        if invariant is not credentials_stay_where_they_belong:  # silence is what it asks for
            assert verdicts(invariant, Hand()) == {}


# -- what is not held against a gateway


def test_what_a_case_sends_on_purpose_is_no_fault_of_a_fake() -> None:
    hand = Hand(deliberate={"{"})
    hand.from_model("malformed", "{", invalid="not JSON")
    assert verdicts(rules.fakes_keep_to_the_schemas, hand) == {}


def test_a_frame_that_a_case_blew_up_may_be_too_large() -> None:
    for size, expected in ((2**20 + 1, Verdict.PASS), (10, Verdict.FAIL)):
        hand = Hand(deliberate={"x" * size})
        hand.to_model("oversized", "{}", invalid="larger than OpenAI takes")
        assert verdicts(rules.sessions_have_the_right_shape, hand)["OAI-SE-004"] is expected


def test_a_tool_call_may_stay_open_when_the_call_ends_first() -> None:
    hand = Hand()
    _tool(hand, closed=4)
    assert verdicts(rules.function_calls_are_answered_once, hand) == {}


@pytest.mark.parametrize(
    "happens",
    [
        lambda h: h.to_stream("clear", {}),
        lambda h: h.from_stream("stop", {}),
        lambda h: h.to_stream("close"),
        lambda h: h.from_model("close"),
        _on_phone("speech.start"),
        _on_phone("ended"),
        _done("cancelled"),
        _done("failed", "azure"),
    ],
)
def test_what_was_interrupted_need_not_be_heard_to_its_end(happens: Callable[[Hand], object]) -> None:
    hand = Hand()
    _heard(hand, 2900, happens)
    assert verdicts(rules.phrases_are_heard_to_their_end, hand) == {}


def test_a_sound_that_nobody_knows_has_no_end_to_be_lost() -> None:
    hand = Hand()
    _heard(hand, 2900, phrase="?")
    assert verdicts(rules.phrases_are_heard_to_their_end, hand) == {}


@pytest.mark.parametrize("until", [0.5, 1.9])
def test_audio_at_the_end_of_a_call_need_not_be_played(until: float) -> None:
    hand = Hand()
    _played(hand, 0.1, until=until, media=False)
    assert verdicts(rules.audio_of_the_model_is_played, hand) == {}


def test_a_forged_request_may_be_answered_as_one_likes() -> None:
    hand = Hand()
    hand.webhook(FETCH, "go away", status=403, forged=True)
    hand.webhook("call1/callback/ringing#1", "go away", status=403, forged=True)
    for invariant in (rules.twiml_is_good, rules.calls_get_connect_stream, rules.callbacks_are_answered):
        assert verdicts(invariant, hand) == {}


def test_a_request_of_the_last_seconds_need_not_be_answered() -> None:
    hand = Hand(ended=10)
    hand.webhook(FETCH, None)
    assert verdicts(rules.twiml_is_good, hand) == {}


def test_an_update_before_any_callback_is_allowed() -> None:
    hand = Hand()
    _update_after(hand, {"Twiml": "<Response/>"}, callback=False)
    assert verdicts(rules.callbacks_replace_no_twiml, hand) == {}


def test_twilios_numbers_that_fail_by_agreement_may_be_refused() -> None:
    hand = Hand()
    hand.rest("/Calls.json", {"To": "+15005550001"}, status=400)
    assert verdicts(rules.creates_are_right, hand) == {}


# -- credentials


def _clean(hand: Hand) -> None:
    _upgrade(hand)
    basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}"}
    hand.put("gateway", "twilio", "twilio.rest", "request", "To=1", method="POST", url="https://x", headers=headers)
    hand.webhook(FETCH, _twiml())
    hand.to_stream("media", {"media": {"payload": ULAW}})
    hand.output = f"calling {ACCOUNT}\n"


def test_credentials_where_they_belong() -> None:
    hand = Hand()
    _clean(hand)
    found = verdicts(credentials_stay_where_they_belong, hand)
    assert found == dict.fromkeys(("SEC-007", "SEC-008"), Verdict.PASS)


def _shifted(secret: str, before: str) -> str:
    return base64.b64encode((before + secret + "!").encode()).decode()


@pytest.mark.parametrize(
    ("rule", "leak"),
    [
        ("SEC-007", lambda h: setattr(h, "output", f"key={KEY}")),
        ("SEC-007", lambda h: setattr(h, "output", f"auth {base64.b64encode(f'{ACCOUNT}:{TOKEN}'.encode()).decode()}")),
        ("SEC-007", lambda h: setattr(h, "output", _shifted(KEY, "a"))),
        ("SEC-007", lambda h: setattr(h, "output", _shifted(TOKEN, "ab"))),
        ("SEC-007", lambda h: h.put("gateway", "operator", "gateway.http", "response", {"error": f"bad {KEY}"})),
        ("SEC-007", lambda h: h.webhook(FETCH, _twiml(parameters=f"<Parameter name='k' value='{TOKEN}'/>"))),
        ("SEC-007", lambda h: h.put("gateway", "intruder", "intrusion", "close", code=1008, reason=f"not {TOKEN}")),
        ("SEC-008", lambda h: h.to_model("session.update", {"session": {"instructions": TOKEN}})),
        ("SEC-008", lambda h: h.to_stream("mark", {"mark": {"name": KEY}})),
        ("SEC-008", lambda h: h.to_model("upgrade", url=f"wss://x/v1/realtime?key={KEY}")),
        ("SEC-008", lambda h: h.rest("/Calls.json", {"Url": f"https://x/?t={KEY}"})),
        ("SEC-008", lambda h: h.to_model("upgrade", headers={"Authorization": f"Bearer {TOKEN}"})),
    ],
)
def test_a_credential_elsewhere_is_found(rule: str, leak: Story) -> None:
    hand = Hand()
    _clean(hand)
    leak(hand)
    found = verdicts(credentials_stay_where_they_belong, hand)
    assert found[rule] is Verdict.FAIL
    assert [key for key, verdict in found.items() if verdict is not Verdict.PASS] == [rule]


def test_a_failure_does_not_tell_the_credential() -> None:
    hand = Hand(output=f"the key is {KEY}, so there")
    check = Checks(registry())
    credentials_stay_where_they_belong(hand.evidence(), check)
    (finding,) = [finding for finding in check.findings if finding.verdict is Verdict.FAIL]
    assert "the key is <credential>" in finding.message
    assert KEY not in finding.message
