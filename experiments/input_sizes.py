"""What a smaller input of the network costs in accuracy: the experts' masks against those at 384, 448 and 512 pixels.

    python experiments/input_sizes.py --data DIR --weights FILE --output experiments/results/input_sizes.json

The images are those of fold 0, which the weights must not have seen. The network was trained at other sizes than those
that are tried here; one that is trained for a size may do better at it.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
from pathlib import Path
from typing import Any

import numpy as np

from casr_net import Segmenter
from casr_net.evaluation.metrics import cldice, dice
from casr_net.files.masks import read_mask
from casr_net.inference.runtimes.machine import machine
from casr_net.inference.runtimes.packages import runtime_versions
from casr_net.network.weights import sha256
from casr_net.training.cases import load_cases
from probabilities import spread

logger = logging.getLogger("experiments")

SIZES = (384, 448, 512)
"""Pixels of the longer side."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--count", type=int, help="images of each data set (all)")
    parser.add_argument("--runtime", default="openvino", help="in single precision (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    segmenters = {
        size: Segmenter(
            options.config, device="cpu", weights=str(options.weights), runtime=options.runtime, precision="fp32",
            network_size=size, tta=False,
        )
        for size in SIZES
    }  # fmt: skip
    cases = spread(load_cases(options.data, only_folds=[0]), options.count)
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(cases, start=1):
        reference = read_mask(case["label"])[..., 0].T > 0
        for size, segmenter in segmenters.items():
            mask = segmenter(case["image"]).mask
            rows.append({
                "size": size, "image": case["name"], "dataset": case["dataset"],
                "dice": round(dice(mask, reference), 5), "cldice": round(cldice(mask, reference), 5),
            })  # fmt: skip
        if number % 20 == 0:
            logger.info("%d of %d images", number, len(cases))
    summary = {
        str(size): {
            metric: round(100 * float(np.mean([row[metric] for row in rows if row["size"] == size])), 3)
            for metric in ("dice", "cldice")
        }
        for size in SIZES
    }
    result = {
        "what": __doc__.splitlines()[0], "images": len(cases), "folds": [0], "weights_sha256": sha256(options.weights),
        "config": options.config, "network": segmenters[SIZES[0]].network.settings,
        "runtime": f"{options.runtime} fp32",
        "machine": machine(), "platform": platform.platform(), "versions": runtime_versions(["torch", options.runtime]),
        "percent": summary, "rows": rows,
    }  # fmt: skip
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    logger.info("%s", json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
