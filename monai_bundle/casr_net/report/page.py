"""Pages for people: one HTML file each, without script, without network, readable in light, dark and on paper."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..vessels.measures import Interval, Lesion
from .measurements import RESEARCH, Analysis, MeasuredPath, across
from .pictures import colour_bar, detail_picture, frame_picture
from .plots import contrast_plot, profile_plot

__all__ = ["index_page", "index_row", "report_page"]

TEMPLATES = Path(__file__).with_name("templates")
TOLD = 10
"""Narrowings, by rank, that are numbered, enlarged and plotted; the others are listed. Our choice."""

UNKNOWN = "\N{EN DASH}"

ORIGINS = {"ends": "between the two points that were given", "longest": "the longest way of the tree",
           "tree": "a way of the tree"}  # fmt: skip
KINDS = {
    "user": "stated by the user", "catheter": "measured on the catheter", "geometry": "calibrated, geometry",
    "fiducial": "calibrated, fiducial", "magnification": "estimated from the magnification",
    "none": "lengths are in pixels",
}  # fmt: skip
TREE = {
    "parts": "parts", "branch_points": "branch points", "ends": "ends", "crossings": "crossings",
    "doubtful_crossings": "of these doubtful", "gaps": "joints over gaps of the mask",
    "vessel_length_px": "length of the vessels, pixels", "catheter_length_px": "length of the catheter, pixels",
    "mask_fraction": "share of the image",
}  # fmt: skip


def report_page(analysis: Analysis, sr: str, made: str = "") -> str:
    """The report of one frame.

    Args:
        analysis: what was measured.
        sr: what became of the DICOM object, one sentence.
        made: time for the foot.
    """
    rows = [
        _lesion(analysis, path, lesion, place < TOLD) for place, (path, lesion) in enumerate(analysis.lesions)
    ]  # fmt: skip
    shown = {row["path"] for row in rows[:TOLD]} | {path.number for path in analysis.paths[:1]}
    summary = analysis.tree_summary()
    chosen = [(name.replace("_", " ").capitalize(), value) for name, value in analysis.settings.items()]
    identity = (
        "The file's path and UIDs were kept, as the user wanted."
        if analysis.source.identity
        else "No name, number or UID of a patient, study or file stands in this page, in the tables or the graph. A "
        "DICOM SR keeps what the standard demands of an object of the same study: patient and study of the source."
    )
    return _render(
        "report.html", made, a=analysis, lesions=rows[:TOLD], count=len(rows),
        unsure=sum(bool(row["unsure"]) for row in rows),
        unit="millimetres" if analysis.calibrated else "pixels", level=_level(analysis),
        scale_words=_scale_words(analysis), scale_kind=KINDS.get(analysis.scale.kind, analysis.scale.kind),
        frame=frame_picture(analysis, TOLD), further=rows[TOLD:], bar=colour_bar(analysis),
        tree=[(name, f"{summary[key]:g}") for key, name in TREE.items()],
        paths=[
            _path(analysis, path, told)
            for path, told in zip(analysis.paths, analysis.as_dict()["paths"], strict=True)
            if path.number in shown
        ],
        hidden=len(analysis.paths) - len(shown),
        contrast=contrast_plot(analysis),
        doubt=_doubt(analysis), settings=[(name, UNKNOWN if value is None else value) for name, value in chosen],
        sr=sr, identity=identity,
    )  # fmt: skip


def index_page(rows: Sequence[dict[str, Any]], made: str = "") -> str:
    """The list of a batch, of :func:`index_row` and rows with a name and an error."""
    whole = [{"link": "", "error": "", **row} for row in rows]
    return _render("index.html", made, rows=whole, failed=sum(bool(row["error"]) for row in whole))


def index_row(content: dict[str, Any], link: str) -> dict[str, Any]:
    """The row of one input, from what its ``measurements.json`` holds."""
    lesions = content["lesions"]
    row: dict[str, Any] = {
        "name": content["input"]["name"], "link": quote(link, errors="surrogateescape"),
        "frame": content["frame"]["number"] + 1, "lesions": len(lesions),
        "percent": UNKNOWN, "percent_range": "", "mld": UNKNOWN, "scale": KINDS.get(content["scale"]["kind"], ""),
        "notes": f"{len(content['warnings'])} to read" if content["warnings"] else "",
    }  # fmt: skip
    if lesions:
        first = content["paths"][lesions[0]["path"] - 1]["lesions"][lesions[0]["lesion"] - 1]
        spread, unit = first["percent_interval"], "px" if first["mld"]["mm"] is None else "mm"
        row["percent"] = f"{first['percent_diameter']:.0f} %"
        row["percent_range"] = f"{spread['low']:.0f} to {spread['high']:.0f} %" if spread else ""
        row["mld"] = f"{first['mld'][unit]:.2f} {unit}"
    return row


def _lesion(analysis: Analysis, path: MeasuredPath, lesion: Lesion, pictured: bool) -> dict[str, Any]:
    told = analysis.lesion_dict(path, lesion)
    length = _length(told["length"])
    unit = "px" if told["mld"]["mm"] is None else "mm"
    factors = across(path.widths, analysis.scale)
    factor = 1.0 if factors is None else float(factors[lesion.index])
    return {
        "rank": lesion.rank or UNKNOWN, "path": path.number, "mld": _length(told["mld"]),
        "mld_range": _range(lesion.mld_interval, factor, 2, unit), "reference": _length(told["reference"]),
        "reference_method": lesion.reference_method, "percent": f"{lesion.percent_diameter:.0f} %",
        "percent_range": _range(lesion.percent_interval, 1.0, 0, "%"), "area": f"{lesion.percent_area:.0f} %",
        "densitometric": _share(lesion.percent_area_densitometric), "length": length,
        "position": f"{lesion.position[0]:.0f}, {lesion.position[1]:.0f}", "unsure": ", ".join(lesion.unsure),
        "picture": detail_picture(analysis, path, lesion) if pictured else None,
    }  # fmt: skip


def _path(analysis: Analysis, path: MeasuredPath, told: dict[str, Any]) -> dict[str, Any]:
    method = ", ".join(
        f"{name} {100 * count / len(told['method']):.0f} %" for name, count in Counter(told["method"]).most_common()
    )
    return {
        "number": path.number, "origin": ORIGINS[path.origin], "length": _length(told["length"]),
        "median": _length(told["median_diameter"]), "method": f"widths by {method}" if method else "no width",
        "messages": path.messages, "plot": profile_plot(analysis, path),
    }  # fmt: skip


def _scale_words(analysis: Analysis) -> str:
    row, column = analysis.scale.row_mm, analysis.scale.column_mm
    if row is None or column is None:
        return "not known"
    about = "about " if analysis.scale.estimated else ""
    return f"{about}{row:.4g} mm" if row == column else f"{about}{row:.4g} x {column:.4g} mm (row, column)"


def _level(analysis: Analysis) -> str:
    found = [lesion.mld_interval or lesion.percent_interval for _, lesion in analysis.lesions]
    known = next((value for value in found if value is not None), None)
    if known is None:
        return "were not asked for."
    level = f"{100 * known.level:.0f} % if the segmentation is right"
    return f"hold the true value with a probability of {level}, as on phantoms; in crowded trees they are too narrow."


def _doubt(analysis: Analysis) -> str:
    level = _level(analysis)
    if level.startswith("were"):
        return "No intervals were asked for: the values stand without a statement of their doubt."
    words = "The ranges of minimum lumen diameter and diameter stenosis "
    rest = " They do not cover a wrong frame, a vessel that was missed or that another one hides, nor foreshortening"
    scale = " or the error of the scale." if analysis.calibrated else "."
    return words + level + rest + scale


def _length(value: dict[str, float | None]) -> str:
    if value["mm"] is not None:
        return f"{value['mm']:.2f} mm"
    return UNKNOWN if value["px"] is None else f"{value['px']:.1f} px"


def _range(value: Interval | None, factor: float, digits: int, unit: str) -> str:
    if value is None:
        return ""
    return f"{value.low * factor:.{digits}f} to {value.high * factor:.{digits}f} {unit}"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f} %"


def _render(template: str, made: str, **values: Any) -> str:
    from .. import __version__

    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return _environment().get_template(template).render(
        style=Markup(style), style_hash=Markup(digest), research=RESEARCH, version=__version__, made=made, **values
    )  # fmt: skip


@cache
def _style() -> str:
    return TEMPLATES.joinpath("style.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
