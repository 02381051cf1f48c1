"""`results.json`: written for other tools, and read back by `callproof report` and `callproof compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.report.model import FORMAT, KEPT_FORMAT, Check, Results

SCHEMA = Path(__file__).with_name("results.schema.json")
"""The JSON Schema of `results.json`."""


class ResultsError(ValueError):
    """A results file that cannot be used, or results that contradict themselves."""


def write_json(results: Results, path: Path) -> None:
    """Write `results.json`, readable by eye and in a diff: one check and one world a line.

    Raises `ResultsError` when the results contradict themselves: a file that nobody can read back is worse than none.
    """
    _verify(results, "results")
    lines: list[bytes] = []
    for name in results.__struct_fields__:
        value = getattr(results, name)
        if isinstance(value, list) and value:
            items = b",\n    ".join(map(msgspec.json.encode, value))
            lines.append(b'  "%s": [\n    %s\n  ]' % (name.encode(), items))
        else:
            lines.append(b'  "%s": %s' % (name.encode(), msgspec.json.encode(value)))
    path.write_bytes(b"{\n" + b",\n".join(lines) + b"\n}\n")


def read_results(path: Path) -> Results:
    """Read a `results.json`, or the one in a report's directory.

    Raises `ResultsError`, saying what was expected and what was found, for a file that is missing, broken, of another
    program or of another format version.
    """
    if path.is_dir():
        path /= "results.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ResultsError(
            f"{path}: cannot be read ({error.strerror}); give a results.json or its directory"
        ) from error
    try:
        head: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: is not JSON ({error}); was it cut short? Run the suite again") from error
    if not isinstance(head, dict) or "format" not in head or "callproof" not in head:
        raise ResultsError(
            f"{path}: is not a callproof results file; expected an object with `format` and `callproof`, "
            f"found {_describe(head)}"
        )
    if head["format"] not in (FORMAT, KEPT_FORMAT):
        raise ResultsError(
            f"{path}: has results format {head['format']!r}, written by callproof {head['callproof']}; this callproof "
            f"reads formats {FORMAT} and {KEPT_FORMAT}. Run the suite again, or read it with the version that wrote it"
        )
    try:
        results = msgspec.convert(head, Results)
    except msgspec.ValidationError as error:
        raise ResultsError(f"{path}: does not follow {SCHEMA.name}: {error}") from error
    _verify(results, str(path))
    _ungroup(results)
    return results


def _ungroup(results: Results) -> None:
    """Turn what a kept file says in short into checks like any other."""
    level = {requirement.id: requirement.level for requirement in results.requirements}
    results.checks += [
        Check(
            requirement=group.requirement,
            level=level[group.requirement],
            case=results.cases[number],
            verdict=group.verdict,
            model=group.model,
            dialect=group.dialect,
            as_of=group.as_of,
            message=group.message,
            seq=group.seq,
        )
        for group in results.grouped
        for number in group.cases
    ]
    results.cases, results.grouped, results.format = [], [], FORMAT


def dated(results: Results) -> Results:
    """The same results with a day on every check, in place: files from before several days could be asked for have it
    on their worlds only."""
    if all(check.as_of for check in results.checks):
        return results
    known = {(world.model, world.dialect): world.as_of for world in results.worlds if world.as_of}
    results.checks = [
        check
        if check.as_of
        else msgspec.structs.replace(check, as_of=known.get((check.model, check.dialect)) or results.as_of or "")
        for check in results.checks
    ]
    return results


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return f"one with {', '.join(f'`{key}`' for key in sorted(value)[:6]) or 'nothing'}"
    return f"a JSON {type(value).__name__}"


def _verify(results: Results, where: str) -> None:
    """Refuse checks and worlds that point to what is not there."""
    known = {requirement.id for requirement in results.requirements}
    if len(known) != len(results.requirements):
        seen: set[str] = set()
        twice = next(r.id for r in results.requirements if r.id in seen or seen.add(r.id))  # type: ignore[func-returns-value]
        raise ResultsError(f"{where}: requirement {twice} is listed twice; ids are unique")
    worlds = len(results.worlds)
    for number, check in enumerate(results.checks):
        if check.requirement not in known:
            raise ResultsError(
                f"{where}: checks[{number}] ({check.case}) is on requirement {check.requirement}, "
                f"which is not among the {len(known)} listed"
            )
        if check.world is not None and not 0 <= check.world < worlds:
            raise ResultsError(
                f"{where}: checks[{number}] ({check.case}) points to worlds[{check.world}]; there are {worlds} worlds"
            )
    for number, world in enumerate(results.worlds):
        if world.again is not None and not 0 <= world.again < worlds:
            raise ResultsError(
                f"{where}: worlds[{number}] ({world.case}) was run again in worlds[{world.again}]; "
                f"there are {worlds} worlds"
            )
    for number, group in enumerate(results.grouped):
        if group.requirement not in known or not all(0 <= case < len(results.cases) for case in group.cases):
            raise ResultsError(
                f"{where}: grouped[{number}] is on requirement {group.requirement} and cases {group.cases[:4]}; "
                f"expected one of the {len(known)} requirements listed and positions in the {len(results.cases)} cases"
            )
