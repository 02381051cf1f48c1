"""Plans for plain HTTP requests: refusals, odd answers, slow ones, and none at all."""

from __future__ import annotations

import aiohttp
import pytest
from openai_vendor import MINT, REALTIME
from openai_world import KEY
from test_openai_server import BEARER, rig

from fakes.openai import KeyInfo
from fakes.openai.plans import NO_PLAN, HttpPlan, HttpPlans

PAGE = "<html>Please sign in.</html>"


def test_a_refusal_has_the_vendors_words_or_those_of_the_plan() -> None:
    answer = HttpPlan(refuse=(403, "call_model_not_found")).answered("POST", MINT)
    assert answer is not None
    assert answer.body is not None
    assert (answer.status, answer.body["error"]["code"]) == (403, "model_not_found")
    assert answer.body["error"]["message"] == "The model `the model` does not exist or you do not have access to it."
    again = HttpPlan(refuse=(401, "invalid_api_key"), message="No.").answered("POST", MINT)
    assert again is not None
    assert again.body is not None
    assert again.body["error"]["message"] == "No."


def test_an_answer_as_it_is() -> None:
    page = HttpPlan(answer=(200, PAGE)).answered("POST", MINT)
    assert page is not None
    assert (page.status, page.text, page.content_type) == (200, PAGE, "text/html")
    empty = HttpPlan(answer=(200, "{}")).answered("POST", MINT)
    assert empty is not None
    assert empty.content_type == "application/json"
    assert NO_PLAN.answered("POST", MINT) is None


def test_a_plan_that_makes_no_sense_is_told_at_once() -> None:
    with pytest.raises(KeyError, match="did you mean 'invalid_api_key'"):
        HttpPlan(refuse=(401, "invalid_api_kez"))
    with pytest.raises(ValueError, match="leave one of the two out"):
        HttpPlan(refuse=(401, "invalid_api_key"), answer=(200, ""))


def test_requests_are_counted_by_path() -> None:
    plans, first, always = HttpPlans(), HttpPlan(reset=True), HttpPlan(silent=True)
    plans.put(MINT, first, 2)
    assert [plans.take(MINT), plans.take("/v1/models"), plans.take(MINT), plans.take(MINT)] == [
        NO_PLAN,
        NO_PLAN,
        first,
        NO_PLAN,
    ]
    plans.put(MINT, always, None)
    assert [plans.take(MINT), plans.take("/v1/models")] == [always, NO_PLAN]
    plans.put(MINT, None, None)
    plans.put(MINT, first, 6)
    plans.put(MINT, None, 6)
    assert [plans.take(MINT), plans.take(MINT)] == [NO_PLAN, NO_PLAN]


async def test_the_server_does_what_is_planned() -> None:
    async with rig() as r:

        async def mint() -> tuple[int, str]:
            async with r.http.post(MINT, json={"session": REALTIME}, headers=BEARER) as answer:
                return answer.status, await answer.text()

        r.service.plan_http(MINT, HttpPlan(refuse=(429, "insufficient_quota")), request=1)
        r.service.plan_http(MINT, HttpPlan(answer=(200, PAGE), delay_ms=20), request=2)
        r.service.plan_http(MINT, HttpPlan(reset=True), request=3)
        assert (await mint())[0] == 429
        assert await mint() == (200, PAGE)
        with pytest.raises(aiohttp.ClientError):
            await mint()
        assert r.service.secrets.minted == []
        assert (await mint())[0] == 200
        assert len(r.service.secrets.minted) == 1
        assert r.kinds() == ["request", "response", "request", "response", "request", "close", "request", "response"]
        assert r.last("close").meta["reason"] == "reset"


async def test_an_answer_that_never_comes() -> None:
    async with rig() as r:
        r.service.plan_http(MINT, HttpPlan(silent=True))
        with pytest.raises(TimeoutError):
            await r.http.post(MINT, headers=BEARER, timeout=aiohttp.ClientTimeout(total=0.05))
        await r.service.wait_for(lambda: "close" in r.kinds())
        assert r.service.secrets.minted == []


async def test_what_a_key_may_do_can_change() -> None:
    async with rig() as r:
        r.service.keys[KEY] = KeyInfo(refuse="no_realtime_access")
        async with r.http.post(MINT, json={"session": REALTIME}, headers=BEARER) as answer:
            assert answer.status == 403
