"""Two revisions of the protocol side by side: events and fields that were added, removed, renamed or changed.

    session.update   session.voice -> session.audio.output.voice    types: object or string; was string

What is the same thing under another name cannot be seen from the schemas: `renames.toml` says it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fakes.openai.protocol.fields import Event, Field, any_of, events
from fakes.openai.protocol.validation import DIRECTIONS

Kind = Literal["added", "removed", "renamed", "changed"]
KINDS: tuple[Kind, ...] = ("renamed", "removed", "added", "changed")

_LIMITS = {"minimum": "at least", "maximum": "at most", "maxLength": "length at most"}


class RenameError(ValueError):
    """`renames.toml` speaks of an event or a field that neither or only one of its revisions has."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """What became of one field. `path`: where it is now, or where it was when it is gone. `old`: where a renamed one
    was. `details`: what else is different, one phrase each."""

    kind: Kind
    path: str
    old: str | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventChange:
    """What became of one event. `type`: its name now, or its last one when it is gone. `old`: the former name of a
    renamed one. `stays`: the one of the two names that both revisions have, when the work of one event is added to
    that of another, or taken from it. `note`: when the new name is not simply the successor of the old. `fields`: what
    changed inside."""

    kind: Kind
    direction: str
    type: str
    old: str | None = None
    stays: str | None = None
    note: str = ""
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that is different between two revisions, renamed events first, and the events that are not."""

    old: str
    new: str
    changes: tuple[EventChange, ...]
    unchanged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renames:
    """The names that changed from one revision to another; see `renames.toml` for what they are keyed by."""

    events: tuple[tuple[str, str], ...] = ()
    joins: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)


@cache
def renames(old: str, new: str) -> Renames:
    """The known renames between two revisions, in either direction. None are known of most pairs."""
    table = _tables()
    forth: dict[str, Any] = table.get(old, {}).get(new, {})
    back: dict[str, Any] = table.get(new, {}).get(old, {})
    pairs = {
        part: (*_pairs(forth.get(part, {})), *((b, a) for a, b in _pairs(back.get(part, {}))))
        for part in ("events", "joins", "fields")
    }
    moved = dict(_pairs(back.get("fields", {})))
    notes = {**forth.get("notes", {}), **{moved[path]: note for path, note in back.get("notes", {}).items()}}
    kinds = {**forth.get("kinds", {}), **back.get("kinds", {})}
    return Renames(pairs["events"], pairs["joins"], pairs["fields"], notes, kinds)


def check_renames() -> None:
    """Raises `RenameError` when `renames.toml` has a name that the schemas do not have."""
    for old, of_old in _tables().items():
        for new in of_old:
            known = renames(old, new)
            for one, other in (*known.events, *known.joins):
                for revision, name in ((old, one), (new, other)):
                    if name not in events(revision):
                        raise RenameError(f"renames.toml: [{old}.{new}]: {revision} has no event {name}")
            for one, other in known.fields:
                for revision, path in ((old, one), (new, other)):
                    if not any(path in event.fields for event in events(revision).values()):
                        raise RenameError(f"renames.toml: [{old}.{new}.fields]: no event of {revision} has {path}")
            for path, value in known.kinds.items():
                there = [event.fields[path] for event in events(new).values() if path in event.fields]
                if not any(value in each.values for each in there):
                    raise RenameError(f"renames.toml: [{old}.{new}.kinds]: {path} is never {value!r} in {new}")
            for path in known.notes:
                if path not in dict(known.fields):
                    raise RenameError(f"renames.toml: [{old}.{new}.notes]: {path} is not in [{old}.{new}.fields]")


def compare(old: str, new: str) -> Comparison:
    """What is different in the revision `new` for somebody who knows `old`."""
    before, after = events(old), events(new)
    known = renames(old, new)
    pairs = [(a, b) for a, b in (*known.events, *known.joins) if a in before and b in after]
    found: list[EventChange] = []
    unchanged = []
    for a, b in pairs:
        # The fields of an event with a wider task were never those of the other one.
        joined = (a, b) in known.joins
        inside = () if joined else _fields(before[a], after[b], known)
        stays = (b if b in before else a) if joined else None
        note = _note(a, b, pairs, before, after)
        found.append(EventChange("renamed", after[b].direction, b, a, stays, note, inside))
    renamed, successor = {a for a, _ in pairs}, {b for _, b in pairs}
    for name, event in before.items():
        if name in after:
            inside = _fields(event, after[name], known)
            if inside:
                found.append(EventChange("changed", event.direction, name, fields=inside))
            elif name not in renamed:
                unchanged.append(name)
        elif name not in renamed:
            found.append(EventChange("removed", event.direction, name))
    for name, event in after.items():
        if name not in before and name not in successor:
            found.append(EventChange("added", event.direction, name))
    found.sort(key=lambda change: (DIRECTIONS.index(change.direction), KINDS.index(change.kind), change.old or ""))
    return Comparison(old, new, tuple(found), tuple(unchanged))


def concerns(touch: str, change: EventChange, inside: FieldChange | None = None) -> bool:
    """Whether what somebody relies on is affected by a change: of the event, or `inside` of it of one field.

    `touch` is an event's type, by either of its names: affected when the event is added, removed or renamed, but not
    when another one joins it. With a
    path behind it, as in `session.update:session.audio.input`: also when that field changes, anything in it, or what
    it is in. `client` and `server` are any event of that direction, and any change to it.
    """
    if touch in DIRECTIONS:
        return touch == change.direction
    name, _, path = touch.partition(":")
    if name not in (change.type, change.old) or name == change.stays:
        return False
    if inside is None:
        return change.kind != "changed"
    return bool(path) and any(_within(path, at) or _within(at, path) for at in (inside.path, inside.old) if at)


def is_known(touch: str, revisions: Iterable[str]) -> bool:
    """Whether what `concerns` takes as a touch is an event, or a field, of one of the revisions."""
    if touch in DIRECTIONS:
        return True
    name, _, path = touch.partition(":")
    there = (events(revision)[name] for revision in revisions if name in events(revision))
    return any(not path or path in event.fields for event in there)


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "renames.toml").read_text(encoding="utf-8"))


def _pairs(table: Mapping[str, str | list[str]]) -> Iterator[tuple[str, str]]:
    for old, new in table.items():
        for each in [new] if isinstance(new, str) else new:
            yield old, each


def _note(
    old: str, new: str, pairs: list[tuple[str, str]], before: Mapping[str, Event], after: Mapping[str, Event]
) -> str:
    notes = []
    others = [b for a, b in pairs if a == old and b != new]
    if others:
        notes.append(f"together with {' and '.join(others)}")
    others = [a for a, b in pairs if b == new and a != old]
    if others:
        notes.append(f"as {' and '.join(others)}")
    if new in before:
        notes.append("which was there before")
    if old in after:
        notes.append("the old name is still there")
    return "; ".join(notes)


def _fields(before: Event, after: Event, known: Renames) -> tuple[FieldChange, ...]:
    """What is different inside of one event. Of what came or went as a whole only the outermost field is told."""
    moves = {a: b for a, b in known.fields if a in before.fields and b in after.fields and a != b}
    now = {path: _moved(path, moves) for path in before.fields}
    then = {new: old for old, new in now.items()}
    common = {
        new: frozenset(before.fields[old].values) & frozenset(after.fields[new].values)
        for old, new in now.items()
        if new in after.fields and before.fields[old].values and after.fields[new].values
    }
    partners = {old: new for old, new in now.items() if new in after.fields}
    shared = {old: common[new] for old, new in partners.items() if new in common}
    removed, gone_with = _lone(before, after, partners, moves, shared)
    added, come_with = _lone(after, before, then, moves.values(), common)
    found: list[FieldChange] = [FieldChange("removed", path) for path in removed]
    for old, new in partners.items():
        was = _Seen(old, before.fields[old], moves, common, known.kinds)
        seen = _Seen(new, after.fields[new], {}, common, known.kinds)
        details = list(_details(was, seen, come_with.get(new, []), gone_with.get(old, [])))
        if old in moves:
            details += [known.notes[old]] if old in known.notes else []
            found.append(FieldChange("renamed", new, old, tuple(details)))
        elif details:
            found.append(FieldChange("changed", new, None, tuple(details)))
    found += [FieldChange("added", path, None, tuple(_demands(path, after.fields[path]))) for path in added]
    return tuple(sorted(found, key=lambda change: KINDS.index(change.kind)))


def _lone(
    event: Event,
    other: Event,
    partners: Mapping[str, str],
    moved: Iterable[str],
    common: Mapping[str, frozenset[Any]],
) -> tuple[list[str], dict[str, list[str]]]:
    """The outermost fields that only `event` has. Apart from them, and by the path of the field that names the kind:
    the names of those that only things of a kind have that only `event` knows.

    `partners`: what a field is called in the other one; `moved`: the paths here of those that are called otherwise.
    """
    # What is only there to hold what moved is no news.
    holders = {path for path in event.fields if any(_within(each, path) for each in moved)}
    lone: list[str] = []
    of_kinds: dict[str, list[str]] = {}
    covered: list[str] = []
    for path, field_ in event.fields.items():
        if path in partners or path in holders or any(_within(path, each) for each in covered):
            continue
        parent = _parent(path)
        if parent in partners and not _has_fields(other.fields[partners[parent]]):
            continue  # its parent is an object on this side only: that is told there
        covered.append(path)
        kinds = {at for each in field_.only for at, value in each if _foreign(at, value, common)}
        if kinds and all(any(_foreign(at, value, common) for at, value in each) for each in field_.only):
            kind = min(kinds)
            of_kinds.setdefault(kind, []).append(path.removeprefix(f"{_parent(kind)}."))
        else:
            lone.append(path)
    return lone, of_kinds


def _foreign(at: str, value: str, common: Mapping[str, frozenset[Any]]) -> bool:
    """Whether a condition speaks of a value that the other side does not know."""
    return at in common and value.lstrip("!") not in common[at]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A field as somebody sees it who knows only what two revisions have in common. `moves`: to the names of now;
    `common`: the values that both know, by path; `kinds`: see `Renames`."""

    path: str
    field: Field
    moves: Mapping[str, str]
    common: Mapping[str, frozenset[Any]]
    kinds: Mapping[str, str]

    def needed(self) -> str:
        if self.field.required or not self.field.when:
            return needed(self.path, self.field)
        left = []
        for conditions in self.field.when:
            pairs = [(_moved(at, self.moves), value) for at, value in conditions]
            if all(self._possible(at, value) for at, value in pairs):
                left.append(tuple(pair for pair in pairs if pair[0] not in self.kinds))
        for at, values in self.common.items():
            if values and {((at, value),) for value in values} <= set(left):
                left.append(())
        seen = replace(self.field, required=() in left, when=tuple(dict.fromkeys(left)))
        return needed(_moved(self.path, self.moves), seen)

    def _possible(self, at: str, value: str) -> bool:
        if at in self.kinds:
            return value == self.kinds[at]
        return at not in self.common or value.lstrip("!") in self.common[at]


def _moved(path: str, moves: Mapping[str, str]) -> str:
    for old in sorted(moves, key=len, reverse=True):
        if _within(path, old):
            return moves[old] + path[len(old) :]
    return path


def _within(path: str, other: str) -> bool:
    """Whether `path` is `other` or in it."""
    return path == other or path.startswith((f"{other}.", f"{other}["))


def _parent(path: str) -> str:
    return path.removesuffix("[]") if path.endswith("[]") else path.rpartition(".")[0]


def _has_fields(kind: Field) -> bool:
    return bool({"object", "array"} & set(kind.types))


def _details(was: _Seen, now: _Seen, come: list[str], gone: list[str]) -> Iterator[str]:
    """What is different; `come` and `gone`: the fields that came and went with values of this one."""
    before, after = was.field, now.field
    if before.types != after.types:
        yield f"{' or '.join(after.types)}; was {' or '.join(before.types)}"
    if before.values != after.values and "string" in before.types and "string" in after.types:
        yield from _values(before.values, after.values, come, gone)
    old_limits, limits = dict(before.limits), dict(after.limits)
    for name in sorted(old_limits.keys() | limits.keys()):
        if old_limits.get(name) != limits.get(name):
            yield f"{_LIMITS[name]} {limits.get(name, 'anything')}; was {old_limits.get(name, 'anything')}"
    if was.needed() != now.needed():
        yield f"{now.needed()}; was {was.needed()}"


def _values(before: tuple[Any, ...], after: tuple[Any, ...], come: list[str], gone: list[str]) -> Iterator[str]:
    if not after:
        yield f"any value; was one of {_listed(before)}"
        return
    if not before:
        yield f"one of {_listed(after)}; was any value"
        return
    for word, values, fields in (
        ("also", [value for value in after if value not in before], come),
        ("no longer", [value for value in before if value not in after], gone),
    ):
        if values:
            yield f"{word} {_listed(values)}" + (f", with {_listed(fields)}" if fields else "")


def _demands(path: str, added: Field) -> Iterator[str]:
    if added.required or added.when:
        yield needed(path, added)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def needed(path: str, what: Field) -> str:
    """Whether a field must be there, in words."""
    if what.required:
        return "required"
    if what.when:
        return f"required if {any_of(path, what.when)}"
    return "optional"


def limits(what: Field) -> list[str]:
    """The limits of a field in words."""
    return [f"{_LIMITS[name]} {limit}" for name, limit in what.limits]
