"""The vendor's own SDK at the plain HTTP endpoints: client secrets, calls, and sessions opened with a secret."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai.types import Model
from openai.types.beta.realtime import Session, TranscriptionSession
from openai.types.beta.realtime.session_create_response import ClientSecret
from openai.types.realtime import ClientSecretCreateResponse
from openai_stand import stand
from sdk_types import strictly

from fakes.openai import KeyInfo
from fakes.openai.calls import Call, CallState
from fakes.openai.secrets import Place

OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
NO_AUDIO = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
REALTIME: Any = {"type": "realtime", "model": "gpt-realtime", "instructions": "Be brief."}


class Echo:
    """Answers an offer with itself."""

    async def answer(self, call: Call, offer: str) -> str:
        return offer


async def test_a_client_secret_and_its_session() -> None:
    async with stand() as s, s.client() as server:
        minted = await server.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60}, session=REALTIME
        )
        assert minted.value.startswith("ek_")
        shown: Any = minted.session
        assert (shown.type, shown.model, shown.instructions) == ("realtime", "gpt-realtime", "Be brief.")
        async with (
            s.client(minted.value) as browser,
            browser.realtime.connect(model="gpt-realtime") as connection,
        ):
            created: Any = await connection.recv()
            assert created.session.instructions == "Be brief."
        assert s.invalid() == []


async def test_a_transcription_secret_and_its_session() -> None:
    session: Any = {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    async with stand() as s, s.client() as server:
        minted = await server.realtime.client_secrets.create(session=session)
        assert minted.session.type == "transcription"
        async with s.client(minted.value) as browser, browser.realtime.connect() as connection:
            created: Any = await connection.recv()
            assert created.session.type == "transcription"
            assert created.session.audio.input.transcription.model == "gpt-4o-transcribe"


async def test_a_translation_secret() -> None:
    async with stand() as s, s.client() as server:
        minted = await server.realtime.translations.client_secrets.create(
            session={"model": "gpt-realtime-translate", "audio": {"output": {"language": "es"}}}
        )
        assert (minted.session.type, minted.session.model) == ("translation", "gpt-realtime-translate")


async def test_the_synchronous_client() -> None:
    def mint(options: dict[str, Any]) -> str:
        with openai.OpenAI(**options) as client:
            return client.realtime.client_secrets.create(session=REALTIME).value

    async with stand() as s:
        value = await asyncio.to_thread(mint, s.options())
        assert s.service.secrets.find(value) is not None


async def test_secrets_that_are_refused() -> None:
    async with stand() as s, s.client() as client:
        with pytest.raises(openai.BadRequestError) as short:
            await client.realtime.client_secrets.create(expires_after={"anchor": "created_at", "seconds": 5})
        assert (short.value.code, short.value.param) == ("integer_below_min_value", "expires_after.seconds")
        with pytest.raises(openai.BadRequestError) as flat:
            await client.realtime.client_secrets.create(session=REALTIME, extra_body={"model": "gpt-realtime"})
        assert (flat.value.code, flat.value.param) == ("unknown_parameter", "model")
        with pytest.raises(openai.AuthenticationError) as wrong:
            await s.client("sk-wrong-0123456789").realtime.client_secrets.create(session=REALTIME)
        assert wrong.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError) as project:
            await s.client(project="proj_nope").realtime.client_secrets.create(session=REALTIME)
        assert project.value.code == "mismatched_project"


async def test_a_call_is_made_and_hung_up() -> None:
    async with stand(answerer=Echo()) as s, s.client() as client:
        raw = await client.realtime.calls.with_raw_response.create(sdp=OFFER, session=REALTIME)
        assert raw.http_response.status_code == 201
        assert raw.http_response.headers["content-type"].startswith("application/sdp")
        assert raw.parse().text.splitlines() == OFFER.splitlines()
        location = raw.http_response.headers["location"]
        assert location.startswith("/v1/realtime/calls/rtc_")
        call = s.service.calls.all[0]
        assert (call.state, call.session["instructions"]) == (CallState.ACTIVE, "Be brief.")
        await client.realtime.calls.hangup(location.split("/")[-1])
        assert call.state is CallState.ENDED
        with pytest.raises(openai.NotFoundError) as gone:
            await client.realtime.calls.hangup(call.id)
        assert gone.value.code == "call_id_not_found"
        assert s.invalid() == []


async def test_calls_that_are_refused() -> None:
    key = KeyInfo(models=("gpt-realtime-mini",))
    async with stand(key=key) as s, s.client() as client:
        assert (await client.models.retrieve("gpt-realtime")).id == "gpt-realtime"
        with pytest.raises(openai.PermissionDeniedError) as denied:
            await client.realtime.calls.create(sdp=OFFER, session=REALTIME)
        assert (denied.value.code, denied.value.param) == ("model_not_found", "")
        mini: Any = {**REALTIME, "model": "gpt-realtime-mini"}
        with pytest.raises(openai.BadRequestError, match="audio media section") as offer:
            await client.realtime.calls.create(sdp=NO_AUDIO, session=mini)
        assert offer.value.code == "invalid_offer"
        live: Any = {**mini, "model": "gpt-live-1"}
        with pytest.raises(openai.BadRequestError) as model:
            await client.realtime.calls.create(sdp=OFFER, session=live)
        assert model.value.code == "invalid_model"
        with pytest.raises(openai.InternalServerError, match="without WebRTC") as webrtc:
            await client.realtime.calls.create(sdp=OFFER, session=mini)
        assert webrtc.value.status_code == 501
    async with stand(key=KeyInfo(refuse="insufficient_quota")) as s, s.client() as client:
        with pytest.raises(openai.RateLimitError):
            await client.realtime.calls.create(sdp=OFFER, session=REALTIME)


async def test_a_sip_call() -> None:
    async with stand() as s, s.client() as client:
        call = s.service.calls.open("sip", Place("org-callproof", "proj_callproof"))
        await client.realtime.calls.accept(call.id, **REALTIME)
        assert (call.state, call.session["instructions"]) == (CallState.ACTIVE, "Be brief.")
        await client.realtime.calls.refer(call.id, target_uri="tel:+15550100")
        assert call.state is CallState.REFERRED
        busy = s.service.calls.open("sip", Place("org-callproof", "proj_callproof"))
        await client.realtime.calls.reject(busy.id, status_code=486)
        assert busy.detail == {"status_code": 486}
        with pytest.raises(openai.NotFoundError):
            await client.realtime.calls.accept("rtc_nobody", **REALTIME)
        assert s.invalid() == []


async def test_the_beta_mints_while_it_lives() -> None:
    async with stand("beta") as s, s.client() as client:
        beta = client.beta.realtime
        minted = await beta.sessions.create(model="gpt-4o-realtime-preview", instructions="Be brief.")
        assert minted.instructions == "Be brief."
        async with (
            s.client(minted.client_secret.value) as browser,
            browser.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection,
        ):
            created: Any = await connection.recv()
            assert created.session.instructions == "Be brief."
        transcription = await beta.transcription_sessions.create(input_audio_transcription={"model": "whisper-1"})
        assert transcription.client_secret.value.startswith("ek_")
        assert s.invalid() == []
    async with stand() as s, s.client() as client:
        with pytest.raises(openai.BadRequestError) as over:
            await client.beta.realtime.sessions.create(model="gpt-realtime")
        assert over.value.code == "beta_api_shape_disabled"


async def test_answers_are_of_the_types_of_the_sdk() -> None:
    async with stand() as s, s.client() as client:
        minted = await client.realtime.client_secrets.with_raw_response.create(session=REALTIME)
        assert strictly(ClientSecretCreateResponse, minted.http_response.json()) == []
        model = await client.models.with_raw_response.retrieve("gpt-realtime")
        assert strictly(Model, model.http_response.json()) == []
        listed = await client.models.with_raw_response.list()
        assert [strictly(Model, entry) for entry in listed.http_response.json()["data"] if strictly(Model, entry)] == []
    async with stand("beta") as s, s.client() as client:
        beta = client.beta.realtime
        opened = (await beta.sessions.with_raw_response.create(model="gpt-4o-realtime-preview")).http_response.json()
        # The SDK's class for the answer lacks half of a session; the vendor's example is a session and a secret.
        assert strictly(ClientSecret, opened.pop("client_secret")) == []
        assert strictly(Session, opened, {"object", "expires_at", "prompt", "include"}) == []
        told = await beta.transcription_sessions.with_raw_response.create()
        named = {"id", "object", "expires_at", "include", "input_audio_noise_reduction"}  # not all of them declared
        assert strictly(TranscriptionSession, told.http_response.json(), named) == []
