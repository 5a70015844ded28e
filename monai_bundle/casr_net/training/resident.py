"""Training on an accelerator: all images lie in its memory, and whole batches are augmented there.

The trainer of ``train.json`` draws crops one by one on the CPU, which keeps an accelerator waiting: a step of the
network takes it a fraction of the time in which a core makes a batch. This one reads the same configuration (network,
loss, cases, ranges of the augmentation, learning rate and schedule, clipping, moving average) and computes everything
on the device. It gives weights of the same kind, and goes on exactly where it was stopped.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..errors import UsageError
from ..network.weights import load_weights
from ..preprocessing.batched import BatchedChannels
from .augment import BatchAugment
from .cases import balanced_weights
from .losses import UNKNOWN
from .memory import ResidentCases, label_cases
from .precision import place_network, uses_bfloat16
from .resident_state import ResidentState
from .selftraining import PseudoLabelRule

__all__ = ["Progress", "learning_rate_share", "mirrored_probability", "train_resident"]

logger = logging.getLogger(__name__)
MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
LOG_STEPS = 50


@dataclass
class Progress:
    """How far a stage has come; it ends when its images are drawn, or its time is over.

    Attributes:
        images: budget in images.
        seconds: budget in seconds of the clock; None has none.
        seen: images drawn.
        steps: that were made.
        started: when, on the monotonic clock; earlier by what was spent before a stop.
    """

    images: int
    seconds: float | None = None
    seen: int = 0
    steps: int = 0
    started: float = 0.0

    @property
    def share(self) -> float:
        """Of the budget that is used, in [0, 1]: of images or time, whichever is further."""
        spent = self.seen / self.images
        if self.seconds is not None:
            spent = max(spent, (time.monotonic() - self.started) / self.seconds)
        return min(spent, 1.0)

    def state_dict(self) -> dict[str, Any]:
        """How far it is, for :class:`ResidentState`."""
        return {"seen": self.seen, "steps": self.steps, "spent": time.monotonic() - self.started}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.seen, self.steps = state["seen"], state["steps"]
        self.started = time.monotonic() - state["spent"]


def learning_rate_share(progress: float, warm_up: float, cycles: float, start: float = 0.01) -> float:
    """Share of the highest learning rate: MONAI's ``WarmupCosineSchedule`` as a function of the progress in [0, 1]."""
    if progress < warm_up:
        return start + (1 - start) * progress / warm_up
    rest = (progress - warm_up) / max(1 - warm_up, 1e-6)
    return max(0.0, 0.5 * (1 + math.cos(2 * math.pi * cycles * rest)))


def train_resident(
    parser: ConfigParser,
    images: int,
    seconds: float | None = None,
    teacher: str | Path | None = None,
    rule: PseudoLabelRule | None = None,
    cache: Path | None = None,
    processes: int = 0,
    step: Callable[[], None] = lambda: None,
    kept: Path | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train a network as ``train.json`` says, on the device that the configuration names.

    Args:
        parser: the training's configuration, with its paths; ``train#dataset#data`` gives the cases.
        images: to draw.
        seconds: after which the training ends in any case. The learning rate follows what is further, images or time,
            so that a training that is cut short ends with a low rate too.
        teacher: weights of a network of the same kind as ``teacher_def`` (``network_def`` where there is none), which
            completes the labels of the partial cases.
        rule: how it does.
        cache, processes: of :meth:`ResidentCases.read`.
        step: called before each step; may raise to stop.
        kept: file of the state, which a call of the same arguments goes on from, to the same weights on the same kind
            of device; written every some minutes and when ``step`` raises. The caller deletes it. None keeps nothing.

    Returns:
        the network (its moving average, where the configuration has one); images seen, seconds, and the shares of the
        teacher's labels.

    Raises:
        UsageError: when the loss is not finite.
        CASRError: when data or weights cannot be used.
    """
    settings = parser.get()
    device = parser.get_parsed_content("device")
    torch.manual_seed(settings["seed"])
    cases = parser.get_parsed_content("train#dataset#data")
    read = Compose([*parser.get_parsed_content("train#load"), *parser.get_parsed_content("train#scale")])
    resident = ResidentCases.read(cases, read, settings["network_size"], device, cache, processes)
    network = parser.get_parsed_content("network_def")
    if settings["initial_weights"]:
        load_weights(network, settings["initial_weights"])
    network = place_network(network, device, settings["channels_last"])
    labels: dict[str, float] = {}
    if teacher is not None:
        judge = parser.get_parsed_content("teacher_def") if "teacher_def" in settings else copy.deepcopy(network)
        judge = place_network(load_weights(judge, teacher), device, settings["channels_last"]).eval()
        labels = label_cases(resident, mirrored_probability(judge, settings["channel_names"], device), rule)
        del judge
    loss = parser.get_parsed_content("deep")
    weights = balanced_weights(cases, settings["balance_power"], {"negatives": settings["negative_share"]})
    progress = Progress(images, seconds)
    network = _train(network, loss, resident, torch.tensor(weights), settings, progress, step, kept)
    took = round(time.monotonic() - progress.started, 1)
    return network, {"images_seen": progress.seen, "seconds": took, "labels": labels}


def mirrored_probability(
    network: nn.Module, channels: list[str], device: torch.device | str
) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]:
    """A teacher for :func:`label_cases`: the mean of a network's probabilities over an image and its mirror images."""
    prepare, bfloat16, kind = BatchedChannels(channels), uses_bfloat16("auto", device), torch.device(device).type

    def probability(grey: torch.Tensor, field: torch.Tensor | None) -> torch.Tensor:
        image = prepare(grey, field)
        total = torch.zeros_like(grey)
        for axes in MIRRORS:
            with torch.autocast(kind, torch.bfloat16, enabled=bfloat16):
                logits = network(image.flip(axes).to(memory_format=torch.channels_last))
            total += torch.sigmoid(logits.float()).flip(axes)
        return total / len(MIRRORS)

    return probability


def _train(
    network: nn.Module,
    loss: nn.Module,
    resident: ResidentCases,
    weights: torch.Tensor,
    settings: Mapping[str, Any],
    progress: Progress,
    step: Callable[[], None],
    kept: Path | None = None,
) -> nn.Module:
    device, batch_size = resident.grey.device, settings["batch_size"]
    draw = torch.Generator().manual_seed(settings["seed"])
    augment = BatchAugment(settings, torch.Generator(device).manual_seed(settings["seed"]))
    parameters = [*network.parameters(), *loss.parameters()]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        fused=device.type == "cuda",
    )
    average = _Average(network, settings["ema_decay"], settings["ema_warmup"])
    bfloat16 = uses_bfloat16(settings["precision"], device)
    forward = torch.compile(network, dynamic=False) if settings["compile"] else network
    network.train()
    progress.started, recent, since = time.monotonic(), torch.zeros((), device=device), 0
    parts: dict[str, Any] = {
        "network": network, "loss": loss, "optimizer": optimizer, "average": average, "augment": augment,
        "draw": _Drawn(draw), "progress": progress,
    }  # fmt: skip
    state = ResidentState(kept, parts, device)
    if state.load():
        logger.info("goes on after %d of %d images", progress.seen, progress.images)
    while progress.share < 1:
        try:
            step()
        except BaseException:
            state.keep()
            raise
        rate = settings["learning_rate"] * learning_rate_share(
            progress.share, settings["warmup_share"], settings["cosine_cycles"]
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = torch.multinomial(weights, batch_size, replacement=True, generator=draw)
        image, target = _batch(resident, chosen, augment)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits = forward(image.to(memory_format=torch.channels_last))
        value = loss(logits.float(), target)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        if settings["clip_norm"] > 0:
            clip_grad_norm_(parameters, settings["clip_norm"])
        optimizer.step()
        average.update()
        progress.seen += batch_size
        progress.steps += 1
        since += 1
        if progress.steps == 2:
            progress.started = time.monotonic()  # the first steps prepare the device
        recent += value.detach()
        if progress.steps % LOG_STEPS == 0 or progress.share >= 1 or state.due:
            mean, since = float(recent) / since, 0
            recent.zero_()
            pace = progress.seen / (time.monotonic() - progress.started)
            logger.info("%d of %d images, %.0f a second, loss %.4f", progress.seen, progress.images, pace, mean)
            if not math.isfinite(mean):
                raise UsageError(f"loss is {mean} after {progress.steps} steps; the learning rate may be too high.")
            if state.due:  # only here, where the loss is known to be finite
                state.keep()
    return average.network.eval()


def _batch(resident: ResidentCases, chosen: torch.Tensor, augment: BatchAugment) -> tuple[torch.Tensor, torch.Tensor]:
    """Input (N, C, *crop) and target (N, 1, *crop) of 0, 1 and :data:`UNKNOWN`."""
    place = chosen.to(resident.grey.device, non_blocking=True)
    field = None if bool(resident.full[chosen].all()) else resident.field[place]
    label = resident.label[place]
    planes = torch.cat([label == 1, label == UNKNOWN], 1).float()
    image, planes = augment(resident.grey[place].float() / 255, field, planes)
    target = (planes[:, :1] >= 0.5).float()
    return image, torch.where(planes[:, 1:] > 0.5, float(UNKNOWN), target)


class _Drawn:
    """The state of a generator of random numbers."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["state"])


class _Average:
    """As :class:`casr_net.training.WeightAverage`, without its wait for the device at every step."""

    def __init__(self, network: nn.Module, decay: float, warm_up: bool) -> None:
        self.trained, self.decay, self.warm_up, self.steps = network, decay, warm_up, 0
        self.network = copy.deepcopy(network) if decay else network
        own, new = self.network.state_dict(keep_vars=True), network.state_dict(keep_vars=True)
        floats = [name for name, value in own.items() if value.is_floating_point()]
        self.average, self.current = [own[name] for name in floats], [new[name] for name in floats]

    @torch.no_grad()
    def update(self) -> None:
        if not self.decay:
            return
        decay = self.decay
        if self.steps == 0:
            decay = 0.0  # the first value is the network after the first step
        elif self.warm_up:
            decay = min(decay, (1 + self.steps) / (10 + self.steps))
        get_ema_multi_avg_fn(decay)(self.average, self.current, None)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "network": self.network.state_dict() if self.decay else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]
        if self.decay:
            self.network.load_state_dict(state["network"])
