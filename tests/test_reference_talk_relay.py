"""The relay of the reference gateway's Talk over real sockets: its tickets, a conversation, refusals, the end."""

import asyncio
import base64
import json
from datetime import date
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from talk_world import BEARER, LEGACY, frames_until, odd_vendor, world

from fakes.audio import speak
from fakes.openai import KeyInfo
from reference_impl.gateway import Gateway
from reference_impl.problems import HINTS
from reference_impl.relay import Relay
from reference_impl.talk import Talk, Tickets


def test_a_ticket_is_good_once_and_for_a_short_time() -> None:
    now = 100.0
    tickets = Tickets(lambda: now, 30)
    first, second = tickets.issue(), tickets.issue()
    assert first != second
    assert tickets.redeem(first)
    assert not tickets.redeem(first)
    assert not tickets.redeem("")
    now += 30
    assert not tickets.redeem(second)
    tickets.issue()
    now += 31
    tickets.issue()
    assert len(tickets._expiries) == 1


async def test_the_relay_wants_a_ticket() -> None:
    async with world() as w:
        url = await w.relay_url()
        for other in (f"{w.url}/talk/relay", f"{w.url}/talk/relay?ticket=", f"{w.url}/talk/relay?ticket=x"):
            assert await w.refused(other) == 401
        assert await w.refused(f"{w.url}/talk/relay", **BEARER) == 401  # the token is not good for it
        async with w.http.get(url) as response:
            assert response.status == 426  # which does not spend the ticket
        async with w.http.ws_connect(url):
            assert await w.refused(url) == 401


async def test_a_conversation_over_the_relay() -> None:
    async with world() as w, w.http.ws_connect(await w.relay_url()) as ws:
        assert (await frames_until(ws, "ready"))[0]["model"] == "gpt-realtime-2"
        upgrade = next(message for message in w.recorder.messages if message.kind == "upgrade")
        assert "openai-beta" not in {name.lower() for name, _ in upgrade.meta["headers"]}
        (update,) = w.sent("session.update")
        assert update["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert update["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
        voice = speak("hello", "pcm16", 24000) + bytes(48000)
        for at in range(0, len(voice), 1440):
            await ws.send_json({"type": "audio", "audio": base64.b64encode(voice[at : at + 1440]).decode()})
        told = await frames_until(ws, "audio")
        assert len(base64.b64decode(told[-1]["audio"])) % 2 == 0
        while not (told[-1]["type"] == "transcript" and told[-1]["role"] == "assistant" and told[-1]["final"]):
            told += await frames_until(ws, "transcript")
        assert told[-1]["text"] == "Hello, thank you for calling, how can I help you?"
        await ws.send_json({"type": "end"})
        assert (await frames_until(ws, "ended"))[-1]["reason"] == "end"
        assert (await ws.receive()).type is WSMsgType.CLOSE
        assert ws.close_code == 1000
        assert [message.invalid for message in w.recorder.messages if message.invalid] == []


async def test_a_legacy_model_is_spoken_to_in_its_dialect_over_the_relay() -> None:
    async with world(day=date(2026, 3, 1), OPENAI_MODEL=LEGACY, OPENAI_VOICE="alloy") as w:
        async with w.http.ws_connect(await w.relay_url()) as ws:
            await frames_until(ws, "ready")
        (update,) = w.sent("session.update")
        assert update["session"]["input_audio_format"] == update["session"]["output_audio_format"] == "pcm16"


@pytest.mark.parametrize(
    ("environ", "key", "code"),
    [
        ({}, KeyInfo(models=("gpt-realtime",)), "model_not_found"),
        ({}, KeyInfo(refuse="insufficient_quota"), "credit_balance_exhausted"),
        ({"OPENAI_API_KEY": "sk-wrong-0123456789"}, None, "invalid_api_key"),
        ({"OPENAI_API": "beta"}, None, "beta_api_shape_disabled"),
        ({"OPENAI_MODEL": "gpt-4o"}, None, "invalid_model"),
    ],
)
async def test_a_refused_session_is_told_over_the_relay(environ: Any, key: KeyInfo | None, code: str) -> None:
    async with world(key=key, **environ) as w, w.http.ws_connect(await w.relay_url()) as ws:
        error, ended = await frames_until(ws, "ended")
        assert (error["error"]["source"], error["error"]["code"]) == ("openai", code)
        assert error["error"]["message"]
        assert error["error"]["hint"] == HINTS[code].format(model=w.gateway.config.openai_model)
        assert "sk-" not in json.dumps(error)
        assert ended["reason"] == "refused"
        assert (await ws.receive()).type is WSMsgType.CLOSE
        assert ws.close_code == 1000


async def test_a_refused_upgrade_is_told_with_its_status() -> None:
    refuse = odd_vendor(lambda request: web.Response(status=403))
    async with refuse as w, w.http.ws_connect(await w.relay_url()) as ws:
        error, _ = await frames_until(ws, "ended")
        assert (error["error"]["source"], error["error"]["status"]) == ("openai", 403)
        assert error["error"]["hint"] == HINTS["403"]


async def test_the_gateway_stops_with_a_relay_open() -> None:
    async with world() as w:
        ticket = await w.relay_url()
        async with w.http.ws_connect(await w.relay_url()) as ws:
            await frames_until(ws, "ready")
            async with w.http.get(w.url + "/healthz") as response:
                assert (await response.json())["upstream_sessions"] == 1
            closing = asyncio.create_task(w.gateway.close())
            assert (await frames_until(ws, "ended"))[-1]["reason"] == "shutdown"
            assert (await ws.receive()).type is WSMsgType.CLOSE
            await closing
        assert w.gateway.talk.relays == {}
        assert await w.refused(ticket) == 503
        assert (await w.session())[0] == 503


async def test_a_browser_that_takes_nothing_is_cut_off() -> None:
    class Stuck(Relay):
        async def close_browser(self) -> None:
            self.stuck = True

    class Talks(Talk):
        relay_class = Stuck

    class Made(Gateway):
        talk_class = Talks

    async with world(Made) as w, w.http.ws_connect(await w.relay_url()) as ws:
        await frames_until(ws, "ready")
        await ws.send_json({"type": "end"})
        assert (await ws.receive(timeout=5)).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        assert ws.close_code == 1006
