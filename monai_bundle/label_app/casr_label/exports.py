"""Final labels as DICOM objects, for viewers that show no segmentation of a projection: to be taken away, or stored in
the PACS."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydicom
from fastapi import APIRouter, Query
from fastapi.responses import Response

from casr_net.errors import UsageError
from casr_net.files.dicom_capture import write_capture
from casr_net.files.dicom_presentation import write_presentation
from casr_net.files.dicom_seg import write_segmentation
from casr_net.files.names import DERIVED, result_name

from .bench import the_bench
from .pacs import PACSDatastore
from .requests import NotFoundError
from .workbench import Workbench

__all__ = ["router"]

router = APIRouter(prefix="/page", tags=["Page"])

Image = Annotated[str, Query(description="name of an image of the datastore, which is a DICOM file")]
Format = Annotated[
    Literal["sc", "gsps", "seg"],
    Query(description="Secondary Capture (contour burned in), Presentation State (as graphic), or Segmentation"),
]
_WRITERS: dict[str, Callable[..., None]] = {
    "sc": write_capture, "gsps": write_presentation, "seg": write_segmentation,
}  # fmt: skip


@router.get("/export")
def export(image: Image, format: Format = "sc") -> Response:
    """The final label of an image as a DICOM file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "export.dcm"
        _write(the_bench(), image, format, file)
        content = file.read_bytes()
    name = result_name(
        "".join(one if one.isalnum() or one in ".-" else "_" for one in image), None, DERIVED[format], "dcm"
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/dicom", headers=headers)


@router.post("/export")
def store(image: Image, format: Literal["sc", "gsps"] = "sc") -> dict[str, Any]:
    """Store it in the PACS, beside the image; a segmentation lies there since the label was accepted."""
    bench = the_bench()
    datastore = bench.app.datastore()
    if not isinstance(datastore, PACSDatastore):
        raise UsageError("images come from a folder; there is no PACS to store anything in.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "export.dcm"
        _write(bench, image, format, file)
        made = pydicom.dcmread(file)
        datastore.store_beside(made)
    return {"instance": str(made.SOPInstanceUID), "series": str(made.SeriesInstanceUID)}


def _write(bench: Workbench, image: str, format: str, file: Path) -> None:
    place = bench.place(image, None)
    with place.errors():
        source = bench.open(place.path)
        if source.format != "dicom":
            raise UsageError(f"image {image!r}: is no DICOM file; nothing can be derived from it for a viewer.")
        label = bench.final(place, source)
        if label is None or not label.frames:
            raise NotFoundError(f"image {image!r}: has no final label; accept one first.")
        _WRITERS[format](file, place.path, {frame: label.masks[..., frame] for frame in label.frames})
