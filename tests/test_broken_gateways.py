"""The suite, tested by broken gateways: each fault of the corpus fails exactly the requirements that it breaks.

A case that no broken gateway can fail is no test, so every requirement that the suite checks has a fault to its name.
"""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import broken
import broken_pages
import pytest
from broken.corpus import FAULTS
from broken.suite import Found, World, failed, play_all

from conformance.assembly import registry
from harness.report.model import Verdict

Findings = Mapping[str, list[Found]]


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> Findings:
    """What the suite finds about each fault that is asked for, by name. All worlds are run in one go."""
    asked = [name for item in request.session.items for name in _fault_of(item)]
    worlds = [
        (name, World(FAULTS[name].entry, case, FAULTS[name].column))
        for name in dict.fromkeys(asked)
        for case in FAULTS[name].cases
    ]
    found: dict[str, list[Found]] = defaultdict(list)
    for (name, _), one in zip(worlds, play_all([world for _, world in worlds]), strict=True):
        found[name] += one
    return found


def _fault_of(item: pytest.Item) -> list[str]:
    params: Mapping[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    return [params["fault"]] if params.get("fault") in FAULTS else []


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_finds_exactly_what_is_broken(fault: str, findings: Findings) -> None:
    found = findings[fault]
    told = "\n".join(str(one) for one in found)
    assert not failed(found, Verdict.HARNESS_ERROR), told
    assert sorted(failed(found, Verdict.FAIL)) == sorted(FAULTS[fault].fails), told
    assert sorted(failed(found, Verdict.WARN)) == sorted(FAULTS[fault].warns), told
    assert any(one.message for one in found), "no finding says what was seen"


def test_every_checked_requirement_is_failed_by_some_fault() -> None:
    proven = frozenset().union(*(fault.fails | fault.warns for fault in FAULTS.values()))
    proven |= {fault.requirement for fault in broken_pages.FAULTS.values()}  # see test_talk_page.py
    checked = {requirement.id for requirement in registry().values() if requirement.check}
    assert checked - proven == set()


def test_most_faults_are_pointed_at_on_the_wire(findings: Findings) -> None:
    """Only for a run of the whole corpus: what did not happen has no message, what happened wrongly has one."""
    if len(findings) < len(FAULTS):
        pytest.skip("some faults were left out")
    marked = [name for name, found in findings.items() if any(one.where for one in found)]
    assert len(marked) > len(FAULTS) / 3


def test_the_corpus_is_complete_and_says_what_each_fault_does() -> None:
    folder = Path(broken.__file__).parent
    entries = set()
    for path in folder.glob("*.py"):
        module = importlib.import_module(f"broken.{path.stem}") if path.stem != "__init__" else broken
        for name, value in vars(module).items():
            if inspect.iscoroutinefunction(value) and value.__name__ == "main":
                entries.add(f"{module.__name__}:{name}")
                assert value.__doc__, f"{module.__name__}:{name} says nothing about its fault"
                assert "\n\n" in value.__doc__, f"{module.__name__}:{name} says what is wrong, not whom it harms"
    assert entries == {fault.entry for fault in FAULTS.values()}
    assert len(FAULTS) == len(entries), "two faults have the same name"
