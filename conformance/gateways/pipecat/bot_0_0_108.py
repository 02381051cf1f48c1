"""The phone bot on pipecat 0.0.108, the last one before 1.0: `PipelineTask`, `LLMContext`, the GA dialect.

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
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.azure.realtime.llm import AzureRealtimeLLMService
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
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from telephone import INSTRUCTIONS, serve

if os.getenv("LLM_PROVIDER") == "azure-openai":
    SERVICE = AzureRealtimeLLMService
    API_KEY = os.environ["AZURE_OPENAI_API_KEY"]
    ENDPOINT = os.environ["AZURE_OPENAI_ENDPOINT"].rstrip("/").replace("http", "ws", 1)
    MODEL = os.environ["AZURE_OPENAI_DEPLOYMENT"]
    # The service takes the whole URL. Its documentation has the one of the preview API.
    if api_version := os.getenv("AZURE_OPENAI_API_VERSION"):
        BASE_URL = f"{ENDPOINT}/openai/realtime?{urlencode({'api-version': api_version, 'deployment': MODEL})}"
    else:
        BASE_URL = f"{ENDPOINT}/openai/v1/realtime?{urlencode({'model': MODEL})}"
else:
    SERVICE = OpenAIRealtimeLLMService
    API_KEY = os.environ["OPENAI_API_KEY"]
    BASE_URL = os.getenv("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime")
    MODEL = os.getenv("OPENAI_MODEL", "gpt-realtime-2")


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


async def run_bot(transport) -> None:
    """One call, from the first frame to the last."""
    llm = SERVICE(
        api_key=API_KEY,
        base_url=BASE_URL,
        settings=SERVICE.Settings(
            model=MODEL,
            system_instruction=INSTRUCTIONS,
            session_properties=SessionProperties(
                audio=AudioConfiguration(
                    input=AudioInput(transcription=InputAudioTranscription(), turn_detection=TurnDetection()),
                    output=AudioOutput(voice="marin"),
                )
            ),
        ),
    )
    llm.register_function("get_weather", get_weather)
    llm.register_function("end_call", end_call)
    context = LLMContext([{"role": "user", "content": "Greet the caller and ask how you can help."}], TOOLS)
    # Turns are OpenAI's business. By default a transcript that comes after the answer has begun would interrupt it.
    user_aggregator, assistant_aggregator = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
    )
    pipeline = Pipeline([transport.input(), user_aggregator, llm, transport.output(), assistant_aggregator])
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
