"""What a run is asked for, as far as a plan for it hangs on that; read without MONAI."""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...files.digest import sha256
from ..bundle import bundle_root
from ..provenance import package_versions
from ..runtimes.machine import processor
from ..runtimes.packages import RUNTIMES, VARIABLE, runtime_versions, wanted_runtime
from ..runtimes.quantised import quantised_files
from ..runtimes.store import Store, store_folder
from ..settings import SETTINGS

__all__ = ["Order"]

FORM = 1
"""Number of the form of plans, and of what they hang on."""

DECIDING = ("weights", "runtime", "precision", "device_name", "refine", "tta", "window")
"""What users ask for that changes a plan; the rest only says what is read and written."""

COMPONENTS = ("network_def", "load", "channels", "postprocessing")
"""Components that an overlay may change or replace, beside the settings: a plan is made of what they turn out to be."""

VARIABLES = (VARIABLE, "CUDA_VISIBLE_DEVICES", "MKL_NUM_THREADS", "OMP_NUM_THREADS")

BESIDE = re.compile(r"\$@bundle_root \+ '([^'\\]*)'")
"""The one expression of an overlay that can be read without MONAI: a file of the bundle."""


class Order:
    """Configuration files, and what the command line asks beside them.

    Args:
        files: the base configuration and overlays.
        asked: values by key of ``inference.json``.
        threads: that the process was given; None: as torch has them.
    """

    def __init__(self, files: Sequence[str], asked: Mapping[str, Any], threads: int | None = None) -> None:
        self.files, self.asked, self.threads = list(files), dict(asked), threads
        self._contents = [Path(file).read_bytes() for file in self.files]
        self._read: list[dict[str, Any]] = [json.loads(content) for content in self._contents]

    @property
    def plain(self) -> bool:
        """Whether a plan may answer it: nothing is asked for that only the ordinary way can do, and nothing in the
        overlays hangs on more than their text."""
        if self.asked.get("key_frames") is not None or self.weights is None:
            return False
        if str(self.asked.get("device_name", "auto")) not in ("auto", "cpu"):
            return False
        if self.asked.get("token_file") is None and any(
            str(overlay.get("token_file")).startswith("@") for overlay in self._read[1:]
        ):
            return False
        return self.overlays_are_plain

    @property
    def overlays_are_plain(self) -> bool:
        """Whether overlays change settings and shipped components only, by what their text alone says."""
        return self._changed <= {*SETTINGS, *COMPONENTS} and all(
            _is_plain(text) for overlay in self._read[1:] for text in _texts(overlay)
        )

    @property
    def transforms_are_shipped(self) -> bool:
        """Whether overlays leave reading, preprocessing and postprocessing as they are."""
        return self.overlays_are_plain and self._changed <= {*SETTINGS, "network_def"}

    @property
    def _changed(self) -> set[str]:
        """Components and settings that overlays change, or change in part."""
        return {re.split("#|::", key.lstrip("+~"))[0] for overlay in self._read[1:] for key in overlay}

    @property
    def weights(self) -> str | None:
        """The file of the weights, as the run's configuration will have it; None where that cannot be told."""
        return self._stated("weights")

    @property
    def runtime(self) -> str | None:
        """Name of what is to compute the network, or "auto"; None where that cannot be told."""
        stated = self._stated("runtime")
        return wanted_runtime(stated) if stated is not None else None

    @property
    def device(self) -> str | None:
        """Where the network is to run, or "auto"; None where that cannot be told."""
        return self._stated("device_name")

    @property
    def token_file(self) -> str | None:
        """What DICOMweb servers are to be shown; None without, and where that cannot be told."""
        return self._stated("token_file")

    @property
    def window(self) -> Sequence[float] | None:
        """Centre and width that files are to be shown with; None without, and where that cannot be told."""
        stated = [content["window"] for content in (*self._read, self.asked) if "window" in content]
        return stated[-1] if stated and isinstance(stated[-1], (list, tuple)) else None

    def _stated(self, name: str) -> str | None:
        """A path or name of the configuration."""
        asked = self.asked.get(name)
        if asked is not None:
            return str(asked)
        for content in reversed(self._read):
            if name in content:
                stated = content[name]
                beside = BESIDE.fullmatch(str(stated))
                if beside is not None:
                    return str(bundle_root()) + beside[1]
                return None if stated is None or str(stated).startswith(("$", "@", "%")) else str(stated)
        return None

    @property
    def store(self) -> Store:
        """Where its plan is kept."""
        return Store(store_folder(self.weights))

    def key(self) -> dict[str, Any]:
        """All that its plan hangs on.

        Raises:
            OSError: when the weights, or a network in 8 bits, cannot be read.
        """
        assert self.weights is not None
        return {
            "form": FORM,
            "configurations": [_digest(content) for content in self._contents],
            "weights": [self.weights, sha256(self.weights)],
            "int8": [sha256(path) for path in quantised_files(self.weights)],
            "asked": {name: self.asked[name] for name in DECIDING if name in self.asked},
            "variables": {name: os.environ.get(name) for name in VARIABLES},
            "versions": {**package_versions(), **runtime_versions(list(RUNTIMES))},
            "code": _code(),
            "machine": [processor(), platform.system(), _processors(), graphics()],
            "threads": self.threads,
        }


def graphics() -> list[str]:
    """What tells that torch may have a GPU."""
    if sys.platform == "win32":
        driver = Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32", "nvcuda.dll")
        return [str(driver)] if driver.exists() else []
    return sorted(glob.glob("/dev/nvidia[0-9]*"))


def _processors() -> int | None:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _code() -> str:
    """Changes with every file of the package: developers change more than the version."""
    package = Path(__file__).resolve().parents[2]
    lines = []
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            if name.endswith(".py"):
                status = os.stat(os.path.join(folder, name))
                lines.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return _digest("\n".join(lines).encode())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _is_plain(text: str) -> bool:
    """Whether MONAI makes of a text what the text alone says: no other expression, no copy from another file."""
    return not text.startswith(("$", "%")) or BESIDE.fullmatch(text) is not None
