"""`python -m reference_impl [--config FILE]`: serve until SIGTERM or SIGINT; exit status 2 on a wrong configuration.

`python -m reference_impl doctor [--json] [--config FILE]`: see `doctor`.
"""

import asyncio
import sys

from reference_impl import doctor
from reference_impl.app import main
from reference_impl.config import ConfigError


def run() -> int:
    """Serve and return the exit status of the process."""
    argv = sys.argv[1:]
    try:
        if argv[:1] == ["doctor"]:
            return asyncio.run(doctor.main(argv[1:]))
        asyncio.run(main(argv))
    except ConfigError as error:
        sys.stderr.write(f"reference_impl: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(run())
