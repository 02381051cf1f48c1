"""The first process of an enclosure: starts the command that it is given, passes signals on, and buries the dead.

Run by its path and not as a module, so that nothing else has to be imported: `python init.py COMMAND...`.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main(command: list[str]) -> int:
    """Run `command` until it ends; returns its exit status as a shell tells it."""
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            sys.stderr.write(f"{command[0]}: {error.strerror}\n")
            os._exit(127)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    # An interrupt from the keyboard goes to the whole group of the terminal: the command has it already.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    while True:
        # Whoever loses its parent in here becomes a child of the first process.
        ended, status = os.wait()
        if ended == child:
            return os.waitstatus_to_exitcode(status) % 256 if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
