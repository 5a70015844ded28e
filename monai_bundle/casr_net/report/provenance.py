"""How measurements came about: methods in words, versions, and what tells the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..files.digest import sha256
from ..files.images import Angiogram
from ..inference.provenance import describe, package_versions, settings_hash

__all__ = ["identity_of_file", "methods_of", "network_of", "versions_of"]


def identity_of_file(angiogram: Angiogram) -> tuple[str, dict[str, str]]:
    """SHA-256 of the file (empty for pixels in memory), and what names it: its path and DICOM UIDs."""
    identity = {"path": str(angiogram.path)}
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if angiogram.header.get(keyword):
            identity[keyword] = str(angiogram.header[keyword])
    if not angiogram.path.is_file():
        return "", identity
    return sha256(angiogram.path), identity


def methods_of(attenuation: str, options: Any, intervals: bool) -> dict[str, str]:
    """Step to how it was done, one sentence each.

    Args:
        attenuation: where the grey values are from.
        options: of :func:`casr_net.report.analyse`.
        intervals: whether the lesions have some.
    """
    found = "given by the user" if options.mask is not None else "CASR-Net with the weights that the versions name"
    reference = (
        "Line through the diameters at 5 % and 95 % of the path (DICOM PS3.17 T.4.2)."
        if options.reference is None
        else f"Stated by the user: {options.reference[0]:g} {options.reference[1]}."
    )
    return {
        "Frame": "The best opacified frame of the contrast curve, unless the user chose one.",
        "Vessel mask": f"Mask {found}.",
        "Grey values": f"Attenuation, never windowed pixels. {attenuation}",
        "Tree": "Skeleton of the mask as a graph; spurs cut, crossings told from branches, catheter marked.",
        "Width": "Profiles across the centre line: edges as the mean of the extrema of the first and the second "
        "derivative; a blurred cylinder where the vessel is about as thin as the blur; the mask only as fallback, "
        "which is marked.",
        "Reference": reference,
        "Stenosis": "100 (1 - MLD / reference), by diameter; by area for a round lumen, and densitometric as a second "
        "opinion. Lesions at crossings, branch points and borders are marked unsure.",
        "Doubt": "Intervals that are to hold the true value with the stated probability, from the spread of profiles, "
        "edge model and mask threshold." if intervals else "No intervals are given.",
    }  # fmt: skip


def versions_of(segmenter: Any) -> dict[str, str]:
    """Versions of the packages, and what tells the network: hashes of its weights and settings."""
    return {**package_versions(), **network_of(segmenter)}


def network_of(segmenter: Any) -> dict[str, str]:
    """SHA-256 of weights and settings of a :class:`casr_net.inference.Segmenter`; empty for anything else."""
    weights = getattr(segmenter, "weights", None)
    if weights is None:
        return {}
    parts = [segmenter.channels, segmenter.network, segmenter.inferer, segmenter.postprocessing]
    settings = settings_hash([describe(part) for part in parts])
    return {"weights": sha256(weights) if Path(weights).is_file() else "unknown", "settings": settings}
