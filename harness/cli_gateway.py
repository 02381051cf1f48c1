"""The commands about gateways and their profiles."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness import run
from harness.profile import ProfileError, known_profiles, load_profile
from harness.profiles.draft import CannotWrite, Draft, drafted, write_profile
from harness.profiles.guess import guess

STAGES = ("virtual", "live")


def _fail(error: Exception, status: int = run.EXIT_USAGE) -> None:
    click.echo(f"callproof: {error}", err=True)
    sys.exit(status)


@click.command(name="gateways")
def gateways() -> None:
    """List the gateways that come with callproof, with their versions."""
    from rich.console import Console
    from rich.table import Table

    from conformance.asking import gateway_folders

    table = Table("gateway", "versions", "stages", "intercept", "what it is", box=None, pad_edge=False)
    wrong: list[str] = []
    for name, folder in known_profiles(gateway_folders()).items():
        try:
            profile = load_profile(folder)
        except ProfileError as error:
            wrong.append(str(error))
            continue
        can = zip(STAGES, (profile.gateway.python, profile.gateway.command), strict=True)
        stages = ", ".join(stage for stage, way in can if way)
        table.add_row(name, ", ".join(profile.versions), stages, profile.intercept, profile.gateway.description)
    Console().print(table)
    for message in wrong:
        click.echo(f"callproof: {message}", err=True)


@click.command(name="schema")
@click.argument("what", type=click.Choice(["profile"]), default="profile")
def schema(what: str) -> None:
    """Print the JSON Schema of profile.toml, by which editors help to write one."""
    from harness.profiles.schema import schema_text

    click.echo(schema_text(), nl=False)


@click.command(name="check-gateway")
@click.argument("name")
@click.option("--model", default=None, help="The model to try; by default one that the gateway claims to speak to.")
@click.option(
    "--intercept",
    type=click.Choice(["namespace", "settings", "proxy"]),
    default=None,
    help="How vendor hosts are led to the fakes.  [as fits the profile]",
)
def check_gateway(name: str, model: str | None, intercept: str | None) -> None:
    """Start a gateway and place one call: what works, what does not, what to do.

    NAME is a profile's name, `NAME@VERSION`, or a path to one.

    Exit status: 0 all well, 1 something does not work, 2 usage, 3 gateway not startable, 4 harness error.
    """
    from conformance.asking import ask, gateway_folders
    from conformance.checking import Step
    from conformance.checking import check_gateway as check

    try:
        profile = run.find_gateway(name, gateway_folders())
        stage = "live" if profile.gateway.command else "virtual"
        request = ask(gateway=name, stage=stage, models=[model] if model else [], intercept=intercept)
    except run.UsageProblem as error:
        _fail(error)
        return

    def tell(step: Step) -> None:
        colour = {"ok": "green", "failed": "red"}.get(step.result, "yellow")
        click.echo(f"{click.style(f'{step.result:<7}', fg=colour)} {step.name:<14} {step.said}".rstrip())
        if step.todo:
            first, *rest = step.todo.splitlines()
            click.echo("\n".join([f"{'':<22} -> {first}", *(f"{'':<25} {line}" for line in rest)]))

    status = check(request, tell)
    if status == 0:
        click.echo(f"\nIt works. Next: callproof run --gateway {name} --stage {stage}")
    sys.exit(status)


@click.command(name="new-gateway")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Where to; by default ./NAME, in a project ./callproof/NAME.",
)
@click.option(
    "--command", default=None, help='How it is started, such as "node server.js"; {python} and {profile} may be in it.'
)
@click.option("--cwd", default=None, help="Where it is started, from the profile's folder.")
@click.option(
    "--python", "entry", default=None, metavar="MODULE:NAME", help="An async callable or ASGI app, for virtual time."
)
@click.option("--voice", default=None, metavar="PATH", help="The path of the webhook for Twilio's calls.")
@click.option(
    "--call", "call", default=None, metavar="REQUEST", help='How it is told to call somebody, such as "POST /calls".'
)
@click.option("--port-env", default=None, metavar="NAME", help="The variable with the port.")
@click.option("--port-arg", default=None, metavar="--NAME", help="The argument with the port.")
@click.option("--public-url-env", default=None, metavar="NAME", help="The variable with its public URL.")
@click.option("--openai-key-env", default=None, metavar="NAME", help="The variable with the OpenAI API key.")
@click.option(
    "--openai-url-env", default=None, metavar="NAME", help="The variable with OpenAI's base URL, if there is one."
)
@click.option("--twilio-sid-env", default=None, metavar="NAME", help="The variable with Twilio's account SID.")
@click.option("--twilio-token-env", default=None, metavar="NAME", help="The variable with Twilio's auth token.")
@click.option("--claim", "claims", multiple=True, help="A feature that it has; may be repeated.")
@click.option("--yes", is_flag=True, help="Ask nothing: take what was given and guessed.")
def new_gateway(
    name: str,
    folder: Path | None,
    command: str | None,
    cwd: str | None,
    entry: str | None,
    voice: str | None,
    call: str | None,
    port_env: str | None,
    port_arg: str | None,
    public_url_env: str | None,
    openai_key_env: str | None,
    openai_url_env: str | None,
    twilio_sid_env: str | None,
    twilio_token_env: str | None,
    claims: tuple[str, ...],
    yes: bool,
) -> None:
    """Write a first profile for a gateway, from what is in this folder and what you say.

    Asks when it runs in a terminal; takes the options otherwise.
    """
    here = Path.cwd()
    found = guess(here)
    folder = folder or (here / "callproof" / name if found.is_project else here / name)
    variables = {
        "listen.port": port_env,
        "public_url": public_url_env,
        "openai.api_key": openai_key_env,
        "openai.base_url": openai_url_env,
        "twilio.account_sid": twilio_sid_env,
        "twilio.auth_token": twilio_token_env,
    }
    given = {setting: f"${variable}" for setting, variable in variables.items() if variable}
    if port_arg is not None:
        given["listen.port"] = port_arg
    asking = not yes and in_terminal()

    def answer(question: str, value: str | None, guessed: str) -> str:
        if value is not None or not asking:
            return guessed if value is None else value
        return str(click.prompt(question, default=guessed, show_default=bool(guessed)))

    draft = Draft(
        name=name,
        command=answer("How is it started?", command, found.command),
        cwd=cwd,
        python=entry,
        voice=answer("At which path does it take Twilio's calls?", voice, found.voice),
        status=found.status,
        call=answer('How is it told to call somebody (such as "POST /calls"; empty: it is not)?', call, found.call),
        settings={**found.settings, **given},
        claims=claims or found.claims,
        unknown=found.unknown,
        port=None if "listen.port" in {**found.settings, **given} else found.port,
    )
    if asking:
        for setting, question in ASKED.items():
            if setting not in draft.settings and (said := answer(question, None, "")):
                draft.settings[setting] = said if said.startswith(("$", "-")) else f"${said}"
    try:
        written = write_profile(drafted(draft, folder, here), folder)
    except CannotWrite as error:
        _fail(error)
        return
    for path in written:
        click.echo(f"wrote {_relative(path, here)}")
    for said in found.said:
        click.echo(f"  {said}")
    click.echo(f"Next: callproof check-gateway {_relative(folder, here)}")


ASKED = {
    "listen.port": "Which variable ($PORT) or argument (--port) has its port? (empty: none)",
    "public_url": "Which has its public URL? (empty: none)",
    "openai.api_key": "Which has the OpenAI API key? (empty: none)",
    "openai.base_url": "Which has OpenAI's base URL? (empty: it is written into the code)",
    "twilio.auth_token": "Which has Twilio's auth token? (empty: none)",
}


def in_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _relative(path: Path, here: Path) -> str:
    inside = path.is_relative_to(here)
    text = str(path.relative_to(here)) if inside else str(path)
    return f"./{text}" if inside and "/" not in text else text


COMMANDS = [new_gateway, check_gateway, gateways, schema]
