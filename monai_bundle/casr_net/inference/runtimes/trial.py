"""Whether a runtime finds the vessels that torch finds: a trial on the sample that the bundle ships."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
import torch

from ...errors import CASRError
from ...preprocessing.load import image_tensor
from ..bundle import bundle_root
from .engines import Engine

__all__ = ["TOLERANCE", "RefusedError", "converted", "packed_mask", "sample_input", "title", "try_engine"]

Made = TypeVar("Made")

TOLERANCE = 0.02
"""Largest 1 - Dice between a runtime's mask of the sample and that of torch in single precision. Our choice: five times
what bfloat16 changes in the mean of real images (experiments/results/runtime_accuracy.json)."""


class RefusedError(Exception):
    """The runtime must not be used; the text says why."""


def sample_input(channels: object) -> torch.Tensor:
    """The shipped sample as the network sees it, (1, C, X, Y).

    Args:
        channels: preprocessing of an image, ``channels`` of ``configs/inference.json``.

    Raises:
        RefusedError: when the sample is missing or damaged.
    """
    # By OpenCV, not as an input is read: that would close the file that is being segmented.
    path = bundle_root() / "sample" / "images" / "angiogram.png"
    stored = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    pixels = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE) if stored.size else None
    if pixels is None:
        raise RefusedError(f"{path}: the sample on which it is tried is missing or damaged")
    grey = np.ascontiguousarray(pixels.T, np.float32) / 255  # the rule for 8 bits
    prepared = channels({"image": image_tensor(grey, np.eye(4))})  # type: ignore[operator]
    return torch.Tensor(prepared["image"].as_tensor())[None]


def packed_mask(logits: torch.Tensor) -> bytes:
    """The mask of logits, one bit a pixel."""
    return np.packbits(logits.numpy() > 0).tobytes()


def try_engine(engine: Engine, sample: torch.Tensor, reference: bytes) -> None:
    """Run the sample.

    Args:
        engine: to try.
        sample: of :func:`sample_input`.
        reference: :func:`packed_mask` of torch in single precision.

    Raises:
        RefusedError: when it fails, gives values that are not finite, or another mask.
    """
    try:
        logits = engine(sample)
    except Exception as error:  # each runtime has its own classes of errors
        reason = " ".join(str(error).split())[:160]
        raise RefusedError(f"it fails on the shipped sample ({reason or type(error).__name__})") from error
    if not torch.isfinite(logits).all():
        raise RefusedError("it gives values that are not finite on the shipped sample")
    expected = np.unpackbits(np.frombuffer(reference, np.uint8), count=logits.numel()).astype(bool)
    found = logits.numpy().reshape(-1) > 0
    total = int(expected.sum() + found.sum())
    dice = 2 * int((expected & found).sum()) / total if total else 1.0
    if 1 - dice > TOLERANCE:
        raise RefusedError(
            f"its mask of the shipped sample has Dice {dice:.3f} with torch's; {1 - TOLERANCE:.2f} is needed"
        )


def title(name: str) -> str:
    """How messages name a runtime, perhaps in 8 bits."""
    runtime, _, precision = name.partition(" ")
    return f"runtime {runtime!r}" + (f" in {precision}" if precision else "")


def converted(make: Callable[[], Made]) -> Made:
    """What ``make`` gives.

    Raises:
        RefusedError: when a converter or a runtime does not know the network.
    """
    try:
        return make()
    except (CASRError, RefusedError):
        raise
    except Exception as error:  # each has its own classes of errors
        reason = " ".join(str(error).split())[:160]
        raise RefusedError(f"the network cannot be converted ({reason or type(error).__name__})") from error
