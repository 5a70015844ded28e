"""How sure the network is of a frame: entropy of its probabilities, as a map and as one number."""

from __future__ import annotations

import numpy as np

__all__ = ["entropy_map", "entropy_score"]


def entropy_map(probability: np.ndarray) -> np.ndarray:
    """Binary entropy in bits, float32 in [0, 1], of a probability map of any shape."""
    p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return (-(p * np.log2(p) + (1 - p) * np.log2(1 - p))).astype(np.float32)


def entropy_score(probability: np.ndarray) -> float:
    """Share of the entropy in what may be vessel, from 0 (sure) to 1: sum of the entropy over the sum of entropy and
    probability.

    The mean over the image would be small for small vessel trees, however unsure the network is of them. Our choice.
    """
    entropy = float(entropy_map(probability).sum())
    total = entropy + float(probability.sum())
    return entropy / total if total > 0 else 0.0
