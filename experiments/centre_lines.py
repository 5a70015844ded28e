"""Centre lines measured on masks whose middle is known: distance, time, failures.

Compared are scikit-image's least-cost path, drawn into the middle and smoothed (``casr_net.vessels.centreline``); the
path of the vessel tree, drawn likewise; the path of pixels as it is; and, where the packages ``itk`` (5.4.7) and
``itk-minimalpathextraction`` (2.0.3) are installed, ITK's minimal path over the fourth power of the distance transform,
plain and drawn likewise. ITK needs 1.5 GB: give it an environment of its own, with NumPy, SciPy, scikit-image, OpenCV,
networkx and lazy-loader.

    python experiments/centre_lines.py --output experiments/results/centre_lines.json
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import KDTree

from casr_net.errors import UsageError
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.vessels.centreline import centre_line, refine_line
from casr_net.vessels.skeleton import local_radius
from casr_net.vessels.tree import VesselTree, vessel_tree
from tree_truth import dense, truth_of

RADII = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
SEEDS = range(300, 320)
LOST = 1.0
"""Mean distance from which a line is in another vessel, in pixels."""
SHORT = 4.0
"""Farthest that a line may end from where it should, in pixels."""


class Case(NamedTuple):
    """A mask (X, Y), its middle (n, 2), where no other vessel overlaps it (n,), and where a line starts and ends."""

    kind: str
    mask: np.ndarray
    line: np.ndarray
    alone: np.ndarray
    start: np.ndarray
    end: np.ndarray


Method = Callable[[Case], np.ndarray]


def tubes() -> list[Case]:
    """Straight, curved and narrowed tubes of 140 pixels, at random angles and places between pixels."""
    rng = np.random.default_rng(0)
    cases = []
    along = np.linspace(0, 140, 561)
    for radius in RADII:
        for kind in ("straight", "curved", "narrowed"):
            if kind == "narrowed" and radius < 2:
                continue
            for _ in range(6):
                bend = {"straight": 0.0, "curved": rng.uniform(8, 25), "narrowed": rng.uniform(0, 12)}[kind]
                side = bend * np.sin(2 * np.pi * along / rng.uniform(60, 120))
                turn = rng.uniform(0, np.pi)
                matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
                line = np.stack([along, side], axis=1) @ matrix
                line += radius + 6 - line.min(axis=0) + rng.uniform(0, 1, 2)
                radii = np.full(len(along), radius)
                if kind == "narrowed":
                    radii -= rng.uniform(0.3, 0.75) * radius * np.exp(-(((along - 70) / rng.uniform(6, 14)) ** 2))
                shape = np.ceil(line.max(axis=0) + radius + 6).astype(int)
                points, widths = dense(line, radii, 0.2)
                distance, nearest = KDTree(points).query(np.indices(shape).reshape(2, -1).T)
                mask = (distance <= widths[nearest]).reshape(shape)
                cases.append(Case(kind, mask, points, np.ones(len(points), bool), line[20], line[-21]))
    return cases


def branches() -> list[Case]:
    """Vessels of synthetic angiograms, from where they have left their parent to their end, among all the others."""
    cases = []
    for seed in SEEDS:
        angiogram = make_angiogram(seed)
        mask = angiogram.mask.T.copy()
        truth = truth_of(angiogram.truth, mask)
        for index in truth.end_of:
            line = truth.vessels[index].points[truth.vessels[index].exit :]
            steps = np.hypot(*np.diff(line, axis=0).T) if len(line) > 80 else np.array([9.0])
            if steps.max() < 2 and mask[tuple(np.floor(line[[2, -4]] + 0.5).astype(int).T)].all():
                others = [v for number, v in enumerate(truth.vessels) if number != index and len(v.points)]
                distance, nearest = KDTree(np.vstack([v.points for v in others])).query(line)
                reach = np.concatenate([v.radii for v in others])[nearest]
                alone = distance > reach + truth.vessels[index].radii[truth.vessels[index].exit :] + 1
                cases.append(Case("synthetic", mask, line, alone, line[2], line[-4]))
    return cases


def by_tree(refine: bool) -> Method:
    trees: dict[int, tuple[np.ndarray, VesselTree]] = {}

    def method(case: Case) -> np.ndarray:
        if id(case.mask) not in trees:
            trees[id(case.mask)] = (case.mask, vessel_tree(case.mask))
        path = trees[id(case.mask)][1].path((case.start[0], case.start[1]), (case.end[0], case.end[1]))
        return refine_line(local_radius(case.mask), path.points) if refine else path.points

    return method


def by_itk(refine: bool) -> Method:
    """ITK as the trials found it to work: interpolated fast marching, gradient descent with small steps."""
    import itk

    image_type = itk.Image[itk.F, 2]

    def method(case: Case) -> np.ndarray:
        radius = local_radius(case.mask)
        speed = np.ascontiguousarray((radius / radius.max()).T ** 4, dtype=np.float32)
        path_filter = itk.SpeedFunctionToPathFilter[image_type, itk.PolyLineParametricPath[2]].New(
            Input=itk.image_from_array(speed)
        )
        ends = itk.SpeedFunctionPathInformation[itk.Point[itk.D, 2]].New()
        ends.SetStartPoint(case.start.tolist())
        ends.SetEndPoint(case.end.tolist())
        path_filter.AddPathInformation(ends)
        cost = itk.SingleImageCostFunction[image_type].New()
        cost.SetInterpolator(itk.LinearInterpolateImageFunction[image_type, itk.D].New())
        path_filter.SetCostFunction(cost)
        optimizer = itk.RegularStepGradientDescentOptimizer.New()
        optimizer.SetNumberOfIterations(20000)
        optimizer.SetMaximumStepLength(0.25)
        optimizer.SetMinimumStepLength(0.125)
        optimizer.SetRelaxationFactor(0.999)
        path_filter.SetOptimizer(optimizer)
        path_filter.SetTerminationValue(2.0)
        path_filter.Update()
        vertices = path_filter.GetOutput(0).GetVertexList()
        points = np.array([[vertices.ElementAt(i)[axis] for axis in (0, 1)] for i in range(vertices.Size())])
        points = points.reshape(-1, 2)[::-1]
        points = points[np.append(True, np.diff(points, axis=0).any(axis=1))] if len(points) else points
        return refine_line(radius, points) if refine else points

    return method


def measure(cases: list[Case], method: Method) -> dict[str, dict[str, float]]:
    """By kind: distance of the line's points from the middle, over lines that are whole and in their vessel.

    "Alone" are the points beside which no other vessel overlaps; elsewhere a mask does not show the middle.
    """
    found: dict[str, list[np.ndarray]] = {}
    free: dict[str, list[np.ndarray]] = {}
    failed: dict[str, int] = {}
    lost: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    for case in cases:
        for counter in (failed, lost):
            counter.setdefault(case.kind, 0)
        started = time.process_time()
        try:
            points = method(case)
        except UsageError:
            points = np.zeros((0, 2))
        times.setdefault(case.kind, []).append(1000 * (time.process_time() - started))
        if len(points) < 2 or np.hypot(*(points[[0, -1]] - [case.start, case.end]).T).max() > SHORT:
            failed[case.kind] += 1
            continue
        even, _ = dense(points, np.zeros(len(points)))
        line, alone = dense(case.line, case.alone.astype(float), 0.1)
        distance, nearest = KDTree(line).query(even)
        if distance.mean() > LOST:
            lost[case.kind] += 1
        else:
            found.setdefault(case.kind, []).append(distance)
            free.setdefault(case.kind, []).append(distance[alone[nearest] == 1])
    result = {}
    for kind, lines in found.items():
        distance = np.concatenate(lines)
        result[kind] = {
            "lines": len(times[kind]),
            "none_or_too_short": failed[kind],
            "in_another_vessel": lost[kind],
            "mean": round(float(distance.mean()), 3),
            "p95": round(float(np.percentile(distance, 95)), 3),
            "max": round(float(distance.max()), 2),
            "mean_alone": round(float(np.concatenate(free[kind]).mean()), 3),
            "p95_alone": round(float(np.percentile(np.concatenate(free[kind]), 95)), 3),
            "milliseconds_median": round(float(np.median(times[kind])), 1),
        }
    for kind in set(times) - set(found):
        result[kind] = {"lines": len(times[kind]), "none_or_too_short": failed[kind], "in_another_vessel": lost[kind]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    cases = tubes() + branches()
    methods: dict[str, Method] = {
        "least_cost_path_refined": lambda case: centre_line(
            case.mask, (case.start[0], case.start[1]), (case.end[0], case.end[1])
        ),
        "tree_path_refined": by_tree(True),
        "tree_path_pixels": by_tree(False),
    }
    names = ["numpy", "scipy", "scikit-image"]
    if importlib.util.find_spec("itk"):
        methods |= {"itk": by_itk(False), "itk_refined": by_itk(True)}
        names += ["itk", "itk-minimalpathextraction"]
    record: dict[str, Any] = {
        "what": "distance from the known middle in pixels, of lines that are whole and in their vessel",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        **{name: measure(cases, method) for name, method in methods.items()},
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
