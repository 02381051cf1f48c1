"""A phone and browser assistant on Starlette: calls and client secrets by httpx, sessions by the OpenAI SDK."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from settings import settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

openai = AsyncOpenAI()  # reads OPENAI_API_KEY
PCMU = {"format": {"type": "audio/pcmu"}}


async def voice(request: Request) -> Response:
    """Answer a call, in either direction."""
    host = request.headers["host"]
    twiml = f'<Response><Connect><Stream url="wss://{host}/stream" /></Connect></Response>'
    return Response(twiml, media_type="text/xml")


async def call(request: Request) -> JSONResponse:
    """Call somebody."""
    form = {"To": (await request.json())["to"], "From": settings.number, "Url": f"{settings.public_url}/voice"}
    url = f"https://api.twilio.com/2010-04-01/Accounts/{settings.account_sid}/Calls.json"
    answer = await request.state.http.post(url, data=form, auth=(settings.account_sid, settings.auth_token))
    return JSONResponse(answer.json(), answer.status_code if answer.is_success else 502)


async def secret(request: Request) -> JSONResponse:
    """Give a browser a client secret, with which it talks to OpenAI itself."""
    answer = await request.state.http.post(
        "https://api.openai.com/v1/realtime/client_secrets",
        json={"session": {"type": "realtime", "model": settings.model}},
        headers={"Authorization": f"Bearer {settings.api_key}"},
    )
    if not answer.is_success:
        return JSONResponse({"error": "no session can be had now"}, 502)
    return JSONResponse({"secret": answer.json()["value"], "url": "https://api.openai.com/v1/realtime/calls"})


async def stream(phone: WebSocket) -> None:
    """Carry one call."""
    await phone.accept()
    headers = {"OpenAI-Beta": "realtime=v1"} if settings.beta_header else {}
    async with openai.realtime.connect(model=settings.model, extra_headers=headers) as model:
        await model.session.update(
            session={"type": "realtime", "audio": {"input": PCMU, "output": PCMU}, "instructions": "Be brief."}
        )
        await model.response.create()
        speaking = asyncio.create_task(speak(phone, model))
        with contextlib.suppress(WebSocketDisconnect):
            async for message in phone.iter_json():
                if message["event"] == "media":
                    await model.input_audio_buffer.append(audio=message["media"]["payload"])
                elif message["event"] == "start":
                    phone.state.sid = message["streamSid"]
                elif message["event"] == "stop":
                    break
        speaking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await speaking


async def speak(phone: WebSocket, model: AsyncRealtimeConnection) -> None:
    """Let the caller hear what the model says; an interruption is left to the model."""
    async for event in model:
        if event.type == "response.output_audio.delta":
            sid = phone.state.sid
            await phone.send_json({"event": "media", "streamSid": sid, "media": {"payload": event.delta}})
        elif event.type == "input_audio_buffer.speech_started":
            await phone.send_json({"event": "clear", "streamSid": phone.state.sid})
    await phone.close()


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Have one HTTP client for all requests."""
    async with httpx.AsyncClient(timeout=15) as http:
        yield {"http": http}
    await openai.close()


def create_app() -> Starlette:
    """Make the application."""
    routes = [
        Route("/voice", voice, methods=["POST"]),
        Route("/calls", call, methods=["POST"]),
        Route("/secret", secret, methods=["POST"]),
        WebSocketRoute("/stream", stream),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
