"""The vendor's own SDKs, in Python and Node, against the fake Azure OpenAI over real sockets."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import openai
import pytest
import trustme
from azure_stand import API_VERSION, DEPLOYMENT, KEY, AzureStand, azure_stand
from node_clients import run
from openai_stand import WEATHER, ear, phrases, realtime, session, sound, spoken
from websockets.exceptions import InvalidStatus

from fakes.azure.tokens import Principal, TokenRefused

OID = "11111111-2222-4333-8444-555555555555"
TOKEN = "head.body.signature"
FORMS = ["azure", "azure_beta", "v1"]
"""Both realtime halves of `AsyncAzureOpenAI`, which go to the preview's path; `AsyncOpenAI` at /openai/v1."""


class Issuer:
    """Knows one token."""

    def verify(self, token: str, now: float) -> Principal:
        if token != TOKEN:
            raise TokenRefused("signature")
        return Principal(OID, "tenant", "https://cognitiveservices.azure.com")


def made(s: AzureStand, form: str, **extra: Any) -> tuple[openai.AsyncOpenAI, Any, str]:
    """A client, the half of it that connects, and the dialect that it has to speak."""
    if form == "v1":
        client: openai.AsyncOpenAI = openai.AsyncOpenAI(**s.v1(**extra))
        return client, client.realtime, "ga"
    client = openai.AsyncAzureOpenAI(**s.azure(**extra))
    return client, realtime(client, "beta" if form == "azure_beta" else "ga"), "beta"


def check_url(s: AzureStand, form: str) -> None:
    url = s.upgrade()
    if form == "v1":
        assert (url.path, dict(url.query)) == ("/openai/v1/realtime", {"model": DEPLOYMENT})
    else:
        query = {"api-version": API_VERSION, "deployment": DEPLOYMENT}
        assert (url.path, dict(url.query)) == ("/openai/realtime", query)


@pytest.mark.parametrize("form", FORMS)
async def test_a_greeting_and_a_spoken_turn(form: str) -> None:
    async with azure_stand() as s:
        client, half, dialect = made(s, form)
        async with client, half.connect(model=DEPLOYMENT) as connection:
            created = await connection.recv()
            # The types of the beta know no deployments, only models.
            shown = DEPLOYMENT if form == "v1" else "gpt-realtime"
            assert (created.type, created.session.model) == ("session.created", shown)
            await connection.session.update(session=session(dialect, "pcmu"))
            await connection.response.create()
            listener, turns = ear("pcmu"), 0
            async for event in connection:
                if event.type in ("response.audio.delta", "response.output_audio.delta"):
                    listener.feed(base64.b64decode(event.delta))
                elif event.type == "response.done":
                    assert event.response.status == "completed"
                    turns += 1
                    if turns == 2:
                        break
                    for audio in spoken("what_time", "pcmu"):
                        await connection.input_audio_buffer.append(audio=audio)
        assert phrases(listener) == [("greeting", True), ("its_noon", True)]
        assert s.heard() == ["what_time"]
        check_url(s, form)
        credential = s.headers()
        assert (credential.get("api-key"), credential.get("authorization")) == (
            (None, f"Bearer {KEY}") if form == "v1" else (KEY, None)
        )
        assert (s.invalid(), s.faults(dialect)) == ([], [])


@pytest.mark.parametrize("form", FORMS)
async def test_a_tool_call_and_an_interruption(form: str) -> None:
    async with azure_stand() as s:
        client, half, dialect = made(s, form)
        async with client, half.connect(model=DEPLOYMENT) as connection:
            await connection.session.update(session=session(dialect, "pcmu", tools=[WEATHER]))
            for audio in spoken("weather", "pcmu"):
                await connection.input_audio_buffer.append(audio=audio)
            done, item_id, transcripts = 0, "", []
            async for event in connection:
                if event.type == "response.function_call_arguments.done":
                    output: Any = {"type": "function_call_output", "call_id": event.call_id, "output": '{"sky":"blue"}'}
                    assert event.arguments == '{"city":"Berlin"}'
                elif event.type.endswith("audio_transcript.done"):
                    transcripts.append(event.transcript)
                elif (
                    event.type in ("response.audio.delta", "response.output_audio.delta") and done == 2 and not item_id
                ):
                    item_id = event.item_id
                    for audio in spoken("stop_please", "pcmu", quiet_ms=0):
                        await connection.input_audio_buffer.append(audio=audio)
                elif event.type == "response.done":
                    done += 1
                    if done == 1:
                        await connection.conversation.item.create(item=output)
                        await connection.response.create()
                    elif done == 2:
                        for audio in spoken("long_story", "pcmu"):
                            await connection.input_audio_buffer.append(audio=audio)
                    else:
                        cut = (event.response.status, event.response.status_details.reason)
                        assert cut == ("cancelled", "turn_detected")
                        await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=0)
                elif event.type == "conversation.item.truncated":
                    break
        assert transcripts[0].startswith("It is sunny today")
        assert (s.invalid(), s.faults(dialect)) == ([], [])


@pytest.mark.parametrize("form", ["azure", "v1"])
async def test_an_access_token(form: str) -> None:
    async def provide() -> str:
        return TOKEN

    async with azure_stand(tokens=Issuer(), principals={OID}) as s:
        credential = {"api_key": provide} if form == "v1" else {"api_key": None, "azure_ad_token_provider": provide}
        client, half, _ = made(s, form, **credential)
        async with client, half.connect(model=DEPLOYMENT) as connection:
            assert (await connection.recv()).type == "session.created"
        assert s.headers()["authorization"] == f"Bearer {TOKEN}"
        assert "api-key" not in s.headers()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("key", "deployment", "status"), [("wrong", DEPLOYMENT, 401), (KEY, "nothing", 404)])
async def test_refusals_are_statuses(form: str, key: str, deployment: str, status: int) -> None:
    async with azure_stand() as s:
        client, half, _ = made(s, form, api_key=key)
        async with client:
            with pytest.raises(InvalidStatus) as refused:
                async with half.connect(model=deployment):
                    pass
        assert refused.value.response.status_code == status
        assert b'"code"' in (refused.value.response.body or b"")


async def test_ga_events_on_the_path_of_the_preview() -> None:
    async with azure_stand() as s:
        client, half, _ = made(s, "azure")
        async with client, half.connect(model=DEPLOYMENT) as connection:
            await connection.recv()
            await connection.session.update(session=session("ga", "pcmu"))
            error: Any = await connection.recv()
            while error.type != "error":
                error = await connection.recv()
        assert (error.error.code, error.error.param) == ("unknown_parameter", "session.type")
        assert s.invalid() != []


async def test_a_client_secret() -> None:
    async with azure_stand() as s:
        async with openai.AsyncOpenAI(**s.v1()) as client:
            minted = await client.realtime.client_secrets.create(session={"type": "realtime", "model": DEPLOYMENT})
        assert minted.session.type == "realtime"
        assert minted.session.model == DEPLOYMENT
        browser = openai.AsyncOpenAI(**{**s.v1(), "api_key": minted.value})
        async with browser, browser.realtime.connect(model=DEPLOYMENT) as connection:
            assert (await connection.recv()).type == "session.created"
        async with openai.AsyncOpenAI(**{**s.v1(), "api_key": "wrong"}) as client:
            with pytest.raises(openai.AuthenticationError, match="invalid subscription key"):
                await client.realtime.client_secrets.create(session={"type": "realtime", "model": DEPLOYMENT})
        async with openai.AsyncOpenAI(**s.v1()) as client:
            with pytest.raises(openai.NotFoundError) as missing:
                await client.realtime.client_secrets.create(session={"type": "realtime", "model": "nothing"})
        assert missing.value.code == "DeploymentNotFound"


# -- Node


def authority(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """TLS for `localhost`, and the certificate of who vouches for it: the package takes nothing but wss."""
    vouching, ca = trustme.CA(), folder / "ca.pem"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    vouching.issue_cert("localhost").configure_cert(context)
    vouching.cert_pem.write_to_path(str(ca))
    return context, ca


def sounds(folder: Path) -> dict[str, str]:
    """What a driver says, in files. The silence after a phrase tells the model that it is over; the last one is cut."""
    files = {phrase: folder / f"{phrase}.raw" for phrase in ("what_time", "weather", "long_story", "stop_please")}
    for phrase, file in files.items():
        file.write_bytes(b"".join(sound(phrase, "pcmu", 0 if phrase == "stop_please" else 400)))
    return {phrase: str(file) for phrase, file in files.items()}


@pytest.mark.parametrize(
    ("dialect", "transport", "by"),
    [("ga", "ws", "key"), ("ga", "websocket", "key"), ("beta", "ws", "key"), ("ga", "ws", "token")],
)
async def test_node(dialect: str, transport: str, by: str, tmp_path: Path) -> None:
    context, ca = authority(tmp_path)
    async with azure_stand(tokens=Issuer(), principals={OID}, tls=context) as s:
        task = {
            "endpoint": s.endpoint,
            "version": API_VERSION,
            "model": DEPLOYMENT,
            "key": KEY,
            "token": TOKEN if by == "token" else "",
            "dialect": dialect,
            "transport": transport,
            "session": session(dialect, "pcmu", tools=[WEATHER]),
            "sounds": sounds(tmp_path),
            "frame": 160,
        }
        told = await run("azure.mjs", task, ca)
        assert told["created"]["model"] == (DEPLOYMENT if dialect == "ga" else "gpt-realtime")
        assert told["turn"]["transcript"] == "It is exactly twelve o'clock noon."
        assert [call["arguments"] for call in told["call"]["calls"]] == ['{"city":"Berlin"}']
        assert (told["interruption"]["status"], told["interruption"]["reason"]) == ("cancelled", "turn_detected")
        assert told["truncated"]["same"]
        listener = ear("pcmu")
        for part in told["greeting"]["audio"]:
            listener.feed(base64.b64decode(part))
        assert phrases(listener) == [("greeting", True)]
        check_url(s, "v1" if dialect == "ga" else "azure")
        credential = s.headers()
        assert (credential.get("api-key"), credential.get("authorization")) == (
            (KEY, None) if by == "key" else (None, f"Bearer {TOKEN}")
        )
        assert (s.invalid(), s.faults(dialect)) == ([], [])
