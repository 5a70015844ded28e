"""Checks of ``gpu_check.py``: masks against the CPU, half precision, frames a second, and memory that ends."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from casr_net import Segmenter
from casr_net.evaluation.metrics import cldice, dice
from casr_net.inference.bundle import bundle_root
from casr_net.inference.predict import postprocessed
from casr_net.inference.stages import FrameNetwork
from casr_net.preprocessing.load import image_tensor
from casr_net.synthetic.angiogram import make_angiogram
from gpu_check import Check

__all__ = [
    "POINTS", "SAME", "angiograms", "half_precision", "loaded", "masks", "memory_ends", "rate", "read_grey", "sample",
    "segmented", "speed",
]  # fmt: skip

SAME = 0.99
"""Least Dice of a mask in single precision with the CPU's."""

POINTS = 0.1
"""Most that half precision may change mean Dice and clDice against the truth, in points."""

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}

Inferer = Callable[[torch.Tensor, torch.nn.Module], torch.Tensor]


class Cast:
    """The network under autocast to half precision, channels last; None: single precision."""

    def __init__(self, kind: str, half: torch.dtype | None = None) -> None:
        self.kind, self.half = kind, half

    def __call__(self, inputs: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
        with torch.no_grad(), torch.autocast(self.kind, self.half, enabled=self.half is not None):
            logits: torch.Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
        return logits.float()


def loaded(check: Check, device: str) -> Segmenter:
    """The network on a device, in single precision by torch; kept, since several checks want it."""
    if device not in check.kept:
        check.kept[device] = Segmenter(check.config, device=device, runtime="torch", precision="fp32", tta=False)
    found: Segmenter = check.kept[device]
    return found


def angiograms(check: Check) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Synthetic angiograms, one of them not square, and their vessels; uint8 and bool, (rows, columns)."""
    found = [make_angiogram(40 + number, check.size) for number in range(check.frames)]
    images, truths = [frame.image for frame in found], [frame.mask for frame in found]
    cut = check.size - check.size // 8
    images[0], truths[0] = images[0][:cut], truths[0][:cut]
    return images, truths


def sample() -> np.ndarray:
    """The shipped angiogram."""
    return read_grey(bundle_root() / "sample" / "images" / "angiogram.png")


def read_grey(path: Path) -> np.ndarray:
    """An 8-bit picture, uint8 (rows, columns)."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None, f"{path}: not there, or no picture"
    return image


def segmented(segmenter: Segmenter, images: list[np.ndarray], network: FrameNetwork) -> list[np.ndarray]:
    """Masks, bool (rows, columns), by a network that takes several frames at once."""
    greys = [image_tensor(image.T.astype(np.float32) / 255, np.eye(4)) for image in images]
    prepared = network([segmenter.channels({"image": grey}) for grey in greys])
    done = [postprocessed(segmenter.postprocessing, data) for data in prepared]
    return [np.asarray(data["pred"][0]).T > 0 for data in done]


def masks(check: Check) -> None:
    """Single precision, with TensorFloat-32 as torch is set up and without."""
    images = [*angiograms(check)[0], sample()]
    expected = [loaded(check, "cpu")(image) for image in images]
    segmenter = loaded(check, check.device)
    before = torch.backends.cudnn.allow_tf32
    try:
        for tf32 in (before, False) if before else (False,):
            torch.backends.cudnn.allow_tf32 = tf32
            found = [segmenter(image) for image in images]
            same = [dice(one.mask, other.mask) for one, other in zip(found, expected, strict=True)]
            largest = max(
                float(np.abs(one.probability - other.probability).max())
                for one, other in zip(found, expected, strict=True)
            )
            vessels = min(float(one.mask.mean()) for one in found)
            check.say(
                f"masks in single precision, TensorFloat-32 {'on' if tf32 else 'off'}",
                f"Dice with the CPU's {np.mean(same):.5f}, least {min(same):.5f}, of {len(images)} angiograms "
                f"(at least {SAME}); largest change of a probability {largest:.1e}; vessel at least {vessels:.1%}",
                min(same) >= SAME and vessels > 0,
                dice=same, largest_change=largest,
            )  # fmt: skip
    finally:
        torch.backends.cudnn.allow_tf32 = before


def half_precision(check: Check) -> None:
    """Autocast, in batches, against the truth of the synthetic angiograms."""
    images, truths = angiograms(check)
    segmenter = loaded(check, check.device)
    kind = segmenter.device.type
    means: dict[str, np.ndarray] = {}
    for name, half in {"fp32": None, **HALVES}.items():
        if half == torch.bfloat16 and kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            check.leave_out("masks in bf16", "this GPU does not compute in bfloat16")
            continue
        network = FrameNetwork(segmenter.network, Cast(kind, half), segmenter.device, len(images))
        found = segmented(segmenter, images, network)
        scores = np.array([[dice(*pair), cldice(*pair)] for pair in zip(found, truths, strict=True)])
        means[name] = 100 * scores.mean(axis=0)
        if half is None:
            continue
        change = means[name] - means["fp32"]
        check.say(
            f"masks in {name}, {len(images)} frames at once",
            f"Dice {means[name][0]:.2f} % ({change[0]:+.3f} points), clDice {means[name][1]:.2f} % ({change[1]:+.3f}) "
            f"with the truth (at most {POINTS} points)",
            bool(np.abs(change).max() <= POINTS) or check.rehearsal,  # a CPU's half precision is not the question
            dice_percent=means[name][0], cldice_percent=means[name][1], change_points=change.tolist(),
        )  # fmt: skip


def rate(check: Check, run: Callable[[], Any], frames: int) -> float:
    """Frames a second; results are fetched, so that the device is done with them."""
    for _ in range(2):
        run()
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begun < check.seconds:
        mark = time.perf_counter()
        run()
        times.append(time.perf_counter() - mark)
    return frames / float(np.median(times))


def speed(check: Check) -> None:
    """Batches there and back again, by number format, and what memory they take."""
    segmenter = loaded(check, check.device)
    device, kind = segmenter.device, segmenter.device.type
    network = segmenter.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    best = (0.0, "")
    for name, half in {"fp32": None, **HALVES}.items():
        rates, memory = {}, {}
        for batch in check.batches:
            inputs = torch.rand(batch, 3, check.size, check.size)
            inputs = inputs.pin_memory() if kind == "cuda" else inputs
            inferer = Cast(kind, half)
            if kind == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            rates[batch] = round(rate(check, lambda: inferer(inputs.to(device), network).cpu(), batch), 1)  # noqa: B023
            memory[batch] = round(torch.cuda.max_memory_allocated(device) / 2**20) if kind == "cuda" else 0
            best = max(best, (rates[batch], f"{name}, {batch} at once"))
        text = ", ".join(f"{batch} at once {rates[batch]:.0f} ({memory[batch]} MiB)" for batch in check.batches)
        check.say(f"network in {name}, frames/s (memory)", text, rates=rates, memory_mib=memory)
    check.say(
        "frames a second of the network", f"{best[0]:.0f} by {best[1]} (at least {check.target:.0f})",
        best[0] >= check.target, best=best[0],
    )  # fmt: skip


class _Pretended:
    """In a rehearsal the device "meta" stands for a GPU whose memory holds so many frames."""

    def __init__(self, holds: int) -> None:
        self.holds = holds

    def __call__(self, inputs: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
        if inputs.device.type == "cpu":
            return Cast("cpu")(inputs, network)
        if len(inputs) > self.holds:
            raise torch.OutOfMemoryError("a rehearsal: no memory for so many frames")
        return torch.zeros(len(inputs), 1, *inputs.shape[2:])


def memory_ends(check: Check) -> None:
    """Fewer frames at once when the memory does not hold them, and the CPU when it does not hold one."""
    images = [angiograms(check)[0][-1]] * 8
    expected = loaded(check, "cpu")(images[0]).mask
    segmenter = loaded(check, check.device)
    moved: list[str] = []

    def network(inferer: Inferer) -> FrameNetwork:
        device = "meta" if check.rehearsal else segmenter.device
        return FrameNetwork(copy.deepcopy(segmenter.network), inferer, device, len(images), moved.append)

    fewer, least = _fewer(check, segmenter, images, network)
    check.say(
        "memory for some of 8 frames",
        f"{fewer} at once, least Dice with the CPU's {least:.5f}; {moved or 'still on the device'}",
        0 < fewer < len(images) and not moved and least >= SAME,
        at_once=fewer, dice=least,
    )  # fmt: skip
    alone = network(_Pretended(0) if check.rehearsal else Cast("cuda"))
    with _limited(check, 2 * 2**20):
        if not check.rehearsal:
            alone.inferer = _anywhere
        found = segmented(segmenter, images[:2], alone)
    least = min(dice(mask, expected) for mask in found)
    check.say(
        "memory for no frame", f"{len(moved)} warning(s): {moved[:1]}; Dice with the CPU's {least:.5f}",
        len(moved) == 1 and alone.device.type == "cpu" and least >= SAME,
        dice=least,
    )  # fmt: skip


def _anywhere(inputs: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
    return Cast(inputs.device.type)(inputs, network)


def _fewer(
    check: Check, segmenter: Segmenter, images: list[np.ndarray], network: Callable[[Inferer], FrameNetwork]
) -> tuple[int, float]:
    """Frames at once under a limit of the memory below what all take, and the least Dice with one alone."""
    if check.rehearsal:
        made = network(_Pretended(3))
        segmented(segmenter, images, made)
        return made.batch, 1.0
    expected = loaded(check, "cpu")(images[0]).mask
    peaks = []
    for count in (1, len(images)):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(segmenter.device)
        held = torch.cuda.memory_allocated(segmenter.device)
        segmented(segmenter, images[:count], network(_anywhere))
        peaks.append(torch.cuda.max_memory_allocated(segmenter.device) - held)
    # cuDNN can do with less than it takes when there is plenty: the limit goes down until it matters.
    for share in (0.7, 0.5, 0.3, 0.15):
        made = network(_anywhere)
        with _limited(check, int(peaks[0] + share * (peaks[1] - peaks[0]))):
            found = segmented(segmenter, images, made)
        if made.batch < len(images):
            break
    return made.batch, min(dice(mask, expected) for mask in found)


class _limited:  # noqa: N801  # reads as a statement
    """So many bytes of the GPU's memory more than are in use; nothing in a rehearsal."""

    def __init__(self, check: Check, more: int) -> None:
        self.device: torch.device | None = None
        if not check.rehearsal:  # the limit wants a device with its number
            number = torch.device(check.device).index
            self.device = torch.device("cuda", torch.cuda.current_device() if number is None else number)
        self.more = more

    def __enter__(self) -> None:
        if self.device is not None:
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(self.device).total_memory
            allowed = torch.cuda.memory_reserved(self.device) + self.more
            torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total), self.device)

    def __exit__(self, *_: object) -> None:
        if self.device is not None:
            torch.cuda.set_per_process_memory_fraction(1.0, self.device)
            torch.cuda.empty_cache()
