"""The extension as CMake installs it, so that tests can run on what users get instead of on the source tree.

CASR_EXTENSION_DIR=$(python Testing/standins/installed.py FOLDER) python -m pytest Testing/extension
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["STANDIN", "configure", "install_extension"]

ROOT = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).resolve().parent / "cmake"
_MODULES = Path("lib") / "Slicer-5.12" / "qt-scripted-modules"


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def configure(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    """Run CMake's first step against the stand-in of Slicer's CMake package."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    return _run("cmake", "-S", source, "-B", build, *generator, f"-DSlicer_DIR={STANDIN}", "-DBUILD_TESTING=ON")


def install_extension(source: Path, folder: Path) -> tuple[Path, Path]:
    """Configure, build and install.

    Args:
        source: folder of the top CMakeLists.txt.
        folder: for the trees; made when it is not there.

    Returns:
        the folders of CASRSegmentation.py in the installed tree and in the build tree.

    Raises:
        RuntimeError: with CMake's output, when a step fails.
    """
    build, prefix = folder / "build", folder / "installed"
    done = configure(source, build)
    for step in (["--build", build], ["--install", build, "--prefix", prefix]):
        if done.returncode == 0:
            done = _run("cmake", *step)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(done.args)} failed:\n{done.stdout}{done.stderr}")
    return prefix / _MODULES, build / _MODULES


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {os.path.basename(sys.argv[0])} FOLDER")
    print(install_extension(ROOT, Path(sys.argv[1]).resolve())[0])
