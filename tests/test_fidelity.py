"""The page of uncertain behaviours is up to date, and every one of them is tried."""

from __future__ import annotations

import pytest
from fidelity import DOCUMENT, VENDORS, document, knobs_of, turned

KNOBS = [knob.name for vendor in VENDORS for knob in knobs_of(vendor)]


@pytest.mark.parametrize("name", KNOBS)
def test_a_test_turns_the_knob(name: str) -> None:
    assert turned().get(name), f"no test turns {name}: write one that shows what it changes"


def test_the_page_is_what_the_data_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python tests/fidelity.py"


def test_every_knob_says_where_it_comes_from() -> None:
    bare = [knob.name for vendor in VENDORS for knob in knobs_of(vendor) if not knob.source or not knob.evidence]
    assert not bare
