"""A network in 8 bits for OpenVINO, calibrated with training images; needs nncf 3.4.0, which nothing else does.

    python experiments/quantise.py --data DIR --weights monai_bundle/models/model.pt \\
        --output monai_bundle/models/model_int8.zip
    python experiments/quantise.py --data DIR --weights STATE/light-teacher-fold0/model.pt --exclude-fold 0 \\
        --output FOLDER/fold0_int8.zip

NNCF's post-training quantisation with accuracy control: where the mean of Dice and clDice of other training images,
after stage 3, falls by more than ``DROP``, layers go back to single precision, those that cost most first.

Weights use all 8 bits, or 7 with ``--bits 7`` (NNCF's ``OverflowFix``). AVX2 without VNNI sums pairs of products in 16
bits, which overflow with 8, so that networks in 8 bits are offered on processors with VNNI alone
(``casr_net.inference.runtimes.machine.vnni_supported``). What came of it: ``LOG.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from casr_net import Segmenter
from casr_net.evaluation.metrics import cldice, dice
from casr_net.files.images import read_angiogram
from casr_net.files.masks import read_mask
from casr_net.inference.runtimes.engines import as_onnx
from casr_net.inference.runtimes.quantised import Quantised, write_quantised
from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten
from casr_net.network.weights import network_digest, sha256
from casr_net.preprocessing.load import image_tensor
from casr_net.training.cases import load_cases
from probabilities import spread

logger = logging.getLogger("experiments")

DROP = 0.002
"""Largest fall of the mean of Dice and clDice: the gate of a runtime."""


def prepared_case(segmenter: Segmenter, case: dict[str, Any]) -> dict[Any, Any]:
    """What the network sees of a case, with all that stage 3 needs."""
    source = read_angiogram(case["image"])
    return segmenter.channels({"image": image_tensor(source.grey(0), source.affine)})


def network_input(prepared: dict[Any, Any]) -> np.ndarray:
    return np.asarray(prepared["image"][None].as_tensor().numpy())


def main() -> None:
    import nncf
    import openvino

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--exclude-fold", type=int, action="append", default=[])
    parser.add_argument("--count", type=int, default=40, help="calibration images of each data set (%(default)s)")
    parser.add_argument("--check", type=int, default=15, help="validation images of each data set (%(default)s)")
    parser.add_argument("--bits", type=int, choices=(7, 8), default=8, help="of the weights (%(default)s)")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    segmenter = Segmenter(options.config, device="cpu", weights=str(options.weights), runtime="torch", precision="fp32")
    network = segmenter.network
    assert isinstance(network, CASRNet)
    cases = load_cases(options.data, exclude_folds=options.exclude_fold)
    calibration = spread(cases, options.count)
    taken = {case["name"] for case in calibration}
    checks = spread([case for case in cases if case["name"] not in taken], options.check)
    logger.info("%d images to calibrate, %d to validate, of %d", len(calibration), len(checks), len(cases))

    def validate(model: Any, items: Iterable[Any]) -> tuple[float, None]:
        request = model.create_infer_request()
        scores = []
        for case in items:
            data = prepared_case(segmenter, case)
            logits = np.array(request.infer({0: network_input(data)})[0])
            data["pred"] = MetaTensor(torch.from_numpy(logits)[0])
            done: dict[Any, Any] = segmenter.postprocessing(data)
            mask, truth = np.asarray(done["pred"][0]) > 0, read_mask(case["label"])[..., 0] > 0
            scores.append((dice(mask, truth) + cldice(mask, truth)) / 2)
        logger.info("mean of Dice and clDice: %.5f", np.mean(scores))
        return float(np.mean(scores)), None

    model = openvino.Core().read_model(as_onnx(rewritten(network), int(str(network.settings["in_channels"]))))
    overflow = nncf.OverflowFix.DISABLE if options.bits == 8 else nncf.OverflowFix.ENABLE
    found = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(calibration, lambda case: network_input(prepared_case(segmenter, case))),
        nncf.Dataset(checks),
        validate,
        max_drop=DROP,
        preset=nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(calibration),
        advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow),
    )
    names = sorted(case["name"] for case in calibration)
    about = {
        "network": network_digest(network),
        "weights_sha256": sha256(options.weights),
        "made_by": "experiments/quantise.py", "weight_bits": options.bits,
        "calibration": {
            "images": len(names), "excluded_folds": options.exclude_fold,
            "names_sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        },
        "validation_images": len(checks),
        "versions": {name: version(name) for name in ("nncf", "openvino", "torch", "onnx")},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(found, path, compress_to_fp16=False)
        quantised = Quantised(about, path.read_bytes(), path.with_suffix(".bin").read_bytes())
    write_quantised(options.output, quantised)
    logger.info("%s: %d bytes; %s", options.output, options.output.stat().st_size, json.dumps(about))


if __name__ == "__main__":
    main()
