"""The optional packages of the runtimes, and the one way to import them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import cast

from ...errors import UsageError

__all__ = [
    "GPU_RUNTIMES", "OF_INT8", "PRECISIONS", "RUNTIMES", "VARIABLE", "checked_runtime", "installed_runtimes",
    "require_runtime", "runtime_package", "runtime_versions", "wanted_runtime",
]  # fmt: skip

RUNTIMES: dict[str, tuple[str, ...]] = {
    "torch": (),
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
    "tensorrt": ("cuda.bindings", "onnx", "onnx_graphsurgeon", "polygraphy", "tensorrt"),
}
"""Runtimes, and the packages of the extra of the same name. torch writes the ONNX file that the others read."""

GPU_RUNTIMES = ("tensorrt",)
"""Those that need one of NVIDIA's GPUs. torch runs there too, the others on the CPU only."""

TELEMETRY = "openvino_telemetry"

VARIABLE = "CASR_RUNTIME"
"""Environment variable with the runtime that "auto" stands for, where it is set."""

PRECISIONS = ("auto", "fp32", "bf16", "int8")
"""Number formats of the network that can be asked for."""

OF_INT8 = "openvino"
"""The runtime of networks in 8 bits."""


def _missing(runtime: str) -> list[str]:
    return [name for name in RUNTIMES[runtime] if sys.modules.get(name) is None and not _findable(name)]


def _findable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ValueError, ImportError):  # without a specification, None in sys.modules, or hidden by a finder
        return False


def installed_runtimes(gpu: bool = False) -> list[str]:
    """Names of the runtimes for the CPU, or a GPU, whose packages are there; "torch" always is."""
    usable = [name for name in RUNTIMES if name == "torch" or (name in GPU_RUNTIMES) == gpu]
    return [name for name in usable if not _missing(name)]


def wanted_runtime(runtime: str, gpu: bool = False) -> str:
    """The runtime that was asked for; for "auto" that of :data:`VARIABLE`, where it is one of this kind of device."""
    if runtime != "auto":
        return runtime
    named = os.environ.get(VARIABLE) or "auto"
    foreign = named in RUNTIMES and named != "torch" and (named in GPU_RUNTIMES) != gpu
    return "auto" if foreign else named


def require_runtime(runtime: str) -> None:
    """Refuse a runtime that is not known, or whose packages are missing; nothing is imported.

    Raises:
        UsageError: naming the extra to install.
    """
    if runtime not in RUNTIMES:
        raise UsageError(f"runtime is {runtime!r}; known are auto, {', '.join(RUNTIMES)}.")
    missing = _missing(runtime)
    if missing:
        raise UsageError(
            f"runtime {runtime!r}: {' and '.join(missing)} not installed; pip install 'casr-net[{runtime}]' brings "
            f"{'them' if len(missing) > 1 else 'it'}."
        )


def checked_runtime(runtime: str, precision: str) -> str:
    """The runtime that computes on the CPU in a number format, both as they were asked for; nothing is imported.

    Raises:
        UsageError: for one that is not known, whose packages are missing, or that has no such number format.
    """
    runtime = wanted_runtime(runtime)
    if precision == "int8":
        if runtime not in ("auto", OF_INT8):
            raise UsageError(f"precision 'int8': runtime {runtime!r} has none; use runtime {OF_INT8}.")
        runtime = OF_INT8
    if runtime != "auto":
        require_runtime(runtime)
    return runtime


def runtime_package(runtime: str, name: str) -> ModuleType:
    """Import a package of a runtime.

    Raises:
        UsageError: when it is missing (naming the extra) or broken.
    """
    require_runtime(runtime)
    # Imported, OpenVINO tells Google Analytics, through this package, that it is used, and writes an identifier into
    # the user's home; without the package it takes a stand-in of its own. Nothing of ours calls a network unasked.
    sys.modules.setdefault(TELEMETRY, cast(ModuleType, None))
    try:
        return importlib.import_module(name)
    except Exception as error:  # a wheel of another system raises ImportError, OSError or whatever it likes
        reason = " ".join(str(error).split())[:120]
        raise UsageError(
            f"runtime {runtime!r}: {name} cannot be imported ({reason}); pip install --force-reinstall "
            f"'casr-net[{runtime}]' may mend it."
        ) from error


def runtime_versions(runtimes: list[str]) -> dict[str, str]:
    """Versions of torch and of the packages of these runtimes; a package of unknown version is "unknown"."""
    found = {}
    for name in sorted({"torch", *(package for runtime in runtimes for package in RUNTIMES[runtime])}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # onnxruntime-gpu, for example, brings the module onnxruntime
            found[name] = "unknown"
    return found
