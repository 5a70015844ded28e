"""Pictures of widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtGui, QtWidgets

from standins.event_loop import process_events

__all__ = ["grab"]


def grab(widget: Any, path: str | Path, width: int = 480, height: int | None = None) -> Path:
    """Lay a widget out at a width (and its preferred height) and save it as PNG.

    Raises:
        OSError: when it cannot be written.
    """
    _find_fonts()
    widget.show()
    process_events()
    wanted = height if height is not None else max(QtWidgets.QWidget.sizeHint(widget).height(), 1)
    QtWidgets.QWidget.resize(widget, width, wanted)
    process_events(0.05)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not QtWidgets.QWidget.grab(widget).save(str(path)):
        raise OSError(f"{path}: cannot be written.")
    return path


def _find_fonts() -> None:
    """The package PySide6 has no fonts; without any in the system the pictures would have boxes for letters."""
    if QtGui.QFontDatabase.families():
        return
    import matplotlib

    for file in (Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVuSans*.ttf"):
        QtGui.QFontDatabase.addApplicationFont(str(file))
    QtWidgets.QApplication.setFont(QtGui.QFont("DejaVu Sans", 9))
