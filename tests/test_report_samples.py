"""Results to try the reports on: a wire as a call leaves it, and a run of a suite, whole or with failures.

The other report tests import the builders of this module; its own tests make sure that the samples deserve trust.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from urllib.parse import urlencode

from harness.report import Check, Excluded, Level, Requirement, Results, Verdict, WorldResult, summarise
from harness.report.ladder import ladder_lines, story
from harness.wire import Message

MODELS = ("gpt-4o-realtime-preview-2025-06-03", "gpt-realtime")
DIALECTS = {MODELS[0]: "beta", MODELS[1]: "ga"}
CALL = "CA0f3c7a9d5e2b4816f0a1c2d3e4b5a697"

# area, prefix, source, rules (a leading ~ makes it a SHOULD, a leading + belongs to a claim)
_AREAS = (
    ("openai-handshake", "OAI-HS", "https://developers.openai.com/api/docs/guides/realtime-websocket#connect", """
A GA connection carries no `OpenAI-Beta` header.
A connection to a preview model carries `OpenAI-Beta: realtime=v1`.
The API key is sent in the `Authorization` header and nowhere else.
The model is named once, in the query string of the upgrade.
~A refused upgrade is told to the caller in words within two seconds.
A 429 at the upgrade is not retried before `Retry-After` has passed.
A 401 at the upgrade is never retried.
The gateway waits for `session.created` before it sends anything that needs a session.
~A handshake of two seconds does not cost the caller's first words."""),
    ("openai-session", "OAI-SS", "https://developers.openai.com/api/reference/resources/realtime#session.update", """
A GA `session.update` has `session.type` set to `realtime`.
A GA session names audio formats as objects: `session.audio.input.format.type`.
A beta session names audio formats as strings: `input_audio_format`.
A session for a telephone call asks for mu-law at 8 kHz in both directions.
No parameter is sent that the dialect does not know.
~The voice is set before the first response, never after it.
~Turn detection is set explicitly.
+Tools are declared with `type: function` and a JSON Schema.
An `error` event on `session.update` is logged with its `event_id`."""),
    ("openai-turns", "OAI-TN", "https://developers.openai.com/api/docs/guides/realtime-conversations#responses", """
No `response.create` is sent while a response is active.
After barge-in, `conversation.item.truncate` names the item that was playing.
`audio_end_ms` is what the caller has heard, not what was generated.
`response.cancel` is sent only while a response is active.
+A function call is answered with the same `call_id`.
+A function result is followed by one `response.create`.
~An incomplete response is not read to the caller as if it were whole.
An unknown event type is ignored, not fatal.
~`rate_limits.updated` is kept for diagnostics."""),
    ("twilio-rest", "TWI-RS", "https://www.twilio.com/docs/voice/api/call-resource", """
A call is created with `Url` or `Twiml`, `To` and `From`.
Several `StatusCallbackEvent` values are repeated keys, not one joined value.
The account SID and the auth token travel in basic authentication only.
A 404 with code 20404 on hang-up is taken as already over.
A 400 with code 21220 does not end the gateway.
~A 429 is retried with back-off, at most three times.
An update never sends `Url` and `Twiml` together.
~`Timeout` is at most 600.
The gateway does not poll the call resource for live state."""),
    ("twilio-callback", "TWI-CB", "https://www.twilio.com/docs/voice/api/call-resource#statuscallbackevent", """
A status callback is answered with 2xx within 15 seconds.
A callback delivered twice has the effect of one.
Callbacks that arrive out of order leave the call in its true state.
The `answered` callback does not update a live call that a stream is bridging.
A late `ringing` after `in-progress` changes nothing.
A `completed` callback ends the upstream session.
~An unknown `CallStatus` is logged, not fatal.
A callback for an unknown `CallSid` is answered with 2xx or 404, and creates nothing.
~The callback handler does no work before it answers."""),
    ("twilio-stream", "TWI-ST", "https://www.twilio.com/docs/voice/media-streams/websocket-messages", """
Outbound `media` carries `streamSid` and base64 mu-law without a header.
A `mark` follows every burst of speech.
On barge-in a `clear` is sent before any new media.
Nothing is sent after the socket is closed.
A stream token is accepted once.
+Digits reach the model as text.
~The socket is closed by the gateway when the model has ended the call.
A frame of 2 MB does not end the call.
Malformed JSON on the stream does not end the call."""),
    ("security", "SEC", "https://www.twilio.com/docs/usage/security#validating-requests", """
A webhook with a forged signature is refused with 403.
A webhook without a signature is refused with 403.
~The signature is checked against the public URL when a proxy stands before the gateway.
No credential appears in a log.
No credential appears in a response body.
A stream without a token gets no model session.
~Health answers say nothing about accounts.
Upgrade requests without a token are refused before the upstream is dialled.
The comparison of tokens takes the same time for all."""),
    ("lifecycle", "LIFE", "https://www.twilio.com/docs/voice/twiml/stream#stop", """
When the caller hangs up, the upstream socket is closed within a second.
When the call is over before the bridge is up, no upstream session is left open.
No task, socket or call is left after the last call.
~An upstream that closes mid-call is told to the caller in words.
A second call is not disturbed by the end of the first.
~A stopping gateway lets calls end.
+Diagnostics name the calls that are live.
The health endpoint answers while calls run.
~A call has an upper limit of time."""),
)  # fmt: skip

_CASES = {
    "inbound": "greeting conversation barge_in marks dtmf caller_hangs_up_mid_word",
    "outbound": "outbound_call answered_callback_races_twiml no_answer busy over_before_the_bridge_is_up",
    "callbacks": "twice late any_order",
    "session": "dialect_follows_model session_shape tools",
    "upstream": "slow_handshake 401 429 closes_mid_call",
    "stream": "malformed_frames oversized_frames",
    "security": "signatures tokens",
}
CASES = [f"conformance/test_{file}.py::test_{name}" for file, names in _CASES.items() for name in names.split()]


def requirements() -> list[Requirement]:
    """72 rules in 8 areas, as a registry has them."""
    found = []
    for area, prefix, source, rules in _AREAS:
        for number, rule in enumerate(rules.strip().splitlines(), 1):
            level = Level.SHOULD if rule[0] == "~" else Level.MUST
            found.append(
                Requirement(
                    id=f"{prefix}-{number:03}",
                    level=level,
                    rule=rule.lstrip("~+"),
                    area=area,
                    source=source,
                    claim="tools" if rule[0] == "+" else None,
                    era="since 2025-08-28" if " GA " in rule else None,
                    why=_WHY.get(f"{prefix}-{number:03}", "The caller hears silence, or the wrong words."),
                )
            )
    return found


_WHY = {
    "TWI-CB-004": "A REST update replaces the TwiML that is running: `<Connect><Stream>` is torn down while the bridge "
    "is still shaking hands, and the person who has just picked up hears one sentence and then nothing.",
    "OAI-SS-001": "The server refuses the whole update, the session keeps its defaults, and the caller hears noise: "
    "PCM at 24 kHz played as mu-law at 8 kHz.",
}


def wire(*, frames: int = 250, defect: bool = True) -> list[Message]:
    """An outbound call: TwiML, callbacks, both WebSockets, audio.

    With `defect`, the `answered` callback makes the gateway replace the live TwiML, which closes the bridge.
    """
    messages: list[Message] = []

    def put(at: float, source: str, target: str, channel: str, kind: str, body: object = None, **more: object) -> None:
        connection, invalid = str(more.pop("connection", "")), more.pop("invalid", None)
        text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        reason = None if invalid is None else str(invalid)
        messages.append(Message(len(messages), at, source, target, channel, kind, text, connection, reason, dict(more)))

    def webhook(at: float, path: str, status: str, connection: str, **form: str) -> None:
        body = urlencode({"CallSid": CALL, "CallStatus": status, "Direction": "outbound-api", **form})
        url = f"https://gateway.example/twilio/{path}"
        put(at, "twilio", "gateway", "twilio.webhook", "request", body, method="POST", url=url, connection=connection)

    def answer(at: float, status: int, connection: str, body: str = "") -> None:
        put(at, "gateway", "twilio", "twilio.webhook", "response", body, status=status, connection=connection)

    calls = f"https://api.twilio.com/2010-04-01/Accounts/AC{'5' * 32}/Calls"
    url = "http://gateway.example/calls"
    put(0.0, "operator", "gateway", "operator", "request", {"to": "+15005550009"}, method="POST", url=url)
    form = urlencode({"To": "+15005550009", "From": "+15005550006", "Url": "https://gateway.example/twilio/voice"})
    rest = {"connection": "rest#1"}
    put(0.02, "gateway", "twilio", "twilio.rest", "request", form, method="POST", url=f"{calls}.json", **rest)
    created = {"sid": CALL, "status": "queued"}
    put(0.09, "twilio", "gateway", "twilio.rest", "response", created, status=201, connection="rest#1")
    put(0.1, "gateway", "operator", "operator", "response", created, status=202)
    webhook(0.31, "status", "initiated", "call1/callback/initiated#1", CallbackSource="call-progress-events")
    answer(0.315, 204, "call1/callback/initiated#1")
    put(0.62, "twilio", "callee", "phone", "ring")
    webhook(0.66, "status", "ringing", "call1/callback/ringing#1", CallbackSource="call-progress-events")
    answer(0.664, 204, "call1/callback/ringing#1")
    put(3.2, "callee", "twilio", "phone", "answer")
    webhook(3.24, "voice", "in-progress", "call1/twiml#1")
    twiml = '<?xml version="1.0"?><Response><Connect><Stream url="wss://gateway.example/stream"/></Connect></Response>'
    answer(3.248, 200, "call1/twiml#1", twiml)
    stream = {"connection": "call1/stream1"}
    put(3.3, "twilio", "gateway", "twilio.stream", "upgrade", url="wss://gateway.example/stream", **stream)
    put(3.304, "gateway", "twilio", "twilio.stream", "upgrade.accepted", status=101, **stream)
    put(3.31, "twilio", "gateway", "twilio.stream", "connected", {"event": "connected"}, **stream)
    put(3.311, "twilio", "gateway", "twilio.stream", "start", {"event": "start", "start": {"callSid": CALL}}, **stream)
    model = {"connection": "openai#1"}
    upstream = "wss://api.openai.com/v1/realtime?model=gpt-realtime"
    put(3.33, "gateway", "openai", "openai.realtime", "upgrade", url=upstream, **model)
    webhook(3.412, "status", "in-progress", "call1/callback/answered#1", CallbackSource="call-progress-events")
    if defect:
        form = urlencode({"Twiml": "<Response><Say>Hello, please hold.</Say></Response>"})
        update = f"{calls}/{CALL}.json"
        put(3.43, "gateway", "twilio", "twilio.rest", "request", form, method="POST", url=update, connection="rest#2")
        put(3.5, "twilio", "gateway", "twilio.rest", "response", created, status=200, connection="rest#2")
    answer(3.51, 204, "call1/callback/answered#1")
    if defect:
        put(3.56, "twilio", "gateway", "twilio.stream", "stop", {"event": "stop", "stop": {"callSid": CALL}}, **stream)
        put(3.561, "twilio", "gateway", "twilio.stream", "close", code=1000, initiator="twilio", **stream)
    put(3.71, "openai", "gateway", "openai.realtime", "upgrade.accepted", status=101, **model)
    put(3.72, "openai", "gateway", "openai.realtime", "session.created", {"type": "session.created"}, **model)
    if defect:
        put(3.73, "gateway", "openai", "openai.realtime", "close", code=1000, reason="call over", **model)
        return messages
    session = {"type": "session.update", "session": {"type": "realtime"}}
    put(3.73, "gateway", "openai", "openai.realtime", "session.update", session, **model)
    put(3.76, "openai", "gateway", "openai.realtime", "session.updated", {"type": "session.updated"}, **model)
    audio = "f/9/" * 54
    for number in range(frames):
        at = 3.8 + number * 0.02
        media = {"event": "media", "media": {"payload": audio}}
        put(at, "twilio", "gateway", "twilio.stream", "media", media, **stream)
        append = {"type": "input_audio_buffer.append", "audio": audio}
        put(at + 0.001, "gateway", "openai", "openai.realtime", append["type"], append, **model)
    at = 3.8 + frames * 0.02
    put(at, "callee", "twilio", "phone", "hangup")
    put(at + 0.04, "twilio", "gateway", "twilio.stream", "stop", {"event": "stop"}, **stream)
    put(at + 0.05, "twilio", "gateway", "twilio.stream", "close", code=1000, initiator="twilio", **stream)
    return messages


REPLACED = "POST /Calls/{Sid}.json with `Twiml` 0.018 s after the `answered` callback, while the stream was bridging"


def _world(case: str, model: str, seed: int, failing: dict[int, str] | None) -> WorldResult:
    noise = random.Random(f"{case}{model}{seed}")
    found = WorldResult(
        case=case,
        seed=seed,
        wire_digest=f"{noise.getrandbits(256):064x}",
        stage="virtual",
        model=model,
        dialect=DIALECTS.get(model, "ga"),
        as_of="2026-04-15",
        seconds=round(noise.uniform(2, 32), 3),
        messages=noise.randrange(40, 3200),
    )
    if failing is not None:
        name = case.rpartition("::")[2]
        found.trace = f"traces/{name}-{seed}.json"
        found.replay = f"callproof replay reports/latest/traces/{name}-{seed}.json"
        messages = wire()
        found.story = story(messages, failing)
        found.ladder = ladder_lines(messages, failing)
    return found


def results(
    *,
    failing: Iterable[str] = ("TWI-CB-004", "OAI-SS-001", "LIFE-002", "OAI-HS-009", "SEC-003"),
    broken: Iterable[str] = (),
    rounds: int = 1,
    models: Iterable[str] = MODELS,
) -> Results:
    """A run over 72 requirements, 25 cases and the models, `rounds` times over.

    `failing` requirements fail (a SHOULD warns) in some cases, `broken` ones end in a harness error. Everything that
    needs the claim `tools` is unsupported, and two requirements are checked by nothing.
    """
    rules, models = requirements(), list(models)
    failing, broken = set(failing), set(broken)
    unchecked = {"TWI-RS-009", "LIFE-009"}
    update = next(message.seq for message in wire() if "Twiml=" in message.text)
    found = Results(
        callproof="0.1.0",
        created="2026-11-20T14:03:11+00:00",
        gateway="reference",
        gateway_version="0.1.0",
        stage="virtual",
        seed=7,
        as_of="2026-04-15",
        models=models,
        duration_s=round(7.4 * rounds, 1),
        requirements=rules,
        unsupported_claims=["tools", "browser.webrtc", "sip"],
        excluded=[
            Excluded(
                id="TWI-ST-020",
                level=Level.MAY,
                rule="A gateway may name its tracks.",
                area="twilio-stream",
                source="https://www.twilio.com/docs/voice/twiml/stream#track",
                reason="No gateway behaves differently for it.",
            )
        ],
    )
    for turn in range(rounds):
        for place, case in enumerate(CASES):
            for model in models:
                mine = [rule for number, rule in enumerate(rules) if (number * 7 + place * 3) % 25 < 3]
                mine = [rule for rule in mine if rule.id not in unchecked]
                guilty = [rule for rule in mine if rule.id in failing and (place + (model == MODELS[0])) % 2]
                marks = {update: "replaces the TwiML that is running"} if guilty else None
                world = len(found.worlds)
                found.worlds.append(_world(case, model, 7 + turn, marks))
                for rule in mine:
                    found.checks.append(_check(rule, case, model, world, rule in guilty, rule.id in broken, update))
    return found


def _check(rule: Requirement, case: str, model: str, world: int, bad: bool, odd: bool, update: int) -> Check:
    verdict, message, seq = Verdict.PASS, "", None
    if rule.claim:
        verdict, message = Verdict.UNSUPPORTED, f"the gateway does not claim {rule.claim}"
    elif odd:
        verdict, message = Verdict.HARNESS_ERROR, "the fake sent a `mark` without a name: /mark/name is required"
    elif bad:
        verdict = Verdict.FAIL if rule.level is Level.MUST else Verdict.WARN
        message, seq = (REPLACED, update) if rule.id == "TWI-CB-004" else (f"not so, at `{rule.id}`", None)
    return Check(
        requirement=rule.id,
        level=rule.level,
        case=case,
        verdict=verdict,
        model=model,
        dialect=DIALECTS.get(model, "ga"),
        message=message,
        world=None if rule.claim else world,
        seq=seq,
    )


def test_samples_have_every_kind_of_outcome() -> None:
    summary = summarise(results(broken=["SEC-008"]))
    assert all(summary.counts[verdict] for verdict in Verdict if verdict is not Verdict.UNSTABLE)
    assert summary.counts[None] == 2
    assert len(summary.requirements) == 72
    assert len(summary.areas) == 8


def test_sample_of_a_sound_gateway_has_no_failure() -> None:
    summary = summarise(results(failing=()))
    assert summary.checks[Verdict.FAIL] == summary.checks[Verdict.WARN] == 0
    assert summary.exit_status == 0
