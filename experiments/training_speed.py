"""Seconds of one core that a training step takes, by network, number format and memory layout.

python experiments/training_speed.py --output experiments/results/training_speed.json

Steps of all variants take turns, so that the machine is the same for each; what counts is processor time, which other
work on the machine changes little. The step is that of ``train.json``: forward, loss, backward, AdamW, without loading
and augmentation. Given the runner's pause lock, it holds it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from casr_net.evaluation.usage import hardware
from casr_net.inference.provenance import package_versions
from casr_net.network import CASRNet
from casr_net.training import DiceCEclDiceLoss, PrecisionInferer, place_network

NETWORKS = {
    "light": ("efficientnet_lite0", (96, 64, 40, 24, 16)),
    "compact": ("densenet121", (128, 64, 48, 32, 16)),
}


def step(name: str, precision: str, channels_last: bool, size: int, batch: int) -> Callable[[], None]:
    """One training step of a network on noise."""
    encoder, widths = NETWORKS[name]
    network = place_network(CASRNet(encoder=encoder, decoder_channels=widths), channels_last=channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    inferer, loss = PrecisionInferer(precision), DiceCEclDiceLoss()
    images = torch.rand(batch, 3, size, size) * 2 - 1
    labels = (torch.rand(batch, 1, size, size) > 0.9).float()

    def run() -> None:
        optimizer.zero_grad()
        loss(inferer(images, network), labels).backward()
        optimizer.step()

    return run


def loss_alone(size: int, batch: int, cldice_weight: float) -> Callable[[], None]:
    """Loss and its gradient."""
    loss = DiceCEclDiceLoss(cldice_weight)
    logits = torch.randn(batch, 1, size, size, requires_grad=True)
    labels = (torch.rand(batch, 1, size, size) > 0.9).float()
    return lambda: loss(logits, labels).backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause-lock", type=Path, help="of the runner, STATE/pause.lock")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    variants: dict[str, Callable[[], None]] = {}
    for name, precision, last in itertools.product(NETWORKS, ("fp32", "bf16"), (False, True)):
        layout = "channels last" if last else "contiguous"
        variants[f"{name}, {precision}, {layout}"] = step(name, precision, last, options.size, options.batch)
    for weight in (0.0, 0.2):
        variants[f"loss, clDice weight {weight}"] = loss_alone(options.size, options.batch, weight)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    lock: Any = FileLock(options.pause_lock) if options.pause_lock else nullcontext()
    with lock:
        for number in range(options.rounds + 1):
            for name, run in variants.items():
                started = time.process_time()
                run()
                if number > 0:  # the first round warms up
                    seconds[name].append((time.process_time() - started) / options.batch)
    record = {
        "what": "processor seconds an image of a training step, one thread; medians of rounds that take turns",
        "size": options.size,
        "batch": options.batch,
        "rounds": options.rounds,
        "seconds": {name: round(statistics.median(values), 4) for name, values in seconds.items()},
        **hardware(),
        "versions": package_versions(),
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    for name, value in record["seconds"].items():
        print(f"{name:32} {value:.3f} s")


if __name__ == "__main__":
    main()
