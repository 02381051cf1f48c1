"""What this machine can do for the live stage: `callproof doctor`."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

PROBE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `needed`: whether callproof is of no use without it."""

    name: str
    ok: bool
    told: str
    needed: bool = False


def _tried(options: list[str], script: str) -> str | None:
    """Run a little Python in new namespaces; returns what went wrong, None when nothing did."""
    tool = shutil.which("unshare")
    if not sys.platform.startswith("linux"):
        return "namespaces are Linux's"
    if tool is None:
        return "unshare(1) of util-linux is not installed"
    run = [tool, *options, "--", sys.executable, "-c", script]
    try:
        done = subprocess.run(run, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"it did not end within {PROBE_SECONDS:g} s"
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stderr + done.stdout).strip().splitlines() if line.strip()]
    return lines[-1] if lines else f"it ended with {done.returncode}"


@functools.cache
def enclosure_problem() -> str | None:
    """Why no enclosure can be made here, with what to do; None where one can."""
    from harness.live.enclosure import unshare_options

    root = os.geteuid() == 0
    script = "from harness.live.enclosure import Enclosure; Enclosure()"
    problem = _tried(unshare_options(root), script)
    if problem is None:
        return None
    hints = []
    if not root:
        hints.append(
            "unprivileged user namespaces may be switched off (sysctl kernel.unprivileged_userns_clone, "
            "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns): allow them, or run as root"
        )
    else:
        hints.append("in a container, give it --privileged or --cap-add SYS_ADMIN --security-opt seccomp=unconfined")
    hints.append("or do without, with --intercept settings or --intercept proxy")
    return f"no namespaces can be made here: {problem}; {'; '.join(hints)}"


def findings() -> Iterator[Finding]:
    """Everything that is looked at, one after the other."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), f"{version}; 3.11 or later is needed", needed=True)
    yield Finding("virtual stage", True, "needs nothing but Python", needed=True)
    yield Finding("live stage, settings", True, "for gateways that can be told where their vendors are", needed=True)
    problem = enclosure_problem()
    who = "as root" if os.geteuid() == 0 else "without privileges"
    yield Finding("live stage, namespace", problem is None, problem or f"works {who}, for gateways with built-in hosts")
    if problem is None:
        from harness.live.enclosure import unshare_options

        script = "from harness.live.packets import Watch; Watch(print)"
        unseen = _tried(unshare_options(os.geteuid() == 0), script)
        told = "every address that a gateway tries is seen" if unseen is None else f"only names are seen: {unseen}"
        yield Finding("addresses are seen", unseen is None, told)
    yield Finding("live stage, proxy", True, "for programs that honour HTTPS_PROXY, where there are no namespaces")
    yield _module("WebRTC", "aiortc", "callproof[webrtc]")
    yield _module("browser cases", "playwright", "callproof[browser]")
    yield _program("Chromium", ("chromium", "chromium-browser", "google-chrome"), "for cases that use a page")
    yield _program("Node.js", ("node",), "for gateways written in it; profiles may bring their own")
    yield _folder()


def _module(name: str, module: str, extra: str) -> Finding:
    there = importlib.util.find_spec(module) is not None
    return Finding(name, there, f"{module} is installed" if there else f"pip install '{extra}'")


def _program(name: str, commands: tuple[str, ...], use: str) -> Finding:
    path = next((found for command in commands if (found := shutil.which(command))), None)
    return Finding(name, path is not None, path or f"none of {', '.join(commands)} is installed; {use}")


def _folder() -> Finding:
    from harness.run import cache_folder

    folder = cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    writable = os.access(existing, os.W_OK | os.X_OK)
    told = f"{folder}: {free:.0f} GiB free" if writable else f"{folder} cannot be written to: set CALLPROOF_CACHE"
    return Finding("cache of installed gateways", writable, told)


def word(found: Finding) -> str:
    """How a finding is told in one word."""
    return "ok" if found.ok else "missing" if found.needed else "no"
