"""Every event of OpenAI Realtime in a story: which stories send it, which do not, and how it can be wrong.

`python tests/openai_events.py` writes the coverage table, `fakes/openai/EVENTS.md`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai_vendor import CALLS, REALTIME, Vendor
from openai_world import BETA_DAY, GA_DAY, KEY, Client, Event, World, manual, user_text

from fakes.audio import phrase, silence, speak
from fakes.openai import McpServer, McpTool
from fakes.openai.calls import CallState
from fakes.openai.catalogue import catalogue
from fakes.openai.frames import Frame
from fakes.openai.protocol import event_types
from fakes.openai.rtc_session import RtcSession
from fakes.openai.secrets import Place
from fakes.openai.webhooks import WebhookEndpoint

DOCUMENT = Path(__file__).parent.parent / "fakes" / "openai" / "EVENTS.md"
DIALECTS = ("beta", "ga")
MCP_URL = "https://mcp.example.com/tools"
ITEM = "(the last item)"
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
TEXT = {"beta": {"modalities": ["text"]}, "ga": {"output_modalities": ["text"]}}


class Story:
    """What a session has sent, from the first event on. `world` and `client` are there to go on with."""

    def __init__(self, dialect: str, knobs: dict[str, Any] | None = None, **query: str) -> None:
        self.dialect = dialect
        self.world = World(BETA_DAY if dialect == "beta" else GA_DAY, knobs=knobs)
        self.client: Client = self.world.connect(dialect, query=query or None)
        self.events: list[Event] = []
        self.wait(5)

    def wait(self, seconds: float = 60.0) -> list[Event]:
        new = self.client.wait(seconds)
        self.events += new
        return new

    def send(self, kind: str, **fields: Any) -> list[Event]:
        """Send an event, and return what it was answered at once."""
        self.client.send(kind, **fields)
        return self.wait(0)

    def configure(self, **session: Any) -> None:
        typed = {"type": "realtime"} if self.dialect == "ga" else {}
        self.send("session.update", session={**typed, **session})

    def says(self, phrase: str = "what_time") -> None:
        self.client.say(phrase, encoding="pcm16", rate=24000, quiet_ms=900)

    def first(self, kind: str) -> Event:
        return next(event for event in self.events if event["type"] == kind)

    def item_id(self) -> str:
        """The last item of the assistant."""
        done = [e for e in self.events if e["type"] == "response.output_item.done"]
        return str(done[-1]["item"]["id"])


def connecting(dialect: str) -> Story:
    """Nothing but the connection."""
    return Story(dialect)


def announcing(dialect: str) -> Story:
    """The connection, where a conversation is announced."""
    return Story(dialect, {"openai.conversation_created": "always"})


def not_announcing(dialect: str) -> Story:
    """The connection, where no conversation is announced."""
    return Story(dialect, {"openai.conversation_created": "never"})


def speaking(dialect: str) -> Story:
    """A spoken turn under server VAD, transcribed and answered with sound."""
    story = Story(dialect)
    transcription = {"model": "gpt-4o-transcribe"}
    if dialect == "beta":
        story.configure(input_audio_transcription=transcription)
    else:
        story.configure(audio={"input": {"transcription": transcription}})
    story.says()
    story.wait()
    return story


def writing(dialect: str) -> Story:
    """A written turn, answered in writing."""
    story = Story(dialect)
    story.send("conversation.item.create", item=user_text("hello"))
    story.send("response.create", response=TEXT[dialect])
    story.wait()
    return story


def calling(dialect: str) -> Story:
    """A function call."""
    story = Story(dialect)
    story.configure(tools=[TOOL], tool_choice="required")
    story.send("conversation.item.create", item=user_text("How is the weather?"))
    story.send("response.create")
    story.wait()
    return story


def editing(dialect: str) -> Story:
    """A spoken answer that is looked at, cut short and deleted."""
    story = Story(dialect)
    story.send("response.create")
    story.wait()
    item = story.item_id()
    story.send("conversation.item.retrieve", item_id=item)
    story.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=100)
    story.send("conversation.item.delete", item_id=item)
    return story


def by_hand(dialect: str) -> Story:
    """A buffer that is cleared, filled and committed by hand."""
    story = Story(dialect)
    session = manual(dialect)
    story.configure(**session)
    story.says()
    story.send("input_audio_buffer.clear")
    story.says()
    story.send("input_audio_buffer.commit")
    return story


def erring(dialect: str) -> Story:
    """An event that nobody knows."""
    story = Story(dialect)
    story.send("no.such.event")
    return story


def transcribing(dialect: str) -> Story:
    """A session that only transcribes."""
    story = Story(dialect, intent="transcription")
    transcription = {"model": "gpt-4o-transcribe"}
    if dialect == "beta":
        story.send("transcription_session.update", session={"input_audio_transcription": transcription})
    else:
        audio = {"input": {"transcription": transcription}}
        story.send("session.update", session={"type": "transcription", "audio": audio})
    story.says()
    story.wait()
    return story


def failing_to_transcribe(dialect: str) -> Story:
    """A spoken turn whose transcription fails."""
    story = Story(dialect)
    if dialect == "beta":
        story.configure(input_audio_transcription={"model": "whisper-1"})
    else:
        story.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
    story.client.session.fail_transcription()
    story.says()
    story.wait()
    return story


def by_speaker(dialect: str) -> Story:
    """A spoken turn, transcribed in segments with their speakers."""
    story = Story(dialect)
    story.configure(audio={"input": {"transcription": {"model": "gpt-4o-transcribe-diarize"}}})
    story.says()
    story.wait()
    return story


def idling(dialect: str) -> Story:
    """Somebody who does not answer a question."""
    story = Story(dialect)
    story.configure(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 6000}}})
    story.send("response.create")
    for _ in range(150):
        story.client.append(silence(100, "pcm16", 24000))
        story.wait(0.1)
    return story


def with_legacy_items(dialect: str) -> Story:
    """A written message, where GA still sends the old event for it."""
    story = Story(dialect, {"openai.legacy_item_created": True})
    story.send("conversation.item.create", item=user_text("hello"))
    return story


def listing_tools(dialect: str, *, reachable: bool = True, broken: bool = False) -> Story:
    """A session with an MCP server, whose tool is called."""
    story = Story(dialect)
    errors = {"get_forecast": "no forecast today"} if broken else {}
    server = McpServer((McpTool("get_forecast", "The weather forecast"),), errors=errors, reachable=reachable)
    story.world.service.mcp_servers[MCP_URL] = server
    tool = {"type": "mcp", "server_label": "weather", "server_url": MCP_URL, "require_approval": "never"}
    story.configure(tools=[tool])
    story.wait()
    story.send("conversation.item.create", item=user_text(phrase("weather").text))
    story.send("response.create")
    story.wait()
    return story


def failing_to_list_tools(dialect: str) -> Story:
    """A session whose MCP server cannot be reached."""
    return listing_tools(dialect, reachable=False)


def failing_tool(dialect: str) -> Story:
    """A session whose MCP tool fails."""
    return listing_tools(dialect, broken=True)


class PhoneLeg:
    """The trunk of a call: keeps the events as a WebSocket's sink does."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.rtc: RtcSession | None = None

    def send(self, frame: Frame) -> None:
        assert self.rtc is not None
        self.frames.append(frame)
        self.rtc.left(frame)

    def play(self, pcm: bytes) -> None:
        """Nobody listens."""

    def release(self) -> None:
        """There is nothing to release."""


class Phone(Story):
    """A session whose sound comes and goes by itself, as over WebRTC or SIP."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.world = World(BETA_DAY if dialect == "beta" else GA_DAY)
        self.events = []
        service = self.world.service
        transport = "sip" if dialect == "ga" else "webrtc"
        place = Place("org-test", "proj-test")
        call = service.calls.open(transport, place, dialect=dialect, model=catalogue().models["gpt-realtime"])
        call.move(CallState.ACTIVE)
        leg = PhoneLeg()
        leg.rtc = self.rtc = RtcSession(service, call, leg)
        self.client = Client(self.world.clock, self.world.recorder, self.rtc.session, leg)
        self.rtc.open()
        self.wait(5)

    def says(self, phrase: str = "what_time") -> None:
        pcm = speak(phrase, "pcm16", 24000)
        for start in range(0, len(pcm), 960):
            self.rtc.hear(pcm[start : start + 960])
            self.wait(0.02)


def phoning(dialect: str) -> Story:
    """A call: an answer is played to its end, another one is interrupted."""
    story = Phone(dialect)
    story.send("response.create")
    story.wait(20)
    story.send("response.create", response={"instructions": f"Say this: {phrase('long_answer').text}"})
    story.wait(3)
    story.says()
    story.wait(2)
    story.send("output_audio_buffer.clear")
    return story


class Sideband(Story):
    """A SIP call that is accepted, watched over a sideband."""

    def __init__(self) -> None:
        self.dialect = "ga"
        vendor = Vendor()
        self.world = vendor  # type: ignore[assignment]
        secret = base64.b64encode(bytes(24)).decode()
        vendor.service.webhook = WebhookEndpoint("https://gateway.example/webhook", f"whsec_{secret}")
        self.leg = vendor.service.incoming_sip("+15550123")
        vendor.get(f"{CALLS}/{self.leg.call.id}/accept", {**REALTIME})
        vendor.clock.advance(5)
        self.socket = vendor.join(KEY, {"call_id": self.leg.call.id})
        self.events = []


def pressing(dialect: str) -> Story:
    """A SIP call whose caller presses a key."""
    story = Sideband()
    story.leg.press("5")
    story.events += story.socket.events()
    return story


def silent(dialect: str) -> Story:
    """The seconds after a connection in which nothing is asked for and nothing is said."""
    story = Story(dialect)
    story.events = []
    story.wait(2)
    return story


def with_sound(dialect: str) -> Story:
    """Sound in the buffer of a session without turn detection."""
    story = Story(dialect)
    story.configure(**manual(dialect))
    story.client.append(silence(200, "pcm16", 24000))
    return story


def answered(dialect: str) -> Story:
    """A spoken answer."""
    story = Story(dialect)
    story.send("response.create")
    story.wait()
    return story


def answering(dialect: str) -> Story:
    """An answer that has begun."""
    story = Story(dialect)
    story.send("response.create")
    story.wait(0.3)
    return story


def playing(dialect: str) -> Story:
    """A call that hears an answer."""
    story = Phone(dialect)
    story.send("response.create")
    story.wait(0.8)
    return story


def to_transcribe(dialect: str) -> Story:
    """A session that only transcribes, not configured yet."""
    return Story(dialect, intent="transcription")


STORIES: dict[str, Callable[[str], Story]] = {
    story.__name__: story
    for story in (
        connecting,
        announcing,
        not_announcing,
        speaking,
        writing,
        calling,
        editing,
        by_hand,
        erring,
        transcribing,
        failing_to_transcribe,
        by_speaker,
        idling,
        with_legacy_items,
        listing_tools,
        failing_to_list_tools,
        failing_tool,
        phoning,
        pressing,
        silent,
        with_sound,
        answered,
        answering,
        playing,
        to_transcribe,
    )
}


SPOKEN = "conversation.item.input_audio_transcription"

SERVER: dict[str, tuple[str, str]] = {
    "conversation.created": ("announcing", "not_announcing"),
    "conversation.item.created": ("with_legacy_items", "silent"),
    "conversation.item.added": ("writing", "connecting"),
    "conversation.item.done": ("writing", "connecting"),
    "conversation.item.deleted": ("editing", "writing"),
    "conversation.item.retrieved": ("editing", "writing"),
    "conversation.item.truncated": ("editing", "speaking"),
    f"{SPOKEN}.completed": ("speaking", "failing_to_transcribe"),
    f"{SPOKEN}.delta": ("speaking", "failing_to_transcribe"),
    f"{SPOKEN}.failed": ("failing_to_transcribe", "speaking"),
    f"{SPOKEN}.segment": ("by_speaker", "speaking"),
    "error": ("erring", "speaking"),
    "input_audio_buffer.cleared": ("by_hand", "speaking"),
    "input_audio_buffer.committed": ("speaking", "writing"),
    "input_audio_buffer.dtmf_event_received": ("pressing", "phoning"),
    "input_audio_buffer.speech_started": ("speaking", "by_hand"),
    "input_audio_buffer.speech_stopped": ("speaking", "by_hand"),
    "input_audio_buffer.timeout_triggered": ("idling", "speaking"),
    "mcp_list_tools.completed": ("listing_tools", "failing_to_list_tools"),
    "mcp_list_tools.failed": ("failing_to_list_tools", "listing_tools"),
    "mcp_list_tools.in_progress": ("listing_tools", "calling"),
    "output_audio_buffer.cleared": ("phoning", "speaking"),
    "output_audio_buffer.started": ("phoning", "speaking"),
    "output_audio_buffer.stopped": ("phoning", "speaking"),
    "rate_limits.updated": ("writing", "by_hand"),
    "response.content_part.added": ("writing", "calling"),
    "response.content_part.done": ("writing", "calling"),
    "response.created": ("writing", "by_hand"),
    "response.done": ("writing", "by_hand"),
    "response.function_call_arguments.delta": ("calling", "speaking"),
    "response.function_call_arguments.done": ("calling", "speaking"),
    "response.mcp_call.completed": ("listing_tools", "failing_tool"),
    "response.mcp_call.failed": ("failing_tool", "listing_tools"),
    "response.mcp_call.in_progress": ("listing_tools", "calling"),
    "response.mcp_call_arguments.delta": ("listing_tools", "calling"),
    "response.mcp_call_arguments.done": ("listing_tools", "calling"),
    "response.output_audio.delta": ("speaking", "phoning"),
    "response.output_audio.done": ("speaking", "writing"),
    "response.output_audio_transcript.delta": ("speaking", "writing"),
    "response.output_audio_transcript.done": ("speaking", "writing"),
    "response.output_item.added": ("writing", "by_hand"),
    "response.output_item.done": ("writing", "by_hand"),
    "response.output_text.delta": ("writing", "speaking"),
    "response.output_text.done": ("writing", "speaking"),
    "session.created": ("connecting", "silent"),
    "session.updated": ("speaking", "connecting"),
}
"""Event, by its GA name -> the story that sends it, and one that does not."""

BETA_SERVER: dict[str, tuple[str, str]] = {
    "conversation.item.created": ("writing", "connecting"),
    "transcription_session.created": ("transcribing", "connecting"),
    "transcription_session.updated": ("transcribing", "speaking"),
}
"""Events of the beta that GA does not have, or sends in other stories."""

RENAMED = ("response.output_audio_transcript", "response.output_audio", "response.output_text")


def beta_name(event: str) -> str:
    """An event's name in the beta."""
    for name in RENAMED:
        if event.startswith(f"{name}."):
            return event.replace("output_", "", 1)
    return event


def server_table(dialect: str) -> dict[str, tuple[str, str]]:
    """Every server event of a dialect -> the story that sends it, and one that does not."""
    if dialect == "ga":
        return SERVER
    table = {**{beta_name(event): stories for event, stories in SERVER.items()}, **BETA_SERVER}
    return {event: table[event] for event in event_types("beta", "server")}


@dataclass(frozen=True)
class Wanted:
    """A client event: after `story` it is answered with `answers`; with `wrong` in it, with the error `code`."""

    story: str
    fields: dict[str, Any]
    answers: tuple[str, ...]
    wrong: dict[str, Any]
    code: str
    param: str | None = None


APPENDED = base64.b64encode(silence(200, "pcm16", 24000)).decode()


def client_table(dialect: str) -> dict[str, Wanted]:
    """Every client event of a dialect, right and wrong. `ITEM` stands for the last item of the assistant."""
    beta = dialect == "beta"
    created = ("conversation.item.created",) if beta else ("conversation.item.added", "conversation.item.done")
    update = {"instructions": "Be brief."} if beta else {"type": "realtime", "instructions": "Be brief."}
    table = {
        "session.update": Wanted(
            "connecting",
            {"session": update},
            ("session.updated",),
            {"session": {**update, "colour": "blue"}},
            "unknown_parameter",
            "session.colour",
        ),
        "input_audio_buffer.append": Wanted(
            "connecting", {"audio": APPENDED}, (), {"audio": "no base64!"}, "invalid_value", "audio"
        ),
        "input_audio_buffer.commit": Wanted(
            "with_sound",
            {},
            ("input_audio_buffer.committed", *created),
            {"item": "1"},
            "unknown_parameter",
            "item",
        ),
        "input_audio_buffer.clear": Wanted(
            "with_sound", {}, ("input_audio_buffer.cleared",), {"event_id": 1}, "invalid_type", "event_id"
        ),
        "conversation.item.create": Wanted(
            "connecting",
            {"item": user_text("hello")},
            created,
            {"item": {"type": "message", "role": "user"}},
            "missing_required_parameter",
            "item.content",
        ),
        "conversation.item.retrieve": Wanted(
            "answered",
            {"item_id": ITEM},
            ("conversation.item.retrieved",),
            {"item_id": "item_unknown"},
            "item_retrieve_invalid_item_id",
            "item_id",
        ),
        "conversation.item.delete": Wanted(
            "answered",
            {"item_id": ITEM},
            ("conversation.item.deleted",),
            {"item_id": "item_unknown"},
            "item_delete_invalid_item_id",
            "item_id",
        ),
        "conversation.item.truncate": Wanted(
            "answered",
            {"item_id": ITEM, "content_index": 0, "audio_end_ms": 100},
            ("conversation.item.truncated",),
            {"item_id": "item_unknown", "content_index": 0, "audio_end_ms": 100},
            "item_truncate_invalid_item_id",
            "item_id",
        ),
        "response.create": Wanted(
            "connecting",
            {},
            ("response.created",),
            {"response": {"colour": "blue"}},
            "unknown_parameter",
            "response.colour",
        ),
        "response.cancel": Wanted(
            "answering", {}, ("response.done",), {"response_id": "resp_unknown"}, "response_cancel_not_active"
        ),
        "output_audio_buffer.clear": Wanted(
            "playing", {}, ("output_audio_buffer.cleared",), {"event_id": 1}, "invalid_type", "event_id"
        ),
    }
    if beta:
        transcription = {"input_audio_transcription": {"model": "whisper-1"}}
        table["transcription_session.update"] = Wanted(
            "to_transcribe",
            {"session": transcription},
            ("transcription_session.updated",),
            {"session": {**transcription, "colour": "blue"}},
            "unknown_parameter",
            "session.colour",
        )
    return table


def document() -> str:
    """The coverage table."""
    parts = [
        "# Events\n\n"
        "Every event of OpenAI Realtime, with a story of the tests in which it is right and one in which it is wrong\n"
        "or absent. Generated from `tests/openai_events.py` (run it), tried by `tests/test_openai_events.py`: each\n"
        "row is two tests or more.\n"
    ]
    for dialect in DIALECTS:
        name = {"beta": "beta", "ga": "GA"}[dialect]
        wanted, sent = client_table(dialect), server_table(dialect)
        parts.append(f"\n## Client events, {name}: {len(wanted)} of {len(event_types(dialect, 'client'))}\n\n")
        parts.append("| event | where | is answered with | refused | with |\n|---|---|---|---|---|\n")
        for event in event_types(dialect, "client"):
            entry = wanted[event]
            answers = ", ".join(f"`{answer}`" for answer in entry.answers) or "nothing"
            wrong = json.dumps(entry.wrong, ensure_ascii=False)
            error = f"`{entry.code}`" + (f" on `{entry.param}`" if entry.param else "")
            parts.append(f"| `{event}` | {_about(entry.story)} | {answers} | `{wrong}` | {error} |\n")
        parts.append(f"\n## Server events, {name}: {len(sent)} of {len(event_types(dialect, 'server'))}\n\n")
        parts.append("| event | is sent | is not sent |\n|---|---|---|\n")
        for event in event_types(dialect, "server"):
            yes, no = sent[event]
            parts.append(f"| `{event}` | {_about(yes)} | {_about(no)} |\n")
    return "".join(parts)


def _about(story: str) -> str:
    return (STORIES[story].__doc__ or "").strip().rstrip(".")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
