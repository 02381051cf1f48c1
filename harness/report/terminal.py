"""What the terminal says after a run: one screen that tells what is wrong, why it matters and how to have it again."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from harness.report.exhibits import Exhibit, Failure, broken_worlds, failures
from harness.report.ladder import around, focus, styled_text
from harness.report.markdown import baseline_notes
from harness.report.model import Results, Verdict
from harness.report.summary import Summary, summarise, where_fails
from harness.report.words import printable, vocabulary

STYLES = {
    Verdict.PASS: ("✓", "green"),
    Verdict.FAIL: ("✗", "bold red"),
    Verdict.WARN: ("!", "yellow"),
    Verdict.UNSTABLE: ("≈", "bold yellow"),
    Verdict.UNSUPPORTED: ("–", "dim"),
    Verdict.HARNESS_ERROR: ("?", "bold magenta"),
}
"""Symbol and style of each verdict."""

_COLUMNS = (Verdict.PASS, Verdict.FAIL, Verdict.UNSTABLE, Verdict.WARN, Verdict.UNSUPPORTED, Verdict.HARNESS_ERROR)
_WIDEST = 120
_OUTPUT_LINES = 8
_LADDERS = 3
"""The first failures come with their ladder; more would push the first one out of sight."""


def print_summary(
    results: Results, console: Console | None = None, *, most: int = 8, report: str | None = None
) -> None:
    """Print the outcome of a run: verdicts by area, then each failure with its source, ladder and replay command.

    `most`: how many failures to tell about in full. `report`: where the HTML report is, told at the end. Without a
    terminal the text is plain.
    """
    console = console or Console()
    summary = summarise(results)
    width = min(console.width, _WIDEST)
    console.print()
    _say(console, _areas(summary), width)
    for world in broken_worlds(results)[:3]:
        text = Text.assemble(("? harness error ", "bold magenta"), (world.case, "bold"), f"\n  {world.error}")
        _say(console, Group(text, _replay(world.replay)) if world.replay else text, width)
        console.print()
    everything = failures(results, summary, most=1)
    found = [failure for failure in everything if not failure.entry.because]
    printed: set[str] = set()
    for place, failure in enumerate(found[:most]):
        shown = failure.exhibits[0].world
        output = _last_lines(shown.output) if shown is not None else ""
        _say(
            console,
            _failure(failure, width, picture=place < _LADDERS, output="" if output in printed else output),
            width,
        )
        printed.add(output)
        console.print()
    if found[most:]:
        _say(console, Text.assemble(("and more: ", "bold"), _rest(found[most:])), width)
        console.print()
    for causes, told in _consequences(everything):
        _say(console, Text.assemble((f"only {causes}: ", "bold"), told), width)
        console.print()
    _say(console, _headline(results, summary), width)
    if report:
        _say(console, Text(f"Report: {report}"), width)


def _say(console: Console, what: RenderableType, width: int) -> None:
    """Print, without what a gateway may have sent to play with the terminal; in ASCII where nothing else goes."""
    table = _ASCII if console.options.ascii_only else {}
    segments = [
        Segment(printable(segment.text).translate(table), segment.style)
        for segment in console.render(what, console.options.update(width=width, highlight=False))
    ]
    if console.options.ascii_only:
        segments = [Segment(text.encode("ascii", "replace").decode(), style) for text, style, _ in segments]
    # Everything has been laid out within the width but for what is longer on purpose.
    console.print(Segments(segments), end="", crop=False)


_ASCII = str.maketrans(
    {"✓": "+", "✗": "x", "–": "-", "…": "~", "×": "x", "·": "|", "│": "|", "─": "-", "╌": ".", "═": "=", "▶": ">"}
    | {"≈": "~", "◀": "<", "⋮": ":", "╰": "`", "⟲": "@", "→": ">", "━": "-"}
)


def _areas(summary: Summary) -> Table:
    shown = [verdict for verdict in _COLUMNS if summary.counts[verdict] or verdict in (Verdict.PASS, Verdict.FAIL)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("area", footer="requirements")
    for verdict in shown:
        symbol, style = STYLES[verdict]
        name = f"{symbol} {str(verdict).replace('_', ' ')}"
        table.add_column(name, str(summary.counts[verdict]), justify="right", style=style, header_style=style)
    if summary.counts[None]:
        table.add_column("not checked", str(summary.counts[None]), justify="right", style="dim", header_style="dim")
    for area in summary.areas:
        numbers = [area.counts[verdict] for verdict in shown]
        if summary.counts[None]:
            numbers.append(area.counts[None])
        table.add_row(vocabulary().area(area.name), *(str(number) if number else "·" for number in numbers))
    return table


def _failure(failure: Failure, width: int, *, picture: bool, output: str = "") -> Group:
    rule = failure.entry.requirement
    symbol, style = STYLES[failure.verdict]
    exhibit = failure.exhibits[0]
    head = Text.assemble((f"{symbol} {rule.id}", style), "  ", (rule.level, "dim"), "  ", (rule.rule, "bold"))
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    if rule.why:
        facts.add_row("why", Text(rule.why))
    if rule.source:
        facts.add_row("source", Text(rule.source))
    facts.add_row("seen", Text(exhibit.check.message, style))
    facts.add_row("in", _place(exhibit))
    if exhibit.again is not None:
        facts.add_row("", Text("unstable: it did not fail when it was run again", "yellow"))
    if exhibit.expected is not None:
        facts.add_row("expected", Text(exhibit.expected or "by the baseline, which gives no reason"))
    if failure.more:
        facts.add_row("", Text(f"and {failure.more} more, different in other worlds: see the report"))
    parts: list[RenderableType] = [head, Padding(facts, (0, 0, 0, 2), expand=False)]
    if picture and exhibit.world is not None and exhibit.world.ladder:
        lines = focus(exhibit.world.ladder, exhibit.check.seq, f"{rule.id} is broken here")
        parts.append(Padding(styled_text(around(lines), width - 4), (1, 0, 1, 2), expand=False))
    if output:
        told = Text.assemble(("the gateway's last output\n", "dim"), output)
        parts.append(Padding(told, (0, 0, 1, 2), expand=False))
    if exhibit.world is not None and exhibit.world.replay:
        parts.append(_replay(exhibit.world.replay))
    return Group(*parts)


def _replay(command: str) -> Text:
    """The command in a line of its own, however long: it is there to be copied."""
    return Text.assemble(("  replay  ", "dim"), (command, "bold"), no_wrap=True, overflow="ignore")


def _rest(found: list[Failure]) -> str:
    """Failures that are not told in full, by their verdicts."""
    by: dict[Verdict, list[str]] = {}
    for failure in found:
        by.setdefault(failure.verdict, []).append(failure.entry.requirement.id)
    words = {Verdict.FAIL: "fails", Verdict.WARN: "warns of", Verdict.UNSTABLE: "unstable in"}
    return "; ".join(f"{words.get(verdict, str(verdict))} {', '.join(ids)}" for verdict, ids in by.items())


def _consequences(found: list[Failure]) -> list[tuple[str, str]]:
    """What fails only where something else does, by that."""
    by: dict[str, list[Failure]] = {}
    for failure in found:
        if failure.entry.because:
            by.setdefault(where_fails(failure.entry.because), []).append(failure)
    return [(causes, _rest(each)) for causes, each in by.items()]


def _last_lines(output: str) -> str:
    """The end of what a gateway printed: there the stack trace is, when there is one."""
    return "\n".join("  " + line for line in output.rstrip().splitlines()[-_OUTPUT_LINES:])


def _place(exhibit: Exhibit) -> Text:
    text = Text(exhibit.check.case)
    if exhibit.columns and any(exhibit.columns[0]):
        text.append(f"  {exhibit.columns[0]}")
    if exhibit.world is not None and exhibit.world.seed is not None:
        text.append(f"  seed {exhibit.world.seed}")
    if exhibit.count > 1:
        text.append(f"  and {exhibit.count - 1} more", "dim")
    return text


def _headline(results: Results, summary: Summary) -> Text:
    style = {0: "bold green", 1: "bold red"}.get(summary.exit_status, "bold magenta")
    name = f"{results.gateway} {results.gateway_version}".strip()
    text = Text.assemble((f"{name} {summary.headline}.", style))
    seed = f"seed {results.seed}" if results.seed is not None else "typical choices"
    text.append(
        f"\n{summary.checks.total():,} checks in {len(results.worlds):,} worlds on the {results.stage} stage, {seed}, "
        f"{results.duration_s:.1f} s."
    )
    for note in (*results.notes, *baseline_notes(results, summary)):
        text.append(f"\nNote: {note}", "yellow")
    return text
