"""A checker of SR content trees against template tables of PS3.16, written down here row by row.

Sources: TID 3205 as of PS3.16 2025a (dicom.nema.org, current/output/chtml/part16/sect_TID_3205.html); TID 3213, rows 1
to 16 of TID 3214, and TID 3218 as published (www.dabsoft.ch/dicom/16), with today's codes in place of SRT and of DCM
121070, as in TID 5103 of 2024e; TID 1204, 1002, 1004 and 300. TID 3219 was not at hand: its rows are what we take it
for. All are extensible, with significant order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset

Code = tuple[str, str]
MOD, OBS, CON, SEL = "HAS CONCEPT MOD", "HAS OBS CONTEXT", "CONTAINS", "SELECTED FROM"
DERIVATION = ("121401", "DCM")
MM, PER_PIXEL, FRENCH = ("mm", "UCUM"), ("mm/{pixel}", "UCUM"), ("[Ch]", "UCUM")


@dataclass(frozen=True)
class Row:
    """One row: relation, value type, concept name, how often (None: any number), requirement; the rows below it; what
    its value (unit, code, graphic type) may be; the value of a Derivation modifier that tells it from its like."""

    relation: str
    kind: str
    concept: Code | None
    most: int | None = 1
    required: bool | Callable[[Dataset], bool] = True
    rows: tuple[Row, ...] = ()
    values: tuple[Any, ...] = ()
    derivation: Code | None = None
    where: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def fits(self, item: Dataset) -> bool:
        if item.get("RelationshipType", "") != self.relation or item.ValueType != self.kind:
            return False
        if concept_of(item) != self.concept:
            return False
        return self.derivation is None or self.derivation in derivations(item)


def code_of(sequence: Any) -> Code | None:
    return (sequence[0].CodeValue, sequence[0].CodingSchemeDesignator) if sequence else None


def concept_of(item: Dataset) -> Code | None:
    return code_of(item.get("ConceptNameCodeSequence"))


def below(item: Dataset) -> list[Dataset]:
    return list(item.get("ContentSequence") or [])


def derivations(item: Dataset) -> list[Code | None]:
    return [code_of(child.ConceptCodeSequence) for child in below(item) if concept_of(child) == DERIVATION]


def measurement(concept: Code, unit: Code, where: str, derivation: Code | None = None, **more: Any) -> Row:
    """TID 300, as it is included."""
    return Row(CON, "NUM", concept, values=(unit,), derivation=derivation, where=where, **more)


def uses_object(container: Dataset) -> bool:
    methods = [child for child in below(container) if concept_of(child) == ("122422", "DCM")]
    return any(code_of(child.ConceptCodeSequence) == ("122488", "DCM") for child in methods)


LANGUAGE = (Row(MOD, "CODE", ("121049", "DCM"), where="TID 1204 row 1"),)
OBSERVER = (
    Row(OBS, "CODE", ("121005", "DCM"), values=(("121007", "DCM"),), where="TID 1002 row 1"),
    Row(OBS, "UIDREF", ("121012", "DCM"), where="TID 1004 row 1"),
    Row(OBS, "TEXT", ("121013", "DCM"), required=False, where="TID 1004 row 2"),
    Row(OBS, "TEXT", ("121014", "DCM"), required=False, where="TID 1004 row 3"),
    Row(OBS, "TEXT", ("121015", "DCM"), required=False, where="TID 1004 row 4"),
)
TID_3205 = (
    Row(CON, "CODE", ("122422", "DCM"), where="TID 3205 row 6"),
    Row(CON, "CODE", ("122421", "DCM"), required=uses_object, where="TID 3205 row 7",
        values=(("122485", "DCM"), ("19923001", "SCT"), ("102304005", "SCT"))),
    Row(CON, "NUM", ("122423", "DCM"), required=uses_object, values=(FRENCH, MM), where="TID 3205 row 8"),
    measurement(("111026", "DCM"), PER_PIXEL, "TID 3205 row 9"),
    measurement(("111066", "DCM"), PER_PIXEL, "TID 3205 row 10"),
)  # fmt: skip
TID_3218 = tuple(
    measurement((value, "DCM"), MM, f"TID 3218 row {row}")
    for row, value in enumerate(("122528", "122529", "122382", "122516"), 1)
)
CONTOUR = (Row(SEL, "IMAGE", None, where="TID 3214 rows 8 and 10"),)
WIDTH = ("397413000", "SCT")
TID_3214 = (
    Row(MOD, "CODE", ("363698007", "SCT"), values=(("41801008", "SCT"),), where="TID 3214 row 2"),
    Row(CON, "IMAGE", ("121112", "DCM"), where="TID 3214 row 3"),
    Row(CON, "CONTAINER", ("122505", "DCM"), rows=TID_3205, where="TID 3214 row 4"),
    Row(CON, "SCOORD", ("122507", "DCM"), rows=CONTOUR, values=("POLYLINE",), where="TID 3214 row 7"),
    Row(CON, "SCOORD", ("122508", "DCM"), rows=CONTOUR, values=("POLYLINE",), where="TID 3214 row 9"),
    measurement(("122510", "DCM"), MM, "TID 3219, length"),
    measurement(WIDTH, MM, "TID 3219, mean", ("373098007", "SCT")),
    measurement(WIDTH, MM, "TID 3219, deviation", ("386136009", "SCT"), required=False),
    measurement(WIDTH, MM, "TID 3214 row 12", ("255605001", "SCT")),
    measurement(WIDTH, MM, "TID 3214 row 13", ("56851009", "SCT")),
    Row(CON, "CONTAINER", ("52988006", "SCT"), None, False, TID_3218, where="lesions, an extension"),
)
TID_3213 = (
    *LANGUAGE, *OBSERVER,
    Row(OBS, "TEXT", ("111001", "DCM"), where="TID 3213 row 5"),
    Row(OBS, "TEXT", ("111003", "DCM"), where="TID 3213 row 6"),
    Row(OBS, "TEXT", ("122405", "DCM"), where="TID 3213 row 7"),
    Row(CON, "CONTAINER", ("59776-5", "LN"), None, True, TID_3214, where="TID 3213 row 8"),
)  # fmt: skip
TID_1501 = (
    Row(OBS, "TEXT", ("112039", "DCM"), where="TID 1501 row 2"),
    Row(OBS, "UIDREF", ("112040", "DCM"), where="TID 1501 row 3"),
    Row(CON, "CODE", ("121071", "DCM"), required=False, where="TID 1501, finding"),
    Row(MOD, "CODE", ("363698007", "SCT"), required=False, where="TID 1501, finding site"),
)
TID_1500 = (
    *LANGUAGE, *OBSERVER,
    Row(MOD, "CODE", ("121058", "DCM"), None, True, where="TID 1500, procedure reported"),
    Row(CON, "CONTAINER", ("126010", "DCM"), where="TID 1500, measurements",
        rows=(Row(CON, "CONTAINER", ("125007", "DCM"), None, False, TID_1501, where="TID 1501 row 1"),)),
)  # fmt: skip
ROOTS = {"3213": (("122291", "DCM"), TID_3213), "1500": (("126000", "DCM"), TID_1500)}

# By-value relations of Comprehensive SR that occur here (PS3.3 table A.35.3-2).
ALLOWED = {
    ("CONTAINER", CON): {"CONTAINER", "CODE", "TEXT", "NUM", "IMAGE", "SCOORD", "UIDREF"},
    ("CONTAINER", OBS): {"CODE", "TEXT", "UIDREF"},
    ("CONTAINER", MOD): {"CODE", "TEXT"},
    ("NUM", MOD): {"CODE", "TEXT"},
    ("NUM", "HAS PROPERTIES"): {"NUM", "CODE", "TEXT"},
    ("NUM", "INFERRED FROM"): {"SCOORD", "NUM", "IMAGE"},
    ("SCOORD", SEL): {"IMAGE"},
}


def problems(document: Dataset) -> list[str]:
    """What is wrong with the content of an SR, one line each; empty where it follows its template."""
    template = document.ContentTemplateSequence[0]
    if template.MappingResource != "DCMR" or template.TemplateIdentifier not in ROOTS:
        return [f"no known template: {template.TemplateIdentifier}"]
    concept, rows = ROOTS[template.TemplateIdentifier]
    found = [] if concept_of(document) == concept else [f"the root is {concept_of(document)}, not {concept}"]
    return [*found, *_compared(document, rows, "root"), *_general(document, document, "root")]


def _compared(container: Dataset, rows: Iterable[Row], place: str) -> list[str]:
    rows, found, order = tuple(rows), [], -1
    counts = [0] * len(rows)
    for number, item in enumerate(below(container), 1):
        matches = [index for index, row in enumerate(rows) if row.fits(item)]
        if not matches:
            continue  # an extension
        index, row = matches[0], rows[matches[0]]
        if index < order:
            found.append(f"{place}/{number}: {row.where} comes too late")
        order = max(order, index)
        counts[index] += 1
        value = _value(item)
        if row.values and value not in row.values:
            found.append(f"{place}/{number}: {row.where} is {value}, expected one of {row.values}")
        if row.rows:
            found += _compared(item, row.rows, f"{place}/{number}")
    for row, count in zip(rows, counts, strict=True):
        wanted = row.required if isinstance(row.required, bool) else row.required(container)
        if wanted and not count:
            found.append(f"{place}: {row.where} is missing")
        if row.most is not None and count > row.most:
            found.append(f"{place}: {row.where} is there {count} times")
        if callable(row.required) and count and not wanted:
            found.append(f"{place}: {row.where} is there without its condition")
    return found


def _value(item: Dataset) -> Any:
    if item.ValueType == "NUM":
        return code_of(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence)
    return item.GraphicType if item.ValueType == "SCOORD" else code_of(item.get("ConceptCodeSequence"))


def _general(item: Dataset, document: Dataset, place: str) -> list[str]:
    found = []
    known = {
        (instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID)
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    for number, child in enumerate(below(item), 1):
        here = f"{place}/{number}"
        if child.ValueType not in ALLOWED.get((item.ValueType, child.RelationshipType), ()):
            found.append(f"{here}: {item.ValueType} {child.RelationshipType} {child.ValueType} is not allowed")
        if child.ValueType != "IMAGE" and concept_of(child) is None:
            found.append(f"{here}: {child.ValueType} without a concept name")
        if child.ValueType == "NUM" and len(child.MeasuredValueSequence) != 1:
            found.append(f"{here}: NUM without one value")
        if child.ValueType == "SCOORD" and (len(child.GraphicData) < 4 or len(child.GraphicData) % 2):
            found.append(f"{here}: no polyline")
        if child.ValueType == "IMAGE":
            named = child.ReferencedSOPSequence[0]
            if (named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID) not in known:
                found.append(f"{here}: an image that is no evidence")
        for code in child.get("ConceptNameCodeSequence", []):
            if not code.CodeMeaning or len(code.CodeValue) > 16 or len(code.CodeMeaning) > 64:
                found.append(f"{here}: a code that is not one: {code.CodeValue}")
        found += _general(child, document, here)
    return found
