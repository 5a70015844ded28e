"""Slicer's side of the installation: this Python's packages, the calls to Slicer 5.10 and 5.12, real pip."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
import slicer
from CASRSegmentationLib import installation, packages
from CASRSegmentationLib.installation import Installation, InstallationError


def test_worker_runs_with_nothing_but_the_requirements(tmp_path):
    """Every other package is hidden from the process; the bundle is the one under test."""
    from CASRSegmentationLib import bundles

    script = tmp_path / "run.py"
    script.write_text(_ONLY_REQUIREMENTS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(bundles.shipped().folder)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "(64, 64)"


_ONLY_REQUIREMENTS = """
import importlib.abc, sys
HIDDEN = {"PIL", "nrrd", "tensorboard", "tqdm", "matplotlib", "psutil", "fire", "slicer", "jsonschema", "requests",
          "yaml", "vtk", "pandas", "onnx", "onnxruntime", "onnxscript", "tifffile", "imageio", "highdicom",
          "imagecodecs"}
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
sys.path.insert(0, sys.argv[1])
import json, pathlib
import numpy as np
import casr_net
assert casr_net.__file__.startswith(sys.argv[1]), casr_net.__file__
from casr_net.worker import FrameWorker
folder = pathlib.Path.cwd()
np.save(folder / "frames.npy", np.random.default_rng(0).integers(0, 255, (1, 64, 64), dtype=np.uint8))
(folder / "job.json").write_text(json.dumps({"indices": [0], "device": "cpu"}))
messages = []
FrameWorker(messages.append).segment(folder)
assert messages[-1]["event"] == "done" and messages[-1]["failed"] == 0, messages
print(np.load(folder / "mask_00000.npy").shape)
"""


def test_environment_of_this_python():
    system = packages.SystemPackages()
    assert system.version("numpy", "numpy") == importlib.metadata.version("numpy")
    assert system.version("casr-no-such-package", "casr_no_such_package") is None
    assert system.version("numpy", "casr_no_such_package") is None, "metadata without module: half an installation"
    assert system.requirement("monai>=1.4").specifier.contains("1.6.1")
    assert "site-packages" in system.site_packages


def test_finding_out_what_is_missing_does_not_import_it():
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import types; i18n = types.ModuleType('slicer.i18n'); i18n.tr = lambda text: text\n"
        "sys.modules['slicer'] = types.ModuleType('slicer'); sys.modules['slicer.i18n'] = i18n\n"
        "from CASRSegmentationLib.installation import Installation\n"
        "print(Installation().missing())\n"
        "print([m for m in ('torch', 'monai', 'cv2', 'skimage', 'scipy', 'numpy') if m in sys.modules])\n"
    )
    folder = Path(installation.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["()", "[]"]


def test_pips_own_parser_serves_where_slicer_has_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    requirement = packages.SystemPackages().requirement("monai>=1.4")
    assert type(requirement).__module__.startswith("pip._vendor") and requirement.specifier.contains("1.6.1")


# From here on: what Slicer 5.10 and 5.12 are asked for.
@pytest.fixture
def front(monkeypatch):
    monkeypatch.setattr(slicer.app, "testingEnabled", lambda: False, raising=False)
    return packages.SlicerFront()


def test_question_is_slicers_ok_cancel(front, monkeypatch):
    asked = []

    def confirm(text, windowTitle=None, parent=None, **kwargs):  # noqa: N803
        asked.append((text, windowTitle, kwargs))
        return False

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm)
    assert front.confirm("title", "text") is False
    assert asked == [("text", "title", {})]
    assert front.unattended is False


def test_pip_on_slicer_512(front, monkeypatch, tmp_path):
    calls = []

    def pip_install(requirements, constraints=None, blocking=True, show_progress=True, requester=None):
        calls.append((requirements, constraints, requester))

    module = types.ModuleType("slicer.packaging")
    module.pip_install = pip_install
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    front.pip_install(["monai>=1.4"], tmp_path / "c.txt", "CASR-Net")
    assert calls == [(["monai>=1.4"], tmp_path / "c.txt", "CASR-Net")]


def test_pip_on_slicer_510(front, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", lambda requirements: calls.append(requirements), raising=False)
    front.pip_install(["monai>=1.4"], tmp_path / "with blank" / "c.txt", "CASR-Net")
    assert calls == [["monai>=1.4", "--constraint", str(tmp_path / "with blank" / "c.txt")]]


def test_pytorch_extension(front, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    assert front.torch_installer() is None
    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = type("PyTorchUtilsLogic", (), {})
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    assert isinstance(front.torch_installer(), module.PyTorchUtilsLogic)


def _wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digest = {
        key: base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b"=") for key, t in files.items()
    }
    files[f"{info}/RECORD"] = "".join(f"{key},sha256={digest[key].decode()},\n" for key in digest)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for key, text in files.items():
            wheel.writestr(key, text)


@pytest.mark.parametrize(("requires", "works"), [("numpy>=9000", False), ("numpy>=1.0", True)])
def test_real_pip_refuses_to_replace_numpy(tmp_path, requires, works):
    """A package that wants another numpy than Slicer's cannot be installed, although that numpy can be had."""
    _wheel(tmp_path, "numpy", "9000.0")
    _wheel(tmp_path, "casrneeds", "1.0", requires)
    (tmp_path / "requirements.txt").write_text("casrneeds>=1.0\n", encoding="utf-8")
    outputs = []

    class Front:
        unattended = False

        def confirm(self, title: str, text: str) -> bool:
            return True

        def torch_installer(self) -> None:
            return None

        def pip_install(self, requirements: list[str], constraints: Path, requester: str) -> None:
            command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--find-links", str(tmp_path)]
            done = subprocess.run([*command, *requirements, "-c", str(constraints)], capture_output=True, text=True)
            outputs.append(done.stdout + done.stderr)
            done.check_returncode()

    system = packages.SystemPackages()
    logic = Installation(system, Front(), tmp_path / "requirements.txt")
    with pytest.raises(InstallationError) as caught:
        logic.ensure()
    if works:  # a dry run installs nothing
        assert "still missing: casrneeds" in str(caught.value)
        assert "Would install casrneeds-1.0" in outputs[0]
    else:
        assert "pip could not install casrneeds>=1.0" in str(caught.value)
        assert re.search("conflict", outputs[0], re.IGNORECASE)


def test_requirements_are_the_packages_own():
    """What Slicer installs for the worker are dependencies of the package, none below its floor but Slicer's own."""
    import tomllib

    from packaging.requirements import Requirement

    root = Path(__file__).resolve().parents[2]
    listed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    package = {requirement.name.lower(): requirement for requirement in map(Requirement, listed)}
    lines = (line.partition("#")[0].strip() for line in installation.REQUIREMENTS.read_text("utf-8").splitlines())
    for requirement in map(Requirement, filter(None, lines)):
        wanted = package[requirement.name.lower()].specifier
        (floor,) = (part.version for part in requirement.specifier if part.operator == ">=")
        if requirement.name not in installation.PROTECTED or requirement.name == "torch":
            assert wanted.contains(floor), f"{requirement}: the package needs {wanted}"
