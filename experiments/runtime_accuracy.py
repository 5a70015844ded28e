"""What the runtimes change in the masks: against torch in single precision, and against the experts' masks.

    python experiments/runtime_accuracy.py --data DIR --weights FILE --cache FOLDER [--int8 FILE] [--seen] \\
        --output experiments/results/runtime_accuracy.json

Dice and clDice are those of fold 0, which the weights must not have seen (else say ``--seen``), the crossing rate that
of the stenoses of ARCADE's val split, which is in no training. A runtime is offered when it changes mean Dice and mean
clDice by at most 0.2 points, and the crossing rate by at most 0.5. Intervals are of the bootstrap: over patients, for
stenoses over images. What is in the cache is not computed again, and counts too: of runtimes that compute the same a
few images may do (``--count``, ``--stenoses``), as ``values`` tells. Those in 8 bits are of a
file of ``experiments/quantise.py``. With ONEDNN_MAX_CPU_ISA=AVX2 torch and OpenVINO compute as on a processor with no
more.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from casr_net import Segmenter
from casr_net.evaluation.bootstrap import paired_difference
from casr_net.evaluation.metrics import cldice, dice
from casr_net.evaluation.stenoses import crosses, load_stenoses
from casr_net.evaluation.usage import append_line, read_lines
from casr_net.files.images import read_angiogram
from casr_net.files.masks import read_mask
from casr_net.inference.runtimes.engines import Engine, OpenVINOEngine
from casr_net.inference.runtimes.machine import bfloat16_supported, machine
from casr_net.inference.runtimes.packages import RUNTIMES, installed_runtimes, runtime_versions
from casr_net.inference.runtimes.prepared import Runtimes
from casr_net.inference.runtimes.quantised import read_quantised
from casr_net.network.weights import network_digest, sha256
from casr_net.preprocessing.load import image_tensor
from casr_net.training.cases import load_cases
from evidence_differences import groups_of
from probabilities import spread

logger = logging.getLogger("experiments")

GATES = {"dice": 0.2, "cldice": 0.2, "crossing_rate": 0.5}
"""Largest change of the mean, in points."""

BASE = "torch fp32"
VARIANTS = {
    BASE: ("torch", "fp32"),
    "torch bf16": ("torch", "bf16"),
    "onnx fp32": ("onnx", "fp32"),
    "openvino fp32": ("openvino", "fp32"),
    "openvino bf16": ("openvino", "bf16"),
}
INT8 = {"openvino int8": False, "openvino int8+bf16": True}
"""Networks in 8 bits, and whether what is not in 8 bits is in bfloat16."""

Masks = Iterator[tuple[str, np.ndarray]]


def engines_of(options: argparse.Namespace, segmenter: Segmenter) -> dict[str, Engine]:
    """Those that are wanted and installed, by name."""
    found: dict[str, Engine] = {}
    for name, (runtime, precision) in VARIANTS.items():
        if runtime in installed_runtimes() and (not options.only or name in {BASE, *options.only}):
            engine = Runtimes(runtime, options.weights, segmenter.channels, precision).engine(segmenter.network)
            assert engine is not None
            found[name] = engine
    if options.int8:
        quantised = read_quantised(options.int8)
        assert quantised.about["network"] == network_digest(segmenter.network), "8 bits of other weights"
        for name, bfloat16 in INT8.items():
            if not bfloat16 or bfloat16_supported():
                found[name] = OpenVINOEngine(quantised.model, bfloat16, quantised.weights)
    return found


def masks_of(segmenter: Segmenter, engines: dict[str, Engine], image: str) -> Masks:
    """The refined mask of an image, bool (X, Y), by each engine."""
    source = read_angiogram(image)
    prepared = segmenter.channels({"image": image_tensor(source.grey(0), source.affine)})
    for name, engine in engines.items():
        logits = MetaTensor(engine(prepared["image"][None].as_tensor())[0])
        done: dict[Any, Any] = segmenter.postprocessing({**copy.deepcopy(prepared), "pred": logits})
        yield name, np.asarray(done["pred"][0]) > 0


def measured(
    path: Path, images: dict[str, str], segmenter: Segmenter, engines: dict[str, Engine],
    judge: Callable[[str, np.ndarray], dict[str, Any]],
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of name, runtime and what ``judge`` says of each mask, with those of other runs that are in the cache."""
    rows = {(row["name"], row["runtime"]): row for row in read_lines(path)}
    for number, (name, image) in enumerate(images.items(), start=1):
        left = {runtime: engine for runtime, engine in engines.items() if (name, runtime) not in rows}
        for runtime, mask in masks_of(segmenter, left, image) if left else ():
            rows[name, runtime] = {"name": name, "runtime": runtime, **judge(name, mask)}
            append_line(path, rows[name, runtime])
        if number % 10 == 0:
            logger.info("%s: %d of %d images", path.stem, number, len(images))
    order = [*VARIANTS, *INT8]
    return sorted(rows.values(), key=lambda row: (row["name"], order.index(row["runtime"])))


def summary(rows: list[dict[str, Any]], group: dict[str, str] | None) -> dict[str, dict[str, Any]]:
    """By runtime and metric: mean in percent, and the change against single precision in points."""
    found: dict[str, dict[str, Any]] = {}
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        entry: dict[str, Any] = {}
        for metric in (name for name in rows[0] if name not in ("name", "runtime")):
            base, own = (
                {row["name"]: row[metric] for row in rows if row["runtime"] == kind} for kind in (BASE, runtime)
            )
            base = {name: base[name] for name in own}
            change = paired_difference(base, own, group)
            values = np.concatenate([np.atleast_1d(value) for value in own.values()])
            pairs = [np.atleast_1d(own[name]) - np.atleast_1d(base[name]) for name in own]
            entry[metric] = {
                "percent": round(100 * float(values.mean()), 3),
                "change_points": round(100 * change.mean, 4),
                "interval_points": [round(100 * change.low, 4), round(100 * change.high, 4)],
                "largest_change_points": round(100 * float(np.abs(np.concatenate(pairs)).max()), 3),
                "changed": int(np.count_nonzero(np.concatenate(pairs))),
                "values": len(values),
                "passes": abs(100 * change.mean) <= GATES[metric],
            }
        found[runtime] = entry
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--int8", type=Path)
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--count", type=int, help="images of each data set (all)")
    parser.add_argument("--stenoses", type=int, help="images of ARCADE (all)")
    parser.add_argument("--only", nargs="*", help=f"runtimes, beside {BASE} and those in 8 bits")
    parser.add_argument("--seen", action="store_true", help="the weights have seen fold 0 in training")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    segmenter = Segmenter(options.config, device="cpu", weights=str(options.weights), runtime="torch", precision="fp32")
    engines = engines_of(options, segmenter)
    options.cache.mkdir(parents=True, exist_ok=True)
    digest = sha256(options.weights)

    cases = {case["name"]: case for case in spread(load_cases(options.data, only_folds=[0]), options.count)}

    def overlap(name: str, mask: np.ndarray) -> dict[str, Any]:
        truth = read_mask(cases[name]["label"])[..., 0] > 0
        return {"dice": round(dice(mask, truth), 6), "cldice": round(cldice(mask, truth), 6)}

    stenoses = {name: found for name, found in load_stenoses(options.data / "arcade").items() if "_val_" in name}
    names = list(stenoses)
    if options.stenoses is not None:
        names = [names[i * len(names) // options.stenoses] for i in range(options.stenoses)]

    def crossing(name: str, mask: np.ndarray) -> dict[str, Any]:
        return {"crossing_rate": [int(crosses(mask.T, polygon)) for polygon in stenoses[name]]}

    images = {name: case["image"] for name, case in cases.items()}
    rows = measured(options.cache / f"{digest[:12]}-fold0.jsonl", images, segmenter, engines, overlap)
    narrow = {name: str(options.data / "arcade" / "images" / name) for name in names}
    crossed = measured(options.cache / f"{digest[:12]}-stenoses.jsonl", narrow, segmenter, engines, crossing)
    found = summary(rows, groups_of(options.data))
    for runtime, entry in summary(crossed, None).items():
        found[runtime] |= entry
        found[runtime]["passes"] = all(found[runtime][metric]["passes"] for metric in GATES)
    result = {
        "what": __doc__.splitlines()[0], "gates_points": GATES, "folds": [0], "seen_in_training": options.seen,
        "weights_sha256": digest, "config": options.config, "network": segmenter.network.settings,
        "int8": read_quantised(options.int8).about if options.int8 else None,
        "machine": machine(), "platform": platform.platform(),
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "versions": {"torch": torch.__version__, **runtime_versions(list(RUNTIMES))},
        "summary": found, "rows": rows, "stenoses": crossed,
    }  # fmt: skip
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    logger.info("%s", json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
