"""The real side of :mod:`installation`: Slicer's Python environment, its dialogs and its ways to install packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

__all__ = ["SlicerFront", "SystemPackages"]


class SystemPackages:
    """Distributions of the Python that runs this, which PythonSlicer shares.

    Attributes:
        python: executable.
        site_packages: folder that pip installs to.
    """

    def __init__(self) -> None:
        self.python = shutil.which("PythonSlicer") or sys.executable
        self.site_packages = sysconfig.get_paths()["purelib"]

    def version(self, distribution: str, module: str) -> str | None:
        """Version installed; None when metadata or module are not there, as in a half-finished installation."""
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return None
        return version if module in sys.modules or _importable(module) else None

    def requirement(self, text: str) -> Any:
        """Parsed requirement; of pip's own copy where Slicer has no package ``packaging``."""
        try:
            module = importlib.import_module("packaging.requirements")
        except ImportError:
            module = importlib.import_module("pip._vendor.packaging.requirements")
        return module.Requirement(text)

    def refresh(self) -> None:
        """See what a pip process has installed since."""
        importlib.invalidate_caches()


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


class SlicerFront:
    """Slicer's dialogs and installers."""

    @property
    def unattended(self) -> bool:
        """Slicer runs with ``--testing``."""
        import slicer

        return bool(slicer.app.testingEnabled())

    def confirm(self, title: str, text: str) -> bool:
        """Ask with OK and Cancel."""
        import slicer

        return bool(slicer.util.confirmOkCancelDisplay(text, windowTitle=title))

    def torch_installer(self) -> Any | None:
        """The PyTorch extension's logic; None without that extension."""
        try:
            import PyTorchUtils
        except ImportError:
            return None
        return PyTorchUtils.PyTorchUtilsLogic()

    def pip_install(self, requirements: list[str], constraints: Path, requester: str) -> None:
        """Install with a progress dialog where Slicer has one (5.11 and later)."""
        import slicer

        try:
            from slicer.packaging import pip_install
        except ImportError:
            slicer.util.pip_install([*requirements, "--constraint", str(constraints)])
            return
        pip_install(requirements, constraints=constraints, requester=requester)
