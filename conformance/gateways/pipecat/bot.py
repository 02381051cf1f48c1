"""A phone bot on pipecat: Twilio Media Streams on one side, OpenAI Realtime on the other.

Twilio asks `POST /` (inbound) or `POST /twiml` (outbound) for TwiML and opens its stream at `/ws`;
`POST /dialout {"to_number": ...}` places a call. Written as pipecat's own examples are, with its defaults.
"""

# The packages that this needs are in an environment of its own: see profile.toml.
# mypy: ignore-errors

import os
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import HTMLResponse
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import EndWorkerFrame, LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    AudioOutput,
    InputAudioTranscription,
    SessionProperties,
    TurnDetection,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

PUBLIC_URL = os.environ["PUBLIC_URL"]
TWILIO_BASE_URL = os.getenv("TWILIO_BASE_URL", "https://api.twilio.com")

INSTRUCTIONS = """You are a friendly assistant on the telephone. Keep your answers short: one or two sentences.
Use get_weather when you are asked about the weather. When the caller says goodbye, say goodbye and use end_call."""


async def get_weather(params: FunctionCallParams) -> None:
    """It is always fine weather where this bot lives."""
    await params.result_callback({"city": params.arguments["city"], "conditions": "sunny", "celsius": 22})


async def end_call(params: FunctionCallParams) -> None:
    """End the pipeline; the serializer's automatic hang-up ends the call."""
    await params.result_callback({"success": True})
    await params.llm.push_frame(EndWorkerFrame())


TOOLS = ToolsSchema(
    standard_tools=[
        FunctionSchema(
            name="get_weather",
            description="Get the weather of a city",
            properties={"city": {"type": "string", "description": "The name of the city"}},
            required=["city"],
            handler=get_weather,
        ),
        FunctionSchema(
            name="end_call",
            description="End the call when the caller has said goodbye",
            properties={},
            required=[],
            handler=end_call,
        ),
    ]
)


async def run_bot(transport: FastAPIWebsocketTransport) -> None:
    """One call, from the first frame to the last."""
    llm = OpenAIRealtimeLLMService(
        api_key=os.environ["OPENAI_API_KEY"],
        base_url=os.getenv("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime"),
        settings=OpenAIRealtimeLLMService.Settings(
            model=os.getenv("OPENAI_MODEL", "gpt-realtime-2"),
            system_instruction=INSTRUCTIONS,
            session_properties=SessionProperties(
                audio=AudioConfiguration(
                    input=AudioInput(transcription=InputAudioTranscription(), turn_detection=TurnDetection()),
                    output=AudioOutput(voice="marin"),
                )
            ),
        ),
    )
    context = LLMContext([{"role": "developer", "content": "Greet the caller and ask how you can help."}], TOOLS)
    user_aggregator, assistant_aggregator = LLMContextAggregatorPair(context)
    pipeline = Pipeline([transport.input(), user_aggregator, llm, transport.output(), assistant_aggregator])
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(
            audio_in_sample_rate=8000, audio_out_sample_rate=8000, enable_metrics=True, enable_usage_metrics=True
        ),
        processor_unusable_policy=ProcessorUnusablePolicy.END,
    )

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport, client) -> None:
        await worker.queue_frames([LLMRunFrame()])

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport, client) -> None:
        logger.info("The caller is gone")
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Keep one HTTP session for Twilio's API."""
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
    form = {"To": to_number, "From": os.environ["TWILIO_PHONE_NUMBER"], "Url": f"{PUBLIC_URL}/twiml", "Method": "POST"}
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
        base_url=TWILIO_BASE_URL,
    )
    transport = FastAPIWebsocketTransport(
        websocket=websocket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True, audio_out_enabled=True, add_wav_header=False, serializer=serializer
        ),
    )
    await run_bot(transport)


if __name__ == "__main__":
    uvicorn.run(app, host=os.getenv("HOST", "127.0.0.1"), port=int(os.getenv("PORT", "7860")))
