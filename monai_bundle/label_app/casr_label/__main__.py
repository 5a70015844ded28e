"""``python -m casr_label``."""

import sys

from .server import main

sys.exit(main())
