"""How many gateways start at once, over all processes of a run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from harness.live.turnstile import HOLD_SECONDS, LOOK_SECONDS, Turnstile
from harness.virtual import VirtualLoop, run_virtual

HOLDER = """
import asyncio, sys
from pathlib import Path
from harness.live.turnstile import Turnstile

async def main():
    async with Turnstile(Path(sys.argv[1]), 1).passing():
        print("in", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


def test_no_more_are_inside_than_there_are_places(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        inside = most = 0

        async def start() -> None:
            nonlocal inside, most
            async with Turnstile(tmp_path / "starts", 2).passing():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(10)
                inside -= 1

        await asyncio.gather(*(start() for _ in range(5)))
        assert most == 2
        # Two at a time, and then the last one.
        assert 30 <= loop.time() <= 30 + 3 * LOOK_SECONDS

    run_virtual(main)


def test_who_does_not_get_ready_keeps_nobody_waiting(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with Turnstile(tmp_path, 1).passing(), Turnstile(tmp_path, 1).passing():
            assert HOLD_SECONDS <= loop.time() <= HOLD_SECONDS + LOOK_SECONDS

    run_virtual(main)


def test_a_start_that_fails_lets_go_of_its_place(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = Turnstile(tmp_path, 1)
        with pytest.raises(RuntimeError):
            async with gate.passing():
                raise RuntimeError("not startable")
        async with gate.passing():
            assert loop.time() == 0

    run_virtual(main)


def test_a_place_is_held_against_other_processes_until_they_end(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"

        async def main(loop: VirtualLoop) -> None:
            passing = Turnstile(tmp_path, 1).passing()
            enters = asyncio.create_task(passing.__aenter__())
            done, _ = await asyncio.wait({enters}, timeout=10)
            assert not done
            holder.kill()  # it has no time to unlock anything
            holder.wait()
            await enters
            assert loop.time() <= 10 + LOOK_SECONDS
            await passing.__aexit__(None, None, None)

        run_virtual(main)
    finally:
        holder.kill()
        holder.communicate()
