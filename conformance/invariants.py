"""Rules that hold in every world, whatever its story: checked over the whole wire when a case is over.

Each function looks at the evidence and checks one or two requirements; it checks nothing when the world had nothing of
the kind, so that a pass always means that something was seen.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from conformance.evidence import AUDIO_DELTAS as AUDIO_DELTAS
from conformance.evidence import IN_FLIGHT as IN_FLIGHT
from conformance.evidence import Evidence as Evidence
from conformance.evidence import Invariant as Invariant
from conformance.invariants_azure import AZURE_INVARIANTS, sessions_are_asked_for_in_the_dialect_of_the_address
from conformance.invariants_leaks import LEAK_INVARIANTS
from conformance.invariants_openai import OPENAI_INVARIANTS
from conformance.invariants_talk import TALK_INVARIANTS
from fakes.audio import PHRASES, Heard
from fakes.people import nearly_whole
from harness.stage import PUBLIC_HOST
from harness.suite import Checks
from harness.wire import Message

SERVER_PARTIES = ("openai", "twilio", "caller", "callee")
PUSHED = 1024 * 1024
"""Size from which on a frame that a case sends of its own making may grow beyond what OpenAI takes in one message."""

PLAYED_WITHIN = 2.0
"""Seconds after the first audio of a response in which a gateway that plays it at all has sent some."""

HEARD = ("start_ms", "end_ms", "heard_ms", "complete", "from_ms", "to_ms")
"""What `heard.end` tells of a phrase, in the order of `Heard`."""

INTERRUPTIONS = ("speech.start", "hangup", "ended", "clear", "stop", "close", "response.done")
"""The person speaks or is gone; the stream is cleared or ends; the session ends, or a response before its time."""

FORMAT_KEYS = ("session.audio.input.format", "session.audio.output.format")
BETA_FORMAT_KEYS = ("session.input_audio_format", "session.output_audio_format")
BETA_KEYS = ("modalities", "input_audio_format", "output_audio_format", "input_audio_transcription", "turn_detection")
"""Keys of a session that are flat in beta and have another place or name in GA."""


def fakes_keep_to_the_schemas(evidence: Evidence, check: Checks) -> None:
    """An invalid message from a fake is our fault, unless a case sent it on purpose."""
    for message in evidence.wire:
        if message.invalid and message.source in SERVER_PARTIES and message.body not in evidence.deliberate:
            check.harness_error(f"a fake sent an invalid message: {message.invalid}", at=message)
            return


def upgrade_asks_for_the_right_dialect(evidence: Evidence, check: Checks) -> None:
    """OAI-HS-001, OAI-HS-003."""
    for upgrade in evidence.wire.all("upgrade", channel="openai.realtime"):
        if evidence.column.dialect == "ga":
            beta = _asks_for_beta(upgrade)
            check("OAI-HS-001", not beta, "the upgrade asks for the beta dialect of a GA model", at=upgrade)
        key = evidence.planted["openai.api_key"]
        offered = upgrade.header("Authorization") == f"Bearer {key}"
        offered = offered or f"openai-insecure-api-key.{key}" in upgrade.meta.get("subprotocols", ())
        model = parse_qs(urlsplit(upgrade.meta.get("url", "")).query).get("model", [""])[0]
        # A model that is written into the gateway's code is its author's to choose.
        right = model == evidence.configured_model or not evidence.configured_model
        seen = f"the upgrade names model {model!r}" if not right else "the upgrade does not carry the API key"
        check("OAI-HS-003", offered and right, seen, at=upgrade)


def _asks_for_beta(upgrade: Message) -> bool:
    header = "realtime=v1" in (upgrade.header("OpenAI-Beta") or "")
    return header or "openai-beta.realtime-v1" in upgrade.meta.get("subprotocols", ())


def sessions_have_the_right_shape(evidence: Evidence, check: Checks) -> None:
    """OAI-SE-001, OAI-SE-002, OAI-SE-003, OAI-SE-004."""
    ga = evidence.column.dialect == "ga"
    # What a case pushes into a stream may come out larger than OpenAI takes: ROB-003 says what may come of that.
    pushed = any(len(sent) > PUSHED for sent in evidence.deliberate)
    for messages in evidence.sessions.values():
        updates = [m for m in messages if m.kind == "session.update" and m.source == "gateway"]
        if ga and updates:
            bad = [m for m in updates if m.get("session.type") != "realtime"]
            check.none("OAI-SE-001", bad, "session.update without session.type = realtime")
        if updates:
            errors = [m for m in messages if m.kind == "error" and m.source == "openai" and _about_shape(m)]
            rule = "OAI-SE-002" if ga else "OAI-SE-003"
            shown = errors[0].get("error.message") if errors else ""
            check.none(rule, errors, f"the session is refused: {shown}")
        own = [m for m in messages if m.source == "gateway" and m.kind not in ("upgrade", "close", "session.update")]
        if own:
            invalid = [m for m in own if m.invalid and not (pushed and m.kind == "oversized")]
            check.none("OAI-SE-004", invalid, f"not a valid client event: {invalid[0].invalid if invalid else ''}")


def _about_shape(error: Message) -> bool:
    param = str(error.get("error.param") or "")
    code = error.get("error.code")
    if code not in ("unknown_parameter", "invalid_value", "missing_required_parameter"):
        return False
    # The missing type of a GA session has a requirement of its own; a type that beta does not know is a shape.
    own = param == "session.type" and code == "missing_required_parameter"
    return param.startswith(("session.", "response.")) and not own


def models_are_addressed_in_their_dialect(evidence: Evidence, check: Checks) -> None:
    """OAI-HS-002: header of the upgrade and shape of the first `session.update` are of the model's dialect."""
    dialect = evidence.column.dialect
    for messages in evidence.sessions.values():
        upgrade = next((m for m in messages if m.kind == "upgrade"), None)
        if upgrade is None:
            continue
        asked = "beta" if _asks_for_beta(upgrade) else "ga"
        check("OAI-HS-002", asked == dialect, f"a model of the {dialect} dialect is asked for in {asked}", at=upgrade)
        update = next((m for m in messages if m.kind == "session.update" and m.source == "gateway"), None)
        if update is not None:
            shape = "beta" if any(key in update.get("session", {}) for key in BETA_KEYS) else "ga"
            seen = f"the session of a {dialect} model has the shape of {shape}"
            check("OAI-HS-002", shape == dialect, seen, at=update)


def formats_are_set_before_audio(evidence: Evidence, check: Checks) -> None:
    """OAI-SE-006."""
    for messages in evidence.sessions.values():
        own = [m for m in messages if m.source == "gateway"]
        early: Message | None = None
        offending: list[Message] = []
        seen_update = False
        for message in own:
            if message.kind in ("input_audio_buffer.append", "response.create"):
                early = early or message
            elif message.kind == "session.update" and any(message.get(k) for k in (*FORMAT_KEYS, *BETA_FORMAT_KEYS)):
                seen_update = True
                if early is not None:
                    offending.append(early)
        if seen_update:
            check.none("OAI-SE-006", offending, "audio or a response was sent before the formats were set")


def one_response_at_a_time(evidence: Evidence, check: Checks) -> None:
    """OAI-TU-001: a `response.create` while a response that the gateway has seen begin has not ended."""
    for messages in evidence.sessions.values():
        active: Message | None = None
        offending = []
        asked = False
        for message in messages:
            if message.source == "openai" and message.kind == "response.created":
                active = message if message.get("response.conversation_id", "") is not None else active
            elif message.source == "openai" and message.kind == "response.done":
                active = None
            elif message.source == "gateway" and message.kind == "response.create":
                asked = True
                outside = message.get("response.conversation") == "none"
                if active is not None and message.at > active.at + IN_FLIGHT and not outside:
                    offending.append(message)
        if asked:
            check.none("OAI-TU-001", offending, "response.create while a response is active")


def function_calls_are_answered_once(evidence: Evidence, check: Checks) -> None:
    """TOOL-001."""
    for messages in evidence.sessions.values():
        calls = {
            m.get("call_id"): m
            for m in messages
            if m.source == "openai" and m.kind == "response.function_call_arguments.done"
        }
        told = set(calls)
        for message in messages:
            # One that an interruption cut off is not complete: it need not be answered.
            if message.kind == "response.output_item.done" and message.get("item.status") == "incomplete":
                calls.pop(message.get("item.call_id"), None)
        answers: dict[str, list[Message]] = {}
        for message in messages:
            if message.source == "gateway" and message.get("item.type") == "function_call_output":
                answers.setdefault(message.get("item.call_id"), []).append(message)
        closed = [m for m in messages if m.kind == "close"]
        for call_id, call in calls.items():
            if not answers.get(call_id) and closed and closed[0].at < call.at + 5:
                continue  # the call was over before it could be answered
            many = answers.get(call_id, [])
            check("TOOL-001", len(many) == 1, f"the function call got {len(many)} outputs", at=(many or [call])[-1])
        for call_id in answers.keys() - told:
            check("TOOL-001", False, f"an output for the unknown call {call_id}", at=answers[call_id][0])


def appended_audio_is_well_formed(evidence: Evidence, check: Checks) -> None:
    """OAI-AU-001, the part that needs no listening."""
    for messages in evidence.sessions.values():
        appends = [m for m in messages if m.kind == "input_audio_buffer.append" and m.source == "gateway"]
        if appends:
            broken = [m for m in appends if not _decodes(m.get("audio"))]
            # What a case sent broken on purpose may be passed on as it came: it is not of the gateway's making.
            passed_on = "".join(text for text in evidence.deliberate if isinstance(text, str))
            own = [m for m in broken if not m.get("audio") or str(m.get("audio")) not in passed_on]
            check.none("OAI-AU-001", own, "an append has no audio in it, or no base64")


def _decodes(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def audio_of_the_model_is_played(evidence: Evidence, check: Checks) -> None:
    """OAI-AU-002: after the first audio of a response there is media on a stream, unless all of them ended just then.

    With several calls in a world a stream of any of them will do, and so will the relay of a browser.
    """
    ends = [messages[-1].at for messages in evidence.streams.values() if messages[-1].kind in ("stop", "close")]
    if not ends:
        return
    up_until = max(ends)
    media = evidence.wire.all("media", source="gateway", channel="twilio.stream")
    media += evidence.wire.all("audio", source="gateway", channel="talk.relay")
    for messages in evidence.sessions.values():
        seen: set[str] = set()
        for delta in messages:
            response = str(delta.get("response_id")) if delta.kind in AUDIO_DELTAS else ""
            if not response or response in seen or delta.body in evidence.deliberate:
                continue
            seen.add(response)
            if up_until < delta.at + PLAYED_WITHIN:
                continue
            played = any(m.seq > delta.seq and m.at < delta.at + PLAYED_WITHIN for m in media)
            check("OAI-AU-002", played, f"no media within {PLAYED_WITHIN:g} s of the model's audio", at=delta)


def phrases_are_heard_to_their_end(evidence: Evidence, check: Checks) -> None:
    """AUD-004: to the last syllable, what nobody interrupted. Whatever else is missing, those miss who wait for it."""
    for heard in evidence.wire.all("heard.end", channel="phone"):
        phrase = Heard(str(heard.body), *(heard.meta[name] for name in HEARD))
        if phrase.complete:
            check("AUD-004", True)
        elif nearly_whole(phrase) and not _interrupted(evidence, heard):
            lost = PHRASES[phrase.phrase].duration_ms - phrase.to_ms
            check("AUD-004", False, f"the last {lost:.0f} ms of {phrase.phrase!r} were not heard", at=heard)


def _interrupted(evidence: Evidence, heard: Message) -> bool:
    """Whether anything happened, while a phrase was being heard, that may have cut it short: see `INTERRUPTIONS`.

    With several calls in a world the model's side of any of them will do.
    """
    begun = heard.meta["start_ms"] / 1000 - IN_FLIGHT
    for message in evidence.wire.all(INTERRUPTIONS, after=begun, before=heard):
        if message.channel.endswith(".realtime"):
            if message.kind == "close" or message.get("response.status") != "completed":
                return True
        elif message.connection.partition("/")[0] == heard.connection:
            return True
    return False


def stream_messages_are_valid(evidence: Evidence, check: Checks) -> None:
    """TWI-ST-001, TWI-ST-002, TWI-ST-003."""
    for messages in evidence.streams.values():
        own = [
            m
            for m in messages
            if m.source == "gateway" and m.kind not in ("close", "upgrade.accepted", "upgrade.refused")
        ]
        if not own:
            continue
        start = next((m for m in messages if m.kind == "start" and m.source == "twilio"), None)
        sid = start.get("streamSid") if start is not None else None
        wrong = [m for m in own if m.kind in ("media", "mark", "clear") and m.get("streamSid") != sid]
        early = [m for m in own if start is None or m.seq < start.seq]
        check.none("TWI-ST-002", wrong or early, "the streamSid is not that of this stream's start")
        invalid = [m for m in own if m.invalid and m not in wrong]
        check.none("TWI-ST-001", invalid, f"not a valid message: {invalid[0].invalid if invalid else ''}")
        media = [m for m in own if m.kind == "media"]
        if media:
            headers = (b"RIFF", b"fLaC", b"ID3", b"OggS")
            bad = []
            for message in media:
                payload = message.get("media.payload")
                if not _decodes(payload) or base64.b64decode(payload)[:4].startswith(headers):
                    bad.append(message)
            check.none("TWI-ST-003", bad, "the payload is not base64 of raw mu-law")


def nothing_is_sent_after_the_end(evidence: Evidence, check: Checks) -> None:
    """TWI-ST-008: neither after `stop` has reached the gateway nor after a close."""
    for messages in evidence.streams.values():
        ends = [m for m in messages if (m.kind == "stop" and m.source == "twilio") or m.kind == "close"]
        if ends:
            late = [
                m
                for m in messages
                if m.source == "gateway" and m.kind in ("media", "mark", "clear") and m.at > ends[0].at + IN_FLIGHT
            ]
            check.none("TWI-ST-008", late, f"sent after {ends[0].kind}")


def twiml_is_good(evidence: Evidence, check: Checks) -> None:
    """TWI-WH-001 to TWI-WH-007, for every request with a good signature, whoever brought it."""
    wire = evidence.wire
    documents: list[tuple[Message, str]] = []
    for request in wire.all("request", channel="twilio.webhook"):
        if "/fetch" not in request.connection or request.meta.get("forged"):
            continue
        answers = wire.all("response", connection=request.connection, after=request)
        if not answers:
            if evidence.ended - request.at > 15:
                check("TWI-WH-007", False, "no answer to the TwiML request", at=request)
            continue
        answer = answers[0]
        check("TWI-WH-007", answer.at - request.at < 15, f"answered after {answer.at - request.at:.1f} s", at=answer)
        content = (answer.header("Content-Type") or "").partition(";")[0].strip().lower()
        good = answer.status == 200 and content in ("text/xml", "application/xml", "text/html")
        check("TWI-WH-001", good, f"status {answer.status}, Content-Type {content or 'missing'}", at=answer)
        if good:
            documents.append((answer, answer.text))
    for update in wire.all("request", channel="twilio.rest", source="gateway"):
        if "Twiml" in update.form:
            documents.append((update, update.form["Twiml"]))
    for message, document in documents:
        try:
            if document[:1].isspace() or document.startswith("\ufeff"):
                raise ElementTree.ParseError("something stands before the declaration")
            root = ElementTree.fromstring(document)
            check("TWI-WH-002", root.tag == "Response", f"the root is <{root.tag}>", at=message)
        except ElementTree.ParseError as error:
            check("TWI-WH-002", False, f"the TwiML is not well-formed: {error}", at=message)
            continue
        for stream in root.iter("Stream"):
            url = urlsplit(stream.get("url", ""))
            there = url.scheme == "wss" and url.hostname == PUBLIC_HOST
            relative = not url.scheme and not url.netloc and bool(url.path)
            check("TWI-WH-004", there or relative, f"the stream's url is {stream.get('url')!r}", at=message)
            check("TWI-WH-005", not url.query, f"the stream's url has a query: {stream.get('url')!r}", at=message)
            for parameter in stream.iter("Parameter"):
                size = len(parameter.get("name", "")) + len(parameter.get("value", ""))
                check("TWI-WH-006", size < 500, f"a Parameter of {size} characters", at=message)


def calls_get_connect_stream(evidence: Evidence, check: Checks) -> None:
    """TWI-WH-003 for inbound calls, TWI-WH-008 for those placed by REST: the answer to the first TwiML request."""
    for request in evidence.wire.all("request", channel="twilio.webhook", source="twilio"):
        form = request.form or dict(_query(request))
        if "/fetch#1" not in request.connection or request.meta.get("forged"):
            continue
        answer = evidence.wire.first("response", connection=request.connection, after=request)
        if answer is None or answer.status != 200 or _told_of_the_end(evidence, request, answer):
            continue
        try:
            nouns = [child.tag for child in ElementTree.fromstring(answer.text).iterfind("./Connect/Stream")]
        except ElementTree.ParseError:
            continue
        inbound = form.get("Direction") == "inbound"
        rule, kind = ("TWI-WH-003", "an inbound call") if inbound else ("TWI-WH-008", "a call placed by REST")
        check(rule, nouns, f"the TwiML of {kind} has no <Connect><Stream>", at=answer)


def _told_of_the_end(evidence: Evidence, request: Message, answer: Message) -> bool:
    """Whether the gateway knew, when it answered, that the call of the request is over: then it may answer anything."""
    call = request.connection.partition("/")[0]
    ended = evidence.wire.first(
        "request",
        channel="twilio.webhook",
        before=answer,
        where=lambda m: m.connection.startswith(f"{call}/callback/") and m.form.get("CallStatus") == "completed",
    )
    return ended is not None


def _query(request: Message) -> Iterator[tuple[str, str]]:
    for key, values in parse_qs(urlsplit(request.meta.get("url", "")).query).items():
        yield key, values[-1]


def callbacks_are_answered(evidence: Evidence, check: Checks) -> None:
    """TWI-CB-001."""
    for request in evidence.wire.all("request", channel="twilio.webhook", source="twilio"):
        if "/callback/" not in request.connection or request.meta.get("forged"):
            continue
        answer = evidence.wire.first("response", connection=request.connection, after=request)
        if answer is not None and answer.status is not None:
            check("TWI-CB-001", 200 <= answer.status < 300, f"answered {answer.status}", at=answer)


def callbacks_replace_no_twiml(evidence: Evidence, check: Checks) -> None:
    """TWI-CB-004: no update with Twiml or Url while a stream is up or coming."""
    wire = evidence.wire
    callbacks = [
        m for m in wire.all("request", channel="twilio.webhook", source="twilio") if "/callback/" in m.connection
    ]
    if not callbacks:
        return
    updates = [
        m
        for m in wire.all("request", channel="twilio.rest", source="gateway", after=callbacks[0])
        if m.meta.get("method") == "POST" and "/Calls/" in m.meta.get("url", "") and {"Twiml", "Url"} & m.form.keys()
    ]
    check.none("TWI-CB-004", updates, "the gateway replaces the TwiML of a call whose stream is up or coming")


def creates_are_right(evidence: Evidence, check: Checks) -> None:
    """TWI-REST-001, TWI-REST-002."""
    wire = evidence.wire
    for request in wire.all("request", channel="twilio.rest", source="gateway"):
        if request.meta.get("method") != "POST" or not urlsplit(request.meta.get("url", "")).path.endswith(
            "/Calls.json"
        ):
            continue
        answer = wire.first("response", connection=request.connection, after=request)
        magic = request.form.get("To", "").startswith("+1500555")  # Twilio's numbers that fail by agreement
        if answer is not None and not magic:
            check("TWI-REST-001", answer.status == 201, f"refused: {answer.status} {answer.text[:200]}", at=request)
        pairs = [part.partition("=")[2] for part in request.text.split("&") if part.startswith("StatusCallbackEvent=")]
        if pairs:
            good = all(p in ("initiated", "ringing", "answered", "completed") for p in pairs)
            check("TWI-REST-002", good, f"StatusCallbackEvent is {pairs}", at=request)


def one_session_for_each_call(evidence: Evidence, check: Checks) -> None:
    """OAI-HS-004: never more sessions open at once than calls and relays.

    A call counts from its first webhook, a relay from its upgrade: a gateway may open the session before it is let in.
    """
    opened: set[str] = set()
    calls: set[str] = set()
    for message in evidence.wire:
        if message.channel == "openai.realtime":
            if message.kind == "upgrade.accepted":
                opened.add(message.connection)
                busy = len(opened) > max(1, len(calls))
                check("OAI-HS-004", not busy, f"{len(opened)} sessions open for {len(calls)} calls", at=message)
            elif message.kind == "close":
                opened.discard(message.connection)
        elif message.channel in ("twilio.webhook", "twilio.stream") and not message.meta.get("forged"):
            calls.add(message.connection.partition("/")[0])
        elif message.channel == "talk.relay" and message.kind == "upgrade":
            calls.add(message.connection)


INVARIANTS: tuple[Invariant, ...] = (
    fakes_keep_to_the_schemas,
    upgrade_asks_for_the_right_dialect,
    models_are_addressed_in_their_dialect,
    sessions_have_the_right_shape,
    formats_are_set_before_audio,
    one_response_at_a_time,
    function_calls_are_answered_once,
    appended_audio_is_well_formed,
    audio_of_the_model_is_played,
    phrases_are_heard_to_their_end,
    stream_messages_are_valid,
    nothing_is_sent_after_the_end,
    twiml_is_good,
    calls_get_connect_stream,
    callbacks_are_answered,
    callbacks_replace_no_twiml,
    creates_are_right,
    *AZURE_INVARIANTS,
    *LEAK_INVARIANTS,
    one_session_for_each_call,
    *OPENAI_INVARIANTS,
    *TALK_INVARIANTS,
)
"""All of them, in the order in which they are checked."""

DECISIVE: tuple[Invariant, ...] = (
    upgrade_asks_for_the_right_dialect,
    models_are_addressed_in_their_dialect,
    sessions_have_the_right_shape,
    sessions_are_asked_for_in_the_dialect_of_the_address,
)
"""Those that see, while a session is being opened, whether a conversation can come about at all (`decides`)."""
