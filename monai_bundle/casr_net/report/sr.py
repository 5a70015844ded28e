"""The measurements as a DICOM Structured Report (Comprehensive SR) in the study of the image that was measured."""

from __future__ import annotations

import datetime
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian, generate_uid

from ..errors import DataError
from ..files.dicom import save_dicom, set_encoding
from ..files.dicom_derived import copy_patient, identity_of, item, quiet, reference
from ..files.dicom_frames import read_header
from .measurements import RESEARCH, Analysis
from .sr_items import SCHEME
from .sr_templates import arterial_analysis, measurable, pixel_report

__all__ = ["make_sr", "write_sr"]

SERIES = 9001


def make_sr(analysis: Analysis, source: Dataset | str | Path) -> Dataset:
    """Put the object together: Quantitative Arterial Analysis (TID 3213) with a scale, else TID 1500 in pixels.

    Patient and study are those of the source, as the standard demands of an object of the same study, and never made
    up.

    Raises:
        DataError: when the source names no instance, series or study, or no path has a width.
    """
    from .. import __version__

    data = source if isinstance(source, Dataset) else read_header(Path(source))[0]
    name = "the image" if isinstance(source, Dataset) else str(source)
    identity = identity_of(data, name)
    if not measurable(analysis):
        raise DataError(f"{name}: no width was measured, so that there is nothing to report.")
    frame = {"ReferencedFrameNumber": analysis.frame.number + 1} if "NumberOfFrames" in data else {}
    named = reference(identity, **frame)
    build = arterial_analysis if analysis.calibrated else pixel_report
    with quiet():
        made = _document(data, __version__)
        made.update(build(analysis, named, __version__))
        evidence = item(SeriesInstanceUID=identity["SeriesInstanceUID"], ReferencedSOPSequence=[reference(identity)])
        made.CurrentRequestedProcedureEvidenceSequence = [
            item(StudyInstanceUID=identity["StudyInstanceUID"], ReferencedSeriesSequence=[evidence])
        ]
    return made


def write_sr(path: Path, analysis: Analysis, source: Dataset | str | Path) -> None:
    """Write what :func:`make_sr` makes."""
    save_dicom(path, make_sr(analysis, source))


def _document(data: Dataset, version: str) -> Dataset:
    """All but the content (PS3.3 A.35.3)."""
    now = datetime.datetime.now()
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    copy_patient(data, made)
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):  # of images only
        if keyword in made:
            delattr(made, keyword)
    made.SOPClassUID, made.SOPInstanceUID = ComprehensiveSRStorage, generate_uid()
    made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = generate_uid(), SERIES, 1
    made.Modality, made.SeriesDescription = "SR", "Vessel measurements (research use only)"
    made.ReferencedPerformedProcedureStepSequence = []
    made.PerformedProcedureCodeSequence = []
    made.Manufacturer, made.ManufacturerModelName, made.SoftwareVersions = "CASR-Net", "CASR-Net", version
    made.SeriesDate = made.ContentDate = made.InstanceCreationDate = now.strftime("%Y%m%d")
    made.SeriesTime = made.ContentTime = made.InstanceCreationTime = now.strftime("%H%M%S.%f")
    made.CompletionFlag, made.CompletionFlagDescription = "COMPLETE", RESEARCH[:64].rsplit(" ", 1)[0]
    made.VerificationFlag, made.PreliminaryFlag = "UNVERIFIED", "PRELIMINARY"
    made.CodingSchemeIdentificationSequence = [
        item(CodingSchemeDesignator=SCHEME, CodingSchemeName="Local codes of CASR-Net",
             CodingSchemeResponsibleOrganization="CASR-Net project")
    ]  # fmt: skip
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    set_encoding(made)
    return made
