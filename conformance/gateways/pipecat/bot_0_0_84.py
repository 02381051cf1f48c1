"""The phone bot on pipecat 0.0.84, the last one that speaks the beta dialect only."""

# The packages that this needs are in an environment of its own: see profile.toml.
# mypy: ignore-errors

import os
from urllib.parse import urlencode

from before_1_0 import TOOLS, run_call
from pipecat.processors.aggregators.openai_llm_context import OpenAILLMContext
from pipecat.services.openai_realtime_beta import (
    AzureRealtimeBetaLLMService,
    InputAudioTranscription,
    OpenAIRealtimeBetaLLMService,
    SessionProperties,
    TurnDetection,
)
from telephone import INSTRUCTIONS, serve

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
    context = OpenAILLMContext([{"role": "user", "content": "Greet the caller and ask how you can help."}], TOOLS)
    context_aggregator = llm.create_context_aggregator(context)
    await run_call(transport, context_aggregator.user(), llm, context_aggregator.assistant())


if __name__ == "__main__":
    serve(run_bot)
