"""The command line: ``pneumoscope COMMAND``.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

import io
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    0 is success, 1 a failure with its line on standard error, 2 wrong usage.

    Args:
        arguments: what follows the program's name; those of the process by default.
    """
    from pneumoscope.cli.app import app
    from pneumoscope.errors import ConfigError, PneumoscopeError, UsageError

    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is shown with escapes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=arguments, prog_name="pneumoscope")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (PneumoscopeError, OSError) as error:  # the system's words name the file
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError | ConfigError) else 1
    return 0
