"""The record of a run, ``run.json``: what was done with which versions, on which files, and how long it took."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from monai.transforms import Compose, Transform

from ..errors import CASRError
from ..files.atomic import write_atomically
from ..network.weights import sha256

__all__ = ["RunReport", "describe", "package_versions"]

PACKAGES = (
    "casr-net", "monai", "torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "pillow",
    "pydicom", "python-gdcm", "SimpleITK", "nibabel", "tifffile", "imagecodecs",
)  # fmt: skip

logger = logging.getLogger("casr_net")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe(component: Any) -> Any:
    """Settings of a transform, a ``Compose`` of them, an inferer or a network, as JSON-ready values.

    Taken from the objects rather than from the configuration file, so that every override counts.
    """
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


class RunReport:
    """Collects what happens in a run.

    Args:
        output_dir: where ``run.json`` is written.
        device: that the network ran on.
        weights: file of the network's weights.
        components: the objects that lead to the results; their settings are stored, and hashed.
    """

    def __init__(
        self, output_dir: str | Path, device: Any = "", weights: str | Path = "", components: Sequence[Any] = ()
    ) -> None:
        self.path = Path(output_dir) / "run.json"
        self.device, self.weights = str(device), Path(weights)
        self.config = [describe(component) for component in components]
        self.outputs: dict[str, list[str]] = {}
        self.failures: dict[str, CASRError] = {}
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.started = time.perf_counter()

    @property
    def exit_code(self) -> int:
        """0 when every input succeeded; else 2 when the command was wrong about all of them, 1 otherwise."""
        codes = {failure.exit_code for failure in self.failures.values()}
        if not codes:
            return 0
        return 2 if codes == {2} and not self.outputs else 1

    def exit(self) -> None:
        """End the process with :attr:`exit_code`, unless it is 0."""
        if self.exit_code:
            raise SystemExit(self.exit_code)

    def fail(self, path: str, error: CASRError) -> None:
        """Note one input's failure, and say it in one line."""
        if path not in self.failures:
            self.failures[path] = error
            logger.error("%s", error)

    def write(self) -> Path:
        """Write ``run.json``.

        Raises:
            DataError: when it cannot be written.
        """
        self.seconds["total"] = time.perf_counter() - self.started
        record = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": package_versions(),
            "platform": platform.platform(),
            "device": self.device,
            "config": self.config,
            "config_sha256": hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest(),
            "weights": str(self.weights),
            "weights_sha256": sha256(self.weights) if self.weights.is_file() else None,
            "inputs": [*self.outputs, *(path for path in self.failures if path not in self.outputs)],
            "outputs": self.outputs,
            "errors": {path: str(error) for path, error in self.failures.items()},
            "seconds": {stage: round(value, 4) for stage, value in self.seconds.items()},
        }
        text = json.dumps(record, indent=2, ensure_ascii=False, default=str)
        return write_atomically(self.path, lambda path: path.write_text(text, encoding="utf-8"))
