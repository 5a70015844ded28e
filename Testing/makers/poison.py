"""Files that end the process that reads them, as one does that makes a decoder crash."""

from __future__ import annotations

import os
import signal
from typing import Any

from casr_net.preprocessing.load import LoadAngiogramd

__all__ = ["OVERLAY", "PoisonedLoad"]

OVERLAY = {"load": {"_target_": "makers.poison.PoisonedLoad", "keys": "image", "window": "@window"}}
"""Of ``inference.json``; written to a file for the workers, who find this module by the tests' own path."""


class PoisonedLoad(LoadAngiogramd):
    """Ends the process at the third frame of a file called "poison..."."""

    def __call__(self, data: Any) -> Any:
        name = os.path.basename(str(data["path"]))
        if name.startswith("poison") and data["frame"] == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__call__(data)
