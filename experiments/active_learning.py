"""What active learning is worth: a simulation on real angiograms, with a small network at 128 pixels.

python experiments/active_learning.py --data ../shared/data --pretrained efficientnet-lite0-57934424.pth \
    --output experiments/results/active_learning.json

A network with an ImageNet encoder starts from 10 % of the ICA_NJ images of folds 1 to 4. In each round ten more images
are "labelled", chosen by a strategy of the MONAI Label app (its own code: scores and k-centre), and the network is
fine-tuned briefly on all labelled ones. Dice is measured on fold 0, at 128 pixels, threshold 0.5, without refinement.
All strategies of a seed share the start. What is done is kept in the output, so that a second call goes on; processes
may work on different seeds with one output.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, RandFlipd, RandRotate90d, Resized

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "monai_bundle" / "label_app"))

from casr_label.selection import uncertain_and_diverse  # noqa: E402

from casr_net.evaluation.metrics import dice  # noqa: E402
from casr_net.files.atomic import write_atomically  # noqa: E402
from casr_net.network.casrnet import CASRNet  # noqa: E402
from casr_net.preprocessing.load import LoadAngiogramd, LoadMaskd  # noqa: E402
from casr_net.preprocessing.transforms import FieldOfViewd, MultichannelPreprocessd  # noqa: E402
from casr_net.training.cases import load_cases  # noqa: E402
from casr_net.training.losses import DiceCEclDiceLoss  # noqa: E402
from casr_net.uncertainty.entropy import entropy_score  # noqa: E402

SIDE, BATCH, FLIPS = 128, 8, ((), (2,), (3,), (2, 3))
START_SHARE, ADDED, ROUNDS, START_STEPS, STEPS = 0.1, 10, 5, 200, 60
STRATEGIES = ("random", "first", "uncertain", "diverse")


def read(cases: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Preprocessed images (n, 3, 128, 128) and masks (n, 1, 128, 128)."""
    transform = Compose(
        [
            LoadAngiogramd("image"),
            LoadMaskd("label"),
            Resized(["image", "label"], spatial_size=(SIDE, SIDE), mode="bilinear", anti_aliasing=(True, False)),
            FieldOfViewd("image"),
            MultichannelPreprocessd("image", field_key="field"),
        ]
    )
    items = [transform({"image": case["image"], "label": case["label"]}) for case in cases]
    images = torch.stack([torch.as_tensor(np.asarray(item["image"])) for item in items]).float()
    return images, torch.stack([torch.as_tensor(np.asarray(item["label"])) >= 0.5 for item in items]).float()


def make_network(pretrained: Path) -> CASRNet:
    """The light network."""
    return CASRNet(encoder="efficientnet_lite0", decoder_channels=(96, 64, 40, 24, 16), pretrained=pretrained)


def train(network: CASRNet, images: torch.Tensor, masks: torch.Tensor, steps: int, rate: float, seed: int) -> None:
    """Some steps of AdamW with flips, quarter turns, shifts of brightness and noise."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    loss_function = DiceCEclDiceLoss(cldice_weight=0.2, iterations=5)
    keys = ("image", "label")
    augment = Compose([RandFlipd(keys, 0.5, 0), RandFlipd(keys, 0.5, 1), RandRotate90d(keys, 0.5)])
    augment.set_random_state(seed)
    network.train()
    for _ in range(steps):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        items = [augment({"image": images[i], "label": masks[i]}) for i in chosen.tolist()]
        batch = torch.stack([torch.as_tensor(np.asarray(item["image"])) for item in items])
        wanted = torch.stack([torch.as_tensor(np.asarray(item["label"])) for item in items])
        shift = 0.2 * torch.randn((BATCH, 1, 1, 1), generator=generator)
        batch = batch + shift + 0.03 * torch.randn(batch.shape, generator=generator)
        optimizer.zero_grad()
        loss_function(network(batch), wanted).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    network.eval()


@torch.no_grad()
def probabilities(network: CASRNet, images: torch.Tensor, flips: Any = ((),)) -> np.ndarray:
    """Mean over mirrored copies, (n, 128, 128)."""
    found = []
    for part in images.split(16):
        maps = [network(part.flip(axes)).flip(axes) if axes else network(part) for axes in flips]
        found.append(torch.stack([m.sigmoid() for m in maps]).mean(0)[:, 0].numpy())
    return np.concatenate(found)


@torch.no_grad()
def vectors(network: CASRNet, images: torch.Tensor) -> np.ndarray:
    """Mean of the encoder's last feature map, (n, channels)."""
    return np.concatenate([network.encoder(part)[-1].mean((2, 3)).numpy() for part in images.split(16)])


def mean_dice(network: CASRNet, images: torch.Tensor, masks: torch.Tensor) -> float:
    """Mean over the images."""
    found, wanted = probabilities(network, images) >= 0.5, masks[:, 0].numpy() > 0
    return float(np.mean([dice(*pair) for pair in zip(found, wanted, strict=True)]))


def choose(
    strategy: str, network: CASRNet, images: torch.Tensor, labelled: list[int], rng: np.random.Generator
) -> list[int]:
    """Ten more images."""
    pool = [i for i in range(len(images)) if i not in set(labelled)]
    if strategy == "first":
        return pool[:ADDED]
    if strategy == "random":
        return [int(i) for i in rng.choice(pool, ADDED, replace=False)]
    scores = [entropy_score(p) for p in probabilities(network, images[pool], FLIPS)]
    if strategy == "uncertain":
        return [pool[i] for i in np.argsort(-np.array(scores), kind="stable")[:ADDED]]
    points, centres = vectors(network, images[pool]), vectors(network, images[labelled])
    return [pool[i] for i in uncertain_and_diverse(scores, points, list(centres), ADDED)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pretrained", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    cases = [case for case in load_cases(options.data) if case["dataset"] == "ica_nj"]
    images, masks = read([case for case in cases if case["fold"] != 0])
    test_images, test_masks = read([case for case in cases if case["fold"] == 0])
    start_count = round(START_SHARE * len(images))
    record: dict[str, Any] = {
        "what": "mean Dice on ICA_NJ fold 0 at 128 px against the number of labelled images of folds 1 to 4; light "
        "network, ImageNet encoder; threshold 0.5, no refinement",
        "images": len(images), "test_images": len(test_images),
        "labelled": [start_count + ADDED * r for r in range(ROUNDS + 1)],
        "steps": {"start": START_STEPS, "round": STEPS, "batch": BATCH},
        "machine": f"{platform.machine()}, {os.cpu_count()} hyperthreads",
        "runs": {},
    }  # fmt: skip
    if options.output.is_file():
        record["runs"] = json.loads(options.output.read_text())["runs"]
    for seed in options.seeds:
        wanted = [s for s in STRATEGIES if f"{s}-{seed}" not in record["runs"]]
        if not wanted:
            continue
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(images))  # "first" takes the images in an order that means nothing
        shuffled, shuffled_masks = images[order], masks[order]
        first = sorted(int(i) for i in rng.choice(len(images), start_count, replace=False))
        begin = make_network(options.pretrained)
        train(begin, shuffled[first], shuffled_masks[first], START_STEPS, 1e-3, seed)
        state, start_dice = begin.state_dict(), mean_dice(begin, test_images, test_masks)
        for strategy in wanted:
            mark = time.perf_counter()
            network = make_network(options.pretrained)
            network.load_state_dict(state)
            network.eval()
            labelled, values = list(first), [start_dice]
            for number in range(ROUNDS):
                labelled += choose(strategy, network, shuffled, labelled, np.random.default_rng([seed, number]))
                train(network, shuffled[labelled], shuffled_masks[labelled], STEPS, 5e-4, 100 * seed + number)
                values.append(mean_dice(network, test_images, test_masks))
            made = {f"{strategy}-{seed}": [round(value, 5) for value in values]}
            there = json.loads(options.output.read_text())["runs"] if options.output.is_file() else {}
            record["runs"] = dict(sorted((there | record["runs"] | made).items()))
            print(made, f"{time.perf_counter() - mark:.0f} s", flush=True)
            write_atomically(options.output, lambda path: path.write_text(json.dumps(record, indent=1) + "\n"))


if __name__ == "__main__":
    main()
