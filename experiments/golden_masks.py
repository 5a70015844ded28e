"""Whether preprocessing and refinement give what they gave before a change, bit for bit.

    python experiments/golden_masks.py --data DIR --cache DIR --write experiments/results/golden_masks.json
    python experiments/golden_masks.py --data DIR --cache DIR --check experiments/results/golden_masks.json

40 real images (of ica_nj, dca1 and ARCADE) and synthetic ones with rims, noise and broken vessels. The network's logits
of the real images are computed by torch in single precision once and kept in ``--cache``, since other rounding is no
change of what is tested here; without that folder's files the network runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from casr_net.files.images import read_angiogram
from casr_net.inference.bundle import load_parser
from casr_net.preprocessing.load import image_tensor
from casr_net.refinement.contours import refine
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.training.cases import load_cases
from probabilities import spread

SEEDS = range(24)


def digest(array: Any) -> str:
    """Of type, shape and values."""
    values = np.ascontiguousarray(array)
    return hashlib.sha256(f"{values.dtype} {values.shape}".encode() + values.tobytes()).hexdigest()[:16]


def real(data: Path) -> list[Path]:
    """20 images of ica_nj, 8 of dca1, 12 of ARCADE."""
    cases = load_cases(data)
    chosen = [Path(case["image"]) for case in spread([c for c in cases if c["dataset"] == "ica_nj"], 20)]
    chosen += [Path(case["image"]) for case in spread([c for c in cases if c["dataset"] == "dca1"], 8)]
    arcade = sorted((data / "arcade" / "images").iterdir())
    return chosen + arcade[:: len(arcade) // 12][:12]


def with_rim(grey: np.ndarray, kind: int) -> np.ndarray:
    """A synthetic image (X, Y) in [0, 1] as it is, with blades, with a round field, or with a noisy dark band."""
    image, size = grey.copy(), grey.shape[0]
    rng = np.random.default_rng(kind)
    if kind % 4 == 1:
        image[: size // 16] = 0.02
        image[:, -size // 20 :] = 0.03
    elif kind % 4 == 2:
        x, y = np.indices(image.shape) - size / 2
        image[np.hypot(x, y) > 0.48 * size] = 0.0
    elif kind % 4 == 3:
        image[:, : size // 14] = 0.25 * image[:, : size // 14]
        image += rng.normal(0, 0.02, image.shape)
    return np.clip(image, 0, 1).astype(np.float32)


def broken(mask: np.ndarray, seed: int) -> np.ndarray:
    """A probability map (X, Y) of a mask: smooth, cut in places, with specks and blobs."""
    rng = np.random.default_rng(seed)
    levels = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.2) * 0.96 + 0.02
    for x, y in rng.integers(0, mask.shape[0], (45, 2)).tolist():
        cv2.circle(levels, (x, y), int(rng.integers(2, 9)), float(rng.uniform(0.05, 0.45)), -1)
    for x, y in rng.integers(0, mask.shape[0], (12, 2)).tolist():
        axes = (int(rng.integers(1, 14)), int(rng.integers(1, 5)))
        cv2.ellipse(levels, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.5, 1)), -1)
    return np.clip(levels + rng.normal(0, 0.02, levels.shape), 0, 1).astype(np.float32)


def results(data: Path | None, cache: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and digests of each image."""
    parser = load_parser(device_name="cpu")
    channels, post = (parser.get_parsed_content(name) for name in ("channels", "postprocessing"))
    for seed in SEEDS:
        made = make_angiogram(seed=seed, size=(512, 384, 300)[seed % 3])
        grey = with_rim(made.image.T.astype(np.float32) / 255, seed)
        prepared = channels({"image": image_tensor(grey, np.eye(4))})
        levels = broken(made.mask.T > 0, seed)
        yield f"synthetic {seed}", {
            "field": digest(prepared["field"]), "input": digest(prepared["image"].as_tensor()),
            "mask": digest(refine(levels)), "mask of half": digest(refine(levels[::2, ::2])),
        }  # fmt: skip
    if data is None:
        return
    network = parser.get_parsed_content("network")
    for path in real(data):
        source = read_angiogram(path)
        prepared = channels({"image": image_tensor(source.grey(0), source.affine)})
        entry = {"field": digest(prepared["field"]), "input": digest(prepared["image"].as_tensor())}
        stored = cache / f"{path.parents[1].name}_{path.stem}.npy"
        if not stored.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            with torch.inference_mode():
                np.save(stored, network(prepared["image"].as_tensor()[None])[0].numpy())
        prepared["pred"] = torch.from_numpy(np.load(stored))
        done = post(prepared)
        entry |= {"probability": digest(done["probability"]), "mask": digest(np.asarray(done["pred"]) > 0)}
        yield f"{path.parents[1].name}/{path.name}", entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="without it, the synthetic images only")
    parser.add_argument("--cache", type=Path, default=Path("runs/golden"))
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path)
    action.add_argument("--check", type=Path)
    options = parser.parse_args()
    found = dict(results(options.data, options.cache))
    if options.write:
        options.write.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    known = json.loads(options.check.read_text(encoding="utf-8"))
    wrong = [f"{name}: {key}" for name, entry in found.items() for key in entry if known[name][key] != entry[key]]
    print(f"{len(found)} images, {len(wrong)} differences", *wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
