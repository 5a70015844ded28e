"""``python -m casr_net.cli``."""

import sys

from casr_net.cli import main

if __name__ == "__main__":
    sys.exit(main())
