"""What the bots on pipecat before 1.0 have in common: their tools, and how a pipeline is run for one call.

These versions' services do not resample what the caller says, so that the pipeline has to run at OpenAI's 24 kHz.
"""

# The packages that this needs are in an environment of its own: see profile.toml.
# mypy: ignore-errors

from loguru import logger
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import EndTaskFrame, LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import FunctionCallParams


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


async def run_call(transport, user_aggregator, llm, assistant_aggregator) -> None:
    """One call, from the first frame to the last, with these between the line's two ends."""
    llm.register_function("get_weather", get_weather)
    llm.register_function("end_call", end_call)
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
