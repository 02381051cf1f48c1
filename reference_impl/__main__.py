"""`python -m reference_impl [--config FILE]`: serve until SIGTERM or SIGINT; exit status 2 on a wrong configuration."""

import asyncio
import sys

from reference_impl.app import main
from reference_impl.config import ConfigError


def run() -> int:
    """Serve and return the exit status of the process."""
    try:
        asyncio.run(main(sys.argv[1:]))
    except ConfigError as error:
        sys.stderr.write(f"reference_impl: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(run())
