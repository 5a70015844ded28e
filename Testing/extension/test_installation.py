"""Installation of dependencies, with doubles of the environment and of Slicer's ways to install."""

from __future__ import annotations

import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import slicer
from CASRSegmentationLib import installation
from CASRSegmentationLib.installation import Installation, InstallationDeclined, InstallationError
from packaging.requirements import Requirement
from standins import packaging as doubles

COMPLETE = {
    "torch": "2.9.1+cu128", "numpy": "2.0.2", "scipy": "1.13.1", "monai": "1.6.1", "pytorch-ignite": "0.5.5",
    "scikit-image": "0.26.0", "opencv-python-headless": "5.0.0.93", "pydicom": "2.4.4", "requests": "2.32.3",
    "SimpleITK": "2.5.0", "pillow": "11.0.0", "lazy-loader": "0.5", "python-gdcm": "3.2.2", "nibabel": "5.4.2",
    "threadpoolctl": "3.8.0",
}  # fmt: skip
SLICER_510 = {name: COMPLETE[name] for name in ("numpy", "scipy", "pydicom", "requests", "SimpleITK", "pillow")}


@dataclass
class FakePackages:
    """An environment that is a dictionary."""

    versions: dict[str, str]
    python: str = "/slicer/bin/PythonSlicer"
    site_packages: str = "/slicer/lib/Python/lib/python3.12/site-packages"

    def version(self, distribution: str, module: str) -> str | None:
        return self.versions.get(distribution)

    def requirement(self, text: str) -> Any:
        return Requirement(text)

    def refresh(self) -> None:
        pass


@dataclass
class FakeFront:
    """Slicer with the answer of a user, and installers that enter what they install into the environment."""

    packages: FakePackages
    answer: bool = True
    unattended: bool = False
    extension: bool = True
    torch: str | None = "2.9.1"
    torch_error: Exception | None = None
    pip_error: Exception | None = None
    pip_does: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)

    def confirm(self, title: str, text: str) -> bool:
        self.asked.append((title, text))
        return self.answer

    def torch_installer(self) -> Any | None:
        return self if self.extension else None

    def installTorch(self, askConfirmation: bool, torchVersionRequirement: str) -> Any:  # noqa: N802, N803
        self.calls.append(("torch", askConfirmation, torchVersionRequirement))
        if self.torch_error:
            raise self.torch_error
        if self.torch:
            self.packages.versions["torch"] = self.torch
        return self.torch and types.ModuleType("torch")

    def pip_install(self, requirements: list[str], constraints: Path, requester: str) -> None:
        self.calls.append(("pip", requirements, constraints.read_text(encoding="utf-8"), requester))
        if self.pip_error:
            raise self.pip_error
        if self.pip_does:
            self.packages.versions.update({Requirement(line).name: "99" for line in requirements})


def make(versions: dict[str, str], **options: Any) -> tuple[Installation, FakeFront]:
    front = FakeFront(FakePackages(dict(versions)), **options)
    return Installation(front.packages, front), front


def test_nothing_is_asked_when_all_is_there():
    logic, front = make(COMPLETE)
    assert logic.missing() == ()
    assert logic.ensure() == installation.Outcome((), "")
    assert front.asked == [] and front.calls == []


def test_fresh_slicer_asks_once_and_installs_torch_first():
    logic, front = make(SLICER_510)
    outcome = logic.ensure()
    others = ["monai>=1.6", "pytorch-ignite>=0.5.1", "scikit-image>=0.24", "opencv-python-headless>=4.10.0.84"]
    others += ["lazy-loader>=0.4", "threadpoolctl>=3.5", "python-gdcm>=3.2.1", "nibabel>=5.3"]
    assert [call[0] for call in front.calls] == ["torch", "pip"]
    assert front.calls[0] == ("torch", False, ">=2.8")
    assert front.calls[1][1] == others and front.calls[1][3] == "CASR-Net"
    assert outcome.installed == ("torch>=2.8", *others) and outcome.restart == ""
    assert len(front.asked) == 1
    text = front.asked[0][1]
    for part in ("torch>=2.8", *others, front.packages.python, front.packages.site_packages):
        assert part in text
    assert "numpy" not in text
    assert logic.missing() == ()


def test_what_slicer_has_is_pinned_for_pip():
    logic, front = make(SLICER_510)
    logic.ensure()
    pins = front.calls[1][2].splitlines()
    assert sorted(pins) == sorted([f"{name}=={version}" for name, version in SLICER_510.items()] + ["torch==2.9.1"])


def test_declined_installs_nothing():
    logic, front = make(SLICER_510, answer=False)
    with pytest.raises(InstallationDeclined, match=r"Nothing was installed.*torch>=2\.8, monai>=1\.6"):
        logic.ensure()
    assert front.calls == [] and len(front.asked) == 1


def test_testing_mode_installs_nothing_and_does_not_ask():
    logic, front = make(SLICER_510, unattended=True)
    with pytest.raises(InstallationDeclined, match="testing mode"):
        logic.ensure()
    assert front.calls == [] and front.asked == []


def test_without_the_pytorch_extension():
    logic, front = make(SLICER_510, extension=False)
    with pytest.raises(InstallationError, match=r"extension 'PyTorch'.*Extensions Manager"):
        logic.ensure()
    assert front.calls == [] and front.asked == []


def test_the_pytorch_extension_is_not_needed_when_torch_is_there():
    logic, front = make(SLICER_510 | {"torch": "2.8.0"}, extension=False)
    logic.ensure()
    assert [call[0] for call in front.calls] == ["pip"]
    assert "• torch" not in front.asked[0][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"torch": None}, "it gave no reason"),
        ({"torch_error": RuntimeError("no wheel\n for cu999")}, "no wheel for cu999"),
        ({"torch_error": subprocess.CalledProcessError(1, "ltt")}, "non-zero exit status 1"),
    ],
)
def test_torch_that_cannot_be_installed_stops_all(options, message):
    logic, front = make(SLICER_510, **options)
    with pytest.raises(InstallationError, match=message) as caught:
        logic.ensure()
    assert "Nothing else was installed" in str(caught.value)
    assert [call[0] for call in front.calls] == ["torch"]


def test_torch_that_is_too_old_is_left_alone():
    logic, front = make(COMPLETE | {"torch": "2.5.1+cu121"})
    with pytest.raises(InstallationError, match=r"PyTorch 2\.5\.1\+cu121 is installed, and torch>=2\.8 is needed"):
        logic.ensure()
    assert front.calls == [] and front.asked == []


@pytest.mark.parametrize(("name", "version"), [("numpy", "1.26.4"), ("scipy", "1.10.0"), ("numpy", None)])
def test_slicers_own_packages_are_never_replaced(name, version):
    versions = dict(SLICER_510)
    del versions[name]
    logic, front = make(versions | ({name: version} if version else {}))
    with pytest.raises(InstallationError, match=f"{name} in Slicer is: {version or 'none'}"):
        logic.ensure()
    assert front.calls == [] and front.asked == []


def test_old_package_is_upgraded_and_named_with_its_version():
    logic, front = make(COMPLETE | {"monai": "1.3.2"})
    assert logic.ensure().installed == ("monai>=1.6",)
    assert "monai>=1.6 (now 1.3.2)" in front.asked[0][1]
    assert front.calls[0][1] == ["monai>=1.6"]


def test_restart_is_advised_when_something_in_use_was_replaced(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", types.ModuleType("skimage"))
    logic, _ = make(COMPLETE | {"scikit-image": "0.20.0"})
    assert "Restart Slicer: scikit-image" in logic.ensure().restart


def test_no_restart_when_it_was_not_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "skimage", raising=False)
    logic, _ = make(COMPLETE | {"scikit-image": "0.20.0"})
    assert logic.ensure().restart == ""


@pytest.mark.parametrize("name", ["opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"])
def test_another_build_of_opencv_is_kept(name):
    versions = dict(COMPLETE)
    del versions["opencv-python-headless"]
    logic, _ = make(versions | {name: "4.12.0.88"})
    assert logic.missing() == ()
    logic, _ = make(versions | {name: "4.5.0"})
    assert [need.text for need in logic.missing()] == [f"{name}>=4.10.0.84"]


def test_pip_that_fails():
    logic, front = make(SLICER_510, pip_error=subprocess.CalledProcessError(1, "pip"))
    with pytest.raises(InstallationError, match=r"pip could not install monai>=1\.6, .*exit status 1.*internet"):
        logic.ensure()
    assert len(front.asked) == 1


def test_pip_that_does_nothing_is_noticed():
    logic, _ = make(SLICER_510, pip_does=False)
    with pytest.raises(InstallationError, match=r"still missing: monai>=1\.6"):
        logic.ensure()


def test_requirements_have_comments_and_markers(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("# text\n\nmonai>=99 # why\ncolorama ; sys_platform == 'never'\n", encoding="utf-8")
    needs = Installation(FakePackages(dict(COMPLETE)), requirements=path).missing()
    assert [(need.text, need.installed) for need in needs] == [("monai>=99", "1.6.1")]


@pytest.fixture(params=[True, False], ids=["5.12", "5.10"])
def slicer_of(request):
    """The doubles of both versions' ways to install."""
    slicer.app.dialogs.clear()
    yield request.param, doubles.reset(modern=request.param)
    doubles.reset()
    slicer.app.dialogs.clear()


@pytest.mark.parametrize("answer", [True, False])
def test_whole_way_through_slicer(slicer_of, answer):
    modern, installer = slicer_of
    environment = FakePackages(dict(SLICER_510))

    def install(items: list[str]) -> None:
        if not modern and items[0] != "torch>=2.8":
            *items, flag, path = items
            assert flag == "--constraint" and "numpy==2.0.2" in Path(path).read_text(encoding="utf-8")
        environment.versions.update({Requirement(item).name: "99" for item in items})

    installer.effect, installer.torch = install, types.ModuleType("torch")
    slicer.app.dialogs.answer(answer)
    logic = Installation(environment)
    if answer:
        assert len(logic.ensure().installed) == 9
        pip = "slicer.packaging.pip_install" if modern else "slicer.util.pip_install"
        assert [call[0] for call in installer.calls] == ["PyTorchUtils.installTorch", pip]
        assert installer.calls[0][2] == {"askConfirmation": False}
    else:
        with pytest.raises(InstallationDeclined):
            logic.ensure()
        assert installer.calls == []
    assert [shown.kind for shown in slicer.app.dialogs.shown] == ["okcancel"]
