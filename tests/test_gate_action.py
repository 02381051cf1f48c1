"""action.yml and the example workflow: what they are made of, and the steps run as a workflow would run them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / "conformance" / "gateways" / "example-workflow.yml"
_ENTRY = re.compile(r"""(?P<key>[A-Za-z][\w-]*|"[^"]*"):(?: (?P<value>.*))?$""")
_PLAIN = re.compile(r"""(?![-?:,\[\]{}#&*!|>'"%@` ])(?!.*(: | #|:$)).*$""")


def parse(text: str) -> Any:
    """A document in the part of YAML that these files keep to: maps, lists, plain and quoted texts, `|` blocks.

    Fails on everything else, so what passes means the same to every parser of YAML.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1)]
    at = 0

    def peek() -> tuple[int, str] | None:
        nonlocal at
        while at < len(lines) and (not lines[at][1].strip() or lines[at][1].lstrip().startswith("#")):
            at += 1
        return None if at == len(lines) else (len(lines[at][1]) - len(lines[at][1].lstrip()), lines[at][1].lstrip())

    def scalar(value: str) -> str:
        if value.startswith('"'):
            assert re.fullmatch(r'"[^"\\]*"', value), value
            return value[1:-1]
        if value.startswith("${{"):
            assert re.fullmatch(r"\$\{\{ [^:#{}]+ \}\}", value), value
            return value
        assert _PLAIN.match(value), f"not a plain text: {value}"
        return value

    def block(indent: int) -> str:
        nonlocal at
        found: list[str] = []
        while at < len(lines) and (not lines[at][1].strip() or lines[at][1].startswith(" " * (indent + 1))):
            found.append(lines[at][1])
            at += 1
        margin = len(found[0]) - len(found[0].lstrip())
        return "\n".join(line[margin:] for line in found).rstrip("\n") + "\n"

    def value_of(value: str | None, indent: int) -> Any:
        if value == "|":
            return block(indent)
        if value:
            return scalar(value)
        following = peek()
        assert following is not None, "a key has no value"
        assert following[0] > indent, f"a key has no value before {following}"
        return node(following[0])

    def node(indent: int) -> Any:
        nonlocal at
        found: Any = None
        while (here := peek()) is not None and here[0] == indent:
            line = here[1]
            if line.startswith("- "):
                found = [] if found is None else found
                assert isinstance(found, list), line
                lines[at] = (lines[at][0], " " * (indent + 2) + line[2:])
                found.append(node(indent + 2) if _ENTRY.match(line[2:]) else scalar(line[2:]))
                if not _ENTRY.match(line[2:]):
                    at += 1
                continue
            match = _ENTRY.match(line)
            assert match is not None, f"line {lines[at][0]}: not `key: value`: {line}"
            found = {} if found is None else found
            assert isinstance(found, dict), line
            key = match["key"].strip('"')
            assert key not in found, f"line {lines[at][0]}: {key} stands twice"
            at += 1
            found[key] = value_of(match["value"], indent)
        assert here is None or here[0] < indent, f"line {lines[at][0]}: odd indentation"
        return found

    document = node(0)
    assert peek() is None
    return document


@pytest.fixture(scope="module")
def action() -> Any:
    return parse((ROOT / "action.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text", ["a: b: c\n", "a: [1, 2]\n", "a: 1\na: 2\n", "a:\n   b: 1\n  c: 2\n", "a: &x 1\n", "a:\n", "a: b # c\n"]
)
def test_the_reader_takes_only_what_every_parser_takes(text: str) -> None:
    with pytest.raises(AssertionError):
        parse(text)


def test_the_action_has_what_github_asks_for(action: Any) -> None:
    assert action["runs"]["using"] == "composite"
    for name, each in action["inputs"].items():
        assert each["description"], name
        assert ("default" in each) != (each.get("required") == "true"), name
    ids = {step.get("id") for step in action["runs"]["steps"]}
    for step in action["runs"]["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert "run" not in step or step["shell"] == "bash"
        # What a workflow says comes as environment, never as a part of a script: that would be an injection.
        assert "${{" not in step.get("run", "")
        for value in (*step.get("env", {}).values(), *step.get("with", {}).values()):
            if named := re.search(r"inputs\.([\w-]+)", value):
                assert named[1] in action["inputs"]
            if named := re.search(r"steps\.([\w-]+)", value):
                assert named[1] in ids
    for output in action["outputs"].values():
        assert re.fullmatch(r"\$\{\{ steps\.run\.outputs\.(report|verdict) \}\}", output["value"])


def test_every_input_is_used(action: Any) -> None:
    used = " ".join(
        value
        for step in action["runs"]["steps"]
        for value in (*step.get("env", {}).values(), *step.get("with", {}).values())
    )
    assert {name for name in action["inputs"] if f"inputs.{name} " not in used} == set()


def test_the_example_uses_inputs_and_outputs_that_there_are(action: Any) -> None:
    workflow = parse(WORKFLOW.read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    (step,) = [step for step in job["steps"] if "callproof@" in step.get("uses", "")]
    assert set(step["with"]) <= set(action["inputs"])
    assert {name for name, each in action["inputs"].items() if each.get("required")} <= set(step["with"])
    outputs = re.findall(rf"steps\.{step['id']}\.outputs\.(\w+)", WORKFLOW.read_text(encoding="utf-8"))
    assert set(outputs) <= set(action["outputs"])
    assert outputs


class Runner:
    """Runs the shell steps of the action as GitHub does, with a callproof that takes down its arguments."""

    def __init__(self, folder: Path, action: Any, status: int) -> None:
        self.folder, self.action = folder, action
        self.output, self.asked = folder / "output", folder / "asked"
        self.output.touch()
        self.tool("callproof/bin/callproof", f'printf "%s\\n" "$@" > "{self.asked}"\nexit {status}')

    def tool(self, name: str, script: str) -> None:
        """Make a program; one in `bin/` comes before those of the machine."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, name: str = "Run callproof", **inputs: str) -> int:
        step = next(each for each in self.action["runs"]["steps"] if each["name"] == name)
        script = self.folder / "step.sh"
        script.write_text(step["run"])

        def given(expression: str) -> str:
            name = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", expression)
            if name is None:
                assert "${{" not in expression
                return expression
            return inputs.get(name[1].replace("-", "_"), self.action["inputs"][name[1]].get("default", ""))

        environment = {name: given(value) for name, value in step["env"].items()}
        environment |= {"RUNNER_TEMP": str(self.folder), "GITHUB_OUTPUT": str(self.output)}
        environment["PATH"] = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        # GitHub docs, workflow syntax: `shell: bash` is this command.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        return subprocess.run(command, env=environment, cwd=self.folder, timeout=30, check=False).returncode


@pytest.mark.parametrize(
    ("status", "verdict"), [(0, "pass"), (1, "fail"), (2, "usage"), (3, "not-startable"), (4, "harness-error")]
)
def test_the_step_tells_the_verdict_and_ends_as_the_run_did(
    tmp_path: Path, action: Any, status: int, verdict: str
) -> None:
    runner = Runner(tmp_path, action, status)
    assert runner.run(gateway="./callproof") == status
    assert runner.output.read_text() == f"report=callproof-report\nverdict={verdict}\n"
    assert runner.asked.read_text().splitlines() == [
        *("run", "--gateway", "./callproof", "--stage", "live", "--report", "callproof-report", "--github")
    ]


def test_the_step_hands_on_every_input_as_it_is(tmp_path: Path, action: Any) -> None:
    runner = Runner(tmp_path, action, 0)
    runner.run(
        gateway='x"; touch stolen; "',
        models="gpt-realtime-2\n\n  gpt-realtime  \n",
        as_of="2026-04-15\ntoday",
        cases="a b\n$(touch stolen)",
        baseline="b a.toml",
        report="out put",
        stage="virtual",
    )
    assert not (tmp_path / "stolen").exists()
    assert runner.asked.read_text().splitlines() == [
        *("run", "--gateway", 'x"; touch stolen; "', "--stage", "virtual", "--report", "out put", "--github"),
        *("--model", "gpt-realtime-2", "--model", "gpt-realtime", "--as-of", "2026-04-15", "--as-of", "today"),
        *("--case", "a b", "--case", "$(touch stolen)", "--baseline", "b a.toml"),
    ]


@pytest.mark.parametrize("forbidden", [False, True])
def test_namespaces_are_allowed_where_ubuntu_forbids_them(tmp_path: Path, action: Any, forbidden: bool) -> None:
    runner = Runner(tmp_path, action, 0)
    runner.tool("bin/sysctl", f"echo {int(forbidden)}")
    runner.tool("bin/sudo", f'printf "%s\\n" "$*" >> "{runner.asked}"')
    assert runner.run("Allow namespaces") == 0
    allowed = "-n sysctl -q -w kernel.apparmor_restrict_unprivileged_userns=0\n"
    assert (runner.asked.read_text() if runner.asked.exists() else "") == (allowed if forbidden else "")
