"""What faster preprocessing and refinement change in masks, and what they save: two versions of the tree side by side.

    PYTHONPATH=OLD/monai_bundle python experiments/same_masks.py masks --data DIR --model FILE --to old.json
    PYTHONPATH=monai_bundle python experiments/same_masks.py masks --data DIR --model FILE --to new.json
    PYTHONPATH=... python experiments/same_masks.py times --data DIR --logits DIR --to old_times.json  # new too
    python experiments/same_masks.py compare [old.json new.json] [--times old_times.json new_times.json] --output RESULT

The network is the same in both: ``--model`` is its ONNX file, in a ZIP archive of ``models/.runtimes``, computed by
OpenVINO in single precision on one thread. ``--logits`` is the folder that ``golden_masks.py`` fills; processor times
of its images are the least of three.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from casr_net.files.images import read_angiogram
from casr_net.inference.bundle import load_parser
from casr_net.preprocessing.load import image_tensor


def parts() -> tuple[Any, Any]:
    parser = load_parser(device_name="cpu")
    return parser.get_parsed_content("channels"), parser.get_parsed_content("postprocessing")


def loaded(path: Path) -> dict[str, Any]:
    return {"image": image_tensor(read_angiogram(path).grey(0), np.eye(4))}


def masks(data: Path, model: Path) -> dict[str, Any]:
    """Packed mask and its size, by image."""
    import openvino

    channels, post = parts()
    core, compiled = openvino.Core(), {}
    network = core.read_model(zipfile.ZipFile(model).read("content"))
    found = {}
    with open(data / "cases.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        prepared = channels(loaded(data / row["dataset"] / "images" / row["file"]))
        inputs = prepared["image"].as_tensor().numpy()[None]
        if inputs.shape not in compiled:
            fixed = network.clone()
            fixed.reshape(list(inputs.shape))
            settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
            compiled[inputs.shape] = core.compile_model(fixed, "CPU", settings)
        prepared["pred"] = torch.from_numpy(np.array(compiled[inputs.shape]([inputs])[0][0]))
        mask = np.asarray(post(prepared)["pred"][0]) > 0
        found[f"{row['dataset']}/{row['file']}"] = [np.packbits(mask).tobytes().hex(), list(mask.shape)]
    return found


def times(data: Path, logits: Path) -> dict[str, Any]:
    """Mean processor milliseconds an image."""
    channels, post = parts()
    seconds: dict[str, list[float]] = {"preprocessing": [], "refinement": []}
    for stored in sorted(logits.glob("*.npy")):
        dataset = next(name for name in ("ica_nj", "dca1", "arcade") if stored.stem.startswith(name))
        image = loaded(next((data / dataset / "images").glob(f"{stored.stem[len(dataset) + 1 :]}.*")))
        prepared = channels(dict(image))
        prepared["pred"] = torch.from_numpy(np.load(stored))
        for name, step, given in (("preprocessing", channels, image), ("refinement", post, prepared)):
            taken = []
            for _ in range(3):
                mark = time.process_time()
                step(dict(given))
                taken.append(time.process_time() - mark)
            seconds[name].append(min(taken))
    return {name: round(1000 * float(np.mean(values)), 2) for name, values in seconds.items()}


def compare(masked: Sequence[Path], timed: Sequence[Path]) -> dict[str, Any]:
    """Pixels that changed by image, and processor times before and after, where they are given."""
    result: dict[str, Any] = {}
    if masked:
        before, after = (json.loads(path.read_text()) for path in masked)
        changed = {
            name: (int(before[name][0], 16) ^ int(after[name][0], 16)).bit_count()
            for name in before
            if before[name] != after[name]
        }
        pixels = sum(int(np.prod(shape)) for _, shape in before.values())
        result = {"images": len(before), "pixels": pixels, "changed_pixels": changed}
    result |= {"platform": platform.platform(), "versions": {"opencv": cv2.__version__, "numpy": np.__version__}}
    if timed:
        slow, fast = (json.loads(path.read_text()) for path in timed)
        result |= {
            "processor_ms_before": slow, "processor_ms_after": fast,
            "share_of_time": {name: round(fast[name] / slow[name], 3) for name in slow},
            "note": "processor times on one core that other work shared; the ratio is what counts",
        }  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, option in (("masks", "--model"), ("times", "--logits")):
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True)
        command.add_argument(option, type=Path, required=True)
        command.add_argument("--to", type=Path, required=True)
    command = commands.add_parser("compare")
    command.add_argument("files", type=Path, nargs="*", help="masks of both versions")
    command.add_argument("--times", type=Path, nargs=2, default=[])
    command.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.command == "compare":
        if len(options.files) not in (0, 2):
            parser.error("masks are of two versions.")
        options.output.write_text(json.dumps(compare(options.files, options.times), indent=1) + "\n", encoding="utf-8")
    elif options.command == "masks":
        options.to.write_text(json.dumps(masks(options.data, options.model)), encoding="utf-8")
    else:
        options.to.write_text(json.dumps(times(options.data, options.logits)), encoding="utf-8")


if __name__ == "__main__":
    main()
