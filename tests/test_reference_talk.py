"""Talk in the reference gateway over loopback: who is let in, what the browser is given, and what it is told."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from talk_world import ENVIRON, KEY, LEGACY, PUBLIC, TOKEN, frames_until, gateway_at, odd_vendor, world

import reference_impl
from fakes.local import ListRecorder
from reference_impl.config import ConfigError, load
from reference_impl.gateway import Gateway
from reference_impl.problems import HINTS, Problem, ours
from reference_impl.talk import ASSETS, FILES, Talk
from reference_impl.tools import TALK_TOOLS

# Whether there is Talk


async def test_there_is_no_talk_without_a_token() -> None:
    async with world(GATEWAY_TALK_TOKEN="") as w:
        for path in ("/talk", "/talk/talk.js", "/talk/session", "/talk/relay?ticket=x", "/talk/tool"):
            for method in ("GET", "POST"):
                async with w.http.request(method, w.url + path, headers={"Authorization": "Bearer "}) as response:
                    assert response.status == 404, path


def test_the_settings_of_talk() -> None:
    config = load([], ENVIRON)
    assert config.talk_token == TOKEN
    assert TOKEN in config.secrets()
    assert load([], {**ENVIRON, "GATEWAY_TALK_TOKEN": ""}).talk_token == ""
    with pytest.raises(ConfigError, match=r"talk\.token \(environment: GATEWAY_TALK_TOKEN\): must be one word"):
        load([], {**ENVIRON, "GATEWAY_TALK_TOKEN": "two words"})
    with pytest.raises(ConfigError, match=r"from 10 to 7200"):
        load([], {**ENVIRON, "GATEWAY_TALK_SECRET_SECONDS": "9"})


# The page


async def test_the_page_may_talk_to_us_and_to_openai_and_holds_no_secret() -> None:
    async with world(OPENAI_BASE_URL="https://api.openai.com/v1") as w, w.http.get(w.url + "/talk") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self' https://api.openai.com;" in policy
        assert "unsafe" not in policy
        text = await response.text()
        assert KEY not in text
        assert TOKEN not in text


async def test_the_page_is_made_of_files_that_are_all_served_and_of_no_others() -> None:
    async with world() as w:
        page = (FILES / "index.html").read_text("utf-8")
        scripts = "".join((FILES / name).read_text("utf-8") for name in ASSETS)
        named = set(re.findall(r'"talk/([\w.]+)"', page)) | set(re.findall(r'"(?:\./)?(\w+\.js)"', scripts))
        assert named == set(ASSETS) == {path.name for path in FILES.iterdir()} - {"index.html"}
        for name, content_type in ASSETS.items():
            async with w.http.get(f"{w.url}/talk/{name}") as response:
                assert (response.status, response.content_type) == (200, content_type)
                assert "Content-Security-Policy" in response.headers
        for other in ("index.html", "..%2fconfig.py", "nothing.js"):
            async with w.http.get(f"{w.url}/talk/{other}") as response:
                assert response.status == 404


def test_the_page_has_nothing_inline_that_its_policy_would_stop() -> None:
    page = (FILES / "index.html").read_text("utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page) == []
    assert re.findall(r"https?://", page) == []


# Who is let in


@pytest.mark.parametrize("path", ["/talk/session", "/talk/tool", "/talk/explain"])
@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "Bearer operator-token", f"Basic {TOKEN}", TOKEN])
async def test_the_token_is_asked_for(path: str, given: str) -> None:
    async with world() as w, w.http.post(w.url + path, json={}, headers={"Authorization": given}) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        error = (await response.json())["error"]
        assert (error["source"], error["code"]) == ("gateway", "talk_token_wrong")
        assert "GATEWAY_TALK_TOKEN" in error["hint"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://gw.example.test", "https://gw.example.test:8"]
)
async def test_pages_of_others_are_turned_away(origin: str) -> None:
    async with world() as w:
        for path in ("/talk/session", "/talk/tool", "/talk/explain"):
            status, answer = await w.post(path, {}, Origin=origin)
            assert (status, answer["error"]["code"]) == (403, "talk_origin_wrong")
        url = await w.relay_url()
        assert await w.refused(url, Origin=origin) == 403
        async with w.http.ws_connect(url):  # and that has not spent the ticket
            pass


async def test_our_own_page_is_let_in_at_either_of_our_addresses() -> None:
    async with world() as w:
        for origin in (PUBLIC, f"{PUBLIC}:443", w.url):
            assert (await w.session(Origin=origin))[0] == 200
            async with w.http.ws_connect(await w.relay_url(), origin=origin):
                pass


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("[]", "not a JSON object"),
        ("{", "not a JSON object"),
        ("[" * 60_000, "not a JSON object"),
        ({"transport": "carrier pigeon"}, "transport is 'carrier pigeon'; it must be webrtc or relay"),
        ({"transport": ["relay"]}, "must be webrtc or relay"),
        ({"transport": "relay", "model": "x"}, "unknown field 'model'; the fields are transport"),
    ],
)
async def test_a_wrong_session_request_is_told_what_is_wrong(body: Any, says: str) -> None:
    async with world() as w:
        status, answer = await w.post("/talk/session", body)
        assert (status, answer["error"]["code"]) == (400, "talk_request_wrong")
        assert says in answer["error"]["message"]


# WebRTC


async def test_a_secret_is_minted_in_ga_with_model_voice_and_instructions_in_the_session() -> None:
    async with world() as w:
        status, answer = await w.session()
        assert status == 200
        assert answer.keys() == {"transport", "client_secret", "expires_at", "calls_url", "model", "voice"}
        assert answer["client_secret"].startswith("ek_")
        assert (answer["transport"], answer["model"], answer["voice"]) == ("webrtc", "gpt-realtime-2", "marin")
        assert answer["calls_url"] == f"{w.gateway.config.openai_base_url}/realtime/calls"
        request, response = w.recorder.messages
        assert request.meta["method"] == "POST"
        assert request.meta["url"].endswith("/v1/realtime/client_secrets")
        assert request.invalid is None
        names = {name.lower() for name, _ in request.meta["headers"]}
        assert "authorization" in names
        assert "openai-beta" not in names
        body = json.loads(request.body or "")
        assert body["expires_after"] == {"anchor": "created_at", "seconds": 60}
        session = body["session"]
        assert (session["type"], session["model"], session["instructions"]) == (
            "realtime",
            "gpt-realtime-2",
            "Be brief.",
        )
        assert session["audio"]["output"] == {"voice": "marin"}
        assert "format" not in session["audio"]["input"]
        assert [tool["name"] for tool in session["tools"]] == list(TALK_TOOLS)
        assert answer["expires_at"] == json.loads(response.body or "")["expires_at"]


async def test_webrtc_is_the_default_and_every_session_has_a_secret_of_its_own() -> None:
    async with world(GATEWAY_TALK_SECRET_SECONDS="600") as w:
        answers = [await w.post("/talk/session", body) for body in ("", "{}", {"transport": "webrtc"})]
        assert len({answer["client_secret"] for _, answer in answers}) == 3
        assert json.loads(w.recorder.messages[0].body or "")["expires_after"]["seconds"] == 600


async def test_a_legacy_model_cannot_be_minted_for() -> None:
    async with world(OPENAI_MODEL=LEGACY) as w:
        status, answer = await w.session()
        assert (status, answer["error"]["source"], answer["error"]["code"]) == (409, "gateway", "talk_needs_ga")
        assert "choose the relay" in answer["error"]["hint"]
        assert w.recorder.messages == []


async def test_nothing_the_browser_gets_has_the_standard_key_and_no_log_has_a_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with world() as w:
        webrtc = (await w.session())[1]
        relay = (await w.session("relay"))[1]
        ticket = relay["url"].partition("ticket=")[2]
        told = json.dumps([webrtc, relay])
        async with w.http.ws_connect(w.url + relay["url"]) as ws:
            told += json.dumps(await frames_until(ws, "ready"))
        assert await w.refused(w.url + relay["url"]) == 401
        await w.post("/talk/explain", {"status": 401, "body": f"{webrtc['client_secret']} {KEY}"})
        assert KEY not in told
    log = capsys.readouterr().err
    assert "talk.minted" in log
    assert "talk.refused" in log
    for secret in (KEY, TOKEN, webrtc["client_secret"], ticket):
        assert secret not in log


# What OpenAI minds reaches the person


async def test_a_refused_minting_is_told_with_the_words_of_the_vendor_and_a_hint() -> None:
    def refuse(request: web.Request) -> web.Response:
        error = {
            "message": "The model `gpt-realtime-2` does not exist or you do not have access to it.",
            "type": "invalid_request_error",
            "code": "model_not_found",
            "param": "session.model",
        }
        return web.json_response({"error": error}, status=403, headers={"x-request-id": "req_77"})

    async with odd_vendor(refuse) as w:
        status, answer = await w.session()
        assert status == 502
        assert answer["error"] == {
            "source": "openai",
            "status": 403,
            "type": "invalid_request_error",
            "code": "model_not_found",
            "message": "The model `gpt-realtime-2` does not exist or you do not have access to it.",
            "param": "session.model",
            "request_id": "req_77",
            "hint": HINTS["model_not_found"].format(model="gpt-realtime-2"),
        }


async def test_keys_in_the_words_of_the_vendor_are_masked() -> None:
    async with world(OPENAI_API_KEY="sk-wrong-0123456789") as w:
        status, answer = await w.session()
        assert (status, answer["error"]["status"], answer["error"]["code"]) == (502, 401, "invalid_api_key")
        assert "Incorrect API key provided: [redacted]" in answer["error"]["message"]
        assert "sk-" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (lambda: web.Response(status=503, text="<html>"), 503, "OpenAI answered 503"),
        (lambda: web.json_response({"error": "no"}, status=418), 418, "no"),
        (lambda: web.json_response([1]), 200, "the answer has no client secret"),
        (lambda: web.json_response({"value": "ek_1"}), 200, "the answer has no client secret"),
        (lambda: web.json_response({"value": None, "expires_at": 1}), 200, "the answer has no client secret"),
        (lambda: web.Response(text="{"), 200, "the answer has no client secret"),
    ],
)
async def test_odd_answers_are_told_too(answer: Callable[[], web.Response], status: int, says: str) -> None:
    async with odd_vendor(lambda request: answer()) as w:
        got, told = await w.session()
        assert (got, told["error"]["source"], told["error"]["status"]) == (502, "openai", status)
        assert told["error"]["message"] == says
        assert told["error"]["hint"]


async def test_a_vendor_that_cannot_be_reached_is_told_and_whose_fault_it_is() -> None:
    async with gateway_at(f"http://127.0.0.1:{unused_port()}", ListRecorder()) as w:
        status, answer = await w.session()
        assert (status, answer["error"]["source"], answer["error"]["code"]) == (502, "gateway", "openai_unreachable")
        async with w.http.ws_connect(await w.relay_url()) as ws:
            error, _ended = await frames_until(ws, "ended")
            assert (error["type"], error["error"]["code"]) == ("error", "openai_unreachable")


async def test_what_the_browser_is_refused_by_openai_itself_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    async with world() as w:
        body = json.dumps(
            {"error": {"message": "no: ek_0123456789", "type": "t", "code": "model_not_found", "param": ""}}
        )
        status, answer = await w.post("/talk/explain", {"status": 403, "body": body})
        assert status == 200
        error = answer["error"]
        assert (error["source"], error["status"], error["code"], error["param"]) == (
            "openai",
            403,
            "model_not_found",
            None,
        )
        assert error["message"] == "no: [redacted]"
        assert error["hint"].startswith("The API key of this gateway may not use gpt-realtime-2")
        event = {"type": "error", "error": {"code": "unknown_parameter", "message": "what?"}}
        answer = (await w.post("/talk/explain", {"status": 0, "body": json.dumps(event)}))[1]
        assert (answer["error"]["status"], answer["error"]["code"]) == (None, "unknown_parameter")
        answer = (await w.post("/talk/explain", {"status": 502, "body": "<html>"}))[1]
        assert answer["error"]["message"] == "OpenAI answered 502"
        for wrong in ({}, {"status": 403}, {"status": "403", "body": ""}, {"status": 403, "body": {}}):
            assert (await w.post("/talk/explain", wrong))[0] == 400
    assert "talk.browser_refused" in capsys.readouterr().err


async def test_an_event_that_is_no_object_where_it_should_be_is_explained_as_far_as_it_goes() -> None:
    async with world() as w:
        for body in ('{"response": 7}', '{"error": 7}', "[]", "7"):
            status, answer = await w.post("/talk/explain", {"status": 0, "body": body})
            assert (status, answer["error"]["source"]) == (200, "openai")


def test_every_hint_is_one_sentence_and_the_important_ones_are_there() -> None:
    wanted = (
        "model_not_found beta_api_shape_disabled invalid_api_key insufficient_quota invalid_model unknown_parameter "
        "api_version_mismatch"
    )
    assert set(wanted.split()) <= HINTS.keys()
    for key, hint in HINTS.items():
        assert hint.format(model="M").endswith("."), key
        assert ". " not in hint, key
    codes = re.findall(r'ours\("(\w+)"', "".join(path.read_text("utf-8") for path in _sources()))
    assert set(codes) <= HINTS.keys()


def _sources() -> list[Path]:
    return list(Path(reference_impl.__file__).parent.glob("*.py"))


@pytest.mark.parametrize(
    ("problem", "key"),
    [
        (Problem(source="openai", message="", code="model_not_found", status=403), "model_not_found"),
        (Problem(source="openai", message="", code="new", type="server_error", status=500), "server_error"),
        (Problem(source="openai", message="", status=403), "403"),
        (Problem(source="openai", message="", status=503), "5xx"),
        (Problem(source="openai", message="", code="new"), "other"),
        (ours("talk_needs_ga", ""), "talk_needs_ga"),
    ],
)
def test_the_hint_is_the_one_that_says_most(problem: Problem, key: str) -> None:
    assert problem.hint("M") == HINTS[key].format(model="M")


# Tools of a WebRTC session


async def test_a_tool_is_run_for_the_page() -> None:
    async with world() as w:
        status, answer = await w.post("/talk/tool", {"name": "get_weather", "arguments": '{"city":"Berlin"}'})
        assert (status, json.loads(answer["output"])["forecast"]) == (200, "sunny")
        answer = (await w.post("/talk/tool", {"name": "end_call", "arguments": "{}"}))[1]
        assert "there is no tool 'end_call'" in answer["output"]  # for the model, which can read and mend it
        for wrong in (
            {"name": "get_weather"},
            {"name": 1, "arguments": "{}"},
            {"name": "a", "arguments": {}},
            {"x": 1},
        ):
            assert (await w.post("/talk/tool", wrong))[0] == 400


async def test_talk_is_built_from_pieces_that_can_be_replaced() -> None:
    class Mute(Talk):
        def hint(self, problem: Problem) -> None:
            return None

    class Silent(Gateway):
        talk_class = Mute

    async with world(Silent) as w:
        assert (await w.post("/talk/session", "[]"))[1]["error"]["hint"] is None
