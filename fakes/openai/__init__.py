"""OpenAI Realtime over WebSocket, WebRTC and SIP, in its beta and its GA dialect, as it was on a given day.

`OpenAIService` is the vendor, sans I/O; `OpenAIServer` gives it sockets. The session core (`session`, `responses`,
`vad`, `items`) knows neither URLs nor keys: those are in `handshake` and `service`.
"""

from fakes.openai.brain import Brain, Call, McpCall, PhraseBookBrain, Prompt, Say, ToolResult
from fakes.openai.handshake import KeyInfo
from fakes.openai.mcp import McpServer, McpTool
from fakes.openai.server import OpenAIServer
from fakes.openai.service import KNOBS, HandshakePlan, OpenAIService
from fakes.openai.session import RealtimeSession
from fakes.openai.sip import SipLeg
from fakes.openai.webhooks import WebhookEndpoint

__all__ = [
    "KNOBS",
    "Brain",
    "Call",
    "HandshakePlan",
    "KeyInfo",
    "McpCall",
    "McpServer",
    "McpTool",
    "OpenAIServer",
    "OpenAIService",
    "PhraseBookBrain",
    "Prompt",
    "RealtimeSession",
    "Say",
    "SipLeg",
    "ToolResult",
    "WebhookEndpoint",
]
