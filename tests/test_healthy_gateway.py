"""The healthy gateway fails nothing, whatever the timing: 50 seeds, and both columns of the report.

Every third world of the grid of 50 seeds and all cases is run: each case under 16 or 17 seeds, each seed with a third
of the cases. Choices that a case fixes stay fixed.
"""

from __future__ import annotations

import pytest
from broken.suite import Found, World, applicable, cases, play_all

REFERENCE = "reference_impl.app:main"
SEEDS = range(1, 51)
STEP = 3


def grid() -> list[World]:
    """The worlds to run."""
    return [
        World(REFERENCE, case, "ga", seed)
        for index, case in enumerate(applicable("ga"))
        for seed in SEEDS
        if (index + seed) % STEP == 0
    ]


def all_findings(worlds: list[World]) -> list[Found]:
    """Whatever did not pass in these worlds."""
    return [found for one in play_all(worlds) for found in one]


def test_the_sample_is_large_enough() -> None:
    worlds = grid()
    for case in applicable("ga"):
        assert sum(world.case == case for world in worlds) >= 10, case
    for seed in SEEDS:
        assert sum(world.seed == seed for world in worlds) >= 10, seed


def test_nothing_fails_under_any_seed() -> None:
    found = all_findings(grid())
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("column", ["ga", "beta"])
def test_nothing_fails_with_typical_timing(column: str) -> None:
    found = all_findings([World(REFERENCE, case, column) for case in applicable(column)])
    assert not found, "\n".join(map(str, found))


def test_every_case_is_there() -> None:
    assert len(cases()) >= 58
