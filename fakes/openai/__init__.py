"""OpenAI Realtime over WebSocket, in its beta and its GA dialect, as it was on a given day.

`OpenAIService` is the vendor, sans I/O; `OpenAIServer` gives it sockets. The session core (`session`, `responses`,
`vad`, `items`) knows neither URLs nor keys: those are in `handshake` and `service`.
"""

from fakes.openai.brain import Brain, Call, PhraseBookBrain, Prompt, Say, ToolResult
from fakes.openai.handshake import KeyInfo
from fakes.openai.server import OpenAIServer
from fakes.openai.service import KNOBS, HandshakePlan, OpenAIService
from fakes.openai.session import RealtimeSession

__all__ = [
    "KNOBS",
    "Brain",
    "Call",
    "HandshakePlan",
    "KeyInfo",
    "OpenAIServer",
    "OpenAIService",
    "PhraseBookBrain",
    "Prompt",
    "RealtimeSession",
    "Say",
    "ToolResult",
]
