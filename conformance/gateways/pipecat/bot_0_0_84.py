"""The phone bot on pipecat 0.0.84, the last one that speaks the beta dialect only.

This version's services do not resample what the caller says, so that the pipeline has to run at OpenAI's 24 kHz.
"""

# The packages that this needs are in an environment of its own: see profile.toml.
# mypy: ignore-errors

import os
from urllib.parse import urlencode

from loguru import logger
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import EndTaskFrame, LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.aggregators.openai_llm_context import OpenAILLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai_realtime_beta import (
    AzureRealtimeBetaLLMService,
    InputAudioTranscription,
    OpenAIRealtimeBetaLLMService,
    SessionProperties,
    TurnDetection,
)
from telephone import INSTRUCTIONS, serve


async def get_weather(params: FunctionCallParams) -> None:
    """It is always fine weather where this bot lives."""
    await params.result_callback({"city": params.arguments["city"], "conditions": "sunny", "celsius": 22})


async def end_call(params: FunctionCallParams) -> None:
    """End the pipeline; the serializer's automatic hang-up ends the call."""
    await params.result_callback({"success": True})
    await params.llm.push_frame(EndTaskFrame(), FrameDirection.UPSTREAM)


TOOLS = ToolsSchema(
    standard_tools=[
        FunctionSchema(
            name="get_weather",
            description="Get the weather of a city",
            properties={"city": {"type": "string", "description": "The name of the city"}},
            required=["city"],
        ),
        FunctionSchema(
            name="end_call",
            description="End the call when the caller has said goodbye",
            properties={},
            required=[],
        ),
    ]
)

if os.getenv("LLM_PROVIDER") == "azure-openai":
    SERVICE = AzureRealtimeBetaLLMService
    # The service takes the whole URL.
    query = {
        "api-version": os.environ["AZURE_OPENAI_API_VERSION"],
        "deployment": os.environ["AZURE_OPENAI_DEPLOYMENT"],
    }
    ENDPOINT = os.environ["AZURE_OPENAI_ENDPOINT"].rstrip("/").replace("http", "ws", 1)
    OPTIONS = {
        "api_key": os.environ["AZURE_OPENAI_API_KEY"],
        "base_url": f"{ENDPOINT}/openai/realtime?{urlencode(query)}",
    }
else:
    SERVICE = OpenAIRealtimeBetaLLMService
    OPTIONS = {
        "api_key": os.environ["OPENAI_API_KEY"],
        "base_url": os.getenv("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime"),
        "model": os.getenv("OPENAI_MODEL", "gpt-4o-realtime-preview"),
    }


async def run_bot(transport) -> None:
    """One call, from the first frame to the last."""
    llm = SERVICE(
        **OPTIONS,
        session_properties=SessionProperties(
            instructions=INSTRUCTIONS,
            input_audio_transcription=InputAudioTranscription(),
            turn_detection=TurnDetection(),
            voice="sage",
        ),
    )
    llm.register_function("get_weather", get_weather)
    llm.register_function("end_call", end_call)
    context = OpenAILLMContext([{"role": "user", "content": "Greet the caller and ask how you can help."}], TOOLS)
    context_aggregator = llm.create_context_aggregator(context)
    pipeline = Pipeline(
        [transport.input(), context_aggregator.user(), llm, transport.output(), context_aggregator.assistant()]
    )
    task = PipelineTask(
        pipeline,
        params=PipelineParams(
            audio_in_sample_rate=24000, audio_out_sample_rate=24000, enable_metrics=True, enable_usage_metrics=True
        ),
    )

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport, client) -> None:
        await task.queue_frames([LLMRunFrame()])

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport, client) -> None:
        logger.info("The caller is gone")
        await task.cancel()

    await PipelineRunner(handle_sigint=False).run(task)


if __name__ == "__main__":
    serve(run_bot)
