"""``python -m casr_label.health [PORT]``: whether the server on this computer answers; for a container's health check.

The token is taken from CASR_LABEL_TOKEN. Exit code 0 if it does, else 1 and the reason in one line.
"""

from __future__ import annotations

import os
import sys
import urllib.request

__all__ = ["main"]

SECONDS = 10.0
"""To answer in. Our choice."""


def main(port: str = "8000") -> int:
    """Ask for ``/info/``, which needs the app and its datastore."""
    token = os.environ.get("CASR_LABEL_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        asked = urllib.request.Request(f"http://127.0.0.1:{int(port)}/info/", headers=headers)
        with urllib.request.urlopen(asked, timeout=SECONDS):
            return 0
    except (OSError, ValueError) as error:
        print(f"casr_label: no answer on port {port}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
