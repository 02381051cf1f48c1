"""The phone bot on pipecat 0.0.108, the last one before 1.0: `PipelineTask`, `LLMContext`, the GA dialect."""

# The packages that this needs are in an environment of its own: see profile.toml.
# mypy: ignore-errors

import os
from urllib.parse import urlencode

from before_1_0 import TOOLS, run_call
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.services.azure.realtime.llm import AzureRealtimeLLMService
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
    context = LLMContext([{"role": "user", "content": "Greet the caller and ask how you can help."}], TOOLS)
    # Turns are OpenAI's business. By default a transcript that comes after the answer has begun would interrupt it.
    user_aggregator, assistant_aggregator = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
    )
    await run_call(transport, user_aggregator, llm, assistant_aggregator)


if __name__ == "__main__":
    serve(run_bot)
