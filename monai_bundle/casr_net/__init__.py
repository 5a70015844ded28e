"""CASR-Net: coronary artery segmentation in X-ray coronary angiograms (arXiv 2510.27315), as a MONAI bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference.segmenter import Segmentation, Segmenter

__all__ = ["Segmentation", "Segmenter", "__version__"]

__version__ = "0.12.0"


def __getattr__(name: str) -> Any:
    # torch and MONAI take seconds to import; ``casr --help`` and configuration checks do not need them.
    if name in ("Segmentation", "Segmenter"):
        from .inference import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
