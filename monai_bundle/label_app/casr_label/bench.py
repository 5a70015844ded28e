"""The workbench of the app that is served: one for all parts of the page."""

from __future__ import annotations

import threading

from .workbench import Workbench

__all__ = ["the_bench"]

_benches: dict[int, Workbench] = {}
_making = threading.Lock()


def the_bench() -> Workbench:
    """That of the app; made when it is asked for the first time."""
    from monailabel.interfaces.utils.app import app_instance

    app = app_instance()
    with _making:
        found = _benches.get(id(app))
        if found is None:
            _benches.clear()
            found = _benches[id(app)] = Workbench(app)
        return found
