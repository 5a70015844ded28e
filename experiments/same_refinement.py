"""Masks and processor time of the refinement of two versions of the tree, in turns in one process, from stored logits.

python experiments/same_refinement.py --old OLD/monai_bundle --new monai_bundle --logits DIR --seconds 60 --output FILE
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np


def refinement(tree: Path) -> Callable[[np.ndarray], np.ndarray]:
    """``refine`` of this tree, whatever was imported before."""
    for name in [name for name in sys.modules if name.split(".")[0] == "casr_net"]:
        del sys.modules[name]
    sys.path.insert(0, str(tree.resolve()))
    module = importlib.import_module("casr_net.refinement.contours")
    sys.path.pop(0)
    if not Path(str(module.__file__)).is_relative_to(tree.resolve()):
        raise RuntimeError(f"{module.__file__} is not of {tree}")
    refine: Callable[[np.ndarray], np.ndarray] = module.refine
    return refine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--old", "--new", "--logits", "--output"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60, help="no image is begun later")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    versions = {"old": refinement(options.old), "new": refinement(options.new)}
    spent: dict[str, list[float]] = {name: [] for name in versions}
    changed: dict[str, int] = {}
    files = sorted(options.logits.glob("*.npy"))
    begun, images = time.monotonic(), 0
    for path in np.random.default_rng(0).permutation(np.array(files, dtype=object)):
        if time.monotonic() - begun > options.seconds:
            break
        logits = np.load(path).astype(np.float32)
        chances = 1 / (1 + np.exp(-logits[0]))
        masks = {}
        taken: dict[str, list[float]] = {name: [] for name in versions}
        for _ in range(2):
            for name, refine in versions.items():
                mark = time.process_time()
                masks[name] = np.asarray(refine(chances.copy())) > 0
                taken[name].append(time.process_time() - mark)
        for name in versions:
            spent[name].append(min(taken[name]))
        images += 1
        if count := int((masks["old"] != masks["new"]).sum()):
            changed[path.stem] = count
    mean = {name: round(1000 * float(np.mean(values)), 2) for name, values in spent.items()}
    result = {
        "images": images, "changed_pixels": changed, "processor_ms": mean, "old_over_new": mean["old"] / mean["new"],
        "note": "one core that other work shared: the ratio is what counts", "platform": platform.platform(),
        "versions": {"opencv": cv2.__version__, "numpy": np.__version__},
    }  # fmt: skip
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
