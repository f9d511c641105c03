"""``python -m pneumoscope`` is the command line; torchrun starts it this way."""

import sys

from pneumoscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
