"""JUnit XML, for CI servers: one test suite a case, one test case for each requirement that it checks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from harness.report.model import Check, Results, Verdict, rank

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(results: Results, path: Path) -> None:
    """Write the checks as JUnit XML.

    A failure is `failure`, a harness error `error`, unsupported `skipped`; a warning passes and says so in
    `system-out`. Several checks of one requirement in one case, model and dialect are one test case with the worst of
    their verdicts.
    """
    rules = {requirement.id: requirement for requirement in results.requirements}
    cases: dict[str, dict[tuple[str, str, str], Check]] = {}
    for check in results.checks:
        tests = cases.setdefault(check.case, {})
        key = (check.requirement, check.model, check.dialect)
        before = tests.get(key)
        if before is None or rank(check.verdict) > rank(before.verdict):
            tests[key] = check
    root = ElementTree.Element("testsuites", {"name": _clean(f"callproof: {results.gateway}")})
    _count(root, (check for tests in cases.values() for check in tests.values()))
    root.set("time", f"{results.duration_s:.3f}")
    for case, tests in cases.items():
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(case), "timestamp": results.created})
        _count(suite, tests.values())
        for (requirement, *_), check in tests.items():
            column = str(check.column) if any(check.column) else ""
            name = f"{requirement} [{column}]" if column else requirement
            test = ElementTree.SubElement(suite, "testcase", {"classname": _clean(case), "name": _clean(name)})
            if check.verdict is Verdict.PASS:
                continue
            rule = rules[requirement]
            world = results.world_of(check)
            told = [f"{rule.level} {rule.rule}", f"Source: {rule.source}", f"Seen: {check.message}"]
            if world is not None and world.replay:
                told.append(f"Replay: {world.replay}")
            _outcome(test, check, "\n".join(told))
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _outcome(test: ElementTree.Element, check: Check, told: str) -> None:
    message = _clean(check.message)
    match check.verdict:
        case Verdict.FAIL:
            ElementTree.SubElement(test, "failure", {"message": message, "type": check.level}).text = _clean(told)
        case Verdict.HARNESS_ERROR:
            ElementTree.SubElement(test, "error", {"message": message, "type": "harness_error"}).text = _clean(told)
        case Verdict.UNSUPPORTED:
            ElementTree.SubElement(test, "skipped", {"message": message or "unsupported"})
        case Verdict.WARN:
            ElementTree.SubElement(test, "system-out").text = _clean(f"warning: {told}")


def _count(element: ElementTree.Element, checks: Iterable[Check]) -> None:
    verdicts = [check.verdict for check in checks]
    element.set("tests", str(len(verdicts)))
    element.set("failures", str(verdicts.count(Verdict.FAIL)))
    element.set("errors", str(verdicts.count(Verdict.HARNESS_ERROR)))
    element.set("skipped", str(verdicts.count(Verdict.UNSUPPORTED)))


def _clean(text: str) -> str:
    """XML has no room for control characters, not even escaped."""
    return _NOT_XML.sub("\ufffd", text)
