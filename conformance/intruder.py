"""Somebody on the internet who knows the gateway's URLs: posts webhooks and opens streams that Twilio did not send."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import aiohttp

from fakes.audio import frames
from fakes.twilio.signature import signature as sign
from harness.stage import PUBLIC_HOST
from harness.wire import Message

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld

PARTY = "intruder"
SPEECH = "what_time"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway answered."""

    status: int
    text: str
    message: Message


class Intruder:
    """Requests from outside, by the way that requests from outside come: through the proxy at the public name."""

    def __init__(self, world: PhoneWorld) -> None:
        self._world = world
        self._session = aiohttp.ClientSession(trust_env=False)
        self._count = 0

    async def __aenter__(self) -> Intruder:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    def targets(self) -> list[tuple[str, str]]:
        """The gateway's webhook paths, and the CallStatus to send to each."""
        hooks = self._world.profile.webhooks
        return [(hooks.voice, "in-progress")] + ([(hooks.status, "completed")] if hooks.status else [])

    async def post(self, path: str, form: Mapping[str, str], signature: str | None, *, proxied: bool = False) -> Answer:
        """POST a form. `signature`: `right`, `wrong`, or None for no signature at all."""
        world = self._world
        params = {
            "AccountSid": world.twilio.account_sid,
            "From": "+14155550199",
            "To": world.number,
            "ApiVersion": "2010-04-01",
            "Direction": "inbound",
            **form,
        }
        headers = {"User-Agent": "TwilioProxy/1.1", "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        token = world.twilio.auth_token if signature == "right" else "not-the-auth-token"
        if signature is not None:
            url = f"https://{PUBLIC_HOST}{path}"
            headers["X-Twilio-Signature"] = sign(token, url, list(params.items()))
        if proxied:
            headers |= {"X-Forwarded-Proto": "https", "X-Forwarded-Host": PUBLIC_HOST, "X-Forwarded-For": "54.172.60.1"}
        return await self._send(path, urlencode(params), headers, forged=signature != "right")

    async def repeat(self, request: Message) -> Answer:
        """Send a request of Twilio's again, byte for byte."""
        path = urlsplit(request.meta["url"])._replace(scheme="", netloc="").geturl()
        return await self._send(path, request.text, dict(request.meta["headers"]), forged=True)

    async def _send(self, path: str, body: str, headers: Mapping[str, str], *, forged: bool) -> Answer:
        world, wire = self._world, self._world.wire
        self._count += 1
        connection = f"{PARTY}#{self._count}/fetch"
        url = f"https://{PUBLIC_HOST}{path}"
        meta = {"method": "POST", "url": url, "headers": [list(pair) for pair in headers.items()], "forged": forged}
        wire.record(PARTY, "gateway", "twilio.webhook", "request", body, connection=connection, meta=meta)
        async with self._session.post(
            world.gateway.url + path, data=body.encode(), headers={**headers, "Host": PUBLIC_HOST}
        ) as answer:
            text = await answer.text()
        seq = wire.record(
            "gateway",
            PARTY,
            "twilio.webhook",
            "response",
            text,
            connection=connection,
            meta={
                "status": answer.status,
                "headers": [list(pair) for pair in answer.headers.items()],
                "forged": forged,
            },
        )
        return Answer(answer.status, text, wire[seq])

    def streams_in(self, twiml: str) -> list[tuple[str, dict[str, str]]]:
        """URL and parameters of each stream in a document."""
        try:
            root = ElementTree.fromstring(twiml)
        except ElementTree.ParseError:
            return []
        return [
            (stream.get("url", ""), {p.get("name", ""): p.get("value", "") for p in stream.iter("Parameter")})
            for stream in root.iter("Stream")
        ]

    async def stream(self, url: str, *, call_sid: str, parameters: Mapping[str, str], seconds: float = 3.0) -> None:
        """Open a media stream without a signature, say `connected` and `start`, speak for a while, and leave."""
        world, wire = self._world, self._world.wire
        self._count += 1
        connection = f"{PARTY}#{self._count}/stream"
        sid = "MZ" + world.choices.token(f"intruder/{self._count}", 32)
        path = urlsplit(url)._replace(scheme="", netloc="").geturl()
        wire.record(PARTY, "gateway", "intrusion", "upgrade", connection=connection, meta={"url": url})
        try:
            ws = await self._session.ws_connect(world.gateway.url + path, headers={"Host": PUBLIC_HOST}, compress=0)
        except aiohttp.WSServerHandshakeError as error:
            meta = {"status": error.status}
            wire.record("gateway", PARTY, "intrusion", "upgrade.refused", connection=connection, meta=meta)
            return
        wire.record("gateway", PARTY, "intrusion", "upgrade.accepted", connection=connection, meta={"status": 101})
        start = {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": sid,
            "start": {
                "accountSid": world.twilio.account_sid,
                "streamSid": sid,
                "callSid": call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": dict(parameters),
            },
        }
        try:
            await ws.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
            wire.record(PARTY, "gateway", "intrusion", "start", json.dumps(start), connection=connection)
            await ws.send_json(start)
            await self._speak(ws, sid, seconds)
        except ConnectionError:
            return
        finally:
            await ws.close()

    async def _speak(self, ws: aiohttp.ClientWebSocketResponse, sid: str, seconds: float) -> None:
        stock = frames(SPEECH, "pcmu", 8000)
        for index in range(int(seconds / 0.02)):
            if ws.closed:
                return
            payload = b64encode(stock[index % len(stock)]).decode()
            media = {"track": "inbound", "chunk": str(index + 1), "timestamp": str(index * 20), "payload": payload}
            await ws.send_json({"event": "media", "sequenceNumber": str(index + 2), "media": media, "streamSid": sid})
            await self._world.passes(0.02)
