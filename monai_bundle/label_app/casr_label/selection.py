"""Which images to choose, from scores and vectors; numpy alone, shared by the server and by its simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["CANDIDATES", "farthest_first", "uncertain_and_diverse"]

CANDIDATES = 0.3
"""Share of the images, the most uncertain ones, among which the diverse ones are looked for. Our choice."""


def farthest_first(points: np.ndarray, centres: Sequence[np.ndarray], count: int) -> list[int]:
    """Greedy k-centre: indices of points, each the farthest from all centres and from those taken before.

    Sener, Savarese: Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018.

    Args:
        points: (n, d), n at least 1; without any centre the first point is taken first.
        centres: vectors (d,).
        count: how many; all if there are fewer points.
    """
    distance = np.full(len(points), np.inf)
    for centre in centres:
        distance = np.minimum(distance, np.linalg.norm(points - centre, axis=1))
    chosen: list[int] = []
    for _ in range(min(count, len(points))):
        best = int(np.argmax(distance))
        chosen.append(best)
        distance = np.minimum(distance, np.linalg.norm(points - points[best], axis=1))
        distance[chosen] = -1.0
    return chosen


def uncertain_and_diverse(
    scores: Sequence[float], points: np.ndarray, centres: Sequence[np.ndarray], count: int
) -> list[int]:
    """The most different ones among the most uncertain share.

    Args:
        scores: uncertainty of each image.
        points: (n, d), its vector.
        centres: vectors of the images that are labelled.
        count: how many to choose.

    Returns:
        indices, in the order in which they were taken.
    """
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    candidates = order[: max(count, 1, round(CANDIDATES * len(order)))]
    return [int(candidates[i]) for i in farthest_first(points[candidates], centres, count)]
