"""``casr info``: what would be read from files, without the network."""

from __future__ import annotations

import argparse
import json
import logging
import textwrap
from typing import TYPE_CHECKING, Any

from .arguments import add_window, checked_window

if TYPE_CHECKING:
    from ..files.images import Angiogram

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "say what would be read from files: format, frames, grey range, spacing"
EXAMPLES = """\
  casr info cine.dcm                                          format, frames, grey range, pixel size
  casr info folder --json                                     the same for programs"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("input", nargs="+", metavar="FILE", help="image, DICOM file or folder")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    add_window(parser)


def run(options: argparse.Namespace) -> int:
    """Look at the files, print what they hold, and return the exit code."""
    window = checked_window(options)
    from ..errors import CASRError, DataError, on_one_line
    from ..files.images import read_angiogram
    from ..files.inputs import find_inputs
    from ..files.names import as_text

    logger = logging.getLogger("casr_net")
    inputs = find_inputs(options.input, window=window)
    failures = dict(inputs.failures)
    found: dict[str, dict[str, Any]] = {}
    for path in inputs.paths:
        try:
            found[path] = _facts(read_angiogram(path, inputs.window))
        except CASRError as error:
            failures[path] = error
        except Exception as unexpected:  # whatever is wrong with one file must not cost the others
            failures[path] = DataError(f"{path}: cannot be read; --debug shows the {type(unexpected).__name__}.")
            failures[path].__cause__ = unexpected
    if options.json:
        print(
            json.dumps(
                {
                    "files": [{"path": as_text(path), **facts} for path, facts in found.items()],
                    "errors": {as_text(path): as_text(str(error)) for path, error in failures.items()},
                    "passed_over": inputs.passed_over,
                },
                indent=2,
                default=str,
            )
        )
    else:
        for path, facts in found.items():
            print(_block(on_one_line(as_text(path)), facts))
        for kind, count in inputs.passed_over.items():
            logger.info("passed over, %s: %d.", kind, count)
    for failure in failures.values():
        logger.error("%s", failure, exc_info=failure if options.debug else None)
    codes = {failure.exit_code for failure in failures.values()}
    return 1 if found and codes else max(codes, default=0)


def _facts(angiogram: Angiogram) -> dict[str, Any]:
    """What is read from a file, ready for JSON."""
    columns, rows = angiogram.size
    stored, bits = angiogram.stored(0), angiogram.header.get("BitsStored")
    grey = angiogram.rule.describe()
    return {
        "format": angiogram.format,
        "frames": angiogram.frames,
        "columns": columns,
        "rows": rows,
        "samples": int(stored.shape[0]),
        "values": str(stored.dtype),
        "bits": None if bits is None else int(bits),
        "grey": grey,
        "spacing": _spacing(angiogram),
        "warnings": list(angiogram.warnings),
    }


def _spacing(angiogram: Angiogram) -> dict[str, Any]:
    """Millimetres between rows and between columns: on the grid of the masks, and in the patient where it is known."""
    import numpy as np

    from ..vessels.scale import pixel_size

    scale = pixel_size(angiogram.header)
    column, row = (float(np.linalg.norm(angiogram.affine[:3, axis])) for axis in (0, 1))
    patient = None if scale.row_mm is None else [scale.row_mm, scale.column_mm]
    return {
        "grid": [row, column],
        "patient": patient,
        "kind": scale.kind,
        "estimated": scale.estimated,
        "note": scale.note,
        "contradictions": list(scale.contradictions),
    }


def _grid(grid: list[float], form: str) -> str:
    """The masks' grid in words. Files that state no spacing get 1, which are no millimetres."""
    if grid != [1, 1]:
        return "{:g} x {:g} mm (rows x columns) in the masks".format(*grid)
    return f"1 x 1 in the masks: {'no spacing is stated' if form == 'raster' else 'as where no spacing is stated'}"


def _block(path: str, facts: dict[str, Any]) -> str:
    """The facts for people."""
    grey, spacing = facts["grey"], facts["spacing"]
    bits = f", {facts['bits']} bits stored" if facts["bits"] else ""
    kind = {1: "grey", 2: "grey and alpha", 3: "colour", 4: "colour and alpha"}.get(facts["samples"], "")
    others = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in grey.items()
        if name not in ("rule", "low", "high") and value not in (None, False)
    ]
    limits = f": {grey['low']:g} to {grey['high']:g}" if "low" in grey else ""
    lines = [
        ("format", facts["format"]),
        ("frames", str(facts["frames"])),
        ("size", f"{facts['columns']} columns x {facts['rows']} rows"),
        ("values", f"{facts['values']}, {kind}{bits}"),
        ("grey", "; ".join([f"{grey['rule']}{limits}", *others])),
        ("grid", _grid(spacing["grid"], facts["format"])),
        (
            "patient",
            ("{:.4g} x {:.4g} mm ({}). ".format(*spacing["patient"], spacing["kind"]) if spacing["patient"] else "")
            + spacing["note"],
        ),
        *(("warning", line) for line in facts["warnings"]),
    ]
    return path + "\n" + "\n".join(textwrap.indent(f"{name:<9}{text}", "  ") for name, text in lines)
