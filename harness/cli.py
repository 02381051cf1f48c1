"""The command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from harness import run
from harness.cli_gateway import COMMANDS as GATEWAY_COMMANDS
from harness.cli_protocol import protocol
from harness.cli_report import COMMANDS as REPORT_COMMANDS

SUITE = Path(__file__).resolve().parent.parent / "conformance"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(run.VERSION, prog_name="callproof")
def main() -> None:
    """Simulation and conformance tests for realtime-voice gateways."""


main.add_command(protocol)
for _command in (*REPORT_COMMANDS, *GATEWAY_COMMANDS):
    main.add_command(_command)


def _fail(error: Exception, status: int) -> None:
    click.echo(f"callproof: {error}", err=True)
    sys.exit(status)


def _pytest(arguments: list[str]) -> int:
    """Run pytest on the suite, alone: neither the plugins and settings of the project that the user stands in, nor
    those of the environment, have a say in it. Returns its exit status."""
    import pytest
    from hypothesis.configuration import set_hypothesis_home_dir

    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    if "HYPOTHESIS_STORAGE_DIRECTORY" not in os.environ:
        set_hypothesis_home_dir(run.cache_folder() / "hypothesis")
    base = ["-c", os.devnull, f"--rootdir={SUITE.parent}", "-p", "no:cacheprovider"]
    base += ["--disable-plugin-autoload", "-p", "harness.pytest_plugin"]
    # The summary of callproof says what failed and why.
    base += ["-qq", "--no-header", "--tb=no", "-rE", "--disable-warnings"]
    return int(pytest.main([*base, str(SUITE), *arguments]))


@main.command(name="run")
@click.option(
    "--gateway", envvar="CALLPROOF_GATEWAY", metavar="NAME", help="A profile's name, or a path to one.  [reference]"
)
@click.option(
    "--stage",
    type=click.Choice(["virtual", "live"]),
    default=None,
    help="Virtual time, or real time.  [virtual, where the gateway can run in it]",
)
@click.option("--model", "models", multiple=True, help="A model to try; may be repeated; `all` for every one.")
@click.option(
    "--as-of", multiple=True, metavar="DATE", help="The day that the vendors live in, or `today`; may be repeated."
)
@click.option(
    "--intercept",
    type=click.Choice(["namespace", "settings", "proxy"]),
    default=None,
    help="Live stage: how vendor hosts are led to the fakes.  [as fits the profile]",
)
@click.option("--jobs", type=int, default=None, help="Processes that share the cases.  [as fits]")
@click.option("--seed", type=int, default=None, help="Vary timing and order by this seed; without it typical values.")
@click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE", help="Turn a vendor's knob.")
@click.option("--report", default="reports/latest", show_default=True, metavar="DIR", help="'' for no report.")
@click.option("--case", "cases", multiple=True, metavar="TEXT", help="Only cases with this in their name.")
@click.option("--examples", type=int, default=None, help="Worlds for each property test.")
@click.option("--baseline", default=None, metavar="FILE", help="Failures that are expected; any other fails the run.")
@click.option("--github", is_flag=True, help="Write annotations for GitHub; on in its workflows anyway.")
def run_suite(
    gateway: str | None,
    stage: str | None,
    intercept: str | None,
    jobs: int | None,
    models: tuple[str, ...],
    as_of: tuple[str, ...],
    seed: int | None,
    knobs: tuple[str, ...],
    report: str,
    cases: tuple[str, ...],
    examples: int | None,
    baseline: str | None,
    github: bool,
) -> None:
    """Run the conformance suite against a gateway.

    Exit status: 0 all well, 1 failures, 2 usage, 3 gateway not startable, 4 harness error.
    """
    arguments = [f"--report={report}", *([f"--stage={stage}"] if stage else [])]
    arguments += [f"--gateway={gateway}"] if gateway else []
    arguments += [f"--model={model}" for model in models] + [f"--knob={knob}" for knob in knobs]
    arguments += [f"--case={case}" for case in cases]
    arguments += [f"--as-of={day}" for day in as_of]
    arguments += [f"--intercept={intercept}"] if intercept else []
    arguments += [f"--jobs={jobs}"] if jobs is not None else []
    arguments += [f"--seed={seed}"] if seed is not None else []
    arguments += [f"--examples={examples}"] if examples is not None else []
    arguments += [f"--baseline={baseline}"] if baseline else []
    arguments += ["--github"] if github else []
    sys.exit(_pytest(arguments))


@main.command()
@click.argument("trace", type=click.Path())
@click.option("--stage", type=click.Choice(["virtual", "live"]), default=None, help="Another stage than the trace's.")
@click.option("--gateway", default=None, metavar="NAME", help="Another gateway than the trace's.")
@click.option("--report", default="", metavar="DIR", help="Write a report there.")
def replay(trace: str, stage: str | None, gateway: str | None, report: str) -> None:
    """Run the world of a trace again. Same verdict, same wire on the virtual stage, same order on the live one.

    Says whether it was the same run. The exit status is that of the run itself: 1 when the failure is there again.
    """
    arguments = [f"--replay-trace={trace}", f"--report={report}"]
    arguments += [f"--gateway={gateway}"] if gateway else []
    arguments += [f"--stage={stage}"] if stage else []
    sys.exit(_pytest(arguments))


@main.command()
@click.argument("pattern", default="")
def knobs(pattern: str) -> None:
    """List the vendors' knobs. What each one is about, its default, and what else it can be."""
    from rich.console import Console
    from rich.table import Table

    from conformance.assembly import make_knobs

    table = Table("knob", "default", "or", "what it decides", box=None, pad_edge=False)
    known = make_knobs()
    for name in sorted(known):
        if pattern in name:
            knob = known.knob(name)
            others = ", ".join(str(option) for option in knob.options if option != knob.default)
            table.add_row(name, str(knob.default), others, knob.behaviour)
    Console().print(table)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the control API; the vendors get free ports."
)
@click.option("--as-of", default=None, metavar="DATE", help="The day that the vendors live in, or `today`.")
@click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE", help="Turn a vendor's knob.")
def serve(host: str, port: int, as_of: str | None, knobs: tuple[str, ...]) -> None:
    """Run all fake vendors on loopback. Prints one JSON line when they are ready."""
    from conformance.serving import CannotListen, serve_forever

    try:
        serve_forever(host, port, run.parse_as_of(as_of), run.parse_knobs(knobs))
    except (run.UsageProblem, CannotListen) as error:
        _fail(error, run.EXIT_USAGE)


@main.command()
@click.option("--seconds", type=float, default=3.0, show_default=True, help="CPU seconds for each measurement.")
@click.option("--live/--no-live", default=True, show_default=True, help="Also measure the live stage.")
def bench(seconds: float, live: bool) -> None:
    """Measure worlds per second, side by side."""
    from conformance.bench import run_bench

    run_bench(seconds, live)


@main.command()
def doctor() -> None:
    """Say what this machine can do: stages, interception, WebRTC, browsers. Exit status 1 when nothing can run."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.live.capabilities import findings, word

    table = Table("what", "", "", box=None, pad_edge=False)
    found = list(findings())
    for one in found:
        table.add_row(one.name, word(one), Text(one.told))
    Console().print(table)
    sys.exit(int(any(one.needed and not one.ok for one in found)))
