"""What an operator and the Control UI do with OpenClaw: remote calls over the gateway's WebSocket.

The relay of Talk is made of such calls and events. Its page half is part of OpenClaw as well, and runs in a browser;
what that page does of its own accord (it interrupts when the microphone hears speech) is done here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from array import array
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.driver import Answer, GatewayHandle, OperationRefused

ANSWER_SECONDS = 20.0
PAGE_SECONDS = 20.0
PAGE_CONNECTED = (
    '[role="status"]:text-is("Connected")',
    '[data-chat-model-catalog-state="ready"]',
    'button[aria-label="Start voice input"][aria-disabled="false"]',
)
CALM_POLL_MS = 50
PAGE_CALM = """() => {
    const now = performance.now(), late = now - (window.callproofTick ?? -1e9) > 100;
    window.callproofTick = now;
    window.callproofCalm = late ? 0 : (window.callproofCalm ?? 0) + 1;
    return window.callproofCalm >= 20;
}"""
"""Asked every `CALM_POLL_MS`: whether a second has gone by without a pause."""
STATUSES = {"INVALID_REQUEST": 400, "NOT_PAIRED": 401, "UNAVAILABLE": 503}
"""The codes with which the gateway refuses a call, as statuses of HTTP."""
OPERATOR = ["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"]
MESSAGE = "Hello! This is a call from OpenClaw."

PHONES = ("2026.4.15", "2026.4.29")
"""Releases in which the telephone has the first port, and the gateway the second."""
PAIRED_ONLY = ("2026.4.15",)
"""Releases that give rights to paired devices only; one on the same machine is paired when it first comes."""
ONE_TALK_CALL = ("2026.4.29", "2026.5.7")
"""Releases that have one call for a session of any transport."""

FORGETFUL = ("2026.5.18",)
"""Releases whose page forgets with each piece of the answer that it has heard speech, so that nobody interrupts a model
that is still sending. Later ones forget only when another answer begins."""

SPEECH_SAMPLES = 4096
SPEECH_RMS = 0.02
SPEECH_PEAK = 0.08
SPEECH_FRAMES = 2
"""When the Control UI takes the microphone for a person who interrupts: that loud, in so many pieces in a row, while
something is played."""


class Refused(Exception):
    """The gateway answered a call with an error."""

    def __init__(self, error: Any) -> None:
        self.error: dict[str, Any] = error if isinstance(error, dict) else {"message": str(error)}
        super().__init__(str(self.error.get("message") or self.error.get("error") or json.dumps(self.error)))

    def answer(self) -> Answer:
        """The refusal as if it were one of HTTP."""
        status = STATUSES.get(str(self.error.get("code")), 500)
        return Answer(401 if "unauthorized" in str(self).lower() else status, {"error": self.error})


class Rpc:
    """One connection to the gateway's WebSocket. An asynchronous context manager; raises `Refused`."""

    def __init__(self, gateway: GatewayHandle) -> None:
        port = "listen.second_port" if gateway.version in PHONES else "listen.port"
        self._url = f"ws://127.0.0.1:{gateway.values[port]}"
        self._token = gateway.values.get("talk.token", "")
        self._key: Ed25519PrivateKey | None = None
        if gateway.version in PAIRED_ONLY:
            self._key = gateway.state.setdefault("device", Ed25519PrivateKey.generate())
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._calls = 0

    async def __aenter__(self) -> Rpc:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect, as a program on the same machine that has the token."""
        self._session = aiohttp.ClientSession(trust_env=False)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._socket = await self._session.ws_connect(self._url, max_msg_size=0)
                challenge = json.loads(await self._socket.receive_str())
                await self.call("connect", self._introduction(challenge["payload"]["nonce"]))
        except BaseException:
            await self.close()
            raise

    def _introduction(self, nonce: str) -> dict[str, Any]:
        """Who calls, and with what rights."""
        client = {"id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend"}
        params = {"minProtocol": 3, "maxProtocol": 4, "client": client, "role": "operator", "scopes": OPERATOR}
        if self._token:
            params["auth"] = {"token": self._token}
        if self._key is not None:
            public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            device, now = hashlib.sha256(public).hexdigest(), str(round(time.time() * 1000))
            said = ["v2", device, client["id"], client["mode"], "operator", ",".join(OPERATOR), now, self._token, nonce]
            signature = self._key.sign("|".join(said).encode())
            proof = {"id": device, "publicKey": _base64url(public), "signature": _base64url(signature)}
            params["device"] = {**proof, "signedAt": int(now), "nonce": nonce}
        return params

    async def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            await self._socket.close()
        if self._session is not None:
            await self._session.close()

    @property
    def close_code(self) -> int | None:
        """The code with which the connection was closed."""
        return None if self._socket is None else self._socket.close_code

    async def ask(self, method: str, params: Mapping[str, Any]) -> str:
        """Send a call; returns its id."""
        assert self._socket is not None
        self._calls += 1
        number = str(self._calls)
        await self._socket.send_str(json.dumps({"type": "req", "id": number, "method": method, "params": params}))
        return number

    async def send(self, frame: str | bytes) -> None:
        """Send a frame as it is."""
        assert self._socket is not None
        await (self._socket.send_str(frame) if isinstance(frame, str) else self._socket.send_bytes(frame))

    async def frames(self) -> AsyncIterator[str]:
        """Everything that comes, until the connection is closed."""
        assert self._socket is not None
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                yield message.data

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """Make a call and wait for its answer; what else comes meanwhile is dropped. Raises `Refused`."""
        number = await self.ask(method, params)
        async with asyncio.timeout(ANSWER_SECONDS):
            async for text in self.frames():
                frame = json.loads(text)
                if frame.get("type") == "res" and frame.get("id") == number:
                    if not frame.get("ok"):
                        # A plugin's refusal is in its payload: it has no code.
                        raise Refused(frame.get("error") or frame.get("payload"))
                    return frame.get("payload")
        raise Refused({"message": f"the gateway closed the connection with {self.close_code} during {method}"})


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


# ------------------------------------------------------------------ the telephone


async def call(gateway: GatewayHandle, *, to: str) -> Answer:
    """Have the gateway place a call."""
    try:
        async with Rpc(gateway) as rpc:
            order = {"to": to, "message": MESSAGE, "mode": "conversation"}
            return Answer(200, await rpc.call("voicecall.initiate", order))
    except Refused as refused:
        return refused.answer()


async def hangup(gateway: GatewayHandle, *, call_sid: str) -> Answer:
    """Have the gateway end a call; it knows calls by ids of its own."""
    try:
        async with Rpc(gateway) as rpc:
            status = await rpc.call("voicecall.status", {"sid": call_sid})
            if not status.get("found"):
                return Answer(404, status)
            return Answer(200, await rpc.call("voicecall.end", {"callId": status["call"]["callId"]}))
    except Refused as refused:
        return refused.answer()


# ------------------------------------------------------------------ Talk


async def mint(gateway: GatewayHandle) -> Answer:
    """Ask for a session in which the browser talks to OpenAI itself."""
    method, params = "talk.client.create", {"sessionKey": "main", "transport": "webrtc"}
    if gateway.version in ONE_TALK_CALL:
        method, params = "talk.realtime.session", {"sessionKey": "main"}
    try:
        async with Rpc(gateway) as rpc:
            return Answer(200, await rpc.call(method, params))
    except Refused as refused:
        return refused.answer()


async def relay(gateway: GatewayHandle) -> Relay:
    """Open a session over the gateway. Raises `OperationRefused`."""
    rpc = Rpc(gateway)
    try:
        await rpc.open()
        params = {"sessionKey": "main", "mode": "realtime", "transport": "gateway-relay", "brain": "agent-consult"}
        session = await rpc.call("talk.session.create", params)
    except Refused as refused:
        await rpc.close()
        raise OperationRefused(refused.answer()) from None
    except BaseException:
        await rpc.close()
        raise
    return Relay(rpc, session, forgetful=gateway.version in FORGETFUL)


async def connected(gateway: GatewayHandle, *, page: Any) -> None:
    """Wait until the Control UI has its WebSocket and has shown what comes over it.

    Before that, its button for Talk is there and does nothing; while the page is busy, a press is taken for a long
    one, which is dictation.
    """
    from playwright.async_api import TimeoutError as PageTimeout

    limit = PAGE_SECONDS * 1000
    try:
        for selector in PAGE_CONNECTED:
            await page.locator(selector).first.wait_for(state="attached", timeout=limit)
        await page.wait_for_function(PAGE_CALM, polling=CALM_POLL_MS, timeout=limit)
    except PageTimeout:
        raise TimeoutError(f"the Control UI was not connected and at rest within {PAGE_SECONDS:g} s") from None


class Relay:
    """One session of Talk over the gateway: what is sent and what comes are the frames of the gateway's WebSocket.

    A frame to send is `{"method": ..., "params": ...}`; the session's id is filled in.
    """

    def __init__(self, rpc: Rpc, session: Mapping[str, Any], *, forgetful: bool) -> None:
        self._rpc = rpc
        self._session = session["relaySessionId"]
        self._rate = session["audio"]["inputSampleRateHz"]
        self._ear = Ear(self._rate, forgetful=forgetful)
        self._sent = 0
        self._over = False
        self.close_reason = ""

    @property
    def close_code(self) -> int | None:
        """The code with which the gateway closed the connection; 1000 where it only ended the session."""
        return self._rpc.close_code or (1000 if self._over else None)

    async def send(self, frame: str | bytes) -> None:
        """Send what the page sends. ConnectionError when the session is over."""
        if self._over:
            raise ConnectionResetError("the session is over")
        told = _call_in(frame)
        if told is None:
            await self._rpc.send(frame)
            return
        params = {"sessionId": self._session, **told.get("params", {})}
        if told["method"] == "talk.session.appendAudio":
            pcm = b64decode(params["audioBase64"])
            pcm = pcm[: len(pcm) // 2 * 2]
            if self._ear.interrupts(pcm, asyncio.get_running_loop().time()):
                cancel = {"sessionId": self._session, "reason": "barge-in"}
                if self._ear.answer and not self._ear.forgetful:
                    cancel["turnId"] = self._ear.answer
                await self._rpc.ask("talk.session.cancelOutput", cancel)
            params["timestamp"] = round(self._sent / self._rate * 1000)
            self._sent += len(pcm) // 2
        await self._rpc.ask(told["method"], params)

    async def __aiter__(self) -> AsyncIterator[str]:
        async for text in self._rpc.frames():
            frame = json.loads(text)
            payload = frame.get("payload") or {}
            if frame.get("type") == "res" and not frame.get("ok"):
                yield text
            if frame.get("event") != "talk.event" or payload.get("relaySessionId") != self._session:
                continue
            now = asyncio.get_running_loop().time()
            if payload.get("type") == "audio":
                answer = str((payload.get("talkEvent") or {}).get("turnId") or "")
                self._ear.plays(len(payload.get("audioBase64", "")) * 3 // 4 // 2, now, answer)
            elif payload.get("type") == "clear":
                self._ear.silent()
            yield text
            if payload.get("type") == "close":
                self._over = True
                self.close_reason = str(payload.get("reason") or "")
                return

    async def close(self) -> None:
        """Leave, as a page does that is closed."""
        self._over = True
        await self._rpc.close()


def _call_in(frame: str | bytes) -> dict[str, Any] | None:
    """The call that a frame asks for; None for what no page would send."""
    try:
        told = json.loads(frame)
    except ValueError:
        return None
    return told if isinstance(told, dict) and "method" in told else None


class Ear:
    """How the Control UI finds that the person interrupts: the microphone is loud while something is played."""

    def __init__(self, rate: int, *, forgetful: bool) -> None:
        self.forgetful = forgetful
        self.answer = ""
        """The turn that is played."""
        self._rate = rate
        self._plays_until = 0.0
        self._heard: array[int] = array("h")
        self._loud = 0
        self._cancelled = False

    def plays(self, samples: int, now: float, answer: str) -> None:
        """More is to be played, of this turn."""
        if self.forgetful or answer != self.answer or now >= self._plays_until:
            self._loud = 0
        self._plays_until = max(self._plays_until, now) + samples / self._rate
        self._cancelled, self.answer = False, answer

    def silent(self) -> None:
        """Nothing is to be played any more."""
        self._plays_until, self._loud = 0.0, 0

    def interrupts(self, pcm: bytes, now: float) -> bool:
        """Whether the output is to be cancelled now that this was heard."""
        self._heard.frombytes(pcm)
        if len(self._heard) < SPEECH_SAMPLES:
            return False
        samples, self._heard = self._heard, array("h")
        if now >= self._plays_until or self._cancelled:
            self._loud = 0
            return False
        peak = max(abs(sample) for sample in samples) / 32768
        rms = math.sqrt(sum(sample * sample for sample in samples) / len(samples)) / 32768
        self._loud = self._loud + 1 if rms >= SPEECH_RMS and peak >= SPEECH_PEAK else 0
        if self._loud < SPEECH_FRAMES:
            return False
        self._cancelled = True
        self.silent()
        return True
