"""`callproof protocol`: the vendor's vocabulary, and what becomes of it from one revision to the next."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harness.requirements import Registry, Requirement
from harness.run import EXIT_USAGE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fakes.openai.protocol.compare import Comparison, EventChange, FieldChange
    from fakes.openai.protocol.fields import Event, Field

REQUIREMENTS = Path(__file__).resolve().parent.parent / "conformance" / "requirements"

_TO = {"client": "client events, to the vendor", "server": "server events, from the vendor"}
_PIPE_WIDTH = 120
_COLOURS = {"renamed": "cyan", "removed": "red", "added": "green", "changed": "yellow"}


@click.group()
def protocol() -> None:
    """Read the OpenAI Realtime protocol. Its revisions, their events, and what is different between two."""


@protocol.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_revisions(as_json: bool) -> None:
    """List the revisions that there are schemas of."""
    from fakes.openai.protocol.validation import REVISIONS, event_types, load

    rows = [
        {
            "revision": name,
            "about": load(name, "client")["about"],
            "endpoint": load(name, "client")["endpoint"],
            "client_events": len(event_types(name, "client")),
            "server_events": len(event_types(name, "server")),
            "source": load(name, "client")["source"],
        }
        for name in REVISIONS
    ]
    if as_json:
        _print_json(rows)
        return
    table = _table("revision", "client", "server", "events; what it is, and where it is spoken")
    for row in rows:
        about = f"{row['about']}\n[dim]{row['endpoint']}[/dim]"
        table.add_row(f"[bold]{row['revision']}[/bold]", str(row["client_events"]), str(row["server_events"]), about)
    _print(table)


@protocol.command()
@click.argument("revision")
@click.argument("event", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(revision: str, event: str | None, as_json: bool) -> None:
    """Show the events of REVISION with their fields, or one EVENT in full."""
    from fakes.openai.protocol.fields import events

    known = events(_revision(revision))
    if event is not None:
        if event not in known:
            _fail(_no_event(revision, event, known))
        _show_event(revision, known[event], as_json)
        return
    if as_json:
        _print_json({"revision": revision, "events": {name: _event_data(each) for name, each in known.items()}})
        return
    for direction, title in _TO.items():
        table = _table(title, "fields; ? marks what may be missing")
        for each in known.values():
            if each.direction == direction:
                table.add_row(f"[bold]{each.type}[/bold]", ", ".join(_outer(each)))
        _print(table, "")
    click.echo(f"callproof protocol show {revision} EVENT shows one in full.")


@protocol.command()
@click.argument("old")
@click.argument("new")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
def diff(old: str, new: str, as_json: bool, markdown: bool) -> None:
    """Compare two revisions: events and fields that were renamed, removed, added or changed from OLD to NEW, and the
    requirements of the suite that rest on them."""
    from fakes.openai.protocol.compare import compare

    if as_json and markdown:
        _fail("give either --json or --markdown")
    effects = _Effects(compare(_revision(old), _revision(new)), Registry.load(REQUIREMENTS))
    if as_json:
        _print_json(_comparison_data(effects))
    elif markdown:
        click.echo(_markdown(effects))
    else:
        _print_comparison(effects)


# -- what the commands have in common


def _fail(message: str) -> NoReturn:
    click.echo(f"callproof: {message}", err=True)
    sys.exit(EXIT_USAGE)


def _revision(name: str) -> str:
    from fakes.openai.protocol.validation import REVISIONS

    if name not in REVISIONS:
        near = difflib.get_close_matches(name, REVISIONS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(REVISIONS)}"
        _fail(f"no revision is called {name!r}; {hint}")
    return name


def _no_event(revision: str, event: str, known: Iterable[str]) -> str:
    from fakes.openai.protocol.compare import renames
    from fakes.openai.protocol.fields import events
    from fakes.openai.protocol.validation import REVISIONS

    message = f"{revision} has no event {event!r}"
    for other in (each for each in REVISIONS if event in events(each)):
        table = renames(other, revision)
        now = [b for a, b in (*table.events, *table.joins) if a == event]
        if now:
            return f"{message}; it is one of {other}, and here it is {' and '.join(now)}"
    others = [each for each in REVISIONS if event in events(each)]
    if others:
        return f"{message}; it is one of {' and '.join(others)}"
    near = difflib.get_close_matches(event, list(known), 1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"callproof protocol show {revision} lists them"
    return f"{message}; {hint}"


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(*parts: RenderableType) -> None:
    """Print to the width of the terminal, or of `COLUMNS`; in a pipe to a fixed one. No line ends in blanks."""
    from rich.console import Console

    fixed = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if fixed else _PIPE_WIDTH, highlight=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=1))


# -- show


def _outer(event: Event) -> list[str]:
    """The fields of the event itself, without those in them; what is required comes first."""
    outer = {path: field for path, field in event.fields.items() if not any(mark in path for mark in ".[")}
    required = [path for path, field in outer.items() if field.required]
    return required + [f"{path}?" for path, field in outer.items() if not field.required]


def _show_event(revision: str, event: Event, as_json: bool) -> None:
    if as_json:
        _print_json({"revision": revision, "type": event.type, **_event_data(event)})
        return
    direction = _TO[event.direction].replace("events", "event")
    lines: list[RenderableType] = [f"[bold]{event.type}[/bold]  {revision} {direction}", ""]
    for path, field in event.fields.items():
        must = ", required" if field.required else ", sometimes required" if field.when else ""
        lines.append(f"{_escaped(path)}  [cyan]{' or '.join(field.types)}[/cyan]{must}")
        lines += [_indented(each, 4) for each in _allowed(path, field)]
    _print(*lines)


def _allowed(path: str, field: Field) -> list[str]:
    from fakes.openai.protocol.compare import limits, needed
    from fakes.openai.protocol.fields import any_of

    said = [", ".join(str(value) for value in field.values)] if field.values else []
    said += [", ".join(limits(field))] if field.limits else []
    if field.when:
        otherwise = ", unknown otherwise" if set(field.when) == set(field.only) else ""
        said.append(needed(path, field) + otherwise)
    if set(field.only) - set(field.when):
        said.append(f"only if {any_of(path, field.only)}")
    return said


def _event_data(event: Event) -> dict[str, Any]:
    return {
        "direction": event.direction,
        "fields": {path: _field_data(path, field) for path, field in event.fields.items()},
    }


def _field_data(path: str, field: Field) -> dict[str, Any]:
    from fakes.openai.protocol.fields import where

    return {
        "types": list(field.types),
        "required": field.required,
        "required_if": [where(path, each) for each in field.when],
        "only_if": [where(path, each) for each in field.only],
        "values": list(field.values),
        **dict(field.limits),
    }


# -- diff


@dataclass(frozen=True, slots=True)
class _Effects:
    """A comparison, and the requirements that it touches."""

    comparison: Comparison
    registry: Mapping[str, Requirement]

    def on(self, change: EventChange, inside: FieldChange | None = None) -> list[str]:
        """The ids of the requirements that rest on what changed. Those on a whole direction are left to `all`."""
        return [each.id for each in self.registry.values() if _rests(each, change, inside)]

    def on_whole(self, change: EventChange) -> list[str]:
        """The ids of those that rest on the event, or on every field of it that changed."""
        of_fields = [set(self.on(change, inside)) for inside in change.fields]
        names = {*self.on(change), *(set.intersection(*of_fields) if of_fields else ())}
        return [name for name in self.registry if name in names]

    def on_part(self, changes: list[EventChange], inside: FieldChange) -> list[str]:
        """The ids of those that rest on a field, in any of some events, and are not told with the event already."""
        names = {name for change in changes for name in self.on(change, inside)}
        names -= {name for change in changes if names for name in self.on_whole(change)}
        return [name for name in self.registry if name in names]

    def all(self) -> dict[str, list[str]]:
        """By the id of each requirement that is touched, the names of what touches it: events, fields, directions."""
        touched: dict[str, list[str]] = {}
        for requirement in self.registry.values():
            through = [
                f"every {direction} event"
                for direction in _TO
                if direction in requirement.touches
                and any(change.direction == direction for change in self.comparison.changes)
            ]
            for change in self.comparison.changes:
                if _rests(requirement, change):
                    through.append(change.type)
                for inside in change.fields:
                    if _rests(requirement, change, inside):
                        through.append(f"{change.type}:{inside.path}")
            if through:
                touched[requirement.id] = list(dict.fromkeys(through))
        return touched

    def groups(self, direction: str) -> list[tuple[list[EventChange], tuple[FieldChange, ...]]]:
        """The changes of a direction; events in which exactly the same fields changed are together."""
        groups: dict[Any, list[EventChange]] = {}
        for change in self.comparison.changes:
            if change.direction == direction:
                groups.setdefault(change.fields or change, []).append(change)
        return [(changes, changes[0].fields) for changes in groups.values()]

    def summary(self) -> str:
        """How much there is of what, in one line."""
        from fakes.openai.protocol.compare import KINDS

        changes = self.comparison.changes
        counts = [f"{sum(change.kind == kind for change in changes)} {kind}" for kind in KINDS]
        return f"events: {', '.join(counts)}, {len(self.comparison.unchanged)} the same"


def _rests(requirement: Requirement, change: EventChange, inside: FieldChange | None = None) -> bool:
    """Whether it names what changed, not just the direction."""
    from fakes.openai.protocol.compare import concerns

    return any(concerns(touch, change, inside) for touch in requirement.touches if touch not in _TO)


def _name(now: str, old: str | None, arrow: str = " -> ") -> str:
    return now if old is None else f"{old}{arrow}{now}"


def _print_comparison(effects: _Effects) -> None:
    from rich.console import Group

    comparison = effects.comparison
    _print(f"[bold]{comparison.old} -> {comparison.new}[/bold]  {effects.summary()}")
    for direction, title in _TO.items():
        groups = effects.groups(direction)
        if not groups:
            continue
        table = _table("", title, "requirements")
        for changes, fields in groups:
            for change in changes:
                name = f"[bold]{_name(change.type, change.old)}[/bold]" + (
                    f"\n[dim]{change.note}[/dim]" if change.note else ""
                )
                table.add_row(_coloured(change.kind), name, "\n".join(effects.on_whole(change)))
            for inside in fields:
                ids = effects.on_part(changes, inside)
                details = [_indented(detail, 6) for detail in inside.details]
                row = Group(_indented(_name(inside.path, inside.old), 2, style=""), *details)
                table.add_row(_coloured(inside.kind), row, "\n".join(ids))
        _print("", table)
    touched = effects.all()
    if not touched:
        _print("", "No requirement rests on what changed.")
        return
    table = _table("requirement", "", "touched through")
    for name, through in touched.items():
        requirement = effects.registry[name]
        short = _indented(", ".join(_shortened(through)), 0)
        table.add_row(name, requirement.level, Group(_escaped(requirement.rule), short))
    _print("", table)


def _shortened(through: list[str]) -> list[str]:
    """The same with the fields of an event counted where there are many."""
    of_event: dict[str, list[str]] = {}
    for each in through:
        of_event.setdefault(each.partition(":")[0], []).append(each)
    short: list[str] = []
    for event, names in of_event.items():
        fields = [name for name in names if ":" in name]
        if len(fields) > 2:
            names = [*(name for name in names if ":" not in name), f"{len(fields)} fields of {event}"]
        short += names
    return short


def _indented(text: str, by: int, style: str = "dim") -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(text, style=style), (0, 0, 0, by), expand=False)


def _coloured(kind: str) -> str:
    return f"[{_COLOURS[kind]}]{kind}[/]"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _comparison_data(effects: _Effects) -> dict[str, Any]:
    comparison = effects.comparison
    return {
        "old": comparison.old,
        "new": comparison.new,
        "changes": [
            {
                "kind": change.kind,
                "direction": change.direction,
                "type": change.type,
                "old": change.old,
                "note": change.note,
                "requirements": effects.on(change),
                "fields": [
                    {
                        "kind": inside.kind,
                        "path": inside.path,
                        "old": inside.old,
                        "details": list(inside.details),
                        "requirements": effects.on(change, inside),
                    }
                    for inside in change.fields
                ],
            }
            for change in comparison.changes
        ],
        "unchanged": list(comparison.unchanged),
        "requirements": {
            name: {
                "level": effects.registry[name].level,
                "rule": effects.registry[name].rule,
                "through": through,
            }
            for name, through in effects.all().items()
        },
    }


def _markdown(effects: _Effects) -> str:
    comparison = effects.comparison
    lines = [f"# OpenAI Realtime: {comparison.old} to {comparison.new}", "", f"{effects.summary().capitalize()}."]
    for direction, title in _TO.items():
        groups = effects.groups(direction)
        if not groups:
            continue
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", "| | event | | requirements |", "|---|---|---|---|"]
        for change in (change for changes, _ in groups for change in changes):
            lines.append(
                _row(change.kind, _code(change.type, change.old), change.note, ", ".join(effects.on_whole(change)))
            )
        for changes, fields in groups:
            if fields:
                names = ", ".join(f"`{change.type}`" for change in changes)
                lines += ["", f"### Fields of {names}", "", "| | field | | requirements |", "|---|---|---|---|"]
            for inside in fields:
                ids = effects.on_part(changes, inside)
                lines.append(
                    _row(inside.kind, _code(inside.path, inside.old), "; ".join(inside.details), ", ".join(ids))
                )
    lines += ["", "## Requirements touched", ""]
    for name, through in effects.all().items():
        requirement = effects.registry[name]
        names = ", ".join(each if " " in each else f"`{each}`" for each in _shortened(through))
        lines.append(f"- **{name}** ({requirement.level}) {requirement.rule} Touched through {names}.")
    return "\n".join(lines)


def _code(now: str, old: str | None) -> str:
    return f"`{_name(now, old, '` → `')}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
