"""The doctor: what is wrong between this gateway and its model, each thing named, with what to do about it.

`python -m reference_impl doctor [--json] [--config FILE]`, exit status 0 when all is well and 1 when it is not; or
`GET /doctor` of a gateway that runs. It reads the settings, then opens one session as a call would and closes it again:
what refuses the call refuses it, for the same cause.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final, TextIO
from urllib.parse import urlsplit

from aiohttp import ClientSession

from reference_impl.azure import Azure, upstream_for
from reference_impl.azure_settings import CAUSES, is_azure_host
from reference_impl.config import Config, ConfigError, Wrong, load
from reference_impl.conversation import Conversation, UpstreamRefused
from reference_impl.dialects import Dialect, dialect_for
from reference_impl.log import Log
from reference_impl.problems import AZURE_HINTS, Problem
from reference_impl.upstream import client_session

OK, WARN, FAIL, UNKNOWN = "ok", "warn", "fail", "unknown"
SIGNS: Final = {OK: "ok  ", WARN: "warn", FAIL: "FAIL", UNKNOWN: "?   "}
CHECKS: Final = {  # by setting
    "openai.provider": "provider",
    "openai.api": "api-version",
    "openai.api_key": "credentials",
    "azure.endpoint": "endpoint",
    "azure.deployment": "deployment",
    "azure.api_version": "api-version",
    "azure.api_key": "credentials",
    "azure.api_key_file": "credentials",
    "azure.auth": "credentials",
    "talk.transport": "transport",
}
# What hints speak of while the settings that say it are wrong.
NAMES: Final = {"endpoint": "the resource", "deployment": "the deployment"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `status` is ok, warn, fail or unknown; `cause` the one that a call shows which
    fails; `code` and `http_status` are the vendor's, if it said something; `fix` is what to do, if anything."""

    check: str
    status: str
    what: str
    cause: str = ""
    fix: str = ""
    code: str | None = None
    http_status: int | None = None


@dataclass(slots=True)
class Report:
    """All findings, in the order in which they were made."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing fails."""
        return all(each.status != FAIL for each in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        return {"ok": self.ok, "findings": [asdict(each) for each in self.findings]}

    def as_text(self) -> str:
        """For a person: a line for each finding, and one below it for what to do."""
        lines = []
        for each in self.findings:
            cause = f" [{each.cause}]" if each.cause else ""
            lines.append(f"{SIGNS[each.status]}  {each.check}: {each.what}{cause}")
            if each.fix:
                lines.append(f"        {each.fix}")
        return "\n".join([*lines, "All is well." if self.ok else "Something is wrong."]) + "\n"


class Doctor:
    """Examines one configuration that has been read."""

    conversation_class: ClassVar[type[Conversation]] = Conversation

    def __init__(self, config: Config, dialect: Dialect, http: ClientSession, log: Log) -> None:
        self.config = config
        self.dialect = dialect
        self.upstream = dialect.upstream
        self.http = http
        self.log = log

    async def examine(self) -> Report:
        """Look at the settings, then open a session."""
        report = Report(self.settings())
        report.findings += self.stages(await self.problem())
        return report

    # The settings: they were read, so that what is left are warnings.

    def settings(self) -> list[Finding]:
        """What the settings say."""
        if not isinstance(self.upstream, Azure):
            return [
                Finding("provider", OK, f"OpenAI, {self.config.openai_model}, at {self.config.openai_base_url}"),
                self.base_url(),
                Finding("transport", OK, f"Talk: {self.config.talk_transport}"),
                Finding("credentials", OK, "an API key, from OPENAI_API_KEY"),
            ]
        return [
            self.provider(),
            self.endpoint(),
            Finding("deployment", OK, self.config.azure_deployment),
            self.version(),
            Finding("transport", OK, "Talk: a browser that asks for WebRTC gets the relay"),
            Finding("credentials", OK, self.upstream.credential.name),
        ]

    def base_url(self) -> Finding:
        """OpenAI's address, which may be that of somebody who speaks the same language."""
        host = urlsplit(self.config.openai_base_url).hostname or ""
        if not is_azure_host(host):
            return Finding("endpoint", OK, self.config.openai_base_url)
        fix = "Set AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_DEPLOYMENT instead of OPENAI_BASE_URL and OPENAI_MODEL."
        what = f"{host} is Azure's, and is spoken to as if it were OpenAI"
        return Finding("endpoint", WARN, what, "azure_as_openai", fix)

    def provider(self) -> Finding:
        """That it is Azure, and what is of no use then."""
        what = f"Azure OpenAI, in the {self.dialect.name} dialect"
        if not self.config.openai_api_key:
            return Finding("provider", OK, what)
        fix = "Take OPENAI_API_KEY out of the settings of this gateway: it has no need to know it."
        return Finding("provider", WARN, f"{what}; OPENAI_API_KEY is set and not used", "openai_key_unused", fix)

    def endpoint(self) -> Finding:
        """The resource."""
        host = urlsplit(self.config.azure_endpoint).hostname or ""
        if is_azure_host(host):
            return Finding("endpoint", OK, self.config.azure_endpoint)
        what = f"{self.config.azure_endpoint} is none of Azure's own hosts"
        return Finding("endpoint", WARN, what, "azure_host_unusual", "Fine if it is a proxy in front of Azure.")

    def version(self) -> Finding:
        """Which API is asked."""
        version = self.config.azure_api_version
        if version not in CAUSES["previews"]:
            return Finding("api-version", OK, version or "none: the GA API")
        fix = "Leave AZURE_OPENAI_API_VERSION empty, which asks for the GA API, and deploy a GA model."
        what = f"{version} is a preview, deprecated since 2026-04-30"
        return Finding("api-version", WARN, what, "azure_preview", fix)

    # The session

    async def problem(self) -> Problem | None:
        """What keeps a session from opening."""
        conversation = self.conversation_class(self.config, self.dialect, self.http, self.log)
        try:
            await conversation.open_session()
        except UpstreamRefused as refused:
            return refused.problem
        finally:
            await conversation.close_upstream()
        return None

    def stages(self, problem: Problem | None) -> list[Finding]:
        """How far the session came."""
        cause = (problem.cause or problem.code or "session_refused") if problem else ""
        stages: Sequence[Mapping[str, Any]] = CAUSES["stage"]
        failed = len(stages) if problem is None else self.stage_of(problem, cause)
        found = []
        for number, stage in enumerate(stages):
            if problem is None or number < failed:
                found.append(Finding(stage["check"], OK, stage["good"]))
            elif number == failed:
                found.append(self.failed(stage["check"], cause, problem))
            else:
                found.append(Finding(stage["check"], UNKNOWN, "not known: it did not come so far"))
        return found

    def stage_of(self, problem: Problem, cause: str) -> int:
        """The number of the stage at which it failed."""
        stages = CAUSES["stage"]
        by_status = {401: "authentication", 403: "authentication", 404: "api", 429: "quota"}
        check = by_status.get(problem.status or 0, "session")
        by_cause = (number for number, stage in enumerate(stages) if cause in stage["causes"])
        return next(by_cause, next(number for number, stage in enumerate(stages) if stage["check"] == check))

    def failed(self, check: str, cause: str, problem: Problem) -> Finding:
        """The finding that a problem is."""
        fix = self.log.redact(problem.hint(self.config.model))
        return Finding(check, FAIL, self.log.redact(problem.message), cause, fix, problem.code, problem.status)


def of_wrong(wrong: Sequence[Wrong]) -> Report:
    """The findings that a configuration is which cannot even be read."""
    return Report(
        [
            Finding(
                CHECKS.get(each.key, "configuration"),
                FAIL,
                str(each),
                each.cause,
                AZURE_HINTS.get(each.cause, f"Set {each.env or each.key} as it says.").format_map(NAMES),
            )
            for each in wrong
        ]
    )


async def examine(argv: Sequence[str], environ: Mapping[str, str], log: TextIO | None = None) -> Report:
    """Read the configuration as the gateway does, and examine it. Raises ConfigError when the file cannot be read."""
    try:
        config = load(argv, environ)
    except ConfigError as error:
        if not error.wrong:
            raise
        return of_wrong(error.wrong)
    about = Log(config.secrets(), stream=log)
    async with client_session() as http:
        dialect = dialect_for(config, upstream=upstream_for(config, about))
        try:
            return await Doctor(config, dialect, http, about).examine()
        finally:
            await dialect.upstream.close()


async def main(argv: Sequence[str]) -> int:
    """Print what is found; the exit status. Raises ConfigError."""
    parser = argparse.ArgumentParser(prog="reference_impl doctor", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--config", metavar="FILE", help="TOML file; also GATEWAY_CONFIG")
    asked = parser.parse_args(argv)
    report = await examine(["--config", asked.config] if asked.config else (), os.environ, io.StringIO())
    sys.stdout.write(json.dumps(report.as_dict(), indent=2) + "\n" if asked.json else report.as_text())
    return 0 if report.ok else 1
