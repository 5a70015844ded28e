"""Puts the stand-ins where Slicer has the originals: ``sys.modules`` and the attributes of the package ``slicer``."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

__all__ = ["install"]


def install() -> Any:
    """Start the application once and put everything in place; later calls give the same application.

    Returns:
        The double of ``slicer.app``, see :class:`standins.application.Application`.
    """
    import slicer

    if isinstance(slicer.__dict__.get("app"), object) and hasattr(slicer.__dict__.get("app"), "dialogs"):
        return slicer.app
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

    from standins.application import Application
    from standins.pythonqt import QtModule

    app = Application()
    slicer.app = app
    slicer.mrmlScene = app.scene
    slicer.modules = sys.modules["slicer.modules"] = app.modules
    slicer.dicomDatabase = None

    from standins import widgets

    sys.modules["qt"] = QtModule(widgets.replacements())

    from standins.ctk_widgets import CtkModule

    sys.modules["ctk"] = CtkModule()

    from standins import effect_host, i18n, packaging, parameter_node, qmrml_widgets, scripted_module, slicer_util

    for name, cls in qmrml_widgets.WIDGETS.items():
        setattr(slicer, name, cls)
    _module(slicer, "i18n", i18n)
    _module(slicer, "parameterNodeWrapper", parameter_node)
    _module(slicer, "ScriptedLoadableModule", scripted_module)
    slicer_util.replace(slicer.util)
    effect_host.install(slicer)
    packaging.install(slicer)
    for name in ("vtkSegmentationCore", "vtkITK"):
        # Slicer's own names of these C++ modules.
        module = sys.modules[f"slicer_core.{name}"]
        sys.modules.setdefault(name, module)
        sys.modules.setdefault(f"{name}Python", module)
    return app


def _module(slicer: types.ModuleType, name: str, source: types.ModuleType) -> None:
    """The public names of a module of ours as ``slicer.<name>``, as attribute and as import."""
    module = types.ModuleType(f"slicer.{name}", source.__doc__)
    public = source.__all__
    module.__dict__.update({key: getattr(source, key) for key in public})
    module.__dict__["__all__"] = list(public)
    sys.modules[f"slicer.{name}"] = module
    setattr(slicer, name, module)
