"""Turn a finished unit of the plan into weights that ship: half precision, or 8 bits a channel, checked.

python experiments/release.py densenet121-shipped-all --data ../shared/data [--state DIR] [--target FILE]

The target is models/model.pt, or models/NAME.pt of the run's network overlay (compact). Dice and clDice of a few images
must not change by more than 0.05 points, nor the file be larger than 35 MB; otherwise nothing is written. What was
checked goes to experiments/results/release_NAME.json. Another file of weights is packed with --weights and --network.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from casr_net import Segmenter
from casr_net.errors import DataError
from casr_net.evaluation.metrics import image_metrics
from casr_net.files.masks import read_mask
from casr_net.inference.bundle import bundle_root, load_parser
from casr_net.inference.provenance import package_versions
from casr_net.network.weights import load_weights, save_weights, sha256
from casr_net.training.cases import load_cases

RESULTS = Path(__file__).resolve().parent / "results"
LARGEST = 35_000_000  # bytes
TOLERANCE = 0.0005  # of the means of Dice and clDice
IMAGES = 8


def figures(segmenter: Segmenter, cases: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean Dice and clDice of the refined masks."""
    rows = [image_metrics(segmenter(case["image"]).mask, read_mask(case["label"])[..., 0].T) for case in cases]
    return {name: float(np.mean([row[name] for row in rows])) for name in ("dice", "cldice")}


def release(
    source: Path,
    target: Path,
    cases: Sequence[Mapping[str, Any]],
    network: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    largest: int = LARGEST,
    dtype: torch.dtype = torch.float16,
) -> dict[str, Any]:
    """Pack weights, check them, and put them into place.

    Args:
        source: state dict as it was trained.
        target: file that ships; replaced in one step when all is well.
        cases: image and label of what is compared.
        network: overlays of ``inference.json``.
        settings: values of ``inference.json``.
        largest: size that is allowed, in bytes.
        dtype: of the packed file; ``torch.int8`` stores the kernels in 8 bits.

    Returns:
        what was found, ready for JSON.

    Raises:
        DataError: when the file gets too large, or the figures change too much; the target stays as it was.
    """
    values = dict(settings or {})
    plain = load_weights(load_parser(list(network), **values).get_parsed_content("network_def"), source)
    with tempfile.TemporaryDirectory() as folder:
        packed = save_weights(plain, Path(folder) / "packed.pt", dtype)
        size = packed.stat().st_size
        if size > largest:
            raise DataError(f"{source}: packed it has {size} bytes; {largest} are allowed.")
        before, after = (
            figures(Segmenter(list(network), device="cpu", weights=str(path), **{"tta": False, **values}), cases)
            for path in (source, packed)
        )
        change = {name: after[name] - before[name] for name in before}
        worst = max(change, key=lambda name: abs(change[name]))
        if not abs(change[worst]) <= TOLERANCE:
            raise DataError(f"{source}: packing changes {worst} by {change[worst]:+.5f}; {TOLERANCE} is allowed.")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        temporary.write_bytes(packed.read_bytes())
        os.replace(temporary, target)
    return {
        "file": target.name, "bytes": size, "sha256": sha256(target), "source_sha256": sha256(source),
        "type": str(dtype).removeprefix("torch."), "network": list(network), "images": [case["name"] for case in cases],
        "trained": {name: round(value, 5) for name, value in before.items()},
        "packed": {name: round(value, 5) for name, value in after.items()},
        "change": {name: round(value, 6) for name, value in change.items()}, "versions": package_versions(),
    }  # fmt: skip


def of_unit(unit: str, results: Path, state: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Weights of a finished unit, its run as the plan had it, and its result without the cases.

    Raises:
        DataError: when the unit is not finished, or the weights are not those of its result.
    """
    result, weights = results / f"{unit}.json", state / unit / "model.pt"
    if not result.is_file() or not weights.is_file():
        raise DataError(f"{unit}: {result} and {weights} are needed; the unit is not finished on this machine.")
    record = json.loads(result.read_text(encoding="utf-8"))
    found = sha256(weights)
    if found != record["weights_sha256"]:
        raise DataError(f"{weights}: is {found[:12]}, the result of {unit} names {record['weights_sha256'][:12]}.")
    kept = ("name", "purpose", "fold", "seed", "images_seen", "config_sha256", "weights_sha256", "usage")
    return weights, record["plan"], {name: record[name] for name in kept}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unit", help="of the plan; a name for the record with --weights")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0, help="whose images are compared")
    parser.add_argument("--images", type=int, default=IMAGES)
    state = os.environ.get("CASR_RUNS") or platformdirs.user_cache_path("casr-net") / "evidence"
    parser.add_argument("--state", type=Path, default=Path(state))
    parser.add_argument("--results", type=Path, default=RESULTS / "evidence")
    parser.add_argument("--records", type=Path, default=RESULTS, help="folder of release_NAME.json")
    parser.add_argument("--weights", type=Path, help="these, and no unit of the plan")
    parser.add_argument("--network", nargs="*", default=[], help="overlays, with --weights")
    parser.add_argument("--target", type=Path)
    parser.add_argument("--int8", action="store_true", help="kernels in 8 bits")
    options = parser.parse_args(arguments)
    source, network, settings, made = options.weights, options.network, {}, {"name": options.unit}
    if source is None:
        source, plan, made = of_unit(options.unit, options.results, options.state)
        network, settings = plan["network"], plan["settings"]
    target = options.target or bundle_root() / "models" / f"{network[0] if network else 'model'}.pt"
    dtype = torch.int8 if options.int8 else torch.float16
    cases = load_cases(options.data, only_folds=[options.fold], limit=options.images)
    record = {"unit": made, **release(source, target, cases, network, settings, dtype=dtype)}
    path = options.records / f"release_{target.stem}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{target}: {record['bytes'] / 1e6:.1f} MB, sha256 {record['sha256']}, change {record['change']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
