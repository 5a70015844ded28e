"""Stand-ins of ours for what Slicer's Python has only inside the desktop application: qt, ctk, qMRML widgets, effects.

Everything below them is real: the scene, the nodes and the logics are Slicer's own C++ classes (package ``slicer-core``).
:func:`install` puts all of it in place.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def _import_slicer() -> None:
    """The package ``slicer`` takes every folder of that name on ``sys.path`` for a part of it, Testing/slicer too."""
    own = Path(__file__).resolve().parents[1]
    kept = list(sys.path)
    sys.path[:] = [entry for entry in kept if Path(entry or os.getcwd()).resolve() != own]
    try:
        import slicer  # noqa: F401
    finally:
        sys.path[:] = kept


_import_slicer()
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from standins.installation import install  # noqa: E402

__all__ = ["install"]
