"""Stand-ins of ours for what Slicer's Python has only inside the desktop application: qt, ctk, qMRML widgets, effects.

Everything below them is real: the scene, the nodes and the logics are Slicer's own C++ classes (package ``slicer-core``).
:func:`install` puts all of it in place.
"""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer  # noqa: E402, F401 - before anything of PySide6, whose import hooks slow it down

from standins.installation import install  # noqa: E402

__all__ = ["install"]
