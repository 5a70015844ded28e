"""Bundle folders: the one that comes with the extension, and others that a user chooses.

A bundle folder holds configurations, weights, and the Python package ``casr_net`` whose worker segments the frames. The
worker runs that code, so a folder from elsewhere is to be trusted like any program.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

__all__ = ["REQUIRED", "Bundle", "BundleError", "check", "choose", "missing", "shipped"]

REQUIRED = ("configs/inference.json", "configs/metadata.json", "models/model.pt", "casr_net/worker.py")
"""What a bundle folder must hold, relative to it."""

_MODULE = Path(__file__).resolve().parents[1]


class BundleError(ValueError):
    """A folder is no usable bundle; the text says what is missing."""


@dataclass(frozen=True)
class Bundle:
    """A bundle folder that holds all that is needed.

    Attributes:
        folder: absolute.
        name: of its metadata, or of the folder.
        version: of its metadata, such as "0.1.0".
    """

    folder: Path
    name: str
    version: str

    @property
    def title(self) -> str:
        """Name and version in one line."""
        return f"{self.name} {self.version}"


def missing(folder: str | Path) -> list[str]:
    """Entries of :data:`REQUIRED` that the folder does not hold; an empty file counts as missing."""
    folder = Path(folder)
    return [name for name in REQUIRED if not _filled(folder / name)]


def check(folder: str | Path) -> Bundle:
    """Look at a folder and read what it is.

    Raises:
        BundleError: when something is missing, or the metadata cannot be read.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise BundleError(_("{folder}: there is no such folder.").format(folder=folder))
    folder = folder.resolve()
    absent = missing(folder)
    if absent:
        text = _("{folder} is no CASR-Net bundle; missing: {names}.").format(folder=folder, names=", ".join(absent))
        raise BundleError(text + _hint(folder))
    path = folder / "configs" / "metadata.json"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(_("{path} cannot be read: {reason}.").format(path=path, reason=error)) from error
    version = metadata.get("version") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version:
        raise BundleError(_("{path} states no version.").format(path=path))
    name = metadata.get("name")
    return Bundle(folder, name if isinstance(name, str) and name else folder.name, version)


def shipped() -> Bundle:
    """The bundle of the extension: among its resources once installed or built, beside it in the repository.

    Raises:
        BundleError: when it is not complete; the extension has to be installed again then.
    """
    installed, repository = _MODULE / "Resources" / "monai_bundle", _MODULE.parent / "monai_bundle"
    return check(repository if not installed.is_dir() and repository.is_dir() else installed)


def choose(setting: str | None) -> Bundle:
    """The bundle that a user's setting names; an empty setting stands for the shipped one.

    Raises:
        BundleError: when that folder is no bundle. The shipped one is not taken in its place.
    """
    return check(setting) if setting and setting.strip() else shipped()


def _filled(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _hint(folder: Path) -> str:
    """Users tend to choose one level too high or too low."""
    for other in (folder.parent, folder / "monai_bundle"):
        if other.is_dir() and not missing(other):
            return " " + _("Did you mean {folder}?").format(folder=other)
    return ""
