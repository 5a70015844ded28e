"""Labelled frames to train on, and which of them are held back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from casr_net.errors import DataError, UsageError
from casr_net.files.images import read_angiogram
from casr_net.files.masks import read_mask

__all__ = ["PATIENTS", "Case", "final_cases", "held_out", "too_few"]

PATIENTS = 2
"""That a training needs: one of them is held."""


@dataclass(frozen=True)
class Case:
    """One labelled frame.

    Attributes:
        image: file.
        label: file, of as many frames as the image.
        frame: which one, from 0.
        name: of the image in the datastore, with ``#<frame>`` for a frame of a cine.
        patient: whom it shows; all frames of one patient are on the same side.
    """

    image: str
    label: str
    frame: int
    name: str
    patient: str

    def item(self) -> dict[str, Any]:
        """As the bundle's training wants it, see :func:`casr_net.training.load_cases`."""
        return {"image": self.image, "label": self.label, "frame": self.frame, "name": self.name, "dataset": "studies"}

    def fingerprint(self) -> list[Any]:
        """Changes when the image or its label does."""
        return [self.name, *(Path(path).stat().st_mtime_ns for path in (self.image, self.label))]

    def mask(self) -> np.ndarray:
        """Bool (X, Y)."""
        return read_mask(self.label)[..., self.frame]


def final_cases(datastore: Datastore) -> tuple[list[Case], list[str]]:
    """Frames with final labels; and the images whose label has no labelled frame, or cannot be read or does not fit (a
    file put there by hand), which must not stop the training on the others."""
    cases: list[Case] = []
    left_out = []
    for image_id in sorted(datastore.get_labeled_images()):
        tag = DefaultLabelTag.FINAL.value
        try:
            image, file = datastore.get_image_uri(image_id), datastore.get_label_uri(image_id, tag)
            source, label = read_angiogram(image), datastore.label(image_id, tag)
            if label is None or label.masks.shape != (*source.size, source.frames):
                raise DataError(f"{file}: does not fit to its image.")
        except DataError:
            left_out.append(image_id)
            continue
        patient = datastore.patient(image_id)
        for frame in label.frames:
            name = image_id if source.frames == 1 else f"{image_id}#{frame}"
            cases.append(Case(image, file, frame, name, patient))
        if not label.frames:
            left_out.append(image_id)
    return cases, left_out


def held_out(cases: Sequence[Case], share: float) -> tuple[list[Case], list[Case]]:
    """Cases to train on, and cases that are held, whole patients, by a hash of their names; at least one of each.

    Raises:
        UsageError: for fewer than two patients.
    """
    patients = sorted({case.patient for case in cases}, key=_rank)
    if len(patients) < PATIENTS:
        raise too_few(len(patients))
    held = [patient for patient in patients if _rank(patient) < share * 2**64]
    held = (held or patients[:1])[: len(patients) - 1]
    return [case for case in cases if case.patient not in held], [case for case in cases if case.patient in held]


def too_few(patients: int) -> UsageError:
    """The refusal of a training with labels of so many patients."""
    return UsageError(
        f"final labels of {patients} patient(s) or image(s); at least {PATIENTS} are needed, one of them is held."
    )


def _rank(patient: str) -> int:
    return int(hashlib.sha256(patient.encode()).hexdigest()[:16], 16)
