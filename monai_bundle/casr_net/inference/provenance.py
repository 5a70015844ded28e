"""What results depend on: versions, and the settings of transforms, inferer and network, with a hash of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .. import __version__

__all__ = ["changed_settings", "describe", "package_versions", "settings_hash"]

PACKAGES = (
    "casr-net", "monai", "torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "pillow",
    "pydicom", "python-gdcm", "SimpleITK", "nibabel", "tifffile", "imagecodecs",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["casr-net"] = __version__  # of the code that runs; what pip knows may be older, or another copy
    return found


def describe(component: Any) -> Any:
    """Settings of a transform, a ``Compose`` of them, an inferer or a network, as JSON-ready values; such values
    themselves, lists and dictionaries, are given as they are.

    Taken from the objects rather than from the configuration file, so that every override counts.
    """
    if isinstance(component, (dict, list)):
        return component
    from monai.transforms import Compose, Transform  # takes seconds

    if isinstance(component, Compose):
        return [describe(transform) for transform in component.transforms]
    if dataclasses.is_dataclass(component) and not isinstance(component, type):
        return dataclasses.asdict(component)
    settings: dict[str, Any] = {"class": _public_name(type(component))}
    for name, value in sorted(getattr(component, "settings", vars(component)).items()):
        if name.startswith("_"):
            continue
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            settings[name] = dataclasses.asdict(value)
        elif isinstance(value, Transform):
            settings[name] = describe(value)
        elif isinstance(value, (str, int, float, bool, type(None))):
            settings[name] = value
        elif isinstance(value, (list, tuple)) and all(isinstance(part, (str, int, float)) for part in value):
            settings[name] = list(value)
    return settings


def _public_name(kind: type) -> str:
    """A class by the package that offers it, such as ``casr_net.refinement.RefineVesselsd``.

    Not by the module that it stands in: that may move, and the hash of the same settings must stay.
    """
    parts = kind.__module__.split(".")
    for length in range(2, len(parts)):
        package = ".".join(parts[:length])
        if getattr(sys.modules.get(package), kind.__name__, None) is kind:
            return f"{package}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def settings_hash(settings: Sequence[Any]) -> str:
    """SHA-256 of what :func:`describe` gave."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def changed_settings(before: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two values that :func:`describe` gave, a phrase each, such as ``threshold 0.5, now 0.4``.

    Args:
        before, now: as they stand in ``run.json``.
        name: of the value that they are; what stands in it has a name of its own.

    Returns:
        the same difference once, however often it is found.
    """
    if before == now:
        return []
    if _same_component(before, now):
        found = [phrase for key in before for phrase in changed_settings(before[key], now[key], key)]
    elif _components(before) and _components(now) and len(before) == len(now):
        found = [phrase for pair in zip(before, now, strict=True) for phrase in changed_settings(*pair, name)]
    else:
        found = [f"{name} {_short(before)}, now {_short(now)}".strip()]
    return list(dict.fromkeys(found))


def _same_component(before: Any, now: Any) -> bool:
    """Whether both are settings of the same class, or both parts of such settings, with the same names."""
    both = isinstance(before, dict) and isinstance(now, dict)
    return both and before.keys() == now.keys() and before.get("class") == now.get("class")


def _components(value: Any) -> bool:
    """Whether it is a list of components, not of numbers or words."""
    return isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value)


def _short(value: Any) -> str:
    """A value as it stands in a configuration; a component by its class, several as so many steps."""
    if isinstance(value, dict):
        return str(value.get("class", "other values")).rpartition(".")[2]
    if _components(value):
        return f"{len(value)} step{'s' * (len(value) != 1)}"
    return json.dumps(value)
