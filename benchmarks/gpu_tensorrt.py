"""Check of ``gpu_check.py``: the network by TensorRT."""

from __future__ import annotations

import functools
import shutil
import time

import numpy as np
import torch

from casr_net import Segmenter
from casr_net.errors import UsageError
from casr_net.evaluation.metrics import cldice, dice
from casr_net.inference.runtimes.packages import require_runtime
from casr_net.inference.stages import FrameNetwork
from gpu_check import Check
from gpu_inference import POINTS, SAME, angiograms, loaded, rate, segmented

__all__ = ["tensorrt"]


def tensorrt(check: Check) -> None:
    """Compiled anew, and loaded again: masks against the CPU's and the truth, frames a second."""
    try:
        require_runtime("tensorrt")
    except UsageError as error:
        check.leave_out("TensorRT", str(error))
        return
    if check.rehearsal:
        check.leave_out("TensorRT", "it computes on NVIDIA's GPUs only")
        return
    weights = check.folder / "tensorrt" / "model.pt"  # beside which nothing is kept yet
    weights.parent.mkdir()
    shutil.copyfile(loaded(check, "cpu").weights, weights)
    images, truths = angiograms(check)
    expected = segmented(loaded(check, "cpu"), images, _network(loaded(check, "cpu"), 1))
    with_truth = 100 * np.array([[dice(*pair), cldice(*pair)] for pair in zip(expected, truths, strict=True)]).mean(0)
    for precision in ("auto", "fp32"):
        for state in ("compiled", "loaded again"):
            mark = time.perf_counter()
            segmenter = Segmenter(
                check.config,
                device=check.device,
                runtime="tensorrt",
                precision=precision,
                weights=str(weights),
                tta=False,
            )
            found = segmented(segmenter, images, _network(segmenter, len(images)))
            seconds = time.perf_counter() - mark
            same = [dice(mask, other) for mask, other in zip(found, expected, strict=True)]
            scores = 100 * np.array([[dice(*pair), cldice(*pair)] for pair in zip(found, truths, strict=True)]).mean(0)
            change = scores - with_truth
            used = segmenter.inferer.used
            near = min(same) >= SAME if used.endswith("fp32") else bool(np.abs(change).max() <= POINTS)
            check.say(
                f"masks by {used}, {state}, {len(images)} frames at once",
                f"Dice with the CPU's at least {min(same):.5f}; Dice {change[0]:+.3f} and clDice {change[1]:+.3f} "
                f"points with the truth (at most {POINTS} in half precision); {seconds:.0f} s with loading",
                used.startswith("tensorrt") and near,
                dice=same, change_points=change.tolist(), seconds=seconds,
            )  # fmt: skip
        rates = {}
        for batch in check.batches:
            inputs = torch.rand(batch, 3, check.size, check.size).pin_memory()
            rates[batch] = round(rate(check, functools.partial(_computed, segmenter, inputs), batch), 1)
        text = ", ".join(f"{batch} at once {value:.0f}" for batch, value in rates.items())
        check.say(f"network by {segmenter.inferer.used}, frames/s", text, rates=rates)


def _computed(segmenter: Segmenter, inputs: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = segmenter.inferer(inputs.to(segmenter.device), segmenter.network)
    return logits.cpu()


def _network(segmenter: Segmenter, batch: int) -> FrameNetwork:
    return FrameNetwork(segmenter.network, segmenter.inferer, segmenter.device, batch)
