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
from pathlib import Path

PROBE_SECONDS = 20.0
SYSCTL = Path("/proc/sys")
NAMESPACES_OFF = {
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
    "user.max_user_namespaces": ("0", "15000"),
}
"""Settings of the kernel that forbid namespaces to unprivileged users: the value that does, and one that does not.

The first is Debian's, the second Ubuntu's (on since 24.04, on the runners of GitHub as well).
"""


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


def _switched_off() -> Iterator[str]:
    """The settings of this machine that forbid namespaces, as what sysctl would change them to."""
    for name, (forbids, allows) in NAMESPACES_OFF.items():
        try:
            value = SYSCTL.joinpath(*name.split(".")).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == forbids:
            yield f"{name}={allows}"


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
        switched = " ".join(_switched_off())
        hints.append(f"allow them: sudo sysctl -w {switched}; or run as root" if switched else "run as root")
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
