"""How measurements came about: methods in words, versions, and what tells the file."""

from __future__ import annotations

import hashlib
from typing import Any

from ..files.images import Angiogram
from ..inference.provenance import package_versions

__all__ = ["identity_of_file", "methods_of", "versions_of"]


def identity_of_file(angiogram: Angiogram) -> tuple[str, dict[str, str]]:
    """SHA-256 of the file (empty for pixels in memory), and what names it: its path and DICOM UIDs."""
    identity = {"path": str(angiogram.path)}
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if angiogram.header.get(keyword):
            identity[keyword] = str(angiogram.header[keyword])
    if not angiogram.path.is_file():
        return "", identity
    digest = hashlib.sha256()
    with open(angiogram.path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest(), identity


def methods_of(angiogram: Angiogram, attenuation: str, options: Any, segmenter: Any) -> dict[str, str]:
    """Step to how it was done, one sentence each."""
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
        "edge model and mask threshold." if options.doubt else "No intervals were asked for.",
    }  # fmt: skip


def versions_of(segmenter: Any) -> dict[str, str]:
    """Versions of the packages, and the weights' hash where the segmenter knows it."""
    versions = package_versions()
    digest = getattr(segmenter, "weights_sha256", "")
    return {**versions, "weights": digest} if digest else versions
