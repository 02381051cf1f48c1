"""JUnit XML, for CI servers: one test suite a case, one test case for each requirement that it checks."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from harness.report.model import Check, Column, Expected, Results, Verdict, rank

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(results: Results, path: Path) -> None:
    """Write the checks as JUnit XML.

    A failure is `failure`, and so is an unstable check; what a baseline expects is `skipped`, and so is what is
    unsupported. A harness error is `error`; a warning passes and says so in `system-out`. Several checks of one
    requirement in one case, model, dialect and day are one test case with the worst of their verdicts.
    """
    rules = {requirement.id: requirement for requirement in results.requirements}
    several_days = len({check.as_of for check in results.checks if check.as_of}) > 1
    cases: dict[str, dict[tuple[str, Column], Check]] = {}
    for check in results.checks:
        tests = cases.setdefault(check.case, {})
        key = (check.requirement, check.column if several_days else Column(check.model, check.dialect))
        before = tests.get(key)
        if before is None or rank(check.verdict) > rank(before.verdict):
            tests[key] = check
    root = ElementTree.Element("testsuites", {"name": _clean(f"callproof: {results.gateway}")})
    for case, tests in cases.items():
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(case), "timestamp": results.created})
        for (requirement, column), check in tests.items():
            name = f"{requirement} [{column}]" if any(column) else requirement
            test = ElementTree.SubElement(suite, "testcase", {"classname": _clean(case), "name": _clean(name)})
            if check.verdict is Verdict.PASS:
                continue
            rule = rules[requirement]
            world = results.world_of(check)
            told = [f"{rule.level} {rule.rule}", f"Source: {rule.source}", f"Seen: {check.message}"]
            if world is not None and world.replay:
                told.append(f"Replay: {world.replay}")
            expected = next((entry for entry in results.expected if entry.covers(check)), None)
            _outcome(test, check, "\n".join(told), expected)
        _count(suite)
    _count(root)
    root.set("time", f"{results.duration_s:.3f}")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _outcome(test: ElementTree.Element, check: Check, told: str, expected: Expected | None) -> None:
    message = _clean(check.message)
    if expected is not None:
        skipped = ElementTree.SubElement(
            test, "skipped", {"message": _clean(f"expected: {expected.reason or message}")}
        )
        skipped.text = _clean(told)
        return
    match check.verdict:
        case Verdict.UNSTABLE:
            message = f"unstable, it did not fail when it was run again: {message}"
            ElementTree.SubElement(test, "failure", {"message": message, "type": "unstable"}).text = _clean(told)
        case Verdict.FAIL:
            ElementTree.SubElement(test, "failure", {"message": message, "type": check.level}).text = _clean(told)
        case Verdict.HARNESS_ERROR:
            ElementTree.SubElement(test, "error", {"message": message, "type": "harness_error"}).text = _clean(told)
        case Verdict.UNSUPPORTED:
            ElementTree.SubElement(test, "skipped", {"message": message or "unsupported"})
        case Verdict.WARN:
            ElementTree.SubElement(test, "system-out").text = _clean(f"warning: {told}")


def _count(element: ElementTree.Element) -> None:
    counted = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for attribute, tag in counted.items():
        element.set(attribute, str(sum(1 for _ in element.iter(tag))))


def _clean(text: str) -> str:
    """XML has no room for control characters, not even escaped."""
    return _NOT_XML.sub("\ufffd", text)
