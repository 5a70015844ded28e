"""Content items of DICOM Structured Reports (PS3.3 C.17.3), and the codes that our reports use (PS3.16)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from ..files.dicom_derived import code, item
from ..vessels.measures import Interval

__all__ = [
    "CONTAINS", "MODIFIES", "OBSERVED", "PROPERTY", "Code", "coded", "container", "image", "in_unit", "local", "number",
    "polyline", "sct", "text", "uid", "uncertain",
]  # fmt: skip

Code = tuple[str, str, str]
"""Value, scheme, meaning."""

CONTAINS, MODIFIES, OBSERVED, PROPERTY = "CONTAINS", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS PROPERTIES"
SCHEME = "99CASR"
"""Of codes of our own, where the standard has none."""

UNITS: dict[str, Code] = {
    "mm": ("mm", "UCUM", "mm"),
    "px": ("{pixels}", "UCUM", "pixels"),
    "%": ("%", "UCUM", "percent"),
    "mm/px": ("mm/{pixel}", "UCUM", "mm/pixel"),
    "french": ("[Ch]", "UCUM", "French"),
}


def dcm(value: str, meaning: str) -> Code:
    return value, "DCM", meaning


def sct(value: str, meaning: str) -> Code:
    return value, "SCT", meaning


def local(value: str, meaning: str) -> Code:
    return value, SCHEME, meaning


REPORT = dcm("122291", "Quantitative Arteriography Report")
IMAGING_REPORT = dcm("126000", "Imaging Measurement Report")
LANGUAGE = dcm("121049", "Language of Content Item and Descendants")
ENGLISH: Code = ("en", "RFC5646", "English")
OBSERVER_TYPE = dcm("121005", "Observer Type")
DEVICE = dcm("121007", "Device")
DEVICE_UID = dcm("121012", "Device Observer UID")
DEVICE_NAME = dcm("121013", "Device Observer Name")
DEVICE_MANUFACTURER = dcm("121014", "Device Observer Manufacturer")
DEVICE_MODEL = dcm("121015", "Device Observer Model Name")
ALGORITHM = dcm("111001", "Algorithm Name")
ALGORITHM_VERSION = dcm("111003", "Algorithm Version")
ALGORITHM_MANUFACTURER = dcm("122405", "Algorithm Manufacturer")
FINDINGS: Code = ("59776-5", "LN", "Findings")
FINDING = dcm("121071", "Finding")
SITE = sct("363698007", "Finding Site")
CORONARY = sct("41801008", "Coronary artery")
SOURCE = dcm("121112", "Source of Measurement")
CALIBRATION = dcm("122505", "Calibration")
METHOD = dcm("122422", "Calibration Method")
OBJECT = dcm("122421", "Calibration Object")
OBJECT_SIZE = dcm("122423", "Calibration Object Size")
OBJECT_USED = dcm("122488", "Calibration Object Used")
ISOCENTER = dcm("122486", "Geometric Isocenter")
CATHETER = sct("19923001", "Catheter")
HORIZONTAL = dcm("111026", "Horizontal Pixel Spacing")
VERTICAL = dcm("111066", "Vertical Pixel Spacing")
LEFT = dcm("122507", "Left Contour")
RIGHT = dcm("122508", "Right Contour")
SEGMENT_LENGTH = dcm("122510", "Length Luminal Segment")
DIAMETER = sct("397413000", "Vessel lumen diameter")
DERIVATION = dcm("121401", "Derivation")
MINIMUM = sct("255605001", "Minimum")
MAXIMUM = sct("56851009", "Maximum")
MEAN = sct("373098007", "Mean")
DEVIATION = sct("386136009", "Standard Deviation")
LESION = sct("52988006", "Lesion")
LESION_ID = dcm("121151", "Lesion Identifier")
REFERENCE_METHOD = dcm("122430", "Reference Method")
INTERPOLATED = dcm("122490", "Interpolated Local Reference")
PROXIMAL_BORDER = dcm("122528", "Position of Proximal Border")
DISTAL_BORDER = dcm("122529", "Position of Distal Border")
SITE_OF_MINIMUM = dcm("122382", "Site of Luminal Minimum")
SITE_OF_MAXIMUM = dcm("122516", "Site of Luminal Maximum")
DIAMETER_STENOSIS = sct("408715008", "Lumen Diameter Stenosis")
AREA_STENOSIS = sct("408714007", "Lumen Area Stenosis")
LESION_LENGTH = sct("408716009", "Stenotic Lesion Length")
MEASURED_BY = sct("370129005", "Measurement Method")
CIRCULAR = dcm("122473", "Circular method")
DENSITOMETRIC = dcm("122474", "Densitometric method")
REFERENCE_DIAMETER = local("REFERENCE", "Reference diameter")
COMMENT = dcm("121106", "Comment")
UPPER = sct("371886008", "+, range of upper measurement uncertainty")
LOWER = sct("371885007", "-, range of lower measurement uncertainty")
MEASUREMENTS = dcm("126010", "Imaging Measurements")
GROUP = dcm("125007", "Measurement Group")
TRACKING = dcm("112039", "Tracking Identifier")
TRACKING_UID = dcm("112040", "Tracking Unique Identifier")
PROCEDURE = dcm("121058", "Procedure reported")
ANGIOGRAPHY = sct("33367005", "Coronary angiography")


def container(name: Code, children: Iterable[Dataset], relation: str = CONTAINS, template: str = "") -> Dataset:
    """A CONTAINER; the root has no relation, and both it and a template's first item may name the template."""
    made = _item("CONTAINER", name, relation, children)
    made.ContinuityOfContent = "SEPARATE"
    if template:
        made.ContentTemplateSequence = [item(MappingResource="DCMR", TemplateIdentifier=template)]
    return made


def coded(name: Code, value: Code, relation: str = CONTAINS) -> Dataset:
    made = _item("CODE", name, relation)
    made.ConceptCodeSequence = [code(*value)]
    return made


def text(name: Code, value: str, relation: str = CONTAINS) -> Dataset:
    made = _item("TEXT", name, relation)
    made.TextValue = value
    return made


def uid(name: Code, value: str, relation: str = CONTAINS) -> Dataset:
    made = _item("UIDREF", name, relation)
    made.UID = value
    return made


def number(name: Code, value: float, unit: str, children: Iterable[Dataset] = (), relation: str = CONTAINS) -> Dataset:
    """A NUM, as the Measurement template has it (TID 300).

    Args:
        name: what was measured.
        value: rounded to six significant digits, since a decimal string has room for 16 characters.
        unit: a key of :data:`UNITS`.
        children: such as modifiers.
        relation: to the parent.
    """
    made = _item("NUM", name, relation, children)
    made.MeasuredValueSequence = [
        item(NumericValue=DSfloat(f"{value:.6g}"), MeasurementUnitsCodeSequence=[code(*UNITS[unit])])
    ]
    return made


def derived(value: Code) -> Dataset:
    """How a number comes from several ones (TID 300)."""
    return coded(DERIVATION, value, MODIFIES)


def uncertain(value: float, interval: Interval | None, factor: float, unit: str) -> list[Dataset]:
    """Distances from a value to the ends of its interval (TID 310, CID 225 "Measurement Uncertainty Concept")."""
    if interval is None or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return []
    ends = ((UPPER, interval.high * factor - value), (LOWER, value - interval.low * factor))
    return [number(name, max(distance, 0.0), unit, (), PROPERTY) for name, distance in ends]


def image(name: Code | None, reference: Dataset, relation: str = CONTAINS) -> Dataset:
    """An IMAGE, of an item that names an instance."""
    made = _item("IMAGE", name, relation)
    made.ReferencedSOPSequence = [reference]
    return made


def polyline(
    name: Code, points: np.ndarray, size: tuple[int, int], reference: Dataset, relation: str = CONTAINS
) -> Dataset:
    """An open line on an image: SCOORD selected from IMAGE.

    Args:
        name: what it is.
        points: (n, 2), with pixel centres at whole numbers; the standard counts from the corner of the first pixel
            (PS3.3 C.18.6.1.1).
        size: columns and rows.
        reference: item that names the image.
        relation: to the parent.
    """
    made = _item("SCOORD", name, relation, [image(None, reference, "SELECTED FROM")])
    made.GraphicType = "POLYLINE"
    made.GraphicData = np.clip(np.asarray(points, float) + 0.5, 0, size).round(3).reshape(-1).tolist()
    return made


def in_unit(scale_known: bool) -> str:
    return "mm" if scale_known else "px"


def _item(kind: str, name: Code | None, relation: str, children: Iterable[Dataset] = ()) -> Dataset:
    made = Dataset()
    if relation:
        made.RelationshipType = relation
    made.ValueType = kind
    if name is not None:
        made.ConceptNameCodeSequence = [code(*name)]
    below: list[Any] = list(children)
    if below:
        made.ContentSequence = below
    return made
