"""Installation of the Python packages that the worker process needs: asked for once, and never at import.

torch comes through the PyTorch extension, which chooses the build for the graphics card; the rest through
``slicer.packaging`` (Slicer 5.11 and later) or ``slicer.util.pip_install``. What Slicer has itself is pinned at its
version, so that pip fails rather than replaces it. Nothing here imports torch; the PyTorch extension itself does
once it has installed it.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from slicer.i18n import tr as _

from .packages import SystemPackages

__all__ = [
    "PROTECTED",
    "REQUIREMENTS",
    "Installation",
    "InstallationDeclined",
    "InstallationError",
    "Need",
    "Outcome",
]

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
PROTECTED = (
    "numpy", "scipy", "pydicom", "requests", "SimpleITK", "vtk", "torch", "torchvision", "pillow", "packaging",
)  # fmt: skip
"""Distributions that are Slicer's or the PyTorch extension's: never installed, upgraded or replaced by pip."""

# Builds of one library that overwrite each other's files: whichever is there is kept.
_SAME = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")}
_MODULES = {"scikit-image": "skimage", "opencv-python-headless": "cv2", "pytorch-ignite": "ignite", "pillow": "PIL"}
_MODULES |= {"lazy-loader": "lazy_loader", "python-gdcm": "gdcm"}
_MODULES |= dict.fromkeys(_SAME["opencv-python-headless"], "cv2")


class InstallationDeclined(RuntimeError):  # noqa: N818 - no error, but the user's decision
    """The user did not want it; nothing was installed."""


class InstallationError(RuntimeError):
    """It cannot be done, or failed; the text says why and what to do."""


class Packages(Protocol):
    """Slicer's Python environment."""

    python: str
    site_packages: str

    def version(self, distribution: str, module: str) -> str | None:
        """Version installed; None when the distribution or its module is not there."""

    def requirement(self, text: str) -> Any:
        """``packaging.requirements.Requirement``."""

    def refresh(self) -> None:
        """Forget what was known of the environment."""


class Front(Protocol):
    """What Slicer does for us."""

    @property
    def unattended(self) -> bool:
        """Testing mode: nobody can be asked, and questions answer themselves."""

    def confirm(self, title: str, text: str) -> bool:
        """Ask with OK and Cancel."""

    def torch_installer(self) -> Any | None:
        """``PyTorchUtils.PyTorchUtilsLogic()``, or None without the PyTorch extension."""

    def pip_install(self, requirements: list[str], constraints: Path, requester: str) -> None:
        """Install; raises what Slicer raises when pip fails."""


@dataclass(frozen=True)
class Need:
    """A requirement that is not met.

    Attributes:
        text: as pip understands it, "monai>=1.4".
        name: of the distribution.
        specifier: ">=1.4".
        installed: version that is there and does not do, or None.
        protected: Slicer's or the PyTorch extension's.
    """

    text: str
    name: str
    specifier: str
    installed: str | None
    protected: bool


@dataclass(frozen=True)
class Outcome:
    """What was done.

    Attributes:
        installed: requirements that were installed; empty when all was there.
        restart: advice to restart Slicer, or "".
    """

    installed: tuple[str, ...]
    restart: str


class Installation:
    """Finds out what is missing, asks, installs.

    Args:
        packages, front: doubles for tests; None takes Slicer's.
        requirements: the file of requirements.
    """

    def __init__(
        self, packages: Packages | None = None, front: Front | None = None, requirements: Path = REQUIREMENTS
    ) -> None:
        self._packages: Packages = packages or SystemPackages()
        self._front = front
        self._requirements = requirements

    def missing(self) -> tuple[Need, ...]:
        """Requirements that are not met, in the order of the file; takes some milliseconds, imports none of them."""
        self._packages.refresh()
        lines = (line.split("#")[0].strip() for line in self._requirements.read_text(encoding="utf-8").splitlines())
        return tuple(need for line in lines if line and (need := self._need(line)))

    def ensure(self) -> Outcome:
        """Install what is missing, after one question that says what and where.

        Raises:
            InstallationDeclined: when the user cancels, or in testing mode. Nothing was installed.
            InstallationError: when a package of Slicer's own does not fit, the PyTorch extension is absent, or the
                installation fails.
        """
        needs = self.missing()
        if not needs:
            return Outcome((), "")
        front = self._front or _slicer_front()
        self._refuse_conflicts(needs)
        torch = next((need for need in needs if need.name == "torch"), None)
        others = [need for need in needs if need.name != "torch"]
        installer = front.torch_installer() if torch else None
        if torch and installer is None:
            raise InstallationError(
                _(
                    "PyTorch is needed, and Slicer's extension 'PyTorch', which installs it, was not found. Install it "
                    "in the Extensions Manager, restart Slicer and try again."
                )
            )
        if front.unattended:
            raise InstallationDeclined(
                _("Nothing is installed in testing mode; missing: {needs}.").format(needs=_listed(needs))
            )
        if not front.confirm(_("CASR-Net: install Python packages"), self._question(torch, others)):
            raise InstallationDeclined(
                _("Nothing was installed. CASR-Net cannot run without {needs}.").format(needs=_listed(needs))
            )
        before = self._loaded_versions(needs)
        if torch:
            self._install_torch(installer, torch)
        if others:
            self._install_others(front, others)
        left = self.missing()
        if left:
            raise InstallationError(
                _(
                    "The installation ended, but this is still missing: {needs}. Restart Slicer; if that does not "
                    "help, see pip's messages in the Python console."
                ).format(needs=_listed(left))
            )
        changed = [name for name, version in before.items() if self._version(name) != version]
        restart = _("Restart Slicer: {names} was in use while it was replaced.").format(names=", ".join(changed))
        return Outcome(tuple(need.text for need in needs), restart if changed else "")

    def _need(self, line: str) -> Need | None:
        requirement = self._packages.requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            return None
        name, specifier = requirement.name, requirement.specifier
        version = self._version(name)
        for other in _SAME.get(name, ()):
            if version is None and (version := self._packages.version(other, _MODULES[name])) is not None:
                name = other
        if version is not None and specifier.contains(version, prereleases=True):
            return None
        return Need(f"{name}{specifier}", name, str(specifier), version, name in PROTECTED)

    def _version(self, name: str) -> str | None:
        return self._packages.version(name, _MODULES.get(name, name))

    def _refuse_conflicts(self, needs: tuple[Need, ...]) -> None:
        for need in needs:
            if need.name == "torch" and need.installed:
                raise InstallationError(
                    _(
                        "PyTorch {version} is installed, and {text} is needed. Other extensions may use it, so it is "
                        "left alone: replace it in the module 'PyTorch Utils' (uninstall, restart Slicer, install)."
                    ).format(version=need.installed, text=need.text)
                )
            if need.protected and need.name != "torch":
                raise InstallationError(
                    _(
                        "{text} is needed, but the version of {name} in Slicer is: {version}. It is a part of Slicer "
                        "and is not replaced; use Slicer 5.10 or newer, or install Slicer again if it was overwritten."
                    ).format(text=need.text, name=need.name, version=need.installed or _("none"))
                )

    def _question(self, torch: Need | None, others: list[Need]) -> str:
        lines = [f"• {torch.text} " + _("(through the PyTorch extension; a large download)")] if torch else []
        for need in others:
            now = " " + _("(now {version})").format(version=need.installed) if need.installed else ""
            lines.append(f"• {need.text}{now}")
        return _(
            "CASR-Net needs Python packages that Slicer does not have yet:\n\n{packages}\n\n"
            "They and what they depend on are downloaded from the internet and installed, once, into\n{folder}\n"
            "(Python: {python}).\n\nSlicer's own packages are not replaced. Install now?"
        ).format(packages="\n".join(lines), folder=self._packages.site_packages, python=self._packages.python)

    def _loaded_versions(self, needs: tuple[Need, ...]) -> dict[str, str | None]:
        """Versions of what is about to be replaced although this process has it in memory."""
        return {n.name: n.installed for n in needs if n.installed and _MODULES.get(n.name, n.name) in sys.modules}

    def _install_torch(self, installer: Any, need: Need) -> None:
        reason = _("it gave no reason")
        try:
            if installer.installTorch(askConfirmation=False, torchVersionRequirement=need.specifier) is not None:
                return
        except Exception as error:  # pip, light-the-torch and the import afterwards fail in many ways
            reason = _line(error)
        raise InstallationError(
            _(
                "The PyTorch extension did not install {text}: {reason}. Try its module 'PyTorch Utils', which shows "
                "more. Nothing else was installed."
            ).format(text=need.text, reason=reason)
        )

    def _install_others(self, front: Front, needs: list[Need]) -> None:
        self._packages.refresh()
        pins = [(name, self._version(name)) for name in PROTECTED]
        with tempfile.TemporaryDirectory(prefix="casr-pip-") as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("".join(f"{n}=={v}\n" for n, v in pins if v), encoding="utf-8")
            try:
                front.pip_install([need.text for need in needs], constraints, "CASR-Net")
            except Exception as error:
                raise InstallationError(
                    _(
                        "pip could not install {needs}: {reason}. Either there is no way to the internet, or no "
                        "version goes with Slicer's own packages; pip's messages are in the Python console."
                    ).format(needs=_listed(needs), reason=_line(error))
                ) from error


def _listed(needs: tuple[Need, ...] | list[Need]) -> str:
    return ", ".join(need.text for need in needs)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def _slicer_front() -> Front:
    from .packages import SlicerFront

    return SlicerFront()
