"""Stand-ins of ours for what Slicer's Python has only inside the desktop application: qt, ctk, qMRML widgets, effects.

Everything below them is real: scene, nodes and logics are Slicer's own C++ classes (package ``slicer-core``).
:func:`install` puts all of it in place.
"""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from standins.installation import install  # noqa: E402

__all__ = ["install"]
