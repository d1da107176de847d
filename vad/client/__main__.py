"""``python -m vad.client``."""

import sys

from vad.client.cli import main

if __name__ == "__main__":
    sys.exit(main())
