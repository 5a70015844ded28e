"""Vessel trees measured: on synthetic angiograms against their truth, on expert masks for speed and soundness, and
trees of predicted masks against trees of expert masks.

    python experiments/trees.py --data DIR --weights FILE_OF_FOLD_0 --output experiments/results/trees.json

The limits in ``casr_net.vessels`` were set on seeds 0 to 39 and 2000 to 2059, those of the catheter
on these and on how often an artery of the expert masks was taken for one; the seeds here are others. Synthetic trees
have far more twigs and overlaps than expert masks. Every loop is checked to hold a crossing.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import networkx as nx
import numpy as np

from casr_net.network.weights import sha256
from casr_net.preprocessing.field import field_of_view
from casr_net.refinement.contours import RefinementParameters, refine
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.synthetic.background import tube
from casr_net.synthetic.scene import make_scene
from casr_net.vessels.tree import VesselTree, vessel_tree
from probabilities import maps
from tree_scores import Hits, TreeScore, pair_up, score_tree
from tree_truth import truth_of

logger = logging.getLogger("trees")

SEEDS = range(1000, 1060)
KINDS = ("end", "branch", "crossing")


def loops_hold_crossings(tree: VesselTree) -> bool:
    """Whether the tree is a forest, and as it looks has no loop without a crossing."""
    seen = tree.overlapped()
    rest = nx.MultiGraph(seen.subgraph([node for node, kind in seen.nodes(data="kind") if kind != "crossing"]))
    return all(not graph or nx.is_forest(graph) for graph in (tree.graph.to_undirected(), rest))


def edges_reach(tree: VesselTree) -> bool:
    """Whether each edge runs from its node to its node, and all of its values are numbers."""
    for a, b, data in tree.graph.edges(data=True):
        ends = np.array([tree.position(a), tree.position(b)])
        numbers = np.isfinite(data["points"]).all() and np.isfinite(data["radii"]).all()
        if not numbers or np.abs(data["points"][[0, -1]] - ends).max() > 1e-6:
            return False
    return True


def synthetic() -> dict[str, Any]:
    """Agreement with the truth: of plain masks, with the image's grey values, and of masks that hold the catheter."""
    scores = {name: TreeScore() for name in ("mask", "mask_and_grey")}
    found, right, false, distances, visible, hits = 0, [], 0, [], [], []
    for seed in SEEDS:
        angiogram = make_angiogram(seed)
        mask = angiogram.mask.T.copy()
        truth = truth_of(angiogram.truth, mask)
        attenuation = -np.log(np.maximum(angiogram.image.T.astype(np.float32), 1) / 255)
        plain = vessel_tree(mask)
        score_tree(plain, truth, scores["mask"])
        score_tree(vessel_tree(mask, attenuation), truth, scores["mask_and_grey"])

        scene = make_scene(seed, 512, None)
        catheter = (tube(scene.catheter, scene.catheter_radius, 512).T > 0) & scene.collimator.field.T
        field = field_of_view(angiogram.image.T / 255)  # as the program finds it, not the true one
        false += len(vessel_tree(mask, field=field).nodes("tip"))
        tree = vessel_tree(mask | catheter, field=field)
        visible.append(float((catheter & ~mask).sum() / (2 * scene.catheter_radius)))
        hits.append(len(tree.nodes("tip")) > 0)
        for tip in tree.nodes("tip"):
            found += 1
            marked = np.vstack([data["points"] for *_, data in tree.graph.edges(data=True) if data["catheter"]])
            at = np.clip(np.floor(marked + 0.5).astype(int), 0, 511)
            right.append(float(catheter[tuple(at.T)].mean()))
            distances.append(float(np.hypot(*(tip - angiogram.truth["branches"][0]["points"][0]))))
    return {
        "seeds": [SEEDS.start, SEEDS.stop - 1],
        **{name: score.summary() for name, score in scores.items()},
        "catheter": {
            "images": len(SEEDS),
            "found": found,
            "share_of_its_line_on_the_catheter": round(float(np.mean(right)), 4),
            "tip_to_ostium_median": round(float(np.median(distances)), 2),
            "tip_to_ostium_p95": round(float(np.percentile(distances, 95)), 2),
            "found_where_there_is_none": false,
            "images_where_at_least_80_pixels_of_its_length_are_free_of_vessels": int((np.array(visible) >= 80).sum()),
            "found_among_those": sum(v >= 80 and hit for v, hit in zip(visible, hits, strict=True)),
        },
    }


def read_masks(data: Path, names: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Masks, and the exposed fields of their images."""
    for name in names:
        for path in sorted((data / name / "masks").glob("*.png")):
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if image is None:
                raise OSError(f"{path} cannot be read")
            picture = cv2.imread(str(next((data / name / "images").glob(f"{path.stem}.*"))), cv2.IMREAD_GRAYSCALE)
            if picture is None:
                raise OSError(f"the image of {path} cannot be read")
            yield image.T > 127, field_of_view(picture.T / 255)


def expert(data: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Time, soundness and size of the trees of expert masks; a tree that fails ends the experiment."""
    times, counts, unsound, unfit, catheters, parts, gaps = [], [], 0, 0, 0, [], 0
    vessel_tree(np.eye(64, dtype=bool))  # what is only done once does not count
    gc.collect()
    gc.freeze()  # nor that the collector looks through all that torch and MONAI have loaded
    for mask, field in read_masks(data, names):
        started = time.process_time()
        tree = vessel_tree(mask, field=field)
        times.append((mask.shape[0] * mask.shape[1], 1000 * (time.process_time() - started)))
        unsound += not loops_hold_crossings(tree)
        unfit += not edges_reach(tree)
        catheters += len(tree.nodes("tip"))
        gaps += sum(gap for *_, gap in tree.graph.edges(data="gap"))
        parts.append(len(tree.roots))
        counts.append([len(tree.nodes(kind)) for kind in KINDS] + [len(tree.nodes("crossing", sure=True))])
    large = np.array([ms for size, ms in times if size == 512 * 512])
    return {
        "masks": len(times),
        "loops_without_crossing": unsound,
        "edges_that_miss_their_nodes_or_hold_no_numbers": unfit,
        "milliseconds_cpu_512": {
            "masks": len(large),
            "median": round(float(np.median(large)), 1),
            "p95": round(float(np.percentile(large, 95)), 1),
            "p99": round(float(np.percentile(large, 99)), 1),
            "max": round(float(large.max()), 1),
            "above_150": int((large > 150).sum()),
        },
        "mean_per_mask": dict(
            zip(("ends", "branch_points", "crossings", "crossings_sure"), np.mean(counts, axis=0).round(2), strict=True)
        ),
        "parts_mean": round(float(np.mean(parts)), 2),
        "gaps_joined": gaps,
        "catheters_found": catheters,
    }


def predicted(data: Path, weights: Path, cache: Path, count: int) -> dict[str, Any]:
    """Branch points and ends of trees of predicted masks against those of expert masks, within 8 pixels."""
    hits = {kind: Hits() for kind in KINDS}
    images = 0
    for image in maps(data, weights, [0], cache, count):
        found = vessel_tree(refine(image.probability, RefinementParameters()))
        true = vessel_tree(image.reference)
        images += 1
        for kind, hit in hits.items():
            one, two = found.nodes(kind), true.nodes(kind)
            step = one[:, None] - two[None]
            pairs = pair_up(np.hypot(step[..., 0], step[..., 1]))
            hit.add(len(one), pairs, len(two), pairs)
    return {
        "fold": 0,
        "images": images,
        "weights_sha256": sha256(weights),
        "note": "weights of the light network of the fold that holds these images back from training",
        **{kind: hit.summary() for kind, hit in hits.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--weights", type=Path, help="of a network that has not seen fold 0; without it, no predicted masks"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=104, help="predicted images of each data set")
    parser.add_argument("--cache", type=Path, default=Path("runs/probabilities"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    record: dict[str, Any] = {
        "what": "vessel trees against truth within 8 pixels; lengths in pixels; CPU time of one process",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "scikit-image", "networkx")},
        },
    }
    for name, part in (
        ("synthetic", synthetic),
        ("expert", lambda: expert(options.data, ("ica_nj", "dca1"))),
        ("arcade", lambda: expert(options.data, ("arcade",))),
        ("predicted", lambda: predicted(options.data, options.weights, options.cache, options.count)),
    ):
        if name != "predicted" or options.weights:
            record[name] = part()
            logger.info("%s: %s", name, record[name])
            options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
