"""A network in 8 bits for OpenVINO, calibrated with training images; needs nncf 3.4.0, which nothing else does.

    python experiments/quantise.py --data DIR --weights monai_bundle/models/model.pt \\
        --output monai_bundle/models/model_int8.zip
    python experiments/quantise.py --data DIR --weights STATE/light-teacher-fold0/model.pt --exclude-fold 0 \\
        --output FOLDER/fold0_int8.zip

NNCF's post-training quantisation with accuracy control: where the masks of other training images, before stage 3,
agree less with those in single precision than ``DROP`` allows (Dice), layers go back, those that cost most first.

Only the products of the decoder and the head are in 8 bits. They are most of the work, and lose next to nothing; what
was lost before came from the weights of the encoder's first depthwise convolutions (``LOG.md``). The encoder stays as
it is, stored in half precision, as do the powers of the Self-ONN, which are rounded once, where they enter a product.

Weights use all 8 bits, or 7 with ``--bits 7`` (NNCF's ``OverflowFix``). AVX2 without VNNI sums pairs of products in 16
bits, which overflow with 8: there they are rounded to 7 when the file is loaded (``inference/runtimes/graphs.py``).
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

from casr_net import Segmenter
from casr_net.errors import DataError
from casr_net.evaluation.metrics import dice
from casr_net.files.atomic import write_atomically
from casr_net.files.images import read_angiogram
from casr_net.inference.runtimes.engines import OpenVINOEngine, as_onnx
from casr_net.inference.runtimes.quantised import Quantised, quantised_content
from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten
from casr_net.network.weights import network_digest, sha256
from casr_net.preprocessing.load import image_tensor
from casr_net.training.cases import load_cases
from probabilities import spread

logger = logging.getLogger("experiments")

DROP = 0.002
"""Largest fall of the mean Dice with the masks of single precision. Our choice: the gate of a runtime."""

LARGEST = 8_000_000
"""Bytes of a file, which is in every download."""

KEPT = ("^/encoder/.*", "^/bounds.*", "^/decoder[.].*/Mul.*", "^/decoder[.].*/Add.*")
"""Patterns of the operations that stay as they are, by their names in the ONNX file."""


def network_input(segmenter: Segmenter, case: dict[str, Any]) -> np.ndarray:
    """What the network sees of a case, (1, C, X, Y)."""
    source = read_angiogram(case["image"])
    prepared = segmenter.channels({"image": image_tensor(source.grey(0), source.affine)})
    return np.asarray(prepared["image"][None].as_tensor().numpy())


def in_half_precision(model: bytes, path: Path) -> Any:
    """The OpenVINO model of an ONNX file, weights in half precision; what is put into 8 bits is so from there on."""
    import openvino

    core = openvino.Core()
    openvino.save_model(core.read_model(model), path, compress_to_fp16=True)
    return core.read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())


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

    onnx = as_onnx(rewritten(network, narrow=False), int(str(network.settings["in_channels"])))
    exact = OpenVINOEngine(onnx)
    inputs = [network_input(segmenter, case) for case in checks]
    known = [(array, exact.run(array) > 0) for array in inputs]

    def validate(model: Any, items: Iterable[Any]) -> tuple[float, list[float]]:
        request = model.create_infer_request()
        scores = [dice(np.array(request.infer({0: array})[0]) > 0, mask) for array, mask in items]
        return float(np.mean(scores)), scores

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        found = nncf.quantize_with_accuracy_control(
            in_half_precision(onnx, path),
            nncf.Dataset(calibration, lambda case: network_input(segmenter, case)),
            nncf.Dataset(known, lambda pair: pair[0]),
            validate,
            max_drop=DROP,
            preset=nncf.QuantizationPreset.PERFORMANCE,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(patterns=list(KEPT), validate=False),
            advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.DISABLE if options.bits == 8 else nncf.OverflowFix.ENABLE
            ),
        )
        openvino.save_model(found, path, compress_to_fp16=False)
        model, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    small = OpenVINOEngine(model, weights=weights)
    agreement = [dice(small.run(array) > 0, mask) for array, mask in known]
    names = sorted(case["name"] for case in calibration)
    about = {
        "network": network_digest(network),
        "weights_sha256": sha256(options.weights),
        "made_by": "experiments/quantise.py", "weight_bits": options.bits,
        "calibration": {
            "images": len(names), "excluded_folds": options.exclude_fold,
            "names_sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        },
        "validation": {
            "images": len(checks), "dice_with_fp32": round(float(np.mean(agreement)), 5),
            "least": round(min(agreement), 5),
        },
        "versions": {name: version(name) for name in ("nncf", "openvino", "torch", "onnx")},
    }  # fmt: skip
    content = quantised_content(Quantised(about, model, weights))
    if len(content) > LARGEST:
        raise DataError(f"{options.output}: {len(content)} bytes; at most {LARGEST} are allowed. Nothing is written.")
    write_atomically(options.output, lambda temporary: temporary.write_bytes(content))
    logger.info("%s: %d bytes; %s", options.output, len(content), json.dumps(about))


if __name__ == "__main__":
    main()
