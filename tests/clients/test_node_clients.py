"""The vendor's packages for JavaScript over WebSocket, in Node, against the service over real sockets."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from node_clients import run
from openai_stand import KEY, MODEL, WEATHER, Stand, ear, phrases, rate_of, session, sound, stand

from fakes.audio import bytes_per_sample

SPOKEN = ("what_time", "weather", "long_story", "stop_please")


@pytest.fixture
def ca(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """TLS for `localhost`, and the certificate of who vouches for it: the package takes nothing but wss."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, path


def task(s: Stand, folder: Path, encoding: str, **more: Any) -> dict[str, Any]:
    """What every driver is told. What is said after a phrase tells the model that it is over; the last one is cut."""
    sounds = {}
    for phrase in SPOKEN:
        sounds[phrase] = str(folder / f"{phrase}.raw")
        quiet_ms = 0 if phrase == "stop_please" else 400
        Path(sounds[phrase]).write_bytes(b"".join(sound(phrase, encoding, quiet_ms)))
    frame = rate_of(encoding) // 50 * bytes_per_sample(encoding)
    return {"base": s.http, "ws": s.ws, "key": KEY, "model": MODEL, "sounds": sounds, "frame": frame, **more}


def heard(told: dict[str, Any], encoding: str) -> list[tuple[str, bool]]:
    """The phrases in the audio that a driver was sent."""
    listener = ear(encoding)
    for part in told["audio"]:
        listener.feed(base64.b64decode(part))
    return phrases(listener)


async def story(s: Stand, dialect: str, transport: str, encoding: str, ca: Path, folder: Path) -> dict[str, Any]:
    """Run the driver of the `openai` package, and judge what came of it."""
    update = session(dialect, encoding, tools=[WEATHER])
    told = await run("openai.mjs", task(s, folder, encoding, dialect=dialect, transport=transport, session=update), ca)
    assert told["created"]["model"] == MODEL
    assert heard(told["greeting"], encoding) == [("greeting", True)]
    assert heard(told["turn"], encoding) == [("its_noon", True)]
    assert told["turn"]["transcript"] == "It is exactly twelve o'clock noon."
    assert [call["arguments"] for call in told["call"]["calls"]] == ['{"city":"Berlin"}']
    assert heard(told["told"], encoding) == [("weather_sunny", True)]
    assert (told["interruption"]["status"], told["interruption"]["reason"]) == ("cancelled", "turn_detected")
    assert told["truncated"]["same"]
    assert s.heard()[:3] == ["what_time", "weather", "long_story"]
    assert (s.invalid(), s.faults(dialect)) == ([], [])
    return told


@pytest.mark.parametrize(
    ("dialect", "transport", "encoding"),
    [("ga", "ws", "pcm16"), ("beta", "ws", "pcmu"), ("beta", "websocket", "pcm16")],
)
async def test_openai(
    dialect: str, transport: str, encoding: str, ca: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    async with stand(dialect, tls=ca[0]) as s:
        await story(s, dialect, transport, encoding, ca[1], tmp_path)
        upgrade = next(message for message in s.recorder.messages if message.kind == "upgrade")
        if transport == "websocket":
            offered = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1"]
            assert upgrade.meta["subprotocols"] == offered
        else:
            assert s.headers().get("openai-beta") == ("realtime=v1" if dialect == "beta" else None)


async def test_openai_as_in_a_browser_which_holds_a_client_secret(
    ca: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    async with stand("ga", tls=ca[0]) as s:
        told = await story(s, "ga", "websocket", "pcmu", ca[1], tmp_path)
        assert told["secret"]["value"].startswith("ek_")
        assert told["secret"]["session"]["model"] == MODEL
        upgrade = next(message for message in s.recorder.messages if message.kind == "upgrade")
        assert upgrade.meta["subprotocols"] == ["realtime", f"openai-insecure-api-key.{told['secret']['value']}"]
        accepted = next(message for message in s.recorder.messages if message.kind == "upgrade.accepted")
        assert accepted.meta["subprotocol"] == "realtime"
        assert "authorization" not in s.headers()


@pytest.mark.parametrize(
    ("encoding", "form"), [("pcm16", {"type": "audio/pcm", "rate": 24000}), ("pcmu", {"type": "audio/pcmu"})]
)
async def test_agents(encoding: str, form: dict[str, Any], tmp_path: Path) -> None:
    async with stand() as s:
        turns = {"type": "server_vad", "interruptResponse": True, "createResponse": True}
        told = await run("agents.mjs", task(s, tmp_path, encoding, format=form, turns=turns))
        assert heard(told["greeting"], encoding) == [("greeting", True)]
        assert heard(told["turn"], encoding) == [("its_noon", True)]
        assert told["told"]["cities"] == ["Berlin"]
        assert heard(told["told"], encoding) == [("weather_sunny", True)]
        assert told["interruption"]["statuses"] == ["completed", "completed", "completed", "completed", "cancelled"]
        assert 0 <= told["interruption"]["heard_ms"] < 1000
        assert "openai-beta" not in s.headers()
        assert (s.invalid(), s.faults("ga")) == ([], [])
