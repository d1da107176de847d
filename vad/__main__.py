"""``python -m vad``."""

import sys

from vad.cli import main

if __name__ == "__main__":
    sys.exit(main())
