"""The telephone half of the bots: what Twilio asks for over HTTP, and the media stream of a call.

Twilio asks `POST /` (inbound) or `POST /twiml` (outbound) for TwiML and opens its stream at `/ws`;
`POST /dialout {"to_number": ...}` places a call. The same with every version of pipecat; what a call is made of is in
the `bot*.py` of the version.
"""

# The packages that this needs are in an environment of its own: see profile.toml.
# mypy: ignore-errors

import os
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import HTMLResponse
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

PUBLIC_URL = os.environ["PUBLIC_URL"]
TWILIO_BASE_URL = os.getenv("TWILIO_BASE_URL", "https://api.twilio.com")

INSTRUCTIONS = """You are a friendly assistant on the telephone. Keep your answers short: one or two sentences.
Use get_weather when you are asked about the weather. When the caller says goodbye, say goodbye and use end_call."""


def serve(run_bot, **serializer_options) -> None:
    """Serve until the process is told to stop; `run_bot(transport)` is one call, from the first frame to the last.

    `serializer_options`: what this version's `TwilioFrameSerializer` takes besides the ids and credentials.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        async with aiohttp.ClientSession() as session:
            app.state.session = session
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/")
    @app.post("/twiml")
    async def start_call() -> HTMLResponse:
        """Tell Twilio to stream the call to `/ws`."""
        url = PUBLIC_URL.replace("https://", "wss://") + "/ws"
        document = f"""<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Connect>
    <Stream url="{url}"></Stream>
  </Connect>
  <Pause length="20"/>
</Response>"""
        return HTMLResponse(content=document, media_type="application/xml")

    @app.post("/dialout")
    async def dialout(request: Request) -> dict[str, str]:
        """Place a call."""
        to_number = (await request.json())["to_number"]
        account_sid = os.environ["TWILIO_ACCOUNT_SID"]
        url = f"{TWILIO_BASE_URL}/2010-04-01/Accounts/{account_sid}/Calls.json"
        number = os.environ["TWILIO_PHONE_NUMBER"]
        form = {"To": to_number, "From": number, "Url": f"{PUBLIC_URL}/twiml", "Method": "POST"}
        auth = aiohttp.BasicAuth(account_sid, os.environ["TWILIO_AUTH_TOKEN"])
        async with request.app.state.session.post(url, data=form, auth=auth) as answer:
            if answer.status != 201:
                raise HTTPException(status_code=502, detail=f"Twilio: {answer.status} {await answer.text()}")
            return {"call_sid": (await answer.json())["sid"], "status": "call_initiated"}

    @app.websocket("/ws")
    async def media_stream(websocket: WebSocket) -> None:
        """Twilio's media stream of one call."""
        await websocket.accept()
        _, call_data = await parse_telephony_websocket(websocket)
        serializer = TwilioFrameSerializer(
            stream_sid=call_data["stream_id"],
            call_sid=call_data["call_id"],
            account_sid=os.environ["TWILIO_ACCOUNT_SID"],
            auth_token=os.environ["TWILIO_AUTH_TOKEN"],
            **serializer_options,
        )
        transport = FastAPIWebsocketTransport(
            websocket=websocket,
            params=FastAPIWebsocketParams(
                audio_in_enabled=True, audio_out_enabled=True, add_wav_header=False, serializer=serializer
            ),
        )
        await run_bot(transport)

    uvicorn.run(app, host=os.getenv("HOST", "127.0.0.1"), port=int(os.getenv("PORT", "7860")))
