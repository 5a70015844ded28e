"""Records of an analysis and their JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from makers.analyses import make_analysis, scale_of

from casr_net.report.measurements import RESEARCH, across, arc_mm
from casr_net.report.tables import COLUMNS, centrelines_csv
from casr_net.vessels.measures import Widths
from casr_net.vessels.scale import Scale


@pytest.fixture(scope="module")
def schema(pytestconfig: pytest.Config) -> dict:
    path = Path(__file__).resolve().parents[2] / "monai_bundle" / "docs" / "measurements.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("millimetres", [0.25, None])
@pytest.mark.parametrize("curve", [True, False])
def test_json_follows_the_schema(schema: dict, millimetres: float | None, curve: bool) -> None:
    content = json.loads(json.dumps(make_analysis(millimetres, curve).as_dict(), allow_nan=False))
    jsonschema.Draft202012Validator(schema).validate(content)
    assert content["use"] == RESEARCH
    lesion = content["paths"][0]["lesions"][0]
    assert (lesion["mld"]["mm"] is None) == (millimetres is None)
    assert content["lesions"] == [{"path": 1, "lesion": 1}, {"path": 2, "lesion": 1}]


def test_the_schema_refuses_what_is_none(schema: dict) -> None:
    content = make_analysis().as_dict()
    for wrong in ({**content, "use": ""}, {**content, "patient": "x"}, {**content, "paths": [{"number": 1}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate(wrong)


def test_what_is_not_known_is_null() -> None:
    analysis = make_analysis()
    widths = analysis.paths[0].widths
    diameter = widths.diameter.copy()
    diameter[:5] = np.nan
    path = replace(analysis.paths[0], widths=replace(widths, diameter=diameter))
    told = replace(analysis, paths=(path,)).as_dict()["paths"][0]
    assert told["diameter_px"][:6] == [None] * 5 + [pytest.approx(float(diameter[5]), abs=0.01)]
    assert told["diameter_mm"][4] is None


def test_millimetres_depend_on_the_direction_where_pixels_are_not_square() -> None:
    count = 11
    along = np.arange(count, dtype=float)
    flat = np.zeros(count)
    points = np.stack([along, flat], axis=1)
    normals = np.tile([0.0, -1.0], (count, 1))
    across_row = Widths(points, along, normals, np.full(count, 4.0), points, points, np.ones(count, np.uint8), flat,
                        flat.astype(np.uint8))  # fmt: skip
    scale = Scale(0.3, 0.2, False, "", kind="user")
    factor, length = across(across_row, scale), arc_mm(across_row, scale)
    assert factor is not None and length is not None
    assert factor == pytest.approx(np.full(count, 0.3))  # across a vessel along a row: the distance of rows
    assert length[-1] == pytest.approx(2.0)
    assert across(across_row, scale_of(None)) is None and arc_mm(across_row, scale_of(None)) is None


def test_table_has_a_row_a_sample() -> None:
    analysis = make_analysis()
    rows = list(csv.DictReader(io.StringIO(centrelines_csv(analysis))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == sum(len(path.widths.diameter) for path in analysis.paths)
    lesion = analysis.paths[0].lesions[0]
    assert rows[lesion.index]["narrowing"] == "1" and rows[lesion.begin - 1]["narrowing"] == ""
    assert float(rows[3]["diameter_mm"]) == pytest.approx(0.25 * float(rows[3]["diameter_px"]), abs=0.01)
    assert {row["unsure"] for row in rows} == {"", "branch"}
    without = list(csv.DictReader(io.StringIO(centrelines_csv(make_analysis(None)))))
    assert {row["diameter_mm"] for row in without} == {""}


def test_tree_is_summed_up() -> None:
    analysis = make_analysis()
    summary = analysis.tree_summary()
    assert summary["vessel_length_px"] > 300 and summary["ends"] > 3
    assert summary["mask_fraction"] == pytest.approx(analysis.mask.mean(), abs=1e-4)
