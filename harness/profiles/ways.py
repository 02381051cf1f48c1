"""The ways of asking a gateway for something: an HTTP request, a command, a WebSocket, or a driver in Python.

`[operations.NAME]`, `[talk.webrtc]`, `[talk.relay]`, `[talk.tool]` and `[talk.explain]` take exactly one of them::

    request = "POST /calls"                                     # at the gateway; or "POST http://127.0.0.1:18789/calls"
    command = ["{cache}/bin/thing", "call", "{to}"]             # exit status 0: accepted; what it prints is the answer
    socket = { url = "ws://127.0.0.1:{listen.port}/rpc", send = [{ id = 1, method = "call" }], answer = { id = 1 } }
    driver = "driver.py:call"                                   # an async function in the profile's folder
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

KINDS = ("request", "command", "socket", "driver")
REQUEST = r"(GET|POST|PUT|PATCH|DELETE) (/|https?://[^/\s])\S*"
DRIVER = r"[^:]+\.py:[A-Za-z_]\w*"


class SocketTable(msgspec.Struct, forbid_unknown_fields=True):
    """A WebSocket RPC: open, send, and take the first message that is the answer.

    Messages are sent in order. One with an `id` is answered, by a message with the same `id`, before the next is sent.
    """

    url: Annotated[str, Meta(description="Where to connect to: ws://, wss://, or a path of the gateway.")]
    send: Annotated[list[dict[str, Any]], Meta(description="The messages, as templates of JSON objects.")]
    answer: Annotated[
        dict[str, Any],
        Meta(description="Paths (keys with dots between them) and the values that the answer has there."),
    ]
    refused: Annotated[
        dict[str, Any] | None,
        Meta(description="The same for an answer that says no; by default one with an `error`, or with `ok` false."),
    ] = None
    headers: Annotated[dict[str, str], Meta(description="Headers of the handshake.")] = {}


class Way(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How a gateway is asked: exactly one of request, command, socket and driver. `{to}` and settings are filled in."""

    request: Annotated[
        str | None, Meta(description='Method and path, such as "POST /calls", or an absolute URL for another port.')
    ] = None
    headers: Annotated[dict[str, str], Meta(description="Headers of the request.")] = {}
    json: Annotated[dict[str, Any] | None, Meta(description="The request's body, as a template of JSON.")] = None
    form: Annotated[dict[str, str] | None, Meta(description="The request's body, as a form.")] = None
    command: Annotated[
        list[str] | None,
        Meta(description="A command (live stage). Exit status 0 means accepted; what it prints is the answer."),
    ] = None
    socket: Annotated[SocketTable | None, Meta(description="A request over a WebSocket.")] = None
    driver: Annotated[
        str | None, Meta(description='An async function of a Python file in this folder, such as "driver.py:call".')
    ] = None
    timeout: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Seconds that it may take; by default 30, for a request what aiohttp says."),
    ] = None

    @property
    def kind(self) -> str | None:
        """Which of the ways it is, None for none."""
        return next((kind for kind in KINDS if getattr(self, kind) is not None), None)


class Operation(Way, forbid_unknown_fields=True, kw_only=True):
    """`[operations.NAME]`: what an operator asks of a gateway, in exactly one way."""
