"""A phone assistant as teams write their first one: FastAPI, uvicorn, websockets, and OpenAI's address in the code."""

import asyncio
import json
import logging
import os

import websockets
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from twilio.twiml.voice_response import Connect, VoiceResponse

OPENAI_API_KEY = os.environ["OPENAI_API_KEY"]
MODEL = os.getenv("OPENAI_MODEL", "gpt-realtime-2")
SYSTEM_MESSAGE = "You are a friendly assistant on the telephone. Keep your answers short."

log = logging.getLogger("uvicorn.error")
app = FastAPI()
open_calls: set[WebSocket] = set()


@app.get("/")
def index() -> dict[str, str]:
    """Say that it runs. (No coroutine: FastAPI runs it in a thread.)"""
    return {"message": "the assistant is up"}


@app.api_route("/incoming-call", methods=["GET", "POST"])
async def incoming_call(request: Request) -> HTMLResponse:
    """Answer a call: connect it to the media stream below."""
    response = VoiceResponse()
    connect = Connect()
    connect.stream(url=f"wss://{request.url.hostname}/media-stream")
    response.append(connect)
    return HTMLResponse(str(response), media_type="application/xml")


@app.websocket("/media-stream")
async def media_stream(phone: WebSocket) -> None:
    """Carry one call."""
    await phone.accept()
    open_calls.add(phone)
    headers = {"Authorization": f"Bearer {OPENAI_API_KEY}"}
    if os.getenv("BETA_HEADER"):
        headers["OpenAI-Beta"] = "realtime=v1"
    try:
        async with websockets.connect(
            f"wss://api.openai.com/v1/realtime?model={MODEL}", additional_headers=headers
        ) as model:
            await Call(phone, model).run()
    finally:
        open_calls.discard(phone)


class Call:
    """The state of a call, and who reads what."""

    def __init__(self, phone: WebSocket, model: websockets.ClientConnection) -> None:
        self.phone = phone
        self.model = model
        self.stream_sid = ""
        self.now_ms = 0  # where the stream is, by the timestamps of the caller's audio
        self.item: str | None = None  # that the caller hears, or heard last
        self.item_began_ms = 0
        self.item_sent_ms = 0
        self.marks: list[str] = []  # sent and not come back: something is being played
        self.cut: set[str] = set()

    async def run(self) -> None:
        """Carry audio both ways until one side is gone, then close the other."""
        await self.start_session()
        await asyncio.gather(self.from_phone(), self.from_model())

    async def start_session(self) -> None:
        """Configure the session, and let the model speak first."""
        session = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": SYSTEM_MESSAGE,
            "audio": {
                "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}},
                "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
            },
        }
        await self.tell_model("session.update", session=session)
        await self.tell_model("response.create")

    async def tell_model(self, kind: str, **fields: object) -> None:
        """Send an event to OpenAI."""
        await self.model.send(json.dumps({"type": kind, **fields}))

    async def from_phone(self) -> None:
        """Read the media stream."""
        try:
            while True:
                message = json.loads(await self.phone.receive_text())
                if message["event"] == "start":
                    self.stream_sid = message["start"]["streamSid"]
                elif message["event"] == "media":
                    self.now_ms = int(message["media"]["timestamp"])
                    await self.tell_model("input_audio_buffer.append", audio=message["media"]["payload"])
                elif message["event"] == "mark" and message["mark"]["name"] in self.marks:
                    self.marks.remove(message["mark"]["name"])
                elif message["event"] == "stop":
                    break
        except (WebSocketDisconnect, websockets.ConnectionClosed):
            pass
        await self.model.close()

    async def from_model(self) -> None:
        """Read the session."""
        try:
            async for text in self.model:
                event = json.loads(text)
                if event["type"] == "response.output_audio.delta" and event["item_id"] not in self.cut:
                    await self.play(event["item_id"], event["delta"])
                elif event["type"] == "input_audio_buffer.speech_started":
                    await self.interrupt()
                elif event["type"] == "error":
                    log.warning("OpenAI says: %s", event["error"].get("message"))
            await self.phone.close()
        except (WebSocketDisconnect, RuntimeError):
            return  # the phone hung up while something was said

    async def play(self, item: str, audio: str) -> None:
        """Let the caller hear a piece of an item."""
        if item != self.item:
            self.item, self.item_began_ms, self.item_sent_ms = item, self.now_ms, 0
        self.item_sent_ms += len(audio) * 3 // 4 // 8
        await self.phone.send_json({"event": "media", "streamSid": self.stream_sid, "media": {"payload": audio}})
        self.marks.append(f"{item}/{self.item_sent_ms}")
        await self.phone.send_json({"event": "mark", "streamSid": self.stream_sid, "mark": {"name": self.marks[-1]}})

    async def interrupt(self) -> None:
        """The caller speaks: forget what they did not hear, here and there."""
        if not self.marks or self.item is None:
            return
        heard = min(max(self.now_ms - self.item_began_ms, 0), self.item_sent_ms)
        await self.tell_model("conversation.item.truncate", item_id=self.item, content_index=0, audio_end_ms=heard)
        await self.phone.send_json({"event": "clear", "streamSid": self.stream_sid})
        self.cut.add(self.item)
        self.marks.clear()
