"""Cases as tensors in the memory of a device, all of one size: what :mod:`.resident` trains on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..preprocessing.base import as_numpy
from ..preprocessing.field import fill_outside
from .cases import split_rows
from .losses import UNKNOWN
from .selftraining import PseudoLabelRule

__all__ = ["ResidentCases", "label_cases", "load_partial"]


@dataclass
class ResidentCases:
    """Images and labels of all cases, (N, 1, S, S) each.

    Attributes:
        grey: uint8, the grey values at the network's size, filled outside the field.
        field: bool, True inside the exposed field.
        label: uint8, 1 on vessels, 0 on background, :data:`UNKNOWN` where nothing is known.
        partial: of each case, whether its label is incomplete and waits for :func:`label_cases`: it then holds 1 where
            vessels were marked, and :data:`UNKNOWN` elsewhere.
        full: of each case, whether the field is the whole image.
    """

    grey: torch.Tensor
    field: torch.Tensor
    label: torch.Tensor
    partial: torch.Tensor
    full: torch.Tensor

    @classmethod
    def read(
        cls,
        cases: Sequence[Mapping[str, Any]],
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        size: int,
        device: torch.device | str = "cpu",
        cache: Path | None = None,
        processes: int = 0,
    ) -> ResidentCases:
        """Read all cases.

        Args:
            cases: dictionaries with image, label (may be missing) and partial (may be missing).
            transform: reads and scales a case: gives image, field and label, (1, X, Y) of at most ``size`` a side
                (``train#load`` and ``train#scale`` of ``train.json``).
            size: S, in pixels; smaller images are padded at their end, where the field is False and nothing is known.
            device: where they are put.
            cache: folder that keeps what was read; a case is known by its files' paths, sizes and times.
            processes: that read at the same time; 0 reads here.

        Raises:
            DataError: when a file cannot be read.
        """
        packed = DataLoader(_Packed(cases, transform, size, cache), batch_size=None, num_workers=processes)
        planes = torch.stack([torch.as_tensor(one) for one in packed])
        partial = torch.tensor([bool(case.get("partial")) for case in cases])
        field = planes[:, 1:2] > 0
        full = field.flatten(1).all(1)
        return cls(planes[:, :1].to(device), field.to(device), planes[:, 2:].to(device), partial, full)


class _Packed(Dataset):
    """Grey, field and label of a case as uint8 (3, S, S)."""

    def __init__(self, cases: Sequence[Mapping[str, Any]], transform: Any, size: int, cache: Path | None) -> None:
        self.cases, self.transform, self.size, self.cache = cases, transform, size, cache

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> np.ndarray:
        case = self.cases[index]
        if self.cache is None:
            return self._packed(case)
        stored = self.cache / f"{_fingerprint(case, self.size)}.npy"
        if not stored.is_file():
            stored.parent.mkdir(parents=True, exist_ok=True)
            temporary = stored.with_name(f".{stored.stem}.{os.getpid()}.npy")
            np.save(temporary, self._packed(case))
            os.replace(temporary, stored)
        return np.asarray(np.load(stored, allow_pickle=False))

    def _packed(self, case: Mapping[str, Any]) -> np.ndarray:
        data = self.transform({key: case[key] for key in ("image", "label", "unknown") if key in case})
        grey, field = as_numpy(data["image"])[0], as_numpy(data["field"])[0] > 0.5
        label = np.full(grey.shape, UNKNOWN, np.uint8)
        if "label" in data:
            label = (as_numpy(data["label"])[0] >= 0.5).astype(np.uint8)
        if case.get("partial"):
            label = np.where(label == 1, 1, UNKNOWN).astype(np.uint8)
        elif "unknown" in data:
            label[as_numpy(data["unknown"])[0] > 0.5] = UNKNOWN
        pad = [(0, self.size - side) for side in grey.shape]
        field, label = np.pad(field, pad), np.pad(label, pad, constant_values=UNKNOWN)
        grey = fill_outside(np.pad(grey, pad, mode="edge"), field)
        return np.stack([np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8), field.astype(np.uint8), label])


def _fingerprint(case: Mapping[str, Any], size: int) -> str:
    files = [(key, case[key], *os.stat(case[key])[6:9:2]) for key in ("image", "label", "unknown") if key in case]
    return hashlib.sha256(json.dumps([files, bool(case.get("partial")), size]).encode()).hexdigest()[:32]


def load_partial(folder: str | Path, split: str = "train") -> list[dict[str, Any]]:
    """Cases of a set whose labels are incomplete, such as ARCADE: image, label (where there is one), partial = True.

    Raises:
        DataError: when the list cannot be read.
    """
    folder = Path(folder)
    cases = []
    for row in split_rows(folder, split):
        case: dict[str, Any] = {
            "image": str(folder / "images" / row["file"]),
            "dataset": folder.name,
            "name": f"{folder.name}/{row['file']}",
            "partial": True,
        }
        if row["labelled"] != "no":
            case["label"] = str(folder / "masks" / f"{Path(row['file']).stem}.png")
        cases.append(case)
    return cases


@torch.no_grad()
def label_cases(
    resident: ResidentCases,
    probability: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
    rule: PseudoLabelRule | None = None,
    batch_size: int = 16,
) -> dict[str, float]:
    """Complete the labels of the partial cases by a teacher, in place.

    As :func:`casr_net.training.write_pseudo_labels`, without contour refinement: the teacher's threshold decides.

    Args:
        resident: whose partial cases are labelled anew.
        probability: of vessel, (N, 1, S, S) in [0, 1], of grey values in [0, 1] and field (None: everywhere), the mean
            of its mirror images.
        rule: how prediction and marked vessels are joined; None takes the defaults.
        batch_size: images at a time.

    Returns:
        shares of the pixels that are vessel and unknown.
    """
    rule = PseudoLabelRule() if rule is None else rule
    shares = []
    for chosen in resident.partial.nonzero()[:, 0].split(batch_size):
        place = chosen.to(resident.grey.device)
        field = None if bool(resident.full[chosen].all()) else resident.field[place]
        found = probability(resident.grey[place].float() / 255, field)
        given = resident.label[place] == 1
        vessel, unknown = rule(found, found >= rule.vessel, given)  # type: ignore[arg-type]
        label = torch.as_tensor(vessel).to(torch.uint8)
        label[torch.as_tensor(unknown)] = UNKNOWN
        resident.label[place] = label
        shares.append((float((label == 1).float().mean()), float((label == UNKNOWN).float().mean())))
    means = np.mean(shares, axis=0) if shares else (0.0, 0.0)
    return {"vessel": round(float(means[0]), 5), "unknown": round(float(means[1]), 5)}
