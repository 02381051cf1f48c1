"""A phone assistant on aiohttp, both ways, that also places calls, with the Twilio SDK."""

import asyncio
import json
import os
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

OPENAI_API_KEY = os.environ["OPENAI_API_KEY"]
TWILIO_NUMBER = os.environ["TWILIO_NUMBER"]
DOMAIN = os.environ["DOMAIN"]
REALTIME_URL = "wss://api.openai.com/v1/realtime?model=" + os.getenv("OPENAI_MODEL", "gpt-realtime-2")
TWIML = f'<Response><Connect><Stream url="wss://{DOMAIN}/stream"/></Connect></Response>'

routes = web.RouteTableDef()
HTTP = web.AppKey("http", aiohttp.ClientSession)
TWILIO = web.AppKey("twilio", Client)


@routes.post("/voice")
async def voice(request: web.Request) -> web.Response:
    """Answer a call."""
    return web.Response(text=TWIML, content_type="text/xml")


@routes.post("/calls")
async def call(request: web.Request) -> web.Response:
    """Call somebody."""
    to = (await request.json())["to"]
    try:
        placed = await request.app[TWILIO].calls.create_async(to=to, from_=TWILIO_NUMBER, twiml=TWIML)
    except TwilioRestException as error:
        return web.json_response({"error": error.msg}, status=502)
    return web.json_response({"sid": placed.sid}, status=201)


@routes.get("/stream")
async def stream(request: web.Request) -> web.WebSocketResponse:
    """Carry one call."""
    phone = web.WebSocketResponse()
    await phone.prepare(request)
    headers = {"Authorization": f"Bearer {OPENAI_API_KEY}"}
    if os.getenv("BETA_HEADER"):
        headers["OpenAI-Beta"] = "realtime=v1"
    async with request.app[HTTP].ws_connect(REALTIME_URL, headers=headers) as model:
        await Call(phone, model).run()
    await phone.close()
    return phone


class Call:
    """The state of a call. Its two readers are tasks; the first that ends ends the call."""

    def __init__(self, phone: web.WebSocketResponse, model: aiohttp.ClientWebSocketResponse) -> None:
        self.phone = phone
        self.model = model
        self.stream_sid = ""
        self.item = ""
        self.began = 0.0
        self.sent_ms = 0
        self.playing = 0  # marks that are on their way
        self.cut = ""

    async def run(self) -> None:
        """Carry audio both ways until one side is gone."""
        audio = {"format": {"type": "audio/pcmu"}}
        session = {"type": "realtime", "audio": {"input": audio, "output": audio}, "instructions": "Be brief."}
        await self.model.send_json({"type": "session.update", "session": session})
        await self.model.send_json({"type": "response.create"})
        readers = [asyncio.create_task(self.from_phone()), asyncio.create_task(self.from_model())]
        _, left = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
        for reader in left:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    async def from_phone(self) -> None:
        """Read the media stream."""
        async for message in self.phone:
            event = json.loads(message.data)
            if event["event"] == "start":
                self.stream_sid = event["streamSid"]
            elif event["event"] == "media":
                await self.model.send_json({"type": "input_audio_buffer.append", "audio": event["media"]["payload"]})
            elif event["event"] == "mark":
                self.playing = max(0, self.playing - 1)
            elif event["event"] == "stop":
                return

    async def from_model(self) -> None:
        """Read the session."""
        async for message in self.model:
            if message.type is not WSMsgType.TEXT:
                continue
            event = json.loads(message.data)
            if event["type"] == "response.output_audio.delta" and event["item_id"] != self.cut:
                await self.play(event)
            elif event["type"] == "input_audio_buffer.speech_started" and self.playing:
                await self.interrupt()

    async def play(self, event: dict[str, Any]) -> None:
        """Let the caller hear a piece of an item, and be told when they have."""
        if event["item_id"] != self.item:
            self.item, self.began, self.sent_ms = event["item_id"], asyncio.get_running_loop().time(), 0
        self.sent_ms += len(event["delta"]) * 3 // 4 // 8
        self.playing += 1
        await self.tell_phone("media", media={"payload": event["delta"]})
        await self.tell_phone("mark", mark={"name": f"{self.item}-{self.sent_ms}"})

    async def interrupt(self) -> None:
        """The caller speaks over the model."""
        self.cut = self.item
        heard = min(int((asyncio.get_running_loop().time() - self.began) * 1000), self.sent_ms)
        await self.tell_phone("clear")
        await self.model.send_json(
            {"type": "conversation.item.truncate", "item_id": self.item, "content_index": 0, "audio_end_ms": heard}
        )

    async def tell_phone(self, event: str, **fields: object) -> None:
        """Send a message to Twilio."""
        await self.phone.send_json({"event": event, "streamSid": self.stream_sid, **fields})


async def main() -> None:
    """Serve until somebody stops it."""
    app = web.Application()
    app.add_routes(routes)
    twilio_http = AsyncTwilioHttpClient()
    app[TWILIO] = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"], http_client=twilio_http)
    async with aiohttp.ClientSession() as app[HTTP]:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", int(os.getenv("PORT", "8080"))).start()
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            await twilio_http.close()


if __name__ == "__main__":
    asyncio.run(main())
