"""Training on images whose labels are incomplete: a teacher network fills them up, and what it doubts is left out.

The labels of ARCADE hold only the segments that were judged in a view: a pixel outside the mask is not background. A
teacher that was trained on complete masks labels these images (:func:`write_pseudo_labels`); pixels that neither it
nor the given mask decide have no part in the loss.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..errors import DataError, UsageError
from ..files import read_mask
from .cases import split_rows
from .losses import UNKNOWN

__all__ = [
    "ForgetUnknownd",
    "MarkUnknownd",
    "PseudoLabelRule",
    "load_pseudo_labels",
    "write_pseudo_labels",
]


@dataclass(frozen=True)
class PseudoLabelRule:
    """How a teacher's prediction and an incomplete mask become one label.

    Attributes:
        vessel: teacher's probability from which its refined mask is believed.
        given: probability from which the given mask is believed. Its hand-drawn outlines are slightly wide: what the
            teacher takes for plain background there stays unknown.
        background: probability below which a pixel outside the given mask is believed to be background.
    """

    vessel: float = 0.5
    given: float = 0.15
    background: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.given <= self.vessel <= 1 or not 0 <= self.background <= self.vessel:
            raise UsageError(
                f"rule of pseudo-labels is {self}; needed are 0 <= given <= vessel <= 1 and 0 <= background <= vessel."
            )

    def __call__(
        self, probability: np.ndarray, refined: np.ndarray, given: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Label and unknown region.

        Args:
            probability: of the teacher, in [0, 1].
            refined: the teacher's mask after contour refinement, bool of the same shape.
            given: the incomplete mask, bool of the same shape; None where an image has none.

        Returns:
            vessel and unknown, bool of the same shape, without a common pixel; the rest is background.
        """
        inside = np.zeros_like(refined) if given is None else given
        vessel = (refined & (probability >= self.vessel)) | (inside & (probability >= self.given))
        background = ~inside & (probability < self.background)
        return vessel, ~vessel & ~background


def write_pseudo_labels(
    images: str | Path,
    folder: str | Path,
    teacher: Callable[[str], Any],
    rule: PseudoLabelRule | None = None,
    split: str = "train",
) -> Iterator[dict[str, Any]]:
    """Label every image of one split of a set such as ARCADE; goes on where it was stopped.

    Args:
        images: folder of the set: ``cases.csv`` with file, split and labelled ("no": no mask), ``images``, ``masks``.
        folder: where ``labels`` and ``unknown`` are written, a PNG of 0 and 255 an image.
        teacher: gives ``mask`` and ``probability``, (rows, columns), of a path (a ``casr_net.Segmenter``).
        rule: how prediction and mask are joined; None takes the defaults.
        split: part of the set; others are never touched.

    Yields:
        one dictionary an image: file, vessel and unknown, the shares of the image's pixels in [0, 1].

    Raises:
        DataError: when the list or a file cannot be read or written.
    """
    rule = PseudoLabelRule() if rule is None else rule
    source, target = Path(images), Path(folder)
    for row in split_rows(source, split):
        name = f"{Path(row['file']).stem}.png"
        # The unknown region is written last, so that its file stands for the whole image.
        label, unknown = target / "labels" / name, target / "unknown" / name
        if not unknown.is_file():
            found = teacher(str(source / "images" / row["file"]))
            given = None
            if row["labelled"] != "no":
                given = read_mask(source / "masks" / name)[..., 0].T
            vessel, doubtful = rule(found.probability, found.mask, given)
            _write(label, vessel)
            _write(unknown, doubtful)
        shares = {key: float(read_mask(path).mean()) for key, path in (("vessel", label), ("unknown", unknown))}
        yield {"file": row["file"], **shares}


def load_pseudo_labels(images: str | Path, folder: str | Path, split: str = "train") -> list[dict[str, Any]]:
    """Cases of a set that :func:`write_pseudo_labels` has labelled: image, label, unknown (paths), dataset and name.

    Raises:
        DataError: when the list cannot be read, or an image has no label.
    """
    source, target = Path(images), Path(folder)
    cases = []
    for row in split_rows(source, split):
        name = f"{Path(row['file']).stem}.png"
        case: dict[str, Any] = {
            "image": str(source / "images" / row["file"]),
            "label": str(target / "labels" / name),
            "unknown": str(target / "unknown" / name),
            "dataset": source.name,
            "name": f"{source.name}/{row['file']}",
        }
        for key in ("image", "label", "unknown"):
            if not Path(case[key]).is_file():
                raise DataError(f"{case[key]}: no such file; {key} of {case['name']}.")
        cases.append(case)
    return cases


class MarkUnknownd(MapTransform):
    """Set a label to :data:`UNKNOWN` where the entry ``unknown_key`` is above a half; nothing without that entry."""

    def __init__(self, keys: KeysCollection, unknown_key: str = "unknown", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.unknown_key = unknown_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if self.unknown_key in result:
            for key in self.key_iterator(result):
                label = result[key]
                result[key] = torch.where(result[self.unknown_key] > 0.5, torch.full_like(label, UNKNOWN), label)
        return result


class ForgetUnknownd(MapTransform):
    """Make labels 0 and 1 again for metrics: :data:`SKELETON` becomes 1; where the label is :data:`UNKNOWN`, prediction
    and label become 0."""

    def __init__(self, keys: KeysCollection, label_key: str = "label", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        known = result[self.label_key] != UNKNOWN
        for key in self.key_iterator(result):
            result[key] = result[key] * known
        label = result[self.label_key]
        result[self.label_key] = ((label > 0) & known).to(label.dtype)
        return result


def _write(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.part.png")
    if not cv2.imwrite(str(temporary), mask.astype(np.uint8) * 255):
        raise DataError(f"{temporary}: cannot be written.")
    os.replace(temporary, path)
