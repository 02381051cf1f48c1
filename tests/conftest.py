"""What all tests rest on: the order of the modules, which processes share (`make test`), and no terminal."""

from __future__ import annotations

import os

import pytest

# Commands that tests run print into a pipe. The processes of pytest-xdist pretend a terminal of 80 columns.
os.environ.pop("COLUMNS", None)

LONGEST = (
    "test_talk_page.py",
    "test_broken_gateways.py",
    "test_healthy_gateway.py",
    "test_serve_api.py",
    "test_live_station.py",
    "test_cli.py",
    "test_serve_page.py",
    "test_browser_sdk.py",
    "test_replay.py",
    "test_live_intercept.py",
)
"""Modules of half a minute and more, the longest first: begun last, one of them would be waited for at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
