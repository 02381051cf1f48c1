"""The matrix in a real browser: filters, keys, what a cell opens; from a file, in both colour schemes."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from test_matrix import matrix_of, run_of

from conformance.chromium import NAMES
from harness.report.matrix_html import write_matrix
from harness.report.verdicts import Note

CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CALLPROOF_ALL_TESTS"), reason="there is no Chromium"
)


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    live = run_of("alpha", "1.1", "TWI-CB-004", "LIFE-002", stage="live")
    notes = [Note(["1.1"], ["TWI-CB-004"], "fault", "It ends the `stream`.", ["https://example.org/1"])]
    matrix = matrix_of(live, run_of("alpha", "1.0", "OAI-SS-001"), run_of("beta", "2.0"), alpha=notes)
    write_matrix(matrix, tmp_path / "index.html")
    return tmp_path / "index.html"


@asynccontextmanager
async def opened(file: Path, fragment: str = "", **options: Any) -> AsyncIterator[Any]:
    """The page, and the assertion that nothing went wrong in it and that it asked for nothing else."""
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(**{"viewport": {"width": 1280, "height": 900}} | options)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: None if request.url.startswith("file:") else wrong.append(request.url))
        await page.goto(f"file://{file}{fragment}")
        yield page
        assert wrong == []
        await browser.close()


async def texts(page: Any, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in await page.locator(selector).all_inner_texts()]


async def names(page: Any) -> list[str]:
    return [label.split(":")[0] for label in await attributes(page, "td.one")]


async def attributes(page: Any, selector: str) -> list[str]:
    found: list[str] = await page.locator(selector).evaluate_all(
        "cells => cells.map(c => c.getAttribute('aria-label'))"
    )
    return found


async def test_rows_areas_and_filters(page_file: Path) -> None:
    async with opened(page_file) as page:
        assert await texts(page, "tbody th span") == ["1.1", "1.0", "2.0"]
        heads = await page.locator("thead th.area").count()
        assert heads == 8
        assert await page.locator("td.one").count() == 0  # shut areas are not drawn
        await page.locator(".verdicts button.fail").click()
        assert {name.split(",")[0] for name in await names(page)} == {"TWI-CB-004", "LIFE-002", "OAI-SS-001"}
        await page.locator("select[data-filter=stage]").select_option("virtual")
        assert await texts(page, "tbody th span") == ["1.0", "2.0"]
        assert {name.split(",")[0] for name in await names(page)} == {"OAI-SS-001"}
        await page.keyboard.press("Escape")
        assert await page.locator("tbody tr").count() == 3
        await page.keyboard.press("/")
        await page.keyboard.type("beta bridging")
        assert await texts(page, "tbody th span") == ["2.0"]
        assert {name.split(",")[0] for name in await names(page)} == {"TWI-CB-004"}
        await page.locator("#text").fill("nothing like this")
        assert await page.locator("#nothing").is_visible()
        await page.locator("#clear").click()
        assert await page.locator("tbody tr").count() == 3


async def test_a_cell_opens_its_story_and_ladder_by_keys_alone(page_file: Path) -> None:
    async with opened(page_file) as page:
        await page.locator("thead th.area button", has_text="Twilio callback").press("Enter")
        await page.locator("tbody td").first.focus()
        for _ in range(40):
            if (await attributes(page, "td:focus"))[0].startswith("TWI-CB-004"):
                break
            await page.keyboard.press("ArrowRight")
        assert await attributes(page, "td:focus") == ["TWI-CB-004, alpha 1.1: fail"]
        await page.keyboard.press("Enter")
        await page.locator("#panel .ladder .mark").first.wait_for()
        told = await page.locator("#panel").inner_text()
        assert "Looked into: a fault of the gateway. It ends the stream." in told
        assert "TWI-CB-004 is broken here" in told
        assert "callproof replay" in told
        assert await page.locator("#panel ol.story li.mark").count() >= 1
        assert (await page.evaluate("location.hash")) == "#alpha/1.1/TWI-CB-004"
        await page.keyboard.press("ArrowRight")
        await page.locator("#panel .id", has_text="LIFE-002").wait_for()
        assert "Not looked into" in await page.locator("#panel").inner_text()
        await page.keyboard.press("Escape")
        assert not await page.locator("#panel").is_visible()
        assert await attributes(page, "td:focus") == ["TWI-CB-004, alpha 1.1: fail"]
        await page.keyboard.press("ArrowDown")
        assert await attributes(page, "td:focus") == ["TWI-CB-004, alpha 1.0: pass"]


async def test_an_address_opens_its_cell(page_file: Path) -> None:
    async with opened(page_file, "#alpha/1.1/TWI-CB-004") as page:
        await page.locator("#panel .ladder").first.wait_for()
        assert await page.locator("#panel").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_wider_than_a_telephone(page_file: Path, scheme: str) -> None:
    async with opened(page_file, viewport={"width": 420, "height": 860}, color_scheme=scheme) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") <= 420
        await page.locator("td.sum.fail").first.click()
        await page.locator("#panel .rules button").first.click()
        await page.locator("#panel .exhibit").first.wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 420
        assert await page.locator("#panel").evaluate("panel => panel.scrollWidth <= panel.clientWidth")


async def test_without_javascript_the_failures_are_listed(page_file: Path) -> None:
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await (await browser.new_context(java_script_enabled=False)).new_page()
        await page.goto(f"file://{page_file}")
        listed = await page.locator(".findings dt").all_text_contents()
        assert {text.split()[1] for text in listed} == {"TWI-CB-004", "LIFE-002", "OAI-SS-001"}
        await browser.close()
