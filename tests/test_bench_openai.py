"""The bench of the fake OpenAI measures what it says; how much is no matter here."""

from __future__ import annotations

import asyncio

import pytest

from conformance import bench_openai


def test_events_go_through_one_session() -> None:
    assert bench_openai.events_per_second(0.05) > 0


def test_sessions_are_held_and_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_openai, "HELD", 2)
    assert bench_openai.sessions_held() > 0


def test_calls_are_set_up() -> None:
    answered, whole = asyncio.run(bench_openai.handshakes_per_second(0.02))
    assert answered > whole > 0
