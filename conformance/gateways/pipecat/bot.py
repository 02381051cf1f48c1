"""A phone bot on pipecat 1.x: Twilio Media Streams on one side, OpenAI's or Azure's Realtime API on the other.

Written as pipecat's own examples are, with its defaults.
"""

# The packages that this needs are in an environment of its own: see profile.toml.
# mypy: ignore-errors

import os

from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import EndWorkerFrame, LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
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
from pipecat.workers.runner import WorkerRunner
from telephone import INSTRUCTIONS, TWILIO_BASE_URL, serve

if os.getenv("LLM_PROVIDER") == "azure-openai":
    SERVICE = AzureRealtimeLLMService
    API_KEY = os.environ["AZURE_OPENAI_API_KEY"]
    ENDPOINT = os.environ["AZURE_OPENAI_ENDPOINT"]
    BASE_URL = f"{ENDPOINT.rstrip('/').replace('http', 'ws', 1)}/openai/v1/realtime"
    MODEL = os.environ["AZURE_OPENAI_DEPLOYMENT"]
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


if __name__ == "__main__":
    serve(run_bot, base_url=TWILIO_BASE_URL)
