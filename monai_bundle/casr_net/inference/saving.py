"""What becomes of a frame that is done: its results are written, and what is to be said about it is noted."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DiskFullError
from ..files.images import Angiogram, read_angiogram
from ..files.results import ResultWriter
from ..uncertainty.quality import soft_dice_confidence
from .calibrated import WeightsCalibration
from .origin import fingerprint
from .record import RunReport

__all__ = ["FrameSaver"]

MUCH = 0.5
"""Share of the exposed field that may be black or white by the grey range before it is said. Our choice."""

EXTREME = 0.999
"""Of grey in [-1, 1], what counts as black or white."""


class FrameSaver:
    """Writes each frame's results, and notes outputs, failures and seconds a stage.

    A file whose results cannot be written fails alone, unless the disk is full. Notes too what looks wrong: a frame
    without any vessel, or one whose exposed field is black or white by more than half.

    Args:
        writer: of the results.
        report: takes the notes.
        calibration: makes probabilities, to be written and to promise a Dice coefficient, of what the network gives;
            None leaves that as it is.
    """

    def __init__(self, writer: ResultWriter, report: RunReport, calibration: WeightsCalibration | None = None) -> None:
        self.writer, self.report, self.calibration = writer, report, calibration

    def __call__(
        self,
        item: Mapping[str, Any],
        mask: np.ndarray,
        probability: np.ndarray | None,
        grey: np.ndarray,
        field: np.ndarray | None = None,
        source: Angiogram | None = None,
        stages: Mapping[str, float] | None = None,
    ) -> None:
        """One frame.

        Args:
            item: with path, name, frame and frames.
            mask: (X, Y), vessel where not 0.
            probability: (X, Y) in [0, 1]; None when it was not kept.
            grey: as the network saw it, in [-1, 1].
            field: of the same shape, the exposed field, not 0; None: everywhere.
            source: the open file; None opens it.
            stages: seconds that each took.
        """
        begun = time.perf_counter()
        item = {key: item[key] for key in ("path", "name", "frame", "frames")}
        stages = stages or {}
        try:
            source = source or read_angiogram(item["path"], self.writer.window)
            if probability is not None and self.calibration is not None:
                probability = self.calibration(probability, item["frames"])
            self.writer.write(item, mask, probability, functools.partial(self.report.wrote, item), source)
            self._look(item, source, mask, grey if field is None else grey[field > 0])
            if probability is not None:
                self.report.files[item["path"]].quality[item["frame"]] = soft_dice_confidence(probability, mask)
        except DiskFullError:
            raise
        except Exception as error:  # whatever is wrong with one file must not cost the others
            self.report.frame_failed(item, error)
        else:
            self.report.frame_done(item, sum(stages.values()) + time.perf_counter() - begun)
        for stage, seconds in {**stages, "writing": time.perf_counter() - begun}.items():
            self.report.seconds[stage] += seconds

    def _look(self, item: Mapping[str, Any], source: Angiogram, mask: np.ndarray, exposed: np.ndarray) -> None:
        """Note how the file was shown, and what looks wrong about the frame."""
        record = self.report.files[item["path"]]
        columns, rows = source.size
        record.source |= {
            "format": source.format, "columns": columns, "rows": rows, "grey": source.rule.describe()
        }  # fmt: skip
        if "sha256" not in record.source:
            record.source |= fingerprint(item["path"])
        record.warnings = list(source.warnings)
        record.area[item["frame"]] = int(np.count_nonzero(mask))
        if not mask.any():
            record.empty.append(item["frame"])
        if exposed.size and float((np.abs(exposed) > EXTREME).mean()) > MUCH:
            record.clipped.append(item["frame"])
