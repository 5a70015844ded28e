"""Recording doubles of what installs packages, of PyTorchUtils and of SampleData. Nothing is ever installed."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Installer", "install", "installer"]


@dataclass
class Installer:
    """What has been asked for, and how it goes.

    Attributes:
        calls: (function, requirements, options) in order; functions are "slicer.packaging.pip_install",
            "slicer.packaging.pip_ensure", "slicer.util.pip_install", "PyTorchUtils.installTorch".
        effect: called with the requirements of every call; may raise what a failed installation raises.
        torch: what ``installTorch`` returns; None for a user who declined.
        torch_installed: what ``torchInstalled()`` says.
    """

    calls: list[tuple[str, list[str], dict[str, Any]]] = field(default_factory=list)
    effect: Callable[[list[str]], None] = lambda requirements: None
    torch: Any = None
    torch_installed: bool = False

    def record(self, function: str, requirements: Any, **options: Any) -> None:
        """Note a call and let ``effect`` happen."""
        items = requirements.split() if isinstance(requirements, str) else [str(item) for item in requirements]
        self.calls.append((function, items, {key: value for key, value in options.items() if value is not None}))
        self.effect(items)


installer = Installer()


def reset(modern: bool = True, pytorch_extension: bool = True) -> Installer:
    """Start over: Slicer >= 5.11 with ``slicer.packaging`` or 5.10 without; with or without the PyTorch extension."""
    import slicer

    installer.__init__()  # type: ignore[misc]
    _set(slicer, "packaging", _packaging_module() if modern else None)
    slicer.util.pip_install = _util_modern if modern else _util_5_10
    if pytorch_extension:
        sys.modules["PyTorchUtils"] = _pytorch_module()
    else:
        sys.modules.pop("PyTorchUtils", None)
    sys.modules["SampleData"] = _sample_data_module(modern)
    return installer


def install(slicer: Any) -> None:
    """As Slicer 5.12 with the PyTorch extension."""
    reset()


def _set(slicer: Any, name: str, module: types.ModuleType | None) -> None:
    if module is None:
        slicer.__dict__.pop(name, None)
        sys.modules[f"slicer.{name}"] = None  # type: ignore[assignment] # an import of it raises ImportError
    else:
        setattr(slicer, name, module)
        sys.modules[f"slicer.{name}"] = module


def _packaging_module() -> types.ModuleType:
    module = types.ModuleType("slicer.packaging")

    def pip_install(
        requirements: Any, constraints: Any = None, no_deps_requirements: Any = None,
        skip_packages: list[str] | None = None,
        blocking: bool = True, show_progress: bool = True, requester: str | None = None, parent: Any = None,
        logCallback: Any = None, completedCallback: Any = None,  # noqa: N803
    ) -> list[str] | None:  # fmt: skip
        installer.record(
            "slicer.packaging.pip_install", requirements, constraints=constraints, requester=requester,
            no_deps_requirements=no_deps_requirements, skip_packages=skip_packages, blocking=blocking,
        )  # fmt: skip
        return None if skip_packages is None else []

    def pip_ensure(
        requirements: Any, constraints: Any = None, skip_packages: list[str] | None = None, prompt_install: bool = True,
        prompt_restart: bool = True, requester: str | None = None, skip_in_testing: bool = True,
        show_progress: bool = True,
    ) -> list[str] | None:  # fmt: skip
        import slicer

        if skip_in_testing and slicer.app.testingEnabled():
            return None
        if prompt_install and not slicer.util.confirmOkCancelDisplay(f"{requirements}", "Install Python Packages"):
            raise RuntimeError("User declined package installation")
        installer.record(
            "slicer.packaging.pip_ensure",
            requirements,
            constraints=constraints,
            skip_packages=skip_packages,
            requester=requester,
        )
        return None if skip_packages is None else []

    module.__dict__.update(pip_install=pip_install, pip_ensure=pip_ensure)
    return module


def _util_modern(requirements: Any, **options: Any) -> None:
    import slicer

    slicer.packaging.pip_install(requirements, **options)


def _util_5_10(requirements: Any) -> None:
    installer.record("slicer.util.pip_install", requirements)


def _pytorch_module() -> types.ModuleType:
    module = types.ModuleType("PyTorchUtils")

    class PyTorchUtilsLogic:
        """The logic of the PyTorch extension."""

        @staticmethod
        def torchInstalled() -> bool:  # noqa: N802
            return installer.torch_installed

        @property
        def torch(self) -> Any:
            return installer.torch

        def installTorch(  # noqa: N802
            self, askConfirmation: bool = False, forceComputationBackend: str | None = None,  # noqa: N803
            torchVersionRequirement: str | None = None, torchvisionVersionRequirement: str | None = None,  # noqa: N803
        ) -> Any:  # fmt: skip
            installer.record(
                "PyTorchUtils.installTorch", [f"torch{torchVersionRequirement or ''}"], askConfirmation=askConfirmation,
                forceComputationBackend=forceComputationBackend, torchvision=torchvisionVersionRequirement,
            )  # fmt: skip
            return installer.torch

    module.PyTorchUtilsLogic = PyTorchUtilsLogic  # type: ignore[attr-defined]
    return module


def _sample_data_module(modern: bool) -> types.ModuleType:
    module = types.ModuleType("SampleData")

    class SampleDataLogic:
        """``sources``: category -> what was registered; ``categories``: name -> title."""

        sources: dict[str, list[types.SimpleNamespace]] = {}  # noqa: RUF012
        categories: dict[str, str] = {}  # noqa: RUF012

        @staticmethod
        def registerCustomSampleDataSource(  # noqa: N802
            category: str = "Custom", sampleName: Any = None, uris: Any = None, fileNames: Any = None,  # noqa: N803
            nodeNames: Any = None, customDownloader: Any = None, thumbnailFileName: Any = None,  # noqa: N803
            loadFileTypes: Any = None, loadFiles: Any = None, loadFileProperties: Any = {}, checksums: Any = None,  # noqa: B006, N803
            loadFileType: Any = None,  # noqa: N803
        ) -> None:  # fmt: skip
            values = {key: value for key, value in locals().items() if key != "category"}
            SampleDataLogic.sources.setdefault(category, []).append(types.SimpleNamespace(**values))

    if modern:

        def register_category(category: str, title: str) -> None:
            SampleDataLogic.categories[category] = title

        SampleDataLogic.registerCustomSampleDataCategory = staticmethod(register_category)  # type: ignore[attr-defined]
    module.SampleDataLogic = SampleDataLogic  # type: ignore[attr-defined]
    return module
