"""What tests need beside Python: programs that not every machine has."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

EVERYTHING = "CALLPROOF_ALL_TESTS"
"""Set in CI: there a test that cannot run has failed."""


def missing(what: str) -> NoReturn:
    """A test cannot run on this machine: skip it, but in CI let it fail."""
    if os.environ.get(EVERYTHING):
        pytest.fail(what)
    pytest.skip(what)


def need(there: bool, what: str) -> None:
    """A test that cannot run without this: see `missing`."""
    if not there:
        missing(f"there is no {what} here")
